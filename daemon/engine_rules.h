/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: what the request's rules make of the rows, before anything is scored. */
#ifndef RECSYS_DAEMON_ENGINE_RULES_H
#define RECSYS_DAEMON_ENGINE_RULES_H

#include "daemon/engine_list.h"

/* Clear the bits of `view` (the scoring's own) that the filter does not let through, or the price ceiling. Where the history has no price there is no ceiling. Errors as
 * conditions_all. */
bool engine_rules_filter(const struct scoring *scoring, struct snapshot_view *view, struct status *st);
bool engine_rules_ceiling(const struct scoring *scoring, struct snapshot_view *view, struct status *st);

/* Find what is boosted and what is promoted among the rows that are left: scoring->boost and scoring->promoted. */
bool engine_rules_prepare(struct scoring *scoring, struct status *st);

/* Which of the boosts apply to rows (count): bit b of (*applied)[i], in the worker's arena. */
bool engine_rules_boosts_of(const struct scoring *scoring, const struct ranked *rows, size_t count, uint32_t **applied,
                            struct status *st);

#endif
