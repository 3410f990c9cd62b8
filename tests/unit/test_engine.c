/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine.h"

#include "daemon/refit.h"
#include "daemon/writer.h"
#include "models/default_model.h"
#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <math.h>
#include <semaphore.h>
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

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static void close_rig(struct rig *rig)
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

static void set_up(void)
{
    matrix_init();
    strcpy(top, "/tmp/test_engine_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
    config_init(&config);
    random_init(&rng, 11);
    OK((writer = store_open_writer(&(struct store_options){.data_dir = dir}, &st)) != NULL);
}

static void tear_down(void)
{
    close_rig(&rigs[0]);
    close_rig(&rigs[1]);
    store_close(writer);
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(engine, .init = set_up, .fini = tear_down);

/* ---- the shop in the store; all of these inside a transaction */

static void item_name(char name[16], int number)
{
    snprintf(name, 16, "item-%04d", (number * 7919) % 10000); /* the order of names is not that of ids */
}

static const char *named(int number)
{
    static char names[8][16];
    static int next;
    next = (next + 1) % 8;
    item_name(names[next], number);
    return names[next];
}

/* Vectors around one of six centres. */
static void make_vector(float *values, int dimension, int number)
{
    struct random centre, own;
    random_init(&centre, (uint64_t)(number % 6));
    random_init(&own, 1000 + (uint64_t)number);
    for (int i = 0; i < dimension; i++)
        values[i] = random_normal(&centre) + 0.6f * random_normal(&own);
}

static void add_space(struct store_space *space, const char *modality, int32_t dimension)
{
    *space = (struct store_space){.dimension = dimension, .encoder = "enc@1"};
    snprintf(space->modality, sizeof space->modality, "%s", modality);
    OK(store_space_put(writer, space, &st));
}

static void add_vector(uint32_t item_id, const struct store_space *space, int number)
{
    float values[64];
    int64_t position;
    make_vector(values, space->dimension, number);
    OK(store_feature_put(writer, item_id, space, values, NOW, &position, &st));
}

static void add_item(int number)
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

static void add_event(const char *user, int number, const char *behaviour, int64_t ts_ms)
{
    struct store_event event = {.ts_ms = ts_ms, .item_id = (uint32_t)number};
    bool created, duplicate;
    OK(store_user_find(writer, user, true, &event.user_id, &created, &st));
    OK(store_behaviour_find(writer, behaviour, true, &event.behaviour, &st));
    OK(store_event_append(writer, &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, &st));
}

static int64_t commit(void)
{
    int64_t position;
    OK(store_commit(writer, &st));
    OK(store_position(writer, &position, &st));
    return position;
}

static void begin(void)
{
    OK(store_begin(writer, &st));
}

/* Users with a taste: two of the six centres each, with an odd item in between. */
static void add_events(int per_user)
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
static void add_shop(int items, bool modalities)
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

static void set_counts(struct rig *rig, int64_t position)
{
    struct status st = STATUS_INIT;
    struct counts_view *counts = engine_rebuild_counts(&rig->engine, rig->reader, position, NULL, &st);
    cr_assert_not_null(counts, "%s", st.message);
    engine_set_counts(&rig->engine, counts);
}

/* An engine over what the store holds now, with `model`, or the default model of the shop. */
static void open_rig(struct rig *rig, struct model *model)
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

static void open_shop(int items, bool modalities)
{
    add_shop(items, modalities);
    open_rig(&rigs[0], NULL);
}

static struct engine_request make_request(enum engine_task task, const char *user, size_t n)
{
    return (struct engine_request){.task = task, .user = user, .n = n, .at_position = INT64_MAX, .now_ms = NOW};
}

/* The answer lies in the worker's arena, which the tests do not rewind. */
static struct engine_answer ask(struct rig *rig, const struct engine_request *request)
{
    struct engine_answer answer;
    OK(engine_answer(&rig->worker, request, &answer, &st));
    return answer;
}

static struct engine_answer recommend(struct rig *rig, const char *user, size_t n)
{
    struct engine_request request = make_request(ENGINE_RECOMMEND, user, n);
    return ask(rig, &request);
}

static void refused(const struct engine_request *request, enum status_code code, const char *reason, const char *field)
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

static const char *name_at(const struct engine_answer *answer, size_t i)
{
    return answer->items[i].item->item.name;
}

static bool lists(const struct engine_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strcmp(name_at(answer, i), name) == 0)
            return true;
    return false;
}

static bool is_degraded(const struct engine_answer *answer, const char *note)
{
    for (size_t i = 0; i < answer->degraded_count; i++)
        if (strcmp(answer->degraded[i], note) == 0)
            return true;
    return false;
}

static float part(const struct engine_item *item, const char *key)
{
    for (size_t i = 0; i < item->part_count; i++)
        if (strcmp(item->parts[i].key, key) == 0)
            return item->parts[i].value;
    return 0;
}

/* what counts as the same score, after the design: 1e-5 of the sum of the terms' sizes */
static float tolerance(const struct engine_item *item)
{
    float sum = fabsf(item->score);
    for (size_t i = 0; i < item->part_count; i++)
        sum += fabsf(item->parts[i].value);
    return 1e-5f * sum + 1e-9f;
}

/* Best first, nothing twice, ties by name, and each score is the sum of its parts. */
static void expect_in_order(const struct engine_answer *answer, size_t count)
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
static void expect_equal(const struct engine_answer *a, const struct engine_answer *b, const char *what)
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
static void expect_equal_engines(struct rig *a, struct rig *b, const char *what)
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

/* ---- what a list is */

Test(engine, recommends_and_says_from_what)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 50);
    char position[ENGINE_VERSION_TEXT];
    expect_in_order(&answer, 50);
    cr_assert_eq(strncmp(answer.model, "default-", 8), 0, "%s", answer.model);
    snprintf(position, sizeof position, "%lld", (long long)engine->committed);
    cr_assert_str_eq(answer.seq, position);
    cr_assert_str_eq(answer.counts, position);
    snprintf(position, sizeof position, "%lld", (long long)catalog_position(rigs[0].catalog));
    cr_assert_str_eq(answer.catalogue, position);
    cr_assert_eq(answer.now_ms, NOW);
    cr_assert_eq(answer.degraded_count, 0);
    cr_assert_str_eq(answer.shortened, "");
    cr_assert_eq(answer.items[0].source, SOURCE_ATTENTION);
    cr_assert_gt(part(&answer.items[0], "text") + part(&answer.items[0], "image"), 0);
    engine_answer_close(&answer);
}

Test(engine, all_that_qualify_when_more_are_asked_for)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 1000);
    expect_in_order(&answer, SHOP);
    cr_assert_str_neq(answer.shortened, "");
    engine_answer_close(&answer);
}

Test(engine, ranks_what_it_is_given)
{
    open_shop(SHOP, true);
    const char *items[] = {named(5), named(6), "no such item", named(7), named(5), "nor this"};
    struct engine_request request = make_request(ENGINE_RANK, "user-1", 0);
    request.items = items;
    request.item_count = 6;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 3);
    cr_assert(lists(&answer, items[0]) && lists(&answer, items[1]) && lists(&answer, items[3]));
    cr_assert_eq(answer.unknown_count, 2);
    cr_assert_str_eq(answer.unknown[0], "no such item");
    cr_assert_str_eq(answer.unknown[1], "nor this");
    request.n = 2;
    struct engine_answer two = ask(&rigs[0], &request);
    expect_in_order(&two, 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_str_eq(name_at(&two, i), name_at(&answer, i));
    engine_answer_close(&answer);
    engine_answer_close(&two);
    request.n = 0;
    request.user = "nobody"; /* nothing to go by is no reason to leave one out */
    struct engine_answer cold = ask(&rigs[0], &request);
    expect_in_order(&cold, 3);
    engine_answer_close(&cold);
    request.item_count = 0;
    struct engine_answer none = ask(&rigs[0], &request);
    cr_assert_eq(none.count, 0);
    engine_answer_close(&none);
}

/* A score does not depend on what else is asked for. */
Test(engine, ranks_with_the_scores_of_the_whole_list)
{
    open_shop(SHOP, true);
    struct engine_answer all = recommend(&rigs[0], "user-2", SHOP);
    for (size_t i = 0; i < all.count; i += 23) {
        const char *item = name_at(&all, i);
        struct engine_request request = make_request(ENGINE_RANK, "user-2", 0);
        request.items = &item;
        request.item_count = 1;
        struct engine_answer one = ask(&rigs[0], &request);
        cr_assert_eq(one.count, 1);
        cr_assert_leq(fabsf(one.items[0].score - all.items[i].score), tolerance(&all.items[i]));
        engine_answer_close(&one);
    }
    engine_answer_close(&all);
}

Test(engine, finds_similar_items)
{
    open_shop(SHOP, true);
    const char *examples[] = {named(12), "no such item"};
    struct engine_request request = make_request(ENGINE_SIMILAR, NULL, 20);
    request.items = examples;
    request.item_count = 2;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 20);
    cr_assert_not(lists(&answer, examples[0]));
    cr_assert_eq(answer.unknown_count, 1);
    cr_assert_eq(answer.degraded_count, 0, "nobody is asked about");
    int same = 0;
    for (size_t i = 0; i < 20; i++) {
        same += answer.items[i].item->item.item_id % 6 == 0;
        cr_assert_eq(part(&answer.items[i], "popularity"), 0);
    }
    cr_assert_geq(same, 18, "%d of 20 have the same centre", same);
    request.include_context = true;
    struct engine_answer with = ask(&rigs[0], &request);
    cr_assert_str_eq(name_at(&with, 0), examples[0], "nothing is more similar than the item itself");
    const char *modality = "image";
    request.modalities = &modality;
    request.modality_count = 1;
    struct engine_answer images = ask(&rigs[0], &request);
    expect_in_order(&images, 20);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(part(&images.items[i], "text"), 0);
        cr_assert_eq(part(&images.items[i], "behaviour"), 0);
    }
    engine_answer_close(&answer);
    engine_answer_close(&with);
    engine_answer_close(&images);
    modality = "smell";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "modalities");
}

Test(engine, ties_go_by_the_external_id)
{
    open_shop(SHOP, true);
    /* the last 20 have no text, each tenth no image: without both, unseen and never next to another, all that they have is new */
    const char *names[2] = {named(290), named(300)};
    struct engine_request request = make_request(ENGINE_RANK, "user-1", 1);
    bool first = strcmp(names[0], names[1]) < 0;
    request.items = names;
    request.item_count = 2;
    for (int order = 0; order < 2; order++) {
        struct engine_answer answer = ask(&rigs[0], &request);
        cr_assert_eq(answer.count, 1);
        cr_assert_eq(answer.items[0].score, *rigs[0].engine.snapshot->model->weights.novelty);
        cr_assert_str_eq(name_at(&answer, 0), names[first ? 0 : 1]);
        engine_answer_close(&answer);
    }
}

/* No vectors: a known user's score of what never followed anything is 0, for most of the shop. */
Test(engine, many_ties_are_settled_by_the_external_id)
{
    open_shop(SHOP, false);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", SHOP);
    struct engine_weight weights[] = {{"popularity", 0}};
    request.weights = weights;
    request.weight_count = 1;
    struct engine_answer all = ask(&rigs[0], &request);
    expect_in_order(&all, SHOP);
    cr_assert_eq(all.items[200].score, 0);
    for (size_t n = 1; n < SHOP; n += 29) { /* a cut through the ties is a beginning of the whole */
        request.n = n;
        struct engine_answer some = ask(&rigs[0], &request);
        cr_assert_eq(some.count, n);
        for (size_t i = 0; i < n; i++)
            cr_assert_str_eq(name_at(&some, i), name_at(&all, i), "%zu of %zu", i, n);
        engine_answer_close(&some);
    }
    engine_answer_close(&all);
}

Test(engine, weights_multiply_the_parts)
{
    static const char *const keys[] = {"text", "image", "behaviour", "popularity"};
    open_shop(SHOP, true);
    struct engine_answer plain = recommend(&rigs[0], "user-4", SHOP);
    for (size_t k = 0; k < 4; k++) {
        struct engine_weight weights[] = {{keys[k], -2}, {keys[(k + 1) % 4], 0}};
        struct engine_request request = make_request(ENGINE_RECOMMEND, "user-4", SHOP);
        request.weights = weights;
        request.weight_count = 2;
        struct engine_answer answer = ask(&rigs[0], &request);
        expect_in_order(&answer, SHOP);
        for (size_t i = 0; i < SHOP; i++) {
            const struct engine_item *item = &answer.items[i], *as_before = NULL;
            for (size_t j = 0; j < SHOP; j++)
                if (plain.items[j].item == item->item)
                    as_before = &plain.items[j];
            cr_assert_not_null(as_before);
            for (size_t other = 0; other < 4; other++) {
                float factor = other == k ? -2 : other == (k + 1) % 4 ? 0 : 1;
                cr_assert_leq(fabsf(part(item, keys[other]) - factor * part(as_before, keys[other])),
                              3 * tolerance(as_before), "%s with weights on %s", keys[other], keys[k]);
            }
        }
        engine_answer_close(&answer);
    }
    engine_answer_close(&plain);
    struct engine_weight bad = {"smell", 1};
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-4", 10);
    request.weights = &bad;
    request.weight_count = 1;
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "weights");
}

/* ---- equal lists */

Test(engine, an_engine_built_afresh_gives_equal_lists)
{
    open_shop(SHOP, true);
    open_rig(&rigs[1], NULL);
    cr_assert_str_eq(rigs[0].engine.snapshot->model->version, rigs[1].engine.snapshot->model->version);
    expect_equal_engines(&rigs[0], &rigs[1], "afresh");
}

Test(engine, the_scan_of_a_large_shop_gives_equal_lists)
{
    static struct config narrow;
    open_shop(SHOP, true);
    narrow = config;
    narrow.model_exhaustive = 0;
    narrow.model_candidates = 10 * SHOP; /* new items are a tenth of the candidates */
    open_rig(&rigs[1], rigs[0].engine.snapshot->model);
    rigs[1].engine.config = &narrow;
    expect_equal_engines(&rigs[0], &rigs[1], "scan");
}

Test(engine, few_candidates_have_the_scores_of_the_whole_list)
{
    static struct config narrow;
    open_shop(SHOP, true);
    narrow = config;
    narrow.model_exhaustive = 0;
    narrow.model_candidates = 60;
    open_rig(&rigs[1], rigs[0].engine.snapshot->model);
    rigs[1].engine.config = &narrow;
    size_t found = 0;
    for (int user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%d", user);
        struct engine_answer all = recommend(&rigs[0], name, SHOP), few = recommend(&rigs[1], name, 10);
        expect_in_order(&few, 10);
        for (size_t i = 0; i < 10; i++) {
            size_t j = 0;
            while (strcmp(name_at(&few, i), name_at(&all, j)) != 0)
                j++;
            cr_assert_leq(fabsf(few.items[i].score - all.items[j].score), tolerance(&all.items[j]));
            found += j < 10;
        }
        engine_answer_close(&all);
        engine_answer_close(&few);
    }
    cr_assert_geq(found, 7 * USERS, "%zu of %d of the best ten", found, 10 * USERS);
    struct engine_answer cold = recommend(&rigs[1], "nobody", SHOP); /* never short while an item qualifies */
    expect_in_order(&cold, SHOP);
    engine_answer_close(&cold);
}

/* ---- what is left out */

Test(engine, leaves_out_what_is_excluded)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-5", 20);
    const char *exclude[] = {name_at(&answer, 0), name_at(&answer, 7), "no such item", name_at(&answer, 3)};
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-5", 17);
    request.exclude = exclude;
    request.exclude_count = 4;
    struct engine_answer fewer = ask(&rigs[0], &request);
    expect_in_order(&fewer, 17);
    for (size_t i = 0, j = 0; i < 20; i++)
        if (i != 0 && i != 7 && i != 3)
            cr_assert_str_eq(name_at(&fewer, j++), name_at(&answer, i));
    cr_assert_eq(fewer.unknown_count, 1);
    engine_answer_close(&fewer);
    engine_answer_close(&answer);
}

/* The items that `user` is shown are exactly those from `first` on. */
static void expect_only_from(const struct engine_request *request, int first, const char *what)
{
    struct engine_answer answer = ask(&rigs[0], request);
    cr_assert_eq(answer.count, (size_t)(SHOP - first + 1), "%s: %zu items", what, answer.count);
    for (size_t i = 0; i < answer.count; i++)
        cr_assert_geq(answer.items[i].item->item.item_id, (uint32_t)first, "%s: %s", what, name_at(&answer, i));
    engine_answer_close(&answer);
}

Test(engine, excludes_what_was_seen_however_long_ago)
{
    static const char *const purchases[] = {"purchase"}, *const both[] = {"purchase", "view"};
    add_shop(SHOP, true);
    begin();
    for (int i = 0; i < 200; i++) /* 1..100 bought, 101..200 viewed, long ago */
        add_event("busy", 1 + i, i < 100 ? "purchase" : "view", NOW - 1000 * HOUR_MS + i);
    for (int i = 0; i < HISTORIES_EVENTS_MAX + 50; i++) /* and ever since no more than ten others */
        add_event("busy", 201 + i % 10, "view", NOW - 10 * HOUR_MS + i);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "busy", SHOP);
    expect_only_from(&request, 1, "all");
    request.exclude_seen = true;
    for (int round = 0; round < 2; round++) { /* from the store, then from memory */
        expect_only_from(&request, 211, "seen");
        request.seen_behaviours = purchases;
        request.seen_behaviour_count = 1;
        expect_only_from(&request, 101, "bought");
        request.seen_behaviours = both;
        request.seen_behaviour_count = 2;
        expect_only_from(&request, 211, "bought or viewed");
        request.seen_behaviour_count = 0;
    }
    request.seen_within_ms = 11 * HOUR_MS;
    struct engine_answer recent = ask(&rigs[0], &request);
    cr_assert_eq(recent.count, SHOP - 10);
    cr_assert(lists(&recent, named(1)));
    cr_assert_not(lists(&recent, named(205)));
    engine_answer_close(&recent);
    request.user = "nobody";
    expect_only_from(&request, 1, "nobody has seen nothing");
}

Test(engine, seen_counts_from_the_edge_of_its_window)
{
    add_shop(SHOP, true);
    begin();
    add_event("edge", 1, "view", NOW - 1000);
    add_event("edge", 2, "view", NOW - 999);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "edge", SHOP);
    request.exclude_seen = true;
    request.seen_within_ms = 1000;
    struct engine_answer answer = ask(&rigs[0], &request);
    cr_assert(lists(&answer, named(1)));
    cr_assert_not(lists(&answer, named(2)));
    engine_answer_close(&answer);
}

Test(engine, refuses_an_unknown_behaviour)
{
    const char *wrong = "veiw";
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.exclude_seen = true;
    request.seen_behaviours = &wrong;
    request.seen_behaviour_count = 1;
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
    wrong = "";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
    wrong = "veiw"; /* a mistake is one whoever is asked about */
    request.user = "nobody";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
}

/* ---- the past */

static void add_more_events(void)
{
    begin();
    add_events(10);
    rigs[0].engine.committed = commit();
    histories_drop(rigs[0].histories, NULL); /* events came past the writer */
}

Test(engine, the_past_can_be_asked_for)
{
    open_shop(SHOP, true);
    struct engine_answer then[USERS + 1];
    struct engine_request request = make_request(ENGINE_RECOMMEND, NULL, 60);
    char names[USERS + 1][16];
    for (int user = 0; user <= USERS; user++) {
        snprintf(names[user], sizeof names[user], "user-%d", user); /* the last is not known yet */
        then[user] = recommend(&rigs[0], names[user], 60);
    }
    for (int round = 0; round < 3; round++) {
        add_more_events();
        begin();
        add_event(names[USERS], 3 + round, "purchase", NOW - 5);
        engine->committed = commit();
        histories_drop(rigs[0].histories, NULL);
        set_counts(&rigs[0], engine->committed);
    }
    bool changed = false;
    for (int user = 0; user <= USERS; user++) {
        request.user = names[user];
        request.at_position = strtoll(then[user].seq, NULL, 10);
        request.counts = then[user].counts;
        struct engine_answer again = ask(&rigs[0], &request);
        expect_equal(&then[user], &again, names[user]);
        cr_assert_str_eq(again.seq, then[user].seq);
        cr_assert_str_eq(again.counts, then[user].counts);
        struct engine_answer now = recommend(&rigs[0], names[user], 60);
        changed = changed || strcmp(name_at(&now, 0), name_at(&again, 0)) != 0;
        engine_answer_close(&now);
        engine_answer_close(&again);
    }
    cr_assert(changed, "a test in which nothing changes shows nothing");
    request.user = "user-1"; /* an older version of the counts under today's histories */
    request.at_position = INT64_MAX;
    struct engine_answer mixed = ask(&rigs[0], &request);
    expect_in_order(&mixed, 60);
    cr_assert_str_eq(mixed.counts, then[1].counts);
    cr_assert_str_neq(mixed.seq, then[1].seq);
    engine_answer_close(&mixed);
    request.at_position = 0;
    struct engine_answer before_all = ask(&rigs[0], &request);
    cr_assert_str_eq(before_all.seq, "0");
    engine_answer_close(&before_all);
    for (int user = 0; user <= USERS; user++)
        engine_answer_close(&then[user]);
}

Test(engine, refuses_versions_that_are_not_to_be_had)
{
    char version[40];
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.at_position = engine->committed + 1;
    refused(&request, STATUS_FAILED_PRECONDITION, "OUT_OF_LOG", "at_seq");
    request.at_position = INT64_MAX;
    request.model = "default-00000000";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "model");
    request.model = NULL;
    request.catalogue = "1";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "catalogue");
    request.catalogue = NULL;
    request.counts = "yesterday";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    request.counts = "-1";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    snprintf(version, sizeof version, "%lld", (long long)engine->committed + 1);
    request.counts = version;
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    snprintf(version, sizeof version, "%lldx", (long long)engine->committed); /* begins like the current one */
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");

    struct engine_answer answer = recommend(&rigs[0], "user-1", 10);
    request.model = answer.model;
    request.counts = answer.counts;
    request.catalogue = answer.catalogue;
    struct engine_answer same = ask(&rigs[0], &request);
    expect_equal(&answer, &same, "the versions that answer");
    engine_answer_close(&answer);
    engine_answer_close(&same);
}

Test(engine, says_when_it_is_stale)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.min_position = engine->committed;
    struct engine_answer fresh = ask(&rigs[0], &request);
    cr_assert_not(is_degraded(&fresh, "stale"));
    request.min_position = engine->committed + 1;
    struct engine_answer stale = ask(&rigs[0], &request);
    cr_assert(is_degraded(&stale, "stale"));
    cr_assert_eq(stale.count, 10);
    engine_answer_close(&fresh);
    engine_answer_close(&stale);
}

/* ---- little to go by */

Test(engine, a_stranger_gets_what_is_popular_then_what_is_new)
{
    static const char *const strangers[] = {"nobody", "", NULL};
    open_shop(SHOP, true);
    for (size_t s = 0; s < 3; s++) {
        struct engine_answer answer = recommend(&rigs[0], strangers[s], SHOP);
        expect_in_order(&answer, SHOP);
        cr_assert(is_degraded(&answer, s == 0 ? "unknown_user" : "no_history"));
        cr_assert_str_neq(answer.filled, "");
        cr_assert_gt(answer.items[0].score, 0);
        uint32_t last = UINT32_MAX;
        for (size_t i = 0; i < SHOP; i++) {
            const struct engine_item *item = &answer.items[i];
            cr_assert_geq(item->source, SOURCE_TRENDING);
            cr_assert_eq(item->source == SOURCE_NEWEST, item->score == 0);
            if (item->source == SOURCE_NEWEST) {
                cr_assert_lt(item->item->item.item_id, last, "the newest first");
                last = item->item->item.item_id;
            }
        }
        cr_assert_neq(last, UINT32_MAX);
        engine_answer_close(&answer);
    }
}

Test(engine, a_user_whose_events_lie_ahead_is_as_good_as_new)
{
    open_shop(SHOP, true);
    int64_t before = engine->committed;
    begin();
    add_event("late", 5, "view", NOW);
    engine->committed = commit();
    struct engine_request request = make_request(ENGINE_RECOMMEND, "late", 10);
    request.at_position = before;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 10);
    cr_assert(is_degraded(&answer, "no_history") || is_degraded(&answer, "unknown_user"));
    engine_answer_close(&answer);
}

Test(engine, an_empty_shop_gives_empty_lists)
{
    open_shop(0, false);
    struct engine_answer answer = recommend(&rigs[0], "nobody", 10);
    cr_assert_eq(answer.count, 0);
    cr_assert_str_neq(answer.shortened, "");
    cr_assert_str_eq(answer.catalogue, "0");
    engine_answer_close(&answer);
    const char *item = "no such item";
    struct engine_request request = make_request(ENGINE_RANK, "nobody", 0);
    request.items = &item;
    request.item_count = 1;
    for (int task = 0; task < 2; task++) {
        struct engine_answer none = ask(&rigs[0], &request);
        cr_assert_eq(none.count, 0);
        cr_assert_eq(none.unknown_count, 1);
        engine_answer_close(&none);
        request.task = ENGINE_SIMILAR;
        request.n = 10;
    }
}

Test(engine, one_item_is_a_list)
{
    add_shop(1, true);
    begin();
    add_event("fan", 1, "view", NOW - 1);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_answer known = recommend(&rigs[0], "fan", 10), stranger = recommend(&rigs[0], "nobody", 10);
    expect_in_order(&known, 1);
    expect_in_order(&stranger, 1);
    cr_assert_str_eq(name_at(&known, 0), named(1));
    engine_answer_close(&known);
    engine_answer_close(&stranger);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "fan", 10);
    request.exclude_seen = true;
    struct engine_answer none = ask(&rigs[0], &request);
    cr_assert_eq(none.count, 0);
    cr_assert_str_neq(none.shortened, "");
    engine_answer_close(&none);
}

Test(engine, without_vectors_counts_rank)
{
    open_shop(SHOP, false);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 30);
    expect_in_order(&answer, 30);
    cr_assert_eq(answer.items[0].source, SOURCE_NEIGHBOUR);
    for (size_t i = 0; i < 30; i++) {
        cr_assert_eq(answer.items[i].part_count, 2);
        cr_assert_gt(part(&answer.items[i], "behaviour"), 0);
    }
    engine_answer_close(&answer);
    open_rig(&rigs[1], NULL);
    expect_equal_engines(&rigs[0], &rigs[1], "no vectors");
}

Test(engine, without_a_model_it_is_loading)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    pthread_mutex_lock(&engine->apply_lock);
    engine_set_snapshot(engine, NULL);
    pthread_mutex_unlock(&engine->apply_lock);
    refused(&request, STATUS_UNAVAILABLE, "LOADING", "");
}

/* Whatever does not fit: a coded error, and nothing is kept. */
Test(engine, too_little_memory_is_an_error)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 50);
    const char *exclude = named(1);
    request.exclude_seen = true;
    request.exclude = &exclude;
    request.exclude_count = 1;
    for (size_t bytes = 0, refusals = 0;; bytes += 256) {
        struct status st = STATUS_INIT;
        struct engine_answer answer;
        arena_close(&rigs[0].worker.arena);
        arena_init(&rigs[0].worker.arena, bytes);
        if (engine_answer(&rigs[0].worker, &request, &answer, &st)) {
            expect_in_order(&answer, 50);
            engine_answer_close(&answer);
            cr_assert_gt(refusals, 10);
            break;
        }
        refusals++;
        cr_assert_eq(st.code, STATUS_RESOURCE_EXHAUSTED, "%s", st.message);
        cr_assert_str_eq(st.reason, "NO_MEMORY");
        cr_assert_eq(engine->snapshot->references, 1);
        cr_assert_eq(engine->counts->references, 1);
        bytes += bytes / 16;
    }
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

Test(engine, a_change_shows_in_the_next_answer)
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

static void compact(void)
{
    OK(engine_install_model(engine, NULL, &rigs[0].arena, &st));
}

Test(engine, compaction_leaves_lists_equal)
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

Test(engine, compaction_while_items_change_leaves_lists_equal)
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
Test(engine, a_full_snapshot_is_built_anew)
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

/* ---- with the writer */

struct put {
    struct write_task task;
    sem_t done;
    struct status status;
};

static bool put_item_and_event(struct writer *w, struct write_task *task, struct status *st)
{
    struct catalog_item *old = writer_find_item(w, named(7));
    struct store_item item = old->item;
    struct store_event event = {.ts_ms = NOW - 1, .item_id = 7, .behaviour = 1};
    bool created, duplicate;
    item.title = "a third title";
    task->changed = true;
    bool ok = writer_put_item(w, &item, old, NULL, 0, NOW, st) &&
              store_user_find(w->store, "user-1", true, &event.user_id, &created, st) &&
              writer_add_event(w, "user-1", &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, st);
    catalog_item_release(old);
    return ok;
}

static void put_done(struct writer *w, struct write_task *task, const struct status *st)
{
    struct put *put = task->context;
    (void)w;
    put->status = *st;
    sem_post(&put->done);
}

/* The version of the catalogue is that of its last change: an event in the same batch does not move it, nor does a
 * compaction or a restart. */
Test(engine, the_version_of_the_catalogue_is_that_of_its_last_change)
{
    static struct writer w;
    struct put put = {.status = STATUS_INIT};
    open_shop(SHOP, true);
    put.task = (struct write_task){.write = put_item_and_event, .done = put_done, .context = &put, .rows = 2};
    sem_init(&put.done, 0, 0);
    OK(writer_start(&w, writer, engine, &st));
    OK(writer_submit(&w, &put.task, &st));
    sem_wait(&put.done);
    writer_stop(&w);
    sem_destroy(&put.done);
    cr_assert_eq(put.status.code, STATUS_OK, "%s", put.status.message);
    struct engine_answer before = recommend(&rigs[0], "user-1", 10);
    compact();
    struct engine_answer compacted = recommend(&rigs[0], "user-1", 10);
    open_rig(&rigs[1], engine->snapshot->model);
    struct engine_answer restarted = recommend(&rigs[1], "user-1", 10);
    cr_assert_str_eq(compacted.catalogue, restarted.catalogue);
    cr_expect_str_eq(before.catalogue, compacted.catalogue, "%s became %s, and no item has changed", before.catalogue,
                     compacted.catalogue);
    engine_answer_close(&before);
    engine_answer_close(&compacted);
    engine_answer_close(&restarted);
}

/* ---- the default model */

Test(engine, the_default_model_is_due_when_the_shop_has_grown)
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
