/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage two of training: the head, a few hundred numbers, by cross-entropy of the total score on held-out events that stage one has not seen, with the
 * sequence part at rest. An additive head learns to trust whatever it is trained beside: on positions that the sequence part was fitted to it would
 * trust that alone. */
#ifndef RECSYS_MODELS_HEAD_TRAINER_H
#define RECSYS_MODELS_HEAD_TRAINER_H

#include "models/head.h"
#include "models/head_balance.h"
#include "models/head_start.h"
#include "models/holdout.h"
#include "models/team.h"

struct head_trainer_options {
    uint64_t seed;
    int epochs;
    float learning_rate; /* falls to 0 along a cosine */
    float decay;         /* pull to the starting values: of the squared distance, half */
    size_t queries;      /* held-out events used, at most */
    size_t candidates;   /* items they are compared with, at most; more items than that are drawn in blocks */
    bool mask_seen;      /* items of the history do not compete */
};

struct head_trainer_data {
    const struct evaluation_data *data;
    const struct holdout_query *queries;
    size_t query_count;
    const int *behaviour_of; /* (256): the store's number of a behaviour to the model's, or -1 */
    struct head_items items;
};

struct head_epoch {
    int epoch; /* from 1 */
    double loss, gradient_norm, learning_rate, seconds;
    double validation_loss; /* on the queries that were put aside; NAN: too few to put any aside */
    size_t queries;
};

/* After every epoch. */
typedef void head_trainer_observer(void *context, const struct head_epoch *epoch);

/* Train; `model` is changed in place. `balance`: where to tell how the parts were balanced at the end, of the trained head or of the one that it started
 * from, whichever ranks the queries better (fewer than 100 decide nothing; most are those that it was trained on); NULL: they are left as they were trained.
 * Every fifth query is put aside, and the numbers of the epoch that is best on those are kept: a head of a few
 * hundred numbers fits a few thousand events better than they deserve. False out of memory (RESOURCE_EXHAUSTED) or where the loss stops being a number (INTERNAL / DIVERGED). */
bool head_trainer_run(struct model *model, const struct head_trainer_data *data,
                      const struct head_trainer_options *options, struct team *team, head_trainer_observer *observer,
                      void *context, struct head_balance *balance, struct status *st);

#endif
