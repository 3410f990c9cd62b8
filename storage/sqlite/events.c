/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of events. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

/* ---- appending */

static bool valid_event(const struct store_event *event, struct status *st)
{
    if (event->user_id < 1 || event->item_id < 1 || event->behaviour < 1)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "an event of user %lld, item %u, behaviour %u",
                           (long long)event->user_id, event->item_id, event->behaviour);
    if (event->has_value && !isfinite(event->value)) /* SQLite would store NaN as no value */
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "the value of an event is no finite number");
    return true;
}

static bool find_key(struct store *store, int64_t user_id, const XXH128_canonical_t *key, int64_t *position,
                     struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_EVENT_BY_KEY);
    const int bound =
        sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_blob(s, 2, key->digest, sizeof key->digest, SQLITE_STATIC);
    bool row = false;
    if (!sql_bound(store, SQL_EVENT_BY_KEY, bound, st))
        return false;
    bool ok = sql_step(store, SQL_EVENT_BY_KEY, &row, st);
    if (ok && row)
        *position = sqlite3_column_int64(s, 0);
    else if (ok)
        ok = errors_corrupt(st, store->path, "an idempotency key is in index event_key alone");
    sql_end(store, SQL_EVENT_BY_KEY);
    return ok;
}

static int bind_event(sqlite3_stmt *s, const struct store_event *event, const struct store_event_extra *extra,
                      int64_t position, const XXH128_canonical_t *key)
{
    /* what is not bound is NULL */
    int bound = sqlite3_bind_int64(s, 1, event->user_id) | sqlite3_bind_int64(s, 2, event->ts_ms) |
                sqlite3_bind_int64(s, 3, position) | sqlite3_bind_int64(s, 4, event->item_id) |
                sqlite3_bind_int(s, 5, event->behaviour) | sqlite3_bind_int64(s, 7, extra->received_ms);
    if (event->has_value)
        bound |= sqlite3_bind_double(s, 6, event->value);
    if (extra->recomm_id != NULL)
        bound |= sqlite3_bind_text(s, 8, extra->recomm_id, -1, SQLITE_STATIC);
    if (extra->key != NULL)
        bound |= sqlite3_bind_blob(s, 9, key->digest, sizeof key->digest, SQLITE_STATIC);
    return bound;
}

/* The insert itself finds the duplicate; asking first measured the same and would be a second statement. What bounds
 * the rate is the number of pages a transaction touches, so long transactions pay. */
bool store_event_append(struct store *store, struct store_event *event, const struct store_event_extra *extra,
                        bool *duplicate, struct status *st)
{
    if (!transaction_open(store, st) || !valid_event(event, st))
        return false;
    XXH128_canonical_t key;
    if (extra->key != NULL)
        XXH128_canonicalFromHash(&key, XXH3_128bits(extra->key, strlen(extra->key)));
    int64_t position = totals_next(store, TOTAL_POSITION);
    const int bound = bind_event(sql_use(store, SQL_EVENT_APPEND), event, extra, position, &key);
    if (!sql_run(store, SQL_EVENT_APPEND, bound, st))
        return false;
    const bool stored = sqlite3_changes64(store->db) > 0;
    if (stored) {
        totals_take(store, TOTAL_POSITION);
        store->current[TOTAL_EVENTS]++;
    } else if (!find_key(store, event->user_id, &key, &position, st)) {
        return false;
    }
    event->position = position;
    *duplicate = !stored;
    return true;
}

/* ---- reading */

/* Columns: user_id, ts_ms, position, item_id, behaviour, value. */
static bool read_event(struct store *store, sqlite3_stmt *row, struct store_event *event, struct status *st)
{
    const int64_t item_id = sqlite3_column_int64(row, 3), behaviour = sqlite3_column_int64(row, 4);
    event->user_id = sqlite3_column_int64(row, 0);
    event->ts_ms = sqlite3_column_int64(row, 1);
    event->position = sqlite3_column_int64(row, 2);
    if (event->user_id < 1 || item_id < 1 || item_id > UINT32_MAX || behaviour < 1 || behaviour > UINT8_MAX)
        return errors_corrupt(st, store->path, "event at position %lld: user %lld, item %lld, behaviour %lld",
                              (long long)event->position, (long long)event->user_id, (long long)item_id,
                              (long long)behaviour);
    event->item_id = (uint32_t)item_id;
    event->behaviour = (uint8_t)behaviour;
    event->has_value = sqlite3_column_type(row, 5) != SQLITE_NULL;
    event->value = event->has_value ? sqlite3_column_double(row, 5) : 0;
    return true;
}

/* Read up to `capacity` rows of a bound statement and end it. `*more`: there is another. */
static bool read_events(struct store *store, enum sql which, struct store_event *out, size_t capacity, size_t *count,
                        bool *more, struct status *st)
{
    sqlite3_stmt *s = store->statements[which];
    size_t found = 0;
    bool row = false, ok;
    while ((ok = sql_step(store, which, &row, st)) && row && found < capacity) {
        ok = read_event(store, s, &out[found], st);
        if (!ok)
            break;
        found++;
    }
    sql_end(store, which);
    if (!ok)
        return false;
    *count = found;
    *more = row;
    return true;
}

static int64_t limit_of(size_t capacity)
{
    return capacity > INT_MAX ? INT_MAX : (int64_t)capacity;
}

bool store_event_history(struct store *store, int64_t user_id, int64_t at_position, struct store_event *out,
                         size_t capacity, size_t *count, bool *more, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_EVENT_HISTORY);
    const int bound = sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_int64(s, 2, at_position) |
                      sqlite3_bind_int64(s, 3, limit_of(capacity) + 1);
    size_t found;
    if (!sql_bound(store, SQL_EVENT_HISTORY, bound, st) ||
        !read_events(store, SQL_EVENT_HISTORY, out, capacity, &found, more, st))
        return false;
    for (size_t i = 0, j = found; i + 1 < j; i++) {
        const struct store_event newer = out[i];
        out[i] = out[--j];
        out[j] = newer;
    }
    *count = found;
    return true;
}

bool store_event_count(struct store *store, int64_t user_id, int64_t at_position, int64_t *count, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_EVENT_COUNT);
    const int bound = sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_int64(s, 2, at_position);
    bool row = false;
    if (!sql_bound(store, SQL_EVENT_COUNT, bound, st))
        return false;
    const bool ok = sql_step(store, SQL_EVENT_COUNT, &row, st);
    if (ok)
        *count = sqlite3_column_int64(s, 0);
    sql_end(store, SQL_EVENT_COUNT);
    return ok;
}

bool store_event_scan(struct store *store, int64_t user_id, int64_t at_position,
                      bool (*each)(void *context, const struct store_event *event), void *context, struct status *st)
{
    const enum sql which = user_id != 0 ? SQL_EVENT_SCAN_USER : SQL_EVENT_SCAN;
    sqlite3_stmt *s = sql_use(store, which);
    const int bound = user_id != 0 ? sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_int64(s, 2, at_position)
                                   : sqlite3_bind_int64(s, 1, at_position);
    bool row = false, ok, go_on = true;
    if (!sql_bound(store, which, bound, st))
        return false;
    while ((ok = sql_step(store, which, &row, st)) && row && go_on) {
        struct store_event event;
        ok = read_event(store, s, &event, st);
        if (!ok)
            break;
        go_on = each(context, &event);
    }
    sql_end(store, which);
    return ok;
}

bool store_event_tail(struct store *store, int64_t after, int64_t at_position, struct store_event *out, size_t capacity,
                      size_t *count, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_EVENT_TAIL);
    const int bound = sqlite3_bind_int64(s, 1, after) | sqlite3_bind_int64(s, 2, at_position) |
                      sqlite3_bind_int64(s, 3, limit_of(capacity));
    bool more;
    return sql_bound(store, SQL_EVENT_TAIL, bound, st) &&
           read_events(store, SQL_EVENT_TAIL, out, capacity, count, &more, st);
}
