/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong, in the codes and reasons that storage/store.h promises. Each of these returns false. */
#ifndef RECSYS_STORAGE_SQLITE_ERRORS_H
#define RECSYS_STORAGE_SQLITE_ERRORS_H

#include "proto/status.h"

#include <sqlite3.h>

/* A system call on `path` failed with `error`. */
bool errors_system(struct status *st, int error, const char *doing, const char *path);

/* The last call on `db` (NULL: there was no memory for one) failed. Extended result codes must be on. */
bool errors_sqlite(struct status *st, sqlite3 *db, const char *doing, const char *path);

/* What is stored in `path` cannot be right. */
bool errors_corrupt(struct status *st, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool errors_memory(struct status *st, const char *doing);

#endif
