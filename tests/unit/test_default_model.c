/* SPDX-License-Identifier: Apache-2.0 */
#include "models/default_model.h"

#include "models/components.h"
#include "models/encoder.h"
#include "models/random.h"
#include "models/recommender.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 256, TEXT = 96, IMAGE = 40 };

static const struct default_model_behaviour behaviours[] = {{"click", 1}, {"purchase", 3}, {"dislike", -2}};

/* Rows around eight centres, so that there is something to find. */
static float *draw_rows(size_t dimension, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    float *rows = random_model_alloc(ITEMS * dimension, sizeof *rows);
    float *centres = random_model_alloc(8 * dimension, sizeof *centres);
    for (size_t i = 0; i < 8 * dimension; i++)
        centres[i] = 2 * random_normal(&rng);
    for (size_t i = 0; i < ITEMS; i++)
        for (size_t j = 0; j < dimension; j++)
            rows[i * dimension + j] = centres[i % 8 * dimension + j] + random_normal(&rng);
    free(centres);
    return rows;
}

struct shop {
    float *text, *image;
    struct default_model_view views[2];
};

static void shop_init(struct shop *shop)
{
    shop->text = draw_rows(TEXT, 1);
    shop->image = draw_rows(IMAGE, 2);
    shop->views[0] = (struct default_model_view){"text", "bert@1", TEXT, shop->text, ITEMS};
    shop->views[1] = (struct default_model_view){"image", "clip@2", IMAGE, shop->image, ITEMS};
}

static void shop_close(struct shop *shop)
{
    free(shop->text);
    free(shop->image);
}

static struct model *fit(const struct default_model_view *views, size_t count)
{
    struct status st = STATUS_INIT;
    struct model *model = default_model_fit(views, count, behaviours, 3, 100, &st);
    cr_assert_not_null(model, "%s", st.message);
    return model;
}

Test(default_model, sizes_of_the_sample_grow_by_half)
{
    static const size_t cases[][2] = {{0, 0},       {255, 0},     {256, 256},   {257, 256},   {383, 256},  {384, 384},
                                      {575, 384},   {576, 576},   {863, 576},   {864, 864},   {1295, 864}, {1296, 1296},
                                      {1944, 1944}, {2915, 1944}, {2916, 2916}, {4373, 2916}, {4374, 4374}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(default_model_sample(cases[i][0]), cases[i][1], "%zu: %zu", cases[i][0],
                     default_model_sample(cases[i][0]));
    size_t last = 0;
    for (size_t available = 0; available < 3000000; available += 1 + available / 50) {
        size_t sample = default_model_sample(available);
        cr_assert(sample <= available && sample >= last, "%zu of %zu", sample, available);
        cr_assert(available < DEFAULT_MODEL_ITEMS || 3 * sample > 2 * (available - 2), "%zu of %zu", sample, available);
        last = sample;
    }
}

Test(default_model, the_architecture_is_every_modality_with_every_other)
{
    struct shop shop;
    shop_init(&shop);
    struct model *model = fit(shop.views, 2);
    const struct architecture *a = &model->architecture;
    cr_assert_str_eq(model->name, DEFAULT_MODEL_NAME);
    cr_assert(a->view_count == 2 && a->similarity_count == 2 && a->stream_count == 4 && a->blocks == 0);
    cr_assert_eq(a->history, 100);
    cr_assert(a->views[0].dimension == TEXT && a->views[0].components == DEFAULT_MODEL_COMPONENTS);
    cr_assert(a->views[1].dimension == IMAGE && a->views[1].components == IMAGE, "no more components than dimensions");
    cr_assert_str_eq(a->views[1].modality, "image");
    cr_assert_str_eq(a->views[1].encoder, "clip@2");
    bool seen[2][2] = {{false}};
    for (int i = 0; i < 4; i++) {
        seen[a->streams[i].pick][a->streams[i].judge] = true;
        cr_assert_gt(model->weights.stream[i], 0);
        bool text = a->streams[i].pick == 0 && a->streams[i].judge == 0;
        cr_assert(text ? model->weights.stream[i] >= .5f : model->weights.stream[i] == .25f);
    }
    cr_assert(seen[0][0] && seen[0][1] && seen[1][0] && seen[1][1]);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(architecture_behaviour(a, behaviours[i].name), i);
        cr_assert_eq(model->weights.value[i], behaviours[i].weight, "a value keeps its sign");
    }
    for (int age = 0; age < ARCHITECTURE_POSITIONS; age++)
        cr_assert_float_eq(model->weights.similarity[1].position[age], log(.8) * age, 1e-5);
    cr_assert(*model->weights.cooccurrence > 0 && *model->weights.epsilon > 0);
    model_release(model);
    shop_close(&shop);
}

Test(default_model, its_components_are_whitened_by_half)
{
    struct shop shop;
    shop_init(&shop);
    struct model *model = fit(shop.views, 2);
    float *mean = random_model_alloc(IMAGE, sizeof *mean);
    float *rotation = random_model_alloc(IMAGE * IMAGE, sizeof *rotation);
    cr_assert(components_fit(mean, rotation, shop.image, ITEMS, IMAGE, IMAGE, .25f));
    cr_assert_arr_eq(model->weights.view[1].mean, mean, IMAGE * sizeof *mean);
    cr_assert_arr_eq(model->weights.view[1].rotation, rotation, IMAGE * IMAGE * sizeof *rotation);
    free(mean);
    free(rotation);
    model_release(model);
    shop_close(&shop);
}

Test(default_model, the_same_items_give_the_same_file_and_it_reads)
{
    struct shop shop;
    struct status st = STATUS_INIT;
    size_t size, twin_size;
    shop_init(&shop);
    struct model *model = fit(shop.views, 2), *twin = fit(shop.views, 2);
    unsigned char *bytes = model_write(model, &size, &st), *twin_bytes = model_write(twin, &twin_size, &st);
    cr_assert(bytes != NULL && twin_bytes != NULL);
    cr_assert(size == twin_size && memcmp(bytes, twin_bytes, size) == 0);
    struct model *read = model_read(bytes, size, &st);
    cr_assert_not_null(read, "%s", st.message);
    cr_assert_str_eq(read->version, model->version);
    cr_assert_eq(strncmp(read->version, "default-", 8), 0);
    free(bytes);
    free(twin_bytes);
    model_release(model);
    model_release(twin);
    model_release(read);
    shop_close(&shop);
}

Test(default_model, nothing_to_fit)
{
    struct status st = STATUS_INIT;
    struct model *model = default_model_fit(NULL, 0, behaviours, 3, 50, &st);
    cr_assert_not_null(model, "%s", st.message);
    cr_assert(model->architecture.view_count == 0 && model->architecture.stream_count == 0);
    model_release(model);
    model = default_model_fit(NULL, 0, NULL, 0, 1, &st);
    cr_assert_not_null(model, "%s", st.message);
    size_t size;
    unsigned char *bytes = model_write(model, &size, &st);
    struct model *read = model_read(bytes, size, &st);
    cr_assert_not_null(read, "%s", st.message);
    free(bytes);
    model_release(read);
    model_release(model);
}

/* Items share one of eight centres: those of the history's centre should come before all others. */
Test(default_model, it_finds_what_is_alike)
{
    struct shop shop;
    shop_init(&shop);
    struct model *model = fit(shop.views, 2);
    struct random_items items = {.count = ITEMS, .items = random_model_alloc(ITEMS, sizeof *items.items)};
    struct encoder_rows rows;
    for (size_t i = 0; i < ITEMS; i++)
        items.items[i] = (struct encoder_item){"x", {shop.text + i * TEXT, shop.image + i * IMAGE}};
    random_items_encode(&items, model, &rows);
    struct counts *counts = counts_new();
    struct counts_view *view = counts_publish(counts, 0);
    struct cooccurrence cooccurrence = {0};
    struct arena arena;
    struct recommender_user user;
    struct recommender_event event = {.item_id = 3, .behaviour = 0, .weight = 1, .rows = &rows, .row = 3};
    const float weight[] = {1, 1, 1, 1, 1, 1, 1};
    struct recommender_context context = {view, &cooccurrence, 0, weight};
    uint32_t ids[ITEMS] = {0};
    float score[ITEMS], least = INFINITY, most = -INFINITY;
    arena_init(&arena, (size_t)8 << 20);
    cr_assert(recommender_prepare(&user, model, &event, 1, 0, &arena));
    recommender_score(&user, &context, &(struct recommender_block){&rows, 0, ITEMS, ids}, score, NULL);
    for (size_t i = 0; i < ITEMS; i++) {
        if (i % 8 == 3)
            least = fminf(least, score[i]);
        else
            most = fmaxf(most, score[i]);
    }
    cr_assert_gt(least, most);
    arena_close(&arena);
    counts_view_release(view);
    counts_free(counts);
    encoder_rows_close(&rows);
    free(items.items);
    model_release(model);
    shop_close(&shop);
}

/* Nine modalities have 81 pairs, more than the streams that an architecture can hold. */
Test(default_model, more_modalities_than_streams_for_every_pair)
{
    static const char *const names[] = {"text", "image", "sound", "video", "m4", "m5", "m6", "m7", "m8"};
    struct default_model_view views[9];
    struct status st = STATUS_INIT;
    float *rows = draw_rows(4, 3);
    for (size_t i = 0; i < 9; i++)
        views[i] = (struct default_model_view){names[i], "e@1", 4, rows, ITEMS};
    struct model *model = default_model_fit(views, 9, behaviours, 3, 100, &st);
    if (model == NULL) {
        cr_assert_neq(st.code, STATUS_OK, "a refusal is explained");
    } else {
        cr_assert_leq(model->architecture.stream_count, ARCHITECTURE_STREAMS_MAX);
        cr_assert_eq(architecture_behaviour(&model->architecture, "click"), 0);
        model_release(model);
    }
    free(rows);
}
