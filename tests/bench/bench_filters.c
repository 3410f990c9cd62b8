/* SPDX-License-Identifier: Apache-2.0
 *
 * What a filter costs against no filter: one engine, a made-up catalogue of 1,000,000 items in memory, requests in turn in one run. Prints a Markdown table; ends with 1
 * where a filtered request is slower than the plain one.
 *
 *   bench_filters [ITEMS] [ROUNDS]     default: 1000000 15 */
#include "daemon/engine.h"
#include "daemon/rules.h"
#include "daemon/timestamp.h"
#include "models/default_model.h"
#include "models/matrix.h"
#include "models/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSION = 64, SAMPLE = 384, HISTORY = 50, N = 20, CASES_MOST = 16, ROUNDS_MOST = 1000 };

struct shop {
    struct config config;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    struct engine_worker worker;
    struct engine_event events[HISTORY];
    char names[HISTORY][16];
    size_t items;
};

static void require(bool condition, const struct status *st, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "bench_filters: %s: %s\n", what, st == NULL ? "" : st->message);
    exit(1);
}

static void draw(float *vector, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    for (int i = 0; i < DIMENSION; i++)
        vector[i] = random_normal(&rng);
}

/* brand: one of 100; half: a coin; rare: one item in 10,000; price 0 .. 999.99 */
static void add_item(struct shop *shop, uint32_t id)
{
    float vector[DIMENSION];
    char name[16], attributes[128], categories[32];
    snprintf(name, sizeof name, "i%u", id);
    snprintf(categories, sizeof categories, "[\"c%u\"]", id % 20);
    snprintf(attributes, sizeof attributes, "{\"brand\":\"b%u\",\"half\":\"%s\",\"rare\":%s}", id * 7919 % 100,
             id * 104729 / 7 % 2 == 0 ? "head" : "tail", id % 10000 == 77 ? "true" : "false");
    struct store_item item = {.item_id = id,
                              .name = name,
                              .title = "",
                              .categories_json = categories,
                              .attributes_json = attributes,
                              .has_price = true,
                              .price = (double)(id * 15485863ull % 100000) / 100,
                              .available = true,
                              .expires_ms = INT64_MAX};
    struct catalog_feature *features[2];
    for (uint32_t space = 1; space <= 2; space++) {
        draw(vector, id * 2ull + space);
        features[space - 1] = catalog_feature_new(space, DIMENSION, vector);
    }
    struct catalog_item *record = catalog_item_new(&item, NULL, features, 2);
    struct status st = STATUS_INIT;
    require(record != NULL && catalog_publish(shop->catalog, record, &st), &st, "add an item");
}

static struct model *fit(void)
{
    static float rows[2][SAMPLE * DIMENSION];
    struct status st = STATUS_INIT;
    struct default_model_view views[2] = {{"text", "t@1", DIMENSION, rows[0], SAMPLE},
                                          {"image", "i@1", DIMENSION, rows[1], SAMPLE}};
    struct default_model_behaviour view = {"view", 1};
    for (int m = 0; m < 2; m++)
        for (uint64_t i = 0; i < SAMPLE; i++)
            draw(rows[m] + i * DIMENSION, i * 2 + (uint64_t)m);
    struct model *model = default_model_fit(views, 2, &view, 1, 100, &st);
    require(model != NULL, &st, "fit a model");
    return model;
}

static void open_shop(struct shop *shop, size_t items)
{
    struct status st = STATUS_INIT;
    struct arena arena;
    struct counts *counts = counts_new();
    config_init(&shop->config);
    shop->items = items;
    shop->catalog = catalog_new();
    shop->histories = histories_new((size_t)1 << 20);
    struct store_space text = {.space_id = 1, .dimension = DIMENSION, .modality = "text", .encoder = "t@1"};
    struct store_space image = {.space_id = 2, .dimension = DIMENSION, .modality = "image", .encoder = "i@1"};
    require(catalog_add_space(shop->catalog, &text, &st) && catalog_add_space(shop->catalog, &image, &st), &st,
            "spaces");
    for (uint32_t id = 1; id <= items; id++)
        add_item(shop, id);
    require(engine_init(&shop->engine, &shop->config, shop->catalog, shop->histories), NULL, "engine");
    shop->engine.behaviours[1] = (struct engine_behaviour){"view", 1, true};
    engine_set_counts(&shop->engine, counts_publish(counts, 0));
    counts_free(counts);
    arena_init(&arena, (size_t)256 << 20);
    struct model *model = fit();
    int64_t begin_us = timestamp_monotonic_us();
    require(engine_install_model(&shop->engine, model, &arena, &st), &st, "install the model");
    printf("%zu items encoded, attributes in columns (%zu MiB): %.1f s\n\n", items,
           columns_bytes(shop->engine.snapshot->columns) >> 20, (double)(timestamp_monotonic_us() - begin_us) / 1e6);
    model_release(model);
    arena_close(&arena);
    require(engine_worker_init(&shop->worker, &shop->engine, NULL, (size_t)1 << 30), NULL, "worker");
    for (int i = 0; i < HISTORY; i++) {
        snprintf(shop->names[i], sizeof shop->names[i], "i%zu", 1 + (size_t)i * 7919 % items);
        shop->events[i] = (struct engine_event){shop->names[i], "view", 1760000000000 + i};
    }
}

static int64_t ask(struct shop *shop, const struct rules *rules, size_t *count)
{
    struct status st = STATUS_INIT;
    struct engine_answer answer;
    struct arena_mark mark = arena_mark(&shop->worker.arena);
    struct engine_request request = {.task = ENGINE_RECOMMEND,
                                     .events = shop->events,
                                     .event_count = HISTORY,
                                     .n = N,
                                     .exclude_seen = true,
                                     .at_position = INT64_MAX,
                                     .now_ms = 1770000000000,
                                     .rules = rules};
    int64_t begin_us = timestamp_monotonic_us();
    require(engine_answer(&shop->worker, &request, &answer, &st), &st, "answer");
    int64_t took_us = timestamp_monotonic_us() - begin_us;
    *count = answer.count;
    engine_answer_close(&answer);
    arena_rewind(&shop->worker.arena, mark);
    return took_us;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    static struct shop shop;
    static const char *const head[] = {"head"}, *const brand[] = {"b5"}, *const yes[] = {"true"};
    static const char *items[500];
    static char item_names[500][16];
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 15;
    rounds = rounds < ROUNDS_MOST ? rounds : ROUNDS_MOST;
    for (int i = 0; i < 500; i++) {
        snprintf(item_names[i], sizeof item_names[i], "i%zu", 1 + (size_t)i * 1999 % count);
        items[i] = item_names[i];
    }
#define ANY(name, values)                                                                                              \
    {                                                                                                                  \
        .field = name, .any = values, .any_count = sizeof(values) / sizeof *(values), .least = -INFINITY,              \
        .most = INFINITY, .exists = -1                                                                                 \
    }
    static struct rule_condition half = ANY("half", head), one = ANY("brand", brand), rare = ANY("rare", yes),
                                 named = ANY("item", items);
    static struct rule_condition cheap = {.field = "price", .least = -INFINITY, .most = 100, .exists = -1};
#undef ANY
    static struct {
        const char *what;
        struct rules rules;
    } cases[CASES_MOST] = {
        {"none", {.pool = 0}},
        {"50 %: half = head", {.filter = {.must = &half, .must_count = 1}}},
        {"10 %: price <= 100", {.filter = {.must = &cheap, .must_count = 1}}},
        {"1 %: brand = b5", {.filter = {.must = &one, .must_count = 1}}},
        {".01 %: rare", {.filter = {.must = &rare, .must_count = 1}}},
        {"99 %: not brand = b5", {.filter = {.must_not = &one, .must_not_count = 1}}},
        {"all but 500 named", {.filter = {.must_not = &named, .must_not_count = 1}}},
        {"500 named", {.filter = {.must = &named, .must_count = 1}}},
    };
    static int64_t took_us[CASES_MOST][ROUNDS_MOST];
    size_t listed[CASES_MOST] = {0}, used = 0;
    bool slower = false;
    matrix_init();
    open_shop(&shop, count);
    while (used < CASES_MOST && cases[used].what != NULL)
        used++;
    for (size_t r = 0; r < rounds + 1; r++) /* in turn, so that all see the same machine; the first round warms up */
        for (size_t c = 0; c < used; c++)
            took_us[c][r == 0 ? 0 : r - 1] = ask(&shop, &cases[c].rules, &listed[c]);
    printf("BLAS core type %s, one thread, history of %d, lists of %d, median of %zu.\n\n", matrix_core_type(), HISTORY,
           N, rounds);
    printf("| filter | lets through | items listed | ms | against none |\n|---|--:|--:|--:|--:|\n");
    for (size_t c = 0; c < used; c++) {
        qsort(took_us[c], rounds, sizeof took_us[c][0], compare);
        double ratio = (double)took_us[c][rounds / 2] / (double)took_us[0][rounds / 2];
        const char *colon = strchr(cases[c].what, ':');
        printf("| %s | %.*s | %zu | %.2f | %.2f |\n", cases[c].what, colon == NULL ? 0 : (int)(colon - cases[c].what),
               cases[c].what, listed[c], (double)took_us[c][rounds / 2] / 1e3, ratio);
        slower = slower || (c > 0 && ratio > 1);
    }
    printf("\n%s\n", slower ? "A filter is slower than none." : "No filter is slower than none.");
    return slower ? 1 : 0;
}
