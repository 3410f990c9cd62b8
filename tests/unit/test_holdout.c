/* SPDX-License-Identifier: Apache-2.0
 *
 * What is trained on and what is asked for, by hand, and that nothing of what is asked for gets into the counts. */
#include "models/holdout.h"

#include "models/random.h"

#include "tests/support/counts_lookup.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { ITEMS = 6 };

/* Three users: a b c d, b c, f e d c b */
static const struct evaluation_event few_events[] = {
    {0, 10, 0, 1}, {1, 20, 0, 1}, {2, 30, 0, 1}, {3, 40, 0, 1},               /* a b c d */
    {1, 10, 0, 1}, {2, 20, 0, 1},                                             /* b c */
    {5, 1, 0, 1},  {4, 2, 0, 1},  {3, 3, 0, 1},  {2, 4, 0, 1},  {1, 5, 0, 1}, /* f e d c b */
};
static const size_t few_starts[] = {0, 4, 6, 11};
static const struct evaluation_data few = {ITEMS, 3, few_events, few_starts};

static struct holdout cut(const struct evaluation_data *data, enum holdout_kind kind)
{
    struct holdout holdout;
    struct status st = STATUS_INIT;
    cr_assert(holdout_cut(&holdout, data, kind, 0, NULL, &st), "%s", st.message);
    cr_assert_eq(holdout.kind, kind);
    cr_assert_null(holdout.is_cold);
    return holdout;
}

static void assert_training(const struct holdout *holdout, const char *wanted)
{
    size_t count = 0;
    for (size_t i = 0; wanted[i] != '\0'; i++) {
        cr_assert_eq(holdout->in_training[i], wanted[i] == 'x', "event %zu of %s", i, wanted);
        count += wanted[i] == 'x';
    }
    cr_assert_eq(holdout->training_count, count);
}

static void assert_queries(const struct holdout_query *queries, size_t count, const struct holdout_query *wanted,
                           size_t wanted_count)
{
    cr_assert_eq(count, wanted_count, "%zu queries, not %zu", count, wanted_count);
    for (size_t i = 0; i < count; i++)
        cr_assert(queries[i].user == wanted[i].user && queries[i].at == wanted[i].at, "query %zu: event %u of user %u",
                  i, queries[i].at, queries[i].user);
}

Test(holdout, leave_one_out_asks_for_the_last_and_the_one_before)
{
    struct holdout holdout = cut(&few, HOLDOUT_LEAVE_ONE_OUT);
    assert_training(&holdout, "xx....xxx..");
    assert_queries(holdout.test, holdout.test_count, (const struct holdout_query[]){{0, 3}, {2, 4}}, 2);
    assert_queries(holdout.validation, holdout.validation_count, (const struct holdout_query[]){{0, 2}, {2, 3}}, 2);
    holdout_close(&holdout);
    cr_assert(holdout.in_training == NULL && holdout.test == NULL && holdout.validation == NULL);
}

Test(holdout, leave_one_out_counts)
{
    struct holdout holdout = cut(&few, HOLDOUT_LEAVE_ONE_OUT);
    struct counts_view *counts = holdout_counts(&holdout, &few);
    cr_assert_not_null(counts);
    static const uint32_t wanted[ITEMS] = {1, 1, 0, 1, 1, 1}; /* a b, nothing, f e d */
    for (uint32_t i = 0; i < ITEMS; i++)
        cr_assert_eq(counts_popularity(counts, i), wanted[i], "item %u", i);
    cr_assert_float_eq(counts_lookup(counts, 0, 1), 1. / 6, 1e-6);
    cr_assert_float_eq(counts_lookup(counts, 5, 4), 1 / 6.5, 1e-6);
    cr_assert_float_eq(counts_lookup(counts, 5, 3), .5 / 6.5, 1e-6);
    cr_assert_eq(counts_lookup(counts, 1, 2), 0);
    counts_view_release(counts);
    holdout_close(&holdout);
}

/* What weighs nothing is neither counted nor asked for; it takes its place in the history all the same. */
Test(holdout, what_weighs_nothing)
{
    static const struct evaluation_event events[] = {{0, 1, 0, 1},   {1, 2, 1, 0}, {2, 3, 2, -1},
                                                     {3, 4, 0, .5f}, {4, 5, 0, 1}, {5, 6, 0, 1},
                                                     {0, 1, 0, 1},   {1, 2, 0, 1}, {2, 3, 1, 0}};
    static const size_t starts[] = {0, 6, 9};
    const struct evaluation_data data = {ITEMS, 2, events, starts};
    struct holdout holdout = cut(&data, HOLDOUT_LEAVE_ONE_OUT);
    assert_queries(holdout.test, holdout.test_count, (const struct holdout_query[]){{0, 5}}, 1);
    assert_queries(holdout.validation, holdout.validation_count, (const struct holdout_query[]){{0, 4}, {1, 1}}, 2);
    struct counts_view *counts = holdout_counts(&holdout, &data);
    cr_assert_eq(counts->event_count, 3);
    cr_assert_float_eq(counts_lookup(counts, 0, 3), 1. / 6, 1e-6, "they are neighbours without what is between them");
    counts_view_release(counts);
    holdout_close(&holdout);
}

Test(holdout, none_asks_for_the_last_of_who_has_two)
{
    static const struct evaluation_event events[] = {{0, 1, 0, 1}, {1, 2, 0, 1}, {2, 3, 0, 1}, {3, 1, 0, 1}};
    static const size_t starts[] = {0, 3, 3, 4};
    const struct evaluation_data data = {ITEMS, 3, events, starts};
    struct holdout holdout = cut(&data, HOLDOUT_NONE);
    assert_training(&holdout, "xx.x");
    assert_queries(holdout.validation, holdout.validation_count, (const struct holdout_query[]){{0, 2}}, 1);
    cr_assert_eq(holdout.test_count, 0);
    holdout_close(&holdout);
}

/* Ten events at 0, 10, ... 90, dealt to two users: the cuts are the values at 8 and 9, and belong to what comes after. */
Test(holdout, time_cuts_the_log)
{
    struct evaluation_event events[10];
    for (size_t i = 0; i < 10; i++) /* user 0: 0 20 40 60 80, user 1: 10 30 50 70 90 */
        events[i] =
            (struct evaluation_event){(uint32_t)(i % ITEMS), (int64_t)(i < 5 ? 20 * i : 20 * (i - 5) + 10), 0, 1};
    static const size_t starts[] = {0, 5, 10};
    const struct evaluation_data data = {ITEMS, 2, events, starts};
    struct holdout holdout = cut(&data, HOLDOUT_TIME);
    cr_assert_eq(holdout.cut_ms[0], 80);
    cr_assert_eq(holdout.cut_ms[1], 90);
    assert_training(&holdout, "xxxx.xxxx.");
    assert_queries(holdout.validation, holdout.validation_count, (const struct holdout_query[]){{0, 4}}, 1);
    assert_queries(holdout.test, holdout.test_count, (const struct holdout_query[]){{1, 4}}, 1);
    holdout_close(&holdout);
}

Test(holdout, time_asks_for_every_event_after_the_cut)
{
    struct evaluation_event events[20];
    for (size_t i = 0; i < 20; i++)
        events[i] =
            (struct evaluation_event){(uint32_t)(i % ITEMS), (int64_t)(i < 15 ? i : 100 + i), 0, i == 17 ? 0.0f : 1.0f};
    static const size_t starts[] = {0, 15, 20}; /* the second comes late */
    const struct evaluation_data data = {ITEMS, 2, events, starts};
    struct holdout holdout = cut(&data, HOLDOUT_TIME); /* times at 16 and 18 of 20: 116, 118 */
    cr_assert_eq(holdout.cut_ms[0], 116);
    cr_assert_eq(holdout.cut_ms[1], 118);
    assert_training(&holdout, "xxxxxxxxxxxxxxxx....");
    assert_queries(holdout.validation, holdout.validation_count, (const struct holdout_query[]){{1, 1}}, 1);
    assert_queries(holdout.test, holdout.test_count, (const struct holdout_query[]){{1, 3}, {1, 4}}, 2);
    holdout_close(&holdout);
}

Test(holdout, nothing_to_cut)
{
    static const size_t starts[] = {0, 0};
    const struct evaluation_data data = {ITEMS, 1, few_events, starts};
    for (int kind = HOLDOUT_LEAVE_ONE_OUT; kind <= HOLDOUT_NONE; kind++) {
        struct holdout holdout = cut(&data, (enum holdout_kind)kind);
        cr_assert(holdout.training_count == 0 && holdout.validation_count == 0 && holdout.test_count == 0);
        struct counts_view *counts = holdout_counts(&holdout, &data);
        cr_assert_eq(counts->event_count, 0);
        counts_view_release(counts);
        holdout_close(&holdout);
    }
}

/* ---- cold items */

struct shop {
    struct evaluation_event *events;
    size_t *starts;
    char (*text)[32];
    const char **names;
    struct evaluation_data data;
};

static void shop_init(struct shop *shop, size_t users, size_t items)
{
    struct random rng;
    random_init(&rng, 3);
    shop->events = calloc(users * 12, sizeof *shop->events);
    shop->starts = calloc(users + 1, sizeof *shop->starts);
    shop->text = calloc(items, sizeof *shop->text);
    shop->names = calloc(items, sizeof *shop->names);
    cr_assert(shop->events != NULL && shop->starts != NULL && shop->text != NULL && shop->names != NULL);
    for (size_t i = 0; i < items; i++) {
        snprintf(shop->text[i], sizeof shop->text[i], "item-%zu", i);
        shop->names[i] = shop->text[i];
    }
    for (size_t u = 0; u < users; u++) {
        size_t count = (size_t)random_below(&rng, 13);
        shop->starts[u + 1] = shop->starts[u] + count;
        for (size_t i = 0; i < count; i++)
            shop->events[shop->starts[u] + i] =
                (struct evaluation_event){(uint32_t)random_below(&rng, items), (int64_t)(u * 100 + i), 0, 1};
    }
    shop->data = (struct evaluation_data){items, users, shop->events, shop->starts};
}

static void shop_close(struct shop *shop)
{
    free(shop->events);
    free(shop->starts);
    free(shop->text);
    free(shop->names);
}

Test(holdout, cold_items_have_nothing_to_learn_from)
{
    enum { MANY = 2000 };
    struct shop shop;
    shop_init(&shop, 800, MANY);
    struct holdout plain = cut(&shop.data, HOLDOUT_LEAVE_ONE_OUT), holdout;
    cr_assert(holdout_cut(&holdout, &shop.data, HOLDOUT_LEAVE_ONE_OUT, .05, shop.names, NULL));
    size_t cold = 0, kept = 0;
    for (size_t i = 0; i < MANY; i++)
        cold += holdout.is_cold[i];
    cr_assert(cold > 60 && cold < 140, "5 %% of 2,000 would be 100: %zu", cold);
    for (size_t i = 0; i < shop.starts[800]; i++) {
        bool wanted = plain.in_training[i] && !holdout.is_cold[shop.events[i].item];
        cr_assert_eq(holdout.in_training[i], wanted, "event %zu", i);
        kept += wanted;
    }
    cr_assert(holdout.training_count == kept && kept < plain.training_count);
    assert_queries(holdout.test, holdout.test_count, plain.test, plain.test_count);
    struct counts_view *counts = holdout_counts(&holdout, &shop.data);
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert(!holdout.is_cold[i] || counts_popularity(counts, i) == 0, "item %u", i);
    counts_view_release(counts);
    holdout_close(&plain);
    holdout_close(&holdout);
    shop_close(&shop);
}

/* A name is cold or not whatever else there is, and a larger share has all of a smaller one. */
Test(holdout, cold_by_name)
{
    enum { MANY = 1000 };
    struct shop shop;
    shop_init(&shop, 10, MANY);
    struct holdout small, large, all, reversed;
    const char *backwards[MANY];
    for (size_t i = 0; i < MANY; i++)
        backwards[i] = shop.names[MANY - 1 - i];
    cr_assert(holdout_cut(&small, &shop.data, HOLDOUT_TIME, .1, shop.names, NULL));
    cr_assert(holdout_cut(&large, &shop.data, HOLDOUT_TIME, .3, shop.names, NULL));
    cr_assert(holdout_cut(&all, &shop.data, HOLDOUT_TIME, 1, shop.names, NULL));
    cr_assert(holdout_cut(&reversed, &shop.data, HOLDOUT_TIME, .1, backwards, NULL));
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(small.is_cold[i], reversed.is_cold[MANY - 1 - i]);
        cr_assert(!small.is_cold[i] || large.is_cold[i]);
        cr_assert(all.is_cold[i]);
    }
    cr_assert_eq(all.training_count, 0);
    holdout_close(&small);
    holdout_close(&large);
    holdout_close(&all);
    holdout_close(&reversed);
    shop_close(&shop);
}

Test(holdout, names)
{
    for (int kind = HOLDOUT_LEAVE_ONE_OUT; kind <= HOLDOUT_NONE; kind++) {
        enum holdout_kind back;
        cr_assert(holdout_parse(holdout_name((enum holdout_kind)kind), &back));
        cr_assert_eq((int)back, kind);
    }
    enum holdout_kind untouched = HOLDOUT_TIME;
    cr_assert_not(holdout_parse("leave-two-out", &untouched));
    cr_assert_not(holdout_parse("", &untouched));
    cr_assert_eq(untouched, HOLDOUT_TIME);
}
