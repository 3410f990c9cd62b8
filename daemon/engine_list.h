/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: from the rows that qualify to the best n. Split from engine_answer.c, which decides what qualifies. */
#ifndef RECSYS_DAEMON_ENGINE_LIST_H
#define RECSYS_DAEMON_ENGINE_LIST_H

#include "daemon/engine.h"
#include "models/recommender.h"

/* A user and all that a score needs, over one view. */
struct scoring {
    struct engine_worker *worker;
    const struct snapshot_view *view;
    struct recommender_user user;
    struct recommender_context context;
    float part_weight[RECOMMENDER_PARTS_MAX];
};

/* Rows chosen, best first, with their scores. */
struct ranking {
    uint32_t *rows;
    float *scores;
    size_t count;
    size_t newest_count; /* of them, added at the end because nothing was known: newest first, score 0 */
};

/* Score every qualifying row (set bits of view->alive), or in a large shop the best of a scan with neighbours, trending and new ones, and keep the best
 * n. Ties go by the external id. False when the arena gives out. */
bool ranking_compute(const struct scoring *scoring, size_t n, struct ranking *ranking);

/* The parts (count, PART_STREAMS + streams) of some rows' scores. */
bool ranking_parts(const struct scoring *scoring, const uint32_t *rows, size_t count, float **parts);

#endif
