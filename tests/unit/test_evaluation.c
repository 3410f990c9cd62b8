/* SPDX-License-Identifier: Apache-2.0
 *
 * Offline evaluation against ranks and metrics computed by hand. */
#include "models/evaluation.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { ITEMS = 6 };

/* Three users: a b c d, b c, f e d c b. The middle one is too short to evaluate. */
static const struct evaluation_event few_events[] = {
    {0, 10, 0, 1}, {1, 20, 0, 1}, {2, 30, 0, 1}, {3, 40, 0, 1},               /* a b c d */
    {1, 10, 0, 1}, {2, 20, 0, 1},                                             /* b c */
    {5, 1, 0, 1},  {4, 2, 0, 1},  {3, 3, 0, 1},  {2, 4, 0, 1},  {1, 5, 0, 1}, /* f e d c b */
};
static const size_t few_starts[] = {0, 4, 6, 11};
static const struct evaluation_data few = {ITEMS, 3, few_events, few_starts};

struct fixed {
    float score[ITEMS];
    size_t asked;
    struct evaluation_query query[8];
};

/* The same scores whatever is asked; notes what was asked. */
static bool score_fixed(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    struct fixed *fixed = context;
    cr_assert_eq(thread, 0);
    if (fixed->asked < LENGTH(fixed->query))
        fixed->query[fixed->asked++] = *query;
    memcpy(score, fixed->score, sizeof fixed->score);
    return true;
}

static struct evaluation_result run_fixed(struct fixed *fixed, enum evaluation_target target, bool mask_seen)
{
    struct evaluation_result result;
    fixed->asked = 0;
    cr_assert(evaluation_run(&few, target, mask_seen, 1, score_fixed, fixed, &result));
    return result;
}

static void assert_ranks(struct evaluation_result result, float first, float second, const char *what)
{
    cr_assert_eq(result.count, 2, "%s: %zu users", what, result.count);
    cr_assert(result.rank[0] == first && result.rank[1] == second, "%s: %g and %g", what, (double)result.rank[0],
              (double)result.rank[1]);
    evaluation_result_close(&result);
    cr_assert(result.rank == NULL && result.count == 0);
}

Test(evaluation, the_target_is_the_last_event_or_the_one_before)
{
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, false), 4, 2, "test: d and b");
    cr_assert_eq(fixed.asked, 2);
    cr_assert(fixed.query[0].history == few_events && fixed.query[0].length == 3 && fixed.query[0].target == 3 &&
              fixed.query[0].now_ms == 40);
    cr_assert(fixed.query[1].history == few_events + 6 && fixed.query[1].length == 4 && fixed.query[1].target == 1 &&
              fixed.query[1].now_ms == 5);
    assert_ranks(run_fixed(&fixed, EVALUATION_VALIDATION, false), 3, 3, "validation: c and c");
    cr_assert(fixed.query[0].length == 2 && fixed.query[0].target == 2 && fixed.query[0].now_ms == 30);
    cr_assert(fixed.query[1].length == 3 && fixed.query[1].target == 2 && fixed.query[1].now_ms == 4);
}

Test(evaluation, items_of_the_history_do_not_compete)
{
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, true), 1, 2, "a b c are out; c d e f are out, a is not");
    assert_ranks(run_fixed(&fixed, EVALUATION_VALIDATION, true), 1, 3, "a b are out; d e f are out");
}

/* A target that the history holds too competes: it is not masked. */
Test(evaluation, a_repeated_target_competes)
{
    static const struct evaluation_event events[] = {{2, 1, 0, 1}, {0, 2, 0, 1}, {2, 3, 0, 1}};
    static const size_t starts[] = {0, 3};
    const struct evaluation_data data = {ITEMS, 1, events, starts};
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    struct evaluation_result result;
    cr_assert(evaluation_run(&data, EVALUATION_TEST, true, 1, score_fixed, &fixed, &result));
    cr_assert(result.count == 1 && result.rank[0] == 2, "behind b, without a: %g", (double)result.rank[0]);
    evaluation_result_close(&result);
}

Test(evaluation, ties_count_half)
{
    struct fixed fixed = {.score = {1, 1, 1, 1, 1, 1}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, false), 3.5f, 3.5f, "six equal scores");
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, true), 2, 1.5f, "d e f; a b");
    fixed = (struct fixed){.score = {9, 1, 1, 1, 0, 0}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, false), 3, 3, "one better, b c d equal");
    fixed = (struct fixed){.score = {9, 5, 0, 5, 0, 0}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, false), 2.5f, 2.5f, "one better, b d equal");
    fixed = (struct fixed){.score = {-INFINITY, -INFINITY, 0, -INFINITY, 0, 0}};
    assert_ranks(run_fixed(&fixed, EVALUATION_TEST, false), 5, 5, "what was never scored is last");
}

static bool give_up(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    (void)score;
    return query->length != *(const size_t *)context;
}

Test(evaluation, a_scorer_that_gives_up_ends_it)
{
    struct evaluation_result result = {.count = 77};
    size_t length = 4;
    cr_assert_not(evaluation_run(&few, EVALUATION_TEST, true, 2, give_up, &length, &result));
    cr_assert_eq(result.count, 77, "written only on success");
}

Test(evaluation, nobody_to_evaluate)
{
    static const size_t starts[] = {0, 0, 2};
    const struct evaluation_data data = {ITEMS, 2, few_events, starts};
    struct fixed fixed = {.asked = 0};
    struct evaluation_result result;
    cr_assert(evaluation_run(&data, EVALUATION_TEST, true, 1, score_fixed, &fixed, &result));
    cr_assert(result.count == 0 && fixed.asked == 0);
    cr_assert(evaluation_hit_rate(&result, 10) == 0 && evaluation_ndcg(&result, 10) == 0);
    evaluation_result_close(&result);
}

Test(evaluation, metrics_by_hand)
{
    float rank[] = {1, 2, 3.5f, 10, 11, 200};
    const struct evaluation_result result = {6, rank};
    cr_assert_float_eq(evaluation_hit_rate(&result, 1), 1. / 6, 1e-9);
    cr_assert_float_eq(evaluation_hit_rate(&result, 10), 4. / 6, 1e-9);
    cr_assert_float_eq(evaluation_hit_rate(&result, 1000), 1, 1e-9);
    cr_assert_float_eq(evaluation_ndcg(&result, 1), 1. / 6, 1e-9);
    cr_assert_float_eq(evaluation_ndcg(&result, 10), (1 + 1 / log2(3) + 1 / log2(4.5) + 1 / log2(11)) / 6, 1e-9);
    cr_assert_float_eq(evaluation_mrr(&result, 10), (1 + 1. / 2 + 1 / 3.5 + 1. / 10) / 6, 1e-9);
    cr_assert_float_eq(evaluation_mrr(&result, 11), (1 + 1. / 2 + 1 / 3.5 + 1. / 10 + 1. / 11) / 6, 1e-9);
}

/* A tie over places 10 and 11 is rank 10.5 and counts within 10: so the published figures were computed. */
Test(evaluation, a_tie_across_the_line_is_within)
{
    float rank[] = {10.5f};
    const struct evaluation_result result = {1, rank};
    cr_assert_eq(evaluation_hit_rate(&result, 10), 1);
    cr_assert_eq(evaluation_hit_rate(&result, 9), 0);
    cr_assert_float_eq(evaluation_ndcg(&result, 10), 1 / log2(11.5), 1e-9);
}

/* ---- threads */

struct large {
    struct evaluation_event *events;
    size_t *starts;
    struct evaluation_data data;
};

static void large_init(struct large *large, size_t users, size_t items)
{
    struct random rng;
    random_init(&rng, 1);
    large->events = random_model_alloc(users * 12, sizeof *large->events);
    large->starts = random_model_alloc(users + 1, sizeof *large->starts);
    for (size_t u = 0; u < users; u++) {
        size_t count = (size_t)random_below(&rng, 13);
        large->starts[u + 1] = large->starts[u] + count;
        for (size_t i = 0; i < count; i++)
            large->events[large->starts[u] + i] =
                (struct evaluation_event){(uint32_t)random_below(&rng, items), 1700000000000 + (int64_t)i * 1000, 0,
                                          random_below(&rng, 10) == 0 ? 0.0f : 1.0f};
    }
    large->data = (struct evaluation_data){items, users, large->events, large->starts};
}

static void large_close(struct large *large)
{
    free(large->events);
    free(large->starts);
}

Test(evaluation, any_number_of_threads_gives_the_same)
{
    static const size_t threads[] = {1, 3, 0, 64, 1000};
    struct large large;
    large_init(&large, 500, 80);
    struct counts_view *counts = evaluation_counts(&large.data);
    struct baseline_counts context = {counts, 80};
    struct evaluation_result wanted, result;
    cr_assert(evaluation_run(&large.data, EVALUATION_TEST, true, 1, baseline_markov, &context, &wanted));
    cr_assert_gt(wanted.count, 300);
    for (size_t i = 0; i < LENGTH(threads); i++) {
        cr_assert(evaluation_run(&large.data, EVALUATION_TEST, true, threads[i], baseline_markov, &context, &result));
        cr_assert_eq(result.count, wanted.count);
        cr_assert_arr_eq(result.rank, wanted.rank, wanted.count * sizeof *wanted.rank, "%zu threads", threads[i]);
        evaluation_result_close(&result);
    }
    evaluation_result_close(&wanted);
    counts_view_release(counts);
    large_close(&large);
}

/* ---- counts and baselines */

static double probability(const struct counts_view *counts, uint32_t from, uint32_t to)
{
    size_t count;
    const struct counts_entry *row = counts_row(counts, from, &count);
    for (size_t i = 0; i < count; i++)
        if (row[i].item_id == to)
            return row[i].probability;
    return 0;
}

Test(evaluation, counts_leave_out_the_last_two_events)
{
    struct counts_view *counts = evaluation_counts(&few);
    cr_assert_not_null(counts);
    static const uint32_t wanted[ITEMS] = {1, 1, 0, 1, 1, 1}; /* a b, nothing, f e d */
    for (uint32_t i = 0; i < ITEMS; i++)
        cr_assert_eq(counts_popularity(counts, i), wanted[i], "item %u", i);
    cr_assert_float_eq(probability(counts, 0, 1), 1. / 6, 1e-6);
    cr_assert_float_eq(probability(counts, 5, 4), 1 / 6.5, 1e-6);
    cr_assert_float_eq(probability(counts, 5, 3), .5 / 6.5, 1e-6);
    cr_assert_eq(probability(counts, 1, 2), 0);
    counts_view_release(counts);
}

Test(evaluation, counts_leave_out_what_weighs_nothing)
{
    static const struct evaluation_event events[] = {{0, 1, 0, 1},   {1, 2, 1, 0}, {2, 3, 2, -1},
                                                     {3, 4, 0, .5f}, {4, 5, 0, 1}, {5, 6, 0, 1}};
    static const size_t starts[] = {0, 6};
    const struct evaluation_data data = {ITEMS, 1, events, starts};
    struct counts_view *counts = evaluation_counts(&data);
    cr_assert_eq(counts->event_count, 2);
    cr_assert_float_eq(probability(counts, 0, 3), 1. / 6, 1e-6, "they are neighbours without what is between them");
    counts_view_release(counts);
}

/* Σ over the last three events, k = 0, 1, 2 steps back, of .5^k · P[event → c]; popularity is events per item */
Test(evaluation, counting_baselines)
{
    struct large large;
    large_init(&large, 200, 30);
    struct counts_view *counts = evaluation_counts(&large.data);
    struct baseline_counts context = {counts, 30};
    static const struct evaluation_event history[] = {{9, 0, 0, 1}, {3, 0, 0, 1}, {7, 0, 0, 1}, {3, 0, 0, 1}};
    for (size_t length = 0; length <= 4; length++) {
        struct evaluation_query query = {history, length, 0, 0};
        float score[31];
        score[30] = 77;
        cr_assert(baseline_markov(&context, 0, &query, score));
        for (uint32_t c = 0; c < 30; c++) {
            double wanted = 0;
            for (size_t k = 0; k < 3 && k < length; k++)
                wanted += pow(.5, (double)k) * probability(counts, history[length - 1 - k].item, c);
            cr_assert_float_eq(score[c], wanted, 1e-6, "length %zu, item %u", length, c);
        }
        cr_assert(baseline_popularity(&context, 0, &query, score));
        for (uint32_t c = 0; c < 30; c++)
            cr_assert_eq(score[c], (float)counts_popularity(counts, c));
        cr_assert_eq(score[30], 77);
    }
    counts_view_release(counts);
    large_close(&large);
}

/* x_c · Σ over the last ten events of .8^k · x_event, x centred over the rows that are there, normalised, missing
 * ones 0 */
Test(evaluation, content_baseline)
{
    enum { N = 20, D = 5 };
    float rows[N * D];
    double x[N][D], mean[D] = {0};
    struct evaluation_event history[15];
    struct random rng;
    random_init(&rng, 2);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) {
            rows[i * D + j] = i % 6 == 4 ? 0 : 1 + random_normal(&rng);
            x[i][j] = rows[i * D + j];
            mean[j] += x[i][j] / (N - 3); /* rows 4, 10 and 16 are missing */
        }
    for (size_t i = 0; i < N; i++) {
        double norm = 0;
        for (size_t j = 0; j < D; j++) {
            x[i][j] = i % 6 == 4 ? 0 : x[i][j] - mean[j];
            norm += x[i][j] * x[i][j];
        }
        for (size_t j = 0; j < D; j++)
            x[i][j] = norm > 0 ? x[i][j] / sqrt(norm) : 0;
    }
    baseline_content_prepare(rows, N, D);
    for (size_t i = 0; i < (size_t)N * D; i++)
        cr_assert_float_eq(rows[i], x[i / D][i % D], 1e-5, "row %zu", i / D);
    struct baseline_content context = {rows, N, D};
    for (size_t i = 0; i < LENGTH(history); i++)
        history[i] = (struct evaluation_event){(uint32_t)random_below(&rng, N), 0, 0, 1};
    for (size_t length = 0; length <= LENGTH(history); length += 5) {
        struct evaluation_query query = {history, length, 0, 0};
        float score[N];
        cr_assert(baseline_content(&context, 0, &query, score));
        for (size_t c = 0; c < N; c++) {
            double wanted = 0;
            for (size_t k = 0; k < 10 && k < length; k++)
                for (size_t j = 0; j < D; j++)
                    wanted += pow(.8, (double)k) * x[history[length - 1 - k].item][j] * x[c][j];
            cr_assert_float_eq(score[c], wanted, 1e-5, "length %zu, item %zu", length, c);
        }
    }
    float none[] = {0, 0, 0, 0};
    baseline_content_prepare(none, 2, 2);
    cr_assert(none[0] == 0 && none[3] == 0, "nothing is there");
}
