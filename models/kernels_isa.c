/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled once per instruction set: KERNELS_SET names the table, the compiler's -m flags choose the instructions. */
#include "models/kernels.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x to about 2e-6 for |x| < 87: split x = n·ln 2 + r, polynomial of Cephes' expf in r, 2^n through the exponent bits. Inlined, so that the loop
 * around it becomes vector code; libm's expf would not. */
static inline float fast_exp(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
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

extern const struct kernels KERNELS_SET;
const struct kernels KERNELS_SET = {KERNELS_NAME, attend, additive};
