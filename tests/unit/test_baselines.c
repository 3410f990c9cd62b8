/* SPDX-License-Identifier: Apache-2.0
 *
 * The baselines against their formulas as plain loops. */
#include "models/baselines.h"

#include "models/holdout.h"
#include "models/random.h"

#include "tests/support/counts_lookup.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define DAY_MS 86400000

/* Σ over the last three events, k = 0, 1, 2 steps back, of .5^k · P[event → c]; popularity is events per item */
Test(baselines, counting)
{
    enum { USERS = 200, ITEMS = 30, EVENTS = 12 };
    static struct evaluation_event events[USERS * EVENTS];
    static size_t starts[USERS + 1];
    static const struct evaluation_event history[] = {{9, 0, 0, 1}, {3, 0, 0, 1}, {7, 0, 0, 1}, {3, 0, 0, 1}};
    struct random rng;
    random_init(&rng, 1);
    for (size_t u = 0; u < USERS; u++) {
        starts[u + 1] = starts[u] + EVENTS;
        for (size_t i = 0; i < EVENTS; i++)
            events[starts[u] + i] = (struct evaluation_event){(uint32_t)random_below(&rng, ITEMS), (int64_t)i * 1000, 0,
                                                              random_below(&rng, 10) == 0 ? 0.0f : 1.0f};
    }
    const struct evaluation_data data = {ITEMS, USERS, events, starts};
    struct holdout holdout;
    cr_assert(holdout_cut(&holdout, &data, HOLDOUT_LEAVE_ONE_OUT, 0, NULL, NULL));
    struct counts_view *counts = holdout_counts(&holdout, &data);
    struct baseline_counts context = {counts, ITEMS};
    for (size_t length = 0; length <= LENGTH(history); length++) {
        struct evaluation_query query = {history, length, 0, 0, 0};
        float score[ITEMS + 1];
        score[ITEMS] = 77;
        cr_assert(baseline_markov(&context, 0, &query, score));
        for (uint32_t c = 0; c < ITEMS; c++) {
            double wanted = 0;
            for (size_t k = 0; k < 3 && k < length; k++)
                wanted += pow(.5, (double)k) * counts_lookup(counts, history[length - 1 - k].item, c);
            cr_assert_float_eq(score[c], wanted, 1e-6, "length %zu, item %u", length, c);
        }
        cr_assert(baseline_popularity(&context, 0, &query, score));
        for (uint32_t c = 0; c < ITEMS; c++)
            cr_assert_eq(score[c], (float)counts_popularity(counts, c));
        cr_assert_eq(score[ITEMS], 77);
    }
    counts_view_release(counts);
    holdout_close(&holdout);
}

/* Seven days, the first moment in, the moment of the end out; only the training part, only what weighs something. */
Test(baselines, the_last_seven_days)
{
    static const struct evaluation_event events[] = {
        {0, 100 * (int64_t)DAY_MS - 7 * (int64_t)DAY_MS - 1, 0, 1}, /* a moment too old */
        {1, 100 * (int64_t)DAY_MS - 7 * (int64_t)DAY_MS, 0, 1},
        {1, 100 * (int64_t)DAY_MS - 1, 0, 1},
        {2, 100 * (int64_t)DAY_MS - 2, 0, 0}, /* weighs nothing */
        {2, 100 * (int64_t)DAY_MS - 2, 0, 1}, /* not in the training part */
        {3, 100 * (int64_t)DAY_MS, 0, 1}};
    static const bool in_training[] = {true, true, true, true, false, true};
    static const size_t starts[] = {0, 3, 6};
    const struct evaluation_data data = {5, 2, events, starts};
    struct evaluation_query query = {events, 1, 0, 0, 0};
    struct baseline_recent recent;
    float score[5];
    cr_assert(baseline_recent_init(&recent, &data, in_training, 100 * (int64_t)DAY_MS));
    cr_assert(baseline_recent(&recent, 0, &query, score));
    cr_assert(score[0] == 0 && score[1] == 2 && score[2] == 0 && score[3] == 0 && score[4] == 0, "%g %g %g %g",
              (double)score[0], (double)score[1], (double)score[2], (double)score[3]);
    baseline_recent_close(&recent);
    cr_assert_null(recent.count);
    cr_assert(baseline_recent_init(&recent, &data, in_training, INT64_MAX)); /* up to the newest, which is item 3's */
    cr_assert(baseline_recent(&recent, 0, &query, score));
    cr_assert(score[0] == 0 && score[1] == 1 && score[2] == 0 && score[3] == 1, "%g %g %g %g", (double)score[0],
              (double)score[1], (double)score[2], (double)score[3]);
    baseline_recent_close(&recent);
}

Test(baselines, nothing_lately)
{
    static const struct evaluation_event event = {0, 5, 0, 1};
    static const size_t starts[] = {0, 1};
    static const bool in_training[] = {false};
    const struct evaluation_data data = {1, 1, &event, starts};
    struct baseline_recent recent;
    cr_assert(baseline_recent_init(&recent, &data, in_training, INT64_MAX));
    cr_assert_eq(recent.count[0], 0);
    baseline_recent_close(&recent);
}

/* x_c · Σ over the last ten events of .8^k · x_event, x centred over the rows that are there, normalised, missing
 * ones 0 */
Test(baselines, content)
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
    cr_assert(baseline_content_prepare(rows, N, D));
    for (size_t i = 0; i < (size_t)N * D; i++)
        cr_assert_float_eq(rows[i], x[i / D][i % D], 1e-5, "row %zu", i / D);
    struct baseline_content context = {rows, N, D};
    for (size_t i = 0; i < LENGTH(history); i++)
        history[i] = (struct evaluation_event){(uint32_t)random_below(&rng, N), 0, 0, 1};
    for (size_t length = 0; length <= LENGTH(history); length += 5) {
        struct evaluation_query query = {history, length, 0, 0, 0};
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
    cr_assert(baseline_content_prepare(none, 2, 2));
    cr_assert(none[0] == 0 && none[3] == 0, "nothing is there");
}
