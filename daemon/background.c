/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/background.h"

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/timestamp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ARENA_BYTES     ((size_t)256 << 20)
#define FORGET_ROWS     1000
#define FORGET_LEAST_US 200000
#define FORGET_MOST_US  10000000
#define TICK_MS         200
#define QUIET_US        300000  /* items have stopped arriving: fit */
#define QUIET_MOST_US   5000000 /* or they have kept arriving for this long */
#define LOW_PRIORITY    10

/* ---- what goes to the store goes through the writer */

struct stored {
    struct write_task task;
    struct background *background;
    unsigned merges;
    int64_t position, at_ms;
    void *bytes;
    size_t size;
};

static bool write_counts(struct writer *writer, struct write_task *task, struct status *st)
{
    struct stored *stored = task->context;
    if (stored->merges != stored->background->merges) /* of sequences that are no longer there */
        return true;
    return store_counts_put(writer->store, stored->position, stored->at_ms, stored->bytes, stored->size, st);
}

static void counts_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct stored *stored = task->context;
    (void)writer;
    if (st->code != STATUS_OK)
        log_warn("counts_not_stored", "%s", st->message);
    free(stored->bytes);
    free(stored);
}

static void store_counts(struct background *b, int64_t now_ms, void *bytes, size_t size)
{
    struct status st = STATUS_INIT;
    struct stored *stored = calloc(1, sizeof *stored);
    if (stored == NULL) {
        free(bytes);
        return;
    }
    *stored = (struct stored){.background = b,
                              .merges = b->counted_at,
                              .position = b->counting.published,
                              .at_ms = now_ms,
                              .bytes = bytes,
                              .size = size};
    stored->task = (struct write_task){.write = write_counts, .done = counts_done, .context = stored, .rows = 1};
    if (!writer_submit(b->writer, &stored->task, &st))
        counts_done(b->writer, &stored->task, &st);
}

/* ---- the past that is not kept */

struct forgetting {
    struct write_task task;
    int64_t before_ms;
};

static bool write_forgetting(struct writer *writer, struct write_task *task, struct status *st)
{
    const struct forgetting *forgetting = task->context;
    task->changed = true;
    return store_past_forget(writer->store, forgetting->before_ms, FORGET_ROWS, st);
}

static void forgetting_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct forgetting *forgetting = task->context;
    (void)writer;
    if (st->code != STATUS_OK)
        log_warn("past_not_forgotten", "%s", st->message);
    free(forgetting);
}

/* now and then, a few rows at a time: what nobody can ask for any more */
static void tend_past(struct background *b)
{
    struct status st = STATUS_INIT;
    int64_t past_ms = b->engine->config->storage_past_ms, now_us = timestamp_monotonic_us();
    int64_t every_us = past_ms * 1000 / 10;
    every_us = every_us < FORGET_LEAST_US ? FORGET_LEAST_US : every_us > FORGET_MOST_US ? FORGET_MOST_US : every_us;
    if (now_us - b->forgot_us < every_us)
        return;
    b->forgot_us = now_us;
    struct forgetting *forgetting = calloc(1, sizeof *forgetting);
    if (forgetting == NULL)
        return;
    forgetting->before_ms = timestamp_now_ms() - past_ms;
    forgetting->task = (struct write_task){
        .write = write_forgetting, .done = forgetting_done, .context = forgetting, .rows = FORGET_ROWS};
    if (!writer_submit(b->writer, &forgetting->task, &st))
        free(forgetting);
}

/* ---- what is told about the model */

static void describe_snapshot(struct background *b)
{
    struct snapshot *snapshot;
    struct counts_view *counts;
    engine_acquire(b->engine, &snapshot, &counts);
    if (snapshot != NULL) {
        size_t rows, dead;
        snapshot_size(snapshot, &rows, &dead);
        metrics_set(METRICS_GAUGE_snapshot_rows, (double)rows);
        metrics_set(METRICS_GAUGE_snapshot_dead_rows, (double)dead);
        const char *const labels[][2] = {{"name", snapshot->model->name}, {"version", snapshot->model->version}};
        metrics_info("model_info", labels, 2);
    }
    metrics_set(METRICS_GAUGE_items, (double)catalog_item_count(b->engine->catalog));
    snapshot_release(snapshot);
    counts_view_release(counts);
}

/* ---- the thread */

static void tend_counts(struct background *b)
{
    struct status st = STATUS_INIT;
    int64_t now_ms = timestamp_now_ms();
    void *bytes;
    size_t size;
    b->counted_at = b->merges;
    if (b->holds > 0)
        return;
    if (atomic_exchange(&b->recount, false))
        counting_recount(&b->counting);
    bool whole = b->counting.broken; /* a rebuild reads the log at one moment: right, whatever comes meanwhile */
    if (!counting_catch_up(&b->counting, &st)) {
        log_warn("counts_behind", "%s", st.message);
        return;
    }
    whole = whole && !b->counting.broken;
    if ((!whole && (b->holds > 0 || b->recount)) || !counting_is_due(&b->counting, now_ms))
        return;
    if (!counting_publish(&b->counting, now_ms, false, &bytes, &size, &st)) {
        log_warn("counts_not_published", "%s", st.message);
        return;
    }
    metrics_add(METRICS_COUNTER_counts_published, 1);
    store_counts(b, timestamp_now_ms(), bytes, size); /* now: it knows what has come until just now */
}

/* wait for something to do, at most a tick; says whether items have settled */
static bool wait_for_work(struct background *b, bool *items_settled)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&b->lock);
    int waited = 0;
    while (!b->dirty && !b->stopping && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&b->woken, &b->lock, &until);
    b->dirty = false;
    int64_t now_us = timestamp_monotonic_us();
    *items_settled = b->items_changed_us != 0 &&
                     (now_us - b->items_changed_us > QUIET_US || now_us - b->first_change_us > QUIET_MOST_US);
    if (*items_settled)
        b->items_changed_us = b->first_change_us = 0;
    bool go_on = !b->stopping;
    pthread_mutex_unlock(&b->lock);
    return go_on;
}

static void *run(void *argument)
{
    struct background *b = argument;
    bool items_settled;
    setpriority(PRIO_PROCESS, (id_t)gettid(),
                LOW_PRIORITY); /* this thread alone; refused in a sandbox, which does no harm */
    while (wait_for_work(b, &items_settled)) {
        tend_counts(b);
        registry_work(&b->registry, b->counting.published, items_settled);
        describe_snapshot(b);
        tend_past(b);
    }
    return NULL;
}

void background_hold_counts(struct background *b)
{
    atomic_fetch_add(&b->merges, 1);
    atomic_fetch_add(&b->holds, 1);
}

void background_release_counts(struct background *b, bool moved)
{
    if (moved)
        atomic_store(&b->recount, true);
    atomic_fetch_sub(&b->holds, 1);
    background_changed(b, moved, 0);
}

bool background_order(struct background *b, struct registry_order *order, struct status *st)
{
    if (!registry_submit(&b->registry, order, st))
        return false;
    pthread_mutex_lock(&b->lock);
    b->dirty = true;
    pthread_cond_signal(&b->woken);
    pthread_mutex_unlock(&b->lock);
    return true;
}

void background_changed(void *background, size_t events, size_t items)
{
    struct background *b = background;
    pthread_mutex_lock(&b->lock);
    b->dirty = b->dirty || events > 0 || items > 0;
    if (items > 0) {
        b->items_changed_us = timestamp_monotonic_us();
        if (b->first_change_us == 0)
            b->first_change_us = b->items_changed_us;
    }
    pthread_cond_signal(&b->woken);
    pthread_mutex_unlock(&b->lock);
}

/* ---- start and stop */

bool background_prepare(struct background *b, struct engine *engine, struct store *store, struct store *reader,
                        struct status *st)
{
    *b = (struct background){.engine = engine, .reader = reader};
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&b->woken, &attributes);
    pthread_condattr_destroy(&attributes);
    arena_init(&b->arena, ARENA_BYTES);
    if (!counting_start(&b->counting, engine, reader, st))
        return false;
    int64_t position;
    bool ok = registry_open(&b->registry, engine, store, reader, &b->arena, b->counting.published, st);
    if (ok && store_position(store, &position, st))
        engine->committed = position; /* the activation took one */
    describe_snapshot(b);
    return ok;
}

bool background_start(struct background *b, struct writer *writer, struct status *st)
{
    b->writer = writer;
    registry_start(&b->registry, writer);
    store_counts(b, timestamp_now_ms(), NULL, 0);
    if (pthread_create(&b->thread, NULL, run, b) != 0)
        return status_fail(st, STATUS_INTERNAL, "NO_THREAD", "the background thread could not be started");
    b->running = true;
    return true;
}

void background_stop(struct background *b)
{
    struct status st = STATUS_INIT;
    void *bytes = NULL;
    size_t size;
    if (!b->running)
        return;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_signal(&b->woken);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    b->running = false;
    registry_end(&b->registry);
    b->counted_at = b->merges;
    if (b->holds > 0 || b->recount || b->counting.broken)
        return; /* the next start rebuilds them */
    if (counting_catch_up(&b->counting, &st) &&
        counting_publish(&b->counting, timestamp_now_ms(), true, &bytes, &size, &st))
        store_counts(b, timestamp_now_ms(), bytes, size);
}

void background_close(struct background *b)
{
    if (b->engine == NULL)
        return;
    registry_close(&b->registry);
    counting_close(&b->counting);
    arena_close(&b->arena);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->woken);
    *b = (struct background){0};
}
