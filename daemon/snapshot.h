/* SPDX-License-Identifier: Apache-2.0
 *
 * What answers a request: one model and every item as that model sees it. Reference-counted; several live at once (the active one, the one before it
 * while requests finish on it, a shadow).
 *
 *   segments   base [rows 0 .. B)  delta [B .. B+4096)  delta [...)  ...
 *   alive      one bit per row: set while the row is the newest of its item and the item may be shown
 *
 * Encoded rows never change. A changed item is appended as a new row and the old row's bit is cleared, in one critical section; a request captures the row
 * count and the bits once, in another, and sees one moment from then on. Nothing is locked while a request runs. When the deltas have grown a new
 * snapshot is built beside this one and takes its place.
 *
 * One thread at a time appends (the engine sees to that); any thread captures. */
#ifndef RECSYS_DAEMON_SNAPSHOT_H
#define RECSYS_DAEMON_SNAPSHOT_H

#include "daemon/columns.h"
#include "models/arena.h"
#include "models/encoder.h"
#include "models/model.h"
#include "storage/catalog.h"

#include <pthread.h>

#define SNAPSHOT_DELTA_ROWS   4096
#define SNAPSHOT_SEGMENTS_MAX 256
#define SNAPSHOT_ROW_NONE     UINT32_MAX

/* Rows that were encoded together. */
struct snapshot_segment {
    size_t first, capacity; /* global number of the first row */
    struct encoder_rows rows;
    uint32_t *item_ids;                        /* (capacity) */
    struct catalog_item **items;               /* (capacity), a reference each: the record that was encoded */
    uint32_t *previous;                        /* (capacity): the item's row before this one, or SNAPSHOT_ROW_NONE */
    int64_t *from_ms, *until_ms;               /* (capacity): when the item is shown */
    int64_t latest_from_ms, earliest_until_ms; /* over the segment; guarded by the snapshot's lock */
};

struct snapshot_page; /* 65,536 item ids to their newest rows */

struct snapshot {
    atomic_int references;
    struct model *model;
    int64_t position; /* of the catalogue, as of the last append; guarded by lock */
    pthread_mutex_t lock;
    struct snapshot_segment *segments[SNAPSHOT_SEGMENTS_MAX];
    size_t segment_count, row_count; /* guarded by lock */
    uint64_t *alive;                 /* bits; room for every row that the segments can hold; guarded by lock */
    size_t alive_count, base_count;
    struct columns *columns;                /* attributes by row */
    struct catalog *catalog;                /* whose items these are; outlives the snapshot */
    _Atomic(struct snapshot_page *) *pages; /* row of an item: atomics, read without the lock */
};

/* A moment of a snapshot. */
struct snapshot_view {
    struct snapshot *snapshot; /* a reference */
    size_t row_count, segment_count;
    uint64_t *alive; /* own copy, in the caller's arena: the request clears bits in it */
    int64_t position;
    size_t alive_count; /* before anything was cleared */
};

/* Encode `items` (records, referenced by the snapshot itself). NULL with `st` out of memory. Slow: belongs into the background. */
struct snapshot *snapshot_build(struct model *model, struct catalog *catalog, struct catalog_item *const *items,
                                size_t count, int64_t position, struct arena *arena, struct status *st);
struct snapshot *snapshot_acquire(struct snapshot *snapshot);
void snapshot_release(struct snapshot *snapshot); /* NULL is fine */

/* Bytes that a snapshot of so many items takes, about; `largest_id` is the largest item_id. */
uint64_t snapshot_bytes(const struct architecture *architecture, size_t items, uint32_t largest_id);

/* Append the new records of changed items. FAILED_PRECONDITION / SNAPSHOT_FULL when a compaction must come first. */
bool snapshot_append(struct snapshot *snapshot, struct catalog *catalog, struct catalog_item *const *items,
                     size_t count, int64_t position, struct arena *arena, struct status *st);

/* Time for a compaction: deltas of more than half the base (and 2 segments), or half of all segments in use. */
bool snapshot_wants_compaction(struct snapshot *snapshot);

/* Rows and, of them, dead ones. */
void snapshot_size(struct snapshot *snapshot, size_t *rows, size_t *dead);

/* Capture this moment, with the bits of items that are not shown at `now_ms` cleared. Takes a reference. False when the arena gives out. */
bool snapshot_capture(struct snapshot *snapshot, int64_t now_ms, struct arena *arena, struct snapshot_view *view);
void snapshot_view_close(struct snapshot_view *view);

/* The row of an item in this view, SNAPSHOT_ROW_NONE where it has none. */
uint32_t snapshot_find(const struct snapshot_view *view, uint32_t item_id);

/* The segment of a row, and its index. */
const struct snapshot_segment *snapshot_segment_of(const struct snapshot_view *view, size_t row);
size_t snapshot_segment_index(const struct snapshot_view *view, size_t row);

#endif
