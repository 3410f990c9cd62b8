/* SPDX-License-Identifier: Apache-2.0
 *
 * The story of a training, told in three places: MODEL.ndjson, a record a line; MODEL.tb/, curves for TensorBoard; and the terminal, a line that is
 * redrawn there, a line an epoch elsewhere. Records:
 *
 *   {"event":"begin","at":TIME, the caller's facts...}         "resume" in place of "begin" when a checkpoint is gone on with
 *   {"stage":1,"epoch":1,"step":1,"loss":..,"validation_ndcg@10":..,"validation_hr@10":..,"learning_rate":..,"gradient_norm":..,"seconds":..,
 *    "events_per_second":..,"best_epoch":..,"eta_seconds":..}                                                                also of stage 3
 *   {"stage":2,"epoch":1,"step":9,"loss":..,"validation_loss":..,"learning_rate":..,"gradient_norm":..,"seconds":..,"events_per_second":..,
 *    "best_epoch":..,"eta_seconds":..,"scalars":{NAME:..}}
 *   {"event":"end","at":TIME, the caller's facts...}
 *
 * `step` counts the epochs of all stages and is TensorBoard's step. A number that was not measured, or is none, is left out. One thread. */
#ifndef RECSYS_DAEMON_TRAIN_LOG_H
#define RECSYS_DAEMON_TRAIN_LOG_H

#include "daemon/progress.h"
#include "daemon/tensorboard.h"

#include <jansson.h>

/* Stages follow each other in the order of their numbers. */
enum train_stage {
    TRAIN_STAGE_ENCODER = 1, /* encoder and sequence */
    TRAIN_STAGE_HEAD = 2,
    TRAIN_STAGE_AGAIN = 3, /* encoder and sequence on everything, the head kept: for production */
};

/* A number of the head that is worth watching. */
struct train_scalar {
    const char *name; /* "head.cooccurrence", "text picks, image judges" */
    double value;
};

/* An epoch that has ended. A number that was not measured is NAN. */
struct train_epoch {
    int stage;              /* enum train_stage */
    int epoch;              /* from 1 in each stage */
    int epochs_most;        /* the stage has no more than these */
    double loss;            /* mean over the epoch */
    double ndcg, hit_rate;  /* at 10, on the validation events; not of stage two */
    double validation_loss; /* of stage two */
    double learning_rate, gradient_norm;
    double seconds; /* wall time of the epoch with its validation: the time left is estimated from it */
    double events_per_second;
    int best_epoch;                     /* of the stage so far; 0: none yet */
    int patience;                       /* the stage ends after so many epochs without a new best; 0: it does not */
    const struct train_scalar *scalars; /* (scalar_count) of stage two; the caller's, for the call */
    size_t scalar_count;
};

struct train_log {
    FILE *file;
    char path[4096];
    struct tensorboard board;
    enum progress_style style;
    int64_t step; /* epoch records in the file */
    bool resumed;
    struct train_epoch last;       /* of this stage and run, without its scalars; epoch 0: none yet */
    int stage, epoch, epochs_most; /* what runs */
    int stage_epochs;              /* of the stage that ended in this run */
    double stage_seconds;          /* that they took */
    int64_t epoch_started_us, drawn_us;
    bool visible; /* a line that is redrawn stands on the terminal */
};

/* The last epoch that a checkpoint has seen; epoch 0: none of that stage, all of those before it. */
struct train_log_place {
    int stage, epoch;
};

/* Open the log of a model that will be written to `model_path`. With `resume` NULL an earlier log is replaced, and what TensorBoard has is void;
 * otherwise records after that place, and what a crash left of a line, are cut off, and the log goes on. `quiet`: nothing on the terminal.
 * False with ALREADY_EXISTS / OUTPUT where a file cannot be made, or a failure of writing; `log` is then all-zero. */
bool train_log_open(struct train_log *log, const char *model_path, const struct train_log_place *resume, bool quiet,
                    struct status *st);

/* The first and the last record: `facts` is an object (borrowed; NULL: none). */
bool train_log_begin(struct train_log *log, const json_t *facts, struct status *st);
bool train_log_end(struct train_log *log, const json_t *facts, struct status *st);

/* A stage begins, or goes on after `epoch` (0 for one that begins), for at most `epochs_most`. */
void train_log_stage(struct train_log *log, int stage, int epoch, int epochs_most);

/* An epoch has ended. To be told before its checkpoint is written: then no checkpoint is ahead of the log. */
bool train_log_epoch(struct train_log *log, const struct train_epoch *epoch, struct status *st);

/* So much of the epoch that runs is done: `done` of `count`, events or whatever, with that mean loss so far. `log` is the struct train_log: a plain
 * callback for a trainer, who need not know what is behind it, cheap enough for every batch. Only redraws a terminal's line. */
void train_log_step(void *log, size_t done, size_t count, double loss);

/* Take a line that is redrawn off the terminal, so that something else can be printed; the next step brings it back. */
void train_log_clear(struct train_log *log);

/* Accepts all-zero, leaves all-zero. */
void train_log_close(struct train_log *log);

/* Epochs that are left if nothing improves any more: until patience ends, at most until the last one. */
int train_log_epochs_left(const struct train_epoch *epoch);

#endif
