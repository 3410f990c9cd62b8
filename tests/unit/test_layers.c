/* SPDX-License-Identifier: Apache-2.0
 *
 * Each layer against its formula in double, and its gradients against central differences of that. */
#include "models/layers.h"

#include "tests/support/gradient_check.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A layer's inputs are X and up to four others; the twins know which. */
enum { X, TENSORS_MOST = 5 };
enum { SCALE = 1, SHIFT };         /* norm */
enum { FED = 1, OPEN, OPEN_BIAS }; /* gated residual */
enum { UP_GATE = 1, UP, DOWN };    /* SwiGLU */

struct layer {
    size_t n, d, f;
    struct gradient_tensor t[TENSORS_MOST];
    size_t tensors;
    float *out, *dout; /* (n, d) */
    double *wanted;    /* (n, d) */
    void (*twin)(const struct layer *layer);
};

static void layer_init(struct layer *layer, size_t n, size_t d, size_t f, struct random *rng)
{
    *layer = (struct layer){.n = n, .d = d, .f = f, .dout = gradient_draw(n * d, 1, rng)};
    layer->out = random_model_alloc(n * d, sizeof *layer->out);
    layer->wanted = random_model_alloc(n * d, sizeof *layer->wanted);
}

static void layer_close(struct layer *layer)
{
    gradient_tensors_close(layer->t, layer->tensors);
    free(layer->out);
    free(layer->dout);
    free(layer->wanted);
}

static void add(struct layer *layer, const char *name, size_t count, float mean, float deviation, struct random *rng)
{
    layer->t[layer->tensors++] = gradient_tensor_draw(name, count, mean, deviation, rng);
}

static double value(void *context)
{
    const struct layer *layer = context;
    layer->twin(layer);
    return gradient_functional(layer->dout, layer->wanted, layer->n * layer->d);
}

static void check_forward(const struct layer *layer, const char *what, double tolerance)
{
    layer->twin(layer);
    const char *wrong = gradient_apart(what, layer->out, layer->wanted, layer->n * layer->d, tolerance);
    cr_assert_null(wrong, "%zu rows of %zu: %s", layer->n, layer->d, wrong);
}

static void check_backward(struct layer *layer)
{
    const char *wrong = gradient_wrong(value, layer, layer->t, layer->tensors);
    cr_assert_null(wrong, "%zu rows of %zu, %zu: %s", layer->n, layer->d, layer->f, wrong);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* x (n, inner) · w (inner, columns) at one place */
static double product(const double *x, const double *w, size_t row, size_t column, size_t inner, size_t columns)
{
    double sum = 0;
    for (size_t i = 0; i < inner; i++)
        sum += x[row * inner + i] * w[i * columns + column];
    return sum;
}

static void norm_twin(const struct layer *l)
{
    size_t d = l->d;
    for (size_t i = 0; i < l->n; i++) {
        const double *x = l->t[X].twin + i * d;
        double mean = 0, variance = 0;
        for (size_t j = 0; j < d; j++)
            mean += x[j] / (double)d;
        for (size_t j = 0; j < d; j++)
            variance += (x[j] - mean) * (x[j] - mean) / (double)d;
        for (size_t j = 0; j < d; j++)
            l->wanted[i * d + j] = (x[j] - mean) / sqrt(variance + 1e-5) * l->t[SCALE].twin[j] + l->t[SHIFT].twin[j];
    }
}

static void norm_init(struct layer *l, size_t n, size_t d, float mean, struct random *rng)
{
    layer_init(l, n, d, 0, rng);
    l->twin = norm_twin;
    add(l, "x", n * d, mean, 2, rng);
    add(l, "scale", d, 1, .5f, rng);
    add(l, "shift", d, 0, 1, rng);
}

Test(layers, norm_centres_and_scales_each_row)
{
    static const size_t shapes[][2] = {{0, 4}, {1, 1}, {1, 64}, {5, 7}, {300, 16}};
    struct random rng;
    random_init(&rng, 1);
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        struct layer l;
        norm_init(&l, shapes[shape][0], shapes[shape][1], 10, &rng);
        layer_norm(l.out, l.t[X].x, l.t[SCALE].x, l.t[SHIFT].x, l.n, l.d);
        check_forward(&l, "norm", 2e-5);
        memcpy(l.out, l.t[X].x, l.n * l.d * sizeof *l.out);
        layer_norm(l.out, l.out, l.t[SCALE].x, l.t[SHIFT].x, l.n, l.d);
        check_forward(&l, "norm in place", 2e-5);
        layer_close(&l);
    }
    const float x[] = {4, 4, 4}, scale[] = {1, 2, 3}, shift[] = {.5f, -1, 0};
    float out[3];
    layer_norm(out, x, scale, shift, 1, 3);
    cr_assert_arr_eq(out, shift, sizeof out, "a constant row becomes the shift");
}

Test(layers, norm_backward)
{
    static const size_t shapes[][2] = {{1, 3}, {1, 64}, {5, 7}, {9, 16}, {3, 33}};
    struct random rng;
    random_init(&rng, 2);
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        struct layer l;
        norm_init(&l, shapes[shape][0], shapes[shape][1], 1, &rng);
        layer_norm_backward(l.t[X].dx, l.t[SCALE].dx, l.t[SHIFT].dx, l.dout, l.t[X].x, l.t[SCALE].x, l.n, l.d);
        check_backward(&l);
        layer_close(&l);
    }
}

Test(layers, bias_is_added_to_every_row)
{
    float x[] = {1, 2, 3, 4, 5, 6}, dbias[] = {100, 200, 300};
    const float bias[] = {10, 20, 30}, wanted[] = {11, 22, 33, 14, 25, 36}, sums[] = {125, 247, 369};
    layer_add_bias(x, bias, 2, 3);
    cr_assert_arr_eq(x, wanted, sizeof x);
    layer_add_bias_backward(dbias, x, 2, 3);
    cr_assert_arr_eq(dbias, sums, sizeof dbias);
    layer_add_bias(x, bias, 0, 3);
    layer_add_bias_backward(dbias, x, 0, 3);
    cr_assert_arr_eq(x, wanted, sizeof x);
    cr_assert_arr_eq(dbias, sums, sizeof dbias);
}

static void gated_residual_twin(const struct layer *l)
{
    size_t d = l->d;
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; j < d; j++) {
            double open = product(l->t[X].twin, l->t[OPEN].twin, i, j, d, d) + l->t[OPEN_BIAS].twin[j];
            l->wanted[i * d + j] = l->t[X].twin[i * d + j] + sigmoid(open) * l->t[FED].twin[i * d + j];
        }
}

Test(layers, gated_residual)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 8}, {9, 16}, {17, 5}};
    struct random rng;
    random_init(&rng, 3);
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        size_t n = shapes[shape][0], d = shapes[shape][1];
        struct layer l;
        layer_init(&l, n, d, 0, &rng);
        l.twin = gated_residual_twin;
        add(&l, "x", n * d, 0, 1, &rng);
        add(&l, "f", n * d, 0, 1, &rng);
        add(&l, "gate", d * d, 0, .5f, &rng);
        add(&l, "gate_bias", d, 0, 1, &rng);
        float *s = random_model_alloc(n * d, sizeof *s), *scratch = random_model_alloc(n * d, sizeof *scratch);
        layer_gated_residual(l.out, s, l.t[X].x, l.t[FED].x, l.t[OPEN].x, l.t[OPEN_BIAS].x, n, d);
        check_forward(&l, "gated residual", 2e-5);
        layer_gated_residual_backward(l.t[X].dx, l.t[FED].dx, l.t[OPEN].dx, l.t[OPEN_BIAS].dx, l.dout, s, l.t[X].x,
                                      l.t[FED].x, l.t[OPEN].x, scratch, n, d);
        check_backward(&l);
        free(s);
        free(scratch);
        layer_close(&l);
    }
}

static void swiglu_twin(const struct layer *l)
{
    size_t d = l->d, f = l->f;
    for (size_t i = 0; i < l->n; i++) {
        memset(l->wanted + i * d, 0, d * sizeof *l->wanted);
        for (size_t k = 0; k < f; k++) {
            double a = product(l->t[X].twin, l->t[UP_GATE].twin, i, k, d, f);
            double m = a * sigmoid(a) * product(l->t[X].twin, l->t[UP].twin, i, k, d, f);
            for (size_t j = 0; j < d; j++)
                l->wanted[i * d + j] += m * l->t[DOWN].twin[k * d + j];
        }
    }
}

Test(layers, swiglu)
{
    static const size_t shapes[][3] = {{2, 3, 2}, {5, 8, 21}, {1, 4, 16}, {12, 6, 3}};
    struct random rng;
    random_init(&rng, 4);
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        size_t n = shapes[shape][0], d = shapes[shape][1], f = shapes[shape][2];
        struct layer l;
        layer_init(&l, n, d, f, &rng);
        l.twin = swiglu_twin;
        add(&l, "x", n * d, 0, 1, &rng);
        add(&l, "gate", d * f, 0, .5f, &rng);
        add(&l, "up", d * f, 0, .5f, &rng);
        add(&l, "down", f * d, 0, .5f, &rng);
        float *a = random_model_alloc(n * f, sizeof *a), *b = random_model_alloc(n * f, sizeof *b);
        float *m = random_model_alloc(n * f, sizeof *m), *scratch = random_model_alloc(3 * n * f, sizeof *scratch);
        layer_swiglu(l.out, a, b, m, l.t[X].x, l.t[UP_GATE].x, l.t[UP].x, l.t[DOWN].x, n, d, f);
        check_forward(&l, "SwiGLU", 3e-5);
        layer_swiglu_backward(l.t[X].dx, l.t[UP_GATE].dx, l.t[UP].dx, l.t[DOWN].dx, l.dout, a, b, m, l.t[X].x,
                              l.t[UP_GATE].x, l.t[UP].x, l.t[DOWN].x, scratch, n, d, f);
        check_backward(&l);
        free(a);
        free(b);
        free(m);
        free(scratch);
        layer_close(&l);
    }
}

Test(layers, softmax_of_each_row)
{
    enum { ROWS = 4, N = 37 };
    struct random rng;
    random_init(&rng, 5);
    float *x = gradient_draw(ROWS * N, 3, &rng), *out = random_model_alloc(ROWS * N, sizeof *out);
    for (size_t j = 0; j < N; j++)
        x[N + j] += 1000; /* e^x alone would overflow */
    memcpy(out, x, ROWS * N * sizeof *x);
    layer_softmax(out, ROWS, N);
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0, most = -INFINITY, wanted[N];
        for (size_t j = 0; j < N; j++)
            most = fmax(most, (double)x[i * N + j]);
        for (size_t j = 0; j < N; j++)
            sum += wanted[j] = exp((double)x[i * N + j] - most);
        for (size_t j = 0; j < N; j++)
            wanted[j] /= sum;
        const char *wrong = gradient_apart("softmax", out + i * N, wanted, N, 5e-6);
        cr_assert_null(wrong, "row %zu: %s", i, wrong);
    }
    free(x);
    free(out);
    float one[] = {-5};
    layer_softmax(one, 1, 1);
    cr_assert_eq(one[0], 1);
}
