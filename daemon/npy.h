/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads matrices of NumPy's .npy format, versions 1 to 3: two dimensions, C order, little-endian f16, f32 or f64, row by row and
 * converted to f32. Anything else is refused with a sentence that names the file and what was found. Format:
 * numpy.lib.format, "Format Version 1.0" to "3.0". */
#ifndef RECSYS_DAEMON_NPY_H
#define RECSYS_DAEMON_NPY_H

#include "proto/status.h"

#include <stddef.h>
#include <stdio.h>

enum npy_type { NPY_F16, NPY_F32, NPY_F64 };

struct npy {
    FILE *file;
    char path[4096];
    enum npy_type type;
    size_t rows, columns;
    size_t next_row;
};

/* Open and check header and file size (a file that ends early or late is refused here, naming expected and found bytes, before a
 * row is read). NOT_FOUND / NO_INPUT when it cannot be opened; INVALID_ARGUMENT / BAD_NPY when it is no such matrix. */
bool npy_open(struct npy *npy, const char *path, struct status *st);

/* Read the next `count` rows (at most rows - next_row) into `out` (count × columns, f32). NaN and infinity are passed on: the daemon
 * names the item. */
bool npy_read_rows(struct npy *npy, float *out, size_t count, struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void npy_close(struct npy *npy);

/* IEEE 754 half to single precision, exact (subnormals, infinities, NaN). */
float npy_half_to_float(unsigned short half);

#endif
