/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/client_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#define QUEUE_MESSAGES 64 /* each way; a client with more in flight waits in send */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t client_socket_deadline_ms(const struct client_socket *s)
{
    return now_ms() + s->timeout_ms;
}

static bool bad_endpoint(struct status *st, const char *endpoint, const char *problem)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENDPOINT", "connect '%.200s': %s", endpoint, problem);
}

static bool check_endpoint(const char *endpoint, struct status *st)
{
    const size_t path_max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    const char *address = strstr(endpoint, "://");
    bool is_ipc = strncmp(endpoint, "ipc://", 6) == 0;
    bool is_tcp = strncmp(endpoint, "tcp://", 6) == 0;
    if ((!is_ipc && !is_tcp) || address[3] == '\0')
        return bad_endpoint(st, endpoint, "not of the form ipc://path or tcp://host:port");
    if (is_ipc && strlen(address + 3) > path_max)
        return bad_endpoint(st, endpoint, "path of a socket is longer than 107 bytes");
    if (strlen(endpoint) >= sizeof((struct client_socket *)NULL)->endpoint)
        return bad_endpoint(st, endpoint, "longer than 255 bytes");
    return true;
}

/* IMMEDIATE: a request waits for a connection here, within its deadline, rather than in a queue that outlives the call.
 * MAXMSGSIZE: the server is trusted with the size of its answers. */
static bool set_options(void *socket)
{
    static const struct {
        int option, value;
    } options[] = {{ZMQ_LINGER, 0}, {ZMQ_IMMEDIATE, 1}, {ZMQ_SNDHWM, QUEUE_MESSAGES}, {ZMQ_RCVHWM, QUEUE_MESSAGES}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (zmq_setsockopt(socket, options[i].option, &options[i].value, sizeof options[i].value) != 0)
            return false;
    }
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &(int64_t){-1}, sizeof(int64_t)) == 0;
}

bool client_socket_open(struct client_socket *s, const char *endpoint, uint32_t timeout_ms, struct status *st)
{
    bool ok = false;
    *s = (struct client_socket){.timeout_ms = timeout_ms};
    if (!check_endpoint(endpoint, st))
        goto out;
    snprintf(s->endpoint, sizeof s->endpoint, "%s", endpoint);
    s->context = zmq_ctx_new();
    if (s->context != NULL)
        s->socket = zmq_socket(s->context, ZMQ_DEALER);
    if (s->socket == NULL || !set_options(s->socket)) {
        status_fail(st, STATUS_INTERNAL, "SOCKET", "open a socket: %s", zmq_strerror(zmq_errno()));
        goto out;
    }
    if (zmq_connect(s->socket, endpoint) != 0) {
        bad_endpoint(st, endpoint, zmq_strerror(zmq_errno()));
        goto out;
    }
    ok = true;
out:
    if (!ok)
        client_socket_close(s);
    return ok;
}

void client_socket_close(struct client_socket *s)
{
    if (s->socket != NULL)
        zmq_close(s->socket);
    while (s->context != NULL && zmq_ctx_term(s->context) != 0 && zmq_errno() == EINTR)
        ;
    *s = (struct client_socket){0};
}

static bool no_answer(const struct client_socket *s, struct status *st, const char *problem)
{
    return status_fail(st, STATUS_UNAVAILABLE, "NO_ANSWER", "%s '%.200s' within %u ms", problem, s->endpoint,
                       s->timeout_ms);
}

static bool broken(const struct client_socket *s, struct status *st, const char *step)
{
    return status_fail(st, STATUS_UNAVAILABLE, "NO_ANSWER", "%s '%.200s': %s", step, s->endpoint,
                       zmq_strerror(zmq_errno()));
}

/* 1: ready for `events`, 0: the time is up, -1: broken. What is ready already is found even when the time is up. */
static int wait_ready(struct client_socket *s, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms();
        zmq_pollitem_t item = {.socket = s->socket, .events = events};
        int count = zmq_poll(&item, 1, left_ms > 0 ? (long)left_ms : 0);
        if (count >= 0 || zmq_errno() != EINTR)
            return count;
    }
}

static bool send_frame(struct client_socket *s, const struct frame *frame, int flags)
{
    int sent;
    do
        sent = zmq_send(s->socket, frame->data, frame->size_bytes, flags);
    while (sent < 0 && zmq_errno() == EINTR);
    return sent >= 0;
}

/* Only a message's first frame can have to wait; once it is taken, libzmq takes the others too. */
static bool send_delimiter(struct client_socket *s, int64_t deadline_ms, struct status *st)
{
    const struct frame delimiter = {.data = "", .size_bytes = 0};
    for (;;) {
        int ready = wait_ready(s, ZMQ_POLLOUT, deadline_ms);
        if (ready == 0)
            return no_answer(s, st, "no connection to");
        if (ready > 0 && send_frame(s, &delimiter, ZMQ_SNDMORE | ZMQ_DONTWAIT))
            return true;
        if (ready < 0 || zmq_errno() != EAGAIN)
            return broken(s, st, "send to");
    }
}

bool client_socket_send(struct client_socket *s, const struct frame *frames, size_t count, int64_t deadline_ms,
                        struct status *st)
{
    if (!send_delimiter(s, deadline_ms, st))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!send_frame(s, &frames[i], i + 1 < count ? ZMQ_SNDMORE : 0))
            return broken(s, st, "send to");
    }
    return true;
}

static bool receive_frame(struct client_socket *s, zmq_msg_t *frame)
{
    int size;
    zmq_msg_init(frame);
    do
        size = zmq_msg_recv(frame, s->socket, ZMQ_DONTWAIT);
    while (size < 0 && zmq_errno() == EINTR);
    if (size < 0)
        zmq_msg_close(frame);
    return size >= 0;
}

/* Take one message off the socket. False with errno EAGAIN when there is none after all. */
static bool take_message(struct client_socket *s, struct client_message *message)
{
    bool more = true;
    *message = (struct client_message){0};
    for (size_t i = 0; more; i++) {
        zmq_msg_t frame;
        if (!receive_frame(s, &frame)) {
            int problem = zmq_errno();
            client_message_close(message);
            errno = problem;
            return false;
        }
        more = zmq_msg_more(&frame) != 0;
        bool is_delimiter = i == 0 && zmq_msg_size(&frame) == 0;
        if (!is_delimiter && message->count < CLIENT_FRAMES_MAX) {
            zmq_msg_init(&message->frames[message->count]);
            zmq_msg_move(&message->frames[message->count++], &frame);
        }
        zmq_msg_close(&frame);
    }
    return true;
}

bool client_socket_receive(struct client_socket *s, struct client_message *message, int64_t deadline_ms,
                           struct status *st)
{
    for (;;) {
        int ready = wait_ready(s, ZMQ_POLLIN, deadline_ms);
        if (ready == 0)
            return no_answer(s, st, "no answer from");
        if (ready > 0 && take_message(s, message))
            return true;
        if (ready < 0 || zmq_errno() != EAGAIN)
            return broken(s, st, "receive from");
    }
}

struct frame client_message_frame(struct client_message *message, size_t index)
{
    if (index >= message->count)
        return (struct frame){.data = "", .size_bytes = 0};
    zmq_msg_t *frame = &message->frames[index];
    return (struct frame){.data = zmq_msg_data(frame), .size_bytes = zmq_msg_size(frame)};
}

void client_message_close(struct client_message *message)
{
    for (size_t i = 0; i < message->count; i++)
        zmq_msg_close(&message->frames[i]);
    *message = (struct client_message){0};
}
