/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files, and which of them answered from which position on. */
#include "storage/sqlite/database.h"

#include <string.h>

static bool unknown_model(const char *version, struct status *st)
{
    return status_fail(st, STATUS_NOT_FOUND, "UNKNOWN_MODEL", "there is no model '%s'", version);
}

bool store_model_put(struct store *store, const struct store_model *model, const void *bytes, size_t size_bytes,
                     struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_PUT);
    const int bound = sqlite3_bind_text(s, 1, model->version, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 2, model->name, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 3, model->sha256, -1, SQLITE_STATIC) |
                      sqlite3_bind_int64(s, 4, model->created_ms) |
                      sqlite3_bind_int64(s, 5, sql_checksum(bytes, size_bytes)) |
                      sqlite3_bind_blob64(s, 6, size_bytes > 0 ? bytes : "", size_bytes, SQLITE_STATIC);
    return sql_run(store, SQL_MODEL_PUT, bound, st);
}

static bool read_model(struct store *store, sqlite3_stmt *row, struct store_model *model, struct status *st)
{
    model->created_ms = sqlite3_column_int64(row, 3);
    return sql_text(store, row, 0, model->version, sizeof model->version, st) &&
           sql_text(store, row, 1, model->name, sizeof model->name, st) &&
           sql_text(store, row, 2, model->sha256, sizeof model->sha256, st);
}

bool store_model_load(struct store *store, const char *version, struct store_model *model, void **bytes,
                      size_t *size_bytes, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_LOAD);
    struct store_model found;
    bool row = false;
    if (!sql_bound(store, SQL_MODEL_LOAD, sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, SQL_MODEL_LOAD, &row, st);
    if (ok && !row)
        ok = unknown_model(version, st);
    else if (ok)
        ok = read_model(store, s, &found, st) &&
             sql_blob_copy(store, s, 5, sqlite3_column_int64(s, 4), found.version, bytes, size_bytes, st);
    if (ok)
        *model = found;
    sql_end(store, SQL_MODEL_LOAD);
    return ok;
}

bool store_activation_put(struct store *store, const char *version, int64_t counts_position, int64_t at_ms,
                          struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_ACTIVATION_PUT);
    const int bound = sqlite3_bind_int64(s, 1, totals_next(store, TOTAL_POSITION)) |
                      sqlite3_bind_text(s, 2, version, -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 3, counts_position) |
                      sqlite3_bind_int64(s, 4, at_ms);
    if (!sql_run(store, SQL_ACTIVATION_PUT, bound, st))
        return false;
    if (sqlite3_changes64(store->db) == 0)
        return unknown_model(version, st);
    totals_take(store, TOTAL_POSITION);
    return true;
}

bool store_activation_latest(struct store *store, char version[97], struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ACTIVATION_LATEST);
    bool row = false;
    bool ok = sql_step(store, SQL_ACTIVATION_LATEST, &row, st);
    if (ok && row)
        ok = sql_text(store, s, 0, version, sizeof((struct store_model *)0)->version, st);
    else if (ok)
        version[0] = '\0';
    sql_end(store, SQL_ACTIVATION_LATEST);
    return ok;
}
