/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ingest.h"

#include "daemon/timestamp.h"

#include <string.h>

struct ingest *ingest_new(struct handler *handler, struct job *job, size_t row_count, size_t row_size,
                          struct status *st)
{
    int64_t most = handler->server->config.limits_batch;
    if (row_count == 0) {
        status_fail(st, STATUS_INVALID_ARGUMENT, "MISSING", "the request has no rows");
        return NULL;
    }
    if (row_count > (size_t)most) {
        status_fail(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "%zu rows in one request, %lld are allowed", row_count,
                    (long long)most);
        return NULL;
    }
    struct ingest *ingest = arena_alloc(&job->arena, sizeof *ingest);
    void *rows = arena_alloc(&job->arena, row_count * row_size);
    if (ingest == NULL || rows == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "the request needs more memory than one may take");
        return NULL;
    }
    memset(rows, 0, row_count * row_size);
    *ingest = (struct ingest){.job = job,
                              .config = &handler->server->config,
                              .atomic = true,
                              .now_ms = timestamp_now_ms(),
                              .rows = rows,
                              .row_count = row_count};
    return ingest;
}

bool ingest_refuse(struct ingest *ingest, size_t row, struct status *row_status, struct status *st)
{
    if (ingest->atomic) {
        *st = *row_status;
        return false;
    }
    if (!row_errors_add(&ingest->errors, &ingest->job->arena, row, row_status))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "too many rows are refused to list them");
    return true;
}

bool ingest_submit(struct handler *handler, struct ingest *ingest,
                   bool (*write)(struct writer *writer, struct write_task *task, struct status *st),
                   void (*done)(struct writer *writer, struct write_task *task, const struct status *st),
                   struct status *st)
{
    ingest->task = (struct write_task){.write = write,
                                       .done = done,
                                       .context = ingest,
                                       .rows = ingest->row_count,
                                       .size_bytes = ingest->job->size_bytes};
    return writer_submit(&handler->server->writer, &ingest->task, st);
}

struct catalog_item *ingest_item(struct writer *writer, struct ingest *ingest, const char *name, const char *field,
                                 bool create, struct status *st)
{
    struct catalog_item *item = writer_find_item(writer, name);
    if (item != NULL)
        return item;
    if (!create) {
        status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", field,
                          "item '%s' is unknown and cascade_create is not set", name);
        return NULL;
    }
    struct store_item made = {.name = name,
                              .title = "",
                              .categories_json = "[]",
                              .attributes_json = "{}",
                              .available = true,
                              .expires_ms = INT64_MAX};
    if (!writer_put_item(writer, &made, NULL, NULL, 0, ingest->now_ms, st))
        return NULL;
    ingest->created_items++;
    if (made.position > ingest->position)
        ingest->position = made.position;
    return writer_find_item(writer, name);
}
