/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists and their scores: what a list is, that engines over the same shop give the same one, and what there is
 * to show where there is little to go by. */
#include "tests/unit/engine_rig.h"

TestSuite(engine, .init = set_up, .fini = tear_down);

/* ---- what a list is */

Test(engine, recommends_and_says_from_what)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 50);
    char position[ENGINE_VERSION_TEXT];
    expect_in_order(&answer, 50);
    cr_assert_eq(strncmp(answer.model, "default-", 8), 0, "%s", answer.model);
    snprintf(position, sizeof position, "%lld", (long long)engine->committed);
    cr_assert_str_eq(answer.seq, position);
    cr_assert_str_eq(answer.counts, position);
    snprintf(position, sizeof position, "%lld", (long long)catalog_position(rigs[0].catalog));
    cr_assert_str_eq(answer.catalogue, position);
    cr_assert_eq(answer.now_ms, NOW);
    cr_assert_eq(answer.degraded_count, 0);
    cr_assert_str_eq(answer.shortened, "");
    cr_assert_eq(answer.items[0].source, SOURCE_ATTENTION);
    cr_assert_gt(part(&answer.items[0], "text") + part(&answer.items[0], "image"), 0);
    engine_answer_close(&answer);
}

Test(engine, all_that_qualify_when_more_are_asked_for)
{
    open_shop(SHOP, true);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 1000);
    expect_in_order(&answer, SHOP);
    cr_assert_str_neq(answer.shortened, "");
    engine_answer_close(&answer);
}

Test(engine, ranks_what_it_is_given)
{
    open_shop(SHOP, true);
    const char *items[] = {named(5), named(6), "no such item", named(7), named(5), "nor this"};
    struct engine_request request = make_request(ENGINE_RANK, "user-1", 0);
    request.items = items;
    request.item_count = 6;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 3);
    cr_assert(lists(&answer, items[0]) && lists(&answer, items[1]) && lists(&answer, items[3]));
    cr_assert_eq(answer.unknown_count, 2);
    cr_assert_str_eq(answer.unknown[0], "no such item");
    cr_assert_str_eq(answer.unknown[1], "nor this");
    request.n = 2;
    struct engine_answer two = ask(&rigs[0], &request);
    expect_in_order(&two, 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_str_eq(name_at(&two, i), name_at(&answer, i));
    engine_answer_close(&answer);
    engine_answer_close(&two);
    request.n = 0;
    request.user = "nobody"; /* nothing to go by is no reason to leave one out */
    struct engine_answer cold = ask(&rigs[0], &request);
    expect_in_order(&cold, 3);
    engine_answer_close(&cold);
    request.item_count = 0;
    struct engine_answer none = ask(&rigs[0], &request);
    cr_assert_eq(none.count, 0);
    engine_answer_close(&none);
}

/* A score does not depend on what else is asked for. */
Test(engine, ranks_with_the_scores_of_the_whole_list)
{
    open_shop(SHOP, true);
    struct engine_answer all = recommend(&rigs[0], "user-2", SHOP);
    for (size_t i = 0; i < all.count; i += 23) {
        const char *item = name_at(&all, i);
        struct engine_request request = make_request(ENGINE_RANK, "user-2", 0);
        request.items = &item;
        request.item_count = 1;
        struct engine_answer one = ask(&rigs[0], &request);
        cr_assert_eq(one.count, 1);
        cr_assert_leq(fabsf(one.items[0].score - all.items[i].score), tolerance(&all.items[i]));
        engine_answer_close(&one);
    }
    engine_answer_close(&all);
}

Test(engine, finds_similar_items)
{
    open_shop(SHOP, true);
    const char *examples[] = {named(12), "no such item"};
    struct engine_request request = make_request(ENGINE_SIMILAR, NULL, 20);
    request.items = examples;
    request.item_count = 2;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 20);
    cr_assert_not(lists(&answer, examples[0]));
    cr_assert_eq(answer.unknown_count, 1);
    cr_assert_eq(answer.degraded_count, 0, "nobody is asked about");
    int same = 0;
    for (size_t i = 0; i < 20; i++) {
        same += answer.items[i].item->item.item_id % 6 == 0;
        cr_assert_eq(part(&answer.items[i], "popularity"), 0);
    }
    cr_assert_geq(same, 18, "%d of 20 have the same centre", same);
    request.include_context = true;
    struct engine_answer with = ask(&rigs[0], &request);
    cr_assert_str_eq(name_at(&with, 0), examples[0], "nothing is more similar than the item itself");
    const char *modality = "image";
    request.modalities = &modality;
    request.modality_count = 1;
    struct engine_answer images = ask(&rigs[0], &request);
    expect_in_order(&images, 20);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(part(&images.items[i], "text"), 0);
        cr_assert_eq(part(&images.items[i], "behaviour"), 0);
    }
    engine_answer_close(&answer);
    engine_answer_close(&with);
    engine_answer_close(&images);
    modality = "smell";
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "modalities");
}

Test(engine, ties_go_by_the_external_id)
{
    open_shop(SHOP, true);
    /* the last 20 have no text, each tenth no image: without both, unseen and never next to another, all that they have is new */
    const char *names[2] = {named(290), named(300)};
    struct engine_request request = make_request(ENGINE_RANK, "user-1", 1);
    bool first = strcmp(names[0], names[1]) < 0;
    request.items = names;
    request.item_count = 2;
    for (int order = 0; order < 2; order++) {
        struct engine_answer answer = ask(&rigs[0], &request);
        cr_assert_eq(answer.count, 1);
        cr_assert_eq(answer.items[0].score, *rigs[0].engine.snapshot->model->weights.novelty);
        cr_assert_str_eq(name_at(&answer, 0), names[first ? 0 : 1]);
        engine_answer_close(&answer);
    }
}

/* No vectors: a known user's score of what never followed anything is 0, for most of the shop. */
Test(engine, many_ties_are_settled_by_the_external_id)
{
    open_shop(SHOP, false);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", SHOP);
    struct engine_weight weights[] = {{"popularity", 0}};
    request.weights = weights;
    request.weight_count = 1;
    struct engine_answer all = ask(&rigs[0], &request);
    expect_in_order(&all, SHOP);
    cr_assert_eq(all.items[200].score, 0);
    for (size_t n = 1; n < SHOP; n += 29) { /* a cut through the ties is a beginning of the whole */
        request.n = n;
        struct engine_answer some = ask(&rigs[0], &request);
        cr_assert_eq(some.count, n);
        for (size_t i = 0; i < n; i++)
            cr_assert_str_eq(name_at(&some, i), name_at(&all, i), "%zu of %zu", i, n);
        engine_answer_close(&some);
    }
    engine_answer_close(&all);
}

Test(engine, weights_multiply_the_parts)
{
    static const char *const keys[] = {"text", "image", "behaviour", "popularity"};
    open_shop(SHOP, true);
    struct engine_answer plain = recommend(&rigs[0], "user-4", SHOP);
    for (size_t k = 0; k < 4; k++) {
        struct engine_weight weights[] = {{keys[k], -2}, {keys[(k + 1) % 4], 0}};
        struct engine_request request = make_request(ENGINE_RECOMMEND, "user-4", SHOP);
        request.weights = weights;
        request.weight_count = 2;
        struct engine_answer answer = ask(&rigs[0], &request);
        expect_in_order(&answer, SHOP);
        for (size_t i = 0; i < SHOP; i++) {
            const struct engine_item *item = &answer.items[i], *as_before = NULL;
            for (size_t j = 0; j < SHOP; j++)
                if (plain.items[j].item == item->item)
                    as_before = &plain.items[j];
            cr_assert_not_null(as_before);
            for (size_t other = 0; other < 4; other++) {
                float factor = other == k ? -2 : other == (k + 1) % 4 ? 0 : 1;
                cr_assert_leq(fabsf(part(item, keys[other]) - factor * part(as_before, keys[other])),
                              3 * tolerance(as_before), "%s with weights on %s", keys[other], keys[k]);
            }
        }
        engine_answer_close(&answer);
    }
    engine_answer_close(&plain);
    struct engine_weight bad = {"smell", 1};
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-4", 10);
    request.weights = &bad;
    request.weight_count = 1;
    refused(&request, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "weights");
}

/* ---- equal lists */

Test(engine, an_engine_built_afresh_gives_equal_lists)
{
    open_shop(SHOP, true);
    open_rig(&rigs[1], NULL);
    cr_assert_str_eq(rigs[0].engine.snapshot->model->version, rigs[1].engine.snapshot->model->version);
    expect_equal_engines(&rigs[0], &rigs[1], "afresh");
}

Test(engine, the_scan_of_a_large_shop_gives_equal_lists)
{
    static struct config narrow;
    open_shop(SHOP, true);
    narrow = config;
    narrow.model_exhaustive = 0;
    narrow.model_candidates = 10 * SHOP; /* new items are a tenth of the candidates */
    open_rig(&rigs[1], rigs[0].engine.snapshot->model);
    rigs[1].engine.config = &narrow;
    expect_equal_engines(&rigs[0], &rigs[1], "scan");
}

Test(engine, few_candidates_have_the_scores_of_the_whole_list)
{
    static struct config narrow;
    open_shop(SHOP, true);
    narrow = config;
    narrow.model_exhaustive = 0;
    narrow.model_candidates = 60;
    open_rig(&rigs[1], rigs[0].engine.snapshot->model);
    rigs[1].engine.config = &narrow;
    size_t found = 0;
    for (int user = 0; user < USERS; user++) {
        char name[16];
        snprintf(name, sizeof name, "user-%d", user);
        struct engine_answer all = recommend(&rigs[0], name, SHOP), few = recommend(&rigs[1], name, 10);
        expect_in_order(&few, 10);
        for (size_t i = 0; i < 10; i++) {
            size_t j = 0;
            while (strcmp(name_at(&few, i), name_at(&all, j)) != 0)
                j++;
            cr_assert_leq(fabsf(few.items[i].score - all.items[j].score), tolerance(&all.items[j]));
            found += j < 10;
        }
        engine_answer_close(&all);
        engine_answer_close(&few);
    }
    cr_assert_geq(found, 7 * USERS, "%zu of %d of the best ten", found, 10 * USERS);
    struct engine_answer cold = recommend(&rigs[1], "nobody", SHOP); /* never short while an item qualifies */
    expect_in_order(&cold, SHOP);
    engine_answer_close(&cold);
}

/* ---- little to go by */

Test(engine, a_stranger_gets_what_is_popular_then_what_is_new)
{
    static const char *const strangers[] = {"nobody", "", NULL};
    open_shop(SHOP, true);
    for (size_t s = 0; s < 3; s++) {
        struct engine_answer answer = recommend(&rigs[0], strangers[s], SHOP);
        expect_in_order(&answer, SHOP);
        cr_assert(is_degraded(&answer, s == 0 ? "unknown_user" : "no_history"));
        cr_assert_str_neq(answer.filled, "");
        cr_assert_gt(answer.items[0].score, 0);
        uint32_t last = UINT32_MAX;
        for (size_t i = 0; i < SHOP; i++) {
            const struct engine_item *item = &answer.items[i];
            cr_assert_geq(item->source, SOURCE_TRENDING);
            cr_assert_eq(item->source == SOURCE_NEWEST, item->score == 0);
            if (item->source == SOURCE_NEWEST) {
                cr_assert_lt(item->item->item.item_id, last, "the newest first");
                last = item->item->item.item_id;
            }
        }
        cr_assert_neq(last, UINT32_MAX);
        engine_answer_close(&answer);
    }
}

Test(engine, an_empty_shop_gives_empty_lists)
{
    open_shop(0, false);
    struct engine_answer answer = recommend(&rigs[0], "nobody", 10);
    cr_assert_eq(answer.count, 0);
    cr_assert_str_neq(answer.shortened, "");
    cr_assert_str_eq(answer.catalogue, "0");
    engine_answer_close(&answer);
    const char *item = "no such item";
    struct engine_request request = make_request(ENGINE_RANK, "nobody", 0);
    request.items = &item;
    request.item_count = 1;
    for (int task = 0; task < 2; task++) {
        struct engine_answer none = ask(&rigs[0], &request);
        cr_assert_eq(none.count, 0);
        cr_assert_eq(none.unknown_count, 1);
        engine_answer_close(&none);
        request.task = ENGINE_SIMILAR;
        request.n = 10;
    }
}

Test(engine, one_item_is_a_list)
{
    add_shop(1, true);
    begin();
    add_event("fan", 1, "view", NOW - 1);
    commit();
    open_rig(&rigs[0], NULL);
    struct engine_answer known = recommend(&rigs[0], "fan", 10), stranger = recommend(&rigs[0], "nobody", 10);
    expect_in_order(&known, 1);
    expect_in_order(&stranger, 1);
    cr_assert_str_eq(name_at(&known, 0), named(1));
    engine_answer_close(&known);
    engine_answer_close(&stranger);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "fan", 10);
    request.exclude_seen = true;
    struct engine_answer none = ask(&rigs[0], &request);
    cr_assert_eq(none.count, 0);
    cr_assert_str_neq(none.shortened, "");
    engine_answer_close(&none);
}

Test(engine, without_vectors_counts_rank)
{
    open_shop(SHOP, false);
    struct engine_answer answer = recommend(&rigs[0], "user-1", 30);
    expect_in_order(&answer, 30);
    cr_assert_eq(answer.items[0].source, SOURCE_NEIGHBOUR);
    for (size_t i = 0; i < 30; i++) {
        cr_assert_eq(answer.items[i].part_count, 2);
        cr_assert_gt(part(&answer.items[i], "behaviour"), 0);
    }
    engine_answer_close(&answer);
    open_rig(&rigs[1], NULL);
    expect_equal_engines(&rigs[0], &rigs[1], "no vectors");
}

/* Whatever does not fit: a coded error, and nothing is kept. */
Test(engine, too_little_memory_is_an_error)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 50);
    const char *exclude = named(1);
    request.exclude_seen = true;
    request.exclude = &exclude;
    request.exclude_count = 1;
    for (size_t bytes = 0, refusals = 0;; bytes += 256) {
        struct status st = STATUS_INIT;
        struct engine_answer answer;
        arena_close(&rigs[0].worker.arena);
        arena_init(&rigs[0].worker.arena, bytes);
        if (engine_answer(&rigs[0].worker, &request, &answer, &st)) {
            expect_in_order(&answer, 50);
            engine_answer_close(&answer);
            cr_assert_gt(refusals, 10);
            break;
        }
        refusals++;
        cr_assert_eq(st.code, STATUS_RESOURCE_EXHAUSTED, "%s", st.message);
        cr_assert_str_eq(st.reason, "NO_MEMORY");
        cr_assert_eq(engine->snapshot->references, 1);
        cr_assert_eq(engine->counts->references, 1);
        bytes += bytes / 16;
    }
}
