/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker threads: each takes jobs from the queue, reads them, checks the deadline and calls the handler. */
#ifndef RECSYS_DAEMON_WORKER_H
#define RECSYS_DAEMON_WORKER_H

#include "daemon/handler.h"

struct worker {
    struct handler handler;
    struct store *reader;
    pthread_t thread;
    bool running;
};

/* Open a reader and start the thread. */
bool worker_start(struct worker *worker, struct server *server, struct status *st);

/* Wait for the thread, which ends once the server's queue has ended, and close. */
void worker_stop(struct worker *worker);

#endif
