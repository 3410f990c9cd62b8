/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads RecBole's "atomic files": tab-separated text whose first line names and types the columns, `user_id:token`,
 * `timestamp:float`, `title:token_seq`. One row at a time, any size of file; a gzip'ed file is not read. The types are checked for
 * known names but values are passed on as text. A UTF-8 BOM and CRLF line ends are accepted. */
#ifndef RECSYS_DAEMON_ATOMIC_FILE_H
#define RECSYS_DAEMON_ATOMIC_FILE_H

#include "proto/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ATOMIC_FILE_COLUMNS_MAX 64
#define ATOMIC_FILE_LINE_MAX    (1u << 20) /* bytes */

struct atomic_file {
    FILE *file;
    char path[4096];
    char *line; /* owned; cells point into it */
    size_t line_capacity;
    char *header; /* owned; names point into it */
    size_t column_count;
    const char *names[ATOMIC_FILE_COLUMNS_MAX]; /* without the type */
    const char *cells[ATOMIC_FILE_COLUMNS_MAX]; /* of the current row, NUL-terminated */
    uint64_t line_number;                       /* of the current row; the header is line 1 */
    uint64_t size_bytes;                        /* of the file; 0 for a pipe */
    uint64_t read_bytes;                        /* so far, for a progress bar */
};

enum atomic_row { ATOMIC_ROW, ATOMIC_BAD_ROW, ATOMIC_END, ATOMIC_FAILED };

/* Open and read the header. NOT_FOUND / NO_INPUT, or INVALID_ARGUMENT / BAD_HEADER with file and line when the first line is no
 * header (no `name:type` in it). */
bool atomic_file_open(struct atomic_file *file, const char *path, struct status *st);

/* The index of the first of `names` (NULL-terminated list of spellings) that the file has, or -1. */
int atomic_file_column(const struct atomic_file *file, const char *const *names);

/* Like atomic_file_column, but a missing column is INVALID_ARGUMENT / MISSING_COLUMN: the message names the file, what was looked for and the
 * columns that are there. */
bool atomic_file_require(const struct atomic_file *file, const char *const *names, int *column, struct status *st);

/* Read the next row into `cells`. ATOMIC_BAD_ROW (too few or too many cells, NUL byte, line too long, invalid UTF-8) says what and
 * which line in `st`, and reading may go on; empty lines are skipped; ATOMIC_FAILED is an I/O error. */
enum atomic_row atomic_file_next(struct atomic_file *file, struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void atomic_file_close(struct atomic_file *file);

#endif
