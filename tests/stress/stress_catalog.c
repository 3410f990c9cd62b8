/* SPDX-License-Identifier: Apache-2.0
 *
 * One writer changes items, readers check that every record they get is of one piece: title, price, vector and
 * position carry the number of the same change. For the thread sanitizer: plain main, exit code 1 on failure. */
#include "storage/catalog.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define ITEMS     200
#define READERS   3
#define CHANGES   8000
#define DIMENSION 16

struct stress {
    struct catalog *catalog;
    atomic_int reads, failures;
    atomic_llong published; /* position */
    atomic_bool done;
};

struct reader {
    struct stress *stress;
    unsigned random_state;
    pthread_t thread;
};

static void fail(struct stress *stress, uint32_t item_id, const char *what)
{
    atomic_fetch_add(&stress->failures, 1);
    fprintf(stderr, "stress_catalog: item %u: %s\n", (unsigned)item_id, what);
}

static void check_item(struct stress *stress, const struct catalog_item *item)
{
    const struct store_item *fields = &item->item;
    long long position = fields->position;
    if (strtoll(fields->title, NULL, 10) != position)
        fail(stress, fields->item_id, "title of another change");
    if ((long long)fields->price != position)
        fail(stress, fields->item_id, "price of another change");
    const struct catalog_feature *changed = catalog_item_feature(item, 1);
    const struct catalog_feature *kept = catalog_item_feature(item, 2);
    if (changed == NULL || kept == NULL) {
        fail(stress, fields->item_id, "vector is missing");
        return;
    }
    for (int32_t i = 0; i < DIMENSION; i++) {
        if ((long long)changed->values[i] != position)
            fail(stress, fields->item_id, "vector of another change");
        if ((uint32_t)kept->values[i] != fields->item_id)
            fail(stress, fields->item_id, "unchanged vector is damaged");
    }
}

static void read_one(struct stress *stress, uint32_t item_id)
{
    char name[16];
    snprintf(name, sizeof name, "item-%u", (unsigned)item_id);
    const char *names[] = {"no such item", name};
    uint32_t found[2];
    catalog_find(stress->catalog, names, 2, found);
    if (found[0] != 0 || (found[1] != 0 && found[1] != item_id))
        fail(stress, item_id, "name finds another item");
    struct catalog_item *item = catalog_get(stress->catalog, item_id);
    if (item == NULL && found[1] != 0)
        fail(stress, item_id, "a name without an item");
    if (item != NULL)
        check_item(stress, item);
    catalog_item_release(item);
}

static void read_changed(struct stress *stress, int64_t after)
{
    struct catalog_item **items;
    size_t count;
    int64_t position, published = atomic_load(&stress->published);
    if (!catalog_collect(stress->catalog, after, &items, &count, &position)) {
        fail(stress, 0, "out of memory");
        return;
    }
    bool newest = false;
    for (size_t i = 0; i < count; i++) {
        check_item(stress, items[i]);
        newest = newest || items[i]->item.position == position;
        if (items[i]->item.position > position || items[i]->item.position <= after)
            fail(stress, items[i]->item.item_id, "position out of range");
        if (i > 0 && items[i]->item.item_id <= items[i - 1]->item.item_id)
            fail(stress, items[i]->item.item_id, "out of order");
    }
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    free(items);
    if (position < published || (position > after && !newest))
        fail(stress, 0, "the newest change is missing");
}

static void read_page(struct stress *stress, uint32_t after)
{
    struct catalog_item *items[10];
    size_t count = catalog_page(stress->catalog, after, false, items, 10);
    for (size_t i = 0; i < count; i++) {
        check_item(stress, items[i]);
        if (items[i]->item.deleted || items[i]->item.item_id <= after)
            fail(stress, items[i]->item.item_id, "does not belong to the page");
        catalog_item_release(items[i]);
    }
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    if (catalog_spaces(stress->catalog, spaces) != 2 || spaces[0].item_count != spaces[1].item_count ||
        spaces[0].item_count > ITEMS)
        fail(stress, 0, "counts of the spaces are wrong");
}

static void *read_catalog(void *context)
{
    struct reader *reader = context;
    struct stress *stress = reader->stress;
    while (!atomic_load(&stress->done)) {
        uint32_t item_id = 1 + (uint32_t)rand_r(&reader->random_state) % ITEMS;
        int choice = rand_r(&reader->random_state) % 40;
        if (choice == 0)
            read_changed(stress, 0);
        else if (choice == 1)
            read_changed(stress, 1 + atomic_load(&stress->published) * 9 / 10);
        else if (choice == 2)
            read_page(stress, item_id);
        else
            read_one(stress, item_id);
        atomic_fetch_add(&stress->reads, 1);
    }
    return NULL;
}

static struct catalog_feature *make_feature(uint32_t space_id, float value)
{
    float values[DIMENSION];
    for (int32_t i = 0; i < DIMENSION; i++)
        values[i] = value;
    return catalog_feature_new(space_id, DIMENSION, values);
}

static bool publish(struct stress *stress, uint32_t item_id, int position)
{
    char name[16], title[16];
    snprintf(name, sizeof name, "item-%u", (unsigned)item_id);
    snprintf(title, sizeof title, "%d", position);
    struct store_item item = {.item_id = item_id,
                              .name = name,
                              .title = title,
                              .has_price = true,
                              .price = position,
                              .deleted = position % 7 == 0,
                              .position = position};
    struct catalog_item *old = catalog_get(stress->catalog, item_id);
    struct catalog_feature *changed[] = {make_feature(1, (float)position), NULL};
    if (old == NULL)
        changed[1] = make_feature(2, (float)item_id);
    struct catalog_item *record = catalog_item_new(&item, old, changed, old == NULL ? 2 : 1);
    catalog_item_release(old);
    return record != NULL && catalog_publish(stress->catalog, record, NULL);
}

static void write_catalog(struct stress *stress)
{
    unsigned random_state = 1;
    for (int position = 1; position <= CHANGES; position++) {
        uint32_t item_id = 1 + (uint32_t)rand_r(&random_state) % ITEMS;
        if (!publish(stress, item_id, position))
            fail(stress, item_id, "cannot publish");
        atomic_store(&stress->published, position);
        /* Keep pace with the readers, so that both are at work all the time. */
        while (atomic_load(&stress->reads) < position)
            sched_yield();
    }
    atomic_store(&stress->done, true);
}

int main(void)
{
    static struct stress stress;
    stress.catalog = catalog_new();
    if (stress.catalog == NULL)
        return 1;
    for (uint32_t space_id = 1; space_id <= 2; space_id++) {
        struct store_space space = {.space_id = space_id, .dimension = DIMENSION};
        catalog_add_space(stress.catalog, &space, NULL);
    }
    struct reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.stress = &stress, .random_state = i + 10};
        if (pthread_create(&readers[i].thread, NULL, read_catalog, &readers[i]) != 0)
            abort();
    }
    write_catalog(&stress);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    catalog_free(stress.catalog);
    int failures = atomic_load(&stress.failures);
    printf("stress_catalog: %d reads, %d failures\n", atomic_load(&stress.reads), failures);
    return failures == 0 ? 0 : 1;
}
