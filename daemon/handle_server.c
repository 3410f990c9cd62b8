/* SPDX-License-Identifier: Apache-2.0
 *
 * ping, server.info, status. */
#include "daemon/handler.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"
#include "models/kernels.h"
#include "models/matrix.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

bool handle_ping(struct handler *handler, struct job *job, struct status *st)
{
    (void)handler;
    (void)st;
    const Recsys__PingRequest *request = (const Recsys__PingRequest *)job->request;
    Recsys__PingReply reply = RECSYS__PING_REPLY__INIT;
    reply.text = request->text;
    reply.now_ms = timestamp_now_ms();
    job_reply(job, &reply.base);
    return true;
}

/* ---- server.info */

/* the limits, one list for the reply */
static size_t list_limits(const struct config *c, Recsys__Limit *limits, Recsys__Limit **pointers)
{
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"n", c->limits_list},
                {"ranked", c->limits_ranked},
                {"exclude", c->limits_exclude},
                {"batch", c->limits_batch},
                {"frame_bytes", c->limits_frame_bytes},
                {"id_bytes", c->limits_id_bytes},
                {"attributes_bytes", c->limits_attributes_bytes},
                {"modalities", c->limits_modalities},
                {"dimension", c->limits_dimension},
                {"history", c->model_history},
                {"model_bytes", c->model_max_bytes},
                {"models", c->model_stored},
                {"future_ms", c->limits_future_ms}};
    size_t count = sizeof rows / sizeof *rows;
    for (size_t i = 0; i < count; i++) {
        recsys__limit__init(&limits[i]);
        limits[i].key = (char *)rows[i].key;
        limits[i].value = rows[i].value;
        pointers[i] = &limits[i];
    }
    return count;
}

static size_t list_behaviours(const struct config *config, Recsys__Behaviour *behaviours, Recsys__Behaviour **pointers)
{
    for (size_t i = 0; i < config->behaviour_count; i++) {
        recsys__behaviour__init(&behaviours[i]);
        behaviours[i].key = (char *)config->behaviours[i].name;
        behaviours[i].value = config->behaviours[i].weight;
        pointers[i] = &behaviours[i];
    }
    return config->behaviour_count;
}

bool handle_server_info(struct handler *handler, struct job *job, struct status *st)
{
    (void)st;
    const struct config *config = &handler->server->config;
    Recsys__ServerInfoReply reply = RECSYS__SERVER_INFO_REPLY__INIT;
    Recsys__Limit limits[16], *limit_pointers[16];
    Recsys__Behaviour behaviours[CONFIG_BEHAVIOURS_MAX], *behaviour_pointers[CONFIG_BEHAVIOURS_MAX];
    Recsys__Library libraries[4], *library_pointers[4];
    char *methods[64], zmq[32];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    const char *const versions[][2] = {
        {"sqlite", sqlite3_libversion()}, {"zmq", zmq}, {"blas", matrix_core_type()}, {"kernels", kernels()->name}};
    for (size_t i = 0; i < 4; i++) {
        recsys__library__init(&libraries[i]);
        libraries[i].key = (char *)versions[i][0];
        libraries[i].value = (char *)versions[i][1];
        library_pointers[i] = &libraries[i];
    }
    for (size_t i = 0; i < route_count; i++)
        methods[i] = (char *)routes[i].method;
    reply.name = SERVER_NAME;
    reply.version = RECSYSD_VERSION;
    reply.protocol = ENVELOPE_VERSION;
    reply.n_methods = route_count;
    reply.methods = methods;
    reply.n_limits = list_limits(config, limits, limit_pointers);
    reply.limits = limit_pointers;
    reply.n_behaviours = list_behaviours(config, behaviours, behaviour_pointers);
    reply.behaviours = behaviour_pointers;
    reply.n_libraries = 4;
    reply.libraries = library_pointers;
    job_reply(job, &reply.base);
    return true;
}

/* ---- status */

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static bool in_model(const struct model *model, const struct store_space *space)
{
    for (int i = 0; i < model->architecture.view_count; i++)
        if (strcmp(model->architecture.views[i].modality, space->modality) == 0 &&
            strcmp(model->architecture.views[i].encoder, space->encoder) == 0)
            return true;
    return false;
}

static bool list_coverage(struct handler *handler, const struct model *model, Recsys__StatusReply *reply)
{
    struct catalog_space *spaces = handler_alloc(handler, CATALOG_SPACES_MAX * sizeof *spaces);
    Recsys__Coverage *rows = handler_alloc(handler, CATALOG_SPACES_MAX * sizeof *rows);
    reply->features = handler_alloc(handler, CATALOG_SPACES_MAX * sizeof *reply->features);
    if (spaces == NULL || rows == NULL || reply->features == NULL)
        return false;
    reply->n_features = catalog_spaces(handler->server->catalog, spaces);
    for (size_t i = 0; i < reply->n_features; i++) {
        recsys__coverage__init(&rows[i]);
        rows[i].modality = spaces[i].space.modality;
        rows[i].encoder = spaces[i].space.encoder;
        rows[i].dimension = spaces[i].space.dimension;
        rows[i].items = (int64_t)spaces[i].item_count;
        rows[i].in_model = in_model(model, &spaces[i].space);
        reply->features[i] = &rows[i];
    }
    return true;
}

bool handle_status(struct handler *handler, struct job *job, struct status *st)
{
    struct server *server = handler->server;
    Recsys__StatusReply reply = RECSYS__STATUS_REPLY__INIT;
    struct store_sizes sizes;
    struct snapshot *snapshot;
    struct counts_view *counts;
    size_t rows, dead, users, bytes;
    if (!store_sizes(handler->worker.reader, &sizes, st))
        return false;
    engine_acquire(&server->engine, &snapshot, &counts);
    snapshot_size(snapshot, &rows, &dead);
    histories_size(server->histories, &users, &bytes);
    reply.state = server->draining ? "draining" : server->writer.writable ? "ready" : "read-only";
    reply.users = sizes.users;
    reply.items = (int64_t)catalog_item_count(server->catalog);
    reply.events = sizes.events;
    reply.model = snapshot->model->version;
    reply.counts = position_text(&job->arena, counts->position);
    reply.seq = position_text(&job->arena, server->engine.committed);
    reply.catalogue = position_text(&job->arena, catalog_position(server->catalog));
    reply.uptime_ms = timestamp_now_ms() - server->started_ms;
    reply.queue_depth = (int64_t)queue_depth(&server->queue);
    reply.database_bytes = sizes.database_bytes;
    reply.wal_bytes = sizes.wal_bytes;
    reply.resident_bytes = resident_bytes();
    reply.snapshot_rows = (int64_t)rows;
    reply.snapshot_dead = (int64_t)dead;
    reply.cached_histories = (int64_t)users;
    bool ok = reply.counts != NULL && reply.seq != NULL && reply.catalogue != NULL &&
              list_coverage(handler, snapshot->model, &reply);
    if (ok)
        job_reply(job, &reply.base);
    snapshot_release(snapshot);
    counts_view_release(counts);
    return ok || out_of_memory(st);
}
