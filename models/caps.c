/* SPDX-License-Identifier: Apache-2.0 */
#include "models/caps.h"

#include <assert.h>
#include <string.h>

#define NONE SIZE_MAX

bool caps_open(struct caps *caps, const struct cap *cap, size_t cap_count, size_t room, struct arena *arena)
{
    assert(cap_count <= CAPS_MAX);
    *caps = (struct caps){.cap = cap, .cap_count = cap_count, .room = room};
    caps->list = arena_zeroed(arena, room, sizeof *caps->list);
    bool ok = caps->list != NULL;
    for (size_t c = 0; ok && c < cap_count; c++) {
        assert(cap[c].most >= 1 && (cap[c].window == 0 || cap[c].window > cap[c].most));
        caps->recent[c] = arena_zeroed(arena, cap[c].key_count, sizeof *caps->recent[c]);
        ok = caps->recent[c] != NULL;
    }
    return ok;
}

bool caps_allow(const struct caps *caps, size_t candidate, size_t *broken)
{
    for (size_t c = 0; c < caps->cap_count; c++) {
        const struct cap *cap = &caps->cap[c];
        for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++) {
            if (caps->recent[c][cap->key[k]] < cap->most)
                continue;
            if (broken != NULL)
                *broken = c;
            return false;
        }
    }
    return true;
}

/* Count each key of `candidate` once more, or once less. */
static void count_keys(const struct cap *cap, uint32_t *count, size_t candidate, bool more)
{
    for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++)
        count[cap->key[k]] += more ? 1u : UINT32_MAX; /* -1 modulo 2^32 */
}

void caps_place(struct caps *caps, size_t candidate)
{
    assert(caps->count < caps->room);
    caps->list[caps->count++] = candidate;
    for (size_t c = 0; c < caps->cap_count; c++) {
        const struct cap *cap = &caps->cap[c];
        count_keys(cap, caps->recent[c], candidate, true);
        if (cap->window > 0 && caps->count >= cap->window)
            count_keys(cap, caps->recent[c], caps->list[caps->count - cap->window], false);
    }
}

void caps_shorten(struct caps *caps, size_t count)
{
    for (; caps->count > count; caps->count--)
        for (size_t c = 0; c < caps->cap_count; c++) {
            const struct cap *cap = &caps->cap[c];
            if (cap->window > 0 && caps->count >= cap->window)
                count_keys(cap, caps->recent[c], caps->list[caps->count - cap->window], true);
            count_keys(cap, caps->recent[c], caps->list[caps->count - 1], false);
        }
}

/* So many of a list of `length` places may have one key. */
static size_t most_of(const struct cap *cap, size_t length)
{
    if (cap->window == 0)
        return length < cap->most ? length : cap->most;
    size_t rest = length % cap->window;
    return cap->most * (length / cap->window) + (rest < cap->most ? rest : cap->most);
}

/* Candidates with the same keys under every cap; caps cannot tell them apart. */
struct class
{
    size_t first;       /* its best candidate, which shows the keys */
    size_t quota;       /* no list has more of them */
    size_t start, kept; /* member[start] .. member[start + kept - 1] */
    size_t next;        /* all members before it are on the list */
};

struct repair {
    struct caps *caps;
    size_t pool, n;
    struct class *class;
    size_t class_count;
    size_t *class_of; /* (pool) */
    size_t *slot;     /* (mask + 1): hash table of classes by their keys; 0: empty, else 1 + class */
    size_t mask;
    size_t *member; /* (pool): kept candidates by class, best first */
    size_t member_count;
    bool *kept, *used;        /* (pool): may come to the list; is on it */
    uint32_t *left[CAPS_MAX]; /* (key_count): kept candidates that are not on the list and have the key */
    size_t *old;              /* (old_count): the list as it came */
    size_t old_count;
};

static bool repair_open(struct repair *r, struct arena *arena)
{
    const struct caps *caps = r->caps;
    size_t slots = 2;
    while (slots / 2 < r->pool)
        slots *= 2;
    r->mask = slots - 1;
    r->old_count = caps->count;
    bool ok = (r->class = arena_zeroed(arena, r->pool, sizeof *r->class)) != NULL &&
              (r->class_of = arena_zeroed(arena, r->pool, sizeof *r->class_of)) != NULL &&
              (r->slot = arena_zeroed(arena, slots, sizeof *r->slot)) != NULL &&
              (r->member = arena_zeroed(arena, r->pool, sizeof *r->member)) != NULL &&
              (r->kept = arena_zeroed(arena, r->pool, sizeof *r->kept)) != NULL &&
              (r->used = arena_zeroed(arena, r->pool, sizeof *r->used)) != NULL &&
              (r->old = arena_zeroed(arena, r->old_count, sizeof *r->old)) != NULL;
    for (size_t c = 0; ok && c < caps->cap_count; c++)
        ok = (r->left[c] = arena_zeroed(arena, caps->cap[c].key_count, sizeof *r->left[c])) != NULL;
    for (size_t i = 0; ok && i < r->old_count; i++)
        r->old[i] = caps->list[i];
    return ok;
}

/* FNV-1a, a key at a time; a cap ends with what is no key. */
static size_t hash_keys(const struct caps *caps, size_t candidate)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t c = 0; c < caps->cap_count; c++) {
        const struct cap *cap = &caps->cap[c];
        for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++)
            hash = (hash ^ cap->key[k]) * prime;
        hash = (hash ^ UINT64_MAX) * prime;
    }
    return (size_t)(hash ^ (hash >> 32));
}

static bool same_keys(const struct caps *caps, size_t a, size_t b)
{
    for (size_t c = 0; c < caps->cap_count; c++) {
        const uint32_t *start = caps->cap[c].start, *key = caps->cap[c].key;
        uint32_t count = start[a + 1] - start[a];
        if (start[b + 1] - start[b] != count)
            return false;
        for (uint32_t k = 0; k < count; k++)
            if (key[start[a] + k] != key[start[b] + k])
                return false;
    }
    return true;
}

static size_t quota_of(const struct repair *r, size_t candidate)
{
    size_t quota = r->n;
    for (size_t c = 0; c < r->caps->cap_count; c++) {
        const struct cap *cap = &r->caps->cap[c];
        size_t most = most_of(cap, r->n);
        if (cap->start[candidate] < cap->start[candidate + 1] && most < quota)
            quota = most;
    }
    return quota;
}

static void classify(struct repair *r)
{
    for (size_t i = 0; i < r->pool; i++) {
        size_t at = hash_keys(r->caps, i) & r->mask;
        while (r->slot[at] != 0 && !same_keys(r->caps, r->class[r->slot[at] - 1].first, i))
            at = (at + 1) & r->mask;
        if (r->slot[at] == 0) {
            r->class[r->class_count++] = (struct class){.first = i, .quota = quota_of(r, i)};
            r->slot[at] = r->class_count;
        }
        r->class_of[i] = r->slot[at] - 1;
    }
}

static void keep(struct repair *r, size_t candidate)
{
    assert(candidate < r->pool);
    r->kept[candidate] = true;
    r->class[r->class_of[candidate]].kept++;
}

/* Of each class as many as any list could hold: those of the list, which were chosen with reason, then the best. */
static void prune(struct repair *r)
{
    for (size_t i = 0; i < r->old_count; i++)
        keep(r, r->old[i]);
    for (size_t i = 0; i < r->pool; i++) {
        const struct class *class = &r->class[r->class_of[i]];
        if (!r->kept[i] && class->kept < class->quota)
            keep(r, i);
    }
    for (size_t i = 0; i < r->class_count; i++) {
        r->class[i].start = r->class[i].next = r->member_count;
        r->member_count += r->class[i].kept;
    }
    for (size_t i = 0; i < r->pool; i++)
        if (r->kept[i])
            r->member[r->class[r->class_of[i]].next++] = i;
}

static void take(struct repair *r, size_t candidate)
{
    caps_place(r->caps, candidate);
    r->used[candidate] = true;
    for (size_t c = 0; c < r->caps->cap_count; c++)
        count_keys(&r->caps->cap[c], r->left[c], candidate, false);
}

/* Back to the first `prefix` places of the old list. */
static void restart(struct repair *r, size_t prefix)
{
    caps_shorten(r->caps, 0);
    memset(r->used, 0, r->pool * sizeof *r->used);
    for (size_t i = 0; i < r->class_count; i++)
        r->class[i].next = r->class[i].start;
    for (size_t c = 0; c < r->caps->cap_count; c++) {
        const struct cap *cap = &r->caps->cap[c];
        memset(r->left[c], 0, cap->key_count * sizeof *r->left[c]);
        for (size_t i = 0; i < r->member_count; i++)
            count_keys(cap, r->left[c], r->member[i], true);
    }
    for (size_t i = 0; i < prefix; i++)
        take(r, r->old[i]);
}

/* The best of a class that is not on the list. */
static size_t next_member(struct repair *r, struct class *class)
{
    size_t end = class->start + class->kept;
    while (class->next < end && r->used[r->member[class->next]])
        class->next++;
    return class->next < end ? r->member[class->next] : NONE;
}

/* How many with a key of it still want places, by what the cap lets in. Equal fractions are equal as doubles. */
/* Of two that are level: who uses up less of the caps, then who is better. */
static bool comes_first(const struct caps *caps, size_t candidate, size_t other)
{
    size_t own = 0, others = 0;
    for (size_t c = 0; c < caps->cap_count; c++) {
        own += caps->cap[c].start[candidate + 1] - caps->cap[c].start[candidate];
        others += caps->cap[c].start[other + 1] - caps->cap[c].start[other];
    }
    return own != others ? own < others : candidate < other;
}

static double pressure(const struct repair *r, size_t candidate)
{
    double most = 0;
    for (size_t c = 0; c < r->caps->cap_count; c++) {
        const struct cap *cap = &r->caps->cap[c];
        if (cap->window == 0) /* over the whole list the order does not matter */
            continue;
        for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++) {
            double waiting = (double)r->left[c][cap->key[k]] / (double)cap->most;
            if (waiting > most)
                most = waiting;
        }
    }
    return most;
}

static size_t choose(struct repair *r)
{
    size_t best = NONE;
    double best_pressure = 0;
    for (size_t i = 0; i < r->class_count; i++) {
        size_t candidate = next_member(r, &r->class[i]);
        if (candidate == NONE || !caps_allow(r->caps, candidate, NULL))
            continue;
        double own = pressure(r, candidate);
        if (best == NONE || own > best_pressure || (own == best_pressure && comes_first(r->caps, candidate, best))) {
            best = candidate;
            best_pressure = own;
        }
    }
    return best;
}

/* Complete the first `prefix` places of the old list; how long it got. */
static size_t reach(struct repair *r, size_t prefix)
{
    restart(r, prefix);
    while (r->caps->count < r->n) {
        size_t candidate = choose(r);
        if (candidate == NONE)
            break;
        take(r, candidate);
    }
    return r->caps->count;
}

static void search(struct repair *r)
{
    size_t kept = 0, stuck = r->old_count; /* prefixes: the longest that reached most, and one that did not */
    size_t longest = reach(r, kept);
    if (longest <= r->old_count) {
        restart(r, r->old_count);
        return;
    }
    while (stuck - kept > 1) {
        size_t middle = kept + (stuck - kept) / 2;
        size_t length = reach(r, middle);
        if (length >= longest) {
            longest = length;
            kept = middle;
        } else {
            stuck = middle;
        }
    }
    reach(r, kept);
}

bool caps_repair(struct caps *caps, size_t pool, size_t n, struct arena *arena)
{
    struct repair r = {.caps = caps, .pool = pool, .n = n < caps->room ? n : caps->room};
    if (caps->count >= r.n)
        return true;
    struct arena_mark mark = arena_mark(arena);
    bool ok = repair_open(&r, arena);
    if (ok) {
        classify(&r);
        prune(&r);
        search(&r);
    }
    arena_rewind(arena, mark);
    return ok;
}

/* caps_bound for one cap and n <= pool. */
static bool bound_of(const struct cap *cap, size_t pool, size_t n, size_t *bound, struct arena *arena)
{
    uint32_t *having = arena_zeroed(arena, cap->key_count, sizeof *having);
    size_t *sum = arena_zeroed(arena, n + 1, sizeof *sum);
    if (having == NULL || sum == NULL)
        return false;
    size_t unbound = 0; /* candidates that count as free */
    for (size_t i = 0; i < pool; i++) {
        if (cap->start[i + 1] - cap->start[i] == 1)
            having[cap->key[cap->start[i]]]++;
        else
            unbound++;
    }
    for (size_t k = 0; k < cap->key_count; k++)
        sum[having[k] < n ? having[k] : n]++;
    for (size_t x = n; x-- > 0;)
        sum[x] += sum[x + 1]; /* keys that at least x candidates have */
    sum[0] = 0;
    for (size_t x = 1; x <= n; x++)
        sum[x] += sum[x - 1]; /* Σ over keys of min(candidates, x) */
    size_t t = n;
    while (t > 0 && sum[most_of(cap, t)] + unbound < t)
        t--;
    *bound = t;
    return true;
}

bool caps_bound(const struct cap *cap, size_t cap_count, size_t pool, size_t n, size_t *bound, struct arena *arena)
{
    size_t most = n < pool ? n : pool, least = most;
    struct arena_mark mark = arena_mark(arena);
    bool ok = true;
    for (size_t c = 0; ok && c < cap_count; c++) {
        size_t own = most;
        ok = bound_of(&cap[c], pool, most, &own, arena);
        if (own < least)
            least = own;
        arena_rewind(arena, mark);
    }
    *bound = least;
    return ok;
}
