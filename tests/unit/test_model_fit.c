/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/model_fit.h"

#include "models/matrix.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NOW   1700000000000
#define ITEMS 40

static struct catalog *catalog;
static struct arena arena;

static void add_space(uint32_t space_id, const char *modality, const char *encoder, int32_t dimension)
{
    struct store_space space = {.space_id = space_id, .dimension = dimension};
    snprintf(space.modality, sizeof space.modality, "%s", modality);
    snprintf(space.encoder, sizeof space.encoder, "%s", encoder);
    cr_assert(catalog_add_space(catalog, &space, NULL));
}

static void set_up(void)
{
    matrix_init();
    catalog = catalog_new();
    cr_assert_not_null(catalog);
    arena_init(&arena, (size_t)64 << 20);
}

static void tear_down(void)
{
    arena_close(&arena);
    catalog_free(catalog);
}

TestSuite(model_fit, .init = set_up, .fini = tear_down);

/* the spaces that a model reads, as the shop has them */
static void add_spaces_of(const struct model *model)
{
    for (int v = 0; v < model->architecture.view_count; v++) {
        const struct view *view = &model->architecture.views[v];
        if (strcmp(view->modality, "id") != 0)
            add_space((uint32_t)v + 1, view->modality, view->encoder, view->dimension);
    }
}

static void refused(const struct model *model, const char *words)
{
    struct status st = STATUS_INIT;
    cr_assert_not(model_fit_shop(model, catalog, &st));
    cr_expect_eq(st.code, STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(st.reason, "MODEL_MISMATCH");
    cr_expect_not_null(strstr(st.message, words), "'%s' is not in '%s'", words, st.message);
}

Test(model_fit, a_model_reads_what_the_shop_has)
{
    struct status st = STATUS_INIT;
    struct model *model = random_model(RANDOM_MODEL_ID, 1);
    add_spaces_of(model);
    cr_expect(model_fit_shop(model, catalog, &st), "%s", st.message);
    model_release(model);
}

Test(model_fit, a_difference_is_named)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1);
    struct view *view = &model->architecture.views[0];
    char words[160];
    snprintf(words, sizeof words, "reads '%s' of encoder '%s', the shop has no vectors of '%s'", view->modality,
             view->encoder, view->modality);
    refused(model, words);
    add_space(1, view->modality, "other@7", view->dimension);
    snprintf(words, sizeof words, "the shop has '%s' of 'other@7'", view->modality);
    refused(model, words);
    add_space(2, view->modality, view->encoder, view->dimension + 3);
    snprintf(words, sizeof words, "with %d numbers, the shop has %d", view->dimension, view->dimension + 3);
    refused(model, words);
    model_release(model);
}

Test(model_fit, memory_is_compared_and_both_numbers_told)
{
    struct status st = STATUS_INIT;
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 1);
    uint64_t needed = model_fit_bytes(model, catalog);
    cr_expect_gt(needed, model->params.total * sizeof(float));
    cr_expect(model_fit_memory("m-1", 1000, 1000, &st));
    cr_expect_not(model_fit_memory("m-1", 1001, 1000, &st));
    cr_expect_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_not_null(strstr(st.message, "1001"), "%s", st.message);
    cr_expect_not_null(strstr(st.message, "1000"), "%s", st.message);
    cr_expect_gt(model_fit_available(0), 0);
    cr_expect_eq(model_fit_available(1), 1);
    model_release(model);
}

Test(model_fit, the_estimate_is_of_rows_and_items)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_CORRECTED);
    uint64_t few = snapshot_bytes(&a, 1000, 1000), many = snapshot_bytes(&a, 2000, 1000);
    cr_expect_geq(many - few, 1000 * encoder_row_floats(&a) * sizeof(float));
    cr_expect_leq(many - few, 1000 * (encoder_row_floats(&a) * sizeof(float) + 64));
}

/* ---- scores */

static struct snapshot *build(struct model *model)
{
    struct catalog_item *items[ITEMS];
    struct random_items shop;
    struct status st = STATUS_INIT;
    random_items_init(&shop, model, ITEMS, 0, 3);
    add_spaces_of(model);
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct catalog_feature *features[ARCHITECTURE_VIEWS_MAX];
        size_t count = 0;
        for (int v = 0; v < model->architecture.view_count; v++)
            if (shop.items[i].vector[v] != NULL)
                features[count++] = catalog_feature_new((uint32_t)v + 1, model->architecture.views[v].dimension,
                                                        shop.items[i].vector[v]);
        struct store_item item = {.item_id = i + 1,
                                  .name = shop.names[i],
                                  .title = "",
                                  .categories_json = "[]",
                                  .attributes_json = "{}",
                                  .available = true,
                                  .expires_ms = INT64_MAX};
        items[i] = catalog_item_new(&item, NULL, features, count);
        cr_assert_not_null(items[i]);
        cr_assert(catalog_publish(catalog, catalog_item_acquire(items[i]), NULL));
    }
    struct snapshot *snapshot = snapshot_build(model, catalog, items, ITEMS, 1, &arena, &st);
    cr_assert_not_null(snapshot, "%s", st.message);
    for (size_t i = 0; i < ITEMS; i++)
        catalog_item_release(items[i]);
    random_items_close(&shop);
    return snapshot;
}

static struct counts_view *no_counts(void)
{
    struct counts *counts = counts_new();
    cr_assert_not_null(counts);
    struct counts_view *view = counts_publish(counts, 0);
    cr_assert_not_null(view);
    counts_free(counts);
    return view;
}

Test(model_fit, scores_of_an_honest_model_are_numbers)
{
    struct status st = STATUS_INIT;
    struct model *model = random_model(RANDOM_MODEL_ID, 5);
    struct counts_view *counts = no_counts();
    struct snapshot *snapshot = build(model);
    size_t used = arena_used(&arena);
    cr_expect(model_fit_scores(snapshot, counts, NOW, &arena, &st), "%s", st.message);
    cr_expect_eq(arena_used(&arena), used);
    snapshot_release(snapshot);
    counts_view_release(counts);
    model_release(model);
}

Test(model_fit, finite_numbers_that_multiply_to_infinity_are_refused)
{
    struct status st = STATUS_INIT;
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 5);
    for (int i = 0; i < model->architecture.stream_count; i++)
        model->weights.stream[i] = 3e38f;
    for (int i = 0; i < model->architecture.behaviour_count; i++)
        model->weights.value[i] = 1e30f;
    struct counts_view *counts = no_counts();
    struct snapshot *snapshot = build(model);
    cr_expect_not(model_fit_scores(snapshot, counts, NOW, &arena, &st));
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(st.reason, "BAD_SCORES");
    snapshot_release(snapshot);
    counts_view_release(counts);
    model_release(model);
}

Test(model_fit, a_model_whose_requests_do_not_fit_is_refused)
{
    struct status st = STATUS_INIT;
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 5);
    struct counts_view *counts = no_counts();
    struct snapshot *snapshot = build(model);
    struct arena small = {0};
    arena_init(&small, 256);
    cr_expect_not(model_fit_scores(snapshot, counts, NOW, &small, &st));
    cr_expect_str_eq(st.reason, "MODEL_TOO_LARGE");
    arena_close(&small);
    snapshot_release(snapshot);
    counts_view_release(counts);
    model_release(model);
}
