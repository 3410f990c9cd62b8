/* SPDX-License-Identifier: Apache-2.0
 *
 *   dump_gradients DIRECTORY [MODEL]...
 *
 * Losses and gradients of both stages of training, for tests/golden/compare.py, in the manner of dump_scores: DIRECTORY/gradients.ndjson has a line for
 * each model (its items, of which all are in the training part), followed by lines with what went in, the loss, and its gradient by tensor. */
#include "models/head.h"
#include "models/trainer.h"
#include "tests/golden/dump_json.h"
#include "tests/support/random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS ((int64_t)1700000000000)

enum {
    BATCH_USERS = 6,
    EVENTS_MOST = 40,
    FILLER_EVENTS = 100, /* of the users who see to it that every item has a training event */
    FEATURED = 200,      /* items 1 to 199 have vectors; more would make the dump of a trained model endless */
    THREADS = 3,
};

/* What the store calls behaviours 1 to 4: three that a model may know, one that none does. */
static const float behaviour_weight[] = {0, 1, 3, -2, .5f};

/* A log, cut so that all of it is the training part. */
struct training {
    struct model *model;
    struct random_items items;
    struct evaluation_event *events;
    size_t *user_start;
    struct evaluation_data data;
    struct holdout holdout;
    struct training_set set;
    int behaviour_of[256];
};

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "dump_gradients: %s\n", what);
        exit(1);
    }
}

static void add_event(struct training *t, size_t item, int64_t ts_ms, uint8_t behaviour)
{
    size_t *end = &t->user_start[t->data.user_count + 1];
    t->events[(*end)++] = (struct evaluation_event){(uint32_t)item, ts_ms, behaviour, behaviour_weight[behaviour]};
}

static void next_user(struct training *t)
{
    t->data.user_count++;
    t->user_start[t->data.user_count + 1] = t->user_start[t->data.user_count];
}

/* The users of the batch first, then those who meet every item. */
static void draw_events(struct training *t, struct random *rng)
{
    size_t items = t->items.count, most = BATCH_USERS * EVENTS_MOST + items;
    t->events = random_model_alloc(most, sizeof *t->events);
    t->user_start = random_model_alloc(BATCH_USERS + items + 2, sizeof *t->user_start);
    for (size_t user = 0; user < BATCH_USERS; user++) {
        size_t length = user < 2 ? 2 : 2 + random_below(rng, EVENTS_MOST - 2);
        int64_t ts_ms = NOW_MS - (int64_t)random_below(rng, 1000000);
        for (size_t i = 0; i < length; i++) {
            uint8_t behaviour = (uint8_t)(i + 1 == length ? 1 : 1 + random_below(rng, 4));
            size_t item = user == 1 && i == 0 ? 0 : random_below(rng, items); /* a history without any feature */
            add_event(t, item, ts_ms, behaviour);
            ts_ms += (int64_t)(1000 * exp2(20 * (double)random_uniform(rng)));
        }
        next_user(t);
    }
    for (size_t i = 0; i < items; i++) {
        add_event(t, i, NOW_MS + (int64_t)i, 1);
        if (i % FILLER_EVENTS == FILLER_EVENTS - 1)
            next_user(t);
    }
    next_user(t);
    t->data.item_count = items;
    t->data.events = t->events;
    t->data.user_start = t->user_start;
}

/* (items, dimension) with rows of zeros where the vector is missing; NULL for the learned embedding */
static float *dense_vectors(const struct training *t, int view)
{
    const struct view *v = &t->model->architecture.views[view];
    size_t D = (size_t)v->dimension;
    if (strcmp(v->modality, "id") == 0)
        return NULL;
    float *out = random_model_alloc(t->items.count * D, sizeof *out);
    for (size_t i = 0; i < t->items.count; i++)
        if (t->items.items[i].vector[view] != NULL)
            memcpy(out + i * D, t->items.items[i].vector[view], D * sizeof *out);
    return out;
}

/* Item i is the model's ID row i, for the trainer takes the items with training events in this order. */
static void name_items(struct training *t)
{
    const char *name = t->model->item_names;
    for (size_t i = 0; i < t->items.count; i++) {
        if (i < t->model->item_count) {
            t->items.items[i].name = name;
            name += strlen(name) + 1;
        }
        for (int v = 0; v < t->model->architecture.view_count && (i == 0 || i >= FEATURED); v++)
            t->items.items[i].vector[v] = NULL;
    }
}

static void training_init(struct training *t, struct model *model, uint64_t seed)
{
    struct status st = STATUS_INIT;
    struct random rng;
    float *vectors[ARCHITECTURE_VIEWS_MAX] = {NULL};
    random_init(&rng, seed);
    *t = (struct training){.model = model, .holdout = {.kind = HOLDOUT_NONE}};
    random_items_init(&t->items, model, model->item_count > 0 ? model->item_count : 100, .2f, seed);
    name_items(t);
    draw_events(t, &rng);
    t->holdout.training_count = t->user_start[t->data.user_count];
    t->holdout.in_training = random_model_alloc(t->holdout.training_count, sizeof(bool));
    memset(t->holdout.in_training, true, t->holdout.training_count);
    for (int i = 0; i < 256; i++)
        t->behaviour_of[i] = i >= 1 && i <= 3 && i <= model->architecture.behaviour_count ? i - 1 : -1;
    require(training_set_init(&t->set, &t->data, &t->holdout, t->behaviour_of, &st), st.message);
    for (int v = 0; v < model->architecture.view_count; v++)
        vectors[v] = dense_vectors(t, v);
    require(training_set_features(&t->set, model, (const float *const *)vectors, &st), st.message);
    require(t->set.columns == t->items.count, "an item without training events");
    for (int v = 0; v < model->architecture.view_count; v++)
        free(vectors[v]);
}

static void training_close(struct training *t)
{
    training_set_close(&t->set);
    free(t->holdout.in_training);
    free(t->events);
    free(t->user_start);
    random_items_close(&t->items);
    model_release(t->model);
}

/* ---- what goes in */

static json_t *items_json(const struct training *t, const char *file, const char *label)
{
    const struct architecture *a = &t->model->architecture;
    json_t *items = json_array();
    for (size_t i = 0; i < t->items.count; i++) {
        json_t *vectors = json_object();
        for (int v = 0; v < a->view_count; v++)
            if (t->items.items[i].vector[v] != NULL)
                json_object_set_new(vectors, a->views[v].name,
                                    dump_row(t->items.items[i].vector[v], (size_t)a->views[v].dimension));
        json_array_append_new(items, json_pack("{s:s, s:o}", "name", t->items.items[i].name, "vectors", vectors));
    }
    return json_pack("{s:s, s:s, s:o}", "model", file, "what", label, "items", items);
}

static json_t *history_json(const struct training *t, size_t user)
{
    json_t *events = json_array();
    for (size_t i = t->set.start[user]; i < t->set.start[user + 1]; i++)
        json_array_append_new(events, json_pack("{s:i, s:I, s:i, s:f}", "item", (int)t->set.column[i], "ts_ms",
                                                (json_int_t)t->set.ts_ms[i], "behaviour", t->set.behaviour[i], "weight",
                                                (double)t->set.weight[i]));
    return events;
}

/* ---- stage one */

static void dump_stage_one(FILE *out, const struct training *t, bool mask_seen, int ahead)
{
    struct status st = STATUS_INIT;
    struct trainer_options options = {
        .epochs = 1, .batch_users = BATCH_USERS, .learning_rate = 1e-3f, .ahead = ahead, .mask_seen = mask_seen};
    struct team *team = team_new(THREADS, &st);
    require(team != NULL, st.message);
    struct trainer *trainer = trainer_new(t->model, &t->set, t->model->item_count > 0, &options, team, &st);
    require(trainer != NULL, st.message);
    float *gradient = random_model_alloc(t->model->params.total, sizeof *gradient);
    uint32_t users[BATCH_USERS];
    json_t *histories = json_array();
    double loss;
    for (uint32_t i = 0; i < BATCH_USERS; i++) {
        users[i] = i;
        json_array_append_new(histories, history_json(t, i));
    }
    require(trainer_gradient(trainer, users, BATCH_USERS, &loss, gradient), "out of memory");
    dump_line(out, json_pack("{s:s, s:b, s:i, s:o, s:f, s:o}", "stage", "one", "mask_seen", mask_seen, "ahead", ahead,
                             "histories", histories, "loss", loss, "gradient", dump_block(t->model, gradient)));
    free(gradient);
    trainer_free(trainer);
    team_free(team);
}

/* ---- stage two */

/* The items, encoded, as candidates: an item is its row, and its id in the counts. */
struct candidates {
    struct encoder_rows rows;
    struct counts_view *counts;
    uint32_t *ids;
    struct head_items items;
};

static void candidates_init(struct candidates *c, const struct training *t)
{
    random_items_encode(&t->items, t->model, &c->rows);
    c->counts = holdout_counts(&t->holdout, &t->data);
    require(c->counts != NULL, "out of memory");
    c->ids = random_model_alloc(t->items.count, sizeof *c->ids);
    for (uint32_t i = 0; i < t->items.count; i++)
        c->ids[i] = i;
    c->items = (struct head_items){&c->rows, c->counts, t->items.count, c->ids};
}

static void candidates_close(struct candidates *c)
{
    encoder_rows_close(&c->rows);
    counts_view_release(c->counts);
    free(c->ids);
}

/* The first `count` events of a user as a history; the next one is the target. Every seventh is of an item that is gone. */
static struct recommender_event *history_of(const struct training *t, const struct candidates *c, size_t user,
                                            size_t count)
{
    struct recommender_event *events = random_model_alloc(count, sizeof *events);
    for (size_t i = 0; i < count; i++) {
        size_t e = t->set.start[user] + i;
        events[i] = (struct recommender_event){.item_id = t->set.column[e],
                                               .ts_ms = t->set.ts_ms[e],
                                               .behaviour = t->set.behaviour[e],
                                               .weight = t->set.weight[e],
                                               .rows = i % 7 == 6 ? NULL : &c->rows,
                                               .row = t->set.column[e]};
    }
    return events;
}

static json_t *events_json(const struct head_query *query)
{
    json_t *events = json_array();
    for (size_t i = 0; i < query->count; i++) {
        const struct recommender_event *e = &query->events[i];
        json_array_append_new(
            events, json_pack("{s:I, s:I, s:i, s:f}", "item", e->rows == NULL ? (json_int_t)-1 : (json_int_t)e->row,
                              "ts_ms", (json_int_t)e->ts_ms, "behaviour", e->behaviour, "weight", (double)e->weight));
    }
    return events;
}

static json_t *query_json(const struct candidates *c, const struct head_query *query)
{
    json_t *popularity = json_array(), *recent = json_array(), *probability = json_array(), *hidden = json_array();
    for (size_t i = 0; i < c->items.count; i++) {
        json_array_append_new(popularity, json_integer(counts_popularity(c->counts, (uint32_t)i)));
        json_array_append_new(recent, json_real((double)counts_recent(c->counts, (uint32_t)i, query->now_ms)));
    }
    for (size_t l = 0; l < 2 * query->count; l++) { /* as in dump_scores: first what followed, then what came before */
        size_t count, way = l / query->count, event = l % query->count;
        const struct counts_entry *row =
            (way == 0 ? counts_row : counts_row_before)(c->counts, query->events[event].item_id, &count);
        for (size_t i = 0; i < count; i++)
            json_array_append_new(probability, json_pack("[I, I, I, f]", (json_int_t)way, (json_int_t)event,
                                                         (json_int_t)row[i].item_id, (double)row[i].probability));
    }
    for (size_t i = 0; i < query->hidden_count; i++)
        json_array_append_new(hidden, json_integer(query->hidden[i]));
    return json_pack("{s:s, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "stage", "two", "history", events_json(query),
                     "now_ms", (json_int_t)query->now_ms, "target", (json_int_t)query->target, "hidden", hidden,
                     "popularity", popularity, "recent", recent, "probability", probability);
}

static void dump_query(FILE *out, const struct training *t, const struct candidates *c, struct head_query *query)
{
    struct arena arena;
    struct recommender_user user;
    struct weights slots;
    struct cooccurrence cooccurrence = {0};
    size_t total = t->model->params.total;
    float *gradient = random_model_alloc(total, sizeof *gradient);
    float *score = random_model_alloc(t->items.count, sizeof *score);
    arena_init(&arena, (size_t)1 << 30);
    require(recommender_prepare(&user, t->model, query->events, query->count, query->now_ms, &arena), "out of memory");
    query->state = user.state;
    params_point(&t->model->params, &t->model->weights, &slots, gradient);
    double loss = head_gradient(&slots, t->model, &c->items, NULL, query, 1, score, &cooccurrence, &arena);
    require(loss >= 0, "out of memory");
    json_t *line = query_json(c, query);
    json_object_set_new(line, "loss", json_real(loss));
    json_object_set_new(line, "gradient", dump_block(t->model, gradient));
    dump_line(out, line);
    cooccurrence_close(&cooccurrence);
    arena_close(&arena);
    free(gradient);
    free(score);
}

/* The items of the history, but for the target. */
static size_t hide_history(uint32_t *hidden, const struct head_query *query)
{
    size_t count = 0;
    for (size_t i = 0; i < query->count; i++)
        if (query->events[i].item_id != query->target)
            hidden[count++] = query->events[i].item_id;
    return count;
}

static void dump_stage_two(FILE *out, const struct training *t)
{
    struct candidates c;
    candidates_init(&c, t);
    for (size_t user = 0; user < BATCH_USERS; user++) {
        uint32_t hidden[EVENTS_MOST];
        size_t count = user == 0 ? 0 : t->set.start[user + 1] - t->set.start[user] - 1;
        struct recommender_event *events = history_of(t, &c, user, count);
        struct head_query query = {.events = events,
                                   .count = count,
                                   .now_ms = t->set.ts_ms[t->set.start[user] + count],
                                   .target = t->set.column[t->set.start[user] + count],
                                   .hidden = hidden};
        query.hidden_count = user % 2 == 1 ? hide_history(hidden, &query) : 0;
        dump_query(out, t, &c, &query);
        free(events);
    }
    candidates_close(&c);
}

/* ---- models */

static void dump_model(FILE *out, const char *directory, struct model *model, const char *label, size_t number)
{
    char file[32];
    struct training t;
    snprintf(file, sizeof file, "gradient-%zu.safetensors", number);
    dump_model_file(directory, file, model);
    training_init(&t, model, 400 + number);
    dump_line(out, items_json(&t, file, label));
    if (model->architecture.blocks > 0) {
        dump_stage_one(out, &t, false, 1);
        dump_stage_one(out, &t, true, 1);
        dump_stage_one(out, &t, true, 3);
    }
    dump_stage_two(out, &t);
    training_close(&t);
}

/* A sequence part without the learned embedding: items are known by their content alone. */
static struct model *model_without_ids(uint64_t seed)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    return random_model_of(&a, 0, seed);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: dump_gradients DIRECTORY [MODEL]...\n", stderr);
        return 64;
    }
    FILE *out = dump_open(argv[1], "gradients.ndjson");
    size_t number = 0;
    for (; number < RANDOM_MODEL_COUNT; number++) {
        enum random_model_kind kind = (enum random_model_kind)number;
        dump_model(out, argv[1], random_model(kind, 500 + number), random_model_label(kind), number);
    }
    dump_model(out, argv[1], model_without_ids(500 + number), "a sequence part without IDs", number);
    number++;
    for (int i = 2; i < argc; i++)
        dump_model(out, argv[1], dump_read_model(argv[i]), argv[i], number++);
    dump_close(out);
    return 0;
}
