/* SPDX-License-Identifier: Apache-2.0
 *
 * What the handlers that write share: a job on its way through the writer. The worker checks what it can see by itself; the writer checks what depends on
 * what is stored, writes, and answers. */
#ifndef RECSYS_DAEMON_INGEST_H
#define RECSYS_DAEMON_INGEST_H

#include "daemon/handler.h"

/* One write request; lives in the job's arena. */
struct ingest {
    struct write_task task;
    struct job *job;
    const struct config *config;
    bool atomic, cascade_create;
    struct row_errors errors; /* only without atomic */
    int64_t now_ms, position; /* the highest position it took */
    int32_t created_users, created_items;
    int32_t stored, duplicates; /* rows */
    void *rows;                 /* of the handler */
    size_t row_count;
};

/* A new one for `job`; NULL with st. */
struct ingest *ingest_new(struct handler *handler, struct job *job, size_t row_count, size_t row_size,
                          struct status *st);

/* A row is refused: with atomic that is the answer to the whole request (returns false), else it is noted (returns true). */
bool ingest_refuse(struct ingest *ingest, size_t row, struct status *row_status, struct status *st);

/* Hand it to the writer. From true on the job is the writer's. */
bool ingest_submit(struct handler *handler, struct ingest *ingest,
                   bool (*write)(struct writer *writer, struct write_task *task, struct status *st),
                   void (*done)(struct writer *writer, struct write_task *task, const struct status *st),
                   struct status *st);

/* The item of that name, made where it is unknown and `create`; a reference, or NULL with NOT_FOUND / UNKNOWN_ITEM naming the field. */
struct catalog_item *ingest_item(struct writer *writer, struct ingest *ingest, const char *name, const char *field,
                                 bool create, struct status *st);

#endif
