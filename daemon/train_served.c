/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_served.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES   ((size_t)1 << 30)
#define RECALL_PLACES 10

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to serve");
}

/* ---- setting up */

/* the counts of the training part, of item ids where the contest's are of rows */
static struct counts_view *counts_by_id(const struct contest *contest)
{
    struct evaluation_data view = contest->view;
    size_t count = view.user_start[view.user_count];
    struct evaluation_event *events = malloc((count + 1) * sizeof *events);
    if (events == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        events[i] = view.events[i];
        events[i].item = contest->data->items[events[i].item]->item.item_id;
    }
    view.events = events;
    struct counts_view *counts = holdout_counts(&contest->holdout, &view);
    free(events);
    return counts;
}

bool train_served_init(struct train_served *served, const struct contest *contest, struct model *model,
                       struct status *st)
{
    const struct train_data *data = contest->data;
    memset(served, 0, sizeof *served);
    served->contest = contest;
    served->threads = contest->options.threads;
    served->everything = data->config;
    served->everything.model_exhaustive = INT64_MAX;
    engine_init(&served->engine, &data->config, data->catalog, NULL);
    engine_init(&served->whole, &served->everything, data->catalog, NULL);
    train_data_behaviours(data, &model->architecture, served->behaviour_of);
    served->thread = calloc(served->threads, sizeof *served->thread);
    served->counts = counts_by_id(contest);
    bool ok = (served->thread != NULL && served->counts != NULL) || out_of_memory(st);
    for (size_t t = 0; ok && t < served->threads; t++)
        engine_worker_init(&served->thread[t].worker, &served->engine, NULL, ARENA_BYTES);
    if (ok)
        served->snapshot = snapshot_build(model, data->catalog, data->items, data->item_count,
                                          catalog_position(data->catalog), &served->thread[0].worker.arena, st);
    if (served->snapshot == NULL)
        train_served_close(served);
    return served->snapshot != NULL;
}

void train_served_close(struct train_served *served)
{
    if (served->contest == NULL)
        return;
    for (size_t t = 0; served->thread != NULL && t < served->threads; t++)
        engine_worker_close(&served->thread[t].worker);
    free(served->thread);
    counts_view_release(served->counts);
    snapshot_release(served->snapshot);
    engine_close(&served->engine);
    engine_close(&served->whole);
    memset(served, 0, sizeof *served);
}

/* ---- one query */

/* the newest events as the recommender takes them, oldest first */
static struct recommender_event *events_of(const struct train_served *served, const struct snapshot_view *view,
                                           const struct evaluation_query *query, struct arena *arena, size_t *count)
{
    size_t most = (size_t)served->snapshot->model->architecture.history;
    *count = query->length > most ? most : query->length;
    const struct evaluation_event *from = query->history + (query->length - *count);
    struct recommender_event *events = arena_alloc(arena, (*count + 1) * sizeof *events);
    for (size_t i = 0; events != NULL && i < *count; i++) {
        uint32_t item_id = served->contest->data->items[from[i].item]->item.item_id, row = snapshot_find(view, item_id);
        events[i] = (struct recommender_event){.item_id = item_id,
                                               .ts_ms = from[i].ts_ms,
                                               .behaviour = served->behaviour_of[from[i].behaviour],
                                               .weight = from[i].weight};
        if (row != SNAPSHOT_ROW_NONE) {
            const struct snapshot_segment *segment = snapshot_segment_of(view, row);
            events[i].rows = &segment->rows;
            events[i].row = row - segment->first;
        }
    }
    return events;
}

static void hide_seen(const struct train_served *served, struct snapshot_view *view,
                      const struct evaluation_query *query)
{
    for (size_t i = 0; i < query->length; i++) {
        uint32_t item = query->history[i].item;
        uint32_t row = snapshot_find(view, served->contest->data->items[item]->item.item_id);
        if (item != query->target && row != SNAPSHOT_ROW_NONE)
            view->alive[row / 64] &= ~((uint64_t)1 << (row % 64));
    }
}

static const struct engine_request recommend = {.task = ENGINE_RECOMMEND};

static bool prepare(struct train_served *served, struct engine_worker *worker, struct snapshot_view *view,
                    const struct evaluation_query *query, struct scoring *scoring)
{
    struct model *model = served->snapshot->model;
    const struct weights *w = &model->weights;
    size_t count;
    struct recommender_event *events = events_of(served, view, query, &worker->arena, &count);
    struct cooccurrence_event *newest_first = arena_alloc(&worker->arena, (count + 1) * sizeof *newest_first);
    if (events == NULL || newest_first == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        newest_first[i] = (struct cooccurrence_event){events[count - 1 - i].item_id,
                                                      recommender_value(model, &events[count - 1 - i])};
    *scoring = (struct scoring){.worker = worker, .request = &recommend, .view = view, .candidates_most = SIZE_MAX};
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        scoring->part_weight[i] = 1;
    scoring->context =
        (struct recommender_context){served->counts, &worker->cooccurrence, query->now_ms, scoring->part_weight};
    return cooccurrence_compute(&worker->cooccurrence, served->counts, newest_first, count, cooccurrence_scalars(w)) &&
           recommender_prepare(&scoring->user, model, events, count, query->now_ms, &worker->arena);
}

/* does the daemon leave items out? as ranking_compute decides */
static bool is_narrowed(const struct train_served *served, const struct scoring *scoring)
{
    size_t alive = 0, length = scoring->user.length > 0 ? scoring->user.length : 1;
    for (size_t row = 0; row < scoring->view->row_count; row++)
        alive += scoring->view->alive[row / 64] >> (row % 64) & 1;
    return alive * recommender_cost(&scoring->user.model->architecture, length) >
           (size_t)served->contest->data->config.model_exhaustive;
}

/* the share of the whole catalogue's best that is also in `ranking` */
static bool recall_of(struct train_served *served, const struct scoring *scoring, const struct ranking *ranking,
                      double *recall)
{
    struct engine_worker *worker = scoring->worker;
    struct ranking best;
    worker->engine = &served->whole;
    struct status st = STATUS_INIT;
    bool ok = ranking_compute(scoring, RECALL_PLACES, &best, &st);
    worker->engine = &served->engine;
    size_t found = 0, wanted = ok ? best.count : 0;
    for (size_t i = 0; i < wanted; i++)
        for (size_t j = 0; j < ranking->count && j < RECALL_PLACES; j++)
            found += best.items[i].row == ranking->items[j].row;
    *recall = wanted > 0 ? (double)found / (double)wanted : 1;
    return ok;
}

static void place(const struct train_served *served, const struct snapshot_view *view, const struct ranking *ranking,
                  float *score)
{
    const struct train_data *data = served->contest->data;
    for (size_t i = 0; i < data->item_count; i++)
        score[i] = -INFINITY;
    for (size_t i = 0; i < ranking->count; i++) {
        const struct snapshot_segment *segment = snapshot_segment_of(view, ranking->items[i].row);
        score[data->row_of[segment->item_ids[ranking->items[i].row - segment->first]]] = (float)(ranking->count - i);
    }
}

bool train_served_score(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    struct train_served *served = context;
    struct train_served_thread *own = &served->thread[thread];
    struct arena_mark mark = arena_mark(&own->worker.arena);
    struct snapshot_view view;
    if (!snapshot_capture(served->snapshot, query->now_ms, &own->worker.arena, &view))
        return false;
    if (served->contest->options.mask_seen)
        hide_seen(served, &view, query);
    struct scoring scoring;
    struct ranking ranking;
    double recall = 1;
    bool ok = prepare(served, &own->worker, &view, query, &scoring);
    struct status st = STATUS_INIT;
    ok = ok && ranking_compute(&scoring, EVALUATION_LIST, &ranking, &st);
    if (ok) {
        bool narrowed = is_narrowed(served, &scoring);
        ok = !narrowed || recall_of(served, &scoring, &ranking, &recall);
        place(served, &view, &ranking, score);
        own->recall += recall;
        own->narrowed += narrowed;
        own->queries++;
    }
    snapshot_view_close(&view);
    arena_rewind(&own->worker.arena, mark);
    return ok;
}

void train_served_recall(const struct train_served *served, double *recall, double *narrowed)
{
    double sum = 0;
    size_t queries = 0, few = 0;
    for (size_t t = 0; t < served->threads; t++) {
        sum += served->thread[t].recall;
        queries += served->thread[t].queries;
        few += served->thread[t].narrowed;
    }
    *recall = queries > 0 ? sum / (double)queries : 0;
    *narrowed = queries > 0 ? (double)few / (double)queries : 0;
}
