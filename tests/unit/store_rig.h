/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in a directory of its own for each test, and calls that must or must not succeed. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_STORE_RIG_H
#define RECSYS_TESTS_UNIT_STORE_RIG_H

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

static char top[64];  /* of this test */
static char dir[128]; /* the data directory within it; the store makes it */

static inline int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static inline void set_up(void)
{
    strcpy(top, "/tmp/test_store_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
}

static inline void tear_down(void)
{
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", dir, name);
}

static inline struct store *writer(void)
{
    struct status st = STATUS_INIT;
    struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
    cr_assert_not_null(store, "%s: %s", st.reason, st.message);
    return store;
}

static inline struct store *reader(void)
{
    struct status st = STATUS_INIT;
    struct store *store = store_open_reader(&(struct store_options){.data_dir = dir}, &st);
    cr_assert_not_null(store, "%s: %s", st.reason, st.message);
    return store;
}

#define EVENTS_MAX 64 /* of one history */

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

static inline void refused(bool as_writer, enum status_code code, const char *reason, const char *words)
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
static inline void run_sql(const char *sql)
{
    char path[256];
    sqlite3 *db = NULL;
    path_of("shop.db", path);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* The first column of the first row of a query, as text. */
static inline void query(const char *sql, char out[256])
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

static inline void expect_query(const char *sql, const char *want)
{
    char got[256];
    query(sql, got);
    cr_assert_str_eq(got, want, "%s: %s", sql, got);
}

static inline int64_t add_user(struct store *store, const char *name)
{
    int64_t user_id = 0;
    OK(store_user_find(store, name, true, &user_id, NULL, &st));
    return user_id;
}

/* Append an event without a key and return its position. */
static inline int64_t append(struct store *store, int64_t user_id, int64_t ts_ms, uint32_t item_id)
{
    struct store_event event = {.ts_ms = ts_ms, .user_id = user_id, .item_id = item_id, .behaviour = 1};
    bool duplicate = true;
    OK(store_event_append(store, &event, &(struct store_event_extra){.received_ms = 1}, &duplicate, &st));
    cr_assert_not(duplicate);
    return event.position;
}

static inline int64_t position_of(struct store *store)
{
    int64_t position = -1;
    OK(store_position(store, &position, &st));
    return position;
}

static inline uint32_t add_item(struct store *store, const char *name)
{
    struct store_item item = {.name = name, .title = "a title", .available = true, .expires_ms = INT64_MAX};
    OK(store_item_put(store, &item, 1000, &st));
    return item.item_id;
}

static inline struct store_space add_space(struct store *store, const char *modality, int32_t dimension)
{
    struct store_space space = {.dimension = dimension, .encoder = "enc@1"};
    snprintf(space.modality, sizeof space.modality, "%s", modality);
    OK(store_space_put(store, &space, &st));
    return space;
}

/* The newest events of a user as "time/position " each, oldest first. */
static inline void expect_history(struct store *store, int64_t user_id, int64_t at, size_t capacity, const char *want,
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

#endif
