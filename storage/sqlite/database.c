/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/database.h"
#include "storage/sqlite/data_dir.h"
#include "storage/sqlite/errors.h"
#include "storage/sqlite/migrations.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASE_NAME         "shop.db"
#define BUSY_TIMEOUT_MS       5000
#define CACHE_BYTES           (2 << 20)
#define QUICK_CHECK_BYTES_MAX (INT64_C(1) << 30) /* beyond, reading the file would delay the start by seconds */

/* ---- opening */

static struct store *new_store(const struct store_options *options, bool writer, struct status *st)
{
    struct store *store = calloc(1, sizeof *store);
    if (store != NULL && asprintf(&store->path, "%s/" DATABASE_NAME, options->data_dir) >= 0) {
        store->writer = writer;
        store->lock_fd = -1;
        return store;
    }
    free(store);
    errors_memory(st, "open the store");
    return NULL;
}

/* The WAL-reset bug of SQLite before 3.51.3 corrupts a database that two connections checkpoint: no connection does so
 * by itself, and only the writer is ever asked to. The log stays where it is on closing, or a reader without write
 * permission could not open. */
static bool connect_to(struct store *store, struct status *st)
{
    const int flags =
        (store->writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int keep = 1;
    if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS) != SQLITE_OK ||
        sqlite3_wal_autocheckpoint(store->db, 0) != SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL) != SQLITE_OK ||
        sqlite3_file_control(store->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep) != SQLITE_OK)
        return errors_sqlite(st, store->db, "open", store->path);
    /* SQLite opens what it may not write to for reading */
    if (store->writer && sqlite3_db_readonly(store->db, "main") == 1)
        return status_fail(st, STATUS_UNAVAILABLE, "STORE_READONLY", "'%s' cannot be written", store->path);
    return true;
}

/* A table of this schema looks damaged to SQLite's checks while it is not (migrations.c): looked at after the migration. */
#define UNCHECKED_VERSION 3

static bool quick_check(struct store *store, struct status *st)
{
    struct stat is;
    if (stat(store->path, &is) == 0 && is.st_size > QUICK_CHECK_BYTES_MAX)
        return true;
    sqlite3_stmt *statement = NULL;
    bool ok = false;
    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        errors_sqlite(st, store->db, "quick_check", store->path);
        goto out;
    }
    const char *complaint = (const char *)sqlite3_column_text(statement, 0);
    if (complaint == NULL)
        errors_memory(st, "quick_check");
    else if (sqlite3_stricmp(complaint, "ok") != 0)
        errors_corrupt(st, store->path, "quick_check: %s", complaint);
    else
        ok = true;
out:
    sqlite3_finalize(statement);
    return ok;
}

/* Two statements set what is written into a new file and must come before anything is; on a file that is there they
 * change nothing. */
static bool use_wal(struct store *store, struct status *st)
{
    char page_size[64];
    sqlite3_stmt *statement = NULL;
    bool ok = false;
    snprintf(page_size, sizeof page_size, "PRAGMA page_size = %d", MIGRATIONS_PAGE_BYTES);
    if (sqlite3_exec(store->db, page_size, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        errors_sqlite(st, store->db, "switch to a write-ahead log", store->path);
        goto out;
    }
    const char *mode = (const char *)sqlite3_column_text(statement, 0);
    ok = mode != NULL && sqlite3_stricmp(mode, "wal") == 0;
    if (!ok)
        status_fail(st, STATUS_UNAVAILABLE, "STORE_IO",
                    "'%s' is on a file system without shared memory for a write-ahead log", store->path);
out:
    sqlite3_finalize(statement);
    return ok;
}

/* secure_delete: what is erased must not stay in the file as free space. Debian's SQLite does so by itself, others do
 * not. Not only while a user is erased: pages are split and freed all the time, and names are among what they held. */
static bool set_pragmas(struct store *store, const struct store_options *options, struct status *st)
{
    char text[512];
    const int64_t cache_bytes = options->cache_bytes > 0 ? options->cache_bytes : CACHE_BYTES;
    snprintf(text, sizeof text,
             "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
             "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%lld; PRAGMA journal_size_limit = 67108864;"
             "PRAGMA secure_delete = ON; PRAGMA synchronous = %s; PRAGMA query_only = %s",
             (long long)cache_bytes / 1024 + 1, options->full_sync ? "FULL" : "NORMAL", store->writer ? "OFF" : "ON");
    if (sqlite3_exec(store->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return errors_sqlite(st, store->db, "configure", store->path);
    return true;
}

static bool open_writer(struct store *store, const struct store_options *options, struct status *st)
{
    int version;
    store->lock_fd = data_dir_lock(options->data_dir, st);
    if (store->lock_fd < 0)
        return false;
    data_dir_clean(options->data_dir);
    if (!data_dir_create_file(options->data_dir, store->path, st) || !connect_to(store, st) ||
        !migrations_identify(store->db, store->path, &version, st) || !set_pragmas(store, options, st) ||
        (version != UNCHECKED_VERSION && !quick_check(store, st)))
        return false;
    if (!use_wal(store, st) || !migrations_run(store->db, store->path, version, st) ||
        (version == UNCHECKED_VERSION && !quick_check(store, st)) || !sql_prepare(store, st) || !totals_load(store, st))
        return false;
    store->ready = true;
    return true;
}

/* Without opening the file, which would end the locks another connection of this process has on it. */
static bool is_there(const char *path, struct status *st)
{
    if (access(path, R_OK) == 0)
        return true;
    if (errno == ENOENT || errno == ENOTDIR)
        return status_fail(st, STATUS_NOT_FOUND, "NO_DATABASE", "there is no database '%s'", path);
    return status_fail(st, STATUS_UNAVAILABLE, "STORE_IO", "read '%s': %s", path, strerrordesc_np(errno));
}

static bool open_reader(struct store *store, const struct store_options *options, struct status *st)
{
    int version;
    if (!is_there(store->path, st) || !connect_to(store, st) ||
        !migrations_identify(store->db, store->path, &version, st))
        return false;
    if (version == 0)
        return status_fail(st, STATUS_NOT_FOUND, "NO_DATABASE", "'%s' is empty", store->path);
    if (version < migrations_newest())
        return status_fail(st, STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_OLD",
                           "'%s' has schema version %d, reading needs %d: start the daemon once", store->path, version,
                           migrations_newest());
    return set_pragmas(store, options, st) && sql_prepare(store, st);
}

static struct store *open_store(const struct store_options *options, bool writer, struct status *st)
{
    struct store *store = new_store(options, writer, st);
    if (store == NULL)
        return NULL;
    if (writer ? open_writer(store, options, st) : open_reader(store, options, st))
        return store;
    store_close(store);
    return NULL;
}

struct store *store_open_writer(const struct store_options *options, struct status *st)
{
    return open_store(options, true, st);
}

struct store *store_open_reader(const struct store_options *options, struct status *st)
{
    return open_store(options, false, st);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store_rollback(store);
    store_read_end(store);
    if (store->ready)
        store_checkpoint(store, true, NULL);
    sql_finalize(store);
    sqlite3_close(store->db);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->path);
    free(store);
}

/* ---- the files */

bool store_checkpoint(struct store *store, bool truncate, struct status *st)
{
    if (!store->writer)
        return status_fail(st, STATUS_INTERNAL, "STORE_ERROR", "a reader does not checkpoint '%s'", store->path);
    /* truncating would wait for every reader as long as the busy timeout allows, and events with it */
    sqlite3_busy_timeout(store->db, 0);
    const int code = sqlite3_wal_checkpoint_v2(
        store->db, "main", truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    const int primary = code & 0xff;
    const bool ok = primary == SQLITE_OK || primary == SQLITE_BUSY || primary == SQLITE_LOCKED;
    if (!ok)
        errors_sqlite(st, store->db, "checkpoint", store->path);
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    return ok;
}

bool store_sizes(struct store *store, struct store_sizes *sizes, struct status *st)
{
    struct store_sizes found = {0};
    struct stat is;
    char *wal = NULL;
    bool ok = false;
    if (asprintf(&wal, "%s-wal", store->path) < 0)
        return errors_memory(st, "look at the sizes of the store");
    if (stat(store->path, &is) != 0) {
        errors_system(st, errno, "look at", store->path);
        goto out;
    }
    found.database_bytes = is.st_size;
    if (stat(wal, &is) == 0)
        found.wal_bytes = is.st_size;
    if (store->writer) {
        found.users = store->current[TOTAL_USERS];
        found.events = store->current[TOTAL_EVENTS];
    } else if (!totals_read(store, TOTAL_USERS, &found.users, st) ||
               !totals_read(store, TOTAL_EVENTS, &found.events, st)) {
        goto out;
    }
    *sizes = found;
    ok = true;
out:
    free(wal);
    return ok;
}
