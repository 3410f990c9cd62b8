/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this folder share: the connection, and what a writer keeps in memory beside it. Users of the store
 * include storage/store.h. */
#ifndef RECSYS_STORAGE_SQLITE_DATABASE_H
#define RECSYS_STORAGE_SQLITE_DATABASE_H

#include "storage/sqlite/statements.h"
#include "storage/store.h"

/* Numbers a writer keeps in memory and puts into the table `total` with each commit that changed them. Those that are
 * given out are kept so that erasing the newest row and starting again does not give its number to another. */
enum total {
    TOTAL_USERS,
    TOTAL_EVENTS,
    TOTAL_POSITION, /* from here on: the last one given out */
    TOTAL_USER_ID,
    TOTAL_ITEM_ID,
    TOTAL_REQUEST_ID, /* the last of those */
    TOTAL_MERGED,     /* position of the last merge of users that moved events, or of the last user who was erased */
    TOTAL_PAST_MS,    /* from when on the past is complete */
    TOTAL_FORGOTTEN,  /* up to this position, what was overwritten has been forgotten */
    TOTAL_COUNT
};

struct store {
    sqlite3 *db;
    char *path;  /* of the database */
    int lock_fd; /* -1: a reader */
    bool writer;
    bool ready;   /* the file was found to be ours and whole: closing may touch it */
    bool reading; /* between store_read_begin and _end */
    bool writing; /* between store_begin and store_commit or _rollback */
    bool failed;  /* something failed since store_begin: what is written may be half of something */
    int64_t committed[TOTAL_COUNT];
    int64_t current[TOTAL_COUNT]; /* as this transaction sees them */
    int64_t given[TOTAL_COUNT];   /* never goes back, also when a transaction does */
    sqlite3_stmt *statements[SQL_COUNT];
};

/* ---- transactions.c */

/* Read the totals, and from the tables what was given out. For a writer, when it opens. */
bool totals_load(struct store *store, struct status *st);

/* One number of the table `total`, as committed. */
bool totals_read(struct store *store, enum total which, int64_t *value, struct status *st);

/* Whether this is a writer within a transaction in which nothing failed; INTERNAL / NO_TRANSACTION otherwise. */
bool transaction_open(struct store *store, struct status *st);

/* The number that would be given out next. Taking it is a step of its own, so that what turns out not to be stored uses
 * none up. */
int64_t totals_next(const struct store *store, enum total which);
void totals_take(struct store *store, enum total which);

/* ---- models.c */

/* NOT_FOUND / UNKNOWN_MODEL. */
bool models_unknown(const char *version, struct status *st);

/* The first five columns of a row: version, name, sha256, created_ms, size_bytes. */
bool models_read_row(struct store *store, sqlite3_stmt *row, struct store_model *model, struct status *st);

/* Add a row in `state` ("stored", "upload"). `*model_id` 0: there is one of that version that was not deleted. */
bool models_add(struct store *store, const struct store_model *model, int64_t size_bytes, const char *state,
                int64_t *model_id, struct status *st);
bool models_add_part(struct store *store, int64_t model_id, int64_t first_byte, const void *bytes, size_t size_bytes,
                     struct status *st);

/* Take away a model or an upload; where activations name it the row stays, as deleted. */
bool models_drop(struct store *store, int64_t model_id, struct status *st);

#endif
