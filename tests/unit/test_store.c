/* SPDX-License-Identifier: Apache-2.0
 *
 * What a store keeps: users and behaviours, events, items and vectors; transactions and positions. */
#include "tests/unit/store_rig.h"

TestSuite(store, .init = set_up, .fini = tear_down);

/* ---- users and behaviours */

Test(store, users_are_found_again_and_keep_their_bucket)
{
    static const struct {
        const char *name;
        int32_t bucket; /* recorded: stored data and shards depend on it */
    } cases[] = {{"alice", 688}, {"bob", 229}, {"kundin-\xc3\xa4", 663}};
    struct store *store = writer();
    int64_t ids[3], found = -1;
    bool created = false;
    OK(store_user_find(store, "alice", false, &found, &created, &st));
    cr_assert_eq(found, 0);
    cr_assert_not(created);
    OK(store_begin(store, &st));
    for (size_t i = 0; i < 3; i++) {
        OK(store_user_find(store, cases[i].name, true, &ids[i], &created, &st));
        cr_assert(created);
        cr_assert_eq(ids[i], (int64_t)i + 1);
        OK(store_user_find(store, cases[i].name, true, &found, &created, &st));
        cr_assert_not(created);
        cr_assert_eq(found, ids[i]);
    }
    OK(store_commit(store, &st));
    store_close(store);

    store = writer();
    struct store_user users[4];
    size_t count = 0;
    OK(store_user_list(store, -1, 0, 1024, users, 4, &count, &st));
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < 3; i++) {
        const size_t which = (size_t)users[i].user_id - 1;
        cr_assert_str_eq(users[i].name, cases[which].name);
        cr_assert_eq(users[i].bucket, cases[which].bucket, "%s: %d", users[i].name, users[i].bucket);
    }
    store_close(store);
}

Test(store, user_names_have_bounds)
{
    char name[258];
    memset(name, 'n', sizeof name);
    struct store *store = writer();
    OK(store_begin(store, &st));
    int64_t user_id;
    name[257] = '\0';
    FAILS(store_user_find(store, name, true, &user_id, NULL, &st), STATUS_INVALID_ARGUMENT, "BAD_NAME");
    FAILS(store_user_find(store, "", true, &user_id, NULL, &st), STATUS_INVALID_ARGUMENT, "BAD_NAME");
    name[256] = '\0';
    add_user(store, name);
    OK(store_commit(store, &st));
    struct store_user user;
    size_t count;
    OK(store_user_list(store, -1, 0, 1024, &user, 1, &count, &st));
    cr_assert_str_eq(user.name, name);
    store_close(store);
}

Test(store, users_are_listed_in_pages_by_bucket)
{
    enum { USERS = 500, PAGE = 7, END = 700 };
    struct store *store = writer();
    OK(store_begin(store, &st));
    for (int i = 0; i < USERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "user-%d", i);
        add_user(store, name);
    }
    OK(store_commit(store, &st));
    struct store_user page[PAGE], last = {.bucket = -1, .user_id = 0}, all[USERS];
    size_t count, below = 0, all_count;
    do {
        OK(store_user_list(store, last.bucket, last.user_id, END, page, PAGE, &count, &st));
        for (size_t i = 0; i < count; i++) {
            cr_assert(page[i].bucket > last.bucket ||
                      (page[i].bucket == last.bucket && page[i].user_id > last.user_id));
            cr_assert_lt(page[i].bucket, END);
            last = page[i];
            below++;
        }
    } while (count == PAGE);
    OK(store_user_list(store, -1, 0, 1024, all, USERS, &all_count, &st));
    cr_assert_eq(all_count, USERS);
    size_t want = 0;
    for (size_t i = 0; i < USERS; i++)
        want += all[i].bucket < END;
    cr_assert_eq(below, want);
    cr_assert(want > 0 && want < USERS);
    store_close(store);
}

static void count_behaviour(void *context, uint8_t behaviour, const char *name)
{
    char want[16];
    snprintf(want, sizeof want, "b%d", behaviour);
    cr_assert_str_eq(name, want);
    ++*(int *)context;
}

Test(store, behaviours_are_numbered_to_255)
{
    struct store *store = writer();
    uint8_t behaviour = 77;
    OK(store_behaviour_find(store, "b1", false, &behaviour, &st));
    cr_assert_eq(behaviour, 0);
    OK(store_begin(store, &st));
    for (int i = 1; i <= 255; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", i);
        OK(store_behaviour_find(store, name, true, &behaviour, &st));
        cr_assert_eq(behaviour, i);
    }
    FAILS(store_behaviour_find(store, "b256", true, &behaviour, &st), STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_BEHAVIOURS");
    OK(store_behaviour_find(store, "b9", true, &behaviour, &st));
    cr_assert_eq(behaviour, 9);
    OK(store_commit(store, &st));
    int listed = 0;
    OK(store_behaviour_list(store, count_behaviour, &listed, &st));
    cr_assert_eq(listed, 255);
    store_close(store);
}

/* ---- events */

Test(store, a_history_is_the_newest_events_oldest_first)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    const int64_t user = add_user(store, "u"), other = add_user(store, "v");
    append(store, user, 300, 1);  /* position 1 */
    append(store, user, 100, 2);  /* 2: late */
    append(store, other, 150, 3); /* 3 */
    append(store, user, 300, 4);  /* 4: the same millisecond */
    append(store, user, 200, 5);  /* 5 */
    OK(store_commit(store, &st));

    expect_history(store, user, INT64_MAX, 10, "100/2 200/5 300/1 300/4 ", false);
    expect_history(store, user, INT64_MAX, 4, "100/2 200/5 300/1 300/4 ", false);
    expect_history(store, user, INT64_MAX, 3, "200/5 300/1 300/4 ", true);
    expect_history(store, user, INT64_MAX, 0, "", true);
    expect_history(store, user, 4, 2, "300/1 300/4 ", true);
    expect_history(store, user, 2, 10, "100/2 300/1 ", false);
    expect_history(store, user, 0, 10, "", false);
    expect_history(store, 12345, INT64_MAX, 10, "", false);

    int64_t count = -1;
    OK(store_event_count(store, user, INT64_MAX, &count, &st));
    cr_assert_eq(count, 4);
    OK(store_event_count(store, user, 3, &count, &st));
    cr_assert_eq(count, 2);
    store_close(store);
}

Test(store, an_event_comes_back_as_it_was)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    struct store_event event = {.ts_ms = -5,
                                .user_id = add_user(store, "u"),
                                .item_id = UINT32_MAX,
                                .behaviour = 255,
                                .has_value = true,
                                .value = -0.1};
    const struct store_event_extra extra = {.received_ms = 42, .recomm_id = "r-1", .key = "k"};
    bool duplicate;
    OK(store_event_append(store, &event, &extra, &duplicate, &st));
    struct store_event bad = event;
    bad.value = NAN;
    FAILS(store_event_append(store, &bad, &extra, &duplicate, &st), STATUS_INVALID_ARGUMENT, "BAD_EVENT");
    bad = event;
    bad.item_id = 0;
    FAILS(store_event_append(store, &bad, &extra, &duplicate, &st), STATUS_INVALID_ARGUMENT, "BAD_EVENT");
    OK(store_commit(store, &st));
    struct store_event read;
    size_t count;
    bool more;
    OK(store_event_history(store, event.user_id, INT64_MAX, &read, 1, &count, &more, &st));
    cr_assert_eq(count, 1);
    cr_assert(read.ts_ms == -5 && read.position == event.position && read.user_id == event.user_id);
    cr_assert(read.item_id == UINT32_MAX && read.behaviour == 255 && read.has_value && read.value == -0.1);
    expect_query("SELECT received_ms || recomm_id || length(key) FROM event", "42r-116");
    store_close(store);
}

Test(store, a_key_is_stored_once_per_user)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    const int64_t user = add_user(store, "u"), other = add_user(store, "v");
    const struct store_event_extra with_key = {.received_ms = 1, .key = "order-17"};
    struct store_event first = {.ts_ms = 10, .user_id = user, .item_id = 1, .behaviour = 1}, again = first,
                       others = first;
    bool duplicate = true;
    OK(store_event_append(store, &first, &with_key, &duplicate, &st));
    cr_assert_not(duplicate);
    again.ts_ms = 99; /* a retry may differ in everything else */
    OK(store_event_append(store, &again, &with_key, &duplicate, &st));
    cr_assert(duplicate);
    cr_assert_eq(again.position, first.position);
    others.user_id = other;
    OK(store_event_append(store, &others, &with_key, &duplicate, &st));
    cr_assert_not(duplicate);
    cr_assert_eq(others.position, first.position + 1, "a duplicate takes no position");
    append(store, user, 10, 1);
    append(store, user, 10, 1); /* without a key repeats are kept */
    OK(store_commit(store, &st));
    store_close(store);

    store = writer();
    OK(store_begin(store, &st));
    again.position = 0;
    OK(store_event_append(store, &again, &with_key, &duplicate, &st));
    cr_assert(duplicate);
    cr_assert_eq(again.position, first.position);
    OK(store_commit(store, &st));
    struct store_sizes sizes;
    OK(store_sizes(store, &sizes, &st));
    cr_assert_eq(sizes.events, 4);
    store_close(store);
}

struct collected {
    char text[512];
    int left; /* events until it stops */
};

static bool collect_event(void *context, const struct store_event *event)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%lld:%lld/%lld ", (long long)event->user_id,
             (long long)event->ts_ms, (long long)event->position);
    return --to->left > 0;
}

static void expect_scan(struct store *store, int64_t user_id, int64_t at, int stop_after, const char *want)
{
    struct collected got = {.left = stop_after};
    OK(store_event_scan(store, user_id, at, collect_event, &got, &st));
    cr_assert_str_eq(got.text, want);
}

Test(store, scans_go_by_user_and_time_and_the_tail_by_position)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    append(store, 2, 50, 1); /* 1 */
    append(store, 1, 70, 2); /* 2 */
    append(store, 1, 60, 3); /* 3 */
    append(store, 2, 40, 4); /* 4 */
    append(store, 1, 60, 5); /* 5 */
    OK(store_commit(store, &st));
    expect_scan(store, 0, INT64_MAX, 99, "1:60/3 1:60/5 1:70/2 2:40/4 2:50/1 ");
    expect_scan(store, 0, 3, 99, "1:60/3 1:70/2 2:50/1 ");
    expect_scan(store, 1, INT64_MAX, 99, "1:60/3 1:60/5 1:70/2 ");
    expect_scan(store, 2, 3, 99, "2:50/1 ");
    expect_scan(store, 0, INT64_MAX, 2, "1:60/3 1:60/5 ");
    expect_scan(store, 1, INT64_MAX, 1, "1:60/3 ");

    struct store_event tail[EVENTS_MAX];
    size_t count;
    OK(store_event_tail(store, 1, 4, tail, EVENTS_MAX, &count, &st));
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(tail[i].position, (int64_t)i + 2);
    cr_assert_eq(tail[2].item_id, 4);
    OK(store_event_tail(store, 0, INT64_MAX, tail, 2, &count, &st));
    cr_assert(count == 2 && tail[1].position == 2);
    OK(store_event_tail(store, 5, INT64_MAX, tail, 2, &count, &st));
    cr_assert_eq(count, 0);
    store_close(store);
}

/* ---- transactions and positions */

Test(store, rollback_undoes_everything_and_gives_no_position_twice)
{
    struct store *store = writer();
    struct store_sizes sizes;
    cr_assert_eq(position_of(store), 0);
    store_rollback(store); /* fine without a transaction */
    OK(store_begin(store, &st));
    append(store, add_user(store, "kept"), 1, 1);
    OK(store_commit(store, &st));

    OK(store_begin(store, &st));
    const int64_t lost = append(store, add_user(store, "lost"), 1, 1);
    add_item(store, "lost");
    cr_assert_eq(position_of(store), lost + 1, "a writer sees its own");
    store_rollback(store);
    cr_assert_eq(position_of(store), 1);
    OK(store_sizes(store, &sizes, &st));
    cr_assert(sizes.users == 1 && sizes.events == 1);
    int64_t user_id;
    OK(store_user_find(store, "lost", false, &user_id, NULL, &st));
    cr_assert_eq(user_id, 0);

    OK(store_begin(store, &st));
    cr_assert_gt(append(store, 1, 2, 1), lost + 1);
    OK(store_commit(store, &st));
    const int64_t last = position_of(store);
    OK(store_check(store, &st));
    store_close(store);

    store = writer();
    cr_assert_eq(position_of(store), last);
    OK(store_begin(store, &st));
    const uint32_t item_id = add_item(store, "an item");
    cr_assert_eq(position_of(store), last + 1, "items count on where events stopped");
    OK(store_commit(store, &st));
    store_close(store);
    /* what was erased past the store does not come back under its number */
    run_sql("DELETE FROM item_change; DELETE FROM item; DELETE FROM event; UPDATE total SET value = 0 WHERE name = "
            "'events'");
    store = writer();
    OK(store_begin(store, &st));
    cr_assert_eq(add_item(store, "another"), item_id + 1);
    cr_assert_eq(position_of(store), last + 2);
    OK(store_commit(store, &st));
    store_close(store);
    /* and without the table of totals the tables themselves tell */
    run_sql("DELETE FROM total WHERE name <> 'users'");
    store = writer();
    cr_assert_eq(position_of(store), last + 2);
    store_close(store);
}

Test(store, writes_need_a_transaction_in_which_nothing_failed)
{
    struct store *store = writer();
    int64_t user_id;
    struct store_item item = {.name = "a", .categories_json = "[", .expires_ms = INT64_MAX};
    FAILS(store_user_find(store, "u", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_commit(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    OK(store_begin(store, &st));
    FAILS(store_begin(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_read_begin(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_item_put(store, &item, 1, &st), STATUS_INVALID_ARGUMENT, "BAD_ITEM");
    FAILS(store_user_find(store, "u", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_commit(store, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    store_rollback(store);
    OK(store_begin(store, &st));
    add_user(store, "u");
    OK(store_commit(store, &st));
    expect_query("SELECT count(*) FROM item", "0");
    store_close(store);
}

/* ---- items and features */

static bool collect_item(void *context, const struct store_item *item)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%u=%s|%s|%s|%s|%g|%d%d|%lld ", item->item_id, item->name,
             item->title, item->categories_json, item->attributes_json, item->has_price ? item->price : -1,
             item->available, item->deleted, (long long)item->position);
    return --to->left > 0;
}

Test(store, items_are_put_overwritten_and_remembered)
{
    struct store *store = writer();
    struct store_item shoe = {.name = "shoe",
                              .title = "A shoe",
                              .categories_json = "[\"x\",\"y\"]",
                              .attributes_json = "{\"size\":42}",
                              .has_price = true,
                              .price = 19.99,
                              .available = true,
                              .created_ms = 7,
                              .expires_ms = INT64_MAX};
    OK(store_begin(store, &st));
    OK(store_item_put(store, &shoe, 1000, &st));
    cr_assert(shoe.item_id == 1 && shoe.position == 1);
    add_item(store, "sock");
    shoe.has_price = false;
    shoe.available = false;
    shoe.deleted = true;
    OK(store_item_put(store, &shoe, 2000, &st));
    cr_assert(shoe.item_id == 1 && shoe.position == 3);
    struct store_item unknown = {.item_id = 99, .name = "unknown"};
    FAILS(store_item_put(store, &unknown, 1, &st), STATUS_NOT_FOUND, "UNKNOWN_ITEM");
    OK(store_commit(store, &st));

    struct collected got = {.left = 99}, first = {.left = 1};
    OK(store_item_scan(store, collect_item, &got, &st));
    cr_assert_str_eq(got.text, "1=shoe|A shoe|[\"x\",\"y\"]|{\"size\":42}|-1|01|3 2=sock|a title|[]|{}|-1|10|2 ");
    OK(store_item_scan(store, collect_item, &first, &st));
    cr_assert_str_eq(first.text, "1=shoe|A shoe|[\"x\",\"y\"]|{\"size\":42}|-1|01|3 ");
    expect_query("SELECT group_concat(position || kind || item_id || '@' || at_ms) FROM item_change",
                 "1item1@1000,2item2@1000,3item1@2000");
    expect_query("SELECT content FROM item_change WHERE position = 1",
                 "{\"name\":\"shoe\",\"title\":\"A shoe\",\"categories\":[\"x\",\"y\"],\"attributes\":{\"size\":42},"
                 "\"price\":19.99,\"available\":true,\"deleted\":false,\"created_ms\":7,"
                 "\"expires_ms\":9223372036854775807}");
    expect_query("SELECT json_extract(content, '$.deleted') FROM item_change WHERE position = 3", "1");
    store_close(store);
}

Test(store, items_that_cannot_be_are_refused)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    add_item(store, "taken");
    OK(store_commit(store, &st));
    static const struct {
        struct store_item item;
        enum status_code code;
        const char *reason;
    } cases[] = {
        {{.name = "taken"}, STATUS_ALREADY_EXISTS, "ITEM_EXISTS"},
        {{.name = ""}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
        {{.name = "a", .has_price = true, .price = INFINITY}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
        {{.name = "a", .attributes_json = "{\"a\":"}, STATUS_INVALID_ARGUMENT, "BAD_ITEM"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_item item = cases[i].item;
        OK(store_begin(store, &st));
        FAILS(store_item_put(store, &item, 1, &st), cases[i].code, cases[i].reason);
        cr_assert_eq(item.item_id, 0);
        store_rollback(store);
    }
    expect_query("SELECT count(*) FROM item", "1");
    store_close(store);
}

static bool collect_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    struct collected *to = context;
    const size_t length = strlen(to->text);
    snprintf(to->text + length, sizeof to->text - length, "%u,%u:%g..%g ", item_id, space_id, (double)values[0],
             (double)values[dimension - 1]);
    return --to->left > 0;
}

Test(store, features_are_scanned_by_item_and_space)
{
    static const float text[3] = {1, 2, 3}, newer[3] = {7, 8, 9}, image[2] = {-.5f, 4};
    struct store *store = writer();
    int64_t position = 0;
    OK(store_begin(store, &st));
    const uint32_t a = add_item(store, "a"), b = add_item(store, "b");
    const struct store_space words = add_space(store, "text", 3), pixels = add_space(store, "image", 2);
    OK(store_feature_put(store, b, &words, text, 5, &position, &st));
    OK(store_feature_put(store, a, &pixels, image, 6, &position, &st));
    OK(store_feature_put(store, a, &words, text, 7, &position, &st));
    OK(store_feature_put(store, a, &words, newer, 8, &position, &st));
    cr_assert_eq(position, 6);
    OK(store_commit(store, &st));
    struct collected got = {.left = 99}, stopped = {.left = 2};
    OK(store_feature_scan(store, collect_feature, &got, &st));
    cr_assert_str_eq(got.text, "1,1:7..9 1,2:-0.5..4 2,1:1..3 ");
    OK(store_feature_scan(store, collect_feature, &stopped, &st));
    cr_assert_str_eq(stopped.text, "1,1:7..9 1,2:-0.5..4 ");
    expect_query("SELECT group_concat(item_id || '@' || position) FROM item", "1@6,2@3");
    expect_query("SELECT group_concat(position || ':' || item_id || ',' || space_id) FROM item_change WHERE kind = "
                 "'feature'",
                 "3:2,1,4:1,2,5:1,1,6:1,1");
    expect_query("SELECT hex(vec) FROM feature WHERE item_id = 2", "0000803F0000004000004040");
    store_close(store);
}

Test(store, spaces_and_vectors_that_do_not_fit_are_refused)
{
    static const float values[4] = {1, 2, 3, 4}, zero[3], broken[3] = {1, NAN, 2};
    struct store *store = writer();
    int64_t position;
    OK(store_begin(store, &st));
    const uint32_t item_id = add_item(store, "a");
    const struct store_space space = add_space(store, "text", 3);
    cr_assert_eq(add_space(store, "text", 3).space_id, space.space_id);
    struct store_space wider = space, nothing = space;
    wider.dimension = 4;
    nothing.dimension = 0;
    FAILS(store_space_put(store, &wider, &st), STATUS_FAILED_PRECONDITION, "BAD_DIMENSION");
    FAILS(store_space_put(store, &nothing, &st), STATUS_INVALID_ARGUMENT, "BAD_DIMENSION");
    FAILS(store_feature_put(store, item_id, &space, zero, 1, &position, &st), STATUS_INVALID_ARGUMENT, "BAD_FEATURE");
    FAILS(store_feature_put(store, item_id, &space, broken, 1, &position, &st), STATUS_INVALID_ARGUMENT, "BAD_FEATURE");
    FAILS(store_feature_put(store, 77, &space, values, 1, &position, &st), STATUS_NOT_FOUND, "UNKNOWN_ITEM");
    FAILS(store_feature_put(store, item_id, &wider, values, 1, &position, &st), STATUS_NOT_FOUND, "UNKNOWN_SPACE");
    store_rollback(store);
    OK(store_begin(store, &st));
    add_space(store, "text", 3);
    add_space(store, "image", 2);
    OK(store_commit(store, &st));
    struct store_space listed[3];
    size_t count;
    OK(store_space_list(store, listed, 3, &count, &st));
    cr_assert_eq(count, 2);
    cr_assert(listed[0].space_id == 1 && listed[0].dimension == 3 && strcmp(listed[0].modality, "text") == 0);
    cr_assert(listed[1].space_id == 2 && listed[1].dimension == 2 && strcmp(listed[1].encoder, "enc@1") == 0);
    OK(store_space_list(store, listed, 1, &count, &st));
    cr_assert_eq(count, 1);
    store_close(store);
}

Test(store, a_damaged_vector_is_noticed_and_its_item_named)
{
    static const char *const damages[] = {"UPDATE feature SET vec = x'0000803F0000004000004041'",
                                          "UPDATE feature SET vec = x'0000803F'", "UPDATE space SET dimension = 4",
                                          "UPDATE feature SET checksum = 1", "DELETE FROM space"};
    static const float values[3] = {1, 2, 3};
    int64_t position;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        struct store *store = writer();
        OK(store_begin(store, &st));
        const uint32_t item_id = add_item(store, "red-shoe");
        const struct store_space space = add_space(store, "text", 3);
        OK(store_feature_put(store, item_id, &space, values, 1, &position, &st));
        OK(store_commit(store, &st));
        OK(store_check(store, &st));
        store_close(store);
        run_sql(damages[i]);
        store = reader();
        struct collected got = {.left = 99};
        struct status why = STATUS_INIT;
        cr_assert_not(store_feature_scan(store, collect_feature, &got, &why), "%s", damages[i]);
        cr_assert_str_eq(why.reason, "STORE_CORRUPT");
        cr_assert_not_null(strstr(why.message, "'red-shoe'"), "%s", why.message);
        cr_assert_not_null(strstr(why.message, "shop.db"), "%s", why.message);
        FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
        store_close(store);
    }
}
