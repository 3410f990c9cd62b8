/* SPDX-License-Identifier: Apache-2.0
 *
 * Which model answered from which position on. The table only grows; `previous` makes a stack of it: a rollback is an activation, too, of what
 * lies below, and keeps what lies below that. */
#include "storage/sqlite/database.h"

#include <string.h>

static bool read_row(struct store *store, sqlite3_stmt *row, struct store_activation *out, struct status *st)
{
    out->position = sqlite3_column_int64(row, 0);
    out->previous = sqlite3_column_int64(row, 2);
    return sql_text(store, row, 1, out->version, sizeof out->version, st);
}

static bool latest(struct store *store, struct store_activation *out, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ACTIVATION_LATEST);
    struct store_activation found = {0};
    bool row = false;
    bool ok = sql_step(store, SQL_ACTIVATION_LATEST, &row, st);
    if (ok && row)
        ok = read_row(store, s, &found, st);
    if (ok)
        *out = found;
    sql_end(store, SQL_ACTIVATION_LATEST);
    return ok;
}

static bool at(struct store *store, int64_t position, struct store_activation *out, bool *stored, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ACTIVATION_AT);
    struct store_activation found = {0};
    bool row = false;
    if (!sql_bound(store, SQL_ACTIVATION_AT, sqlite3_bind_int64(s, 1, position), st))
        return false;
    bool ok = sql_step(store, SQL_ACTIVATION_AT, &row, st);
    if (ok && row)
        ok = read_row(store, s, &found, st);
    *stored = ok && row && sqlite3_column_int(s, 3) != 0;
    if (ok)
        *out = found;
    sql_end(store, SQL_ACTIVATION_AT);
    return ok;
}

static bool put(struct store *store, const char *version, int64_t counts_position, int64_t at_ms, int64_t previous,
                struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ACTIVATION_PUT);
    const int bound = sqlite3_bind_int64(s, 1, totals_next(store, TOTAL_POSITION)) |
                      sqlite3_bind_text(s, 2, version, -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 3, counts_position) |
                      sqlite3_bind_int64(s, 4, at_ms) |
                      (previous > 0 ? sqlite3_bind_int64(s, 5, previous) : sqlite3_bind_null(s, 5));
    if (!sql_run(store, SQL_ACTIVATION_PUT, bound, st))
        return false;
    if (sqlite3_changes64(store->db) == 0)
        return models_unknown(version, st);
    totals_take(store, TOTAL_POSITION);
    return true;
}

bool store_activation_put(struct store *store, const char *version, int64_t counts_position, int64_t at_ms,
                          struct status *st)
{
    struct store_activation top;
    if (!transaction_open(store, st) || !latest(store, &top, st))
        return false;
    const bool again = strcmp(top.version, version) == 0;
    return put(store, version, counts_position, at_ms, again ? top.previous : top.position, st);
}

bool store_activation_replace(struct store *store, const char *version, int64_t counts_position, int64_t at_ms,
                              struct status *st)
{
    struct store_activation top;
    return transaction_open(store, st) && latest(store, &top, st) &&
           put(store, version, counts_position, at_ms, top.previous, st);
}

bool store_activation_back(struct store *store, const struct store_activation *target, int64_t counts_position,
                           int64_t at_ms, struct status *st)
{
    return transaction_open(store, st) && put(store, target->version, counts_position, at_ms, target->previous, st);
}

bool store_activation_target(struct store *store, struct store_activation *target, struct status *st)
{
    struct store_activation top, found = {0};
    bool stored = false;
    if (!latest(store, &top, st))
        return false;
    /* each step goes to a smaller position, or a damaged table could keep this going for ever */
    for (int64_t next = top.previous, last = top.position; next > 0 && next < last; next = found.previous) {
        if (!at(store, next, &found, &stored, st))
            return false;
        last = next;
        if (found.position == 0 || (stored && strcmp(found.version, top.version) != 0))
            break;
        stored = false;
    }
    *target = stored ? found : (struct store_activation){0};
    return true;
}

bool store_activation_latest(struct store *store, char version[97], struct status *st)
{
    struct store_activation top;
    if (!latest(store, &top, st))
        return false;
    memcpy(version, top.version, sizeof top.version);
    return true;
}
