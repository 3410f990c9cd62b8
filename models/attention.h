/* SPDX-License-Identifier: Apache-2.0
 *
 * Causal multi-head self-attention of one sequence, forward and backward, with relative biases (after Vaswani et al. 2017 and, for the biases, Zhai
 * et al. 2024):
 *
 *   S[i][j] = Q[i]·K[j] / sqrt(d / heads) + position[min(i - j, P - 1)] + time[bucket(i, j)] + behaviour[b_j],   j <= i
 *   y[i]    = Σ_j softmax_j(S[i])[j] · V[j]                                                                     per head, concatenated */
#ifndef RECSYS_MODELS_ATTENTION_H
#define RECSYS_MODELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

/* Shapes and the biases' tables of one block. */
struct attention_biases {
    size_t behaviours;      /* B */
    const float *position;  /* (heads, ARCHITECTURE_POSITIONS) */
    const float *time;      /* (heads, ARCHITECTURE_TIME_BUCKETS) */
    const float *behaviour; /* (heads, B) */
};
struct attention_bias_gradients {
    float *position, *time, *behaviour;
};

/* What an event of the sequence is, apart from its features. */
struct attention_events {
    size_t length;
    const int *behaviour;  /* (L): 0 to B - 1, or -1: no bias */
    const uint8_t *bucket; /* (L, L): of the time from event j to the event that row i predicts; j <= i */
};

/* bucket (L, L) for events at ts_ms (L), ascending, whose rows look back from next_ms (L). */
void attention_buckets(uint8_t *bucket, const int64_t *ts_ms, const int64_t *next_ms, size_t length);

/* y (L, d); weight (heads, L, L), zero above the diagonal, kept for backward; qkv (L, 3d). With dropout, `kept` (heads, L, L) comes with 0 or
 * 1 / (1 - p) for each weight and leaves with the weights that were used; NULL without. */
void attention_forward(float *y, float *weight, float *kept, const float *qkv, const struct attention_biases *biases,
                       const struct attention_events *events, size_t heads, size_t d);

/* dqkv (L, 3d) is written; scratch (L, L). */
void attention_backward(float *dqkv, const struct attention_bias_gradients *gradients, const float *dy,
                        const float *weight, const float *kept, const float *qkv, const struct attention_events *events,
                        size_t behaviours, float *scratch, size_t heads, size_t d);

#endif
