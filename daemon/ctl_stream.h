/* SPDX-License-Identifier: Apache-2.0
 *
 * `event add -` and `item put -`: JSON objects from stdin, one per line, sent in batches. */
#ifndef RECSYS_DAEMON_CTL_STREAM_H
#define RECSYS_DAEMON_CTL_STREAM_H

#include "daemon/ctl_options.h"
#include "daemon/ctl_session.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* What came of it. */
struct ctl_stream {
    FILE *file;       /* read from */
    const char *name; /* of the file, for messages */
    uint64_t line_number;
    uint64_t bad;   /* lines that were refused, here or by the daemon */
    json_t *result; /* owned: the daemon's results, numbers added up, as one; without `errors` */
};

/* Read lines to the end of the file; call `method` with { ...params, `list`: [objects], "atomic": false } for up to
 * 1,000 of them or 1 MiB at a time. Bad lines are reported on stderr and counted. False when a call failed: the message
 * says up to which line all is stored. */
bool ctl_stream_send(struct ctl *ctl, struct ctl_stream *stream, const char *method, const char *list,
                     const json_t *params, struct status *st);

/* Accepts an all-zero struct. Does not close `file`. */
void ctl_stream_close(struct ctl_stream *stream);

/* What `event add` and `item put` have in common: a method that takes a list of objects. */
struct ctl_rows {
    const char *method, *list;
    bool (*fill)(json_t *row, const struct ctl_arguments *arguments, struct status *st); /* from the command line */
    void (*print)(const struct ctl *ctl, const json_t *result);
};

/* Send the objects of stdin, or the one that the command line describes, beside `params`; print the result. The exit code. */
int ctl_rows_stream(struct ctl *ctl, const struct ctl_rows *rows, const json_t *params);
int ctl_rows_one(struct ctl *ctl, const struct ctl_rows *rows, const struct ctl_arguments *arguments, json_t *params);

#endif
