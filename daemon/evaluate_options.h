/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of recsys-train evaluate. */
#ifndef RECSYS_DAEMON_EVALUATE_OPTIONS_H
#define RECSYS_DAEMON_EVALUATE_OPTIONS_H

#include "daemon/train_ablation.h"
#include "daemon/train_contest.h"

#define EVALUATE_OVERRIDES_MAX 256
#define EVALUATE_ABLATIONS_MAX 128

/* One number of the model, by its tensor's name. */
struct evaluate_override {
    char name[96];
    size_t index;
    float value;
};

/* What is asked for. Strings are borrowed from the command line. */
struct evaluate_options {
    const char *data_dir, *config_file, *model_file, *ranks_file; /* model_file NULL: the default model */
    struct contest_options contest;                               /* but for `warm`, which depends on the model */
    int64_t at_position;                                          /* of the log; INT64_MAX: all of it */
    bool json, model_only, as_served, ablate_all;
    struct evaluate_override overrides[EVALUATE_OVERRIDES_MAX];
    size_t override_count;
    char ablations[EVALUATE_ABLATIONS_MAX][TRAIN_ABLATION_TEXT]; /* lists of parts; room for those that `all` adds */
    size_t ablation_count;
};

/* Fill an all-zero struct: defaults, then the command line. 0: go on; otherwise exit with that code - 1, everything has been said. */
int evaluate_options_parse(struct evaluate_options *options, int argc, char **argv);

#endif
