/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults in what SQLite asks of the system: memory, writes, syncs. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_STORE_FAULTS_H
#define RECSYS_TESTS_UNIT_STORE_FAULTS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>

/* Counts the calls that could fail; the one numbered `fail_at` does, and with `stays` all after it. */
static struct {
    long calls, fail_at, failed; /* fail_at 0: never */
    bool stays;
    bool full; /* what a failing write says: no space, or an I/O error */
} fault;

static inline bool fails_now(void)
{
    fault.calls++;
    const bool fails = fault.fail_at > 0 && (fault.stays ? fault.calls >= fault.fail_at : fault.calls == fault.fail_at);
    fault.failed += fails;
    return fails;
}

static inline void arm(long fail_at, bool stays)
{
    fault.calls = fault.failed = 0;
    fault.fail_at = fail_at;
    fault.stays = stays;
}

static sqlite3_mem_methods real_memory;

static inline void *faulty_malloc(int size)
{
    return fails_now() ? NULL : real_memory.xMalloc(size);
}

static inline void *faulty_realloc(void *old, int size)
{
    return fails_now() ? NULL : real_memory.xRealloc(old, size);
}

static inline void use_faulty_memory(void)
{
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    sqlite3_mem_methods faulty = real_memory;
    faulty.xMalloc = faulty_malloc;
    faulty.xRealloc = faulty_realloc;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty), SQLITE_OK);
    cr_assert_eq(sqlite3_initialize(), SQLITE_OK);
}

/* The unix VFS has several method tables; each gets a twin whose first member is what SQLite sees. */
struct twin {
    sqlite3_io_methods seen;
    const sqlite3_io_methods *real;
};
static struct twin twins[8];
static sqlite3_vfs *real_vfs;

static inline const sqlite3_io_methods *real_of(sqlite3_file *file)
{
    return ((const struct twin *)(const void *)file->pMethods)->real;
}

static inline int say(int io_error)
{
    errno = fault.full ? ENOSPC : EIO;
    return fault.full ? SQLITE_FULL : io_error;
}

/* Half of what should have been written arrives: the worst that a disk does. */
static inline int faulty_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    if (!fails_now())
        return real_of(file)->xWrite(file, bytes, size, offset);
    (void)real_of(file)->xWrite(file, bytes, size / 2, offset);
    return say(SQLITE_IOERR_WRITE);
}

static inline int faulty_sync(sqlite3_file *file, int flags)
{
    return fails_now() ? say(SQLITE_IOERR_FSYNC) : real_of(file)->xSync(file, flags);
}

static inline int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails_now() ? say(SQLITE_IOERR_TRUNCATE) : real_of(file)->xTruncate(file, size);
}

static inline const sqlite3_io_methods *twin_of(const sqlite3_io_methods *real)
{
    struct twin *twin = twins;
    while (twin->real != NULL && twin->real != real)
        twin++;
    cr_assert(twin < twins + sizeof twins / sizeof twins[0] - 1);
    twin->real = real;
    twin->seen = *real;
    twin->seen.xWrite = faulty_write;
    twin->seen.xSync = faulty_sync;
    twin->seen.xTruncate = faulty_truncate;
    return &twin->seen;
}

static inline int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    const int code = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
    if (file->pMethods != NULL)
        file->pMethods = twin_of(file->pMethods);
    return code;
}

static inline void use_faulty_disk(bool full)
{
    static sqlite3_vfs faulty;
    real_vfs = sqlite3_vfs_find(NULL);
    cr_assert_not_null(real_vfs);
    faulty = *real_vfs;
    faulty.zName = "faulty";
    faulty.xOpen = faulty_open;
    cr_assert_eq(sqlite3_vfs_register(&faulty, 1), SQLITE_OK);
    fault.full = full;
}

#endif
