/* SPDX-License-Identifier: Apache-2.0
 *
 * Intervals whose ends are known: from nothing to vary, from the binomial distribution, from what pairing takes away. */
#include "models/bootstrap.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { MANY = 4000 };

static void user_each(uint32_t *user, size_t count)
{
    for (size_t i = 0; i < count; i++)
        user[i] = (uint32_t)i;
}

static void assert_interval(const struct bootstrap_interval *interval, double mean, double low, double high,
                            double tolerance)
{
    cr_assert_float_eq(interval->mean, mean, 1e-9, "mean %g, not %g", interval->mean, mean);
    cr_assert_float_eq(interval->low, low, tolerance, "low %g, not %g", interval->low, low);
    cr_assert_float_eq(interval->high, high, tolerance, "high %g, not %g", interval->high, high);
}

Test(bootstrap, what_does_not_vary_is_certain)
{
    double value[100];
    uint32_t user[100];
    struct bootstrap_interval interval;
    user_each(user, 100);
    for (size_t i = 0; i < 100; i++)
        value[i] = .25;
    cr_assert(bootstrap_mean(value, user, 100, &interval));
    assert_interval(&interval, .25, .25, .25, 1e-12);
    value[0] = 1;
    cr_assert(bootstrap_mean(value, user, 1, &interval));
    assert_interval(&interval, 1, 1, 1, 1e-12);
}

Test(bootstrap, nothing)
{
    struct bootstrap_interval interval = {1, 2, 3};
    cr_assert(bootstrap_mean(NULL, NULL, 0, &interval));
    assert_interval(&interval, 0, 0, 0, 0);
    interval = (struct bootstrap_interval){1, 2, 3};
    cr_assert(bootstrap_difference(NULL, NULL, NULL, 0, &interval));
    assert_interval(&interval, 0, 0, 0, 0);
}

/* A tenth of ones: the mean of a resample is binomial, ± 1.96 · sqrt(.1 · .9 / n). */
Test(bootstrap, as_wide_as_the_binomial)
{
    static double value[MANY];
    static uint32_t user[MANY];
    struct bootstrap_interval interval;
    user_each(user, MANY);
    for (size_t i = 0; i < MANY; i++)
        value[i] = i % 10 == 0;
    cr_assert(bootstrap_mean(value, user, MANY, &interval));
    double half = 1.96 * sqrt(.1 * .9 / MANY);
    assert_interval(&interval, .1, .1 - half, .1 + half, half * .2);
}

/* Eight equal queries of each user are one thing that varies, not eight: the interval is √8 times as wide. */
Test(bootstrap, queries_of_a_user_stand_and_fall_together)
{
    static double value[MANY];
    static uint32_t user[MANY];
    struct bootstrap_interval interval;
    for (size_t i = 0; i < MANY; i++) {
        user[i] = (uint32_t)(i / 8);
        value[i] = user[i] % 10 == 0;
    }
    cr_assert(bootstrap_mean(value, user, MANY, &interval));
    double half = 1.96 * sqrt(.1 * .9 / (MANY / 8));
    assert_interval(&interval, .1, .1 - half, .1 + half, half * .2);
}

/* Users with more queries weigh more in the mean: a mean over queries, not over users. */
Test(bootstrap, the_mean_is_over_queries)
{
    static const double value[] = {1, 0, 0, 0};
    static const uint32_t user[] = {7, 3, 3, 3};
    struct bootstrap_interval interval;
    cr_assert(bootstrap_mean(value, user, 4, &interval));
    assert_interval(&interval, .25, 0, 1, 0); /* both drawn are one user in half of the resamples */
}

/* Two that vary together by far more than they differ: only pairing sees the difference. */
Test(bootstrap, pairing_sees_a_small_difference)
{
    static double one[MANY], other[MANY];
    static uint32_t user[MANY];
    struct bootstrap_interval mean_of_one, mean_of_other, difference;
    struct random rng;
    random_init(&rng, 5);
    user_each(user, MANY);
    for (size_t i = 0; i < MANY; i++) {
        other[i] = (double)random_normal(&rng);
        one[i] = other[i] + .01 + .05 * (double)random_normal(&rng);
    }
    cr_assert(bootstrap_mean(one, user, MANY, &mean_of_one));
    cr_assert(bootstrap_mean(other, user, MANY, &mean_of_other));
    cr_assert(mean_of_one.low < mean_of_other.high, "the two intervals overlap");
    cr_assert(bootstrap_difference(one, other, user, MANY, &difference));
    cr_assert_float_eq(difference.mean, mean_of_one.mean - mean_of_other.mean, 1e-12);
    cr_assert(difference.low > 0 && difference.high < .02, "%g to %g", difference.low, difference.high);
    struct bootstrap_interval back;
    cr_assert(bootstrap_difference(other, one, user, MANY, &back));
    assert_interval(&back, -difference.mean, -difference.high, -difference.low, 1e-12);
}

Test(bootstrap, the_same_each_time)
{
    static double value[MANY];
    static uint32_t user[MANY];
    struct bootstrap_interval first, second;
    struct random rng;
    random_init(&rng, 6);
    user_each(user, MANY);
    for (size_t i = 0; i < MANY; i++)
        value[i] = (double)random_uniform(&rng);
    cr_assert(bootstrap_mean(value, user, MANY, &first));
    cr_assert(bootstrap_mean(value, user, MANY, &second));
    cr_assert(first.mean == second.mean && first.low == second.low && first.high == second.high);
    cr_assert(first.low < first.mean && first.mean < first.high);
}
