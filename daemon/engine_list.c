/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_list.h"
#include "daemon/engine_candidates.h"
#include "daemon/engine_rerank.h"

#include "daemon/timestamp.h"
#include "models/explanation.h"
#include "models/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A block of rows with fewer qualifying ones than this is gathered rather than scored whole. */
#define DENSE_ROWS 48
#define POOL_MOST  50000 /* candidates that caps may be looked through for */
#define DAY_MS     86400000.0

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

static const char *name_of(const struct snapshot_view *view, uint32_t row)
{
    const struct snapshot_segment *segment = snapshot_segment_of(view, row);
    return segment->items[row - segment->first]->item.name;
}

/* ---- scoring rows that are not neighbours */

/* rows copied together, so that they are scored in one product */
struct gathered {
    struct encoder_rows rows;
    uint32_t row[RECOMMENDER_BLOCK], item_ids[RECOMMENDER_BLOCK];
    size_t count;
};

static bool gathered_init(struct gathered *gathered, const struct architecture *a, struct arena *arena)
{
    gathered->count = 0;
    return encoder_rows_borrow(&gathered->rows, a, RECOMMENDER_BLOCK, arena);
}

static void gather(struct gathered *gathered, const struct scoring *scoring, uint32_t row)
{
    const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, row);
    gathered->row[gathered->count] = row;
    gathered->item_ids[gathered->count] = segment->item_ids[row - segment->first];
    encoder_copy(&scoring->user.model->architecture, &gathered->rows, gathered->count, &segment->rows,
                 row - segment->first);
    gathered->count++;
}

/* score what was gathered into score[row]; `parts` (count, ...) or NULL */
static void flush(struct gathered *gathered, const struct scoring *scoring, float *score, float *parts)
{
    float out[RECOMMENDER_BLOCK];
    struct recommender_block block = {&gathered->rows, 0, gathered->count, gathered->item_ids};
    if (gathered->count > 0)
        recommender_score(&scoring->user, &scoring->context, &block, out, parts);
    for (size_t i = 0; score != NULL && i < gathered->count; i++)
        score[gathered->row[i]] = out[i];
    gathered->count = 0;
}

bool ranking_parts(const struct scoring *scoring, const struct ranked *items, size_t count, float **parts)
{
    struct arena *arena = &scoring->worker->arena;
    const struct architecture *a = &scoring->user.model->architecture;
    size_t stride = PART_STREAMS + (size_t)a->stream_count;
    struct gathered *gathered = arena_alloc(arena, sizeof *gathered);
    *parts = arena_floats(arena, count * stride + 1);
    if (gathered == NULL || *parts == NULL || !gathered_init(gathered, a, arena))
        return false;
    for (size_t i = 0, begin = 0; i < count; i++) {
        gather(gathered, scoring, items[i].row);
        if (gathered->count == RECOMMENDER_BLOCK || i + 1 == count) {
            flush(gathered, scoring, NULL, *parts + begin * stride);
            begin = i + 1;
        }
    }
    return true;
}

bool ranking_explain(const struct scoring *scoring, const struct ranked *items, size_t count,
                     struct explanation **explained)
{
    struct arena *arena = &scoring->worker->arena;
    struct gathered *gathered = arena_alloc(arena, sizeof *gathered);
    const char **names = arena_alloc(arena, RECOMMENDER_BLOCK * sizeof *names);
    *explained = arena_alloc(arena, (count + 1) * sizeof **explained);
    if (gathered == NULL || names == NULL || *explained == NULL ||
        !gathered_init(gathered, &scoring->user.model->architecture, arena))
        return false;
    for (size_t i = 0, begin = 0; i < count; i++) {
        names[gathered->count] = name_of(scoring->view, items[i].row);
        gather(gathered, scoring, items[i].row);
        if (gathered->count < RECOMMENDER_BLOCK && i + 1 < count)
            continue;
        struct recommender_block block = {&gathered->rows, 0, gathered->count, gathered->item_ids};
        if (!explanation_compute(*explained + begin, &scoring->user, &scoring->context, &block, names, scoring->events,
                                 scoring->event_count, arena))
            return false;
        begin = i + 1;
        gathered->count = 0;
    }
    return true;
}

/* ---- all qualifying rows */

/* score[row] of every set bit; the others keep what they have. Dense blocks are scored where they lie. */
static bool score_alive(const struct scoring *scoring, float *score)
{
    const struct snapshot_view *view = scoring->view;
    struct gathered *gathered = arena_alloc(&scoring->worker->arena, sizeof *gathered);
    if (gathered == NULL || !gathered_init(gathered, &scoring->user.model->architecture, &scoring->worker->arena))
        return false;
    for (size_t s = 0; s < view->segment_count; s++) {
        const struct snapshot_segment *segment = view->snapshot->segments[s];
        for (size_t at = 0; at < segment->capacity && segment->first + at < view->row_count; at += RECOMMENDER_BLOCK) {
            size_t row = segment->first + at, count = segment->capacity - at;
            count = count < RECOMMENDER_BLOCK ? count : RECOMMENDER_BLOCK;
            count = count < view->row_count - row ? count : view->row_count - row;
            bool dense = engine_count_rows(view, row, count) >= DENSE_ROWS;
            float out[RECOMMENDER_BLOCK];
            struct recommender_block block = {&segment->rows, at, count, segment->item_ids + at};
            if (dense)
                recommender_score(&scoring->user, &scoring->context, &block, out, NULL);
            for (size_t i = 0; i < count; i++) {
                if (!engine_has_row(view, row + i))
                    continue;
                if (dense)
                    score[row + i] = out[i];
                else
                    gather(gathered, scoring, (uint32_t)(row + i));
                if (gathered->count == RECOMMENDER_BLOCK)
                    flush(gathered, scoring, score, NULL);
            }
        }
    }
    flush(gathered, scoring, score, NULL);
    return true;
}

/* ---- the best n */

static int compare_names(const void *left, const void *right, void *view)
{
    const struct ranked *a = left, *b = right;
    return strcmp(name_of(view, a->row), name_of(view, b->row));
}

static int compare_names_down(const void *left, const void *right, void *view)
{
    return compare_names(right, left, view);
}

static struct ranked ranked_row(const float *score, uint32_t row)
{
    return (struct ranked){.score = score[row], .row = row, .promotion = -1};
}

/* names in a heap, the greatest on top: a new one that is smaller takes its place */
static void sift_name(const struct scoring *scoring, struct ranked *heap, size_t count, struct ranked item)
{
    const char *name = name_of(scoring->view, item.row);
    size_t hole = 0;
    for (size_t child = 1; child < count; child = 2 * hole + 1) {
        if (child + 1 < count &&
            strcmp(name_of(scoring->view, heap[child + 1].row), name_of(scoring->view, heap[child].row)) > 0)
            child++;
        if (strcmp(name_of(scoring->view, heap[child].row), name) <= 0)
            break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = item;
}

/* Among all rows that share the last place's score, those with the smallest names: replaces the tail of `items` from `strict` on. */
static void settle_ties(const struct scoring *scoring, const float *score, float last, struct ranked *items,
                        size_t strict, size_t count)
{
    size_t room = count - strict, kept = 0;
    struct ranked *heap = items + strict;
    for (size_t row = 0; row < scoring->view->row_count; row++) {
        if (score[row] != last)
            continue;
        if (kept < room) {
            heap[kept++] = ranked_row(score, (uint32_t)row);
            if (kept == room)
                qsort_r(heap, room, sizeof *heap, compare_names_down, (void *)scoring->view);
        } else if (strcmp(name_of(scoring->view, (uint32_t)row), name_of(scoring->view, heap[0].row)) < 0) {
            sift_name(scoring, heap, room, ranked_row(score, (uint32_t)row));
        }
    }
}

/* Items that are best first, equal scores by name. A name is a look into the item's record, which is far away: most scores differ, and none is needed. */
static void order_ties(const struct scoring *scoring, struct ranked *items, size_t count)
{
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && items[end].score == items[first].score;)
            end++;
        if (end - first > 1)
            qsort_r(items + first, end - first, sizeof *items, compare_names, (void *)scoring->view);
    }
}

/* Nothing is known of these: the newest items first, after those that something is known of; what is buried comes last. */
static void fill_with_newest(const struct scoring *scoring, size_t n, const float *score, struct ranking *ranking)
{
    const struct snapshot_view *view = scoring->view;
    uint32_t largest = catalog_largest_id(scoring->view->snapshot->catalog);
    for (int buried = 0; buried < (scoring->boost == NULL ? 1 : 2); buried++)
        for (uint32_t id = largest; id > 0 && ranking->count < n; id--) {
            uint32_t row = snapshot_find(view, id);
            if (row == SNAPSHOT_ROW_NONE || !engine_has_row(view, row) || score[row] != -INFINITY ||
                (engine_boost_of(scoring, row) < 0) != (buried == 1))
                continue;
            struct ranked *item = &ranking->items[ranking->count++];
            *item = ranked_row(score, row);
            item->score = engine_boost_of(scoring, row);
            item->newest = true;
            ranking->newest_count++;
        }
}

static bool take_best(const struct scoring *scoring, const float *score, size_t n, struct ranking *ranking)
{
    struct arena *arena = &scoring->worker->arena;
    uint32_t *best = arena_alloc(arena, (n + 1) * sizeof *best);
    struct ranked *items = arena_alloc(arena, (n + 1) * sizeof *items);
    if (best == NULL || items == NULL)
        return false;
    size_t count = topk_select(best, score, NULL, scoring->view->row_count, n), strict = 0;
    for (size_t i = 0; i < count; i++) {
        items[i] = ranked_row(score, best[i]);
        strict += score[best[i]] > score[best[count - 1]];
    }
    if (count == n && n > 0)
        settle_ties(scoring, score, score[best[count - 1]], items, strict, count);
    order_ties(scoring, items, count);
    *ranking = (struct ranking){.items = items, .count = count, .broken_cap = -1};
    if (count < n)
        fill_with_newest(scoring, n, score, ranking);
    return true;
}

/* ---- scores */

/* what everybody does, whoever asks: events, events lately, or minus the age in days; 0: says nothing */
static float top_score(const struct scoring *scoring, enum engine_top top, const struct catalog_item *item)
{
    const struct recommender_context *context = &scoring->context;
    switch (top) {
    case ENGINE_POPULAR:
        return (float)counts_popularity(context->counts, item->item.item_id);
    case ENGINE_TRENDING:
        return counts_recent(context->counts, item->item.item_id, context->now_ms);
    case ENGINE_NEWEST:
        break;
    }
    return item->item.created_ms == 0 ? 0 : (float)((double)(item->item.created_ms - context->now_ms) / DAY_MS);
}

static void score_top(const struct scoring *scoring, float *score)
{
    const struct snapshot_view *view = scoring->view;
    for (size_t row = 0; row < view->row_count; row++) {
        if (!engine_has_row(view, row))
            continue;
        const struct snapshot_segment *segment = snapshot_segment_of(view, row);
        float top = top_score(scoring, scoring->request->top, segment->items[row - segment->first]);
        bool dateless =
            top == 0 && scoring->request->top == ENGINE_NEWEST; /* behind those that have a date, the newest first */
        score[row] = dateless ? -INFINITY : top;
    }
}

/* score (row_count) of what qualifies, -INFINITY of the rest and, for who has no history, of what nobody has looked at: it has no score to be ranked by */
static bool score_rows(const struct scoring *scoring, bool exhaustive, size_t most, float *score)
{
    const struct snapshot_view *view = scoring->view;
    struct scoring narrowed = *scoring;
    struct snapshot_view few;
    for (size_t row = 0; row < view->row_count; row++)
        score[row] = -INFINITY;
    if (!exhaustive) {
        if (!engine_candidates_choose(scoring, most, &few))
            return false;
        narrowed.view = &few;
    }
    if (scoring->request->task == ENGINE_TOP)
        score_top(scoring, score);
    else if (!score_alive(&narrowed, score))
        return false;
    for (size_t row = 0; row < view->row_count; row++) {
        if (score[row] == -INFINITY)
            continue;
        bool unknown = scoring->user.length == 0 && score[row] == 0;
        score[row] += engine_boost_of(scoring, row);
        if (unknown && score[row] <= 0)
            score[row] = -INFINITY;
    }
    return true;
}

/* a pool that grows until the list is full, everything that was scored is in it, or it is too much for one request */
static bool rerank_growing(const struct scoring *scoring, const float *score, size_t n, size_t qualifying,
                           struct ranking *ranking, struct status *st)
{
    size_t considered = engine_rerank_pool(scoring->rules, n), most = considered > POOL_MOST ? considered : POOL_MOST;
    int64_t deadline_us = scoring->request->deadline_us;
    most = most < qualifying ? most : qualifying;
    for (size_t size = considered;; size *= 4) {
        struct arena_mark mark = arena_mark(&scoring->worker->arena);
        struct ranking pool;
        size = size < most ? size : most;
        if (!take_best(scoring, score, size, &pool))
            return out_of_memory(st);
        if (!engine_rerank(scoring, score, &pool, considered, n, ranking, st))
            return false;
        if (ranking->count >= n || size >= most || (deadline_us != 0 && timestamp_monotonic_us() > deadline_us))
            return true;
        arena_rewind(&scoring->worker->arena, mark);
    }
}

/* how many have a score, and where the traced row stands among them */
static void count_scored(const struct scoring *scoring, const float *score, struct ranking *ranking)
{
    const struct snapshot_view *view = scoring->view;
    uint32_t traced = scoring->traced;
    float own = traced == SNAPSHOT_ROW_NONE ? -INFINITY : score[traced];
    size_t better = 0;
    ranking->scored = 0;
    for (size_t row = 0; row < view->row_count; row++) {
        ranking->scored += score[row] != -INFINITY;
        better +=
            own != -INFINITY && (score[row] > own || (score[row] == own && row != traced &&
                                                      strcmp(name_of(view, (uint32_t)row), name_of(view, traced)) < 0));
    }
    ranking->traced_score = own;
    ranking->traced_place = own == -INFINITY ? 0 : better + 1;
}

size_t ranking_cost(const struct config *config, const struct architecture *a, size_t rows, size_t length)
{
    size_t full = rows * recommender_cost(a, length), candidates = (size_t)config->model_candidates;
    if (full <= (size_t)config->model_exhaustive)
        return full;
    return rows * recommender_cost(a, 1) + candidates * recommender_cost(a, length);
}

bool ranking_compute(const struct scoring *scoring, size_t n, struct ranking *ranking, struct status *st)
{
    const struct snapshot_view *view = scoring->view;
    const struct config *config = scoring->worker->engine->config;
    bool rerank = scoring->rules != NULL && rules_rerank(scoring->rules);
    size_t wanted = rerank ? engine_rerank_pool(scoring->rules, n) : n;
    size_t length = scoring->user.length > 0 ? scoring->user.length : 1,
           alive_count = engine_count_rows(view, 0, view->row_count);
    size_t cost = alive_count * recommender_cost(&view->snapshot->model->architecture, length);
    size_t most = (size_t)config->model_candidates > 2 * wanted ? (size_t)config->model_candidates : 2 * wanted;
    bool exhaustive = scoring->request->task == ENGINE_TOP ||
                      scoring->user.length == 0 || /* the prior alone is cheap */
                      (cost <= (size_t)config->model_exhaustive && alive_count <= scoring->candidates_most);
    if (most > scoring->candidates_most)
        most = scoring->candidates_most;
    float *score = arena_floats(&scoring->worker->arena, view->row_count + 1);
    if (score == NULL || !score_rows(scoring, exhaustive, most, score))
        return out_of_memory(st);
    if (rerank ? !rerank_growing(scoring, score, n, alive_count, ranking, st)
               : !(take_best(scoring, score, n, ranking) || out_of_memory(st)))
        return false;
    if (scoring->request->funnel || scoring->traced != SNAPSHOT_ROW_NONE) {
        count_scored(scoring, score, ranking);
        ranking->exhaustive = exhaustive;
        ranking->pool = !rerank ? 0 : wanted < ranking->scored ? wanted : ranking->scored;
    }
    return true;
}
