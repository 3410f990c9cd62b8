/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of stage two's gradient that goes into the low-rank corrections x + (x·down)·up of a view's rows: for one block of candidates and one head,
 * from the gradients of the raw picks and judgements. */
#ifndef RECSYS_MODELS_HEAD_CORRECTIONS_H
#define RECSYS_MODELS_HEAD_CORRECTIONS_H

#include "models/recommender_internal.h"

struct head_corrections {
    float *dpick[ARCHITECTURE_SIMILARITIES_MAX];  /* (RECOMMENDER_BLOCK, length), or NULL: nothing of it is corrected */
    float *djudge[ARCHITECTURE_SIMILARITIES_MAX]; /* likewise */
    float *drow, *dother;                   /* (rows, widest view) scratch: as many rows as block or history have */
    float *unit;                            /* (rows, widest view) scratch */
    float *low, *dlow;                      /* (rows, largest rank) */
    float *history;                         /* (length, widest view): x of the events */
    const struct recommender_event *events; /* (length) */
};

/* Memory for a user's history of `events` (user->length); nothing is allocated where the model has no corrections. False when the arena gives out. */
bool head_corrections_init(struct head_corrections *corrections, const struct recommender_user *user,
                           const struct recommender_event *events, struct arena *arena);

/* Set dpick and djudge to zero. */
void head_corrections_clear(const struct head_corrections *corrections, const struct recommender_user *user);

/* Add what dpick and djudge of the pass's block and head say to the corrections' tensors of `gradient`. */
void head_corrections_add(const struct head_corrections *corrections, const struct recommender_pass *pass,
                          const struct weights *gradient);

#endif
