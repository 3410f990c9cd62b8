/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole score against plain loops in double, written from models/recommender.h, for every kind of attention,
 * every kernel set and the shapes where blocks and vectors end. */
#include "models/recommender.h"

#include "models/kernels.h"
#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS ((int64_t)1700000000000)
#define DAY_MS ((int64_t)86400000)

enum { PARTS_MOST = RECOMMENDER_PARTS_MAX, COOCCURRENCE_EVENTS = 20 };

/* ---- a shop and a user of it */

struct scene {
    struct model *model;
    struct random_items shop;
    struct encoder_rows rows;
    struct counts_view *counts;
    struct cooccurrence cooccurrence;
    struct arena arena;
    size_t length;
    struct recommender_event *events; /* oldest first */
    struct cooccurrence_event newest[COOCCURRENCE_EVENTS];
    size_t newest_count;
    uint32_t *ids; /* item ids are not row numbers: id = 3 * row + 7 */
    float weight[PARTS_MOST];
    struct recommender_context context;
};

static uint32_t id_of_row(size_t row)
{
    return (uint32_t)(3 * row + 7);
}

/* Some events are of items that are gone (no row), some of behaviours that the model does not know. */
static void draw_events(struct scene *s, size_t length, struct random *rng)
{
    s->length = length;
    s->events = random_model_alloc(length, sizeof *s->events);
    int64_t ts_ms = NOW_MS;
    for (size_t i = length; i-- > 0;) {
        size_t row = (size_t)random_below(rng, s->shop.count);
        ts_ms -= (int64_t)random_below(rng, (uint64_t)(2 * DAY_MS));
        s->events[i] = (struct recommender_event){.item_id = id_of_row(row),
                                                  .ts_ms = ts_ms,
                                                  .behaviour = (int)random_below(rng, RANDOM_MODEL_BEHAVIOURS + 1) - 1,
                                                  .weight = .6f,
                                                  .rows = &s->rows,
                                                  .row = row};
        if (random_below(rng, 10) == 0)
            s->events[i].rows = NULL;
    }
}

static void draw_counts(struct scene *s, struct random *rng)
{
    struct counts *counts = counts_new();
    struct counts_event events[12];
    for (int user = 0; user < 60; user++) {
        for (int i = 0; i < 12; i++)
            events[i] = (struct counts_event){id_of_row((size_t)random_below(rng, s->shop.count)),
                                              NOW_MS - (int64_t)(60 - user) * DAY_MS / 2 + i};
        cr_assert(counts_user(counts, events, 12, 1));
    }
    s->counts = counts_publish(counts, 1);
    cr_assert_not_null(s->counts);
    counts_free(counts);
}

static void scene_init(struct scene *s, struct model *model, size_t length, size_t items, float missing, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    *s = (struct scene){.model = model};
    random_items_init(&s->shop, model, items, missing, seed + 1);
    random_items_encode(&s->shop, model, &s->rows);
    arena_init(&s->arena, (size_t)256 << 20);
    draw_events(s, length, &rng);
    draw_counts(s, &rng);
    for (; s->newest_count < length && s->newest_count < COOCCURRENCE_EVENTS; s->newest_count++) {
        const struct recommender_event *event = &s->events[length - 1 - s->newest_count];
        s->newest[s->newest_count] = (struct cooccurrence_event){event->item_id, recommender_value(model, event)};
    }
    cr_assert(cooccurrence_compute(&s->cooccurrence, s->counts, s->newest, s->newest_count,
                                   cooccurrence_scalars(&model->weights)));
    s->ids = random_model_alloc(items, sizeof *s->ids);
    for (size_t i = 0; i < items; i++)
        s->ids[i] = id_of_row(i);
    for (int i = 0; i < PARTS_MOST; i++)
        s->weight[i] = .5f + random_uniform(&rng);
    s->context = (struct recommender_context){s->counts, &s->cooccurrence, NOW_MS, s->weight};
}

static void scene_close(struct scene *s)
{
    random_items_close(&s->shop);
    encoder_rows_close(&s->rows);
    counts_view_release(s->counts);
    cooccurrence_close(&s->cooccurrence);
    arena_close(&s->arena);
    free(s->events);
    free(s->ids);
    model_release(s->model);
}

/* ---- the score in double */

struct naive_score {
    double part[PARTS_MOST];
    double magnitude[PARTS_MOST]; /* of each part's terms, without signs: what rounding is measured against */
    bool doubtful;                /* hard attention drew a line between logits too near to tell apart in float */
};

static const float zeros[1024];

static const float *row_of(const struct encoder_rows *rows, const struct model *model, int view, enum role role,
                           size_t row)
{
    return rows == NULL ? zeros : rows->role[view][role] + row * (size_t)model->architecture.views[view].components;
}

static bool is_zero(const float *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i] != 0)
            return false;
    return true;
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* q·k in the way of the similarity, of one head */
static double naive_compare(const struct model *model, int index, const float *q, const float *k, size_t width)
{
    double norms, sum = 0;
    switch (model->architecture.similarities[index].kind) {
    case ATTENTION_COSINE:
        norms = sqrt(dot(q, q, width) * dot(k, k, width));
        return norms > 0 ? dot(q, k, width) / norms : 0;
    case ATTENTION_ADDITIVE:
        for (size_t i = 0; i < width; i++)
            sum += model->weights.similarity[index].additive[i] * tanh((double)q[i] + k[i]);
        return sum;
    default:
        return dot(q, k, width);
    }
}

static int descending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a > b ? -1 : a < b;
}

/* keep the `keep` largest; whether the line is too fine */
static bool naive_harden(double *logit, size_t length, size_t keep)
{
    if (keep == 0 || keep >= length)
        return false;
    double *sorted = random_model_alloc(length, sizeof *sorted);
    memcpy(sorted, logit, length * sizeof *sorted);
    qsort(sorted, length, sizeof *sorted, descending);
    double least = sorted[keep - 1];
    bool doubtful = isfinite(least) && least - sorted[keep] < 1e-4;
    for (size_t l = 0; l < length; l++)
        if (logit[l] < least)
            logit[l] = -INFINITY;
    free(sorted);
    return doubtful;
}

/* logits of one candidate, similarity and head; masked ones -∞ */
static bool naive_logits(double *logit, const struct scene *s, const struct recommender_event *events, size_t length,
                         bool unordered, int index, size_t head, size_t candidate)
{
    const struct model *model = s->model;
    const struct similarity *similarity = &model->architecture.similarities[index];
    size_t r = (size_t)model->architecture.views[similarity->candidate_view].components;
    size_t width = r / (size_t)similarity->heads;
    const float *q = row_of(&s->rows, model, similarity->candidate_view, ROLE_QUERY, candidate) + head * width;
    for (size_t l = 0; l < length; l++) {
        const float *k = row_of(events[l].rows, model, similarity->history_view, ROLE_KEY, events[l].row);
        size_t age = unordered ? 0 : length - 1 - l;
        int64_t age_ms = unordered ? 0 : NOW_MS - events[l].ts_ms;
        logit[l] =
            naive_compare(model, index, q, k + head * width, width) * model->weights.similarity[index].sharpness[head];
        logit[l] += model->weights.similarity[index].position[age < 63 ? age : 63];
        logit[l] += model->weights.similarity[index].time[random_model_time_bucket(age_ms)];
        if (events[l].behaviour >= 0)
            logit[l] += model->weights.similarity[index].behaviour[events[l].behaviour];
        if (similarity->mask_missing && is_zero(k, r))
            logit[l] = -INFINITY;
    }
    return naive_harden(logit, length, (size_t)similarity->hard);
}

static double value_of(const struct model *model, const struct recommender_event *event)
{
    return event->behaviour >= 0 ? model->weights.value[event->behaviour] : event->weight;
}

/* γ Σ_heads Σ_l softmax(pick)[l] · value[l] · r·v */
static void naive_stream(struct naive_score *out, const struct scene *s, const struct recommender_event *events,
                         size_t length, bool unordered, int index, size_t candidate)
{
    const struct model *model = s->model;
    const struct architecture *a = &model->architecture;
    const struct similarity *judge = &a->similarities[a->streams[index].judge];
    size_t width = (size_t)a->views[judge->candidate_view].components / (size_t)judge->heads;
    double *weight = random_model_alloc(length, sizeof *weight), total = 0, magnitude = 0;
    for (size_t head = 0; head < (size_t)judge->heads; head++) {
        double most = -INFINITY, sum = 0;
        out->doubtful |= naive_logits(weight, s, events, length, unordered, a->streams[index].pick, head, candidate);
        for (size_t l = 0; l < length; l++)
            most = fmax(most, weight[l]);
        for (size_t l = 0; l < length; l++)
            sum += weight[l] = most > -INFINITY ? exp(weight[l] - most) : 0;
        const float *r = row_of(&s->rows, model, judge->candidate_view, ROLE_CANDIDATE_VALUE, candidate);
        for (size_t l = 0; sum > 0 && l < length; l++) {
            const float *v = row_of(events[l].rows, model, judge->history_view, ROLE_HISTORY_VALUE, events[l].row);
            double term =
                weight[l] / sum * value_of(model, &events[l]) * dot(r + head * width, v + head * width, width);
            total += term;
            magnitude += fabs(term);
        }
    }
    uint32_t popularity = counts_popularity(s->counts, s->ids[candidate]);
    double gamma = model->weights.stream[index] + model->weights.stream_count[index] * log1p(popularity);
    out->part[PART_STREAMS + index] = gamma * total;
    out->magnitude[PART_STREAMS + index] = fabs(gamma) * magnitude;
    free(weight);
}

static double naive_cooccurrence(const struct scene *s, uint32_t candidate_id)
{
    const struct weights *w = &s->model->weights;
    double sum = 0;
    for (size_t age = 0; age < s->newest_count; age++)
        for (int way = 0; way < 2; way++) {
            size_t count;
            const struct counts_entry *row =
                (way == 0 ? counts_row : counts_row_before)(s->counts, s->newest[age].item_id, &count);
            for (size_t i = 0; i < count; i++)
                if (row[i].item_id == candidate_id)
                    sum += *w->cooccurrence * (way == 0 ? 1 : *w->reverse) * pow(*w->decay, (double)age) *
                           s->newest[age].value * log1p(row[i].probability / *w->epsilon);
        }
    return sum;
}

static double naive_prior(const struct scene *s, uint32_t candidate_id)
{
    return *s->model->weights.popularity * log1p(counts_popularity(s->counts, candidate_id)) +
           *s->model->weights.recent * log1p(counts_recent(s->counts, candidate_id, NOW_MS)) +
           (s->newest_count > 0 ? *s->model->weights.novelty / (1 + (double)counts_popularity(s->counts, candidate_id))
                                : 0);
}

static void naive_score(struct naive_score *out, const struct scene *s, const struct recommender_event *events,
                        size_t length, bool unordered, const double *u, size_t candidate)
{
    const struct model *model = s->model;
    const struct architecture *a = &model->architecture;
    *out = (struct naive_score){0};
    for (size_t j = 0; u != NULL && j < (size_t)a->width; j++) {
        double term = *model->weights.sequence_scale * u[j] * s->rows.output[candidate * (size_t)a->width + j];
        out->part[PART_SEQUENCE] += term;
        out->magnitude[PART_SEQUENCE] += fabs(term);
    }
    out->part[PART_COOCCURRENCE] = naive_cooccurrence(s, s->ids[candidate]);
    out->magnitude[PART_COOCCURRENCE] = fabs(out->part[PART_COOCCURRENCE]);
    out->part[PART_PRIOR] = naive_prior(s, s->ids[candidate]);
    out->magnitude[PART_PRIOR] = fabs(out->part[PART_PRIOR]);
    for (int i = 0; i < a->stream_count; i++)
        naive_stream(out, s, events, length, unordered, i, candidate);
    for (int i = 0; i < PART_STREAMS + a->stream_count; i++) {
        out->part[i] *= s->weight[i];
        out->magnitude[i] *= fabsf(s->weight[i]);
    }
}

/* u of the newest events, or NULL where the model has no sequence part or there is no history */
static double *naive_state(const struct scene *s, const struct recommender_event *events, size_t length)
{
    size_t d = (size_t)s->model->architecture.width;
    if (s->model->architecture.blocks == 0 || length == 0)
        return NULL;
    float *token = random_model_alloc(length * d, sizeof *token);
    int *behaviour = random_model_alloc(length, sizeof *behaviour);
    int64_t *ts_ms = random_model_alloc(length, sizeof *ts_ms);
    double *u = random_model_alloc(d, sizeof *u);
    for (size_t l = 0; l < length; l++) {
        if (events[l].rows != NULL)
            memcpy(token + l * d, events[l].rows->token + events[l].row * d, d * sizeof *token);
        behaviour[l] = events[l].behaviour;
        ts_ms[l] = events[l].ts_ms;
    }
    random_model_state(u, s->model, &(struct sequence){length, token, behaviour, ts_ms, NOW_MS});
    free(token);
    free(behaviour);
    free(ts_ms);
    return u;
}

/* ---- comparing */

/* The state has gone through many more roundings than a stream, hence its wider tolerance. */
static void compare(const char *what, const struct naive_score *naive, const float *parts, float score, int count,
                    size_t candidate)
{
    double sum = 0, magnitude = 0;
    for (int i = 0; i < count; i++) {
        double tolerance = (i == PART_SEQUENCE ? 1e-4 : 1e-5) * naive->magnitude[i] + 1e-7;
        cr_assert_lt(fabs(parts[i] - naive->part[i]), tolerance, "%s: part %d of candidate %zu: %.8g, wanted %.8g",
                     what, i, candidate, (double)parts[i], naive->part[i]);
        sum += parts[i];
        magnitude += fabsf(parts[i]);
    }
    cr_assert_leq(fabs(score - sum), 1e-5 * magnitude, "%s: the parts of candidate %zu add up to %.8g, not %.8g", what,
                  candidate, sum, (double)score);
}

/* Score rows first .. first + count of a scene and compare with the naive score of every `step`th. */
static void check_block(const char *what, const struct scene *s, const struct recommender_user *user,
                        const struct recommender_event *events, size_t length, bool unordered, size_t first,
                        size_t count, size_t step)
{
    int parts = PART_STREAMS + s->model->architecture.stream_count;
    size_t floats = count * (size_t)parts;
    float *part = random_model_alloc(floats + 1, sizeof *part), *score = random_model_alloc(count + 1, sizeof *score);
    float *alone = random_model_alloc(count, sizeof *alone);
    double *u = unordered ? NULL : naive_state(s, events, length);
    struct recommender_block block = {&s->rows, first, count, s->ids + first};
    size_t doubtful = 0;
    part[floats] = score[count] = 77;
    recommender_score(user, &s->context, &block, score, part);
    cr_assert(part[floats] == 77 && score[count] == 77, "%s: written past the block", what);
    for (size_t c = 0; c < count; c += step) {
        struct naive_score naive;
        naive_score(&naive, s, events, length, unordered, u, first + c);
        doubtful += naive.doubtful;
        if (!naive.doubtful)
            compare(what, &naive, part + c * (size_t)parts, score[c], parts, first + c);
    }
    cr_assert(count == 0 || doubtful * 2 <= count / step, "%s: %zu of %zu could not be compared", what, doubtful,
              count / step);
    recommender_score(user, &s->context, &block, alone, NULL);
    cr_assert_arr_eq(alone, score, count * sizeof *score, "%s: another score without parts", what);
    free(part);
    free(score);
    free(alone);
    free(u);
}

struct shape {
    size_t length, items;
    float missing;
};

/* The score of a whole shop in blocks of 256, of the history's newest events. */
static void check_shape(enum random_model_kind kind, const char *set, const struct shape *shape)
{
    char what[160];
    struct scene s;
    struct recommender_user user;
    snprintf(what, sizeof what, "%s, %s, %zu events, %zu items, %g missing", random_model_label(kind), set,
             shape->length, shape->items, (double)shape->missing);
    scene_init(&s, random_model(kind, 31 + (uint64_t)kind), shape->length, shape->items, shape->missing, 77);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena), "%s", what);
    cr_assert_eq(user.length, s.length);
    for (size_t first = 0; first < shape->items; first += RECOMMENDER_BLOCK) {
        size_t left = shape->items - first, count = left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK;
        check_block(what, &s, &user, s.events, s.length, false, first, count, count < 20 ? 1 : 13);
    }
    scene_close(&s);
}

static bool force(const char *set)
{
    setenv("RECSYSD_KERNELS", set, 1);
    if (strcmp(kernels()->name, set) == 0)
        return true;
    cr_log_info("%s: not on this processor", set);
    return false;
}

static void check_set(const char *set)
{
    static const struct shape shapes[] = {
        {0, 255, .2f},  /* nobody knows the user */
        {1, 1, 0},      /* the least there can be */
        {1, 256, .3f},  /* a full block */
        {5, 3, 1},      /* no features at all */
        {17, 255, .2f}, /* all but a full block */
        {100, 257, .2f}, {1000, 9, .2f},
    };
    if (!force(set))
        return;
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            check_shape(kind, set, &shapes[i]);
}

Test(recommender, plain_agrees_with_plain_loops)
{
    check_set("plain");
}

Test(recommender, avx2_agrees_with_plain_loops)
{
    check_set("avx2");
}

Test(recommender, avx512_agrees_with_plain_loops)
{
    check_set("avx512");
}

Test(recommender, blocks_begin_anywhere)
{
    static const size_t blocks[][2] = {{0, 1}, {299, 1}, {7, 255}, {44, 256}, {10, 0}};
    struct scene s;
    struct recommender_user user;
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        scene_init(&s, random_model(kind, 5), 12, 300, .2f, 5);
        cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
            check_block(random_model_label(kind), &s, &user, s.events, s.length, false, blocks[i][0], blocks[i][1], 7);
        scene_close(&s);
    }
}

Test(recommender, only_the_newest_events_count)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    a.history = 9;
    scene_init(&s, random_model_of(&a, RANDOM_MODEL_NAMES, 5), 30, 40, .2f, 5);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    cr_assert_eq(user.length, 9);
    check_block("newest 9 of 30", &s, &user, s.events + 21, 9, false, 0, 40, 1);
    scene_close(&s);
}

Test(recommender, users_prepared_side_by_side)
{
    struct scene s;
    struct recommender_user long_user, short_user;
    scene_init(&s, random_model(RANDOM_MODEL_DEFAULT, 6), 50, 60, .2f, 6);
    cr_assert(recommender_prepare(&long_user, s.model, s.events, 50, NOW_MS, &s.arena));
    cr_assert(recommender_prepare(&short_user, s.model, s.events, 3, NOW_MS, &s.arena));
    check_block("long", &s, &long_user, s.events, 50, false, 0, 60, 5);
    check_block("short", &s, &short_user, s.events, 3, false, 0, 60, 5);
    check_block("long again", &s, &long_user, s.events, 50, false, 0, 60, 5);
    scene_close(&s);
}

Test(recommender, a_dislike_lowers_what_resembles_it)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_NEGATIVE, 8), 1, 20, 0, 8);
    float score[2], parts[2][PARTS_MOST];
    size_t stride = PART_STREAMS + (size_t)s.model->architecture.stream_count;
    struct recommender_block block = {&s.rows, 4, 1, s.ids + 4};
    for (int i = 0; i < 2; i++) {
        s.events[0] = (struct recommender_event){s.ids[4], NOW_MS, i == 0 ? 0 : 2, 1, &s.rows, 4};
        cr_assert(recommender_prepare(&user, s.model, s.events, 1, NOW_MS, &s.arena));
        recommender_score(&user, &s.context, &block, &score[i], parts[i]);
    }
    for (size_t i = PART_STREAMS; i < stride; i++)
        cr_assert(parts[0][i] > 0 && parts[1][i] < 0, "stream %zu: %g and %g", i - PART_STREAMS, (double)parts[0][i],
                  (double)parts[1][i]);
    scene_close(&s);
}

/* Where the candidate's view is corrected, q is no unit row whatever the history's view is: logits have no bound
 * known beforehand. */
Test(recommender, a_corrected_candidate_against_an_uncorrected_history)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_JOINT);
    a.views[0].correction = 2;
    a.similarities[0] = a.similarities[2]; /* text against image alone, and image against image */
    a.similarity_count = 2;
    a.stream_count = 4;
    for (int i = 0; i < 4; i++)
        a.streams[i] = (struct stream){i / 2, i % 2};
    struct model *model = random_model_of(&a, 0, 9);
    for (size_t i = 0; i < 24; i++)
        model->weights.view[0].up[ROLE_QUERY][i] *= 200;
    scene_init(&s, model, 20, 40, 0, 9);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    check_block("corrected candidate", &s, &user, s.events, s.length, false, 0, 40, 1);
    scene_close(&s);
}

Test(recommender, more_streams_of_one_pick_than_a_kernel_takes_at_once)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_DEFAULT);
    a.stream_count = KERNELS_JUDGES_MAX + 4;
    for (int i = 0; i < a.stream_count; i++)
        a.streams[i] = (struct stream){0, i % 2};
    json_t *json = architecture_write(&a);
    bool allowed = architecture_read(&a, json, NULL);
    json_decref(json);
    if (!allowed)
        return; /* refusing a stream that is there twice is as good */
    scene_init(&s, random_model_of(&a, 0, 10), 12, 10, 0, 10);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    check_block("twenty streams of one pick", &s, &user, s.events, s.length, false, 0, 10, 1);
    scene_close(&s);
}

Test(recommender, an_arena_that_gives_out_is_a_failure)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_SEQUENCE, 3), 20, 10, 0, 3);
    bool ok = false, examples = false;
    for (size_t limit = 0; !ok || !examples; limit += 8192) {
        struct arena arena;
        arena_init(&arena, limit);
        ok = recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &arena);
        arena_close(&arena);
        arena_init(&arena, limit);
        examples = recommender_prepare_examples(&user, s.model, s.events, s.length, &arena);
        arena_close(&arena);
        cr_assert_lt(limit, (size_t)8 << 20, "it should fit eight megabytes");
        cr_assert(!(ok && limit < 16384), "it cannot fit %zu bytes", limit);
    }
    scene_close(&s);
}

Test(recommender, cost_is_in_multiply_adds)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_JOINT);
    cr_assert_eq(recommender_cost(&a, 100), 3 * 12 * 100);
    cr_assert_eq(recommender_cost(&a, 0), 0);
}

/* ---- examples */

static void score_all(const struct scene *s, const struct recommender_user *user, float *score)
{
    struct recommender_block block = {&s->rows, 0, s->shop.count, s->ids};
    recommender_score(user, &s->context, &block, score, NULL);
}

static void check_examples(enum random_model_kind kind, bool same_time)
{
    enum { ITEMS = 60, EXAMPLES = 9 };
    struct scene s;
    struct recommender_user user;
    struct random rng;
    float first[ITEMS], score[ITEMS];
    random_init(&rng, 1);
    scene_init(&s, random_model(kind, 12), EXAMPLES, ITEMS, .1f, 12);
    for (size_t i = 0; same_time && i < EXAMPLES; i++)
        s.events[i].ts_ms = NOW_MS;
    cr_assert(recommender_prepare_examples(&user, s.model, s.events, EXAMPLES, &s.arena));
    check_block(random_model_label(kind), &s, &user, s.events, EXAMPLES, true, 0, ITEMS, 1);
    score_all(&s, &user, first);
    for (int round = 0; round < 5; round++) {
        struct recommender_event shuffled[EXAMPLES];
        uint32_t order[EXAMPLES];
        for (uint32_t i = 0; i < EXAMPLES; i++)
            order[i] = i;
        random_shuffle(&rng, order, EXAMPLES);
        for (size_t i = 0; i < EXAMPLES; i++)
            shuffled[i] = s.events[order[i]];
        cr_assert(recommender_prepare_examples(&user, s.model, shuffled, EXAMPLES, &s.arena));
        score_all(&s, &user, score);
        for (size_t i = 0; i < ITEMS; i++)
            cr_assert_lt(fabsf(score[i] - first[i]), 2e-5f, "%s: item %zu: %.8g, in another order %.8g",
                         random_model_label(kind), i, (double)first[i], (double)score[i]);
    }
    scene_close(&s);
}

Test(recommender, examples_have_no_order)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        check_examples(kind, true);
}

Test(recommender, examples_have_no_time)
{
    check_examples(RANDOM_MODEL_DEFAULT, false);
}

Test(recommender, no_examples)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_SEQUENCE, 12), 0, 20, 0, 12);
    cr_assert(recommender_prepare_examples(&user, s.model, NULL, 0, &s.arena));
    check_block("no examples", &s, &user, NULL, 0, true, 0, 20, 1);
    scene_close(&s);
}

/* ---- scans */

/* Σ_l value_l · e^position[age] · row_l of the view, normalised; the first similarity with that candidate view says
 * how */
static void naive_query(double *query, const struct scene *s, bool unordered, int index)
{
    const struct architecture *a = &s->model->architecture;
    int view = a->similarities[index].history_view;
    size_t r = (size_t)a->views[view].components;
    double norm = 0;
    memset(query, 0, r * sizeof *query);
    for (size_t l = 0; l < s->length; l++) {
        size_t age = unordered ? 0 : s->length - 1 - l;
        double weight =
            value_of(s->model, &s->events[l]) * exp(s->model->weights.similarity[index].position[age < 63 ? age : 63]);
        const float *row = row_of(s->events[l].rows, s->model, view, ROLE_HISTORY_VALUE, s->events[l].row);
        for (size_t j = 0; j < r; j++)
            query[j] += weight * row[j];
    }
    for (size_t j = 0; j < r; j++)
        norm += query[j] * query[j];
    for (size_t j = 0; norm > 0 && j < r; j++)
        query[j] /= sqrt(norm);
}

static double naive_scan(const struct scene *s, bool unordered, size_t candidate)
{
    const struct architecture *a = &s->model->architecture;
    bool seen[ARCHITECTURE_VIEWS_MAX] = {false};
    double sum = 0, query[64];
    for (int i = 0; i < a->similarity_count; i++) {
        int view = a->similarities[i].candidate_view;
        double weight = 0;
        for (int j = 0; j < a->stream_count; j++)
            if (a->similarities[a->streams[j].judge].candidate_view == view)
                weight += s->model->weights.stream[j] * s->weight[PART_STREAMS + j];
        if (seen[view])
            continue;
        seen[view] = true;
        naive_query(query, s, unordered, i);
        const float *row = row_of(&s->rows, s->model, view, ROLE_CANDIDATE_VALUE, candidate);
        for (size_t j = 0; j < (size_t)a->views[view].components; j++)
            sum += weight * query[j] * row[j];
    }
    return sum;
}

static void check_scan(enum random_model_kind kind, size_t length, bool unordered)
{
    enum { ITEMS = 300, FIRST = 11 };
    struct scene s;
    struct recommender_user user;
    float score[ITEMS + 1] = {0};
    scene_init(&s, random_model(kind, 14), length, ITEMS, .2f, 14);
    cr_assert(unordered ? recommender_prepare_examples(&user, s.model, s.events, length, &s.arena)
                        : recommender_prepare(&user, s.model, s.events, length, NOW_MS, &s.arena));
    double *u = unordered ? NULL : naive_state(&s, s.events, length);
    size_t d = (size_t)s.model->architecture.width;
    score[ITEMS - FIRST] = 77;
    recommender_scan(&user, s.weight, &s.rows, FIRST, ITEMS - FIRST, score);
    cr_assert_eq(score[ITEMS - FIRST], 77, "written past the rows");
    static const uint32_t some[] = {ITEMS - 1, FIRST, 200, 57, 57, 100, 12};
    float own[sizeof some / sizeof *some];
    recommender_scan_some(&user, s.weight, &s.rows, some, sizeof some / sizeof *some, own);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        cr_assert_float_eq(own[i], score[some[i] - FIRST], 1e-4f, "row %u by itself", some[i]);
    for (size_t i = FIRST; i < ITEMS; i++) {
        double wanted = 0;
        for (size_t j = 0; u != NULL && j < d; j++)
            wanted += *s.model->weights.sequence_scale * u[j] * s.rows.output[i * d + j];
        wanted = u != NULL ? wanted : length > 0 ? naive_scan(&s, unordered, i) : 0;
        cr_assert_lt(fabs(score[i - FIRST] - wanted), 1e-4, "%s, %zu events, row %zu: %.8g, wanted %.8g",
                     random_model_label(kind), length, i, (double)score[i - FIRST], wanted);
    }
    free(u);
    scene_close(&s);
}

Test(recommender, a_scan_compares_with_the_decayed_mean_or_the_state)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        check_scan(kind, 0, false);
        check_scan(kind, 1, false);
        check_scan(kind, 80, false);
        check_scan(kind, 4, true);
    }
}
