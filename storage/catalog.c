/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/catalog.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Out of memory is an error of the call: an element that could not be added has hh.tbl NULL. */
#define HASH_NONFATAL_OOM                    1
#define HASH_FUNCTION(key, size_bytes, hash) (hash) = (unsigned)XXH3_64bits((key), (size_bytes))
#include <uthash.h>

#define SLOTS_MIN 1024

/* The name outlives the records that carry it, and item_ids are never reused: entries are only added. */
struct name_entry {
    UT_hash_handle hh;
    uint32_t item_id;
    char name[];
};

/* The position is repeated here so that a search for what changed does not touch every record. */
struct slot {
    struct catalog_item *item; /* NULL: an item_id that was never published */
    int64_t position;
};

struct catalog {
    pthread_rwlock_t lock; /* guards all below */
    struct name_entry *by_name;
    struct slot *slots; /* [slot_capacity], by item_id; set up to slot_count */
    size_t slot_count, slot_capacity;
    size_t item_count; /* not deleted */
    int64_t position;
    size_t space_count;
    struct catalog_space spaces[CATALOG_SPACES_MAX];
};

/* Readers come all the time: with the default kind the writer might never get its turn. */
static bool lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    bool ok = pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0 &&
              pthread_rwlock_init(lock, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return ok;
}

struct catalog *catalog_new(void)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (catalog == NULL)
        return NULL;
    if (!lock_init(&catalog->lock)) {
        free(catalog);
        return NULL;
    }
    return catalog;
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t id = 0; id < catalog->slot_count; id++)
        catalog_item_release(catalog->slots[id].item);
    free(catalog->slots);
    struct name_entry *entry = catalog->by_name;
    HASH_CLEAR(hh, catalog->by_name);
    while (entry != NULL) {
        struct name_entry *next = entry->hh.next;
        free(entry);
        entry = next;
    }
    pthread_rwlock_destroy(&catalog->lock);
    free(catalog);
}

int64_t catalog_position(struct catalog *catalog)
{
    pthread_rwlock_rdlock(&catalog->lock);
    int64_t position = catalog->position;
    pthread_rwlock_unlock(&catalog->lock);
    return position;
}

/* ---- changing; the caller holds the lock for writing */

/* Make slots[item_id] exist. */
static bool reserve_slot(struct catalog *catalog, uint32_t item_id)
{
    size_t needed = (size_t)item_id + 1;
    if (needed > catalog->slot_capacity) {
        size_t capacity = catalog->slot_capacity * 2 > SLOTS_MIN ? catalog->slot_capacity * 2 : SLOTS_MIN;
        if (capacity < needed)
            capacity = needed;
        struct slot *slots = reallocarray(catalog->slots, capacity, sizeof *slots);
        if (slots == NULL)
            return false;
        catalog->slots = slots;
        catalog->slot_capacity = capacity;
    }
    for (; catalog->slot_count < needed; catalog->slot_count++)
        catalog->slots[catalog->slot_count] = (struct slot){.item = NULL};
    return true;
}

static bool add_name(struct catalog *catalog, const char *name, uint32_t item_id)
{
    size_t length = strlen(name);
    struct name_entry *entry = malloc(sizeof *entry + length + 1);
    if (entry == NULL)
        return false;
    entry->item_id = item_id;
    memcpy(entry->name, name, length + 1);
    HASH_ADD_KEYPTR(hh, catalog->by_name, entry->name, length, entry);
    if (entry->hh.tbl == NULL) {
        free(entry);
        return false;
    }
    return true;
}

static struct catalog_space *find_space_id(struct catalog *catalog, uint32_t space_id)
{
    for (size_t i = 0; i < catalog->space_count; i++) {
        if (catalog->spaces[i].space.space_id == space_id)
            return &catalog->spaces[i];
    }
    return NULL;
}

static void count_item(struct catalog *catalog, const struct catalog_item *item)
{
    if (item->item.deleted)
        return;
    catalog->item_count++;
    for (size_t i = 0; i < item->feature_count; i++) {
        struct catalog_space *space = find_space_id(catalog, item->features[i]->space_id);
        assert(space != NULL);
        space->item_count++;
    }
}

static void uncount_item(struct catalog *catalog, const struct catalog_item *item)
{
    if (item->item.deleted)
        return;
    catalog->item_count--;
    for (size_t i = 0; i < item->feature_count; i++)
        find_space_id(catalog, item->features[i]->space_id)->item_count--;
}

/* Returns the record that was there before, or NULL. */
static struct catalog_item *replace_item(struct catalog *catalog, struct catalog_item *item)
{
    struct slot *slot = &catalog->slots[item->item.item_id];
    struct catalog_item *old = slot->item;
    if (old != NULL) {
        assert(strcmp(old->item.name, item->item.name) == 0);
        uncount_item(catalog, old);
    }
    count_item(catalog, item);
    slot->item = item;
    slot->position = item->item.position;
    if (catalog->position < slot->position)
        catalog->position = slot->position;
    return old;
}

bool catalog_publish(struct catalog *catalog, struct catalog_item *item, struct status *st)
{
    uint32_t item_id = item->item.item_id;
    assert(item_id != 0 && item->item.name != NULL);
    struct catalog_item *unused = item;
    pthread_rwlock_wrlock(&catalog->lock);
    bool ok = reserve_slot(catalog, item_id) &&
              (catalog->slots[item_id].item != NULL || add_name(catalog, item->item.name, item_id));
    if (ok)
        unused = replace_item(catalog, item);
    pthread_rwlock_unlock(&catalog->lock);
    catalog_item_release(unused);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "item catalogue: out of memory");
}

bool catalog_add_space(struct catalog *catalog, const struct store_space *space, struct status *st)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct catalog_space *known = find_space_id(catalog, space->space_id);
    if (known == NULL && catalog->space_count < CATALOG_SPACES_MAX) {
        known = &catalog->spaces[catalog->space_count++];
        known->item_count = 0;
    }
    if (known != NULL)
        known->space = *space;
    pthread_rwlock_unlock(&catalog->lock);
    return known != NULL || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_SPACES",
                                        "modality '%s' of encoder '%s': there are %d kinds of vectors already",
                                        space->modality, space->encoder, CATALOG_SPACES_MAX);
}

/* ---- reading */

void catalog_find(struct catalog *catalog, const char *const *names, size_t count, uint32_t *item_ids)
{
    pthread_rwlock_rdlock(&catalog->lock);
    for (size_t i = 0; i < count; i++) {
        struct name_entry *entry;
        HASH_FIND(hh, catalog->by_name, names[i], strlen(names[i]), entry);
        item_ids[i] = entry == NULL ? 0 : entry->item_id;
    }
    pthread_rwlock_unlock(&catalog->lock);
}

struct catalog_item *catalog_get(struct catalog *catalog, uint32_t item_id)
{
    struct catalog_item *item = NULL;
    pthread_rwlock_rdlock(&catalog->lock);
    if (item_id < catalog->slot_count && catalog->slots[item_id].item != NULL)
        item = catalog_item_acquire(catalog->slots[item_id].item);
    pthread_rwlock_unlock(&catalog->lock);
    return item;
}

struct collection {
    struct catalog_item **items;
    size_t count, capacity;
};

static bool collection_reserve(struct collection *collection, size_t capacity)
{
    struct catalog_item **items = reallocarray(collection->items, capacity, sizeof(struct catalog_item *));
    if (items == NULL)
        return false;
    collection->items = items;
    collection->capacity = capacity;
    return true;
}

/* The caller holds the lock. */
static bool collect_changed(const struct catalog *catalog, int64_t after_position, struct collection *found)
{
    for (size_t id = 0; id < catalog->slot_count; id++) {
        const struct slot *slot = &catalog->slots[id];
        if (slot->item == NULL || (after_position != 0 && slot->position <= after_position))
            continue;
        if (found->count == found->capacity && !collection_reserve(found, found->capacity * 2 + 64))
            return false;
        found->items[found->count++] = catalog_item_acquire(slot->item);
    }
    return true;
}

bool catalog_collect(struct catalog *catalog, int64_t after_position, struct catalog_item ***items, size_t *count,
                     int64_t *position)
{
    struct collection found = {.items = NULL};
    pthread_rwlock_rdlock(&catalog->lock);
    bool ok = after_position != 0 || collection_reserve(&found, catalog->slot_count + 1);
    ok = ok && collect_changed(catalog, after_position, &found);
    int64_t collected_position = catalog->position;
    pthread_rwlock_unlock(&catalog->lock);
    if (!ok) {
        for (size_t i = 0; i < found.count; i++)
            catalog_item_release(found.items[i]);
        free(found.items);
        return false;
    }
    *items = found.items;
    *count = found.count;
    *position = collected_position;
    return true;
}

size_t catalog_page(struct catalog *catalog, uint32_t after, bool include_deleted, struct catalog_item **out,
                    size_t capacity)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&catalog->lock);
    for (size_t id = (size_t)after + 1; id < catalog->slot_count && count < capacity; id++) {
        struct catalog_item *item = catalog->slots[id].item;
        if (item != NULL && (include_deleted || !item->item.deleted))
            out[count++] = catalog_item_acquire(item);
    }
    pthread_rwlock_unlock(&catalog->lock);
    return count;
}

size_t catalog_spaces(struct catalog *catalog, struct catalog_space out[CATALOG_SPACES_MAX])
{
    pthread_rwlock_rdlock(&catalog->lock);
    size_t count = catalog->space_count;
    memcpy(out, catalog->spaces, count * sizeof out[0]);
    pthread_rwlock_unlock(&catalog->lock);
    return count;
}

bool catalog_find_space(struct catalog *catalog, const char *modality, const char *encoder, struct store_space *space)
{
    bool found = false;
    pthread_rwlock_rdlock(&catalog->lock);
    for (size_t i = 0; i < catalog->space_count && !found; i++) {
        const struct store_space *candidate = &catalog->spaces[i].space;
        found = strcmp(candidate->modality, modality) == 0 && strcmp(candidate->encoder, encoder) == 0;
        if (found)
            *space = *candidate;
    }
    pthread_rwlock_unlock(&catalog->lock);
    return found;
}

size_t catalog_item_count(struct catalog *catalog)
{
    pthread_rwlock_rdlock(&catalog->lock);
    size_t count = catalog->item_count;
    pthread_rwlock_unlock(&catalog->lock);
    return count;
}

uint32_t catalog_largest_id(struct catalog *catalog)
{
    pthread_rwlock_rdlock(&catalog->lock);
    uint32_t largest = catalog->slot_count == 0 ? 0 : (uint32_t)(catalog->slot_count - 1);
    pthread_rwlock_unlock(&catalog->lock);
    return largest;
}
