/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: in a large shop, which rows are scored in full. Also the questions about single rows that several of its files ask. */
#ifndef RECSYS_DAEMON_ENGINE_CANDIDATES_H
#define RECSYS_DAEMON_ENGINE_CANDIDATES_H

#include "daemon/engine_list.h"

/* Does the row qualify? */
static inline bool engine_has_row(const struct snapshot_view *view, size_t row)
{
    return view->alive[row / 64] >> (row % 64) & 1;
}

/* What the request's boosts add to its score. */
static inline float engine_boost_of(const struct scoring *scoring, size_t row)
{
    return scoring->boost == NULL ? 0 : scoring->boost[row];
}

/* Rows that qualify among `count` from `first`. */
size_t engine_count_rows(const struct snapshot_view *view, size_t first, size_t count);

/* `few`: the view with the bits of the candidates alone: the `most` best of a scan over every qualifying row, half as many of each promotion, what was met next to the last
 * events, and some of the trending, popular and newest. False when the arena gives out. */
bool engine_candidates_choose(const struct scoring *scoring, size_t most, struct snapshot_view *few);

#endif
