/* SPDX-License-Identifier: Apache-2.0
 *
 * Which item each row of a matrix is for: read from a .ids file, or from the lines of the item file. */
#ifndef RECSYS_DAEMON_CTL_IMPORT_IDS_H
#define RECSYS_DAEMON_CTL_IMPORT_IDS_H

#include "daemon/ctl_progress.h"
#include "proto/status.h"

#include <stddef.h>

struct id_list {
    char *text; /* all ids, each with its NUL */
    size_t text_used, text_capacity;
    size_t *offsets; /* into text; ID_LIST_NONE: no id could be read */
    size_t count, capacity;
};

/* One id per line; an empty line or bad UTF-8 is INVALID_ARGUMENT / BAD_IDS with file and line. NOT_FOUND / NO_INPUT.
 */
bool id_list_read(struct id_list *ids, const char *path, struct status *st);

/* The item column of an atomic file. A line that cannot be read still counts as a row, without id. */
bool id_list_read_items(struct id_list *ids, const char *path, const char *const *columns,
                        struct ctl_progress *progress, struct status *st);

/* The id of a row, or NULL when there is none. Valid while nothing is added. */
const char *id_list_get(const struct id_list *ids, size_t row);

/* Accepts an all-zero struct and leaves it all-zero. */
void id_list_close(struct id_list *ids);

#endif
