/* SPDX-License-Identifier: Apache-2.0 */
#include "models/layers.h"

#include "models/matrix.h"

#include <math.h>

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

void layer_norm(float *out, const float *x, const float *scale, const float *shift, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * d;
        double mean = 0, variance = 0;
        for (size_t j = 0; j < d; j++)
            mean += row[j];
        mean /= (double)d;
        for (size_t j = 0; j < d; j++)
            variance += (row[j] - mean) * (row[j] - mean);
        float inverse = (float)(1.0 / sqrt(variance / (double)d + 1e-5));
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = (row[j] - (float)mean) * inverse * scale[j] + shift[j];
    }
}

void layer_add_bias(float *x, const float *bias, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            x[i * d + j] += bias[j];
}

void layer_gated_residual(float *x, const float *f, const float *gate, const float *gate_bias, float *scratch, size_t n,
                          size_t d)
{
    matrix_multiply(scratch, x, gate, n, d, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            x[i * d + j] += sigmoid(scratch[i * d + j] + gate_bias[j]) * f[i * d + j];
}

void layer_swiglu(float *out, const float *x, const float *gate, const float *up, const float *down, float *scratch,
                  size_t n, size_t d, size_t f)
{
    float *a = scratch, *b = scratch + n * f;
    matrix_multiply(a, x, gate, n, f, d);
    matrix_multiply(b, x, up, n, f, d);
    for (size_t i = 0; i < n * f; i++)
        a[i] = a[i] * sigmoid(a[i]) * b[i];
    matrix_multiply(out, a, down, n, d, f);
}

void layer_softmax(float *x, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++) {
        float *row = x + i * n, most = -INFINITY, sum = 0;
        for (size_t j = 0; j < n; j++)
            most = fmaxf(most, row[j]);
        for (size_t j = 0; j < n; j++)
            sum += row[j] = expf(row[j] - most);
        for (size_t j = 0; j < n; j++)
            row[j] /= sum;
    }
}
