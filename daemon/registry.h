/* SPDX-License-Identifier: Apache-2.0
 *
 * Which model answers, and what takes its place: the active one at start, the default model when it is due, and what clients order by model.put,
 * model.activate and model.rollback. Belongs to the background thread, which alone builds snapshots aside; orders reach it through a bounded queue.
 * What is stored goes through the writer.
 *
 * A model takes another's place in this order: loaded and checked (SHA-256, then the file), compared with shop and memory, every item encoded aside,
 * a trial of its scores, the activation written to the log, one pointer changed. Whatever fails before the last step leaves the active model
 * as it is. */
#ifndef RECSYS_DAEMON_REGISTRY_H
#define RECSYS_DAEMON_REGISTRY_H

#include "daemon/queue.h"
#include "daemon/writer.h"

struct registry {
    struct engine *engine;
    struct store *reader;
    struct writer *writer;    /* NULL before registry_start */
    struct arena *arena;      /* of the thread */
    struct queue orders;      /* of struct registry_order */
    int64_t counts_position;  /* the version of the counts that an activation is recorded with */
    int64_t expired_us;       /* when stale uploads were last looked for */
    _Atomic bool has_uploads; /* some may have become stale; written by the writer's thread */
    bool look_again;          /* a default model was activated: it may be due to be fitted anew */
    bool stand_in; /* the active model could not be loaded; a default model answers without being activated */
};

enum registry_kind { REGISTRY_CHECK, REGISTRY_ACTIVATE, REGISTRY_ROLLBACK, REGISTRY_LOAD, REGISTRY_UNLOAD };

/* What a client wants done. Stays the caller's until `done`, which is called once, on the background thread. */
struct registry_order {
    enum registry_kind kind;
    const char *name;         /* ACTIVATE, LOAD, UNLOAD: a version or a name */
    bool if_better;           /* ACTIVATE */
    struct store_model model; /* CHECK: the upload that is complete; else the model that answers afterwards */
    char before[97];          /* the version that answered before */
    bool activated;
    char kept[240]; /* why it was not activated, though nothing is wrong */
    void (*done)(struct registry_order *order, const struct status *st);
};

/* The model that answers first, put in place: the active one, or a default model fitted now and stored. `store` is the writing connection, which the
 * writer does not have yet; uploads of an earlier life are given up. */
bool registry_open(struct registry *registry, struct engine *engine, struct store *store, struct store *reader,
                   struct arena *arena, int64_t counts_position, struct status *st);
void registry_start(struct registry *registry, struct writer *writer);
void registry_close(struct registry *registry); /* accepts all-zero */

/* Any thread. RESOURCE_EXHAUSTED / QUEUE_FULL, or UNAVAILABLE / DRAINING; the order stays the caller's then. */
bool registry_submit(struct registry *registry, struct registry_order *order, struct status *st);

/* Carry out the orders that wait, look after the default model and long deltas, give up stale uploads. */
void registry_work(struct registry *registry, int64_t counts_position, bool items_settled);

/* Refuse what waits and what comes; the writer must still run. */
void registry_end(struct registry *registry);

#endif
