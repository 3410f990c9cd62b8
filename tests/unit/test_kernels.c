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

Test(kernels, some_rows_are_products)
{
    enum { ROWS = 40, WIDTH_MOST = 130 };
    static const size_t widths[] = {1, 3, 16, 17, 64, 130};
    static float rows[ROWS * WIDTH_MOST], x[WIDTH_MOST];
    static const uint32_t row[] = {39, 0, 7, 7, 12, 38, 1, 2, 3, 30};
    enum { COUNT = sizeof row / sizeof *row };
    struct random rng;
    random_init(&rng, 9);
    for (size_t s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        for (size_t w = 0; set != NULL && w < sizeof widths / sizeof *widths; w++) {
            float out[COUNT];
            for (size_t i = 0; i < ROWS * widths[w]; i++)
                rows[i] = random_normal(&rng);
            for (size_t i = 0; i < widths[w]; i++)
                x[i] = random_normal(&rng);
            for (size_t i = 0; i < COUNT; i++)
                out[i] = (float)i;
            set->some_rows(out, rows, row, COUNT, x, widths[w], 0.5f);
            for (size_t i = 0; i < COUNT; i++) {
                double sum = 0;
                for (size_t j = 0; j < widths[w]; j++)
                    sum += (double)rows[row[i] * widths[w] + j] * (double)x[j];
                cr_assert_float_eq((double)out[i], (double)i + .5 * sum, 1e-4, "%s, width %zu, row %u", set->name,
                                   widths[w], row[i]);
            }
        }
    }
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

/* ---- the kernels of training. Each set, each length; one more number behind each array must stay. */

enum { GUARD = 77 };

/* `length` numbers and the guard */
static float *guarded(size_t length, float deviation, struct random *rng)
{
    float *x = random_model_alloc(length + 1, sizeof *x);
    for (size_t i = 0; i < length; i++)
        x[i] = deviation * random_normal(rng);
    x[length] = GUARD;
    return x;
}

static void check_near(const struct kernels *set, const char *what, const float *got, const double *wanted, size_t n,
                       double relative, double absolute)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_lt(fabs((double)got[i] - wanted[i]), relative * fabs(wanted[i]) + absolute,
                     "%s, %s, %zu of %zu: %.8g, wanted %.8g", set->name, what, i, n, (double)got[i], wanted[i]);
    cr_assert_eq(got[n], GUARD, "%s, %s: written past %zu", set->name, what, n);
}

/* `one` for every set and length that there is */
static void with_all_sets(void (*one)(const struct kernels *set, size_t n, struct random *rng))
{
    struct random rng;
    random_init(&rng, 5);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *set = force(set_names[s]);
        for (size_t i = 0; set != NULL && i < LENGTHS; i++)
            one(set, lengths[i], &rng);
    }
}

static void check_softmax(const struct kernels *set, size_t n, struct random *rng)
{
    static const float shifts[] = {0, 1000, -1000};
    double wanted[LENGTH_MOST];
    for (size_t s = 0; n > 0 && s < 3; s++) {
        float *x = guarded(n, 4, rng);
        double most = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = i % 5 == 2 ? -KERNELS_MASKED : x[i] + shifts[s];
            most = fmax(most, (double)x[i]);
        }
        for (size_t i = 0; i < n; i++)
            sum += wanted[i] = exp((double)x[i] - most);
        for (size_t i = 0; i < n; i++)
            wanted[i] /= sum;
        double got = (double)set->softmax(x, n);
        check_near(set, "softmax", x, wanted, n, 1e-5, 1e-35); /* what is masked is next to nothing */
        cr_assert_lt(fabs(got - most - log(sum)), 1e-5 + 2e-7 * fabs(most), "%s, %zu: log of the sum %.8g, wanted %.8g",
                     set->name, n, got, most + log(sum));
        free(x);
    }
}

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void check_curves(const struct kernels *set, size_t n, struct random *rng)
{
    double sigmoid[LENGTH_MOST], hyperbolic[LENGTH_MOST];
    float *x = guarded(n, 3, rng), *y = guarded(n, 3, rng);
    for (size_t i = 0; i < n; i++) {
        x[i] = i % 19 == 3 ? 200 : i % 23 == 4 ? -200 : x[i]; /* where e^x would overflow */
        y[i] = i % 19 == 3 ? 200 : i % 23 == 4 ? -200 : y[i];
        sigmoid[i] = exact_sigmoid((double)x[i]);
        hyperbolic[i] = tanh((double)y[i]);
    }
    set->sigmoid(x, n);
    set->tanh(y, n);
    check_near(set, "sigmoid", x, sigmoid, n, 5e-6, 1e-30);
    check_near(set, "tanh", y, hyperbolic, n, 0, 3e-6);
    free(x);
    free(y);
}

static void check_silu(const struct kernels *set, size_t n, struct random *rng)
{
    double wanted[LENGTH_MOST], da[LENGTH_MOST], db[LENGTH_MOST];
    float *a = guarded(n, 3, rng), *b = guarded(n, 1, rng), *dout = guarded(n, 1, rng);
    float *out = guarded(n, 1, rng), *got_da = guarded(n, 1, rng), *got_db = guarded(n, 1, rng);
    for (size_t i = 0; i < n; i++) {
        a[i] = i % 19 == 3 ? 100 : i % 23 == 4 ? -100 : a[i];
        double x = (double)a[i], s = exact_sigmoid(x);
        wanted[i] = x * s * (double)b[i];
        db[i] = (double)dout[i] * x * s;
        da[i] = (double)dout[i] * (double)b[i] * (s + x * s * (1 - s));
    }
    set->silu(out, a, b, n);
    set->silu_gradient(got_da, got_db, dout, a, b, n);
    check_near(set, "SiLU", out, wanted, n, 1e-5, 1e-30);
    check_near(set, "da of SiLU", got_da, da, n, 1e-5, 2e-5);
    check_near(set, "db of SiLU", got_db, db, n, 1e-5, 1e-30);
    memcpy(out, b, n * sizeof *out);
    set->silu(out, a, out, n);
    set->silu_gradient(dout, b, dout, a, b, n);
    check_near(set, "SiLU in place", out, wanted, n, 1e-5, 1e-30);
    check_near(set, "da of SiLU in place", dout, da, n, 1e-5, 2e-5);
    check_near(set, "db of SiLU in place", b, db, n, 1e-5, 1e-30);
    free(a), free(b), free(dout), free(out), free(got_da), free(got_db);
}

static void check_norm(const struct kernels *set, size_t d, struct random *rng)
{
    double wanted[LENGTH_MOST], dx[LENGTH_MOST], dscale[LENGTH_MOST], dshift[LENGTH_MOST];
    double mean = 0, variance = 0, g = 0, gx = 0;
    float *x = guarded(d, 2, rng), *scale = guarded(d, 1, rng), *shift = guarded(d, 1, rng), *out = guarded(d, 1, rng);
    float *dout = guarded(d, 1, rng), *got[3] = {guarded(d, 1, rng), guarded(d, 1, rng), guarded(d, 1, rng)};
    for (size_t i = 0; i < d; i++)
        mean += (double)x[i] / (double)d;
    for (size_t i = 0; i < d; i++)
        variance += pow((double)x[i] - mean, 2) / (double)d;
    for (size_t i = 0; i < d; i++) {
        double hat = ((double)x[i] - mean) / sqrt(variance + 1e-5), dhat = (double)dout[i] * (double)scale[i];
        wanted[i] = hat * (double)scale[i] + (double)shift[i];
        dscale[i] = (double)got[1][i] + (double)dout[i] * hat; /* they add to what is there */
        dshift[i] = (double)got[2][i] + (double)dout[i];
        g += dhat / (double)d;
        gx += dhat * hat / (double)d;
    }
    for (size_t i = 0; i < d; i++) {
        double deviation = sqrt(variance + 1e-5), hat = ((double)x[i] - mean) / deviation;
        dx[i] = (double)got[0][i] + ((double)dout[i] * (double)scale[i] - g - hat * gx) / deviation;
    }
    if (d > 0) {
        set->norm(out, x, scale, shift, d);
        check_near(set, "norm", out, wanted, d, 1e-5, 2e-5);
        set->norm_gradient(got[0], got[1], got[2], dout, x, scale, d);
        /* a row that is almost constant is divided by almost nothing */
        check_near(set, "dx of norm", got[0], dx, d, 1e-5, 2e-5 + 1e-6 / (variance + 1e-5));
        check_near(set, "dscale of norm", got[1], dscale, d, 1e-5, 2e-5);
        check_near(set, "dshift of norm", got[2], dshift, d, 1e-5, 2e-5);
    }
    free(x), free(scale), free(shift), free(out), free(dout), free(got[0]), free(got[1]), free(got[2]);
}

static void check_adam(const struct kernels *set, size_t n, struct random *rng)
{
    const double clip = .5, rate = .125, decay = .0625, beta1 = .75, beta2 = .875, epsilon = .0078125; /* exact */
    double xs[LENGTH_MOST], ms[LENGTH_MOST], vs[LENGTH_MOST];
    float *x = guarded(n, 1, rng), *m = guarded(n, 1, rng), *v = guarded(n, 1, rng), *g = guarded(n, 2, rng);
    for (size_t i = 0; i < n; i++) {
        v[i] = i % 7 == 2 ? 0 : v[i] * v[i];
        g[i] = i % 7 == 2 ? 0 : g[i]; /* nothing there but epsilon */
        double gradient = (double)g[i] * clip;
        ms[i] = beta1 * (double)m[i] + (1 - beta1) * gradient;
        vs[i] = beta2 * (double)v[i] + (1 - beta2) * gradient * gradient;
        xs[i] = (double)x[i] - rate * ms[i] / (sqrt(vs[i]) + epsilon) - decay * (double)x[i];
    }
    set->adam(x, m, v, g, n, (float)clip, (float)rate, (float)decay, (float)beta1, (float)beta2, (float)epsilon);
    check_near(set, "x of Adam", x, xs, n, 1e-5, 1e-5);
    check_near(set, "m of Adam", m, ms, n, 1e-6, 1e-6);
    check_near(set, "v of Adam", v, vs, n, 1e-6, 1e-6);
    free(x), free(m), free(v), free(g);
}

Test(kernels, those_of_training_are_their_formulas)
{
    static void (*const checks[])(const struct kernels *set, size_t n, struct random *rng) = {
        check_softmax, check_curves, check_silu, check_norm, check_adam};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        with_all_sets(checks[i]);
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
