/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores, losses and gradients against numbers recorded from PyTorch (tests/golden/record.py, network.py), of a model file that PyTorch wrote. `make
 * golden` compares many more, where PyTorch is there. */
#include "models/head.h"
#include "models/trainer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define RECORDED           "tests/golden/recorded.json"
#define SCORE_TOLERANCE    1e-4
#define GRADIENT_TOLERANCE 1e-3
#define UNKNOWN_BEHAVIOUR  4 /* as the store numbers it; 1 to 3 are the model's 0 to 2 */

enum { ITEMS_MOST = 64, EVENTS_MOST = 64, THREADS = 2 };

/* The recording, as the C side has it. Item i is row i, id i in the counts, and, where the model knows it, its ID row i. */
struct recorded {
    json_t *json;
    struct model *model;
    struct encoder_item items[ITEMS_MOST];
    size_t item_count;
    struct encoder_rows rows;
    uint32_t ids[ITEMS_MOST];
    struct evaluation_data data;
    struct holdout holdout; /* all of it is the training part */
    struct counts_view *counts;
    int behaviour_of[256];
    struct arena arena;
};

static void *allocate(size_t count, size_t size_bytes)
{
    void *memory = calloc(count + 1, size_bytes);
    cr_assert_not_null(memory);
    return memory;
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert_not_null(value, "'%s' is not recorded", key);
    return value;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(member(object, key));
}

static struct model *read_model(const json_t *json)
{
    struct status st = STATUS_INIT;
    const char *text = json_string_value(member(json, "model"));
    size_t most = strlen(text), size;
    unsigned char *bytes = allocate(most, 1);
    cr_assert_eq(sodium_base642bin(bytes, most, text, most, NULL, &size, NULL, sodium_base64_VARIANT_ORIGINAL), 0);
    struct model *model = model_read(bytes, size, &st);
    cr_assert_not_null(model, "%s", st.message);
    free(bytes);
    return model;
}

static float *read_floats(const json_t *list)
{
    float *out = allocate(json_array_size(list), sizeof *out);
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (float)json_number_value(json_array_get(list, i));
    return out;
}

static void read_items(struct recorded *r)
{
    const json_t *list = member(r->json, "items");
    r->item_count = json_array_size(list);
    cr_assert_leq(r->item_count, (size_t)ITEMS_MOST);
    for (size_t i = 0; i < r->item_count; i++) {
        const json_t *item = json_array_get(list, i), *vectors = member(item, "vectors");
        r->items[i].name = json_string_value(member(item, "name"));
        r->ids[i] = (uint32_t)i;
        for (int v = 0; v < r->model->architecture.view_count; v++) {
            const json_t *vector = json_object_get(vectors, r->model->architecture.views[v].name);
            r->items[i].vector[v] = vector == NULL ? NULL : read_floats(vector);
        }
    }
    cr_assert(encoder_rows_init(&r->rows, &r->model->architecture, r->item_count));
    cr_assert(encoder_encode(r->model, r->items, r->item_count, &r->rows, 0, &r->arena));
}

static void read_users(struct recorded *r)
{
    const json_t *users = member(r->json, "users");
    size_t count = json_array_size(users), at = 0;
    size_t *start = allocate(count + 1, sizeof *start);
    struct evaluation_event *events = allocate(count * EVENTS_MOST, sizeof *events);
    for (size_t user = 0; user < count; user++) {
        const json_t *log = json_array_get(users, user);
        cr_assert_leq(json_array_size(log), (size_t)EVENTS_MOST);
        for (size_t i = 0; i < json_array_size(log); i++) {
            const json_t *event = json_array_get(log, i);
            int behaviour = (int)number(event, "behaviour");
            events[at++] = (struct evaluation_event){(uint32_t)number(event, "item"), (int64_t)number(event, "ts_ms"),
                                                     (uint8_t)(behaviour < 0 ? UNKNOWN_BEHAVIOUR : behaviour + 1),
                                                     (float)number(event, "weight")};
        }
        start[user + 1] = at;
    }
    r->data = (struct evaluation_data){r->item_count, count, events, start};
    r->holdout =
        (struct holdout){.kind = HOLDOUT_NONE, .training_count = at, .in_training = allocate(at, sizeof(bool))};
    memset(r->holdout.in_training, true, at);
    r->counts = holdout_counts(&r->holdout, &r->data);
    cr_assert_not_null(r->counts);
}

static void setup(struct recorded *r)
{
    json_error_t error;
    *r = (struct recorded){.json = json_load_file(RECORDED, 0, &error)};
    cr_assert_not_null(r->json, RECORDED ": %s", error.text);
    arena_init(&r->arena, (size_t)64 << 20);
    r->model = read_model(r->json);
    read_items(r);
    read_users(r);
    for (int i = 0; i < 256; i++)
        r->behaviour_of[i] = i >= 1 && i < UNKNOWN_BEHAVIOUR ? i - 1 : -1;
}

static void teardown(struct recorded *r)
{
    for (size_t i = 0; i < r->item_count; i++)
        for (int v = 0; v < r->model->architecture.view_count; v++)
            free((float *)r->items[i].vector[v]);
    encoder_rows_close(&r->rows);
    counts_view_release(r->counts);
    free(r->holdout.in_training);
    free((void *)r->data.events);
    free((void *)r->data.user_start);
    model_release(r->model);
    json_decref(r->json);
    arena_close(&r->arena);
}

/* A recorded query: all events of a user but the last, which is the target. */
struct query {
    struct recommender_event events[EVENTS_MOST];
    uint32_t hidden[ITEMS_MOST];
    struct head_query head;
};

static void query_init(struct query *q, struct recorded *r, const json_t *json)
{
    size_t user = (size_t)number(json, "user"), first = r->data.user_start[user];
    size_t count = r->data.user_start[user + 1] - first - 1;
    const struct evaluation_event *log = r->data.events + first;
    const json_t *hidden = member(json, "hidden");
    for (size_t i = 0; i < count; i++)
        q->events[i] = (struct recommender_event){log[i].item,   log[i].ts_ms, r->behaviour_of[log[i].behaviour],
                                                  log[i].weight, &r->rows,     log[i].item};
    for (size_t i = 0; i < json_array_size(hidden); i++)
        q->hidden[i] = (uint32_t)json_integer_value(json_array_get(hidden, i));
    q->head = (struct head_query){.events = q->events,
                                  .count = count,
                                  .now_ms = log[count].ts_ms,
                                  .target = log[count].item,
                                  .hidden = q->hidden,
                                  .hidden_count = json_array_size(hidden)};
}

static void compute_cooccurrence(struct cooccurrence *out, const struct recorded *r, const struct head_query *query)
{
    struct cooccurrence_event newest[EVENTS_MOST];
    const struct weights *w = &r->model->weights;
    for (size_t i = 0; i < query->count; i++) {
        const struct recommender_event *event = &query->events[query->count - 1 - i];
        newest[i] = (struct cooccurrence_event){event->item_id, recommender_value(r->model, event)};
    }
    cr_assert(cooccurrence_compute(out, r->counts, newest, query->count, cooccurrence_scalars(w)));
}

/* ---- scores */

static void check_parts(const json_t *recorded, const float *parts, size_t stride, size_t item)
{
    double size = 1;
    cr_assert_eq(json_array_size(recorded), stride);
    for (size_t i = 0; i < stride; i++)
        size += fabs(json_number_value(json_array_get(recorded, i)));
    for (size_t i = 0; i < stride; i++) {
        double wanted = json_number_value(json_array_get(recorded, i));
        cr_assert_lt(fabs(parts[i] - wanted), SCORE_TOLERANCE * size, "item %zu, part %zu: %.8g, PyTorch says %.8g",
                     item, i, (double)parts[i], wanted);
    }
}

Test(golden, scores_are_those_of_pytorch)
{
    struct recorded r;
    float weight[RECOMMENDER_PARTS_MAX], score[ITEMS_MOST];
    setup(&r);
    size_t stride = PART_STREAMS + (size_t)r.model->architecture.stream_count, index;
    float *parts = allocate(r.item_count * stride, sizeof *parts);
    for (size_t i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    const json_t *queries = member(r.json, "queries");
    json_t *json;
    json_array_foreach(queries, index, json)
    {
        struct query q;
        struct recommender_user user;
        struct cooccurrence cooccurrence = {0};
        query_init(&q, &r, json);
        compute_cooccurrence(&cooccurrence, &r, &q.head);
        cr_assert(recommender_prepare(&user, r.model, q.events, q.head.count, q.head.now_ms, &r.arena));
        struct recommender_context context = {r.counts, &cooccurrence, q.head.now_ms, weight};
        struct recommender_block block = {&r.rows, 0, r.item_count, r.ids};
        recommender_score(&user, &context, &block, score, parts);
        for (size_t i = 0; i < r.item_count; i++)
            check_parts(json_array_get(member(json, "parts"), i), parts + i * stride, stride, i);
        cooccurrence_close(&cooccurrence);
    }
    free(parts);
    teardown(&r);
}

/* ---- gradients */

static double largest_of(const json_t *list)
{
    double largest = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(list, i))));
    return largest;
}

/* every recorded tensor against the same place of a block that is laid out as the model's numbers */
static void check_gradient(const struct recorded *r, const json_t *recorded, const float *gradient)
{
    double largest = 0;
    size_t seen = 0;
    for (size_t i = 0; i < r->model->params.count; i++)
        largest = fmax(largest, largest_of(json_object_get(recorded, r->model->params.list[i].name)));
    for (size_t i = 0; i < r->model->params.count; i++) {
        const struct param *p = &r->model->params.list[i];
        const json_t *list = json_object_get(recorded, p->name);
        if (list == NULL)
            continue;
        seen++;
        cr_assert_eq(json_array_size(list), p->count, "%s", p->name);
        double tolerance = GRADIENT_TOLERANCE * fmax(largest_of(list), 1e-5 * largest);
        for (size_t j = 0; j < p->count; j++) {
            double wanted = json_number_value(json_array_get(list, j)), given = (double)gradient[p->offset + j];
            cr_assert_lt(fabs(given - wanted), tolerance, "%s, %zu: %.8g, PyTorch says %.8g", p->name, j, given,
                         wanted);
        }
    }
    cr_assert_eq(seen, json_object_size(recorded), "a tensor is recorded that the model does not have");
}

static void check_loss(const json_t *recorded, double loss)
{
    double wanted = number(recorded, "loss");
    cr_assert_lt(fabs(loss - wanted), SCORE_TOLERANCE * fmax(1, wanted), "%.8g, PyTorch says %.8g", loss, wanted);
}

/* (items, dimension), rows of zeros where the vector is missing; NULL for the learned embedding */
static float *dense_vectors(const struct recorded *r, int view)
{
    size_t D = (size_t)r->model->architecture.views[view].dimension;
    if (r->model->weights.view[view].mean == NULL)
        return NULL;
    float *dense = allocate(r->item_count * D, sizeof *dense);
    for (size_t i = 0; i < r->item_count; i++)
        if (r->items[i].vector[view] != NULL)
            memcpy(dense + i * D, r->items[i].vector[view], D * sizeof *dense);
    return dense;
}

Test(golden, gradient_of_stage_one_is_that_of_pytorch)
{
    struct recorded r;
    struct status st = STATUS_INIT;
    struct training_set set;
    float *vectors[ARCHITECTURE_VIEWS_MAX] = {NULL};
    uint32_t users[EVENTS_MOST];
    double loss;
    setup(&r);
    const json_t *recorded = member(r.json, "stage_one");
    size_t count = r.data.user_count - 1; /* the last one only sees to it that every item has a training event */
    cr_assert(training_set_init(&set, &r.data, &r.holdout, r.behaviour_of, &st), "%s", st.message);
    cr_assert_eq(set.columns, r.model->item_count);
    for (int v = 0; v < r.model->architecture.view_count; v++)
        vectors[v] = dense_vectors(&r, v);
    cr_assert(training_set_features(&set, r.model, (const float *const *)vectors, &st), "%s", st.message);
    for (uint32_t i = 0; i < count; i++)
        users[i] = i;
    struct trainer_options options = {.epochs = 1,
                                      .batch_users = (int)count,
                                      .learning_rate = 1e-3f,
                                      .ahead = (int)number(recorded, "ahead"),
                                      .mask_seen = json_is_true(member(recorded, "mask_seen"))};
    struct team *team = team_new(THREADS, &st);
    cr_assert_not_null(team, "%s", st.message);
    struct trainer *trainer = trainer_new(r.model, &set, true, &options, team, &st);
    cr_assert_not_null(trainer, "%s", st.message);
    float *gradient = allocate(r.model->params.total, sizeof *gradient);
    cr_assert(trainer_gradient(trainer, users, count, &loss, gradient));
    check_loss(recorded, loss);
    check_gradient(&r, member(recorded, "gradient"), gradient);
    free(gradient);
    trainer_free(trainer);
    team_free(team);
    training_set_close(&set);
    for (int v = 0; v < r.model->architecture.view_count; v++)
        free(vectors[v]);
    teardown(&r);
}

Test(golden, gradient_of_stage_two_is_that_of_pytorch)
{
    struct recorded r;
    size_t index;
    json_t *json;
    setup(&r);
    size_t total = r.model->params.total;
    float *gradient = allocate(total, sizeof *gradient), *score = allocate(r.item_count, sizeof *score);
    struct head_items items = {&r.rows, r.counts, r.item_count, r.ids};
    const json_t *queries = member(r.json, "queries");
    json_array_foreach(queries, index, json)
    {
        struct query q;
        struct recommender_user user;
        struct weights slots;
        struct cooccurrence cooccurrence = {0};
        query_init(&q, &r, json);
        cr_assert(recommender_prepare(&user, r.model, q.events, q.head.count, q.head.now_ms, &r.arena));
        q.head.state = user.state;
        memset(gradient, 0, total * sizeof *gradient);
        params_point(&r.model->params, &r.model->weights, &slots, gradient);
        double loss = head_gradient(&slots, r.model, &items, NULL, &q.head, 1, score, &cooccurrence, &r.arena);
        check_loss(json, loss);
        check_gradient(&r, member(json, "gradient"), gradient);
        cooccurrence_close(&cooccurrence);
    }
    free(gradient);
    free(score);
    teardown(&r);
}
