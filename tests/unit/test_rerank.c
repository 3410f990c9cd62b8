/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists against a twin that computes every gain from scratch in double, and against what each rule promises. */
#include "models/rerank.h"

#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { COUNT = 60, DIMENSION = 8, CATEGORIES = 6, N = 20, MIB = 1 << 20 };

/* A pool and what it points into: it stays where it is. */
struct rig {
    struct rerank_pool pool;
    float relevance[COUNT], feature[COUNT * DIMENSION], taste[CATEGORIES];
    const float *row[COUNT];
    uint32_t category_start[COUNT + 1], category[COUNT * 2];
    struct cap cap[2];
    uint32_t brand_start[COUNT + 1], brand[2][COUNT]; /* a key each */
    struct rerank_promotion promotion[2];
    bool promoted[2][COUNT];
    struct arena arena;
    struct rerank_result result;
};

/* Rows that lean to one side, of norm .3 to .95. */
static void draw_features(struct rig *rig, struct random *rng)
{
    for (size_t i = 0; i < COUNT; i++) {
        float *row = rig->feature + i * DIMENSION, square = 0;
        rig->row[i] = row;
        for (size_t j = 0; j < DIMENSION; j++) {
            row[j] = random_normal(rng) + (j == 0 ? 1.0f : 0.0f);
            square += row[j] * row[j];
        }
        float scale = (.3f + .65f * random_uniform(rng)) / sqrtf(square);
        for (size_t j = 0; j < DIMENSION; j++)
            row[j] *= scale;
    }
}

/* Up to two categories each; the last one is nobody's taste. */
static void draw_categories(struct rig *rig, struct random *rng)
{
    float sum = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint32_t end = rig->category_start[i], first = (uint32_t)random_below(rng, CATEGORIES);
        for (uint32_t k = 0, own = (uint32_t)random_below(rng, 3); k < own; k++)
            rig->category[end++] = (first + k) % CATEGORIES;
        rig->category_start[i + 1] = end;
    }
    for (size_t c = 0; c + 1 < CATEGORIES; c++)
        sum += rig->taste[c] = .05f + random_uniform(rng);
    for (size_t c = 0; c < CATEGORIES; c++)
        rig->taste[c] /= sum;
}

/* Nothing is asked for yet. */
static void draw(struct rig *rig, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    memset(rig, 0, sizeof *rig);
    for (size_t i = 0; i < COUNT; i++) {
        rig->relevance[i] = random_uniform(&rng);
        rig->brand_start[i + 1] = (uint32_t)i + 1;
    }
    draw_features(rig, &rng);
    draw_categories(rig, &rng);
    rig->pool = (struct rerank_pool){
        .count = COUNT,
        .relevance = rig->relevance,
        .considered = COUNT,
        .view_count = 1,
        .components = {DIMENSION},
        .row = {rig->row},
        .category_count = CATEGORIES,
        .category_start = rig->category_start,
        .category = rig->category,
        .taste = rig->taste,
        .cap = rig->cap,
        .promotion = rig->promotion,
    };
    matrix_init();
    arena_init(&rig->arena, MIB);
}

/* Brands are drawn from `brands`. */
static void add_cap(struct rig *rig, unsigned most, unsigned window, uint32_t brands, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    uint32_t *brand = rig->brand[rig->pool.cap_count];
    for (size_t i = 0; i < COUNT; i++)
        brand[i] = (uint32_t)random_below(&rng, brands);
    rig->cap[rig->pool.cap_count++] = (struct cap){most, window, rig->brand_start, brand, brands};
}

/* Every `step`-th from `first` on. */
static void add_promotion(struct rig *rig, float share, size_t first, size_t step)
{
    bool *promoted = rig->promoted[rig->pool.promotion_count];
    for (size_t i = first; i < COUNT; i += step)
        promoted[i] = true;
    rig->promotion[rig->pool.promotion_count++] = (struct rerank_promotion){share, promoted};
}

static void run(struct rig *rig, size_t n)
{
    cr_assert(rerank(&rig->pool, n, &rig->result, &rig->arena));
    cr_assert_leq(rig->result.count, n);
    for (size_t k = 0; k < rig->result.count; k++) {
        cr_assert_lt(rig->result.place[k].candidate, rig->pool.count);
        for (size_t before = 0; before < k; before++)
            cr_assert_neq(rig->result.place[before].candidate, rig->result.place[k].candidate, "places %zu and %zu",
                          before, k);
    }
}

/* ---- the twin */

static double similarity(const struct rig *rig, size_t a, size_t b)
{
    double sum = 0;
    for (size_t j = 0; j < DIMENSION; j++)
        sum += (double)rig->feature[a * DIMENSION + j] * (double)rig->feature[b * DIMENSION + j];
    return sum;
}

/* log det of the similarities among the list, 1 with oneself, by Cholesky. */
static double log_det(const struct rig *rig, const size_t *list, size_t count)
{
    static double L[COUNT][COUNT];
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j <= i; j++) {
            double x = i == j ? 1 : similarity(rig, list[i], list[j]);
            for (size_t k = 0; k < j; k++)
                x -= L[i][k] * L[j][k];
            L[i][j] = i == j ? sqrt(x) : x / L[j][j];
            sum += i == j ? log(x) : 0;
        }
    return sum;
}

static double divergence(const struct rig *rig, const size_t *list, size_t count)
{
    double mass[CATEGORIES] = {0}, total = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t begin = rig->category_start[list[i]], end = rig->category_start[list[i] + 1];
        for (uint32_t k = begin; k < end; k++)
            mass[rig->category[k]] += 1 / (double)(end - begin);
        total += begin < end ? 1 : 0;
    }
    for (size_t c = 0; c < CATEGORIES; c++) {
        double p = rig->taste[c], q = .01 * p + (total > 0 ? .99 * mass[c] / total : 0);
        sum += p > 0 ? p * log(p / q) : 0;
    }
    return sum;
}

/* Of list[count] after the `count` before it. */
static double naive_gain(const struct rig *rig, const size_t *list, size_t count)
{
    double delta = rig->pool.diversity, lambda = rig->pool.calibration, nearest = 0, diversity = 0;
    for (size_t i = 0; i < count; i++)
        nearest = fmax(nearest, similarity(rig, list[i], list[count]));
    if (rig->pool.method == RERANK_MMR)
        diversity = -nearest;
    else
        diversity = .5 * (log_det(rig, list, count + 1) - log_det(rig, list, count));
    double gain = (1 - delta) * (double)rig->relevance[list[count]] + delta * diversity;
    return (1 - lambda) * gain - lambda * (divergence(rig, list, count + 1) - divergence(rig, list, count));
}

/* Place after place the twin must see no better candidate, but for the rounding of float. */
static void check_greedy(struct rig *rig, size_t n)
{
    size_t list[COUNT + 1];
    run(rig, n);
    cr_assert_eq(rig->result.count, n);
    cr_assert_eq(rig->result.broken, SIZE_MAX);
    for (size_t k = 0; k < n; k++) {
        size_t best = SIZE_MAX, chosen = rig->result.place[k].candidate;
        double most = -INFINITY;
        for (size_t i = 0; i < rig->pool.considered; i++) {
            bool used = false;
            for (size_t before = 0; before < k; before++)
                used = used || list[before] == i;
            list[k] = i;
            double gain = used ? -INFINITY : naive_gain(rig, list, k);
            if (gain > most) {
                most = gain;
                best = i;
            }
        }
        list[k] = chosen;
        double own = naive_gain(rig, list, k);
        cr_assert(chosen == best || most - own < 1e-5, "place %zu: %zu gains %g, %zu gains %g", k, chosen, own, best,
                  most);
        cr_assert_eq(rig->result.place[k].promotion, -1);
    }
}

static void check_diversity(enum rerank_method method)
{
    static const float deltas[] = {.1f, .5f, .9f};
    for (uint64_t seed = 1; seed <= 5; seed++)
        for (size_t d = 0; d < 3; d++) {
            struct rig rig;
            draw(&rig, seed);
            rig.pool.method = method;
            rig.pool.diversity = deltas[d];
            check_greedy(&rig, N);
            arena_close(&rig.arena);
        }
}

Test(rerank, dpp_is_greedy_in_the_determinant)
{
    check_diversity(RERANK_DPP);
}

Test(rerank, mmr_is_greedy_in_the_greatest_similarity)
{
    check_diversity(RERANK_MMR);
}

Test(rerank, calibration_is_greedy_in_the_divergence)
{
    static const float lambdas[] = {.2f, .5f, .9f};
    for (uint64_t seed = 11; seed <= 15; seed++)
        for (size_t l = 0; l < 3; l++) {
            struct rig rig;
            draw(&rig, seed);
            rig.pool.calibration = lambdas[l];
            check_greedy(&rig, N);
            rig.pool.diversity = .4f;
            check_greedy(&rig, N);
            arena_close(&rig.arena);
        }
}

/* ---- what each rule promises */

Test(rerank, nothing_asked_is_by_relevance)
{
    struct rig rig;
    draw(&rig, 21);
    rig.relevance[7] = rig.relevance[3] = rig.relevance[50] = 2;
    rig.pool.row[0] = NULL;
    rig.pool.category_start = rig.pool.category = NULL;
    rig.pool.taste = NULL;
    run(&rig, COUNT + 5);
    cr_assert_eq(rig.result.count, COUNT);
    cr_assert_eq(rig.result.broken, SIZE_MAX);
    for (size_t k = 1; k < COUNT; k++) {
        size_t a = rig.result.place[k - 1].candidate, b = rig.result.place[k].candidate;
        float above = rig.relevance[a], below = rig.relevance[b];
        cr_assert(above > below || (above >= below && a < b), "place %zu", k);
    }
    cr_assert_eq(rig.result.place[0].candidate, 3);
    run(&rig, 0);
    cr_assert_eq(rig.result.count, 0);
    rig.pool.count = rig.pool.considered = 0;
    run(&rig, 5);
    cr_assert(rig.result.count == 0 && rig.result.broken == SIZE_MAX);
    arena_close(&rig.arena);
}

/* Cluster i % 5 near an axis of its own; all of cluster 0 is more relevant than the rest. */
static void plant_clusters(struct rig *rig)
{
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < DIMENSION; j++)
            rig->feature[i * DIMENSION + j] = .1f * rig->feature[i * DIMENSION + j] + (j == i % 5 ? .85f : 0);
        rig->relevance[i] = .4f * rig->relevance[i] + (i % 5 == 0 ? .5f : 0);
    }
}

Test(rerank, diversity_one_spreads_over_clusters)
{
    struct rig rig;
    draw(&rig, 31);
    plant_clusters(&rig);
    for (int method = RERANK_DPP; method <= RERANK_MMR; method++) {
        rig.pool.method = (enum rerank_method)method;
        rig.pool.diversity = 0;
        run(&rig, 5);
        for (size_t k = 0; k < 5; k++)
            cr_assert_eq(rig.result.place[k].candidate % 5, 0);
        rig.pool.diversity = 1;
        run(&rig, 5);
        for (size_t k = 0; k < 5; k++)
            for (size_t before = 0; before < k; before++)
                cr_assert_neq(rig.result.place[k].candidate % 5, rig.result.place[before].candidate % 5);
    }
    arena_close(&rig.arena);
}

/* Three of category 0 to seven of category 1 are wanted, and those of 0 are more relevant. */
Test(rerank, calibration_brings_the_mix)
{
    struct rig rig;
    size_t first = 0;
    draw(&rig, 32);
    for (size_t i = 0; i < COUNT; i++) {
        rig.category_start[i + 1] = (uint32_t)i + 1;
        rig.category[i] = (uint32_t)i % 2;
        rig.relevance[i] = .4f * rig.relevance[i] + (i % 2 == 0 ? .5f : 0);
    }
    memset(rig.taste, 0, sizeof rig.taste);
    rig.taste[0] = .3f;
    rig.taste[1] = .7f;
    rig.pool.calibration = 1;
    run(&rig, 10);
    for (size_t k = 0; k < 10; k++)
        if (rig.result.place[k].candidate % 2 == 0)
            first++;
    cr_assert_eq(first, 3, "%zu", first);
    arena_close(&rig.arena);
}

/* floor(share · k) of the first k, for every k and promotion; turns only where they are due. */
static void check_promotions(const struct rig *rig)
{
    size_t placed[2] = {0};
    for (size_t k = 0; k < rig->result.count; k++) {
        struct rerank_place place = rig->result.place[k];
        cr_assert(place.promotion >= -1 && place.promotion < (int)rig->pool.promotion_count);
        cr_assert(place.promotion < 0 || rig->promoted[place.promotion][place.candidate], "place %zu", k);
        for (size_t p = 0; p < rig->pool.promotion_count; p++) {
            if (rig->promoted[p][place.candidate])
                placed[p]++;
            double due = floor((double)rig->promotion[p].share * (double)(k + 1) + 1e-6);
            cr_assert_geq((double)placed[p], due, "promotion %zu has %zu of the first %zu", p, placed[p], k + 1);
        }
    }
}

Test(rerank, promoted_get_their_share_of_every_beginning)
{
    struct rig rig;
    draw(&rig, 41);
    add_promotion(&rig, .3f, 1, 4);
    for (size_t i = 1; i < COUNT; i += 4)
        rig.relevance[i] *= .01f;
    run(&rig, 10);
    check_promotions(&rig);
    size_t turns = 0;
    for (size_t k = 0; k < 10; k++)
        if (rig.result.place[k].promotion == 0)
            turns++;
    cr_assert_eq(turns, 3, "nobody comes for nothing");
    cr_assert(rig.result.place[3].promotion == 0 && rig.result.place[6].promotion == 0 &&
              rig.result.place[9].promotion == 0);
    for (size_t i = 1; i < COUNT; i += 4)
        rig.relevance[i] += 2;
    run(&rig, 10);
    for (size_t k = 0; k < 10; k++)
        cr_assert_eq(rig.result.place[k].promotion, -1, "they come by themselves");
    arena_close(&rig.arena);
}

/* With shares of a half each both have a place due at the second; one must come first. */
Test(rerank, promotions_do_not_stand_in_each_others_way)
{
    static const float shares[][2] = {{.5f, .5f}, {.3f, .2f}, {.2f, .3f}, {.25f, .75f}, {0, 1}};
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        struct rig rig;
        draw(&rig, 42);
        add_promotion(&rig, shares[s][0], 0, 3);
        add_promotion(&rig, shares[s][1], 1, 3);
        for (size_t i = 0; i < COUNT; i++)
            rig.relevance[i] *= i % 3 == 2 ? 1 : .01f;
        run(&rig, N);
        cr_assert_eq(rig.result.count, N);
        check_promotions(&rig);
        arena_close(&rig.arena);
    }
}

Test(rerank, promotions_end_with_their_candidates)
{
    struct rig rig;
    draw(&rig, 43);
    rig.pool.considered = 30;
    add_promotion(&rig, .5f, 40, 15); /* 40 and 55, behind the considered */
    run(&rig, 10);
    cr_assert_eq(rig.result.count, 10);
    cr_assert(rig.result.place[1].candidate == 40 && rig.result.place[1].promotion == 0);
    cr_assert(rig.result.place[3].candidate == 55 && rig.result.place[3].promotion == 0);
    for (size_t k = 0; k < 10; k++)
        cr_assert(k == 1 || k == 3 || (rig.result.place[k].candidate < 30 && rig.result.place[k].promotion == -1));
    arena_close(&rig.arena);
}

/* ---- caps */

static void check_caps(const struct rig *rig)
{
    for (size_t c = 0; c < rig->pool.cap_count; c++) {
        const struct cap *cap = &rig->cap[c];
        size_t window = cap->window == 0 ? rig->result.count : cap->window;
        for (size_t begin = 0; begin < rig->result.count; begin++)
            for (uint32_t brand = 0; brand < cap->key_count; brand++) {
                size_t having = 0;
                for (size_t k = begin; k < rig->result.count && k < begin + window; k++)
                    if (rig->brand[c][rig->result.place[k].candidate] == brand)
                        having++;
                cr_assert_leq(having, cap->most, "cap %zu, brand %u from place %zu", c, brand, begin);
            }
    }
}

Test(rerank, caps_hold_and_the_list_is_full)
{
    for (uint64_t seed = 51; seed <= 60; seed++) {
        struct rig rig;
        draw(&rig, seed);
        rig.pool.diversity = .5f;
        rig.pool.calibration = .5f;
        rig.pool.considered = 40;
        add_cap(&rig, 1, 3, 12, seed);
        add_cap(&rig, 6, 0, 8, seed + 1000);
        add_promotion(&rig, .2f, 2, 5);
        run(&rig, N);
        cr_assert_eq(rig.result.count, N);
        cr_assert_eq(rig.result.broken, SIZE_MAX);
        check_caps(&rig);
        check_promotions(&rig);
        arena_close(&rig.arena);
    }
}

/* Two of brand 0 are the best, three of brand 1 there are: only 1 0 1 0 1 is full. */
Test(rerank, stuck_lists_are_repaired)
{
    struct rig rig;
    draw(&rig, 61);
    rig.pool.count = rig.pool.considered = 5;
    add_cap(&rig, 1, 2, 2, 1);
    for (uint32_t i = 0; i < 5; i++) {
        rig.relevance[i] = 1 - .1f * (float)i;
        rig.brand[0][i] = i < 2 ? 0 : 1;
    }
    run(&rig, 5);
    cr_assert_eq(rig.result.count, 5);
    cr_assert_eq(rig.result.broken, SIZE_MAX);
    static const size_t wanted[] = {2, 0, 3, 1, 4};
    for (size_t k = 0; k < 5; k++)
        cr_assert(rig.result.place[k].candidate == wanted[k] && rig.result.place[k].promotion == -1, "place %zu", k);
    arena_close(&rig.arena);
}

Test(rerank, names_the_cap_that_ends_the_list)
{
    struct rig rig;
    draw(&rig, 62);
    add_cap(&rig, 5, 6, 20, 1);
    add_cap(&rig, 1, 0, 3, 2);
    run(&rig, N);
    cr_assert_eq(rig.result.count, 3);
    cr_assert_eq(rig.result.broken, 1);
    check_caps(&rig);
    run(&rig, 3);
    cr_assert_eq(rig.result.broken, SIZE_MAX, "no more was wanted");
    arena_close(&rig.arena);
}

Test(rerank, those_behind_fill_what_caps_leave_open)
{
    struct rig rig;
    draw(&rig, 63);
    rig.pool.considered = 10;
    rig.pool.diversity = .3f;
    add_cap(&rig, 2, 0, COUNT, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        rig.brand[0][i] = i < 11 ? 0 : i; /* 10 is of the brand of the considered, too */
        rig.relevance[i] += i < 10 ? 0 : 1;
    }
    run(&rig, 6);
    cr_assert_eq(rig.result.count, 6);
    cr_assert(rig.result.place[0].candidate < 10 && rig.result.place[1].candidate < 10);
    for (size_t k = 2; k < 6; k++)
        cr_assert_eq(rig.result.place[k].candidate, 9 + k, "place %zu", k);
    rig.pool.cap_count = 0;
    run(&rig, 15);
    for (size_t k = 0; k < 15; k++)
        cr_assert(k < 10 ? rig.result.place[k].candidate < 10 : rig.result.place[k].candidate == k, "place %zu", k);
    arena_close(&rig.arena);
}

/* ---- all of it */

static void ask_for_everything(struct rig *rig, uint64_t seed)
{
    draw(rig, seed);
    rig->pool.diversity = .5f;
    rig->pool.calibration = .5f;
    add_cap(rig, 1, 4, 4, seed);
    add_promotion(rig, .2f, 2, 5);
}

Test(rerank, same_pool_same_list)
{
    struct rig rig;
    ask_for_everything(&rig, 71);
    run(&rig, N);
    struct rerank_result before = rig.result;
    run(&rig, N);
    cr_assert_eq(before.count, rig.result.count);
    for (size_t k = 0; k < before.count; k++)
        cr_assert(before.place[k].candidate == rig.result.place[k].candidate &&
                  before.place[k].promotion == rig.result.place[k].promotion);
    arena_close(&rig.arena);
}

Test(rerank, without_memory_says_so)
{
    struct rig rig;
    bool done = false;
    ask_for_everything(&rig, 72);
    rig.pool.count = rig.pool.considered = N + 2; /* too few of some brand: repair wants memory, too */
    for (size_t limit_bytes = 0; !done; limit_bytes += ARENA_ALIGNMENT_BYTES) {
        struct arena small;
        struct rerank_result result;
        arena_init(&small, limit_bytes);
        done = rerank(&rig.pool, N, &result, &small);
        cr_assert(done || arena_used(&small) == 0);
        arena_close(&small);
    }
    run(&rig, N);
    cr_assert_leq(arena_used(&rig.arena), 2 * N * sizeof(struct rerank_place), "only the places are kept");
    arena_close(&rig.arena);
}
