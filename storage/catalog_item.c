/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A new holder already has the record by somebody else's reference, so the increment orders nothing; the last
 * release must see all that the others did. */
static void reference_add(atomic_int *references)
{
    atomic_fetch_add_explicit(references, 1, memory_order_relaxed);
}

static bool reference_drop(atomic_int *references)
{
    int before = atomic_fetch_sub_explicit(references, 1, memory_order_acq_rel);
    assert(before > 0);
    return before == 1;
}

struct catalog_feature *catalog_feature_new(uint32_t space_id, int32_t dimension, const float *values)
{
    assert(space_id != 0 && dimension > 0);
    size_t values_bytes, size_bytes;
    if (__builtin_mul_overflow((size_t)dimension, sizeof values[0], &values_bytes) ||
        __builtin_add_overflow(values_bytes, sizeof(struct catalog_feature), &size_bytes))
        return NULL;
    struct catalog_feature *feature = malloc(size_bytes);
    if (feature == NULL)
        return NULL;
    atomic_init(&feature->references, 1);
    feature->space_id = space_id;
    feature->dimension = dimension;
    memcpy(feature->values, values, values_bytes);
    return feature;
}

void catalog_feature_release(struct catalog_feature *feature)
{
    if (feature != NULL && reference_drop(&feature->references))
        free(feature);
}

static size_t text_bytes(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static const char *copy_text(char **to, const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = *to;
    size_t size_bytes = strlen(text) + 1;
    memcpy(copy, text, size_bytes);
    *to += size_bytes;
    return copy;
}

/* Record, vector pointers and texts are one block: a million items are a million blocks, not five. */
static struct catalog_item *item_alloc(const struct store_item *item, size_t feature_capacity)
{
    size_t head_bytes;
    if (__builtin_mul_overflow(feature_capacity, sizeof(struct catalog_feature *), &head_bytes) ||
        __builtin_add_overflow(head_bytes, sizeof(struct catalog_item), &head_bytes))
        return NULL;
    size_t texts_bytes = text_bytes(item->name) + text_bytes(item->title) + text_bytes(item->categories_json) +
                         text_bytes(item->attributes_json);
    struct catalog_item *record = malloc(head_bytes + texts_bytes);
    if (record == NULL)
        return NULL;
    atomic_init(&record->references, 1);
    record->feature_count = 0;
    record->item = *item;
    char *texts = (char *)record + head_bytes;
    record->item.name = copy_text(&texts, item->name);
    record->item.title = copy_text(&texts, item->title);
    record->item.categories_json = copy_text(&texts, item->categories_json);
    record->item.attributes_json = copy_text(&texts, item->attributes_json);
    return record;
}

/* Takes over the reference; the record must have room. */
static void item_put_feature(struct catalog_item *record, struct catalog_feature *feature)
{
    size_t at = record->feature_count;
    while (at > 0 && record->features[at - 1]->space_id > feature->space_id)
        at--;
    if (at > 0 && record->features[at - 1]->space_id == feature->space_id) {
        catalog_feature_release(record->features[at - 1]);
        record->features[at - 1] = feature;
        return;
    }
    memmove(&record->features[at + 1], &record->features[at], (record->feature_count - at) * sizeof(feature));
    record->features[at] = feature;
    record->feature_count++;
}

struct catalog_item *catalog_item_new(const struct store_item *item, const struct catalog_item *old,
                                      struct catalog_feature *const *changed, size_t changed_count)
{
    size_t old_count = old == NULL ? 0 : old->feature_count;
    struct catalog_item *record = item_alloc(item, old_count + changed_count);
    if (record == NULL) {
        for (size_t i = 0; i < changed_count; i++)
            catalog_feature_release(changed[i]);
        return NULL;
    }
    for (size_t i = 0; i < old_count; i++) {
        reference_add(&old->features[i]->references);
        item_put_feature(record, old->features[i]);
    }
    for (size_t i = 0; i < changed_count; i++)
        item_put_feature(record, changed[i]);
    return record;
}

struct catalog_item *catalog_item_acquire(struct catalog_item *item)
{
    reference_add(&item->references);
    return item;
}

void catalog_item_release(struct catalog_item *item)
{
    if (item == NULL || !reference_drop(&item->references))
        return;
    for (size_t i = 0; i < item->feature_count; i++)
        catalog_feature_release(item->features[i]);
    free(item);
}

const struct catalog_feature *catalog_item_feature(const struct catalog_item *item, uint32_t space_id)
{
    for (size_t i = 0; i < item->feature_count; i++) {
        if (item->features[i]->space_id == space_id)
            return item->features[i];
    }
    return NULL;
}
