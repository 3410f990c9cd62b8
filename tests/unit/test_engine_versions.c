/* SPDX-License-Identifier: Apache-2.0
 *
 * Positions and versions: lists of the past, versions that are gone or never were, answers that are stale, and what
 * moves the catalogue's version. */
#include "daemon/writer.h"
#include "tests/unit/engine_rig.h"

#include <semaphore.h>

TestSuite(engine_versions, .init = set_up, .fini = tear_down);

/* ---- the past */

static void add_more_events(void)
{
    begin();
    add_events(10);
    rigs[0].engine.committed = commit();
    histories_drop(rigs[0].histories, NULL); /* events came past the writer */
}

Test(engine_versions, the_past_can_be_asked_for)
{
    open_shop(SHOP, true);
    struct engine_answer then[USERS + 1];
    struct engine_request request = make_request(ENGINE_RECOMMEND, NULL, 60);
    char names[USERS + 1][16];
    for (int user = 0; user <= USERS; user++) {
        snprintf(names[user], sizeof names[user], "user-%d", user); /* the last is not known yet */
        then[user] = recommend(&rigs[0], names[user], 60);
    }
    for (int round = 0; round < 3; round++) {
        add_more_events();
        begin();
        add_event(names[USERS], 3 + round, "purchase", NOW - 5);
        engine->committed = commit();
        histories_drop(rigs[0].histories, NULL);
        set_counts(&rigs[0], engine->committed);
    }
    bool changed = false;
    for (int user = 0; user <= USERS; user++) {
        request.user = names[user];
        request.at_position = strtoll(then[user].seq, NULL, 10);
        request.counts = then[user].counts;
        struct engine_answer again = ask(&rigs[0], &request);
        expect_equal(&then[user], &again, names[user]);
        cr_assert_str_eq(again.seq, then[user].seq);
        cr_assert_str_eq(again.counts, then[user].counts);
        struct engine_answer now = recommend(&rigs[0], names[user], 60);
        changed = changed || strcmp(name_at(&now, 0), name_at(&again, 0)) != 0;
        engine_answer_close(&now);
        engine_answer_close(&again);
    }
    cr_assert(changed, "a test in which nothing changes shows nothing");
    request.user = "user-1"; /* an older version of the counts under today's histories */
    request.at_position = INT64_MAX;
    struct engine_answer mixed = ask(&rigs[0], &request);
    expect_in_order(&mixed, 60);
    cr_assert_str_eq(mixed.counts, then[1].counts);
    cr_assert_str_neq(mixed.seq, then[1].seq);
    engine_answer_close(&mixed);
    request.at_position = 0;
    struct engine_answer before_all = ask(&rigs[0], &request);
    cr_assert_str_eq(before_all.seq, "0");
    engine_answer_close(&before_all);
    for (int user = 0; user <= USERS; user++)
        engine_answer_close(&then[user]);
}

Test(engine_versions, refuses_versions_that_are_not_to_be_had)
{
    char version[40];
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.at_position = engine->committed + 1;
    refused(&request, STATUS_FAILED_PRECONDITION, "OUT_OF_LOG", "at_seq");
    request.at_position = INT64_MAX;
    request.model = "default-00000000";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "model");
    request.model = NULL;
    request.catalogue = "1";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "catalogue");
    request.catalogue = NULL;
    request.counts = "yesterday";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    request.counts = "-1";
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    snprintf(version, sizeof version, "%lld", (long long)engine->committed + 1);
    request.counts = version;
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");
    snprintf(version, sizeof version, "%lldx", (long long)engine->committed); /* begins like the current one */
    refused(&request, STATUS_FAILED_PRECONDITION, "VERSION_GONE", "counts");

    struct engine_answer answer = recommend(&rigs[0], "user-1", 10);
    request.model = answer.model;
    request.counts = answer.counts;
    request.catalogue = answer.catalogue;
    struct engine_answer same = ask(&rigs[0], &request);
    expect_equal(&answer, &same, "the versions that answer");
    engine_answer_close(&answer);
    engine_answer_close(&same);
}

Test(engine_versions, says_when_it_is_stale)
{
    open_shop(SHOP, true);
    struct engine_request request = make_request(ENGINE_RECOMMEND, "user-1", 10);
    request.min_position = engine->committed;
    struct engine_answer fresh = ask(&rigs[0], &request);
    cr_assert_not(is_degraded(&fresh, "stale"));
    request.min_position = engine->committed + 1;
    struct engine_answer stale = ask(&rigs[0], &request);
    cr_assert(is_degraded(&stale, "stale"));
    cr_assert_eq(stale.count, 10);
    engine_answer_close(&fresh);
    engine_answer_close(&stale);
}

Test(engine_versions, a_user_whose_events_lie_ahead_is_as_good_as_new)
{
    open_shop(SHOP, true);
    int64_t before = engine->committed;
    begin();
    add_event("late", 5, "view", NOW);
    engine->committed = commit();
    struct engine_request request = make_request(ENGINE_RECOMMEND, "late", 10);
    request.at_position = before;
    struct engine_answer answer = ask(&rigs[0], &request);
    expect_in_order(&answer, 10);
    cr_assert(is_degraded(&answer, "no_history") || is_degraded(&answer, "unknown_user"));
    engine_answer_close(&answer);
}

/* ---- with the writer */

struct put {
    struct write_task task;
    sem_t done;
    struct status status;
};

static bool put_item_and_event(struct writer *w, struct write_task *task, struct status *st)
{
    struct catalog_item *old = writer_find_item(w, named(7));
    struct store_item item = old->item;
    struct store_event event = {.ts_ms = NOW - 1, .item_id = 7, .behaviour = 1};
    bool created, duplicate;
    item.title = "a third title";
    task->changed = true;
    bool ok = writer_put_item(w, &item, old, NULL, 0, NOW, st) &&
              store_user_find(w->store, "user-1", true, &event.user_id, &created, st) &&
              writer_add_event(w, "user-1", &event, &(struct store_event_extra){.received_ms = NOW}, &duplicate, st);
    catalog_item_release(old);
    return ok;
}

static void put_done(struct writer *w, struct write_task *task, const struct status *st)
{
    struct put *put = task->context;
    (void)w;
    put->status = *st;
    sem_post(&put->done);
}

/* The version of the catalogue is that of its last change: an event in the same batch does not move it, nor does a
 * compaction or a restart. */
Test(engine_versions, the_version_of_the_catalogue_is_that_of_its_last_change)
{
    static struct writer w;
    struct put put = {.status = STATUS_INIT};
    open_shop(SHOP, true);
    put.task = (struct write_task){.write = put_item_and_event, .done = put_done, .context = &put, .rows = 2};
    sem_init(&put.done, 0, 0);
    OK(writer_start(&w, writer, engine, &st));
    OK(writer_submit(&w, &put.task, &st));
    sem_wait(&put.done);
    writer_stop(&w);
    sem_destroy(&put.done);
    cr_assert_eq(put.status.code, STATUS_OK, "%s", put.status.message);
    struct engine_answer before = recommend(&rigs[0], "user-1", 10);
    compact();
    struct engine_answer compacted = recommend(&rigs[0], "user-1", 10);
    open_rig(&rigs[1], engine->snapshot->model);
    struct engine_answer restarted = recommend(&rigs[1], "user-1", 10);
    cr_assert_str_eq(compacted.catalogue, restarted.catalogue);
    cr_expect_str_eq(before.catalogue, compacted.catalogue, "%s became %s, and no item has changed", before.catalogue,
                     compacted.catalogue);
    engine_answer_close(&before);
    engine_answer_close(&compacted);
    engine_answer_close(&restarted);
}
