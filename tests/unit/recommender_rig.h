/* SPDX-License-Identifier: Apache-2.0
 *
 * A shop and a user of it, scored in plain loops in double, written from models/recommender.h, for scores to be held
 * against. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_RECOMMENDER_RIG_H
#define RECSYS_TESTS_UNIT_RECOMMENDER_RIG_H

#include "models/recommender.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
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

static inline uint32_t id_of_row(size_t row)
{
    return (uint32_t)(3 * row + 7);
}

/* Some events are of items that are gone (no row), some of behaviours that the model does not know. */
static inline void draw_events(struct scene *s, size_t length, struct random *rng)
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

static inline void draw_counts(struct scene *s, struct random *rng)
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

static inline void scene_init(struct scene *s, struct model *model, size_t length, size_t items, float missing,
                              uint64_t seed)
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

static inline void scene_close(struct scene *s)
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

static inline const float *row_of(const struct encoder_rows *rows, const struct model *model, int view, enum role role,
                                  size_t row)
{
    return rows == NULL ? zeros : rows->role[view][role] + row * (size_t)model->architecture.views[view].components;
}

static inline bool is_zero(const float *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i] != 0)
            return false;
    return true;
}

static inline double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* q·k in the way of the similarity, of one head */
static inline double naive_compare(const struct model *model, int index, const float *q, const float *k, size_t width)
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

static inline int descending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a > b ? -1 : a < b;
}

/* keep the `keep` largest; whether the line is too fine */
static inline bool naive_harden(double *logit, size_t length, size_t keep)
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
static inline bool naive_logits(double *logit, const struct scene *s, const struct recommender_event *events,
                                size_t length, bool unordered, int index, size_t head, size_t candidate)
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

static inline double value_of(const struct model *model, const struct recommender_event *event)
{
    return event->behaviour >= 0 ? model->weights.value[event->behaviour] : event->weight;
}

/* γ Σ_heads Σ_l softmax(pick)[l] · value[l] · r·v */
static inline void naive_stream(struct naive_score *out, const struct scene *s, const struct recommender_event *events,
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

static inline double naive_cooccurrence(const struct scene *s, uint32_t candidate_id)
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

static inline double naive_prior(const struct scene *s, uint32_t candidate_id)
{
    return *s->model->weights.popularity * log1p(counts_popularity(s->counts, candidate_id)) +
           *s->model->weights.recent * log1p(counts_recent(s->counts, candidate_id, NOW_MS)) +
           (s->newest_count > 0 ? *s->model->weights.novelty / (1 + (double)counts_popularity(s->counts, candidate_id))
                                : 0);
}

static inline void naive_score(struct naive_score *out, const struct scene *s, const struct recommender_event *events,
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
static inline double *naive_state(const struct scene *s, const struct recommender_event *events, size_t length)
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
static inline void compare(const char *what, const struct naive_score *naive, const float *parts, float score,
                           int count, size_t candidate)
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
static inline void check_block(const char *what, const struct scene *s, const struct recommender_user *user,
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

#endif
