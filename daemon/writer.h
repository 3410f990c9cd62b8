/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer: one thread, the only one with a connection that may write. It takes what has queued up, writes it in one transaction, commits, brings memory up to
 * date and only then acknowledges. While it waits for the disk the next batch gathers.
 *
 * A task is written in two steps: `write` inside the transaction, `committed` after it. A task that refuses in `write` before it has changed anything (a bad row)
 * fails alone; an error of the store fails the whole batch. */
#ifndef RECSYS_DAEMON_WRITER_H
#define RECSYS_DAEMON_WRITER_H

#include "daemon/engine.h"
#include "daemon/queue.h"

struct writer;
struct write_task;

struct write_task {
    /* Write through writer_* below. It checks everything first, then sets `changed` and writes. False with st before `changed`: this task alone is refused;
     * after it, or for an error of the store: the batch is rolled back. */
    bool (*write)(struct writer *writer, struct write_task *task, struct status *st);
    /* Called once: after commit and after memory is up to date with `st` OK, or with what went wrong. Owns the task from then on. */
    void (*done)(struct writer *writer, struct write_task *task, const struct status *st);
    void *context;
    size_t rows, size_bytes;
    bool changed;
};

struct writer_event; /* an event to add to histories after the commit */
struct writer_item;  /* an item changed in this batch: looked up by name and id before the catalogue knows it */

struct writer {
    struct store *store;
    struct engine *engine;
    struct queue queue;
    pthread_t thread;
    bool running;
    struct arena arena;          /* for encoding changed items */
    struct writer_event *events; /* of the batch */
    size_t event_count, event_capacity;
    struct writer_item *items_by_id, *items_by_name;
    struct store_space spaces[CATALOG_SPACES_MAX]; /* made in this batch */
    size_t space_count;
    int64_t position; /* highest of the batch */
    bool truncate;    /* something was erased that the log of writes still has */
    _Atomic bool writable;
    _Atomic int64_t users, event_total;
    int64_t checked_us;                                          /* when the size of the WAL was last looked at */
    void (*changed)(void *context, size_t events, size_t items); /* told after each commit: the background */
    void *changed_context;
};

/* Start the thread on a store opened for writing, which stays the caller's. */
bool writer_start(struct writer *writer, struct store *store, struct engine *engine, struct status *st);

/* Finish what is queued, checkpoint, end the thread. */
void writer_stop(struct writer *writer);

/* RESOURCE_EXHAUSTED / QUEUE_FULL with retry_after when it cannot take more; the task stays the caller's. */
bool writer_submit(struct writer *writer, struct write_task *task, struct status *st);

/* ---- for `write` functions, on the writer's thread, inside the transaction */

/* The record that an item has in this batch or, untouched, in the catalogue: referenced for the caller; NULL for an unknown name. */
struct catalog_item *writer_find_item(struct writer *writer, const char *name);

/* Store an item's new description and remember its new record, with changed vectors if any (references taken over). Sets item_id and position. */
bool writer_put_item(struct writer *writer, struct store_item *item, const struct catalog_item *old,
                     struct catalog_feature *const *changed, size_t changed_count, int64_t now_ms, struct status *st);

/* Remember a record whose vectors alone changed. */
bool writer_put_features(struct writer *writer, const struct catalog_item *old, struct catalog_feature *const *changed,
                         size_t changed_count, int64_t position, struct status *st);

/* The space of a modality and encoder, made in this batch or before. False where there is none. */
bool writer_find_space(struct writer *writer, const char *modality, const char *encoder, struct store_space *space);

/* Make a space. Sets space_id. */
bool writer_put_space(struct writer *writer, struct store_space *space, struct status *st);

/* Append an event. */
bool writer_add_event(struct writer *writer, const char *user, struct store_event *event,
                      const struct store_event_extra *extra, bool *duplicate, struct status *st);

#endif
