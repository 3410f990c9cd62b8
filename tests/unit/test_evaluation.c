/* SPDX-License-Identifier: Apache-2.0
 *
 * Offline evaluation against ranks and metrics computed by hand. */
#include "models/evaluation.h"

#include "models/baselines.h"
#include "models/holdout.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { ITEMS = 6 };

/* Three users: a b c d, b c, f e d c b. Of the first and the last the last two events are asked for. */
static const struct evaluation_event few_events[] = {
    {0, 10, 0, 1}, {1, 20, 0, 1}, {2, 30, 0, 1}, {3, 40, 0, 1},               /* a b c d */
    {1, 10, 0, 1}, {2, 20, 0, 1},                                             /* b c */
    {5, 1, 0, 1},  {4, 2, 0, 1},  {3, 3, 0, 1},  {2, 4, 0, 1},  {1, 5, 0, 1}, /* f e d c b */
};
static const size_t few_starts[] = {0, 4, 6, 11};
static const struct evaluation_data few = {ITEMS, 3, few_events, few_starts};
static const struct holdout_query test_queries[] = {{0, 3}, {2, 4}}, validation_queries[] = {{0, 2}, {2, 3}};

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

static struct evaluation_result run_fixed(struct fixed *fixed, const struct holdout_query *queries, bool mask_seen)
{
    struct evaluation_result result;
    fixed->asked = 0;
    cr_assert(evaluation_run(&few, queries, 2, mask_seen, 1, score_fixed, fixed, &result));
    return result;
}

static void assert_ranks(struct evaluation_result result, float first, float second, const char *what)
{
    cr_assert_eq(result.count, 2, "%s: %zu queries", what, result.count);
    cr_assert(result.rank[0] == first && result.rank[1] == second, "%s: %g and %g", what, (double)result.rank[0],
              (double)result.rank[1]);
    evaluation_result_close(&result);
    cr_assert(result.rank == NULL && result.list == NULL && result.count == 0);
}

Test(evaluation, a_query_has_what_was_before_it)
{
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    assert_ranks(run_fixed(&fixed, test_queries, false), 4, 2, "test: d and b");
    cr_assert_eq(fixed.asked, 2);
    cr_assert(fixed.query[0].history == few_events && fixed.query[0].length == 3 && fixed.query[0].target == 3 &&
              fixed.query[0].now_ms == 40 && fixed.query[0].user == 0);
    cr_assert(fixed.query[1].history == few_events + 6 && fixed.query[1].length == 4 && fixed.query[1].target == 1 &&
              fixed.query[1].now_ms == 5 && fixed.query[1].user == 2);
    assert_ranks(run_fixed(&fixed, validation_queries, false), 3, 3, "validation: c and c");
    cr_assert(fixed.query[0].length == 2 && fixed.query[0].target == 2 && fixed.query[0].now_ms == 30);
    cr_assert(fixed.query[1].length == 3 && fixed.query[1].target == 2 && fixed.query[1].now_ms == 4);
}

Test(evaluation, ranks_come_in_the_order_of_the_queries)
{
    static const struct holdout_query queries[] = {{2, 4}, {0, 0}, {2, 0}, {0, 3}, {2, 0}};
    static const float wanted[] = {2, 1, 6, 4, 6}; /* b, a, f, d, f */
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    struct evaluation_result result;
    cr_assert(evaluation_run(&few, queries, LENGTH(queries), true, 1, score_fixed, &fixed, &result));
    cr_assert_eq(result.count, LENGTH(queries));
    cr_assert_eq(fixed.query[1].length, 0, "the first event has nothing before it");
    cr_assert_eq(result.rank[1], wanted[1]);
    cr_assert_eq(result.rank[2], wanted[2]);
    cr_assert_eq(result.rank[4], wanted[4]);
    evaluation_result_close(&result);
    cr_assert(evaluation_run(&few, queries, LENGTH(queries), false, 1, score_fixed, &fixed, &result));
    cr_assert_arr_eq(result.rank, wanted, sizeof wanted);
    evaluation_result_close(&result);
}

Test(evaluation, items_of_the_history_do_not_compete)
{
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    assert_ranks(run_fixed(&fixed, test_queries, true), 1, 2, "a b c are out; c d e f are out, a is not");
    assert_ranks(run_fixed(&fixed, validation_queries, true), 1, 3, "a b are out; d e f are out");
}

/* A target that the history holds too competes: it is not masked. */
Test(evaluation, a_repeated_target_competes)
{
    static const struct evaluation_event events[] = {{2, 1, 0, 1}, {0, 2, 0, 1}, {2, 3, 0, 1}};
    static const size_t starts[] = {0, 3};
    static const struct holdout_query query = {0, 2};
    const struct evaluation_data data = {ITEMS, 1, events, starts};
    struct fixed fixed = {.score = {6, 5, 4, 3, 2, 1}};
    struct evaluation_result result;
    cr_assert(evaluation_run(&data, &query, 1, true, 1, score_fixed, &fixed, &result));
    cr_assert(result.count == 1 && result.rank[0] == 2, "behind b, without a: %g", (double)result.rank[0]);
    evaluation_result_close(&result);
}

Test(evaluation, ties_count_half)
{
    struct fixed fixed = {.score = {1, 1, 1, 1, 1, 1}};
    assert_ranks(run_fixed(&fixed, test_queries, false), 3.5f, 3.5f, "six equal scores");
    assert_ranks(run_fixed(&fixed, test_queries, true), 2, 1.5f, "d e f; a b");
    fixed = (struct fixed){.score = {9, 1, 1, 1, 0, 0}};
    assert_ranks(run_fixed(&fixed, test_queries, false), 3, 3, "one better, b c d equal");
    fixed = (struct fixed){.score = {9, 5, 0, 5, 0, 0}};
    assert_ranks(run_fixed(&fixed, test_queries, false), 2.5f, 2.5f, "one better, b d equal");
    fixed = (struct fixed){.score = {-INFINITY, -INFINITY, 0, -INFINITY, 0, 0}};
    assert_ranks(run_fixed(&fixed, test_queries, false), 5, 5, "what was never scored is last");
}

static void assert_list(const struct evaluation_result *result, size_t query, const uint32_t *wanted, size_t count)
{
    const uint32_t *list = result->list + query * EVALUATION_LIST;
    for (size_t i = 0; i < EVALUATION_LIST; i++)
        cr_assert_eq(list[i], i < count ? wanted[i] : EVALUATION_NO_ITEM, "query %zu, place %zu: %u", query, i,
                     list[i]);
}

Test(evaluation, lists_have_the_best_items_that_compete)
{
    struct fixed fixed = {.score = {1, 6, 2, 5, 3, 4}};
    struct evaluation_result result = run_fixed(&fixed, test_queries, false);
    assert_list(&result, 0, (const uint32_t[]){1, 3, 5, 4, 2, 0}, 6);
    assert_list(&result, 1, (const uint32_t[]){1, 3, 5, 4, 2, 0}, 6);
    evaluation_result_close(&result);
    result = run_fixed(&fixed, test_queries, true);
    assert_list(&result, 0, (const uint32_t[]){3, 5, 4}, 3); /* a b c are seen */
    assert_list(&result, 1, (const uint32_t[]){1, 0}, 2);    /* c d e f are seen, b is asked for */
    evaluation_result_close(&result);
}

static bool give_up(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    for (size_t i = 0; i < ITEMS; i++)
        score[i] = 0;
    return query->length != *(const size_t *)context;
}

Test(evaluation, a_scorer_that_gives_up_ends_it)
{
    struct evaluation_result result = {.count = 77};
    size_t length = 4;
    cr_assert_not(evaluation_run(&few, test_queries, 2, true, 2, give_up, &length, &result));
    cr_assert_eq(result.count, 77, "written only on success");
}

Test(evaluation, nobody_to_ask)
{
    struct fixed fixed = {.asked = 0};
    struct evaluation_result result;
    cr_assert(evaluation_run(&few, NULL, 0, true, 1, score_fixed, &fixed, &result));
    cr_assert(result.count == 0 && fixed.asked == 0);
    cr_assert(evaluation_hit_rate(&result, 10) == 0 && evaluation_ndcg(&result, 10) == 0);
    evaluation_result_close(&result);
}

Test(evaluation, metrics_by_hand)
{
    float rank[] = {1, 2, 3.5f, 10, 11, 200};
    const struct evaluation_result result = {6, rank, NULL};
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
    const struct evaluation_result result = {1, rank, NULL};
    cr_assert_eq(evaluation_hit_rate(&result, 10), 1);
    cr_assert_eq(evaluation_hit_rate(&result, 9), 0);
    cr_assert_float_eq(evaluation_ndcg(&result, 10), 1 / log2(11.5), 1e-9);
    cr_assert_eq(evaluation_gain(EVALUATION_HIT_RATE, 11, 10), 0);
}

/* ---- threads */

Test(evaluation, any_number_of_threads_gives_the_same)
{
    enum { USERS = 500, MANY = 80, EVENTS = 12 };
    static const size_t threads[] = {1, 3, 0, EVALUATION_THREADS_MAX, 1000};
    static struct evaluation_event events[USERS * EVENTS];
    static size_t starts[USERS + 1];
    struct random rng;
    random_init(&rng, 1);
    for (size_t u = 0; u < USERS; u++) {
        size_t count = (size_t)random_below(&rng, EVENTS + 1);
        starts[u + 1] = starts[u] + count;
        for (size_t i = 0; i < count; i++)
            events[starts[u] + i] =
                (struct evaluation_event){(uint32_t)random_below(&rng, MANY), 1700000000000 + (int64_t)i * 1000, 0, 1};
    }
    const struct evaluation_data data = {MANY, USERS, events, starts};
    struct holdout holdout;
    cr_assert(holdout_cut(&holdout, &data, HOLDOUT_LEAVE_ONE_OUT, 0, NULL, NULL));
    struct counts_view *counts = holdout_counts(&holdout, &data);
    struct baseline_counts context = {counts, MANY};
    struct evaluation_result wanted, result;
    cr_assert(evaluation_run(&data, holdout.test, holdout.test_count, true, 1, baseline_markov, &context, &wanted));
    cr_assert_gt(wanted.count, 300);
    for (size_t i = 0; i < LENGTH(threads); i++) {
        cr_assert(evaluation_run(&data, holdout.test, holdout.test_count, true, threads[i], baseline_markov, &context,
                                 &result));
        cr_assert_eq(result.count, wanted.count);
        cr_assert_arr_eq(result.rank, wanted.rank, wanted.count * sizeof *wanted.rank, "%zu threads", threads[i]);
        cr_assert_arr_eq(result.list, wanted.list, wanted.count * EVALUATION_LIST * sizeof *wanted.list, "%zu threads",
                         threads[i]);
        evaluation_result_close(&result);
    }
    evaluation_result_close(&wanted);
    counts_view_release(counts);
    holdout_close(&holdout);
}
