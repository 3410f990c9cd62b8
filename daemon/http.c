/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http.h"

#include "daemon/http_request.h"
#include "daemon/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    CONNECTIONS_MAX = 256,
    IDLE_SECONDS = 30,
    LINGER_SECONDS = 2, /* how long http_free lets peers read the last replies */
};

bool http_is_draining(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    const bool draining = http->draining;
    pthread_mutex_unlock(&http->lock);
    return draining;
}

/* Count the call in, unless the port is closing. */
static bool take(struct http_call *call)
{
    struct http *http = call->http;
    pthread_mutex_lock(&http->lock);
    call->taken = !http->draining;
    http->owned += call->taken;
    http->unsent += call->taken;
    pthread_mutex_unlock(&http->lock);
    return call->taken;
}

static void release_owner(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    http->owned--;
    pthread_cond_broadcast(&http->calls_changed);
    pthread_mutex_unlock(&http->lock);
}

/* Give the call to the daemon. The connection is suspended first: the owner may finish, and resume, before the hook
 * is back. */
static enum MHD_Result hand_over(struct http_call *call)
{
    struct http *http = call->http;
    struct status st = STATUS_INIT;
    size_t size = 0;
    char *body = http_call_take_body(call, &size);
    if (body == NULL)
        return MHD_NO;
    if (!take(call)) {
        free(body);
        status_fail(&st, STATUS_UNAVAILABLE, "DRAINING", "the server is shutting down");
        http_call_refuse(call, &st);
        return http_call_send(call);
    }
    MHD_suspend_connection(call->connection);
    if (http->hooks.rpc(http->hooks.context, call, body, size, &st))
        return MHD_YES;
    free(body);
    http_call_refuse(call, &st);
    MHD_resume_connection(call->connection);
    release_owner(http);
    return MHD_YES;
}

void http_call_finish(struct http_call *call, char *text, size_t size, enum status_code code, uint32_t retry_after_ms)
{
    struct http *http = call->http;
    http_call_set_result(call, text, size, code, retry_after_ms);
    MHD_resume_connection(call->connection); /* from here on the call may be gone */
    release_owner(http);
}

/* The library calls this with the headers, with each part of the body, at the end of the body, and again after a call
 * that was suspended has been resumed. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *data_size,
                                  void **slot)
{
    (void)version;
    struct http_call *call = *slot;
    if (call == NULL) {
        *slot = call = http_call_new(context, connection, path, method);
        if (call == NULL)
            return MHD_NO;
        return http_call_answer_now(call) ? http_call_send(call) : MHD_YES;
    }
    if (*data_size > 0) {
        const bool go_on = http_call_receive(call, data, *data_size);
        *data_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (call->reply.http_status == 0) {
        if (http_call_is_rpc(call))
            return hand_over(call);
        http_call_answer(call);
    }
    return http_call_send(call);
}

/* The reply is with the kernel, or the connection is lost. */
static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode how)
{
    (void)connection;
    struct http *http = context;
    struct http_call *call = *slot;
    *slot = NULL;
    if (call != NULL && call->taken) {
        if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
            metrics_add(METRICS_COUNTER_replies_dropped, 1);
        pthread_mutex_lock(&http->lock);
        http->unsent--;
        pthread_cond_broadcast(&http->calls_changed);
        pthread_mutex_unlock(&http->lock);
    }
    http_call_free(call);
}

/* getaddrinfo would take 70000 for 4464. */
static bool is_port(const char *text)
{
    const size_t length = strlen(text);
    return length >= 1 && length <= 5 && strspn(text, "0123456789") == length && strtoul(text, NULL, 10) <= UINT16_MAX;
}

/* Take "host:port" or "[host]:port" apart. */
static struct addrinfo *resolve(const char *address, struct status *st)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(address, ':');
    const bool bracketed = address[0] == '[' && colon != NULL && colon[-1] == ']';
    const char *start = bracketed ? address + 1 : address;
    char host[256];
    if (colon == NULL || colon == address || !is_port(colon + 1) || (size_t)(colon - start) >= sizeof host ||
        (!bracketed && memchr(start, ':', (size_t)(colon - start)) != NULL)) {
        status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "listen on '%s': not 'host:port'", address);
        return NULL;
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - start - bracketed), start);
    const int error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error != 0) {
        status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "listen on '%s': %s", address, gai_strerror(error));
        return NULL;
    }
    return found;
}

/* The strict mode makes the library refuse HTTP/1.1 without Host, and blanks where they do not belong. */
static bool start(struct http *http, const char *address, struct status *st)
{
    struct addrinfo *at = resolve(address, st);
    if (at == NULL)
        return false;
    const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                           (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0u);
    errno = 0;
    http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR, at->ai_addr,
                                    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT,
                                    1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_END);
    const int error = errno;
    freeaddrinfo(at);
    if (http->daemon == NULL)
        return status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "listen on '%s': %s", address,
                           error != 0 ? strerror(error) : "the HTTP library gives no reason");
    return true;
}

struct http *http_new(const char *address, size_t body_max, const char *version, const struct http_hooks *hooks,
                      struct status *st)
{
    struct http *http = calloc(1, sizeof *http);
    pthread_condattr_t monotonic;
    if (http == NULL || (http->version = strdup(version)) == NULL) {
        free(http);
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "listen on '%s': out of memory", address);
        return NULL;
    }
    http->hooks = *hooks;
    http->body_max = body_max < SIZE_MAX / 64 ? body_max : SIZE_MAX / 64; /* so that small multiples cannot overflow */
    pthread_mutex_init(&http->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&http->calls_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start(http, address, st))
        return http;
    http_free(http);
    return NULL;
}

unsigned http_port(const struct http *http)
{
    return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

/* The library aborts the process when it is stopped with a suspended connection, so every owner must have finished
 * first. Peers then get a moment to read their replies, but one that does not read cannot hold the shutdown up. */
static void wait_for_calls(struct http *http)
{
    struct timespec deadline;
    pthread_mutex_lock(&http->lock);
    http->draining = true;
    while (http->owned > 0)
        pthread_cond_wait(&http->calls_changed, &http->lock);
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += LINGER_SECONDS;
    while (http->unsent > 0 && pthread_cond_timedwait(&http->calls_changed, &http->lock, &deadline) == 0)
        ;
    pthread_mutex_unlock(&http->lock);
}

void http_free(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL) {
        wait_for_calls(http);
        MHD_stop_daemon(http->daemon);
    }
    pthread_cond_destroy(&http->calls_changed);
    pthread_mutex_destroy(&http->lock);
    free(http->version);
    free(http);
}
