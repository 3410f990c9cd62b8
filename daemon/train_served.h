/* SPDX-License-Identifier: Apache-2.0
 *
 * A model as the daemon would serve it: only items that are shown at the query's time, and in a large shop only the candidates that a cheap scan
 * finds are scored. Beside it everything is scored, to see what the scan misses. */
#ifndef RECSYS_DAEMON_TRAIN_SERVED_H
#define RECSYS_DAEMON_TRAIN_SERVED_H

#include "daemon/engine_list.h"
#include "daemon/train_contest.h"

/* What one thread has seen. */
struct train_served_thread {
    struct engine_worker worker;
    double recall; /* sum over the queries */
    size_t narrowed, queries;
};

struct train_served {
    const struct contest *contest;
    struct config everything;    /* the shop's settings, but that every item is scored */
    struct engine engine, whole; /* `whole` has those settings */
    struct snapshot *snapshot;
    struct counts_view *counts; /* by item_id, as the daemon has them */
    int behaviour_of[256];
    struct train_served_thread *thread;
    size_t threads;
};

/* Build what the daemon would: a snapshot of `model` over the shop's items, the counts of the training part. False with st. */
bool train_served_init(struct train_served *served, const struct contest *contest, struct model *model,
                       struct status *st);
void train_served_close(struct train_served *served);

/* Gives the items of the served list scores in their order, and no other item one. Context: struct train_served. */
evaluation_scorer train_served_score;

/* Of the ten best items, the share that the candidates had, mean over all queries; and the share of queries where not every item was scored. */
void train_served_recall(const struct train_served *served, double *recall, double *narrowed);

#endif
