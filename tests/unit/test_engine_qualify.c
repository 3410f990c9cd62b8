/* SPDX-License-Identifier: Apache-2.0
 *
 * What may be listed: what is excluded, and what the user has seen. */
#include "tests/unit/engine_rig.h"

TestSuite(engine_qualify, .init = set_up, .fini = tear_down);

/* ---- what is left out */

Test(engine_qualify, leaves_out_what_is_excluded)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-5", 20);
    const char *exclude[] = {name_at(&answer, 0), name_at(&answer, 7), "no such item", name_at(&answer, 3)};
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-5", 17);
    request.exclude = exclude;
    request.exclude_count = 4;
    struct engine_answer fewer = ask(&rigs[0], &request);
    expect_in_order(&fewer, 17);
    for (size_t i = 0, j = 0; i < 20; i++)
        if (i != 0 && i != 7 && i != 3)
            cr_assert_str_eq(name_at(&fewer, j++), name_at(&answer, i));
    cr_assert_eq(fewer.unknown_count, 1);
    engine_answer_close(&fewer);
    engine_answer_close(&answer);
}

/* The items that `user` is shown are exactly those from `first` on. */
static void expect_only_from(const struct engine_request *request, int first, const char *what)
{
    struct engine_answer answer = ask(&rigs[0], request);
    cr_assert_eq(answer.count, (size_t)(SHOP - first + 1), "%s: %zu items", what, answer.count);
    for (size_t i = 0; i < answer.count; i++)
        cr_assert_geq(answer.items[i].item->item.item_id, (uint32_t)first, "%s: %s", what, name_at(&answer, i));
    engine_answer_close(&answer);
}

Test(engine_qualify, excludes_what_was_seen_however_long_ago)
{
    static const char *const purchases[] = {"purchase"}, *const both[] = {"purchase", "view"};
    add_shop(SHOP, true);
    begin();
    for (int i = 0; i < 200; i++) /* 1..100 bought, 101..200 viewed, long ago */
        add_event("busy", 1 + i, i < 100 ? "purchase" : "view", NOW - 1000 * HOUR_MS + i);
    for (int i = 0; i < HISTORIES_EVENTS_MAX + 50; i++) /* and ever since no more than ten others */
        add_event("busy", 201 + i % 10, "view", NOW - 10 * HOUR_MS + i);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "busy", SHOP);
    expect_only_from(&request, 1, "all");
    request.exclude_seen = true;
    for (int round = 0; round < 2; round++) { /* from the store, then from memory */
        expect_only_from(&request, 211, "seen");
        request.seen_behaviours = purchases;
        request.seen_behaviour_count = 1;
        expect_only_from(&request, 101, "bought");
        request.seen_behaviours = both;
        request.seen_behaviour_count = 2;
        expect_only_from(&request, 211, "bought or viewed");
        request.seen_behaviour_count = 0;
    }
    request.seen_within_ms = 11 * HOUR_MS;
    struct engine_answer recent = ask(&rigs[0], &request);
    cr_assert_eq(recent.count, SHOP - 10);
    cr_assert(lists(&recent, named(1)));
    cr_assert_not(lists(&recent, named(205)));
    engine_answer_close(&recent);
    request.user = "nobody";
    expect_only_from(&request, 1, "nobody has seen nothing");
}

Test(engine_qualify, seen_counts_from_the_edge_of_its_window)
{
    add_shop(SHOP, true);
    begin();
    add_event("edge", 1, "view", NOW - 1000);
    add_event("edge", 2, "view", NOW - 999);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "edge", SHOP);
    request.exclude_seen = true;
    request.seen_within_ms = 1000;
    struct engine_answer answer = ask(&rigs[0], &request);
    cr_assert(lists(&answer, named(1)));
    cr_assert_not(lists(&answer, named(2)));
    engine_answer_close(&answer);
}

Test(engine_qualify, refuses_an_unknown_behaviour)
{
    const char *wrong = "veiw";
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.exclude_seen = true;
    request.seen_behaviours = &wrong;
    request.seen_behaviour_count = 1;
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
    wrong = "";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
    wrong = "veiw"; /* a mistake is one whoever is asked about */
    request.user = "nobody";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours");
}
