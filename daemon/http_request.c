/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http_request.h"

#include "daemon/metrics.h"
#include "proto/json_rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    BODIES_MAX = 16,         /* bodies of full size that may be on their way in together */
    DISCARD_MAX = 4,         /* of what is refused, this many bodies of full size are read all the same */
    BODY_FIRST_BYTES = 4096, /* room that a body starts with */
};

static void set_reply(struct http_call *call, unsigned http_status, const char *type, char *text, size_t size)
{
    if (size == 0) { /* the library does not free an empty text */
        free(text);
        text = NULL;
    }
    call->reply =
        (struct reply){.http_status = http_status, .text = text, .size = text == NULL ? 0 : size, .type = type};
}

/* A short answer in plain text, ended by a newline for those who use curl. */
static void set_line(struct http_call *call, unsigned http_status, const char *line)
{
    char *text;
    const int size = asprintf(&text, "%s\n", line);
    set_reply(call, http_status, "text/plain; charset=utf-8", size < 0 ? NULL : text, size < 0 ? 0 : (size_t)size);
}

static void answer_alive(struct http_call *call)
{
    set_line(call, MHD_HTTP_OK, "alive");
}

static void answer_ready(struct http_call *call)
{
    const struct http_hooks *hooks = &call->http->hooks;
    char reason[128] = "not ready";
    if (http_is_draining(call->http))
        set_line(call, MHD_HTTP_SERVICE_UNAVAILABLE, "draining");
    else if ((call->said_ready = hooks->ready(hooks->context, reason, sizeof reason)))
        set_line(call, MHD_HTTP_OK, "ready");
    else
        set_line(call, MHD_HTTP_SERVICE_UNAVAILABLE, reason);
}

static void answer_metrics(struct http_call *call)
{
    size_t size = 0;
    char *text = metrics_render(&size);
    if (text == NULL)
        set_line(call, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    else
        set_reply(call, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, size);
}

static void answer_version(struct http_call *call)
{
    set_line(call, MHD_HTTP_OK, call->http->version);
}

static const struct route {
    const char *path;
    void (*answer)(struct http_call *call); /* GET and HEAD; NULL: takes POST and has the body */
} ROUTES[] = {
    {"/livez", answer_alive},     {"/readyz", answer_ready},    {"/healthz", answer_ready},
    {"/metrics", answer_metrics}, {"/version", answer_version}, {"/rpc", NULL},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof ROUTES / sizeof ROUTES[0]; i++)
        if (strcmp(ROUTES[i].path, path) == 0)
            return &ROUTES[i];
    return NULL;
}

bool http_call_is_rpc(const struct http_call *call)
{
    return call->route != NULL && call->route->answer == NULL;
}

static unsigned http_status_of(enum status_code code)
{
    switch (code) {
    case STATUS_OK:
        return MHD_HTTP_OK;
    case STATUS_INVALID_ARGUMENT:
        return MHD_HTTP_BAD_REQUEST;
    case STATUS_UNAUTHENTICATED:
        return MHD_HTTP_UNAUTHORIZED;
    case STATUS_PERMISSION_DENIED:
        return MHD_HTTP_FORBIDDEN;
    case STATUS_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case STATUS_ALREADY_EXISTS:
    case STATUS_ABORTED:
        return MHD_HTTP_CONFLICT;
    case STATUS_FAILED_PRECONDITION:
        return MHD_HTTP_PRECONDITION_FAILED;
    case STATUS_RESOURCE_EXHAUSTED:
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case STATUS_UNIMPLEMENTED:
        return MHD_HTTP_NOT_IMPLEMENTED;
    case STATUS_UNAVAILABLE:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case STATUS_DEADLINE_EXCEEDED:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    case STATUS_INTERNAL:
    case STATUS_DATA_LOSS:
        break;
    }
    return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static void drop_body(struct http_call *call)
{
    call->http->incoming_bytes -= call->body_room;
    free(call->body);
    call->body = NULL;
    call->body_size = call->body_room = 0;
}

/* Decide on a refusal: JSON-RPC for those who call, plain text for the rest. */
static void refuse(struct http_call *call, unsigned http_status, const struct status *st)
{
    drop_body(call);
    if (!http_call_is_rpc(call)) {
        set_line(call, http_status, st->message);
        return;
    }
    size_t size = 0;
    char *text = json_rpc_error(NULL, st, &size);
    set_reply(call, http_status, "application/json", text, size);
    call->reply.retry_after_ms = st->retry_after_ms;
}

/* A refusal before there was a call that the daemon could count. */
static void refuse_message(struct http_call *call, unsigned http_status, const struct status *st)
{
    refuse(call, http_status, st);
    if (http_call_is_rpc(call))
        metrics_add(METRICS_COUNTER_frames_malformed, 1);
}

static void refuse_too_large(struct http_call *call)
{
    struct status st = STATUS_INIT;
    status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "body of more than %zu bytes", call->http->body_max);
    refuse_message(call, MHD_HTTP_CONTENT_TOO_LARGE, &st);
}

static const char *header_of(const struct http_call *call, const char *name)
{
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

static bool is_json_type(const char *type)
{
    if (type == NULL)
        return false;
    const size_t length = strcspn(type, "; \t");
    return (length == 16 && strncasecmp(type, "application/json", length) == 0) ||
           (length == 9 && strncasecmp(type, "text/json", length) == 0);
}

/* Size that the header announces; 0 when it does not. Its syntax has been checked by the library. */
static unsigned long long announced_bytes(const struct http_call *call)
{
    const char *length = header_of(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length == NULL ? 0 : strtoull(length, NULL, 10);
}

/* A web page must not be able to use a visitor's browser to reach this port. A browser names the page in Origin;
 * where it would not (a form, an image), it cannot send JSON. */
static bool check_page(struct http_call *call)
{
    struct status st = STATUS_INIT;
    if (header_of(call, MHD_HTTP_HEADER_ORIGIN) == NULL)
        return true;
    status_fail(&st, STATUS_PERMISSION_DENIED, "ORIGIN", "requests from web pages are not served");
    refuse_message(call, MHD_HTTP_FORBIDDEN, &st);
    return false;
}

static bool check_method(struct http_call *call, const char *method)
{
    struct status st = STATUS_INIT;
    const bool is_read = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (call->route == NULL) {
        status_fail(&st, STATUS_NOT_FOUND, "NO_PATH", "no such path");
        refuse(call, MHD_HTTP_NOT_FOUND, &st);
        return false;
    }
    if (http_call_is_rpc(call) ? strcmp(method, MHD_HTTP_METHOD_POST) == 0 : is_read)
        return true;
    const char *allow = http_call_is_rpc(call) ? "POST" : "GET, HEAD";
    status_fail(&st, STATUS_UNIMPLEMENTED, "BAD_METHOD", "'%s' takes %s", call->route->path, allow);
    refuse(call, MHD_HTTP_METHOD_NOT_ALLOWED, &st);
    call->reply.allow = allow;
    return false;
}

static void check_body(struct http_call *call)
{
    struct status st = STATUS_INIT;
    if (!http_call_is_rpc(call))
        return;
    if (!is_json_type(header_of(call, MHD_HTTP_HEADER_CONTENT_TYPE))) {
        status_fail(&st, STATUS_INVALID_ARGUMENT, "BAD_TYPE", "content-type must be application/json");
        refuse_message(call, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, &st);
    } else if (announced_bytes(call) > call->http->body_max) {
        refuse_too_large(call);
    }
}

/* Room for `size` more bytes. It grows with what has arrived, never by what was announced, and all bodies on their
 * way in share one limit: 256 connections of body_max each would be too much. */
static bool grow_body(struct http_call *call, size_t size)
{
    struct http *http = call->http;
    const size_t needed = call->body_size + size; /* at most body_max, see http_call_receive */
    if (needed <= call->body_room)
        return true;
    size_t room = call->body_room < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : call->body_room;
    while (room < needed)
        room *= 2;
    if (room > http->body_max)
        room = http->body_max;
    if (http->incoming_bytes + (room - call->body_room) > http->body_max * BODIES_MAX)
        return false;
    char *body = realloc(call->body, room);
    if (body == NULL)
        return false;
    http->incoming_bytes += room - call->body_room;
    call->body = body;
    call->body_room = room;
    return true;
}

/* A part of a body. What is refused is read to its end all the same, because a peer that is still writing would not
 * see the reply; within reason. */
bool http_call_receive(struct http_call *call, const char *data, size_t size)
{
    struct status st = STATUS_INIT;
    if (http_call_is_rpc(call) && call->reply.http_status == 0) {
        if (size > call->http->body_max - call->body_size) {
            refuse_too_large(call);
        } else if (grow_body(call, size)) {
            memcpy(call->body + call->body_size, data, size);
            call->body_size += size;
            return true;
        } else {
            status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "BUSY", "too many bodies on their way in");
            st.retry_after_ms = 1000;
            refuse_message(call, MHD_HTTP_TOO_MANY_REQUESTS, &st);
        }
    }
    call->discarded_bytes += size;
    return call->discarded_bytes <= call->http->body_max * DISCARD_MAX;
}

static bool add_headers(struct MHD_Response *response, const struct reply *reply, bool last)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", reply->retry_after_ms / 1000 + (reply->retry_after_ms % 1000 != 0));
    return MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type) == MHD_YES &&
           MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
           MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
           (reply->allow == NULL ||
            MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow) == MHD_YES) &&
           (reply->retry_after_ms == 0 ||
            MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds) == MHD_YES) &&
           (!last || MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES);
}

enum MHD_Result http_call_send(struct http_call *call)
{
    struct reply *reply = &call->reply;
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->size, reply->text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO; /* hangs up; http_call_free frees the text */
    reply->text = NULL;
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, reply, !call->said_ready && http_is_draining(call->http)))
        result = MHD_queue_response(call->connection, reply->http_status, response);
    MHD_destroy_response(response);
    return result;
}

bool http_call_answer_now(const struct http_call *call)
{
    return call->reply.http_status != 0 && (header_of(call, MHD_HTTP_HEADER_EXPECT) != NULL ||
                                            announced_bytes(call) > call->http->body_max * DISCARD_MAX);
}

char *http_call_take_body(struct http_call *call, size_t *size)
{
    char *body = call->body != NULL ? call->body : calloc(1, 1);
    if (body == NULL)
        return NULL;
    *size = call->body_size;
    call->body = NULL;
    drop_body(call);
    return body;
}

void http_call_answer(struct http_call *call)
{
    call->route->answer(call);
}

void http_call_set_result(struct http_call *call, char *text, size_t size, enum status_code code,
                          uint32_t retry_after_ms)
{
    const unsigned http_status = text == NULL ? MHD_HTTP_INTERNAL_SERVER_ERROR : http_status_of(code);
    set_reply(call, http_status, "application/json", text, size);
    call->reply.retry_after_ms = retry_after_ms;
}

void http_call_refuse(struct http_call *call, const struct status *st)
{
    refuse(call, http_status_of(st->code), st);
}

struct http_call *http_call_new(struct http *http, struct MHD_Connection *connection, const char *path,
                                const char *method)
{
    struct http_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->http = http;
    call->connection = connection;
    call->route = find_route(path);
    if (check_page(call) && check_method(call, method))
        check_body(call);
    return call;
}

void http_call_free(struct http_call *call)
{
    if (call == NULL)
        return;
    drop_body(call);
    free(call->reply.text);
    free(call);
}
