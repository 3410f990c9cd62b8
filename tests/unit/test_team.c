/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that share a job: everybody once in every round, shares without gaps, sums that do not depend on their number. */
#include "models/team.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct team *team_of(size_t threads)
{
    struct status st = STATUS_INIT;
    struct team *team = team_new(threads, &st);
    cr_assert_not_null(team, "%zu threads: %s", threads, st.message);
    return team;
}

Test(team, shares_cover_everything_once_and_are_even)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 63, 64, 65, 1000, 123457};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t threads = 1; threads <= TEAM_THREADS_MAX; threads++) {
            size_t end = 0, least = counts[c] / threads;
            for (size_t thread = 0; thread < threads; thread++) {
                size_t first = 77, last = 77;
                team_share(counts[c], thread, threads, &first, &last);
                cr_assert_eq(first, end, "%zu of %zu: begins at %zu, not %zu", thread, threads, first, end);
                cr_assert(last - first == least || last - first == least + 1, "%zu of %zu: %zu of %zu", thread, threads,
                          last - first, counts[c]);
                end = last;
            }
            cr_assert_eq(end, counts[c]);
        }
}

/* What a round leaves behind; the counts are not atomic, for nobody else writes to a thread's own. */
struct rounds {
    size_t threads;
    unsigned long count[TEAM_THREADS_MAX];
    unsigned long seen[TEAM_THREADS_MAX]; /* the sum of all counts when the round before had ended */
    unsigned long sum;
    atomic_bool astray; /* it was told a number that is none; asserting is for the test's own thread */
};

static void count_round(void *context, size_t thread, size_t threads)
{
    struct rounds *r = context;
    if (threads != r->threads || thread >= threads) {
        r->astray = true;
        return;
    }
    r->seen[thread] = r->sum;
    r->count[thread]++;
}

/* Many rounds: each has everybody once, sees what the caller did before it, and has ended when team_run returns. */
Test(team, everybody_once_in_every_round)
{
    static const size_t sizes[] = {1, 2, 3, 8};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct rounds r = {.threads = sizes[s]};
        struct team *team = team_of(sizes[s]);
        cr_assert_eq(team_size(team), sizes[s]);
        for (unsigned long round = 1; round <= 3000; round++) {
            team_run(team, count_round, &r);
            unsigned long sum = 0;
            cr_assert(!r.astray, "a number that is none");
            for (size_t thread = 0; thread < sizes[s]; thread++) {
                cr_assert_eq(r.count[thread], round, "thread %zu of %zu, round %lu: ran %lu times", thread, sizes[s],
                             round, r.count[thread]);
                cr_assert_eq(r.seen[thread], r.sum, "thread %zu of %zu, round %lu: late", thread, sizes[s], round);
                sum += r.count[thread];
            }
            r.sum = sum;
        }
        team_free(team);
    }
}

enum { NUMBERS = 10007, CHUNK = 64, CHUNKS = (NUMBERS + CHUNK - 1) / CHUNK };

struct sum {
    const float *number;
    float part[CHUNKS]; /* the order of summing is the chunks', whoever sums them */
    int times[CHUNKS];
};

static void sum_chunks(void *context, size_t thread, size_t threads)
{
    struct sum *s = context;
    size_t first, last;
    team_share(CHUNKS, thread, threads, &first, &last);
    for (size_t c = first; c < last; c++) {
        s->part[c] = 0;
        s->times[c]++;
        for (size_t i = c * CHUNK; i < (c + 1) * CHUNK && i < NUMBERS; i++)
            s->part[c] += s->number[i];
    }
}

Test(team, a_sum_in_fixed_order_is_the_same_for_any_number_of_threads)
{
    struct random rng;
    random_init(&rng, 1);
    float *number = random_model_alloc(NUMBERS, sizeof *number), first = 0;
    double exact = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        exact += (double)(number[i] = random_normal(&rng) * expf(3 * random_normal(&rng)));
    for (size_t threads = 1; threads <= 9; threads++) {
        struct sum s = {.number = number};
        struct team *team = team_of(threads);
        team_run(team, sum_chunks, &s);
        float sum = 0;
        for (size_t c = 0; c < CHUNKS; c++) {
            cr_assert_eq(s.times[c], 1, "%zu threads: chunk %zu was summed %d times", threads, c, s.times[c]);
            sum += s.part[c];
        }
        first = threads == 1 ? sum : first;
        cr_assert_eq(sum, first, "%zu threads: %.9g, not %.9g", threads, (double)sum, (double)first);
        cr_assert_lt(fabs((double)sum - exact), 1e-3 * (1 + fabs(exact)));
        team_free(team);
    }
    free(number);
}

static void add_one(void *context, size_t thread, size_t threads)
{
    (void)threads;
    ((int *)context)[thread]++;
}

/* A team has at least the caller and at most as many as there is room for; it can end without ever having worked. */
Test(team, sizes_have_limits)
{
    static const size_t sizes[][2] = {
        {0, 1}, {1, 1}, {TEAM_THREADS_MAX, TEAM_THREADS_MAX}, {TEAM_THREADS_MAX + 1, TEAM_THREADS_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int ran[TEAM_THREADS_MAX + 1] = {0};
        struct team *team = team_of(sizes[i][0]);
        cr_assert_eq(team_size(team), sizes[i][1]);
        team_run(team, add_one, ran);
        for (size_t thread = 0; thread <= TEAM_THREADS_MAX; thread++)
            cr_assert_eq(ran[thread], thread < sizes[i][1], "%zu threads: number %zu", sizes[i][1], thread);
        team_free(team);
    }
    team_free(team_of(4));
    team_free(NULL);
}
