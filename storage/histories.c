/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/histories.h"

#include "storage/history_window.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Out of memory is an error of the call: an element that could not be added has hh.tbl NULL. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#define SHARD_BITS 4
#define SHARDS     (1 << SHARD_BITS)

/* One event more than is kept: it shows that there are older ones, and the position of one of them. */
#define LOAD_MAX (HISTORIES_EVENTS_MAX + 1)

/* How often a reader whose load was overtaken by events asks again, before it leaves the loading to the next one. */
#define LOADS_MAX 3

/* What malloc adds to a block. */
#define BLOCK_OVERHEAD_BYTES 16

/* Users that do not exist, and places of users being loaded, may push histories out until they fill this part of
 * the memory: a flood of made-up names must not empty the cache. */
#define STRANGERS_PART 8

/* A user. It is loading (load != 0: placeholder without events), unknown (user_id 0) or known. */
struct entry {
    UT_hash_handle hh;
    struct entry *prev, *next; /* in the list of its kind */
    uint64_t load;             /* the ticket of the load that will fill it */
    bool stale;                /* an event came in since that load began to read */
    int64_t user_id;
    size_t capacity; /* of window.events */
    struct history_window window;
    char name[];
};

struct recency {
    struct entry *head; /* most recently used; head->prev is the least */
    size_t bytes;
};

struct shard {
    pthread_mutex_t lock; /* guards all below */
    struct entry *by_name;
    struct recency known;
    struct recency strangers; /* loading or unknown */
    size_t known_count;
    size_t bytes_max;
    uint64_t last_ticket;
};

struct histories {
    struct shard shards[SHARDS];
};

struct key {
    const char *name;
    size_t length;
    uint64_t hash;
};

static struct key key_of(const char *name)
{
    size_t length = strlen(name);
    return (struct key){.name = name, .length = length, .hash = XXH3_64bits(name, length)};
}

/* The shard takes the top bits of the hash, the map in it the low ones. */
static struct shard *shard_of(struct histories *histories, const struct key *key)
{
    return &histories->shards[key->hash >> (64 - SHARD_BITS)];
}

/* ---- shards; the caller holds the lock */

static size_t entry_bytes(const struct entry *entry)
{
    size_t bytes = sizeof *entry + entry->hh.keylen + 1 + BLOCK_OVERHEAD_BYTES;
    if (entry->capacity > 0)
        bytes += entry->capacity * sizeof(struct store_event) + BLOCK_OVERHEAD_BYTES;
    return bytes;
}

static size_t table_bytes(const struct shard *shard)
{
    if (shard->by_name == NULL)
        return 0;
    return sizeof(UT_hash_table) + shard->by_name->hh.tbl->num_buckets * sizeof(UT_hash_bucket) +
           2 * BLOCK_OVERHEAD_BYTES;
}

static size_t shard_bytes(const struct shard *shard)
{
    return shard->known.bytes + shard->strangers.bytes + table_bytes(shard);
}

/* An entry's kind and size change only while it is unlinked, so that the sums are right; and what is unlinked is
 * not evicted. */
static void shard_unlink(struct shard *shard, struct entry *entry)
{
    struct recency *list = entry->user_id == 0 ? &shard->strangers : &shard->known;
    DL_DELETE(list->head, entry);
    list->bytes -= entry_bytes(entry);
    shard->known_count -= entry->user_id != 0;
}

/* As the most recently used of its kind. */
static void shard_link(struct shard *shard, struct entry *entry)
{
    struct recency *list = entry->user_id == 0 ? &shard->strangers : &shard->known;
    DL_PREPEND(list->head, entry);
    list->bytes += entry_bytes(entry);
    shard->known_count += entry->user_id != 0;
}

/* Free an unlinked entry. */
static void shard_delete(struct shard *shard, struct entry *entry)
{
    HASH_DELETE(hh, shard->by_name, entry);
    free(entry->window.events);
    free(entry);
}

static void shard_remove(struct shard *shard, struct entry *entry)
{
    shard_unlink(shard, entry);
    shard_delete(shard, entry);
}

static void shard_clear(struct shard *shard)
{
    while (shard->known.head != NULL)
        shard_remove(shard, shard->known.head);
    while (shard->strangers.head != NULL)
        shard_remove(shard, shard->strangers.head);
}

/* Evict until `bytes` more fit. False, with nobody evicted, where they never will. */
static bool shard_make_room(struct shard *shard, size_t bytes)
{
    if (table_bytes(shard) + bytes > shard->bytes_max)
        return false;
    while (shard_bytes(shard) + bytes > shard->bytes_max) {
        bool known = shard->known.head != NULL &&
                     (shard->strangers.head == NULL || shard->strangers.bytes <= shard->bytes_max / STRANGERS_PART);
        shard_remove(shard, known ? shard->known.head->prev : shard->strangers.head->prev);
    }
    return true;
}

static struct entry *shard_find(struct shard *shard, const struct key *key)
{
    struct entry *entry;
    HASH_FIND_BYHASHVALUE(hh, shard->by_name, key->name, key->length, (unsigned)key->hash, entry);
    return entry;
}

/* A placeholder for the load that its ticket names. NULL: there is no memory for it. */
static struct entry *shard_insert(struct shard *shard, const struct key *key)
{
    struct entry *entry = malloc(sizeof *entry + key->length + 1);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.load = ++shard->last_ticket};
    memcpy(entry->name, key->name, key->length + 1);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, shard->by_name, entry->name, key->length, (unsigned)key->hash, entry);
    if (entry->hh.tbl == NULL) {
        free(entry);
        return NULL;
    }
    if (!shard_make_room(shard, entry_bytes(entry))) {
        shard_delete(shard, entry);
        return NULL;
    }
    shard_link(shard, entry);
    return entry;
}

/* The entry is unlinked. */
static bool shard_grow(struct shard *shard, struct entry *entry, size_t capacity)
{
    if (capacity <= entry->capacity)
        return true;
    size_t added = (capacity - entry->capacity) * sizeof(struct store_event) + BLOCK_OVERHEAD_BYTES;
    if (!shard_make_room(shard, entry_bytes(entry) + added))
        return false;
    struct store_event *events = reallocarray(entry->window.events, capacity, sizeof *events);
    if (events == NULL)
        return false;
    entry->window.events = events;
    entry->capacity = capacity;
    return true;
}

/* What was loaded becomes the entry's; or, where there is no memory, the entry goes. */
static void shard_fill(struct shard *shard, struct entry *entry, int64_t user_id, const struct history_window *loaded)
{
    shard_unlink(shard, entry);
    if (!shard_grow(shard, entry, loaded->count)) {
        shard_delete(shard, entry);
        return;
    }
    struct store_event *events = entry->window.events;
    if (loaded->count > 0)
        memcpy(events, loaded->events, loaded->count * sizeof *events);
    entry->window = *loaded;
    entry->window.events = events;
    entry->user_id = user_id;
    entry->load = 0;
    shard_link(shard, entry);
}

/* An entry that cannot take the event goes: no history is better than one with a hole. */
static void shard_append(struct shard *shard, struct entry *entry, const struct store_event *event)
{
    struct history_window *window = &entry->window;
    size_t capacity = entry->capacity;
    if (window->count == capacity && capacity < HISTORIES_EVENTS_MAX) {
        capacity += capacity / 4 + 4;
        capacity = capacity < HISTORIES_EVENTS_MAX ? capacity : HISTORIES_EVENTS_MAX;
    }
    shard_unlink(shard, entry);
    /* Another number under the same name: the user was erased and came back. */
    bool same_user = entry->user_id == 0 || entry->user_id == event->user_id;
    if (!same_user || !shard_grow(shard, entry, capacity)) {
        shard_delete(shard, entry);
        return;
    }
    entry->user_id = event->user_id;
    history_window_insert(window, event);
    shard_link(shard, entry);
}

/* ---- reading */

static bool history_reserve(struct history *history, size_t capacity, struct status *st)
{
    if (capacity <= history->capacity)
        return true;
    struct store_event *events = reallocarray(history->events, capacity, sizeof *events);
    if (events == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "history of %zu events: out of memory",
                           capacity);
    history->events = events;
    history->capacity = capacity;
    return true;
}

/* What the store knows. */
static bool read_store(struct store *reader, const char *user, int64_t at_position, size_t newest, struct history *out,
                       struct status *st)
{
    int64_t user_id;
    size_t count = 0;
    bool created, more = false;
    if (!history_reserve(out, newest, st) || !store_user_find(reader, user, false, &user_id, &created, st))
        return false;
    if (user_id != 0 && !store_event_history(reader, user_id, at_position, out->events, newest, &count, &more, st))
        return false;
    out->user_id = user_id;
    out->count = count;
    out->complete = !more;
    return true;
}

/* What memory knows: true, and it is in `out`. Where there is no entry, one is made, and the caller holds its
 * ticket and has to load it. */
static bool read_memory(struct shard *shard, const struct key *key, int64_t at_position, size_t newest,
                        struct history *out, uint64_t *ticket)
{
    bool answered = false;
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = shard_find(shard, key);
    if (entry == NULL) {
        entry = shard_insert(shard, key);
        *ticket = entry == NULL ? 0 : entry->load;
    } else if (entry->load == 0) {
        shard_unlink(shard, entry);
        shard_link(shard, entry);
        answered = history_window_answer(&entry->window, at_position, newest, out);
        out->user_id = answered ? entry->user_id : 0;
        out->cached = answered;
    }
    pthread_mutex_unlock(&shard->lock);
    return answered;
}

/* Bring home what a load read, NULL where it failed. False: an event was added meanwhile, the load is to be
 * repeated. An entry that is gone, or was made again by somebody else, was dropped or evicted since, perhaps
 * because of an erasure: then nothing is kept. */
static bool finish_load(struct shard *shard, const struct key *key, uint64_t ticket, int64_t user_id,
                        const struct history_window *loaded, bool last)
{
    bool finished = true;
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = shard_find(shard, key);
    if (entry != NULL && entry->load == ticket) {
        finished = loaded == NULL || !entry->stale || last;
        if (!finished)
            entry->stale = false;
        else if (loaded == NULL || entry->stale)
            shard_remove(shard, entry);
        else
            shard_fill(shard, entry, user_id, loaded);
    }
    pthread_mutex_unlock(&shard->lock);
    return finished;
}

/* The window that a read of LOAD_MAX events into `out` shows. */
static struct history_window loaded_window(const struct history *out)
{
    struct history_window window = {.events = out->events, .count = out->count, .complete = out->complete};
    window.older_position = INT64_MAX;
    if (window.count == LOAD_MAX) {
        history_window_note_older(&window, window.events[0].position);
        window.events++;
        window.count--;
    }
    return window;
}

static bool load(struct shard *shard, const struct key *key, uint64_t ticket, struct store *reader, struct history *out,
                 struct history_window *window, struct status *st)
{
    for (int loads = 1;; loads++) {
        if (!read_store(reader, key->name, INT64_MAX, LOAD_MAX, out, st)) {
            finish_load(shard, key, ticket, 0, NULL, true);
            return false;
        }
        *window = loaded_window(out);
        if (finish_load(shard, key, ticket, out->user_id, window, loads == LOADS_MAX))
            return true;
    }
}

bool histories_read(struct histories *histories, struct store *reader, const char *user, int64_t at_position,
                    size_t newest, struct history *out, struct status *st)
{
    struct key key = key_of(user);
    struct shard *shard = shard_of(histories, &key);
    struct history_window window;
    uint64_t ticket = 0;
    bool ok = false;
    *out = (struct history){.events = out->events, .capacity = out->capacity};
    if (newest > HISTORIES_EVENTS_MAX)
        newest = HISTORIES_EVENTS_MAX;
    if (!history_reserve(out, newest, st))
        goto out;
    ok = read_memory(shard, &key, at_position, newest, out, &ticket);
    if (ok)
        goto out;
    if (ticket != 0) {
        if (!load(shard, &key, ticket, reader, out, &window, st))
            goto out;
        ok = history_window_answer(&window, at_position, newest, out);
    }
    if (!ok)
        ok = read_store(reader, user, at_position, newest, out, st);
out:
    if (!ok)
        *out = (struct history){.events = out->events, .capacity = out->capacity};
    return ok;
}

void history_close(struct history *history)
{
    free(history->events);
    *history = (struct history){.events = NULL};
}

/* ---- the others */

struct histories *histories_new(size_t bytes_max)
{
    struct histories *histories = calloc(1, sizeof *histories);
    if (histories == NULL)
        return NULL;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&histories->shards[i].lock, NULL);
        histories->shards[i].bytes_max = bytes_max / SHARDS;
    }
    return histories;
}

void histories_free(struct histories *histories)
{
    if (histories == NULL)
        return;
    histories_drop(histories, NULL);
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&histories->shards[i].lock);
    free(histories);
}

void histories_append(struct histories *histories, const char *user, const struct store_event *event)
{
    struct key key = key_of(user);
    struct shard *shard = shard_of(histories, &key);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = shard_find(shard, &key);
    if (entry != NULL && entry->load != 0)
        entry->stale = true;
    else if (entry != NULL)
        shard_append(shard, entry, event);
    pthread_mutex_unlock(&shard->lock);
}

void histories_drop(struct histories *histories, const char *user)
{
    struct key key = key_of(user == NULL ? "" : user);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &histories->shards[i];
        if (user != NULL && shard != shard_of(histories, &key))
            continue;
        pthread_mutex_lock(&shard->lock);
        struct entry *entry = user == NULL ? NULL : shard_find(shard, &key);
        if (user == NULL)
            shard_clear(shard);
        else if (entry != NULL)
            shard_remove(shard, entry);
        pthread_mutex_unlock(&shard->lock);
    }
}

void histories_size(struct histories *histories, size_t *users, size_t *bytes)
{
    *users = 0;
    *bytes = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &histories->shards[i];
        pthread_mutex_lock(&shard->lock);
        *users += shard->known_count;
        *bytes += shard_bytes(shard);
        pthread_mutex_unlock(&shard->lock);
    }
}
