/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head.h"

#include "models/head_corrections.h"
#include "models/matrix.h"
#include "models/recommender_internal.h"

#include <math.h>
#include <string.h>

#define MASKED (-1e30f)

/* One query at work. */
struct work {
    const struct weights *gradient;
    const struct model *model;
    const struct head_items *items;
    const struct head_query *query;
    struct recommender_user user;
    struct cooccurrence *cooccurrence;
    float *score;
    float *weight;  /* (2, length): softmax of one row, its gradient */
    float *sorted;  /* (length) */
    int *behaviour; /* (length) */
    size_t *bucket; /* (length) */
    struct head_corrections corrections;
};

static size_t age_of(const struct work *w, size_t l)
{
    size_t age = w->user.length - 1 - l;
    return age < ARCHITECTURE_POSITIONS ? age : ARCHITECTURE_POSITIONS - 1;
}

/* softmax over the history of one candidate's picks; all zero where every event is masked */
static void attend(const struct work *w, const struct recommender_pass *pass, int similarity, size_t c, float *weight)
{
    const struct similarity *s = &w->model->architecture.similarities[similarity];
    size_t L = w->user.length;
    const float *pick = pass->pick[similarity] + c * L, *bias = w->user.bias[similarity];
    float sharpness = w->model->weights.similarity[similarity].sharpness[pass->head];
    for (size_t l = 0; l < L; l++)
        weight[l] = pick[l] * sharpness + bias[l];
    if (s->hard > 0)
        recommender_harden(weight, L, (size_t)s->hard, w->sorted);
    float most = MASKED;
    for (size_t l = 0; l < L; l++)
        most = fmaxf(most, weight[l]);
    if (most < 0.5f * MASKED)
        memset(weight, 0, L * sizeof *weight);
    else
        pass->kernels->softmax(weight, L);
}

/* Σ_l weight · value · judge */
static float judged(const struct work *w, const float *weight, const float *judge)
{
    float sum = 0;
    for (size_t l = 0; l < w->user.length; l++)
        sum += weight[l] * w->user.value[l] * judge[l];
    return sum;
}

/* the gradient of one pick's logits to what they are made of */
static void logit_gradients(const struct work *w, const struct recommender_pass *pass, int similarity, size_t c,
                            const float *dlogit)
{
    const struct architecture *a = &w->model->architecture;
    const struct weights *g = w->gradient;
    size_t L = w->user.length;
    const float *pick = pass->pick[similarity] + c * L;
    float dsharpness = 0;
    for (size_t l = 0; l < L; l++) {
        dsharpness += dlogit[l] * pick[l];
        g->similarity[similarity].position[age_of(w, l)] += dlogit[l];
        g->similarity[similarity].time[w->bucket[l]] += dlogit[l];
        if (w->behaviour[l] >= 0)
            g->similarity[similarity].behaviour[w->behaviour[l]] += dlogit[l];
    }
    g->similarity[similarity].sharpness[pass->head] += dsharpness;
    float *dpick = w->corrections.dpick[similarity];
    for (size_t l = 0; dpick != NULL && l < L; l++)
        dpick[c * L + l] = dlogit[l] * w->model->weights.similarity[similarity].sharpness[pass->head];
    if (a->similarities[similarity].kind != ATTENTION_ADDITIVE)
        return;
    const struct similarity *s = &a->similarities[similarity];
    size_t r = (size_t)a->views[s->candidate_view].components, width = r / (size_t)s->heads;
    size_t offset = (size_t)pass->head * width;
    const float *q = pass->block->rows->role[s->candidate_view][ROLE_QUERY] + (pass->block->first + c) * r + offset;
    float sharpness = w->model->weights.similarity[similarity].sharpness[pass->head];
    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < width; i++)
            g->similarity[similarity].additive[i] +=
                dlogit[l] * sharpness * tanhf(q[i] + w->user.key[similarity][l * r + offset + i]);
}

static float stream_weight(const struct work *w, int stream, float log_popularity)
{
    return w->model->weights.stream[stream] + w->model->weights.stream_count[stream] * log_popularity;
}

/* the gradient of the raw judgements, where the rows they are made of are learned */
static void correct_judges(const struct work *w, int similarity, size_t c, const float *weight, float dscore,
                           float log_popularity)
{
    const struct architecture *a = &w->model->architecture;
    size_t L = w->user.length;
    for (int i = 0; i < a->stream_count; i++) {
        float *djudge = w->corrections.djudge[a->streams[i].judge];
        if (a->streams[i].pick != similarity || djudge == NULL)
            continue;
        float factor = dscore * stream_weight(w, i, log_popularity);
        for (size_t l = 0; l < L; l++)
            djudge[c * L + l] += factor * weight[l] * w->user.value[l];
    }
}

/* everything of one candidate that one similarity picks for: forward adds to the score, backward takes dscore from there */
static void pick_streams(struct work *w, const struct recommender_pass *pass, int similarity, size_t c, bool backward)
{
    const struct architecture *a = &w->model->architecture;
    size_t L = w->user.length, item = pass->block->first + c;
    float *weight = w->weight, *dweight = w->weight + L, dscore = w->score[item], sum = 0;
    float log_popularity = item < w->items->counts->item_capacity ? w->items->counts->log_popularity[item] : 0;
    if (dscore == (backward ? 0 : MASKED))
        return;
    attend(w, pass, similarity, c, weight);
    if (backward)
        memset(dweight, 0, L * sizeof *dweight);
    for (int i = 0; i < a->stream_count; i++) {
        if (a->streams[i].pick != similarity)
            continue;
        const float *judge = pass->judge[a->streams[i].judge] + c * L;
        float gamma = stream_weight(w, i, log_popularity);
        if (!backward) {
            w->score[item] += gamma * judged(w, weight, judge);
            continue;
        }
        float out = judged(w, weight, judge);
        w->gradient->stream[i] += dscore * out;
        w->gradient->stream_count[i] += dscore * out * log_popularity;
        for (size_t l = 0; l < L; l++) {
            dweight[l] += dscore * gamma * w->user.value[l] * judge[l];
            if (w->behaviour[l] >= 0)
                w->gradient->value[w->behaviour[l]] += dscore * gamma * weight[l] * judge[l];
        }
    }
    if (!backward)
        return;
    correct_judges(w, similarity, c, weight, dscore, log_popularity);
    for (size_t l = 0; l < L; l++)
        sum += weight[l] * dweight[l];
    for (size_t l = 0; l < L; l++)
        dweight[l] = weight[l] * (dweight[l] - sum);
    logit_gradients(w, pass, similarity, c, dweight);
}

static void run_streams(struct work *w, const struct recommender_block *block, bool backward)
{
    const struct architecture *a = &w->model->architecture;
    struct recommender_pass pass = {.user = &w->user, .block = block, .kernels = kernels()};
    int heads = 0;
    for (int i = 0; i < a->similarity_count; i++)
        heads = a->similarities[i].heads > heads ? a->similarities[i].heads : heads;
    for (pass.head = 0; pass.head < heads && w->user.length > 0; pass.head++) {
        recommender_compare(&pass);
        if (backward)
            head_corrections_clear(&w->corrections, &w->user);
        for (int i = 0; i < a->similarity_count; i++)
            if (pass.head < a->similarities[i].heads && recommender_picks(a, i))
                for (size_t c = 0; c < block->count; c++)
                    pick_streams(w, &pass, i, c, backward);
        if (backward)
            head_corrections_add(&w->corrections, &pass, w->gradient);
    }
}

/* sequence and prior */
static void run_plain(struct work *w, const struct recommender_block *block, bool backward)
{
    const struct weights *m = &w->model->weights;
    size_t d = (size_t)w->model->architecture.width;
    for (size_t item = block->first; item < block->first + block->count; item++) {
        float log_popularity = item < w->items->counts->item_capacity ? w->items->counts->log_popularity[item] : 0;
        float recent = log1pf(counts_recent(w->items->counts, (uint32_t)item, w->query->now_ms));
        float novelty = w->user.length > 0 ? 1 / (1 + (float)counts_popularity(w->items->counts, (uint32_t)item)) : 0;
        float sequence = w->user.state == NULL ? 0 : matrix_dot(w->user.state, block->rows->output + item * d, d);
        float *score = &w->score[item];
        if (!backward && *score != MASKED)
            *score += (w->user.state == NULL ? 0 : *m->sequence_scale * sequence) + *m->popularity * log_popularity +
                      *m->recent * recent + *m->novelty * novelty;
        if (backward) {
            if (w->user.state != NULL)
                *w->gradient->sequence_scale += *score * sequence;
            *w->gradient->popularity += *score * log_popularity;
            *w->gradient->recent += *score * recent;
            *w->gradient->novelty += *score * novelty;
        }
    }
}

/* Σ_c dscore(c) log(1 + P / ε) over a row of the counts, and its derivative by ε */
static float row_gradient(const struct work *w, const struct counts_entry *row, size_t count, float *by_epsilon)
{
    float epsilon = *w->model->weights.epsilon, sum = 0;
    *by_epsilon = 0;
    for (size_t i = 0; i < count; i++) {
        float p = row[i].probability, dscore = w->score[row[i].item_id];
        sum += dscore * log1pf(p / epsilon);
        *by_epsilon -= dscore * p / (epsilon * (epsilon + p));
    }
    return sum;
}

/* w Σ_l decay^age value (log(1 + P / ε) + ρ log(1 + P' / ε)), event by event */
static void run_cooccurrence(struct work *w)
{
    const struct weights *m = &w->model->weights, *g = w->gradient;
    float factor = 1, before = 0; /* decay^age and its derivative by decay */
    size_t length = w->user.length;
    for (size_t age = 0; age < length && factor >= 0.003f; age++) {
        const struct recommender_event *event = &w->query->events[w->query->count - 1 - age];
        size_t count;
        float value = recommender_value(w->model, event), dforward, dbackward;
        const struct counts_entry *row = counts_row(w->items->counts, event->item_id, &count);
        float forward = row_gradient(w, row, count, &dforward);
        row = counts_row_before(w->items->counts, event->item_id, &count);
        float backward = row_gradient(w, row, count, &dbackward);
        float sum = forward + *m->reverse * backward, dsum = dforward + *m->reverse * dbackward;
        *g->reverse += *m->cooccurrence * factor * value * backward;
        *g->cooccurrence += factor * value * sum;
        *g->epsilon += *m->cooccurrence * factor * value * dsum;
        *g->decay += *m->cooccurrence * before * value * sum;
        if (event->behaviour >= 0)
            g->value[event->behaviour] += *m->cooccurrence * factor * sum;
        before = before * *m->decay + factor;
        factor *= *m->decay;
    }
}

static size_t attended(const struct model *model, const struct head_query *query)
{
    size_t most = (size_t)model->architecture.history;
    return query->count < most ? query->count : most;
}

bool head_cooccurrence(struct cooccurrence *cooccurrence, const struct model *model, const struct counts_view *counts,
                       const struct head_query *query, struct arena *arena)
{
    size_t L = attended(model, query);
    struct cooccurrence_event *newest_first = arena_alloc(arena, (L + 1) * sizeof *newest_first);
    for (size_t age = 0; newest_first != NULL && age < L; age++) {
        const struct recommender_event *event = &query->events[query->count - 1 - age];
        newest_first[age] = (struct cooccurrence_event){event->item_id, recommender_value(model, event)};
    }
    return newest_first != NULL &&
           cooccurrence_compute(cooccurrence, counts, newest_first, L, cooccurrence_scalars(&model->weights));
}

static bool prepare(struct work *w, struct arena *arena)
{
    size_t L = attended(w->model, w->query);
    const struct recommender_event *events = w->query->events + w->query->count - L;
    w->weight = arena_floats(arena, 2 * L + 1);
    w->sorted = arena_floats(arena, L + 1);
    w->behaviour = arena_alloc(arena, (L + 1) * sizeof *w->behaviour);
    w->bucket = arena_alloc(arena, (L + 1) * sizeof *w->bucket);
    if (w->weight == NULL || w->sorted == NULL || w->behaviour == NULL || w->bucket == NULL)
        return false;
    for (size_t l = 0; l < L; l++) {
        w->behaviour[l] = events[l].behaviour;
        w->bucket[l] = (size_t)model_time_bucket(w->query->now_ms - events[l].ts_ms);
    }
    return head_cooccurrence(w->cooccurrence, w->model, w->items->counts, w->query, arena) &&
           recommender_prepare_head(&w->user, w->model, w->query->events, w->query->count, w->query->now_ms,
                                    w->query->state, arena) &&
           (w->gradient == NULL || head_corrections_init(&w->corrections, &w->user, events, arena));
}

/* the items that compete start from their co-occurrence, the others are out */
static void start_scores(struct work *w, const struct head_sample *sample)
{
    for (size_t i = 0; i < w->items->count; i++)
        w->score[i] = sample == NULL ? cooccurrence_term(w->cooccurrence, (uint32_t)i) : MASKED;
    for (size_t b = 0; sample != NULL && b < sample->count; b++)
        for (size_t i = (size_t)sample->block[b] * RECOMMENDER_BLOCK;
             i < w->items->count && i < ((size_t)sample->block[b] + 1) * RECOMMENDER_BLOCK; i++)
            w->score[i] = cooccurrence_term(w->cooccurrence, (uint32_t)i);
    for (size_t i = 0; i < w->query->hidden_count; i++)
        if (w->query->hidden[i] != w->query->target)
            w->score[w->query->hidden[i]] = MASKED;
}

static void run_blocks(struct work *w, const struct head_sample *sample, bool backward)
{
    size_t blocks = sample != NULL ? sample->count : (w->items->count + RECOMMENDER_BLOCK - 1) / RECOMMENDER_BLOCK;
    for (size_t b = 0; b < blocks; b++) {
        size_t first = (sample != NULL ? sample->block[b] : b) * RECOMMENDER_BLOCK, left = w->items->count - first;
        struct recommender_block block = {w->items->rows, first, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK,
                                          w->items->item_ids + first};
        run_streams(w, &block, backward);
        run_plain(w, &block, backward);
    }
}

double head_gradient(const struct weights *gradient, const struct model *model, const struct head_items *items,
                     const struct head_sample *sample, const struct head_query *query, float scale, float *score,
                     struct cooccurrence *cooccurrence, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    struct work w = {.gradient = gradient,
                     .model = model,
                     .items = items,
                     .query = query,
                     .cooccurrence = cooccurrence,
                     .score = score};
    double loss = -1;
    if (prepare(&w, arena)) {
        start_scores(&w, sample);
        run_blocks(&w, sample, false);
        float of_target = score[query->target];
        loss = (double)(kernels()->softmax(score, items->count) - of_target);
        if (gradient != NULL) {
            score[query->target] -= 1;
            for (size_t i = 0; i < items->count; i++)
                score[i] = fabsf(score[i]) < 1e-12f ? 0 : score[i] * scale;
            run_blocks(&w, sample, true);
            run_cooccurrence(&w);
        }
    }
    arena_rewind(arena, mark);
    return loss;
}
