/* SPDX-License-Identifier: Apache-2.0 */
#include "models/evaluation.h"

#include "models/holdout.h"
#include "models/topk.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define QUERIES_A_CHUNK 16

struct run {
    const struct evaluation_data *data;
    const struct holdout_query *queries;
    size_t count;
    bool mask_seen;
    evaluation_scorer *scorer;
    void *context;
    struct evaluation_result result;
    atomic_size_t next;
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

static bool ask(struct run *run, size_t thread, size_t index, float *score)
{
    const struct holdout_query *asked = &run->queries[index];
    const struct evaluation_event *events = run->data->events + run->data->user_start[asked->user];
    struct evaluation_query query = {events, asked->at, asked->user, events[asked->at].item, events[asked->at].ts_ms};
    if (!run->scorer(run->context, thread, &query, score))
        return false;
    if (run->mask_seen)
        for (size_t i = 0; i < query.length; i++)
            if (events[i].item != query.target)
                score[events[i].item] = -INFINITY;
    run->result.rank[index] = rank_of(score, run->data->item_count, query.target);
    uint32_t *list = run->result.list + index * EVALUATION_LIST;
    size_t listed = topk_select(list, score, NULL, run->data->item_count, EVALUATION_LIST);
    while (listed < EVALUATION_LIST)
        list[listed++] = EVALUATION_NO_ITEM;
    return true;
}

static void *work(void *argument)
{
    struct run_thread *thread = argument;
    struct run *run = thread->run;
    float *score = malloc((run->data->item_count + 1) * sizeof *score);
    if (score == NULL)
        run->failed = true;
    while (!run->failed) {
        size_t begin = atomic_fetch_add(&run->next, QUERIES_A_CHUNK);
        if (begin >= run->count)
            break;
        for (size_t i = begin; i < begin + QUERIES_A_CHUNK && i < run->count && !run->failed; i++)
            if (!ask(run, thread->number, i, score))
                run->failed = true;
    }
    free(score);
    return NULL;
}

/* one thread per number; this one is number 0 */
static void run_threads(struct run *run, size_t threads)
{
    pthread_t handle[EVALUATION_THREADS_MAX];
    struct run_thread argument[EVALUATION_THREADS_MAX];
    size_t started = 0;
    threads = threads < 1 ? 1 : threads > EVALUATION_THREADS_MAX ? EVALUATION_THREADS_MAX : threads;
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

bool evaluation_run(const struct evaluation_data *data, const struct holdout_query *queries, size_t count,
                    bool mask_seen, size_t threads, evaluation_scorer *scorer, void *context,
                    struct evaluation_result *result)
{
    struct run run = {
        .data = data, .queries = queries, .count = count, .mask_seen = mask_seen, .scorer = scorer, .context = context};
    run.result.count = count;
    run.result.rank = malloc((count + 1) * sizeof *run.result.rank);
    run.result.list = malloc((count * EVALUATION_LIST + 1) * sizeof *run.result.list);
    bool ok = run.result.rank != NULL && run.result.list != NULL;
    if (ok) {
        run_threads(&run, threads);
        ok = !run.failed;
    }
    if (ok)
        *result = run.result;
    else
        evaluation_result_close(&run.result);
    return ok;
}

void evaluation_result_close(struct evaluation_result *result)
{
    free(result->rank);
    free(result->list);
    *result = (struct evaluation_result){0};
}

double evaluation_gain(enum evaluation_metric metric, float rank, int k)
{
    if (rank >= (float)k + 1)
        return 0;
    switch (metric) {
    case EVALUATION_HIT_RATE:
        return 1;
    case EVALUATION_NDCG:
        return 1 / log2(1 + (double)rank);
    case EVALUATION_MRR:
        return 1 / (double)rank;
    }
    return 0;
}

double evaluation_mean(const struct evaluation_result *result, enum evaluation_metric metric, int k)
{
    double sum = 0;
    for (size_t i = 0; i < result->count; i++)
        sum += evaluation_gain(metric, result->rank[i], k);
    return result->count == 0 ? 0 : sum / (double)result->count;
}

double evaluation_hit_rate(const struct evaluation_result *result, int k)
{
    return evaluation_mean(result, EVALUATION_HIT_RATE, k);
}

double evaluation_ndcg(const struct evaluation_result *result, int k)
{
    return evaluation_mean(result, EVALUATION_NDCG, k);
}

double evaluation_mrr(const struct evaluation_result *result, int k)
{
    return evaluation_mean(result, EVALUATION_MRR, k);
}
