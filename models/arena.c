/* SPDX-License-Identifier: Apache-2.0 */
#include "models/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif

/* Under AddressSanitizer memory that is not handed out is poisoned, so that use after a rewind is reported. */
#ifdef POISONING
#include <sanitizer/asan_interface.h>
#define poison(at, size_bytes)   __asan_poison_memory_region(at, size_bytes)
#define unpoison(at, size_bytes) __asan_unpoison_memory_region(at, size_bytes)
#else
#define poison(at, size_bytes)   ((void)(at), (void)(size_bytes))
#define unpoison(at, size_bytes) ((void)(at), (void)(size_bytes))
#endif

struct arena_chunk {
    _Alignas(ARENA_ALIGNMENT_BYTES) struct arena_chunk *next;
    size_t capacity_bytes; /* of `bytes`, a multiple of 64 */
    _Alignas(ARENA_ALIGNMENT_BYTES) unsigned char bytes[];
};

_Static_assert(ARENA_FIRST_CHUNK_BYTES % ARENA_ALIGNMENT_BYTES == 0, "aligned_alloc wants a multiple of the alignment");

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        unpoison(chunk->bytes, chunk->capacity_bytes);
        free(chunk);
        chunk = next;
    }
}

void arena_close(struct arena *arena)
{
    free_chunks(arena->first);
    *arena = (struct arena){0};
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* What the next chunk should hold: twice the last one, but no more than the limit lets be handed out, and never less than what is
 * asked for now. */
static size_t next_capacity(const struct arena *arena, size_t wanted_bytes)
{
    size_t left_bytes = (arena->limit_bytes - arena->used_bytes) / ARENA_ALIGNMENT_BYTES * ARENA_ALIGNMENT_BYTES;
    size_t capacity_bytes = ARENA_FIRST_CHUNK_BYTES - sizeof(struct arena_chunk);
    if (arena->current != NULL && __builtin_mul_overflow(arena->current->capacity_bytes, 2, &capacity_bytes))
        capacity_bytes = left_bytes;
    return larger(wanted_bytes, smaller(capacity_bytes, left_bytes));
}

static struct arena_chunk *new_chunk(size_t capacity_bytes)
{
    size_t total_bytes;
    if (__builtin_add_overflow(capacity_bytes, sizeof(struct arena_chunk), &total_bytes))
        return NULL;
    struct arena_chunk *chunk = aligned_alloc(ARENA_ALIGNMENT_BYTES, total_bytes);
    if (chunk == NULL)
        return NULL;
    chunk->next = NULL;
    chunk->capacity_bytes = capacity_bytes;
    poison(chunk->bytes, capacity_bytes);
    return chunk;
}

/* Make a chunk current that holds `wanted_bytes`: the next one kept from before if it is large enough; if not, it and those behind
 * it would only add up, so they go and a larger one comes. */
static bool advance(struct arena *arena, size_t wanted_bytes)
{
    struct arena_chunk **link = arena->current == NULL ? &arena->first : &arena->current->next;
    if (*link == NULL || (*link)->capacity_bytes < wanted_bytes) {
        free_chunks(*link);
        *link = new_chunk(next_capacity(arena, wanted_bytes));
        if (*link == NULL)
            return false;
    }
    arena->current = *link;
    arena->position_bytes = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    size_t rounded_bytes;
    if (__builtin_add_overflow(larger(size_bytes, 1), ARENA_ALIGNMENT_BYTES - 1, &rounded_bytes))
        return NULL;
    rounded_bytes -= rounded_bytes % ARENA_ALIGNMENT_BYTES;
    if (rounded_bytes > arena->limit_bytes - arena->used_bytes)
        return NULL;
    if (arena->current == NULL || rounded_bytes > arena->current->capacity_bytes - arena->position_bytes)
        if (!advance(arena, rounded_bytes))
            return NULL;
    void *memory = arena->current->bytes + arena->position_bytes;
    unpoison(memory, size_bytes);
    arena->position_bytes += rounded_bytes;
    arena->used_bytes += rounded_bytes;
    arena->peak_bytes = larger(arena->peak_bytes, arena->used_bytes);
    return memory;
}

float *arena_floats(struct arena *arena, size_t count)
{
    size_t size_bytes;
    if (__builtin_mul_overflow(count, sizeof(float), &size_bytes))
        return NULL;
    return arena_alloc(arena, size_bytes);
}

void *arena_zeroed(struct arena *arena, size_t count, size_t size_bytes)
{
    size_t total_bytes;
    if (__builtin_mul_overflow(count, size_bytes, &total_bytes))
        return NULL;
    void *memory = arena_alloc(arena, total_bytes);
    return memory == NULL ? NULL : memset(memory, 0, total_bytes);
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->current, arena->position_bytes, arena->used_bytes};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    assert(mark.used_bytes <= arena->used_bytes);
    if (mark.chunk == NULL) /* marked before the first allocation */
        mark.chunk = arena->first;
    if (mark.chunk == NULL)
        return;
    poison(mark.chunk->bytes + mark.position_bytes, mark.chunk->capacity_bytes - mark.position_bytes);
    for (struct arena_chunk *chunk = mark.chunk; chunk != arena->current;) {
        chunk = chunk->next;
        poison(chunk->bytes, chunk->capacity_bytes);
    }
    arena->current = mark.chunk;
    arena->position_bytes = mark.position_bytes;
    arena->used_bytes = mark.used_bytes;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used_bytes;
}

size_t arena_peak(const struct arena *arena)
{
    return arena->peak_bytes;
}
