/* SPDX-License-Identifier: Apache-2.0
 *
 * model.put: a model file, chunk by chunk. The worker checks a chunk by itself, the writer compares it with what came before and stores it, and after
 * the last one the background thread reads the whole file once; only then it is a model. Any chunk may be sent again. */
#include "daemon/handle_model.h"

#include "daemon/model_report.h"
#include "daemon/routes.h"
#include "daemon/stored_model.h"
#include "daemon/timestamp.h"
#include "models/default_model.h"

#include <stdio.h>
#include <string.h>

#define UPLOADS_MAX    4
#define CHUNK_LEAST    (16u << 10) /* but for the last: bounds the number of parts */
#define SHA256_DIGITS  64
#define RETRY_AFTER_MS 1000

struct put {
    struct registry_order order; /* to check the file */
    struct write_task task;
    struct job *job;
    struct server *server;
    const char *name, *report; /* the report "" where there is none */
    char sha256[SHA256_DIGITS + 1];
    int64_t total, offset, now_ms;
    const void *data;
    size_t size;
    struct store_upload upload; /* as it is after the chunk; version "" before the first */
};

/* ---- on the worker */

static bool bad(struct status *st, const char *reason, const char *field, const char *what)
{
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, reason, field, "%s", what);
}

/* in lower case, as everything else writes it */
static bool read_sha256(struct put *put, const char *text, struct status *st)
{
    if (strlen(text) != SHA256_DIGITS || strspn(text, "0123456789abcdefABCDEF") != SHA256_DIGITS)
        return bad(st, "BAD_SHA256", "sha256", "'sha256' is not the 64 hexadecimal digits of the file's SHA-256");
    for (size_t i = 0; i <= SHA256_DIGITS; i++)
        put->sha256[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    return true;
}

/* the chunk is in `data` or in an attachment */
static bool find_chunk(struct put *put, const Recsys__ModelPutRequest *r, struct status *st)
{
    const struct job_bytes *attachments;
    size_t count = job_attachments(put->job, &attachments);
    if (count > 1 || (count == 1 && r->data.len > 0))
        return bad(st, "TOO_MANY", "data", "a chunk comes in 'data' or in one attachment");
    put->data = count == 1 ? attachments[0].data : r->data.data;
    put->size = count == 1 ? attachments[0].size : r->data.len;
    return true;
}

static bool check_sizes(const struct put *put, const struct config *config, struct status *st)
{
    if (put->total < 1)
        return bad(st, "OUT_OF_RANGE", "total", "'total' is not the size of a file");
    if (put->total > config->model_max_bytes)
        return status_fail_field(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "total",
                                 "a model file of %lld bytes, %lld are allowed", (long long)put->total,
                                 (long long)config->model_max_bytes);
    if (put->offset < 0 || put->offset > put->total || (int64_t)put->size > put->total - put->offset)
        return bad(st, "OUT_OF_RANGE", "offset", "the chunk lies outside the file");
    bool last = put->offset + (int64_t)put->size == put->total;
    if (put->size > STORE_MODEL_PART_MAX || (put->size > 0 && put->size < CHUNK_LEAST && !last))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "data",
                                 "a chunk of %zu bytes, from %u to %u are allowed, the last may be shorter", put->size,
                                 CHUNK_LEAST, STORE_MODEL_PART_MAX);
    return true;
}

static bool check_report(const struct put *put, struct status *st)
{
    if (put->report[0] == '\0')
        return true;
    json_t *report = model_report_parse(put->report, put->sha256, st);
    json_decref(report);
    return report != NULL;
}

/* ---- on the writer */

/* the first chunk of a file that is new */
static bool begin(struct writer *writer, struct write_task *task, struct put *put, struct status *st)
{
    const struct config *config = writer->engine->config;
    struct store_model model = {.created_ms = put->now_ms, .size_bytes = put->total};
    int64_t dropped, uploads, models;
    if (put->offset != 0)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "BAD_OFFSET", "offset",
                                 "nothing of this file is here: the upload begins at 0");
    if (strcmp(put->name, DEFAULT_MODEL_NAME) == 0)
        return bad(st, "BAD_NAME", "name", "'" DEFAULT_MODEL_NAME "' is the model that the daemon fits by itself");
    if (!store_upload_expire(writer->store, put->now_ms - config->model_upload_ms, &dropped, st) ||
        !store_upload_count(writer->store, DEFAULT_MODEL_NAME, &uploads, &models, st))
        return false;
    if (uploads >= UPLOADS_MAX) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "UPLOADS_FULL", "%lld model files are being uploaded, %d may be",
                    (long long)uploads, UPLOADS_MAX);
        st->retry_after_ms = RETRY_AFTER_MS;
        return false;
    }
    if (uploads + models >= config->model_stored)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY",
                           "the shop has %lld models, %lld are allowed: delete one",
                           (long long)uploads + (long long)models, (long long)config->model_stored);
    snprintf(model.name, sizeof model.name, "%s", put->name);
    snprintf(model.sha256, sizeof model.sha256, "%s", put->sha256);
    stored_model_version(model.version, model.name, model.sha256);
    if (!store_upload_begin(writer->store, &model, st))
        return false;
    task->changed = true;
    put->server->background.registry.has_uploads = true;
    put->upload = (struct store_upload){.model = model};
    return true;
}

/* does the chunk continue what is here, or repeat it? */
static bool check_place(const struct put *put, struct status *st)
{
    int64_t received = put->upload.received_bytes, end = put->offset + (int64_t)put->size;
    if (put->upload.model.size_bytes != put->total)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "total",
                                 "the file with this SHA-256 has %lld bytes", (long long)put->upload.model.size_bytes);
    if (put->size == 0 || put->offset == received || end <= received)
        return true;
    return status_fail_field(st, STATUS_FAILED_PRECONDITION, "BAD_OFFSET", "offset", "the upload goes on at %lld",
                             (long long)received);
}

static bool write_chunk(struct writer *writer, struct write_task *task, struct status *st)
{
    struct put *put = task->context;
    if (!store_upload_find(writer->store, put->sha256, &put->upload, st))
        return false;
    bool known = put->upload.model.version[0] != '\0';
    if (!known && put->size == 0)
        return true; /* only a question */
    if (!known && !begin(writer, task, put, st))
        return false;
    if (!check_place(put, st))
        return false;
    task->changed = true;
    if (put->size > 0 && put->offset == put->upload.received_bytes) {
        if (!store_upload_append(writer->store, put->sha256, put->data, put->size, put->now_ms, st))
            return false;
        put->upload.received_bytes += (int64_t)put->size;
    }
    return put->report[0] == '\0' ||
           store_model_describe(writer->store, put->upload.model.version, NULL, put->report, st);
}

/* ---- answering */

static void reply_put(const struct put *put)
{
    Recsys__ModelPutReply reply = RECSYS__MODEL_PUT_REPLY__INIT;
    char version[97];
    bool known = put->upload.model.version[0] != '\0';
    stored_model_version(version, put->name, put->sha256);
    reply.name = known ? (char *)put->upload.model.name : (char *)put->name;
    reply.version = known ? (char *)put->upload.model.version : version;
    reply.sha256 = (char *)put->sha256;
    reply.received = put->upload.received_bytes;
    reply.total = put->total;
    reply.complete = put->upload.stored;
    job_reply(put->job, &reply.base);
}

/* on the background thread */
static void checked(struct registry_order *order, const struct status *st)
{
    struct put *put = (struct put *)(void *)order; /* its first member */
    put->upload.stored = true;
    if (st->code == STATUS_OK)
        reply_put(put);
    else
        job_fail(put->job, st);
}

static void chunk_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct put *put = task->context;
    struct status refused = STATUS_INIT;
    (void)writer;
    if (st->code != STATUS_OK) {
        job_fail(put->job, st);
    } else if (put->upload.stored || put->upload.received_bytes < put->total) {
        reply_put(put);
    } else {
        put->order = (struct registry_order){.kind = REGISTRY_CHECK, .model = put->upload.model, .done = checked};
        if (!background_order(&put->server->background, &put->order, &refused))
            job_fail(put->job, &refused);
    }
}

bool handle_model_put(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ModelPutRequest *r = (const Recsys__ModelPutRequest *)job->request;
    struct put *put = arena_alloc(&job->arena, sizeof *put);
    if (put == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                           "the request needs more memory than one may take");
    *put = (struct put){.job = job,
                        .server = handler->server,
                        .name = r->name,
                        .report = r->report,
                        .total = r->total,
                        .offset = r->offset,
                        .now_ms = timestamp_now_ms()};
    if (!model_check_name(r->name, st) || !read_sha256(put, r->sha256, st) || !find_chunk(put, r, st) ||
        !check_sizes(put, &handler->server->config, st) || !check_report(put, st))
        return false;
    put->task = (struct write_task){
        .write = write_chunk, .done = chunk_done, .context = put, .rows = 1, .size_bytes = job->size_bytes};
    return writer_submit(&handler->server->writer, &put->task, st);
}
