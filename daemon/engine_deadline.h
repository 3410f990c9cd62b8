/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: how much of the work fits before a deadline. Scoring costs multiply-adds that are known beforehand; how long one takes here is learned from the
 * requests before. First the history gets shorter, then fewer candidates are scored, in the end counts alone rank. */
#ifndef RECSYS_DAEMON_ENGINE_DEADLINE_H
#define RECSYS_DAEMON_ENGINE_DEADLINE_H

#include "daemon/engine_list.h"

/* What may be done. */
struct engine_plan {
    size_t history;    /* newest events, at most */
    size_t candidates; /* scored in full, at most; SIZE_MAX: as many as there are */
    bool unscored;     /* no time for any: a list that was stored comes first (engine_stored.h), counts rank the rest */
};

/* Plan for `qualifying` rows and a history of `length`; without a deadline: everything. What is left out is noted in answer->degraded: "history:100->20",
 * "candidates:5000->400", "unscored". */
struct engine_plan engine_plan_make(struct engine_worker *worker, const struct engine_request *request,
                                    const struct architecture *architecture, size_t qualifying, size_t length, size_t n,
                                    struct engine_answer *answer);

/* Learn from work that was done: `cost` multiply-adds since `begin_us`. */
void engine_plan_learn(struct engine_worker *worker, size_t cost, int64_t begin_us);

#endif
