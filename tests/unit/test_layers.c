/* SPDX-License-Identifier: Apache-2.0
 *
 * Each layer against its formula in double. */
#include "models/layers.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *draw(size_t count, float deviation, struct random *rng)
{
    float *values = random_model_alloc(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = deviation * random_normal(rng);
    return values;
}

static void check(const char *what, size_t at, double got, double wanted, double tolerance)
{
    cr_assert_lt(fabs(got - wanted), tolerance, "%s, %zu: %.9g, wanted %.9g", what, at, got, wanted);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* x (n, inner) · w (inner, columns) at one place */
static double product(const float *x, const float *w, size_t row, size_t column, size_t inner, size_t columns)
{
    double sum = 0;
    for (size_t i = 0; i < inner; i++)
        sum += (double)x[row * inner + i] * w[i * columns + column];
    return sum;
}

Test(layers, norm_centres_and_scales_each_row)
{
    static const size_t shapes[][2] = {{0, 4}, {1, 1}, {1, 64}, {5, 7}, {300, 16}};
    struct random rng;
    random_init(&rng, 1);
    for (size_t shape = 0; shape < 5; shape++) {
        size_t n = shapes[shape][0], d = shapes[shape][1];
        float *x = draw(n * d, 3, &rng), *scale = draw(d, 1, &rng), *shift = draw(d, 1, &rng);
        float *out = random_model_alloc(n * d, sizeof *out);
        for (size_t i = 0; i < n * d; i++)
            x[i] += 10;
        layer_norm(out, x, scale, shift, n, d);
        for (size_t i = 0; i < n; i++) {
            double mean = 0, variance = 0;
            for (size_t j = 0; j < d; j++)
                mean += x[i * d + j] / (double)d;
            for (size_t j = 0; j < d; j++)
                variance += pow(x[i * d + j] - mean, 2) / (double)d;
            for (size_t j = 0; j < d; j++)
                check("norm", i * d + j, out[i * d + j],
                      (x[i * d + j] - mean) / sqrt(variance + 1e-5) * scale[j] + shift[j], 1e-5);
        }
        layer_norm(x, x, scale, shift, n, d);
        cr_assert_eq(memcmp(x, out, n * d * sizeof *x), 0, "in place it is another");
        free(x), free(scale), free(shift), free(out);
    }
}

Test(layers, norm_of_a_constant_row_is_the_shift)
{
    const float x[] = {4, 4, 4}, scale[] = {1, 2, 3}, shift[] = {.5f, -1, 0};
    float out[3];
    layer_norm(out, x, scale, shift, 1, 3);
    cr_assert_arr_eq(out, shift, sizeof out);
}

Test(layers, bias_is_added_to_every_row)
{
    float x[] = {1, 2, 3, 4, 5, 6};
    const float bias[] = {10, 20, 30}, wanted[] = {11, 22, 33, 14, 25, 36};
    layer_add_bias(x, bias, 2, 3);
    cr_assert_arr_eq(x, wanted, sizeof x);
}

Test(layers, gated_residual)
{
    enum { N = 9, D = 16 };
    struct random rng;
    random_init(&rng, 2);
    float *x = draw(N * D, 1, &rng), *f = draw(N * D, 1, &rng), *gate = draw(D * D, .5f, &rng);
    float *bias = draw(D, 1, &rng), *scratch = random_model_alloc(N * D, sizeof *scratch);
    double wanted[N * D];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++)
            wanted[i * D + j] = x[i * D + j] + sigmoid(product(x, gate, i, j, D, D) + bias[j]) * f[i * D + j];
    layer_gated_residual(x, f, gate, bias, scratch, N, D);
    for (size_t i = 0; i < (size_t)N * D; i++)
        check("gated residual", i, x[i], wanted[i], 1e-5);
    free(x), free(f), free(gate), free(bias), free(scratch);
}

Test(layers, swiglu)
{
    enum { N = 5, D = 8, F = 21 };
    struct random rng;
    random_init(&rng, 3);
    float *x = draw(N * D, 1, &rng), *gate = draw(D * F, .5f, &rng), *up = draw(D * F, .5f, &rng);
    float *down = draw(F * D, .5f, &rng), *scratch = random_model_alloc(2 * N * F, sizeof *scratch);
    float *out = random_model_alloc(N * D, sizeof *out);
    layer_swiglu(out, x, gate, up, down, scratch, N, D, F);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) {
            double wanted = 0;
            for (size_t k = 0; k < F; k++) {
                double g = product(x, gate, i, k, D, F);
                wanted += g * sigmoid(g) * product(x, up, i, k, D, F) * down[k * D + j];
            }
            check("swiglu", i * D + j, out[i * D + j], wanted, 2e-5);
        }
    free(x), free(gate), free(up), free(down), free(scratch), free(out);
}

Test(layers, softmax_of_each_row)
{
    enum { ROWS = 4, N = 37 };
    struct random rng;
    random_init(&rng, 4);
    float *x = draw(ROWS * N, 3, &rng), *out = random_model_alloc(ROWS * N, sizeof *out);
    for (size_t j = 0; j < N; j++)
        x[N + j] += 1000; /* e^x alone would overflow */
    memcpy(out, x, ROWS * N * sizeof *x);
    layer_softmax(out, ROWS, N);
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0, most = -INFINITY;
        for (size_t j = 0; j < N; j++)
            most = fmax(most, x[i * N + j]);
        for (size_t j = 0; j < N; j++)
            sum += exp(x[i * N + j] - most);
        for (size_t j = 0; j < N; j++)
            check("softmax", i * N + j, out[i * N + j], exp(x[i * N + j] - most) / sum, 1e-6);
    }
    free(x), free(out);
    float one[] = {-5};
    layer_softmax(one, 1, 1);
    cr_assert_eq(one[0], 1);
}
