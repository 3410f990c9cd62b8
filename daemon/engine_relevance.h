/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside engine_rerank.c: how relevant each candidate is, by its score and by the knobs that favour what the user does
 * not know yet: novelty, serendipity and rotation. engine_rerank.h has the formulas. */
#ifndef RECSYS_DAEMON_ENGINE_RELEVANCE_H
#define RECSYS_DAEMON_ENGINE_RELEVANCE_H

#include "daemon/engine_rerank_internal.h"

/* Set pool.relevance (count) of the items that are gathered: the score between the worst and the best of the pool, not
 * below 0, then the knobs, which move the first `considered` alone. RESOURCE_EXHAUSTED / NO_MEMORY; with rotation,
 * which reads the user's impressions, also the store's errors. */
bool engine_relevance_set(struct gathering *g, struct status *st);

#endif
