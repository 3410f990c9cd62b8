/* SPDX-License-Identifier: Apache-2.0 */
#include "models/trainer_internal.h"

#include <math.h>
#include <string.h>

#define TOKENS_A_TIME 1024 /* rows that are run through the blocks together: their values stay near the core */

static size_t width(const struct trainer *t)
{
    return (size_t)t->model->architecture.width;
}

/* ---- items */

/* leave out parts of items at random, but never all that an item has */
static bool drop_parts(struct trainer *t, struct trainer_thread *own)
{
    const struct architecture *a = &t->model->architecture;
    size_t n = own->items.count;
    int64_t *id_row = (int64_t *)own->items.id_row;
    bool *kept = arena_alloc(&own->arena, (size_t)a->view_count * n + 1);
    if (kept == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t left = 0;
        int64_t row = id_row[i];
        if (row >= 0 && random_uniform(&own->random) < t->options.id_dropout)
            id_row[i] = -1;
        left += id_row[i] >= 0;
        for (int v = 0; v < a->view_count; v++) {
            bool present = own->items.present[v] != NULL && own->items.present[v][i];
            kept[(size_t)v * n + i] = present && random_uniform(&own->random) >= t->options.modality_dropout;
            left += kept[(size_t)v * n + i];
        }
        if (left > 0)
            continue;
        id_row[i] = row;
        for (int v = 0; v < a->view_count; v++)
            kept[(size_t)v * n + i] = own->items.present[v] != NULL && own->items.present[v][i];
    }
    for (int v = 0; v < a->view_count; v++)
        if (own->items.present[v] != NULL)
            own->items.present[v] = kept + (size_t)v * n;
    return true;
}

static bool add_noise(struct trainer *t, struct trainer_thread *own)
{
    for (int v = 0; v < t->model->architecture.view_count; v++) {
        if (own->items.present[v] == NULL)
            continue;
        size_t count = own->items.count * (size_t)t->model->architecture.views[v].components;
        float *noisy = arena_floats(&own->arena, count);
        if (noisy == NULL)
            return false;
        for (size_t i = 0; i < count; i++)
            noisy[i] = own->items.x[v][i] + t->options.feature_noise * random_normal(&own->random);
        own->items.x[v] = noisy;
    }
    return true;
}

static bool encode_share(struct trainer *t, struct trainer_thread *own)
{
    const struct architecture *a = &t->model->architecture;
    size_t d = width(t), n = own->last - own->first;
    int64_t *id_row = arena_alloc(&own->arena, (n + 1) * sizeof *id_row);
    if (id_row == NULL)
        return false;
    own->items = (struct fusion_items){.count = n, .id_row = id_row};
    for (size_t i = 0; i < n; i++)
        id_row[i] = t->id_rows ? (int64_t)(own->first + i) : -1;
    for (int v = 0; v < a->view_count; v++)
        if (t->set->present[v] != NULL) {
            own->items.x[v] = t->set->x[v] + own->first * (size_t)a->views[v].components;
            own->items.present[v] = t->set->present[v] + own->first;
        }
    if (t->dropping && (t->options.id_dropout > 0 || t->options.modality_dropout > 0) && !drop_parts(t, own))
        return false;
    if (t->dropping && t->options.feature_noise > 0 && !add_noise(t, own))
        return false;
    return n == 0 || fusion_forward(t->token + own->first * d, t->output + own->first * d, &own->tape, t->model,
                                    &own->items, &own->arena);
}

static void encode_job(void *context, size_t thread, size_t threads)
{
    struct trainer *t = context;
    struct trainer_thread *own = &t->thread[thread];
    (void)threads;
    arena_rewind(&own->arena, (struct arena_mark){0});
    own->failed = own->failed || !encode_share(t, own);
}

/* ---- sequences */

struct rows {
    struct sequences sequences;
    struct loss_rows loss;
    uint32_t *column; /* (T) inputs */
    float *target_q;
    float *token, *u, *du, *dtoken;
};

static bool rows_reserve(struct rows *r, size_t tokens, size_t count, size_t d, struct arena *arena)
{
    r->sequences.start = arena_alloc(arena, (count + 1) * sizeof(size_t));
    r->sequences.behaviour = arena_alloc(arena, tokens * sizeof(int));
    r->sequences.ts_ms = arena_alloc(arena, tokens * sizeof(int64_t));
    r->sequences.next_ms = arena_alloc(arena, tokens * sizeof(int64_t));
    r->column = arena_alloc(arena, tokens * sizeof(uint32_t));
    r->loss.target = arena_alloc(arena, tokens * r->loss.targets * sizeof(uint32_t));
    r->loss.weight = arena_floats(arena, tokens * r->loss.targets);
    r->loss.seen_from = arena_alloc(arena, tokens * sizeof(size_t));
    r->token = arena_floats(arena, tokens * d);
    r->u = arena_floats(arena, tokens * d);
    r->du = arena_floats(arena, tokens * d);
    r->dtoken = arena_floats(arena, tokens * d);
    r->target_q = arena_floats(arena, tokens);
    return r->sequences.start != NULL && r->sequences.behaviour != NULL && r->sequences.ts_ms != NULL &&
           r->sequences.next_ms != NULL && r->column != NULL && r->loss.target != NULL && r->loss.weight != NULL &&
           r->loss.seen_from != NULL && r->token != NULL && r->u != NULL && r->du != NULL && r->dtoken != NULL &&
           r->target_q != NULL;
}

/* what the k-th event after event e of a window counts as a target of it: transitions at a distance weigh as they do in the counts */
static float target_weight(const struct trainer *t, size_t window, size_t e, size_t k)
{
    if (e + 1 + k > t->window_last[window] || t->set->weight[e + 1 + k] <= 0)
        return 0;
    return t->set->weight[e + 1 + k] / (float)(k + 1);
}

/* windows first to last - 1 of the batch as rows: each event predicts the next */
static void rows_fill(struct rows *r, const struct trainer *t, size_t first, size_t last, size_t tokens)
{
    const struct training_set *set = t->set;
    size_t d = width(t), at = 0, *start = (size_t *)r->sequences.start;
    for (size_t w = first; w < last; w++) {
        start[w - first] = at;
        for (size_t e = t->window_first[w]; e < t->window_last[w]; e++, at++) {
            r->column[at] = set->column[e];
            ((int *)r->sequences.behaviour)[at] = set->behaviour[e];
            ((int64_t *)r->sequences.ts_ms)[at] = set->ts_ms[e];
            ((int64_t *)r->sequences.next_ms)[at] = set->ts_ms[e + 1];
            for (size_t k = 0; k < r->loss.targets; k++) {
                float weight = target_weight(t, w, e, k);
                ((uint32_t *)r->loss.target)[at * r->loss.targets + k] =
                    weight > 0 ? set->column[e + 1 + k] : UINT32_MAX;
                ((float *)r->loss.weight)[at * r->loss.targets + k] = weight;
            }
            ((size_t *)r->loss.seen_from)[at] = start[w - first];
            memcpy(r->token + at * d, t->token + (size_t)set->column[e] * d, d * sizeof(float));
        }
    }
    start[last - first] = at;
    r->sequences.count = last - first;
    r->sequences.token = r->token;
    r->loss.count = tokens;
    r->loss.u = r->u;
    r->loss.bias = t->bias;
    r->loss.seen = t->options.mask_seen ? r->column : NULL;
    memset(r->du, 0, tokens * d * sizeof(float));
    memset(r->dtoken, 0, tokens * d * sizeof(float));
}

static double rows_loss(struct rows *r, struct trainer *t, struct trainer_thread *own, float *scratch)
{
    size_t d = width(t), columns = t->set->columns;
    float scale = 1.0f / t->batch_weight;
    if (t->options.loss == TRAINER_SOFTMAX)
        return loss_softmax(r->du, own->doutput, &r->loss, t->output, columns, d, t->options.label_smoothing, scale,
                            scratch);
    struct loss_sample sample = {(size_t)t->options.negatives, t->sample.column, t->sample.log_q, t->sample.o};
    for (size_t i = 0; i < r->loss.count; i++)
        r->target_q[i] = 1.0f / (float)columns;
    if (t->options.loss == TRAINER_SAMPLED)
        return loss_sampled_softmax(r->du, own->doutput, &r->loss, t->output, &sample, r->target_q, d, scale, scratch);
    return loss_gbce(r->du, own->doutput, &r->loss, t->output, &sample, columns, t->options.gbce_t, d, scale, scratch);
}

/* forward, loss and backward of some windows */
static bool run_windows(struct trainer *t, struct trainer_thread *own, size_t first, size_t last, size_t tokens)
{
    size_t d = width(t), columns = t->set->columns;
    size_t compared = t->options.loss == TRAINER_SOFTMAX ? columns : (size_t)t->options.negatives;
    struct arena_mark mark = arena_mark(&own->arena);
    struct sequence_dropout dropout = {t->options.dropout, t->options.attention_dropout, &own->random};
    struct sequence_tape tape;
    struct rows r = {.loss = {.targets = (size_t)t->options.ahead}};
    float *scratch = arena_floats(&own->arena, LOSS_BLOCK * compared);
    bool ok = scratch != NULL && rows_reserve(&r, tokens, last - first, d, &own->arena);
    if (ok) {
        rows_fill(&r, t, first, last, tokens);
        ok = sequence_forward(r.u, &tape, t->model, &r.sequences, t->dropping ? &dropout : NULL, &own->arena);
    }
    if (ok) {
        own->loss += rows_loss(&r, t, own, scratch);
        ok = sequence_backward(r.dtoken, &own->gradient, r.du, &tape, t->model, &r.sequences, &own->arena);
    }
    for (size_t i = 0; ok && i < tokens; i++)
        for (size_t j = 0; j < d; j++)
            own->dtoken[(size_t)r.column[i] * d + j] += r.dtoken[i * d + j];
    arena_rewind(&own->arena, mark);
    return ok;
}

/* the windows of a thread: the events before them decide, so shares are about equal in work */
static void window_share(const struct trainer *t, size_t thread, size_t threads, size_t *first, size_t *last)
{
    size_t total = 0, before = 0, from, to;
    for (size_t w = 0; w < t->windows; w++)
        total += t->window_last[w] - t->window_first[w];
    team_share(total, thread, threads, &from, &to);
    *first = *last = t->windows;
    for (size_t w = 0; w < t->windows; w++) {
        if (before >= from && w < *first)
            *first = w;
        if (before >= to) {
            *last = w;
            break;
        }
        before += t->window_last[w] - t->window_first[w];
    }
}

static void sequence_job(void *context, size_t thread, size_t threads)
{
    struct trainer *t = context;
    struct trainer_thread *own = &t->thread[thread];
    size_t first, last;
    window_share(t, thread, threads, &first, &last);
    while (!own->failed && first < last) {
        size_t end = first, tokens = 0;
        while (end < last && (tokens == 0 || tokens + t->window_last[end] - t->window_first[end] <= TOKENS_A_TIME)) {
            tokens += t->window_last[end] - t->window_first[end];
            end++;
        }
        own->failed = !run_windows(t, own, first, end, tokens);
        first = end;
    }
}

/* ---- sums over threads */

static void add_rest(struct trainer *t, float *(*array)(struct trainer_thread *), size_t first, size_t last)
{
    float *sum = array(&t->thread[0]);
    for (size_t i = 1; i < team_size(t->team); i++) {
        float *more = array(&t->thread[i]);
        for (size_t j = first; j < last; j++)
            sum[j] += more[j];
        memset(more + first, 0, (last - first) * sizeof *more);
    }
}

static float *dtoken_of(struct trainer_thread *thread)
{
    return thread->dtoken;
}

static float *doutput_of(struct trainer_thread *thread)
{
    return thread->doutput;
}

static float *gradient_of(struct trainer_thread *thread)
{
    return thread->gradient_block;
}

static void items_job(void *context, size_t thread, size_t threads)
{
    struct trainer *t = context;
    struct trainer_thread *own = &t->thread[thread];
    size_t d = width(t), first = own->first * d, last = own->last * d;
    (void)threads;
    add_rest(t, dtoken_of, first, last);
    add_rest(t, doutput_of, first, last);
    if (!own->failed && last > first)
        own->failed = !fusion_backward(&own->gradient, t->thread[0].dtoken + first, t->thread[0].doutput + first,
                                       &own->tape, t->token + first, t->model, &own->items, &own->arena);
    memset(t->thread[0].dtoken + first, 0, (last - first) * sizeof(float));
    memset(t->thread[0].doutput + first, 0, (last - first) * sizeof(float));
}

static void parameters_job(void *context, size_t thread, size_t threads)
{
    struct trainer *t = context;
    for (size_t i = 0; i < t->model->params.count; i++) {
        const struct param *p = &t->model->params.list[i];
        size_t first, last;
        if (p->slot == &t->model->weights.id || p->group == PARAM_STATISTICS || p->group == PARAM_HEAD)
            continue;
        team_share(p->count, thread, threads, &first, &last);
        add_rest(t, gradient_of, p->offset + first, p->offset + last);
    }
}

static bool any_failed(const struct trainer *t)
{
    for (size_t i = 0; i < team_size(t->team); i++)
        if (t->thread[i].failed)
            return true;
    return false;
}

static void draw_sample(struct trainer *t)
{
    size_t columns = t->set->columns, d = width(t);
    for (int i = 0; i < t->options.negatives; i++) {
        t->sample.column[i] = (uint32_t)random_below(&t->thread[0].random, columns);
        t->sample.log_q[i] = -logf((float)columns);
        memcpy(t->sample.o + (size_t)i * d, t->output + (size_t)t->sample.column[i] * d, d * sizeof(float));
    }
}

bool trainer_encode(struct trainer *t)
{
    team_run(t->team, encode_job, t);
    return !any_failed(t);
}

bool trainer_step_gradient(struct trainer *t, double *loss)
{
    for (size_t i = 0; i < team_size(t->team); i++)
        t->thread[i].loss = 0;
    memset(t->thread[0].gradient_block, 0, t->model->params.total * sizeof(float));
    t->batch_weight = 0;
    for (size_t w = 0; w < t->windows; w++)
        for (size_t e = t->window_first[w]; e < t->window_last[w]; e++)
            for (size_t k = 0; k < (size_t)t->options.ahead; k++)
                t->batch_weight += target_weight(t, w, e, k);
    if (t->batch_weight <= 0)
        t->batch_weight = 1;
    if (!trainer_encode(t))
        return false;
    if (t->options.loss != TRAINER_SOFTMAX)
        draw_sample(t);
    team_run(t->team, sequence_job, t);
    team_run(t->team, items_job, t);
    team_run(t->team, parameters_job, t);
    *loss = 0;
    for (size_t i = 0; i < team_size(t->team); i++)
        *loss += t->thread[i].loss;
    *loss /= (double)t->batch_weight;
    return !any_failed(t);
}
