/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the counts up with the log: reads the tail of the log, replaces each touched user's contribution, publishes versions. Belongs to the background
 * thread; a version is a log position, and any version can be rebuilt from the log. */
#ifndef RECSYS_DAEMON_COUNTING_H
#define RECSYS_DAEMON_COUNTING_H

#include "daemon/engine.h"
#include "models/counts.h"

struct counting {
    struct engine *engine;
    struct store *reader;
    struct counts *whole;
    int64_t position;  /* counted up to here */
    int64_t published; /* version that answers */
    int64_t published_ms;
    uint64_t pending_events; /* counted but not published */
    int64_t counted_us;      /* when events last came, monotonic */
    int64_t publish_us;      /* how long the last publication took */
    uint64_t total_events;
    uint64_t stored_events;      /* when the whole was last stored */
    struct store_event *tail;    /* buffer */
    struct counting_event *user; /* buffer */
    size_t user_count, user_capacity;
    bool failed;                    /* memory ran out while reading a user */
    bool broken;                    /* the sums are in between: to be rebuilt */
    int64_t rebuilt_us, rebuild_us; /* when the last rebuild ended, monotonic, and how long it took */
};

/* Load the stored counts, or rebuild them, up to the committed position, and publish that. `reader` stays the caller's. */
bool counting_start(struct counting *counting, struct engine *engine, struct store *reader, struct status *st);
void counting_close(struct counting *counting);

/* Users have been merged: the sums are of sequences that are no longer there. They are rebuilt with the next counting_catch_up, which spends at most a twentieth of the
 * time on that; until then nothing is counted. */
void counting_recount(struct counting *counting);

/* Count what has been committed since. */
bool counting_catch_up(struct counting *counting, struct status *st);

/* Whether a version is due: at once in a small shop, else after so many events, so long, or once events have stopped
 * coming for longer than a publication is worth. */
bool counting_is_due(const struct counting *counting, int64_t now_ms);

/* Publish. `*bytes` (malloc'ed, may be NULL) is the whole object where it is time to store it, else NULL; `final` forces it. */
bool counting_publish(struct counting *counting, int64_t now_ms, bool final, void **bytes, size_t *size_bytes,
                      struct status *st);

#endif
