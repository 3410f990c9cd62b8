/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's end of the connection: whole messages out and in, each within a deadline. Behind recsys_client.h; one
 * thread. */
#ifndef RECSYS_PROTO_CLIENT_SOCKET_H
#define RECSYS_PROTO_CLIENT_SOCKET_H

#include "proto/envelope.h"

#include <zmq.h>

#define CLIENT_FRAMES_MAX                                                                                              \
    2 /* of an answer, delimiter taken off; a server that sends more is newer, and more is ignored */

struct client_socket {
    void *context;
    void *socket;
    char endpoint[256];
    uint32_t timeout_ms;
};

/* An answer's frames. All-zero is empty. */
struct client_message {
    zmq_msg_t frames[CLIENT_FRAMES_MAX];
    size_t count;
};

/* Connect, lazily. INVALID_ARGUMENT / BAD_ENDPOINT for an endpoint that is none, INTERNAL / SOCKET when libzmq has
 * no more sockets; `s` is then all-zero. */
bool client_socket_open(struct client_socket *s, const char *endpoint, uint32_t timeout_ms, struct status *st);

/* Close at once; what was not sent is dropped. Accepts all-zero, leaves all-zero. */
void client_socket_close(struct client_socket *s);

/* The end of a call that starts now, on the monotonic clock. */
int64_t client_socket_deadline_ms(const struct client_socket *s);

/* Send `frames` behind an empty delimiter; they are copied. UNAVAILABLE / NO_ANSWER when there is no connection in
 * time. */
bool client_socket_send(struct client_socket *s, const struct frame *frames, size_t count, int64_t deadline_ms,
                        struct status *st);

/* Wait for the next message, which the caller closes. UNAVAILABLE / NO_ANSWER when none comes in time. */
bool client_socket_receive(struct client_socket *s, struct client_message *message, int64_t deadline_ms,
                           struct status *st);

/* A frame of a message, or an empty one past its end. */
struct frame client_message_frame(struct client_message *message, size_t index);

/* Accepts all-zero, leaves all-zero. */
void client_message_close(struct client_message *message);

#endif
