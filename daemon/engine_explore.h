/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: places of a list for items that hardly anybody has met, drawn at random, so that they are met. */
#ifndef RECSYS_DAEMON_ENGINE_EXPLORE_H
#define RECSYS_DAEMON_ENGINE_EXPLORE_H

#include "daemon/engine_list.h"

#define EXPLORE_EVENTS_MOST 5 /* an item with more is known */

struct engine_exploration {
    uint32_t *rows; /* (count) */
    size_t count;
    /* (count): how likely each was to be drawn: exploration · n / candidates, times its chance to be a candidate; what off-policy estimates divide by */
    float *propensity;
};

/* Draw exploration · n rows, a fraction by chance, evenly among the best of the qualifying rows that are hardly known: 50, or ten times as many as places. The generator
 * starts from the user, the request's seed and its now, so that a pinned request draws the same. False when the arena gives out. */
bool engine_explore(const struct scoring *scoring, const float *score, size_t n, struct engine_exploration *drawn);

#endif
