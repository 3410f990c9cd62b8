/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of `recsysctl import` share. An import checks all its files, then sends items, vectors and events, one
 * phase after the other, each as batches of which a few are in flight. */
#ifndef RECSYS_DAEMON_CTL_IMPORT_H
#define RECSYS_DAEMON_CTL_IMPORT_H

#include "daemon/atomic_file.h"
#include "daemon/ctl_import_batch.h"
#include "daemon/ctl_import_ids.h"
#include "daemon/ctl_import_keys.h"
#include "daemon/ctl_options.h"
#include "daemon/ctl_progress.h"
#include "daemon/ctl_session.h"
#include "daemon/npy.h"

#define IMPORT_FEATURES_MAX 32
#define IMPORT_IN_FLIGHT    4
#define IMPORT_TIMEOUT_MS   30000 /* of an answer, without --timeout */
#define IMPORT_REPORTS_MAX  20    /* bad rows that are told in full */

/* Where the known columns of a file are; -1: the file does not have it. */
struct item_columns {
    int item, title, categories, price, available;
};

struct event_columns {
    int user, item, ts, behaviour, value;
};

/* What became of the rows of one phase. */
struct import_tally {
    uint64_t rows; /* read and sound; bad ones are apart */
    uint64_t bad;  /* refused, here or by the daemon */
    uint64_t created, changed, added, duplicates, stored;
};

struct import_feature {
    char *modality; /* owned */
    struct npy npy;
    struct id_list own_ids;    /* of the .ids file */
    const struct id_list *ids; /* own_ids, or those of the items */
    struct import_tally tally;
};

struct import;

enum import_append { IMPORT_APPENDED, IMPORT_ROW_BAD, IMPORT_BATCH_FULL, IMPORT_FAILED };

/* What is particular about items, vectors and events. */
struct import_kind {
    const char *method;
    const ProtobufCMessageDescriptor *reply_type;
    /* Put the file's current row into the batch. ROW_BAD and FAILED with `st`; BATCH_FULL when it does not fit any
     * more. NULL: not from an atomic file. */
    enum import_append (*append)(struct import *import, struct batch *batch, struct status *st);
    /* Make the request of the batch's rows. */
    void (*seal)(struct import *import, struct batch *batch);
    /* Add the answer to the tally and say which rows it refuses, and why. */
    void (*count)(struct import *import, const ProtobufCMessage *reply, Recsys__RowError *const **errors,
                  size_t *error_count);
    /* Where a row came from, for a message about it. */
    void (*place)(const struct import *import, const struct batch *batch, size_t row, char *out, size_t out_size);
};

struct import {
    struct ctl *ctl;
    /* What was asked for; borrowed. */
    const char *items_path, *events_path, *behaviour, *encoder;
    size_t batch_rows;
    bool strict, dry_run;
    /* The files. */
    struct atomic_file items, events;
    struct item_columns item_columns;
    struct event_columns event_columns;
    struct id_list item_ids; /* of the lines of `items`, where a matrix needs them */
    struct import_feature features[IMPORT_FEATURES_MAX];
    size_t feature_count;
    /* The phase. */
    const struct import_kind *kind;
    struct import_tally *tally;
    struct import_feature *feature; /* while vectors are sent */
    struct batch batches[IMPORT_IN_FLIGHT];
    struct event_keys keys;
    struct ctl_progress progress;
    /* The outcome. */
    struct import_tally items_tally, events_tally;
    uint64_t created_users, created_items, reported;
    int64_t events_us, total_us;
    bool sent_any;
};

/* ctl_import_check.c: read the options, open the files and look for everything that can be wrong with them before a row
 * is sent. */
bool import_check(struct import *import, const struct ctl_arguments *arguments, struct status *st);

/* Free what import_check opened. */
void import_close(struct import *import);

/* The three phases. On an interrupt they end early, and well. */
bool import_items(struct import *import, struct status *st);
bool import_features(struct import *import, struct import_feature *feature, struct status *st);
bool import_events(struct import *import, struct status *st);

/* True where the item file's column `column` is no known one: it becomes an attribute. */
bool import_is_attribute(const struct item_columns *columns, size_t column);

/* ctl_import_send.c: begin a phase; the progress is counted up to `total`. */
void import_begin(struct import *import, const struct import_kind *kind, struct import_tally *tally, const char *label,
                  uint64_t total);

/* A batch to fill, waiting for an answer where all are in flight. NULL on failure. */
struct batch *import_acquire(struct import *import, struct status *st);

/* Send a batch that was acquired; an empty one is given back. */
bool import_send(struct import *import, struct batch *batch, struct status *st);

/* Wait for all answers. With `ok` false, `st` is a failure that came first and is kept: only what is in flight is still
 * counted. */
bool import_finish(struct import *import, bool ok, struct status *st);

/* Send the rows of an atomic file. */
bool import_rows(struct import *import, struct atomic_file *file, struct status *st);

/* Tell of a row that cannot be stored. False, with --strict, when that ends the import. */
bool import_bad_row(struct import *import, const char *place, const char *message, struct status *st);

/* Was there a SIGINT or SIGTERM since import_catch_signals? */
void import_catch_signals(void);
bool import_interrupted(void);

/* ctl_import_summary.c: the outcome on stdout. */
void import_print_summary(const struct import *import, bool complete);

#endif
