/* SPDX-License-Identifier: Apache-2.0 */
#include "models/trainer_internal.h"

#include "models/matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES     ((size_t)8 << 30) /* a limit, not a reservation */
#define QUERIES_A_TIME  64
#define METRIC_AT       10
#define EMBEDDING_START 0.1f
#define GATE_START      1.0f

/* ---- starting values */

static void fill_normal(float *x, size_t count, float deviation, struct random *random)
{
    for (size_t i = 0; i < count; i++)
        x[i] = deviation * random_normal(random);
}

static void fill(float *x, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        x[i] = value;
}

static void start_block(struct model *model, int b, struct random *random)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    size_t d = (size_t)a->width, f = (size_t)a->feedforward;
    float narrow = 1 / sqrtf((float)d);
    fill(w->block[b].norm1_scale, d, 1);
    fill(w->block[b].norm2_scale, d, 1);
    fill_normal(w->block[b].qkv, 3 * d * d, narrow, random);
    fill_normal(w->block[b].out, d * d, narrow, random);
    fill_normal(w->block[b].up, d * f, narrow, random);
    fill_normal(w->block[b].up_gate, d * f, narrow, random);
    fill_normal(w->block[b].down, f * d, 1 / sqrtf((float)f), random);
    fill(w->block[b].gate1_bias, d, GATE_START);
    fill(w->block[b].gate2_bias, d, GATE_START);
}

void trainer_start(struct model *model, uint64_t seed)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    size_t d = (size_t)a->width;
    struct random random;
    random_init(&random, seed);
    if (a->blocks == 0)
        return;
    for (int v = 0; v < a->view_count; v++)
        if (w->view[v].projection != NULL) {
            fill_normal(w->view[v].projection, (size_t)a->views[v].components * d, 1, &random);
            fill(w->view[v].norm_scale, d, 1);
        }
    fill_normal(w->id, model->item_count * d, EMBEDDING_START, &random);
    fill_normal(w->gate, d * ARCHITECTURE_GATE_WIDTH, 1 / sqrtf((float)d), &random);
    fill_normal(w->output, d * d, 0.1f / (float)d, &random);
    for (size_t i = 0; i < d; i++)
        w->output[i * d + i] += 1 / sqrtf((float)d);
    for (int b = 0; b < a->blocks; b++)
        start_block(model, b, &random);
    fill(w->norm_scale, d, 1);
    *w->sequence_scale = 1;
}

/* ---- life */

static bool reserve_thread(struct trainer *t, size_t i)
{
    struct trainer_thread *own = &t->thread[i];
    size_t d = (size_t)t->model->architecture.width, size = t->set->columns * d + 1;
    arena_init(&own->arena, ARENA_BYTES);
    own->gradient_block = calloc(t->model->params.total + 1, sizeof(float));
    own->dtoken = calloc(size, sizeof(float));
    own->doutput = calloc(size, sizeof(float));
    if (own->gradient_block == NULL || own->dtoken == NULL || own->doutput == NULL)
        return false;
    params_point(&t->model->params, &t->model->weights, &own->gradient, own->gradient_block);
    own->gradient.id = t->thread[0].gradient.id;
    team_share(t->set->columns, i, team_size(t->team), &own->first, &own->last);
    return true;
}

static bool reserve(struct trainer *t)
{
    const struct trainer_options *o = &t->options;
    size_t d = (size_t)t->model->architecture.width, size = t->set->columns * d + 1, users = t->set->data->user_count;
    t->token = malloc(size * sizeof(float));
    t->output = malloc(size * sizeof(float));
    t->best = malloc((t->model->params.total + 1) * sizeof(float));
    t->average = o->average > 0 ? malloc((t->model->params.total + 1) * sizeof(float)) : NULL;
    t->users = malloc((users + 1) * sizeof *t->users);
    t->window_first = malloc((size_t)(o->batch_users + 1) * sizeof *t->window_first);
    t->window_last = malloc((size_t)(o->batch_users + 1) * sizeof *t->window_last);
    t->sample.column = malloc((size_t)(o->negatives + 1) * sizeof *t->sample.column);
    t->sample.log_q = malloc((size_t)(o->negatives + 1) * sizeof(float));
    t->sample.o = malloc((size_t)(o->negatives + 1) * d * sizeof(float));
    t->bias = o->prior > 0 ? malloc((t->set->columns + 1) * sizeof(float)) : NULL;
    for (size_t i = 0; t->bias != NULL && i < t->set->columns; i++)
        t->bias[i] = o->prior * log1pf(t->set->count[i]);
    bool ok = (o->prior <= 0 || t->bias != NULL) && t->token != NULL && t->output != NULL && t->best != NULL &&
              (o->average <= 0 || t->average != NULL) && t->users != NULL && t->window_first != NULL &&
              t->window_last != NULL && t->sample.column != NULL && t->sample.log_q != NULL && t->sample.o != NULL;
    for (size_t i = 0; ok && i < team_size(t->team); i++)
        ok = reserve_thread(t, i);
    return ok;
}

/* those with something to predict */
static void list_users(struct trainer *t)
{
    t->user_count = 0;
    for (size_t user = 0; user < t->set->data->user_count; user++)
        if (t->set->start[user + 1] - t->set->start[user] >= 2)
            t->users[t->user_count++] = (uint32_t)user;
}

struct trainer *trainer_new(struct model *model, const struct training_set *set, bool id_rows,
                            const struct trainer_options *options, struct team *team, struct status *st)
{
    struct trainer *t = calloc(1, sizeof *t);
    if (t != NULL) {
        *t = (struct trainer){.options = *options, .model = model, .set = set, .team = team, .id_rows = id_rows};
        t->options.ahead = options->ahead < 1 || options->loss != TRAINER_SOFTMAX ? 1 : options->ahead;
        struct optimiser_options adam = {
            .rate = {[PARAM_ENCODER] = options->learning_rate, [PARAM_SEQUENCE] = options->learning_rate},
            .decay = {[PARAM_ENCODER] = options->weight_decay, [PARAM_SEQUENCE] = options->weight_decay},
            .clip = options->clip,
            .warmup_steps = options->warmup_steps};
        if (reserve(t) && optimiser_init(&t->optimiser, &model->params, &adam)) {
            list_users(t);
            if (t->average != NULL)
                memcpy(t->average, model->block, model->params.total * sizeof(float));
            memcpy(t->best, model->block, model->params.total * sizeof(float));
            t->progress.best_ndcg = -1;
            return t;
        }
    }
    trainer_free(t);
    status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train");
    return NULL;
}

void trainer_free(struct trainer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < team_size(t->team); i++) {
        arena_close(&t->thread[i].arena);
        free(t->thread[i].gradient_block);
        free(t->thread[i].dtoken);
        free(t->thread[i].doutput);
    }
    optimiser_close(&t->optimiser);
    free(t->token);
    free(t->output);
    free(t->bias);
    free(t->best);
    free(t->average);
    free(t->users);
    free(t->window_first);
    free(t->window_last);
    free(t->sample.column);
    free(t->sample.log_q);
    free(t->sample.o);
    free(t);
}

/* ---- an epoch */

/* the user's training events from which every one but the last predicts the next; the window's last event is only a target */
static void add_window(struct trainer *t, uint32_t user, struct random *random)
{
    size_t first = t->set->start[user], last = t->set->start[user + 1] - 1;
    size_t most = (size_t)t->model->architecture.history;
    if (last - first > most) {
        size_t room = last - first - most;
        bool anywhere = random != NULL && t->options.random_window && random_below(random, 2) == 1;
        first += anywhere ? random_below(random, room + 1) : room;
        last = first + most;
    }
    t->window_first[t->windows] = first;
    t->window_last[t->windows++] = last;
}

static void average_weights(struct trainer *t)
{
    float keep = t->options.average;
    double steps = (double)t->optimiser.step;
    if (steps / (steps + 10) < (double)keep) /* the average begins short */
        keep = (float)(steps / (steps + 10));
    for (size_t i = 0; i < t->model->params.count; i++) {
        const struct param *p = &t->model->params.list[i];
        if (p->group != PARAM_ENCODER && p->group != PARAM_SEQUENCE)
            continue; /* what rests would gather rounding errors */
        for (size_t j = p->offset; j < p->offset + p->count; j++)
            t->average[j] = keep * t->average[j] + (1 - keep) * t->model->block[j];
    }
}

/* every thread's dropout depends on seed and step alone, so that training can go on from a checkpoint */
static void seed_threads(struct trainer *t)
{
    for (size_t i = 0; i < team_size(t->team); i++)
        random_init(&t->thread[i].random,
                    t->options.seed * 1000003u + (uint64_t)t->optimiser.step * TEAM_THREADS_MAX + i + 1);
}

static bool run_steps(struct trainer *t, struct trainer_epoch *result, struct status *st)
{
    struct random order;
    double weight = 0;
    random_init(&order, t->options.seed ^ ((uint64_t)(t->progress.epoch + 1) << 32));
    list_users(t); /* the order does not depend on what the epoch before left */
    random_shuffle(&order, t->users, t->user_count);
    for (size_t first = 0; first < t->user_count; first += (size_t)t->options.batch_users) {
        double loss;
        t->windows = 0;
        for (size_t i = first; i < t->user_count && i < first + (size_t)t->options.batch_users; i++)
            add_window(t, t->users[i], &order);
        seed_threads(t);
        t->dropping = true;
        if (!trainer_step_gradient(t, &loss))
            return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a step of training");
        if (!isfinite(loss))
            return status_fail(st, STATUS_INTERNAL, "DIVERGED", "the loss is not a number any more in epoch %d",
                               t->progress.epoch + 1);
        result->loss += loss * (double)t->batch_weight;
        weight += (double)t->batch_weight;
        result->gradient_norm = optimiser_step(&t->optimiser, t->team, t->model->block, t->thread[0].gradient_block);
        if (!isfinite(result->gradient_norm))
            return status_fail(st, STATUS_INTERNAL, "DIVERGED", "the gradient is not a number any more in epoch %d",
                               t->progress.epoch + 1);
        if (t->average != NULL)
            average_weights(t);
        for (size_t w = 0; w < t->windows; w++)
            result->events += t->window_last[w] - t->window_first[w];
    }
    result->loss /= weight > 0 ? weight : 1;
    return true;
}

/* ---- validation */

struct validation {
    size_t *start;
    uint32_t *column;
    int *behaviour;
    int64_t *ts_ms, *next_ms;
    float *token, *u, *state, *score;
};

static bool validation_reserve(struct validation *v, const struct trainer *t, struct arena *arena)
{
    size_t d = (size_t)t->model->architecture.width, n = QUERIES_A_TIME,
           tokens = n * (size_t)t->model->architecture.history;
    v->start = arena_alloc(arena, (n + 1) * sizeof *v->start);
    v->column = arena_alloc(arena, tokens * sizeof *v->column);
    v->behaviour = arena_alloc(arena, tokens * sizeof *v->behaviour);
    v->ts_ms = arena_alloc(arena, tokens * sizeof *v->ts_ms);
    v->next_ms = arena_alloc(arena, tokens * sizeof *v->next_ms);
    v->token = arena_floats(arena, tokens * d);
    v->u = arena_floats(arena, tokens * d);
    v->state = arena_floats(arena, n * d);
    v->score = arena_floats(arena, n * t->set->columns);
    return v->start != NULL && v->column != NULL && v->behaviour != NULL && v->ts_ms != NULL && v->next_ms != NULL &&
           v->token != NULL && v->u != NULL && v->state != NULL && v->score != NULL;
}

/* the newest events before the query that are in the training part's catalogue; returns how many */
static size_t fill_history(struct validation *v, const struct trainer *t, const struct holdout_query *query, size_t at)
{
    const struct evaluation_data *data = t->set->data;
    size_t d = (size_t)t->model->architecture.width, from = data->user_start[query->user], to = from + query->at;
    size_t most = (size_t)t->model->architecture.history, begin = to, count = 0, n = 0;
    while (begin > from && count < most)
        count += t->set->column_of[data->events[--begin].item] != TRAINING_NO_COLUMN;
    for (size_t e = begin; e < to; e++) {
        uint32_t column = t->set->column_of[data->events[e].item];
        if (column == TRAINING_NO_COLUMN)
            continue;
        v->column[at + n] = column;
        v->behaviour[at + n] = t->set->behaviour_of[data->events[e].behaviour];
        v->ts_ms[at + n] = data->events[e].ts_ms;
        if (n > 0)
            v->next_ms[at + n - 1] = data->events[e].ts_ms;
        memcpy(v->token + (at + n) * d, t->token + (size_t)column * d, d * sizeof(float));
        n++;
    }
    if (n > 0)
        v->next_ms[at + n - 1] = data->events[to].ts_ms;
    return n;
}

static void rank_query(struct trainer *t, struct trainer_thread *own, const struct holdout_query *query, float *score)
{
    const struct evaluation_data *data = t->set->data;
    size_t from = data->user_start[query->user], to = from + query->at;
    uint32_t target = t->set->column_of[data->events[to].item];
    for (size_t i = 0; t->bias != NULL && i < t->set->columns; i++)
        score[i] += t->bias[i];
    if (target == TRAINING_NO_COLUMN || !isfinite(score[target]))
        return;
    for (size_t e = from; t->options.mask_seen && e < to; e++) {
        uint32_t column = t->set->column_of[data->events[e].item];
        if (column != TRAINING_NO_COLUMN && column != target)
            score[column] = -INFINITY;
    }
    double rank = 0.5;
    for (size_t i = 0; i < t->set->columns; i++)
        rank += score[i] > score[target] ? 1 : score[i] == score[target] ? 0.5 : 0;
    if (rank < METRIC_AT + 1) {
        own->ndcg += 1 / log2(1 + rank);
        own->hits += 1;
    }
}

static bool validate_queries(struct trainer *t, struct trainer_thread *own, struct validation *v, size_t first,
                             size_t last)
{
    size_t d = (size_t)t->model->architecture.width, count = 0, tokens = 0, query[QUERIES_A_TIME];
    struct sequence_tape tape;
    for (size_t q = first; q < last; q++) {
        size_t length = fill_history(v, t, &t->set->holdout->validation[q], tokens);
        if (length == 0)
            continue;
        v->start[count] = tokens;
        query[count++] = q;
        tokens += length;
    }
    if (count == 0)
        return true;
    v->start[count] = tokens;
    struct sequences s = {count, v->start, v->token, v->behaviour, v->ts_ms, v->next_ms};
    if (!sequence_forward(v->u, &tape, t->model, &s, NULL, &own->arena))
        return false;
    for (size_t i = 0; i < count; i++)
        memcpy(v->state + i * d, v->u + (v->start[i + 1] - 1) * d, d * sizeof(float));
    matrix_multiply_transposed(v->score, v->state, d, t->output, d, count, t->set->columns, d);
    for (size_t i = 0; i < count; i++)
        rank_query(t, own, &t->set->holdout->validation[query[i]], v->score + i * t->set->columns);
    return true;
}

static void validate_job(void *context, size_t thread, size_t threads)
{
    struct trainer *t = context;
    struct trainer_thread *own = &t->thread[thread];
    struct validation v;
    size_t first, last;
    team_share(t->set->holdout->validation_count, thread, threads, &first, &last);
    own->ndcg = own->hits = 0;
    own->failed = own->failed || !validation_reserve(&v, t, &own->arena);
    struct arena_mark mark = arena_mark(&own->arena);
    for (size_t q = first; !own->failed && q < last; q += QUERIES_A_TIME) {
        own->failed = !validate_queries(t, own, &v, q, q + QUERIES_A_TIME < last ? q + QUERIES_A_TIME : last);
        arena_rewind(&own->arena, mark);
    }
}

static void swap_average(struct trainer *t)
{
    for (size_t i = 0; t->average != NULL && i < t->model->params.total; i++) {
        float x = t->average[i];
        t->average[i] = t->model->block[i];
        t->model->block[i] = x;
    }
}

static bool validate(struct trainer *t, struct trainer_epoch *result)
{
    double count = (double)t->set->holdout->validation_count;
    t->dropping = false;
    if (!trainer_encode(t))
        return false;
    team_run(t->team, validate_job, t);
    for (size_t i = 0; i < team_size(t->team); i++) {
        result->ndcg += t->thread[i].ndcg / (count > 0 ? count : 1);
        result->hit_rate += t->thread[i].hits / (count > 0 ? count : 1);
        if (t->thread[i].failed)
            return false;
    }
    return true;
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool trainer_run_epoch(struct trainer *t, struct trainer_epoch *result, struct status *st)
{
    double begin = now_seconds();
    *result = (struct trainer_epoch){.epoch = t->progress.epoch + 1, .learning_rate = (double)t->options.learning_rate};
    if (!run_steps(t, result, st))
        return false;
    result->seconds = now_seconds() - begin;
    swap_average(t);
    bool ok = validate(t, result);
    result->best_epoch = t->progress.best_epoch;
    result->best_ndcg = t->progress.best_ndcg;
    if (ok && (result->ndcg > t->progress.best_ndcg || t->set->holdout->validation_count == 0)) {
        memcpy(t->best, t->model->block, t->model->params.total * sizeof(float));
        result->best_epoch = result->epoch;
        result->best_ndcg = result->ndcg;
    }
    swap_average(t);
    t->progress = *result;
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to validate");
}

bool trainer_is_done(const struct trainer *t)
{
    return t->progress.epoch >= t->options.epochs ||
           (t->options.patience > 0 && t->progress.epoch - t->progress.best_epoch >= t->options.patience);
}

void trainer_finish(struct trainer *t)
{
    memcpy(t->model->block, t->best, t->model->params.total * sizeof(float));
}

void trainer_progress(const struct trainer *t, struct trainer_epoch *progress)
{
    *progress = t->progress;
}

bool trainer_gradient(struct trainer *t, const uint32_t *users, size_t count, double *loss, float *gradient)
{
    t->windows = 0;
    t->dropping = false;
    for (size_t i = 0; i < count && i < (size_t)t->options.batch_users; i++)
        add_window(t, users[i], NULL);
    seed_threads(t);
    if (!trainer_step_gradient(t, loss))
        return false;
    memcpy(gradient, t->thread[0].gradient_block, t->model->params.total * sizeof(float));
    return true;
}
