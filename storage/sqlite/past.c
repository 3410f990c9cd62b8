/* SPDX-License-Identifier: Apache-2.0
 *
 * When was what: positions by time, the model and the counts that answered; and forgetting. Items and vectors as they
 * were are read where they are read as they are, in items.c and features.c. */
#include "storage/sqlite/database.h"

#include <string.h>

/* A row of the log, or a version of the counts, and the writer's time with it. */
struct moment {
    int64_t position, at_ms;
};

/* The first row (position, time) of a statement with one parameter; both 0 where there is none. */
static bool read_moment(struct store *store, enum sql which, int64_t parameter, struct moment *moment,
                        struct status *st)
{
    sqlite3_stmt *s = sql_use(store, which);
    struct moment found = {0};
    bool row = false;
    if (!sql_bound(store, which, sqlite3_bind_int64(s, 1, parameter), st))
        return false;
    const bool ok = sql_step(store, which, &row, st);
    if (ok && row)
        found = (struct moment){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)};
    sql_end(store, which);
    *moment = found;
    return ok;
}

/* ---- positions by time */

/* The first position in a table that is later than `at_ms`, or INT64_MAX. `which` finds the row at or after a
 * position. What is looked at lies within the bounds, or a damaged index could keep this going for ever. */
static bool first_later(struct store *store, enum sql which, int64_t at_ms, int64_t *position, struct status *st)
{
    int64_t low = 0, high = INT64_MAX, later = INT64_MAX;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        struct moment row;
        if (!read_moment(store, which, middle, &row, st))
            return false;
        const bool within = row.position >= middle && row.position < high;
        if (within && row.at_ms <= at_ms) {
            low = row.position;
            continue;
        }
        if (within)
            later = row.position;
        high = middle;
    }
    *position = later;
    return true;
}

/* Counts were published after their position was given out, so that a version can only tell that a position was there
 * already: a merge takes one and leaves no row. */
static bool position_at(struct store *store, int64_t at_ms, int64_t *position, struct status *st)
{
    static const enum sql tables[] = {SQL_PAST_EVENT, SQL_PAST_CHANGE, SQL_PAST_ACTIVATION};
    int64_t later = INT64_MAX;
    struct moment last, counts;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        int64_t first;
        if (!first_later(store, tables[i], at_ms, &first, st))
            return false;
        later = first < later ? first : later;
    }
    if (!read_moment(store, SQL_PAST_LAST, later, &last, st) ||
        !read_moment(store, SQL_PAST_COUNTS, at_ms, &counts, st))
        return false;
    *position = counts.position > last.position && counts.position < later ? counts.position : last.position;
    return true;
}

bool store_past_position(struct store *store, int64_t at_ms, int64_t *position, struct status *st)
{
    /* one view for all of it: what is committed meanwhile would count as found */
    const bool own_view = !store->writing && !store->reading;
    if (own_view && !store_read_begin(store, st))
        return false;
    const bool ok = position_at(store, at_ms, position, st);
    if (own_view)
        store_read_end(store);
    return ok;
}

bool store_past_begin(struct store *store, int64_t *from_ms, struct status *st)
{
    if (!store->writer)
        return totals_read(store, TOTAL_PAST_MS, from_ms, st);
    *from_ms = store->current[TOTAL_PAST_MS];
    return true;
}

/* ---- what answered */

bool store_past_catalogue(struct store *store, int64_t position, int64_t *catalogue, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_PAST_CATALOGUE);
    bool row = false;
    if (!sql_bound(store, SQL_PAST_CATALOGUE, sqlite3_bind_int64(s, 1, position), st))
        return false;
    const bool ok = sql_step(store, SQL_PAST_CATALOGUE, &row, st);
    if (ok)
        *catalogue = row ? sqlite3_column_int64(s, 0) : 0;
    sql_end(store, SQL_PAST_CATALOGUE);
    return ok;
}

bool store_past_model(struct store *store, int64_t position, char version[97], struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_PAST_MODEL);
    char found[97] = "";
    bool row = false;
    if (!sql_bound(store, SQL_PAST_MODEL, sqlite3_bind_int64(s, 1, position), st))
        return false;
    bool ok = sql_step(store, SQL_PAST_MODEL, &row, st);
    if (ok && row)
        ok = sql_text(store, s, 0, found, sizeof found, st);
    if (ok)
        memcpy(version, found, sizeof found);
    sql_end(store, SQL_PAST_MODEL);
    return ok;
}

bool store_past_counts(struct store *store, int64_t at_ms, int64_t *position, struct status *st)
{
    struct moment version;
    if (!read_moment(store, SQL_PAST_COUNTS, at_ms, &version, st))
        return false;
    *position = version.position;
    return true;
}

/* ---- forgetting */

/* How far a call got. */
struct forgotten {
    bool all;          /* there is nothing more to forget */
    int64_t intact_ms; /* from this time on nothing was taken away; 0: nothing was at all */
};

/* The last row of a bound statement, and how many there are. */
static bool read_batch(struct store *store, enum sql which, int bound, struct moment *last, int *count,
                       struct status *st)
{
    sqlite3_stmt *s = store->statements[which];
    bool row = false, ok;
    *last = (struct moment){0};
    *count = 0;
    if (!sql_bound(store, which, bound, st))
        return false;
    while ((ok = sql_step(store, which, &row, st)) && row) {
        *last = (struct moment){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)};
        ++*count;
    }
    sql_end(store, which);
    return ok;
}

/* Goes along the changes that came after, since those are looked at once: each takes away what it followed, a change of
 * the same kind and the vector it overwrote. Going along what can be forgotten would pass over the last change of every
 * item each time. */
static bool forget_changes(struct store *store, int64_t until, int most, struct forgotten *forgotten, struct status *st)
{
    const int64_t from = store->current[TOTAL_FORGOTTEN];
    struct moment last;
    int count;
    sqlite3_stmt *s = sql_use(store, SQL_FORGET_CHANGES);
    int bound = sqlite3_bind_int64(s, 1, from) | sqlite3_bind_int64(s, 2, until) | sqlite3_bind_int(s, 3, most);
    if (!read_batch(store, SQL_FORGET_CHANGES, bound, &last, &count, st))
        return false;
    *forgotten = (struct forgotten){.all = count < most, .intact_ms = last.at_ms};
    const int64_t to = forgotten->all ? until : last.position;
    if (to <= from)
        return true;
    s = sql_use(store, SQL_FORGET_CHANGES_DELETE);
    bound = sqlite3_bind_int64(s, 1, from) | sqlite3_bind_int64(s, 2, to);
    if (!sql_run(store, SQL_FORGET_CHANGES_DELETE, bound, st))
        return false;
    s = sql_use(store, SQL_FORGET_VECTORS_DELETE);
    if (!sql_run(store, SQL_FORGET_VECTORS_DELETE, sqlite3_bind_int64(s, 1, to), st))
        return false;
    store->current[TOTAL_FORGOTTEN] = to;
    return true;
}

/* Versions with bytes stay: a start reads them, and there are no more than two. */
static bool forget_versions(struct store *store, int64_t before_ms, int most, struct forgotten *forgotten,
                            struct status *st)
{
    struct moment newest, last;
    int count;
    if (!read_moment(store, SQL_PAST_COUNTS, before_ms, &newest, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_FORGET_VERSIONS);
    int bound =
        sqlite3_bind_int64(s, 1, newest.position) | sqlite3_bind_int64(s, 2, before_ms) | sqlite3_bind_int(s, 3, most);
    if (!read_batch(store, SQL_FORGET_VERSIONS, bound, &last, &count, st))
        return false;
    *forgotten = (struct forgotten){.all = count < most, .intact_ms = last.at_ms};
    if (count == 0)
        return true;
    s = sql_use(store, SQL_FORGET_VERSIONS_DELETE);
    bound = sqlite3_bind_int64(s, 1, last.position) | sqlite3_bind_int64(s, 2, before_ms);
    return sql_run(store, SQL_FORGET_VERSIONS_DELETE, bound, st);
}

bool store_past_forget(struct store *store, int64_t before_ms, int most, struct status *st)
{
    struct forgotten changes, versions;
    int64_t until;
    if (!transaction_open(store, st) || !store_past_position(store, before_ms, &until, st) ||
        !forget_changes(store, until, most, &changes, st) || !forget_versions(store, before_ms, most, &versions, st))
        return false;
    int64_t begin_ms = changes.intact_ms > versions.intact_ms ? changes.intact_ms : versions.intact_ms;
    if ((changes.all && versions.all) || begin_ms > before_ms) /* clocks step */
        begin_ms = before_ms;
    if (store->current[TOTAL_PAST_MS] < begin_ms)
        store->current[TOTAL_PAST_MS] = begin_ms;
    return true;
}
