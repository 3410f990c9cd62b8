/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/job.h"

#include "daemon/metrics.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"
#include "proto/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message in memory may take this many times its bytes on the wire: an item that is only a short id takes most. */
#define ARENA_FACTOR    32
#define ARENA_LEAST     (64u << 10)
#define SLAB_BYTES      4096 /* small pieces share a slab: the arena rounds each of its own up to a cache line */
#define PIECE_BYTES     16
#define JSON_GROWTH     8           /* its tree takes more than ten times the message */
#define REPLY_BYTES_MAX (64u << 20) /* a short request may name one large item ten thousand times */

static void bytes_free(struct job_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct job_bytes){0};
}

struct job *job_new(struct job_bytes *frames, size_t count, void (*done)(void *context, struct job *job),
                    void *done_context)
{
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        for (size_t i = 0; i < count; i++)
            bytes_free(&frames[i]);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        job_add_frame(job, &frames[i]);
    job->received_us = timestamp_monotonic_us();
    job->done = done;
    job->done_context = done_context;
    arena_init(&job->arena, job->size_bytes * ARENA_FACTOR + ARENA_LEAST);
    return job;
}

void job_add_frame(struct job *job, const struct job_bytes *frame)
{
    job->frames[job->frame_count++] = *frame;
    job->size_bytes += frame->size;
    arena_init(&job->arena, job->size_bytes * ARENA_FACTOR + ARENA_LEAST);
}

void job_free(struct job *job)
{
    if (job == NULL)
        return;
    for (size_t i = 0; i < job->frame_count; i++)
        bytes_free(&job->frames[i]);
    json_rpc_close(&job->call);
    arena_close(&job->arena);
    bytes_free(&job->routing);
    bytes_free(&job->reply_header);
    bytes_free(&job->reply_body);
    free(job);
}

/* ---- reading */

static bool open_json(struct job *job, struct status *st)
{
    const struct job_bytes *text = &job->frames[0];
    if (!json_rpc_parse(&job->call, text->data, text->size, st))
        return false;
    if (strlen(job->call.method) >= sizeof job->header.method)
        return status_fail_field(st, STATUS_UNIMPLEMENTED, "UNKNOWN_METHOD", "method", "unknown method '%s'",
                                 job->call.method);
    strcpy(job->header.method, job->call.method);
    job->header.timeout_ms = job->call.timeout_ms;
    return true;
}

static bool find_route(struct job *job, struct status *st)
{
    job->route = route_find(job->header.method);
    if (job->route != NULL)
        return true;
    const char *names[64];
    for (size_t i = 0; i < route_count; i++)
        names[i] = routes[i].method;
    const char *near = suggest(job->header.method, names, route_count);
    return status_fail_field(st, STATUS_UNIMPLEMENTED, "UNKNOWN_METHOD", "method", "unknown method '%s'%s%s%s",
                             job->header.method, near == NULL ? "" : ", did you mean '", near == NULL ? "" : near,
                             near == NULL ? "" : "'?");
}

void job_identify(struct job *job)
{
    struct status ignored = STATUS_INIT;
    if (job->frame_count == 0)
        return;
    const struct job_bytes *first = &job->frames[0];
    job->kind = json_rpc_recognise(first->data, first->size) ? ENVELOPE_JSON : ENVELOPE_PROTOBUF;
    if (job->kind == ENVELOPE_JSON)
        json_rpc_parse(&job->call, first->data, first->size, &ignored);
    else
        envelope_read_header(&job->header, &(struct frame){first->data, first->size}, &ignored);
}

bool job_open(struct job *job, uint32_t default_timeout_ms, struct status *st)
{
    struct frame frames[ENVELOPE_FRAMES_MAX];
    for (size_t i = 0; i < job->frame_count; i++)
        frames[i] = (struct frame){job->frames[i].data, job->frames[i].size};
    if (!envelope_classify(frames, job->frame_count, &job->kind, st)) {
        job_identify(job);
        return false;
    }
    bool ok = job->kind == ENVELOPE_JSON ? open_json(job, st) : envelope_read_header(&job->header, &frames[0], st);
    uint32_t timeout_ms = job->header.timeout_ms > 0 ? job->header.timeout_ms : default_timeout_ms;
    job->deadline_us = job->received_us + (int64_t)timeout_ms * 1000;
    return ok && find_route(job, st);
}

static void *arena_allocate(void *context, size_t size)
{
    struct job *job = context;
    void *piece;
    size = (size + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES;
    if (size > SLAB_BYTES / 4) {
        piece = arena_alloc(&job->arena, size);
    } else {
        if (job->slab == NULL || job->slab_used + size > SLAB_BYTES) {
            job->slab = arena_alloc(&job->arena, SLAB_BYTES);
            job->slab_used = 0;
        }
        piece = job->slab == NULL ? NULL : job->slab + job->slab_used;
        job->slab_used += size;
    }
    job->refused = job->refused || piece == NULL;
    return piece;
}

static void arena_release(void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

bool job_decode(struct job *job, struct status *st)
{
    ProtobufCAllocator allocator = {arena_allocate, arena_release, job};
    const ProtobufCMessageDescriptor *type = job->route->request_type;
    if (job->kind == ENVELOPE_JSON) {
        job->request = json_rpc_decode(job->call.params, type, &allocator, st);
        json_object_del(job->call.root, "params"); /* copied; the tree takes many times its text, and a write waits */
        job->call.params = NULL;
    } else {
        struct frame body = {job->frames[1].data, job->frames[1].size};
        job->request = envelope_unpack(type, &allocator, &job->refused, &body, st);
    }
    return job->request != NULL;
}

size_t job_attachments(const struct job *job, const struct job_bytes **attachments)
{
    *attachments = job->frames + 2;
    return job->kind == ENVELOPE_PROTOBUF && job->frame_count > 2 ? job->frame_count - 2 : 0;
}

/* ---- answering */

static void finish(struct job *job)
{
    int64_t took_us = timestamp_monotonic_us() - job->received_us;
    metrics_request(job->route == NULL ? "unknown" : job->route->method, job->status.code, (double)took_us / 1e6);
    if (job->kind == ENVELOPE_PROTOBUF)
        job->reply_header.data = envelope_write_reply_header(job->header.request_id, &job->status, (uint64_t)took_us,
                                                             &job->reply_header.size);
    job->done(job->done_context, job);
}

void job_reply(struct job *job, const ProtobufCMessage *reply)
{
    struct status st = STATUS_INIT;
    size_t size = protobuf_c_message_get_packed_size(reply);
    size_t most = job->kind == ENVELOPE_JSON ? REPLY_BYTES_MAX / JSON_GROWTH : REPLY_BYTES_MAX;
    if (size > most) {
        status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                    "a reply of %zu bytes, %zu are allowed: ask for fewer items or fields", size, most);
    } else if (job->kind == ENVELOPE_JSON) {
        json_t *result = json_rpc_encode(reply);
        job->reply_body.data = result == NULL ? NULL : json_rpc_result(job->call.id, result, &job->reply_body.size);
    } else {
        job->reply_body.data = malloc(size + 1);
        if (job->reply_body.data != NULL)
            job->reply_body.size = protobuf_c_message_pack(reply, job->reply_body.data);
    }
    if (st.code == STATUS_OK && job->reply_body.data == NULL)
        status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    if (st.code != STATUS_OK)
        job_fail(job, &st);
    else
        finish(job);
}

void job_fail(struct job *job, const struct status *st)
{
    job->status = *st;
    if (job->kind == ENVELOPE_JSON)
        job->reply_body.data = json_rpc_error(job->call.id, st, &job->reply_body.size);
    finish(job);
}
