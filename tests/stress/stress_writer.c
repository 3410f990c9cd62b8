/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads submit events to a running writer, readers read histories. An event's item_id is a number of its own. What
 * was acknowledged has to be in every later read, once, and on disk in the end; what was refused or rolled back must
 * never show. For the thread sanitizer: plain main, exit code 1 on failure. */
#include "daemon/log.h"
#include "daemon/timestamp.h"
#include "daemon/writer.h"

#include <ftw.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBMITTERS  4
#define READERS     2
#define WINDOW      8 /* tasks of a submitter that wait for the writer */
#define TASK_EVENTS 5
#define USERS       64
#define EVENTS_MAX  300000 /* far fewer of a user than HISTORIES_EVENTS_MAX */
#define SECONDS     3
#define CACHE_BYTES ((size_t)1 << 20) /* so little that users are evicted */
#define NOW         ((int64_t)1700000000000)
#define COMPLAINTS  20

enum fate { FATE_NONE, FATE_SUBMITTED, FATE_ACKNOWLEDGED, FATE_REFUSED };

struct stress {
    struct config config;
    struct store_options options;
    struct store *store;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    struct writer writer;
    atomic_uint last_event;
    atomic_uchar fate[EVENTS_MAX + 1];
    uint8_t user_of[EVENTS_MAX + 1]; /* set before the event is submitted */
    atomic_llong position_of[EVENTS_MAX + 1];
    uint32_t acknowledged[USERS][EVENTS_MAX / 16]; /* the events of a user; filled by the writer's thread */
    atomic_uint acknowledged_count[USERS];
    atomic_bool done;
    atomic_int failures;
    atomic_long tasks, refused, rolled_back, full, repeats, reads, cached;
};

/* One event of a task. */
struct row {
    uint32_t event_id;
    unsigned user;
    int64_t position;
    bool duplicate;
};

struct submission {
    struct write_task task;
    struct stress *stress;
    struct row rows[TASK_EVENTS];
    size_t count;
    bool refuse, break_batch; /* on purpose */
    bool waiting;
    sem_t answered;
    struct status status;
};

struct submitter {
    struct stress *stress;
    unsigned random_state;
    pthread_t thread;
    struct submission window[WINDOW];
};

struct reader {
    struct stress *stress;
    unsigned random_state;
    pthread_t thread;
    struct store *store;
    struct history history;
    unsigned seen[EVENTS_MAX + 1]; /* in which check, counted from 1 */
    unsigned check;
};

static void complain(struct stress *stress, uint32_t event_id, const char *what)
{
    if (atomic_fetch_add(&stress->failures, 1) < COMPLAINTS)
        fprintf(stderr, "stress_writer: event %u: %s\n", (unsigned)event_id, what);
}

static void need(bool ok, const char *what, const struct status *st)
{
    if (ok)
        return;
    fprintf(stderr, "stress_writer: %s: %s\n", what, st == NULL ? "failed" : st->message);
    exit(1);
}

static void user_name(char name[16], unsigned user)
{
    snprintf(name, 16, "user-%u", user);
}

/* ---- writing */

static bool write_row(struct writer *writer, struct row *row, struct status *st)
{
    char name[16], key[16];
    bool created;
    user_name(name, row->user);
    snprintf(key, sizeof key, "%u", (unsigned)row->event_id);
    struct store_event event = {.ts_ms = NOW - (int64_t)(row->event_id * 7919 % 5000), /* in no order */
                                .item_id = row->event_id,
                                .behaviour = 1};
    struct store_event_extra extra = {.received_ms = NOW, .key = key};
    if (!store_user_find(writer->store, name, true, &event.user_id, &created, st) ||
        !writer_add_event(writer, name, &event, &extra, &row->duplicate, st))
        return false;
    row->position = event.position;
    return true;
}

static bool write_rows(struct writer *writer, struct write_task *task, struct status *st)
{
    struct submission *submission = task->context;
    if (submission->refuse)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ROW", "on purpose");
    task->changed = true;
    for (size_t i = 0; i < submission->count; i++)
        if (!write_row(writer, &submission->rows[i], st))
            return false;
    return !submission->break_batch || status_fail(st, STATUS_UNAVAILABLE, "STORE_IO", "on purpose");
}

/* What is acknowledged here must be in whatever is read from here on. */
static void answered(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct submission *submission = task->context;
    struct stress *stress = submission->stress;
    for (size_t i = 0; i < submission->count && st->code == STATUS_OK; i++) {
        struct row *row = &submission->rows[i];
        bool known = atomic_load(&stress->fate[row->event_id]) == FATE_ACKNOWLEDGED;
        if (row->position > writer->engine->committed)
            complain(stress, row->event_id, "acknowledged before its position");
        if (row->duplicate != known)
            complain(stress, row->event_id, known ? "stored a second time" : "taken for a repeat");
        if (known && atomic_load(&stress->position_of[row->event_id]) != row->position)
            complain(stress, row->event_id, "a repeat has another position");
        if (known)
            continue;
        unsigned at = atomic_load(&stress->acknowledged_count[row->user]);
        stress->acknowledged[row->user][at] = row->event_id;
        atomic_store(&stress->position_of[row->event_id], row->position);
        atomic_store(&stress->fate[row->event_id], FATE_ACKNOWLEDGED);
        atomic_store(&stress->acknowledged_count[row->user], at + 1);
    }
    submission->status = *st;
    sem_post(&submission->answered);
}

/* ---- submitting */

static unsigned pick(unsigned *state, unsigned below)
{
    return (unsigned)rand_r(state) % below;
}

static void submit(struct submission *submission)
{
    struct stress *stress = submission->stress;
    struct status st = STATUS_INIT;
    submission->task = (struct write_task){
        .write = write_rows, .done = answered, .context = submission, .rows = submission->count, .size_bytes = 100};
    while (!writer_submit(&stress->writer, &submission->task, &st)) {
        if (strcmp(st.reason, "QUEUE_FULL") != 0 || st.retry_after_ms == 0)
            complain(stress, 0, st.message);
        atomic_fetch_add(&stress->full, 1);
        sched_yield();
    }
    submission->waiting = true;
}

/* Wait for the answer; what was rolled back, without being at fault, is submitted again. */
static void settle(struct submission *submission)
{
    struct stress *stress = submission->stress;
    while (submission->waiting) {
        sem_wait(&submission->answered);
        submission->waiting = false;
        bool ok = submission->status.code == STATUS_OK;
        atomic_fetch_add(&stress->tasks, 1);
        if (submission->refuse) {
            atomic_fetch_add(&stress->refused, 1);
            if (ok || (strcmp(submission->status.reason, "BAD_ROW") != 0 &&
                       strcmp(submission->status.reason, "STORE_IO") != 0)) /* with its batch */
                complain(stress, submission->rows[0].event_id, "a refused task was acknowledged");
        } else if (!ok) {
            atomic_fetch_add(&stress->rolled_back, 1);
            if (strcmp(submission->status.reason, "STORE_IO") != 0)
                complain(stress, submission->rows[0].event_id, submission->status.message);
            submission->break_batch = false;
            submit(submission);
        }
    }
}

/* New events, as a rule; now and then some that were sent before. False when all numbers are used up. */
static bool fill(struct submitter *submitter, struct submission *submission)
{
    struct stress *stress = submitter->stress;
    submission->refuse = pick(&submitter->random_state, 20) == 0;
    submission->break_batch = !submission->refuse && pick(&submitter->random_state, 1000) == 0;
    submission->count = 0;
    if (pick(&submitter->random_state, 30) == 0 && !submission->refuse) {
        unsigned user = pick(&submitter->random_state, USERS), known = atomic_load(&stress->acknowledged_count[user]);
        if (known > 0) {
            uint32_t event_id = stress->acknowledged[user][pick(&submitter->random_state, known)];
            submission->rows[submission->count++] = (struct row){event_id, user, 0, false};
            atomic_fetch_add(&stress->repeats, 1);
        }
    }
    size_t count = submission->count + 1 + pick(&submitter->random_state, TASK_EVENTS - 1);
    for (; submission->count < count; submission->count++) {
        uint32_t event_id = atomic_fetch_add(&stress->last_event, 1) + 1;
        if (event_id > EVENTS_MAX)
            break;
        unsigned user = pick(&submitter->random_state, USERS);
        stress->user_of[event_id] = (uint8_t)user;
        atomic_store(&stress->fate[event_id], submission->refuse ? FATE_REFUSED : FATE_SUBMITTED);
        submission->rows[submission->count] = (struct row){event_id, user, 0, false};
    }
    return submission->count > 0;
}

static void *submit_events(void *context)
{
    struct submitter *submitter = context;
    for (unsigned turn = 0; !atomic_load(&submitter->stress->done); turn++) {
        struct submission *submission = &submitter->window[turn % WINDOW];
        settle(submission);
        if (!fill(submitter, submission))
            break;
        submit(submission);
    }
    for (unsigned i = 0; i < WINDOW; i++)
        settle(&submitter->window[i]);
    return NULL;
}

/* ---- reading */

/* An event that a read or the disk has. */
static void check_event(struct reader *reader, const struct store_event *event, unsigned user)
{
    struct stress *stress = reader->stress;
    uint32_t event_id = event->item_id;
    if (event_id < 1 || event_id > EVENTS_MAX) {
        complain(stress, event_id, "nobody sent it");
        return;
    }
    unsigned char fate = atomic_load(&stress->fate[event_id]);
    if (fate == FATE_NONE || fate == FATE_REFUSED)
        complain(stress, event_id, fate == FATE_NONE ? "nobody sent it" : "was refused");
    else if (stress->user_of[event_id] != user)
        complain(stress, event_id, "of another user");
    if (fate == FATE_ACKNOWLEDGED && atomic_load(&stress->position_of[event_id]) != event->position)
        complain(stress, event_id, "at another position");
    if (reader->seen[event_id] == reader->check)
        complain(stress, event_id, "is there twice");
    reader->seen[event_id] = reader->check;
}

/* Read a user's history, of now or of a position, and compare it with the `least` first acknowledged events. */
static void check_user(struct reader *reader, unsigned user, int64_t at_position, unsigned least)
{
    struct stress *stress = reader->stress;
    struct history *history = &reader->history;
    struct status st = STATUS_INIT;
    char name[16];
    user_name(name, user);
    need(histories_read(stress->histories, reader->store, name, at_position, HISTORIES_EVENTS_MAX, history, &st),
         "read a history", &st);
    reader->check++;
    for (size_t i = 0; i < history->count; i++) {
        const struct store_event *event = &history->events[i], *before = i > 0 ? event - 1 : NULL;
        check_event(reader, event, user);
        if (event->position > at_position)
            complain(stress, event->item_id, "from after the position");
        if (before != NULL &&
            (before->ts_ms > event->ts_ms || (before->ts_ms == event->ts_ms && before->position >= event->position)))
            complain(stress, event->item_id, "out of order");
    }
    for (unsigned i = 0; i < least; i++) {
        uint32_t event_id = stress->acknowledged[user][i];
        if (reader->seen[event_id] != reader->check && atomic_load(&stress->position_of[event_id]) <= at_position)
            complain(stress, event_id, "was acknowledged and is missing");
    }
    if (!history->complete)
        complain(stress, 0, "an incomplete history");
    atomic_fetch_add(&stress->reads, 1);
    atomic_fetch_add(&stress->cached, history->cached);
}

static void *read_histories(void *context)
{
    struct reader *reader = context;
    struct stress *stress = reader->stress;
    while (!atomic_load(&stress->done)) {
        unsigned user = pick(&reader->random_state, USERS);
        unsigned least = atomic_load(&stress->acknowledged_count[user]);
        bool past = pick(&reader->random_state, 3) == 0;
        check_user(reader, user, past ? stress->engine.committed : INT64_MAX, least);
        if (pick(&reader->random_state, 200) == 0)
            histories_drop(stress->histories, NULL);
    }
    return NULL;
}

static void open_reader(struct reader *reader, struct stress *stress, unsigned seed)
{
    struct status st = STATUS_INIT;
    reader->stress = stress;
    reader->random_state = seed;
    reader->store = store_open_reader(&stress->options, &st);
    need(reader->store != NULL, "open a reader", &st);
}

static void close_reader(struct reader *reader)
{
    history_close(&reader->history);
    store_close(reader->store);
}

/* ---- in the end */

struct scan {
    struct reader *reader;
    long count;
};

static bool scan_event(void *context, const struct store_event *event)
{
    struct scan *scan = context;
    struct stress *stress = scan->reader->stress;
    uint32_t event_id = event->item_id;
    scan->count++;
    check_event(scan->reader, event, event_id <= EVENTS_MAX ? stress->user_of[event_id] : 0);
    if (event_id <= EVENTS_MAX && atomic_load(&stress->fate[event_id]) != FATE_ACKNOWLEDGED)
        complain(stress, event_id, "is on disk and was never acknowledged");
    return true;
}

/* Disk and memory have exactly what was acknowledged. */
static long check_end(struct stress *stress, struct reader *reader)
{
    struct status st = STATUS_INIT;
    struct scan scan = {.reader = reader};
    long acknowledged = 0;
    for (unsigned user = 0; user < USERS; user++) {
        unsigned count = atomic_load(&stress->acknowledged_count[user]);
        for (int pass = 0; pass < 2; pass++) { /* as memory has it, then as the disk has it */
            check_user(reader, user, INT64_MAX, count);
            if (reader->history.count != count)
                complain(stress, 0, "a history has more than was acknowledged");
            histories_drop(stress->histories, NULL);
        }
        acknowledged += count;
    }
    reader->check++;
    need(store_event_scan(reader->store, 0, INT64_MAX, scan_event, &scan, &st), "scan the log", &st);
    for (uint32_t id = 1; id <= EVENTS_MAX; id++)
        if (atomic_load(&stress->fate[id]) == FATE_ACKNOWLEDGED && reader->seen[id] != reader->check)
            complain(stress, id, "was acknowledged and is not on disk");
    if (scan.count != acknowledged)
        complain(stress, 0, "the log has more or less than was acknowledged");
    return acknowledged;
}

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static void set_up(struct stress *stress, char *dir)
{
    struct status st = STATUS_INIT;
    need(mkdtemp(dir) != NULL, "a directory", NULL);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    config_init(&stress->config);
    stress->config.server_queue_requests = 24; /* fewer than are submitted: it gets full */
    stress->options = (struct store_options){.data_dir = dir};
    stress->store = store_open_writer(&stress->options, &st);
    need(stress->store != NULL, "open the store", &st);
    stress->catalog = catalog_new();
    stress->histories = histories_new(CACHE_BYTES);
    need(stress->catalog != NULL && stress->histories != NULL, "memory", NULL);
    engine_init(&stress->engine, &stress->config, stress->catalog, stress->histories);
    need(store_begin(stress->store, &st) && engine_load_behaviours(&stress->engine, stress->store, true, &st) &&
             store_commit(stress->store, &st),
         "behaviours", &st);
    need(writer_start(&stress->writer, stress->store, &stress->engine, &st), "start the writer", &st);
}

int main(void)
{
    static struct stress stress;
    static struct submitter submitters[SUBMITTERS];
    static struct reader readers[READERS], last;
    char dir[] = "/tmp/stress_writer_XXXXXX";
    set_up(&stress, dir);
    int64_t begin_us = timestamp_monotonic_us();
    for (unsigned i = 0; i < READERS; i++) {
        open_reader(&readers[i], &stress, 20 + i);
        need(pthread_create(&readers[i].thread, NULL, read_histories, &readers[i]) == 0, "a thread", NULL);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i].stress = &stress;
        submitters[i].random_state = 10 + i;
        for (unsigned w = 0; w < WINDOW; w++) {
            submitters[i].window[w].stress = &stress;
            sem_init(&submitters[i].window[w].answered, 0, 0);
        }
        need(pthread_create(&submitters[i].thread, NULL, submit_events, &submitters[i]) == 0, "a thread", NULL);
    }
    while (timestamp_monotonic_us() - begin_us < SECONDS * 1000000 && atomic_load(&stress.last_event) < EVENTS_MAX)
        usleep(10000);
    atomic_store(&stress.done, true);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(submitters[i].thread, NULL);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    double seconds = (double)(timestamp_monotonic_us() - begin_us) / 1e6;
    writer_stop(&stress.writer);
    for (unsigned i = 0; i < READERS; i++)
        close_reader(&readers[i]);
    store_close(stress.store); /* what is on disk has to be there without the process that wrote it */
    open_reader(&last, &stress, 30);
    long events = check_end(&stress, &last);
    close_reader(&last);
    engine_close(&stress.engine);
    catalog_free(stress.catalog);
    histories_free(stress.histories);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (atomic_load(&stress.refused) == 0 || atomic_load(&stress.rolled_back) == 0 || atomic_load(&stress.full) == 0 ||
        atomic_load(&stress.repeats) == 0 || atomic_load(&stress.cached) == 0 ||
        atomic_load(&stress.cached) == atomic_load(&stress.reads))
        complain(&stress, 0, "something that should have happened did not");
    int failures = atomic_load(&stress.failures);
    printf("stress_writer: %.0f events/s, %.0f reads/s; of %ld tasks %ld refused, %ld rolled back; %ld repeats, queue "
           "full %ld times, %d failures\n",
           (double)events / seconds, (double)atomic_load(&stress.reads) / seconds, atomic_load(&stress.tasks),
           atomic_load(&stress.refused), atomic_load(&stress.rolled_back), atomic_load(&stress.repeats),
           atomic_load(&stress.full), failures);
    return failures == 0 ? 0 : 1;
}
