/* SPDX-License-Identifier: Apache-2.0
 *
 * The score: sequence + Σ streams + co-occurrence + prior, additive by construction.
 *
 *   pick_n[l]   = sharpness_n · (q_n(c) · k_n(l)) + position_n[age] + time_n[bucket] + behaviour_n[b_l]
 *   judge_n[l]  = value[b_l] · (r_n(c) · v_n(l))
 *   s_{m→n}(c)  = γ_{m→n}(c) · Σ_l softmax_l(pick_m)[l] · judge_n[l]          per head, summed over heads
 *
 * First a user is prepared from the history, then candidates are scored in blocks. Work memory comes from the arena at preparing; scoring cannot
 * fail. */
#ifndef RECSYS_MODELS_RECOMMENDER_H
#define RECSYS_MODELS_RECOMMENDER_H

#include "models/arena.h"
#include "models/cooccurrence.h"
#include "models/counts.h"
#include "models/encoder.h"
#include "models/model.h"

/* Candidates scored in one go: rows of this many against the history stay in the second-level cache. */
#define RECOMMENDER_BLOCK 256

/* The parts of a score, in this order; then one per stream. */
enum recommender_part { PART_SEQUENCE, PART_COOCCURRENCE, PART_PRIOR, PART_STREAMS };
#define RECOMMENDER_PARTS_MAX (PART_STREAMS + ARCHITECTURE_STREAMS_MAX)

/* One event of the history. */
struct recommender_event {
    uint32_t item_id;
    int64_t ts_ms;
    int behaviour;                   /* index in the architecture, or -1 */
    float weight;                    /* configured weight of the behaviour: its value where the model has none */
    const struct encoder_rows *rows; /* where the item's encoded row is, or NULL */
    size_t row;
};

/* A user, ready to score for. */
struct recommender_user {
    const struct model *model;
    size_t length;                                     /* events attended to; 0: streams and sequence are 0 */
    bool unordered;                                    /* examples: all of age 0 */
    const float *key[ARCHITECTURE_SIMILARITIES_MAX];   /* (length, components) */
    const float *worth[ARCHITECTURE_SIMILARITIES_MAX]; /* (length, components): v */
    float *bias[ARCHITECTURE_SIMILARITIES_MAX];        /* (length) */
    bool bounded[ARCHITECTURE_SIMILARITIES_MAX];
    float *value;                         /* (length) */
    float *state;                         /* u (width), or NULL */
    float *query[ARCHITECTURE_VIEWS_MAX]; /* (components): decayed mean of the history, for scans */
    float *similarities;                  /* scratch: (2 × similarities, RECOMMENDER_BLOCK, length) */
    float *attention;                     /* scratch: (3, length) */
    float *scaled;                        /* scratch: (RECOMMENDER_BLOCK, widest view), or NULL */
};

/* Candidates of one block: `count` <= RECOMMENDER_BLOCK consecutive rows of `rows` from `first`. */
struct recommender_block {
    const struct encoder_rows *rows;
    size_t first, count;
    const uint32_t *item_ids; /* (count) */
};

/* What does not depend on the history. */
struct recommender_context {
    const struct counts_view *counts;
    const struct cooccurrence *cooccurrence;
    int64_t now_ms;
    const float *weight; /* (PART_STREAMS + streams): the request's factor on each part */
};

/* Prepare for `count` events, oldest first; at most the architecture's history is attended to, the newest. False when the arena gives out. */
bool recommender_prepare(struct recommender_user *user, const struct model *model,
                         const struct recommender_event *events, size_t count, int64_t now_ms, struct arena *arena);

/* The same with the user's state known (width; NULL: none), for who prepares one user many times while the sequence part rests: stage two of training. */
bool recommender_prepare_head(struct recommender_user *user, const struct model *model,
                              const struct recommender_event *events, size_t count, int64_t now_ms, float *state,
                              struct arena *arena);

/* The same for examples ("similar to these"): events without order or time, and without a sequence. */
bool recommender_prepare_examples(struct recommender_user *user, const struct model *model,
                                  const struct recommender_event *examples, size_t count, struct arena *arena);

/* The value of an event: the model's for the behaviour, else the configured weight. */
float recommender_value(const struct model *model, const struct recommender_event *event);

/* Scores (count) of a block; `parts` (count, PART_STREAMS + streams), weighted, or NULL. */
void recommender_score(const struct recommender_user *user, const struct recommender_context *context,
                       const struct recommender_block *block, float *score, float *parts);

/* A cheap score (count of rows) over all `count` rows from `first`, to choose candidates in a large shop: u·o where there is a sequence part, else
 * Σ over views of the decayed mean of the history, weighted as its streams are. */
void recommender_scan(const struct recommender_user *user, const float *part_weight, const struct encoder_rows *rows,
                      size_t first, size_t count, float *score);

/* The same for single rows: score (count) of row[i]. What lies between is not read. */
void recommender_scan_some(const struct recommender_user *user, const float *part_weight,
                           const struct encoder_rows *rows, const uint32_t *row, size_t count, float *score);

/* Multiply-adds of scoring one candidate against `length` events. */
size_t recommender_cost(const struct architecture *architecture, size_t length);

#endif
