/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/database.h"

#define BLOBS_KEPT 2

bool store_counts_put(struct store *store, int64_t position, int64_t at_ms, const void *bytes, size_t size_bytes,
                      struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_COUNTS_PUT);
    int bound = sqlite3_bind_int64(s, 1, position) | sqlite3_bind_int64(s, 2, at_ms);
    if (bytes != NULL)
        bound |= sqlite3_bind_int64(s, 3, sql_checksum(bytes, size_bytes)) |
                 sqlite3_bind_blob64(s, 4, bytes, size_bytes, SQLITE_STATIC);
    return sql_run(store, SQL_COUNTS_PUT, bound, st) &&
           sql_run(store, SQL_COUNTS_EMPTY, sqlite3_bind_int(sql_use(store, SQL_COUNTS_EMPTY), 1, BLOBS_KEPT), st);
}

bool store_counts_latest(struct store *store, int64_t *position, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_COUNTS_LATEST);
    bool row = false;
    const bool ok = sql_step(store, SQL_COUNTS_LATEST, &row, st);
    if (ok)
        *position = row ? sqlite3_column_int64(s, 0) : 0;
    sql_end(store, SQL_COUNTS_LATEST);
    return ok;
}

bool store_counts_load(struct store *store, int64_t at_position, int64_t *position, void **bytes, size_t *size_bytes,
                       struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_COUNTS_LOAD);
    bool row = false;
    if (!sql_bound(store, SQL_COUNTS_LOAD, sqlite3_bind_int64(s, 1, at_position), st))
        return false;
    bool ok = sql_step(store, SQL_COUNTS_LOAD, &row, st);
    if (ok && !row) {
        *position = 0;
        *bytes = NULL;
        *size_bytes = 0;
    }
    if (ok && row) {
        ok = sql_blob_copy(store, s, 2, sqlite3_column_int64(s, 1), "the counts", bytes, size_bytes, st);
        if (ok)
            *position = sqlite3_column_int64(s, 0);
    }
    sql_end(store, SQL_COUNTS_LOAD);
    return ok;
}
