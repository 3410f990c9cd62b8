/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is in which variant, for ever, and what whole experiments come to. */
#include "models/random.h"
#include "models/sequential.h"
#include "tests/unit/experiments_rig.h"

#include <math.h>

#define USERS 100000

/* ---- who is where */

/* User `i`; short and long ids are hashed in different ways. */
static const char *user(char name[64], size_t i)
{
    snprintf(name, 64, i % 2 == 0 ? "%zu" : "user-%zu-of-the-shop", i);
    return name;
}

/* A count out of `n` with probability `p` each, within 4 standard deviations. */
static void expect_share(size_t count, size_t n, double p, const char *what)
{
    double mean = (double)n * p, deviation = sqrt((double)n * p * (1 - p));
    cr_expect(fabs((double)count - mean) <= 4 * deviation, "%s: %zu of %zu, expected %.0f +- %.0f", what, count, n,
              mean, 4 * deviation);
}

Test(experiment_assign, shares_hold)
{
    struct experiments *experiments =
        load_good("x:\n  share: 0.1\n  variants: {a: {}, b: {share: 2}, c: {share: 0.5}}\n");
    const struct experiment *x = experiments_at(experiments, 0);
    size_t counts[3] = {0}, in;
    char name[64];
    for (size_t i = 0; i < USERS; i++) {
        const struct experiment_variant *variant = experiment_assign(x, user(name, i));
        if (variant != NULL)
            counts[variant - x->variants]++;
    }
    in = counts[0] + counts[1] + counts[2];
    expect_share(in, USERS, 0.1, "in the experiment");
    expect_share(counts[0], in, 1 / 3.5, "a");
    expect_share(counts[1], in, 2 / 3.5, "b");
    expect_share(counts[2], in, 0.5 / 3.5, "c");
    experiments_release(experiments);
}

Test(experiment_assign, everybody_is_in_a_whole_experiment_but_nobody)
{
    struct experiments *experiments = load_good("x: {variants: {a: {}, b: {}}}\ny: {interleave: [active, m]}\n"
                                                "z: {shadow: m}\n");
    char name[64];
    for (size_t e = 0; e < 3; e++) {
        const struct experiment *experiment = experiments_at(experiments, e);
        cr_expect(experiment_assign(experiment, "") == NULL);
        for (size_t i = 0; i < 1000; i++) {
            const struct experiment_variant *variant = experiment_assign(experiment, user(name, i));
            cr_assert_not_null(variant);
            cr_assert(e == 0 || variant == experiment->variants);
        }
    }
    experiments_release(experiments);
}

Test(experiment_assign, a_shadow_is_cast_by_its_share_of_the_units)
{
    struct experiments *experiments = load_good("x: {shadow: m, share: 0.25}\n");
    size_t in = 0;
    char name[64];
    for (size_t i = 0; i < USERS; i++) {
        const struct experiment_variant *variant = experiment_assign(experiments_at(experiments, 0), user(name, i));
        in += variant != NULL;
        cr_assert(variant == NULL || strcmp(variant->model, "m") == 0);
    }
    expect_share(in, USERS, 0.25, "units with a shadow");
    experiments_release(experiments);
}

/* As the share grows, who is in stays in, and in the same variant. */
Test(experiment_assign, a_share_grows_by_newcomers_only)
{
    struct experiments *experiments = load_good("x: {salt: s, share: 0.1, variants: {a: {}, b: {}}}\n"
                                                "y: {salt: s, share: 0.2, variants: {a: {}, b: {}}}\n"
                                                "z: {salt: s, variants: {a: {}, b: {}}}\n");
    size_t before = 0, after = 0;
    char name[64];
    for (size_t i = 0; i < USERS; i++) {
        const struct experiment_variant *variants[3];
        for (size_t e = 0; e < 3; e++)
            variants[e] = experiment_assign(experiments_at(experiments, e), user(name, i));
        before += variants[0] != NULL;
        after += variants[1] != NULL;
        for (size_t e = 0; e < 2; e++)
            if (variants[e] != NULL)
                cr_assert(variants[e + 1] != NULL && strcmp(variants[e]->name, variants[e + 1]->name) == 0, "%s", name);
    }
    expect_share(before, USERS, 0.1, "at first");
    expect_share(after, USERS, 0.2, "later");
    experiments_release(experiments);
}

/* ---- independence */

struct table {
    size_t n[2][2];
};

/* Pearson's statistic of independence, one degree of freedom: the square of a standard normal number. */
static double chi_square(const struct table *t)
{
    double row[2], column[2], sum = 0;
    for (size_t i = 0; i < 2; i++) {
        row[i] = (double)(t->n[i][0] + t->n[i][1]);
        column[i] = (double)(t->n[0][i] + t->n[1][i]);
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            double expected = row[i] * column[k] / (row[0] + row[1]);
            sum += ((double)t->n[i][k] - expected) * ((double)t->n[i][k] - expected) / expected;
        }
    return sum;
}

/* 0 or 1: out or in, or which of two variants */
static size_t side(const struct experiment *experiment, const char *unit)
{
    const struct experiment_variant *variant = experiment_assign(experiment, unit);
    if (experiment->share < 1)
        return variant != NULL;
    cr_assert_not_null(variant);
    return (size_t)(variant - experiment->variants);
}

/* Variants against variants, shares against shares, and a share against the variants of the same salt; with salts that
 * are as near as can be. The last two have one salt: they are not independent, which shows that the test can tell. */
Test(experiment_assign, are_independent)
{
    struct experiments *experiments = load_good(
        "a: {variants: {v: {}, w: {}}}\nb: {variants: {v: {}, w: {}}}\n"
        "in-a: {salt: a, share: 0.5, variants: {v: {}, w: {}}}\nin-b: {salt: b, share: 0.5, variants: {v: {}, w: {}}}\n"
        "same-as-a: {salt: a, variants: {v: {}, w: {share: 3}}}\n");
    static const size_t pairs[][2] = {{0, 1}, {2, 3}, {0, 2}, {0, 3}, {0, 4}};
    char name[64];
    for (size_t p = 0; p < COUNT(pairs); p++) {
        const struct experiment *one = experiments_at(experiments, pairs[p][0]);
        const struct experiment *other = experiments_at(experiments, pairs[p][1]);
        struct table table = {0};
        for (size_t i = 0; i < USERS; i++) {
            const char *unit = user(name, i);
            table.n[side(one, unit)][side(other, unit)]++;
        }
        double chi = chi_square(&table);
        cr_expect((chi < 16) == (p < 4), "%s and %s: %.1f", one->name, other->name, chi); /* 4 standard deviations */
    }
    experiments_release(experiments);
}

/* Salt and unit are not just put one behind the other. */
Test(experiment_assign, salt_and_unit_have_a_border)
{
    char text[1024], one[64], other[64];
    const size_t units = 10000;
    write_lines(text, sizeof text, "x:\n  salt: ab\n  variants:\n", "    v", ": {}", EXPERIMENT_VARIANTS_MOST);
    struct experiments *long_salt = load_good(text);
    write_lines(text, sizeof text, "x:\n  salt: a\n  variants:\n", "    v", ": {}", EXPERIMENT_VARIANTS_MOST);
    struct experiments *short_salt = load_good(text);
    size_t same = 0;
    for (size_t i = 0; i < units; i++) {
        snprintf(one, sizeof one, "c%zu", i);
        snprintf(other, sizeof other, "bc%zu", i);
        same += strcmp(experiment_assign(experiments_at(long_salt, 0), one)->name,
                       experiment_assign(experiments_at(short_salt, 0), other)->name) == 0;
    }
    expect_share(same, units, 1.0 / EXPERIMENT_VARIANTS_MOST, "the same variant");
    experiments_release(long_salt);
    experiments_release(short_salt);
}

/* ---- for ever */

#define SETTLED "settled: {salt: 2026-11, share: 0.75, variants: {a: {}, b: {share: 2}, c: {}}}\n"

/* The variant of each unit below, '-' for none, as it has been since the first release. Where this test fails, users of
 * running experiments would change their variants: it is the code that is wrong. */
#define ASSIGNED "-aaac--bbab-ac-bbbbba-abbabcb-caa"

Test(experiment_assign, a_unit_stays_where_it_is_for_ever)
{
    static const char *const units[] = {
        "a", "ab", "user-12", "0123456789abcdef", "Zo\xc3\xab", "3f2c7f0e-5f3b-4b0e-9c57-1f2b1a7f6f10"};
    char found[64] = "", unit[301];
    struct experiments *experiments = load_good(SETTLED);
    const size_t numbered = 26;
    for (size_t i = 0; i < COUNT(units) + 1 + numbered; i++) {
        memset(unit, 'x', sizeof unit - 1); /* so long a text is hashed in another way */
        unit[sizeof unit - 1] = '\0';
        if (i < COUNT(units))
            snprintf(unit, sizeof unit, "%s", units[i]);
        else if (i > COUNT(units))
            snprintf(unit, sizeof unit, "u%zu", i - COUNT(units) - 1);
        const struct experiment_variant *variant = experiment_assign(experiments_at(experiments, 0), unit);
        found[i] = '-';
        if (variant != NULL)
            found[i] = variant->name[0];
    }
    experiments_release(experiments);
    cr_assert_str_eq(found, ASSIGNED, "found \"%s\"", found);
}

/* ---- the whole of an experiment: users assigned by name, looked at again and again */

enum { SEEDS = 100, VISITORS = 20000, LOOK_EVERY = 1000 };

/* Each visitor converts with probability `rate`, in the second variant `lift` times as likely. True where it was ever called different; `*better`: and at the last look, for
 * the better. */
static bool run_experiment(int seed, size_t visitors, double rate, double lift, bool *better)
{
    char text[128], unit[32];
    struct random rng;
    struct sequential_arm arms[2] = {{0, 0}, {0, 0}};
    bool alarmed = false;
    *better = false;
    snprintf(text, sizeof text, "x: {salt: run-%d, variants: {a: {}, b: {}}}\n", seed);
    struct experiments *experiments = load_good(text);
    const struct experiment *experiment = experiments_at(experiments, 0);
    random_init(&rng, (uint64_t)seed);
    for (size_t i = 1; i <= visitors; i++) {
        snprintf(unit, sizeof unit, "user-%zu", i);
        int arm = experiment_assign(experiment, unit)->name[0] == 'b';
        arms[arm].users++;
        arms[arm].converted += (double)random_uniform(&rng) < rate * (arm == 1 ? lift : 1);
        if (i % LOOK_EVERY != 0)
            continue;
        struct sequential_result result = sequential_compare(arms[0], arms[1], .05, 1);
        alarmed = alarmed || result.p < .05;
        *better = result.p < .05 && result.difference > 0;
    }
    experiments_release(experiments);
    return alarmed;
}

Test(experiment_assign, equal_variants_are_seldom_called_different)
{
    int alarms = 0;
    bool better;
    for (int seed = 0; seed < SEEDS; seed++)
        alarms += run_experiment(seed, VISITORS, .1, 1, &better);
    cr_log_info("%d of %d", alarms, SEEDS);
    cr_assert(alarms <= 5 + 6, "%d of %d experiments without a difference had an alarm", alarms,
              SEEDS); /* three deviations above .05 */
}

Test(experiment_assign, a_lift_of_five_percent_is_found)
{
    int found = 0;
    bool better;
    for (int seed = 0; seed < 5; seed++) {
        run_experiment(seed, 20 * (size_t)VISITORS, .3, 1.05, &better);
        found += better;
    }
    cr_assert_eq(found, 5);
}
