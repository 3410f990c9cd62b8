/* SPDX-License-Identifier: Apache-2.0
 *
 * The request log: what was asked, what was answered, and what came of it in an experiment. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "items are stored as they are in memory");

/* ---- writing */

static int bind_text(sqlite3_stmt *s, int parameter, const char *text)
{
    return sqlite3_bind_text(s, parameter, text != NULL ? text : "", -1, SQLITE_STATIC);
}

/* Bytes that are nowhere would be stored as no value. */
static int bind_bytes(sqlite3_stmt *s, int parameter, const void *bytes, size_t size_bytes)
{
    return sqlite3_bind_blob64(s, parameter, size_bytes > 0 ? bytes : "", size_bytes, SQLITE_STATIC);
}

static int bind_request(sqlite3_stmt *s, const struct store_request *request, int64_t request_id)
{
    /* what is not bound is NULL */
    int bound = sqlite3_bind_int64(s, 1, request_id) | sqlite3_bind_int64(s, 2, request->at_ms) |
                bind_text(s, 4, request->recomm_id) | bind_text(s, 5, request->method) |
                bind_text(s, 6, request->scenario) | bind_text(s, 7, request->experiment) |
                bind_text(s, 8, request->variant) | bind_text(s, 9, request->model) |
                sqlite3_bind_int64(s, 10, request->counts) | sqlite3_bind_int64(s, 11, request->catalogue) |
                sqlite3_bind_int64(s, 12, request->position) | sqlite3_bind_int64(s, 13, request->now_ms) |
                bind_bytes(s, 15, request->body, request->body_bytes) |
                bind_bytes(s, 16, request->items, request->item_count * sizeof *request->items) |
                bind_bytes(s, 17, request->teams, request->teams != NULL ? request->item_count : 0);
    if (request->user_id > 0)
        bound |= sqlite3_bind_int64(s, 3, request->user_id);
    if (request->overlap >= 0)
        bound |= sqlite3_bind_double(s, 14, request->overlap);
    return bound;
}

bool store_request_add(struct store *store, struct store_request *request, struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    const int64_t request_id = totals_next(store, TOTAL_REQUEST_ID);
    if (!sql_run(store, SQL_REQUEST_ADD, bind_request(sql_use(store, SQL_REQUEST_ADD), request, request_id), st))
        return false;
    const bool stored = sqlite3_changes64(store->db) > 0;
    if (stored)
        totals_take(store, TOTAL_REQUEST_ID);
    request->request_id = stored ? request_id : 0;
    return true;
}

bool store_request_forget(struct store *store, int64_t before_ms, int most, struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_REQUEST_FORGET);
    return sql_run(store, SQL_REQUEST_FORGET, sqlite3_bind_int64(s, 1, before_ms) | sqlite3_bind_int(s, 2, most), st);
}

/* ---- reading */

/* The items of a row. SQLite promises no alignment, hence a copy. */
struct listing {
    uint32_t *items;
    size_t capacity, count;
    const uint8_t *teams; /* until the next step; NULL: none */
};

/* Columns `column`: items, and after it: teams. */
static bool read_listing(struct store *store, sqlite3_stmt *row, int column, struct listing *listing, struct status *st)
{
    const void *items = sqlite3_column_blob(row, column);
    const size_t items_bytes = (size_t)sqlite3_column_bytes(row, column);
    const void *teams = sqlite3_column_blob(row, column + 1);
    const size_t teams_count = (size_t)sqlite3_column_bytes(row, column + 1);
    const size_t count = items_bytes / sizeof *listing->items;
    if (items_bytes % sizeof *listing->items != 0 || (items == NULL && count > 0) ||
        (teams_count != 0 && (teams == NULL || teams_count != count)))
        return errors_corrupt(st, store->path, "request %lld with %zu bytes of items and %zu of teams",
                              (long long)sqlite3_column_int64(row, 0), items_bytes, teams_count);
    if (listing->items == NULL || count > listing->capacity) {
        uint32_t *grown = realloc(listing->items, (count + 1) * sizeof *grown);
        if (grown == NULL)
            return errors_memory(st, "read the request log");
        listing->items = grown;
        listing->capacity = count;
    }
    if (count > 0)
        memcpy(listing->items, items, items_bytes);
    listing->count = count;
    listing->teams = teams_count > 0 ? teams : NULL;
    return true;
}

static double read_overlap(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) != SQLITE_NULL ? sqlite3_column_double(row, column) : -1;
}

static bool read_request(struct store *store, sqlite3_stmt *row, struct listing *listing, struct store_request *request,
                         struct status *st)
{
    *request = (struct store_request){
        .request_id = sqlite3_column_int64(row, 0),
        .at_ms = sqlite3_column_int64(row, 1),
        .user_id = sqlite3_column_int64(row, 2),
        .counts = sqlite3_column_int64(row, 9),
        .catalogue = sqlite3_column_int64(row, 10),
        .position = sqlite3_column_int64(row, 11),
        .now_ms = sqlite3_column_int64(row, 12),
        .overlap = read_overlap(row, 13),
    };
    const char **texts[] = {&request->recomm_id,  &request->method,  &request->scenario,
                            &request->experiment, &request->variant, &request->model};
    for (int i = 0; i < 6; i++) {
        *texts[i] = sql_text_borrow(store, row, 3 + i, st);
        if (*texts[i] == NULL)
            return false;
    }
    request->body = sqlite3_column_blob(row, 14);
    request->body_bytes = (size_t)sqlite3_column_bytes(row, 14);
    if (!read_listing(store, row, 15, listing, st))
        return false;
    request->items = listing->items;
    request->teams = listing->teams;
    request->item_count = listing->count;
    return true;
}

bool store_request_scan(struct store *store, int64_t after, int64_t from_ms, int64_t until_ms, size_t most,
                        bool (*each)(void *context, const struct store_request *request), void *context,
                        struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_REQUEST_SCAN);
    const int bound = sqlite3_bind_int64(s, 1, after) | sqlite3_bind_int64(s, 2, from_ms) |
                      sqlite3_bind_int64(s, 3, until_ms) |
                      sqlite3_bind_int64(s, 4, most > INT_MAX ? INT_MAX : (int64_t)most);
    struct listing listing = {0};
    bool row = false, ok, go_on = true;
    if (!sql_bound(store, SQL_REQUEST_SCAN, bound, st))
        return false;
    while ((ok = sql_step(store, SQL_REQUEST_SCAN, &row, st)) && row && go_on) {
        struct store_request request;
        ok = read_request(store, s, &listing, &request, st);
        if (!ok)
            break;
        go_on = each(context, &request);
    }
    sql_end(store, SQL_REQUEST_SCAN);
    free(listing.items);
    return ok;
}

/* ---- experiments */

/* Calls `each` for the request itself and for every event of its user with its recomm_id. */
static bool tell_outcomes(struct store *store, const char *recomm_id, struct store_exposure *exposure,
                          bool (*each)(void *context, const struct store_exposure *exposure), void *context,
                          bool *go_on, struct status *st)
{
    *go_on = each(context, exposure);
    sqlite3_stmt *s = sql_use(store, SQL_EXPOSURE_EVENTS);
    const int bound =
        sqlite3_bind_int64(s, 1, exposure->user_id) | sqlite3_bind_text(s, 2, recomm_id, -1, SQLITE_STATIC);
    bool row = false, ok = true;
    if (!sql_bound(store, SQL_EXPOSURE_EVENTS, bound, st))
        return false;
    while (*go_on && (ok = sql_step(store, SQL_EXPOSURE_EVENTS, &row, st)) && row) {
        const int64_t behaviour = sqlite3_column_int64(s, 0), item_id = sqlite3_column_int64(s, 1);
        ok = (behaviour >= 1 && behaviour <= UINT8_MAX && item_id >= 1 && item_id <= UINT32_MAX) ||
             errors_corrupt(st, store->path, "an event of user %lld: item %lld, behaviour %lld",
                            (long long)exposure->user_id, (long long)item_id, (long long)behaviour);
        if (!ok)
            break;
        exposure->behaviour = (uint8_t)behaviour;
        exposure->item_id = (uint32_t)item_id;
        *go_on = each(context, exposure);
    }
    sql_end(store, SQL_EXPOSURE_EVENTS);
    return ok;
}

bool store_exposure_scan(struct store *store, const char *experiment, int64_t from_ms, int64_t until_ms,
                         bool (*each)(void *context, const struct store_exposure *exposure), void *context,
                         struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_EXPOSURE_SCAN);
    const int bound = sqlite3_bind_text(s, 1, experiment, -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 2, from_ms) |
                      sqlite3_bind_int64(s, 3, until_ms);
    struct listing listing = {0};
    bool row = false, ok, go_on = true;
    if (!sql_bound(store, SQL_EXPOSURE_SCAN, bound, st))
        return false;
    while ((ok = sql_step(store, SQL_EXPOSURE_SCAN, &row, st)) && row && go_on) {
        const char *recomm_id = sql_text_borrow(store, s, 2, st);
        struct store_exposure exposure = {.request_id = sqlite3_column_int64(s, 0),
                                          .user_id = sqlite3_column_int64(s, 1),
                                          .variant = sql_text_borrow(store, s, 3, st),
                                          .overlap = read_overlap(s, 4)};
        ok = recomm_id != NULL && exposure.variant != NULL && read_listing(store, s, 5, &listing, st);
        if (!ok)
            break;
        exposure.items = listing.items;
        exposure.teams = listing.teams;
        exposure.item_count = listing.count;
        ok = tell_outcomes(store, recomm_id, &exposure, each, context, &go_on, st);
        if (!ok)
            break;
    }
    sql_end(store, SQL_EXPOSURE_SCAN);
    free(listing.items);
    return ok;
}
