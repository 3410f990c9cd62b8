/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparisons that one may look at at any time, as often as one likes, and stop when one has seen enough: the chance
 * that p falls below alpha at any look at all, while there is nothing to find, is at most alpha; the chance that the
 * interval ever misses the true difference is at most alpha. An ordinary test gives that for one look only: looked at
 * forty times, a test at 5 % cries wolf in about three of ten experiments.
 *
 * Method: the mixture sequential probability ratio test with a normal mixing distribution (Robbins, "Statistical
 * methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41(5), 1970; Johari,
 * Pekelis, Walsh, "Always valid inference: bringing sequential analysis to A/B testing", arXiv 1512.04922, 2015;
 * Johari, Koomen, Pekelis, Walsh, Operations Research 70(3), 2022). With the observed difference d of variance V, and
 * effects of the normal distribution with mean 0 and variance tau^2:
 *
 *   Lambda = sqrt(V / (V + tau^2)) * exp(tau^2 d^2 / (2 V (V + tau^2)))     p = min(1, 1 / Lambda)
 *   d +- sqrt(V (V + tau^2) / tau^2 * (2 log(1 / alpha) + log((V + tau^2) / V)))
 *
 * so that 0 is outside of the interval exactly when p < alpha.
 *
 * tau is a tenth of the rate that both arms have together (smoothed, so never 0), because an effect of a tenth of the
 * rate is what a better model can hope for. tau decides how soon an effect is found, not whether p holds: effects far
 * from a tenth are found too, with somewhat more users than a test made for them.
 *
 * What is exact and what is not: the theory wants V and tau known. sequential_compare takes the normal approximation
 * and estimates both, V from each arm's own rate, (converted + 1/2) / (users + 1), and tau from the rate of both arms,
 * which is uncorrelated with the difference where there is none. That is right for many users only; hence the least
 * numbers below, and tests that measure the rate of false alarms. sequential_preference is exact.
 *
 * p and the interval are those of the present numbers: a later look may give a larger p. Whoever decided at an earlier
 * look was entitled to. Users count once each and do not depend on each other; what a user did is one outcome.
 *
 * No memory, no state, no errors; numbers that cannot be (converted > users, alpha outside of (0, 1)) are asserted. */
#ifndef RECSYS_MODELS_SEQUENTIAL_H
#define RECSYS_MODELS_SEQUENTIAL_H

#include <stdint.h>

/* What must be there before anything is said. Of sequential_compare: this many users in each arm, and in each arm this
 * many conversions and this many non-conversions expected at the rate of both arms together (expected, not seen: an
 * arm in which nobody converts at all is to be found). Of sequential_preference: this many users in all. */
#define SEQUENTIAL_USERS_MIN    50
#define SEQUENTIAL_OUTCOMES_MIN 10

/* A variant of an experiment. */
struct sequential_arm {
    int64_t users, converted; /* 0 <= converted <= users */
};

/* Before the least numbers are reached p is 1 and the interval [-1, 1]. */
struct sequential_result {
    double difference; /* as observed; 0 while an arm has no users */
    double low, high;  /* the interval; holds `difference` */
    double p;          /* from [0, 1] */
};

/* The rate of `b` minus that of `a`. `alpha`: the chance of a false alarm to live with, from (0, 1). `comparisons` (1
 * or more): how many are made together, such as variants against one control; by Bonferroni the interval is that of
 * alpha / comparisons and p is multiplied by comparisons, so p is still compared with alpha. */
struct sequential_result sequential_compare(struct sequential_arm a, struct sequential_arm b, double alpha,
                                            int comparisons);

/* Which of two interleaved models users prefer: `for_a` and `for_b` users favoured one of them; those who favoured
 * neither are left out. `difference` is the share of b minus 1/2, and so are `low` and `high`. V is 1/4 divided by the
 * users, which is right for a share of 1/2 and too much for any other, and tau a tenth of 1/2: p and interval are valid
 * for any number of users (an outcome is sub-Gaussian with 1/4 by Hoeffding's lemma, so Lambda is a supermartingale,
 * and Ville's inequality holds). */
struct sequential_result sequential_preference(int64_t for_a, int64_t for_b, double alpha);

#endif
