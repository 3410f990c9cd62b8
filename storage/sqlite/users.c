/* SPDX-License-Identifier: Apache-2.0
 *
 * Users and behaviours: what an event names by number. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <limits.h>
#include <string.h>
#include <xxhash.h>

#define USER_BUCKETS 1024 /* part of the stored data: shards of a rescoring run are ranges of it */

static bool valid_name(const char *name, const char *what, size_t bytes_max, struct status *st)
{
    const size_t length = strlen(name);
    if (length >= 1 && length <= bytes_max)
        return true;
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NAME", "the name of a %s has %zu bytes, not 1 to %zu", what,
                       length, bytes_max);
}

/* The number of a name, 0 where it has none. */
static bool find_name(struct store *store, enum sql which, const char *name, int64_t *number, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, which);
    bool row = false;
    if (!sql_bound(store, which, sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC), st))
        return false;
    const bool ok = sql_step(store, which, &row, st);
    if (ok)
        *number = row ? sqlite3_column_int64(s, 0) : 0;
    sql_end(store, which);
    return ok;
}

/* ---- users */

static bool add_user(struct store *store, const char *name, int64_t *user_id, struct status *st)
{
    const size_t length = strlen(name);
    const int64_t next = totals_next(store, TOTAL_USER_ID);
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_USER_ADD);
    const int bound = sqlite3_bind_int64(s, 1, next) | sqlite3_bind_text(s, 2, name, (int)length, SQLITE_STATIC) |
                      sqlite3_bind_int(s, 3, (int)(XXH3_64bits(name, length) % USER_BUCKETS));
    if (!sql_run(store, SQL_USER_ADD, bound, st))
        return false;
    totals_take(store, TOTAL_USER_ID);
    store->current[TOTAL_USERS]++;
    *user_id = next;
    return true;
}

bool store_user_find(struct store *store, const char *name, bool create, int64_t *user_id, bool *created,
                     struct status *st)
{
    int64_t found = 0;
    if (!valid_name(name, "user", sizeof((struct store_user *)0)->name - 1, st) ||
        !find_name(store, SQL_USER_FIND, name, &found, st))
        return false;
    const bool add = found == 0 && create;
    if (add && !add_user(store, name, &found, st))
        return false;
    *user_id = found;
    if (created != NULL)
        *created = add;
    return true;
}

bool store_user_name(struct store *store, int64_t user_id, char *name, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_USER_NAME);
    bool row = false;
    name[0] = '\0';
    if (!sql_bound(store, SQL_USER_NAME, sqlite3_bind_int64(s, 1, user_id), st))
        return false;
    bool ok = sql_step(store, SQL_USER_NAME, &row, st);
    ok = ok && (!row || sql_text(store, s, 0, name, STORE_USER_NAME_BYTES, st));
    sql_end(store, SQL_USER_NAME);
    return ok;
}

static bool move_events(struct store *store, int64_t from, int64_t into, int64_t *moved, int64_t *duplicates,
                        struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_USER_EVENTS_MOVE);
    if (!sql_run(store, SQL_USER_EVENTS_MOVE, sqlite3_bind_int64(s, 1, from) | sqlite3_bind_int64(s, 2, into), st))
        return false;
    *moved = sqlite3_changes64(store->db);
    s = sql_use(store, SQL_USER_EVENTS_DELETE);
    if (!sql_run(store, SQL_USER_EVENTS_DELETE, sqlite3_bind_int64(s, 1, from), st))
        return false;
    *duplicates = sqlite3_changes64(store->db);
    static const enum sql moves[] = {SQL_USER_IMPRESSIONS_MOVE, SQL_USER_REQUESTS_MOVE};
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        s = sql_use(store, moves[i]);
        if (!sql_run(store, moves[i], sqlite3_bind_int64(s, 1, from) | sqlite3_bind_int64(s, 2, into), st))
            return false;
    }
    static const enum sql rest[] = {SQL_USER_IMPRESSIONS_DELETE, SQL_USER_LISTS_DELETE, SQL_USER_DELETE};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        if (!sql_run(store, rest[i], sqlite3_bind_int64(sql_use(store, rest[i]), 1, from), st))
            return false;
    store->current[TOTAL_USERS]--;
    store->current[TOTAL_EVENTS] -= *duplicates;
    return true;
}

static bool rename_user(struct store *store, int64_t user_id, const char *name, struct status *st)
{
    const size_t length = strlen(name);
    sqlite3_stmt *s = sql_use(store, SQL_USER_RENAME);
    const int bound = sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_text(s, 2, name, (int)length, SQLITE_STATIC) |
                      sqlite3_bind_int(s, 3, (int)(XXH3_64bits(name, length) % USER_BUCKETS));
    return sql_run(store, SQL_USER_RENAME, bound, st);
}

/* The smaller one's events move, so that a merge costs no more than it adds; the larger one's number gets the name that stays. */
static bool join(struct store *store, int64_t from, int64_t into, const char *name, int64_t *moved, int64_t *duplicates,
                 struct status *st)
{
    int64_t from_count, into_count, other;
    if (!store_event_count(store, from, INT64_MAX, &from_count, st) ||
        !store_event_count(store, into, INT64_MAX, &into_count, st))
        return false;
    bool ok = from_count <= into_count
                  ? move_events(store, from, into, &other, duplicates, st)
                  : move_events(store, into, from, &other, duplicates, st) && rename_user(store, from, name, st);
    *moved = from_count - *duplicates;
    return ok;
}

bool store_user_merge(struct store *store, const char *from, const char *into, int64_t *moved, int64_t *duplicates,
                      bool *renamed, int64_t *position, struct status *st)
{
    int64_t from_id, into_id;
    *moved = *duplicates = 0;
    if (!store_user_find(store, from, false, &from_id, NULL, st) ||
        !store_user_find(store, into, false, &into_id, NULL, st))
        return false;
    if (from_id == 0)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_USER", "from", "there is no user '%.64s'", from);
    if (!transaction_open(store, st))
        return false;
    *renamed = into_id == 0;
    if (!(into_id == 0 ? rename_user(store, from_id, into, st)
                       : join(store, from_id, into_id, into, moved, duplicates, st)))
        return false;
    totals_take(store, TOTAL_POSITION);
    *position = store->current[TOTAL_POSITION];
    if (!*renamed)
        store->current[TOTAL_MERGED] = *position;
    return true;
}

static bool delete_rows(struct store *store, enum sql which, int64_t user_id, int64_t *deleted, struct status *st)
{
    if (!sql_run(store, which, sqlite3_bind_int64(sql_use(store, which), 1, user_id), st))
        return false;
    *deleted = sqlite3_changes64(store->db);
    return true;
}

bool store_user_erase(struct store *store, const char *name, struct store_erasure *erased, int64_t *position,
                      struct status *st)
{
    struct store_erasure gone = {0};
    int64_t user_id, lists, names;
    if (!store_user_find(store, name, false, &user_id, NULL, st))
        return false;
    if (user_id == 0)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_USER", "user", "there is no user '%.64s'", name);
    if (!transaction_open(store, st) || !delete_rows(store, SQL_USER_EVENTS_DELETE, user_id, &gone.events, st) ||
        !delete_rows(store, SQL_USER_IMPRESSIONS_DELETE, user_id, &gone.impressions, st) ||
        !delete_rows(store, SQL_USER_REQUESTS_DELETE, user_id, &gone.requests, st) ||
        !delete_rows(store, SQL_USER_LISTS_DELETE, user_id, &lists, st) ||
        !delete_rows(store, SQL_USER_DELETE, user_id, &names, st))
        return false;
    sql_use(store, SQL_COUNTS_ERASE); /* the user's share is in these sums */
    if (!sql_run(store, SQL_COUNTS_ERASE, SQLITE_OK, st))
        return false;
    store->current[TOTAL_USERS]--;
    store->current[TOTAL_EVENTS] -= gone.events;
    totals_take(store, TOTAL_POSITION);
    *position = store->current[TOTAL_MERGED] = store->current[TOTAL_POSITION];
    *erased = gone;
    return true;
}

bool store_merged_position(struct store *store, int64_t *position, struct status *st)
{
    return totals_read(store, TOTAL_MERGED, position, st);
}

bool store_user_list(struct store *store, int32_t after_bucket, int64_t after_user_id, int32_t end_bucket,
                     struct store_user *out, size_t capacity, size_t *count, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_USER_LIST);
    const int bound = sqlite3_bind_int(s, 1, after_bucket) | sqlite3_bind_int64(s, 2, after_user_id) |
                      sqlite3_bind_int(s, 3, end_bucket) |
                      sqlite3_bind_int64(s, 4, capacity > INT_MAX ? INT_MAX : (int64_t)capacity);
    size_t found = 0;
    bool row = false, ok;
    if (!sql_bound(store, SQL_USER_LIST, bound, st))
        return false;
    while ((ok = sql_step(store, SQL_USER_LIST, &row, st)) && row) {
        struct store_user *user = &out[found];
        user->user_id = sqlite3_column_int64(s, 0);
        user->bucket = sqlite3_column_int(s, 1);
        ok = sql_text(store, s, 2, user->name, sizeof user->name, st);
        if (!ok)
            break;
        found++;
    }
    sql_end(store, SQL_USER_LIST);
    if (ok)
        *count = found;
    return ok;
}

/* ---- behaviours */

static bool add_behaviour(struct store *store, const char *name, int64_t *behaviour, struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_BEHAVIOUR_ADD);
    bool row = false;
    if (!sql_bound(store, SQL_BEHAVIOUR_ADD, sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, SQL_BEHAVIOUR_ADD, &row, st);
    if (ok && row)
        *behaviour = sqlite3_column_int64(s, 0);
    else if (ok)
        ok = status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_BEHAVIOURS",
                         "'%s' would be one behaviour more than 255", name);
    sql_end(store, SQL_BEHAVIOUR_ADD);
    return ok;
}

static bool behaviour_number(struct store *store, int64_t stored, uint8_t *behaviour, struct status *st)
{
    if (stored < 0 || stored > UINT8_MAX)
        return errors_corrupt(st, store->path, "behaviour %lld", (long long)stored);
    *behaviour = (uint8_t)stored;
    return true;
}

bool store_behaviour_find(struct store *store, const char *name, bool create, uint8_t *behaviour, struct status *st)
{
    int64_t found = 0;
    if (!valid_name(name, "behaviour", 256, st) || !find_name(store, SQL_BEHAVIOUR_FIND, name, &found, st))
        return false;
    if (found == 0 && create && !add_behaviour(store, name, &found, st))
        return false;
    return behaviour_number(store, found, behaviour, st);
}

bool store_behaviour_list(struct store *store, void (*each)(void *context, uint8_t behaviour, const char *name),
                          void *context, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_BEHAVIOUR_LIST);
    bool row = false, ok;
    while ((ok = sql_step(store, SQL_BEHAVIOUR_LIST, &row, st)) && row) {
        uint8_t behaviour = 0;
        const char *name = sql_text_borrow(store, s, 1, st);
        ok = name != NULL && behaviour_number(store, sqlite3_column_int64(s, 0), &behaviour, st);
        if (!ok)
            break;
        each(context, behaviour, name);
    }
    sql_end(store, SQL_BEHAVIOUR_LIST);
    return ok;
}
