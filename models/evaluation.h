/* SPDX-License-Identifier: Apache-2.0
 *
 * Offline evaluation: rank the whole catalogue for each event that was held out and look where the event is. Full ranking, ties count half:
 * sampled negatives and id order both lie (Krichene & Rendle 2020). */
#ifndef RECSYS_MODELS_EVALUATION_H
#define RECSYS_MODELS_EVALUATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVALUATION_THREADS_MAX 64
#define EVALUATION_LIST        20 /* items of each query's list that are kept */
#define EVALUATION_NO_ITEM     UINT32_MAX

struct holdout_query; /* models/holdout.h */

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

/* What is asked of a scorer: the events before the target. */
struct evaluation_query {
    const struct evaluation_event *history; /* (length), oldest first: all that the user did before the target */
    size_t length;
    uint32_t user, target;
    int64_t now_ms; /* the target's time */
};

/* Score every item for a query; `thread` numbers the caller's threads from 0. False ends the evaluation. */
typedef bool evaluation_scorer(void *context, size_t thread, const struct evaluation_query *query, float *score);

/* Where the targets came, query by query. */
struct evaluation_result {
    size_t count;
    float *rank; /* (count), from 1, halves where it is tied */
    uint32_t *
        list; /* (count, EVALUATION_LIST) the best items, best first, EVALUATION_NO_ITEM after the last; may be NULL in a
                     * result that the caller puts together */
};

/* Ask `count` queries with `threads` threads (1 to EVALUATION_THREADS_MAX; others are moved there). `mask_seen`: items of the history neither compete
 * nor are listed, except the target. The result does not depend on the threads. False out of memory or when the scorer gave up; then nothing is written. */
bool evaluation_run(const struct evaluation_data *data, const struct holdout_query *queries, size_t count,
                    bool mask_seen, size_t threads, evaluation_scorer *scorer, void *context,
                    struct evaluation_result *result);
void evaluation_result_close(struct evaluation_result *result);

/* One relevant item: a hit is 1, NDCG 1 / log2(1 + rank), MRR 1 / rank within k, else 0. A tied rank of k + ½ still counts: fewer than k items are
 * better in the mean of the tie. */
enum evaluation_metric { EVALUATION_HIT_RATE, EVALUATION_NDCG, EVALUATION_MRR };

/* What one query gives to the mean. */
double evaluation_gain(enum evaluation_metric metric, float rank, int k);

/* The mean; 0 without queries. */
double evaluation_mean(const struct evaluation_result *result, enum evaluation_metric metric, int k);
double evaluation_hit_rate(const struct evaluation_result *result, int k);
double evaluation_ndcg(const struct evaluation_result *result, int k);
double evaluation_mrr(const struct evaluation_result *result, int k);

#endif
