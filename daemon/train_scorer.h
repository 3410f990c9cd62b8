/* SPDX-License-Identifier: Apache-2.0
 *
 * A model as the scorer of an evaluation: every item of a shop encoded once, then all of them scored for each query with the recommender that the
 * daemon uses. Parts of the model can be switched off for a while, as a diagnostic.
 *
 *   struct train_scorer scorer;
 *   train_scorer_init(&scorer, model, &data, counts, threads, &st) &&
 *   evaluation_run(&view, holdout.validation, holdout.validation_count, mask_seen, threads, train_scorer_score, &scorer, &result);
 *
 * One thread sets up; then `threads` threads score. */
#ifndef RECSYS_DAEMON_TRAIN_SCORER_H
#define RECSYS_DAEMON_TRAIN_SCORER_H

#include "daemon/train_data.h"
#include "models/recommender.h"

struct train_scorer_thread {
    struct arena arena;
    struct cooccurrence cooccurrence;
};

struct train_scorer {
    struct model *model; /* a reference */
    const struct train_data *data;
    struct counts_view *counts; /* a reference; by item row */
    struct encoder_rows rows;   /* (item_count) */
    uint32_t *item_ids;         /* (item_count): the row itself, as counts are by row here */
    int behaviour_of[256];
    float part_weight[RECOMMENDER_PARTS_MAX];
    bool without_id, without_view[ARCHITECTURE_VIEWS_MAX]; /* what train_scorer_encode leaves out */
    struct train_scorer_thread *thread;
    size_t threads;
};

/* Encode the shop's items as `model` sees them. `counts` are those of holdout_counts: by row, of the training part. `data` must outlive the scorer;
 * `threads` is at most EVALUATION_THREADS_MAX. A model that reads vectors which the shop does not have, or has in another size, is
 * FAILED_PRECONDITION / MODEL_MISMATCH; RESOURCE_EXHAUSTED / NO_MEMORY. After a failure it is closed. */
bool train_scorer_init(struct train_scorer *scorer, struct model *model, const struct train_data *data,
                       struct counts_view *counts, size_t threads, struct status *st);
void train_scorer_close(struct train_scorer *scorer); /* an all-zero one is fine */

/* The evaluation_scorer; its context is the struct train_scorer. */
evaluation_scorer train_scorer_score;

/* Encode all items again: needed after the model's encoder or `without_...` changed. */
bool train_scorer_encode(struct train_scorer *scorer, struct status *st);

/* Read a model file. NOT_FOUND / NO_MODEL where it cannot be opened; INVALID_ARGUMENT / BAD_MODEL, BAD_SAFETENSORS for what is in it. */
struct model *train_scorer_read_model(const char *path, struct status *st);

#endif
