/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#define EVENTS_MAX 64

static char top[64];  /* of this test */
static char dir[128]; /* the data directory within it; the store makes it */

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static void set_up(void)
{
    strcpy(top, "/tmp/test_store_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
}

static void tear_down(void)
{
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(store, .init = set_up, .fini = tear_down);

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", dir, name);
}

static struct store *writer(void)
{
    struct status st = STATUS_INIT;
    struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
    cr_assert_not_null(store, "%s: %s", st.reason, st.message);
    return store;
}

static struct store *reader(void)
{
    struct status st = STATUS_INIT;
    struct store *store = store_open_reader(&(struct store_options){.data_dir = dir}, &st);
    cr_assert_not_null(store, "%s: %s", st.reason, st.message);
    return store;
}

/* A call of the store that has to succeed. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct status st = STATUS_INIT;                                                                                \
        cr_assert(call, "%s: %s", st.reason, st.message);                                                              \
    } while (0)

/* One that has to fail, with this code and reason. */
#define FAILS(call, want_code, want_reason)                                                                            \
    do {                                                                                                               \
        struct status st = STATUS_INIT;                                                                                \
        cr_assert_not(call);                                                                                           \
        cr_assert_eq(st.code, want_code, "%s: %s", st.reason, st.message);                                             \
        cr_assert_str_eq(st.reason, want_reason, "%s", st.message);                                                    \
        cr_assert_gt(strlen(st.message), 0);                                                                           \
    } while (0)

static void refused(bool as_writer, enum status_code code, const char *reason, const char *words)
{
    struct status st = STATUS_INIT;
    const struct store_options options = {.data_dir = dir};
    struct store *store = as_writer ? store_open_writer(&options, &st) : store_open_reader(&options, &st);
    cr_assert_null(store);
    cr_assert_eq(st.code, code, "%s: %s", st.reason, st.message);
    cr_assert_str_eq(st.reason, reason, "%s", st.message);
    cr_assert_not_null(strstr(st.message, words), "'%s' is not in '%s'", words, st.message);
}

/* Run SQL on the file past the store. */
static void run_sql(const char *sql)
{
    char path[256];
    sqlite3 *db = NULL;
    path_of("shop.db", path);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* The first column of the first row of a query, as text. */
static void query(const char *sql, char out[256])
{
    char path[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    path_of("shop.db", path);
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW, "%s", sql);
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    snprintf(out, 256, "%s", text != NULL ? text : "NULL");
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

static void expect_query(const char *sql, const char *want)
{
    char got[256];
    query(sql, got);
    cr_assert_str_eq(got, want, "%s: %s", sql, got);
}

static int64_t add_user(struct store *store, const char *name)
{
    int64_t user_id = 0;
    OK(store_user_find(store, name, true, &user_id, NULL, &st));
    return user_id;
}

/* Append an event without a key and return its position. */
static int64_t append(struct store *store, int64_t user_id, int64_t ts_ms, uint32_t item_id)
{
    struct store_event event = {.ts_ms = ts_ms, .user_id = user_id, .item_id = item_id, .behaviour = 1};
    bool duplicate = true;
    OK(store_event_append(store, &event, &(struct store_event_extra){.received_ms = 1}, &duplicate, &st));
    cr_assert_not(duplicate);
    return event.position;
}

static int64_t position_of(struct store *store)
{
    int64_t position = -1;
    OK(store_position(store, &position, &st));
    return position;
}

static uint32_t add_item(struct store *store, const char *name)
{
    struct store_item item = {.name = name, .title = "a title", .available = true, .expires_ms = INT64_MAX};
    OK(store_item_put(store, &item, 1000, &st));
    return item.item_id;
}

static struct store_space add_space(struct store *store, const char *modality, int32_t dimension)
{
    struct store_space space = {.dimension = dimension, .encoder = "enc@1"};
    snprintf(space.modality, sizeof space.modality, "%s", modality);
    OK(store_space_put(store, &space, &st));
    return space;
}

/* ---- users and behaviours */

Test(store, users_are_found_again_and_keep_their_bucket)
{
    static const struct {
        const char *name;
        int32_t bucket; /* recorded: stored data and shards depend on it */
    } cases[] = {{"alice", 688}, {"bob", 229}, {"kundin-\xc3\xa4", 663}};
    struct store *store = writer();
    int64_t ids[3], found = -1;
    bool created = false;
    OK(store_user_find(store, "alice", false, &found, &created, &st));
    cr_assert_eq(found, 0);
    cr_assert_not(created);
    OK(store_begin(store, &st));
    for (size_t i = 0; i < 3; i++) {
        OK(store_user_find(store, cases[i].name, true, &ids[i], &created, &st));
        cr_assert(created);
        cr_assert_eq(ids[i], (int64_t)i + 1);
        OK(store_user_find(store, cases[i].name, true, &found, &created, &st));
        cr_assert_not(created);
        cr_assert_eq(found, ids[i]);
    }
    OK(store_commit(store, &st));
    store_close(store);

    store = writer();
    struct store_user users[4];
    size_t count = 0;
    OK(store_user_list(store, -1, 0, 1024, users, 4, &count, &st));
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < 3; i++) {
        const size_t which = (size_t)users[i].user_id - 1;
        cr_assert_str_eq(users[i].name, cases[which].name);
        cr_assert_eq(users[i].bucket, cases[which].bucket, "%s: %d", users[i].name, users[i].bucket);
    }
    store_close(store);
}

Test(store, user_names_have_bounds)
{
    char name[258];
    memset(name, 'n', sizeof name);
    struct store *store = writer();
    OK(store_begin(store, &st));
    int64_t user_id;
    name[257] = '\0';
    FAILS(store_user_find(store, name, true, &user_id, NULL, &st), STATUS_INVALID_ARGUMENT, "BAD_NAME");
    FAILS(store_user_find(store, "", true, &user_id, NULL, &st), STATUS_INVALID_ARGUMENT, "BAD_NAME");
    name[256] = '\0';
    add_user(store, name);
    OK(store_commit(store, &st));
    struct store_user user;
    size_t count;
    OK(store_user_list(store, -1, 0, 1024, &user, 1, &count, &st));
    cr_assert_str_eq(user.name, name);
    store_close(store);
}

Test(store, users_are_listed_in_pages_by_bucket)
{
    enum { USERS = 500, PAGE = 7, END = 700 };
    struct store *store = writer();
    OK(store_begin(store, &st));
    for (int i = 0; i < USERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "user-%d", i);
        add_user(store, name);
    }
    OK(store_commit(store, &st));
    struct store_user page[PAGE], last = {.bucket = -1, .user_id = 0}, all[USERS];
    size_t count, below = 0, all_count;
    do {
        OK(store_user_list(store, last.bucket, last.user_id, END, page, PAGE, &count, &st));
        for (size_t i = 0; i < count; i++) {
            cr_assert(page[i].bucket > last.bucket ||
                      (page[i].bucket == last.bucket && page[i].user_id > last.user_id));
            cr_assert_lt(page[i].bucket, END);
            last = page[i];
            below++;
        }
    } while (count == PAGE);
    OK(store_user_list(store, -1, 0, 1024, all, USERS, &all_count, &st));
    cr_assert_eq(all_count, USERS);
    size_t want = 0;
    for (size_t i = 0; i < USERS; i++)
        want += all[i].bucket < END;
    cr_assert_eq(below, want);
    cr_assert(want > 0 && want < USERS);
    store_close(store);
}

static void count_behaviour(void *context, uint8_t behaviour, const char *name)
{
    char want[16];
    snprintf(want, sizeof want, "b%d", behaviour);
    cr_assert_str_eq(name, want);
    ++*(int *)context;
}

Test(store, behaviours_are_numbered_to_255)
{
    struct store *store = writer();
    uint8_t behaviour = 77;
    OK(store_behaviour_find(store, "b1", false, &behaviour, &st));
    cr_assert_eq(behaviour, 0);
    OK(store_begin(store, &st));
    for (int i = 1; i <= 255; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", i);
        OK(store_behaviour_find(store, name, true, &behaviour, &st));
        cr_assert_eq(behaviour, i);
    }
    FAILS(store_behaviour_find(store, "b256", true, &behaviour, &st), STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_BEHAVIOURS");
    OK(store_behaviour_find(store, "b9", true, &behaviour, &st));
    cr_assert_eq(behaviour, 9);
    OK(store_commit(store, &st));
    int listed = 0;
    OK(store_behaviour_list(store, count_behaviour, &listed, &st));
    cr_assert_eq(listed, 255);
    store_close(store);
}

/* ---- events */

static void expect_history(struct store *store, int64_t user_id, int64_t at, size_t capacity, const char *want,
                           bool want_more)
{
    struct store_event events[EVENTS_MAX];
    size_t count = 99;
    bool more = !want_more;
    char got[256] = "";
    OK(store_event_history(store, user_id, at, events, capacity, &count, &more, &st));
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(events[i].user_id, user_id);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%lld/%lld ", (long long)events[i].ts_ms,
                 (long long)events[i].position);
    }
    cr_assert_str_eq(got, want);
    cr_assert_eq(more, want_more);
}

Test(store, a_history_is_the_newest_events_oldest_first)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    const int64_t user = add_user(store, "u"), other = add_user(store, "v");
    append(store, user, 300, 1);  /* position 1 */
    append(store, user, 100, 2);  /* 2: late */
    append(store, other, 150, 3); /* 3 */
    append(store, user, 300, 4);  /* 4: the same millisecond */
    append(store, user, 200, 5);  /* 5 */
    OK(store_commit(store, &st));

    expect_history(store, user, INT64_MAX, 10, "100/2 200/5 300/1 300/4 ", false);
    expect_history(store, user, INT64_MAX, 4, "100/2 200/5 300/1 300/4 ", false);
    expect_history(store, user, INT64_MAX, 3, "200/5 300/1 300/4 ", true);
    expect_history(store, user, INT64_MAX, 0, "", true);
    expect_history(store, user, 4, 2, "300/1 300/4 ", true);
    expect_history(store, user, 2, 10, "100/2 300/1 ", false);
    expect_history(store, user, 0, 10, "", false);
    expect_history(store, 12345, INT64_MAX, 10, "", false);

    int64_t count = -1;
    OK(store_event_count(store, user, INT64_MAX, &count, &st));
    cr_assert_eq(count, 4);
    OK(store_event_count(store, user, 3, &count, &st));
    cr_assert_eq(count, 2);
    store_close(store);
}

Test(store, an_event_comes_back_as_it_was)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    struct store_event event = {.ts_ms = -5,
                                .user_id = add_user(store, "u"),
                                .item_id = UINT32_MAX,
                                .behaviour = 255,
                                .has_value = true,
                                .value = -0.1};
    const struct store_event_extra extra = {.received_ms = 42, .recomm_id = "r-1", .key = "k"};
    bool duplicate;
    OK(store_event_append(store, &event, &extra, &duplicate, &st));
    struct store_event bad = event;
    bad.value = NAN;
    FAILS(store_event_append(store, &bad, &extra, &duplicate, &st), STATUS_INVALID_ARGUMENT, "BAD_EVENT");
    bad = event;
    bad.item_id = 0;
    FAILS(store_event_append(store, &bad, &extra, &duplicate, &st), STATUS_INVALID_ARGUMENT, "BAD_EVENT");
    OK(store_commit(store, &st));
    struct store_event read;
    size_t count;
    bool more;
    OK(store_event_history(store, event.user_id, INT64_MAX, &read, 1, &count, &more, &st));
    cr_assert_eq(count, 1);
    cr_assert(read.ts_ms == -5 && read.position == event.position && read.user_id == event.user_id);
    cr_assert(read.item_id == UINT32_MAX && read.behaviour == 255 && read.has_value && read.value == -0.1);
    expect_query("SELECT received_ms || recomm_id || length(key) FROM event", "42r-116");
    store_close(store);
}

Test(store, a_key_is_stored_once_per_user)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    const int64_t user = add_user(store, "u"), other = add_user(store, "v");
    const struct store_event_extra with_key = {.received_ms = 1, .key = "order-17"};
    struct store_event first = {.ts_ms = 10, .user_id = user, .item_id = 1, .behaviour = 1}, again = first,
                       others = first;
    bool duplicate = true;
    OK(store_event_append(store, &first, &with_key, &duplicate, &st));
    cr_assert_not(duplicate);
    again.ts_ms = 99; /* a retry may differ in everything else */
    OK(store_event_append(store, &again, &with_key, &duplicate, &st));
    cr_assert(duplicate);
    cr_assert_eq(again.position, first.position);
    others.user_id = other;
    OK(store_event_append(store, &others, &with_key, &duplicate, &st));
    cr_assert_not(duplicate);
    cr_assert_eq(others.position, first.position + 1, "a duplicate takes no position");
    append(store, user, 10, 1);
    append(store, user, 10, 1); /* without a key repeats are kept */
    OK(store_commit(store, &st));
    store_close(store);

    store = writer();
    OK(store_begin(store, &st));
    again.position = 0;
    OK(store_event_append(store, &again, &with_key, &duplicate, &st));
    cr_assert(duplicate);
    cr_assert_eq(again.position, first.position);
    OK(store_commit(store, &st));
    struct store_sizes sizes;
    OK(store_sizes(store, &sizes, &st));
    cr_assert_eq(sizes.events, 4);
    store_close(store);
}

struct collected {
    char text[512];
    int left; /* events until it stops */
};

static bool collect_event(void *context, const struct store_event *event)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%lld:%lld/%lld ", (long long)event->user_id,
             (long long)event->ts_ms, (long long)event->position);
    return --to->left > 0;
}

static void expect_scan(struct store *store, int64_t user_id, int64_t at, int stop_after, const char *want)
{
    struct collected got = {.left = stop_after};
    OK(store_event_scan(store, user_id, at, collect_event, &got, &st));
    cr_assert_str_eq(got.text, want);
}

Test(store, scans_go_by_user_and_time_and_the_tail_by_position)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    append(store, 2, 50, 1); /* 1 */
    append(store, 1, 70, 2); /* 2 */
    append(store, 1, 60, 3); /* 3 */
    append(store, 2, 40, 4); /* 4 */
    append(store, 1, 60, 5); /* 5 */
    OK(store_commit(store, &st));
    expect_scan(store, 0, INT64_MAX, 99, "1:60/3 1:60/5 1:70/2 2:40/4 2:50/1 ");
    expect_scan(store, 0, 3, 99, "1:60/3 1:70/2 2:50/1 ");
    expect_scan(store, 1, INT64_MAX, 99, "1:60/3 1:60/5 1:70/2 ");
    expect_scan(store, 2, 3, 99, "2:50/1 ");
    expect_scan(store, 0, INT64_MAX, 2, "1:60/3 1:60/5 ");
    expect_scan(store, 1, INT64_MAX, 1, "1:60/3 ");

    struct store_event tail[EVENTS_MAX];
    size_t count;
    OK(store_event_tail(store, 1, 4, tail, EVENTS_MAX, &count, &st));
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(tail[i].position, (int64_t)i + 2);
    cr_assert_eq(tail[2].item_id, 4);
    OK(store_event_tail(store, 0, INT64_MAX, tail, 2, &count, &st));
    cr_assert(count == 2 && tail[1].position == 2);
    OK(store_event_tail(store, 5, INT64_MAX, tail, 2, &count, &st));
    cr_assert_eq(count, 0);
    store_close(store);
}

/* ---- transactions and positions */

Test(store, rollback_undoes_everything_and_gives_no_position_twice)
{
    struct store *store = writer();
    struct store_sizes sizes;
    cr_assert_eq(position_of(store), 0);
    store_rollback(store); /* fine without a transaction */
    OK(store_begin(store, &st));
    append(store, add_user(store, "kept"), 1, 1);
    OK(store_commit(store, &st));

    OK(store_begin(store, &st));
    const int64_t lost = append(store, add_user(store, "lost"), 1, 1);
    add_item(store, "lost");
    cr_assert_eq(position_of(store), lost + 1, "a writer sees its own");
    store_rollback(store);
    cr_assert_eq(position_of(store), 1);
    OK(store_sizes(store, &sizes, &st));
    cr_assert(sizes.users == 1 && sizes.events == 1);
    int64_t user_id;
    OK(store_user_find(store, "lost", false, &user_id, NULL, &st));
    cr_assert_eq(user_id, 0);

    OK(store_begin(store, &st));
    cr_assert_gt(append(store, 1, 2, 1), lost + 1);
    OK(store_commit(store, &st));
    const int64_t last = position_of(store);
    OK(store_check(store, &st));
    store_close(store);

    store = writer();
    cr_assert_eq(position_of(store), last);
    OK(store_begin(store, &st));
    const uint32_t item_id = add_item(store, "an item");
    cr_assert_eq(position_of(store), last + 1, "items count on where events stopped");
    OK(store_commit(store, &st));
    store_close(store);
    /* what was erased past the store does not come back under its number */
    run_sql("DELETE FROM item_change; DELETE FROM item; DELETE FROM event; UPDATE total SET value = 0 WHERE name = "
            "'events'");
    store = writer();
    OK(store_begin(store, &st));
    cr_assert_eq(add_item(store, "another"), item_id + 1);
    cr_assert_eq(position_of(store), last + 2);
    OK(store_commit(store, &st));
    store_close(store);
    /* and without the table of totals the tables themselves tell */
    run_sql("DELETE FROM total WHERE name <> 'users'");
    store = writer();
    cr_assert_eq(position_of(store), last + 2);
    store_close(store);
}

Test(store, writes_need_a_transaction_in_which_nothing_failed)
{
    struct store *store = writer();
    int64_t user_id;
    struct store_item item = {.name = "a", .categories_json = "[", .expires_ms = INT64_MAX};
    FAILS(store_user_find(store, "u", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_commit(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    OK(store_begin(store, &st));
    FAILS(store_begin(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_read_begin(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_item_put(store, &item, 1, &st), STATUS_INVALID_ARGUMENT, "BAD_ITEM");
    FAILS(store_user_find(store, "u", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_commit(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    store_rollback(store);
    OK(store_begin(store, &st));
    add_user(store, "u");
    OK(store_commit(store, &st));
    expect_query("SELECT count(*) FROM item", "0");
    store_close(store);
}

/* ---- items and features */

static bool collect_item(void *context, const struct store_item *item)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%u=%s|%s|%s|%s|%g|%d%d|%lld ", item->item_id, item->name,
             item->title, item->categories_json, item->attributes_json, item->has_price ? item->price : -1,
             item->available, item->deleted, (long long)item->position);
    return --to->left > 0;
}

Test(store, items_are_put_overwritten_and_remembered)
{
    struct store *store = writer();
    struct store_item shoe = {.name = "shoe",
                              .title = "A shoe",
                              .categories_json = "[\"x\",\"y\"]",
                              .attributes_json = "{\"size\":42}",
                              .has_price = true,
                              .price = 19.99,
                              .available = true,
                              .created_ms = 7,
                              .expires_ms = INT64_MAX};
    OK(store_begin(store, &st));
    OK(store_item_put(store, &shoe, 1000, &st));
    cr_assert(shoe.item_id == 1 && shoe.position == 1);
    add_item(store, "sock");
    shoe.has_price = false;
    shoe.available = false;
    shoe.deleted = true;
    OK(store_item_put(store, &shoe, 2000, &st));
    cr_assert(shoe.item_id == 1 && shoe.position == 3);
    struct store_item unknown = {.item_id = 99, .name = "unknown"};
    FAILS(store_item_put(store, &unknown, 1, &st), STATUS_NOT_FOUND, "UNKNOWN_ITEM");
    OK(store_commit(store, &st));

    struct collected got = {.left = 99}, first = {.left = 1};
    OK(store_item_scan(store, collect_item, &got, &st));
    cr_assert_str_eq(got.text, "1=shoe|A shoe|[\"x\",\"y\"]|{\"size\":42}|-1|01|3 2=sock|a title|[]|{}|-1|10|2 ");
    OK(store_item_scan(store, collect_item, &first, &st));
    cr_assert_str_eq(first.text, "1=shoe|A shoe|[\"x\",\"y\"]|{\"size\":42}|-1|01|3 ");
    expect_query("SELECT group_concat(position || kind || item_id || '@' || at_ms) FROM item_change",
                 "1item1@1000,2item2@1000,3item1@2000");
    expect_query("SELECT content FROM item_change WHERE position = 1",
                 "{\"name\":\"shoe\",\"title\":\"A shoe\",\"categories\":[\"x\",\"y\"],\"attributes\":{\"size\":42},"
                 "\"price\":19.99,\"available\":true,\"deleted\":false,\"created_ms\":7,"
                 "\"expires_ms\":9223372036854775807}");
    expect_query("SELECT json_extract(content, '$.deleted') FROM item_change WHERE position = 3", "1");
    store_close(store);
}

Test(store, items_that_cannot_be_are_refused)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    add_item(store, "taken");
    OK(store_commit(store, &st));
    static const struct {
        struct store_item item;
        enum status_code code;
        const char *reason;
    } cases[] = {
        {{.name = "taken"}, STATUS_ALREADY_EXISTS, "ITEM_EXISTS"},
        {{.name = ""}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
        {{.name = "a", .has_price = true, .price = INFINITY}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
        {{.name = "a", .attributes_json = "{\"a\":"}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_item item = cases[i].item;
        OK(store_begin(store, &st));
        FAILS(store_item_put(store, &item, 1, &st), cases[i].code, cases[i].reason);
        cr_assert_eq(item.item_id, 0);
        store_rollback(store);
    }
    expect_query("SELECT count(*) FROM item", "1");
    store_close(store);
}

static bool collect_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%u,%u:%g..%g ", item_id, space_id, (double)values[0],
             (double)values[dimension - 1]);
    return --to->left > 0;
}

Test(store, features_are_scanned_by_item_and_space)
{
    static const float text[3] = {1, 2, 3}, newer[3] = {7, 8, 9}, image[2] = {-.5f, 4};
    struct store *store = writer();
    int64_t position = 0;
    OK(store_begin(store, &st));
    const uint32_t a = add_item(store, "a"), b = add_item(store, "b");
    const struct store_space words = add_space(store, "text", 3), pixels = add_space(store, "image", 2);
    OK(store_feature_put(store, b, &words, text, 5, &position, &st));
    OK(store_feature_put(store, a, &pixels, image, 6, &position, &st));
    OK(store_feature_put(store, a, &words, text, 7, &position, &st));
    OK(store_feature_put(store, a, &words, newer, 8, &position, &st));
    cr_assert_eq(position, 6);
    OK(store_commit(store, &st));
    struct collected got = {.left = 99}, stopped = {.left = 2};
    OK(store_feature_scan(store, collect_feature, &got, &st));
    cr_assert_str_eq(got.text, "1,1:7..9 1,2:-0.5..4 2,1:1..3 ");
    OK(store_feature_scan(store, collect_feature, &stopped, &st));
    cr_assert_str_eq(stopped.text, "1,1:7..9 1,2:-0.5..4 ");
    expect_query("SELECT group_concat(item_id || '@' || position) FROM item", "1@6,2@3");
    expect_query("SELECT group_concat(position || ':' || item_id || ',' || space_id) FROM item_change WHERE kind = "
                 "'feature'",
                 "3:2,1,4:1,2,5:1,1,6:1,1");
    expect_query("SELECT hex(vec) FROM feature WHERE item_id = 2", "0000803F0000004000004040");
    store_close(store);
}

Test(store, spaces_and_vectors_that_do_not_fit_are_refused)
{
    static const float values[4] = {1, 2, 3, 4}, zero[3], broken[3] = {1, NAN, 2};
    struct store *store = writer();
    int64_t position;
    OK(store_begin(store, &st));
    const uint32_t item_id = add_item(store, "a");
    const struct store_space space = add_space(store, "text", 3);
    cr_assert_eq(add_space(store, "text", 3).space_id, space.space_id);
    struct store_space wider = space, nothing = space;
    wider.dimension = 4;
    nothing.dimension = 0;
    FAILS(store_space_put(store, &wider, &st), STATUS_FAILED_PRECONDITION, "BAD_DIMENSION");
    FAILS(store_space_put(store, &nothing, &st), STATUS_INVALID_ARGUMENT, "BAD_DIMENSION");
    FAILS(store_feature_put(store, item_id, &space, zero, 1, &position, &st), STATUS_INVALID_ARGUMENT, "BAD_FEATURE");
    FAILS(store_feature_put(store, item_id, &space, broken, 1, &position, &st), STATUS_INVALID_ARGUMENT, "BAD_FEATURE");
    FAILS(store_feature_put(store, 77, &space, values, 1, &position, &st), STATUS_NOT_FOUND, "UNKNOWN_ITEM");
    FAILS(store_feature_put(store, item_id, &wider, values, 1, &position, &st), STATUS_NOT_FOUND, "UNKNOWN_SPACE");
    store_rollback(store);
    OK(store_begin(store, &st));
    add_space(store, "text", 3);
    add_space(store, "image", 2);
    OK(store_commit(store, &st));
    struct store_space listed[3];
    size_t count;
    OK(store_space_list(store, listed, 3, &count, &st));
    cr_assert_eq(count, 2);
    cr_assert(listed[0].space_id == 1 && listed[0].dimension == 3 && strcmp(listed[0].modality, "text") == 0);
    cr_assert(listed[1].space_id == 2 && listed[1].dimension == 2 && strcmp(listed[1].encoder, "enc@1") == 0);
    OK(store_space_list(store, listed, 1, &count, &st));
    cr_assert_eq(count, 1);
    store_close(store);
}

Test(store, a_damaged_vector_is_noticed_and_its_item_named)
{
    static const char *const damages[] = {"UPDATE feature SET vec = x'0000803F0000004000004041'",
                                          "UPDATE feature SET vec = x'0000803F'", "UPDATE space SET dimension = 4",
                                          "UPDATE feature SET checksum = 1", "DELETE FROM space"};
    static const float values[3] = {1, 2, 3};
    int64_t position;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        struct store *store = writer();
        OK(store_begin(store, &st));
        const uint32_t item_id = add_item(store, "red-shoe");
        const struct store_space space = add_space(store, "text", 3);
        OK(store_feature_put(store, item_id, &space, values, 1, &position, &st));
        OK(store_commit(store, &st));
        OK(store_check(store, &st));
        store_close(store);
        run_sql(damages[i]);
        store = reader();
        struct collected got = {.left = 99};
        struct status why = STATUS_INIT;
        cr_assert_not(store_feature_scan(store, collect_feature, &got, &why), "%s", damages[i]);
        cr_assert_str_eq(why.reason, "STORE_CORRUPT");
        cr_assert_not_null(strstr(why.message, "'red-shoe'"), "%s", why.message);
        cr_assert_not_null(strstr(why.message, "shop.db"), "%s", why.message);
        FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
        store_close(store);
    }
}

/* ---- counts and models */

Test(store, counts_keep_sixteen_versions_and_two_blobs)
{
    struct store *store = writer();
    int64_t position = -1;
    void *bytes = NULL;
    size_t size = 9;
    OK(store_counts_latest(store, &position, &st));
    cr_assert_eq(position, 0);
    OK(store_counts_load(store, INT64_MAX, &position, &bytes, &size, &st));
    cr_assert_null(bytes);
    OK(store_begin(store, &st));
    for (int64_t i = 1; i <= 20; i++) {
        char blob[16];
        const int length = snprintf(blob, sizeof blob, "blob %lld", (long long)i);
        OK(store_counts_put(store, i * 100, i, i % 2 == 0 ? blob : NULL, (size_t)length, &st));
    }
    OK(store_counts_put(store, 2000, 21, NULL, 0, &st)); /* published again: its blob stays */
    OK(store_commit(store, &st));
    expect_query("SELECT min(position) || ',' || count(*) || ',' || count(bytes) FROM counts", "500,16,2");
    OK(store_counts_latest(store, &position, &st));
    cr_assert_eq(position, 2000);
    static const struct {
        int64_t at, want_position;
        const char *want;
    } cases[] = {{INT64_MAX, 2000, "blob 20"}, {1999, 1800, "blob 18"}, {1800, 1800, "blob 18"}, {1799, 0, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        OK(store_counts_load(store, cases[i].at, &position, &bytes, &size, &st));
        cr_assert_eq(position, cases[i].want_position);
        cr_assert_eq(bytes == NULL, cases[i].want == NULL);
        if (bytes != NULL)
            cr_assert(size == strlen(cases[i].want) && memcmp(bytes, cases[i].want, size) == 0);
        free(bytes);
    }
    store_close(store);
    run_sql("UPDATE counts SET bytes = x'00' WHERE position = 1800");
    store = reader();
    FAILS(store_counts_load(store, 1999, &position, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

Test(store, models_are_stored_once_and_the_last_activation_counts)
{
    struct store *store = writer();
    struct store_model model = {.version = "v1", .name = "main", .sha256 = "abc", .created_ms = 5}, loaded;
    char version[97] = "x";
    void *bytes = NULL;
    size_t size = 0;
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "");
    OK(store_begin(store, &st));
    OK(store_model_put(store, &model, "first", 5, &st));
    OK(store_model_put(store, &model, "other", 5, &st));
    strcpy(model.version, "v2");
    OK(store_model_put(store, &model, NULL, 0, &st));
    OK(store_activation_put(store, "v2", 10, 100, &st));
    OK(store_activation_put(store, "v1", 20, 200, &st));
    FAILS(store_activation_put(store, "v3", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(store), 2);
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "v1");
    OK(store_model_load(store, "v1", &loaded, &bytes, &size, &st));
    cr_assert(size == 5 && memcmp(bytes, "first", 5) == 0);
    cr_assert(strcmp(loaded.version, "v1") == 0 && strcmp(loaded.name, "main") == 0);
    cr_assert(strcmp(loaded.sha256, "abc") == 0 && loaded.created_ms == 5);
    free(bytes);
    OK(store_model_load(store, "v2", &loaded, &bytes, &size, &st));
    cr_assert_eq(size, 0);
    free(bytes);
    FAILS(store_model_load(store, "v3", &loaded, &bytes, &size, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    store_close(store);
}

static struct store_model model_of(const char *version, const char *sha256, int64_t size_bytes)
{
    struct store_model model = {.created_ms = 5, .size_bytes = size_bytes};
    snprintf(model.version, sizeof model.version, "%s", version);
    snprintf(model.name, sizeof model.name, "%.*s", (int)strcspn(version, "-"), version);
    snprintf(model.sha256, sizeof model.sha256, "%s", sha256);
    return model;
}

static void put_model(struct store *store, const char *version)
{
    struct store_model model = model_of(version, version, 0);
    OK(store_model_put(store, &model, version, strlen(version), &st));
}

/* A rollback goes back to that, "" for nowhere; and go there. */
static void roll_back(struct store *store, const char *want)
{
    struct store_activation target;
    OK(store_activation_target(store, &target, &st));
    cr_assert_str_eq(target.version, want);
    cr_assert_eq(target.position == 0, want[0] == '\0');
    if (target.position > 0)
        OK(store_activation_back(store, &target, 0, 0, &st));
}

Test(store, a_rollback_goes_back_step_by_step)
{
    struct store *store = writer();
    static const char *const names[] = {"a-1", "b-1", "c-1", "default-1", "default-2"};
    OK(store_begin(store, &st));
    roll_back(store, "");
    for (size_t i = 0; i < 5; i++)
        put_model(store, names[i]);
    OK(store_activation_replace(store, "default-1", 0, 0, &st));
    roll_back(store, ""); /* nothing lies below the first */
    OK(store_activation_replace(store, "default-2", 0, 0, &st));
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st)); /* what is active already is no step */
    OK(store_activation_put(store, "c-1", 0, 0, &st));
    roll_back(store, "b-1");
    roll_back(store, "a-1");
    roll_back(store, "default-2");
    roll_back(store, ""); /* default-2 took the place of default-1 */
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st));
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_model_delete(store, "b-1", &st));
    roll_back(store, "default-2"); /* b-1 is gone, and a-1 was active itself */
    OK(store_commit(store, &st));
    OK(store_check(store, &st));
    store_close(store);
}

struct listed {
    char text[256];
};

static bool list_model(void *context, const struct store_model_entry *entry)
{
    struct listed *listed = context;
    size_t used = strlen(listed->text);
    snprintf(listed->text + used, sizeof listed->text - used, "%s %lld %s %s|", entry->model.version,
             (long long)entry->activated_ms, entry->training_json,
             entry->report_json != NULL ? entry->report_json : "-");
    return true;
}

static void expect_models(struct store *store, const char *want)
{
    struct listed listed = {0};
    OK(store_model_list(store, list_model, &listed, &st));
    cr_assert_str_eq(listed.text, want);
}

Test(store, models_are_found_described_listed_and_deleted)
{
    struct store *store = writer();
    struct store_model found;
    char *report = NULL;
    OK(store_begin(store, &st));
    put_model(store, "a-1");
    put_model(store, "a-2");
    put_model(store, "b-1");
    OK(store_model_describe(store, "a-2", "{\"x\":1}", NULL, &st));
    OK(store_model_describe(store, "a-2", NULL, "{\"y\":2}", &st));
    OK(store_activation_put(store, "a-1", 0, 77, &st));
    OK(store_activation_put(store, "b-1", 0, 88, &st));
    expect_models(store, "b-1 88 {} -|a-2 0 {\"x\":1} {\"y\":2}|a-1 77 {} -|");
    OK(store_model_find(store, "a", &found, &st));
    cr_assert_str_eq(found.version, "a-2");
    OK(store_model_find(store, "a-1", &found, &st));
    cr_assert_str_eq(found.version, "a-1");
    cr_assert_eq(found.size_bytes, 3);
    OK(store_model_report(store, "a-2", &report, &st));
    cr_assert_str_eq(report, "{\"y\":2}");
    free(report);
    OK(store_model_report(store, "a-1", &report, &st));
    cr_assert_null(report);
    OK(store_model_delete(store, "a-2", &st));
    OK(store_model_delete(store, "a-1", &st));
    OK(store_commit(store, &st));
    expect_models(store, "b-1 88 {} -|");
    expect_query("SELECT group_concat(version || ' ' || state, ',') FROM model ORDER BY version",
                 "a-1 deleted,b-1 stored");
    expect_query("SELECT count(*) FROM model_part", "1");
    OK(store_begin(store, &st));
    FAILS(store_model_delete(store, "a-1", &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_activation_put(store, "a-1", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    put_model(store, "a-1"); /* a model that was deleted can be put again */
    OK(store_commit(store, &st));
    OK(store_model_find(store, "a", &found, &st));
    OK(store_check(store, &st));
    store_close(store);
}

Test(store, an_upload_is_a_model_when_it_is_finished)
{
    struct store *store = writer();
    struct store_model model = model_of("a-1", "sha", 7);
    struct store_upload upload;
    int64_t uploads, models, dropped;
    void *bytes = NULL;
    size_t size = 0;
    OK(store_begin(store, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert_str_eq(upload.model.version, "");
    FAILS(store_upload_append(store, "sha", "abcd", 4, 9, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    OK(store_upload_begin(store, &model, &st));
    OK(store_upload_append(store, "sha", "abcd", 4, 9, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert(!upload.stored && upload.received_bytes == 4 && upload.model.size_bytes == 7);
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_activation_put(store, "a-1", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_model_delete(store, "a-1", &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_upload_load(store, "a-1", &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT"); /* 4 of 7 bytes */
    OK(store_upload_append(store, "sha", "efg", 3, 10, &st));
    OK(store_upload_load(store, "a-1", &bytes, &size, &st));
    cr_assert(size == 7 && memcmp(bytes, "abcdefg", 7) == 0);
    free(bytes);
    struct store_model other = model_of("a-1", "another", 3);
    FAILS(store_upload_begin(store, &other, &st), STATUS_ALREADY_EXISTS, "VERSION_TAKEN");
    OK(store_upload_count(store, "default", &uploads, &models, &st));
    cr_assert(uploads == 1 && models == 0);
    OK(store_upload_finish(store, "a-1", 50, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert(upload.stored && upload.received_bytes == 7 && upload.model.created_ms == 50);
    OK(store_upload_expire(store, INT64_MAX, &dropped, &st)); /* a model is no upload */
    cr_assert_eq(dropped, 0);
    OK(store_upload_drop(store, "a-1", &st));
    OK(store_commit(store, &st));
    OK(store_model_load(store, "a-1", &model, &bytes, &size, &st));
    cr_assert(size == 7 && memcmp(bytes, "abcdefg", 7) == 0);
    free(bytes);
    for (int64_t offset = 0; offset <= 8; offset++) {
        size_t want = offset < 4 ? (size_t)(4 - offset) : offset < 7 ? (size_t)(7 - offset) : 0;
        want = want > 2 ? 2 : want;
        OK(store_model_read(store, "a-1", offset, 2, &bytes, &size, &st));
        cr_assert_eq(size, want, "%zu at %lld", size, (long long)offset);
        cr_assert(size == 0 || memcmp(bytes, "abcdefg" + offset, size) == 0);
        free(bytes);
    }
    store_close(store);
}

Test(store, stale_uploads_are_given_up)
{
    struct store *store = writer();
    int64_t dropped;
    OK(store_begin(store, &st));
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d-1", i);
        struct store_model model = model_of(name, name, 100);
        OK(store_upload_begin(store, &model, &st));
        OK(store_upload_append(store, name, "x", 1, 10 * i + 10, &st));
    }
    OK(store_upload_expire(store, 11, &dropped, &st));
    cr_assert_eq(dropped, 1);
    OK(store_upload_drop(store, "m1-1", &st));
    OK(store_upload_drop(store, "m1-1", &st)); /* gone already: fine */
    OK(store_commit(store, &st));
    expect_query("SELECT group_concat(version) FROM model", "m2-1");
    expect_query("SELECT count(*) FROM model_part", "1");
    OK(store_check(store, &st));
    store_close(store);
}

Test(store, a_bit_that_flips_in_a_model_is_noticed)
{
    struct store *store = writer();
    struct store_model model;
    void *bytes;
    size_t size;
    OK(store_begin(store, &st));
    put_model(store, "a-1");
    OK(store_commit(store, &st));
    store_close(store);
    run_sql("UPDATE model_part SET bytes = CAST('a-2' AS BLOB)");
    store = reader();
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_model_read(store, "a-1", 0, 10, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
    run_sql("DELETE FROM model_part");
    store = reader();
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

/* A database as version 1 left it: models whole in one row. */
Test(store, models_of_the_first_version_are_taken_along)
{
    struct store_model model;
    struct store_activation target;
    char insert[512], version[97];
    void *bytes = NULL;
    size_t size = 0;
    store_close(writer());
    run_sql(
        "DROP TABLE model_part; DROP TABLE activation; DROP TABLE model;"
        "CREATE TABLE model(model_id INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
        " sha256 TEXT NOT NULL, created_ms INTEGER NOT NULL, checksum INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;"
        "CREATE TABLE activation(position INTEGER PRIMARY KEY, version TEXT NOT NULL REFERENCES model(version),"
        " counts_position INTEGER NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
        "PRAGMA user_version = 1");
    snprintf(insert, sizeof insert,
             "INSERT INTO model VALUES(1, 'default-1', 'default', 'sha', 5, %lld, CAST('file' AS BLOB));"
             "INSERT INTO activation VALUES(1, 'default-1', 0, 6)",
             (long long)XXH3_64bits("file", 4));
    run_sql(insert);
    struct store *store = writer();
    OK(store_model_load(store, "default-1", &model, &bytes, &size, &st));
    cr_assert(size == 4 && memcmp(bytes, "file", 4) == 0 && model.size_bytes == 4);
    free(bytes);
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "default-1");
    OK(store_activation_target(store, &target, &st));
    cr_assert_eq(target.position, 0);
    expect_models(store, "default-1 6 {} -|");
    OK(store_check(store, &st));
    store_close(store);
    expect_query("PRAGMA user_version", "2");
}

/* ---- readers */

Test(store, a_reader_sees_commits_and_keeps_a_view)
{
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "shop.db");
    cr_assert_neq(access(dir, F_OK), 0, "a reader makes nothing");
    struct store *store = writer(), *other = reader();
    struct store_sizes sizes;
    int64_t user_id = -1;
    OK(store_begin(store, &st));
    append(store, add_user(store, "u"), 1, 1);
    cr_assert_eq(position_of(other), 0);
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(other), 1);
    OK(store_sizes(other, &sizes, &st));
    cr_assert(sizes.users == 1 && sizes.events == 1 && sizes.database_bytes > 0 && sizes.wal_bytes > 0);

    OK(store_read_begin(other, &st));
    cr_assert_eq(position_of(other), 1);
    OK(store_begin(store, &st));
    append(store, 1, 2, 1);
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(other), 1);
    expect_history(other, 1, INT64_MAX, 10, "1/1 ", false);
    OK(store_checkpoint(store, true, &st)); /* a reader in the way is no error */
    store_read_end(other);
    cr_assert_eq(position_of(other), 2);

    FAILS(store_begin(other, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_user_find(other, "w", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_checkpoint(other, false, &st), STATUS_INTERNAL, "STORE_ERROR");
    OK(store_check(other, &st));
    store_close(store);
    cr_assert_eq(position_of(other), 2);
    store_close(other);
    store_close(NULL);
}

Test(store, a_checkpoint_empties_the_log)
{
    struct store *store = writer();
    struct store_sizes before, after;
    OK(store_begin(store, &st));
    for (int i = 0; i < 2000; i++)
        append(store, i % 7 + 1, i, 1);
    OK(store_commit(store, &st));
    OK(store_sizes(store, &before, &st));
    OK(store_checkpoint(store, false, &st));
    OK(store_checkpoint(store, true, &st));
    OK(store_sizes(store, &after, &st));
    cr_assert_gt(before.wal_bytes, 8192);
    cr_assert_eq(after.wal_bytes, 0);
    cr_assert_gt(after.database_bytes, before.database_bytes);
    store_close(store);
}

/* ---- files */

Test(store, a_second_writer_is_locked_out)
{
    char pid[32];
    struct store *store = writer();
    snprintf(pid, sizeof pid, "process %d", getpid());
    refused(true, STATUS_UNAVAILABLE, "STORE_LOCKED", pid);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct status st = STATUS_INIT;
        struct store *second = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
        _exit(second == NULL && strcmp(st.reason, "STORE_LOCKED") == 0 ? 7 : 8);
    }
    int result;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 7);
    store_close(store);
    store_close(writer()); /* and let in again */
}

/* The plan has one step, which is `want`: nothing is sorted. */
static void expect_plan(const char *explain, const char *want)
{
    char path[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    path_of("shop.db", path);
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, explain, -1, &statement, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
    cr_assert_str_eq((const char *)sqlite3_column_text(statement, 3), want);
    cr_assert_eq(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

Test(store, a_new_database_has_its_marks_and_plans)
{
    store_close(writer());
    expect_query("PRAGMA application_id", "1380143961");
    expect_query("PRAGMA user_version", "2");
    expect_query("PRAGMA page_size", "8192");
    expect_query("PRAGMA journal_mode", "wal");
    expect_query("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE "
                 "'sqlite_%'",
                 "0");
    expect_query("SELECT wr FROM pragma_table_list WHERE name = 'event'", "1");
    /* each of a user's reads is one walk down one index */
    static const char *const plans[][2] = {
        {"EXPLAIN QUERY PLAN SELECT item_id FROM event WHERE user_id = 1 AND +position <= 9 ORDER BY ts_ms DESC, "
         "position DESC LIMIT 5",
         "SEARCH event USING PRIMARY KEY (user_id=?)"},
        {"EXPLAIN QUERY PLAN SELECT position FROM event WHERE user_id = 1 AND key = x'00'",
         "SEARCH event USING COVERING INDEX event_key (user_id=? AND key=?)"},
    };
    for (size_t i = 0; i < 2; i++)
        expect_plan(plans[i][0], plans[i][1]);
}

Test(store, modes_do_not_depend_on_umask_and_old_scratch_files_go)
{
    static const char *const names[] = {"shop.db", "LOCK", "shop.db-wal", "shop.db-shm"};
    static const mode_t umasks[] = {0, 0277};
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        struct stat is;
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        const mode_t old = umask(umasks[i]);
        struct store *store = writer();
        umask(old);
        cr_assert(stat(dir, &is) == 0 && (is.st_mode & 0777) == 0700, "%o", is.st_mode);
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            path_of(names[k], path);
            cr_assert(stat(path, &is) == 0 && (is.st_mode & 0777) == 0600, "%s %o", path, is.st_mode);
        }
        store_close(store);
        path_of("backup.db.tmp", path);
        cr_assert_geq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
        store_close(writer());
        cr_assert_neq(access(path, F_OK), 0);
    }
}

static size_t read_file(const char *path, char **bytes)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    *bytes = malloc(1 << 20);
    const size_t size = fread(*bytes, 1, 1 << 20, file);
    fclose(file);
    return size;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

Test(store, what_is_not_ours_is_refused_untouched)
{
    static const struct {
        const char *sql; /* what was done to the database; NULL: text in its place */
        enum status_code code;
        const char *reason, *words;
    } cases[] = {
        {"PRAGMA user_version = 7", STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_NEW", "version 7"},
        {"PRAGMA user_version = 7", STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_NEW", "up to 2"},
        {"PRAGMA application_id = 5", STATUS_DATA_LOSS, "STORE_CORRUPT", "0x00000005"},
        {"PRAGMA user_version = 0", STATUS_DATA_LOSS, "STORE_CORRUPT", "user_version 0"},
        {NULL, STATUS_DATA_LOSS, "STORE_CORRUPT", "not a database"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256], *before, *after;
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        store_close(writer());
        path_of("shop.db", path);
        if (cases[i].sql != NULL)
            run_sql(cases[i].sql);
        else
            write_file(path, "this is a text and it is longer than the header of a database, which has a hundred bytes",
                       88);
        const size_t size = read_file(path, &before);
        refused(true, cases[i].code, cases[i].reason, cases[i].words);
        refused(false, cases[i].code, cases[i].reason, cases[i].words);
        cr_assert_eq(read_file(path, &after), size);
        cr_assert_eq(memcmp(before, after, size), 0, "case %zu", i);
        free(before);
        free(after);
    }
}

Test(store, a_start_that_was_cut_short_is_taken_up)
{
    char path[256];
    cr_assert_eq(mkdir(dir, 0755), 0);
    path_of("shop.db", path);
    write_file(path, "", 0);
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "empty");
    store_close(writer());
    expect_query("PRAGMA user_version", "2");
    struct stat is;
    cr_assert(stat(dir, &is) == 0 && (is.st_mode & 0777) == 0755, "the mode of a directory that was there stays");

    snprintf(dir, sizeof dir, "%s/second", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    run_sql("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; COMMIT");
    store_close(writer());
    expect_query("PRAGMA user_version", "2");

    snprintf(dir, sizeof dir, "%s/third", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    run_sql("CREATE TABLE theirs(x)");
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "another program");

    snprintf(dir, sizeof dir, "%s/fourth", top);
    store_close(writer());
    run_sql("DROP TABLE list; DROP TABLE event");
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "SQL_LARGEST");
    refused(false, STATUS_DATA_LOSS, "STORE_CORRUPT", "no such table: event");
}

Test(store, a_damaged_page_is_noticed_at_the_start)
{
    char path[256], *bytes;
    struct store *store = writer();
    OK(store_begin(store, &st));
    for (int i = 0; i < 3000; i++)
        append(store, i % 50 + 1, i, 1);
    OK(store_commit(store, &st));
    store_close(store);
    path_of("shop.db", path);
    const size_t size = read_file(path, &bytes);
    memset(bytes + size - 8192, 0x5a, 4096);
    write_file(path, bytes, size);
    free(bytes);
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "shop.db");
    store = reader();
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

/* Whether opening as an ordinary user ends with this reason; root may write anywhere. */
static bool fails_unprivileged(const char *reason)
{
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct status st = STATUS_INIT;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(9);
        struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
        _exit(store == NULL && st.code == STATUS_UNAVAILABLE && strcmp(st.reason, reason) == 0 ? 7 : 8);
    }
    int result;
    cr_assert_eq(waitpid(child, &result, 0), child);
    return WIFEXITED(result) && WEXITSTATUS(result) == 7;
}

Test(store, directories_that_cannot_be_used_are_named)
{
    char path[256];
    store_close(writer());
    path_of("shop.db", path);
    cr_assert(chmod(top, 0755) == 0 && chmod(dir, 0555) == 0);
    char lock[256];
    path_of("LOCK", lock);
    cr_assert(chmod(lock, 0444) == 0 && chmod(path, 0444) == 0);
    cr_assert(fails_unprivileged("STORE_READONLY"), "the lock cannot be written");
    cr_assert_eq(chmod(lock, 0666), 0);
    cr_assert(fails_unprivileged("STORE_READONLY"), "the database cannot be written");
    cr_assert_eq(chmod(dir, 0700), 0);

    snprintf(dir, sizeof dir, "%s/none/shop", top);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "none/shop");
    snprintf(dir, sizeof dir, "%s/file", top);
    write_file(dir, "x", 1);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "/file'");
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "/file/shop.db'");
    snprintf(dir, sizeof dir, "%s/file/shop", top);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "file/shop");
    snprintf(dir, sizeof dir, "/proc/self/shop");
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "/proc/self/shop");
    snprintf(dir, sizeof dir, "%s/shop2", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    path_of("shop.db", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "shop.db");
}
