/* SPDX-License-Identifier: Apache-2.0
 *
 * What the dump programs share: JSON lines and model files. They end the process where something fails. */
#ifndef RECSYS_TESTS_GOLDEN_DUMP_JSON_H
#define RECSYS_TESTS_GOLDEN_DUMP_JSON_H

#include "models/model.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* Floats as an array, and as an array of rows; a new reference. */
json_t *dump_row(const float *values, size_t count);
json_t *dump_matrix(const float *values, size_t rows, size_t columns);

/* A block of numbers that is laid out as the model's, by tensor name: {name: [numbers]}, those that are zero throughout left out. */
json_t *dump_block(const struct model *model, const float *block);

/* Open DIRECTORY/NAME for writing, write one line and take the reference, close. */
FILE *dump_open(const char *directory, const char *name);
void dump_line(FILE *out, json_t *json);
void dump_close(FILE *out);

/* Write the model to DIRECTORY/NAME; read one. */
void dump_model_file(const char *directory, const char *name, struct model *model);
struct model *dump_read_model(const char *path);

#endif
