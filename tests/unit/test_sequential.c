/* SPDX-License-Identifier: Apache-2.0
 *
 * Experiments whose truth is known, looked at all the time: how often one without an effect is called one with, how
 * often a planted effect is found, and how often the interval holds the truth. The closed form is checked against the
 * integral that it stands for. */
#include "models/sequential.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>

#define ALPHA .05

enum { RUNS = 400, LOOKS = 40, USERS_A_LOOK = 500, PLANTED_RUNS = 100 };

/* How many of RUNS experiments may go wrong: three standard deviations above what ALPHA means. */
static double most_wrong(void)
{
    return RUNS * ALPHA + 3 * sqrt(RUNS * ALPHA * (1 - ALPHA));
}

/* `users` more, by a coin into one of the two arms; each converts at the rate of the arm. */
static void more_users(struct random *rng, struct sequential_arm arm[2], const double rate[2], int users)
{
    for (int i = 0; i < users; i++) {
        uint64_t bits = random_u64(rng);
        size_t at = bits & 1;
        arm[at].users++;
        arm[at].converted += (double)(bits >> 11) * 0x1p-53 < rate[at];
    }
}

/* `users` more of one arm at once, the binomial drawn as a normal: for blocks of thousands of users. */
static void more_users_of_arm(struct random *rng, struct sequential_arm *arm, double rate, int users)
{
    double mean = users * rate, deviation = sqrt(mean * (1 - rate));
    arm->users += users;
    arm->converted += lround(mean + deviation * (double)random_normal(rng));
}

/* How many of `users` favour b. */
static int64_t favouring_b(struct random *rng, double share, int users)
{
    int64_t for_b = 0;
    for (int i = 0; i < users; i++)
        for_b += (double)(random_u64(rng) >> 11) * 0x1p-53 < share;
    return for_b;
}

static double rate_of(struct sequential_arm arm)
{
    return (double)arm.converted / (double)arm.users;
}

static double smoothed_rate_of(struct sequential_arm arm)
{
    return ((double)arm.converted + .5) / ((double)arm.users + 1);
}

/* V of the header. */
static double variance_of(const struct sequential_arm arm[2])
{
    double a = smoothed_rate_of(arm[0]), b = smoothed_rate_of(arm[1]);
    return a * (1 - a) / (double)arm[0].users + b * (1 - b) / (double)arm[1].users;
}

/* What people do without this module: the test of one look, at 5 %. */
static bool one_look_alarm(const struct sequential_arm arm[2])
{
    return fabs(rate_of(arm[1]) - rate_of(arm[0])) > 1.959964 * sqrt(variance_of(arm));
}

/* The likelihood ratio of an effect against none, averaged over effects from N(0, tau²) by the trapezium rule: Lambda
 * as it is defined. */
static double mixture(double difference, double variance, double tau)
{
    const int steps = 6000;
    double step = 24 * tau / steps, sum = 0;
    for (int i = 0; i <= steps; i++) {
        double effect = step * i - 12 * tau;
        sum += exp((effect * difference - effect * effect / 2) / variance - effect * effect / (2 * tau * tau));
    }
    return sum * step / (tau * sqrt(2 * M_PI));
}

/* p is one over the mixture, and the mixture of a difference as large as half of the interval is one over alpha. */
static void assert_mixture(const struct sequential_result *result, double variance, double tau)
{
    double lambda = mixture(result->difference, variance, tau), half = (result->high - result->low) / 2;
    cr_assert(lambda > 1, "a case that tests something");
    cr_assert_float_eq(result->p, 1 / lambda, 1e-9, "p %g, not %g", result->p, 1 / lambda);
    cr_assert_float_eq(mixture(half, variance, tau), 1 / ALPHA, 1e-6, "%g at the end", mixture(half, variance, tau));
    cr_assert_float_eq(result->low, result->difference - half, 1e-12);
}

Test(sequential, the_closed_form_is_the_mixture)
{
    static const int64_t converted[] = {870, 1100, 1200};
    for (size_t i = 0; i < sizeof converted / sizeof converted[0]; i++) {
        struct sequential_arm arm[2] = {{10000, 1000}, {10000, converted[i]}};
        struct sequential_arm both = {20000, 1000 + converted[i]};
        struct sequential_result result = sequential_compare(arm[0], arm[1], ALPHA, 1);
        cr_assert_float_eq(result.difference, (double)(converted[i] - 1000) / 10000, 1e-12);
        assert_mixture(&result, variance_of(arm), .1 * smoothed_rate_of(both));
    }
    struct sequential_result result = sequential_preference(450, 550, ALPHA);
    cr_assert_float_eq(result.difference, .05, 1e-12);
    assert_mixture(&result, 1. / 4000, .05);
}

Test(sequential, nothing_to_find_whenever_one_looks)
{
    static const double rate[2] = {.1, .1};
    struct random rng;
    random_init(&rng, 20260601);
    int alarms = 0, one_look_alarms = 0;
    for (int run = 0; run < RUNS; run++) {
        struct sequential_arm arm[2] = {{0, 0}, {0, 0}};
        bool alarm = false, of_one_look = false;
        for (int look = 0; look < LOOKS; look++) {
            more_users(&rng, arm, rate, USERS_A_LOOK);
            alarm |= sequential_compare(arm[0], arm[1], ALPHA, 1).p < ALPHA;
            of_one_look |= one_look_alarm(arm);
        }
        alarms += alarm;
        one_look_alarms += of_one_look;
    }
    cr_assert(alarms <= most_wrong(), "%d false alarms in %d", alarms, RUNS);
    cr_assert(one_look_alarms > 2 * most_wrong(), "only %d: these experiments would not show a fault", one_look_alarms);
}

Test(sequential, nothing_to_prefer_whenever_one_looks)
{
    struct random rng;
    random_init(&rng, 20260602);
    int alarms = 0;
    for (int run = 0; run < RUNS; run++) {
        int64_t users = 0, for_b = 0;
        bool alarm = false;
        for (int look = 0; look < LOOKS; look++) {
            users += USERS_A_LOOK;
            for_b += favouring_b(&rng, .5, USERS_A_LOOK);
            alarm |= sequential_preference(users - for_b, for_b, ALPHA).p < ALPHA;
        }
        alarms += alarm;
    }
    cr_assert(alarms <= most_wrong(), "%d false alarms in %d", alarms, RUNS);
}

/* Of three variants against one control, with a share of alpha each: still alpha for them all together. */
Test(sequential, nothing_to_find_in_several_comparisons)
{
    enum { VARIANTS = 3, BLOCK = 2000, BLOCKS = 50 };
    struct random rng;
    random_init(&rng, 20260603);
    int alarms = 0;
    for (int run = 0; run < RUNS; run++) {
        struct sequential_arm control = {0, 0}, variant[VARIANTS] = {{0, 0}};
        bool alarm = false;
        for (int block = 0; block < BLOCKS; block++) {
            more_users_of_arm(&rng, &control, .1, BLOCK);
            for (int v = 0; v < VARIANTS; v++) {
                more_users_of_arm(&rng, &variant[v], .1, BLOCK);
                alarm |= sequential_compare(control, variant[v], ALPHA, VARIANTS).p < ALPHA;
            }
        }
        alarms += alarm;
    }
    cr_assert(alarms <= most_wrong(), "%d false alarms in %d", alarms, RUNS);
}

/* A fifth more at a rate of .2: with 40,000 users an arm, and with a quarter of them. */
Test(sequential, a_large_lift_is_found)
{
    static const double rate[2] = {.2, .24};
    struct random rng;
    random_init(&rng, 20260604);
    int found = 0, early = 0;
    for (int run = 0; run < PLANTED_RUNS; run++) {
        struct sequential_arm arm[2] = {{0, 0}, {0, 0}};
        struct sequential_result result = {0};
        for (int quarter = 0; quarter < 4; quarter++) {
            more_users(&rng, arm, rate, 20000);
            result = sequential_compare(arm[0], arm[1], ALPHA, 1);
            early += quarter == 0 && result.p < ALPHA && result.low > 0;
        }
        found += result.p < ALPHA && result.low > 0;
    }
    cr_assert_geq(found, 95, "found in %d of %d", found, PLANTED_RUNS);
    cr_assert_geq(early, 95, "found by a quarter of the users in %d of %d", early, PLANTED_RUNS);
}

/* A twentieth more at a rate of .3: with 200,000 users an arm, and with half of them. */
Test(sequential, a_small_lift_is_found)
{
    enum { BLOCK = 10000, BLOCKS = 20 };
    struct random rng;
    random_init(&rng, 20260605);
    int found = 0, early = 0;
    for (int run = 0; run < PLANTED_RUNS; run++) {
        struct sequential_arm a = {0, 0}, b = {0, 0};
        struct sequential_result result = {0};
        for (int block = 0; block < BLOCKS; block++) {
            more_users_of_arm(&rng, &a, .3, BLOCK);
            more_users_of_arm(&rng, &b, .315, BLOCK);
            result = sequential_compare(a, b, ALPHA, 1);
            early += block == BLOCKS / 2 - 1 && result.p < ALPHA && result.low > 0;
        }
        found += result.p < ALPHA && result.low > 0;
    }
    cr_assert_geq(found, 90, "found in %d of %d", found, PLANTED_RUNS);
    cr_assert_geq(early, 90, "found by half of the users in %d of %d", early, PLANTED_RUNS);
}

Test(sequential, the_interval_holds_the_truth_at_every_look)
{
    static const double rate[2] = {.1, .12};
    struct random rng;
    random_init(&rng, 20260606);
    int missed = 0;
    double width = 2;
    for (int run = 0; run < RUNS; run++) {
        struct sequential_arm arm[2] = {{0, 0}, {0, 0}};
        bool miss = false;
        for (int look = 0; look < LOOKS; look++) {
            more_users(&rng, arm, rate, USERS_A_LOOK);
            struct sequential_result result = sequential_compare(arm[0], arm[1], ALPHA, 1);
            miss |= result.low > rate[1] - rate[0] || result.high < rate[1] - rate[0];
            width = result.high - result.low;
        }
        missed += miss;
        cr_assert(width < .04, "width %g: holds the truth by being wide", width);
    }
    cr_assert(missed <= most_wrong(), "%d of %d", missed, RUNS);
}

Test(sequential, a_preference_is_found_and_held)
{
    struct random rng;
    random_init(&rng, 20260607);
    int missed = 0, found = 0;
    for (int run = 0; run < RUNS; run++) {
        int64_t users = 0, for_b = 0;
        struct sequential_result result = {0};
        bool miss = false;
        for (int look = 0; look < LOOKS / 4; look++) {
            users += USERS_A_LOOK;
            for_b += favouring_b(&rng, .55, USERS_A_LOOK);
            result = sequential_preference(users - for_b, for_b, ALPHA);
            miss |= result.low > .05 || result.high < .05;
        }
        missed += miss;
        found += result.p < ALPHA && result.low > 0;
    }
    cr_assert(missed <= most_wrong(), "%d of %d", missed, RUNS);
    cr_assert_geq(found, RUNS * 95 / 100, "found in %d of %d", found, RUNS);
}

/* An arm of 50 to 20,000 users that converts at about `rate`. */
static struct sequential_arm arm_near(struct random *rng, double rate)
{
    double own = fmin(1, fmax(0, rate + .05 * (double)random_normal(rng)));
    int64_t users = 50 + (int64_t)random_below(rng, 19951);
    return (struct sequential_arm){users, (int64_t)(own * (double)users)};
}

static void assert_mirrored(const struct sequential_result *result, const struct sequential_result *back)
{
    cr_assert_float_eq(result->difference, -back->difference, 1e-12);
    cr_assert_float_eq(result->low, -back->high, 1e-12);
    cr_assert_float_eq(result->high, -back->low, 1e-12);
    cr_assert_float_eq(result->p, back->p, 1e-12);
}

/* In itself without contradiction. True when significant. */
static bool assert_consistent(const struct sequential_result *result, double alpha)
{
    bool significant = result->p < alpha;
    cr_assert(result->p >= 0 && result->p <= 1, "p %g", result->p);
    cr_assert(result->low <= result->difference && result->difference <= result->high, "%g is not in %g to %g",
              result->difference, result->low, result->high);
    cr_assert_eq(significant, result->low > 0 || result->high < 0, "p %g, alpha %g, but %g to %g", result->p, alpha,
                 result->low, result->high);
    return significant;
}

Test(sequential, p_and_interval_agree)
{
    static const double alphas[] = {.2, .05, .01};
    struct random rng;
    random_init(&rng, 20260608);
    int significant = 0, trials = 3000;
    for (int i = 0; i < trials; i++) {
        double alpha = alphas[i % 3], rate = (double)random_uniform(&rng), last_p = 0, last_width = 0;
        struct sequential_arm a = arm_near(&rng, rate), b = arm_near(&rng, rate);
        for (int comparisons = 1; comparisons <= 5; comparisons++) {
            struct sequential_result result = sequential_compare(a, b, alpha, comparisons);
            struct sequential_result back = sequential_compare(b, a, alpha, comparisons);
            assert_mirrored(&result, &back);
            significant += assert_consistent(&result, alpha) && comparisons == 1;
            cr_assert(result.p >= last_p && result.high - result.low >= last_width, "%d comparisons", comparisons);
            last_p = result.p;
            last_width = result.high - result.low;
        }
    }
    cr_assert(significant > trials / 10 && significant < trials * 9 / 10, "%d of %d", significant, trials);
}

Test(sequential, p_and_interval_of_a_preference_agree)
{
    struct random rng;
    random_init(&rng, 20260609);
    int significant = 0, trials = 3000;
    for (int i = 0; i < trials; i++) {
        struct sequential_arm arm = arm_near(&rng, .5);
        int64_t for_a = arm.users - arm.converted, for_b = arm.converted;
        struct sequential_result result = sequential_preference(for_a, for_b, ALPHA);
        struct sequential_result back = sequential_preference(for_b, for_a, ALPHA);
        assert_mirrored(&result, &back);
        significant += assert_consistent(&result, ALPHA);
    }
    cr_assert(significant > trials / 10 && significant < trials * 9 / 10, "%d of %d", significant, trials);
}

Test(sequential, comparisons_share_alpha)
{
    struct sequential_arm a = {10000, 1000}, b = {10000, 1180};
    struct sequential_result one = sequential_compare(a, b, ALPHA, 1), four = sequential_compare(a, b, ALPHA, 4);
    struct sequential_result quarter = sequential_compare(a, b, ALPHA / 4, 1);
    cr_assert(one.p > 0 && one.p < .1, "p %g", one.p);
    cr_assert_float_eq(four.p, 4 * one.p, 1e-12);
    cr_assert_float_eq(four.low, quarter.low, 1e-12);
    cr_assert_float_eq(four.high, quarter.high, 1e-12);
}

static void assert_nothing_known(const struct sequential_result *result, const char *what)
{
    cr_assert(result->p == 1 && result->low == -1 && result->high == 1, "%s: p %g, %g to %g", what, result->p,
              result->low, result->high);
    cr_assert(result->difference >= -1 && result->difference <= 1, "%s: difference %g", what, result->difference);
}

Test(sequential, too_few_to_say_anything)
{
    static const struct {
        const char *what;
        struct sequential_arm a, b;
    } few[] = {
        {"nobody", {0, 0}, {0, 0}},
        {"nobody in one arm", {0, 0}, {100000, 10000}},
        {"one user", {1, 0}, {1, 1}},
        {"49 users in one arm", {49, 10}, {100000, 50000}},
        {"9 conversions an arm", {1000, 9}, {1000, 9}},
        {"9 others an arm", {1000, 991}, {1000, 991}},
        {"no conversion", {1000, 0}, {1000, 0}},
        {"nothing else", {1000, 1000}, {1000, 1000}},
    };
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        struct sequential_result result = sequential_compare(few[i].a, few[i].b, ALPHA, 1);
        assert_nothing_known(&result, few[i].what);
        result = sequential_compare(few[i].b, few[i].a, ALPHA, 1);
        assert_nothing_known(&result, few[i].what);
    }
    struct sequential_result result = sequential_preference(0, 0, ALPHA);
    assert_nothing_known(&result, "nobody prefers");
    cr_assert_eq(result.difference, 0);
    result = sequential_preference(0, 49, ALPHA);
    assert_nothing_known(&result, "49 prefer");
    cr_assert_eq(result.difference, .5);
}

/* With exactly the least numbers something is said, though nothing is found. */
Test(sequential, just_enough)
{
    struct sequential_arm a = {100, 11}, b = {100, 9};
    struct sequential_result result = sequential_compare(a, b, ALPHA, 1);
    cr_assert(result.low > -1 && result.high < 1, "%g to %g", result.low, result.high);
    cr_assert(result.p == 1, "p %g", result.p);
    result = sequential_preference(25, 25, ALPHA);
    cr_assert(result.low > -.5 && result.high < .5, "%g to %g", result.low, result.high);
    cr_assert(result.p == 1, "p %g", result.p);
}

/* A variant in which nobody converts is the one to be told of. */
Test(sequential, an_arm_without_conversions_is_found)
{
    struct sequential_arm control = {10000, 500}, broken = {10000, 0};
    struct sequential_result result = sequential_compare(control, broken, ALPHA, 1);
    cr_assert(result.p < 1e-6 && result.high < 0, "p %g, %g to %g", result.p, result.low, result.high);
    cr_assert_float_eq(result.difference, -.05, 1e-12);
}

/* Lambda is far beyond a double here. */
Test(sequential, huge_numbers)
{
    struct sequential_arm a = {1000000000, 100000000}, b = {1000000000, 900000000};
    struct sequential_result result = sequential_compare(a, b, ALPHA, 1);
    cr_assert(result.p == 0 && result.low > .79 && result.high < .81, "p %g, %g to %g", result.p, result.low,
              result.high);
    result = sequential_preference(0, 2000000000, ALPHA);
    cr_assert(result.p == 0 && result.low > .49 && result.high == .5, "p %g, %g to %g", result.p, result.low,
              result.high);
}
