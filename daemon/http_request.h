/* SPDX-License-Identifier: Apache-2.0
 *
 * One request on the HTTP port, from its headers to its reply. Part of http.c, not of its interface. Everything
 * here runs on the HTTP thread, except http_call_set_result and http_is_draining. */
#ifndef RECSYS_DAEMON_HTTP_REQUEST_H
#define RECSYS_DAEMON_HTTP_REQUEST_H

#include "daemon/http.h"

#include <microhttpd.h>
#include <pthread.h>

struct http {
    struct MHD_Daemon *daemon;
    struct http_hooks hooks;
    char *version;
    size_t body_max;       /* bytes */
    size_t incoming_bytes; /* room taken by bodies that are not handed over; HTTP thread only */
    pthread_mutex_t lock;
    pthread_cond_t calls_changed;
    bool draining;   /* guarded by lock */
    unsigned owned;  /* guarded by lock: calls that their owner has not finished */
    unsigned unsent; /* guarded by lock: those, and calls whose reply is not yet with the peer */
};

struct reply {
    unsigned http_status; /* 0: not decided */
    char *text;           /* malloc'ed; NULL when empty */
    size_t size;
    const char *type;
    const char *allow; /* of a 405, else NULL */
    uint32_t retry_after_ms;
};

/* One request, whatever its path. The HTTP thread owns it, but between hooks.rpc and http_call_finish the reply is its
 * owner's; MHD_resume_connection hands it back. */
struct http_call {
    struct http *http;
    struct MHD_Connection *connection;
    const struct route *route; /* NULL: no such path */
    char *body;
    size_t body_size, body_room, discarded_bytes;
    bool taken;      /* counted in http->unsent */
    bool said_ready; /* before draining began: does not hang up, the next reply does */
    struct reply reply;
};

/* A request whose headers are in; refused already (reply.http_status is set) where they show that it must be. NULL
 * out of memory. */
struct http_call *http_call_new(struct http *http, struct MHD_Connection *connection, const char *path,
                                const char *method);

/* NULL is fine. */
void http_call_free(struct http_call *call);

/* True for POST /rpc. */
bool http_call_is_rpc(const struct http_call *call);

/* True when a refusal should not wait for the body to pass by. */
bool http_call_answer_now(const struct http_call *call);

/* A part of the body. False: hang up. */
bool http_call_receive(struct http_call *call, const char *data, size_t size);

/* Take the body out; malloc'ed also when it is empty. NULL out of memory. */
char *http_call_take_body(struct http_call *call, size_t *size);

/* Decide on the reply: of a GET; of a call that was finished (`text` is consumed); of one that was refused. */
void http_call_answer(struct http_call *call);
void http_call_set_result(struct http_call *call, char *text, size_t size, enum status_code code,
                          uint32_t retry_after_ms);
void http_call_refuse(struct http_call *call, const struct status *st);

/* Hand the decided reply to the library. */
enum MHD_Result http_call_send(struct http_call *call);

/* True once http_free has begun. */
bool http_is_draining(struct http *http);

#endif
