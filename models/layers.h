/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers of the sequence part, forward. Arguments: outputs, inputs, weights, dimensions. Rows are row-major; outputs do not overlap inputs unless
 * it says so. */
#ifndef RECSYS_MODELS_LAYERS_H
#define RECSYS_MODELS_LAYERS_H

#include <stddef.h>

/* out (n, d) = (x - mean) / sqrt(variance + 1e-5) · scale + shift, per row (Ba et al. 2016). May be in place. */
void layer_norm(float *out, const float *x, const float *scale, const float *shift, size_t n, size_t d);

/* x (n, d) += bias (d) in every row. */
void layer_add_bias(float *x, const float *bias, size_t n, size_t d);

/* x (n, d) += σ(x·gate + gate_bias) ⊙ f, the gated residual of LiGR (Borisyuk et al. 2024). gate (d, d); scratch (n, d). */
void layer_gated_residual(float *x, const float *f, const float *gate, const float *gate_bias, float *scratch, size_t n,
                          size_t d);

/* out (n, d) = (SiLU(x·gate) ⊙ x·up) · down, SwiGLU (Shazeer 2020). gate, up (d, f), down (f, d); scratch (2, n, f). */
void layer_swiglu(float *out, const float *x, const float *gate, const float *up, const float *down, float *scratch,
                  size_t n, size_t d, size_t f);

/* out (n) = e^x / Σ e^x of each of `rows` rows, the maximum subtracted first. In place. */
void layer_softmax(float *x, size_t rows, size_t n);

#endif
