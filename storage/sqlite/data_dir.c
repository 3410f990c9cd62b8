/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/data_dir.h"
#include "storage/sqlite/errors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Best effort: some file systems refuse to sync a directory, and the data itself does not depend on it. */
static void sync_directory(int at, const char *path)
{
    const int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static bool make_directory(const char *data_dir, struct status *st)
{
    if (mkdir(data_dir, 0700) == 0) {
        if (chmod(data_dir, 0700) != 0)
            return errors_system(st, errno, "set the mode of", data_dir);
        const int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            sync_directory(fd, "..");
            close(fd);
        }
        return true;
    }
    const int error = errno;
    struct stat is;
    /* also a read-only file system answers mkdir with an error of its own where the directory is there */
    if (stat(data_dir, &is) != 0)
        return errors_system(st, error, "make directory", data_dir);
    if (!S_ISDIR(is.st_mode))
        return errors_system(st, ENOTDIR, "open directory", data_dir);
    return true;
}

static void report_holder(int fd, const char *path, struct status *st)
{
    char text[32];
    const ssize_t length = pread(fd, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    const long pid = strtol(text, NULL, 10);
    if (pid > 0)
        status_fail(st, STATUS_UNAVAILABLE, "STORE_LOCKED", "'%s' is held by process %ld", path, pid);
    else
        status_fail(st, STATUS_UNAVAILABLE, "STORE_LOCKED", "'%s' is held by another process", path);
}

/* The pid is there for people; a full disk must not keep the store from opening for its sake. */
static void write_pid(int fd)
{
    char text[32];
    const int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length)
        return;
}

static bool take_lock(int fd, const char *path, struct status *st)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR)
            continue;
        if (errno == EWOULDBLOCK)
            report_holder(fd, path, st);
        else
            errors_system(st, errno, "lock", path);
        return false;
    }
    (void)fchmod(fd, 0600); /* fails on a file of somebody else's, whose mode is theirs */
    write_pid(fd);
    return true;
}

int data_dir_lock(const char *data_dir, struct status *st)
{
    char *path = NULL;
    int fd = -1;
    if (!make_directory(data_dir, st))
        return -1;
    if (asprintf(&path, "%s/LOCK", data_dir) < 0) {
        errors_memory(st, "lock the data directory");
        return -1;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* what it points to would be written over */
    if (fd < 0)
        errors_system(st, errno, "open", path);
    if (fd >= 0 && !take_lock(fd, path, st)) {
        close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

static bool is_scratch(int directory, const char *name)
{
    const size_t length = strlen(name), suffix = strlen(DATA_DIR_SCRATCH_SUFFIX);
    struct stat is;
    return length > suffix && strcmp(name + length - suffix, DATA_DIR_SCRATCH_SUFFIX) == 0 &&
           fstatat(directory, name, &is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(is.st_mode);
}

void data_dir_clean(const char *data_dir)
{
    DIR *directory = opendir(data_dir);
    if (directory == NULL)
        return;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (is_scratch(dirfd(directory), entry->d_name))
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
}

/* An existing database must not be opened here: closing any descriptor of a file drops the POSIX locks that SQLite
 * connections of this process hold on it. O_EXCL sees to that. */
bool data_dir_create_file(const char *data_dir, const char *path, struct status *st)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST || errors_system(st, errno, "create", path);
    const bool ok = fchmod(fd, 0600) == 0 || errors_system(st, errno, "set the mode of", path);
    close(fd);
    sync_directory(AT_FDCWD, data_dir);
    return ok;
}
