/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/statements.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum user { BOTH, WRITER };

static const struct {
    const char *name;
    enum user user;
    const char *text;
} statements[] = {
#define SQL_ROW(name, who, text) [SQL_##name] = {"SQL_" #name, who, text},
    SQL_STATEMENTS(SQL_ROW)
#undef SQL_ROW
};

bool sql_prepare(struct store *store, struct status *st)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        if (statements[i].user == WRITER && !store->writer)
            continue;
        if (sqlite3_prepare_v3(store->db, statements[i].text, -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i],
                               NULL) == SQLITE_OK)
            continue;
        char doing[64];
        snprintf(doing, sizeof doing, "prepare %s", statements[i].name);
        /* the version is ours, so a table that is not there was taken away */
        if (sqlite3_errcode(store->db) == SQLITE_ERROR)
            return errors_corrupt(st, store->path, "%s: %s", doing, sqlite3_errmsg(store->db));
        return errors_sqlite(st, store->db, doing, store->path);
    }
    return true;
}

void sql_finalize(struct store *store)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
}

sqlite3_stmt *sql_use(struct store *store, enum sql which)
{
    sqlite3_stmt *statement = store->statements[which];
    assert(statement != NULL && !sqlite3_stmt_busy(statement));
    return statement;
}

static bool fail(struct store *store, enum sql which, struct status *st)
{
    store->failed = true;
    return errors_sqlite(st, store->db, statements[which].name, store->path);
}

bool sql_bound(struct store *store, enum sql which, int bound, struct status *st)
{
    if (bound == SQLITE_OK)
        return true;
    fail(store, which, st);
    sql_end(store, which);
    return false;
}

bool sql_step(struct store *store, enum sql which, bool *row, struct status *st)
{
    const int code = sqlite3_step(store->statements[which]);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail(store, which, st);
    *row = code == SQLITE_ROW;
    return true;
}

void sql_end(struct store *store, enum sql which)
{
    sqlite3_reset(store->statements[which]);
    sqlite3_clear_bindings(store->statements[which]);
}

bool sql_run(struct store *store, enum sql which, int bound, struct status *st)
{
    if (!sql_bound(store, which, bound, st))
        return false;
    bool ok, row = false;
    do
        ok = sql_step(store, which, &row, st);
    while (ok && row);
    sql_end(store, which);
    return ok;
}

const char *sql_text_borrow(struct store *store, sqlite3_stmt *row, int column, struct status *st)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    if (text != NULL)
        return text;
    store->failed = true;
    if (sqlite3_errcode(store->db) == SQLITE_NOMEM)
        errors_memory(st, "read a text");
    else
        errors_corrupt(st, store->path, "no text in column %s", sqlite3_column_name(row, column));
    return NULL;
}

bool sql_text(struct store *store, sqlite3_stmt *row, int column, char *out, size_t out_bytes, struct status *st)
{
    const char *text = sql_text_borrow(store, row, column, st);
    if (text == NULL)
        return false;
    const size_t length = strlen(text);
    if (length >= out_bytes)
        return errors_corrupt(st, store->path, "%zu bytes in column %s, more than %zu", length,
                              sqlite3_column_name(row, column), out_bytes - 1);
    memcpy(out, text, length + 1);
    return true;
}

bool sql_blob(struct store *store, sqlite3_stmt *row, int column, int64_t checksum, const char *what,
              const void **bytes, size_t *size_bytes, struct status *st)
{
    const void *found = sqlite3_column_blob(row, column);
    const int found_bytes = sqlite3_column_bytes(row, column);
    if (found == NULL && sqlite3_errcode(store->db) == SQLITE_NOMEM) {
        store->failed = true;
        return errors_memory(st, "read a blob");
    }
    if (sql_checksum(found, (size_t)found_bytes) != checksum)
        return errors_corrupt(st, store->path, "wrong checksum of %s", what);
    *bytes = found;
    *size_bytes = (size_t)found_bytes;
    return true;
}

bool sql_blob_copy(struct store *store, sqlite3_stmt *row, int column, int64_t checksum, const char *what, void **bytes,
                   size_t *size_bytes, struct status *st)
{
    const void *found;
    size_t found_bytes;
    if (!sql_blob(store, row, column, checksum, what, &found, &found_bytes, st))
        return false;
    void *copy = malloc(found_bytes > 0 ? found_bytes : 1);
    if (copy == NULL)
        return errors_memory(st, what);
    if (found_bytes > 0)
        memcpy(copy, found, found_bytes);
    *bytes = copy;
    *size_bytes = found_bytes;
    return true;
}

int64_t sql_checksum(const void *bytes, size_t size_bytes)
{
    return (int64_t)XXH3_64bits(size_bytes > 0 ? bytes : "", size_bytes);
}
