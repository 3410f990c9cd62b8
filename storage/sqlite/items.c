/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <math.h>
#include <string.h>

static bool valid_item(const struct store_item *item, struct status *st)
{
    if (item->name == NULL || item->name[0] == '\0')
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ITEM", "an item without a name");
    if (item->has_price && !isfinite(item->price))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ITEM", "the price of item '%s' is no finite number",
                           item->name);
    return true;
}

static int bind_text_or(sqlite3_stmt *s, int parameter, const char *text, const char *otherwise)
{
    return sqlite3_bind_text(s, parameter, text != NULL ? text : otherwise, -1, SQLITE_STATIC);
}

static int bind_item(sqlite3_stmt *s, const struct store_item *item, int64_t item_id, int64_t position)
{
    int bound = sqlite3_bind_int64(s, 1, item_id) | bind_text_or(s, 2, item->name, "") |
                bind_text_or(s, 3, item->title, "") | bind_text_or(s, 4, item->categories_json, "[]") |
                bind_text_or(s, 5, item->attributes_json, "{}") | sqlite3_bind_int(s, 7, item->available) |
                sqlite3_bind_int(s, 8, item->deleted) | sqlite3_bind_int64(s, 9, item->created_ms) |
                sqlite3_bind_int64(s, 10, item->expires_ms) | sqlite3_bind_int64(s, 11, position);
    if (item->has_price)
        bound |= sqlite3_bind_double(s, 6, item->price);
    return bound;
}

static bool write_item(struct store *store, const struct store_item *item, int64_t item_id, int64_t position,
                       struct status *st)
{
    const enum sql which = item->item_id == 0 ? SQL_ITEM_ADD : SQL_ITEM_REPLACE;
    if (item_id > UINT32_MAX)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "all item numbers have been given out");
    if (!sql_run(store, which, bind_item(sql_use(store, which), item, item_id, position), st)) {
        if (sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_UNIQUE)
            status_fail(st, STATUS_ALREADY_EXISTS, "ITEM_EXISTS", "there is another item '%s'", item->name);
        return false;
    }
    if (sqlite3_changes64(store->db) == 0)
        return status_fail(st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", "there is no item number %u to overwrite with '%s'",
                           item->item_id, item->name);
    return true;
}

/* The history takes the item from the row just written, so that it cannot say anything else. */
static bool record_change(struct store *store, const struct store_item *item, int64_t item_id, int64_t at_ms,
                          struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ITEM_CHANGED);
    if (sql_run(store, SQL_ITEM_CHANGED, sqlite3_bind_int64(s, 1, item_id) | sqlite3_bind_int64(s, 2, at_ms), st))
        return true;
    if (sqlite3_extended_errcode(store->db) == SQLITE_ERROR)
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ITEM", "categories or attributes of item '%s' are %s", item->name,
                    sqlite3_errmsg(store->db));
    return false;
}

bool store_item_put(struct store *store, struct store_item *item, int64_t at_ms, struct status *st)
{
    const bool add = item->item_id == 0;
    const int64_t item_id = add ? totals_next(store, TOTAL_ITEM_ID) : item->item_id;
    const int64_t position = totals_next(store, TOTAL_POSITION);
    if (!transaction_open(store, st) || !valid_item(item, st) || !write_item(store, item, item_id, position, st) ||
        !record_change(store, item, item_id, at_ms, st))
        return false;
    totals_take(store, TOTAL_POSITION);
    if (add)
        totals_take(store, TOTAL_ITEM_ID);
    item->item_id = (uint32_t)item_id;
    item->position = position;
    return true;
}

static bool read_item(struct store *store, sqlite3_stmt *row, struct store_item *item, struct status *st)
{
    const int64_t item_id = sqlite3_column_int64(row, 0);
    if (item_id < 1 || item_id > UINT32_MAX)
        return errors_corrupt(st, store->path, "item number %lld", (long long)item_id);
    *item = (struct store_item){
        .item_id = (uint32_t)item_id,
        .name = sql_text_borrow(store, row, 1, st),
        .title = sql_text_borrow(store, row, 2, st),
        .categories_json = sql_text_borrow(store, row, 3, st),
        .attributes_json = sql_text_borrow(store, row, 4, st),
        .has_price = sqlite3_column_type(row, 5) != SQLITE_NULL,
        .price = sqlite3_column_double(row, 5),
        .available = sqlite3_column_int64(row, 6) != 0,
        .deleted = sqlite3_column_int64(row, 7) != 0,
        .created_ms = sqlite3_column_int64(row, 8),
        .expires_ms = sqlite3_column_int64(row, 9),
        .position = sqlite3_column_int64(row, 10),
    };
    return item->name != NULL && item->title != NULL && item->categories_json != NULL && item->attributes_json != NULL;
}

/* Go through the rows of a bound statement and end it. */
static bool scan(struct store *store, enum sql which, bool (*each)(void *context, const struct store_item *item),
                 void *context, struct status *st)
{
    bool row = false, ok, go_on = true;
    while ((ok = sql_step(store, which, &row, st)) && row && go_on) {
        struct store_item item;
        ok = read_item(store, store->statements[which], &item, st);
        if (!ok)
            break;
        go_on = each(context, &item);
    }
    sql_end(store, which);
    return ok;
}

bool store_item_scan(struct store *store, bool (*each)(void *context, const struct store_item *item), void *context,
                     struct status *st)
{
    sql_use(store, SQL_ITEM_SCAN);
    return scan(store, SQL_ITEM_SCAN, each, context, st);
}

bool store_past_items(struct store *store, int64_t position, bool (*each)(void *context, const struct store_item *item),
                      void *context, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_PAST_ITEMS);
    return sql_bound(store, SQL_PAST_ITEMS, sqlite3_bind_int64(s, 1, position), st) &&
           scan(store, SQL_PAST_ITEMS, each, context, st);
}
