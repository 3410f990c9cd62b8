/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/registry_write.h"

#include "daemon/log.h"
#include "daemon/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FULL_TRIES                                                                                                     \
    100 /* of a queue that is full, RETRY_US apart: what was encoded for minutes is not given up at once */
#define RETRY_US 50000

/* One task, on the stack of the thread that waits for it. */
struct change {
    struct write_task task;
    const struct store_model *model;
    const void *bytes;
    size_t size;
    const char *training_json;
    enum registry_step step;
    const struct store_activation *target;
    struct registry *registry;
    int64_t counts_position, at_ms, before_ms;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    struct status status;
};

static void change_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct change *change = task->context;
    (void)writer;
    pthread_mutex_lock(&change->lock);
    change->status = *st;
    change->is_done = true;
    pthread_cond_signal(&change->done);
    pthread_mutex_unlock(&change->lock);
}

static bool submit(struct registry *registry, struct change *change, struct status *st)
{
    for (int i = 0; i < FULL_TRIES; i++) {
        if (writer_submit(registry->writer, &change->task, st))
            return true;
        usleep(RETRY_US);
    }
    return false;
}

static bool run(struct registry *registry, struct change *change,
                bool (*write)(struct writer *writer, struct write_task *task, struct status *st), struct status *st)
{
    change->task = (struct write_task){.write = write, .done = change_done, .context = change, .rows = 1};
    change->registry = registry;
    change->counts_position = registry->counts_position;
    change->at_ms = timestamp_now_ms();
    pthread_mutex_init(&change->lock, NULL);
    pthread_cond_init(&change->done, NULL);
    bool ok = submit(registry, change, st);
    if (ok) {
        pthread_mutex_lock(&change->lock);
        while (!change->is_done)
            pthread_cond_wait(&change->done, &change->lock);
        pthread_mutex_unlock(&change->lock);
        *st = change->status;
        ok = st->code == STATUS_OK;
    }
    pthread_mutex_destroy(&change->lock);
    pthread_cond_destroy(&change->done);
    return ok;
}

/* ---- on the writer */

static bool take_step(struct writer *writer, const struct change *change, struct status *st)
{
    const char *version = change->target->version;
    bool ok = true;
    switch (change->step) {
    case REGISTRY_STEP_NONE:
        return true;
    case REGISTRY_STEP_FORWARD:
        ok = store_activation_put(writer->store, version, change->counts_position, change->at_ms, st);
        break;
    case REGISTRY_STEP_REPLACE:
        ok = store_activation_replace(writer->store, version, change->counts_position, change->at_ms, st);
        break;
    case REGISTRY_STEP_BACK:
        ok = store_activation_back(writer->store, change->target, change->counts_position, change->at_ms, st);
        break;
    }
    return ok && store_position(writer->store, &writer->position, st); /* the activation took one */
}

static bool write_fitted(struct writer *writer, struct write_task *task, struct status *st)
{
    const struct change *change = task->context;
    task->changed = true;
    return store_model_put(writer->store, change->model, change->bytes, change->size, st) &&
           store_model_describe(writer->store, change->model->version, change->training_json, NULL, st) &&
           take_step(writer, change, st);
}

/* an unknown version changes nothing: this task alone is refused */
static bool write_activation(struct writer *writer, struct write_task *task, struct status *st)
{
    return take_step(writer, task->context, st);
}

/* another order may have finished it, or its client given it up */
static bool write_finish(struct writer *writer, struct write_task *task, struct status *st)
{
    const struct change *change = task->context;
    struct store_upload upload;
    if (!store_upload_find(writer->store, change->model->sha256, &upload, st))
        return false;
    if (upload.stored)
        return true;
    if (upload.model.version[0] == '\0' || upload.received_bytes != upload.model.size_bytes)
        return status_fail(st, STATUS_ABORTED, "UPLOAD_GONE", "the upload was given up, begin again");
    task->changed = true;
    return store_upload_finish(writer->store, upload.model.version, change->at_ms, st) &&
           store_model_describe(writer->store, upload.model.version, change->training_json, NULL, st);
}

static bool write_drop(struct writer *writer, struct write_task *task, struct status *st)
{
    const struct change *change = task->context;
    return store_upload_drop(writer->store, change->target->version, st);
}

static bool write_expire(struct writer *writer, struct write_task *task, struct status *st)
{
    const struct change *change = task->context;
    int64_t dropped, uploads, models;
    if (!store_upload_expire(writer->store, change->before_ms, &dropped, st) ||
        !store_upload_count(writer->store, "", &uploads, &models, st))
        return false;
    change->registry->has_uploads = uploads > 0;
    if (dropped > 0)
        log_info("uploads_expired", "%lld uploads that nothing was heard of were given up", (long long)dropped);
    return true;
}

/* ---- for the registry */

static struct store_activation target_of(const char *version)
{
    struct store_activation target = {0};
    snprintf(target.version, sizeof target.version, "%s", version);
    return target;
}

bool registry_write_fitted(struct registry *registry, const struct store_model *model, const void *bytes, size_t size,
                           const char *training_json, enum registry_step step, struct status *st)
{
    struct store_activation target = target_of(model->version);
    struct change change = {
        .model = model, .bytes = bytes, .size = size, .training_json = training_json, .step = step, .target = &target};
    return run(registry, &change, write_fitted, st);
}

bool registry_write_activation(struct registry *registry, enum registry_step step,
                               const struct store_activation *target, struct status *st)
{
    struct change change = {.step = step, .target = target};
    return run(registry, &change, write_activation, st);
}

bool registry_write_finish(struct registry *registry, const struct store_model *model, const char *training_json,
                           struct status *st)
{
    struct change change = {.model = model, .training_json = training_json};
    return run(registry, &change, write_finish, st);
}

bool registry_write_drop(struct registry *registry, const char *version, struct status *st)
{
    struct store_activation target = target_of(version);
    struct change change = {.target = &target};
    return run(registry, &change, write_drop, st);
}

bool registry_write_expire(struct registry *registry, struct status *st)
{
    struct change change = {.before_ms = timestamp_now_ms() - registry->engine->config->model_upload_ms};
    return run(registry, &change, write_expire, st);
}
