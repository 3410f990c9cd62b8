/* SPDX-License-Identifier: Apache-2.0
 *
 * What engine_rerank.c, which gathers candidates and places them, and engine_relevance.c, which says how relevant they
 * are, share. */
#ifndef RECSYS_DAEMON_ENGINE_RERANK_INTERNAL_H
#define RECSYS_DAEMON_ENGINE_RERANK_INTERNAL_H

#include "daemon/engine_explore.h"
#include "daemon/engine_list.h"
#include "models/rerank.h"

/* A pool on its way into models/rerank.h; all memory is the worker's arena. */
struct gathering {
    const struct scoring *scoring;
    struct arena *arena;
    struct ranked *items; /* (count): the pool and behind it promoted ones */
    size_t count, considered;
    struct rerank_pool pool;
    struct cap cap[RULES_CAPS_MAX];
    struct rerank_promotion promotion[RERANK_PROMOTIONS_MAX]; /* the rules', then exploration */
    size_t promotion_count;
    struct engine_exploration drawn;
};

/* Whether rows of a view tell what items are like: those of ids only say which is which. */
bool engine_rerank_is_content(const struct view *view);

/* The encoded row (components) of item `i` in a view, as it lies: of length 1, or 0 where the feature is missing. */
const float *gathering_feature(const struct gathering *g, int view, size_t i);

/* RESOURCE_EXHAUSTED / NO_MEMORY; false. */
bool engine_rerank_no_memory(struct status *st);

#endif
