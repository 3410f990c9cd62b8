/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import_batch.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

static bool no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}

bool batch_open(struct batch *batch, size_t row_capacity, struct status *st)
{
    *batch = (struct batch){.row_capacity = row_capacity};
    batch->arena = malloc(BATCH_ARENA_BYTES);
    batch->rows = calloc(row_capacity, sizeof *batch->rows);
    batch->lines = calloc(row_capacity, sizeof *batch->lines);
    if (batch->arena != NULL && batch->rows != NULL && batch->lines != NULL)
        return true;
    batch_close(batch);
    return no_memory(st);
}

void batch_close(struct batch *batch)
{
    free(batch->arena);
    free(batch->rows);
    free(batch->lines);
    free(batch->vectors);
    memset(batch, 0, sizeof *batch);
}

void batch_reset(struct batch *batch)
{
    batch->arena_used = 0;
    batch->row_count = 0;
    batch->wire_bytes = 0;
    batch->vectors_bytes = 0;
    batch->taken = false;
    batch->request_id = 0;
    batch->attempts = 0;
}

void *batch_alloc(struct batch *batch, size_t size)
{
    size_t start = (batch->arena_used + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (start > BATCH_ARENA_BYTES || size > BATCH_ARENA_BYTES - start)
        return NULL;
    batch->arena_used = start + size;
    return batch->arena + start;
}

char *batch_text(struct batch *batch, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size > BATCH_ARENA_BYTES - batch->arena_used)
        return NULL;
    char *copy = batch->arena + batch->arena_used;
    memcpy(copy, text, size);
    batch->arena_used += size;
    return copy;
}

void batch_add(struct batch *batch, void *row, uint64_t line, size_t wire_bytes)
{
    assert(batch->row_count < batch->row_capacity);
    batch->rows[batch->row_count] = row;
    batch->lines[batch->row_count++] = line;
    batch->wire_bytes += wire_bytes;
}

bool batch_full(const struct batch *batch)
{
    return batch->row_count == batch->row_capacity || batch->wire_bytes >= BATCH_WIRE_BYTES;
}

bool batch_reserve_vectors(struct batch *batch, size_t count, struct status *st)
{
    if (count <= batch->vectors_capacity)
        return true;
    float *vectors = reallocarray(batch->vectors, count, sizeof *vectors);
    if (vectors == NULL)
        return no_memory(st);
    batch->vectors = vectors;
    batch->vectors_capacity = count;
    return true;
}
