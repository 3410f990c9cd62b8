/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine.h"

#include "daemon/engine_loaded.h"
#include "daemon/engine_past.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
}

bool engine_init(struct engine *engine, const struct config *config, struct catalog *catalog,
                 struct histories *histories)
{
    memset(engine, 0, sizeof *engine);
    engine->config = config;
    engine->catalog = catalog;
    engine->histories = histories;
    pthread_mutex_init(&engine->lock, NULL);
    pthread_mutex_init(&engine->past_lock, NULL);
    pthread_mutex_init(&engine->apply_lock, NULL);
    pthread_mutex_init(&engine->install_lock, NULL);
    return true;
}

void engine_close(struct engine *engine)
{
    snapshot_release(engine->snapshot);
    for (int i = 0; i < ENGINE_LOADED_MAX; i++)
        snapshot_release(engine->loaded[i]);
    counts_view_release(engine->counts);
    counts_view_release(engine->past_counts);
    engine_past_release(engine->past);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->past_lock);
    pthread_mutex_destroy(&engine->apply_lock);
    pthread_mutex_destroy(&engine->install_lock);
    memset(engine, 0, sizeof *engine);
}

/* ---- behaviours */

static void learn_behaviour(void *context, uint8_t number, const char *name)
{
    struct engine *engine = context;
    struct engine_behaviour *behaviour = &engine->behaviours[number];
    snprintf(behaviour->name, sizeof behaviour->name, "%s", name);
    for (size_t i = 0; i < engine->config->behaviour_count; i++)
        if (strcmp(engine->config->behaviours[i].name, name) == 0) {
            behaviour->weight = (float)engine->config->behaviours[i].weight;
            behaviour->configured = true;
        }
}

bool engine_load_behaviours(struct engine *engine, struct store *store, bool create, struct status *st)
{
    for (size_t i = 0; create && i < engine->config->behaviour_count; i++) {
        uint8_t number;
        if (!store_behaviour_find(store, engine->config->behaviours[i].name, true, &number, st))
            return false;
    }
    return store_behaviour_list(store, learn_behaviour, engine, st);
}

/* ---- what answers */

void engine_set_snapshot(struct engine *engine, struct snapshot *snapshot)
{
    pthread_mutex_lock(&engine->lock);
    struct snapshot *before = engine->snapshot;
    engine->snapshot = snapshot;
    pthread_mutex_unlock(&engine->lock);
    snapshot_release(before);
}

void engine_set_counts(struct engine *engine, struct counts_view *counts)
{
    pthread_mutex_lock(&engine->lock);
    struct counts_view *before = engine->counts;
    engine->counts = counts;
    pthread_mutex_unlock(&engine->lock);
    counts_view_release(before);
}

void engine_note_merge(struct engine *engine, int64_t position)
{
    engine->merged = position;
    engine->merges++;
}

void engine_acquire(struct engine *engine, struct snapshot **snapshot, struct counts_view **counts)
{
    pthread_mutex_lock(&engine->lock);
    *snapshot = engine->snapshot == NULL ? NULL : snapshot_acquire(engine->snapshot);
    *counts = engine->counts == NULL ? NULL : counts_view_acquire(engine->counts);
    pthread_mutex_unlock(&engine->lock);
}

/* ---- changes */

bool engine_apply_items(struct engine *engine, struct catalog_item **items, size_t count, int64_t position,
                        struct arena *arena, struct status *st)
{
    bool ok = true;
    pthread_mutex_lock(&engine->apply_lock);
    for (size_t i = 0; i < count; i++)
        ok = catalog_publish(engine->catalog, catalog_item_acquire(items[i]), st) && ok;
    bool fits = engine->snapshot == NULL ||
                snapshot_append(engine->snapshot, engine->catalog, items, count, position, arena, st);
    pthread_mutex_unlock(&engine->apply_lock);
    if (!fits && strcmp(st->reason, "SNAPSHOT_FULL") == 0)
        fits = engine_install_model(engine, NULL, arena, st); /* the catalogue has the items already */
    struct status beside = STATUS_INIT; /* a model that nobody activated is no reason to refuse an item */
    engine_loaded_append(engine, items, count, position, arena, &beside);
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    return ok && fits;
}

bool engine_catch_up(struct engine *engine, struct snapshot *snapshot, int64_t position, struct arena *arena,
                     struct status *st)
{
    struct catalog_item **late = NULL;
    size_t count = 0;
    int64_t newest = position;
    bool ok = catalog_collect(engine->catalog, position, &late, &count, &newest) || out_of_memory(st);
    ok = ok && snapshot_append(snapshot, engine->catalog, late, count, newest, arena, st);
    for (size_t i = 0; i < count; i++)
        catalog_item_release(late[i]);
    free(late);
    return ok;
}

/* append what changed while the snapshot was being built, and put it in place; the caller holds install_lock */
static bool catch_up_and_set(struct engine *engine, struct snapshot *snapshot, int64_t position, struct arena *arena,
                             struct status *st)
{
    pthread_mutex_lock(&engine->apply_lock);
    bool ok = engine_catch_up(engine, snapshot, position, arena, st);
    if (ok)
        engine_set_snapshot(engine, snapshot);
    pthread_mutex_unlock(&engine->apply_lock);
    return ok;
}

/* a snapshot of the catalogue as it is; the caller holds install_lock */
static struct snapshot *build(struct engine *engine, struct model *model, struct arena *arena, struct status *st)
{
    struct catalog_item **items = NULL;
    size_t count = 0;
    int64_t position;
    pthread_mutex_lock(&engine->apply_lock); /* a batch is published item by item, its positions in no order */
    bool ok = catalog_collect(engine->catalog, 0, &items, &count, &position) || out_of_memory(st);
    pthread_mutex_unlock(&engine->apply_lock);
    struct snapshot *snapshot = ok ? snapshot_build(model, engine->catalog, items, count, position, arena, st) : NULL;
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    free(items);
    return snapshot;
}

/* build and put in place; the caller holds install_lock */
static bool install(struct engine *engine, struct model *model, struct arena *arena, struct status *st)
{
    struct snapshot *snapshot = build(engine, model, arena, st);
    bool ok = snapshot != NULL && catch_up_and_set(engine, snapshot, snapshot->position, arena, st);
    if (!ok)
        snapshot_release(snapshot);
    return ok;
}

bool engine_install_model(struct engine *engine, struct model *model, struct arena *arena, struct status *st)
{
    pthread_mutex_lock(&engine->install_lock);
    model = model_acquire(model != NULL ? model : engine->snapshot->model);
    bool ok = install(engine, model, arena, st);
    pthread_mutex_unlock(&engine->install_lock);
    model_release(model);
    return ok;
}

struct snapshot *engine_prepare_model(struct engine *engine, struct model *model, struct arena *arena,
                                      struct status *st)
{
    pthread_mutex_lock(&engine->install_lock);
    struct snapshot *snapshot = build(engine, model, arena, st);
    pthread_mutex_unlock(&engine->install_lock);
    return snapshot;
}

bool engine_publish(struct engine *engine, struct snapshot *snapshot, struct arena *arena, struct status *st)
{
    pthread_mutex_lock(&engine->install_lock);
    struct model *model = model_acquire(snapshot->model);
    bool ok = catch_up_and_set(engine, snapshot, snapshot->position, arena, st);
    if (!ok)
        snapshot_release(snapshot);
    if (!ok && strcmp(st->reason, "SNAPSHOT_FULL") == 0) /* the catalogue has changed beyond it meanwhile */
        ok = install(engine, model, arena, st);
    model_release(model);
    pthread_mutex_unlock(&engine->install_lock);
    return ok;
}

/* ---- counts of any version */

struct rebuild {
    const struct engine *engine;
    struct counts *counts;
    struct counts_event *events;
    size_t count, capacity;
    int64_t user_id;
    bool failed;
};

static bool flush_user(struct rebuild *rebuild)
{
    bool ok = counts_user(rebuild->counts, rebuild->events, rebuild->count, 1);
    rebuild->count = 0;
    return ok;
}

static bool count_event(void *context, const struct store_event *event)
{
    struct rebuild *rebuild = context;
    if (event->user_id != rebuild->user_id && !flush_user(rebuild))
        rebuild->failed = true;
    rebuild->user_id = event->user_id;
    if (rebuild->engine->behaviours[event->behaviour].weight <= 0)
        return !rebuild->failed;
    if (rebuild->count == rebuild->capacity) {
        size_t capacity = rebuild->capacity * 2 + 256;
        struct counts_event *grown = realloc(rebuild->events, capacity * sizeof *grown);
        if (grown == NULL) {
            rebuild->failed = true;
            return false;
        }
        rebuild->events = grown;
        rebuild->capacity = capacity;
    }
    rebuild->events[rebuild->count++] = (struct counts_event){event->item_id, event->ts_ms};
    return !rebuild->failed;
}

struct counts_view *engine_rebuild_counts(const struct engine *engine, struct store *reader, int64_t position,
                                          struct counts **whole, struct status *st)
{
    struct rebuild rebuild = {.engine = engine, .counts = counts_new()};
    struct counts_view *view = NULL;
    bool ok = rebuild.counts != NULL || out_of_memory(st);
    ok = ok && store_event_scan(reader, 0, position, count_event, &rebuild, st);
    if (ok) {
        ok = !rebuild.failed && flush_user(&rebuild);
        view = ok ? counts_publish(rebuild.counts, position) : NULL;
        if (view == NULL)
            out_of_memory(st);
    }
    free(rebuild.events);
    if (view != NULL && whole != NULL)
        *whole = rebuild.counts;
    else
        counts_free(rebuild.counts);
    return view;
}

/* ---- workers */

bool engine_worker_init(struct engine_worker *worker, struct engine *engine, struct store *reader, size_t arena_bytes)
{
    *worker = (struct engine_worker){.engine = engine, .reader = reader};
    arena_init(&worker->arena, arena_bytes);
    return true;
}

void engine_worker_close(struct engine_worker *worker)
{
    arena_close(&worker->arena);
    history_close(&worker->history);
    cooccurrence_close(&worker->cooccurrence);
    *worker = (struct engine_worker){0};
}

const char *engine_source_name(enum engine_source source)
{
    static const char *const names[] = {"attention", "neighbour", "content", "promotion", "exploration",
                                        "trending",  "popular",   "newest",  "stored"};
    return names[source];
}

const char *engine_stage_name(enum engine_stage stage)
{
    static const char *const names[] = {"catalogue",   "shown",    "candidates", "not_excluded",
                                        "not_current", "not_seen", "filter",     "price_ceiling",
                                        "scored",      "pool",     "listed"};
    return names[stage];
}
