/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <string.h>

static const char *const total_names[TOTAL_COUNT] = {
    [TOTAL_USERS] = "users",     [TOTAL_EVENTS] = "events",   [TOTAL_POSITION] = "position",
    [TOTAL_USER_ID] = "user_id", [TOTAL_ITEM_ID] = "item_id", [TOTAL_REQUEST_ID] = "request_id",
    [TOTAL_MERGED] = "merged",   [TOTAL_PAST_MS] = "past_ms", [TOTAL_FORGOTTEN] = "forgotten",
};

/* ---- totals */

bool totals_read(struct store *store, enum total which, int64_t *value, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_TOTAL_GET);
    bool row = false;
    if (!sql_bound(store, SQL_TOTAL_GET, sqlite3_bind_text(s, 1, total_names[which], -1, SQLITE_STATIC), st))
        return false;
    const bool ok = sql_step(store, SQL_TOTAL_GET, &row, st);
    if (ok)
        *value = row ? sqlite3_column_int64(s, 0) : 0;
    sql_end(store, SQL_TOTAL_GET);
    return ok;
}

bool totals_load(struct store *store, struct status *st)
{
    int64_t loaded[TOTAL_COUNT];
    for (int i = 0; i < TOTAL_COUNT; i++)
        if (!totals_read(store, (enum total)i, &loaded[i], st))
            return false;
    sqlite3_stmt *s = sql_use(store, SQL_LARGEST);
    bool row = false;
    const bool ok = sql_step(store, SQL_LARGEST, &row, st);
    for (int i = TOTAL_POSITION; ok && row && i <= TOTAL_REQUEST_ID; i++) {
        const int64_t largest = sqlite3_column_int64(s, i - TOTAL_POSITION);
        if (loaded[i] < largest)
            loaded[i] = largest;
    }
    sql_end(store, SQL_LARGEST);
    if (!ok)
        return false;
    memcpy(store->committed, loaded, sizeof loaded);
    memcpy(store->current, loaded, sizeof loaded);
    memcpy(store->given, loaded, sizeof loaded);
    return true;
}

int64_t totals_next(const struct store *store, enum total which)
{
    return store->given[which] + 1;
}

void totals_take(struct store *store, enum total which)
{
    store->current[which] = ++store->given[which];
}

/* Once per transaction: an update per row would write the same page again and again. */
static bool save_totals(struct store *store, struct status *st)
{
    for (int i = 0; i < TOTAL_COUNT; i++) {
        if (store->current[i] == store->committed[i])
            continue;
        sqlite3_stmt *s = sql_use(store, SQL_TOTAL_PUT);
        const int bound =
            sqlite3_bind_text(s, 1, total_names[i], -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 2, store->current[i]);
        if (!sql_run(store, SQL_TOTAL_PUT, bound, st))
            return false;
    }
    return true;
}

/* ---- transactions */

static bool no_transaction(struct store *store, const char *what, struct status *st)
{
    return status_fail(st, STATUS_INTERNAL, "NO_TRANSACTION", "%s '%s'", what, store->path);
}

bool transaction_open(struct store *store, struct status *st)
{
    if (!store->writing)
        return no_transaction(store, "a write outside a transaction to", st);
    /* SQLite ends a transaction by itself on some errors; what came after would be committed row by row */
    if (store->failed || sqlite3_get_autocommit(store->db))
        return no_transaction(store, "an earlier write failed, roll back", st);
    return true;
}

bool store_begin(struct store *store, struct status *st)
{
    if (!store->writer)
        return no_transaction(store, "a read-only connection to", st);
    if (store->writing || store->reading)
        return no_transaction(store, "a transaction within a transaction on", st);
    sql_use(store, SQL_BEGIN);
    if (!sql_run(store, SQL_BEGIN, SQLITE_OK, st))
        return false;
    store->writing = true;
    store->failed = false;
    return true;
}

bool store_commit(struct store *store, struct status *st)
{
    if (!transaction_open(store, st) || !save_totals(store, st))
        return false;
    sql_use(store, SQL_COMMIT);
    if (!sql_run(store, SQL_COMMIT, SQLITE_OK, st))
        return false;
    memcpy(store->committed, store->current, sizeof store->committed);
    store->writing = false;
    return true;
}

void store_rollback(struct store *store)
{
    if (!store->writing)
        return;
    /* a failure of ROLLBACK itself leaves nothing to do: the next BEGIN reports it */
    if (!sqlite3_get_autocommit(store->db))
        sql_run(store, SQL_ROLLBACK, SQLITE_OK, NULL);
    memcpy(store->current, store->committed, sizeof store->current);
    store->writing = false;
}

bool store_read_begin(struct store *store, struct status *st)
{
    if (store->writing || store->reading)
        return no_transaction(store, "a view within a transaction on", st);
    sql_use(store, SQL_READ_BEGIN);
    if (!sql_run(store, SQL_READ_BEGIN, SQLITE_OK, st))
        return false;
    store->reading = true;
    return true;
}

void store_read_end(struct store *store)
{
    if (!store->reading)
        return;
    if (!sqlite3_get_autocommit(store->db) && !sql_run(store, SQL_COMMIT, SQLITE_OK, NULL))
        sql_run(store, SQL_ROLLBACK, SQLITE_OK, NULL);
    store->reading = false;
}

bool store_position(struct store *store, int64_t *position, struct status *st)
{
    if (!store->writer)
        return totals_read(store, TOTAL_POSITION, position, st);
    *position = store->current[TOTAL_POSITION];
    return true;
}
