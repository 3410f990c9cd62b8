/* SPDX-License-Identifier: Apache-2.0 */
#include "models/layers.h"

#include "models/kernels.h"
#include "models/matrix.h"

void layer_norm(float *out, const float *x, const float *scale, const float *shift, size_t n, size_t d)
{
    const struct kernels *k = kernels();
    for (size_t i = 0; i < n; i++)
        k->norm(out + i * d, x + i * d, scale, shift, d);
}

void layer_norm_backward(float *dx, float *dscale, float *dshift, const float *dout, const float *x, const float *scale,
                         size_t n, size_t d)
{
    const struct kernels *k = kernels();
    for (size_t i = 0; i < n; i++)
        k->norm_gradient(dx + i * d, dscale, dshift, dout + i * d, x + i * d, scale, d);
}

void layer_add_bias(float *x, const float *bias, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            x[i * d + j] += bias[j];
}

void layer_add_bias_backward(float *dbias, const float *dx, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            dbias[j] += dx[i * d + j];
}

void layer_gated_residual(float *out, float *s, const float *x, const float *f, const float *gate,
                          const float *gate_bias, size_t n, size_t d)
{
    matrix_multiply(s, x, gate, n, d, d);
    layer_add_bias(s, gate_bias, n, d);
    kernels()->sigmoid(s, n * d);
    for (size_t i = 0; i < n * d; i++)
        out[i] = x[i] + s[i] * f[i];
}

void layer_gated_residual_backward(float *dx, float *df, float *dgate, float *dgate_bias, const float *dout,
                                   const float *s, const float *x, const float *f, const float *gate, float *scratch,
                                   size_t n, size_t d)
{
    for (size_t i = 0; i < n * d; i++) {
        df[i] += dout[i] * s[i];
        dx[i] += dout[i];
        scratch[i] = dout[i] * f[i] * s[i] * (1.0f - s[i]);
    }
    layer_add_bias_backward(dgate_bias, scratch, n, d);
    matrix_weight_gradient(dgate, x, scratch, n, d, d);
    matrix_input_gradient(dx, scratch, gate, n, d, d);
}

void layer_swiglu(float *out, float *a, float *b, float *m, const float *x, const float *gate, const float *up,
                  const float *down, size_t n, size_t d, size_t f)
{
    matrix_multiply(a, x, gate, n, f, d);
    matrix_multiply(b, x, up, n, f, d);
    kernels()->silu(m, a, b, n * f);
    matrix_multiply(out, m, down, n, d, f);
}

void layer_swiglu_backward(float *dx, float *dgate, float *dup, float *ddown, const float *dout, const float *a,
                           const float *b, const float *m, const float *x, const float *gate, const float *up,
                           const float *down, float *scratch, size_t n, size_t d, size_t f)
{
    float *dm = scratch, *da = scratch + n * f, *db = scratch + 2 * n * f;
    matrix_weight_gradient(ddown, m, dout, n, d, f);
    matrix_product(dm, f, (struct matrix_slice){dout, d, false}, (struct matrix_slice){down, d, true}, n, f, d, 1,
                   false);
    kernels()->silu_gradient(da, db, dm, a, b, n * f);
    matrix_weight_gradient(dgate, x, da, n, f, d);
    matrix_weight_gradient(dup, x, db, n, f, d);
    matrix_input_gradient(dx, da, gate, n, f, d);
    matrix_input_gradient(dx, db, up, n, f, d);
}

void layer_softmax(float *x, size_t rows, size_t n)
{
    const struct kernels *k = kernels();
    for (size_t i = 0; i < rows; i++)
        k->softmax(x + i * n, n);
}
