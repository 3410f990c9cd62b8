/* SPDX-License-Identifier: Apache-2.0
 *
 * model.list, model.get, model.activate, model.rollback, model.delete. What changes the model that answers is an order to the background thread
 * (daemon/registry.c); the job is answered from there. */
#include "daemon/handle_model.h"

#include "daemon/engine_loaded.h"
#include "daemon/routes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_DEFAULT (1 << 20)
#define MODELS_STEP   16

bool model_check_name(const char *name, struct status *st)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(name);
    if (length > 0 && length <= MODEL_NAME_MAX && strspn(name, letters) == length && name[0] != '.' && name[0] != '-')
        return true;
    return status_fail_field(
        st, STATUS_INVALID_ARGUMENT, "BAD_NAME", "name",
        "a model is named by 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', neither '.' nor '-' first", MODEL_NAME_MAX);
}

/* a version or a name, as it was given to find something: no more than that it can be one */
static bool check_wanted(const char *name, struct status *st)
{
    if (name[0] == '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "name", "'name' is missing");
    if (strlen(name) >= sizeof((struct store_model *)0)->version)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", "name", "'name' is no version and no name");
    return true;
}

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* the version that answers now */
static void active_version(struct handler *handler, char version[97])
{
    struct snapshot *snapshot;
    struct counts_view *counts;
    engine_acquire(&handler->server->engine, &snapshot, &counts);
    snprintf(version, 97, "%s", snapshot == NULL ? "" : snapshot->model->version);
    snapshot_release(snapshot);
    counts_view_release(counts);
}

/* ---- model.list */

struct listing {
    struct arena *arena;
    struct engine *engine;
    char active[97];
    const char *previous;
    Recsys__ModelInfo **models;
    size_t count, capacity;
    bool failed;
};

static char *copy_text(struct arena *arena, const char *text)
{
    size_t size = text == NULL ? 1 : strlen(text) + 1;
    char *copy = arena_alloc(arena, size);
    if (copy != NULL)
        memcpy(copy, text == NULL ? "" : text, size);
    return copy;
}

/* the numbers of a JSON object */
static bool list_metrics(struct arena *arena, json_t *object, size_t *count, Recsys__Metric ***out)
{
    const char *key;
    json_t *value;
    Recsys__Metric **list = arena_alloc(arena, (json_object_size(object) + 1) * sizeof *list);
    size_t at = 0;
    bool ok = list != NULL;
    json_object_foreach(object, key, value)
    {
        Recsys__Metric *metric = ok && json_is_number(value) ? arena_alloc(arena, sizeof *metric) : NULL;
        if (!ok || !json_is_number(value))
            continue;
        ok = metric != NULL;
        if (!ok)
            continue;
        recsys__metric__init(metric);
        metric->key = copy_text(arena, key);
        metric->value = json_number_value(value);
        list[at++] = metric;
        ok = metric->key != NULL;
    }
    *count = ok ? at : 0;
    *out = list;
    return ok;
}

/* what its file and its report say, as far as they say it */
static bool describe_training(struct arena *arena, const struct store_model_entry *entry, Recsys__ModelInfo *info)
{
    json_t *training = json_loads(entry->training_json, 0, NULL);
    json_t *report = entry->report_json == NULL ? NULL : json_loads(entry->report_json, 0, NULL);
    json_t *validation = json_object_get(json_object_get(training, "metrics"), "validation");
    info->training_data =
        copy_text(arena, json_string_value(json_object_get(json_object_get(training, "data"), "sha256")));
    info->holdout = copy_text(arena, json_string_value(json_object_get(training, "holdout")));
    bool ok = info->training_data != NULL && info->holdout != NULL &&
              list_metrics(arena, json_object_get(report, "model"), &info->n_metrics, &info->metrics) &&
              list_metrics(arena, validation, &info->n_validation, &info->validation);
    json_decref(training);
    json_decref(report);
    return ok;
}

/* beside the active one */
static bool is_loaded(struct engine *engine, const char *version)
{
    struct snapshot *snapshot = engine_loaded_find(engine, version);
    bool loaded = snapshot != NULL && strcmp(snapshot->model->version, version) == 0;
    snapshot_release(snapshot);
    return loaded;
}

static Recsys__ModelInfo *describe_model(struct listing *listing, const struct store_model_entry *entry)
{
    Recsys__ModelInfo *info = arena_alloc(listing->arena, sizeof *info);
    if (info == NULL)
        return NULL;
    recsys__model_info__init(info);
    const char *version = entry->model.version;
    info->name = copy_text(listing->arena, entry->model.name);
    info->version = copy_text(listing->arena, version);
    info->sha256 = copy_text(listing->arena, entry->model.sha256);
    info->size_bytes = entry->model.size_bytes;
    info->created_ms = entry->model.created_ms;
    info->activated_ms = entry->activated_ms;
    info->state = strcmp(version, listing->active) == 0     ? "active"
                  : is_loaded(listing->engine, version)     ? "loaded"
                  : strcmp(version, listing->previous) == 0 ? "previous"
                                                            : "stored";
    bool ok = info->name != NULL && info->version != NULL && info->sha256 != NULL;
    return ok && describe_training(listing->arena, entry, info) ? info : NULL;
}

static bool list_model(void *context, const struct store_model_entry *entry)
{
    struct listing *listing = context;
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity * 2 + MODELS_STEP;
        Recsys__ModelInfo **grown = arena_alloc(listing->arena, capacity * sizeof *grown);
        if (grown != NULL && listing->count > 0)
            memcpy(grown, listing->models, listing->count * sizeof *grown);
        listing->failed = grown == NULL;
        listing->models = grown;
        listing->capacity = capacity;
    }
    if (!listing->failed)
        listing->failed = (listing->models[listing->count++] = describe_model(listing, entry)) == NULL;
    return !listing->failed;
}

bool handle_model_list(struct handler *handler, struct job *job, struct status *st)
{
    Recsys__ModelListReply reply = RECSYS__MODEL_LIST_REPLY__INIT;
    struct store *reader = handler->worker.reader;
    struct store_activation target;
    struct listing listing = {.arena = &handler->worker.arena, .engine = &handler->server->engine};
    if (!store_read_begin(reader, st))
        return false;
    active_version(handler, listing.active);
    bool ok = store_activation_target(reader, &target, st);
    listing.previous = target.version;
    ok = ok && store_model_list(reader, list_model, &listing, st);
    store_read_end(reader);
    if (ok && listing.failed)
        ok = out_of_memory(st);
    reply.models = listing.models;
    reply.n_models = listing.count;
    if (ok)
        job_reply(job, &reply.base);
    return ok;
}

/* ---- model.get */

bool handle_model_get(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelGetRequest *r = (const Recsys__ModelGetRequest *)job->request;
    const struct config *config = &handler->server->config;
    Recsys__ModelGetReply reply = RECSYS__MODEL_GET_REPLY__INIT;
    struct store_model model;
    char active[97];
    void *bytes = NULL;
    size_t n, size = 0;
    active_version(handler, active);
    const char *wanted = r->name[0] == '\0' ? active : r->name;
    size_t preset = config->limits_frame_bytes < CHUNK_DEFAULT ? (size_t)config->limits_frame_bytes : CHUNK_DEFAULT;
    if (!check_wanted(wanted, st) ||
        !check_n(r->_n_case != RECSYS__MODEL_GET_REQUEST___N__NOT_SET, r->n, preset, STORE_MODEL_PART_MAX, &n, st))
        return false;
    if (r->offset < 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "offset", "'offset' is negative");
    if (!store_model_find(handler->worker.reader, wanted, &model, st) ||
        !store_model_read(handler->worker.reader, model.version, r->offset, n, &bytes, &size, st))
        return false;
    reply.name = model.name;
    reply.version = model.version;
    reply.sha256 = model.sha256;
    reply.total = model.size_bytes;
    reply.offset = r->offset;
    reply.data = (ProtobufCBinaryData){.len = size, .data = bytes};
    job_reply(job, &reply.base);
    free(bytes);
    return true;
}

/* ---- model.activate, model.rollback */

struct switching {
    struct registry_order order;
    struct job *job;
    struct engine *engine;
};

/* on the background thread */
static void switched(struct registry_order *order, const struct status *st)
{
    struct switching *switching = (struct switching *)(void *)order; /* its first member */
    char seq[24];
    if (st->code != STATUS_OK) {
        job_fail(switching->job, st);
        return;
    }
    snprintf(seq, sizeof seq, "%lld", (long long)switching->engine->committed);
    if (order->kind == REGISTRY_ROLLBACK) {
        Recsys__ModelRollbackReply reply = RECSYS__MODEL_ROLLBACK_REPLY__INIT;
        reply.model = order->model.version;
        reply.before = order->before;
        reply.activated = order->activated;
        reply.seq = seq;
        job_reply(switching->job, &reply.base);
        return;
    }
    Recsys__ModelActivateReply reply = RECSYS__MODEL_ACTIVATE_REPLY__INIT;
    reply.model = order->model.version;
    reply.before = order->before;
    reply.activated = order->activated;
    reply.kept = order->kept;
    reply.seq = seq;
    job_reply(switching->job, &reply.base);
}

static bool order_switch(struct handler *handler, struct job *job, const struct registry_order *order,
                         struct status *st)
{
    struct switching *switching = arena_alloc(&job->arena, sizeof *switching);
    if (switching == NULL)
        return out_of_memory(st);
    *switching = (struct switching){.order = *order, .job = job, .engine = &handler->server->engine};
    if (switching->order.done == NULL)
        switching->order.done = switched;
    return background_order(&handler->server->background, &switching->order, st);
}

bool handle_model_activate(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelActivateRequest *r = (const Recsys__ModelActivateRequest *)job->request;
    struct registry_order order = {.kind = REGISTRY_ACTIVATE, .name = r->name, .if_better = r->if_better};
    return check_wanted(r->name, st) && order_switch(handler, job, &order, st);
}

bool handle_model_rollback(struct handler *handler, struct job *job, struct status *st)
{
    struct registry_order order = {.kind = REGISTRY_ROLLBACK};
    return order_switch(handler, job, &order, st);
}

/* ---- model.load, model.unload */

static void loaded(struct registry_order *order, const struct status *st)
{
    struct switching *switching = (struct switching *)order; /* its first member */
    if (st->code != STATUS_OK) {
        job_fail(switching->job, st);
        return;
    }
    if (order->kind == REGISTRY_LOAD) {
        Recsys__ModelLoadReply reply = RECSYS__MODEL_LOAD_REPLY__INIT;
        reply.model = order->model.version;
        job_reply(switching->job, &reply.base);
        return;
    }
    Recsys__ModelUnloadReply reply = RECSYS__MODEL_UNLOAD_REPLY__INIT;
    reply.model = order->model.version;
    job_reply(switching->job, &reply.base);
}

bool handle_model_load(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelLoadRequest *r = (const Recsys__ModelLoadRequest *)job->request;
    struct registry_order order = {.kind = REGISTRY_LOAD, .name = r->name, .done = loaded};
    return check_wanted(r->name, st) && order_switch(handler, job, &order, st);
}

bool handle_model_unload(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelUnloadRequest *r = (const Recsys__ModelUnloadRequest *)job->request;
    struct registry_order order = {.kind = REGISTRY_UNLOAD, .name = r->name, .done = loaded};
    return check_wanted(r->name, st) && order_switch(handler, job, &order, st);
}

/* ---- model.delete */

struct deletion {
    struct write_task task;
    struct job *job;
    const char *name;
    struct store_model model;
};

static bool write_deletion(struct writer *writer, struct write_task *task, struct status *st)
{
    struct deletion *deletion = task->context;
    char active[97];
    if (!store_model_find(writer->store, deletion->name, &deletion->model, st) ||
        !store_activation_latest(writer->store, active, st))
        return false;
    if (strcmp(active, deletion->model.version) == 0)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "MODEL_ACTIVE", "name",
                                 "model '%s' is active: activate another one first", active);
    task->changed = true;
    return store_model_delete(writer->store, deletion->model.version, st);
}

static void deletion_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct deletion *deletion = task->context;
    Recsys__ModelDeleteReply reply = RECSYS__MODEL_DELETE_REPLY__INIT;
    (void)writer;
    reply.version = deletion->model.version;
    if (st->code == STATUS_OK)
        job_reply(deletion->job, &reply.base);
    else
        job_fail(deletion->job, st);
}

bool handle_model_delete(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelDeleteRequest *r = (const Recsys__ModelDeleteRequest *)job->request;
    struct deletion *deletion = arena_alloc(&job->arena, sizeof *deletion);
    if (!check_wanted(r->name, st))
        return false;
    if (deletion == NULL)
        return out_of_memory(st);
    *deletion = (struct deletion){.job = job, .name = r->name};
    deletion->task =
        (struct write_task){.write = write_deletion, .done = deletion_done, .context = deletion, .rows = 1};
    return writer_submit(&handler->server->writer, &deletion->task, st);
}
