/* SPDX-License-Identifier: Apache-2.0
 *
 * Results on stdout: the daemon's JSON as it is, one line per element, or a table that names which members to show. */
#ifndef RECSYS_DAEMON_CTL_OUTPUT_H
#define RECSYS_DAEMON_CTL_OUTPUT_H

#include "daemon/ctl_session.h"

#include <jansson.h>

/* How a member of an element is shown. */
enum ctl_cell {
    CTL_CELL_PLAIN,   /* strings as they are, numbers as short as they go, booleans as yes and no */
    CTL_CELL_ORDINAL, /* the element's number in the list, from 1 */
    CTL_CELL_SCORE,   /* number with four decimals */
    CTL_CELL_TIME,    /* ms since 1970 */
    CTL_CELL_SPAN,    /* ms */
    CTL_CELL_BYTES,
    CTL_CELL_STATE, /* a plain one whose text may be coloured: ready, draining, ... */
    CTL_CELL_LIST,  /* strings, or the `modality` of objects, joined by commas */
};

struct ctl_column {
    const char *title;
    const char *member; /* of the element; "values.title" is one deeper */
    enum ctl_cell cell;
    bool right; /* aligned */
    bool cut;   /* to the terminal's width */
};

/* The value as JSON: with two spaces on a terminal, on one line elsewhere and with ndjson. */
void ctl_print_json(const struct ctl *ctl, const json_t *value);

/* Each element on a line of its own. */
void ctl_print_lines(const json_t *list);

/* The elements as a table; nothing at all when there are none. */
bool ctl_print_table(const struct ctl *ctl, const json_t *list, const struct ctl_column *columns, size_t column_count,
                     struct status *st);

/* One object as lines of "title  value"; members that it does not have are left out. */
bool ctl_print_facts(const struct ctl *ctl, const json_t *object, const struct ctl_column *rows, size_t row_count,
                     struct status *st);

/* Whole number of a 64-bit member, which JSON-RPC writes as a string; 0 when absent. */
int64_t ctl_member_integer(const json_t *object, const char *name);

/* String member, "" when absent. */
const char *ctl_member_text(const json_t *object, const char *name);

#endif
