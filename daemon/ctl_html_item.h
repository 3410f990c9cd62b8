/* SPDX-License-Identifier: Apache-2.0
 *
 * One item on the page: its score, the parts of it as a bar, the reason, and the map of what each event adds. */
#ifndef RECSYS_DAEMON_CTL_HTML_ITEM_H
#define RECSYS_DAEMON_CTL_HTML_ITEM_H

#include "proto/status.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define HTML_PARTS_MOST 64 /* names of parts that get a colour of their own place */

/* What the items of a page share: one scale for all bars and one for all maps, so that they can be compared. All-zero
 * but for `out` and `history`; then html_measure of each item comes before the first html_print_item. */
struct html_page {
    FILE *out;
    const json_t *history;              /* of the list; borrowed, may be NULL */
    const char *parts[HTML_PARTS_MOST]; /* names in the order in which they came up; borrowed from the items */
    size_t part_count;
    double below, above; /* the largest sums of an item's parts below and above zero; neither is negative */
    double most;         /* the largest |value| of a term */
};

/* Accepts NULL. */
void html_measure(struct html_page *page, const json_t *item);

/* The item as a card. `rank` 0: it has none; `open`: its map is seen without a click. False when out of memory. */
bool html_print_item(struct html_page *page, const json_t *item, size_t rank, bool open, struct status *st);

#endif
