/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses of next-item prediction, with their gradients: states u (rows, d) are compared with items o (columns, d) by s = u·o, and the target's column
 * should win. Rows are worked on in blocks, so that no (rows, columns) matrix is ever whole. Weighted sums over rows are returned and added; gradients are
 * of that sum times `scale`. */
#ifndef RECSYS_MODELS_LOSS_H
#define RECSYS_MODELS_LOSS_H

#include <stddef.h>
#include <stdint.h>

#define LOSS_BLOCK 64 /* rows at a time: their scores stay in the second-level cache */

/* What is asked of the rows. */
struct loss_rows {
    size_t count;
    const float *u;         /* (count, d) */
    size_t targets;         /* of each row, at least 1; the sampled losses take the first */
    const uint32_t *target; /* (count, targets): columns; UINT32_MAX: none */
    const float *weight;    /* (count, targets), or NULL: 1 */
    /* Columns that do not compete in a row, or NULL: those of seen[seen_from[row]] to seen[row], but for the targets; UINT32_MAX is none. */
    const uint32_t *seen;
    const size_t *seen_from;
    const float *bias; /* (columns) added to the scores, at rest, or NULL; of the softmax over all columns */
};

/* Cross-entropy of the softmax over all columns, summed over a row's targets.
 * A share `smoothing` of the target's probability is spread evenly over those that compete (Szegedy et
 * al. 2016; the loss returned is without it). du (count, d) and doutput (columns, d) are added to; scratch (LOSS_BLOCK, columns). */
double loss_softmax(float *du, float *doutput, const struct loss_rows *rows, const float *output, size_t columns,
                    size_t d, float smoothing, float scale, float *scratch);

/* Columns drawn to stand for all: shared by the rows. */
struct loss_sample {
    size_t count;
    const uint32_t *column; /* (count) */
    const float *log_q;     /* (count): logarithm of the probability of each in one draw */
    const float *o;         /* (count, d): their items */
};

/* Softmax over the target and a sample, corrected for how it was drawn and for the target not being in it: p⁺ = e^s⁺ / (e^s⁺ + mean_j e^(s_j - log q'_j)),
 * q' = q / (1 - q of the target) (the revised logQ correction of Khrylchenko et al. 2025, arXiv 2507.09331). q of the target is given per row
 * in `target_q`. scratch (LOSS_BLOCK, sample count). */
double loss_sampled_softmax(float *du, float *doutput, const struct loss_rows *rows, const float *output,
                            const struct loss_sample *sample, const float *target_q, size_t d, float scale,
                            float *scratch);

/* Binary cross-entropy whose positive is generalised for the sampling (gBCE, Petrov & Macdonald 2023, gSASRec): with k negatives of `columns` items,
 * α = k / (columns - 1), β = α(t(1 - 1/α) + 1/α), L = -(β log σ(s⁺) + Σ log(1 - σ(s⁻))) / (k + 1). t 0: plain, 1: calibrated. */
double loss_gbce(float *du, float *doutput, const struct loss_rows *rows, const float *output,
                 const struct loss_sample *sample, size_t columns, float t, size_t d, float scale, float *scratch);

#endif
