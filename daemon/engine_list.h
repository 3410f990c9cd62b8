/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: from the rows that qualify to the best n. Split from engine_answer.c, which decides what qualifies. */
#ifndef RECSYS_DAEMON_ENGINE_LIST_H
#define RECSYS_DAEMON_ENGINE_LIST_H

#include "daemon/engine.h"
#include "daemon/rules.h"
#include "models/recommender.h"

struct explanation; /* models/explanation.h */

/* A user and all that a score needs, over one view. */
struct scoring {
    struct engine_worker *worker;
    const struct engine_request *request;
    const struct snapshot_view *view;
    struct recommender_user user;
    struct recommender_context context;
    float part_weight[RECOMMENDER_PARTS_MAX];
    const struct recommender_event *events; /* the history as the model sees it, oldest first */
    size_t event_count;
    const struct rules *rules;
    size_t candidates_most;                         /* scored in full: what a deadline leaves; SIZE_MAX: no limit */
    const float *boost;                             /* (view->row_count): added to the score; NULL: nothing */
    const uint64_t *promoted[RULES_PROMOTIONS_MAX]; /* a bit per row of the view */
    uint32_t traced;                                /* a row whose place is asked for, or SNAPSHOT_ROW_NONE */
};

/* One chosen row. */
struct ranked {
    float score;
    uint32_t row;
    bool newest;   /* nothing was known of it: added at the end, newest first, score 0 */
    int promotion; /* of the rules, whose turn brought it to its place; -1: none */
    float propensity;
    int32_t moved; /* places up from where the score put it */
    bool stored;   /* of a list that was computed before, with its score of then */
};

struct ranking {
    struct ranked *items; /* best first */
    size_t count;
    size_t newest_count;
    int broken_cap;      /* of the rules: stopped the list before it was full; -1: none */
    size_t scored, pool; /* rows with a score, and those that were re-ranked */
    bool exhaustive;     /* every row that qualifies was scored */
    float traced_score;
    size_t traced_place; /* of scoring->traced among them by score alone, from 1; 0: it has none */
};

/* Score every qualifying row (set bits of view->alive), or in a large shop the best of a scan with neighbours, trending and new ones, and keep the best
 * n. Ties go by the external id. Where rules change the order, a pool is kept and re-ranked (engine_rerank.h); it grows, in the end to all qualifying rows, as long
 * as the list is short. Errors as engine_rerank. */
bool ranking_compute(const struct scoring *scoring, size_t n, struct ranking *ranking, struct status *st);

/* Multiply-adds of ranking so many rows: all of them in full, or in a large shop a scan and the candidates. */
size_t ranking_cost(const struct config *config, const struct architecture *architecture, size_t rows, size_t length);

/* The parts (count, PART_STREAMS + streams) of some rows' scores, in order. */
bool ranking_parts(const struct scoring *scoring, const struct ranked *items, size_t count, float **parts);

/* The same scores taken apart: (count) explanations in the worker's arena. */
bool ranking_explain(const struct scoring *scoring, const struct ranked *items, size_t count,
                     struct explanation **explained);

#endif
