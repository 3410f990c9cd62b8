/* SPDX-License-Identifier: Apache-2.0
 *
 * What stage one learns from: the training part of the log as sequences, and the items in it as columns. An item without training events is no column:
 * that it is never a target says nothing about it, so it must not be pushed down as a negative. */
#ifndef RECSYS_MODELS_TRAINING_SET_H
#define RECSYS_MODELS_TRAINING_SET_H

#include "models/holdout.h"
#include "models/model.h"

#define TRAINING_NO_COLUMN UINT32_MAX

struct training_set {
    const struct evaluation_data *data;
    const struct holdout *holdout;
    size_t columns;
    uint32_t *column_of;     /* (items of data), TRAINING_NO_COLUMN: not in the training part */
    uint32_t *item_of;       /* (columns) */
    float *count;            /* (columns): training events of positive weight */
    const int *behaviour_of; /* (256): the store's number of a behaviour to the model's, or -1; not owned */
    /* Training events, users one behind the other, oldest first; a user's are start[user] to start[user + 1]. */
    size_t event_count;
    size_t *start;    /* (users + 1) */
    uint32_t *column; /* (events) */
    int64_t *ts_ms;   /* (events) */
    int *behaviour;   /* (events) */
    float *weight;    /* (events) of the behaviour: not a target where it is not above 0 */
    /* Features of the columns; filled by training_set_features. */
    float *x[ARCHITECTURE_VIEWS_MAX];      /* (columns, components) */
    bool *present[ARCHITECTURE_VIEWS_MAX]; /* (columns); NULL: nobody has that view */
};

/* Of a cut log. `data`, `holdout` and `behaviour_of` must outlive it. False out of memory or when there is nothing to learn from
 * (FAILED_PRECONDITION / NO_TRAINING_DATA). */
bool training_set_init(struct training_set *set, const struct evaluation_data *data, const struct holdout *holdout,
                       const int *behaviour_of, struct status *st);
void training_set_close(struct training_set *set);

/* x̃ of every column by `model`'s means and rotations. `vectors` of a view (items of data, dimension), rows of zeros where missing; NULL: the view is left
 * out. False out of memory. */
bool training_set_features(struct training_set *set, const struct model *model,
                           const float *const vectors[ARCHITECTURE_VIEWS_MAX], struct status *st);

#endif
