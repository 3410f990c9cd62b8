/* SPDX-License-Identifier: Apache-2.0
 *
 * One request on its way through the daemon: frames as they came, the message they hold, the reply as it goes. Made by the router or the HTTP port,
 * worked on by one thread at a time, given back by job_finish. */
#ifndef RECSYS_DAEMON_JOB_H
#define RECSYS_DAEMON_JOB_H

#include "models/arena.h"
#include "proto/envelope.h"
#include "proto/json_rpc.h"

#include <protobuf-c/protobuf-c.h>

struct http_call;
struct route;

/* Bytes that a job owns. */
struct job_bytes {
    void *data; /* malloc'ed */
    size_t size;
};

struct job {
    /* where it came from */
    struct job_bytes routing; /* the peer's routing id; empty for HTTP */
    bool delimiter;           /* the peer is a REQ: it wants an empty frame before the reply */
    struct http_call *http;   /* or NULL */
    int64_t received_us;      /* monotonic */
    /* what it says */
    enum envelope_kind kind;
    struct job_bytes frames[ENVELOPE_FRAMES_MAX];
    size_t frame_count, size_bytes;
    struct envelope_header header; /* protobuf; for JSON the fields that correspond */
    struct json_rpc_call call;     /* JSON */
    const struct route *route;     /* NULL until it is known */
    int64_t deadline_us;           /* monotonic */
    struct arena arena;            /* holds the message; lives as long as the job */
    unsigned char *slab;           /* where small pieces of the message come from */
    size_t slab_used;
    bool refused; /* the arena gave out */
    ProtobufCMessage *request;
    /* what is answered */
    struct status status;
    struct job_bytes reply_header, reply_body; /* reply_header is empty for JSON */
    /* who sends it */
    void (*done)(void *context, struct job *job);
    void *done_context;
};

/* A job around `count` frames, whose data it takes over (also on failure). NULL out of memory. */
struct job *job_new(struct job_bytes *frames, size_t count, void (*done)(void *context, struct job *job),
                    void *done_context);
void job_add_frame(struct job *job, const struct job_bytes *frame); /* takes its data over */
void job_free(struct job *job);

/* Read the envelope: kind, method, ids, deadline (`default_timeout_ms` where the request names none). Finds the route; UNIMPLEMENTED / UNKNOWN_METHOD names the
 * nearest. */
bool job_open(struct job *job, uint32_t default_timeout_ms, struct status *st);

/* Find out whom to answer and how, for a message that is refused as a whole: kind, request id or JSON id, as far as they can be read. */
void job_identify(struct job *job);

/* Unpack the request message of the route into the job's arena, which may grow to a fixed multiple of the frames' size. */
bool job_decode(struct job *job, struct status *st);

/* The attachments of a protobuf request. */
size_t job_attachments(const struct job *job, const struct job_bytes **attachments);

/* Answer with a message or a failure, then hand the job to whoever sends it: the job is no longer the caller's. */
void job_reply(struct job *job, const ProtobufCMessage *reply);
void job_fail(struct job *job, const struct status *st);

#endif
