/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head_trainer.h"

#include "models/encoder.h"
#include "models/optimiser.h"
#include "models/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES   ((size_t)8 << 30)
#define BATCH_QUERIES 128
#define ASIDE_EVERY   5
#define ASIDE_LEAST   10 /* fewer say nothing */
#define BALANCE_LEAST 100
#define BALANCE_MOST  4096
#define BALANCE_ITEMS 32768 /* more are drawn from */

struct head_thread {
    struct arena arena;
    struct cooccurrence cooccurrence;
    float *gradient_block, *score;
    struct weights gradient;
    double loss;
    bool failed;
};

struct head_trainer {
    struct model *model;
    const struct head_trainer_data *data;
    struct head_trainer_options options;
    struct team *team;
    struct recommender_event *events; /* of all the data */
    struct head_query *queries;       /* (count) */
    uint32_t *hidden;                 /* the items of all histories, one behind the other */
    float *states;                    /* (count, d) */
    size_t count;
    size_t aside;       /* of all queries the last: they validate */
    uint32_t *order;    /* (count) */
    size_t first, last; /* of the order: this batch */
    struct head_sample sample;
    uint32_t *blocks;
    bool sampling;
    float *theta, *start, *best; /* (params.total): the numbers as they are trained: ε as log ε, decay as its logit */
    struct optimiser optimiser;
    struct head_thread thread[TEAM_THREADS_MAX];
};

/* ---- the numbers as they are trained */

static void to_theta(struct head_trainer *t)
{
    struct weights theta;
    params_point(&t->model->params, &t->model->weights, &theta, t->theta);
    memcpy(t->theta, t->model->block, t->model->params.total * sizeof(float));
    *theta.epsilon = logf(*theta.epsilon);
    *theta.decay = logf(*theta.decay / (1 - *theta.decay));
}

static void from_theta(struct head_trainer *t)
{
    struct weights theta;
    params_point(&t->model->params, &t->model->weights, &theta, t->theta);
    for (size_t i = 0; i < t->model->params.count; i++) {
        const struct param *p = &t->model->params.list[i];
        if (p->group == PARAM_HEAD)
            memcpy(t->model->block + p->offset, t->theta + p->offset, p->count * sizeof(float));
    }
    *t->model->weights.epsilon = fminf(fmaxf(expf(*theta.epsilon), 1e-4f), 1e3f);
    *t->model->weights.decay = 1 / (1 + expf(-*theta.decay));
}

/* the chain rule of the two, and the pull to the start */
static void finish_gradient(struct head_trainer *t)
{
    const struct weights *g = &t->thread[0].gradient, *w = &t->model->weights;
    *g->epsilon *= *w->epsilon;
    *g->decay *= *w->decay * (1 - *w->decay);
    for (size_t i = 0; i < t->model->params.count; i++) {
        const struct param *p = &t->model->params.list[i];
        for (size_t j = p->offset; p->group == PARAM_HEAD && j < p->offset + p->count; j++)
            t->thread[0].gradient_block[j] += t->options.decay * (t->theta[j] - t->start[j]);
    }
}

/* ---- queries */

static bool make_events(struct head_trainer *t)
{
    const struct evaluation_data *data = t->data->data;
    size_t count = data->user_start[data->user_count];
    t->events = malloc((count + 1) * sizeof *t->events);
    t->hidden = malloc((count + 1) * sizeof *t->hidden);
    for (size_t i = 0; t->events != NULL && t->hidden != NULL && i < count; i++) {
        const struct evaluation_event *event = &data->events[i];
        t->events[i] =
            (struct recommender_event){event->item,   event->ts_ms,        t->data->behaviour_of[event->behaviour],
                                       event->weight, t->data->items.rows, event->item};
        t->hidden[i] = event->item;
    }
    return t->events != NULL && t->hidden != NULL;
}

static bool make_queries(struct head_trainer *t)
{
    const struct evaluation_data *data = t->data->data;
    size_t all = t->data->query_count, d = (size_t)t->model->architecture.width;
    struct random random;
    random_init(&random, t->options.seed ^ 0x68656164);
    t->order = malloc((all + 1) * sizeof *t->order);
    if (t->order == NULL)
        return false;
    for (size_t i = 0; i < all; i++)
        t->order[i] = (uint32_t)i;
    random_shuffle(&random, t->order, all);
    t->count = all < t->options.queries ? all : t->options.queries;
    t->queries = malloc((t->count + 1) * sizeof *t->queries);
    t->states = t->model->architecture.blocks > 0 ? calloc(t->count * d + 1, sizeof(float)) : NULL;
    if (t->queries == NULL || (t->model->architecture.blocks > 0 && t->states == NULL))
        return false;
    for (size_t i = 0; i < t->count; i++) {
        const struct holdout_query *query = &t->data->queries[t->order[i]];
        size_t begin = data->user_start[query->user], at = begin + query->at;
        t->queries[i] = (struct head_query){.events = t->events + begin,
                                            .count = query->at,
                                            .now_ms = data->events[at].ts_ms,
                                            .target = data->events[at].item,
                                            .hidden = t->hidden + begin,
                                            .hidden_count = t->options.mask_seen ? query->at : 0,
                                            .state = t->states == NULL ? NULL : t->states + i * d};
    }
    for (size_t i = 0; i < t->count; i++)
        t->order[i] = (uint32_t)i;
    t->aside = t->count / ASIDE_EVERY >= ASIDE_LEAST ? t->count / ASIDE_EVERY : 0;
    t->count -= t->aside;
    return true;
}

static void state_job(void *context, size_t thread, size_t threads)
{
    struct head_trainer *t = context;
    struct head_thread *own = &t->thread[thread];
    size_t first, last, d = (size_t)t->model->architecture.width;
    team_share(t->count + t->aside, thread, threads, &first, &last);
    for (size_t i = first; i < last && !own->failed; i++) {
        struct arena_mark mark = arena_mark(&own->arena);
        struct recommender_user user;
        own->failed = !recommender_prepare(&user, t->model, t->queries[i].events, t->queries[i].count,
                                           t->queries[i].now_ms, &own->arena);
        if (!own->failed && user.state != NULL)
            memcpy(t->queries[i].state, user.state, d * sizeof(float));
        arena_rewind(&own->arena, mark);
    }
}

/* ---- steps */

static void batch_job(void *context, size_t thread, size_t threads)
{
    struct head_trainer *t = context;
    struct head_thread *own = &t->thread[thread];
    size_t first, last;
    float scale = 1 / (float)(t->last - t->first);
    team_share(t->last - t->first, thread, threads, &first, &last);
    own->loss = 0;
    memset(own->gradient_block, 0, t->model->params.total * sizeof(float));
    for (size_t i = t->first + first; i < t->first + last && !own->failed; i++) {
        double loss = head_gradient(&own->gradient, t->model, &t->data->items, t->sampling ? &t->sample : NULL,
                                    &t->queries[t->order[i]], scale, own->score, &own->cooccurrence, &own->arena);
        own->failed = loss < -0.5;
        own->loss += loss;
    }
}

static void aside_job(void *context, size_t thread, size_t threads)
{
    struct head_trainer *t = context;
    struct head_thread *own = &t->thread[thread];
    size_t first, last;
    team_share(t->aside, thread, threads, &first, &last);
    own->loss = 0;
    for (size_t i = t->count + first; i < t->count + last && !own->failed; i++) {
        double loss = head_gradient(NULL, t->model, &t->data->items, t->sampling ? &t->sample : NULL, &t->queries[i], 1,
                                    own->score, &own->cooccurrence, &own->arena);
        own->failed = loss < -0.5;
        own->loss += loss;
    }
}

/* in a large shop: some blocks of items at random, and those of the batch's targets */
static void draw_blocks(struct head_trainer *t, size_t first, size_t last, struct random *random)
{
    size_t blocks = (t->data->items.count + RECOMMENDER_BLOCK - 1) / RECOMMENDER_BLOCK;
    size_t wanted = t->options.candidates / RECOMMENDER_BLOCK + 1;
    t->sampling = wanted < blocks;
    if (!t->sampling)
        return;
    bool *chosen = (bool *)(t->blocks + blocks);
    memset(chosen, 0, blocks * sizeof *chosen);
    for (size_t i = first; i < last; i++)
        chosen[t->queries[i < t->count ? t->order[i] : i].target / RECOMMENDER_BLOCK] = true;
    for (size_t i = 0; i < wanted; i++)
        chosen[random_below(random, blocks)] = true;
    t->sample = (struct head_sample){.block = t->blocks};
    for (size_t b = 0; b < blocks; b++)
        if (chosen[b])
            t->blocks[t->sample.count++] = (uint32_t)b;
}

/* the queries put aside, against the same items in every epoch */
static bool check_aside(struct head_trainer *t, struct head_epoch *epoch, double *best, struct status *st)
{
    struct random random;
    epoch->validation_loss = NAN;
    random_init(&random, t->options.seed ^ 0x6173696465);
    if (t->aside > 0) {
        draw_blocks(t, t->count, t->count + t->aside, &random);
        team_run(t->team, aside_job, t);
        epoch->validation_loss = 0;
    }
    for (size_t i = 0; t->aside > 0 && i < team_size(t->team); i++) {
        if (t->thread[i].failed)
            return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train the head");
        epoch->validation_loss += t->thread[i].loss / (double)t->aside;
    }
    if (t->aside == 0 || epoch->validation_loss < *best) {
        memcpy(t->best, t->theta, t->model->params.total * sizeof(float));
        *best = epoch->validation_loss;
    }
    return true;
}

/* the items' roles follow the corrections */
static void correct_job(void *context, size_t thread, size_t threads)
{
    struct head_trainer *t = context;
    struct head_thread *own = &t->thread[thread];
    size_t first, last;
    team_share(t->data->items.count, thread, threads, &first, &last);
    own->failed = own->failed || !encoder_correct(t->model, t->data->items.rows, first, last - first, &own->arena);
}

static bool is_corrected(const struct architecture *a)
{
    for (int v = 0; v < a->view_count; v++)
        if (a->views[v].correction > 0)
            return true;
    return false;
}

/* the model's numbers from those that are trained, and the items as they are with them */
static void follow(struct head_trainer *t)
{
    from_theta(t);
    if (is_corrected(&t->model->architecture))
        team_run(t->team, correct_job, t);
}

static bool run_batch(struct head_trainer *t, struct head_epoch *epoch, struct status *st)
{
    team_run(t->team, batch_job, t);
    for (size_t i = 0; i < team_size(t->team); i++) {
        if (t->thread[i].failed)
            return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train the head");
        epoch->loss += t->thread[i].loss;
        for (size_t j = 0; i > 0 && j < t->model->params.total; j++)
            t->thread[0].gradient_block[j] += t->thread[i].gradient_block[j];
    }
    if (!isfinite(epoch->loss))
        return status_fail(st, STATUS_INTERNAL, "DIVERGED", "the head's loss is not a number any more in epoch %d",
                           epoch->epoch);
    finish_gradient(t);
    epoch->gradient_norm = optimiser_step(&t->optimiser, t->team, t->theta, t->thread[0].gradient_block);
    if (!isfinite(epoch->gradient_norm))
        return status_fail(st, STATUS_INTERNAL, "DIVERGED", "the head's gradient is not a number any more in epoch %d",
                           epoch->epoch);
    follow(t);
    return true;
}

static bool run_epoch(struct head_trainer *t, struct head_epoch *epoch, struct status *st)
{
    struct timespec begin, end;
    struct random random;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    random_init(&random, t->options.seed + 7919 * (uint64_t)epoch->epoch);
    random_shuffle(&random, t->order, t->count);
    epoch->learning_rate =
        (double)t->options.learning_rate * (1 + cos(M_PI * (epoch->epoch - 1) / (double)t->options.epochs)) / 2;
    t->optimiser.options.rate[PARAM_HEAD] = (float)epoch->learning_rate;
    for (t->first = 0; t->first < t->count; t->first = t->last) {
        t->last = t->first + BATCH_QUERIES < t->count ? t->first + BATCH_QUERIES : t->count;
        draw_blocks(t, t->first, t->last, &random);
        if (!run_batch(t, epoch, st))
            return false;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    epoch->seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    epoch->loss /= (double)t->count;
    epoch->queries = t->count;
    return true;
}

/* Among all items where there are not too many of them. Else only the queries put aside are asked: every target adds its block to the items that
 * compete. */
static bool find_balance(struct head_trainer *t, struct head_balance *balance, struct status *st)
{
    struct random random;
    size_t first = 0, count = t->count + t->aside;
    bool sampling = t->data->items.count > BALANCE_ITEMS;
    random_init(&random, t->options.seed ^ 0x6173696465);
    *balance = (struct head_balance){.sequence = 1, .cooccurrence = 1, .prior = 1, .same = 1, .cross = 1};
    if (sampling) {
        first = t->count;
        count = t->aside;
        draw_blocks(t, first, first + count, &random);
    }
    if (count < BALANCE_LEAST)
        return true;
    return head_balance_find(balance, t->model, &t->data->items, sampling && t->sampling ? &t->sample : NULL,
                             t->queries + first, count < BALANCE_MOST ? count : BALANCE_MOST, t->team, st);
}

/* corrections stay: with them the head that training started from is another model */
static bool balance_parts(struct head_trainer *t, struct head_balance *balance, struct status *st)
{
    struct head_balance started = {0};
    if (!find_balance(t, balance, st))
        return false;
    balance->fitted = true;
    if (!is_corrected(&t->model->architecture)) {
        memcpy(t->theta, t->start, t->model->params.total * sizeof(float));
        from_theta(t);
        if (!find_balance(t, &started, st))
            return false;
        if (started.ndcg > balance->ndcg)
            *balance = started;
        else
            memcpy(t->theta, t->best, t->model->params.total * sizeof(float));
        from_theta(t);
    }
    head_balance_apply(balance, t->model);
    return true;
}

static bool prepare(struct head_trainer *t)
{
    size_t total = t->model->params.total + 1, items = t->data->items.count;
    size_t blocks = items / RECOMMENDER_BLOCK + 1;
    struct optimiser_options adam = {.rate = {[PARAM_HEAD] = t->options.learning_rate}, .clip = 5};
    t->theta = malloc(total * sizeof(float));
    t->start = malloc(total * sizeof(float));
    t->best = malloc(total * sizeof(float));
    t->blocks = malloc(blocks * (sizeof *t->blocks + sizeof(bool)));
    bool ok = t->theta != NULL && t->start != NULL && t->best != NULL && t->blocks != NULL &&
              optimiser_init(&t->optimiser, &t->model->params, &adam) && make_events(t) && make_queries(t);
    for (size_t i = 0; ok && i < team_size(t->team); i++) {
        struct head_thread *own = &t->thread[i];
        arena_init(&own->arena, ARENA_BYTES);
        own->gradient_block = calloc(total, sizeof(float));
        own->score = malloc((items + 1) * sizeof(float));
        ok = own->gradient_block != NULL && own->score != NULL;
        if (ok)
            params_point(&t->model->params, &t->model->weights, &own->gradient, own->gradient_block);
    }
    if (!ok)
        return false;
    to_theta(t);
    memcpy(t->start, t->theta, t->model->params.total * sizeof(float));
    memcpy(t->best, t->theta, t->model->params.total * sizeof(float));
    if (t->states != NULL)
        team_run(t->team, state_job, t);
    for (size_t i = 0; i < team_size(t->team); i++)
        ok = ok && !t->thread[i].failed;
    return ok;
}

static void close(struct head_trainer *t)
{
    for (size_t i = 0; i < TEAM_THREADS_MAX; i++) {
        arena_close(&t->thread[i].arena);
        cooccurrence_close(&t->thread[i].cooccurrence);
        free(t->thread[i].gradient_block);
        free(t->thread[i].score);
    }
    optimiser_close(&t->optimiser);
    free(t->events);
    free(t->queries);
    free(t->hidden);
    free(t->states);
    free(t->order);
    free(t->blocks);
    free(t->theta);
    free(t->start);
    free(t->best);
    free(t);
}

bool head_trainer_run(struct model *model, const struct head_trainer_data *data,
                      const struct head_trainer_options *options, struct team *team, head_trainer_observer *observer,
                      void *context, struct head_balance *balance, struct status *st)
{
    struct head_trainer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train the head");
    *t = (struct head_trainer){.model = model, .data = data, .options = *options, .team = team};
    bool ok = prepare(t) || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train the head");
    double best = INFINITY;
    for (int i = 1; ok && i <= options->epochs && t->count > 0; i++) {
        struct head_epoch epoch = {.epoch = i};
        ok = run_epoch(t, &epoch, st) && check_aside(t, &epoch, &best, st);
        if (ok && observer != NULL)
            observer(context, &epoch);
    }
    if (ok) {
        memcpy(t->theta, t->best, model->params.total * sizeof(float));
        follow(t);
    }
    ok = ok && (balance == NULL || balance_parts(t, balance, st));
    close(t);
    return ok;
}
