/* SPDX-License-Identifier: Apache-2.0
 *
 * The item encoder: raw vectors of the modalities become the rows that scoring reads. A pure function of the item and the model, so rows are made
 * once and kept. */
#ifndef RECSYS_MODELS_ENCODER_H
#define RECSYS_MODELS_ENCODER_H

#include "models/arena.h"
#include "models/model.h"

/* Items are encoded at most this many at a time, which bounds the scratch memory. */
#define ENCODER_BATCH 256

/* One item as it comes from the shop. */
struct encoder_item {
    const char *name;                            /* finds the ID row */
    const float *vector[ARCHITECTURE_VIEWS_MAX]; /* raw, of the view's dimension; NULL: missing */
};

/* Encoded items: arrays of rows. Roles point to the view's own rows where the view has no correction. */
struct encoder_rows {
    size_t capacity;
    float *block;                                    /* owned: everything below */
    float *view[ARCHITECTURE_VIEWS_MAX];             /* (capacity, components); zero rows are missing features */
    float *role[ARCHITECTURE_VIEWS_MAX][ROLE_COUNT]; /* (capacity, components) */
    float *token;                                    /* z (capacity, width); NULL without a sequence part */
    float *output;                                   /* o = z·W_o (capacity, width); likewise */
};

/* Floats that one encoded item takes. */
size_t encoder_row_floats(const struct architecture *architecture);

/* Room for `capacity` items. False out of memory. */
bool encoder_rows_init(struct encoder_rows *rows, const struct architecture *architecture, size_t capacity);
void encoder_rows_close(struct encoder_rows *rows);

/* The same out of an arena, which owns it: nothing to close. False when it gives out. */
bool encoder_rows_borrow(struct encoder_rows *rows, const struct architecture *architecture, size_t capacity,
                         struct arena *arena);

/* Encode `count` items into rows first, first + 1, ...; every value of those rows is written. False when the arena gives out. */
bool encoder_encode(const struct model *model, const struct encoder_item *items, size_t count,
                    const struct encoder_rows *rows, size_t first, struct arena *arena);

/* Make the roles of `count` rows from `first` anew out of their views, after the corrections have changed. False when the arena gives out. */
bool encoder_correct(const struct model *model, const struct encoder_rows *rows, size_t first, size_t count,
                     struct arena *arena);

/* Copy row `from` of one set to row `to` of another of the same architecture. */
void encoder_copy(const struct architecture *architecture, const struct encoder_rows *out, size_t to,
                  const struct encoder_rows *in, size_t from);

#endif
