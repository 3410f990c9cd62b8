/* SPDX-License-Identifier: Apache-2.0
 *
 * How a log is cut into what a model may learn from and what it is asked afterwards. One cut serves the trainer, the counts and the evaluation, so that
 * nobody looks across it. */
#ifndef RECSYS_MODELS_HOLDOUT_H
#define RECSYS_MODELS_HOLDOUT_H

#include "models/counts.h"
#include "models/evaluation.h"
#include "proto/status.h"

/* leave-one-out: the last event of each user is the test, the one before it the validation, all before these the training part; users with fewer than
 * three events are left out altogether. time: the log is cut at the 80 % and 90 % quantiles of its time stamps; events before the first are the
 * training part, those between validate, those after test. none: production; each user's last event validates, the rest trains. */
enum holdout_kind { HOLDOUT_LEAVE_ONE_OUT, HOLDOUT_TIME, HOLDOUT_NONE };

/* An event to predict: the events of `user` before index `at` (within the user) are what is known. */
struct holdout_query {
    uint32_t user, at;
};

struct holdout {
    enum holdout_kind kind;
    bool *in_training; /* (events): belongs to the training part */
    size_t training_count;
    struct holdout_query *validation, *test; /* in order of users, then events; only events whose weight is above 0 */
    size_t validation_count, test_count;
    int64_t cut_ms[2]; /* time: first millisecond that validates, that tests */
    bool *is_cold;     /* (items): its events were taken out of the training part; NULL: none were */
};

/* Cut `data`. `cold_share` (0 to 1) of the items, chosen by a hash of their names (`item_names`, by row; may be NULL when the share is 0), lose their
 * events in the training part: they are then as if nobody had met them before. False out of memory. */
bool holdout_cut(struct holdout *holdout, const struct evaluation_data *data, enum holdout_kind kind, double cold_share,
                 const char *const *item_names, struct status *st);
void holdout_close(struct holdout *holdout);

/* Counts of the training part. NULL out of memory. */
struct counts_view *holdout_counts(const struct holdout *holdout, const struct evaluation_data *data);

/* "leave-one-out", "time", "none", and back; false for another word. */
const char *holdout_name(enum holdout_kind kind);
bool holdout_parse(const char *text, enum holdout_kind *kind);

#endif
