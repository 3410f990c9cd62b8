/* SPDX-License-Identifier: Apache-2.0
 *
 * A score taken apart adds up to the score and, part by part, to its parts: for every kind of attention, random users, random weights. */
#include "models/explanation.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define NOW_MS ((int64_t)1700000000000)
#define DAY_MS ((int64_t)86400000)

enum { ITEMS = 90, CANDIDATES = 40 };

struct scene {
    struct model *model;
    struct random_items shop;
    struct encoder_rows rows;
    struct counts_view *counts;
    struct cooccurrence cooccurrence;
    struct arena arena;
    struct recommender_event *events;
    size_t length;
    uint32_t ids[ITEMS];
    const char *names[ITEMS];
    float weight[RECOMMENDER_PARTS_MAX];
    struct recommender_context context;
    struct recommender_user user;
};

static void draw_counts(struct scene *s, struct random *rng)
{
    struct counts *counts = counts_new();
    struct counts_event events[20];
    for (int user = 0; user < 80; user++) {
        for (int i = 0; i < 20; i++)
            events[i] = (struct counts_event){(uint32_t)random_below(rng, ITEMS) + 1,
                                              NOW_MS - (80 - user) * DAY_MS / 3 + (int64_t)i};
        cr_assert(counts_user(counts, events, 20, 1));
    }
    s->counts = counts_publish(counts, 1);
    counts_free(counts);
    cr_assert_not_null(s->counts);
}

static void draw_events(struct scene *s, size_t length, struct random *rng)
{
    s->length = length;
    s->events = random_model_alloc(length + 1, sizeof *s->events);
    for (size_t i = 0; i < length; i++) {
        size_t row = (size_t)random_below(rng, ITEMS);
        bool gone = random_below(rng, 10) == 0;
        s->events[i] = (struct recommender_event){.item_id = (uint32_t)row + 1,
                                                  .ts_ms = NOW_MS - (int64_t)(length - i) * DAY_MS,
                                                  .behaviour = (int)random_below(rng, RANDOM_MODEL_BEHAVIOURS + 1) - 1,
                                                  .weight = .6f,
                                                  .rows = gone ? NULL : &s->rows,
                                                  .row = row};
    }
}

static bool prepare(struct scene *s, bool examples)
{
    return examples ? recommender_prepare_examples(&s->user, s->model, s->events, s->length, &s->arena)
                    : recommender_prepare(&s->user, s->model, s->events, s->length, NOW_MS, &s->arena);
}

static void scene_init(struct scene *s, enum random_model_kind kind, size_t length, bool examples, uint64_t seed)
{
    struct random rng;
    struct cooccurrence_event newest[200];
    random_init(&rng, seed);
    *s = (struct scene){.model = random_model(kind, seed)};
    random_items_init(&s->shop, s->model, ITEMS, .3f, seed + 1);
    random_items_encode(&s->shop, s->model, &s->rows);
    arena_init(&s->arena, (size_t)64 << 20);
    draw_events(s, length, &rng);
    draw_counts(s, &rng);
    struct cooccurrence_scalars scalars = cooccurrence_scalars(&s->model->weights);
    if (examples)
        scalars.decay = 1;
    for (size_t i = 0; i < length; i++)
        newest[i] = (struct cooccurrence_event){s->events[length - 1 - i].item_id,
                                                recommender_value(s->model, &s->events[length - 1 - i])};
    cr_assert(cooccurrence_compute(&s->cooccurrence, s->counts, newest, length, scalars));
    for (int i = 0; i < ITEMS; i++) {
        s->ids[i] = (uint32_t)i + 1;
        s->names[i] = s->shop.items[i].name;
    }
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        s->weight[i] = .5f + random_uniform(&rng);
    s->context = (struct recommender_context){s->counts, &s->cooccurrence, NOW_MS, s->weight};
    cr_assert(prepare(s, examples));
}

static void scene_close(struct scene *s)
{
    random_items_close(&s->shop);
    encoder_rows_close(&s->rows);
    counts_view_release(s->counts);
    cooccurrence_close(&s->cooccurrence);
    arena_close(&s->arena);
    free(s->events);
    model_release(s->model);
}

/* the values of one part, and their sizes */
struct sum {
    double value, size;
};

static void add(struct sum *sum, float value)
{
    sum->value += (double)value;
    sum->size += fabs((double)value);
}

static void check_sum(const struct sum *sum, float part, double tolerance, const char *what)
{
    cr_assert(fabs(sum->value - (double)part) <= tolerance * sum->size + 1e-7, "%s: %g, not %g (size %g)", what,
              sum->value, (double)part, sum->size);
}

static void check_candidate(const struct scene *s, const struct explanation *e, const float *part, float score)
{
    const struct architecture *a = &s->model->architecture;
    struct sum all = {0, 0}, sequence = {0, 0}, together = {0, 0}, prior = {0, 0};
    size_t L = s->user.length;
    for (int i = 0; i < a->stream_count; i++) {
        struct sum stream = {0, 0};
        float picked = 0;
        for (size_t l = 0; l < L; l++) {
            add(&stream, e->value[(size_t)i * L + l]);
            add(&all, e->value[(size_t)i * L + l]);
            picked += e->pick[(size_t)i * L + l];
        }
        check_sum(&stream, part[PART_STREAMS + i], 1e-5, "a stream");
        cr_assert(L == 0 || picked == 0 || fabsf(picked - 1) < 1e-4f, "attention adds up to %g", (double)picked);
    }
    for (size_t i = 0; i < s->length; i++) {
        add(&together, e->cooccurrence[i]);
        add(&all, e->cooccurrence[i]);
    }
    for (size_t i = 0; i <= ARCHITECTURE_VIEWS_MAX; i++) {
        add(&sequence, e->sequence[i]);
        add(&all, e->sequence[i]);
    }
    add(&prior, e->popularity);
    add(&prior, e->recent);
    add(&prior, e->novelty);
    check_sum(&together, part[PART_COOCCURRENCE], 1e-5, "co-occurrence");
    check_sum(&sequence, part[PART_SEQUENCE], 1e-4, "sequence"); /* within a part dot products cancel */
    check_sum(&prior, part[PART_PRIOR], 1e-5, "prior");
    add(&all, e->popularity);
    add(&all, e->recent);
    add(&all, e->novelty);
    check_sum(&all, score, 1e-5, "the score");
}

static void check_kind(enum random_model_kind kind, size_t length, bool examples, uint64_t seed)
{
    struct scene *s = random_model_alloc(1, sizeof *s);
    scene_init(s, kind, length, examples, seed);
    size_t stride = PART_STREAMS + (size_t)s->model->architecture.stream_count;
    float score[CANDIDATES], *parts = arena_floats(&s->arena, CANDIDATES * stride);
    struct explanation *out = arena_alloc(&s->arena, CANDIDATES * sizeof *out);
    struct recommender_block block = {&s->rows, 5, CANDIDATES, s->ids + 5};
    cr_assert(parts != NULL && out != NULL);
    recommender_score(&s->user, &s->context, &block, score, parts);
    cr_assert(explanation_compute(out, &s->user, &s->context, &block, s->names + 5, s->events, s->length, &s->arena));
    for (size_t c = 0; c < CANDIDATES; c++)
        check_candidate(s, &out[c], parts + c * stride, score[c]);
    scene_close(s);
    free(s);
}

Test(explanation, terms_add_up_for_every_kind_of_attention)
{
    static const size_t lengths[] = {0, 1, 2, 7, 33, 100};
    for (int kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            check_kind((enum random_model_kind)kind, lengths[i], false, 100 + (uint64_t)kind * 10 + i);
}

Test(explanation, terms_add_up_for_examples)
{
    for (int kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        check_kind((enum random_model_kind)kind, 4, true, 700 + (uint64_t)kind);
}

Test(explanation, one_event_alone_has_all_of_the_attention)
{
    struct scene *s = random_model_alloc(1, sizeof *s);
    scene_init(s, RANDOM_MODEL_DEFAULT, 1, false, 31);
    struct explanation out;
    struct recommender_block block = {&s->rows, 0, 1, s->ids};
    cr_assert(explanation_compute(&out, &s->user, &s->context, &block, s->names, s->events, 1, &s->arena));
    for (int i = 0; i < s->model->architecture.stream_count; i++)
        cr_assert_float_eq(out.pick[i], 1, 1e-6);
    scene_close(s);
    free(s);
}
