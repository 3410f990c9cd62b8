/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_past.h"

#include "daemon/engine_loaded.h"
#include "daemon/model_fit.h"
#include "daemon/stored_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 1000

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a moment of the past");
}

void engine_past_release(struct engine_past *past)
{
    if (past == NULL || atomic_fetch_sub_explicit(&past->references, 1, memory_order_acq_rel) != 1)
        return;
    snapshot_release(past->snapshot);
    catalog_free(past->catalog);
    free(past);
}

/* ---- when */

bool engine_past_moment(struct engine_worker *worker, int64_t as_of_ms, struct engine_moment *moment, struct status *st)
{
    struct store *store = worker->reader;
    int64_t from_ms;
    *moment = (struct engine_moment){.position = 0};
    if (!store_past_begin(store, &from_ms, st) || !store_past_position(store, as_of_ms, &moment->position, st) ||
        !store_past_catalogue(store, moment->position, &moment->catalogue, st) ||
        !store_past_model(store, moment->position, moment->model, st) ||
        !store_past_counts(store, as_of_ms, &moment->counts, st))
        return false;
    if (as_of_ms < from_ms)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "BEYOND_RETENTION", "as_of",
                                 "what there was before is kept no longer than storage.past_ms says");
    return moment->model[0] != '\0' ||
           status_fail_field(st, STATUS_FAILED_PRECONDITION, "NOTHING_YET", "as_of", "no model answered yet");
}

/* ---- what there was */

static struct model *find_model(struct engine_worker *worker, const char *version, struct status *st)
{
    struct snapshot *there = engine_loaded_find(worker->engine, version);
    struct model *model = NULL;
    if (there != NULL)
        model = model_acquire(there->model);
    snapshot_release(there);
    if (model == NULL)
        model = stored_model_load(worker->reader, version, st);
    if (model == NULL && st->code == STATUS_NOT_FOUND)
        status_fail_field(st, STATUS_FAILED_PRECONDITION, "MODEL_GONE", "as_of",
                          "model '%s', which answered then, has been deleted", version);
    return model;
}

static bool encode(struct engine_past *past, struct model *model, struct arena *arena, struct status *st)
{
    struct catalog_item **items = NULL;
    size_t count = 0;
    int64_t position;
    struct arena_mark mark = arena_mark(arena);
    if (!catalog_collect(past->catalog, 0, &items, &count, &position))
        return out_of_memory(st);
    past->snapshot = snapshot_build(model, past->catalog, items, count, position, arena, st);
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    free(items);
    arena_rewind(arena, mark);
    return past->snapshot != NULL;
}

/* about as much as the items of now take: their vectors, and what the model makes of them */
static bool fits(struct engine_worker *worker, const struct model *model, struct status *st)
{
    struct catalog *catalog = worker->engine->catalog;
    struct catalog_space *spaces = calloc(CATALOG_SPACES_MAX, sizeof *spaces);
    uint64_t bytes = model_fit_bytes(model, catalog);
    size_t count = spaces == NULL ? 0 : catalog_spaces(catalog, spaces);
    for (size_t i = 0; i < count; i++)
        bytes += (uint64_t)spaces[i].item_count * (uint64_t)spaces[i].space.dimension * sizeof(float);
    free(spaces);
    return model_fit_memory(model->version, bytes, model_fit_available(worker->engine->config->model_memory_bytes), st);
}

static struct engine_past *build(struct engine_worker *worker, const struct engine_moment *moment, struct status *st)
{
    struct engine_past *past = calloc(1, sizeof *past);
    struct model *model = NULL;
    if (past == NULL) {
        out_of_memory(st);
        return NULL;
    }
    past->references = 1;
    past->catalogue = moment->catalogue;
    past->catalog = catalog_new();
    bool ok = past->catalog != NULL || out_of_memory(st);
    ok = ok && (model = find_model(worker, moment->model, st)) != NULL && fits(worker, model, st) &&
         catalog_load_past(past->catalog, worker->reader, moment->position, st) &&
         encode(past, model, &worker->arena, st);
    model_release(model);
    if (ok)
        return past;
    engine_past_release(past);
    return NULL;
}

static bool busy(const char *says, struct status *st)
{
    status_fail_field(st, STATUS_RESOURCE_EXHAUSTED, "BUSY", "as_of", "%s", says);
    st->retry_after_ms = RETRY_MS;
    return false;
}

/* the one that is kept, or a new one in its place; the caller holds past_lock */
static struct engine_past *keep(struct engine_worker *worker, const struct engine_moment *moment, struct status *st)
{
    struct engine *engine = worker->engine;
    struct engine_past *kept = engine->past;
    if (kept != NULL && kept->catalogue == moment->catalogue &&
        strcmp(kept->snapshot->model->version, moment->model) == 0)
        return kept;
    if (kept != NULL && kept->references > 1) { /* two moments are never in memory at once */
        busy("another moment of the past is being read", st);
        return NULL;
    }
    engine->past = NULL;
    engine_past_release(kept); /* first, so that there are not two */
    return engine->past = build(worker, moment, st);
}

bool engine_past_find(struct engine_worker *worker, const struct engine_moment *moment, struct snapshot **snapshot,
                      struct engine_past **past, struct status *st)
{
    *past = NULL;
    *snapshot = engine_loaded_find(worker->engine, moment->model);
    if (*snapshot != NULL && catalog_position((*snapshot)->catalog) == moment->catalogue)
        return true; /* nothing has changed since */
    snapshot_release(*snapshot);
    *snapshot = NULL;
    if (pthread_mutex_trylock(&worker->engine->past_lock) != 0) /* may hold up one worker, not all */
        return busy("another moment of the past is being built", st);
    struct engine_past *kept = keep(worker, moment, st);
    if (kept != NULL) {
        atomic_fetch_add_explicit(&kept->references, 1, memory_order_relaxed);
        *past = kept;
        *snapshot = snapshot_acquire(kept->snapshot);
    }
    pthread_mutex_unlock(&worker->engine->past_lock);
    return kept != NULL;
}
