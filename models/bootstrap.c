/* SPDX-License-Identifier: Apache-2.0 */
#include "models/bootstrap.h"

#include "models/random.h"

#include <stdlib.h>

#define SEED 20260501
#define TAIL (BOOTSTRAP_RESAMPLES / 40) /* resamples beyond each end: 2.5 % */

/* All that one user brings. */
struct share {
    double sum, queries;
};

/* shares by user, into room for `count`; how many there are. `other` may be NULL. */
static size_t gather(struct share *shares, const double *value, const double *other, const uint32_t *user, size_t count)
{
    size_t users = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || user[i] != user[i - 1])
            shares[users++] = (struct share){0};
        shares[users - 1].sum += other == NULL ? value[i] : value[i] - other[i];
        shares[users - 1].queries += 1;
    }
    return users;
}

/* the mean of one resample; both halves of a random number are used, scaled to [0, users) (Lemire 2019, without the rejection: there are at most
 * 2^32 users, and the bias is users / 2^32) */
static double resample(const struct share *shares, size_t users, struct random *rng)
{
    struct share total = {0};
    uint64_t bits = 0;
    for (size_t i = 0; i < users; i++) {
        bits = i % 2 == 0 ? random_u64(rng) : bits >> 32;
        const struct share *drawn = &shares[((bits & UINT32_MAX) * users) >> 32];
        total.sum += drawn->sum;
        total.queries += drawn->queries;
    }
    return total.sum / total.queries;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static bool bootstrap(const double *value, const double *other, const uint32_t *user, size_t count,
                      struct bootstrap_interval *interval)
{
    if (count == 0) {
        *interval = (struct bootstrap_interval){0};
        return true;
    }
    struct share *shares = malloc(count * sizeof *shares);
    double *means = malloc(BOOTSTRAP_RESAMPLES * sizeof *means), sum = 0;
    bool ok = shares != NULL && means != NULL;
    if (ok) {
        struct random rng;
        random_init(&rng, SEED);
        size_t users = gather(shares, value, other, user, count);
        for (size_t i = 0; i < users; i++)
            sum += shares[i].sum;
        for (size_t i = 0; i < BOOTSTRAP_RESAMPLES; i++)
            means[i] = resample(shares, users, &rng);
        qsort(means, BOOTSTRAP_RESAMPLES, sizeof *means, compare);
        *interval =
            (struct bootstrap_interval){sum / (double)count, means[TAIL], means[BOOTSTRAP_RESAMPLES - 1 - TAIL]};
    }
    free(shares);
    free(means);
    return ok;
}

bool bootstrap_mean(const double *value, const uint32_t *user, size_t count, struct bootstrap_interval *interval)
{
    return bootstrap(value, NULL, user, count, interval);
}

bool bootstrap_difference(const double *value, const double *other, const uint32_t *user, size_t count,
                          struct bootstrap_interval *interval)
{
    return bootstrap(value, other, user, count, interval);
}
