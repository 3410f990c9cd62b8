/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_rules.h"

#include "daemon/conditions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

static size_t word_count(const struct snapshot_view *view)
{
    return view->row_count / 64 + 1;
}

/* ---- what is let through */

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* the median price of what the user met, repeats counted; false where none has a price */
static bool median_price(const struct scoring *scoring, double *price, double *median)
{
    size_t count = 0;
    for (size_t i = 0; i < scoring->event_count; i++) {
        uint32_t row = snapshot_find(scoring->view, scoring->events[i].item_id);
        if (row == SNAPSHOT_ROW_NONE)
            continue;
        const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, row);
        const struct store_item *item = &segment->items[row - segment->first]->item;
        if (item->has_price)
            price[count++] = item->price;
    }
    if (count == 0)
        return false;
    qsort(price, count, sizeof *price, compare_doubles);
    *median = (price[(count - 1) / 2] + price[count / 2]) / 2;
    return true;
}

static bool apply_ceiling(const struct scoring *scoring, struct snapshot_view *view, struct status *st)
{
    struct arena *arena = &scoring->worker->arena;
    double *price = arena_alloc(arena, (scoring->event_count + 1) * sizeof *price), median;
    uint64_t *dearer = arena_alloc(arena, word_count(view) * sizeof *dearer);
    if (price == NULL || dearer == NULL)
        return out_of_memory(st);
    if (!median_price(scoring, price, &median))
        return true;
    struct rule_condition condition = {
        .field = "price",
        .least = nextafter(scoring->rules->price_ceiling * median, INFINITY), /* items without a price may stay */
        .most = INFINITY,
        .exists = -1};
    if (!conditions_all(view, &condition, 1, "price_ceiling", view->alive, dearer, arena, st))
        return false;
    for (size_t i = 0; i < word_count(view); i++)
        view->alive[i] &= ~dearer[i];
    return true;
}

bool engine_rules_filter(const struct scoring *scoring, struct snapshot_view *view, struct status *st)
{
    const struct rules *rules = scoring->rules;
    return rules == NULL || conditions_filter(view, &rules->filter, view->alive, &scoring->worker->arena, st);
}

bool engine_rules_ceiling(const struct scoring *scoring, struct snapshot_view *view, struct status *st)
{
    return scoring->rules == NULL || scoring->rules->price_ceiling <= 0 || apply_ceiling(scoring, view, st);
}

/* ---- what is boosted, what is promoted */

/* the rows that qualify, and the one that is asked about, which has its boost wherever it ends */
static const uint64_t *with_traced(const struct scoring *scoring, struct arena *arena)
{
    const struct snapshot_view *view = scoring->view;
    if (scoring->traced == SNAPSHOT_ROW_NONE)
        return view->alive;
    uint64_t *among = arena_alloc(arena, word_count(view) * sizeof *among);
    if (among == NULL)
        return NULL;
    memcpy(among, view->alive, word_count(view) * sizeof *among);
    among[scoring->traced / 64] |= (uint64_t)1 << scoring->traced % 64;
    return among;
}

static bool add_boosts(struct scoring *scoring, uint64_t *bits, struct status *st)
{
    const struct snapshot_view *view = scoring->view;
    const struct rules *rules = scoring->rules;
    struct arena *arena = &scoring->worker->arena;
    float *boost = arena_floats(arena, view->row_count + 1);
    char where[48];
    if (boost == NULL)
        return out_of_memory(st);
    memset(boost, 0, (view->row_count + 1) * sizeof *boost);
    const uint64_t *among = with_traced(scoring, arena);
    if (among == NULL)
        return out_of_memory(st);
    for (size_t b = 0; b < rules->boost_count; b++) {
        snprintf(where, sizeof where, "boost[%zu].when", b);
        if (!conditions_all(view, rules->boosts[b].when, rules->boosts[b].when_count, where, among, bits, arena, st))
            return false;
        for (size_t i = 0; i < word_count(view); i++)
            for (uint64_t word = bits[i]; word != 0; word &= word - 1)
                boost[i * 64 + (size_t)__builtin_ctzll(word)] += rules->boosts[b].add;
    }
    scoring->boost = boost;
    return true;
}

bool engine_rules_prepare(struct scoring *scoring, struct status *st)
{
    const struct snapshot_view *view = scoring->view;
    const struct rules *rules = scoring->rules;
    struct arena *arena = &scoring->worker->arena;
    char where[48];
    if (rules == NULL || (rules->boost_count == 0 && rules->promotion_count == 0))
        return true;
    uint64_t *bits = arena_alloc(arena, word_count(view) * sizeof *bits);
    if (bits == NULL)
        return out_of_memory(st);
    if (rules->boost_count > 0 && !add_boosts(scoring, bits, st))
        return false;
    for (size_t p = 0; p < rules->promotion_count; p++) {
        snprintf(where, sizeof where, "promotions[%zu].when", p);
        uint64_t *promoted = arena_alloc(arena, word_count(view) * sizeof *promoted);
        if (promoted == NULL)
            return out_of_memory(st);
        if (!conditions_all(view, rules->promotions[p].when, rules->promotions[p].when_count, where, view->alive,
                            promoted, arena, st))
            return false;
        scoring->promoted[p] = promoted;
    }
    return true;
}

bool engine_rules_boosts_of(const struct scoring *scoring, const struct ranked *rows, size_t count, uint32_t **applied,
                            struct status *st)
{
    _Static_assert(RULES_BOOSTS_MAX <= 32, "a bit each");
    const struct snapshot_view *view = scoring->view;
    const struct rules *rules = scoring->rules;
    struct arena *arena = &scoring->worker->arena;
    *applied = arena_zeroed(arena, count + 1, sizeof **applied);
    if (*applied == NULL)
        return out_of_memory(st);
    if (rules == NULL || rules->boost_count == 0)
        return true;
    uint64_t *within = arena_zeroed(arena, word_count(view), sizeof *within);
    uint64_t *bits = arena_zeroed(arena, word_count(view), sizeof *bits);
    if (within == NULL || bits == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < count; i++)
        within[rows[i].row / 64] |= (uint64_t)1 << rows[i].row % 64;
    for (size_t b = 0; b < rules->boost_count; b++) {
        if (!conditions_all(view, rules->boosts[b].when, rules->boosts[b].when_count, "boost", within, bits, arena, st))
            return false;
        for (size_t i = 0; i < count; i++)
            (*applied)[i] |= (uint32_t)(bits[rows[i].row / 64] >> rows[i].row % 64 & 1) << b;
    }
    return true;
}
