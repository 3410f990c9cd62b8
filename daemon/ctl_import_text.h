/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cells of an item file mean. */
#ifndef RECSYS_DAEMON_CTL_IMPORT_TEXT_H
#define RECSYS_DAEMON_CTL_IMPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* How many categories `text` can have at most. */
size_t import_categories_max(const char *text);

/* Split "Home > Kitchen|Knives, Forks" in place at commas, bars and " > ", white space around each trimmed, empty ones
 * left out. `parts` has room for import_categories_max(text). Returns how many. */
size_t import_categories_split(char *text, char **parts);

/* yes, true, 1, 1.0 and no, false, 0, 0.0 in any case. */
bool import_yes_no(const char *text, bool *value);

/* "PATH.npy" to "PATH.ids". False when the path does not end in .npy or does not fit. */
bool import_ids_path(const char *npy_path, char *out, size_t out_size);

#endif
