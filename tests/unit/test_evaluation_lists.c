/* SPDX-License-Identifier: Apache-2.0
 *
 * Coverage, Gini, novelty and diversity of lists that are small enough to be counted by hand. */
#include "models/evaluation_lists.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { ITEMS = 5 };

#define NONE EVALUATION_NO_ITEM

static struct evaluation_result lists(uint32_t (*list)[EVALUATION_LIST], size_t count)
{
    return (struct evaluation_result){count, NULL, *list};
}

/* two lists of two, and what follows in them is not there */
static void two_lists(uint32_t list[2][EVALUATION_LIST], uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    for (size_t i = 0; i < EVALUATION_LIST; i++)
        list[0][i] = list[1][i] = NONE;
    list[0][0] = a;
    list[0][1] = b;
    list[1][0] = c;
    list[1][1] = d;
}

Test(evaluation_lists, coverage_and_gini)
{
    uint32_t users[ITEMS] = {1, 1, 1, 1, 1};
    const struct evaluation_items items = {.item_count = ITEMS, .users = users, .users_total = 1};
    static const struct {
        uint32_t item[4];
        double coverage, gini;
    } cases[] = {
        {{0, 1, 2, 3}, .8, .2},       /* 0 1 1 1 1: (-4·0 - 2 + 0 + 2 + 4) / (5 · 4) */
        {{0, 1, 0, 1}, .4, .6},       /* 0 0 0 2 2: (2·2 + 4·2) / (5 · 4) */
        {{0, 1, NONE, NONE}, .4, .6}, /* 0 0 0 1 1 */
        {{NONE, NONE, NONE, NONE}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t list[2][EVALUATION_LIST];
        struct evaluation_lists out;
        two_lists(list, cases[i].item[0], cases[i].item[1], cases[i].item[2], cases[i].item[3]);
        struct evaluation_result result = lists(list, 2);
        cr_assert(evaluation_lists_compute(&result, 10, &items, &out));
        cr_assert_float_eq(out.coverage, cases[i].coverage, 1e-9, "case %zu: coverage %g", i, out.coverage);
        cr_assert_float_eq(out.gini, cases[i].gini, 1e-9, "case %zu: gini %g", i, out.gini);
        cr_assert(evaluation_lists_compute(&result, 1, &items, &out));
        cr_assert(out.coverage <= .4, "only the first of each");
    }
}

/* -log2 of the share of users who know an item; one that nobody knows counts as known to one */
Test(evaluation_lists, novelty)
{
    uint32_t users[ITEMS] = {8, 4, 1, 0, 2}, list[2][EVALUATION_LIST];
    const struct evaluation_items items = {.item_count = ITEMS, .users = users, .users_total = 8};
    struct evaluation_lists out;
    two_lists(list, 0, 1, 2, 3);
    struct evaluation_result result = lists(list, 2);
    cr_assert(evaluation_lists_compute(&result, 10, &items, &out));
    cr_assert_float_eq(out.novelty, (0 + 1 + 3 + 3) / 4., 1e-9, "%g", out.novelty);
    cr_assert_eq(out.diversity, 0, "no modality, nothing to be told");
}

Test(evaluation_lists, diversity)
{
    static const float text[ITEMS][2] = {{1, 0}, {0, 1}, {.6f, .8f}, {0, 0}, {-1, 0}}; /* item 3 has no text */
    static const float image[ITEMS][1] = {{1}, {1}, {0}, {0}, {0}};
    uint32_t users[ITEMS] = {0}, list[2][EVALUATION_LIST];
    struct evaluation_items items = {.item_count = ITEMS, .users = users, .users_total = 1, .modality_count = 1};
    struct evaluation_lists out;
    items.modality[0].rows = text[0];
    items.modality[0].dimension = 2;
    for (size_t i = 0; i < EVALUATION_LIST; i++)
        list[0][i] = i < 4 ? (uint32_t)i : NONE;
    struct evaluation_result result = lists(list, 1);
    cr_assert(evaluation_lists_compute(&result, 10, &items, &out));
    cr_assert_float_eq(out.diversity, 1 - (0 + .6 + .8) / 3, 1e-6, "three pairs of those that have text: %g",
                       out.diversity);
    items.modality_count = 2;
    items.modality[1].rows = image[0];
    items.modality[1].dimension = 1;
    cr_assert(evaluation_lists_compute(&result, 10, &items, &out));
    cr_assert_float_eq(out.diversity, (1 - 1.4 / 3 + 0) / 2, 1e-6, "the mean with one pair of equal images: %g",
                       out.diversity);
    two_lists(list, 0, 4, 3, 0);
    result.count = 2;
    cr_assert(evaluation_lists_compute(&result, 10, &items, &out));
    cr_assert_float_eq(out.diversity, 2, 1e-6, "opposite texts; the second list has no pair: %g", out.diversity);
}

Test(evaluation_lists, users_of_items)
{
    /* user 0: a a b; user 1: b, then c which is held out; user 2: a dislike of d */
    static const struct evaluation_event events[] = {{0, 1, 0, 1}, {0, 2, 0, 1}, {1, 3, 0, 1},
                                                     {1, 1, 0, 1}, {2, 2, 0, 1}, {3, 1, 0, -1}};
    static const size_t starts[] = {0, 3, 5, 6};
    static const bool in_training[] = {true, true, true, true, false, true};
    const struct evaluation_data data = {ITEMS, 3, events, starts};
    struct evaluation_items items;
    cr_assert(evaluation_items_init(&items, &data, in_training));
    cr_assert(items.users[0] == 1 && items.users[1] == 2 && items.users[2] == 0 && items.users[3] == 0);
    cr_assert_eq(items.users_total, 2);
    cr_assert_eq(items.item_count, ITEMS);
    evaluation_items_close(&items);
    cr_assert_null(items.users);
}
