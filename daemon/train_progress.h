/* SPDX-License-Identifier: Apache-2.0
 *
 * How far an evaluation is, on stderr, where that is a terminal that can redraw a line; nothing elsewhere. A scorer is wrapped, so that whoever evaluates
 * need not know. */
#ifndef RECSYS_DAEMON_TRAIN_PROGRESS_H
#define RECSYS_DAEMON_TRAIN_PROGRESS_H

#include "models/evaluation.h"

#include <stdatomic.h>

struct train_progress {
    bool shown;
    const char *label;
    atomic_size_t done;
    size_t total;
    int64_t started_us, drawn_us; /* of thread 0 */
    evaluation_scorer *scorer;
    void *context;
};

/* Begin `total` queries to `scorer`, whose name is `label`. `shown` must be set. */
void train_progress_start(struct train_progress *progress, const char *label, size_t total, evaluation_scorer *scorer,
                          void *context);

/* Asks the scorer, and counts. Context: struct train_progress. */
evaluation_scorer train_progress_score;

/* Take the line away. */
void train_progress_end(struct train_progress *progress);

/* "43 %  1200/s  ETA 0:12" */
void train_progress_facts(const struct train_progress *progress, int64_t now_us, char *out, size_t size);

#endif
