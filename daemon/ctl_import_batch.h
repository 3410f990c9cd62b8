/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of rows on its way to the daemon. It owns all that its request points to, so that it can be sent again as it
 * is. */
#ifndef RECSYS_DAEMON_CTL_IMPORT_BATCH_H
#define RECSYS_DAEMON_CTL_IMPORT_BATCH_H

#include "proto/recsys.pb-c.h"
#include "proto/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_ARENA_BYTES   (4u << 20)
#define BATCH_WIRE_BYTES    (1u << 20) /* packed rows after which a batch is full: well below a frame's limit */
#define BATCH_VECTORS_BYTES (2u << 20) /* the attachment stays below */

struct batch {
    char *arena; /* strings and rows; owned */
    size_t arena_used;
    void **rows;     /* row_capacity of Recsys__Event, Recsys__Item or item ids; owned */
    uint64_t *lines; /* beside each row: its line, or row of the matrix; owned */
    size_t row_count, row_capacity;
    size_t wire_bytes;
    float *vectors;          /* feature batches: row_count × dimension; owned */
    size_t vectors_capacity; /* values */
    size_t vectors_bytes;    /* of the attachment; 0: none */
    union {
        ProtobufCMessage base;
        Recsys__EventAddRequest events;
        Recsys__ItemPutRequest items;
        Recsys__FeaturePutRequest features;
    } request;
    bool taken;          /* being filled, or in flight */
    uint64_t request_id; /* 0: not in flight */
    unsigned attempts;
};

bool batch_open(struct batch *batch, size_t row_capacity, struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void batch_close(struct batch *batch);

/* Empty it for new rows. */
void batch_reset(struct batch *batch);

/* Memory that lives as long as the batch's rows, aligned for any of their members; NULL when the arena is full. */
void *batch_alloc(struct batch *batch, size_t size);

/* A copy of `text` in the arena; NULL when it is full. */
char *batch_text(struct batch *batch, const char *text);

/* Take in a row of `wire_bytes` packed bytes from line `line`. There must be room: see batch_full. */
void batch_add(struct batch *batch, void *row, uint64_t line, size_t wire_bytes);

/* Should it be sent before another row comes? */
bool batch_full(const struct batch *batch);

/* Room for `count` values in `vectors`. */
bool batch_reserve_vectors(struct batch *batch, size_t count, struct status *st);

#endif
