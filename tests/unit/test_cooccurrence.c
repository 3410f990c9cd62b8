/* SPDX-License-Identifier: Apache-2.0
 *
 * The co-occurrence term against its formula, item by item in double. */
#include "models/cooccurrence.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define NOW_MS ((int64_t)1700000000000)

/* Counts of items 0 .. `items` - 1 of random users. */
static struct counts_view *draw_counts(uint32_t items, uint64_t seed)
{
    struct random rng;
    struct counts *counts = counts_new();
    struct counts_event events[15];
    random_init(&rng, seed);
    for (int user = 0; user < 100; user++) {
        for (int i = 0; i < 15; i++)
            events[i] = (struct counts_event){(uint32_t)random_below(&rng, items), NOW_MS + i};
        cr_assert(counts_user(counts, events, 15, 1));
    }
    struct counts_view *view = counts_publish(counts, 1);
    cr_assert_not_null(view);
    counts_free(counts);
    return view;
}

static struct cooccurrence_event *draw_events(size_t count, uint32_t items, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    struct cooccurrence_event *events = random_model_alloc(count, sizeof *events);
    for (size_t i = 0; i < count; i++)
        events[i] = (struct cooccurrence_event){(uint32_t)random_below(&rng, items), random_normal(&rng)};
    return events;
}

/* log(1 + P / ε) of one entry of a row, 0 where the candidate is not in it */
static double naive_entry(const struct counts_entry *row, size_t entries, uint32_t candidate, double epsilon)
{
    for (size_t i = 0; i < entries; i++)
        if (row[i].item_id == candidate)
            return log1p(row[i].probability / epsilon);
    return 0;
}

/* w · Σ_l decay^age · value_l · (log(1 + P[i_l → c] / ε) + ρ · log(1 + P'[c → i_l] / ε)); `magnitude` without signs */
static double naive_term(const struct counts_view *counts, const struct cooccurrence_event *events, size_t count,
                         struct cooccurrence_scalars s, uint32_t candidate, double *magnitude)
{
    double sum = 0;
    *magnitude = 0;
    for (size_t age = 0; age < count; age++) {
        size_t after, before;
        const struct counts_entry *followed = counts_row(counts, events[age].item_id, &after);
        const struct counts_entry *preceded = counts_row_before(counts, events[age].item_id, &before);
        double factor = s.weight * pow(s.decay, (double)age) * events[age].value;
        double forward = factor * naive_entry(followed, after, candidate, s.epsilon);
        double backward = factor * s.reverse * naive_entry(preceded, before, candidate, s.epsilon);
        sum += forward + backward;
        *magnitude += fabs(forward) + fabs(backward);
    }
    return sum;
}

/* `left_out`: of the magnitude that all events could have, what the negligible ones may be missing */
static void check(struct cooccurrence *c, const struct counts_view *counts, const struct cooccurrence_event *events,
                  size_t count, struct cooccurrence_scalars scalars, double left_out)
{
    cr_assert(cooccurrence_compute(c, counts, events, count, scalars));
    for (uint32_t i = 0; i < counts->item_capacity + 5; i++) {
        double magnitude, wanted = naive_term(counts, events, count, scalars, i, &magnitude);
        cr_assert_leq(fabs(cooccurrence_term(c, i) - wanted), 1e-5 * magnitude + left_out, "item %u: %.8g, wanted %.8g",
                      i, (double)cooccurrence_term(c, i), wanted);
    }
}

Test(cooccurrence, agrees_with_the_formula)
{
    static const struct {
        size_t count;
        struct cooccurrence_scalars scalars;
    } cases[] = {
        {0, {1, .5f, .1f, .8f}},      {1, {1, .5f, .1f, .8f}}, {25, {1, 0, .1f, .8f}},
        {10, {1.4f, -.5f, .3f, .6f}}, {200, {.7f, 1, .1f, 1}}, {25, {-2, 2, .1f, .8f}},
        {5, {1, .5f, .001f, .5f}},    {30, {0, 1, .1f, .8f}},  {3, {1, .5f, .1f, 0}},
    };
    struct cooccurrence c = {0};
    struct counts_view *counts = draw_counts(50, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cooccurrence_event *events = draw_events(cases[i].count, 50, i);
        check(&c, counts, events, cases[i].count, cases[i].scalars, 0);
        free(events);
    }
    cooccurrence_close(&c);
    counts_view_release(counts);
}

/* Events decayed below .003 of the newest may be left out: all of them together are .003 / (1 - decay) of an event
 * at most. */
Test(cooccurrence, what_is_left_out_of_a_long_history_is_negligible)
{
    struct cooccurrence c = {0};
    struct counts_view *counts = draw_counts(50, 2);
    struct cooccurrence_event *events = draw_events(1000, 50, 2);
    for (size_t i = 0; i < 1000; i++)
        events[i].value = 1;
    check(&c, counts, events, 1000, (struct cooccurrence_scalars){1, 1, .1f, .8f}, 2 * .003 / (1 - .8) * log1p(1 / .1));
    free(events);
    cooccurrence_close(&c);
    counts_view_release(counts);
}

Test(cooccurrence, the_newest_says_most)
{
    const struct counts_event log[] = {{1, NOW_MS}, {2, NOW_MS}};
    const struct cooccurrence_event newest_first[] = {{1, 1}, {9, 1}}, oldest_first[] = {{9, 1}, {1, 1}};
    const struct cooccurrence_scalars scalars = {1, .5f, .1f, .5f};
    struct counts *counts = counts_new();
    struct cooccurrence c = {0};
    cr_assert(counts_user(counts, log, 2, 1));
    struct counts_view *view = counts_publish(counts, 1);
    double wanted = log1p(1. / 6 / .1); /* one transition of weight 1: P = 1 / (1 + 5) */
    cr_assert(cooccurrence_compute(&c, view, newest_first, 2, scalars));
    cr_assert_float_eq(cooccurrence_term(&c, 2), wanted, 1e-6);
    cr_assert(cooccurrence_compute(&c, view, oldest_first, 2, scalars));
    cr_assert_float_eq(cooccurrence_term(&c, 2), wanted / 2, 1e-6);
    cr_assert_eq(cooccurrence_term(&c, 1), 0, "an item is not its own follower");
    cooccurrence_close(&c);
    counts_view_release(view);
    counts_free(counts);
}

Test(cooccurrence, what_came_before_counts_for_less)
{
    const struct counts_event log[] = {{1, NOW_MS}, {2, NOW_MS}, {3, NOW_MS}};
    const struct cooccurrence_event event = {2, 1};
    struct counts *counts = counts_new();
    struct cooccurrence c = {0};
    cr_assert(counts_user(counts, log, 3, 1));
    struct counts_view *view = counts_publish(counts, 1);
    double each =
        log1p(1. / 6 / .1); /* 2 is followed by 3 once and by nothing else; before it was 1 and nothing else */
    cr_assert(cooccurrence_compute(&c, view, &event, 1, (struct cooccurrence_scalars){1, .25f, .1f, .5f}));
    cr_assert_float_eq(cooccurrence_term(&c, 3), each, 1e-6);
    cr_assert_float_eq(cooccurrence_term(&c, 1), .25 * each, 1e-6);
    cr_assert(cooccurrence_compute(&c, view, &event, 1, (struct cooccurrence_scalars){1, 0, .1f, .5f}));
    cr_assert(cooccurrence_term(&c, 1) == 0 && c.touched_count == 1, "one way only: 1 is not even touched");
    cooccurrence_close(&c);
    counts_view_release(view);
    counts_free(counts);
}

/* `touched` lists each item with a term once. */
static void check_touched(const struct cooccurrence *c)
{
    bool *listed = random_model_alloc(c->capacity, sizeof *listed);
    for (size_t i = 0; i < c->touched_count; i++) {
        cr_assert_lt(c->touched[i], c->capacity);
        cr_assert_not(listed[c->touched[i]], "item %u is listed twice", c->touched[i]);
        listed[c->touched[i]] = true;
    }
    for (size_t i = 0; i < c->capacity; i++)
        cr_assert(listed[i] || c->term[i] == 0, "item %zu has a term and is not listed", i);
    free(listed);
}

Test(cooccurrence, one_struct_serves_requests_of_any_size)
{
    static const uint32_t items[] = {10, 300, 20, 300, 5};
    struct cooccurrence c = {0};
    for (size_t i = 0; i < 5; i++) {
        struct counts_view *counts = draw_counts(items[i], i);
        struct cooccurrence_event *events = draw_events(8, items[i] + 3, i); /* some items are unknown */
        check(&c, counts, events, 8, (struct cooccurrence_scalars){1, .5f, .1f, .9f}, 0);
        check_touched(&c);
        cr_assert_gt(c.touched_count, 0);
        free(events);
        counts_view_release(counts);
    }
    size_t touched = c.touched_count;
    cooccurrence_reset(&c);
    cr_assert(touched > 0 && c.touched_count == 0);
    for (size_t i = 0; i < c.capacity; i++)
        cr_assert_eq(c.term[i], 0);
    cooccurrence_close(&c);
    cr_assert(c.term == NULL && c.touched == NULL && c.is_touched == NULL && c.capacity == 0);
    cooccurrence_close(&c);
    cr_assert_eq(cooccurrence_term(&c, 3), 0, "closed, nothing has a term");
}

Test(cooccurrence, no_counts_no_terms)
{
    struct counts *counts = counts_new();
    struct counts_view *view = counts_publish(counts, 0);
    struct cooccurrence c = {0};
    const struct cooccurrence_event events[] = {{0, 1}, {UINT32_MAX, 1}};
    cr_assert(cooccurrence_compute(&c, view, events, 2, (struct cooccurrence_scalars){1, .5f, .1f, .8f}));
    cr_assert_eq(c.touched_count, 0);
    cr_assert(cooccurrence_term(&c, 0) == 0 && cooccurrence_term(&c, UINT32_MAX) == 0);
    cooccurrence_close(&c);
    counts_view_release(view);
    counts_free(counts);
}
