/* SPDX-License-Identifier: Apache-2.0
 *
 * A training from the shop to the model's file: stage one, stage two and, for production, stage one again on everything. */
#ifndef RECSYS_DAEMON_TRAIN_RUN_H
#define RECSYS_DAEMON_TRAIN_RUN_H

#include "daemon/train_log.h"
#include "daemon/train_model.h"
#include "models/holdout.h"
#include "models/team.h"

/* What is asked for; filled from the command line. Strings are borrowed. */
struct train_request {
    const char *data_dir, *config_file;
    const char *out;       /* the model's file */
    const char *stage_one; /* a model whose encoder and sequence part are taken, or NULL */
    enum holdout_kind holdout;
    uint64_t seed;
    size_t threads;
    double cold_share;
    bool quiet;
    bool fresh; /* do not go on from OUT.checkpoint */
    struct train_options options;
    struct train_without without;
};

/* Train and write OUT, OUT.ndjson and OUT.tb/. While it runs OUT.checkpoint is what a later call goes on from. */
bool train_run(const struct train_request *request, struct status *st);

#endif
