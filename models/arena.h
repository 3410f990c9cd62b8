/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for one request at a time: handed out by moving a pointer, given back all at once. Each worker owns one arena, marks it
 * before a request and rewinds it after, so handlers free nothing and leak nothing.
 *
 * Memory comes in chunks that never move: pointers stay good until a rewind to before them. The limit counts what was handed out,
 * each piece rounded up to 64 bytes, so the same requests fit or fail whatever came before; from the system an arena holds at most
 * about twice its limit. One thread at a time. */
#ifndef RECSYS_MODELS_ARENA_H
#define RECSYS_MODELS_ARENA_H

#include <stddef.h>

#define ARENA_ALIGNMENT_BYTES   64 /* a cache line, and the widest vector register */
#define ARENA_FIRST_CHUNK_BYTES ((size_t)256 << 10)

struct arena_chunk;

/* Embedded by its owner. All-zero is an arena with a limit of 0. */
struct arena {
    size_t limit_bytes;
    size_t used_bytes, peak_bytes;
    size_t position_bytes;       /* handed out of `current` */
    struct arena_chunk *first;   /* owned list; NULL before the first allocation */
    struct arena_chunk *current; /* the chunks after it are empty */
};

/* A state to return to. */
struct arena_mark {
    struct arena_chunk *chunk;
    size_t position_bytes, used_bytes;
};

/* Allocates nothing yet. */
void arena_init(struct arena *arena, size_t limit_bytes);

/* Return all memory. Accepts all-zero, leaves all-zero. */
void arena_close(struct arena *arena);

/* `size_bytes` of uninitialised memory aligned to 64 bytes; a pointer of its own even for 0. NULL when the limit would be passed or
 * the system has no memory; the arena is then as before. */
void *arena_alloc(struct arena *arena, size_t size_bytes) __attribute__((warn_unused_result));

/* The same for `count` floats; NULL also when their size overflows. */
float *arena_floats(struct arena *arena, size_t count) __attribute__((warn_unused_result));

/* `count` elements of `size_bytes`, all zero; NULL also when their size overflows. */
void *arena_zeroed(struct arena *arena, size_t count, size_t size_bytes) __attribute__((warn_unused_result));

struct arena_mark arena_mark(const struct arena *arena);

/* Give back everything handed out since `mark`, which must be of this arena and not older than a mark already returned to. The
 * memory is kept for the next request. */
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Bytes handed out now, and the most there ever were at once since arena_init. */
size_t arena_used(const struct arena *arena);
size_t arena_peak(const struct arena *arena);

#endif
