/* SPDX-License-Identifier: Apache-2.0
 *
 * Models that answer beside the active one, for requests that name them: variants of an experiment, a shadow, a replay. Each has a snapshot of its own, which follows the
 * catalogue as the active one does. They are gone after a restart, but for those that experiments name (server.c). */
#ifndef RECSYS_DAEMON_ENGINE_LOADED_H
#define RECSYS_DAEMON_ENGINE_LOADED_H

#include "daemon/engine.h"

/* Put a snapshot beside the active one, taking over the reference, also on failure; one of the same version goes, and with `only_replace` nothing happens where there is none
 * (any more). It catches up with the catalogue first. RESOURCE_EXHAUSTED / TOO_MANY_LOADED. Background thread, or with only_replace the writer's. */
bool engine_loaded_put(struct engine *engine, struct snapshot *snapshot, bool only_replace, struct arena *arena,
                       struct status *st);

/* Let go of a model by its version; false where it is not loaded. Who answers from it finishes. */
bool engine_loaded_remove(struct engine *engine, const char *version);

/* The snapshot of a version, or else of the model of that name: a loaded one before the active one, with a reference for the caller. NULL where none is. Any thread. */
struct snapshot *engine_loaded_find(struct engine *engine, const char *version_or_name);

/* Changed items for all of them, after the active one has got them. One that has no room is built anew. Writer thread, without apply_lock. */
bool engine_loaded_append(struct engine *engine, struct catalog_item *const *items, size_t count, int64_t position,
                          struct arena *arena, struct status *st);

/* Build anew what has grown long. Background thread. */
void engine_loaded_compact(struct engine *engine, struct arena *arena);

#endif
