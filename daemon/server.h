/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon put together: store, memory, engine, threads, sockets; start and stop in the right order. */
#ifndef RECSYS_DAEMON_SERVER_H
#define RECSYS_DAEMON_SERVER_H

#include "daemon/background.h"
#include "daemon/config.h"
#include "daemon/engine.h"
#include "daemon/experiments.h"
#include "daemon/http.h"
#include "daemon/queue.h"
#include "daemon/router.h"
#include "daemon/served.h"
#include "daemon/writer.h"

#define SERVER_NAME "recsysd"

struct scenarios; /* scenarios.h, which needs this file */
struct messages;  /* messages.h */

/* The scenarios that answer now, for any thread. */
struct scenarios_slot {
    pthread_mutex_t lock;
    struct scenarios *now;
};

struct worker; /* worker.c */

struct server {
    struct config config;
    struct store *store; /* writing */
    struct store *background_reader;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    struct writer writer;
    struct background background;
    struct queue queue; /* of jobs: router and HTTP to workers */
    struct served served;
    struct scenarios_slot scenarios;
    struct messages *messages; /* of reasons */
    struct experiments_slot experiments;
    struct worker *workers;
    size_t worker_count;
    struct router router;
    struct http *http;
    int64_t started_ms;
    _Atomic bool draining;
};

/* Open the data directory, load memory, start threads, bind. On failure everything is taken down again. */
bool server_start(struct server *server, const struct config *config, struct status *st);

/* Serve until a signal says stop (router thread is the caller's). */
void server_run(struct server *server);

/* Drain, commit, checkpoint, close the database, then the sockets. */
void server_stop(struct server *server);

/* Read the files of scenarios and experiments again. On failure those that are there stay. */
bool server_reload(struct server *server, struct status *st);

/* Put a job into the queue, or fail it at once when the queue is full. */
void server_submit(struct server *server, struct job *job);

#endif
