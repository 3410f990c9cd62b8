/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/catalog.h"

/* The store sends vectors item by item; those of one item wait here until the next item begins. */
struct loader {
    struct catalog *catalog;
    struct status *st;
    bool ok; /* a scan that a callback stops is no failure of the store */
    size_t space_count;
    struct store_space spaces[CATALOG_SPACES_MAX + 1]; /* one more, so that too many are noticed */
    uint32_t item_id;                                  /* whose vectors are pending */
    size_t pending_count;
    struct catalog_feature *pending[CATALOG_SPACES_MAX];
};

static bool fail_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "item catalogue: out of memory");
}

static bool load_spaces(struct loader *loader, struct store *store)
{
    if (!store_space_list(store, loader->spaces, CATALOG_SPACES_MAX + 1, &loader->space_count, loader->st))
        return false;
    for (size_t i = 0; i < loader->space_count; i++) {
        if (!catalog_add_space(loader->catalog, &loader->spaces[i], loader->st))
            return false;
    }
    return true;
}

/* Takes over the record's reference. */
static bool publish(struct loader *loader, struct catalog_item *record)
{
    return record == NULL ? fail_memory(loader->st) : catalog_publish(loader->catalog, record, loader->st);
}

static bool load_item(void *context, const struct store_item *item)
{
    struct loader *loader = context;
    loader->ok = publish(loader, catalog_item_new(item, NULL, NULL, 0));
    return loader->ok;
}

static void drop_pending(struct loader *loader)
{
    for (size_t i = 0; i < loader->pending_count; i++)
        catalog_feature_release(loader->pending[i]);
    loader->pending_count = 0;
}

/* Give the pending vectors to their item. */
static bool flush_pending(struct loader *loader)
{
    if (loader->pending_count == 0)
        return true;
    struct catalog_item *old = catalog_get(loader->catalog, loader->item_id);
    if (old == NULL) {
        return status_fail(loader->st, STATUS_DATA_LOSS, "STORE_CORRUPT", "vectors of item number %u: no such item",
                           (unsigned)loader->item_id);
    }
    struct catalog_item *record = catalog_item_new(&old->item, old, loader->pending, loader->pending_count);
    loader->pending_count = 0; /* their references went to the record */
    catalog_item_release(old);
    return publish(loader, record);
}

static bool space_fits(const struct loader *loader, uint32_t space_id, int32_t dimension)
{
    for (size_t i = 0; i < loader->space_count; i++) {
        if (loader->spaces[i].space_id == space_id)
            return loader->spaces[i].dimension == dimension && dimension > 0;
    }
    return false;
}

static bool add_pending(struct loader *loader, uint32_t item_id, uint32_t space_id, const float *values,
                        int32_t dimension)
{
    if (item_id != loader->item_id && !flush_pending(loader))
        return false;
    loader->item_id = item_id;
    if (!space_fits(loader, space_id, dimension) || loader->pending_count == CATALOG_SPACES_MAX) {
        return status_fail(loader->st, STATUS_DATA_LOSS, "STORE_CORRUPT",
                           "vector of item number %u: no space %u of dimension %d", (unsigned)item_id,
                           (unsigned)space_id, (int)dimension);
    }
    struct catalog_feature *feature = catalog_feature_new(space_id, dimension, values);
    if (feature == NULL)
        return fail_memory(loader->st);
    loader->pending[loader->pending_count++] = feature;
    return true;
}

static bool load_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    struct loader *loader = context;
    loader->ok = add_pending(loader, item_id, space_id, values, dimension);
    return loader->ok;
}

bool catalog_load_past(struct catalog *catalog, struct store *store, int64_t position, struct status *st)
{
    struct loader loader = {.catalog = catalog, .st = st, .ok = true};
    if (!store_read_begin(store, st))
        return false;
    bool ok = load_spaces(&loader, store) && store_past_items(store, position, load_item, &loader, st) && loader.ok &&
              store_past_features(store, position, load_feature, &loader, st) && loader.ok && flush_pending(&loader);
    drop_pending(&loader);
    store_read_end(store);
    return ok;
}

bool catalog_load(struct catalog *catalog, struct store *store, struct status *st)
{
    struct loader loader = {.catalog = catalog, .st = st, .ok = true};
    /* Without one view, a vector could be newer than its item's position. */
    if (!store_read_begin(store, st))
        return false;
    bool ok = load_spaces(&loader, store) && store_item_scan(store, load_item, &loader, st) && loader.ok &&
              store_feature_scan(store, load_feature, &loader, st) && loader.ok && flush_pending(&loader);
    drop_pending(&loader);
    store_read_end(store);
    return ok;
}
