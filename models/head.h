/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage two's gradient: of the softmax cross-entropy of the *total* score on one held-out event, with respect to the head: weights of the streams and of the
 * sequence, temperatures, biases of position, time and behaviour, values of behaviours, low-rank corrections, co-occurrence, prior. Items and states rest. */
#ifndef RECSYS_MODELS_HEAD_H
#define RECSYS_MODELS_HEAD_H

#include "models/recommender.h"

/* A held-out event as the head sees it. Items are rows of `head_items`, which are also their ids in the counts. */
struct head_query {
    const struct recommender_event *events; /* (count) the history, oldest first */
    size_t count;
    int64_t now_ms;
    uint32_t target;
    const uint32_t *hidden; /* (hidden_count) items that do not compete, the target not among them */
    size_t hidden_count;
    float *state; /* u (width), or NULL */
};

/* What the candidates are. */
struct head_items {
    const struct encoder_rows *rows;
    const struct counts_view *counts;
    size_t count;
    const uint32_t *item_ids; /* (count): i at place i */
};

/* Blocks of RECOMMENDER_BLOCK items that compete; NULL: all. */
struct head_sample {
    const uint32_t *block; /* (count), ascending */
    size_t count;
};

/* The co-occurrence terms of a query's history, as far back as the model attends. False out of memory. */
bool head_cooccurrence(struct cooccurrence *cooccurrence, const struct model *model, const struct counts_view *counts,
                       const struct head_query *query, struct arena *arena);

/* The loss, -log softmax(score)[target] over the items that compete; its gradient, times `scale`, is added to the PARAM_HEAD tensors of `gradient` (NULL:
 * only the loss). `score` (items) is scratch. Negative when the arena gives out. */
double head_gradient(const struct weights *gradient, const struct model *model, const struct head_items *items,
                     const struct head_sample *sample, const struct head_query *query, float scale, float *score,
                     struct cooccurrence *cooccurrence, struct arena *arena);

#endif
