/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence term: causal multi-head self-attention over histories, forward and backward. Block: LayerNorm, attention with relative position, relative
 * time and behaviour biases, gated residual, LayerNorm, SwiGLU, gated residual. After Kang & McAuley 2018 (SASRec), Zhai et al. 2024 (the relative
 * biases) and Borisyuk et al. 2024 (gated residuals). */
#ifndef RECSYS_MODELS_SEQUENCE_H
#define RECSYS_MODELS_SEQUENCE_H

#include "models/arena.h"
#include "models/model.h"
#include "models/random.h"

/* Histories, each oldest first, one behind the other without padding. Row i of a history looks back from next_ms[i], the time of the event it
 * predicts. */
struct sequences {
    size_t count;           /* >= 1 */
    const size_t *start;    /* (count + 1): the first event of each; the last is the number of events, T */
    const float *token;     /* (T, width): z of each event's item */
    const int *behaviour;   /* (T): index in the architecture, or -1 */
    const int64_t *ts_ms;   /* (T), ascending within a history */
    const int64_t *next_ms; /* (T) */
};

/* What is left out at random while training. */
struct sequence_dropout {
    float rate;           /* of a token's numbers and of what a block adds */
    float attention_rate; /* of the attention's weights */
    struct random *random;
};

/* Everything that backward needs of forward; in an arena. */
struct sequence_tape {
    size_t tokens;
    float *dropped_token; /* (T, d): factors 0 or 1 / (1 - rate), or NULL */
    uint8_t *bucket;      /* (L, L) of each history */
    struct {
        float *x, *norm1, *qkv, *weight, *kept, *y, *attended, *dropped1, *gate1;
        float *middle, *norm2, *a, *b, *m, *fed, *dropped2, *gate2;
    } block[ARCHITECTURE_BLOCKS_MAX];
    float *last; /* (T, d): what the final LayerNorm sees */
};

/* u (T, d): the state after every event. `dropout` may be NULL. False when the arena gives out. */
bool sequence_forward(float *u, struct sequence_tape *tape, const struct model *model, const struct sequences *s,
                      const struct sequence_dropout *dropout, struct arena *arena);

/* Adds to dtoken (T, d) and to the sequence part's tensors of `gradient`, laid out as the model's weights. False when the arena gives out. */
bool sequence_backward(float *dtoken, const struct weights *gradient, const float *du, const struct sequence_tape *tape,
                       const struct model *model, const struct sequences *s, struct arena *arena);

#endif
