/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loops that decide the speed of a request, compiled once per instruction set (plain, AVX2, AVX-512) and chosen at start. Loops over
 * history events, written so that the compiler vectorises them. */
#ifndef RECSYS_MODELS_KERNELS_H
#define RECSYS_MODELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Judgements are at most this many per pick: a stream for each. */
#define KERNELS_JUDGES_MAX 16

/* A bias of minus this takes an event out of the softmax (finite: the kernels are compiled to reorder sums). */
#define KERNELS_MASKED 1e30f

struct kernels {
    const char *name; /* "avx512", "avx2", "plain" */

    /* Soft attention of one candidate over a history, for several judges at once.
     *   out (judges)          Σ_l softmax_l(pick·scale + bias)[l] · value[l] · judge_j[l]
     *   pick, bias (length)   bias already has any upper bound of the logits subtracted, if `bounded`
     *   value (length)        what each event's behaviour says, with its sign
     *   judge (judges)        pointers to (length)
     *   weight (length)       scratch
     * `bounded`: exp cannot overflow or vanish as it is; else the row's maximum is subtracted first. */
    void (*attend)(float *out, float *weight, const float *pick, float scale, const float *bias, const float *value,
                   const float *const *judge, size_t judges, size_t length, int bounded);

    /* In place: x (n) = e^x / Σ e^x, the maximum subtracted first. Returns log Σ e^x. n >= 1. */
    float (*softmax)(float *x, size_t n);

    /* In place, element by element. */
    void (*sigmoid)(float *x, size_t n);
    void (*tanh)(float *x, size_t n);

    /* out (n) = a·σ(a)·b, and its gradients: da, db (n) from dout (n), written. May be in place of dout and b. */
    void (*silu)(float *out, const float *a, const float *b, size_t n);
    void (*silu_gradient)(float *da, float *db, const float *dout, const float *a, const float *b, size_t n);

    /* One row of layer normalisation, out (d) = (x - mean) / sqrt(variance + 1e-5) · scale + shift, and its gradients: dx, dscale, dshift (d), added. */
    void (*norm)(float *out, const float *x, const float *scale, const float *shift, size_t d);
    void (*norm_gradient)(float *dx, float *dscale, float *dshift, const float *dout, const float *x,
                          const float *scale, size_t d);

    /* Adam (Kingma & Ba 2015) on x (n): moments m and v, gradient g times `clip`, plus `decay` times x (decoupled, Loshchilov & Hutter 2019); `rate` and
     * `epsilon` have the bias corrections in them. */
    void (*adam)(float *x, float *m, float *v, const float *g, size_t n, float clip, float rate, float decay,
                 float beta1, float beta2, float epsilon);

    /* The additive score: out (length) = Σ_i w[i] · tanh(q[i] + k[l][i]), k (length, width) */
    void (*additive)(float *out, const float *q, const float *k, const float *w, size_t length, size_t width);

    /* Products with single rows: out[i] += scale · rows[row[i]] · x, i < count; rows (.., width), x (width). What lies between is not read. */
    void (*some_rows)(float *out, const float *rows, const uint32_t *row, size_t count, const float *x, size_t width,
                      float scale);
};

/* The best set that this processor runs; RECSYSD_KERNELS=plain|avx2|avx512 in the environment forces one (for tests). */
const struct kernels *kernels(void);

#endif
