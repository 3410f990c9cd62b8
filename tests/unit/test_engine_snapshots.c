/* SPDX-License-Identifier: Apache-2.0
 *
 * What changes under an engine that answers: items, the snapshot that is compacted or built anew, the default model. */
#include "models/default_model.h"
#include "tests/unit/engine_rig.h"

TestSuite(engine_snapshots, .init = set_up, .fini = tear_down);

/* ---- no snapshot yet */

Test(engine_snapshots, without_a_model_it_is_loading)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    pthread_mutex_lock(&engine->apply_lock);
    engine_set_snapshot(engine, NULL);
    pthread_mutex_unlock(&engine->apply_lock);
    refused(&request, STATUS_UNAVAILABLE, "LOADING", "");
}

/* ---- changes */

/* A change of an item in the store; what the writer makes of it goes to `record`. Inside a transaction. */
static struct catalog_item *change_item(int number, int generation, bool available)
{
    struct catalog_item *old = catalog_get(rigs[0].catalog, (uint32_t)number);
    struct catalog_feature *changed[2] = {NULL, NULL};
    struct store_item item = {
        .title = "another title", .categories_json = "[]", .attributes_json = "{}", .expires_ms = INT64_MAX};
    float values[64];
    char name[16];
    item_name(name, number);
    item.item_id = old == NULL ? 0 : (uint32_t)number;
    item.name = name;
    item.available = available;
    OK(store_item_put(writer, &item, NOW, &st));
    cr_assert_eq(item.item_id, (uint32_t)number);
    const struct store_space *spaces[] = {&text, &image};
    for (int i = 0; i < 2; i++) {
        make_vector(values, spaces[i]->dimension, number + generation * 1000);
        OK(store_feature_put(writer, item.item_id, spaces[i], values, NOW, &item.position, &st));
        changed[i] = catalog_feature_new(spaces[i]->space_id, spaces[i]->dimension, values);
    }
    struct catalog_item *record = catalog_item_new(&item, old, changed, 2);
    cr_assert_not_null(record);
    catalog_item_release(old);
    return record;
}

/* Change `count` items from `first` on in the store and in rigs[0]. */
static void change_items(int first, int count, int generation, bool available)
{
    struct catalog_item *records[64];
    begin();
    for (int i = 0; i < count; i++)
        records[i] = change_item(first + i, generation, available);
    int64_t position = commit();
    OK(engine_apply_items(engine, records, (size_t)count, position, &rigs[0].arena, &st));
    engine->committed = position;
}

Test(engine_snapshots, a_change_shows_in_the_next_answer)
{
    open_shop(SHOP, true);
    struct engine_answer before = recommend(&rigs[0], "user-1", SHOP);
    change_items(10, 5, 1, false);
    struct engine_answer hidden = recommend(&rigs[0], "user-1", SHOP);
    expect_in_order(&hidden, SHOP - 5);
    const char *items[] = {named(12), named(20)};
    struct engine_request request = make_request(ENGINE_RANK, "user-1", 0);
    request.items = items;
    request.item_count = 2;
    struct engine_answer ranked = ask(&rigs[0], &request);
    cr_assert_eq(ranked.count, 1);
    cr_assert_eq(ranked.unknown_count, 0, "hidden is not unknown");
    change_items(SHOP + 1, 3, 0, true); /* new ones */
    change_items(10, 5, 2, true);
    struct engine_answer after = recommend(&rigs[0], "user-1", 2 * SHOP);
    expect_in_order(&after, SHOP + 3);
    cr_assert(lists(&after, named(12)) && lists(&after, named(SHOP + 3)));
    for (size_t i = 0; i < after.count; i++)
        if (after.items[i].item->item.item_id == 12)
            cr_assert_str_eq(after.items[i].item->item.title, "another title");
    expect_in_order(&before, SHOP); /* an answer keeps what it was made of */
    for (size_t i = 0; i < before.count; i++)
        cr_assert_str_eq(before.items[i].item->item.title, "a title");
    engine_answer_close(&before);
    engine_answer_close(&hidden);
    engine_answer_close(&ranked);
    engine_answer_close(&after);
}

Test(engine_snapshots, compaction_leaves_lists_equal)
{
    open_shop(SHOP, true);
    for (int generation = 1; generation <= 4; generation++) {
        change_items(generation * 40, 60, generation, generation != 2);
        change_items(SHOP + 1 + 10 * (generation - 1), 10, 0, true);
    }
    set_counts(&rigs[0], engine->committed);
    size_t rows, dead;
    snapshot_size(engine->snapshot, &rows, &dead);
    cr_assert_eq(rows, SHOP + 280);
    struct engine_answer before[USERS];
    for (int user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%d", user);
        before[user] = recommend(&rigs[0], name, 100);
    }
    open_rig(&rigs[1], engine->snapshot->model);
    expect_equal_engines(&rigs[0], &rigs[1], "with deltas");
    compact();
    snapshot_size(engine->snapshot, &rows, &dead);
    cr_assert_eq(rows, SHOP + 40);
    expect_equal_engines(&rigs[0], &rigs[1], "compacted");
    for (int user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%d", user);
        struct engine_answer after = recommend(&rigs[0], name, 100);
        expect_equal(&before[user], &after, name);
        cr_assert_str_eq(before[user].catalogue, after.catalogue);
        engine_answer_close(&before[user]);
        engine_answer_close(&after);
    }
}

static atomic_bool stop_compacting;
static atomic_int compactions;

static void *compact_again_and_again(void *unused)
{
    struct arena arena;
    (void)unused;
    arena_init(&arena, (size_t)64 << 20);
    while (!atomic_load(&stop_compacting)) {
        struct status st = STATUS_INIT;
        if (engine_install_model(engine, NULL, &arena, &st))
            atomic_fetch_add(&compactions, 1);
    }
    arena_close(&arena);
    return NULL;
}

Test(engine_snapshots, compaction_while_items_change_leaves_lists_equal)
{
    pthread_t thread;
    open_shop(SHOP, true);
    cr_assert_eq(pthread_create(&thread, NULL, compact_again_and_again, NULL), 0);
    for (int round = 0; round < 60 || atomic_load(&compactions) < 5; round++)
        change_items(1 + (round * 37) % 250, 1 + round % 50, round, round % 3 > 0);
    atomic_store(&stop_compacting, true);
    pthread_join(thread, NULL);
    set_counts(&rigs[0], engine->committed);
    open_rig(&rigs[1], engine->snapshot->model);
    expect_equal_engines(&rigs[0], &rigs[1], "compacted all the time");
}

/* Where the snapshot has no room, a new one takes its place, and nobody notices. */
Test(engine_snapshots, a_full_snapshot_is_built_anew)
{
    enum { BATCH = 9000 };
    open_shop(SHOP, false);
    struct engine_answer before = recommend(&rigs[0], "user-1", 100);
    struct catalog_item *known[SHOP], **items = calloc(BATCH, sizeof(struct catalog_item *));
    for (uint32_t i = 0; i < SHOP; i++)
        known[i] = catalog_get(rigs[0].catalog, i + 1);
    size_t rows = 0, dead, most = 0;
    for (size_t done = 0; done < 2 * (size_t)SNAPSHOT_SEGMENTS_MAX * SNAPSHOT_DELTA_ROWS; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++)
            items[i] = catalog_item_acquire(known[(done + i) % SHOP]);
        OK(engine_apply_items(engine, items, BATCH, catalog_position(rigs[0].catalog), &rigs[0].arena, &st));
        snapshot_size(engine->snapshot, &rows, &dead);
        most = rows > most ? rows : most;
    }
    cr_assert_gt(most, (size_t)(SNAPSHOT_SEGMENTS_MAX - 4) * SNAPSHOT_DELTA_ROWS);
    cr_assert_leq(most, SHOP + (size_t)(SNAPSHOT_SEGMENTS_MAX - 1) * SNAPSHOT_DELTA_ROWS);
    compact();
    struct engine_answer after = recommend(&rigs[0], "user-1", 100);
    expect_equal(&before, &after, "full");
    engine_answer_close(&before);
    engine_answer_close(&after);
    for (uint32_t i = 0; i < SHOP; i++) {
        cr_assert_eq(known[i]->references, 3, "the catalogue, the snapshot and we, not %d", known[i]->references);
        catalog_item_release(known[i]);
    }
    free(items);
}

/* ---- the default model */

Test(engine_snapshots, the_default_model_is_due_when_the_shop_has_grown)
{
    open_shop(SHOP, true);
    struct model *model = engine->snapshot->model;
    cr_assert_str_eq(model->name, DEFAULT_MODEL_NAME);
    cr_assert_eq(model->architecture.view_count, 2);
    cr_assert_not(refit_is_due(engine, model));
    change_items(SHOP + 1, 60, 0, true);
    cr_assert_not(refit_is_due(engine, model), "360 are fewer than 384");
    for (int i = 1; i < 4; i++)
        change_items(SHOP + 1 + 60 * i, 60, 0, true);
    cr_assert(refit_is_due(engine, model));
    open_rig(&rigs[1], NULL);
    cr_assert_str_neq(rigs[1].engine.snapshot->model->version, model->version);
    cr_assert_not(refit_is_due(&rigs[1].engine, rigs[1].engine.snapshot->model));
    strcpy(model->name, "trained"); /* one that somebody trained is never replaced */
    cr_assert_not(refit_is_due(engine, model));
}
