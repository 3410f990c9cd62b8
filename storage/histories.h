/* SPDX-License-Identifier: Apache-2.0
 *
 * Recent events of recent users in memory, over the store's log: bounded in bytes, least recently used users go
 * first. The writer adds what it has committed before it acknowledges it, so that a read after the acknowledgement
 * sees it, from memory or from the store.
 *
 * Any thread reads, the writer thread appends. Users are spread over shards with a lock each, held while events
 * are copied out. A history is loaded outside the lock; an append that comes in between marks the load as stale
 * and the store is asked again. */
#ifndef RECSYS_STORAGE_HISTORIES_H
#define RECSYS_STORAGE_HISTORIES_H

#include "storage/store.h"

/* Events of one user kept in memory at most; older ones are looked up. */
#define HISTORIES_EVENTS_MAX 10000

struct histories;

/* What a reader gets; owned and reused by the reading thread. Start from all-zero. */
struct history {
    struct store_event *events; /* oldest first by (ts_ms, position) */
    size_t count, capacity;
    int64_t user_id; /* 0: no such user */
    bool complete;   /* these are all events of the user up to at_position */
    bool cached;     /* found in memory */
};

void history_close(struct history *history);

struct histories *histories_new(size_t bytes_max); /* NULL out of memory */
void histories_free(struct histories *histories);

/* The newest `newest` (at most HISTORIES_EVENTS_MAX) events of a user with position <= at_position (INT64_MAX:
 * all). `reader` belongs to the calling thread and has no read view open (store_read_begin): what it sees is kept
 * for others, so it must be what is committed. An unknown user is success with user_id 0 and no events. After a
 * failure `out` is empty. */
bool histories_read(struct histories *histories, struct store *reader, const char *user, int64_t at_position,
                    size_t newest, struct history *out, struct status *st);

/* After a commit: the event is in the log. Unknown to the cache: nothing to do. An event may come out of order of
 * ts_ms. Events already there (by position) are ignored. */
void histories_append(struct histories *histories, const char *user, const struct store_event *event);

/* Forget a user (erasure; after its commit), or everybody (NULL). */
void histories_drop(struct histories *histories, const char *user);

/* Users whose history is in memory now (not those known to be unknown), and all bytes. */
void histories_size(struct histories *histories, size_t *users, size_t *bytes);

#endif
