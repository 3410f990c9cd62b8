/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of users on all cores, written in their order. */
#include "daemon/program.h"
#include "daemon/rescore.h"
#include "daemon/timestamp.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)512 << 20)
#define THREADS_MAX 256
#define REPORT_US   10000000
#define DIGITS      7 /* what a float holds */

/* A block on its way: taken, worked on, done, written. */
struct block {
    size_t number;
    struct store_user users[RESCORE_BLOCK_USERS];
    size_t count;
    char *text;
    size_t size;
    bool done;
};

struct run {
    struct rescore *rescore;
    struct rescore_users *users;
    size_t skip;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct block **ring; /* block b is in ring[b % ring_size]: bounds how far work runs ahead of writing */
    size_t ring_size, next_block, written_blocks;
    bool ended, failed;
    struct status status;
};

static bool print_list(FILE *out, const char *user, const struct engine_answer *answer)
{
    json_t *items = json_array(), *degraded = json_array();
    for (size_t i = 0; i < answer->count; i++)
        json_array_append_new(items, json_pack("{s:s, s:f, s:s}", "item", answer->items[i].item->item.name, "score",
                                               (double)answer->items[i].score, "source",
                                               engine_source_name(answer->items[i].source)));
    for (size_t i = 0; i < answer->degraded_count; i++)
        json_array_append_new(degraded, json_string(answer->degraded[i]));
    json_t *line = json_pack("{s:s, s:o, s:o}", "user", user, "items", items, "degraded", degraded);
    bool ok = line != NULL && json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) == 0 &&
              fputc('\n', out) != EOF;
    json_decref(line);
    return ok;
}

static bool score_block(struct run *run, struct engine_worker *worker, struct block *block, struct status *st)
{
    FILE *out = open_memstream(&block->text, &block->size);
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < block->count; i++) {
        struct arena_mark mark = arena_mark(&worker->arena);
        struct engine_answer answer;
        ok = rescore_user(run->rescore, worker, block->users[i].name, &answer, st);
        if (ok) {
            ok = print_list(out, block->users[i].name, &answer) ||
                 status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a block of lists");
            engine_answer_close(&answer);
        }
        arena_rewind(&worker->arena, mark);
    }
    if (out != NULL)
        fclose(out);
    return ok;
}

/* leave out users that an earlier run has written; the caller holds the lock */
static void skip_users(struct run *run, struct block *block)
{
    size_t skipped = run->skip < block->count ? run->skip : block->count;
    memmove(block->users, block->users + skipped, (block->count - skipped) * sizeof *block->users);
    block->count -= skipped;
    run->skip -= skipped;
}

/* the next block of users, in order; NULL at the end */
static struct block *take_block(struct run *run)
{
    struct block *block = NULL;
    pthread_mutex_lock(&run->lock);
    while (!run->ended && !run->failed && run->next_block >= run->written_blocks + run->ring_size)
        pthread_cond_wait(&run->changed, &run->lock);
    while (!run->ended && !run->failed && block == NULL) {
        block = calloc(1, sizeof *block);
        bool ok = block != NULL && rescore_users_next(run->users, block->users, &block->count, &run->status);
        run->failed = !ok;
        run->ended = !ok || block->count == 0;
        if (ok)
            skip_users(run, block);
        if (run->ended || block->count == 0) {
            free(block);
            block = NULL;
        }
    }
    if (block != NULL) {
        block->number = run->next_block++;
        run->ring[block->number % run->ring_size] = block;
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    return block;
}

static void *work(void *argument)
{
    struct run *run = argument;
    struct status st = STATUS_INIT;
    struct engine_worker worker = {0};
    struct store *reader = store_open_reader(&run->rescore->options, &st);
    bool ok = reader != NULL && engine_worker_init(&worker, &run->rescore->engine, reader, ARENA_BYTES);
    for (struct block *block; ok && (block = take_block(run)) != NULL;) {
        ok = score_block(run, &worker, block, &st);
        pthread_mutex_lock(&run->lock);
        block->done = ok;
        pthread_cond_broadcast(&run->changed);
        pthread_mutex_unlock(&run->lock);
    }
    if (!ok) {
        pthread_mutex_lock(&run->lock);
        if (!run->failed)
            run->status = st;
        run->failed = true;
        pthread_cond_broadcast(&run->changed);
        pthread_mutex_unlock(&run->lock);
    }
    if (reader != NULL)
        engine_worker_close(&worker);
    store_close(reader);
    return NULL;
}

/* wait for the block whose turn it is; NULL when all are written or something failed */
static struct block *await_block(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    struct block **slot = &run->ring[run->written_blocks % run->ring_size];
    while (!run->failed && (*slot == NULL || !(*slot)->done) && !(run->ended && run->written_blocks == run->next_block))
        pthread_cond_wait(&run->changed, &run->lock);
    struct block *block = run->failed || *slot == NULL ? NULL : *slot;
    pthread_mutex_unlock(&run->lock);
    return block;
}

static void report(size_t written, int64_t begin_us, bool last)
{
    static int64_t next_us;
    int64_t now_us = timestamp_monotonic_us();
    bool terminal = isatty(STDERR_FILENO);
    if (!last && now_us < next_us)
        return;
    next_us = now_us + (terminal ? 100000 : REPORT_US);
    double seconds = (double)(now_us - begin_us) / 1e6;
    fprintf(stderr, "%s%zu users, %.0f/s%s", terminal ? "\r" : "", written, seconds > 0 ? (double)written / seconds : 0,
            terminal && !last ? "" : "\n");
}

static bool write_blocks(struct run *run, FILE *out, bool quiet, size_t *written, struct status *st)
{
    int64_t begin_us = timestamp_monotonic_us();
    for (struct block *block; (block = await_block(run)) != NULL;) {
        bool ok = fwrite(block->text, 1, block->size, out) == block->size && fflush(out) == 0;
        pthread_mutex_lock(&run->lock);
        run->ring[run->written_blocks++ % run->ring_size] = NULL;
        if (!ok) {
            run->failed = true;
            status_fail(&run->status, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "write the output: %m");
        }
        pthread_cond_broadcast(&run->changed);
        pthread_mutex_unlock(&run->lock);
        *written += block->count;
        free(block->text);
        free(block);
        if (!quiet)
            report(*written, begin_us, false);
    }
    if (!quiet)
        report(*written, begin_us, true);
    *st = run->status;
    return !run->failed;
}

bool rescore_run(struct rescore *rescore, struct rescore_users *users, FILE *out, size_t skip, size_t threads,
                 bool quiet, size_t *written, struct status *st)
{
    pthread_t handle[THREADS_MAX];
    size_t started = 0;
    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    struct run run = {
        .rescore = rescore, .users = users, .skip = skip, .ring_size = 4 * threads, .status = STATUS_INIT};
    run.ring = calloc(run.ring_size, sizeof *run.ring);
    pthread_mutex_init(&run.lock, NULL);
    pthread_cond_init(&run.changed, NULL);
    *written = 0;
    for (; run.ring != NULL && started < threads; started++)
        if (pthread_create(&handle[started], NULL, work, &run) != 0)
            break;
    bool ok = started > 0 ? write_blocks(&run, out, quiet, written, st)
                          : status_fail(st, STATUS_INTERNAL, "NO_THREAD", "no thread could be started");
    for (size_t i = 0; i < started; i++)
        pthread_join(handle[i], NULL);
    for (size_t i = 0; run.ring != NULL && i < run.ring_size; i++)
        if (run.ring[i] != NULL) {
            free(run.ring[i]->text);
            free(run.ring[i]);
        }
    free(run.ring);
    pthread_mutex_destroy(&run.lock);
    pthread_cond_destroy(&run.changed);
    return ok;
}
