/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled once per instruction set: KERNELS_SET names the table, the compiler's -m flags choose the instructions. */
#include "models/kernels.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define AHEAD 6 /* rows fetched before they are needed: those of a filtered shop do not follow each other */

/* e^x to about 2e-6 for |x| < 87: split x = n·ln 2 + r, polynomial of Cephes' expf in r, 2^n through the exponent bits. Inlined, so that the loop
 * around it becomes vector code; libm's expf would not. */
static inline float fast_exp(float x)
{
    x = x > -87.0f ? x : -87.0f; /* not a number becomes small: it must not reach the shift below */
    x = x < 87.0f ? x : 87.0f;
    float n = nearbyintf(x * 1.44269504088896341f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* tanh x = 1 - 2 / (e^2x + 1) */
static inline float fast_tanh(float x)
{
    return 1.0f - 2.0f / (fast_exp(2.0f * x) + 1.0f);
}

static void attend(float *out, float *weight, const float *pick, float scale, const float *bias, const float *value,
                   const float *const *judge, size_t judges, size_t length, int bounded)
{
    float shift = 0.0f;
    if (!bounded) {
        shift = -2.0f * KERNELS_MASKED;
        for (size_t l = 0; l < length; l++) {
            float logit = pick[l] * scale + bias[l];
            shift = logit > shift ? logit : shift;
        }
        if (shift < -0.5f * KERNELS_MASKED) { /* every event is masked */
            memset(out, 0, judges * sizeof *out);
            return;
        }
    }
    float sum = 0.0f;
    for (size_t l = 0; l < length; l++) {
        float e = fast_exp(pick[l] * scale + bias[l] - shift);
        weight[l] = e * value[l];
        sum += e;
    }
    float normaliser = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (size_t j = 0; j < judges; j++) {
        const float *row = judge[j];
        float total = 0.0f;
        for (size_t l = 0; l < length; l++)
            total += weight[l] * row[l];
        out[j] = total * normaliser;
    }
}

static float softmax(float *x, size_t n)
{
    float most = x[0], sum = 0.0f;
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) {
        float e = fast_exp(x[i] - most);
        x[i] = e;
        sum += e;
    }
    float inverse = 1.0f / sum;
    for (size_t i = 0; i < n; i++)
        x[i] *= inverse;
    /* cppcheck-suppress invalidFunctionArg ; with n >= 1 the sum is at least 1 */
    return most + logf(sum);
}

static inline float logistic(float x)
{
    return 1.0f / (1.0f + fast_exp(-x));
}

static void sigmoid_rows(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = logistic(x[i]);
}

static void tanh_rows(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fast_tanh(x[i]);
}

static void silu(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * logistic(a[i]) * b[i];
}

static void silu_gradient(float *da, float *db, const float *dout, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float s = logistic(a[i]), d = dout[i], factor = b[i];
        db[i] = d * a[i] * s;
        da[i] = d * factor * s * (1.0f + a[i] * (1.0f - s));
    }
}

static inline void moments(const float *x, size_t d, float *mean, float *inverse)
{
    float sum = 0.0f, squares = 0.0f;
    for (size_t i = 0; i < d; i++)
        sum += x[i];
    *mean = sum / (float)d;
    for (size_t i = 0; i < d; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *inverse = 1.0f / sqrtf(squares / (float)d + 1e-5f);
}

static void norm(float *out, const float *x, const float *scale, const float *shift, size_t d)
{
    float mean, inverse;
    moments(x, d, &mean, &inverse);
    for (size_t i = 0; i < d; i++)
        out[i] = (x[i] - mean) * inverse * scale[i] + shift[i];
}

/* with x̂ the normalised row and g = dout·scale: dx = (g - mean(g) - x̂·mean(g·x̂)) / deviation */
static void norm_gradient(float *dx, float *dscale, float *dshift, const float *dout, const float *x,
                          const float *scale, size_t d)
{
    float mean, inverse, g_sum = 0.0f, gx_sum = 0.0f;
    moments(x, d, &mean, &inverse);
    for (size_t i = 0; i < d; i++) {
        float hat = (x[i] - mean) * inverse, g = dout[i] * scale[i];
        dscale[i] += dout[i] * hat;
        dshift[i] += dout[i];
        g_sum += g;
        gx_sum += g * hat;
    }
    g_sum /= (float)d;
    gx_sum /= (float)d;
    for (size_t i = 0; i < d; i++) {
        float hat = (x[i] - mean) * inverse;
        dx[i] += (dout[i] * scale[i] - g_sum - hat * gx_sum) * inverse;
    }
}

static void adam(float *x, float *m, float *v, const float *g, size_t n, float clip, float rate, float decay,
                 float beta1, float beta2, float epsilon)
{
    for (size_t i = 0; i < n; i++) {
        float gradient = g[i] * clip;
        m[i] = beta1 * m[i] + (1.0f - beta1) * gradient;
        v[i] = beta2 * v[i] + (1.0f - beta2) * gradient * gradient;
        x[i] -= rate * m[i] / (sqrtf(v[i]) + epsilon) + decay * x[i];
    }
}

static void additive(float *out, const float *q, const float *k, const float *w, size_t length, size_t width)
{
    for (size_t l = 0; l < length; l++) {
        const float *row = k + l * width;
        float sum = 0.0f;
        for (size_t i = 0; i < width; i++)
            sum += w[i] * fast_tanh(q[i] + row[i]);
        out[l] = sum;
    }
}

static void some_rows(float *out, const float *rows, const uint32_t *row, size_t count, const float *x, size_t width,
                      float scale)
{
    for (size_t i = 0; i < count; i++) {
        const float *own = rows + (size_t)row[i] * width;
        if (i + AHEAD < count)
            for (size_t j = 0; j < width; j += 16) /* a cache line */
                __builtin_prefetch(rows + (size_t)row[i + AHEAD] * width + j);
        float sum = 0.0f;
        for (size_t j = 0; j < width; j++)
            sum += own[j] * x[j];
        out[i] += scale * sum;
    }
}

extern const struct kernels KERNELS_SET;
const struct kernels KERNELS_SET = {KERNELS_NAME,  attend, softmax,       sigmoid_rows, tanh_rows, silu,
                                    silu_gradient, norm,   norm_gradient, adam,         additive,  some_rows};
