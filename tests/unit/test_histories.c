/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/histories.h"
#include "tests/unit/fake_store.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LARGE_BYTES (64 << 20)

static struct store *store;
static struct histories *histories;
static struct history history;

static void set_up(void)
{
    store = fake_store_new();
    histories = histories_new(LARGE_BYTES);
    cr_assert_not_null(histories);
}

static void tear_down(void)
{
    history_close(&history);
    histories_free(histories);
    fake_store_free(store);
}

TestSuite(histories, .init = set_up, .fini = tear_down);

/* What the writer does: commit, then tell the histories. */
static struct store_event add(const char *user, int64_t ts_ms)
{
    struct store_event event = {.ts_ms = ts_ms, .item_id = (uint32_t)ts_ms, .behaviour = 1};
    fake_store_append(store, user, &event);
    histories_append(histories, user, &event);
    return event;
}

static void read_at(const char *user, int64_t at_position, size_t newest)
{
    struct status st = STATUS_INIT;
    cr_assert(histories_read(histories, store, user, at_position, newest, &history, &st), "%s", st.message);
}

static void read_all(const char *user)
{
    read_at(user, INT64_MAX, HISTORIES_EVENTS_MAX);
}

static void expect_times(const int64_t *times, size_t count, const char *what)
{
    cr_assert_eq(history.count, count, "%s: %zu events", what, history.count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(history.events[i].ts_ms, times[i], "%s: event %zu", what, i);
}

/* The answer is the store's. */
static void expect_same_as_store(const char *user, int64_t at_position, size_t newest, const char *what)
{
    static struct store_event expected[HISTORIES_EVENTS_MAX];
    int64_t user_id;
    bool created, more = false;
    size_t count = 0;
    cr_assert(store_user_find(store, user, false, &user_id, &created, NULL));
    if (user_id != 0)
        cr_assert(store_event_history(store, user_id, at_position, expected, newest, &count, &more, NULL));
    cr_assert_eq(history.user_id, user_id, "%s", what);
    cr_assert_eq(history.count, count, "%s: %zu events, not %zu", what, history.count, count);
    cr_assert_eq(history.complete, !more, "%s: complete", what);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(history.events[i].position, expected[i].position, "%s: event %zu", what, i);
        cr_assert_eq(history.events[i].item_id, expected[i].item_id, "%s: event %zu", what, i);
    }
}

Test(histories, second_read_is_from_memory)
{
    add("a", 10);
    add("a", 20);
    read_all("a");
    cr_expect_not(history.cached);
    expect_times((const int64_t[]){10, 20}, 2, "first");
    int reads = fake_store_reads(store);
    read_all("a");
    cr_expect(history.cached);
    cr_expect(history.complete);
    cr_expect_eq(history.user_id, 1);
    expect_times((const int64_t[]){10, 20}, 2, "second");
    read_at("a", INT64_MAX, 1);
    cr_expect_not(history.complete);
    expect_times((const int64_t[]){20}, 1, "newest");
    read_at("a", INT64_MAX, 0);
    cr_expect_not(history.complete);
    cr_expect_eq(history.count, 0);
    cr_expect_eq(fake_store_reads(store), reads);
}

Test(histories, unknown_user_is_remembered_until_known)
{
    read_all("a");
    cr_expect_eq(history.user_id, 0);
    cr_expect_eq(history.count, 0);
    cr_expect(history.complete);
    int reads = fake_store_reads(store);
    read_all("a");
    cr_expect(history.cached);
    cr_expect_eq(history.user_id, 0);
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users, 0);
    cr_expect_gt(bytes, 0);

    add("a", 5);
    read_all("a");
    cr_expect(history.cached);
    cr_expect(history.complete);
    cr_expect_eq(history.user_id, 1);
    expect_times((const int64_t[]){5}, 1, "known");
    cr_expect_eq(fake_store_reads(store), reads);
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users, 1);
}

Test(histories, append_out_of_order)
{
    add("a", 50);
    read_all("a");
    const int64_t times[] = {70, 10, 60, 50, 5, 65};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        add("a", times[i]);
    read_all("a");
    cr_expect(history.cached);
    expect_times((const int64_t[]){5, 10, 50, 50, 60, 65, 70}, 7, "sorted");
    cr_expect_lt(history.events[2].position, history.events[3].position, "same time: by position");
}

Test(histories, append_twice)
{
    add("a", 10);
    struct store_event event = add("a", 20);
    add("a", 30);
    read_all("a");
    histories_append(histories, "a", &event);
    read_all("a");
    cr_expect(history.cached);
    expect_times((const int64_t[]){10, 20, 30}, 3, "once each");
}

Test(histories, at_position_of_a_complete_history)
{
    add("a", 30);                           /* position 1 */
    add("b", 1);                            /* 2 */
    add("a", 10);                           /* 3 */
    struct store_event last = add("a", 20); /* 4 */
    read_all("a");
    int reads = fake_store_reads(store);
    const struct {
        int64_t at_position;
        size_t newest, count;
        int64_t times[3];
        bool complete;
    } cases[] = {
        {0, 9, 0, {0}, true},
        {1, 9, 1, {30}, true},
        {2, 9, 1, {30}, true},
        {3, 9, 2, {10, 30}, true},
        {3, 1, 1, {30}, false},
        {last.position, 3, 3, {10, 20, 30}, true},
        {last.position, 2, 2, {20, 30}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char what[32];
        snprintf(what, sizeof what, "case %zu", i);
        read_at("a", cases[i].at_position, cases[i].newest);
        expect_times(cases[i].times, cases[i].count, what);
        cr_expect_eq(history.complete, cases[i].complete, "%s", what);
        cr_expect(history.cached, "%s", what);
    }
    cr_expect_eq(fake_store_reads(store), reads);
}

Test(histories, at_position_on_a_miss)
{
    for (int64_t ts_ms = 1; ts_ms <= 5; ts_ms++)
        add("a", ts_ms);
    read_at("a", 3, 2);
    expect_times((const int64_t[]){2, 3}, 2, "miss");
    cr_expect_not(history.complete);
    read_all("a");
    cr_expect(history.cached, "what was loaded was all of it");
    expect_times((const int64_t[]){1, 2, 3, 4, 5}, 5, "all");
}

Test(histories, long_log_keeps_the_newest)
{
    for (int64_t i = 1; i <= HISTORIES_EVENTS_MAX + 5; i++)
        add("a", 10 * i);
    read_all("a");
    cr_expect_eq(history.count, HISTORIES_EVENTS_MAX);
    read_all("a");
    cr_expect(history.cached);
    expect_same_as_store("a", INT64_MAX, HISTORIES_EVENTS_MAX, "after the load");

    add("a", 15);                                /* older than all that is kept */
    add("a", 10 * HISTORIES_EVENTS_MAX / 2 + 5); /* in the middle */
    add("a", 20 * HISTORIES_EVENTS_MAX);
    read_all("a");
    cr_expect(history.cached);
    expect_same_as_store("a", INT64_MAX, HISTORIES_EVENTS_MAX, "after appends");

    read_at("a", HISTORIES_EVENTS_MAX, 7);
    cr_expect(history.cached, "enough events at or below");
    expect_same_as_store("a", HISTORIES_EVENTS_MAX, 7, "in the window");
    read_at("a", 100, 100);
    cr_expect_not(history.cached, "memory cannot tell");
    expect_same_as_store("a", 100, 100, "before the window");
    read_at("a", 3, 100);
    cr_expect(history.complete);
    expect_same_as_store("a", 3, 100, "the first three");
}

Test(histories, growing_past_the_limit)
{
    read_all("a");
    for (int64_t i = 1; i <= HISTORIES_EVENTS_MAX; i++)
        add("a", 10 * i);
    read_all("a");
    cr_expect(history.cached);
    expect_same_as_store("a", INT64_MAX, HISTORIES_EVENTS_MAX, "full");
    cr_expect(history.complete);
    struct store_event before = add("a", 7); /* the oldest: is not kept */
    read_at("a", before.position - 1, HISTORIES_EVENTS_MAX);
    expect_same_as_store("a", before.position - 1, HISTORIES_EVENTS_MAX, "without the oldest");
    cr_expect(history.complete);
    read_all("a");
    cr_expect(history.cached);
    expect_same_as_store("a", INT64_MAX, HISTORIES_EVENTS_MAX, "one more");
    cr_expect_not(history.complete);
}

/* ---- loads that meet something */

static int hook_events; /* that the hook still adds */

static void hook_adds(void *context)
{
    if (hook_events > 0) {
        hook_events--;
        add(context, 100 + hook_events);
    }
}

Test(histories, append_during_a_load)
{
    static char user[] = "a";
    add(user, 10);
    hook_events = 3;
    fake_store_hook(store, hook_adds, user);
    read_all(user);
    fake_store_hook(store, NULL, NULL);
    read_all(user);
    cr_expect(history.cached, "the load was repeated and kept");
    expect_times((const int64_t[]){10, 100, 101, 102}, 4, "nothing stale is kept");
}

Test(histories, first_event_during_the_load_of_an_unknown_user)
{
    static char user[] = "a";
    hook_events = 1;
    fake_store_hook(store, hook_adds, user);
    read_all(user);
    fake_store_hook(store, NULL, NULL);
    expect_times((const int64_t[]){100}, 1, "repeated");
    read_all(user);
    cr_expect(history.complete);
    expect_times((const int64_t[]){100}, 1, "then");
}

Test(histories, appends_during_every_load)
{
    static char user[] = "a";
    add(user, 10);
    hook_events = 1000;
    fake_store_hook(store, hook_adds, user);
    read_all(user);
    fake_store_hook(store, NULL, NULL);
    cr_expect_gt(hook_events, 900, "the reader gives up");
    cr_expect_geq(history.count, 1);
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users + bytes, 0, "nothing is kept");
    read_all(user);
    expect_same_as_store(user, INT64_MAX, HISTORIES_EVENTS_MAX, "afterwards");
}

static void hook_forgets(void *context)
{
    if (hook_events > 0) {
        hook_events = 0;
        fake_store_forget(store, context);
        histories_drop(histories, context);
    }
}

Test(histories, erasure_during_a_load)
{
    static char user[] = "a";
    add(user, 10);
    hook_events = 1;
    fake_store_hook(store, hook_forgets, user);
    read_all(user);
    fake_store_hook(store, NULL, NULL);
    read_all(user);
    cr_expect_not(history.cached);
    cr_expect_eq(history.user_id, 0);
    cr_expect_eq(history.count, 0);
}

/* A reader in a thread of its own that stops once it has read the log, until it is let go. */
struct slow_reader {
    pthread_t thread, main_thread;
    sem_t has_read, may_finish;
    int calls;
    bool joined;
};

static void *read_slowly(void *context)
{
    (void)context;
    struct history other = {.events = NULL};
    cr_assert(histories_read(histories, store, "a", INT64_MAX, 10, &other, NULL));
    history_close(&other);
    return NULL;
}

static void hook_slow(void *context)
{
    struct slow_reader *slow = context;
    if (!pthread_equal(pthread_self(), slow->main_thread)) {
        if (++slow->calls == 2) { /* the user, then the events */
            sem_post(&slow->has_read);
            sem_wait(&slow->may_finish);
        }
    } else if (!slow->joined) {
        slow->joined = true;
        sem_post(&slow->may_finish);
        pthread_join(slow->thread, NULL);
    }
}

Test(histories, load_does_not_fill_the_place_of_a_later_one)
{
    add("a", 10);
    static struct slow_reader slow;
    slow.main_thread = pthread_self();
    sem_init(&slow.has_read, 0, 0);
    sem_init(&slow.may_finish, 0, 0);
    fake_store_hook(store, hook_slow, &slow);
    cr_assert_eq(pthread_create(&slow.thread, NULL, read_slowly, NULL), 0);
    sem_wait(&slow.has_read);
    histories_drop(histories, "a");
    add("a", 20);
    read_all("a"); /* the slow one comes home while this one is loading */
    fake_store_hook(store, NULL, NULL);
    cr_expect(slow.joined);
    expect_times((const int64_t[]){10, 20}, 2, "the later load");
    read_all("a");
    expect_times((const int64_t[]){10, 20}, 2, "what is kept");
}

static void hook_reads(void *context)
{
    if (hook_events == 0)
        return;
    hook_events = 0;
    struct history other = {.events = NULL};
    cr_assert(histories_read(histories, store, context, INT64_MAX, 10, &other, NULL));
    cr_expect_eq(other.count, 2);
    cr_expect_not(other.cached);
    history_close(&other);
}

Test(histories, second_reader_does_not_wait_for_a_load)
{
    static char user[] = "a";
    add(user, 10);
    add(user, 20);
    hook_events = 1;
    fake_store_hook(store, hook_reads, user);
    read_all(user);
    fake_store_hook(store, NULL, NULL);
    expect_times((const int64_t[]){10, 20}, 2, "the first reader");
    read_all(user);
    cr_expect(history.cached, "the first reader's load is kept");
}

Test(histories, failed_load_leaves_nothing)
{
    add("a", 10);
    read_all("a");
    histories_drop(histories, "a");
    fake_store_fail(store, true);
    struct status st = STATUS_INIT;
    cr_expect_not(histories_read(histories, store, "a", INT64_MAX, 10, &history, &st));
    cr_expect_str_eq(st.reason, "STORE_IO");
    cr_expect_eq(history.count, 0);
    cr_expect_eq(history.user_id, 0);
    fake_store_fail(store, false);
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users + bytes, 0);
    read_all("a");
    read_all("a");
    cr_expect(history.cached);
}

/* ---- forgetting and bounds */

Test(histories, drop)
{
    add("a", 10);
    add("b", 10);
    read_all("a");
    read_all("b");
    histories_drop(histories, "a");
    histories_drop(histories, "nobody");
    read_all("b");
    cr_expect(history.cached);
    read_all("a");
    cr_expect_not(history.cached);
    histories_drop(histories, NULL);
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users + bytes, 0);
}

Test(histories, user_that_came_back_has_no_past)
{
    add("a", 10);
    read_all("a");
    fake_store_forget(store, "a");
    add("a", 20);
    read_all("a");
    cr_expect_eq(history.user_id, 2);
    expect_times((const int64_t[]){20}, 1, "only the new one's");
}

static void expect_bounded(size_t bytes_max)
{
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_assert_leq(bytes, bytes_max, "%zu bytes in memory", bytes);
}

Test(histories, bytes_are_bounded)
{
    const size_t bytes_max = 64 << 10;
    histories_free(histories);
    histories = histories_new(bytes_max);
    char user[16];
    for (int i = 0; i < 2000; i++) {
        snprintf(user, sizeof user, "user-%d", i * 7 % 149);
        if (i % 3 == 0)
            read_all(user);
        else
            add(user, i);
        expect_bounded(bytes_max);
    }
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_gt(users, 20);

    /* One that grows until it does not fit any more. */
    for (int i = 0; i < 200; i++) {
        read_at("heavy", INT64_MAX, 10);
        add("heavy", i);
        expect_bounded(bytes_max);
    }
    read_all("heavy");
    expect_same_as_store("heavy", INT64_MAX, HISTORIES_EVENTS_MAX, "too large to be kept");
    cr_expect_not(history.cached);
}

Test(histories, no_memory_at_all)
{
    histories_free(histories);
    histories = histories_new(0);
    add("a", 10);
    read_all("a");
    read_all("a");
    cr_expect_not(history.cached);
    expect_times((const int64_t[]){10}, 1, "from the store");
    expect_bounded(0);
}

Test(histories, unknown_names_do_not_push_users_out)
{
    const size_t bytes_max = 1 << 20;
    histories_free(histories);
    histories = histories_new(bytes_max);
    char user[32];
    for (int i = 0; i < 200; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        add(user, i);
        read_all(user);
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(user, sizeof user, "made-up-%d", i);
        read_at(user, INT64_MAX, 10);
    }
    expect_bounded(bytes_max);
    size_t users, bytes;
    histories_size(histories, &users, &bytes);
    cr_expect_eq(users, 200);
}

Test(histories, least_recently_used_goes_first)
{
    histories_free(histories);
    histories = histories_new(32 << 10);
    char user[32];
    add("favourite", 1);
    read_all("favourite");
    for (int i = 0; i < 500; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        add(user, i);
        read_all(user);
        read_all("favourite");
        cr_assert(history.cached, "after %d others", i);
    }
    read_all("user-0");
    cr_expect_not(history.cached);
}

/* ---- against the model */

static void random_operations(unsigned seed, int operations, int users, size_t newest_max, int64_t ts_max)
{
    unsigned state = seed;
    int64_t last_position = 1;
    int cached = 0;
    for (int i = 0; i < operations; i++) {
        char user[32], what[80];
        snprintf(user, sizeof user, "user-%d", rand_r(&state) % users);
        snprintf(what, sizeof what, "seed %u operation %d", seed, i);
        int choice = rand_r(&state) % 100;
        int64_t at_position = rand_r(&state) % 2 == 0 ? INT64_MAX : rand_r(&state) % (last_position + 2);
        if (choice < 45) {
            last_position = add(user, rand_r(&state) % ts_max).position;
        } else if (choice < 97) {
            size_t newest = (size_t)rand_r(&state) % (newest_max + 1);
            read_at(user, at_position, newest);
            expect_same_as_store(user, at_position, newest, what);
            cached += history.cached;
        } else {
            if (choice == 99)
                fake_store_forget(store, user);
            histories_drop(histories, choice == 98 && i % 10 == 0 ? NULL : user);
        }
    }
    cr_expect_gt(cached, operations / 20, "seed %u", seed);
}

Test(histories, random_operations_on_many_users)
{
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "histories: seed %u\n", seed);
    const size_t bytes_max = 96 << 10;
    histories_free(histories);
    histories = histories_new(bytes_max);
    random_operations(seed, 6000, 120, 40, 500);
    expect_bounded(bytes_max);
}

Test(histories, random_operations_on_a_full_window)
{
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "histories: seed %u\n", seed);
    for (int i = 0; i < HISTORIES_EVENTS_MAX - 20; i++)
        add("user-0", 1000);
    random_operations(seed, 150, 1, HISTORIES_EVENTS_MAX, 2000);
}
