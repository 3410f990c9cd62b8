/* SPDX-License-Identifier: Apache-2.0
 *
 * Team-draft interleaving against its rules, place by place, and its coins against chance. */
#include "models/interleave.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { UNIVERSE = 30, SEEDS = 4000 };

struct list {
    uint32_t items[UNIVERSE];
    size_t count;
};

/* `out` and `team` have exactly the promised size, so that AddressSanitizer sees a write past them. */
struct draft {
    uint32_t *out;
    uint8_t *team;
    size_t count;
};

static struct draft draft(const struct list *a, const struct list *b, size_t n, uint64_t seed)
{
    size_t room = n < a->count + b->count ? n : a->count + b->count;
    struct draft made = {.out = malloc(room * sizeof(uint32_t) + (room == 0)), .team = malloc(room + (room == 0))};
    cr_assert(made.out != NULL && made.team != NULL);
    made.count = interleave_team_draft(a->items, a->count, b->items, b->count, n, seed, made.out, made.team);
    cr_assert_leq(made.count, room);
    return made;
}

static void draft_free(struct draft *made)
{
    free(made->out);
    free(made->team);
}

/* first, first + step, ... */
static struct list series(uint32_t first, int step, size_t count)
{
    struct list list = {.count = count};
    for (size_t i = 0; i < count; i++)
        list.items[i] = (uint32_t)((int)first + step * (int)i);
    return list;
}

/* The first item of a list that is not among the first `place` of `out`; NULL: there is none. */
static const uint32_t *best_left(const struct list *list, const uint32_t *out, size_t place)
{
    for (size_t i = 0; i < list->count; i++) {
        bool taken = false;
        for (size_t k = 0; k < place; k++)
            taken = taken || out[k] == list->items[i];
        if (!taken)
            return &list->items[i];
    }
    return NULL;
}

/* Each place has the best item that was left to its team, and none picks twice in a round while the other can pick. */
static void check_rules(const struct list *a, const struct list *b, const struct draft *made, size_t n)
{
    const struct list *lists[] = {a, b};
    int awaited = -1; /* who has not picked in this round yet; -1: a round begins */
    for (size_t place = 0; place < made->count; place++) {
        int team = made->team[place];
        cr_assert(team == 0 || team == 1);
        const uint32_t *best = best_left(lists[team], made->out, place);
        cr_assert_not_null(best, "place %zu", place);
        cr_assert_eq(made->out[place], *best, "place %zu: %u, not %u", place, made->out[place], *best);
        if (awaited >= 0 && best_left(lists[awaited], made->out, place) != NULL) {
            cr_assert_eq(team, awaited, "place %zu", place);
            awaited = -1;
        } else {
            awaited = 1 - team;
        }
    }
    cr_assert(made->count == n ||
                  (best_left(a, made->out, made->count) == NULL && best_left(b, made->out, made->count) == NULL),
              "%zu of %zu places, and items are left", made->count, n);
}

static void check_different(const struct draft *made)
{
    for (size_t i = 0; i < made->count; i++)
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(made->out[i], made->out[k], "item %u at %zu and %zu", made->out[i], k, i);
}

/* half of SEEDS, within 4 standard deviations */
static void check_half(int times, const char *what)
{
    cr_assert(fabs(times - SEEDS / 2.0) < 4 * sqrt(SEEDS / 4.0), "%s: %d of %d", what, times, SEEDS);
}

/* Lists of every length that share some, all or nothing, and any n. */
Test(interleave, holds_to_its_rules)
{
    struct random rng;
    random_init(&rng, 41);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct list a = series(0, 1, UNIVERSE), b = series((uint32_t)random_below(&rng, UNIVERSE), 1, UNIVERSE);
        random_shuffle(&rng, a.items, UNIVERSE);
        random_shuffle(&rng, b.items, UNIVERSE);
        a.count = (size_t)random_below(&rng, UNIVERSE + 1);
        b.count = (size_t)random_below(&rng, UNIVERSE + 1);
        size_t n = (size_t)random_below(&rng, 2 * UNIVERSE + 5);
        struct draft made = draft(&a, &b, n, seed);
        check_different(&made);
        check_rules(&a, &b, &made, n);
        draft_free(&made);
    }
}

Test(interleave, no_item_comes_twice_even_of_one_list)
{
    struct list a = {.items = {7, 7, 8, 7, 9}, .count = 5}, b = {.items = {8, 8, 9, 9}, .count = 4};
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct draft made = draft(&a, &b, 9, seed);
        cr_assert_eq(made.count, 3);
        check_different(&made);
        check_rules(&a, &b, &made, 9);
        draft_free(&made);
    }
}

/* Who is first in a round, and who is first in the next, is a coin; and so who has one item more of an odd number. */
Test(interleave, is_fair)
{
    struct list a = series(0, 1, 10), b = series(10, 1, 10);
    int first = 0, second = 0, alike = 0, majority = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct draft made = draft(&a, &b, 5, seed);
        cr_assert_eq(made.count, 5);
        cr_assert_eq(made.team[0] + made.team[1], 1);
        cr_assert_eq(made.team[2] + made.team[3], 1);
        first += made.team[0];
        second += made.team[2];
        alike += made.team[0] == made.team[2];
        majority += made.team[4];
        draft_free(&made);
    }
    check_half(first, "b is first");
    check_half(second, "b is first in the second round");
    check_half(alike, "the same is first in both");
    check_half(majority, "b has three of five");
}

/* Also where they want the same items: as many are of each team, and the one that both want first is of either. */
Test(interleave, is_fair_to_lists_that_share_items)
{
    struct list a = series(1, 1, 10), b = series(10, -1, 10);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct draft made = draft(&a, &b, 6, seed);
        int of_b = 0;
        for (size_t i = 0; i < made.count; i++)
            of_b += made.team[i];
        cr_assert_eq(made.count, 6);
        cr_assert_eq(of_b, 3);
        draft_free(&made);
    }
    struct list same = series(1, 1, 1);
    int of_b = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct draft made = draft(&same, &same, 3, seed);
        cr_assert_eq(made.count, 1);
        of_b += made.team[0];
        draft_free(&made);
    }
    check_half(of_b, "the only item is of b");
}

Test(interleave, equal_lists_stay_as_they_are)
{
    struct list a = series(5, 1, 20);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct draft made = draft(&a, &a, 20, seed);
        int of_b = 0;
        cr_assert_eq(made.count, 20);
        cr_assert_eq(memcmp(made.out, a.items, 20 * sizeof *made.out), 0);
        for (size_t i = 0; i < made.count; i++)
            of_b += made.team[i];
        cr_assert_eq(of_b, 10);
        draft_free(&made);
    }
}

Test(interleave, a_shorter_list_is_the_beginning_of_a_longer_one)
{
    struct list a = series(0, 1, 20), b = series(25, -1, 20);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct draft whole = draft(&a, &b, 26, seed);
        cr_assert_eq(whole.count, 26);
        for (size_t n = 0; n < 26; n++) {
            struct draft made = draft(&a, &b, n, seed);
            cr_assert_eq(made.count, n);
            for (size_t i = 0; i < n; i++)
                cr_assert(made.out[i] == whole.out[i] && made.team[i] == whole.team[i], "place %zu of %zu", i, n);
            draft_free(&made);
        }
        draft_free(&whole);
    }
}

Test(interleave, when_one_list_is_exhausted_the_other_fills)
{
    struct list a = series(0, 1, 2), b = series(10, 1, 10), none = {.count = 0};
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct draft made = draft(&a, &b, 8, seed);
        int of_b = 0;
        cr_assert_eq(made.count, 8);
        for (size_t i = 0; i < made.count; i++)
            of_b += made.team[i];
        cr_assert_eq(of_b, 6);
        check_rules(&a, &b, &made, 8);
        draft_free(&made);

        made = draft(&none, &b, 8, seed);
        cr_assert_eq(made.count, 8);
        for (size_t i = 0; i < made.count; i++)
            cr_assert(made.out[i] == b.items[i] && made.team[i] == 1);
        draft_free(&made);

        made = draft(&b, &none, 8, seed);
        cr_assert_eq(made.count, 8);
        for (size_t i = 0; i < made.count; i++)
            cr_assert(made.out[i] == b.items[i] && made.team[i] == 0);
        draft_free(&made);
    }
}

Test(interleave, there_may_be_fewer_items_than_places)
{
    struct list a = series(0, 1, 4), b = series(2, 1, 4), none = {.count = 0};
    struct draft made = draft(&a, &b, 100, 1);
    cr_assert_eq(made.count, 6);
    check_different(&made);
    draft_free(&made);
    made = draft(&none, &none, 100, 1);
    cr_assert_eq(made.count, 0);
    draft_free(&made);
    cr_assert_eq(interleave_team_draft(NULL, 0, NULL, 0, 100, 1, NULL, NULL), 0);
    made = draft(&a, &b, 0, 1);
    cr_assert_eq(made.count, 0);
    draft_free(&made);
}

Test(interleave, the_seed_decides)
{
    struct list a = series(0, 1, 15), b = series(15, 1, 15);
    struct draft before = draft(&a, &b, 30, 0);
    int same = 0;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct draft made = draft(&a, &b, 30, seed), again = draft(&a, &b, 30, seed);
        cr_assert_eq(memcmp(made.out, again.out, 30 * sizeof *made.out), 0);
        cr_assert_eq(memcmp(made.team, again.team, 30), 0);
        same += memcmp(made.team, before.team, 30) == 0;
        draft_free(&made);
        draft_free(&again);
    }
    cr_assert_eq(same, 1, "%d of 64 seeds give the list of seed 0", same);
    draft_free(&before);
}
