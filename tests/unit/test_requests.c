/* SPDX-License-Identifier: Apache-2.0
 *
 * The request log, exposures with their outcomes, stored lists, and what is left of a user who was erased or merged. */
#include "tests/unit/store_rig.h"

TestSuite(requests, .init = set_up, .fini = tear_down);

static const uint32_t three[3] = {7, UINT32_MAX, 9};
static const uint8_t teams[3] = {0, 1, 255};

/* Add a request of a user (0: a session) in experiment "x", variant "a", and return its number. */
static int64_t log_request(struct store *store, int64_t user_id, int64_t at_ms, const char *recomm_id,
                           const char *experiment)
{
    struct store_request request = {.at_ms = at_ms,
                                    .user_id = user_id,
                                    .recomm_id = recomm_id,
                                    .method = "recommend",
                                    .experiment = experiment,
                                    .variant = "a",
                                    .overlap = -1,
                                    .items = three,
                                    .item_count = 3};
    OK(store_request_add(store, &request, &st));
    return request.request_id;
}

static void add_event(struct store *store, int64_t user_id, const char *recomm_id, uint32_t item_id, uint8_t behaviour)
{
    struct store_event event = {.ts_ms = 5, .user_id = user_id, .item_id = item_id, .behaviour = behaviour};
    const struct store_event_extra extra = {.received_ms = 1, .recomm_id = recomm_id};
    bool duplicate;
    OK(store_event_append(store, &event, &extra, &duplicate, &st));
}

/* ---- the log */

static bool check_first(void *context, const struct store_request *r)
{
    cr_assert(r->at_ms == 50 && r->counts == 1 && r->catalogue == -2 && r->position == 3 && r->now_ms == INT64_MAX);
    cr_assert_eq(r->user_id, 1);
    cr_assert_str_eq(r->recomm_id, "r-1");
    cr_assert_str_eq(r->method, "recommend");
    cr_assert_str_eq(r->scenario, "home");
    cr_assert_str_eq(r->experiment, "x");
    cr_assert_str_eq(r->variant, "b");
    cr_assert_str_eq(r->model, "m-1");
    cr_assert_eq(r->overlap, 0.25);
    cr_assert(r->body_bytes == 5 && memcmp(r->body, "bo\0dy", 5) == 0);
    cr_assert_eq(r->item_count, 3);
    cr_assert_eq(memcmp(r->items, three, sizeof three), 0);
    cr_assert_not_null(r->teams);
    cr_assert_eq(memcmp(r->teams, teams, sizeof teams), 0);
    ++*(int *)context;
    return false;
}

static bool check_second(void *context, const struct store_request *r)
{
    cr_assert(r->request_id == 2 && r->at_ms == 60 && r->user_id == 0 && r->overlap == -1);
    cr_assert_str_eq(r->recomm_id, "");
    cr_assert_str_eq(r->model, "");
    cr_assert(r->body_bytes == 0 && r->item_count == 0 && r->teams == NULL);
    ++*(int *)context;
    return true;
}

Test(requests, come_back_as_they_were)
{
    struct store *store = writer();
    int seen = 0;
    struct store_request first = {.at_ms = 50,
                                  .user_id = 1,
                                  .recomm_id = "r-1",
                                  .method = "recommend",
                                  .scenario = "home",
                                  .experiment = "x",
                                  .variant = "b",
                                  .model = "m-1",
                                  .counts = 1,
                                  .catalogue = -2,
                                  .position = 3,
                                  .now_ms = INT64_MAX,
                                  .overlap = 0.25,
                                  .body = "bo\0dy",
                                  .body_bytes = 5,
                                  .items = three,
                                  .teams = teams,
                                  .item_count = 3},
                         second = {.at_ms = 60, .overlap = -1};
    FAILS(store_request_add(store, &first, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    OK(store_begin(store, &st));
    cr_assert_eq(add_user(store, "u"), 1);
    OK(store_request_add(store, &first, &st));
    OK(store_request_add(store, &second, &st));
    cr_assert(first.request_id == 1 && second.request_id == 2);
    first.user_id = 99; /* gone, or never there */
    OK(store_request_add(store, &first, &st));
    cr_assert_eq(first.request_id, 0);
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(store), 0, "requests take no position");
    OK(store_request_scan(store, 0, 0, 100, 99, check_first, &seen, &st));
    OK(store_request_scan(store, 1, 0, 100, 99, check_second, &seen, &st));
    cr_assert_eq(seen, 2);
    expect_query("SELECT hex(items) || ' ' || hex(teams) FROM request WHERE request_id = 1",
                 "07000000FFFFFFFF09000000 0001FF");
    OK(store_check(store, &st));
    store_close(store);

    run_sql("UPDATE request SET teams = x'00' WHERE request_id = 1");
    store = reader();
    FAILS(store_request_scan(store, 0, 0, 100, 99, check_first, &seen, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
    run_sql("UPDATE request SET teams = x'', items = x'010203' WHERE request_id = 1");
    store = reader();
    FAILS(store_request_scan(store, 0, 0, 100, 99, check_first, &seen, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

struct page {
    char text[256];
    int64_t last;
};

static bool collect(void *context, const struct store_request *request)
{
    struct page *page = context;
    const size_t length = strlen(page->text);
    snprintf(page->text + length, sizeof page->text - length, "%lld ", (long long)request->request_id);
    page->last = request->request_id;
    return true;
}

static struct page read_page(struct store *store, int64_t after, int64_t from_ms, int64_t until_ms, size_t most,
                             const char *want)
{
    struct page page = {.last = after};
    OK(store_request_scan(store, after, from_ms, until_ms, most, collect, &page, &st));
    cr_assert_str_eq(page.text, want);
    return page;
}

Test(requests, are_paged_by_number_and_bounded_by_time)
{
    struct store *store = writer();
    static const int64_t times[] = {10, 20, 40, 30, 50, 60}; /* two overtook each other */
    OK(store_begin(store, &st));
    for (size_t i = 0; i < 6; i++)
        log_request(store, 0, times[i], "r", "");
    OK(store_commit(store, &st));
    read_page(store, 0, 0, 100, 99, "1 2 3 4 5 6 ");
    read_page(store, 0, 0, 100, 0, "");
    struct page page = read_page(store, 0, 20, 60, 2, "2 3 ");
    page = read_page(store, page.last, 20, 60, 2, "4 5 ");
    read_page(store, page.last, 20, 60, 2, "");
    read_page(store, 0, 30, 31, 99, "4 ");
    read_page(store, 0, 31, 30, 99, "");
    read_page(store, 0, 61, INT64_MAX, 99, "");
    read_page(store, 6, 0, INT64_MAX, SIZE_MAX, "");

    OK(store_begin(store, &st));
    OK(store_request_forget(store, 40, 2, &st));
    OK(store_commit(store, &st));
    read_page(store, 0, 0, 100, 99, "3 4 5 6 ");
    OK(store_begin(store, &st));
    OK(store_request_forget(store, 40, 99, &st));
    OK(store_commit(store, &st));
    read_page(store, 0, 0, 100, 99, "3 5 6 ");
    OK(store_begin(store, &st));
    OK(store_request_forget(store, 1000, 99, &st));
    OK(store_commit(store, &st));
    read_page(store, 0, 0, 100, 99, "");
    store_close(store);

    store = writer();
    OK(store_begin(store, &st));
    cr_assert_eq(log_request(store, 0, 70, "r", ""), 7, "numbers are not used again");
    store_rollback(store);
    OK(store_begin(store, &st));
    cr_assert_eq(log_request(store, 0, 70, "r", ""), 8);
    OK(store_commit(store, &st));
    store_close(store);
}

/* ---- experiments */

struct outcomes {
    char text[512];
    int left;
};

static bool collect_exposure(void *context, const struct store_exposure *exposure)
{
    struct outcomes *to = context;
    const size_t length = strlen(to->text);
    cr_assert(exposure->item_count == 3 && exposure->items[2] == 9 && exposure->teams == NULL);
    cr_assert(exposure->overlap == -1 && strcmp(exposure->variant, "a") == 0);
    snprintf(to->text + length, sizeof to->text - length, "%lld/%lld:%u@%u ", (long long)exposure->user_id,
             (long long)exposure->request_id, exposure->behaviour, exposure->item_id);
    return --to->left > 0;
}

static void expect_exposures(struct store *store, const char *experiment, int64_t from_ms, int64_t until_ms, int left,
                             const char *want)
{
    struct outcomes got = {.left = left};
    OK(store_exposure_scan(store, experiment, from_ms, until_ms, collect_exposure, &got, &st));
    cr_assert_str_eq(got.text, want);
}

Test(requests, exposures_come_with_what_they_led_to)
{
    struct store *store = writer();
    OK(store_begin(store, &st));
    const int64_t u = add_user(store, "u"), v = add_user(store, "v");
    log_request(store, v, 10, "r1", "x");
    log_request(store, u, 20, "r2", "x");
    log_request(store, u, 30, "r3", "x");
    log_request(store, 0, 40, "r4", "x"); /* a session */
    log_request(store, u, 50, "r5", "y");
    log_request(store, u, 60, "r6", NULL); /* no experiment */
    add_event(store, u, "r2", 9, 2);
    add_event(store, u, "r2", 7, 1);
    add_event(store, v, "r2", 7, 1); /* somebody else */
    add_event(store, u, "r5", 7, 3);
    add_event(store, u, NULL, 7, 1);
    OK(store_commit(store, &st));
    expect_exposures(store, "x", 0, 100, 99, "0/4:0@0 1/2:0@0 1/2:2@9 1/2:1@7 1/3:0@0 2/1:0@0 ");
    expect_exposures(store, "x", 0, 100, 2, "0/4:0@0 1/2:0@0 ");
    expect_exposures(store, "x", 0, 100, 1, "0/4:0@0 ");
    expect_exposures(store, "x", 10, 30, 99, "1/2:0@0 1/2:2@9 1/2:1@7 2/1:0@0 ");
    expect_exposures(store, "y", 0, 100, 99, "1/5:0@0 1/5:3@7 ");
    expect_exposures(store, "z", 0, 100, 99, "");
    expect_exposures(store, "", 0, 100, 99, "");
    store_close(store);
}

/* ---- stored lists */

static void put_list(struct store *store, int64_t user_id, const char *name, size_t count)
{
    uint32_t item_ids[3] = {7, UINT32_MAX, 9};
    float scores[3] = {1.5f, -0.1f, 0};
    const struct store_list list = {.model = "m-1",
                                    .counts = 1,
                                    .catalogue = 2,
                                    .position = 3,
                                    .now_ms = 4,
                                    .item_ids = item_ids,
                                    .scores = scores,
                                    .count = count};
    OK(store_list_put(store, user_id, name, &list, &st));
}

static void expect_list(struct store *store, int64_t user_id, const char *name, int want_count)
{
    struct store_list list = {.count = 99};
    OK(store_list_get(store, user_id, name, &list, &st));
    cr_assert_eq(list.item_ids != NULL, want_count >= 0);
    cr_assert_eq(list.count, (size_t)(want_count >= 0 ? want_count : 0));
    if (want_count >= 0) {
        cr_assert_str_eq(list.model, "m-1");
        cr_assert(list.counts == 1 && list.catalogue == 2 && list.position == 3 && list.now_ms == 4);
    }
    if (want_count == 3) {
        cr_assert_eq(memcmp(list.item_ids, three, sizeof three), 0);
        cr_assert(list.scores[0] == 1.5f && list.scores[1] == -0.1f && list.scores[2] == 0);
    }
    free(list.item_ids);
}

Test(requests, lists_are_stored_replaced_and_read)
{
    struct store *store = writer();
    struct store_list list = {0};
    FAILS(store_list_put(store, 0, "home", &list, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    OK(store_begin(store, &st));
    const int64_t user_id = add_user(store, "u");
    put_list(store, 0, "home", 3);
    put_list(store, user_id, "home", 1);
    put_list(store, user_id, "cart", 0);
    put_list(store, user_id, "home", 3);
    put_list(store, 99, "home", 3); /* nobody */
    FAILS(store_list_put(store, -1, "home", &list, &st), STATUS_INVALID_ARGUMENT, "BAD_LIST");
    OK(store_commit(store, &st));
    expect_list(store, 0, "home", 3);
    expect_list(store, user_id, "home", 3);
    expect_list(store, user_id, "cart", 0);
    expect_list(store, user_id, "other", -1);
    expect_list(store, 99, "home", -1);
    expect_query("SELECT hex(content) FROM list WHERE user_id = 0", "070000000000C03FFFFFFFFFCDCCCCBD0900000000000000");
    OK(store_check(store, &st));
    store_close(store);
    run_sql("UPDATE list SET content = x'0700000000' WHERE user_id = 0");
    store = reader();
    FAILS(store_list_get(store, 0, "home", &list, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
    run_sql("DELETE FROM user; UPDATE total SET value = 0 WHERE name = 'users'");
    store = reader();
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

/* ---- erasing and merging */

static void fill_user(struct store *store, const char *name)
{
    const int64_t user_id = add_user(store, name);
    bool duplicate;
    for (uint32_t i = 1; i <= 3; i++) {
        char recomm_id[64];
        snprintf(recomm_id, sizeof recomm_id, "r-%s-%u", name, i);
        add_event(store, user_id, recomm_id, i, 1);
        const struct store_impression impression = {
            .user_id = user_id, .at_ms = 5, .item_id = i, .place = (int32_t)i, .recomm_id = recomm_id};
        OK(store_impression_add(store, &impression, &duplicate, &st));
        if (i < 3)
            log_request(store, user_id, 5, recomm_id, "x");
    }
    put_list(store, user_id, "home", 3);
}

/* Whether the bytes of `text` are somewhere in a file of the store. */
static bool file_has(const char *name, const char *text)
{
    char path[256];
    path_of(name, path);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *bytes = malloc(4 << 20);
    cr_assert_not_null(bytes);
    const size_t size = fread(bytes, 1, 4 << 20, file);
    fclose(file);
    const bool found = memmem(bytes, size, text, strlen(text)) != NULL;
    free(bytes);
    return found;
}

Test(requests, nothing_is_left_of_a_user_who_was_erased)
{
    struct store *store = writer();
    struct store_erasure erased;
    struct store_sizes sizes;
    int64_t position = 0, merged = -1, user_id = -1;
    OK(store_begin(store, &st));
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "visitor-%02d", i);
        fill_user(store, name);
    }
    fill_user(store, "forget-me-4711");
    log_request(store, 0, 5, "session", "x");
    OK(store_commit(store, &st));
    OK(store_checkpoint(store, true, &st));
    cr_assert(file_has("shop.db", "forget-me-4711"), "the test would find it");
    FAILS(store_user_erase(store, "forget-me-4711", &erased, &position, &st), STATUS_INTERNAL, "NO_TRANSACTION");

    OK(store_begin(store, &st));
    FAILS(store_user_erase(store, "nobody", &erased, &position, &st), STATUS_NOT_FOUND, "UNKNOWN_USER");
    OK(store_user_erase(store, "forget-me-4711", &erased, &position, &st));
    OK(store_commit(store, &st));
    cr_assert(erased.events == 3 && erased.impressions == 3 && erased.requests == 2);
    cr_assert_eq(position, 21 * 3 + 1);
    cr_assert_eq(position_of(store), position);
    OK(store_merged_position(store, &merged, &st));
    cr_assert_eq(merged, position);
    OK(store_checkpoint(store, true, &st));
    OK(store_sizes(store, &sizes, &st));
    cr_assert(sizes.wal_bytes == 0 && sizes.users == 20 && sizes.events == 60);
    cr_assert_not(file_has("shop.db", "forget-me-4711"));
    cr_assert(file_has("shop.db", "visitor-07"));
    expect_query("SELECT count(*) FROM (SELECT user_id FROM user UNION ALL SELECT user_id FROM event"
                 " UNION ALL SELECT user_id FROM impression UNION ALL SELECT user_id FROM request"
                 " UNION ALL SELECT user_id FROM list) WHERE user_id = 21",
                 "0");
    expect_query("SELECT count(*) || ' ' || count(user_id) FROM request", "41 40");
    OK(store_check(store, &st));
    OK(store_user_find(store, "forget-me-4711", false, &user_id, NULL, &st));
    cr_assert_eq(user_id, 0);
    store_close(store);

    store = writer();
    OK(store_begin(store, &st));
    cr_assert_eq(log_request(store, 21, 9, "r", "x"), 0, "what comes late for the number is not stored");
    put_list(store, 21, "home", 3);
    expect_list(store, 21, "home", -1);
    cr_assert_eq(add_user(store, "forget-me-4711"), 22, "the number is not used again");
    store_rollback(store);
    store_close(store);
}

Test(requests, a_merge_takes_requests_along_and_drops_lists)
{
    struct store *store = writer();
    int64_t moved, duplicates, position;
    bool renamed;
    OK(store_begin(store, &st));
    fill_user(store, "session");
    fill_user(store, "user");
    append(store, 2, 9, 9); /* the larger one's number stays */
    OK(store_user_merge(store, "session", "user", &moved, &duplicates, &renamed, &position, &st));
    OK(store_commit(store, &st));
    expect_query("SELECT group_concat(request_id || ':' || user_id) FROM request", "1:2,2:2,3:2,4:2");
    expect_query("SELECT count(*) FROM list WHERE user_id = 1", "0");
    expect_exposures(store, "x", 0, 100, 99, "2/1:0@0 2/1:1@1 2/2:0@0 2/2:1@2 2/3:0@0 2/3:1@1 2/4:0@0 2/4:1@2 ");
    OK(store_check(store, &st));
    store_close(store);
}
