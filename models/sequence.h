/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence term: causal multi-head self-attention over the history, forward. Block: LayerNorm, attention with relative position, relative time and
 * behaviour biases, gated residual, LayerNorm, SwiGLU, gated residual. After Kang & McAuley 2018 (SASRec), Zhai et al. 2024 (the relative biases) and
 * Borisyuk et al. 2024 (gated residuals). */
#ifndef RECSYS_MODELS_SEQUENCE_H
#define RECSYS_MODELS_SEQUENCE_H

#include "models/arena.h"
#include "models/model.h"

/* A history, oldest first. */
struct sequence {
    size_t length;        /* >= 1 */
    const float *token;   /* (length, width): z of each event's item */
    const int *behaviour; /* (length): index in the architecture, or -1 */
    const int64_t *ts_ms; /* (length), ascending */
    int64_t now_ms;       /* the time that the last row looks back from */
};

/* u (width): the user's state after the last event. False when the arena gives out. */
bool sequence_forward(float *u, const struct model *model, const struct sequence *sequence, struct arena *arena);

#endif
