/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: a pool of the best rows becomes a list by the request's knobs and rules. What models/rerank.h reads about each candidate is gathered here. */
#ifndef RECSYS_DAEMON_ENGINE_RERANK_H
#define RECSYS_DAEMON_ENGINE_RERANK_H

#include "daemon/engine_list.h"

/* How many candidates compete for a list of n. */
size_t engine_rerank_pool(const struct rules *rules, size_t n);

/* The list of at most `n`, from `pool`: its first `considered` compete, the others fill what rules leave open, and promoted rows that are not in it are looked
 * up in `score` (row_count). Relevance is the score between the pool's worst and best, as 0 .. 1;
 *
 *   novelty ν       r ← (1 - ν)·r + ν·(1 - log(1 + events) / the pool's greatest)
 *   rotation ρ      r ← r·(1 - ρ·(1 - age / rotation_ms)), where the item was shown to the user so long ago
 *   serendipity σ   r ← r·((1 - σ) + σ·far), far = 1 - the greatest cosine with an event of the history that the user did not dislike
 *
 * INVALID_ARGUMENT / UNKNOWN_FIELD for a cap by what no item has; RESOURCE_EXHAUSTED / NO_MEMORY. */
bool engine_rerank(const struct scoring *scoring, const float *score, const struct ranking *pool, size_t considered,
                   size_t n, struct ranking *list, struct status *st);

#endif
