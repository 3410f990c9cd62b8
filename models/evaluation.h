/* SPDX-License-Identifier: Apache-2.0
 *
 * Offline evaluation: rank the whole catalogue for each user's held-out event and look where the event is. Full ranking, ties count half:
 * sampled negatives and id order both lie (Krichene & Rendle 2020). */
#ifndef RECSYS_MODELS_EVALUATION_H
#define RECSYS_MODELS_EVALUATION_H

#include "models/counts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An event of the log; `item` is a row of the evaluated catalogue. */
struct evaluation_event {
    uint32_t item;
    int64_t ts_ms;
    uint8_t behaviour; /* as the store numbers it */
    float weight;
};

/* Users' events, oldest first. */
struct evaluation_data {
    size_t item_count, user_count;
    const struct evaluation_event *events;
    const size_t *user_start; /* (user_count + 1) */
};

enum evaluation_target { EVALUATION_TEST, EVALUATION_VALIDATION }; /* the last event, or the one before it */

/* What is asked of a scorer: the events before the target. */
struct evaluation_query {
    const struct evaluation_event *history;
    size_t length;
    uint32_t target;
    int64_t now_ms; /* the target's time */
};

/* Score every item for a query; `thread` numbers the caller's threads from 0. False ends the evaluation. */
typedef bool evaluation_scorer(void *context, size_t thread, const struct evaluation_query *query, float *score);

/* Where the target came. */
struct evaluation_result {
    size_t count; /* users evaluated */
    float *rank;  /* (count), from 1, halves where it is tied */
};

/* Evaluate with `threads` threads. Users with fewer than three events are left out. `mask_seen`: items of the history do not compete, except the target.
 * False out of memory or when the scorer gave up. */
bool evaluation_run(const struct evaluation_data *data, enum evaluation_target target, bool mask_seen, size_t threads,
                    evaluation_scorer *scorer, void *context, struct evaluation_result *result);
void evaluation_result_close(struct evaluation_result *result);

/* HR@k, NDCG@k, MRR@k (one relevant item: NDCG is 1 / log2(1 + rank) within k). A tied rank of k + ½ still counts: fewer than k items are better
 * in the mean of the tie. */
double evaluation_hit_rate(const struct evaluation_result *result, int k);
double evaluation_ndcg(const struct evaluation_result *result, int k);
double evaluation_mrr(const struct evaluation_result *result, int k);

/* Counts over each user's events but the last two. NULL out of memory. */
struct counts_view *evaluation_counts(const struct evaluation_data *data);

/* ---- baselines: scorers whose context is the struct named */

struct baseline_counts {
    const struct counts_view *counts;
    size_t item_count;
};

/* Events per item. Context: struct baseline_counts. */
evaluation_scorer baseline_popularity;

/* Σ over the last three events, k steps back, of .5^k · P[event → c]. Context: struct baseline_counts. */
evaluation_scorer baseline_markov;

/* x_c · Σ over the last ten events, k steps back, of .8^k · x_event; rows centred and normalised, missing ones zero. */
struct baseline_content {
    const float *rows; /* (item_count, dimension) */
    size_t item_count, dimension;
};
evaluation_scorer baseline_content;

/* Centre (mean over the rows present) and L2-normalise `rows` in place; rows of zeros are missing and stay zero. */
void baseline_content_prepare(float *rows, size_t count, size_t dimension);

#endif
