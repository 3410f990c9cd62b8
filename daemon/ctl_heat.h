/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a score comes from, as a map: a row for each event of the history, a column for each stream and one for
 * co-occurrence, and in each cell what the event adds to the score there. Made of an item's `terms` and the list's
 * `history` as the daemon sends them. The terminal shows it (ctl_heat_print.c), and so does the page (ctl_html.h).
 * Members that are missing count as empty. */
#ifndef RECSYS_DAEMON_CTL_HEAT_H
#define RECSYS_DAEMON_CTL_HEAT_H

#include "daemon/ctl_session.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define CTL_HEAT_COOCCURRENCE "co-occurrence" /* the column of what is no stream's */

struct ctl_heat_row {
    const char *seq;     /* of the event; "": what a stream holds of no single event */
    const json_t *event; /* of the history; NULL: it is not there */
    const char *item;    /* of the event; "" where that is not known */
    double weight;       /* sum of |value| */
};

/* Borrows from the values that it is made of. */
struct ctl_heat {
    const char **columns;      /* (column_count) streams by name, co-occurrence last; owned */
    struct ctl_heat_row *rows; /* (row_count) as in the history, newest first; the row of no event last; owned */
    double *values;            /* (row_count, column_count) NAN: there is no such term; owned */
    size_t row_count, column_count;
};

/* The map of one item of a list. False with st, and all-zero, when out of memory. */
bool ctl_heat_open(struct ctl_heat *heat, const json_t *item, const json_t *history, struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void ctl_heat_close(struct ctl_heat *heat);

/* The column that a term belongs to; NULL: it is not of the history's events ("popularity", "boost"), and in no map. */
const char *ctl_heat_column(const json_t *term);

/* What a term is called: its column, "sequence, text", "boost, rule 0", "popularity". A new string; NULL: no memory. */
json_t *ctl_heat_term_name(const json_t *term);

/* The event of that seq, or NULL. */
const json_t *ctl_heat_event(const json_t *history, const char *seq);

/* What a row is called: the event's title, else its item, else "the rest of each stream". */
const char *ctl_heat_title(const struct ctl_heat_row *row);

/* The row's day, "2026-05-01"; "" where it has none. */
void ctl_heat_day(const struct ctl_heat_row *row, char out[11]);

/* What an item is called: its title, else its id. */
const char *ctl_heat_item_title(const json_t *item);

/* The map as text, at most `width` columns wide (at least 40), unless there are dozens of streams: the 20 rows of the
 * largest weight, the others summed in one more, and the sums of the columns. With `colour` blue is below zero and red
 * above it; without, the later of " .:-=+*#%@" the larger. Numbers stand there where they fit. */
void ctl_heat_print(FILE *out, const struct ctl_heat *heat, bool colour, size_t width);

/* Text from outside on a terminal: control characters become '?'; cut to `width` columns, 0: as long as it is. Returns
 * the columns that it took. */
size_t ctl_heat_print_text(FILE *out, const char *text, size_t width);

/* "Title (id), score 0.1234" on stdout. */
void ctl_heat_print_heading(const json_t *item);

/* The map of an item on stdout, and below it what does not come from events. */
bool ctl_heat_show(const struct ctl *ctl, const json_t *item, const json_t *history, struct status *st);

#endif
