/* SPDX-License-Identifier: Apache-2.0
 *
 * A model: architecture, numbers, and the items it was trained on. Immutable once made, counted: requests in flight finish on the one they began
 * with. In a file it is safetensors: tensors by the names of params.c, "items.names" (U8) and "items.ends" (I64) and "items.count" (F32) for the
 * ID rows, and metadata "architecture" (JSON), "name", "format", "training" (JSON, free). */
#ifndef RECSYS_MODELS_MODEL_H
#define RECSYS_MODELS_MODEL_H

#include "models/architecture.h"
#include "models/params.h"
#include "proto/status.h"

#include <stdatomic.h>
#include <stdint.h>

struct model_item; /* hash entry */

struct model {
    atomic_int references;
    char name[65];
    char version[97]; /* name, and the first 8 digits of the SHA-256 of the file */
    char sha256[65];
    struct architecture architecture;
    struct params params;
    struct weights weights;
    float *block;
    size_t item_count;          /* items with an ID row */
    char *item_names;           /* all names, NUL-separated */
    float *item_training_count; /* (item_count) events of the item in the training data */
    struct model_item *item_index;
    json_t *training; /* what the trainer had to say, or NULL */
};

/* A model of that architecture with all numbers zero; one reference. `names` (count) are the items with an ID row (0 without a sequence part). */
struct model *model_new(const struct architecture *architecture, const char *name, const char *const *names,
                        size_t count, struct status *st);

/* Read a file's bytes; everything is checked before use: INVALID_ARGUMENT / BAD_MODEL or BAD_SAFETENSORS. */
struct model *model_read(const void *bytes, size_t size_bytes, struct status *st);

/* The file as malloc'ed bytes; sets version and sha256 of `model`. The same model gives the same bytes. */
unsigned char *model_write(struct model *model, size_t *size_bytes, struct status *st);

struct model *model_acquire(struct model *model);
void model_release(struct model *model); /* NULL is fine */

/* The ID row of an item by its external id, or -1. */
int64_t model_item_row(const struct model *model, const char *name);

/* ⌊ln(max(1, seconds)) / 0.301⌋, at most ARCHITECTURE_TIME_BUCKETS - 1 (Zhai et al. 2024, HSTU, relative attention bias). */
int model_time_bucket(int64_t age_ms);

#endif
