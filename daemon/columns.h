/* SPDX-License-Identifier: Apache-2.0
 *
 * What the shop says about its items, by row of a snapshot, in the form that filters read: per attribute a column of numbers and one of value sets. Equal sets of values
 * (["red", "blue"]) are stored once and have one number, so that a row is 4 bytes whatever it says, and a condition on values becomes a bit per set, decided once
 * before any row is looked at.
 *
 * Fields: "category" (categories), "price", "available", and every attribute that an item has, under its own name, except where that is one of these three. A text,
 * a flag ("true", "false") and each text of a list is a value; a number is both a value ("42", as printed with %.15g) and a number. "price" is only a number.
 * A shop may use COLUMNS_FIELDS_MAX fields; attributes that come later are not in columns.
 *
 * One thread writes (snapshot_build, snapshot_append). Any thread reads rows that were published to it under the snapshot's lock; names and values are found under
 * a lock of their own. */
#ifndef RECSYS_DAEMON_COLUMNS_H
#define RECSYS_DAEMON_COLUMNS_H

#include "models/arena.h"
#include "storage/catalog.h"

#define COLUMNS_FIELDS_MAX   128
#define COLUMNS_SEGMENTS_MAX 256 /* = SNAPSHOT_SEGMENTS_MAX */
#define COLUMNS_SET_NONE     0   /* the set of a row that says nothing */

struct columns;

struct columns *columns_new(void);          /* NULL out of memory */
void columns_free(struct columns *columns); /* NULL is fine */

/* Describe one item in row `at` of `segment`, which has `capacity` rows. False out of memory. Attributes that are not well-formed JSON say nothing. */
bool columns_put(struct columns *columns, size_t segment, size_t capacity, size_t at, const struct catalog_item *item);

/* Index of a field, or -1; `nearest` (NULL: nobody asks) is set to the most similar name that there is, or NULL, good as long as the columns. */
int columns_find(struct columns *columns, const char *name, const char **nearest);
const char *columns_name(struct columns *columns, int field);

/* How many sets the field has, COLUMNS_SET_NONE included: a captured number covers every set of rows that were published before. */
size_t columns_set_count(struct columns *columns, int field);

/* Set the bit of every set that has at least one of `values`. bits (set_count / 64 + 1), zeroed by the caller; sets from `set_count` on are passed over. */
void columns_sets_with(struct columns *columns, int field, const char *const *values, size_t count, uint64_t *bits,
                       size_t set_count);

/* The sets of a segment's rows (capacity), or NULL where no row of it says anything; and the numbers, NaN where there is none, or NULL. */
const uint32_t *columns_sets(const struct columns *columns, int field, size_t segment);
const double *columns_numbers(const struct columns *columns, int field, size_t segment);

/* The values of a set as numbers below columns_value_count, each once: pointer good as long as the columns. */
const uint32_t *columns_set_values(struct columns *columns, int field, uint32_t set, size_t *count);
size_t columns_value_count(struct columns *columns, int field);
const char *columns_value(struct columns *columns, int field, uint32_t value);

/* Bytes that all of it takes, about. */
size_t columns_bytes(struct columns *columns);

#endif
