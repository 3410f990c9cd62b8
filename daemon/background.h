/* SPDX-License-Identifier: Apache-2.0
 *
 * The background thread: counts, models, compaction. Low priority; what it makes is built aside and put in place in one step. */
#ifndef RECSYS_DAEMON_BACKGROUND_H
#define RECSYS_DAEMON_BACKGROUND_H

#include "daemon/counting.h"
#include "daemon/registry.h"
#include "daemon/writer.h"

#include <stdatomic.h>

struct background {
    struct engine *engine;
    struct writer *writer;
    struct store *reader;
    struct counting counting;
    struct registry registry;
    struct arena arena;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool running, stopping, dirty; /* guarded by lock */
    int64_t items_changed_us;      /* last change of an item; 0: none since the last look; guarded by lock */
    int64_t first_change_us;
    int64_t forgot_us;   /* when the past was last looked through */
    atomic_int holds;    /* merges of users that are being written */
    atomic_uint merges;  /* begun so far: counts from before one are not stored after it */
    unsigned counted_at; /* merges when counting last began; the thread's own */
    atomic_bool recount; /* users have been merged */
};

/* Load or make what answers requests: behaviours must be known. Called before the writer starts, with the writing connection: the first default
 * model is stored through it. `reader` stays the caller's. */
bool background_prepare(struct background *background, struct engine *engine, struct store *store, struct store *reader,
                        struct status *st);

/* Start the thread. */
bool background_start(struct background *background, struct writer *writer, struct status *st);

/* Told by the writer after each commit. */
void background_changed(void *background, size_t events, size_t items);

/* From before users are merged until the commit no counts are published; released with `moved`, they are rebuilt first. Any thread. */
void background_hold_counts(struct background *background);
void background_release_counts(struct background *background, bool moved);

/* Have something done with models; any thread. As registry_submit. */
bool background_order(struct background *background, struct registry_order *order, struct status *st);

/* End the thread, refuse orders that wait, and hand the counts to the writer to be stored; the writer must still run. */
void background_stop(struct background *background);
void background_close(struct background *background);

#endif
