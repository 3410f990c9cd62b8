/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_list.h"

#include "models/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A block of rows with fewer qualifying ones than this is gathered rather than scored whole. */
#define DENSE_ROWS 48

static bool alive(const struct snapshot_view *view, size_t row)
{
    return view->alive[row / 64] >> (row % 64) & 1;
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
    gathered->rows = (struct encoder_rows){.capacity = RECOMMENDER_BLOCK};
    for (int v = 0; v < a->view_count; v++) {
        size_t floats = RECOMMENDER_BLOCK * (size_t)a->views[v].components;
        gathered->rows.view[v] = arena_floats(arena, floats);
        for (int role = 0; role < ROLE_COUNT; role++) {
            gathered->rows.role[v][role] =
                a->views[v].correction > 0 ? arena_floats(arena, floats) : gathered->rows.view[v];
            if (gathered->rows.role[v][role] == NULL)
                return false;
        }
        if (gathered->rows.view[v] == NULL)
            return false;
    }
    if (a->blocks > 0) {
        gathered->rows.token = arena_floats(arena, RECOMMENDER_BLOCK * (size_t)a->width);
        gathered->rows.output = arena_floats(arena, RECOMMENDER_BLOCK * (size_t)a->width);
        return gathered->rows.token != NULL && gathered->rows.output != NULL;
    }
    return true;
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

bool ranking_parts(const struct scoring *scoring, const uint32_t *rows, size_t count, float **parts)
{
    struct arena *arena = &scoring->worker->arena;
    const struct architecture *a = &scoring->user.model->architecture;
    size_t stride = PART_STREAMS + (size_t)a->stream_count;
    struct gathered *gathered = arena_alloc(arena, sizeof *gathered);
    *parts = arena_floats(arena, count * stride + 1);
    if (gathered == NULL || *parts == NULL || !gathered_init(gathered, a, arena))
        return false;
    for (size_t i = 0, begin = 0; i < count; i++) {
        gather(gathered, scoring, rows[i]);
        if (gathered->count == RECOMMENDER_BLOCK || i + 1 == count) {
            flush(gathered, scoring, NULL, *parts + begin * stride);
            begin = i + 1;
        }
    }
    return true;
}

/* ---- all qualifying rows */

static size_t count_alive(const struct snapshot_view *view, size_t first, size_t count)
{
    size_t total = 0;
    for (size_t row = first; row < first + count; row++)
        total += alive(view, row);
    return total;
}

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
            bool dense = count_alive(view, row, count) >= DENSE_ROWS;
            float out[RECOMMENDER_BLOCK];
            struct recommender_block block = {&segment->rows, at, count, segment->item_ids + at};
            if (dense)
                recommender_score(&scoring->user, &scoring->context, &block, out, NULL);
            for (size_t i = 0; i < count; i++) {
                if (!alive(view, row + i))
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

/* ---- candidates of a large shop */

static void choose(const struct snapshot_view *view, uint64_t *chosen, uint32_t row)
{
    if (row != SNAPSHOT_ROW_NONE && alive(view, row))
        chosen[row / 64] |= (uint64_t)1 << (row % 64);
}

/* the best of a cheap score over every qualifying row */
static bool choose_by_scan(const struct scoring *scoring, uint64_t *chosen, size_t most)
{
    const struct snapshot_view *view = scoring->view;
    struct arena *arena = &scoring->worker->arena;
    float *score = arena_floats(arena, view->row_count);
    uint32_t *best = arena_alloc(arena, most * sizeof *best);
    if (score == NULL || best == NULL)
        return false;
    for (size_t s = 0; s < view->segment_count; s++) {
        const struct snapshot_segment *segment = view->snapshot->segments[s];
        if (segment->first >= view->row_count)
            break;
        size_t count = view->row_count - segment->first;
        count = count < segment->capacity ? count : segment->capacity;
        recommender_scan(&scoring->user, scoring->part_weight, &segment->rows, 0, count, score + segment->first);
    }
    for (size_t row = 0; row < view->row_count; row++)
        if (!alive(view, row))
            score[row] = -INFINITY;
    size_t count = topk_select(best, score, NULL, view->row_count, most);
    for (size_t i = 0; i < count; i++)
        choose(view, chosen, best[i]);
    return true;
}

/* what was met next to the last events, most first */
static bool choose_neighbours(const struct scoring *scoring, uint64_t *chosen, size_t most)
{
    const struct cooccurrence *c = &scoring->worker->cooccurrence;
    float *term = arena_floats(&scoring->worker->arena, c->touched_count + 1);
    uint32_t *best = arena_alloc(&scoring->worker->arena, most * sizeof *best);
    if (term == NULL || best == NULL)
        return false;
    for (size_t i = 0; i < c->touched_count; i++)
        term[i] = c->term[c->touched[i]];
    size_t count = topk_select(best, term, NULL, c->touched_count, most);
    for (size_t i = 0; i < count; i++)
        choose(scoring->view, chosen, snapshot_find(scoring->view, c->touched[best[i]]));
    return true;
}

/* replace the bits of the view by those of the candidates */
static bool choose_candidates(const struct scoring *scoring, size_t most, struct snapshot_view *few)
{
    const struct snapshot_view *view = scoring->view;
    const struct counts_view *counts = scoring->context.counts;
    size_t words = view->row_count / 64 + 1;
    uint64_t *chosen = arena_alloc(&scoring->worker->arena, words * sizeof *chosen);
    if (chosen == NULL)
        return false;
    memset(chosen, 0, words * sizeof *chosen);
    if (scoring->user.length > 0 &&
        (!choose_by_scan(scoring, chosen, most) || !choose_neighbours(scoring, chosen, most / 2 + 1)))
        return false;
    for (size_t i = 0; i < counts->top_recent_count && i < most / 4 + 1; i++)
        choose(view, chosen, snapshot_find(view, counts->top_recent[i]));
    for (size_t i = 0; i < counts->top_popular_count && i < most / 4 + 1; i++)
        choose(view, chosen, snapshot_find(view, counts->top_popular[i]));
    size_t back = view->row_count, new_ones = 0;
    while (back > 0 && new_ones < most / 10 + 1) {
        back--;
        if (alive(view, back)) {
            choose(view, chosen, (uint32_t)back);
            new_ones++;
        }
    }
    *few = *view;
    few->alive = chosen;
    return true;
}

/* ---- the best n */

struct placed {
    float score;
    const char *name;
    uint32_t row;
};

static int compare_placed(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Among all rows that share the last place's score, those with the smallest names: replaces the tail of `placed` from `strict` on. */
static void settle_ties(const struct scoring *scoring, const float *score, float last, struct placed *placed,
                        size_t strict, size_t count)
{
    size_t kept = strict;
    for (size_t row = 0; row < scoring->view->row_count; row++) {
        if (score[row] != last)
            continue;
        struct placed candidate = {last, name_of(scoring->view, (uint32_t)row), (uint32_t)row};
        if (kept == count && strcmp(candidate.name, placed[kept - 1].name) >= 0)
            continue;
        size_t at = kept < count ? kept++ : count - 1;
        for (; at > strict && strcmp(candidate.name, placed[at - 1].name) < 0; at--)
            placed[at] = placed[at - 1];
        placed[at] = candidate;
    }
}

static bool take_best(const struct scoring *scoring, const float *score, size_t n, struct ranking *ranking)
{
    struct arena *arena = &scoring->worker->arena;
    uint32_t *best = arena_alloc(arena, (n + 1) * sizeof *best);
    struct placed *placed = arena_alloc(arena, (n + 1) * sizeof *placed);
    if (best == NULL || placed == NULL)
        return false;
    size_t count = topk_select(best, score, NULL, scoring->view->row_count, n), strict = 0;
    for (size_t i = 0; i < count; i++) {
        placed[i] = (struct placed){score[best[i]], name_of(scoring->view, best[i]), best[i]};
        strict += score[best[i]] > score[best[count - 1]];
    }
    if (count == n && n > 0)
        settle_ties(scoring, score, score[best[count - 1]], placed, strict, count);
    qsort(placed, count, sizeof *placed, compare_placed);
    for (size_t i = 0; i < count; i++) {
        ranking->rows[i] = placed[i].row;
        ranking->scores[i] = placed[i].score;
    }
    ranking->count = count;
    return true;
}

/* Nothing is known of these: the newest items first, after those that something is known of. */
static void fill_with_newest(const struct scoring *scoring, size_t n, const float *score, struct ranking *ranking)
{
    const struct snapshot_view *view = scoring->view;
    uint32_t largest = catalog_largest_id(scoring->worker->engine->catalog);
    for (uint32_t id = largest; id > 0 && ranking->count < n; id--) {
        uint32_t row = snapshot_find(view, id);
        if (row == SNAPSHOT_ROW_NONE || !alive(view, row) || score[row] != -INFINITY)
            continue;
        ranking->rows[ranking->count] = row;
        ranking->scores[ranking->count++] = 0;
        ranking->newest_count++;
    }
}

bool ranking_compute(const struct scoring *scoring, size_t n, struct ranking *ranking)
{
    const struct snapshot_view *view = scoring->view;
    const struct config *config = scoring->worker->engine->config;
    struct arena *arena = &scoring->worker->arena;
    float *score = arena_floats(arena, view->row_count + 1);
    *ranking =
        (struct ranking){.rows = arena_alloc(arena, (n + 1) * sizeof(uint32_t)), .scores = arena_floats(arena, n + 1)};
    if (score == NULL || ranking->rows == NULL || ranking->scores == NULL)
        return false;
    for (size_t row = 0; row < view->row_count; row++)
        score[row] = -INFINITY;
    size_t length = scoring->user.length > 0 ? scoring->user.length : 1;
    size_t cost = count_alive(view, 0, view->row_count) * recommender_cost(&scoring->user.model->architecture, length);
    size_t most = (size_t)config->model_candidates > 2 * n ? (size_t)config->model_candidates : 2 * n;
    struct scoring narrowed = *scoring;
    struct snapshot_view few;
    if (cost > (size_t)config->model_exhaustive) {
        if (!choose_candidates(scoring, most, &few))
            return false;
        narrowed.view = &few;
    }
    if (!score_alive(&narrowed, score))
        return false;
    if (scoring->user.length == 0) /* what nobody has looked at has no score to be ranked by */
        for (size_t row = 0; row < view->row_count; row++)
            if (score[row] == 0)
                score[row] = -INFINITY;
    if (!take_best(scoring, score, n, ranking))
        return false;
    if (ranking->count < n)
        fill_with_newest(scoring, n, score, ranking);
    return true;
}
