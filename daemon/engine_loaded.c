/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_loaded.h"

#include "daemon/log.h"

#include <stdio.h>
#include <string.h>

/* The set changes under apply_lock and lock, so that whoever holds one of them sees it at rest. */

/* the slot of a version; -1: it is not loaded */
static int find_slot(const struct engine *engine, const char *version)
{
    for (int i = 0; i < ENGINE_LOADED_MAX; i++)
        if (engine->loaded[i] != NULL && strcmp(engine->loaded[i]->model->version, version) == 0)
            return i;
    return -1;
}

static struct snapshot *exchange(struct engine *engine, int slot, struct snapshot *snapshot)
{
    pthread_mutex_lock(&engine->lock);
    struct snapshot *before = engine->loaded[slot];
    engine->loaded[slot] = snapshot;
    pthread_mutex_unlock(&engine->lock);
    return before;
}

bool engine_loaded_put(struct engine *engine, struct snapshot *snapshot, bool only_replace, struct arena *arena,
                       struct status *st)
{
    struct snapshot *before = snapshot;
    pthread_mutex_lock(&engine->apply_lock);
    int slot = find_slot(engine, snapshot->model->version);
    for (int i = 0; slot < 0 && !only_replace && i < ENGINE_LOADED_MAX; i++)
        slot = engine->loaded[i] == NULL ? i : -1;
    bool ok = slot >= 0;
    if (!ok && !only_replace)
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_LOADED",
                    "%d models are loaded beside the active one: unload one", ENGINE_LOADED_MAX);
    ok = ok && engine_catch_up(engine, snapshot, snapshot->position, arena, st);
    if (ok)
        before = exchange(engine, slot, snapshot);
    pthread_mutex_unlock(&engine->apply_lock);
    snapshot_release(before);
    return ok || (only_replace && slot < 0); /* unloaded meanwhile */
}

bool engine_loaded_remove(struct engine *engine, const char *version)
{
    struct snapshot *before = NULL;
    pthread_mutex_lock(&engine->apply_lock);
    int slot = find_slot(engine, version);
    if (slot >= 0)
        before = exchange(engine, slot, NULL);
    pthread_mutex_unlock(&engine->apply_lock);
    snapshot_release(before);
    return slot >= 0;
}

struct snapshot *engine_loaded_find(struct engine *engine, const char *wanted)
{
    struct snapshot *found = NULL;
    pthread_mutex_lock(&engine->lock);
    for (int by_name = 0; by_name < 2 && found == NULL; by_name++)
        for (int k = 0; k <= ENGINE_LOADED_MAX && found == NULL;
             k++) { /* who loads a model by its name means that one */
            struct snapshot *snapshot = k < ENGINE_LOADED_MAX ? engine->loaded[k] : engine->snapshot;
            const char *called = snapshot == NULL ? "" : by_name ? snapshot->model->name : snapshot->model->version;
            if (snapshot != NULL && strcmp(called, wanted) == 0)
                found = snapshot_acquire(snapshot);
        }
    pthread_mutex_unlock(&engine->lock);
    return found;
}

/* one that had no room, or has grown long: again from the catalogue, which has everything. `must`: it cannot go on as it is */
static bool build_anew(struct engine *engine, struct model *model, bool must, struct arena *arena, struct status *st)
{
    struct arena_mark mark = arena_mark(arena);
    struct snapshot *snapshot = engine_prepare_model(engine, model, arena, st);
    bool ok = snapshot != NULL && engine_loaded_put(engine, snapshot, true, arena, st);
    arena_rewind(arena, mark);
    if (!ok && must) {
        log_warn("model_unloaded", "'%s' cannot follow the catalogue: %s", model->version, st->message);
        engine_loaded_remove(engine, model->version);
    }
    return ok;
}

bool engine_loaded_append(struct engine *engine, struct catalog_item *const *items, size_t count, int64_t position,
                          struct arena *arena, struct status *st)
{
    struct model *full[ENGINE_LOADED_MAX];
    size_t full_count = 0;
    bool ok = true;
    pthread_mutex_lock(&engine->apply_lock);
    for (int i = 0; i < ENGINE_LOADED_MAX; i++)
        if (engine->loaded[i] != NULL &&
            !snapshot_append(engine->loaded[i], engine->catalog, items, count, position, arena, st))
            full[full_count++] = model_acquire(engine->loaded[i]->model);
    pthread_mutex_unlock(&engine->apply_lock);
    for (size_t i = 0; i < full_count; i++) {
        *st = (struct status)STATUS_INIT;
        ok = build_anew(engine, full[i], true, arena, st) && ok;
        model_release(full[i]);
    }
    return ok;
}

void engine_loaded_compact(struct engine *engine, struct arena *arena)
{
    for (int i = 0; i < ENGINE_LOADED_MAX; i++) {
        struct status st = STATUS_INIT;
        pthread_mutex_lock(&engine->lock);
        struct snapshot *snapshot = engine->loaded[i] == NULL ? NULL : snapshot_acquire(engine->loaded[i]);
        pthread_mutex_unlock(&engine->lock);
        if (snapshot != NULL && snapshot_wants_compaction(snapshot))
            build_anew(engine, snapshot->model, false, arena, &st); /* what there is still follows the catalogue */
        snapshot_release(snapshot);
    }
}
