/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints of stage one: MODEL.checkpoint, and MODEL.checkpoint-again for the run on everything. Written aside and renamed, every few seconds; a training
 * that was killed goes on from there to the same bytes. */
#ifndef RECSYS_DAEMON_TRAIN_CHECKPOINT_H
#define RECSYS_DAEMON_TRAIN_CHECKPOINT_H

#include "daemon/train_log.h"
#include "models/trainer.h"

struct train_checkpoint {
    char path[4200];
    char *fingerprint; /* what decides the numbers: options, seed, threads, the log's position */
    int64_t written_us;
};

/* Of a model that will be written to `out`; `report` as the training begins it. */
void train_checkpoint_init(struct train_checkpoint *checkpoint, const char *out, int stage, const json_t *report);
void train_checkpoint_close(struct train_checkpoint *checkpoint);

/* Go on from the file. No file, or one of another training, is nothing to go on from; false only for a damaged one (DATA_LOSS). */
bool train_checkpoint_restore(const struct train_checkpoint *checkpoint, struct trainer *trainer, struct status *st);

/* Write, if the last time is a while ago or `last`. */
bool train_checkpoint_write(struct train_checkpoint *checkpoint, const struct trainer *trainer, bool last,
                            struct status *st);

/* Where the stage-one checkpoint beside `out` has come to; false where a training of `report` cannot go on from it. */
bool train_checkpoint_place(const char *out, const json_t *report, struct train_log_place *place);

void train_checkpoint_remove(const char *out);

#endif
