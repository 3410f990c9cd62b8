/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files on their way in: rows of `model` that nobody can load before they are finished. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <string.h>

/* `*model_id` 0 where there is neither model nor upload */
static bool find(struct store *store, const char *sha256, struct store_upload *upload, int64_t *model_id,
                 struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_FIND);
    struct store_upload found = {0};
    bool row = false;
    if (!sql_bound(store, SQL_UPLOAD_FIND, sqlite3_bind_text(s, 1, sha256, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, SQL_UPLOAD_FIND, &row, st);
    *model_id = 0;
    if (ok && row) {
        ok = models_read_row(store, s, &found.model, st);
        *model_id = sqlite3_column_int64(s, 5);
        found.stored = sqlite3_column_int(s, 6) != 0;
        found.received_bytes = found.stored ? found.model.size_bytes : sqlite3_column_int64(s, 7);
    }
    sql_end(store, SQL_UPLOAD_FIND);
    if (ok)
        *upload = found;
    return ok;
}

bool store_upload_find(struct store *store, const char *sha256, struct store_upload *upload, struct status *st)
{
    int64_t model_id;
    return find(store, sha256, upload, &model_id, st);
}

bool store_upload_begin(struct store *store, const struct store_model *model, struct status *st)
{
    int64_t model_id;
    if (!transaction_open(store, st) || !models_add(store, model, model->size_bytes, "upload", &model_id, st))
        return false;
    if (model_id == 0)
        return status_fail(st, STATUS_ALREADY_EXISTS, "VERSION_TAKEN", "another file is model '%s'", model->version);
    return true;
}

bool store_upload_append(struct store *store, const char *sha256, const void *bytes, size_t size_bytes, int64_t at_ms,
                         struct status *st)
{
    struct store_upload upload;
    int64_t model_id;
    if (!transaction_open(store, st) || !find(store, sha256, &upload, &model_id, st))
        return false;
    if (model_id == 0 || upload.stored)
        return models_unknown(sha256, st);
    sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_TOUCH);
    return sql_run(store, SQL_UPLOAD_TOUCH, sqlite3_bind_int64(s, 1, model_id) | sqlite3_bind_int64(s, 2, at_ms), st) &&
           models_add_part(store, model_id, upload.received_bytes, bytes, size_bytes, st);
}

bool store_upload_finish(struct store *store, const char *version, int64_t at_ms, struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_FINISH);
    const int bound = sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 2, at_ms);
    return sql_run(store, SQL_UPLOAD_FINISH, bound, st) &&
           (sqlite3_changes64(store->db) > 0 || models_unknown(version, st));
}

/* the model_id in the first row of a statement whose parameters are bound; 0 where there is none */
static bool first_id(struct store *store, enum sql which, int bound, int64_t *model_id, struct status *st)
{
    bool row = false;
    if (!sql_bound(store, which, bound, st))
        return false;
    const bool ok = sql_step(store, which, &row, st);
    *model_id = ok && row ? sqlite3_column_int64(store->statements[which], 0) : 0;
    sql_end(store, which);
    return ok;
}

bool store_upload_drop(struct store *store, const char *version, struct status *st)
{
    int64_t model_id;
    if (!transaction_open(store, st))
        return false;
    sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_BY_VERSION);
    return first_id(store, SQL_UPLOAD_BY_VERSION, sqlite3_bind_text(s, 1, version, -1, SQLITE_STATIC), &model_id, st) &&
           (model_id == 0 || models_drop(store, model_id, st));
}

bool store_upload_expire(struct store *store, int64_t before_ms, int64_t *dropped, struct status *st)
{
    int64_t model_id = 0;
    *dropped = 0;
    if (!transaction_open(store, st))
        return false;
    do {
        sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_OLDEST);
        if (!first_id(store, SQL_UPLOAD_OLDEST, sqlite3_bind_int64(s, 1, before_ms), &model_id, st) ||
            (model_id != 0 && !models_drop(store, model_id, st)))
            return false;
        *dropped += model_id != 0;
    } while (model_id != 0);
    return true;
}

bool store_upload_count(struct store *store, const char *but, int64_t *uploads, int64_t *models, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_UPLOAD_COUNT);
    bool row = false;
    if (!sql_bound(store, SQL_UPLOAD_COUNT, sqlite3_bind_text(s, 1, but, -1, SQLITE_STATIC), st))
        return false;
    const bool ok = sql_step(store, SQL_UPLOAD_COUNT, &row, st);
    if (ok) {
        *uploads = row ? sqlite3_column_int64(s, 0) : 0;
        *models = row ? sqlite3_column_int64(s, 1) : 0;
    }
    sql_end(store, SQL_UPLOAD_COUNT);
    return ok;
}
