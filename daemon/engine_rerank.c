/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_rerank.h"

#include "daemon/engine_relevance.h"
#include "daemon/engine_rerank_internal.h"
#include "daemon/engine_values.h"
#include "models/topk.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define POOL_FACTOR 10
#define POOL_LEAST  200
#define CATEGORY    "category"

bool engine_rerank_no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

size_t engine_rerank_pool(const struct rules *rules, size_t n)
{
    size_t pool = rules->pool > 0 ? rules->pool : POOL_FACTOR * n;
    if (rules->pool == 0 && pool < POOL_LEAST)
        pool = POOL_LEAST;
    return pool > n ? pool : n;
}

/* ---- promoted rows */

static bool is_set(const uint64_t *bits, size_t row)
{
    return bits[row / 64] >> (row % 64) & 1;
}

/* the best `most` rows of a promotion that are not in the pool yet; one that nothing is known of comes last, with a score of 0 */
static bool add_promoted(struct gathering *g, const uint64_t *promoted, const float *score, size_t most,
                         uint64_t *pooled)
{
    const struct snapshot_view *view = g->scoring->view;
    float *masked = arena_floats(g->arena, view->row_count + 1);
    uint32_t *best = arena_alloc(g->arena, (most + 1) * sizeof *best);
    if (masked == NULL || best == NULL)
        return false;
    for (size_t row = 0; row < view->row_count; row++) {
        bool open = is_set(promoted, row) && !is_set(pooled, row);
        masked[row] = !open ? -INFINITY : score[row] == -INFINITY ? -FLT_MAX : score[row];
    }
    size_t found = topk_select(best, masked, NULL, view->row_count, most);
    for (size_t i = 0; i < found; i++) {
        bool unknown = score[best[i]] == -INFINITY;
        pooled[best[i] / 64] |= (uint64_t)1 << (best[i] % 64);
        g->items[g->count++] =
            (struct ranked){.score = unknown ? 0 : score[best[i]], .row = best[i], .newest = unknown, .promotion = -1};
    }
    return true;
}

/* items that hardly anybody has met and that are not in the pool yet */
static bool add_drawn(struct gathering *g, const float *score, size_t n, const uint64_t *pooled)
{
    if (!engine_explore(g->scoring, score, n, &g->drawn))
        return false;
    struct ranked *items = arena_alloc(g->arena, (g->count + g->drawn.count + 1) * sizeof *items);
    if (items == NULL)
        return false;
    memcpy(items, g->items, g->count * sizeof *items);
    for (size_t i = 0; i < g->drawn.count; i++) {
        uint32_t row = g->drawn.rows[i];
        bool unknown = score[row] == -INFINITY;
        if (!is_set(pooled, row))
            items[g->count++] =
                (struct ranked){.score = unknown ? 0 : score[row], .row = row, .newest = unknown, .promotion = -1};
    }
    g->items = items;
    return true;
}

/* who is promoted by which rule; what was drawn is one more promotion */
static bool name_promoted(struct gathering *g, size_t n)
{
    const struct rules *rules = g->scoring->rules;
    size_t total = rules->promotion_count + (g->drawn.count > 0);
    for (size_t p = 0; p < total; p++) {
        bool *promoted = arena_alloc(g->arena, g->count + 1), drawn = p == rules->promotion_count;
        if (promoted == NULL)
            return false;
        for (size_t i = 0; i < g->count; i++)
            promoted[i] = !drawn && is_set(g->scoring->promoted[p], g->items[i].row);
        for (size_t i = 0; drawn && i < g->count; i++)
            for (size_t k = 0; k < g->drawn.count; k++)
                promoted[i] = promoted[i] || g->items[i].row == g->drawn.rows[k];
        double share = drawn ? (double)g->drawn.count / (double)n : rules->promotions[p].share;
        g->promotion[p] = (struct rerank_promotion){share, promoted};
    }
    g->promotion_count = total;
    return true;
}

/* the pool, and for each promotion enough of its best, caps reckoned with */
static bool gather_items(struct gathering *g, const struct ranking *pool, const float *score, size_t n)
{
    const struct rules *rules = g->scoring->rules;
    size_t words = g->scoring->view->row_count / 64 + 1;
    size_t extra = rules->cap_count > 0 ? POOL_FACTOR * n + POOL_LEAST : n;
    g->items = arena_alloc(g->arena, (pool->count + rules->promotion_count * extra + 1) * sizeof *g->items);
    uint64_t *pooled = arena_alloc(g->arena, words * sizeof *pooled);
    if (g->items == NULL || pooled == NULL)
        return false;
    memcpy(g->items, pool->items, pool->count * sizeof *g->items);
    g->count = pool->count;
    memset(pooled, 0, words * sizeof *pooled);
    for (size_t i = 0; i < pool->count; i++)
        pooled[pool->items[i].row / 64] |= (uint64_t)1 << (pool->items[i].row % 64);
    for (size_t p = 0; p < rules->promotion_count; p++)
        if (!add_promoted(g, g->scoring->promoted[p], score, extra, pooled))
            return false;
    if (rules->exploration > 0 && !add_drawn(g, score, n, pooled))
        return false;
    return name_promoted(g, n);
}

/* ---- features */

bool engine_rerank_is_content(const struct view *view)
{
    return strcmp(view->modality, "id") != 0;
}

const float *gathering_feature(const struct gathering *g, int view, size_t i)
{
    const struct snapshot_segment *segment = snapshot_segment_of(g->scoring->view, g->items[i].row);
    size_t components = (size_t)g->scoring->user.model->architecture.views[view].components;
    return segment->rows.view[view] + (g->items[i].row - segment->first) * components;
}

static bool point_at_features(struct gathering *g)
{
    const struct architecture *a = &g->scoring->user.model->architecture;
    for (int v = 0; v < a->view_count; v++) {
        if (!engine_rerank_is_content(&a->views[v]))
            continue;
        const float **rows = arena_alloc(g->arena, (g->considered + 1) * sizeof *rows);
        if (rows == NULL)
            return false;
        for (size_t i = 0; i < g->considered; i++)
            rows[i] = gathering_feature(g, v, i);
        g->pool.components[g->pool.view_count] = (size_t)a->views[v].components;
        g->pool.row[g->pool.view_count++] = rows;
    }
    return true;
}

/* ---- caps and categories */

/* rows of the first `count` candidates, with room for `more` */
static uint32_t *candidate_rows(const struct gathering *g, size_t count, size_t more)
{
    uint32_t *rows = arena_alloc(g->arena, (count + more + 1) * sizeof *rows);
    for (size_t i = 0; rows != NULL && i < count; i++)
        rows[i] = g->items[i].row;
    return rows;
}

static bool set_caps(struct gathering *g, struct status *st)
{
    const struct rules *rules = g->scoring->rules;
    uint32_t *rows = candidate_rows(g, g->count, 0);
    if (rows == NULL)
        return engine_rerank_no_memory(st);
    for (size_t c = 0; c < rules->cap_count; c++) {
        const struct rule_cap *rule = &rules->caps[c];
        const char *nearest;
        struct engine_values map;
        int field = columns_find(g->scoring->view->snapshot->columns, rule->by, &nearest);
        if (field < 0)
            return status_fail_field(
                st, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", "caps", "no item has an attribute '%s'%s%s%s", rule->by,
                nearest == NULL ? "" : ", did you mean '", nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
        if (!engine_values_map(g->scoring, field, rows, g->count, &map))
            return engine_rerank_no_memory(st);
        g->cap[c] = (struct cap){rule->most, rule->window, map.start, map.key, map.key_count};
    }
    g->pool.cap = g->cap;
    g->pool.cap_count = rules->cap_count;
    return true;
}

/* the user's mix of categories: events that are not disliked share one unit each among theirs */
static bool set_taste(struct gathering *g)
{
    const struct scoring *scoring = g->scoring;
    int field = columns_find(scoring->view->snapshot->columns, CATEGORY, NULL);
    uint32_t *rows = candidate_rows(g, g->considered, scoring->event_count);
    struct engine_values map;
    size_t count = g->considered;
    if (rows == NULL)
        return false;
    for (size_t i = 0; i < scoring->event_count; i++) {
        uint32_t row = snapshot_find(scoring->view, scoring->events[i].item_id);
        if (row != SNAPSHOT_ROW_NONE && recommender_value(scoring->user.model, &scoring->events[i]) > 0)
            rows[count++] = row;
    }
    if (field < 0)
        return true;
    if (!engine_values_map(scoring, field, rows, count, &map))
        return false;
    float *taste = arena_floats(g->arena, map.key_count + 1), sum = 0;
    if (taste == NULL)
        return false;
    memset(taste, 0, (map.key_count + 1) * sizeof *taste);
    for (size_t i = g->considered; i < count; i++)
        for (uint32_t k = map.start[i]; k < map.start[i + 1]; k++)
            taste[map.key[k]] += 1 / (float)(map.start[i + 1] - map.start[i]);
    for (size_t k = 0; k < map.key_count; k++)
        sum += taste[k];
    for (size_t k = 0; k < map.key_count && sum > 0; k++)
        taste[k] /= sum;
    g->pool.calibration = sum > 0 ? scoring->rules->calibration : 0; /* no history with categories, no mix */
    g->pool.category_count = map.key_count;
    g->pool.category_start = map.start;
    g->pool.category = map.key;
    g->pool.taste = taste;
    return true;
}

/* ---- the whole */

static bool gather(struct gathering *g, const struct ranking *pool, const float *score, size_t n, struct status *st)
{
    const struct rules *rules = g->scoring->rules;
    if (!gather_items(g, pool, score, n))
        return engine_rerank_no_memory(st);
    if ((rules->diversity > 0 && !point_at_features(g)) || (rules->calibration > 0 && !set_taste(g)))
        return engine_rerank_no_memory(st);
    if (!engine_relevance_set(g, st))
        return false;
    g->pool.count = g->count;
    g->pool.considered = g->considered;
    g->pool.diversity = rules->diversity;
    g->pool.method = rules->rerank == RULE_MMR ? RERANK_MMR : RERANK_DPP;
    g->pool.promotion = g->promotion;
    g->pool.promotion_count = g->promotion_count;
    return rules->cap_count == 0 || set_caps(g, st);
}

static float propensity_of(const struct gathering *g, uint32_t row)
{
    for (size_t k = 0; k < g->drawn.count; k++)
        if (g->drawn.rows[k] == row)
            return g->drawn.propensity[k];
    return 0;
}

bool engine_rerank(const struct scoring *scoring, const float *score, const struct ranking *pool, size_t considered,
                   size_t n, struct ranking *list, struct status *st)
{
    struct arena *arena = &scoring->worker->arena;
    struct rerank_result result;
    struct gathering *g = arena_alloc(arena, sizeof *g);
    if (g == NULL)
        return engine_rerank_no_memory(st);
    *g = (struct gathering){.scoring = scoring, .arena = arena};
    g->considered = considered < pool->count ? considered : pool->count;
    if (!gather(g, pool, score, n, st))
        return false;
    struct ranked *items = arena_alloc(arena, (n + 1) * sizeof *items);
    if (items == NULL || !rerank(&g->pool, n, &result, arena))
        return engine_rerank_no_memory(st);
    *list = (struct ranking){
        .items = items, .count = result.count, .broken_cap = result.broken == SIZE_MAX ? -1 : (int)result.broken};
    for (size_t i = 0; i < result.count; i++) {
        size_t from = result.place[i].candidate;
        items[i] = g->items[from];
        items[i].promotion = result.place[i].promotion;
        if (items[i].promotion < 0 && propensity_of(g, items[i].row) > 0)
            items[i].promotion = (int)scoring->rules->promotion_count; /* drawn, and here before its turn */
        if (items[i].promotion == (int)scoring->rules->promotion_count)
            items[i].propensity = propensity_of(g, items[i].row);
        if (from < pool->count) /* of one from further behind nobody knows where it was */
            items[i].moved = (int32_t)from - (int32_t)i;
        list->newest_count += items[i].newest;
    }
    return true;
}
