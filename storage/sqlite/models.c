/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files, each in parts of at most STORE_MODEL_PART_MAX. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <stdlib.h>
#include <string.h>

#define PUT_PART_BYTES (4u << 20)

bool models_unknown(const char *version, struct status *st)
{
    return status_fail(st, STATUS_NOT_FOUND, "UNKNOWN_MODEL", "there is no model '%s'", version);
}

bool models_read_row(struct store *store, sqlite3_stmt *row, struct store_model *model, struct status *st)
{
    model->created_ms = sqlite3_column_int64(row, 3);
    model->size_bytes = sqlite3_column_int64(row, 4);
    return sql_text(store, row, 0, model->version, sizeof model->version, st) &&
           sql_text(store, row, 1, model->name, sizeof model->name, st) &&
           sql_text(store, row, 2, model->sha256, sizeof model->sha256, st);
}

/* ---- writing */

bool models_add(struct store *store, const struct store_model *model, int64_t size_bytes, const char *state,
                int64_t *model_id, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_ADD);
    bool row = false;
    const int bound = sqlite3_bind_text(s, 1, model->version, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 2, model->name, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 3, model->sha256, -1, SQLITE_STATIC) |
                      sqlite3_bind_int64(s, 4, model->created_ms) | sqlite3_bind_int64(s, 5, size_bytes) |
                      sqlite3_bind_text(s, 6, state, -1, SQLITE_STATIC);
    if (!sql_bound(store, SQL_MODEL_ADD, bound, st))
        return false;
    bool ok = sql_step(store, SQL_MODEL_ADD, &row, st);
    *model_id = ok && row ? sqlite3_column_int64(s, 0) : 0;
    while (ok && row) /* the row is written when the statement has come to its end */
        ok = sql_step(store, SQL_MODEL_ADD, &row, st);
    sql_end(store, SQL_MODEL_ADD);
    return ok;
}

bool models_add_part(struct store *store, int64_t model_id, int64_t first_byte, const void *bytes, size_t size_bytes,
                     struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_PART_ADD);
    const int bound = sqlite3_bind_int64(s, 1, model_id) | sqlite3_bind_int64(s, 2, first_byte) |
                      sqlite3_bind_int64(s, 3, sql_checksum(bytes, size_bytes)) |
                      sqlite3_bind_blob64(s, 4, bytes, size_bytes, SQLITE_STATIC);
    return sql_run(store, SQL_MODEL_PART_ADD, bound, st);
}

bool models_drop(struct store *store, int64_t model_id, struct status *st)
{
    if (!sql_run(store, SQL_MODEL_DROP_PARTS, sqlite3_bind_int64(sql_use(store, SQL_MODEL_DROP_PARTS), 1, model_id),
                 st) ||
        !sql_run(store, SQL_MODEL_DROP, sqlite3_bind_int64(sql_use(store, SQL_MODEL_DROP), 1, model_id), st))
        return false;
    return sqlite3_changes64(store->db) > 0 ||
           sql_run(store, SQL_MODEL_HIDE, sqlite3_bind_int64(sql_use(store, SQL_MODEL_HIDE), 1, model_id), st);
}

bool store_model_put(struct store *store, const struct store_model *model, const void *bytes, size_t size_bytes,
                     struct status *st)
{
    int64_t model_id;
    if (!transaction_open(store, st) || !models_add(store, model, (int64_t)size_bytes, "stored", &model_id, st))
        return false;
    for (size_t at = 0; model_id != 0 && at < size_bytes; at += PUT_PART_BYTES) {
        const size_t part = size_bytes - at < PUT_PART_BYTES ? size_bytes - at : PUT_PART_BYTES;
        if (!models_add_part(store, model_id, (int64_t)at, (const char *)bytes + at, part, st))
            return false;
    }
    return true;
}

bool store_model_describe(struct store *store, const char *version, const char *training_json, const char *report_json,
                          struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_DESCRIBE);
    int bound = sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC);
    if (training_json != NULL)
        bound |= sqlite3_bind_text(s, 2, training_json, -1, SQLITE_STATIC);
    if (report_json != NULL)
        bound |= sqlite3_bind_text(s, 3, report_json, -1, SQLITE_STATIC);
    return sql_run(store, SQL_MODEL_DESCRIBE, bound, st) &&
           (sqlite3_changes64(store->db) > 0 || models_unknown(version, st));
}

/* ---- reading */

/* the one row of SQL_MODEL_FIND or SQL_MODEL_LOAD */
static bool find(struct store *store, enum sql which, const char *version, struct store_model *model, int64_t *model_id,
                 struct status *st)
{
    sqlite3_stmt *s = sql_use(store, which);
    struct store_model found = {0};
    bool row = false;
    if (!sql_bound(store, which, sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, which, &row, st);
    if (ok && !row)
        ok = models_unknown(version, st);
    else if (ok)
        ok = models_read_row(store, s, &found, st);
    if (ok) {
        *model = found;
        *model_id = sqlite3_column_int64(s, 5);
    }
    sql_end(store, which);
    return ok;
}

bool store_model_find(struct store *store, const char *version_or_name, struct store_model *model, struct status *st)
{
    int64_t model_id;
    return find(store, SQL_MODEL_FIND, version_or_name, model, &model_id, st);
}

/* append the part of the current row; the file grows as parts come, so that a damaged size asks for no memory */
static bool take_part(struct store *store, sqlite3_stmt *row, const char *version, char **bytes, size_t *size_bytes,
                      struct status *st)
{
    const void *part;
    size_t part_bytes;
    if (sqlite3_column_int64(row, 0) != (int64_t)*size_bytes)
        return errors_corrupt(st, store->path, "a part of model '%s' is missing", version);
    if (!sql_blob(store, row, 2, sqlite3_column_int64(row, 1), version, &part, &part_bytes, st))
        return false;
    char *grown = realloc(*bytes, *size_bytes + part_bytes + 1);
    if (grown == NULL)
        return errors_memory(st, "read a model");
    *bytes = grown;
    if (part_bytes > 0)
        memcpy(grown + *size_bytes, part, part_bytes);
    *size_bytes += part_bytes;
    return true;
}

/* as malloc'ed bytes; both statements run in one view, so that the parts are those of the row */
static bool read_parts(struct store *store, const struct store_model *model, int64_t model_id, char **bytes,
                       size_t *size_bytes, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_PARTS);
    bool row = false;
    *size_bytes = 0;
    *bytes = malloc(1);
    if (*bytes == NULL)
        return errors_memory(st, "read a model");
    if (!sql_bound(store, SQL_MODEL_PARTS, sqlite3_bind_int64(s, 1, model_id), st))
        return false;
    bool ok;
    while ((ok = sql_step(store, SQL_MODEL_PARTS, &row, st)) && row)
        if (!(ok = take_part(store, s, model->version, bytes, size_bytes, st)))
            break;
    sql_end(store, SQL_MODEL_PARTS);
    if (ok && (int64_t)*size_bytes != model->size_bytes)
        ok = errors_corrupt(st, store->path, "model '%s' has %zu bytes, not %lld", model->version, *size_bytes,
                            (long long)model->size_bytes);
    return ok;
}

/* a file as malloc'ed bytes; `which` finds its row */
static bool load(struct store *store, enum sql which, const char *version, struct store_model *model, void **bytes,
                 size_t *size_bytes, struct status *st)
{
    struct store_model found;
    int64_t model_id;
    char *read = NULL;
    size_t read_bytes = 0;
    const bool own_view = !store->writing && !store->reading;
    if (own_view && !store_read_begin(store, st))
        return false;
    const bool ok = find(store, which, version, &found, &model_id, st) &&
                    read_parts(store, &found, model_id, &read, &read_bytes, st);
    if (own_view)
        store_read_end(store);
    if (!ok) {
        free(read);
        return false;
    }
    *model = found;
    *bytes = read;
    *size_bytes = read_bytes;
    return true;
}

bool store_model_load(struct store *store, const char *version, struct store_model *model, void **bytes,
                      size_t *size_bytes, struct status *st)
{
    return load(store, SQL_MODEL_LOAD, version, model, bytes, size_bytes, st);
}

bool store_upload_load(struct store *store, const char *version, void **bytes, size_t *size_bytes, struct status *st)
{
    struct store_model model;
    return load(store, SQL_UPLOAD_LOAD, version, &model, bytes, size_bytes, st);
}

bool store_model_read(struct store *store, const char *version, int64_t offset, size_t most, void **bytes,
                      size_t *size_bytes, struct status *st)
{
    struct store_model model;
    int64_t model_id;
    const void *part = NULL;
    size_t part_bytes = 0, skipped = 0;
    bool row = false;
    if (!find(store, SQL_MODEL_LOAD, version, &model, &model_id, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_PART_AT);
    if (!sql_bound(store, SQL_MODEL_PART_AT, sqlite3_bind_int64(s, 1, model_id) | sqlite3_bind_int64(s, 2, offset), st))
        return false;
    bool ok = sql_step(store, SQL_MODEL_PART_AT, &row, st);
    if (ok && row)
        ok = sql_blob(store, s, 2, sqlite3_column_int64(s, 1), version, &part, &part_bytes, st);
    if (ok && row)
        skipped = (size_t)(offset - sqlite3_column_int64(s, 0));
    skipped = skipped < part_bytes ? skipped : part_bytes;
    const size_t left = part_bytes - skipped < most ? part_bytes - skipped : most;
    char *copy = ok ? malloc(left + 1) : NULL;
    if (ok && copy == NULL)
        ok = errors_memory(st, "read a model");
    if (ok) {
        if (left > 0)
            memcpy(copy, (const char *)part + skipped, left);
        *bytes = copy;
        *size_bytes = left;
    }
    sql_end(store, SQL_MODEL_PART_AT);
    return ok;
}

bool store_model_report(struct store *store, const char *version, char **report_json, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_REPORT);
    bool row = false;
    if (!sql_bound(store, SQL_MODEL_REPORT, sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, SQL_MODEL_REPORT, &row, st);
    const char *text = ok && row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL)
        ok = errors_memory(st, "read a report");
    if (ok)
        *report_json = copy;
    sql_end(store, SQL_MODEL_REPORT);
    return ok;
}

static bool read_entry(struct store *store, sqlite3_stmt *row, struct store_model_entry *entry, struct status *st)
{
    *entry = (struct store_model_entry){0};
    if (!models_read_row(store, row, &entry->model, st))
        return false;
    entry->training_json = sql_text_borrow(store, row, 5, st);
    entry->report_json = (const char *)sqlite3_column_text(row, 6);
    entry->activated_ms = sqlite3_column_int64(row, 7);
    return entry->training_json != NULL;
}

bool store_model_list(struct store *store, bool (*each)(void *context, const struct store_model_entry *entry),
                      void *context, struct status *st)
{
    struct store_model_entry entry;
    bool row = false, ok;
    sqlite3_stmt *s = sql_use(store, SQL_MODEL_LIST);
    while ((ok = sql_step(store, SQL_MODEL_LIST, &row, st)) && row) {
        ok = read_entry(store, s, &entry, st);
        if (!ok || !each(context, &entry))
            break;
    }
    sql_end(store, SQL_MODEL_LIST);
    return ok;
}

bool store_model_delete(struct store *store, const char *version, struct status *st)
{
    struct store_model model;
    int64_t model_id;
    return transaction_open(store, st) && find(store, SQL_MODEL_LOAD, version, &model, &model_id, st) &&
           models_drop(store, model_id, st);
}
