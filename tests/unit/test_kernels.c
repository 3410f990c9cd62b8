/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel set against plain loops in double. */
#include "models/kernels.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const set_names[] = {"plain", "avx2", "avx512"};
enum { SETS = 3 };

static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1000};
enum { LENGTHS = sizeof lengths / sizeof lengths[0], LENGTH_MOST = 1000 };

/* The set of that name, or NULL where this processor has not got it. */
static const struct kernels *force(const char *name)
{
    setenv("RECSYSD_KERNELS", name, 1);
    const struct kernels *set = kernels();
    return strcmp(set->name, name) == 0 ? set : NULL;
}

struct attention {
    size_t length, judges;
    float scale;
    float pick[LENGTH_MOST], bias[LENGTH_MOST], value[LENGTH_MOST], judge[KERNELS_JUDGES_MAX][LENGTH_MOST];
};

static void draw_attention(struct attention *a, size_t length, size_t judges, struct random *rng)
{
    a->length = length;
    a->judges = judges;
    a->scale = 5;
    for (size_t l = 0; l < length; l++) {
        a->pick[l] = 2 * random_uniform(rng) - 1;
        a->bias[l] = 2 * random_normal(rng);
        a->value[l] = random_normal(rng);
        for (size_t j = 0; j < judges; j++)
            a->judge[j][l] = random_normal(rng);
    }
}

static bool is_masked(const struct attention *a, size_t l)
{
    return a->bias[l] <= -KERNELS_MASKED;
}

/* Σ_l softmax_l(pick·scale + bias)[l] · value[l] · judge[l] over the events that are not masked; `magnitude` without
 * signs */
static double naive_attend(const struct attention *a, size_t j, double *magnitude)
{
    double most = -INFINITY, sum = 0, total = 0;
    *magnitude = 0;
    for (size_t l = 0; l < a->length; l++)
        if (!is_masked(a, l))
            most = fmax(most, (double)a->pick[l] * a->scale + a->bias[l]);
    for (size_t l = 0; l < a->length; l++) {
        if (is_masked(a, l))
            continue;
        double e = exp((double)a->pick[l] * a->scale + a->bias[l] - most), term = e * a->value[l] * a->judge[j][l];
        sum += e;
        total += term;
        *magnitude += fabs(term);
    }
    *magnitude = sum > 0 ? *magnitude / sum : 0;
    return sum > 0 ? total / sum : 0;
}

static void check_attention(const struct kernels *set, const struct attention *a, int bounded, const char *what)
{
    const float *judge[KERNELS_JUDGES_MAX];
    float out[KERNELS_JUDGES_MAX + 1];
    float *weight = random_model_alloc(a->length, sizeof *weight);
    for (size_t j = 0; j < a->judges; j++)
        judge[j] = a->judge[j];
    for (size_t j = 0; j <= KERNELS_JUDGES_MAX; j++)
        out[j] = 77;
    set->attend(out, weight, a->pick, a->scale, a->bias, a->value, judge, a->judges, a->length, bounded);
    for (size_t j = 0; j < a->judges; j++) {
        double magnitude, wanted = naive_attend(a, j, &magnitude);
        cr_assert_lt(fabs(out[j] - wanted), 5e-6 * magnitude + 1e-30, "%s, %s, length %zu, judge %zu: %g, wanted %g",
                     set->name, what, a->length, j, (double)out[j], wanted);
    }
    cr_assert_eq(out[a->judges], 77, "%s: written past the judges", set->name);
    free(weight);
}

static void check_all_lengths(const struct kernels *set, struct attention *a)
{
    struct random rng;
    random_init(&rng, 1);
    for (size_t i = 0; i < LENGTHS; i++) {
        draw_attention(a, lengths[i], 1 + i % KERNELS_JUDGES_MAX, &rng);
        check_attention(set, a, 0, "soft");
        for (size_t l = 0; l < a->length; l++)
            a->bias[l] = -5 - 3 * random_uniform(&rng);
        check_attention(set, a, 1, "bounded");
    }
    draw_attention(a, 100, KERNELS_JUDGES_MAX, &rng);
    check_attention(set, a, 0, "as many judges as there can be");
}

Test(kernels, attend_is_a_softmax)
{
    struct attention *a = random_model_alloc(1, sizeof *a);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        if (set != NULL)
            check_all_lengths(set, a);
        else
            cr_log_info("%s: not on this processor", set_names[s]);
    }
    free(a);
}

Test(kernels, attend_leaves_out_what_is_masked)
{
    struct attention *a = random_model_alloc(1, sizeof *a);
    struct random rng;
    random_init(&rng, 2);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        for (size_t i = 0; set != NULL && i < LENGTHS; i++) {
            draw_attention(a, lengths[i], 2, &rng);
            for (size_t l = 0; l < a->length; l++)
                if (random_below(&rng, 2) == 0)
                    a->bias[l] = -KERNELS_MASKED;
            check_attention(set, a, 0, "some masked");
            for (size_t l = 0; l < a->length; l++)
                a->bias[l] = -KERNELS_MASKED;
            check_attention(set, a, 0, "all masked");
        }
    }
    free(a);
}

/* Logits that e^x could not hold: the maximum is subtracted first. */
Test(kernels, attend_takes_logits_of_any_size)
{
    struct attention *a = random_model_alloc(1, sizeof *a);
    static const float shifts[] = {-1e6f, -300, 300, 1e6f};
    struct random rng;
    random_init(&rng, 3);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        for (size_t i = 0; set != NULL && i < 4; i++) {
            draw_attention(a, 50, 3, &rng);
            for (size_t l = 0; l < a->length; l++) {
                a->pick[l] = 0;
                a->bias[l] = shifts[i] + (float)random_below(&rng, 40); /* whole numbers: exact even at 1e6 */
            }
            check_attention(set, a, 0, "far logits");
        }
    }
    free(a);
}

/* The accuracy of the exponential: the share of the lesser of two events is e^x / (1 + e^x). */
Test(kernels, small_shares_are_as_exact_as_large_ones)
{
    struct attention *a = random_model_alloc(1, sizeof *a);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        double worst = 0;
        for (float x = 0; set != NULL && x > -60; x -= .37f) {
            float out[1], weight[2];
            const float *judge[1] = {a->judge[0]};
            a->bias[0] = x;
            a->bias[1] = 0;
            a->value[0] = a->value[1] = 1;
            a->judge[0][0] = 1;
            a->judge[0][1] = 0;
            a->pick[0] = a->pick[1] = 0;
            set->attend(out, weight, a->pick, 1, a->bias, a->value, judge, 1, 2, 1);
            double wanted = exp((double)x) / (1 + exp((double)x));
            worst = fmax(worst, fabs(out[0] / wanted - 1));
        }
        cr_log_info("%s: relative error at most %g", set_names[s], worst);
        cr_assert_lt(worst, 4e-6, "%s: relative error of %g", set_names[s], worst);
    }
    free(a);
}

static void check_additive(const struct kernels *set, size_t length, size_t width, struct random *rng)
{
    float *q = random_model_alloc(width, sizeof *q), *w = random_model_alloc(width, sizeof *w);
    float *k = random_model_alloc(length * width, sizeof *k), *out = random_model_alloc(length + 1, sizeof *out);
    for (size_t i = 0; i < width; i++) {
        q[i] = 2 * random_normal(rng);
        w[i] = random_normal(rng);
    }
    for (size_t i = 0; i < length * width; i++)
        k[i] = i % 19 == 0 ? 100 : i % 23 == 0 ? -100 : random_normal(rng); /* tanh saturates */
    out[length] = 77;
    set->additive(out, q, k, w, length, width);
    for (size_t l = 0; l < length; l++) {
        double wanted = 0, magnitude = 0;
        for (size_t i = 0; i < width; i++) {
            wanted += w[i] * tanh((double)q[i] + k[l * width + i]);
            magnitude += fabsf(w[i]);
        }
        cr_assert_lt(fabs(out[l] - wanted), 2e-6 * magnitude + 1e-30, "%s, row %zu of %zu, width %zu: %g, wanted %g",
                     set->name, l, length, width, (double)out[l], wanted);
    }
    cr_assert_eq(out[length], 77, "%s: written past the length", set->name);
    free(q);
    free(w);
    free(k);
    free(out);
}

Test(kernels, additive_is_a_sum_of_tanh)
{
    static const size_t widths[] = {1, 3, 6, 8, 16, 17, 64, 128};
    struct random rng;
    random_init(&rng, 4);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        for (size_t i = 0; set != NULL && i < sizeof widths / sizeof *widths; i++) {
            check_additive(set, 0, widths[i], &rng);
            check_additive(set, 1, widths[i], &rng);
            check_additive(set, 33, widths[i], &rng);
        }
    }
}

Test(kernels, the_best_set_is_chosen_and_a_name_forces_one)
{
    unsetenv("RECSYSD_KERNELS");
    const char *best = kernels()->name;
    bool avx512 =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    cr_assert_str_eq(best, avx512 ? "avx512" : avx2 ? "avx2" : "plain");
    cr_assert_not_null(force("plain"));
    cr_assert_eq(force("avx2") != NULL, avx2);
    cr_assert_eq(force("avx512") != NULL, avx512);
    cr_assert_null(force("nonsense"));
    cr_assert_str_eq(kernels()->name, "plain", "an unknown name must not choose a set that may not run");
}
