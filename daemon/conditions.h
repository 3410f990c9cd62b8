/* SPDX-License-Identifier: Apache-2.0
 *
 * Conditions on items, decided for every row of a moment of a snapshot: bitmaps in, bitmaps out. */
#ifndef RECSYS_DAEMON_CONDITIONS_H
#define RECSYS_DAEMON_CONDITIONS_H

#include "daemon/rules.h"
#include "daemon/snapshot.h"

/* Of the rows whose bit is set in `among` (view->row_count / 64 + 1 words), those for which all `count` conditions hold go to `out` (as many words; may be `among`). No
 * conditions: all. Unknown field: INVALID_ARGUMENT / UNKNOWN_FIELD with the nearest name, `where` ("filter.must", ...) named as the field. Arena gives out:
 * RESOURCE_EXHAUSTED / NO_MEMORY. */
bool conditions_all(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                    const char *where, const uint64_t *among, uint64_t *out, struct arena *arena, struct status *st);

/* The same for rows for which at least one condition holds. No conditions: none. */
bool conditions_any(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                    const char *where, const uint64_t *among, uint64_t *out, struct arena *arena, struct status *st);

/* Keep in `rows` what a filter lets through: all of must, none of must_not, and, where there is any, one of should. */
bool conditions_filter(const struct snapshot_view *view, const struct rule_filter *filter, uint64_t *rows,
                       struct arena *arena, struct status *st);

#endif
