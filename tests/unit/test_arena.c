/* SPDX-License-Identifier: Apache-2.0 */
#include "models/arena.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define MIB ((size_t)1 << 20)

Test(arena, pieces_are_aligned_and_apart)
{
    static const size_t sizes[] = {1, 63, 64, 65, 0, 1000, 3, 4096, 0, 7};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    unsigned char *piece[COUNT];
    struct arena arena;
    arena_init(&arena, MIB);
    for (size_t i = 0; i < COUNT; i++) {
        piece[i] = arena_alloc(&arena, sizes[i]);
        cr_assert_not_null(piece[i]);
        cr_assert_eq((uintptr_t)piece[i] % ARENA_ALIGNMENT_BYTES, 0);
        memset(piece[i], (int)i + 1, sizes[i]);
        for (size_t before = 0; before < i; before++)
            cr_assert_neq(piece[i], piece[before]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(piece[i][at], i + 1, "piece %zu was overwritten", i);
    arena_close(&arena);
}

Test(arena, limit_counts_what_was_handed_out)
{
    struct arena arena;
    arena_init(&arena, 1000); /* room for 15 lines of 64 bytes */
    for (int i = 0; i < 15; i++)
        cr_assert_not_null(arena_alloc(&arena, 1), "line %d", i);
    cr_assert_eq(arena_used(&arena), 960);
    cr_assert_null(arena_alloc(&arena, 1));
    cr_assert_null(arena_alloc(&arena, 0));
    cr_assert_eq(arena_used(&arena), 960, "a refusal changes nothing");
    arena_close(&arena);
}

Test(arena, absurd_sizes_are_refused)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX - 64));
    cr_assert_null(arena_floats(&arena, SIZE_MAX / sizeof(float) + 1));
    cr_assert_null(arena_floats(&arena, SIZE_MAX / 2 + 2), "4 * (2^63 + 1) is 4 modulo 2^64");
    cr_assert_eq(arena_used(&arena), 0);
    cr_assert_not_null(arena_alloc(&arena, 100), "a refusal does no harm");
    arena_close(&arena);
}

Test(arena, floats_hold_their_count)
{
    struct arena arena;
    arena_init(&arena, MIB);
    float *values = arena_floats(&arena, 1000);
    cr_assert_not_null(values);
    for (int i = 0; i < 1000; i++)
        values[i] = (float)i;
    cr_assert_eq(arena_used(&arena), 4032);
    arena_close(&arena);
}

Test(arena, grows_without_moving)
{
    enum { COUNT = 600 };
    struct arena arena;
    arena_init(&arena, 64 * MIB);
    uint32_t *piece[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        piece[i] = arena_alloc(&arena, 10000);
        cr_assert_not_null(piece[i]);
        for (int at = 0; at < 2500; at++)
            piece[i][at] = i;
    }
    for (uint32_t i = 0; i < COUNT; i++)
        for (int at = 0; at < 2500; at++)
            cr_assert_eq(piece[i][at], i);
    arena_close(&arena);
}

Test(arena, one_piece_larger_than_any_chunk)
{
    struct arena arena;
    arena_init(&arena, 16 * MIB);
    cr_assert_not_null(arena_alloc(&arena, 64));
    unsigned char *large = arena_alloc(&arena, 16 * MIB - 64);
    cr_assert_not_null(large, "the whole of the rest");
    memset(large, 1, 16 * MIB - 64);
    cr_assert_null(arena_alloc(&arena, 1));
    arena_close(&arena);
}

Test(arena, rewind_gives_back_and_reuses)
{
    struct arena arena;
    arena_init(&arena, 4 * MIB);
    uint32_t *kept = arena_alloc(&arena, sizeof *kept);
    *kept = 42;
    struct arena_mark mark = arena_mark(&arena);
    void *first[40];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            void *memory = arena_alloc(&arena, 50000);
            cr_assert_not_null(memory);
            memset(memory, 0xff, 50000);
            if (round == 0)
                first[i] = memory;
            cr_assert_eq(memory, first[i], "round %d: the same chunks serve again", round);
        }
        arena_rewind(&arena, mark);
        cr_assert_eq(arena_used(&arena), 64);
    }
    cr_assert_eq(*kept, 42);
    arena_close(&arena);
}

Test(arena, marks_nest)
{
    struct arena arena;
    arena_init(&arena, 4 * MIB);
    struct arena_mark outer = arena_mark(&arena);
    cr_assert_not_null(arena_alloc(&arena, 300000));
    struct arena_mark inner = arena_mark(&arena);
    cr_assert_not_null(arena_alloc(&arena, 900000));
    size_t used = arena_used(&arena);
    arena_rewind(&arena, inner);
    cr_assert_lt(arena_used(&arena), used);
    cr_assert_geq(arena_used(&arena), 300000);
    arena_rewind(&arena, outer);
    cr_assert_eq(arena_used(&arena), 0);
    arena_rewind(&arena, outer);
    cr_assert_eq(arena_used(&arena), 0);
    arena_close(&arena);
}

Test(arena, peak_outlives_a_rewind)
{
    struct arena arena;
    arena_init(&arena, 4 * MIB);
    struct arena_mark mark = arena_mark(&arena);
    cr_assert_not_null(arena_alloc(&arena, 6400));
    arena_rewind(&arena, mark);
    cr_assert_not_null(arena_alloc(&arena, 640));
    cr_assert_eq(arena_used(&arena), 640);
    cr_assert_eq(arena_peak(&arena), 6400);
    arena_close(&arena);
    cr_assert_eq(arena_peak(&arena), 0);
}

/* What fitted a fresh arena fits a used one, whatever sizes of chunks history left behind. */
Test(arena, history_does_not_matter)
{
    struct arena arena;
    arena_init(&arena, 4 * MIB);
    for (int i = 0; i < 3 * 16; i++)
        cr_assert_not_null(arena_alloc(&arena, 60000));
    arena_rewind(&arena, (struct arena_mark){0});
    cr_assert_not_null(arena_alloc(&arena, 4 * MIB));
    arena_rewind(&arena, (struct arena_mark){0});
    for (int i = 0; i < 3 * 16; i++)
        cr_assert_not_null(arena_alloc(&arena, 60000));
    arena_close(&arena);
}

/* What a piece was filled with is still there until a rewind past it, over many requests of random sizes. */
Test(arena, random_requests)
{
    enum { PIECES = 30 };
    const uint64_t seed = 20240608;
    struct random rng;
    random_init(&rng, seed);
    cr_log_info("seed %llu", (unsigned long long)seed);
    struct arena arena;
    arena_init(&arena, 2 * MIB);
    for (int request = 0; request < 300; request++) {
        struct arena_mark mark = arena_mark(&arena);
        unsigned char *piece[PIECES];
        size_t size[PIECES], used = 0;
        for (int i = 0; i < PIECES; i++) {
            size[i] = (size_t)random_below(&rng, (uint64_t)1 << random_below(&rng, 20));
            size_t rounded = size[i] == 0 ? 64 : (size[i] + 63) / 64 * 64;
            piece[i] = arena_alloc(&arena, size[i]);
            cr_assert_eq(piece[i] != NULL, used + rounded <= 2 * MIB, "request %d, piece %d", request, i);
            used += piece[i] != NULL ? rounded : 0;
            if (piece[i] != NULL)
                memset(piece[i], i, size[i]);
        }
        cr_assert_eq(arena_used(&arena), used);
        for (int i = 0; i < PIECES; i++)
            for (size_t at = 0; piece[i] != NULL && at < size[i]; at += 61)
                cr_assert_eq(piece[i][at], i);
        arena_rewind(&arena, mark);
    }
    arena_close(&arena);
}

#ifdef __SANITIZE_ADDRESS__
Test(arena, memory_not_handed_out_is_poisoned)
{
    struct arena arena;
    arena_init(&arena, 2 * MIB);
    struct arena_mark mark = arena_mark(&arena);
    char *small = arena_alloc(&arena, 10);
    cr_assert(!__asan_address_is_poisoned(small + 9) && __asan_address_is_poisoned(small + 10));
    char *large = arena_alloc(&arena, MIB);
    cr_assert_null(__asan_region_is_poisoned(large, MIB));
    arena_rewind(&arena, mark);
    cr_assert(__asan_address_is_poisoned(small) && __asan_address_is_poisoned(large));
    cr_assert_eq(arena_alloc(&arena, 1), small);
    cr_assert(!__asan_address_is_poisoned(small) && __asan_address_is_poisoned(large));
    arena_close(&arena);
}
#endif

Test(arena, all_zero_is_closed)
{
    struct arena arena = {0};
    arena_close(&arena);
    cr_assert_null(arena_alloc(&arena, 1));
    arena_rewind(&arena, arena_mark(&arena));
    cr_assert_eq(arena_used(&arena), 0);
    arena_init(&arena, MIB);
    arena_close(&arena);
    cr_assert_null(arena.first);
}

Test(arena, rewind_forward_is_our_mistake, .signal = SIGABRT)
{
    struct arena arena;
    arena_init(&arena, MIB);
    struct arena_mark outer = arena_mark(&arena);
    (void)!arena_alloc(&arena, 1);
    struct arena_mark inner = arena_mark(&arena);
    arena_rewind(&arena, outer);
    arena_rewind(&arena, inner);
}

Test(arena, zeroed_is_zero_where_something_was)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct arena_mark mark = arena_mark(&arena);
    unsigned char *used = arena_alloc(&arena, 1000);
    cr_assert_not_null(used);
    memset(used, 0xff, 1000);
    arena_rewind(&arena, mark);
    const unsigned char *clean = arena_zeroed(&arena, 100, 10);
    cr_assert_not_null(clean);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(clean[i], 0);
    cr_assert_null(arena_zeroed(&arena, SIZE_MAX / 2, 3));
    arena_close(&arena);
}
