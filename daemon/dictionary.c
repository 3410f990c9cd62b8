/* SPDX-License-Identifier: Apache-2.0
 *
 * Not uthash: an attribute may well be different for each of a million items, and a handle of uthash is larger than
 * everything here. */
#include "daemon/dictionary.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CHUNK_BYTES     ((size_t)64 << 10)
#define SLOTS_MIN       16
#define ALIGNMENT_BYTES sizeof(uint32_t) /* a string may be an array of these */

struct dictionary_chunk {
    struct dictionary_chunk *next;
    char bytes[];
};

struct dictionary_entry {
    const void *bytes;
    uint32_t size_bytes, hash;
};

_Static_assert(offsetof(struct dictionary_chunk, bytes) % ALIGNMENT_BYTES == 0, "the first string is aligned");

/* ---- memory */

static void count_bytes(struct dictionary_memory *memory, size_t bytes)
{
    atomic_fetch_add_explicit(&memory->bytes, bytes, memory_order_relaxed);
}

/* A copy in the newest chunk, which is made where it has no room. NULL out of memory. A string of no bytes takes some
 * all the same, so that the first one has a place. */
static void *keep(struct dictionary_memory *memory, const void *bytes, size_t size_bytes)
{
    size_t needed =
        size_bytes == 0 ? ALIGNMENT_BYTES : (size_bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    if (needed > memory->chunk_room) {
        size_t chunk_bytes = needed > CHUNK_BYTES ? needed : CHUNK_BYTES;
        struct dictionary_chunk *chunk = malloc(sizeof *chunk + chunk_bytes);
        if (chunk == NULL)
            return NULL;
        chunk->next = memory->chunks;
        memory->chunks = chunk;
        memory->chunk_free = chunk->bytes;
        memory->chunk_room = chunk_bytes;
        count_bytes(memory, sizeof *chunk + chunk_bytes);
    }
    void *kept = memory->chunk_free;
    memcpy(kept, bytes, size_bytes);
    memory->chunk_free += needed;
    memory->chunk_room -= needed;
    return kept;
}

void dictionary_memory_close(struct dictionary_memory *memory)
{
    while (memory->chunks != NULL) {
        struct dictionary_chunk *chunk = memory->chunks;
        memory->chunks = chunk->next;
        free(chunk);
    }
}

size_t dictionary_memory_bytes(const struct dictionary_memory *memory)
{
    return atomic_load_explicit(&memory->bytes, memory_order_relaxed);
}

/* ---- finding */

static uint32_t hash_of(const void *bytes, size_t size_bytes)
{
    return (uint32_t)XXH3_64bits(bytes, size_bytes);
}

bool dictionary_find(const struct dictionary *dictionary, const void *bytes, size_t size_bytes, uint32_t *number)
{
    if (dictionary->slot_count == 0)
        return false;
    const uint32_t *slots = dictionary->slots;
    uint32_t hash = hash_of(bytes, size_bytes);
    size_t mask = dictionary->slot_count - 1;
    for (size_t slot = hash & mask; slots[slot] != 0; slot = (slot + 1) & mask) { /* half of them are free */
        const struct dictionary_entry *entry = &dictionary->entries[slots[slot] - 1];
        if (entry->hash == hash && entry->size_bytes == size_bytes && memcmp(entry->bytes, bytes, size_bytes) == 0) {
            *number = slots[slot] - 1;
            return true;
        }
    }
    return false;
}

const void *dictionary_get(const struct dictionary *dictionary, uint32_t number, size_t *size_bytes)
{
    struct dictionary_entry entry = {.bytes = NULL};
    if (number < dictionary->count)
        entry = dictionary->entries[number];
    if (size_bytes != NULL)
        *size_bytes = entry.size_bytes;
    return entry.bytes;
}

/* ---- adding */

static void fill_slot(uint32_t *slots, size_t slot_count, uint32_t hash, uint32_t number)
{
    size_t slot = hash & (slot_count - 1);
    while (slots[slot] != 0)
        slot = (slot + 1) & (slot_count - 1);
    slots[slot] = number + 1;
}

/* Where there is memory for the entries and not for the slots, the entries have more room than they say: no harm. */
static bool grow(struct dictionary *dictionary, struct dictionary_memory *memory)
{
    size_t slot_count = dictionary->slot_count == 0 ? SLOTS_MIN : dictionary->slot_count * 2;
    struct dictionary_entry *entries = reallocarray(dictionary->entries, slot_count / 2, sizeof *entries);
    if (entries == NULL)
        return false;
    dictionary->entries = entries;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t number = 0; number < dictionary->count; number++)
        fill_slot(slots, slot_count, entries[number].hash, number);
    count_bytes(memory, (slot_count - dictionary->slot_count) * (sizeof *slots + sizeof *entries / 2));
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->slot_count = slot_count;
    return true;
}

bool dictionary_add(struct dictionary *dictionary, struct dictionary_memory *memory, const void *bytes,
                    size_t size_bytes, uint32_t *number)
{
    if (dictionary->count >= dictionary->slot_count / 2 && !grow(dictionary, memory))
        return false;
    const void *kept = keep(memory, bytes, size_bytes);
    if (kept == NULL)
        return false;
    uint32_t hash = hash_of(bytes, size_bytes);
    *number = dictionary->count++;
    dictionary->entries[*number] =
        (struct dictionary_entry){.bytes = kept, .size_bytes = (uint32_t)size_bytes, .hash = hash};
    fill_slot(dictionary->slots, dictionary->slot_count, hash, *number);
    return true;
}

void dictionary_close(struct dictionary *dictionary)
{
    free(dictionary->entries);
    free(dictionary->slots);
}
