/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/registry_internal.h"

#include "daemon/engine_loaded.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/model_fit.h"
#include "daemon/model_report.h"
#include "daemon/refit.h"
#include "daemon/registry_write.h"
#include "daemon/stored_model.h"
#include "daemon/timestamp.h"
#include "models/default_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ORDERS_MAX     16
#define ORDERS_BYTES   (1u << 20)
#define RETRY_AFTER_MS 500
#define RETIRE_MS      5000

static bool is_default(const char *name)
{
    return strcmp(name, DEFAULT_MODEL_NAME) == 0;
}

/* by its version alone: the rest may be damaged */
static bool is_default_version(const char *version)
{
    size_t length = strlen(DEFAULT_MODEL_NAME);
    return strncmp(version, DEFAULT_MODEL_NAME "-", length + 1) == 0 && strchr(version + length + 1, '-') == NULL;
}

/* ---- snapshots */

/* The last to let go of a snapshot frees it, item by item, which takes milliseconds: let that be this thread, and not a request. With `replaced` false it
 * still answers. */
static void retire(struct snapshot *before, bool replaced)
{
    for (int waited_ms = 0; replaced && before != NULL && before->references > 1 && waited_ms < RETIRE_MS; waited_ms++)
        usleep(1000);
    snapshot_release(before);
}

static struct snapshot *current(struct registry *r)
{
    struct snapshot *snapshot;
    struct counts_view *counts;
    engine_acquire(r->engine, &snapshot, &counts);
    counts_view_release(counts);
    return snapshot;
}

static bool install(struct registry *r, struct model *model, struct status *st)
{
    struct snapshot *before = current(r);
    struct arena_mark mark = arena_mark(r->arena);
    bool ok = engine_install_model(r->engine, model, r->arena, st);
    arena_rewind(r->arena, mark);
    metrics_add(METRICS_COUNTER_compactions, 1);
    retire(before, ok);
    return ok;
}

/* ---- the default model */

static void refit_and_install(struct registry *r)
{
    struct status st = STATUS_INIT;
    struct store_model description;
    size_t size = 0;
    struct model *model = refit(r->engine, &st);
    unsigned char *bytes = model == NULL ? NULL : model_write(model, &size, &st);
    char *training = bytes == NULL ? NULL : stored_model_training(model);
    enum registry_step step = r->stand_in ? REGISTRY_STEP_NONE : REGISTRY_STEP_REPLACE;
    if (training != NULL)
        stored_model_describe(&description, model, timestamp_now_ms());
    if (training != NULL && registry_write_fitted(r, &description, bytes, size, training, step, &st) &&
        install(r, model, &st))
        log_info("model_fitted", "model '%s' answers from now on: %s", model->version,
                 json_string_value(json_object_get(model->training, "signature")));
    else
        log_warn("model_not_fitted", "the default model stays as it is: %s", st.message);
    free(training);
    free(bytes);
    model_release(model);
}

/* the model to look at after items have changed: fit again, or only build anew what has grown long */
static void tend_snapshot(struct registry *r, bool items_settled)
{
    struct status st = STATUS_INIT;
    struct snapshot *snapshot = current(r);
    if (snapshot == NULL)
        return;
    bool look = items_settled || r->look_again;
    r->look_again = false;
    bool due = look && refit_is_due(r->engine, snapshot->model);
    bool long_deltas = !due && snapshot_wants_compaction(snapshot);
    snapshot_release(snapshot);
    if (due)
        refit_and_install(r);
    else if (long_deltas && !install(r, NULL, &st))
        log_warn("compaction_failed", "%s", st.message);
    engine_loaded_compact(r->engine, r->arena);
}

/* ---- activating */

/* Does the candidate's report say that it is no worse? False with `st`, or with a reason in order->kept. */
static bool is_no_worse(struct registry *r, struct registry_order *order, const char *active, struct status *st)
{
    struct store_model model;
    char *texts[2] = {NULL, NULL};
    json_t *reports[2] = {NULL, NULL};
    const char *const versions[2] = {order->model.version, active};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        ok = store_model_find(r->reader, versions[i], &model, st) &&
             store_model_report(r->reader, versions[i], &texts[i], st);
        if (ok && texts[i] == NULL)
            ok = status_fail(st, STATUS_FAILED_PRECONDITION, "NO_REPORT",
                             "model '%s' has no report to compare: put its file with a report", versions[i]);
        ok = ok && (reports[i] = model_report_parse(texts[i], model.sha256, st)) != NULL;
    }
    ok = ok && model_report_comparable(reports[0], reports[1], st);
    if (ok && model_report_metric(reports[0]) < model_report_metric(reports[1]))
        snprintf(order->kept, sizeof order->kept, "its %s is %.5f, that of the active '%s' is %.5f",
                 MODEL_REPORT_METRIC, model_report_metric(reports[0]), active, model_report_metric(reports[1]));
    for (int i = 0; i < 2; i++) {
        json_decref(reports[i]);
        free(texts[i]);
    }
    return ok && order->kept[0] == '\0';
}

/* a snapshot of a stored model, checked against everything that can be checked before it answers */
static struct snapshot *prepare(struct registry *r, const struct store_model *description, struct status *st)
{
    uint64_t available = model_fit_available(r->engine->config->model_memory_bytes);
    struct snapshot *snapshot = NULL, *active;
    struct counts_view *counts;
    struct model *model = NULL;
    /* the file's bytes and the numbers read from them are there together for a moment */
    bool ok = model_fit_memory(description->version, 2 * (uint64_t)description->size_bytes, available, st);
    if (ok)
        model = stored_model_load(r->reader, description->version, st);
    ok = model != NULL && model_fit_shop(model, r->engine->catalog, st) &&
         model_fit_memory(description->version, model_fit_bytes(model, r->engine->catalog), available, st);
    if (ok)
        snapshot = engine_prepare_model(r->engine, model, r->arena, st);
    model_release(model);
    if (snapshot == NULL)
        return NULL;
    metrics_add(METRICS_COUNTER_compactions, 1);
    engine_acquire(r->engine, &active, &counts);
    ok = model_fit_scores(snapshot, counts, timestamp_now_ms(), r->arena, st);
    snapshot_release(active);
    counts_view_release(counts);
    if (!ok) {
        snapshot_release(snapshot);
        snapshot = NULL;
    }
    return snapshot;
}

/* put it in place; what the log says is taken back where that fails, which only memory can make it */
static bool publish(struct registry *r, struct snapshot *snapshot, struct snapshot *before, struct status *st)
{
    struct status undo = STATUS_INIT;
    struct store_activation back = {0};
    if (engine_publish(r->engine, snapshot, r->arena, st))
        return true;
    snprintf(back.version, sizeof back.version, "%s", before->model->version);
    if (!registry_write_activation(r, REGISTRY_STEP_REPLACE, &back, &undo))
        log_error("activation_not_undone", "after a restart another model than now will answer: %s", undo.message);
    return false;
}

/* order->model takes the place of what answers: the rest of activating and rolling back */
static bool switch_to(struct registry *r, struct registry_order *order, enum registry_step step,
                      const struct store_activation *target, struct status *st)
{
    struct arena_mark mark = arena_mark(r->arena);
    struct snapshot *before = current(r);
    snprintf(order->before, sizeof order->before, "%s", before->model->version);
    struct snapshot *snapshot = prepare(r, &order->model, st);
    bool ok = snapshot != NULL;
    if (ok && !registry_write_activation(r, step, target, st)) {
        snapshot_release(snapshot);
        ok = false;
    }
    ok = ok && publish(r, snapshot, before, st);
    arena_rewind(r->arena, mark);
    retire(before, ok);
    if (!ok) {
        metrics_add(METRICS_COUNTER_models_refused, 1);
        log_warn("model_not_activated", "'%s' goes on answering: %s", order->before, st->message);
        return false;
    }
    order->activated = true;
    r->stand_in = false;
    r->look_again = is_default(order->model.name);
    engine_loaded_remove(r->engine, order->model.version); /* it need not be there twice */
    metrics_add(METRICS_COUNTER_models_activated, 1);
    log_info("model_activated", "model '%s' answers from now on, '%s' did before", order->model.version, order->before);
    return true;
}

static bool activate(struct registry *r, struct registry_order *order, struct status *st)
{
    struct store_activation target = {0};
    if (!store_model_find(r->reader, order->name, &order->model, st))
        return false;
    struct snapshot *active = current(r);
    snprintf(order->before, sizeof order->before, "%s", active->model->version);
    snapshot_release(active);
    if (strcmp(order->before, order->model.version) == 0 && !r->stand_in) {
        snprintf(order->kept, sizeof order->kept, "it is active already");
        return true;
    }
    if (order->if_better && !is_no_worse(r, order, order->before, st)) {
        if (order->kept[0] == '\0')
            return false;
        log_info("model_kept", "'%s' goes on answering, '%s' is worse: %s", order->before, order->model.version,
                 order->kept);
        return store_model_find(r->reader, order->before, &order->model, st);
    }
    snprintf(target.version, sizeof target.version, "%s", order->model.version);
    return switch_to(r, order, REGISTRY_STEP_FORWARD, &target, st);
}

static bool roll_back(struct registry *r, struct registry_order *order, struct status *st)
{
    struct store_activation target;
    if (!store_activation_target(r->reader, &target, st))
        return false;
    if (target.position == 0)
        return status_fail(st, STATUS_FAILED_PRECONDITION, "NO_PREVIOUS",
                           "there is no earlier activation to go back to");
    return store_model_find(r->reader, target.version, &order->model, st) &&
           switch_to(r, order, REGISTRY_STEP_BACK, &target, st);
}

/* ---- beside the active one */

static bool load(struct registry *r, struct registry_order *order, struct status *st)
{
    if (!store_model_find(r->reader, order->name, &order->model, st))
        return false;
    struct snapshot *there = engine_loaded_find(r->engine, order->model.version);
    snapshot_release(there);
    if (there != NULL)
        return true;
    struct arena_mark mark = arena_mark(r->arena);
    struct snapshot *snapshot = prepare(r, &order->model, st);
    bool ok = snapshot != NULL && engine_loaded_put(r->engine, snapshot, false, r->arena, st);
    arena_rewind(r->arena, mark);
    if (ok)
        log_info("model_loaded", "requests can name model '%s'", order->model.version);
    else
        log_warn("model_not_loaded", "'%s': %s", order->model.version, st->message);
    return ok;
}

/* by what is loaded, not by what is stored: it may have been deleted since */
static bool unload(struct registry *r, struct registry_order *order, struct status *st)
{
    struct snapshot *there = engine_loaded_find(r->engine, order->name);
    if (there != NULL)
        snprintf(order->model.version, sizeof order->model.version, "%s", there->model->version);
    snapshot_release(there);
    return (there != NULL && engine_loaded_remove(r->engine, order->model.version)) ||
           status_fail_field(st, STATUS_FAILED_PRECONDITION, "NOT_LOADED", "name",
                             "model '%.96s' is not loaded beside the active one", order->name);
}

/* ---- orders */

static void carry_out(struct registry *r, struct registry_order *order)
{
    struct status st = STATUS_INIT, fine = STATUS_INIT;
    bool ok = false;
    switch (order->kind) {
    case REGISTRY_CHECK:
        ok = registry_upload_check(r, order, &st);
        break;
    case REGISTRY_ACTIVATE:
        ok = activate(r, order, &st);
        break;
    case REGISTRY_ROLLBACK:
        ok = roll_back(r, order, &st);
        break;
    case REGISTRY_LOAD:
        ok = load(r, order, &st);
        break;
    case REGISTRY_UNLOAD:
        ok = unload(r, order, &st);
        break;
    }
    order->done(order, ok ? &fine : &st);
}

bool registry_submit(struct registry *registry, struct registry_order *order, struct status *st)
{
    if (queue_push(&registry->orders, order, sizeof *order))
        return true;
    if (queue_is_over(&registry->orders))
        return status_fail(st, STATUS_UNAVAILABLE, "DRAINING", "the daemon is stopping");
    status_fail(st, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "too many models are waiting to be checked or activated");
    st->retry_after_ms = RETRY_AFTER_MS;
    return false;
}

void registry_work(struct registry *registry, int64_t counts_position, bool items_settled)
{
    struct registry_order *order;
    registry->counts_position = counts_position;
    while ((order = queue_pop(&registry->orders, 0)) != NULL)
        carry_out(registry, order);
    tend_snapshot(registry, items_settled);
    registry_upload_expire(registry);
}

void registry_end(struct registry *registry)
{
    struct registry_order *order;
    struct status st = STATUS_INIT;
    if (registry->orders.ring == NULL)
        return;
    queue_end(&registry->orders);
    status_fail(&st, STATUS_UNAVAILABLE, "DRAINING", "the daemon is stopping");
    while ((order = queue_pop(&registry->orders, 0)) != NULL)
        order->done(order, &st);
}

/* ---- start */

/* a default model fitted now; it is the active one unless it only stands in for one that is damaged */
static struct model *first_fit(struct registry *r, struct store *store, struct status *st)
{
    struct store_model description;
    size_t size = 0;
    struct model *model = refit(r->engine, st);
    unsigned char *bytes = model == NULL ? NULL : model_write(model, &size, st);
    char *training = bytes == NULL ? NULL : stored_model_training(model);
    bool ok = training != NULL && store_begin(store, st);
    if (ok) {
        stored_model_describe(&description, model, timestamp_now_ms());
        int64_t at_ms = description.created_ms;
        ok = store_model_put(store, &description, bytes, size, st) &&
             store_model_describe(store, model->version, training, NULL, st) &&
             (r->stand_in || store_activation_replace(store, model->version, r->counts_position, at_ms, st)) &&
             store_counts_put(store, r->counts_position, at_ms, NULL, 0, st) && store_commit(store, st);
        if (!ok)
            store_rollback(store);
    }
    free(training);
    free(bytes);
    if (!ok) {
        model_release(model);
        model = NULL;
    }
    return model;
}

/* The active model. One that somebody trained is never replaced, not even when it cannot be loaded: a default model then answers in its
 * place, and the next start tries again. */
static struct model *first_model(struct registry *r, struct store *store, struct status *st)
{
    char version[97] = "";
    struct model *model = NULL;
    if (store_activation_latest(r->reader, version, st) && version[0] != '\0')
        model = stored_model_load(r->reader, version, st);
    if (model != NULL && !refit_is_due(r->engine, model))
        return model;
    if (model == NULL && st->code != STATUS_OK) {
        r->stand_in = version[0] != '\0' && !is_default_version(version);
        log_error("model_not_loaded", "the active model cannot be used, a default model takes its place: %s",
                  st->message);
    }
    model_release(model);
    *st = (struct status)STATUS_INIT;
    return first_fit(r, store, st);
}

bool registry_open(struct registry *registry, struct engine *engine, struct store *store, struct store *reader,
                   struct arena *arena, int64_t counts_position, struct status *st)
{
    *registry =
        (struct registry){.engine = engine, .reader = reader, .arena = arena, .counts_position = counts_position};
    if (!queue_init(&registry->orders, ORDERS_MAX, ORDERS_BYTES))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a queue");
    if (!registry_upload_forget(store, st))
        return false;
    struct model *model = first_model(registry, store, st);
    bool ok = model != NULL && install(registry, model, st);
    model_release(model);
    return ok;
}

void registry_start(struct registry *registry, struct writer *writer)
{
    registry->writer = writer;
}

void registry_close(struct registry *registry)
{
    queue_close(&registry->orders);
    *registry = (struct registry){0};
}
