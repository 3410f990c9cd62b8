/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread changes items, one compacts, readers ask for lists. Every record carries the number of its change in title,
 * price and all values of its vectors. Readers check that what they get is of one piece, nothing twice, nothing older
 * than what was acknowledged before they asked, nothing that is hidden, and as much as they asked for. For the thread
 * sanitizer: plain main, exit code 1 on failure. */
#include "daemon/engine.h"
#include "daemon/refit.h"
#include "daemon/timestamp.h"
#include "models/matrix.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READERS     3
#define ITEMS_FIRST 600
#define ITEMS_MAX   3000
#define ITEMS_BUSY  200 /* take most of the changes: the others show what was lost for longer */
#define BATCH       100
#define USERS       20
#define USER_EVENTS 8
#define SECONDS     5
#define RATE        15000 /* changes a second, at most */
#define TEXT        16
#define IMAGE       8
#define NOW         ((int64_t)1700000000000)
#define LIST        20
#define RANKED      30
#define COMPLAINTS  20
#define ARENA_BYTES ((size_t)64 << 20)

/* The number of an item's change, and whether that hid it; 0 where there is no item yet. */
#define HIDDEN       1u
#define number_of(s) ((s) >> 1)

struct stress {
    struct config config;
    struct store_options options;
    struct store *store;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    uint32_t spaces[2];
    atomic_uint begun[ITEMS_MAX + 1];        /* the change that may be visible */
    atomic_uint acknowledged[ITEMS_MAX + 1]; /* the change that has to be visible */
    atomic_uint item_count;
    atomic_bool done;
    atomic_long changes, requests, compactions;
    atomic_int failures;
    unsigned number; /* of the last change, which is its position too; the changing thread's */
};

struct reader {
    struct stress *stress;
    unsigned random_state;
    pthread_t thread;
    struct store *store;
    struct engine_worker worker;
    unsigned before[ITEMS_MAX + 1], after[ITEMS_MAX + 1];
    bool listed[ITEMS_MAX + 1];
};

static void complain(struct stress *stress, uint32_t item_id, const char *what, unsigned a, unsigned b)
{
    if (atomic_fetch_add(&stress->failures, 1) < COMPLAINTS)
        fprintf(stderr, "stress_snapshot: item %u: %s (%u, %u)\n", (unsigned)item_id, what, a, b);
}

static void need(bool ok, const char *what, const struct status *st)
{
    if (ok)
        return;
    fprintf(stderr, "stress_snapshot: %s: %s\n", what, st == NULL ? "failed" : st->message);
    exit(1);
}

static unsigned pick(unsigned *state, unsigned below)
{
    return (unsigned)rand_r(state) % below;
}

static void item_name(char name[16], uint32_t item_id)
{
    snprintf(name, 16, "item-%u", (unsigned)item_id);
}

/* Different directions for different numbers: encoded rows are unit vectors. */
static float component(unsigned number, int i)
{
    unsigned mixed = (number * 2654435761u) ^ ((unsigned)i * 40503u * 65537u);
    mixed = (mixed ^ (mixed >> 15)) * 2246822519u;
    return (float)((int)((mixed >> 12) % 2001) - 1000);
}

/* ---- changing */

static struct catalog_item *make_record(const struct stress *stress, uint32_t item_id, unsigned state)
{
    unsigned number = number_of(state);
    char name[16], title[16], attributes[96], categories[32];
    float values[TEXT];
    struct catalog_feature *vectors[2];
    item_name(name, item_id);
    snprintf(title, sizeof title, "%u", number);
    snprintf(categories, sizeof categories, "[\"c%u\"]", number % 7);
    snprintf(attributes, sizeof attributes, "{\"third\":\"%u\",\"number\":%u,\"one of many\":\"%u\"}", number % 3,
             number, number);
    struct store_item item = {.item_id = item_id,
                              .name = name,
                              .title = title,
                              .categories_json = categories,
                              .attributes_json = attributes,
                              .has_price = true,
                              .price = number,
                              .available = (state & HIDDEN) == 0 || number % 2 == 0,
                              .deleted = (state & HIDDEN) != 0 && number % 2 == 0,
                              .expires_ms = INT64_MAX,
                              .position = number};
    for (int i = 0; i < TEXT; i++)
        values[i] = component(number, i);
    vectors[0] = catalog_feature_new(stress->spaces[0], TEXT, values);
    vectors[1] = catalog_feature_new(stress->spaces[1], IMAGE, values);
    need(vectors[0] != NULL && vectors[1] != NULL, "vectors", NULL);
    struct catalog_item *record = catalog_item_new(&item, NULL, vectors, 2);
    need(record != NULL, "a record", NULL);
    return record;
}

struct change {
    uint32_t item_id;
    unsigned state;
};

/* As the writer does it: an item that changes twice in a batch stays in its first place, with the later position. */
static size_t make_batch(struct stress *stress, struct change *batch, unsigned *random_state)
{
    size_t count = 0, changes = 1 + pick(random_state, BATCH);
    unsigned items = atomic_load(&stress->item_count);
    for (size_t i = 0; i < changes; i++) {
        uint32_t item_id = 1 + pick(random_state, pick(random_state, 4) > 0 ? ITEMS_BUSY : items);
        if (pick(random_state, 20) == 0 && items < ITEMS_MAX)
            item_id = ++items;
        size_t at = 0;
        while (at < count && batch[at].item_id != item_id)
            at++;
        count += at == count;
        batch[at] = (struct change){item_id, ++stress->number << 1 | (pick(random_state, 10) == 0 ? HIDDEN : 0)};
    }
    atomic_fetch_add(&stress->changes, (long)changes);
    return count;
}

static void apply(struct stress *stress, const struct change *batch, size_t count, struct arena *arena)
{
    struct catalog_item *records[ITEMS_FIRST];
    struct status st = STATUS_INIT;
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        records[i] = make_record(stress, batch[i].item_id, batch[i].state);
        atomic_store(&stress->begun[batch[i].item_id], batch[i].state);
        largest = batch[i].item_id > largest ? batch[i].item_id : largest;
    }
    need(engine_apply_items(&stress->engine, records, count, stress->number, arena, &st), "apply items", &st);
    stress->engine.committed = stress->number;
    for (size_t i = 0; i < count; i++)
        atomic_store(&stress->acknowledged[batch[i].item_id], batch[i].state);
    if (largest > atomic_load(&stress->item_count))
        atomic_store(&stress->item_count, largest);
}

static void change_items(struct stress *stress)
{
    struct change batch[BATCH];
    struct arena arena;
    unsigned random_state = 1;
    arena_init(&arena, ARENA_BYTES);
    int64_t begin_us = timestamp_monotonic_us(), now_us = begin_us;
    while (now_us - begin_us < SECONDS * 1000000) {
        apply(stress, batch, make_batch(stress, batch, &random_state), &arena);
        now_us = timestamp_monotonic_us();
        int64_t due_us = begin_us + (int64_t)atomic_load(&stress->changes) * 1000000 / RATE;
        if (due_us > now_us)
            usleep((useconds_t)(due_us - now_us));
    }
    arena_close(&arena);
    atomic_store(&stress->done, true);
}

static void *compact(void *context)
{
    struct stress *stress = context;
    struct arena arena;
    unsigned random_state = 2;
    arena_init(&arena, ARENA_BYTES);
    while (!atomic_load(&stress->done)) {
        struct status st = STATUS_INIT;
        usleep(1000 + pick(&random_state, 30000));
        need(engine_install_model(&stress->engine, NULL, &arena, &st), "compact", &st);
        atomic_fetch_add(&stress->compactions, 1);
    }
    arena_close(&arena);
    return NULL;
}

/* ---- asking */

static void look(const struct stress *stress, unsigned *states, const atomic_uint *from)
{
    unsigned count = atomic_load(&stress->item_count) + BATCH; /* and those that come now */
    for (uint32_t id = 1; id <= ITEMS_MAX; id++)
        states[id] = id <= count ? atomic_load(&from[id]) : 0;
}

static void check_vector(struct reader *reader, const struct catalog_item *record, int which, unsigned number)
{
    const struct catalog_feature *feature = catalog_item_feature(record, reader->stress->spaces[which]);
    if (feature == NULL) {
        complain(reader->stress, record->item.item_id, "a vector is missing", number, 0);
        return;
    }
    for (int i = 0; i < feature->dimension; i++)
        if (feature->values[i] != component(number, i))
            complain(reader->stress, record->item.item_id, "a vector of another change", number, (unsigned)i);
}

/* what scoring read is what this record becomes */
static void check_row(struct reader *reader, const struct engine_answer *answer, const struct catalog_item *record)
{
    const struct model *model = answer->view.snapshot->model;
    uint32_t row = snapshot_find(&answer->view, record->item.item_id);
    if (row == SNAPSHOT_ROW_NONE || row >= answer->view.row_count) {
        complain(reader->stress, record->item.item_id, "listed without a row", row, 0);
        return;
    }
    const struct snapshot_segment *segment = snapshot_segment_of(&answer->view, row);
    struct encoder_item input = {.name = record->item.name};
    struct encoder_rows rows;
    size_t at = row - segment->first;
    if (segment->items[at] != record)
        complain(reader->stress, record->item.item_id, "the row of another record", row, 0);
    for (int v = 0; v < model->architecture.view_count; v++) {
        bool is_text = strcmp(model->architecture.views[v].modality, "text") == 0;
        input.vector[v] = catalog_item_feature(record, reader->stress->spaces[is_text ? 0 : 1])->values;
    }
    need(encoder_rows_init(&rows, &model->architecture, 1) &&
             encoder_encode(model, &input, 1, &rows, 0, &reader->worker.arena),
         "encode", NULL);
    for (int v = 0; v < model->architecture.view_count; v++) {
        size_t r = (size_t)model->architecture.views[v].components;
        for (size_t i = 0; i < r; i++)
            if (fabsf(segment->rows.view[v][at * r + i] - rows.view[v][i]) > 1e-4f)
                complain(reader->stress, record->item.item_id, "its row is not its own", row, (unsigned)i);
    }
    encoder_rows_close(&rows);
}

static void check_item(struct reader *reader, const struct catalog_item *record)
{
    struct stress *stress = reader->stress;
    const struct store_item *item = &record->item;
    uint32_t id = item->item_id;
    unsigned number = (unsigned)item->position;
    char name[16], title[16];
    if (id < 1 || id > ITEMS_MAX) {
        complain(stress, id, "there is no such item", number, 0);
        return;
    }
    item_name(name, id);
    snprintf(title, sizeof title, "%u", number);
    if (strcmp(item->name, name) != 0 || strcmp(item->title, title) != 0 || item->price != number)
        complain(stress, id, "a torn record", number, (unsigned)item->price);
    check_vector(reader, record, 0, number);
    check_vector(reader, record, 1, number);
    if (!item->available || item->deleted)
        complain(stress, id, "is hidden", number, 0);
    if (number < number_of(reader->before[id]))
        complain(stress, id, "older than what was acknowledged", number, number_of(reader->before[id]));
    if (number > number_of(reader->after[id]))
        complain(stress, id, "newer than it can be", number, number_of(reader->after[id]));
    if (reader->listed[id])
        complain(stress, id, "is listed twice", number, 0);
    reader->listed[id] = true;
}

/* it was shown before the request, and nothing has changed it since */
static bool stayed_shown(const struct reader *reader, uint32_t id)
{
    return reader->before[id] != 0 && (reader->before[id] & HIDDEN) == 0 && reader->before[id] == reader->after[id];
}

static void ask(struct reader *reader, const struct engine_request *request, const uint32_t *ids, size_t may_be_out)
{
    struct stress *stress = reader->stress;
    struct engine_answer answer;
    struct status st = STATUS_INIT;
    size_t qualify = 0;
    size_t broken_caps = 0;
    look(stress, reader->before, stress->acknowledged);
    struct arena_mark mark = arena_mark(&reader->worker.arena);
    need(engine_answer(&reader->worker, request, &answer, &st), "answer", &st);
    look(stress, reader->after, stress->begun);
    memset(reader->listed, 0, sizeof reader->listed);
    for (size_t i = 0; i < answer.count; i++) {
        check_item(reader, answer.items[i].item);
        if (i < 2)
            check_row(reader, &answer, answer.items[i].item);
        unsigned number = (unsigned)answer.items[i].item->item.position;
        if (request->rules != NULL && number % 3 != 1)
            complain(stress, 0, "not let through", number, number % 3);
        for (size_t k = i > 3 ? i - 3 : 0; request->rules != NULL && k < i; k++)
            broken_caps += (unsigned)answer.items[k].item->item.position % 7 == number % 7;
    }
    if (broken_caps > 0)
        complain(stress, 0, "a cap does not hold", (unsigned)broken_caps, 0);
    for (uint32_t id = 1; id <= ITEMS_MAX; id++)
        qualify += stayed_shown(reader, id);
    if (request->task != ENGINE_RANK && request->rules == NULL && qualify >= request->n + may_be_out &&
        answer.count != request->n)
        complain(stress, 0, "a short list", (unsigned)answer.count, (unsigned)qualify);
    for (size_t i = 0; request->task == ENGINE_RANK && i < request->item_count; i++)
        if (stayed_shown(reader, ids[i]) && !reader->listed[ids[i]])
            complain(stress, ids[i], "acknowledged and not ranked", number_of(reader->before[ids[i]]), 0);
    for (size_t i = 0; i < answer.unknown_count; i++) {
        uint32_t id = (uint32_t)atoi(answer.unknown[i] + strlen("item-"));
        if (reader->before[id] != 0)
            complain(stress, id, "acknowledged and unknown", number_of(reader->before[id]), 0);
    }
    engine_answer_close(&answer);
    arena_rewind(&reader->worker.arena, mark);
    atomic_fetch_add(&stress->requests, 1);
}

/* `count` different items, known ones as a rule */
static void pick_items(struct reader *reader, uint32_t *ids, char (*names)[16], const char **items, size_t count)
{
    unsigned known = atomic_load(&reader->stress->item_count) + 2, first = pick(&reader->random_state, known);
    unsigned step = 1 + pick(&reader->random_state, known / RANKED / 2);
    for (size_t i = 0; i < count; i++) {
        ids[i] = 1 + (first + (unsigned)i * step) % known;
        ids[i] = ids[i] > ITEMS_MAX ? ITEMS_MAX : ids[i];
        item_name(names[i], ids[i]);
        items[i] = names[i];
    }
}

/* every third change, no two of a category in four places, spread out */
static const char *const third[] = {"1"};
static const struct rule_condition is_third = {
    .field = "third", .any = third, .any_count = 1, .least = -INFINITY, .most = INFINITY, .exists = -1};
static const struct rule_condition has_number = {.field = "number", .least = 0, .most = INFINITY, .exists = -1};
static const struct rule_cap by_category = {"category", 1, 4};
static const struct rules rules = {
    .filter = {.must = &is_third, .must_count = 1, .should = &has_number, .should_count = 1},
    .caps = &by_category,
    .cap_count = 1,
    .diversity = 0.3f};

static void ask_something(struct reader *reader)
{
    char user[16], names[RANKED][16];
    uint32_t ids[RANKED];
    const char *items[RANKED];
    struct engine_request request = {.n = LIST, .at_position = INT64_MAX, .now_ms = NOW, .user = user};
    snprintf(user, sizeof user, "user-%u", pick(&reader->random_state, USERS + 3)); /* three are unknown */
    size_t may_be_out = 0;
    switch (pick(&reader->random_state, 6)) {
    case 5: /* rules read the columns while others write them */
        request.rules = &rules;
        break;
    case 0:
        request.exclude_seen = true;
        may_be_out = USER_EVENTS;
        break;
    case 1:
        request.task = ENGINE_SIMILAR;
        request.item_count = 3;
        may_be_out = 3;
        break;
    case 2:
        request.task = ENGINE_RANK;
        request.item_count = RANKED;
        request.n = 0;
        break;
    case 3:
        request.task = ENGINE_RANK;
        request.item_count = 1;
        request.n = 0;
        break;
    default:
        break;
    }
    pick_items(reader, ids, names, items, request.item_count);
    request.items = items;
    ask(reader, &request, ids, may_be_out);
}

static void open_reader(struct reader *reader, struct stress *stress, unsigned seed)
{
    struct status st = STATUS_INIT;
    *reader = (struct reader){.stress = stress, .random_state = seed};
    reader->store = store_open_reader(&stress->options, &st);
    need(reader->store != NULL, "open a reader", &st);
    engine_worker_init(&reader->worker, &stress->engine, reader->store, ARENA_BYTES);
}

static void close_reader(struct reader *reader)
{
    engine_worker_close(&reader->worker);
    store_close(reader->store);
}

static void *read_lists(void *context)
{
    struct reader *reader = context;
    while (!atomic_load(&reader->stress->done))
        ask_something(reader);
    return NULL;
}

/* ---- in the end, when all is quiet */

static void check_all(struct stress *stress)
{
    static struct reader reader;
    uint32_t ids[RANKED], count = atomic_load(&stress->item_count);
    char names[RANKED][16];
    const char *items[RANKED];
    open_reader(&reader, stress, 99);
    for (uint32_t first = 1; first <= count; first += RANKED) {
        struct engine_request request = {.task = ENGINE_RANK, .items = items, .at_position = INT64_MAX, .now_ms = NOW};
        for (; request.item_count < RANKED && first + request.item_count <= count; request.item_count++) {
            size_t i = request.item_count;
            ids[i] = first + (uint32_t)i;
            item_name(names[i], ids[i]);
            items[i] = names[i];
        }
        ask(&reader, &request, ids, 0);
    }
    close_reader(&reader);
}

/* ---- set-up */

static void add_events(struct stress *stress)
{
    struct status st = STATUS_INIT;
    unsigned random_state = 3;
    need(store_begin(stress->store, &st), "begin", &st);
    need(engine_load_behaviours(&stress->engine, stress->store, true, &st), "behaviours", &st);
    for (unsigned user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%u", user);
        for (int i = 0; i < USER_EVENTS; i++) {
            struct store_event event = {.ts_ms = NOW - 1000 * (1 + i),
                                        .item_id = 1 + pick(&random_state, ITEMS_FIRST),
                                        .behaviour = (uint8_t)(1 + pick(&random_state, 5))};
            struct store_event_extra extra = {.received_ms = NOW};
            bool created, duplicate;
            need(store_user_find(stress->store, name, true, &event.user_id, &created, &st) &&
                     store_event_append(stress->store, &event, &extra, &duplicate, &st),
                 "add an event", &st);
        }
    }
    static const struct {
        const char *modality;
        int32_t dimension;
    } kinds[] = {{"text", TEXT}, {"image", IMAGE}};
    for (int i = 0; i < 2; i++) {
        struct store_space space = {.dimension = kinds[i].dimension, .encoder = "enc@1"};
        snprintf(space.modality, sizeof space.modality, "%s", kinds[i].modality);
        need(store_space_put(stress->store, &space, &st) && catalog_add_space(stress->catalog, &space, &st),
             "add a space", &st);
        stress->spaces[i] = space.space_id;
    }
    need(store_commit(stress->store, &st), "commit", &st);
    int64_t position;
    need(store_position(stress->store, &position, &st), "position", &st);
    stress->number = (unsigned)position;
    stress->engine.committed = position;
}

static void add_items(struct stress *stress, struct arena *arena)
{
    static struct change batch[ITEMS_FIRST];
    for (uint32_t i = 0; i < ITEMS_FIRST; i++)
        batch[i] = (struct change){i + 1, ++stress->number << 1};
    apply(stress, batch, ITEMS_FIRST, arena);
}

static void set_up(struct stress *stress, char *dir)
{
    struct status st = STATUS_INIT;
    struct arena arena;
    matrix_init();
    need(mkdtemp(dir) != NULL, "a directory", NULL);
    config_init(&stress->config);
    stress->options = (struct store_options){.data_dir = dir};
    stress->store = store_open_writer(&stress->options, &st);
    need(stress->store != NULL, "open the store", &st);
    stress->catalog = catalog_new();
    stress->histories = histories_new((size_t)16 << 20);
    need(stress->catalog != NULL && stress->histories != NULL, "memory", NULL);
    engine_init(&stress->engine, &stress->config, stress->catalog, stress->histories);
    arena_init(&arena, ARENA_BYTES);
    add_events(stress);
    struct counts_view *counts =
        engine_rebuild_counts(&stress->engine, stress->store, stress->engine.committed, NULL, &st);
    need(counts != NULL, "counts", &st);
    engine_set_counts(&stress->engine, counts);
    add_items(stress, &arena);
    struct model *model = refit(&stress->engine, &st);
    need(model != NULL && engine_install_model(&stress->engine, model, &arena, &st), "a model", &st);
    model_release(model);
    arena_close(&arena);
}

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

int main(void)
{
    static struct stress stress;
    static struct reader readers[READERS];
    char dir[] = "/tmp/stress_snapshot_XXXXXX";
    pthread_t compactor;
    set_up(&stress, dir);
    int64_t begin_us = timestamp_monotonic_us();
    for (unsigned i = 0; i < READERS; i++) {
        open_reader(&readers[i], &stress, 10 + i);
        need(pthread_create(&readers[i].thread, NULL, read_lists, &readers[i]) == 0, "a thread", NULL);
    }
    need(pthread_create(&compactor, NULL, compact, &stress) == 0, "a thread", NULL);
    change_items(&stress);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    pthread_join(compactor, NULL);
    double seconds = (double)(timestamp_monotonic_us() - begin_us) / 1e6;
    long requests = atomic_load(&stress.requests);
    check_all(&stress);
    for (unsigned i = 0; i < READERS; i++)
        close_reader(&readers[i]);
    engine_close(&stress.engine);
    catalog_free(stress.catalog);
    histories_free(stress.histories);
    store_close(stress.store);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    int failures = atomic_load(&stress.failures);
    printf("stress_snapshot: %.0f updates/s, %.0f requests/s, %ld compactions, %u items, %d failures\n",
           (double)atomic_load(&stress.changes) / seconds, (double)requests / seconds, atomic_load(&stress.compactions),
           atomic_load(&stress.item_count), failures);
    return failures == 0 ? 0 : 1;
}
