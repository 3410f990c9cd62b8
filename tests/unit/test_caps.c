/* SPDX-License-Identifier: Apache-2.0
 *
 * Caps against recounts of every window, and the repair of stuck lists against all orders there are. */
#include "models/caps.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <string.h>

enum { POOL_MOST = 60, KEYS_EACH = 3, CAPS = 3, MIB = 1 << 20 };

/* Candidates, caps on them and a list. The caps point into it: it stays where it is. */
struct rig {
    size_t count, cap_count;
    struct cap cap[CAPS];
    uint32_t start[CAPS][POOL_MOST + 1], key[CAPS][POOL_MOST * KEYS_EACH];
    uint32_t order[POOL_MOST]; /* of placing; by number at first */
    struct caps caps;
    struct arena arena;
};

static void arrange(struct rig *rig, size_t count)
{
    memset(rig, 0, sizeof *rig);
    rig->count = count;
    for (uint32_t i = 0; i < count; i++)
        rig->order[i] = i;
    arena_init(&rig->arena, MIB);
}

static size_t add_cap(struct rig *rig, unsigned most, unsigned window, size_t key_count)
{
    size_t c = rig->cap_count++;
    rig->cap[c] = (struct cap){most, window, rig->start[c], rig->key[c], key_count};
    return c;
}

/* A key for each candidate: a letter, or '.' for none. */
static void add_letters(struct rig *rig, unsigned most, unsigned window, const char *letters)
{
    size_t c = add_cap(rig, most, window, 26);
    for (size_t i = 0; i < rig->count; i++) {
        uint32_t end = rig->start[c][i];
        if (letters[i] != '.')
            rig->key[c][end++] = (uint32_t)(letters[i] - 'A');
        rig->start[c][i + 1] = end;
    }
}

/* Up to `each` different keys for each candidate. */
static void add_random(struct rig *rig, struct random *rng, uint32_t each)
{
    unsigned most = 1 + (unsigned)random_below(rng, 3);
    unsigned window = random_below(rng, 4) == 0 ? 0 : most + 1 + (unsigned)random_below(rng, 3);
    uint32_t key_count = each + (uint32_t)random_below(rng, 4);
    size_t c = add_cap(rig, most, window, key_count);
    for (size_t i = 0; i < rig->count; i++) {
        uint32_t end = rig->start[c][i], keys = (uint32_t)random_below(rng, each + 1);
        uint32_t first = (uint32_t)random_below(rng, key_count);
        for (uint32_t k = 0; k < keys; k++)
            rig->key[c][end++] = (first + k) % key_count;
        rig->start[c][i + 1] = end;
    }
}

static void open_caps(struct rig *rig)
{
    cr_assert(caps_open(&rig->caps, rig->cap, rig->cap_count, rig->count, &rig->arena));
}

/* A rig of least to most candidates and one cap, or up to `caps`, and a random order. */
static void draw(struct rig *rig, struct random *rng, size_t least, size_t most, size_t caps, uint32_t each)
{
    arrange(rig, least + random_below(rng, most - least + 1));
    for (uint64_t left = 1 + random_below(rng, caps); left > 0; left--)
        add_random(rig, rng, each);
    random_shuffle(rng, rig->order, rig->count);
    open_caps(rig);
}

static bool has_key(const struct cap *cap, size_t candidate, size_t key)
{
    for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++)
        if (cap->key[k] == key)
            return true;
    return false;
}

/* Count every key in every window. */
static bool is_legal_under(const struct cap *cap, const size_t *list, size_t count)
{
    size_t window = cap->window == 0 ? count : cap->window;
    for (size_t key = 0; key < cap->key_count; key++)
        for (size_t begin = 0; begin < count; begin++) {
            size_t having = 0;
            for (size_t i = begin; i < count && i < begin + window; i++)
                if (has_key(cap, list[i], key))
                    having++;
            if (having > cap->most)
                return false;
        }
    return true;
}

/* The first cap that the list breaks, or how many there are. */
static size_t first_broken(const struct rig *rig, const size_t *list, size_t count)
{
    size_t c = 0;
    while (c < rig->cap_count && is_legal_under(&rig->cap[c], list, count))
        c++;
    return c;
}

static bool is_on(const size_t *list, size_t count, size_t candidate)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == candidate)
            return true;
    return false;
}

/* Legal, nobody twice, and counted as if freshly placed. */
static void check_list(struct rig *rig)
{
    const struct caps *caps = &rig->caps;
    cr_assert_eq(first_broken(rig, caps->list, caps->count), rig->cap_count, "the list is not legal");
    struct arena_mark mark = arena_mark(&rig->arena);
    struct caps fresh;
    cr_assert(caps_open(&fresh, rig->cap, rig->cap_count, rig->count, &rig->arena));
    for (size_t i = 0; i < caps->count; i++) {
        cr_assert_lt(caps->list[i], rig->count);
        cr_assert_not(is_on(caps->list, i, caps->list[i]), "%zu is on it twice", caps->list[i]);
        caps_place(&fresh, caps->list[i]);
    }
    for (size_t c = 0; c < rig->cap_count; c++)
        for (size_t k = 0; k < rig->cap[c].key_count; k++)
            cr_assert_eq(caps->recent[c][k], fresh.recent[c][k], "cap %zu, key %zu: %u, fresh %u", c, k,
                         caps->recent[c][k], fresh.recent[c][k]);
    arena_rewind(&rig->arena, mark);
}

/* Place what is allowed, always the first in order, until nothing is or there are n. */
static void place_in_order(struct rig *rig, size_t n)
{
    struct caps *caps = &rig->caps;
    for (size_t i = 0; i < rig->count && caps->count < n;) {
        size_t candidate = rig->order[i++];
        if (is_on(caps->list, caps->count, candidate) || !caps_allow(caps, candidate, NULL))
            continue;
        caps_place(caps, candidate);
        i = 0;
    }
}

Test(caps, window_slides)
{
    struct rig rig;
    size_t broken = 77;
    arrange(&rig, 5);
    add_letters(&rig, 1, 3, "AAABC");
    open_caps(&rig);
    cr_assert(caps_allow(&rig.caps, 0, &broken));
    cr_assert_eq(broken, 77, "written although allowed");
    caps_place(&rig.caps, 0);
    cr_assert(!caps_allow(&rig.caps, 1, &broken) && broken == 0);
    caps_place(&rig.caps, 3);
    cr_assert_not(caps_allow(&rig.caps, 1, NULL));
    caps_place(&rig.caps, 4);
    cr_assert(caps_allow(&rig.caps, 1, NULL), "the first A has left the window");
    arena_close(&rig.arena);
}

Test(caps, names_the_first_that_refuses)
{
    struct rig rig;
    size_t broken = 77;
    arrange(&rig, 4);
    add_letters(&rig, 1, 2, "ABAB");
    add_letters(&rig, 1, 2, "AABC");
    add_letters(&rig, 1, 2, "AAAB");
    open_caps(&rig);
    caps_place(&rig.caps, 0);
    cr_assert(!caps_allow(&rig.caps, 1, &broken) && broken == 1);
    cr_assert(!caps_allow(&rig.caps, 2, &broken) && broken == 0);
    cr_assert(caps_allow(&rig.caps, 3, &broken) && broken == 0);
    arena_close(&rig.arena);
}

/* Is every unused candidate allowed just where a recount of the longer list says so? */
static void check_allowed(const struct rig *rig)
{
    const struct caps *caps = &rig->caps;
    size_t longer[POOL_MOST + 1];
    memcpy(longer, caps->list, caps->count * sizeof longer[0]);
    for (size_t i = 0; i < rig->count; i++) {
        if (is_on(caps->list, caps->count, i))
            continue;
        longer[caps->count] = i;
        size_t broken = rig->cap_count, wanted = first_broken(rig, longer, caps->count + 1);
        cr_assert_eq(caps_allow(caps, i, &broken), wanted == rig->cap_count, "%zu in place %zu", i, caps->count);
        cr_assert_eq(broken, wanted, "cap %zu, wanted %zu", broken, wanted);
    }
}

Test(caps, agree_with_a_recount_of_every_window)
{
    struct random rng;
    random_init(&rng, 20260701);
    for (int round = 0; round < 60; round++) {
        struct rig rig;
        draw(&rig, &rng, 1, 20, CAPS, KEYS_EACH);
        for (size_t before = SIZE_MAX; before != rig.caps.count;) {
            before = rig.caps.count;
            check_allowed(&rig);
            random_shuffle(&rng, rig.order, rig.count);
            place_in_order(&rig, before + 1);
        }
        check_list(&rig);
        arena_close(&rig.arena);
    }
}

Test(caps, shortened_is_as_freshly_placed)
{
    struct random rng;
    random_init(&rng, 20260702);
    for (int round = 0; round < 100; round++) {
        struct rig rig;
        draw(&rig, &rng, 1, POOL_MOST, CAPS, KEYS_EACH);
        for (int turn = 0; turn < 3; turn++) {
            place_in_order(&rig, rig.count);
            size_t count = turn == 2 ? 0 : random_below(&rng, rig.caps.count + 1);
            caps_shorten(&rig.caps, count);
            cr_assert_eq(rig.caps.count, count);
            check_list(&rig);
            random_shuffle(&rng, rig.order, rig.count);
        }
        arena_close(&rig.arena);
    }
}

/* ---- repair */

/* Of a list placed by number. */
static void check_repair(unsigned most, unsigned window, const char *letters, size_t n, const size_t *wanted,
                         size_t wanted_count)
{
    struct rig rig;
    arrange(&rig, strlen(letters));
    add_letters(&rig, most, window, letters);
    open_caps(&rig);
    place_in_order(&rig, n);
    size_t used_bytes = arena_used(&rig.arena);
    cr_assert(caps_repair(&rig.caps, rig.count, n, &rig.arena));
    cr_assert_eq(arena_used(&rig.arena), used_bytes, "scratch memory was not given back");
    cr_assert_eq(rig.caps.count, wanted_count, "%zu places", rig.caps.count);
    for (size_t i = 0; i < wanted_count; i++)
        cr_assert_eq(rig.caps.list[i], wanted[i], "place %zu: %zu", i, rig.caps.list[i]);
    check_list(&rig);
    arena_close(&rig.arena);
}

/* By number it is B A B A, and then there is only an A. */
Test(caps, repair_starts_with_the_most_frequent)
{
    check_repair(1, 2, "BBAAA", 5, (const size_t[]){2, 0, 3, 1, 4}, 5);
    check_repair(1, 2, "..AAA", 5, (const size_t[]){2, 0, 3, 1, 4}, 5); /* free ones are for later */
}

Test(caps, repair_keeps_the_longest_beginning)
{
    check_repair(1, 2, "CDEBBAAA", 8, (const size_t[]){0, 1, 2, 5, 3, 6, 4, 7}, 8);
}

Test(caps, repair_goes_as_far_as_it_can)
{
    check_repair(1, 2, "BAAAAAA", 7, (const size_t[]){1, 0, 2}, 3);
    check_repair(1, 0, "AAAB", 4, (const size_t[]){0, 3}, 2);
    check_repair(1, 0, "AAAB", 1, (const size_t[]){0}, 1);
}

Test(caps, repair_without_memory_changes_nothing)
{
    static const size_t old[] = {0, 2, 1, 3};
    struct rig rig;
    arrange(&rig, 5);
    add_letters(&rig, 1, 2, "BBAAA");
    open_caps(&rig);
    place_in_order(&rig, 5);
    bool done = false;
    for (size_t limit_bytes = 0; !done; limit_bytes += ARENA_ALIGNMENT_BYTES) {
        struct arena small;
        cr_assert(rig.caps.count == 4 && memcmp(rig.caps.list, old, sizeof old) == 0);
        arena_init(&small, limit_bytes);
        done = caps_repair(&rig.caps, 5, 5, &small);
        cr_assert_eq(arena_used(&small), 0);
        check_list(&rig);
        arena_close(&small);
    }
    cr_assert_eq(rig.caps.count, 5);
    arena_close(&rig.arena);
}

/* ---- against all orders */

struct search {
    const struct rig *rig;
    size_t n, longest;
    size_t list[POOL_MOST];
};

/* Is the window legal that ends with it? */
static bool may_follow(const struct cap *cap, const size_t *list, size_t count, size_t candidate)
{
    size_t begin = cap->window == 0 || count < cap->window ? 0 : count - (cap->window - 1);
    for (uint32_t k = cap->start[candidate]; k < cap->start[candidate + 1]; k++) {
        size_t having = 0;
        for (size_t i = begin; i < count; i++)
            if (has_key(cap, list[i], cap->key[k]))
                having++;
        if (having >= cap->most)
            return false;
    }
    return true;
}

static bool are_alike(const struct rig *rig, size_t a, size_t b)
{
    for (size_t c = 0; c < rig->cap_count; c++)
        for (size_t key = 0; key < rig->cap[c].key_count; key++)
            if (has_key(&rig->cap[c], a, key) != has_key(&rig->cap[c], b, key))
                return false;
    return true;
}

/* Of candidates with the same keys one stands for all. */
static bool is_worth_trying(const struct search *s, size_t count, size_t candidate)
{
    if (is_on(s->list, count, candidate))
        return false;
    for (size_t c = 0; c < s->rig->cap_count; c++)
        if (!may_follow(&s->rig->cap[c], s->list, count, candidate))
            return false;
    for (size_t i = 0; i < candidate; i++)
        if (!is_on(s->list, count, i) && are_alike(s->rig, i, candidate))
            return false;
    return true;
}

static void try_all(struct search *s, size_t count)
{
    if (count > s->longest)
        s->longest = count;
    for (size_t i = 0; i < s->rig->count && s->longest < s->n; i++)
        if (is_worth_trying(s, count, i)) {
            s->list[count] = i;
            try_all(s, count + 1);
        }
}

static size_t longest_legal(const struct rig *rig, size_t n)
{
    struct search s = {.rig = rig, .n = n < rig->count ? n : rig->count};
    try_all(&s, 0);
    return s.longest;
}

/* One cap, at most one key each: there the most frequent first is the best that can be done. */
Test(caps, repair_reaches_what_any_order_can)
{
    struct random rng;
    random_init(&rng, 20260703);
    for (int stuck = 0; stuck < 300;) {
        struct rig rig;
        draw(&rig, &rng, 2, 8, 1, 1);
        size_t n = 2 + random_below(&rng, rig.count - 1);
        place_in_order(&rig, n);
        if (rig.caps.count < n) {
            size_t before = rig.caps.count, longest = longest_legal(&rig, n);
            cr_assert(caps_repair(&rig.caps, rig.count, n, &rig.arena));
            cr_assert_eq(rig.caps.count, longest, "stuck list %d: %zu places, were %zu, could be %zu", stuck,
                         rig.caps.count, before, longest);
            check_list(&rig);
            stuck++;
        }
        arena_close(&rig.arena);
    }
}

Test(caps, repair_under_several_is_legal_and_never_shorter)
{
    struct random rng;
    random_init(&rng, 20260704);
    for (int round = 0; round < 200; round++) {
        struct rig rig;
        draw(&rig, &rng, 10, POOL_MOST, CAPS, KEYS_EACH);
        size_t n = rig.count / (1 + random_below(&rng, 2));
        place_in_order(&rig, n);
        size_t before = rig.caps.count;
        cr_assert(caps_repair(&rig.caps, rig.count, n, &rig.arena));
        cr_assert(rig.caps.count >= before && rig.caps.count <= n, "%zu places, were %zu", rig.caps.count, before);
        check_list(&rig);
        arena_close(&rig.arena);
    }
}

/* ---- the bound */

static size_t bound_of(struct rig *rig, size_t n)
{
    size_t bound, used_bytes = arena_used(&rig->arena);
    cr_assert(caps_bound(rig->cap, rig->cap_count, rig->count, n, &bound, &rig->arena));
    cr_assert_eq(arena_used(&rig->arena), used_bytes);
    return bound;
}

Test(caps, bound_by_hand)
{
    struct rig rig;
    arrange(&rig, 6);
    cr_assert_eq(bound_of(&rig, 4), 4);
    cr_assert_eq(bound_of(&rig, 9), 6, "there are no more");
    add_letters(&rig, 1, 2, "AAAAA.");
    cr_assert_eq(bound_of(&rig, 6), 3);
    cr_assert_eq(bound_of(&rig, 2), 2);
    add_letters(&rig, 2, 0, "AAAAAA");
    cr_assert_eq(bound_of(&rig, 6), 2, "the strictest one");
    cr_assert_eq(bound_of(&rig, 0), 0);
    struct arena none = {0};
    size_t bound;
    cr_assert_not(caps_bound(rig.cap, rig.cap_count, rig.count, 6, &bound, &none));
    arena_close(&rig.arena);
}

Test(caps, bound_is_never_below_what_is_possible)
{
    struct random rng;
    random_init(&rng, 20260705);
    for (uint32_t round = 0; round < 400; round++) {
        struct rig rig;
        draw(&rig, &rng, 1, 7, 2, 1 + round % 2);
        size_t n = 1 + random_below(&rng, 8), longest = longest_legal(&rig, n), bound = bound_of(&rig, n);
        cr_assert(bound >= longest && bound <= n, "%zu, but %zu places can be filled", bound, longest);
        arena_close(&rig.arena);
    }
}
