/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/catalog.h"
#include "tests/unit/fake_store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT  1
#define IMAGE 2

static const struct store_space TEXT_SPACE = {
    .space_id = TEXT, .dimension = 2, .modality = "text", .encoder = "words@1"};
static const struct store_space IMAGE_SPACE = {
    .space_id = IMAGE, .dimension = 3, .modality = "image", .encoder = "pixels@2"};

static struct catalog *catalog_with_spaces(void)
{
    struct catalog *catalog = catalog_new();
    cr_assert_not_null(catalog);
    cr_assert(catalog_add_space(catalog, &TEXT_SPACE, NULL));
    cr_assert(catalog_add_space(catalog, &IMAGE_SPACE, NULL));
    return catalog;
}

static struct store_item plain_item(uint32_t item_id, const char *name, int64_t position)
{
    return (struct store_item){.item_id = item_id,
                               .name = name,
                               .title = "a title",
                               .categories_json = "[]",
                               .attributes_json = "{}",
                               .available = true,
                               .expires_ms = INT64_MAX,
                               .position = position};
}

static struct catalog_feature *feature(uint32_t space_id, float value)
{
    const float values[3] = {value, value, value};
    struct catalog_feature *made = catalog_feature_new(space_id, space_id == TEXT ? 2 : 3, values);
    cr_assert_not_null(made);
    return made;
}

/* Publish an item that keeps the vectors it has and gets `added` (NULL: none). */
static void publish(struct catalog *catalog, const struct store_item *item, struct catalog_feature *added)
{
    struct catalog_item *old = catalog_get(catalog, item->item_id);
    struct catalog_item *record = catalog_item_new(item, old, &added, added != NULL);
    cr_assert_not_null(record);
    catalog_item_release(old);
    cr_assert(catalog_publish(catalog, record, NULL));
}

static void publish_plain(struct catalog *catalog, uint32_t item_id, const char *name, int64_t position)
{
    struct store_item item = plain_item(item_id, name, position);
    publish(catalog, &item, NULL);
}

static uint32_t find(struct catalog *catalog, const char *name)
{
    uint32_t item_id = UINT32_MAX;
    catalog_find(catalog, &name, 1, &item_id);
    return item_id;
}

static size_t space_items(struct catalog *catalog, uint32_t space_id)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(catalog, spaces);
    for (size_t i = 0; i < count; i++) {
        if (spaces[i].space.space_id == space_id)
            return spaces[i].item_count;
    }
    return SIZE_MAX;
}

static void release_all(struct catalog_item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    free(items);
}

Test(catalog, empty)
{
    struct catalog *catalog = catalog_new();
    struct catalog_item **items;
    size_t count;
    int64_t position;
    cr_assert(catalog_collect(catalog, 0, &items, &count, &position));
    cr_expect_eq(count, 0);
    cr_expect_eq(position, 0);
    free(items);
    cr_expect_eq(find(catalog, "a"), 0);
    cr_expect_null(catalog_get(catalog, 0));
    cr_expect_null(catalog_get(catalog, UINT32_MAX));
    cr_expect_eq(catalog_item_count(catalog), 0);
    cr_expect_eq(catalog_largest_id(catalog), 0);
    cr_expect_eq(catalog_page(catalog, UINT32_MAX, true, items, 1), 0);
    catalog_free(catalog);
    catalog_free(NULL);
}

Test(catalog, record_copies_what_it_is_given)
{
    char name[] = "lamp", title[] = "A lamp", categories[] = "[\"light\"]", attributes[] = "{\"w\":40}";
    struct store_item item = plain_item(7, name, 3);
    item.title = title;
    item.categories_json = categories;
    item.attributes_json = attributes;
    item.has_price = true;
    item.price = 12.5;
    struct catalog_item *record = catalog_item_new(&item, NULL, NULL, 0);
    name[0] = title[0] = categories[0] = attributes[0] = '#';
    cr_expect_str_eq(record->item.name, "lamp");
    cr_expect_str_eq(record->item.title, "A lamp");
    cr_expect_str_eq(record->item.categories_json, "[\"light\"]");
    cr_expect_str_eq(record->item.attributes_json, "{\"w\":40}");
    cr_expect_eq(record->item.price, 12.5);
    cr_expect_eq(record->item.position, 3);
    cr_expect_eq(record->feature_count, 0);
    catalog_item_release(record);
}

Test(catalog, record_shares_unchanged_vectors)
{
    struct store_item item = plain_item(1, "a", 1);
    struct catalog_feature *both[] = {feature(IMAGE, 1), feature(TEXT, 2)};
    struct catalog_item *old = catalog_item_new(&item, NULL, both, 2);
    cr_expect_eq(old->features[0], both[1], "vectors are by ascending space");
    cr_expect_eq(old->features[1], both[0]);

    struct catalog_feature *changed = feature(TEXT, 3);
    struct catalog_item *new = catalog_item_new(&item, old, &changed, 1);
    cr_expect_eq(new->feature_count, 2);
    cr_expect_eq(catalog_item_feature(new, IMAGE), both[0]);
    cr_expect_eq(catalog_item_feature(new, TEXT), changed);
    cr_expect_eq(catalog_item_feature(old, TEXT), both[1], "the old record does not change");
    cr_expect_null(catalog_item_feature(new, 3));

    catalog_item_release(old);
    cr_expect_eq(catalog_item_feature(new, IMAGE)->values[2], 1, "a shared vector outlives the old record");
    catalog_item_release(new);
    catalog_item_release(NULL);
}

Test(catalog, later_vector_of_a_space_wins)
{
    struct store_item item = plain_item(1, "a", 1);
    struct catalog_feature *twice[] = {feature(TEXT, 1), feature(IMAGE, 5), feature(TEXT, 2)};
    struct catalog_item *record = catalog_item_new(&item, NULL, twice, 3);
    cr_expect_eq(record->feature_count, 2);
    cr_expect_eq(catalog_item_feature(record, TEXT)->values[0], 2);
    catalog_item_release(record);
}

Test(catalog, publish_find_get)
{
    struct catalog *catalog = catalog_with_spaces();
    publish_plain(catalog, 2, "b", 10);
    publish_plain(catalog, 5000, "far", 11);
    const char *names[] = {"far", "", "b", "B", "c"};
    uint32_t item_ids[5];
    catalog_find(catalog, names, 5, item_ids);
    const uint32_t expected[] = {5000, 0, 2, 0, 0};
    cr_expect_arr_eq(item_ids, expected, sizeof expected);

    struct catalog_item *item = catalog_get(catalog, 2);
    cr_assert_not_null(item);
    cr_expect_str_eq(item->item.name, "b");
    catalog_item_release(item);
    cr_expect_null(catalog_get(catalog, 3), "a gap is no item");
    cr_expect_eq(catalog_largest_id(catalog), 5000);
    cr_expect_eq(catalog_item_count(catalog), 2);
    cr_expect_eq(catalog_position(catalog), 11);
    catalog_free(catalog);
}

Test(catalog, holder_keeps_the_old_record)
{
    struct catalog *catalog = catalog_with_spaces();
    struct store_item item = plain_item(1, "a", 1);
    publish(catalog, &item, feature(TEXT, 1));
    struct catalog_item *held = catalog_get(catalog, 1);
    item.title = "another";
    item.position = 2;
    publish(catalog, &item, feature(TEXT, 2));
    struct catalog_item *current = catalog_get(catalog, 1);
    cr_expect_str_eq(current->item.title, "another");
    catalog_item_release(current);
    catalog_free(catalog);
    cr_expect_str_eq(held->item.title, "a title");
    cr_expect_eq(catalog_item_feature(held, TEXT)->values[0], 1);
    catalog_item_release(held);
}

Test(catalog, counts_follow_deletion_and_revival)
{
    struct catalog *catalog = catalog_with_spaces();
    struct store_item a = plain_item(1, "a", 1), b = plain_item(2, "b", 2);
    publish(catalog, &a, feature(TEXT, 1));
    publish(catalog, &b, feature(TEXT, 1));
    publish(catalog, &b, feature(IMAGE, 1));
    cr_expect_eq(space_items(catalog, TEXT), 2);
    cr_expect_eq(space_items(catalog, IMAGE), 1);

    b.deleted = true;
    publish(catalog, &b, NULL);
    cr_expect_eq(space_items(catalog, TEXT), 1);
    cr_expect_eq(space_items(catalog, IMAGE), 0);
    cr_expect_eq(catalog_item_count(catalog), 1);
    cr_expect_eq(find(catalog, "b"), 2, "deleted items are found");

    b.deleted = false;
    publish(catalog, &b, feature(IMAGE, 2));
    cr_expect_eq(space_items(catalog, TEXT), 2);
    cr_expect_eq(space_items(catalog, IMAGE), 1);
    cr_expect_eq(catalog_item_count(catalog), 2);
    catalog_free(catalog);
}

Test(catalog, collect_what_changed)
{
    struct catalog *catalog = catalog_with_spaces();
    publish_plain(catalog, 3, "c", 10);
    publish_plain(catalog, 1, "a", 11);
    publish_plain(catalog, 2, "b", 12);
    publish_plain(catalog, 3, "c", 13);
    struct catalog_item **items;
    size_t count;
    int64_t position;
    cr_assert(catalog_collect(catalog, 0, &items, &count, &position));
    cr_expect_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(items[i]->item.item_id, i + 1);
    cr_expect_eq(position, 13);
    release_all(items, count);

    cr_assert(catalog_collect(catalog, 11, &items, &count, &position));
    cr_expect_eq(count, 2);
    cr_expect_eq(items[0]->item.item_id, 2);
    cr_expect_eq(items[1]->item.item_id, 3);
    release_all(items, count);

    cr_assert(catalog_collect(catalog, 13, &items, &count, &position));
    cr_expect_eq(count, 0);
    free(items);
    catalog_free(catalog);
}

Test(catalog, page)
{
    struct catalog *catalog = catalog_with_spaces();
    char name[16];
    for (uint32_t id = 1; id <= 10; id++) {
        snprintf(name, sizeof name, "i%u", (unsigned)id);
        struct store_item item = plain_item(id, name, id);
        item.deleted = id % 2 == 0;
        publish(catalog, &item, NULL);
    }
    struct catalog_item *items[4];
    cr_expect_eq(catalog_page(catalog, 2, false, items, 3), 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(items[i]->item.item_id, 3 + 2 * i);
        catalog_item_release(items[i]);
    }
    cr_expect_eq(catalog_page(catalog, 7, true, items, 4), 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(items[i]->item.item_id, 8 + i);
        catalog_item_release(items[i]);
    }
    cr_expect_eq(catalog_page(catalog, 10, true, items, 4), 0);
    catalog_free(catalog);
}

Test(catalog, spaces)
{
    struct catalog *catalog = catalog_with_spaces();
    struct store_space space = {.space_id = 99};
    cr_expect(catalog_find_space(catalog, "image", "pixels@2", &space));
    cr_expect_eq(space.space_id, IMAGE);
    cr_expect_not(catalog_find_space(catalog, "image", "words@1", &space));
    cr_expect_eq(space.space_id, IMAGE, "not written where there is none");

    publish(catalog, &(struct store_item){.item_id = 1, .name = "a"}, feature(TEXT, 1));
    cr_expect(catalog_add_space(catalog, &TEXT_SPACE, NULL));
    cr_expect_eq(space_items(catalog, TEXT), 1, "a space that is known keeps its count");

    struct status st = STATUS_INIT;
    space = TEXT_SPACE;
    for (space.space_id = 3; space.space_id <= CATALOG_SPACES_MAX; space.space_id++)
        cr_assert(catalog_add_space(catalog, &space, &st));
    cr_expect_not(catalog_add_space(catalog, &space, &st));
    cr_expect_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(st.reason, "TOO_MANY_SPACES");
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    cr_expect_eq(catalog_spaces(catalog, spaces), CATALOG_SPACES_MAX);
    catalog_free(catalog);
}

static const float VALUES[3] = {1, 2, 3};

Test(catalog, load)
{
    const struct store_space spaces[] = {TEXT_SPACE, IMAGE_SPACE};
    struct store_item items[] = {plain_item(1, "a", 5), plain_item(2, "b", 9), plain_item(4, "d", 7)};
    items[2].deleted = true;
    const struct fake_feature features[] = {{1, TEXT, 2, VALUES}, {1, IMAGE, 3, VALUES}, {4, TEXT, 2, VALUES + 1}};
    struct store *store = fake_store_new();
    fake_store_set_catalog(store, &(struct fake_catalog){spaces, items, features, 2, 3, 3});
    struct catalog *catalog = catalog_new();
    struct status st = STATUS_INIT;
    cr_assert(catalog_load(catalog, store, &st), "%s", st.message);
    cr_expect_eq(fake_store_views(store), 0);
    cr_expect_eq(catalog_position(catalog), 9);
    cr_expect_eq(catalog_item_count(catalog), 2);
    cr_expect_eq(space_items(catalog, TEXT), 1);
    struct catalog_item *item = catalog_get(catalog, 1);
    cr_expect_eq(item->feature_count, 2);
    cr_expect_eq(catalog_item_feature(item, IMAGE)->values[2], 3);
    catalog_item_release(item);
    item = catalog_get(catalog, 4);
    cr_expect_eq(catalog_item_feature(item, TEXT)->values[0], 2, "the last item has its vectors too");
    catalog_item_release(item);
    catalog_free(catalog);
    fake_store_free(store);
}

Test(catalog, load_refuses_damage)
{
    const struct {
        const char *what;
        struct fake_feature feature;
    } cases[] = {
        {"no such item", {3, TEXT, 2, VALUES}},
        {"no such space", {1, 7, 2, VALUES}},
        {"wrong dimension", {1, TEXT, 3, VALUES}},
    };
    const struct store_space spaces[] = {TEXT_SPACE};
    struct store_item items[] = {plain_item(1, "a", 5)};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store *store = fake_store_new();
        fake_store_set_catalog(store, &(struct fake_catalog){spaces, items, &cases[i].feature, 1, 1, 1});
        struct catalog *catalog = catalog_new();
        struct status st = STATUS_INIT;
        cr_expect_not(catalog_load(catalog, store, &st), "%s", cases[i].what);
        cr_expect_eq(st.code, STATUS_DATA_LOSS, "%s", cases[i].what);
        cr_expect_str_eq(st.reason, "STORE_CORRUPT");
        cr_expect_eq(fake_store_views(store), 0);
        catalog_free(catalog);
        fake_store_free(store);
    }
}

Test(catalog, load_passes_on_failures)
{
    struct store *store = fake_store_new();
    fake_store_fail(store, true);
    struct catalog *catalog = catalog_new();
    struct status st = STATUS_INIT;
    cr_expect_not(catalog_load(catalog, store, &st));
    cr_expect_str_eq(st.reason, "STORE_IO");
    fake_store_fail(store, false);

    struct store_space *spaces = calloc(CATALOG_SPACES_MAX + 1, sizeof *spaces);
    for (uint32_t i = 0; i <= CATALOG_SPACES_MAX; i++)
        spaces[i].space_id = i + 1;
    fake_store_set_catalog(store, &(struct fake_catalog){.spaces = spaces, .space_count = CATALOG_SPACES_MAX + 1});
    cr_expect_not(catalog_load(catalog, store, &st));
    cr_expect_str_eq(st.reason, "TOO_MANY_SPACES");
    free(spaces);
    catalog_free(catalog);
    fake_store_free(store);
}

#define MODEL_ITEMS 300

struct model_item {
    int64_t position; /* 0: not published */
    bool deleted, has_text;
    float text;
};

static void check_model(struct catalog *catalog, const struct model_item *model, int64_t after, unsigned seed)
{
    size_t expected = 0, alive = 0, with_text = 0, count;
    struct catalog_item **items;
    int64_t position;
    cr_assert(catalog_collect(catalog, after, &items, &count, &position));
    for (uint32_t id = 1; id <= MODEL_ITEMS; id++) {
        alive += model[id].position != 0 && !model[id].deleted;
        with_text += model[id].position != 0 && !model[id].deleted && model[id].has_text;
        if (model[id].position == 0 || model[id].position <= after)
            continue;
        cr_assert_lt(expected, count, "seed %u", seed);
        struct catalog_item *item = items[expected++];
        const struct catalog_feature *text = catalog_item_feature(item, TEXT);
        cr_assert_eq(item->item.item_id, id, "seed %u", seed);
        cr_assert_eq(item->item.position, model[id].position, "seed %u", seed);
        cr_assert_eq(text != NULL, model[id].has_text, "seed %u", seed);
        cr_assert(text == NULL || text->values[1] == model[id].text, "seed %u", seed);
    }
    cr_assert_eq(count, expected, "seed %u", seed);
    cr_assert_eq(catalog_item_count(catalog), alive, "seed %u", seed);
    cr_assert_eq(space_items(catalog, TEXT), with_text, "seed %u", seed);
    release_all(items, count);
}

Test(catalog, random_changes_against_a_model)
{
    unsigned seed = (unsigned)time(NULL), state = seed;
    fprintf(stderr, "catalog: seed %u\n", seed);
    struct model_item model[MODEL_ITEMS + 1] = {{0}};
    struct catalog *catalog = catalog_with_spaces();
    for (int64_t position = 1; position <= 5000; position++) {
        uint32_t id = 1 + (uint32_t)(rand_r(&state) % MODEL_ITEMS);
        char name[16];
        snprintf(name, sizeof name, "item-%u", (unsigned)id);
        struct store_item item = plain_item(id, name, position);
        item.deleted = rand_r(&state) % 4 == 0;
        model[id].position = position;
        model[id].deleted = item.deleted;
        if (rand_r(&state) % 3 == 0) {
            model[id].has_text = true;
            model[id].text = (float)position;
            publish(catalog, &item, feature(TEXT, (float)position));
        } else {
            publish(catalog, &item, NULL);
        }
        cr_assert_eq(find(catalog, name), id, "seed %u", seed);
        if (position % 100 == 0)
            check_model(catalog, model, rand_r(&state) % position, seed);
    }
    check_model(catalog, model, 0, seed);
    catalog_free(catalog);
}
