/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in memory with the few calls that catalogue and histories make, for their tests: a flat log that is
 * searched and sorted anew for every question, which makes it the naive model too. Any thread may call it. Link it
 * instead of the real one. */
#ifndef RECSYS_TESTS_UNIT_FAKE_STORE_H
#define RECSYS_TESTS_UNIT_FAKE_STORE_H

#include "storage/store.h"

struct store *fake_store_new(void);
void fake_store_free(struct store *store);

/* Commit an event; makes the user where there is none, sets user_id and position. */
void fake_store_append(struct store *store, const char *user, struct store_event *event);

/* Erase a user; of the same name comes another user_id. */
void fake_store_forget(struct store *store, const char *user);

/* How many calls have read users or events. */
int fake_store_reads(struct store *store);

/* From here on reads fail with UNAVAILABLE / STORE_IO. */
void fake_store_fail(struct store *store, bool fail);

/* `hook` is called in every store_event_history and store_user_find, after it read and before it returns; NULL:
 * none. Set it while no other thread reads. */
void fake_store_hook(struct store *store, void (*hook)(void *context), void *context);

struct fake_feature {
    uint32_t item_id, space_id;
    int32_t dimension;
    const float *values;
};

/* What the scans show; the arrays stay the caller's. */
struct fake_catalog {
    const struct store_space *spaces;
    const struct store_item *items;
    const struct fake_feature *features;
    size_t space_count, item_count, feature_count;
};
void fake_store_set_catalog(struct store *store, const struct fake_catalog *catalog);

/* Read views that were begun and not ended. */
int fake_store_views(struct store *store);

#endif
