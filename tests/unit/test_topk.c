/* SPDX-License-Identifier: Apache-2.0 */
#include "models/topk.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const float *sort_score;
static const uint32_t *sort_tie;

static int compare_best_first(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (sort_score[a] != sort_score[b])
        return sort_score[a] > sort_score[b] ? -1 : 1;
    if (sort_tie != NULL && sort_tie[a] != sort_tie[b])
        return sort_tie[a] < sort_tie[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* The same by sorting everything that may be selected. */
static size_t naive_select(uint32_t *out, const float *score, const uint32_t *tie, size_t count, size_t k)
{
    uint32_t *all = malloc((count + 1) * sizeof all[0]);
    cr_assert_not_null(all);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(score[i]) && score[i] != -INFINITY)
            all[kept++] = (uint32_t)i;
    sort_score = score;
    sort_tie = tie;
    qsort(all, kept, sizeof all[0], compare_best_first);
    size_t selected = k < kept ? k : kept;
    for (size_t i = 0; i < selected; i++)
        out[i] = all[i];
    free(all);
    return selected;
}

/* `out` has exactly the promised size, so that AddressSanitizer sees a write past it. */
static void check_against_naive(const float *score, const uint32_t *tie, size_t count, size_t k)
{
    size_t room = k < count ? k : count;
    uint32_t *out = malloc(room * sizeof out[0] + (room == 0));
    uint32_t *wanted = malloc((room + 1) * sizeof wanted[0]);
    cr_assert(out != NULL && wanted != NULL);
    size_t selected = topk_select(out, score, tie, count, k);
    cr_assert_eq(selected, naive_select(wanted, score, tie, count, k), "%zu of %zu: %zu", k, count, selected);
    for (size_t i = 0; i < selected; i++)
        cr_assert_eq(out[i], wanted[i], "%zu of %zu, place %zu: %u, wanted %u", k, count, i, out[i], wanted[i]);
    free(out);
    free(wanted);
}

Test(topk, orders_best_first)
{
    const float score[] = {.5f, -1.0f, 3.0f, 2.0f, 0.0f};
    uint32_t out[5];
    cr_assert_eq(topk_select(out, score, NULL, 5, 3), 3);
    cr_assert(out[0] == 2 && out[1] == 3 && out[2] == 0);
    cr_assert_eq(topk_select(out, score, NULL, 5, 5), 5);
    cr_assert(out[3] == 4 && out[4] == 1);
}

Test(topk, ties_go_to_the_smaller_tie_then_index)
{
    const float score[] = {1.0f, 1.0f, 2.0f, 1.0f, 1.0f};
    const uint32_t tie[] = {9, 4, 7, 1, 4};
    uint32_t out[4];
    cr_assert_eq(topk_select(out, score, tie, 5, 4), 4);
    cr_assert(out[0] == 2 && out[1] == 3 && out[2] == 1 && out[3] == 4);
    cr_assert_eq(topk_select(out, score, NULL, 5, 3), 3);
    cr_assert(out[0] == 2 && out[1] == 0 && out[2] == 1);
}

Test(topk, signed_zeros_are_a_tie)
{
    const float score[] = {-0.0f, 0.0f};
    uint32_t out[1];
    cr_assert_eq(topk_select(out, score, NULL, 2, 1), 1);
    cr_assert_eq(out[0], 0);
}

Test(topk, never_selects_nan_or_minus_infinity)
{
    const float score[] = {NAN, -INFINITY, -3e38f, NAN, INFINITY, -INFINITY, -NAN};
    uint32_t out[7];
    cr_assert_eq(topk_select(out, score, NULL, 7, 7), 2);
    cr_assert(out[0] == 4 && out[1] == 2);
    cr_assert_eq(topk_select(out, score, NULL, 7, 1), 1);
    cr_assert_eq(out[0], 4);
    cr_assert_eq(topk_select(out, score, NULL, 2, 2), 0);
}

Test(topk, nothing_asked_or_nothing_there)
{
    const float score[] = {1.0f};
    uint32_t out[1] = {77};
    cr_assert_eq(topk_select(out, score, NULL, 1, 0), 0);
    cr_assert_eq(topk_select(out, score, NULL, 0, 3), 0);
    cr_assert_eq(topk_select(NULL, NULL, NULL, 0, 0), 0);
    cr_assert_eq(out[0], 77, "written without being asked");
    cr_assert_eq(topk_select(out, score, NULL, 1, SIZE_MAX), 1);
    cr_assert_eq(out[0], 0);
}

Test(topk, rising_falling_and_equal_scores)
{
    enum { COUNT = 1000 };
    float rising[COUNT], falling[COUNT], equal[COUNT];
    for (int i = 0; i < COUNT; i++) {
        rising[i] = (float)i;
        falling[i] = (float)-i;
        equal[i] = 1.0f;
    }
    static const size_t ks[] = {1, 2, 7, 64, 999, 1000, 1001};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        check_against_naive(rising, NULL, COUNT, ks[i]);
        check_against_naive(falling, NULL, COUNT, ks[i]);
        check_against_naive(equal, NULL, COUNT, ks[i]);
    }
}

/* Few distinct scores, so that ties are common, with forbidden ones among them. */
static float draw_score(struct random *rng)
{
    switch (random_below(rng, 8)) {
    case 0:
        return NAN;
    case 1:
        return random_below(rng, 2) == 0 ? -INFINITY : INFINITY;
    case 2:
        return random_normal(rng);
    default:
        return (float)random_below(rng, 10) - 5.0f;
    }
}

Test(topk, agrees_with_a_full_sort)
{
    const uint64_t seed = 20240607;
    struct random rng;
    random_init(&rng, seed);
    cr_log_info("seed %llu", (unsigned long long)seed);
    for (int round = 0; round < 3000; round++) {
        float score[200];
        uint32_t tie[200];
        size_t count = (size_t)random_below(&rng, 201), k = (size_t)random_below(&rng, 220);
        for (size_t i = 0; i < count; i++) {
            score[i] = draw_score(&rng);
            tie[i] = (uint32_t)random_below(&rng, 50);
        }
        check_against_naive(score, random_below(&rng, 2) == 0 ? tie : NULL, count, k);
    }
}

/* Where more are wanted than a heap is good for: scores that are close, far apart, level, of either sign, zeros of both signs, and some that are none. */
Test(topk, many_agree_with_a_full_sort)
{
    enum { MOST = 3000 };
    static float score[MOST];
    struct random rng;
    random_init(&rng, 77);
    for (int round = 0; round < 400; round++) {
        size_t count = 1 + (size_t)random_below(&rng, MOST), k = 1 + (size_t)random_below(&rng, 600);
        for (size_t i = 0; i < count; i++) {
            float normal = random_normal(&rng);
            switch (round % 6) {
            case 0:
                score[i] = normal;
                break;
            case 1:
                score[i] = expf(20 * normal) * (i % 2 == 0 ? 1 : -1);
                break;
            case 2:
                score[i] = (float)random_below(&rng, 300) - 150;
                break;
            case 3:
                score[i] = i % 3 == 0 ? 0.0f : i % 3 == 1 ? -0.0f : normal;
                break;
            case 4:
                score[i] = i % 10 == 0 ? NAN : i % 10 < 5 ? -INFINITY : normal;
                break;
            default:
                score[i] = 1e30f * normal + (i == 7 ? INFINITY : 0);
            }
        }
        check_against_naive(score, NULL, count, k);
    }
}

Test(topk, does_not_depend_on_the_order_of_rows)
{
    enum { COUNT = 300, K = 20 };
    struct random rng;
    random_init(&rng, 5);
    float score[COUNT], moved_score[COUNT];
    uint32_t key[COUNT], out[K], moved_out[K];
    for (uint32_t i = 0; i < COUNT; i++) {
        score[i] = (float)random_below(&rng, 6);
        key[i] = i;
    }
    cr_assert_eq(topk_select(out, score, key, COUNT, K), K);
    random_shuffle(&rng, key, COUNT);
    for (int i = 0; i < COUNT; i++)
        moved_score[i] = score[key[i]];
    cr_assert_eq(topk_select(moved_out, moved_score, key, COUNT, K), K);
    for (int i = 0; i < K; i++)
        cr_assert_eq(key[moved_out[i]], out[i], "place %d", i);
}
