/* SPDX-License-Identifier: Apache-2.0
 *
 * Spaces and the vectors in them. A vector is stored as little-endian f32, which is what the machines we run on have in
 * memory. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are stored as they are in memory");

#define DIMENSION_MAX 65536 /* a vector of 256 KiB; more is a mistake of whoever asks */

/* ---- spaces */

static bool valid_space(const struct store_space *space, struct status *st)
{
    if (space->dimension < 1 || space->dimension > DIMENSION_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_DIMENSION", "dimension %d of '%s' by '%s' is not 1 to %d",
                           space->dimension, space->modality, space->encoder, DIMENSION_MAX);
    if (space->modality[0] == '\0' || space->encoder[0] == '\0')
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NAME", "a space without modality or encoder");
    return true;
}

/* `*space_id` 0: there is none. */
static bool find_space(struct store *store, const struct store_space *space, int64_t *space_id, int64_t *dimension,
                       struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_SPACE_FIND);
    const int bound = sqlite3_bind_text(s, 1, space->modality, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 2, space->encoder, -1, SQLITE_STATIC);
    bool row = false;
    if (!sql_bound(store, SQL_SPACE_FIND, bound, st))
        return false;
    const bool ok = sql_step(store, SQL_SPACE_FIND, &row, st);
    if (ok) {
        *space_id = row ? sqlite3_column_int64(s, 0) : 0;
        *dimension = row ? sqlite3_column_int64(s, 1) : 0;
    }
    sql_end(store, SQL_SPACE_FIND);
    return ok;
}

static bool add_space(struct store *store, const struct store_space *space, int64_t *space_id, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_SPACE_ADD);
    const int bound = sqlite3_bind_text(s, 1, space->modality, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 2, space->encoder, -1, SQLITE_STATIC) |
                      sqlite3_bind_int(s, 3, space->dimension);
    bool row = false;
    if (!sql_bound(store, SQL_SPACE_ADD, bound, st))
        return false;
    const bool ok = sql_step(store, SQL_SPACE_ADD, &row, st);
    if (ok)
        *space_id = sqlite3_column_int64(s, 0);
    sql_end(store, SQL_SPACE_ADD);
    return ok;
}

bool store_space_put(struct store *store, struct store_space *space, struct status *st)
{
    int64_t space_id, dimension;
    if (!transaction_open(store, st) || !valid_space(space, st) || !find_space(store, space, &space_id, &dimension, st))
        return false;
    if (space_id != 0 && dimension != space->dimension)
        return status_fail(st, STATUS_FAILED_PRECONDITION, "BAD_DIMENSION",
                           "'%s' by '%s' has dimension %lld, not %d: another encoder needs another name",
                           space->modality, space->encoder, (long long)dimension, space->dimension);
    if (space_id == 0 && !add_space(store, space, &space_id, st))
        return false;
    space->space_id = (uint32_t)space_id;
    return true;
}

static bool read_space(struct store *store, sqlite3_stmt *row, struct store_space *space, struct status *st)
{
    const int64_t space_id = sqlite3_column_int64(row, 0), dimension = sqlite3_column_int64(row, 1);
    if (space_id < 1 || space_id > UINT32_MAX || dimension < 1 || dimension > DIMENSION_MAX)
        return errors_corrupt(st, store->path, "space %lld of dimension %lld", (long long)space_id,
                              (long long)dimension);
    space->space_id = (uint32_t)space_id;
    space->dimension = (int32_t)dimension;
    return sql_text(store, row, 2, space->modality, sizeof space->modality, st) &&
           sql_text(store, row, 3, space->encoder, sizeof space->encoder, st);
}

bool store_space_list(struct store *store, struct store_space *out, size_t capacity, size_t *count, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_SPACE_LIST);
    size_t found = 0;
    bool row = false, ok;
    if (!sql_bound(store, SQL_SPACE_LIST, sqlite3_bind_int64(s, 1, capacity > INT_MAX ? INT_MAX : (int64_t)capacity),
                   st))
        return false;
    while ((ok = sql_step(store, SQL_SPACE_LIST, &row, st)) && row) {
        ok = read_space(store, s, &out[found], st);
        if (!ok)
            break;
        found++;
    }
    sql_end(store, SQL_SPACE_LIST);
    if (ok)
        *count = found;
    return ok;
}

/* ---- vectors */

static bool valid_vector(uint32_t item_id, const struct store_space *space, const float *values, struct status *st)
{
    bool any = false;
    for (int32_t i = 0; i < space->dimension; i++) {
        if (!isfinite(values[i]))
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_FEATURE", "value %d of item %u in '%s' is not finite",
                               i, item_id, space->modality);
        any |= values[i] != 0;
    }
    return any || status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_FEATURE", "item %u in '%s' is all zero", item_id,
                              space->modality);
}

static bool move_item(struct store *store, uint32_t item_id, int64_t position, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_ITEM_MOVE);
    if (!sql_run(store, SQL_ITEM_MOVE, sqlite3_bind_int64(s, 1, item_id) | sqlite3_bind_int64(s, 2, position), st))
        return false;
    return sqlite3_changes64(store->db) > 0 ||
           status_fail(st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", "there is no item number %u", item_id);
}

/* What is overwritten belongs to the past. The same vector again does not: it goes on to hold, and shops import all
 * they have every night. */
static bool keep_vector(struct store *store, uint32_t item_id, const struct store_space *space, const float *values,
                        int64_t position, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_FEATURE_KEEP);
    const int bound = sqlite3_bind_int64(s, 1, item_id) | sqlite3_bind_int64(s, 2, space->space_id) |
                      sqlite3_bind_int64(s, 3, position) |
                      sqlite3_bind_blob64(s, 4, values, (size_t)space->dimension * sizeof *values, SQLITE_STATIC);
    return sql_run(store, SQL_FEATURE_KEEP, bound, st);
}

static bool write_vector(struct store *store, uint32_t item_id, const struct store_space *space, const float *values,
                         struct status *st)
{
    const size_t size_bytes = (size_t)space->dimension * sizeof *values;
    sqlite3_stmt *s = sql_use(store, SQL_FEATURE_PUT);
    const int bound = sqlite3_bind_int64(s, 1, item_id) | sqlite3_bind_int64(s, 2, space->space_id) |
                      sqlite3_bind_int(s, 3, space->dimension) |
                      sqlite3_bind_int64(s, 4, sql_checksum(values, size_bytes)) |
                      sqlite3_bind_blob64(s, 5, values, size_bytes, SQLITE_STATIC);
    if (!sql_run(store, SQL_FEATURE_PUT, bound, st))
        return false;
    if (sqlite3_changes64(store->db) > 0)
        return true;
    store->failed = true; /* the item has moved already */
    return status_fail(st, STATUS_NOT_FOUND, "UNKNOWN_SPACE", "there is no space %u of dimension %d", space->space_id,
                       space->dimension);
}

static bool record_change(struct store *store, uint32_t item_id, uint32_t space_id, int64_t position, int64_t at_ms,
                          struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_FEATURE_CHANGED);
    const int bound = sqlite3_bind_int64(s, 1, position) | sqlite3_bind_int64(s, 2, item_id) |
                      sqlite3_bind_int64(s, 3, at_ms) | sqlite3_bind_int64(s, 4, space_id);
    return sql_run(store, SQL_FEATURE_CHANGED, bound, st);
}

bool store_feature_put(struct store *store, uint32_t item_id, const struct store_space *space, const float *values,
                       int64_t at_ms, int64_t *position, struct status *st)
{
    const int64_t next = totals_next(store, TOTAL_POSITION);
    if (!transaction_open(store, st) || !valid_space(space, st) || !valid_vector(item_id, space, values, st) ||
        !move_item(store, item_id, next, st) || !keep_vector(store, item_id, space, values, next, st) ||
        !write_vector(store, item_id, space, values, st) ||
        !record_change(store, item_id, space->space_id, next, at_ms, st))
        return false;
    totals_take(store, TOTAL_POSITION);
    *position = next;
    return true;
}

/* ---- scanning */

/* One row of the scan. SQLite promises no alignment, hence the copy. */
struct vector {
    int64_t item_id, space_id, dimension;
    float *values; /* room for DIMENSION_MAX */
};

/* A damaged column holds any number, hence the test before the product. */
static int64_t vector_bytes(const struct vector *vector)
{
    const bool possible = vector->dimension >= 1 && vector->dimension <= DIMENSION_MAX;
    return possible ? vector->dimension * (int64_t)sizeof(float) : -1;
}

/* The item as people know it, for a message; its number where that cannot be had. */
static void name_item(struct store *store, int64_t item_id, char *out, size_t out_bytes)
{
    sqlite3_stmt *s = sql_use(store, SQL_ITEM_NAME);
    bool row = false;
    snprintf(out, out_bytes, "item %lld", (long long)item_id);
    if (sqlite3_bind_int64(s, 1, item_id) == SQLITE_OK && sql_step(store, SQL_ITEM_NAME, &row, NULL) && row) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        if (name != NULL)
            snprintf(out, out_bytes, "item '%.100s'", name);
    }
    sql_end(store, SQL_ITEM_NAME);
}

static bool bad_vector(struct store *store, const struct vector *vector, int64_t stored_bytes, struct status *st)
{
    char item[128];
    name_item(store, vector->item_id, item, sizeof item);
    if (stored_bytes != vector_bytes(vector))
        return errors_corrupt(st, store->path, "the vector of %s in space %lld has %lld bytes for dimension %lld", item,
                              (long long)vector->space_id, (long long)stored_bytes, (long long)vector->dimension);
    return errors_corrupt(st, store->path, "wrong checksum of the vector of %s in space %lld", item,
                          (long long)vector->space_id);
}

static bool read_vector(struct store *store, sqlite3_stmt *row, struct vector *vector, struct status *st)
{
    vector->item_id = sqlite3_column_int64(row, 0);
    vector->space_id = sqlite3_column_int64(row, 1);
    const void *stored = sqlite3_column_blob(row, 4);
    const int64_t stored_bytes = sqlite3_column_bytes(row, 4);
    vector->dimension = sqlite3_column_int64(row, 2); /* 0 where there is no such space */
    if (vector->item_id < 1 || vector->item_id > UINT32_MAX || vector->space_id < 1 || vector->space_id > UINT32_MAX ||
        stored == NULL || stored_bytes != vector_bytes(vector) ||
        sql_checksum(stored, (size_t)stored_bytes) != sqlite3_column_int64(row, 3))
        return bad_vector(store, vector, stored_bytes, st);
    memcpy(vector->values, stored, (size_t)stored_bytes);
    return true;
}

/* Go through the rows of a bound statement and end it. */
static bool scan(struct store *store, enum sql which,
                 bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                              int32_t dimension),
                 void *context, struct status *st)
{
    struct vector vector = {.values = malloc(DIMENSION_MAX * sizeof(float))};
    bool row = false, ok = vector.values != NULL || errors_memory(st, "read the features"), go_on = true;
    while (ok && (ok = sql_step(store, which, &row, st)) && row && go_on) {
        ok = read_vector(store, store->statements[which], &vector, st);
        if (ok)
            go_on = each(context, (uint32_t)vector.item_id, (uint32_t)vector.space_id, vector.values,
                         (int32_t)vector.dimension);
    }
    sql_end(store, which);
    free(vector.values);
    return ok;
}

bool store_feature_scan(struct store *store,
                        bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                     int32_t dimension),
                        void *context, struct status *st)
{
    sql_use(store, SQL_FEATURE_SCAN);
    return scan(store, SQL_FEATURE_SCAN, each, context, st);
}

bool store_past_features(struct store *store, int64_t position,
                         bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                      int32_t dimension),
                         void *context, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_PAST_FEATURES);
    return sql_bound(store, SQL_PAST_FEATURES, sqlite3_bind_int64(s, 1, position), st) &&
           scan(store, SQL_PAST_FEATURES, each, context, st);
}
