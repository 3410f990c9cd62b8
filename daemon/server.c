/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server.h"

#include "daemon/messages.h"
#include "daemon/scenarios.h"

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/timestamp.h"
#include "daemon/worker.h"
#include "models/kernels.h"
#include "models/matrix.h"

#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define RETRY_AFTER_MS    50
#define REFUSE_PARSED_MAX (64u << 10)

/* ---- start */

static void announce(void)
{
    int major, minor, patch;
    char zmq[32];
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    const char *const labels[][2] = {{"version", RECSYSD_VERSION},
                                     {"sqlite", sqlite3_libversion()},
                                     {"zmq", zmq},
                                     {"blas", matrix_core_type()},
                                     {"kernels", kernels()->name}};
    metrics_info("build_info", labels, sizeof labels / sizeof *labels);
    log_info("start", "recsysd %s, sqlite %s, zmq %s, blas core %s, kernels %s", RECSYSD_VERSION, sqlite3_libversion(),
             zmq, matrix_core_type(), kernels()->name);
    if (matrix_core_type_is_slow())
        log_warn("slow_blas",
                 "OpenBLAS uses the core type %s although the processor has AVX-512; is OPENBLAS_CORETYPE set?",
                 matrix_core_type());
}

static bool load(struct server *server, struct status *st)
{
    const struct config *config = &server->config;
    struct store_options options = {config->storage_data_dir, strcmp(config->storage_durability, "full") == 0,
                                    config->storage_cache_bytes};
    server->store = store_open_writer(&options, st);
    if (server->store == NULL)
        return false;
    server->background_reader = store_open_reader(&options, st);
    server->catalog = catalog_new();
    server->histories = histories_new((size_t)config->storage_histories_bytes);
    if (server->background_reader == NULL)
        return false;
    if (server->catalog == NULL || server->histories == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
    engine_init(&server->engine, config, server->catalog, server->histories);
    int64_t position;
    if (!store_begin(server->store, st) || !engine_load_behaviours(&server->engine, server->store, true, st) ||
        !store_commit(server->store, st) || !catalog_load(server->catalog, server->background_reader, st) ||
        !store_position(server->store, &position, st))
        return false;
    int64_t merged;
    if (!store_merged_position(server->store, &merged, st))
        return false;
    server->engine.merged = merged;
    server->engine.committed = position;
    return background_prepare(&server->background, &server->engine, server->store, server->background_reader, st);
}

/* ---- models that experiments name */

struct loading {
    struct registry_order order;
    char name[EXPERIMENT_MODEL_BYTES + 1];
};

static void loaded(struct registry_order *order, const struct status *st)
{
    if (st->code != STATUS_OK)
        log_warn("experiment_without_model", "'%s' is not there for an experiment: %s", order->name, st->message);
    free((struct loading *)order); /* its first member */
}

/* Beside the active one, so that a restart or a changed file needs nobody's hand. Those that are there already cost nothing. */
static void load_models(struct server *server, const struct experiments *experiments)
{
    for (size_t e = 0; e < experiments_count(experiments); e++) {
        const struct experiment *experiment = experiments_at(experiments, e);
        for (size_t v = 0; v < experiment->variant_count; v++) {
            struct status st = STATUS_INIT;
            if (experiment->variants[v].model[0] == '\0')
                continue;
            struct loading *loading = calloc(1, sizeof *loading);
            if (loading == NULL)
                return;
            snprintf(loading->name, sizeof loading->name, "%s", experiment->variants[v].model);
            loading->order = (struct registry_order){.kind = REGISTRY_LOAD, .name = loading->name, .done = loaded};
            if (!background_order(&server->background, &loading->order, &st))
                loaded(&loading->order, &st);
        }
    }
}

static bool start_threads(struct server *server, struct status *st)
{
    const struct config *config = &server->config;
    served_init(&server->served, (size_t)config->server_next_bytes);
    pthread_mutex_init(&server->scenarios.lock, NULL);
    server->scenarios.now = scenarios_load(config->server_scenarios, st);
    pthread_mutex_init(&server->experiments.lock, NULL);
    if (server->scenarios.now == NULL ||
        (server->experiments.now = experiments_load(config->server_experiments, st)) == NULL ||
        (server->messages = messages_load(config->server_messages, st)) == NULL)
        return false;
    if (!queue_init(&server->queue, (size_t)config->server_queue_requests, (size_t)config->server_queue_bytes))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the queue");
    server->writer.changed = background_changed;
    server->writer.changed_context = &server->background;
    if (!writer_start(&server->writer, server->store, &server->engine, st) ||
        !background_start(&server->background, &server->writer, st))
        return false;
    load_models(server, server->experiments.now);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = config->server_workers > 0 ? (size_t)config->server_workers : cores > 0 ? (size_t)cores : 1;
    server->workers = calloc(count, sizeof *server->workers);
    if (server->workers == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for workers");
    for (; server->worker_count < count; server->worker_count++)
        if (!worker_start(&server->workers[server->worker_count], server, st)) {
            server->worker_count++;
            return false;
        }
    return true;
}

/* ---- HTTP */

static bool http_ready(void *context, char *reason, size_t size)
{
    struct server *server = context;
    if (server->draining)
        snprintf(reason, size, "draining");
    return !server->draining;
}

static void http_done(void *context, struct job *job)
{
    (void)context;
    size_t size = job->reply_body.size;
    char *text = job->reply_body.data;
    job->reply_body = (struct job_bytes){0};
    http_call_finish(job->http, text, size, job->status.code, job->status.retry_after_ms);
    job_free(job);
}

static bool http_rpc(void *context, struct http_call *call, char *body, size_t size, struct status *st)
{
    struct server *server = context;
    if (!json_rpc_recognise(body, size))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_JSON", "the body is no JSON-RPC call");
    struct job *job =
        job_new(NULL, 0, http_done, server); /* would free the body, which stays the caller's on failure */
    if (job == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
    job_add_frame(job, &(struct job_bytes){body, size});
    job->http = call;
    job->kind = ENVELOPE_JSON;
    server_submit(server, job);
    return true;
}

static bool start_http(struct server *server, struct status *st)
{
    struct http_hooks hooks = {server, http_ready, http_rpc};
    if (strcmp(server->config.server_http, "off") == 0)
        return true;
    server->http =
        http_new(server->config.server_http, (size_t)server->config.limits_frame_bytes, RECSYSD_VERSION, &hooks, st);
    if (server->http != NULL)
        log_info("listening", "http on %s, port %u", server->config.server_http, http_port(server->http));
    return server->http != NULL;
}

bool server_start(struct server *server, const struct config *config, struct status *st)
{
    memset(server, 0, sizeof *server);
    server->config = *config;
    server->started_ms = timestamp_now_ms();
    metrics_set(METRICS_GAUGE_started_timestamp_seconds, (double)server->started_ms / 1000);
    matrix_init();
    if (sodium_init() < 0)
        return status_fail(st, STATUS_INTERNAL, "SODIUM", "libsodium could not be initialised");
    announce();
    if (!load(server, st) || !start_threads(server, st) || !router_open(&server->router, server, st) ||
        !start_http(server, st)) {
        server_stop(server);
        return false;
    }
    return true;
}

void server_run(struct server *server)
{
    log_info("ready", "%zu items, %lld users, %lld events", catalog_item_count(server->catalog),
             (long long)server->writer.users, (long long)server->writer.event_total);
    notify_state("READY=1");
    router_run(&server->router);
}

/* the database is closed before the sockets: libzmq 4.3.4 may abort while closing */
void server_stop(struct server *server)
{
    server->draining = true;
    http_free(server->http);
    if (server->queue.ring != NULL)
        queue_end(&server->queue);
    for (size_t i = 0; i < server->worker_count; i++)
        worker_stop(&server->workers[i]);
    background_stop(&server->background);
    writer_stop(&server->writer);
    background_close(&server->background);
    store_close(server->background_reader);
    store_close(server->store);
    router_close(&server->router);
    if (server->engine.config != NULL)
        engine_close(&server->engine);
    histories_free(server->histories);
    served_close_all(&server->served);
    scenarios_release(server->scenarios.now);
    pthread_mutex_destroy(&server->scenarios.lock);
    experiments_release(server->experiments.now);
    pthread_mutex_destroy(&server->experiments.lock);
    messages_release(server->messages);
    catalog_free(server->catalog);
    queue_close(&server->queue);
    free(server->workers);
    memset(server, 0, sizeof *server);
}

bool server_reload(struct server *server, struct status *st)
{
    struct scenarios *scenarios = scenarios_load(server->config.server_scenarios, st);
    if (scenarios == NULL) {
        log_error("reload", "scenarios stay as they were: %s", st->message);
        return false;
    }
    struct experiments *experiments = experiments_load(server->config.server_experiments, st);
    if (experiments == NULL) {
        log_error("reload", "scenarios and experiments stay as they were: %s", st->message);
        scenarios_release(scenarios);
        return false;
    }
    log_info("reload", "%zu scenarios, %zu experiments", scenarios_count(scenarios), experiments_count(experiments));
    load_models(server, experiments);
    scenarios_slot_set(&server->scenarios, scenarios);
    experiments_slot_set(&server->experiments, experiments);
    return true;
}

void server_submit(struct server *server, struct job *job)
{
    if (queue_push(&server->queue, job, job->size_bytes)) {
        metrics_set(METRICS_GAUGE_queue_depth, (double)queue_depth(&server->queue));
        return;
    }
    struct status st = STATUS_INIT;
    const struct job_bytes *first = &job->frames[0];
    bool is_long =
        first->size > REFUSE_PARSED_MAX; /* to parse it here would hold up everybody: answered without an id */
    if (is_long)
        job->kind = json_rpc_recognise(first->data, first->size) ? ENVELOPE_JSON : ENVELOPE_PROTOBUF;
    if (is_long || job_open(job, 0, &st) || st.code == STATUS_UNIMPLEMENTED) {
        if (server->draining)
            status_fail(&st, STATUS_UNAVAILABLE, "DRAINING", "the daemon is stopping");
        else
            status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "too many requests are waiting");
        st.retry_after_ms = RETRY_AFTER_MS;
    }
    metrics_add(METRICS_COUNTER_rejected_queue_full, 1);
    job_fail(job, &st);
}
