/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/worker.h"

#include "daemon/metrics.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"

#include <string.h>

#define ARENA_BYTES ((size_t)512 << 20)

static void expired(struct job *job)
{
    struct status st = STATUS_INIT;
    status_fail(&st, STATUS_DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE",
                "the deadline had passed before the request was looked at");
    metrics_add(METRICS_COUNTER_rejected_deadline, 1);
    job_fail(job, &st);
}

static void work_on(struct worker *worker, struct job *job)
{
    struct server *server = worker->handler.server;
    struct status st = STATUS_INIT;
    int64_t now_us = timestamp_monotonic_us();
    metrics_observe(METRICS_HISTOGRAM_queue_wait_seconds, (double)(now_us - job->received_us) / 1e6);
    if (!job_open(job, (uint32_t)server->config.server_timeout_ms, &st)) {
        if (st.code != STATUS_UNIMPLEMENTED)
            metrics_add(METRICS_COUNTER_frames_malformed, 1);
        job_fail(job, &st);
        return;
    }
    if (now_us > job->deadline_us) {
        expired(job);
        return;
    }
    if (!job_decode(job, &st)) {
        metrics_add(METRICS_COUNTER_frames_malformed, 1);
        job_fail(job, &st);
        return;
    }
    struct arena_mark mark = arena_mark(&worker->handler.worker.arena);
    if (!job->route->handle(&worker->handler, job, &st))
        job_fail(job, &st);
    metrics_set(METRICS_GAUGE_arena_peak_bytes, (double)arena_peak(&worker->handler.worker.arena));
    arena_rewind(&worker->handler.worker.arena, mark);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct server *server = worker->handler.server;
    for (struct job *job; (job = queue_pop(&server->queue, INT64_MAX)) != NULL;)
        work_on(worker, job);
    return NULL;
}

bool worker_start(struct worker *worker, struct server *server, struct status *st)
{
    struct store_options options = {.data_dir = server->config.storage_data_dir};
    *worker = (struct worker){.handler.server = server};
    worker->reader = store_open_reader(&options, st);
    if (worker->reader == NULL)
        return false;
    engine_worker_init(&worker->handler.worker, &server->engine, worker->reader, ARENA_BYTES);
    if (pthread_create(&worker->thread, NULL, run, worker) != 0)
        return status_fail(st, STATUS_INTERNAL, "NO_THREAD", "a worker's thread could not be started");
    worker->running = true;
    return true;
}

void worker_stop(struct worker *worker)
{
    if (worker->running)
        pthread_join(worker->thread, NULL);
    engine_worker_close(&worker->handler.worker);
    store_close(worker->reader);
    *worker = (struct worker){0};
}
