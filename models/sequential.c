/* SPDX-License-Identifier: Apache-2.0 */
#include "models/sequential.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#define EFFECT .1 /* of the rate: what tau is tuned for */

static struct sequential_result nothing_known(double difference)
{
    return (struct sequential_result){.difference = difference, .low = -1, .high = 1, .p = 1};
}

/* The two formulas of the header; by logarithms, because Lambda is soon beyond a double. `furthest`: what a difference
 * cannot exceed. */
static struct sequential_result judge(double difference, double variance, double tau, double alpha, double furthest)
{
    double spread = tau * tau, total = variance + spread;
    double log_ratio = log(total / variance);
    double log_lambda = spread * difference * difference / (2 * variance * total) - log_ratio / 2;
    double half = sqrt(variance * total / spread * (log_ratio - 2 * log(alpha)));
    return (struct sequential_result){
        .difference = difference,
        .low = fmax(-furthest, difference - half),
        .high = fmin(furthest, difference + half),
        .p = fmin(1, exp(-log_lambda)),
    };
}

static void check_arm(struct sequential_arm arm)
{
    assert(arm.converted >= 0 && arm.converted <= arm.users);
}

static double rate(struct sequential_arm arm)
{
    return (double)arm.converted / (double)arm.users;
}

/* Never 0 or 1, so that an arm without conversions has a variance too. */
static double smoothed_rate(struct sequential_arm arm)
{
    return ((double)arm.converted + .5) / ((double)arm.users + 1);
}

static double variance_of_rate(struct sequential_arm arm)
{
    double smoothed = smoothed_rate(arm);
    return smoothed * (1 - smoothed) / (double)arm.users;
}

/* Cochran's rule for fourfold tables, with 10 where he asks for 5: there will be many looks. Multiplied out, because a
 * quotient would round. */
static bool enough(struct sequential_arm a, struct sequential_arm b, struct sequential_arm both)
{
    double fewer = (double)(a.users < b.users ? a.users : b.users);
    double least = SEQUENTIAL_OUTCOMES_MIN * (double)both.users;
    return fewer >= SEQUENTIAL_USERS_MIN && fewer * (double)both.converted >= least &&
           fewer * (double)(both.users - both.converted) >= least;
}

struct sequential_result sequential_compare(struct sequential_arm a, struct sequential_arm b, double alpha,
                                            int comparisons)
{
    assert(alpha > 0 && alpha < 1 && comparisons >= 1);
    check_arm(a);
    check_arm(b);
    if (a.users == 0 || b.users == 0)
        return nothing_known(0);
    double difference = rate(b) - rate(a);
    struct sequential_arm both = {a.users + b.users, a.converted + b.converted};
    if (!enough(a, b, both))
        return nothing_known(difference);
    double variance = variance_of_rate(a) + variance_of_rate(b);
    double tau = EFFECT * smoothed_rate(both);
    struct sequential_result result = judge(difference, variance, tau, alpha / comparisons, 1);
    result.p = fmin(1, result.p * comparisons);
    return result;
}

struct sequential_result sequential_preference(int64_t for_a, int64_t for_b, double alpha)
{
    assert(alpha > 0 && alpha < 1 && for_a >= 0 && for_b >= 0);
    double users = (double)(for_a + for_b);
    if (users == 0)
        return nothing_known(0);
    double difference = (double)(for_b - for_a) / (2 * users);
    if (users < SEQUENTIAL_USERS_MIN)
        return nothing_known(difference);
    return judge(difference, 1 / (4 * users), EFFECT / 2, alpha, .5);
}
