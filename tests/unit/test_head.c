/* SPDX-License-Identifier: Apache-2.0
 *
 * The head's loss against recommender_score, and its gradient against differences of that: the score is tested on its own (test_recommender.c), so what
 * is compared here was not made by head.c. */
#include "models/head.h"

#include "models/matrix.h"
#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS ((int64_t)1700000000000)
#define DAY_MS ((int64_t)86400000)
#define STEP   1e-2

enum { ITEMS = 70, MANY_ITEMS = 600, EVENTS = 12, HIDDEN = 4, NO_IMAGE = 10 };

struct scene {
    struct model *model;
    struct random_items shop;
    struct encoder_rows rows;
    struct counts_view *counts;
    struct cooccurrence cooccurrence;
    struct arena arena;
    struct recommender_event events[EVENTS]; /* oldest first */
    uint32_t *ids, hidden[HIDDEN];
    float *score, *gradient_block;
    struct weights gradient;
    struct head_items items;
    struct head_query query;
};

static void draw_events(struct scene *s, size_t rows, struct random *rng)
{
    int64_t ts_ms = NOW_MS;
    for (size_t i = EVENTS; i-- > 0;) {
        size_t row = (size_t)random_below(rng, rows);
        ts_ms -= (int64_t)random_below(rng, (uint64_t)(2 * DAY_MS));
        s->events[i] = (struct recommender_event){.item_id = (uint32_t)row,
                                                  .ts_ms = ts_ms,
                                                  .behaviour = (int)(i % (RANDOM_MODEL_BEHAVIOURS + 1)) - 1,
                                                  .weight = .6f,
                                                  .rows = i == 2 ? NULL : &s->rows, /* one item is gone */
                                                  .row = row};
    }
}

static void draw_counts(struct scene *s, struct random *rng)
{
    struct counts *counts = counts_new();
    struct counts_event events[12];
    for (int user = 0; user < 60; user++) {
        for (int i = 0; i < 12; i++)
            events[i] = (struct counts_event){(uint32_t)random_below(rng, s->shop.count),
                                              NOW_MS - (int64_t)(60 - user) * DAY_MS / 2 + i};
        cr_assert(counts_user(counts, events, 12, 1));
    }
    s->counts = counts_publish(counts, 1);
    cr_assert_not_null(s->counts);
    counts_free(counts);
}

/* the state as a request has it, out of the arena */
static void prepare_state(struct scene *s)
{
    struct recommender_user user;
    size_t d = (size_t)s->model->architecture.width;
    struct arena_mark mark = arena_mark(&s->arena);
    if (s->model->architecture.blocks == 0)
        return;
    cr_assert(recommender_prepare(&user, s->model, s->events, EVENTS, NOW_MS, &s->arena));
    s->query.state = random_model_alloc(d, sizeof(float));
    memcpy(s->query.state, user.state, d * sizeof(float));
    arena_rewind(&s->arena, mark);
}

/* `event_rows`: the history is of the first so many items; the first NO_IMAGE have no image if `bare` */
static void scene_init(struct scene *s, struct model *model, size_t items, size_t event_rows, bool bare, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    matrix_init();
    *s = (struct scene){.model = model};
    model->weights.value[2] = -1.3f;
    random_items_init(&s->shop, model, items, .2f, seed + 1);
    for (size_t i = 0; bare && i < NO_IMAGE; i++)
        s->shop.items[i].vector[1] = NULL;
    random_items_encode(&s->shop, model, &s->rows);
    arena_init(&s->arena, (size_t)256 << 20);
    draw_events(s, event_rows, &rng);
    draw_counts(s, &rng);
    s->ids = random_model_alloc(items, sizeof *s->ids);
    for (size_t i = 0; i < items; i++)
        s->ids[i] = (uint32_t)i;
    s->score = random_model_alloc(items, sizeof *s->score);
    s->gradient_block = random_model_alloc(model->params.total, sizeof(float));
    params_point(&model->params, &model->weights, &s->gradient, s->gradient_block);
    s->items = (struct head_items){&s->rows, s->counts, items, s->ids};
    s->query = (struct head_query){.events = s->events,
                                   .count = EVENTS,
                                   .now_ms = NOW_MS,
                                   .target = (uint32_t)items - 5,
                                   .hidden = s->hidden,
                                   .hidden_count = HIDDEN};
    for (uint32_t i = 0; i < HIDDEN; i++)
        s->hidden[i] = 7 * i + 3;
    prepare_state(s);
}

static void scene_close(struct scene *s)
{
    random_items_close(&s->shop);
    encoder_rows_close(&s->rows);
    counts_view_release(s->counts);
    cooccurrence_close(&s->cooccurrence);
    arena_close(&s->arena);
    free(s->query.state);
    free(s->ids);
    free(s->score);
    free(s->gradient_block);
    model_release(s->model);
}

/* ---- the loss once more */

static bool competes(const struct scene *s, const struct head_sample *sample, size_t item)
{
    bool drawn = sample == NULL;
    for (size_t b = 0; sample != NULL && b < sample->count; b++)
        drawn = drawn || sample->block[b] == item / RECOMMENDER_BLOCK;
    for (size_t i = 0; i < s->query.hidden_count; i++)
        if (s->query.hidden[i] == item)
            return false;
    return drawn;
}

static void score_items(struct scene *s, float *score)
{
    const struct weights *w = &s->model->weights;
    size_t length = s->query.count, most = (size_t)s->model->architecture.history;
    struct cooccurrence_event newest[EVENTS];
    float weight[RECOMMENDER_PARTS_MAX];
    struct recommender_user user;
    length = length < most ? length : most;
    for (size_t age = 0; age < length; age++) {
        const struct recommender_event *event = &s->query.events[s->query.count - 1 - age];
        newest[age] = (struct cooccurrence_event){event->item_id, recommender_value(s->model, event)};
    }
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    cr_assert(cooccurrence_compute(&s->cooccurrence, s->counts, newest, length, cooccurrence_scalars(w)));
    struct arena_mark mark = arena_mark(&s->arena);
    cr_assert(recommender_prepare(&user, s->model, s->query.events, s->query.count, NOW_MS, &s->arena));
    struct recommender_context context = {s->counts, &s->cooccurrence, NOW_MS, weight};
    for (size_t first = 0; first < s->items.count; first += RECOMMENDER_BLOCK) {
        size_t left = s->items.count - first, count = left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK;
        struct recommender_block block = {&s->rows, first, count, s->ids + first};
        recommender_score(&user, &context, &block, score + first, NULL);
    }
    arena_rewind(&s->arena, mark);
}

/* -log softmax of the target's score, the sum in double */
static double wanted_loss(struct scene *s, const struct head_sample *sample)
{
    float score[MANY_ITEMS];
    double most = -INFINITY, sum = 0;
    cr_assert(encoder_correct(s->model, &s->rows, 0, s->items.count, &s->arena));
    score_items(s, score);
    for (size_t i = 0; i < s->items.count; i++)
        if (competes(s, sample, i))
            most = fmax(most, score[i]);
    for (size_t i = 0; i < s->items.count; i++)
        if (competes(s, sample, i))
            sum += exp(score[i] - most);
    return most + log(sum) - score[s->query.target];
}

static double run(struct scene *s, const struct head_sample *sample, float scale, bool with_gradient)
{
    return head_gradient(with_gradient ? &s->gradient : NULL, s->model, &s->items, sample, &s->query, scale, s->score,
                         &s->cooccurrence, &s->arena);
}

static void check_loss(const char *what, struct scene *s, const struct head_sample *sample)
{
    double wanted = wanted_loss(s, sample), got = run(s, sample, 1, false);
    cr_assert_lt(fabs(got - wanted), 1e-4, "%s: a loss of %.8g, wanted %.8g", what, got, wanted);
}

/* ---- differences */

/* the derivative by one number, to the fourth order: what is left is the rounding of the scores, about 3e-7 / STEP */
static double slope(struct scene *s, const struct head_sample *sample, float *x, double step)
{
    static const double at[] = {-2, -1, 1, 2}, factor[] = {1, -8, 8, -1};
    double sum = 0;
    float before = *x;
    for (int i = 0; i < 4; i++) {
        *x = (float)(before + at[i] * step);
        sum += factor[i] * wanted_loss(s, sample);
    }
    *x = before;
    return sum / (12 * step);
}

static bool is_checked(const struct param *p)
{
    return p->group == PARAM_HEAD;
}

/* every number of a tensor, but of the corrections, which are many, some; the largest derivative of it */
static double check_tensor(const char *what, struct scene *s, const struct head_sample *sample, const struct param *p)
{
    const float *got = s->gradient_block + p->offset;
    double *wanted = random_model_alloc(p->count, sizeof *wanted), largest = 0;
    size_t stride = strncmp(p->name, "view.", 5) == 0 ? p->count / 12 + 1 : 1;
    for (size_t j = 0; j < p->count; j += stride) {
        wanted[j] = slope(s, sample, *p->slot + j, strcmp(p->name, "head.epsilon") == 0 ? STEP / 4 : STEP);
        largest = fmax(largest, fabs(wanted[j]));
    }
    cr_assert(encoder_correct(s->model, &s->rows, 0, s->items.count, &s->arena));
    for (size_t j = 0; j < p->count; j += stride)
        cr_assert_lt(fabs(got[j] - wanted[j]), 1e-2 * largest + 1e-4, "%s: %s[%zu]: %.6g, wanted %.6g", what, p->name,
                     j, (double)got[j], wanted[j]);
    free(wanted);
    return largest;
}

static void check_gradient(const char *what, struct scene *s, const struct head_sample *sample)
{
    double largest = 0;
    memset(s->gradient_block, 0, s->model->params.total * sizeof(float));
    cr_assert_geq(run(s, sample, 1, true), 0, "%s", what);
    for (size_t i = 0; i < s->model->params.count; i++) {
        const struct param *p = &s->model->params.list[i];
        if (is_checked(p))
            largest = fmax(largest, check_tensor(what, s, sample, p));
        for (size_t j = p->offset; !is_checked(p) && j < p->offset + p->count; j++)
            cr_assert_eq(s->gradient_block[j], 0, "%s: %s is at rest", what, p->name);
    }
    cr_assert_gt(largest, 1e-2, "%s: nothing to compare", what);
}

/* Biases that fall so steeply that a step does not change which three events hard attention takes: there the loss would jump. */
static void make_decided(struct model *model)
{
    for (int i = 0; i < model->architecture.similarity_count; i++) {
        for (int h = 0; h < model->architecture.similarities[i].heads; h++)
            model->weights.similarity[i].sharpness[h] = .3f;
        for (int age = 0; age < ARCHITECTURE_POSITIONS; age++)
            model->weights.similarity[i].position[age] = -2.5f * (float)age;
        for (int bucket = 0; bucket < ARCHITECTURE_TIME_BUCKETS; bucket++)
            model->weights.similarity[i].time[bucket] *= .2f;
        for (int b = 0; b < RANDOM_MODEL_BEHAVIOURS; b++)
            model->weights.similarity[i].behaviour[b] *= .2f;
    }
}

static struct model *model_of(enum random_model_kind kind)
{
    struct model *model = random_model(kind, 21 + (uint64_t)kind);
    if (kind == RANDOM_MODEL_HARD || kind == RANDOM_MODEL_HARD_MASK)
        make_decided(model);
    return model;
}

Test(head, the_loss_is_the_cross_entropy_of_the_whole_score)
{
    static const size_t lengths[] = {0, 1, 5, EVENTS};
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            struct scene s;
            scene_init(&s, model_of(kind), ITEMS, ITEMS, false, 3 + i);
            s.query.events += EVENTS - lengths[i];
            s.query.count = lengths[i];
            if (lengths[i] == EVENTS) { /* else the state is of another history */
                check_loss(random_model_label(kind), &s, NULL);
                s.query.hidden_count = 0;
            }
            if (lengths[i] == EVENTS || s.model->architecture.blocks == 0)
                check_loss(random_model_label(kind), &s, NULL);
            scene_close(&s);
        }
}

Test(head, agrees_with_differences)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct scene s;
        scene_init(&s, model_of(kind), ITEMS, ITEMS, false, 8);
        check_gradient(random_model_label(kind), &s, NULL);
        scene_close(&s);
    }
}

/* Blocks that were drawn compete, the last of them cut short; the others have no part in it. And the history is longer than the model looks back. */
Test(head, of_some_blocks_and_the_newest_events)
{
    static const uint32_t blocks[] = {0, 2};
    const struct head_sample sample = {blocks, 2};
    struct architecture a;
    struct scene s;
    random_model_architecture(&a, RANDOM_MODEL_DEFAULT);
    a.history = 9;
    scene_init(&s, random_model_of(&a, 0, 5), MANY_ITEMS, MANY_ITEMS, false, 5);
    check_loss("all blocks", &s, NULL);
    check_loss("two blocks", &s, &sample);
    check_gradient("two blocks", &s, &sample);
    scene_close(&s);
}

/* Corrections under cosine and additive attention, with two heads: their gradients go through what these do to the rows. */
Test(head, corrections_of_every_kind)
{
    static const struct {
        const char *what;
        enum attention_kind kind;
        int heads;
    } cases[] = {{"corrected, cosine", ATTENTION_COSINE, 2},
                 {"corrected, additive", ATTENTION_ADDITIVE, 2},
                 {"corrected, dot", ATTENTION_DOT, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct architecture a;
        struct scene s;
        random_model_architecture(&a, RANDOM_MODEL_CORRECTED);
        for (int j = 0; j < a.similarity_count; j++) {
            a.similarities[j].kind = cases[i].kind;
            a.similarities[j].heads = cases[i].heads;
        }
        scene_init(&s, random_model_of(&a, 0, 7), ITEMS, ITEMS, false, 7);
        check_loss(cases[i].what, &s, NULL);
        check_gradient(cases[i].what, &s, NULL);
        scene_close(&s);
    }
}

/* Where no event has the feature and missing ones are masked, that similarity attends to nothing. */
Test(head, a_history_without_images)
{
    static const enum random_model_kind kinds[] = {RANDOM_MODEL_DEFAULT, RANDOM_MODEL_MASKED};
    for (size_t i = 0; i < 2; i++) {
        struct scene s;
        scene_init(&s, model_of(kinds[i]), ITEMS, NO_IMAGE, true, 6);
        check_loss(random_model_label(kinds[i]), &s, NULL);
        check_gradient(random_model_label(kinds[i]), &s, NULL);
        scene_close(&s);
    }
}

/* It is added to what is there, times the scale; an arena that gives out is told. */
Test(head, sums_and_limits)
{
    struct scene s;
    scene_init(&s, model_of(RANDOM_MODEL_SEQUENCE), ITEMS, ITEMS, false, 9);
    size_t total = s.model->params.total;
    float *once = random_model_alloc(total, sizeof *once);
    double loss = run(&s, NULL, 1, true);
    memcpy(once, s.gradient_block, total * sizeof *once);
    cr_assert_eq(run(&s, NULL, 1, true), loss, "the same twice");
    cr_assert_eq(run(&s, NULL, -.5f, true), loss, "the scale is the gradient's alone");
    for (size_t i = 0; i < total; i++)
        cr_assert_lt(fabs(s.gradient_block[i] - 1.5 * once[i]), 1e-5 + 1e-4 * fabs(once[i]), "%zu: %g of %g", i,
                     (double)s.gradient_block[i], (double)once[i]);
    free(once);
    arena_close(&s.arena);
    arena_init(&s.arena, 1000);
    cr_assert_lt(run(&s, NULL, 1, true), 0, "a thousand bytes cannot do");
    scene_close(&s);
}
