/* SPDX-License-Identifier: Apache-2.0
 *
 * What was shown to whom, by list and place; and what came of it. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <limits.h>

bool store_impression_add(struct store *store, const struct store_impression *impression, bool *duplicate,
                          struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    if (impression->user_id < 1 || impression->item_id < 1 || impression->place < 1)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_IMPRESSION",
                           "an impression of user %lld, item %u, place %d", (long long)impression->user_id,
                           impression->item_id, (int)impression->place);
    sqlite3_stmt *s = sql_use(store, SQL_IMPRESSION_ADD);
    const int bound = sqlite3_bind_int64(s, 1, impression->user_id) | sqlite3_bind_int64(s, 2, impression->at_ms) |
                      sqlite3_bind_int64(s, 3, impression->item_id) | sqlite3_bind_int(s, 4, impression->place) |
                      sqlite3_bind_text(s, 5, impression->recomm_id, -1, SQLITE_STATIC);
    if (!sql_run(store, SQL_IMPRESSION_ADD, bound, st))
        return false;
    *duplicate = sqlite3_changes64(store->db) == 0;
    return true;
}

bool store_impression_forget(struct store *store, int64_t before_ms, int most, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_IMPRESSION_FORGET);
    return transaction_open(store, st) &&
           sql_run(store, SQL_IMPRESSION_FORGET, sqlite3_bind_int64(s, 1, before_ms) | sqlite3_bind_int(s, 2, most),
                   st);
}

bool store_impression_recent(struct store *store, int64_t user_id, int64_t from_ms, int64_t until_ms, size_t most,
                             void (*each)(void *context, uint32_t item_id, int64_t at_ms), void *context,
                             struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_IMPRESSION_RECENT);
    bool row = false, ok;
    const int bound = sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_int64(s, 2, from_ms) |
                      sqlite3_bind_int64(s, 3, most > INT_MAX ? INT_MAX : (int64_t)most) |
                      sqlite3_bind_int64(s, 4, until_ms);
    if (!sql_bound(store, SQL_IMPRESSION_RECENT, bound, st))
        return false;
    while ((ok = sql_step(store, SQL_IMPRESSION_RECENT, &row, st)) && row)
        each(context, (uint32_t)sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1));
    sql_end(store, SQL_IMPRESSION_RECENT);
    return ok;
}

bool store_impression_report(struct store *store, int64_t from_ms, int64_t until_ms,
                             bool (*each)(void *context, const struct store_response *response), void *context,
                             struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_IMPRESSION_REPORT);
    bool row = false, ok, more = true;
    if (!sql_bound(store, SQL_IMPRESSION_REPORT, sqlite3_bind_int64(s, 1, from_ms) | sqlite3_bind_int64(s, 2, until_ms),
                   st))
        return false;
    while (more && (ok = sql_step(store, SQL_IMPRESSION_REPORT, &row, st)) && row) {
        const struct store_response response = {.place = sqlite3_column_int(s, 0),
                                                .behaviour = (uint8_t)sqlite3_column_int(s, 1),
                                                .count = sqlite3_column_int64(s, 2)};
        more = each(context, &response);
    }
    sql_end(store, SQL_IMPRESSION_REPORT);
    return ok;
}
