/* SPDX-License-Identifier: Apache-2.0
 *
 * store_check: the pages, the references, every blob against its checksum, the totals against the tables, and that
 * users who are gone have left no request or list behind. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <stdio.h>

static bool check_pages(struct store *store, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_CHECK_PAGES);
    bool row = false;
    bool ok = sql_step(store, SQL_CHECK_PAGES, &row, st);
    if (ok && row) {
        const char *complaint = sql_text_borrow(store, s, 0, st);
        ok = complaint != NULL;
        if (ok && sqlite3_stricmp(complaint, "ok") != 0)
            ok = errors_corrupt(st, store->path, "%s", complaint);
    }
    sql_end(store, SQL_CHECK_PAGES);
    return ok;
}

static bool check_keys(struct store *store, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_CHECK_KEYS);
    bool row = false;
    bool ok = sql_step(store, SQL_CHECK_KEYS, &row, st);
    if (ok && row) {
        const char *table = sql_text_borrow(store, s, 0, st);
        ok = table != NULL && errors_corrupt(st, store->path, "a row of table %s refers to one that is missing", table);
    }
    sql_end(store, SQL_CHECK_KEYS);
    return ok;
}

static bool ignore_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    (void)context, (void)item_id, (void)space_id, (void)values, (void)dimension;
    return true;
}

/* Rows of (name, checksum, bytes). */
static bool check_blobs(struct store *store, enum sql which, const char *kind, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, which);
    bool row = false, ok;
    while ((ok = sql_step(store, which, &row, st)) && row) {
        char what[160];
        const void *bytes;
        size_t size_bytes;
        const char *name = sql_text_borrow(store, s, 0, st);
        if (name == NULL) {
            ok = false;
            break;
        }
        snprintf(what, sizeof what, "%s %s", kind, name);
        ok = sql_blob(store, s, 2, sqlite3_column_int64(s, 1), what, &bytes, &size_bytes, st);
        if (!ok)
            break;
    }
    sql_end(store, which);
    return ok;
}

static bool check_total(struct store *store, const char *name, int64_t total, int64_t rows, struct status *st)
{
    return total == rows || errors_corrupt(st, store->path, "%lld %s in the table but a total of %lld", (long long)rows,
                                           name, (long long)total);
}

static bool check_totals(struct store *store, struct status *st)
{
    struct store_sizes sizes;
    if (!store_sizes(store, &sizes, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_CHECK_TOTALS);
    bool row = false;
    bool ok = sql_step(store, SQL_CHECK_TOTALS, &row, st);
    if (ok && row)
        ok = check_total(store, "users", sizes.users, sqlite3_column_int64(s, 0), st) &&
             check_total(store, "events", sizes.events, sqlite3_column_int64(s, 1), st);
    sql_end(store, SQL_CHECK_TOTALS);
    return ok;
}

static bool check_strays(struct store *store, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_CHECK_STRAYS);
    bool row = false;
    bool ok = sql_step(store, SQL_CHECK_STRAYS, &row, st);
    const int64_t requests = ok && row ? sqlite3_column_int64(s, 0) : 0;
    const int64_t lists = ok && row ? sqlite3_column_int64(s, 1) : 0;
    sql_end(store, SQL_CHECK_STRAYS);
    if (ok && requests + lists > 0)
        ok = errors_corrupt(st, store->path, "%lld requests and %lld lists of users who are not there",
                            (long long)requests, (long long)lists);
    return ok;
}

bool store_check(struct store *store, struct status *st)
{
    /* one view for all of it: a commit between two steps would make the totals look wrong */
    const bool own_view = !store->writing && !store->reading;
    if (own_view && !store_read_begin(store, st))
        return false;
    const bool ok =
        check_pages(store, st) && check_keys(store, st) && store_feature_scan(store, ignore_feature, NULL, st) &&
        check_blobs(store, SQL_CHECK_PAST, "the overwritten vector", st) &&
        check_blobs(store, SQL_CHECK_COUNTS, "counts", st) && check_blobs(store, SQL_CHECK_MODELS, "model", st) &&
        check_totals(store, st) && check_strays(store, st);
    if (own_view)
        store_read_end(store);
    return ok;
}
