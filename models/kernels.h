/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loops that decide the speed of a request, compiled once per instruction set (plain, AVX2, AVX-512) and chosen at start. Loops over
 * history events, written so that the compiler vectorises them. */
#ifndef RECSYS_MODELS_KERNELS_H
#define RECSYS_MODELS_KERNELS_H

#include <stddef.h>

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

    /* The additive score: out (length) = Σ_i w[i] · tanh(q[i] + k[l][i]), k (length, width) */
    void (*additive)(float *out, const float *q, const float *k, const float *w, size_t length, size_t width);
};

/* The best set that this processor runs; RECSYSD_KERNELS=plain|avx2|avx512 in the environment forces one (for tests). */
const struct kernels *kernels(void);

#endif
