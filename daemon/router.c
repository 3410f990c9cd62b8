/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/router.h"

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/server.h"
#include "daemon/timestamp.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#define HIGH_WATER_MARK 256 /* requests per peer that wait in the library */
#define FRAME_SLACK     4 /* frames up to this many times the limit are read and refused; beyond, the library hangs up */
#define POLL_MS         250
#define RETRY_AFTER_MS  1000
#define IDLE_US         200000 /* drained: nothing in flight and nothing new for this long */
#define MESSAGES_A_TURN 64
#define SOCKET_MODE     0660
#define LARGE_BYTES     (64u << 10)  /* a reply of more than this counts against the next */
#define LARGE_BYTES_MAX (256u << 20) /* for all peers together, as long as they are not sent */

static bool set(struct router *router, int option, int value, struct status *st)
{
    if (zmq_setsockopt(router->socket, option, &value, sizeof value) == 0)
        return true;
    return status_fail(st, STATUS_INTERNAL, "SOCKET", "socket option %d: %s", option, zmq_strerror(errno));
}

/* notes on each in zmq_setsockopt(3); the reasons: answer only who is there, never queue without bound, notice dead peers */
static bool configure(struct router *router, struct status *st)
{
    const struct config *config = &router->server->config;
    int64_t frame_max = FRAME_SLACK * config->limits_frame_bytes;
    int replies = config->server_queue_requests < INT32_MAX ? (int)config->server_queue_requests : INT32_MAX;
    if (zmq_setsockopt(router->socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) != 0)
        return status_fail(st, STATUS_INTERNAL, "SOCKET", "largest frame: %s", zmq_strerror(errno));
    return set(router, ZMQ_ROUTER_MANDATORY, 1, st) &&
           set(router, ZMQ_SNDHWM, replies > HIGH_WATER_MARK ? replies : HIGH_WATER_MARK, st) &&
           set(router, ZMQ_RCVHWM, HIGH_WATER_MARK, st) && set(router, ZMQ_HANDSHAKE_IVL, 5000, st) &&
           set(router, ZMQ_HEARTBEAT_IVL, 10000, st) && set(router, ZMQ_HEARTBEAT_TIMEOUT, 30000, st) &&
           set(router, ZMQ_HEARTBEAT_TTL, 30000, st) && set(router, ZMQ_TCP_KEEPALIVE, 1, st) &&
           set(router, ZMQ_LINGER, 2000, st) && set(router, ZMQ_BACKLOG, 1024, st);
}

/* zmq_bind takes over the path of whoever listens there already */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return false;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return listens;
}

static bool bind_endpoint(struct router *router, const char *endpoint, struct status *st)
{
    if (strncmp(endpoint, "ipc://", 6) == 0 && somebody_listens(endpoint + 6))
        return status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "listen on '%s': another process listens there",
                           endpoint);
    if (zmq_bind(router->socket, endpoint) != 0)
        return status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "listen on '%s': %s", endpoint, zmq_strerror(errno));
    if (strncmp(endpoint, "ipc://", 6) == 0 && chmod(endpoint + 6, SOCKET_MODE) != 0)
        return status_fail(st, STATUS_UNAVAILABLE, "BIND_FAILED", "permissions of '%s': %s", endpoint + 6,
                           strerror(errno));
    log_info("listening", "listening on %s", endpoint);
    return true;
}

/* Signals arrive on any thread (OpenBLAS starts its own before main, which block nothing): the handler only counts them into the router's loop. */
static int signalled_fd = -1;

/* what a signal adds to the counter: SIGHUP asks for a reload, the others to stop */
#define SIGNAL_RELOAD ((uint64_t)1)
#define SIGNAL_STOP   ((uint64_t)1 << 32)

static void on_signal(int number)
{
    uint64_t one = number == SIGHUP ? SIGNAL_RELOAD : SIGNAL_STOP;
    int saved = errno;
    if (write(signalled_fd, &one, sizeof one) < 0)
        errno = saved; /* the counter is full: it has been heard */
    errno = saved;
}

static void catch_signals(const struct router *router)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    signalled_fd = router->signal_fd;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool router_open(struct router *router, struct server *server, struct status *st)
{
    const struct config *config = &server->config;
    *router = (struct router){.server = server, .wake_fd = -1, .signal_fd = -1};
    pthread_mutex_init(&router->lock, NULL);
    router->signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    router->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    router->context = zmq_ctx_new();
    router->socket = router->context == NULL ? NULL : zmq_socket(router->context, ZMQ_ROUTER);
    if (router->socket == NULL || router->wake_fd < 0 || router->signal_fd < 0)
        return status_fail(st, STATUS_INTERNAL, "SOCKET", "create the socket: %s", strerror(errno));
    if (!configure(router, st))
        return false;
    catch_signals(router);
    for (size_t i = 0; i < config->server_listen_count; i++)
        if (!bind_endpoint(router, config->server_listen[i], st))
            return false;
    return true;
}

void router_close(struct router *router)
{
    if (router->server == NULL)
        return;
    for (size_t i = 0; i < router->reply_count; i++)
        job_free(router->replies[i]);
    free(router->replies);
    if (router->socket != NULL)
        zmq_close(router->socket);
    if (router->context != NULL)
        zmq_ctx_term(router->context);
    if (router->wake_fd >= 0)
        close(router->wake_fd);
    if (router->signal_fd >= 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        signal(SIGHUP, SIG_IGN);
        close(router->signal_fd);
    }
    pthread_mutex_destroy(&router->lock);
    *router = (struct router){0};
}

/* ---- replies */

/* a finished job comes from any thread */
static void take_reply(void *context, struct job *job)
{
    struct router *router = context;
    pthread_mutex_lock(&router->lock);
    if (router->reply_count == router->reply_capacity) {
        size_t capacity = router->reply_capacity * 2 + 64;
        struct job **grown = realloc(router->replies, capacity * sizeof(struct job *));
        if (grown != NULL) {
            router->replies = grown;
            router->reply_capacity = capacity;
        }
    }
    bool kept = router->reply_count < router->reply_capacity;
    if (kept)
        router->replies[router->reply_count++] = job;
    pthread_mutex_unlock(&router->lock);
    if (!kept) {
        metrics_add(METRICS_COUNTER_replies_dropped, 1);
        job_free(job);
        router->in_flight--;
    }
    uint64_t one = 1;
    if (write(router->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is at its maximum: the router is awake */
}

static void free_bytes(void *data, void *hint)
{
    (void)hint;
    free(data);
}

struct large {
    struct router *router;
    size_t size;
};

static void free_large(void *data, void *hint)
{
    struct large *large = hint;
    large->router->large_bytes -= large->size;
    free(large);
    free(data);
}

/* a peer that asks and does not read must not fill the memory: it is told instead, or another in its place */
static void shrink_reply(struct router *router, struct job *job)
{
    struct status st = STATUS_INIT;
    if (job->reply_body.size <= LARGE_BYTES || router->large_bytes + job->reply_body.size <= LARGE_BYTES_MAX)
        return;
    status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "REPLIES_FULL", "too many large replies have not been read");
    st.retry_after_ms = RETRY_AFTER_MS;
    free(job->reply_body.data);
    job->reply_body = (struct job_bytes){0};
    if (job->kind == ENVELOPE_JSON) {
        job->reply_body.data = json_rpc_error(job->call.id, &st, &job->reply_body.size);
        return;
    }
    free(job->reply_header.data);
    job->reply_header = (struct job_bytes){0};
    job->reply_header.data = envelope_write_reply_header(
        job->header.request_id, &st, (uint64_t)(timestamp_monotonic_us() - job->received_us), &job->reply_header.size);
}

/* one frame; the data becomes ZeroMQ's */
static bool send_bytes(struct router *router, struct job_bytes *bytes, int flags)
{
    zmq_msg_t message;
    struct large *large = bytes->size > LARGE_BYTES ? malloc(sizeof *large) : NULL;
    if (zmq_msg_init_data(&message, bytes->data, bytes->size, large != NULL ? free_large : free_bytes, large) != 0) {
        free(large);
        return false;
    }
    if (large != NULL) {
        *large = (struct large){router, bytes->size};
        router->large_bytes += bytes->size;
    }
    *bytes = (struct job_bytes){0};
    if (zmq_msg_send(&message, router->socket, ZMQ_DONTWAIT | flags) >= 0)
        return true;
    zmq_msg_close(&message);
    return false;
}

static void send_reply(struct router *router, struct job *job)
{
    shrink_reply(router, job);
    bool ok = job->reply_body.data != NULL || job->kind == ENVELOPE_PROTOBUF;
    ok = ok && send_bytes(router, &job->routing, ZMQ_SNDMORE); /* fails here when the peer is gone or does not read */
    if (ok && job->delimiter)
        ok = zmq_send(router->socket, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0;
    if (ok && job->kind == ENVELOPE_PROTOBUF) {
        ok = send_bytes(router, &job->reply_header, ZMQ_SNDMORE);
        if (job->reply_body.data == NULL)
            ok = ok && zmq_send(router->socket, "", 0, ZMQ_DONTWAIT) >= 0;
    }
    if (ok && job->reply_body.data != NULL)
        ok = send_bytes(router, &job->reply_body, 0);
    if (!ok)
        metrics_add(METRICS_COUNTER_replies_dropped, 1);
    job_free(job);
    router->in_flight--;
}

static void send_replies(struct router *router)
{
    uint64_t wakes;
    if (read(router->wake_fd, &wakes, sizeof wakes) < 0)
        return;
    pthread_mutex_lock(&router->lock);
    struct job **replies = router->replies;
    size_t count = router->reply_count;
    router->replies = NULL;
    router->reply_count = router->reply_capacity = 0;
    pthread_mutex_unlock(&router->lock);
    for (size_t i = 0; i < count; i++)
        send_reply(router, replies[i]);
    free(replies);
}

/* ---- requests */

static bool receive_frame(struct router *router, struct job_bytes *out, bool *more)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    bool ok = zmq_msg_recv(&message, router->socket, ZMQ_DONTWAIT) >= 0;
    if (ok) {
        out->size = zmq_msg_size(&message);
        out->data = malloc(out->size + 1);
        if (out->data != NULL)
            memcpy(out->data, zmq_msg_data(&message), out->size);
        *more = zmq_msg_more(&message);
        ok = out->data != NULL;
    }
    zmq_msg_close(&message);
    return ok;
}

/* what is too much of one message is read and thrown away */
static size_t discard_rest(struct router *router, bool more)
{
    size_t discarded = 0;
    while (more) {
        struct job_bytes frame = {0};
        if (!receive_frame(router, &frame, &more))
            break;
        free(frame.data);
        discarded++;
    }
    return discarded;
}

static bool receive_request(struct router *router)
{
    struct job_bytes routing = {0}, frames[ENVELOPE_FRAMES_MAX + 1] = {{0}};
    bool more = false, delimiter = false;
    size_t count = 0;
    if (!receive_frame(router, &routing, &more))
        return false;
    while (more && count < ENVELOPE_FRAMES_MAX && receive_frame(router, &frames[count], &more)) {
        if (count == 0 && !delimiter && frames[0].size == 0) {
            delimiter = true;
            free(frames[0].data);
            frames[0] = (struct job_bytes){0};
        } else {
            count++;
        }
    }
    size_t too_many = discard_rest(router, more);
    struct job *job = job_new(frames, count, take_reply, router);
    if (job == NULL) {
        free(routing.data);
        return true;
    }
    job->routing = routing;
    job->delimiter = delimiter;
    router->in_flight++;
    struct status st = STATUS_INIT;
    if (count == 0 || too_many > 0)
        status_fail(&st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "a message of %zu frames, from 1 to %d are read",
                    count + too_many, ENVELOPE_FRAMES_MAX);
    for (size_t i = 0; i < count && st.code == STATUS_OK; i++)
        if (frames[i].size > (size_t)router->server->config.limits_frame_bytes)
            status_fail(&st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "a frame of %zu bytes, %lld are allowed",
                        frames[i].size, (long long)router->server->config.limits_frame_bytes);
    if (st.code == STATUS_OK) {
        server_submit(router->server, job); /* a worker reads it: a long text must not hold up the others */
        return true;
    }
    if (frames[0].size <= ENVELOPE_HEADER_MAX)
        job_identify(job);
    else /* too long to be parsed here: answered without an id */
        job->kind = json_rpc_recognise(frames[0].data, frames[0].size) ? ENVELOPE_JSON : ENVELOPE_PROTOBUF;
    metrics_add(METRICS_COUNTER_frames_malformed, 1);
    job_fail(job, &st);
    return true;
}

/* ---- the loop */

/* reloads where that was asked for; true where it is time to stop */
static bool signalled(struct router *router)
{
    uint64_t signals;
    struct status st = STATUS_INIT;
    if (read(router->signal_fd, &signals, sizeof signals) != (ssize_t)sizeof signals)
        return false;
    if (signals % SIGNAL_STOP > 0)
        server_reload(router->server, &st);
    return signals >= SIGNAL_STOP;
}

void router_run(struct router *router)
{
    const struct config *config = &router->server->config;
    int64_t drain_until_us = INT64_MAX, last_request_us = timestamp_monotonic_us();
    zmq_pollitem_t items[] = {
        {.socket = router->socket, .events = ZMQ_POLLIN},
        {.fd = router->wake_fd, .events = ZMQ_POLLIN},
        {.fd = router->signal_fd, .events = ZMQ_POLLIN},
    };
    while (timestamp_monotonic_us() < drain_until_us) {
        notify_watchdog();
        bool draining = drain_until_us != INT64_MAX;
        zmq_poll(items, 3, draining ? 10 : POLL_MS);
        if (items[1].revents != 0)
            send_replies(router);
        for (int i = 0; items[0].revents != 0 && i < MESSAGES_A_TURN && receive_request(router); i++)
            last_request_us = timestamp_monotonic_us();
        if ((items[2].revents != 0 && signalled(router)) || (router->stop && !draining)) {
            if (draining)
                break;
            drain_until_us = timestamp_monotonic_us() + config->server_drain_ms * 1000;
            router->server->draining = true;
            notify_state("STOPPING=1");
            log_info("stopping", "finishing requests for at most %lld ms", (long long)config->server_drain_ms);
        }
        if (draining && router->in_flight == 0 && timestamp_monotonic_us() - last_request_us > IDLE_US)
            break;
    }
    send_replies(router);
}
