/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers of the sequence part, forward and backward. Arguments: outputs, inputs, weights, dimensions. Rows are row-major; outputs do not overlap
 * inputs unless it says so. Backward functions add to what is named d<something>, so that a gradient may be gathered from several places. */
#ifndef RECSYS_MODELS_LAYERS_H
#define RECSYS_MODELS_LAYERS_H

#include <stddef.h>

/* out (n, d) = (x - mean) / sqrt(variance + 1e-5) · scale + shift, per row (Ba et al. 2016). May be in place. */
void layer_norm(float *out, const float *x, const float *scale, const float *shift, size_t n, size_t d);
void layer_norm_backward(float *dx, float *dscale, float *dshift, const float *dout, const float *x, const float *scale,
                         size_t n, size_t d);

/* x (n, d) += bias (d) in every row. */
void layer_add_bias(float *x, const float *bias, size_t n, size_t d);
void layer_add_bias_backward(float *dbias, const float *dx, size_t n, size_t d);

/* out (n, d) = x + s ⊙ f, s = σ(x·gate + gate_bias), the gated residual of LiGR (Borisyuk et al. 2024). gate (d, d); s (n, d) is written, for
 * backward. */
void layer_gated_residual(float *out, float *s, const float *x, const float *f, const float *gate,
                          const float *gate_bias, size_t n, size_t d);

/* scratch (n, d). */
void layer_gated_residual_backward(float *dx, float *df, float *dgate, float *dgate_bias, const float *dout,
                                   const float *s, const float *x, const float *f, const float *gate, float *scratch,
                                   size_t n, size_t d);

/* out (n, d) = (SiLU(a) ⊙ b) · down with a = x·gate, b = x·up: SwiGLU (Shazeer 2020). gate, up (d, f), down (f, d); a, b, m (n, f) are written, for
 * backward. */
void layer_swiglu(float *out, float *a, float *b, float *m, const float *x, const float *gate, const float *up,
                  const float *down, size_t n, size_t d, size_t f);

/* scratch (3, n, f). */
void layer_swiglu_backward(float *dx, float *dgate, float *dup, float *ddown, const float *dout, const float *a,
                           const float *b, const float *m, const float *x, const float *gate, const float *up,
                           const float *down, float *scratch, size_t n, size_t d, size_t f);

/* out (n) = e^x / Σ e^x of each of `rows` rows, the maximum subtracted first. In place. */
void layer_softmax(float *x, size_t rows, size_t n);

#endif
