/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct kind {
    enum status_code code;
    const char *reason;
};

static const struct kind disk_full = {STATUS_RESOURCE_EXHAUSTED, "DISK_FULL"};
static const struct kind no_memory = {STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY"};
static const struct kind read_only = {STATUS_UNAVAILABLE, "STORE_READONLY"};
static const struct kind broken_io = {STATUS_UNAVAILABLE, "STORE_IO"};
static const struct kind busy = {STATUS_UNAVAILABLE, "STORE_BUSY"};
static const struct kind corrupt = {STATUS_DATA_LOSS, "STORE_CORRUPT"};
static const struct kind too_large = {STATUS_INVALID_ARGUMENT, "TOO_LARGE"};
static const struct kind mistake = {STATUS_INTERNAL, "STORE_ERROR"};

static struct kind kind_of_system(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return disk_full;
    case ENOMEM:
        return no_memory;
    case EROFS:
    case EACCES:
    case EPERM:
        return read_only;
    default:
        return broken_io;
    }
}

static struct kind kind_of_sqlite(int code, int system_error)
{
    if (code == SQLITE_IOERR_NOMEM)
        return no_memory;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return disk_full;
    case SQLITE_NOMEM:
        return no_memory;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return read_only;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        /* SQLite says FULL only where write() itself had no space, not for a quota or the shared memory file */
        return kind_of_system(system_error);
    case SQLITE_NOLFS:
        return broken_io;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return corrupt;
    case SQLITE_TOOBIG:
        return too_large;
    default:
        return mistake;
    }
}

bool errors_system(struct status *st, int error, const char *doing, const char *path)
{
    const struct kind kind = kind_of_system(error);
    return status_fail(st, kind.code, kind.reason, "%s '%s': %s", doing, path, strerrordesc_np(error));
}

bool errors_sqlite(struct status *st, sqlite3 *db, const char *doing, const char *path)
{
    if (db == NULL)
        return errors_memory(st, doing);
    const int code = sqlite3_extended_errcode(db);
    const int system_error = sqlite3_system_errno(db);
    const int primary = code & 0xff;
    const bool from_system = (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) && system_error != 0;
    const struct kind kind = kind_of_sqlite(code, from_system ? system_error : 0);
    return status_fail(st, kind.code, kind.reason, "%s: %s%s%s in '%s'", doing, sqlite3_errmsg(db),
                       from_system ? ": " : "", from_system ? strerrordesc_np(system_error) : "", path);
}

bool errors_corrupt(struct status *st, const char *path, const char *format, ...)
{
    char what[240];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return status_fail(st, corrupt.code, corrupt.reason, "%s in '%s'", what, path);
}

bool errors_memory(struct status *st, const char *doing)
{
    return status_fail(st, no_memory.code, no_memory.reason, "%s: out of memory", doing);
}
