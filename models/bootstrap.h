/* SPDX-License-Identifier: Apache-2.0
 *
 * How sure a mean is: percentile bootstrap (Efron & Tibshirani 1993, chapter 13). Users are resampled, each with all of the queries, because
 * queries of one user are not independent. The seed is fixed: the same numbers give the same interval. */
#ifndef RECSYS_MODELS_BOOTSTRAP_H
#define RECSYS_MODELS_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOTSTRAP_RESAMPLES 2000

/* A mean and the middle 95 % of its resamples. */
struct bootstrap_interval {
    double mean, low, high;
};

/* The mean of `value` (count). `user` (count): whose query it is; queries of one user stand together. All zero without queries. False out of memory. */
bool bootstrap_mean(const double *value, const uint32_t *user, size_t count, struct bootstrap_interval *interval);

/* The mean of value - other, query by query: what both share cancels, so that the interval is far narrower than those of the two means. */
bool bootstrap_difference(const double *value, const double *other, const uint32_t *user, size_t count,
                          struct bootstrap_interval *interval);

#endif
