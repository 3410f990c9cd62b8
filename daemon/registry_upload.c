/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/registry_internal.h"

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/model_fit.h"
#include "daemon/registry_write.h"
#include "daemon/stored_model.h"
#include "daemon/timestamp.h"

#include <stdlib.h>
#include <string.h>

#define EXPIRE_EVERY_US 5000000

/* ---- checking */

/* the file of a complete upload, read once to see that it is whole */
static char *check_file(struct registry *r, const struct store_model *upload, struct status *st)
{
    uint64_t available = model_fit_available(r->engine->config->model_memory_bytes);
    void *bytes = NULL;
    size_t size = 0;
    if (!model_fit_memory(upload->version, 2 * (uint64_t)upload->size_bytes, available, st) ||
        !store_upload_load(r->reader, upload->version, &bytes, &size, st))
        return NULL;
    struct model *model = stored_model_read(upload, bytes, size, st);
    char *training = model == NULL ? NULL : stored_model_training(model);
    if (model != NULL && training == NULL)
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to check a model");
    model_release(model);
    free(bytes);
    return training;
}

static bool is_files_fault(const struct status *st)
{
    return st->code == STATUS_INVALID_ARGUMENT || strcmp(st->reason, "MODEL_DAMAGED") == 0;
}

bool registry_upload_check(struct registry *r, struct registry_order *order, struct status *st)
{
    struct status drop = STATUS_INIT;
    struct store_model stored;
    if (store_model_find(r->reader, order->model.version, &stored, &drop) &&
        strcmp(stored.sha256, order->model.sha256) == 0)
        return true; /* a chunk that came twice made two orders of it */
    char *training = check_file(r, &order->model, st);
    bool ok = training != NULL && registry_write_finish(r, &order->model, training, st);
    free(training);
    if (ok) {
        metrics_add(METRICS_COUNTER_models_stored, 1);
        log_info("model_stored", "model '%s' of %lld bytes is stored", order->model.version,
                 (long long)order->model.size_bytes);
        return true;
    }
    metrics_add(METRICS_COUNTER_models_refused, 1);
    log_warn("model_refused", "'%s': %s", order->model.version, st->message);
    if (is_files_fault(st) && !registry_write_drop(r, order->model.version, &drop))
        log_warn("upload_not_dropped", "'%s': %s", order->model.version, drop.message);
    return false;
}

/* ---- dropping */

void registry_upload_expire(struct registry *registry)
{
    struct status st = STATUS_INIT;
    int64_t now_us = timestamp_monotonic_us(), upload_us = registry->engine->config->model_upload_ms * 1000;
    if (now_us - registry->expired_us < (upload_us < EXPIRE_EVERY_US ? upload_us : EXPIRE_EVERY_US) ||
        !registry->has_uploads)
        return;
    registry->expired_us = now_us;
    if (!registry_write_expire(registry, &st))
        log_warn("uploads_not_expired", "%s", st.message);
}

bool registry_upload_forget(struct store *store, struct status *st)
{
    int64_t dropped;
    if (!store_begin(store, st))
        return false;
    if (store_upload_expire(store, INT64_MAX, &dropped, st) && store_commit(store, st))
        return true;
    store_rollback(store);
    return false;
}
