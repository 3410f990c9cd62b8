/* SPDX-License-Identifier: Apache-2.0
 *
 * What followed what, and how often: exact sums over the event log up to a position. The sums are integers (a transition at distance 1, 2, 3
 * weighs 6, 3, 2 sixths), so they do not depend on the order in which events arrived, and a user's share can be taken out again to the last unit.
 *
 * `struct counts` is the whole object, owned by one thread; `struct counts_view` is what a request reads: immutable and counted. */
#ifndef RECSYS_MODELS_COUNTS_H
#define RECSYS_MODELS_COUNTS_H

#include "proto/status.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTS_SHRINKAGE   5.0f /* P = C / (row sum + 5) */
#define COUNTS_RECENT_DAYS 32   /* days that recent popularity looks back from the newest event */
#define COUNTS_TOP         1024 /* items in the lists of the most popular */
#define COUNTS_HALF_LIFE   7.0f /* days, of recent popularity */

/* An event as it counts; events of behaviours with a weight of zero or below are left out by the caller. */
struct counts_event {
    uint32_t item_id;
    int64_t ts_ms;
};

struct counts;

struct counts *counts_new(void); /* NULL out of memory */
void counts_free(struct counts *counts);

/* Add (sign 1) or take out (sign -1) all that one user's events, oldest first, contribute to transitions and popularity. False only out of memory. */
bool counts_user(struct counts *counts, const struct counts_event *events, size_t count, int sign);

/* The whole object as malloc'ed bytes, and back. Not safe against hostile bytes beyond memory safety; a blob that does not check out is
 * DATA_LOSS / BAD_COUNTS and the caller rebuilds. */
void *counts_write(const struct counts *counts, size_t *size_bytes);
struct counts *counts_read(const void *bytes, size_t size_bytes, struct status *st);

/* One transition of a row. */
struct counts_entry {
    uint32_t item_id;
    float probability; /* C / (row sum + COUNTS_SHRINKAGE), of all that share the row's item */
};

struct counts_view {
    atomic_int references;
    int64_t position;     /* the version: a log position */
    size_t item_capacity; /* item ids below this index the arrays */
    uint64_t *row_start;  /* (item_capacity + 1) */
    struct counts_entry *entries;
    uint64_t *before_start; /* (item_capacity + 1): the same sums, by the item that came after */
    struct counts_entry *before;
    uint32_t *popularity;  /* events per item */
    float *log_popularity; /* log(1 + popularity) */
    float *recent;         /* events per item, halved every COUNTS_HALF_LIFE days before `recent_at_ms` */
    int64_t recent_at_ms;  /* end of the newest day; 0 without events */
    uint64_t event_count;
    uint32_t *top_recent, *top_popular; /* item ids, best first: candidates for who has no history */
    size_t top_recent_count, top_popular_count;
};

/* Freeze the sums as version `position`; one reference, the caller's. NULL out of memory. */
struct counts_view *counts_publish(const struct counts *counts, int64_t position);
struct counts_view *counts_view_acquire(struct counts_view *view);
void counts_view_release(struct counts_view *view); /* NULL is fine */

/* The row of an item: what followed it. NULL and 0 for an item that nothing followed. */
const struct counts_entry *counts_row(const struct counts_view *view, uint32_t item_id, size_t *count);

/* The other way round: what came before it, C[c → item] / (sum over c + COUNTS_SHRINKAGE). */
const struct counts_entry *counts_row_before(const struct counts_view *view, uint32_t item_id, size_t *count);

uint32_t counts_popularity(const struct counts_view *view, uint32_t item_id);

/* Popularity lately, as of `now_ms`. */
float counts_recent(const struct counts_view *view, uint32_t item_id, int64_t now_ms);

#endif
