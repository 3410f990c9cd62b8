/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue in memory: what the shop said about its items, ids, attributes and raw feature vectors. What a
 * model makes of them lives in that model's snapshot, not here.
 *
 * An item record is immutable and counted: a change makes a new record that shares the unchanged vectors and
 * replaces the old one in the catalogue; whoever holds the old one keeps it. One thread (the writer) changes the
 * catalogue; any thread reads. Locks are held for a look-up, never for a request. */
#ifndef RECSYS_STORAGE_CATALOG_H
#define RECSYS_STORAGE_CATALOG_H

#include "proto/status.h"
#include "storage/store.h"

#include <stdatomic.h>

#define CATALOG_SPACES_MAX 64

/* A raw vector, counted. */
struct catalog_feature {
    atomic_int references;
    uint32_t space_id;
    int32_t dimension;
    float values[];
};

/* One item as it was at one moment. */
struct catalog_item {
    atomic_int references;
    struct store_item item; /* its texts belong to the record */
    size_t feature_count;
    struct catalog_feature *features[]; /* by ascending space_id */
};

struct catalog;

struct catalog *catalog_new(void); /* NULL out of memory */
void catalog_free(struct catalog *catalog);

/* Fill from a store: spaces, items, features; catalog_position then is the highest position of any item. Opens a
 * read view of its own, so none may be open on `store`. After a failure the catalogue holds a part and is to be
 * freed. */
bool catalog_load(struct catalog *catalog, struct store *store, struct status *st);

/* The same of a moment of the past: items and vectors as they were at `position` (store_past_items). Modalities that came later are known, without vectors. */
bool catalog_load_past(struct catalog *catalog, struct store *store, int64_t position, struct status *st);

/* The highest position of any change applied: the version of the catalogue. */
int64_t catalog_position(struct catalog *catalog);

/* ---- records */

/* A new record (one reference, the caller's): texts and fields of `item` (copied), the vectors of `old` (shared;
 * NULL: none) with `changed` (`changed_count` vectors, one reference of each is taken over, also on failure)
 * replacing or joining them by space. NULL out of memory. */
struct catalog_item *catalog_item_new(const struct store_item *item, const struct catalog_item *old,
                                      struct catalog_feature *const *changed, size_t changed_count);
struct catalog_item *catalog_item_acquire(struct catalog_item *item);
void catalog_item_release(struct catalog_item *item); /* NULL is fine */

/* A vector with one reference. NULL out of memory. */
struct catalog_feature *catalog_feature_new(uint32_t space_id, int32_t dimension, const float *values);
void catalog_feature_release(struct catalog_feature *feature);

/* The item's vector of a space, or NULL; borrowed from the record. */
const struct catalog_feature *catalog_item_feature(const struct catalog_item *item, uint32_t space_id);

/* ---- changing (writer thread) */

/* Put `item` in the place of the record of the same item_id, which has the same name, or add it. The spaces of its
 * vectors must be known. Takes over the caller's reference, also on failure. False only out of memory. */
bool catalog_publish(struct catalog *catalog, struct catalog_item *item, struct status *st);

/* Make a space known; one that is known is described anew. RESOURCE_EXHAUSTED / TOO_MANY_SPACES. */
bool catalog_add_space(struct catalog *catalog, const struct store_space *space, struct status *st);

/* ---- reading (any thread) */

/* item_ids of `count` names in one go, 0 for those that are not known; deleted items are found. */
void catalog_find(struct catalog *catalog, const char *const *names, size_t count, uint32_t *item_ids);

/* The current record with a reference for the caller, or NULL. */
struct catalog_item *catalog_get(struct catalog *catalog, uint32_t item_id);

/* Every current record with a reference each, by ascending item_id, with the catalogue's position at that moment;
 * the caller releases them and frees the array. `after_position`: only records changed after it (0: all). False
 * only out of memory. */
bool catalog_collect(struct catalog *catalog, int64_t after_position, struct catalog_item ***items, size_t *count,
                     int64_t *position);

/* Up to `capacity` records with item_id > after, referenced, in that order. */
size_t catalog_page(struct catalog *catalog, uint32_t after, bool include_deleted, struct catalog_item **out,
                    size_t capacity);

struct catalog_space {
    struct store_space space;
    size_t item_count; /* items not deleted that have it */
};

/* All spaces; returns how many (at most CATALOG_SPACES_MAX). */
size_t catalog_spaces(struct catalog *catalog, struct catalog_space out[CATALOG_SPACES_MAX]);

/* The space of a modality and encoder. False where there is none. */
bool catalog_find_space(struct catalog *catalog, const char *modality, const char *encoder, struct store_space *space);

/* Items that are not deleted; and the largest item_id. */
size_t catalog_item_count(struct catalog *catalog);
uint32_t catalog_largest_id(struct catalog *catalog);

#endif
