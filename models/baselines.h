/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model has to beat: scorers without anything learned, for models/evaluation.h. All statistics are of the training part; the context of a
 * scorer is the struct named. */
#ifndef RECSYS_MODELS_BASELINES_H
#define RECSYS_MODELS_BASELINES_H

#include "models/counts.h"
#include "models/evaluation.h"

#define BASELINE_RECENT_MS ((int64_t)7 * 86400000)

struct baseline_counts {
    const struct counts_view *counts;
    size_t item_count;
};

/* Events per item. Context: struct baseline_counts. */
evaluation_scorer baseline_popularity;

/* Σ over the last three events, k steps back, of .5^k · P[event → c]. Context: struct baseline_counts. */
evaluation_scorer baseline_markov;

/* Events per item of the last seven days of the training part. */
struct baseline_recent {
    float *count; /* (item_count), owned */
    size_t item_count;
};
evaluation_scorer baseline_recent;

/* Count events of the training part (`in_training`, by event; weight above 0) from `end_ms` - 7 days on and before `end_ms`. The window is the same
 * for all queries: in a time holdout it ends where the training part ends (cut_ms[0]), in leave-one-out with the newest event of the training part
 * (INT64_MAX finds it). The events between it and a query would be legal in a time holdout; the other statistics do not have them either. False out
 * of memory. */
bool baseline_recent_init(struct baseline_recent *baseline, const struct evaluation_data *data, const bool *in_training,
                          int64_t end_ms);
void baseline_recent_close(struct baseline_recent *baseline);

/* x_c · Σ over the last ten events, k steps back, of .8^k · x_event; rows centred and normalised, missing ones zero. */
struct baseline_content {
    const float *rows; /* (item_count, dimension) */
    size_t item_count, dimension;
};
evaluation_scorer baseline_content;

/* Centre (mean over the rows present) and L2-normalise `rows` in place; rows of zeros are missing and stay zero. False out of memory. */
bool baseline_content_prepare(float *rows, size_t count, size_t dimension);

#endif
