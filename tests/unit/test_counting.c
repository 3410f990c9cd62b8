/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/counting.h"

#include "daemon/writer.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS ((int64_t)86400000)
#define NOW    ((int64_t)1700000000000)
#define USERS  9
#define ITEMS  25

static char top[64];
static char dir[128];
static struct store *writer, *reader;
static struct config config;
static struct catalog *catalog;
static struct histories *histories;
static struct engine engine;
static struct counting counting;
static struct random rng;
static int64_t user_ids[USERS];

/* A call that has to succeed. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct status st = STATUS_INIT;                                                                                \
        cr_assert(call, "%s: %s", st.reason, st.message);                                                              \
    } while (0)

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static void set_up(void)
{
    strcpy(top, "/tmp/test_counting_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
    config_init(&config);
    random_init(&rng, 7);
    OK((writer = store_open_writer(&(struct store_options){.data_dir = dir}, &st)) != NULL);
    OK((reader = store_open_reader(&(struct store_options){.data_dir = dir}, &st)) != NULL);
    catalog = catalog_new();
    histories = histories_new((size_t)16 << 20);
    cr_assert(catalog != NULL && histories != NULL);
    cr_assert(engine_init(&engine, &config, catalog, histories));
    OK(store_begin(writer, &st));
    OK(engine_load_behaviours(&engine, writer, true, &st));
    for (int i = 0; i < USERS; i++) {
        char name[16];
        bool created;
        snprintf(name, sizeof name, "user-%d", i);
        OK(store_user_find(writer, name, true, &user_ids[i], &created, &st));
    }
    OK(store_commit(writer, &st));
}

static void tear_down(void)
{
    counting_close(&counting);
    engine_close(&engine);
    histories_free(histories);
    catalog_free(catalog);
    store_close(reader);
    store_close(writer);
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(counting, .init = set_up, .fini = tear_down);

/* Events of random users, items and behaviours over 80 days, in no order: more than the days that are kept. */
static void add_events(int count)
{
    OK(store_begin(writer, &st));
    for (int i = 0; i < count; i++) {
        struct store_event event = {
            .ts_ms = NOW - (int64_t)random_below(&rng, (uint64_t)(80 * DAY_MS)),
            .user_id = user_ids[random_below(&rng, USERS)],
            .item_id = 1 + (uint32_t)random_below(&rng, ITEMS),
            .behaviour = (uint8_t)(1 + random_below(&rng, config.behaviour_count)),
        };
        bool duplicate;
        OK(store_event_append(writer, &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, &st));
    }
    OK(store_commit(writer, &st));
    int64_t position;
    OK(store_position(writer, &position, &st));
    engine.committed = position;
}

static void start(void)
{
    OK(counting_start(&counting, &engine, reader, &st));
}

static void catch_up(void)
{
    OK(counting_catch_up(&counting, &st));
}

/* What was counted event by event is what a scan of the log counts, to the last byte. */
static void expect_as_rebuilt(void)
{
    struct status st = STATUS_INIT;
    struct counts *whole = NULL;
    struct counts_view *view = engine_rebuild_counts(&engine, reader, counting.position, &whole, &st);
    cr_assert_not_null(view, "%s", st.message);
    size_t size, want_size;
    void *bytes = counts_write(counting.whole, &size), *want = counts_write(whole, &want_size);
    cr_assert(bytes != NULL && want != NULL);
    cr_expect(size == want_size && memcmp(bytes, want, size) == 0, "counts at %lld are not those of the log",
              (long long)counting.position);
    cr_assert_eq(counting.position, engine.committed);
    free(bytes);
    free(want);
    counts_free(whole);
    counts_view_release(view);
}

Test(counting, following_the_log_counts_what_a_scan_counts)
{
    static const int batches[] = {1, 3, 500, 1, 40, 2000, 7};
    start();
    expect_as_rebuilt();
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        add_events(batches[i]);
        catch_up();
        expect_as_rebuilt();
        catch_up(); /* nothing new changes nothing */
        expect_as_rebuilt();
    }
}

Test(counting, a_long_tail_is_read_in_pieces)
{
    start();
    add_events(25000); /* two and a half buffers */
    catch_up();
    expect_as_rebuilt();
    cr_assert_eq(counting.pending_events, 25000);
    cr_assert_eq(counting.total_events, 25000);
}

Test(counting, a_start_on_a_full_log_counts_it)
{
    add_events(3000);
    start();
    expect_as_rebuilt();
    cr_assert_not_null(engine.counts);
    cr_assert_eq(engine.counts->position, engine.committed);
    cr_assert_eq(counting.total_events, 3000);
    add_events(100);
    catch_up();
    expect_as_rebuilt();
}

Test(counting, dislikes_do_not_count)
{
    start();
    OK(store_begin(writer, &st));
    for (uint8_t behaviour = 1; behaviour <= config.behaviour_count; behaviour++) {
        struct store_event event = {
            .ts_ms = NOW + behaviour, .user_id = user_ids[0], .item_id = behaviour, .behaviour = behaviour};
        bool duplicate;
        OK(store_event_append(writer, &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, &st));
    }
    OK(store_commit(writer, &st));
    int64_t position;
    OK(store_position(writer, &position, &st));
    engine.committed = position;
    catch_up();
    expect_as_rebuilt();
    struct counts_view *view = counts_publish(counting.whole, position);
    cr_assert_not_null(view);
    for (uint32_t item = 1; item <= config.behaviour_count; item++)
        cr_assert_eq(counts_popularity(view, item), config.behaviours[item - 1].weight > 0, "%s",
                     config.behaviours[item - 1].name);
    counts_view_release(view);
}

/* ---- versions */

static void publish(bool final, void **bytes, size_t *size)
{
    OK(counting_publish(&counting, NOW, final, bytes, size, &st));
    cr_assert_eq(engine.counts->position, counting.position);
    cr_assert_eq(counting.published, counting.position);
    cr_assert_eq(counting.pending_events, 0);
}

static void store_bytes(void *bytes, size_t size)
{
    OK(store_begin(writer, &st));
    OK(store_counts_put(writer, counting.published, NOW, bytes, size, &st));
    OK(store_commit(writer, &st));
}

/* Count what is there, store it and stop. */
static void store_and_stop(void)
{
    void *bytes;
    size_t size;
    catch_up();
    publish(true, &bytes, &size);
    cr_assert_not_null(bytes);
    store_bytes(bytes, size);
    free(bytes);
    counting_close(&counting);
}

Test(counting, goes_on_from_what_was_stored)
{
    start();
    add_events(2000);
    store_and_stop();
    add_events(300);
    start();
    expect_as_rebuilt();
    cr_assert_eq(counting.total_events, 2300);
    cr_assert_eq(counting.stored_events, 2000, "the stored counts were not used");
    add_events(50);
    catch_up();
    expect_as_rebuilt();
}

Test(counting, stored_counts_of_other_behaviours_are_not_used)
{
    start();
    add_events(1000);
    store_and_stop();
    for (size_t i = 0; i < config.behaviour_count; i++)
        config.behaviours[i].weight = -config.behaviours[i].weight;
    OK(engine_load_behaviours(&engine, reader, false, &st));
    start();
    expect_as_rebuilt();
}

Test(counting, damaged_stored_counts_are_counted_again)
{
    void *bytes;
    size_t size;
    start();
    add_events(1000);
    catch_up();
    publish(true, &bytes, &size);
    cr_assert_not_null(bytes);
    ((unsigned char *)bytes)[size / 2] ^= 0x40; /* which the store cannot know */
    store_bytes(bytes, size - 8);
    free(bytes);
    counting_close(&counting);
    start();
    expect_as_rebuilt();
}

Test(counting, stored_counts_from_after_the_end_of_the_log_are_not_used)
{
    start();
    add_events(500);
    int64_t earlier = engine.committed;
    add_events(500);
    store_and_stop();
    engine.committed = earlier;
    start();
    expect_as_rebuilt();
}

Test(counting, a_version_is_due_at_once_or_after_so_much)
{
    void *bytes;
    size_t size;
    config.counts_publish_events = 100;
    config.counts_publish_ms = 60000;
    start();
    cr_assert_not(counting_is_due(&counting, INT64_MAX));
    add_events(1);
    cr_assert_not(counting_is_due(&counting, NOW), "not counted yet");
    catch_up();
    cr_assert(counting_is_due(&counting, NOW), "a small shop");
    publish(false, &bytes, &size);
    cr_assert_null(bytes);
    cr_assert_not(counting_is_due(&counting, NOW + 1000000));
    add_events(150);
    catch_up();
    cr_assert(counting_is_due(&counting, NOW));
    publish(false, &bytes, &size);
    cr_assert_not_null(bytes, "the whole has grown by more than a fifth");
    free(bytes);
    add_events(99);
    catch_up();
    cr_assert_not(counting_is_due(&counting, NOW + 59999));
    cr_assert(counting_is_due(&counting, NOW + 60000), "long enough");
    add_events(1);
    catch_up();
    cr_assert(counting_is_due(&counting, NOW), "enough events");
}

Test(counting, a_published_version_does_not_move)
{
    void *bytes;
    size_t size;
    struct snapshot *snapshot;
    struct counts_view *before;
    start();
    add_events(500);
    catch_up();
    publish(false, &bytes, &size);
    free(bytes);
    engine_acquire(&engine, &snapshot, &before);
    uint64_t events = before->event_count;
    uint32_t popularity = counts_popularity(before, 3);
    add_events(500);
    catch_up();
    cr_assert_eq(engine.counts, before, "counted is not published");
    publish(false, &bytes, &size);
    free(bytes);
    cr_assert_neq(engine.counts, before);
    cr_assert_gt(engine.counts->event_count, events);
    cr_assert_eq(before->event_count, events);
    cr_assert_eq(counts_popularity(before, 3), popularity);
    counts_view_release(before);
}

/* `final` forces the whole object where the store does not have it. */
Test(counting, what_a_start_has_read_is_stored_in_the_end)
{
    void *bytes;
    size_t size;
    config.counts_publish_events = 100;
    start();
    add_events(1000);
    store_and_stop();
    add_events(1000);
    start(); /* reads 1,000 events on top of what is stored */
    publish(true, &bytes, &size);
    cr_expect_not_null(bytes, "the next start has to read the same 1,000 events again");
    free(bytes);
    counting_close(&counting);

    OK(store_begin(writer, &st));
    OK(store_counts_put(writer, engine.committed + 1, NOW, "bad", 3, &st));
    OK(store_commit(writer, &st));
    start(); /* rebuilds from the log */
    publish(true, &bytes, &size);
    cr_expect_not_null(bytes, "the next start has to read the whole log again");
    free(bytes);
}

/* ---- faults */

static void run_sql(const char *sql)
{
    char path[256];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/shop.db", dir);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* The daemon tries again after a failure: nothing may have been counted twice. */
Test(counting, a_failure_half_way_leaves_nothing_counted_twice)
{
    struct status st = STATUS_INIT;
    char damage[128], repair[128];
    add_events(1000);
    start();
    int64_t old = engine.committed;
    add_events(200);
    /* an old event of the last user cannot be read for a while; by then others have been counted */
    snprintf(damage, sizeof damage,
             "UPDATE event SET behaviour = behaviour + 300 WHERE user_id = %lld AND position <= %lld",
             (long long)user_ids[USERS - 1], (long long)old);
    snprintf(repair, sizeof repair, "UPDATE event SET behaviour = behaviour - 300 WHERE behaviour > 300");
    run_sql(damage);
    cr_assert_not(counting_catch_up(&counting, &st));
    cr_assert_eq(st.code, STATUS_DATA_LOSS, "%s", st.message);
    run_sql(repair);
    catch_up();
    expect_as_rebuilt();
}

/* ---- with the writer: a batch that is rolled back takes nothing along */

struct put {
    struct write_task task;
    sem_t done;
    struct status status;
    const char *user;
    int count;
    bool fails;
};

static bool put_events(struct writer *w, struct write_task *task, struct status *st)
{
    struct put *put = task->context;
    int64_t user_id;
    bool created, duplicate;
    task->changed = true;
    if (!store_user_find(w->store, put->user, true, &user_id, &created, st))
        return false;
    for (int i = 0; i < put->count; i++) {
        struct store_event event = {
            .ts_ms = NOW + i, .user_id = user_id, .item_id = (uint32_t)(1 + i % 5), .behaviour = 1};
        if (!writer_add_event(w, put->user, &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, st))
            return false;
    }
    return !put->fails || status_fail(st, STATUS_INTERNAL, "STORE_IO", "on purpose");
}

static void put_done(struct writer *w, struct write_task *task, const struct status *st)
{
    struct put *put = task->context;
    (void)w;
    put->status = *st;
    sem_post(&put->done);
}

static struct status submit(struct writer *w, const char *user, int count, bool fails)
{
    struct put put = {.user = user, .count = count, .fails = fails};
    put.task = (struct write_task){.write = put_events, .done = put_done, .context = &put, .rows = (size_t)count};
    sem_init(&put.done, 0, 0);
    OK(writer_submit(w, &put.task, &st));
    sem_wait(&put.done);
    sem_destroy(&put.done);
    return put.status;
}

Test(counting, a_batch_that_was_rolled_back_is_not_counted)
{
    static struct writer w;
    struct history history = {.events = NULL};
    start();
    OK(writer_start(&w, writer, &engine, &st));
    cr_assert_eq(submit(&w, "user-0", 10, false).code, STATUS_OK);
    int64_t committed = engine.committed;
    cr_assert_str_eq(submit(&w, "user-0", 10, true).reason, "STORE_IO");
    cr_assert_eq(engine.committed, committed);
    cr_assert_eq(submit(&w, "user-1", 0, false).code, STATUS_OK); /* a commit without a position */
    cr_expect_eq(engine.committed, committed, "the log is said to end at %lld, it ends at %lld",
                 (long long)engine.committed, (long long)committed);
    cr_assert_eq(submit(&w, "user-0", 5, false).code, STATUS_OK);
    writer_stop(&w);
    catch_up();
    expect_as_rebuilt();
    cr_assert_eq(counting.pending_events, 15);
    OK(histories_read(histories, reader, "user-0", INT64_MAX, 100, &history, &st));
    cr_assert_eq(history.count, 15);
    history_close(&history);
}
