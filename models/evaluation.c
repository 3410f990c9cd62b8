/* SPDX-License-Identifier: Apache-2.0 */
#include "models/evaluation.h"

#include "models/matrix.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_LEAST  3
#define USERS_A_CHUNK 16

struct run {
    const struct evaluation_data *data;
    enum evaluation_target target;
    bool mask_seen;
    evaluation_scorer *scorer;
    void *context;
    float *rank; /* (user_count); 0: left out */
    atomic_size_t next_user;
    atomic_bool failed;
};

struct run_thread {
    struct run *run;
    size_t number;
};

static float rank_of(const float *score, size_t count, uint32_t target)
{
    size_t better = 0, equal = 0;
    for (size_t i = 0; i < count; i++) {
        better += score[i] > score[target];
        equal += score[i] == score[target];
    }
    return 1.0f + (float)better + (float)(equal - 1) / 2.0f;
}

static bool evaluate_user(struct run *run, size_t thread, size_t user, float *score)
{
    const struct evaluation_event *events = run->data->events + run->data->user_start[user];
    size_t count = run->data->user_start[user + 1] - run->data->user_start[user];
    if (count < EVENTS_LEAST)
        return true;
    size_t at = count - (run->target == EVALUATION_TEST ? 1 : 2);
    struct evaluation_query query = {events, at, events[at].item, events[at].ts_ms};
    if (!run->scorer(run->context, thread, &query, score))
        return false;
    if (run->mask_seen)
        for (size_t i = 0; i < at; i++)
            if (events[i].item != query.target)
                score[events[i].item] = -INFINITY;
    run->rank[user] = rank_of(score, run->data->item_count, query.target);
    return true;
}

static void *work(void *argument)
{
    struct run_thread *thread = argument;
    struct run *run = thread->run;
    float *score = malloc((run->data->item_count + 1) * sizeof *score);
    while (score != NULL && !run->failed) {
        size_t begin = atomic_fetch_add(&run->next_user, USERS_A_CHUNK);
        if (begin >= run->data->user_count)
            break;
        for (size_t user = begin; user < begin + USERS_A_CHUNK && user < run->data->user_count; user++)
            if (!evaluate_user(run, thread->number, user, score))
                run->failed = true;
    }
    if (score == NULL)
        run->failed = true;
    free(score);
    return NULL;
}

/* one thread per number; this one is number 0 */
static void run_threads(struct run *run, size_t threads)
{
    pthread_t handle[64];
    struct run_thread argument[64];
    size_t started = 0;
    threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
    for (size_t i = 1; i < threads; i++) {
        argument[i] = (struct run_thread){run, i};
        if (pthread_create(&handle[started], NULL, work, &argument[i]) == 0)
            started++;
    }
    argument[0] = (struct run_thread){run, 0};
    work(&argument[0]);
    for (size_t i = 0; i < started; i++)
        pthread_join(handle[i], NULL);
}

bool evaluation_run(const struct evaluation_data *data, enum evaluation_target target, bool mask_seen, size_t threads,
                    evaluation_scorer *scorer, void *context, struct evaluation_result *result)
{
    struct run run = {.data = data, .target = target, .mask_seen = mask_seen, .scorer = scorer, .context = context};
    run.rank = calloc(data->user_count + 1, sizeof *run.rank);
    if (run.rank == NULL)
        return false;
    run_threads(&run, threads);
    if (run.failed) {
        free(run.rank);
        return false;
    }
    *result = (struct evaluation_result){.rank = run.rank};
    for (size_t user = 0; user < data->user_count; user++)
        if (run.rank[user] > 0)
            result->rank[result->count++] = run.rank[user];
    return true;
}

void evaluation_result_close(struct evaluation_result *result)
{
    free(result->rank);
    *result = (struct evaluation_result){0};
}

static double mean(const struct evaluation_result *result, int k, double (*gain)(double rank))
{
    double sum = 0;
    for (size_t i = 0; i < result->count; i++)
        if (result->rank[i] < (float)k + 1)
            sum += gain(result->rank[i]);
    return result->count == 0 ? 0 : sum / (double)result->count;
}

static double one(double rank)
{
    (void)rank;
    return 1;
}

static double discounted(double rank)
{
    return 1 / log2(1 + rank);
}

static double reciprocal(double rank)
{
    return 1 / rank;
}

double evaluation_hit_rate(const struct evaluation_result *result, int k)
{
    return mean(result, k, one);
}

double evaluation_ndcg(const struct evaluation_result *result, int k)
{
    return mean(result, k, discounted);
}

double evaluation_mrr(const struct evaluation_result *result, int k)
{
    return mean(result, k, reciprocal);
}

struct counts_view *evaluation_counts(const struct evaluation_data *data)
{
    struct counts *counts = counts_new();
    struct counts_event *events = NULL;
    struct counts_view *view = NULL;
    bool ok = counts != NULL;
    for (size_t user = 0; ok && user < data->user_count; user++) {
        const struct evaluation_event *from = data->events + data->user_start[user];
        size_t count = data->user_start[user + 1] - data->user_start[user], kept = 0;
        count = count > 2 ? count - 2 : 0;
        struct counts_event *grown = realloc(events, (count + 1) * sizeof *events);
        ok = grown != NULL;
        events = ok ? grown : events;
        for (size_t i = 0; ok && i < count; i++)
            if (from[i].weight > 0)
                events[kept++] = (struct counts_event){from[i].item, from[i].ts_ms};
        ok = ok && counts_user(counts, events, kept, 1);
    }
    if (ok)
        view = counts_publish(counts, 1);
    free(events);
    counts_free(counts);
    return view;
}

/* ---- baselines */

bool baseline_popularity(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    (void)query;
    const struct baseline_counts *baseline = context;
    for (size_t i = 0; i < baseline->item_count; i++)
        score[i] = (float)counts_popularity(baseline->counts, (uint32_t)i);
    return true;
}

bool baseline_markov(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    const struct baseline_counts *baseline = context;
    memset(score, 0, baseline->item_count * sizeof *score);
    float weight = 1;
    for (size_t k = 0; k < 3 && k < query->length; k++, weight *= 0.5f) {
        size_t count;
        const struct counts_entry *row =
            counts_row(baseline->counts, query->history[query->length - 1 - k].item, &count);
        for (size_t i = 0; i < count; i++)
            score[row[i].item_id] += weight * row[i].probability;
    }
    return true;
}

bool baseline_content(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    const struct baseline_content *baseline = context;
    size_t d = baseline->dimension;
    float *taste = calloc(d + 1, sizeof *taste), weight = 1;
    if (taste == NULL)
        return false;
    for (size_t k = 0; k < 10 && k < query->length; k++, weight *= 0.8f) {
        const float *row = baseline->rows + query->history[query->length - 1 - k].item * d;
        for (size_t j = 0; j < d; j++)
            taste[j] += weight * row[j];
    }
    matrix_vector(score, baseline->rows, taste, baseline->item_count, d, 1, false);
    free(taste);
    return true;
}

void baseline_content_prepare(float *rows, size_t count, size_t dimension)
{
    bool *present = calloc(count + 1, sizeof *present);
    double *mean_row = calloc(dimension + 1, sizeof *mean_row);
    size_t rows_present = 0;
    for (size_t i = 0; present != NULL && mean_row != NULL && i < count; i++) {
        for (size_t j = 0; j < dimension; j++)
            present[i] = present[i] || rows[i * dimension + j] != 0;
        rows_present += present[i];
        for (size_t j = 0; j < dimension; j++)
            mean_row[j] += rows[i * dimension + j];
    }
    for (size_t i = 0; rows_present > 0 && i < count; i++) {
        if (!present[i])
            continue;
        double norm = 0;
        for (size_t j = 0; j < dimension; j++) {
            rows[i * dimension + j] -= (float)(mean_row[j] / (double)rows_present);
            norm += (double)rows[i * dimension + j] * rows[i * dimension + j];
        }
        for (size_t j = 0; norm > 0 && j < dimension; j++)
            rows[i * dimension + j] /= (float)sqrt(norm);
    }
    free(present);
    free(mean_row);
}
