/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/writer.h"

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/timestamp.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define BATCH_TASKS_MAX    4096
#define ARENA_BYTES        ((size_t)256 << 20)
#define WAL_CHECK_US       200000
#define WAL_PASSIVE_BYTES  (8 << 20)
#define WAL_TRUNCATE_BYTES (64 << 20)
#define IDLE_US            2000000
#define RETRY_AFTER_MS     50
#define READ_ONLY_RETRY_MS 1000

struct writer_event {
    struct store_event event;
    char user[257];
};

struct writer_item {
    UT_hash_handle by_id, by_name;
    uint32_t item_id;
    const char *name; /* in the record */
    struct catalog_item *record;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a batch of changes");
}

/* ---- what a batch has changed so far */

struct catalog_item *writer_find_item(struct writer *writer, const char *name)
{
    struct writer_item *entry = NULL;
    HASH_FIND(by_name, writer->items_by_name, name, strlen(name), entry);
    if (entry != NULL)
        return catalog_item_acquire(entry->record);
    uint32_t item_id;
    catalog_find(writer->engine->catalog, &name, 1, &item_id);
    return item_id == 0 ? NULL : catalog_get(writer->engine->catalog, item_id);
}

static void forget_items(struct writer *writer)
{
    struct writer_item *entry, *next;
    HASH_CLEAR(by_name, writer->items_by_name);
    HASH_ITER(by_id, writer->items_by_id, entry, next)
    {
        HASH_DELETE(by_id, writer->items_by_id, entry);
        catalog_item_release(entry->record);
        free(entry);
    }
}

/* take over a reference on the newest record of an item */
static bool remember_item(struct writer *writer, struct catalog_item *record, struct status *st)
{
    struct writer_item *entry = NULL;
    uint32_t item_id = record->item.item_id;
    HASH_FIND(by_id, writer->items_by_id, &item_id, sizeof item_id, entry);
    if (entry != NULL) {
        HASH_DELETE(by_name, writer->items_by_name, entry); /* its key lies in the old record */
        catalog_item_release(entry->record);
    } else {
        entry = calloc(1, sizeof *entry);
        if (entry == NULL) {
            catalog_item_release(record);
            return out_of_memory(st);
        }
        entry->item_id = item_id;
        HASH_ADD(by_id, writer->items_by_id, item_id, sizeof entry->item_id, entry);
    }
    entry->record = record;
    entry->name = record->item.name;
    HASH_ADD_KEYPTR(by_name, writer->items_by_name, entry->name, strlen(entry->name), entry);
    if (record->item.position > writer->position)
        writer->position = record->item.position;
    return true;
}

bool writer_put_item(struct writer *writer, struct store_item *item, const struct catalog_item *old,
                     struct catalog_feature *const *changed, size_t changed_count, int64_t now_ms, struct status *st)
{
    if (!store_item_put(writer->store, item, now_ms, st))
        return false;
    struct catalog_item *record = catalog_item_new(item, old, changed, changed_count);
    return record == NULL ? out_of_memory(st) : remember_item(writer, record, st);
}

bool writer_put_features(struct writer *writer, const struct catalog_item *old, struct catalog_feature *const *changed,
                         size_t changed_count, int64_t position, struct status *st)
{
    struct store_item item = old->item;
    item.position = position;
    struct catalog_item *record = catalog_item_new(&item, old, changed, changed_count);
    return record == NULL ? out_of_memory(st) : remember_item(writer, record, st);
}

bool writer_find_space(struct writer *writer, const char *modality, const char *encoder, struct store_space *space)
{
    for (size_t i = 0; i < writer->space_count; i++)
        if (strcmp(writer->spaces[i].modality, modality) == 0 && strcmp(writer->spaces[i].encoder, encoder) == 0) {
            *space = writer->spaces[i];
            return true;
        }
    return catalog_find_space(writer->engine->catalog, modality, encoder, space);
}

bool writer_put_space(struct writer *writer, struct store_space *space, struct status *st)
{
    if (writer->space_count == CATALOG_SPACES_MAX)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY", "too many new encoders at once");
    if (!store_space_put(writer->store, space, st))
        return false;
    writer->spaces[writer->space_count++] = *space;
    return true;
}

bool writer_add_event(struct writer *writer, const char *user, struct store_event *event,
                      const struct store_event_extra *extra, bool *duplicate, struct status *st)
{
    if (!store_event_append(writer->store, event, extra, duplicate, st))
        return false;
    if (*duplicate)
        return true;
    if (writer->event_count == writer->event_capacity) {
        size_t capacity = writer->event_capacity * 2 + 1024;
        struct writer_event *grown = realloc(writer->events, capacity * sizeof *grown);
        if (grown == NULL)
            return out_of_memory(st);
        writer->events = grown;
        writer->event_capacity = capacity;
    }
    struct writer_event *entry = &writer->events[writer->event_count++];
    entry->event = *event;
    snprintf(entry->user, sizeof entry->user, "%s", user);
    if (event->position > writer->position)
        writer->position = event->position;
    return true;
}

/* ---- a batch */

struct batch {
    struct write_task *tasks[BATCH_TASKS_MAX];
    struct status outcome[BATCH_TASKS_MAX];
    size_t count, rows;
};

/* what has arrived, up to the configured rows or time */
static void gather(struct writer *writer, struct batch *batch, struct write_task *first)
{
    const struct config *config = writer->engine->config;
    int64_t until_us = timestamp_monotonic_us() + (int64_t)(config->storage_batch_ms * 1000);
    batch->count = 0;
    batch->rows = 0;
    for (struct write_task *task = first; task != NULL; task = queue_pop(&writer->queue, 0)) {
        batch->outcome[batch->count] = (struct status)STATUS_INIT;
        batch->tasks[batch->count++] = task;
        batch->rows += task->rows;
        if (batch->count == BATCH_TASKS_MAX || batch->rows >= (size_t)config->storage_batch_rows ||
            timestamp_monotonic_us() >= until_us)
            break;
    }
}

/* Errors that mean the transaction is broken; anything else is a task's own refusal. */
static bool is_store_error(const struct status *st)
{
    return strncmp(st->reason, "STORE_", 6) == 0 || strcmp(st->reason, "DISK_FULL") == 0 ||
           strcmp(st->reason, "NO_MEMORY") == 0 || strcmp(st->reason, "NO_TRANSACTION") == 0;
}

static bool write_batch(struct writer *writer, struct batch *batch, struct status *st)
{
    if (!store_begin(writer->store, st))
        return false;
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->tasks[i]->write(writer, batch->tasks[i], &batch->outcome[i]) &&
            (batch->tasks[i]->changed || is_store_error(&batch->outcome[i]))) {
            *st = batch->outcome[i];
            return false;
        }
    return store_commit(writer->store, st);
}

/* bring memory up to what the disk has */
static void apply_batch(struct writer *writer)
{
    struct status st = STATUS_INIT;
    for (size_t i = 0; i < writer->event_count; i++)
        histories_append(writer->engine->histories, writer->events[i].user, &writer->events[i].event);
    for (size_t i = 0; i < writer->space_count; i++)
        if (!catalog_add_space(writer->engine->catalog, &writer->spaces[i], &st))
            log_error("apply_failed", "%s", st.message);
    size_t items = HASH_CNT(by_id, writer->items_by_id), at = 0;
    int64_t newest = 0;
    if (items > 0) {
        struct catalog_item **changed = malloc(items * sizeof *changed);
        struct writer_item *entry, *next;
        HASH_ITER(by_id, writer->items_by_id, entry, next)
        {
            if (changed != NULL)
                changed[at++] = catalog_item_acquire(entry->record);
            if (entry->record->item.position > newest)
                newest = entry->record->item.position;
        }
        struct arena_mark mark = arena_mark(&writer->arena);
        if (changed == NULL || !engine_apply_items(writer->engine, changed, items, newest, &writer->arena, &st))
            log_error("apply_failed", "committed items could not be brought into memory: %s", st.message);
        arena_rewind(&writer->arena, mark);
        free(changed);
    }
    if (writer->position > writer->engine->committed)
        writer->engine->committed = writer->position;
    if (writer->changed != NULL)
        writer->changed(writer->changed_context, writer->event_count, items);
}

static void note_store_error(struct writer *writer, const struct status *st)
{
    metrics_add(METRICS_COUNTER_store_errors, 1);
    if (writer->writable)
        log_error("store_read_only", "writes fail, lists are still served: %s", st->message);
    writer->writable = false;
    metrics_set(METRICS_GAUGE_store_writable, 0);
}

static void run_batch(struct writer *writer, struct batch *batch)
{
    struct status st = STATUS_INIT;
    int64_t begin_us = timestamp_monotonic_us();
    bool ok = write_batch(writer, batch, &st);
    if (ok) {
        metrics_observe(METRICS_HISTOGRAM_store_commit_seconds, (double)(timestamp_monotonic_us() - begin_us) / 1e6);
        metrics_add(METRICS_COUNTER_store_commits, 1);
        metrics_add(METRICS_COUNTER_store_rows, batch->rows);
        if (!writer->writable)
            log_info("store_writable", "writes succeed again");
        writer->writable = true;
        metrics_set(METRICS_GAUGE_store_writable, 1);
        apply_batch(writer);
    } else {
        store_rollback(writer->store);
        note_store_error(writer, &st);
        st.retry_after_ms = READ_ONLY_RETRY_MS;
    }
    writer->event_count = 0;
    writer->space_count = 0;
    writer->position = 0;
    forget_items(writer);
    for (size_t i = 0; i < batch->count; i++)
        batch->tasks[i]->done(writer, batch->tasks[i], ok ? &batch->outcome[i] : &st);
}

/* ---- the thread */

static void look_after_log(struct writer *writer, bool idle)
{
    struct status st = STATUS_INIT;
    struct store_sizes sizes;
    int64_t now_us = timestamp_monotonic_us();
    if (!idle && now_us - writer->checked_us < WAL_CHECK_US)
        return;
    writer->checked_us = now_us;
    if (!store_sizes(writer->store, &sizes, &st))
        return;
    writer->users = sizes.users;
    writer->event_total = sizes.events;
    metrics_set(METRICS_GAUGE_users, (double)sizes.users);
    metrics_set(METRICS_GAUGE_events, (double)sizes.events);
    metrics_set(METRICS_GAUGE_store_wal_bytes, (double)sizes.wal_bytes);
    metrics_set(METRICS_GAUGE_store_database_bytes, (double)sizes.database_bytes);
    writer->truncate = writer->truncate && sizes.wal_bytes > 0;
    if (sizes.wal_bytes < WAL_PASSIVE_BYTES && !(idle && sizes.wal_bytes > 0) && !writer->truncate)
        return;
    metrics_add(METRICS_COUNTER_checkpoints, 1);
    if (!store_checkpoint(writer->store, idle || writer->truncate || sizes.wal_bytes > WAL_TRUNCATE_BYTES, &st))
        log_warn("checkpoint_failed", "%s", st.message);
}

static void *run(void *argument)
{
    struct writer *writer = argument;
    struct batch *batch = malloc(sizeof *batch);
    bool idle = false;
    while (batch != NULL) {
        struct write_task *task = queue_pop(&writer->queue, idle ? INT64_MAX : timestamp_monotonic_us() + IDLE_US);
        if (task == NULL && queue_is_over(&writer->queue))
            break;
        if (task != NULL) {
            gather(writer, batch, task);
            run_batch(writer, batch);
        }
        idle = task == NULL;
        look_after_log(writer, idle);
    }
    free(batch);
    return NULL;
}

bool writer_start(struct writer *writer, struct store *store, struct engine *engine, struct status *st)
{
    writer->store = store;
    writer->engine = engine;
    writer->writable = true;
    metrics_set(METRICS_GAUGE_store_writable, 1);
    arena_init(&writer->arena, ARENA_BYTES);
    look_after_log(writer, false);
    if (!queue_init(&writer->queue, (size_t)engine->config->server_queue_requests,
                    (size_t)engine->config->server_queue_bytes))
        return out_of_memory(st);
    if (pthread_create(&writer->thread, NULL, run, writer) != 0)
        return status_fail(st, STATUS_INTERNAL, "NO_THREAD", "the writer's thread could not be started");
    writer->running = true;
    return true;
}

void writer_stop(struct writer *writer)
{
    if (writer->running) {
        queue_end(&writer->queue);
        pthread_join(writer->thread, NULL);
        writer->running = false;
    }
    queue_close(&writer->queue);
    arena_close(&writer->arena);
    free(writer->events);
    writer->events = NULL;
}

bool writer_submit(struct writer *writer, struct write_task *task, struct status *st)
{
    if (queue_push(&writer->queue, task, task->size_bytes))
        return true;
    status_fail(st, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "too many writes are waiting");
    st->retry_after_ms = RETRY_AFTER_MS;
    metrics_add(METRICS_COUNTER_rejected_queue_full, 1);
    return false;
}
