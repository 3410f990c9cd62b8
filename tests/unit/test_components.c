/* SPDX-License-Identifier: Apache-2.0
 *
 * Principal components by what they must satisfy, with covariance and shrinkage computed here in plain loops. */
#include "models/components.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fit {
    size_t count, dimension, components;
    float *rows, *mean, *rotation;
    double *sample; /* covariance (dimension, dimension) of the unit rows */
    double *shrunk; /* the same, shrunk */
};

/* Normal rows whose direction j has deviation spread^j, mixed by a random matrix near the identity. */
static float *draw_rows(size_t count, size_t dimension, double spread, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    float *mixer = random_model_alloc(dimension * dimension, sizeof *mixer);
    float *rows = random_model_alloc(count * dimension, sizeof *rows);
    for (size_t i = 0; i < dimension * dimension; i++)
        mixer[i] = .2f * random_normal(&rng) + (i % (dimension + 1) == 0 ? 2 : 0); /* well-conditioned */
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dimension; j++) {
            float x = (float)pow(spread, (double)j) * random_normal(&rng);
            for (size_t k = 0; k < dimension; k++)
                rows[i * dimension + k] += x * mixer[j * dimension + k] + (j == 0 ? .5f : 0);
        }
    free(mixer);
    return rows;
}

static double norm_of(const float *row, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)row[i] * row[i];
    return sqrt(sum);
}

static void naive_covariance(struct fit *f)
{
    size_t n = f->count, d = f->dimension;
    double *mean = random_model_alloc(d, sizeof *mean);
    f->sample = random_model_alloc(d * d, sizeof *f->sample);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            mean[j] += f->rows[i * d + j] / norm_of(f->rows + i * d, d) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double length = norm_of(f->rows + i * d, d);
        for (size_t j = 0; j < d; j++)
            for (size_t k = 0; k < d; k++)
                f->sample[j * d + k] +=
                    (f->rows[i * d + j] / length - mean[j]) * (f->rows[i * d + k] / length - mean[k]) / (double)n;
    }
    for (size_t j = 0; j < d; j++)
        cr_assert_float_eq(f->mean[j], mean[j], 1e-6, "mean");
    free(mean);
}

/* Chen et al. 2010, eq. 23 */
static void naive_shrinkage(struct fit *f)
{
    size_t d = f->dimension;
    double n = (double)f->count, p = (double)d, trace = 0, square = 0;
    for (size_t i = 0; i < d; i++)
        trace += f->sample[i * d + i];
    for (size_t i = 0; i < d * d; i++)
        square += f->sample[i] * f->sample[i];
    double rho = ((1 - 2 / p) * square + trace * trace) / ((n + 1 - 2 / p) * (square - trace * trace / p));
    rho = fmin(rho, 1);
    f->shrunk = random_model_alloc(d * d, sizeof *f->shrunk);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            f->shrunk[i * d + j] = (1 - rho) * f->sample[i * d + j] + (i == j ? rho * trace / p : 0);
}

static void fit_init(struct fit *f, size_t count, size_t dimension, size_t components, double spread, float power)
{
    *f = (struct fit){.count = count, .dimension = dimension, .components = components};
    f->rows = draw_rows(count, dimension, spread, count + dimension);
    f->mean = random_model_alloc(dimension, sizeof *f->mean);
    f->rotation = random_model_alloc(dimension * components, sizeof *f->rotation);
    cr_assert(components_fit(f->mean, f->rotation, f->rows, count, dimension, components, power));
    naive_covariance(f);
    naive_shrinkage(f);
}

static void fit_close(struct fit *f)
{
    free(f->rows);
    free(f->mean);
    free(f->rotation);
    free(f->sample);
    free(f->shrunk);
}

/* columns i and j of the rotation around a matrix: Rᵀ M R */
static double rotated(const struct fit *f, const double *matrix, size_t i, size_t j)
{
    size_t d = f->dimension, r = f->components;
    double sum = 0;
    for (size_t a = 0; a < d; a++)
        for (size_t b = 0; b < d; b++)
            sum += f->rotation[a * r + i] * matrix[a * d + b] * f->rotation[b * r + j];
    return sum;
}

/* A column of length λ^-power is an eigenvector times that, so λ = |column|^(-1/power); it is one when C v = λ v. */
static double eigenvalue(const struct fit *f, size_t j, float power)
{
    double sum = 0;
    for (size_t a = 0; a < f->dimension; a++)
        sum += pow(f->rotation[a * f->components + j], 2);
    return pow(sum, -.5 / power);
}

static void check_eigenvectors(const struct fit *f, float power)
{
    size_t d = f->dimension, r = f->components;
    double last = INFINITY;
    for (size_t j = 0; j < r; j++) {
        double lambda = eigenvalue(f, j, power);
        cr_assert(lambda > 0 && lambda < last * (1 + 1e-5), "eigenvalue %zu: %g after %g", j, lambda, last);
        last = lambda;
        for (size_t a = 0; a < d; a++) {
            double product = 0;
            for (size_t b = 0; b < d; b++)
                product += f->shrunk[a * d + b] * f->rotation[b * r + j];
            cr_assert_float_eq(product / lambda, f->rotation[a * r + j], 1e-3 * pow(lambda, -(double)power),
                               "column %zu is no eigenvector", j);
        }
    }
}

Test(components, whitened_fully_the_covariance_is_the_identity)
{
    struct fit f;
    fit_init(&f, 2000, 12, 12, .9, .5f);
    for (size_t i = 0; i < 12; i++)
        for (size_t j = 0; j < 12; j++) {
            cr_assert_float_eq(rotated(&f, f.shrunk, i, j), i == j, 1e-4, "shrunk (%zu, %zu)", i, j);
            cr_assert_float_eq(rotated(&f, f.sample, i, j), i == j, .1, "of the rows (%zu, %zu)", i, j);
        }
    check_eigenvectors(&f, .5f);
    fit_close(&f);
}

Test(components, whitened_by_half_the_deviations_are_square_roots)
{
    struct fit f;
    fit_init(&f, 500, 16, 10, .8, .25f);
    for (size_t i = 0; i < 10; i++)
        for (size_t j = 0; j < 10; j++) {
            double wanted = i == j ? sqrt(eigenvalue(&f, i, .25f)) : 0;
            cr_assert_float_eq(rotated(&f, f.shrunk, i, j), wanted, 1e-4, "(%zu, %zu)", i, j);
        }
    check_eigenvectors(&f, .25f);
    fit_close(&f);
}

Test(components, not_whitened_it_only_rotates)
{
    struct fit f;
    fit_init(&f, 300, 9, 9, .9, 0);
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < 9; j++) {
            double sum = 0;
            for (size_t a = 0; a < 9; a++)
                sum += f.rotation[a * 9 + i] * f.rotation[a * 9 + j];
            cr_assert_float_eq(sum, i == j, 1e-5, "orthonormal (%zu, %zu)", i, j);
        }
    for (size_t j = 1; j < 9; j++)
        cr_assert_leq(rotated(&f, f.shrunk, j, j), rotated(&f, f.shrunk, j - 1, j - 1) + 1e-7, "the widest first");
    fit_close(&f);
}

Test(components, fewer_rows_than_dimensions)
{
    static const size_t counts[] = {2, 3, 5, 20};
    for (size_t i = 0; i < 4; i++) {
        struct fit f;
        fit_init(&f, counts[i], 30, 30, 1, .5f);
        for (size_t j = 0; j < 30; j++)
            cr_assert_float_eq(rotated(&f, f.shrunk, j, j), 1, 1e-3, "%zu rows, component %zu", counts[i], j);
        fit_close(&f);
    }
}

/* Where all rows are one, nothing varies: noise of rounding must not be blown up into components. */
Test(components, rows_that_are_all_the_same_have_no_components)
{
    enum { N = 50, D = 8 };
    float rows[N * D], mean[D], rotation[D * D];
    for (size_t i = 0; i < (size_t)N * D; i++)
        rows[i] = .1f + (float)(i % D) * .3f;
    cr_assert(components_fit(mean, rotation, rows, N, D, D, .5f));
    for (size_t i = 0; i < (size_t)D * D; i++)
        cr_assert_eq(rotation[i], 0, "%zu: %g", i, (double)rotation[i]);
}

/* Exactly two directions: the other columns are beyond the rank. Full rank would come of shrinkage alone, which is
 * nothing here. */
Test(components, every_number_is_finite_whatever_the_rank)
{
    enum { N = 1000, D = 6 };
    float *rows = random_model_alloc(N * D, sizeof *rows), mean[D], rotation[D * D];
    struct random rng;
    random_init(&rng, 3);
    for (size_t i = 0; i < N; i++) {
        rows[i * D] = random_normal(&rng);
        rows[i * D + 1] = random_normal(&rng);
    }
    cr_assert(components_fit(mean, rotation, rows, N, D, D, .5f));
    for (size_t i = 0; i < (size_t)D * D; i++)
        cr_assert(isfinite(rotation[i]));
    free(rows);
}

Test(components, signs_do_not_depend_on_the_data_order)
{
    struct fit f;
    fit_init(&f, 400, 10, 10, .7, .5f);
    float mean[10], rotation[100], *reversed = random_model_alloc(4000, sizeof *reversed);
    for (size_t i = 0; i < 400; i++)
        memcpy(reversed + i * 10, f.rows + (399 - i) * 10, 10 * sizeof *reversed);
    cr_assert(components_fit(mean, rotation, reversed, 400, 10, 10, .5f));
    for (size_t i = 0; i < 100; i++)
        cr_assert_float_eq(rotation[i], f.rotation[i], 1e-2 * fabsf(f.rotation[i]) + 1e-3, "%zu", i);
    for (size_t j = 0; j < 10; j++) {
        float peak = 0;
        for (size_t i = 0; i < 10; i++)
            peak = fabsf(f.rotation[i * 10 + j]) > fabsf(peak) ? f.rotation[i * 10 + j] : peak;
        cr_assert_gt(peak, 0, "the largest entry of column %zu", j);
    }
    cr_assert(components_fit(mean, rotation, f.rows, 400, 10, 10, .5f));
    cr_assert_arr_eq(rotation, f.rotation, sizeof rotation, "the same data give the same bits");
    free(reversed);
    fit_close(&f);
}

Test(components, applied_as_the_formula_says)
{
    struct fit f;
    fit_init(&f, 100, 12, 7, .9, .25f);
    float *out = random_model_alloc(100 * 7, sizeof *out), *scratch = random_model_alloc(100 * 12, sizeof *scratch);
    memset(f.rows + 5 * 12, 0, 12 * sizeof *f.rows);
    components_apply(out, f.rows, f.mean, f.rotation, 100, 12, 7, scratch);
    for (size_t i = 0; i < 100; i++) {
        double wanted[7] = {0}, sum = 0, length = norm_of(f.rows + i * 12, 12);
        for (size_t k = 0; k < 7; k++) {
            for (size_t j = 0; length > 0 && j < 12; j++)
                wanted[k] += (f.rows[i * 12 + j] / length - f.mean[j]) * f.rotation[j * 7 + k];
            sum += wanted[k] * wanted[k];
        }
        for (size_t k = 0; k < 7; k++)
            cr_assert_float_eq(out[i * 7 + k], sum > 0 ? wanted[k] / sqrt(sum) : 0, 1e-5, "row %zu", i);
        cr_assert(i != 5 || norm_of(out + i * 7, 7) == 0, "a missing vector stays zero");
        cr_assert(i == 5 || fabs(norm_of(out + i * 7, 7) - 1) < 1e-5, "unit rows");
    }
    components_apply(out, f.rows, f.mean, f.rotation, 0, 12, 7, scratch);
    free(out);
    free(scratch);
    fit_close(&f);
}
