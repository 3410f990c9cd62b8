/* SPDX-License-Identifier: Apache-2.0
 *
 * From an item's modalities to its token: each modality's row is projected and normalised, additive attention (Bahdanau et al. 2015) over those that are
 * there weighs them, and the token is their weighted sum:
 *
 *   z_m = LN(x̃_m A_m + b_m)                       m a modality;  z_id = the item's own embedding
 *   e_m = w · tanh(z_m U + c_m)  (+ κ · log(1 + the item's training count) for the ID)
 *   z   = Σ_m softmax_m(e)[m] · z_m,   o = z W_o
 *
 * Forward and backward, over consecutive items: threads may each take a range, and their ID rows do not meet. */
#ifndef RECSYS_MODELS_FUSION_H
#define RECSYS_MODELS_FUSION_H

#include "models/arena.h"
#include "models/model.h"

/* Items to fuse: `count` of them. */
struct fusion_items {
    size_t count;
    const float *x[ARCHITECTURE_VIEWS_MAX]; /* (count, components): x̃ of each view; not read for "id" */
    const bool
        *present[ARCHITECTURE_VIEWS_MAX]; /* (count): the item has this view and it is not dropped; NULL: nobody has */
    const int64_t *id_row;                /* (count): row of the ID table, or -1 */
};

/* Kept for backward; in an arena. */
struct fusion_tape {
    size_t count;
    float *projected[ARCHITECTURE_VIEWS_MAX];  /* (count, d): before the norm */
    float *z[ARCHITECTURE_VIEWS_MAX];          /* (count, d): after it */
    float *id;                                 /* (count, d): gathered ID rows */
    float *hidden[ARCHITECTURE_VIEWS_MAX + 1]; /* (count, ARCHITECTURE_GATE_WIDTH): tanh; the ID is the last */
    float *gate;                               /* (count, ARCHITECTURE_VIEWS_MAX + 1): weights, 0 for what is missing */
};

/* token, output (count, d). False when the arena gives out. */
bool fusion_forward(float *token, float *output, struct fusion_tape *tape, const struct model *model,
                    const struct fusion_items *items, struct arena *arena);

/* From dtoken (count, d; overwritten) and doutput (count, d) adds to the encoder's tensors of `gradient`; the ID rows of `items` are
 * written by nobody else at the same time. False when the arena gives out. */
bool fusion_backward(const struct weights *gradient, float *dtoken, const float *doutput,
                     const struct fusion_tape *tape, const float *token, const struct model *model,
                     const struct fusion_items *items, struct arena *arena);

#endif
