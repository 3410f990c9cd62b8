/* SPDX-License-Identifier: Apache-2.0
 *
 *   dump_scores DIRECTORY [MODEL]...
 *
 * What the C side makes of models, for tests/golden/compare.py: a random model of every kind, and the files given, are written to DIRECTORY as
 * N.safetensors; DIRECTORY/scores.ndjson has a line for each model (its made-up items), followed by a line for each of a few users: history, candidates,
 * what the counts say about them, and the parts of each score. */
#include "models/recommender.h"
#include "tests/golden/dump_json.h"
#include "tests/support/random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS ((int64_t)1700000000000)
#define DAY_MS ((int64_t)86400000)

enum { ITEMS = 200, CANDIDATES = 40, COUNTED_USERS = 200, COUNTED_EVENTS = 12 };

static const size_t lengths[] = {0, 1, 2, 17, 100};

/* A shop of made-up items, and what its users did. */
struct shop {
    struct model *model;
    struct random_items items;
    struct encoder_rows rows;
    struct counts_view *counts;
    uint32_t ids[ITEMS]; /* not the rows: id = 3 * row + 7 */
};

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "dump_scores: %s\n", what);
        exit(1);
    }
}

static void draw_counts(struct shop *shop, struct random *rng)
{
    struct counts *counts = counts_new();
    struct counts_event events[COUNTED_EVENTS];
    for (int user = 0; user < COUNTED_USERS; user++) {
        for (int i = 0; i < COUNTED_EVENTS; i++)
            events[i] = (struct counts_event){shop->ids[random_below(rng, ITEMS)],
                                              NOW_MS - (int64_t)(COUNTED_USERS - user) * DAY_MS / 8 + i};
        require(counts_user(counts, events, COUNTED_EVENTS, 1), "out of memory");
    }
    shop->counts = counts_publish(counts, 1);
    require(shop->counts != NULL, "out of memory");
    counts_free(counts);
}

/* Three items of four have the names of the model's ID rows, as far as there are any; the others are strangers to it. */
static void name_items(struct shop *shop)
{
    const char *name = shop->model->item_names;
    for (size_t i = 0, known = 0; i < ITEMS; i++)
        if (i % 4 != 0 && known++ < shop->model->item_count) {
            shop->items.items[i].name = name;
            name += strlen(name) + 1;
        } else {
            snprintf(shop->items.names[i], sizeof shop->items.names[i], "stranger-%zu", i);
        }
}

static void shop_init(struct shop *shop, struct model *model, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    *shop = (struct shop){.model = model};
    for (uint32_t i = 0; i < ITEMS; i++)
        shop->ids[i] = 3 * i + 7;
    random_items_init(&shop->items, model, ITEMS, .2f, seed);
    name_items(shop);
    random_items_encode(&shop->items, model, &shop->rows);
    draw_counts(shop, &rng);
}

static void shop_close(struct shop *shop)
{
    random_items_close(&shop->items);
    encoder_rows_close(&shop->rows);
    counts_view_release(shop->counts);
    model_release(shop->model);
}

/* ---- users */

/* Some events are of items that are gone, some of behaviours that the model does not know; ages from seconds to years. */
static struct recommender_event *draw_events(const struct shop *shop, size_t length, struct random *rng)
{
    struct recommender_event *events = random_model_alloc(length, sizeof *events);
    int behaviours = shop->model->architecture.behaviour_count;
    int64_t ts_ms = NOW_MS - (int64_t)random_below(rng, (uint64_t)DAY_MS);
    for (size_t i = length; i-- > 0;) {
        size_t row = (size_t)random_below(rng, ITEMS);
        events[i] = (struct recommender_event){.item_id = shop->ids[row],
                                               .ts_ms = ts_ms,
                                               .behaviour = (int)random_below(rng, (uint64_t)behaviours + 1) - 1,
                                               .weight = .6f,
                                               .rows = random_below(rng, 10) == 0 ? NULL : &shop->rows,
                                               .row = row};
        ts_ms -= (int64_t)(1000 * exp2(20 * (double)random_uniform(rng)));
    }
    return events;
}

static void compute_cooccurrence(struct cooccurrence *out, const struct shop *shop,
                                 const struct recommender_event *events, size_t length)
{
    const struct weights *w = &shop->model->weights;
    struct cooccurrence_event *newest = random_model_alloc(length, sizeof *newest);
    for (size_t i = 0; i < length; i++) {
        const struct recommender_event *event = &events[length - 1 - i];
        newest[i] = (struct cooccurrence_event){event->item_id, recommender_value(shop->model, event)};
    }
    require(cooccurrence_compute(out, shop->counts, newest, length, cooccurrence_scalars(w)), "out of memory");
    free(newest);
}

/* Parts (CANDIDATES, 3 + streams), every one with a factor of 1, of the first candidates. */
static float *score(const struct shop *shop, const struct recommender_event *events, size_t length)
{
    size_t stride = PART_STREAMS + (size_t)shop->model->architecture.stream_count;
    float total[CANDIDATES], weight[RECOMMENDER_PARTS_MAX];
    float *parts = random_model_alloc(CANDIDATES * stride, sizeof *parts);
    struct cooccurrence cooccurrence = {0};
    struct arena arena;
    struct recommender_user user;
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    arena_init(&arena, (size_t)256 << 20);
    compute_cooccurrence(&cooccurrence, shop, events, length);
    require(recommender_prepare(&user, shop->model, events, length, NOW_MS, &arena), "out of memory");
    struct recommender_context context = {shop->counts, &cooccurrence, NOW_MS, weight};
    struct recommender_block block = {&shop->rows, 0, CANDIDATES, shop->ids};
    recommender_score(&user, &context, &block, total, parts);
    for (size_t c = 0; c < CANDIDATES; c++) {
        float sum = 0;
        for (size_t i = 0; i < stride; i++)
            sum += parts[c * stride + i];
        require(fabsf(sum - total[c]) < 1e-4f * (1 + fabsf(sum)), "the parts do not add up to the score");
    }
    cooccurrence_close(&cooccurrence);
    arena_close(&arena);
    return parts;
}

/* P of the counts where it is not 0: [way, event, candidate, P], way 0: what followed the event, 1: what came before it */
static json_t *probabilities(const struct shop *shop, const struct recommender_event *events, size_t length)
{
    json_t *list = json_array();
    for (size_t l = 0; l < 2 * length; l++) {
        size_t count, way = l / length, event = l % length;
        const struct counts_entry *row =
            (way == 0 ? counts_row : counts_row_before)(shop->counts, events[event].item_id, &count);
        for (size_t i = 0; i < count; i++)
            for (size_t c = 0; c < CANDIDATES; c++)
                if (row[i].item_id == shop->ids[c])
                    json_array_append_new(list, json_pack("[I, I, I, f]", (json_int_t)way, (json_int_t)event,
                                                          (json_int_t)c, (double)row[i].probability));
    }
    return list;
}

static json_t *user_json(const struct shop *shop, const struct recommender_event *events, size_t length)
{
    size_t stride = PART_STREAMS + (size_t)shop->model->architecture.stream_count;
    json_t *history = json_array(), *popularity = json_array(), *recent = json_array();
    for (size_t l = 0; l < length; l++)
        json_array_append_new(history, json_pack("{s:I, s:I, s:i, s:f}", "item",
                                                 events[l].rows == NULL ? (json_int_t)-1 : (json_int_t)events[l].row,
                                                 "ts_ms", (json_int_t)events[l].ts_ms, "behaviour", events[l].behaviour,
                                                 "weight", (double)events[l].weight));
    for (size_t c = 0; c < CANDIDATES; c++) {
        json_array_append_new(popularity, json_integer(counts_popularity(shop->counts, shop->ids[c])));
        json_array_append_new(recent, json_real((double)counts_recent(shop->counts, shop->ids[c], NOW_MS)));
    }
    float *parts = score(shop, events, length);
    json_t *user = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "now_ms", (json_int_t)NOW_MS, "history", history,
                             "popularity", popularity, "recent", recent, "probability",
                             probabilities(shop, events, length), "parts", dump_matrix(parts, CANDIDATES, stride));
    free(parts);
    return user;
}

/* ---- models */

static json_t *shop_json(const struct shop *shop, const char *file, const char *label)
{
    const struct architecture *a = &shop->model->architecture;
    json_t *items = json_array();
    for (size_t i = 0; i < ITEMS; i++) {
        json_t *vectors = json_object();
        for (int v = 0; v < a->view_count; v++)
            if (shop->items.items[i].vector[v] != NULL)
                json_object_set_new(vectors, a->views[v].name,
                                    dump_row(shop->items.items[i].vector[v], (size_t)a->views[v].dimension));
        json_array_append_new(items, json_pack("{s:s, s:o}", "name", shop->items.items[i].name, "vectors", vectors));
    }
    return json_pack("{s:s, s:s, s:o}", "model", file, "what", label, "items", items);
}

static void dump_model(FILE *out, const char *directory, struct model *model, const char *label, size_t number)
{
    char file[32];
    struct shop shop;
    struct random rng;
    snprintf(file, sizeof file, "%zu.safetensors", number);
    dump_model_file(directory, file, model);
    shop_init(&shop, model, 100 + number);
    dump_line(out, shop_json(&shop, file, label));
    random_init(&rng, 200 + number);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t most = (size_t)model->architecture.history, length = lengths[i] < most ? lengths[i] : most;
        struct recommender_event *events = draw_events(&shop, length, &rng);
        dump_line(out, user_json(&shop, events, length));
        free(events);
    }
    shop_close(&shop);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: dump_scores DIRECTORY [MODEL]...\n", stderr);
        return 64;
    }
    FILE *out = dump_open(argv[1], "scores.ndjson");
    size_t number = 0;
    for (; number < RANDOM_MODEL_COUNT; number++) {
        enum random_model_kind kind = (enum random_model_kind)number;
        dump_model(out, argv[1], random_model(kind, 300 + number), random_model_label(kind), number);
    }
    for (int i = 2; i < argc; i++)
        dump_model(out, argv[1], dump_read_model(argv[i]), argv[i], number++);
    dump_close(out);
    return 0;
}
