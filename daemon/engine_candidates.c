/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_candidates.h"

#include "models/topk.h"

#include <math.h>
#include <string.h>

#define SPARSE 4 /* one row in so many: then reading each by itself is faster than reading all */

size_t engine_count_rows(const struct snapshot_view *view, size_t first, size_t count)
{
    size_t total = 0, end = first + count;
    while (first < end) {
        size_t begin = first % 64, bits = 64 - begin < end - first ? 64 - begin : end - first;
        uint64_t word = view->alive[first / 64] >> begin;
        total += (size_t)__builtin_popcountll(bits == 64 ? word : word & (((uint64_t)1 << bits) - 1));
        first += bits;
    }
    return total;
}

static void choose(const struct snapshot_view *view, uint64_t *chosen, uint32_t row)
{
    if (row != SNAPSHOT_ROW_NONE && engine_has_row(view, row))
        chosen[row / 64] |= (uint64_t)1 << (row % 64);
}

/* the best of a promotion by that score */
static void choose_promoted(const struct scoring *scoring, const uint64_t *promoted, float *score, uint32_t *best,
                            size_t most, uint64_t *chosen)
{
    size_t rows = scoring->view->row_count;
    float *masked = arena_floats(&scoring->worker->arena, rows + 1);
    if (masked == NULL)
        return; /* the pool looks promoted rows up, too */
    for (size_t row = 0; row < rows; row++)
        masked[row] = promoted[row / 64] >> (row % 64) & 1 ? score[row] : -INFINITY;
    size_t count = topk_select(best, masked, NULL, rows, most);
    for (size_t i = 0; i < count; i++)
        choose(scoring->view, chosen, best[i]);
}

static void rule_out_dead(const struct snapshot_view *view, size_t first, size_t count, float *score)
{
    for (size_t row = first; row < first + count; row = (row / 64 + 1) * 64) {
        uint64_t dead = ~view->alive[row / 64] >> (row % 64) << (row % 64);
        if (first + count < (row / 64 + 1) * 64)
            dead &= ((uint64_t)1 << ((first + count) % 64)) - 1;
        for (; dead != 0; dead &= dead - 1)
            score[row / 64 * 64 + (size_t)__builtin_ctzll(dead)] = -INFINITY;
    }
}

/* the cheap score of a block's qualifying rows; where few of them qualify only those are read */
static void scan_block(const struct scoring *scoring, const struct snapshot_segment *segment, size_t at, size_t count,
                       float *score)
{
    uint32_t row[RECOMMENDER_BLOCK];
    float some[RECOMMENDER_BLOCK];
    size_t first = segment->first + at, used = 0, qualifying = engine_count_rows(scoring->view, first, count);
    bool nearly_all =
        qualifying < count && qualifying * 8 > count * 7; /* as fast, and the others need not be ruled out */
    if (qualifying * SPARSE > count && !nearly_all) {
        recommender_scan(&scoring->user, scoring->part_weight, &segment->rows, at, count, score + first);
        for (size_t i = 0; i < count && scoring->boost != NULL; i++)
            score[first + i] += scoring->boost[first + i];
        if (qualifying < count)
            rule_out_dead(scoring->view, first, count, score);
        return;
    }
    row[0] = 0;
    for (size_t i = 0; i < count; i++) {
        score[first + i] = -INFINITY;
        row[used] = (uint32_t)(at + i);
        used += engine_has_row(scoring->view, first + i);
    }
    recommender_scan_some(&scoring->user, scoring->part_weight, &segment->rows, row, used, some);
    for (size_t i = 0; i < used; i++)
        score[segment->first + row[i]] = some[i] + engine_boost_of(scoring, segment->first + row[i]);
}

/* the best of a cheap score over every qualifying row */
static bool choose_by_scan(const struct scoring *scoring, uint64_t *chosen, size_t most)
{
    const struct snapshot_view *view = scoring->view;
    struct arena *arena = &scoring->worker->arena;
    float *score = arena_floats(arena, view->row_count + 1);
    uint32_t *best = arena_alloc(arena, most * sizeof *best);
    if (score == NULL || best == NULL)
        return false;
    for (size_t s = 0; s < view->segment_count; s++) {
        const struct snapshot_segment *segment = view->snapshot->segments[s];
        for (size_t at = 0; at < segment->capacity && segment->first + at < view->row_count; at += RECOMMENDER_BLOCK) {
            size_t left = segment->capacity - at, rows = view->row_count - segment->first - at;
            left = left < rows ? left : rows;
            scan_block(scoring, segment, at, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK, score);
        }
    }
    size_t count = topk_select(best, score, NULL, view->row_count, most);
    for (size_t i = 0; i < count; i++)
        choose(view, chosen, best[i]);
    for (size_t p = 0; scoring->rules != NULL && p < scoring->rules->promotion_count; p++)
        choose_promoted(scoring, scoring->promoted[p], score, best, most / 2 + 1, chosen);
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

bool engine_candidates_choose(const struct scoring *scoring, size_t most, struct snapshot_view *few)
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
        if (engine_has_row(view, back)) {
            choose(view, chosen, (uint32_t)back);
            new_ones++;
        }
    }
    *few = *view;
    few->alive = chosen;
    return true;
}
