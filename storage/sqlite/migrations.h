/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema, as numbered steps. The number of the last one that a database has been through is its user_version. A
 * step is never edited once released; each runs in one transaction, so that a power cut leaves a database between two
 * of them. */
#ifndef RECSYS_STORAGE_SQLITE_MIGRATIONS_H
#define RECSYS_STORAGE_SQLITE_MIGRATIONS_H

#include "proto/status.h"

#include <sqlite3.h>

#define MIGRATIONS_APPLICATION_ID 0x52435359 /* "RCSY" */
#define MIGRATIONS_PAGE_BYTES     8192

/* The newest version this program knows. */
int migrations_newest(void);

/* What is in the file, changing nothing. `*version` 0: nothing yet. STORE_CORRUPT where it is no database or somebody
 * else's; FAILED_PRECONDITION / SCHEMA_TOO_NEW where a newer program made it. */
bool migrations_identify(sqlite3 *db, const char *path, int *version, struct status *st);

/* Run the steps after `version`. */
bool migrations_run(sqlite3 *db, const char *path, int version, struct status *st);

/* Run one query of one row with one integer. */
bool migrations_integer(sqlite3 *db, const char *path, const char *query, int64_t *value, struct status *st);

#endif
