/* SPDX-License-Identifier: Apache-2.0
 *
 * The router: the one thread that owns every ZeroMQ socket. It turns frames into jobs, and finished jobs into frames. It never blocks but in zmq_poll. */
#ifndef RECSYS_DAEMON_ROUTER_H
#define RECSYS_DAEMON_ROUTER_H

#include "daemon/job.h"

#include <pthread.h>
#include <stdatomic.h>

struct server;

struct router {
    struct server *server;
    void *context, *socket;
    int wake_fd;          /* eventfd: replies wait */
    int signal_fd;        /* eventfd: SIGTERM, SIGINT or SIGHUP came */
    pthread_mutex_t lock; /* guards the list */
    struct job **replies; /* finished jobs */
    size_t reply_count, reply_capacity;
    atomic_size_t in_flight;
    atomic_size_t large_bytes; /* of large replies that the library has not sent yet */
    atomic_bool stop;          /* set by the owner where no signal comes: tests, fatal errors */
};

/* Create the socket and bind the configured endpoints. UNAVAILABLE / BIND_FAILED naming the endpoint. */
bool router_open(struct router *router, struct server *server, struct status *st);

/* Serve until SIGTERM or SIGINT, then go on until requests in flight are answered, at most server.drain_ms. A second signal ends it at once. */
void router_run(struct router *router);

/* Close sockets and free what was not sent. */
void router_close(struct router *router);

#endif
