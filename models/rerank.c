/* SPDX-License-Identifier: Apache-2.0 */
#include "models/rerank.h"

#include "models/matrix.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define NONE         SIZE_MAX
#define RESIDUE_MIN  1e-6f /* d²: float rounding leaves about this of a direction that is used up, of either sign */
#define SMOOTHING    .01   /* of the taste in q, so that log q is finite */
#define DIVERSE_MOST 500   /* places that later ones are compared with: the work grows with their square */
#define ROUNDING     1e-6  /* of share · k */

/* A list under way. */
struct greedy {
    const struct rerank_pool *pool;
    size_t n;         /* places wanted, at most the pool */
    struct caps caps; /* holds the list, also where there are no caps */
    struct rerank_place *place;
    bool *used;                             /* (count) */
    double *gain;                           /* (considered): as of measured[i] candidates on the list */
    bool descending;                        /* relevance: no gain is above (1 - δ)·r of a candidate before it */
    size_t *measured;                       /* (considered) */
    size_t behind;                          /* from `considered` up to it all are used */
    size_t placed[RERANK_PROMOTIONS_MAX];   /* promoted candidates on the list */
    size_t unplaced[RERANK_PROMOTIONS_MAX]; /* and those that could still come */

    size_t *listed; /* (width): candidates on the list that have features, a column of the factor each */
    size_t *known;  /* (considered): columns that a candidate has been compared with */
    float *nearest; /* mmr (considered): the greatest similarity to those; less than none counts as none */
    float *residue; /* dpp (considered): d² after those */
    float *factor;  /* dpp (considered, width): rows of the Cholesky factor */
    float *scale;   /* dpp (width): 1 / d of the column's own candidate */
    size_t width, columns;

    double *mass; /* (category_count): what the list has of each */
    double total; /* their sum: candidates on the list with a category */
    double *term; /* (category_count): p · log q, were one more on the list that has other categories */
    double now, more;
};

static bool looks_at_features(const struct rerank_pool *pool)
{
    return pool->diversity > 0 && pool->view_count > 0;
}

static bool open_diversity(struct greedy *g, struct arena *arena)
{
    const struct rerank_pool *pool = g->pool;
    if (!looks_at_features(pool))
        return true;
    size_t rows = pool->considered, cells;
    g->width = g->n < rows ? g->n : rows;
    g->width = g->width < DIVERSE_MOST ? g->width : DIVERSE_MOST;
    if ((g->listed = arena_zeroed(arena, g->width, sizeof *g->listed)) == NULL ||
        (g->known = arena_zeroed(arena, rows, sizeof *g->known)) == NULL)
        return false;
    if (pool->method == RERANK_MMR)
        return (g->nearest = arena_zeroed(arena, rows, sizeof *g->nearest)) != NULL;
    if (__builtin_mul_overflow(rows, g->width, &cells) || (g->residue = arena_floats(arena, rows)) == NULL ||
        (g->factor = arena_floats(arena, cells)) == NULL || (g->scale = arena_floats(arena, g->width)) == NULL)
        return false;
    for (size_t i = 0; i < rows; i++)
        g->residue[i] = 1; /* with the direction that nobody shares, every row has norm 1 */
    return true;
}

static bool open_calibration(struct greedy *g, struct arena *arena)
{
    if (!(g->pool->calibration > 0))
        return true;
    return (g->mass = arena_zeroed(arena, g->pool->category_count, sizeof *g->mass)) != NULL &&
           (g->term = arena_zeroed(arena, g->pool->category_count, sizeof *g->term)) != NULL;
}

static bool greedy_open(struct greedy *g, struct arena *arena)
{
    const struct rerank_pool *pool = g->pool;
    assert(pool->considered <= pool->count && pool->promotion_count <= RERANK_PROMOTIONS_MAX);
    g->behind = pool->considered;
    for (size_t p = 0; p < pool->promotion_count; p++)
        for (size_t i = 0; i < pool->count; i++)
            if (pool->promotion[p].promoted[i])
                g->unplaced[p]++;
    return caps_open(&g->caps, pool->cap, pool->cap_count, g->n, arena) &&
           (g->used = arena_zeroed(arena, pool->count, sizeof *g->used)) != NULL &&
           (g->gain = arena_zeroed(arena, pool->considered, sizeof *g->gain)) != NULL &&
           (g->measured = arena_zeroed(arena, pool->considered, sizeof *g->measured)) != NULL &&
           open_diversity(g, arena) && open_calibration(g, arena);
}

/* ---- diversity */

static float similarity_of(const struct rerank_pool *pool, size_t a, size_t b)
{
    float sum = 0;
    for (int v = 0; v < pool->view_count; v++)
        sum += matrix_dot(pool->row[v][a], pool->row[v][b], pool->components[v]);
    return sum / (float)pool->view_count;
}

/* Gains from features only fall as the list grows, so that an old one is a bound: who cannot be the best by it need not be compared with what came since
 * (Minoux 1978). So columns are made candidate by candidate, when its turn comes. The step itself is algorithm 1 of Chen, Zhang and Zhou. */
static void compare(struct greedy *g, size_t i)
{
    const struct rerank_pool *pool = g->pool;
    for (size_t column = g->known[i]; column < g->columns; column++) {
        size_t other = g->listed[column];
        float similarity = similarity_of(pool, i, other);
        if (pool->method == RERANK_MMR) {
            g->nearest[i] = fmaxf(g->nearest[i], similarity);
            continue;
        }
        const float *row = g->factor + i * g->width, *of_other = g->factor + other * g->width;
        float shared = 0;
        for (size_t k = 0; k < column; k++) /* a few numbers: a call would take longer */
            shared += row[k] * of_other[k];
        float e = (similarity - shared) * g->scale[column];
        g->factor[i * g->width + column] = e;
        g->residue[i] -= e * e;
    }
    g->known[i] = g->columns;
}

static void learn_features(struct greedy *g, size_t chosen)
{
    if (g->columns == g->width) /* what comes after so many places is as unlike them as it may be */
        return;
    compare(g, chosen);
    if (g->pool->method == RERANK_DPP)
        g->scale[g->columns] = 1 / sqrtf(fmaxf(g->residue[chosen], RESIDUE_MIN));
    g->listed[g->columns++] = chosen;
}

static double diversity_gain(struct greedy *g, size_t i)
{
    if (!looks_at_features(g->pool))
        return 0;
    compare(g, i);
    if (g->pool->method == RERANK_MMR)
        return -(double)g->nearest[i];
    return .5 * (double)logf(fmaxf(g->residue[i], RESIDUE_MIN));
}

/* ---- calibration */

static void learn_categories(struct greedy *g, size_t chosen)
{
    size_t begin = g->pool->category_start[chosen], end = g->pool->category_start[chosen + 1];
    for (size_t k = begin; k < end; k++)
        g->mass[g->pool->category[k]] += 1 / (double)(end - begin);
    if (begin < end)
        g->total += 1;
}

/* Σ p · log q of the list, and term by term with one candidate more, whose own categories calibration_loss puts right.
 * Of an empty list q is the smoothing alone. */
static void measure_list(struct greedy *g)
{
    g->now = g->more = 0;
    for (size_t c = 0; c < g->pool->category_count; c++) {
        double p = g->pool->taste[c], mass = (1 - SMOOTHING) * g->mass[c];
        if (!(p > 0))
            continue;
        g->now += p * log((g->total > 0 ? mass / g->total : 0) + SMOOTHING * p);
        g->term[c] = p * log(mass / (g->total + 1) + SMOOTHING * p);
        g->more += g->term[c];
    }
}

/* KL(p ‖ q(S + i)) - KL(p ‖ q(S)); Σ p · log p is in both. */
static double calibration_loss(const struct greedy *g, size_t i)
{
    size_t begin = g->pool->category_start[i], end = g->pool->category_start[i + 1];
    if (begin == end)
        return 0;
    double share = 1 / (double)(end - begin), sum = g->more;
    for (size_t k = begin; k < end; k++) {
        uint32_t c = g->pool->category[k];
        double p = g->pool->taste[c];
        if (p > 0)
            sum += p * log((1 - SMOOTHING) * (g->mass[c] + share) / (g->total + 1) + SMOOTHING * p) - g->term[c];
    }
    return g->now - sum;
}

/* ---- one place after the other */

/* the gain as of this place */
static void measure(struct greedy *g, size_t i)
{
    double diversity = g->pool->diversity, calibration = g->pool->calibration, gain = g->pool->relevance[i];
    if (diversity > 0)
        gain = (1 - diversity) * gain + diversity * diversity_gain(g, i);
    if (calibration > 0)
        gain = (1 - calibration) * gain - calibration * calibration_loss(g, i);
    g->gain[i] = gain;
    g->measured[i] = g->caps.count;
}

/* what a candidate gains on an empty list, and never more: features only take from it */
static double most_gain(const struct greedy *g, size_t i)
{
    return (1 - (double)g->pool->diversity) * (double)g->pool->relevance[i];
}

/* Of those in `promoted` (NULL: of all) that are allowed now: what gains most, or the first behind the considered. */
static size_t choose_from(struct greedy *g, const bool *promoted)
{
    bool bounded = !(g->pool->calibration > 0); /* a category may gain as the list grows */
    size_t best = NONE;
    for (size_t i = 0; i < g->pool->considered; i++) {
        if (bounded && best != NONE && g->descending && most_gain(g, i) <= g->gain[best])
            break;
        if (g->used[i] || (promoted != NULL && !promoted[i]))
            continue;
        if (bounded && best != NONE && g->gain[i] <= g->gain[best])
            continue;
        if (g->measured[i] != g->caps.count)
            measure(g, i);
        if ((best == NONE || g->gain[i] > g->gain[best]) && caps_allow(&g->caps, i, NULL))
            best = i;
    }
    for (size_t i = g->behind; best == NONE && i < g->pool->count; i++)
        if (!g->used[i] && (promoted == NULL || promoted[i]) && caps_allow(&g->caps, i, NULL))
            best = i;
    return best;
}

/* Places up to `length` that must still go to promotion p, as far as its candidates last. */
static size_t owed(const struct greedy *g, size_t p, size_t length)
{
    size_t due = (size_t)floor(g->pool->promotion[p].share * (double)length + ROUNDING);
    size_t missing = due > g->placed[p] ? due - g->placed[p] : 0;
    return missing < g->unplaced[p] ? missing : g->unplaced[p];
}

/* The first length up to which every place that is left is owed to a promotion; 0: the next place is free. Two can fall
 * due at the same place, and then one must have come before; a single one needs no look ahead. */
static size_t pressed_until(const struct greedy *g)
{
    size_t count = g->pool->promotion_count, next = g->caps.count + 1;
    size_t last = count > 1 ? g->n : next;
    for (size_t length = next; count > 0 && length <= last; length++) {
        size_t sum = 0;
        for (size_t p = 0; p < count; p++)
            sum += owed(g, p, length);
        if (sum > length - next)
            return length;
    }
    return 0;
}

/* The promotion whose next place falls due first, of level ones the first in order, that has an allowed candidate. */
static size_t choose_promoted(struct greedy *g, int *turn)
{
    size_t last = pressed_until(g);
    for (size_t length = g->caps.count + 1; length <= last; length++)
        for (size_t p = 0; p < g->pool->promotion_count; p++) {
            size_t candidate = owed(g, p, length) > 0 ? choose_from(g, g->pool->promotion[p].promoted) : NONE;
            if (candidate == NONE)
                continue;
            *turn = (int)p;
            return candidate;
        }
    return NONE;
}

static void put(struct greedy *g, size_t candidate, int turn)
{
    const struct rerank_pool *pool = g->pool;
    g->place[g->caps.count] = (struct rerank_place){candidate, turn};
    caps_place(&g->caps, candidate);
    g->used[candidate] = true;
    while (g->behind < pool->count && g->used[g->behind])
        g->behind++;
    for (size_t p = 0; p < pool->promotion_count; p++)
        if (pool->promotion[p].promoted[candidate]) {
            g->placed[p]++;
            g->unplaced[p]--;
        }
    if (candidate >= pool->considered) /* has no features, no categories */
        return;
    if (looks_at_features(pool))
        learn_features(g, candidate);
    if (pool->calibration > 0)
        learn_categories(g, candidate);
}

/* before there is a list */
static void start_gains(struct greedy *g)
{
    g->descending = true;
    for (size_t i = 1; i < g->pool->considered && g->descending; i++)
        g->descending = g->pool->relevance[i] <= g->pool->relevance[i - 1];
    if (g->pool->calibration > 0)
        measure_list(g);
    for (size_t i = 0; i < g->pool->considered; i++) {
        g->gain[i] = most_gain(g, i);
        if (g->pool->calibration > 0)
            measure(g, i);
    }
}

static void fill(struct greedy *g)
{
    while (g->caps.count < g->n) {
        int turn = -1;
        if (g->pool->calibration > 0)
            measure_list(g);
        size_t candidate = choose_promoted(g, &turn);
        if (candidate == NONE)
            candidate = choose_from(g, NULL);
        if (candidate == NONE)
            return;
        put(g, candidate, turn);
    }
}

/* ---- where caps end the list early */

static bool repair(struct greedy *g, struct arena *arena)
{
    const struct rerank_pool *pool = g->pool;
    size_t stuck = g->caps.count, bound, i = 0;
    struct rerank_place *old = arena_zeroed(arena, stuck, sizeof *old);
    if (old == NULL || !caps_bound(pool->cap, pool->cap_count, pool->count, g->n, &bound, arena) ||
        !caps_repair(&g->caps, pool->count, bound, arena))
        return false;
    memcpy(old, g->place, stuck * sizeof *old);
    while (i < stuck && g->place[i].candidate == g->caps.list[i])
        i++;
    for (; i < g->caps.count; i++) {
        g->place[i] = (struct rerank_place){g->caps.list[i], -1};
        for (size_t k = 0; k < stuck; k++) /* who was promoted still is, elsewhere */
            if (old[k].candidate == g->caps.list[i])
                g->place[i].promotion = old[k].promotion;
    }
    return true;
}

/* What stops the best of those that are left. */
static size_t find_broken(struct greedy *g)
{
    size_t broken = NONE;
    if (g->caps.count == g->n)
        return broken;
    memset(g->used, 0, g->pool->count * sizeof *g->used);
    for (size_t i = 0; i < g->caps.count; i++)
        g->used[g->caps.list[i]] = true;
    for (size_t i = 0; i < g->pool->count; i++)
        if (!g->used[i] && !caps_allow(&g->caps, i, &broken))
            break;
    return broken;
}

bool rerank(const struct rerank_pool *pool, size_t n, struct rerank_result *result, struct arena *arena)
{
    struct arena_mark start = arena_mark(arena);
    struct greedy g = {.pool = pool, .n = n < pool->count ? n : pool->count};
    g.place = arena_zeroed(arena, g.n, sizeof *g.place);
    struct arena_mark scratch = arena_mark(arena);
    bool ok = g.place != NULL && greedy_open(&g, arena);
    if (ok) {
        start_gains(&g);
        fill(&g);
        ok = g.caps.count == g.n || repair(&g, arena);
    }
    if (ok)
        *result = (struct rerank_result){g.place, g.caps.count, find_broken(&g)};
    arena_rewind(arena, ok ? scratch : start);
    return ok;
}
