/* SPDX-License-Identifier: Apache-2.0
 *
 * A shop in a store of its own for each test, engines over it as the daemon has one, requests, and what every answer is
 * held against. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_ENGINE_RIG_H
#define RECSYS_TESTS_UNIT_ENGINE_RIG_H

#include "daemon/engine.h"

#include "daemon/refit.h"
#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW     ((int64_t)1700000000000)
#define HOUR_MS ((int64_t)3600000)
#define TEXT    24
#define IMAGE   16
#define SHOP    300 /* items of the usual shop */
#define USERS   12

/* An engine over the store, as the daemon has one. */
struct rig {
    struct store *reader;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    struct engine_worker worker;
    struct arena arena;
};

static char top[64];
static char dir[128];
static struct store *writer;
static struct store_space text, image;
static struct config config;
static struct random rng;
static struct rig rigs[2]; /* the one under test, and one to compare with */
static struct engine *const engine = &rigs[0].engine;

/* A call that has to succeed. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct status st = STATUS_INIT;                                                                                \
        cr_assert(call, "%s: %s", st.reason, st.message);                                                              \
    } while (0)

static inline int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static inline void close_rig(struct rig *rig)
{
    if (rig->reader == NULL)
        return;
    engine_worker_close(&rig->worker);
    engine_close(&rig->engine);
    histories_free(rig->histories);
    catalog_free(rig->catalog);
    arena_close(&rig->arena);
    store_close(rig->reader);
    *rig = (struct rig){.reader = NULL};
}

static inline void set_up(void)
{
    matrix_init();
    strcpy(top, "/tmp/test_engine_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
    config_init(&config);
    random_init(&rng, 11);
    OK((writer = store_open_writer(&(struct store_options){.data_dir = dir}, &st)) != NULL);
}

static inline void tear_down(void)
{
    close_rig(&rigs[0]);
    close_rig(&rigs[1]);
    store_close(writer);
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the shop in the store; all of these inside a transaction */

static inline void item_name(char name[16], int number)
{
    snprintf(name, 16, "item-%04d", (number * 7919) % 10000); /* the order of names is not that of ids */
}

static inline const char *named(int number)
{
    static char names[8][16];
    static int next;
    next = (next + 1) % 8;
    item_name(names[next], number);
    return names[next];
}

/* Vectors around one of six centres. */
static inline void make_vector(float *values, int dimension, int number)
{
    struct random centre, own;
    random_init(&centre, (uint64_t)(number % 6));
    random_init(&own, 1000 + (uint64_t)number);
    for (int i = 0; i < dimension; i++)
        values[i] = random_normal(&centre) + 0.6f * random_normal(&own);
}

static inline void add_space(struct store_space *space, const char *modality, int32_t dimension)
{
    *space = (struct store_space){.dimension = dimension, .encoder = "enc@1"};
    snprintf(space->modality, sizeof space->modality, "%s", modality);
    OK(store_space_put(writer, space, &st));
}

static inline void add_vector(uint32_t item_id, const struct store_space *space, int number)
{
    float values[64];
    int64_t position;
    make_vector(values, space->dimension, number);
    OK(store_feature_put(writer, item_id, space, values, NOW, &position, &st));
}

static inline void add_item(int number)
{
    char name[16];
    item_name(name, number);
    struct store_item item = {.name = name,
                              .title = "a title",
                              .categories_json = "[]",
                              .attributes_json = "{}",
                              .available = true,
                              .expires_ms = INT64_MAX};
    OK(store_item_put(writer, &item, NOW, &st));
    cr_assert_eq(item.item_id, (uint32_t)number);
}

static inline void add_event(const char *user, int number, const char *behaviour, int64_t ts_ms)
{
    struct store_event event = {.ts_ms = ts_ms, .item_id = (uint32_t)number};
    bool created, duplicate;
    OK(store_user_find(writer, user, true, &event.user_id, &created, &st));
    OK(store_behaviour_find(writer, behaviour, true, &event.behaviour, &st));
    OK(store_event_append(writer, &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, &st));
}

static inline int64_t commit(void)
{
    int64_t position;
    OK(store_commit(writer, &st));
    OK(store_position(writer, &position, &st));
    return position;
}

static inline void begin(void)
{
    OK(store_begin(writer, &st));
}

/* Users with a taste: two of the six centres each, with an odd item in between. */
static inline void add_events(int per_user)
{
    static const char *const behaviours[] = {"view", "click", "view", "purchase", "view", "dislike", "cart"};
    for (int user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%d", user);
        for (int i = 0; i < per_user; i++) {
            int number = 1 + (int)random_below(&rng, SHOP / 2); /* half of the items nobody has looked at */
            if (i % 5 > 0)
                number = number - number % 6 + (user + i % 2) % 6;
            number = number < 1 ? 1 : number;
            add_event(name, number, behaviours[random_below(&rng, 7)],
                      NOW - (int64_t)random_below(&rng, 20 * 24) * HOUR_MS - 1);
        }
    }
}

/* `items` items; all but the last 20 have a text, all but each tenth an image. */
static inline void add_shop(int items, bool modalities)
{
    begin();
    for (int number = 1; number <= items; number++)
        add_item(number);
    if (modalities) {
        add_space(&text, "text", TEXT);
        add_space(&image, "image", IMAGE);
    }
    for (int number = 1; modalities && number <= items; number++) {
        if (number <= items - 20)
            add_vector((uint32_t)number, &text, number);
        if (number % 10 != 0)
            add_vector((uint32_t)number, &image, number);
    }
    if (items == SHOP)
        add_events(30);
    commit();
    struct engine names = {.config = &config}; /* register the configured behaviours too */
    begin();
    OK(engine_load_behaviours(&names, writer, true, &st));
    commit();
}

/* ---- engines */

static inline void set_counts(struct rig *rig, int64_t position)
{
    struct status st = STATUS_INIT;
    struct counts_view *counts = engine_rebuild_counts(&rig->engine, rig->reader, position, NULL, &st);
    cr_assert_not_null(counts, "%s", st.message);
    engine_set_counts(&rig->engine, counts);
}

/* An engine over what the store holds now, with `model`, or the default model of the shop. */
static inline void open_rig(struct rig *rig, struct model *model)
{
    int64_t position;
    size_t size;
    OK((rig->reader = store_open_reader(&(struct store_options){.data_dir = dir}, &st)) != NULL);
    rig->catalog = catalog_new();
    rig->histories = histories_new((size_t)32 << 20);
    cr_assert(rig->catalog != NULL && rig->histories != NULL);
    OK(catalog_load(rig->catalog, rig->reader, &st));
    cr_assert(engine_init(&rig->engine, &config, rig->catalog, rig->histories));
    OK(engine_load_behaviours(&rig->engine, rig->reader, false, &st));
    OK(store_position(rig->reader, &position, &st));
    rig->engine.committed = position;
    set_counts(rig, position);
    arena_init(&rig->arena, (size_t)64 << 20);
    if (model == NULL) {
        OK((model = refit(&rig->engine, &st)) != NULL);
        unsigned char *bytes;
        OK((bytes = model_write(model, &size, &st)) != NULL); /* names the version */
        free(bytes);
    } else {
        model_acquire(model);
    }
    OK(engine_install_model(&rig->engine, model, &rig->arena, &st));
    model_release(model);
    cr_assert(engine_worker_init(&rig->worker, &rig->engine, rig->reader, (size_t)512 << 20));
}

static inline void open_shop(int items, bool modalities)
{
    add_shop(items, modalities);
    open_rig(&rigs[0], NULL);
}

/* Build the snapshot of rigs[0] anew, with the model that it has. */
static inline void compact(void)
{
    OK(engine_install_model(engine, NULL, &rigs[0].arena, &st));
}

/* ---- requests and answers */

static inline struct engine_request make_request(enum engine_task task, const char *user, size_t n)
{
    return (struct engine_request){.task = task, .user = user, .n = n, .at_position = INT64_MAX, .now_ms = NOW};
}

/* The answer lies in the worker's arena, which the tests do not rewind. */
static inline struct engine_answer ask(struct rig *rig, const struct engine_request *request)
{
    struct engine_answer answer;
    OK(engine_answer(&rig->worker, request, &answer, &st));
    return answer;
}

static inline struct engine_answer recommend(struct rig *rig, const char *user, size_t n)
{
    struct engine_request request = make_request(ENGINE_RECOMMEND, user, n);
    return ask(rig, &request);
}

static inline void refused(const struct engine_request *request, enum status_code code, const char *reason,
                           const char *field)
{
    struct status st = STATUS_INIT;
    struct engine_answer answer;
    bool ok = engine_answer(&rigs[0].worker, request, &answer, &st);
    if (ok)
        engine_answer_close(&answer);
    cr_expect_not(ok, "%s: the request was answered", reason);
    cr_expect(ok || st.code == code, "%s: %s", st.reason, st.message);
    cr_expect(ok || strcmp(st.reason, reason) == 0, "%s, not %s", st.reason, reason);
    cr_expect(ok || strcmp(st.field, field) == 0, "%s, not %s", st.field, field);
    cr_assert_eq(engine->snapshot == NULL ? 1 : engine->snapshot->references, 1, "a refused request keeps a snapshot");
    cr_assert_eq(engine->counts->references, 1, "a refused request keeps counts");
}

static inline const char *name_at(const struct engine_answer *answer, size_t i)
{
    return answer->items[i].item->item.name;
}

static inline bool lists(const struct engine_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strcmp(name_at(answer, i), name) == 0)
            return true;
    return false;
}

static inline bool is_degraded(const struct engine_answer *answer, const char *note)
{
    for (size_t i = 0; i < answer->degraded_count; i++)
        if (strcmp(answer->degraded[i], note) == 0)
            return true;
    return false;
}

static inline float part(const struct engine_item *item, const char *key)
{
    for (size_t i = 0; i < item->part_count; i++)
        if (strcmp(item->parts[i].key, key) == 0)
            return item->parts[i].value;
    return 0;
}

/* what counts as the same score, after the design: 1e-5 of the sum of the terms' sizes */
static inline float tolerance(const struct engine_item *item)
{
    float sum = fabsf(item->score);
    for (size_t i = 0; i < item->part_count; i++)
        sum += fabsf(item->parts[i].value);
    return 1e-5f * sum + 1e-9f;
}

/* Best first, nothing twice, ties by name, and each score is the sum of its parts. */
static inline void expect_in_order(const struct engine_answer *answer, size_t count)
{
    cr_assert_eq(answer->count, count, "%zu items, not %zu; %s", answer->count, count, answer->shortened);
    for (size_t i = 0; i < count; i++) {
        const struct engine_item *item = &answer->items[i];
        float sum = 0;
        for (size_t p = 0; p < item->part_count; p++)
            sum += item->parts[p].value;
        cr_assert_leq(fabsf(sum - item->score), tolerance(item), "%s: parts %g, score %g", name_at(answer, i),
                      (double)sum, (double)item->score);
        cr_assert(item->item->item.available && !item->item->item.deleted);
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(name_at(answer, i), name_at(answer, j));
        if (i == 0 || item->source == SOURCE_NEWEST)
            continue;
        cr_assert_leq(item->score, item[-1].score, "place %zu", i);
        if (item->score == item[-1].score)
            cr_assert_gt(strcmp(name_at(answer, i), name_at(answer, i - 1)), 0, "place %zu", i);
    }
}

/* Equal lists: the same order, except that neighbours within the tolerance may swap, also across the end. */
static inline void expect_equal(const struct engine_answer *a, const struct engine_answer *b, const char *what)
{
    cr_assert_eq(a->count, b->count, "%s: %zu and %zu items", what, a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct engine_item *left = &a->items[i], *right = &b->items[i];
        float slack = fmaxf(tolerance(left), tolerance(right));
        cr_assert_leq(fabsf(left->score - right->score), slack, "%s: place %zu: %s %.9g, %s %.9g", what, i,
                      name_at(a, i), (double)left->score, name_at(b, i), (double)right->score);
        if (strcmp(name_at(a, i), name_at(b, i)) != 0) {
            size_t j = 0;
            while (j < b->count && strcmp(name_at(a, i), name_at(b, j)) != 0)
                j++;
            const struct engine_item *there = &b->items[j < b->count ? j : b->count - 1];
            cr_assert_leq(fabsf(left->score - there->score), slack, "%s: place %zu: %s, not %s", what, i, name_at(a, i),
                          name_at(b, i));
            cr_assert(left->source != SOURCE_NEWEST || left->score != 0, "%s: filled places have one order", what);
            continue;
        }
        cr_assert_eq(left->source, right->source, "%s: %s", what, name_at(a, i));
        cr_assert_eq(left->part_count, right->part_count);
        for (size_t p = 0; p < left->part_count; p++) {
            cr_assert_str_eq(left->parts[p].key, right->parts[p].key);
            cr_assert_leq(fabsf(left->parts[p].value - right->parts[p].value), slack, "%s: %s: %s", what, name_at(a, i),
                          left->parts[p].key);
        }
    }
}

/* Both engines answer alike: all tasks, users with and without a history. */
static inline void expect_equal_engines(struct rig *a, struct rig *b, const char *what)
{
    static const char *const users[] = {"user-0", "user-3", "user-7", "user-11", "nobody", ""};
    const char *candidates[60];
    for (int i = 0; i < 60; i++)
        candidates[i] = strdup(named(1 + i * 5));
    for (size_t u = 0; u < sizeof users / sizeof *users; u++)
        for (int task = 0; task < 5; task++) {
            struct engine_request request = make_request(ENGINE_RECOMMEND, users[u], 40);
            request.exclude_seen = task == 1;
            if (task >= 2) {
                request.task = task == 2 ? ENGINE_RANK : ENGINE_SIMILAR;
                request.items = candidates + (task == 2 ? 0 : u);
                request.item_count = task == 2 ? 60 : (size_t)task - 1;
                request.n = task == 2 ? 0 : 30;
            }
            char label[96];
            snprintf(label, sizeof label, "%s, '%s', task %d", what, users[u], task);
            struct engine_answer left = ask(a, &request), right = ask(b, &request);
            expect_equal(&left, &right, label);
            cr_assert_str_eq(left.model, right.model, "%s", label);
            cr_assert_str_eq(left.counts, right.counts, "%s", label);
            cr_assert_str_eq(left.catalogue, right.catalogue, "%s", label);
            engine_answer_close(&left);
            engine_answer_close(&right);
        }
    for (int i = 0; i < 60; i++)
        free((char *)candidates[i]);
}

#endif
