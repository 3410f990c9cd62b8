/* SPDX-License-Identifier: Apache-2.0
 *
 * The past of a store against copies taken at the time; positions by time; forgetting; databases of version 3. */
#include "tests/unit/store_rig.h"

TestSuite(past, .init = set_up, .fini = tear_down);

#define CHANGES 150 /* of a history; the one at position p is at 10 * p */
#define ITEMS   10

/* ---- a history, and copies of every moment of it */

static unsigned state;

static unsigned draw(unsigned below)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % below;
}

static bool dump_item(void *context, const struct store_item *item)
{
    fprintf(context, "%u %s|%s|%s|%s|%d %.17g|%d%d|%lld..%lld|%lld\n", item->item_id, item->name, item->title,
            item->categories_json, item->attributes_json, item->has_price, item->price, item->available, item->deleted,
            (long long)item->created_ms, (long long)item->expires_ms, (long long)item->position);
    return true;
}

static bool dump_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    fprintf(context, "%u,%u:%g..%g\n", item_id, space_id, (double)values[0], (double)values[dimension - 1]);
    return true;
}

/* Items, vectors and model as they are, malloc'ed. */
static char *take_copy(struct store *store)
{
    char *text = NULL, version[97];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    OK(store_item_scan(store, dump_item, out, &st));
    OK(store_feature_scan(store, dump_feature, out, &st));
    OK(store_activation_latest(store, version, &st));
    fprintf(out, "model %s\n", version);
    fclose(out);
    return text;
}

static void expect_past(struct store *store, int64_t position, const char *want)
{
    char *text = NULL, version[97];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    OK(store_past_items(store, position, dump_item, out, &st));
    OK(store_past_features(store, position, dump_feature, out, &st));
    OK(store_past_model(store, position, version, &st));
    fprintf(out, "model %s\n", version);
    fclose(out);
    cr_assert_str_eq(text, want, "at %lld:\n%s\nnot\n%s", (long long)position, text, want);
    free(text);
}

static void put_item(struct store *store, uint32_t item_id, int64_t at_ms)
{
    char name[32], title[32], categories[64], attributes[64];
    snprintf(name, sizeof name, "item-%u-%u", item_id, item_id == 0 ? draw(1000000) : draw(3));
    snprintf(title, sizeof title, "\"a\" \\ title\t%u", draw(100));
    snprintf(categories, sizeof categories, "[\"a/b\",\"c%u\"]", draw(9));
    snprintf(attributes, sizeof attributes, "{\"x\":%u.50,\"y\":null,\"z\":\"\\\"\\u00e9\"}", draw(9));
    struct store_item item = {.item_id = item_id,
                              .name = name,
                              .title = draw(4) == 0 ? "" : title,
                              .categories_json = draw(4) == 0 ? NULL : categories,
                              .attributes_json = draw(4) == 0 ? NULL : attributes,
                              .has_price = draw(3) > 0,
                              .price = draw(2) == 0 ? draw(10000) / 100.0 : draw(10000) / 7.0,
                              .available = draw(2) == 0,
                              .deleted = draw(4) == 0,
                              .created_ms = draw(2) == 0 ? 0 : 1700000000000 + draw(1000),
                              .expires_ms = draw(2) == 0 ? INT64_MAX : 1800000000000 + draw(1000)};
    OK(store_item_put(store, &item, at_ms, &st));
}

/* `store` has the spaces, user and models; one position. */
static void change(struct store *store, const struct store_space spaces[2], uint32_t *items, int64_t at_ms)
{
    const unsigned what = draw(8);
    int64_t position;
    if (*items < ITEMS && (*items == 0 || what == 0)) {
        put_item(store, 0, at_ms);
        ++*items;
    } else if (what <= 2) {
        put_item(store, 1 + draw(*items), at_ms);
    } else if (what <= 5) {
        const float values[3] = {(float)draw(3) + 1, 2, (float)draw(2)}; /* few, so that the same comes again */
        OK(store_feature_put(store, 1 + draw(*items), &spaces[draw(2)], values, at_ms, &position, &st));
    } else if (what == 6) {
        struct store_event event = {.ts_ms = draw(1000), .user_id = 1, .item_id = 1, .behaviour = 1};
        bool duplicate;
        OK(store_event_append(store, &event, &(struct store_event_extra){.received_ms = at_ms}, &duplicate, &st));
    } else {
        OK(store_activation_put(store, draw(2) == 0 ? "v1" : "v2", 0, at_ms, &st));
    }
}

static char *copies[CHANGES + 1];

static struct store *live(unsigned seed)
{
    struct store *store = writer();
    struct store_model model = {.version = "v1", .name = "m", .sha256 = "s"};
    uint32_t items = 0;
    state = seed;
    OK(store_begin(store, &st));
    const struct store_space spaces[2] = {add_space(store, "text", 3), add_space(store, "image", 3)};
    OK(store_model_put(store, &model, "m", 1, &st));
    strcpy(model.version, "v2");
    OK(store_model_put(store, &model, "m", 1, &st));
    add_user(store, "u");
    OK(store_commit(store, &st));
    copies[0] = take_copy(store);
    for (int64_t i = 1; i <= CHANGES; i++) {
        OK(store_begin(store, &st));
        change(store, spaces, &items, 10 * i);
        OK(store_commit(store, &st));
        cr_assert_eq(position_of(store), i);
        copies[i] = take_copy(store);
    }
    return store;
}

static void end(struct store *store)
{
    for (size_t i = 0; i <= CHANGES; i++)
        free(copies[i]);
    store_close(store);
}

static int64_t position_at(struct store *store, int64_t at_ms)
{
    int64_t position = -1;
    OK(store_past_position(store, at_ms, &position, &st));
    return position;
}

static int64_t begin_of(struct store *store)
{
    int64_t from_ms = -1;
    OK(store_past_begin(store, &from_ms, &st));
    return from_ms;
}

Test(past, is_what_a_copy_of_the_time_says)
{
    for (unsigned seed = 1; seed <= 3; seed++) {
        snprintf(dir, sizeof dir, "%s/shop%u", top, seed);
        struct store *store = live(seed);
        cr_assert_eq(begin_of(store), 0);
        for (int64_t i = 0; i <= CHANGES; i++)
            expect_past(store, i, copies[i]);
        expect_past(store, INT64_MAX, copies[CHANGES]);
        expect_query("SELECT count(*) >= 5 FROM feature_past", "1");
        struct store *other = reader();
        expect_past(other, CHANGES / 2, copies[CHANGES / 2]);
        cr_assert_eq(begin_of(other), 0);
        OK(store_check(other, &st));
        store_close(other);
        end(store);
    }
}

static bool stop_item(void *context, const struct store_item *item)
{
    (void)item;
    return ++*(int *)context < 2;
}

static bool stop_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    (void)item_id, (void)space_id, (void)values, (void)dimension;
    return ++*(int *)context < 2;
}

Test(past, scans_stop_when_told_and_can_start_again)
{
    struct store *store = live(1);
    for (int i = 0; i < 2; i++) {
        int items = 0, features = 0;
        OK(store_past_items(store, CHANGES, stop_item, &items, &st));
        OK(store_past_features(store, CHANGES, stop_feature, &features, &st));
        cr_assert(items == 2 && features == 2, "%d, %d", items, features);
    }
    end(store);
}

Test(past, a_position_is_found_by_its_time)
{
    struct store *store = live(4);
    for (int64_t at_ms = -5; at_ms < 10 * CHANGES + 25; at_ms++) {
        const int64_t whole = at_ms < 0 ? 0 : at_ms / 10, want = whole < CHANGES ? whole : CHANGES;
        cr_assert_eq(position_at(store, at_ms), want, "at %lld", (long long)at_ms);
    }
    struct store *other = reader();
    cr_assert_eq(position_at(other, 509), 50);
    cr_assert_eq(position_at(other, INT64_MAX), CHANGES);
    cr_assert_eq(position_at(other, INT64_MIN), 0);
    OK(store_read_begin(other, &st));
    cr_assert_eq(position_at(other, 10), 1);
    store_read_end(other);
    store_close(other);
    end(store);
}

/* ---- forgetting */

static void forget(struct store *store, int64_t before_ms, int most)
{
    OK(store_begin(store, &st));
    OK(store_past_forget(store, before_ms, most, &st));
    OK(store_commit(store, &st));
}

Test(past, forgetting_leaves_every_later_moment_as_it_was)
{
    static const struct {
        int64_t before_ms;
        int most;
    } cases[] = {{0, 5}, {300, 5}, {200, 5}, {304, 1}, {900, 4}, {1100, 1000}, {10 * CHANGES + 100, 7}};
    struct store *store = live(5);
    int64_t latest = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int64_t before_ms = cases[i].before_ms;
        int calls = 0;
        latest = before_ms > latest ? before_ms : latest;
        do {
            const int64_t last = begin_of(store);
            forget(store, before_ms, cases[i].most);
            const int64_t begin_ms = begin_of(store);
            cr_assert(begin_ms >= last && begin_ms <= latest, "%lld", (long long)begin_ms);
            for (int64_t at = position_at(store, begin_ms); at <= CHANGES; at++)
                expect_past(store, at, copies[at]);
            cr_assert_lt(++calls, 200);
        } while (begin_of(store) < before_ms);
        cr_assert(cases[i].before_ms != 900 || calls > 2, "a call forgets no more than it was told to");
        OK(store_check(store, &st));
    }
    /* of each item and vector there is what holds now, and what made it so */
    expect_query("SELECT count(*) FROM feature_past", "0");
    expect_query("SELECT count(*) - (SELECT count(*) FROM feature) - (SELECT count(*) FROM item) FROM item_change",
                 "0");
    end(store);
    store = writer();
    cr_assert_eq(begin_of(store), 10 * CHANGES + 100);
    FAILS(store_past_forget(store, 1, 1, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    store_close(store);
}

Test(past, what_is_rolled_back_was_not_forgotten)
{
    struct store *store = live(6);
    OK(store_begin(store, &st));
    OK(store_past_forget(store, 1000, 1000, &st));
    cr_assert_eq(begin_of(store), 1000, "a writer sees its own");
    store_rollback(store);
    cr_assert_eq(begin_of(store), 0);
    for (int64_t i = 0; i <= CHANGES; i++)
        expect_past(store, i, copies[i]);
    forget(store, 1000, 1000);
    expect_query("SELECT count(*) FROM feature_past WHERE until_position <= 100", "0");
    expect_query("SELECT count(*) > 0 FROM feature_past", "1");
    end(store);
}

static void put_counts(struct store *store, int64_t position, int64_t at_ms, const char *bytes)
{
    OK(store_begin(store, &st));
    OK(store_counts_put(store, position, at_ms, bytes, bytes != NULL ? strlen(bytes) : 0, &st));
    OK(store_commit(store, &st));
}

static void expect_counts(struct store *store, int64_t at_ms, int64_t want)
{
    int64_t position = -1;
    OK(store_past_counts(store, at_ms, &position, &st));
    cr_assert_eq(position, want, "at %lld: %lld", (long long)at_ms, (long long)position);
}

Test(past, versions_of_the_counts_keep_their_times)
{
    struct store *store = writer();
    expect_counts(store, INT64_MAX, 0);
    put_counts(store, 100, 10, "first");
    put_counts(store, 200, 20, NULL);
    put_counts(store, 300, 30, "third");
    put_counts(store, 400, 40, NULL);
    put_counts(store, 300, 50, NULL);
    put_counts(store, 200, 60, "second");
    static const int64_t cases[][2] = {{9, 0}, {10, 100}, {25, 200}, {30, 300}, {39, 300}, {45, 400}, {999, 400}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_counts(store, cases[i][0], cases[i][1]);
    expect_query("SELECT group_concat(position) FROM counts WHERE bytes IS NOT NULL", "200,300");
    forget(store, 35, 10);
    cr_assert_eq(begin_of(store), 35);
    expect_query("SELECT group_concat(position) FROM counts", "200,300,400"); /* bytes stay */
    for (int64_t i = 1; i <= 6; i++)
        put_counts(store, 400 + i, 50 + i, NULL);
    int calls = 0;
    for (int64_t begin_ms = 35; begin_ms < 60; begin_ms = begin_of(store)) {
        for (int64_t at_ms = begin_ms; at_ms < 60; at_ms++)
            expect_counts(store, at_ms, at_ms < 40 ? 300 : at_ms < 51 ? 400 : at_ms > 56 ? 406 : 350 + at_ms);
        forget(store, 60, 2);
        cr_assert_lt(++calls, 10);
    }
    cr_assert_gt(calls, 2);
    expect_query("SELECT group_concat(position) FROM counts", "200,300,406");
    store_close(store);
}

/* ---- times that do not ascend, positions that have none */

static int64_t append_at(struct store *store, int64_t received_ms)
{
    struct store_event event = {.ts_ms = 1, .user_id = 1, .item_id = 1, .behaviour = 1};
    bool duplicate;
    OK(store_event_append(store, &event, &(struct store_event_extra){.received_ms = received_ms}, &duplicate, &st));
    return event.position;
}

Test(past, clocks_that_step_and_positions_without_rows)
{
    struct store *store = writer();
    int64_t moved, duplicates, position;
    bool renamed;
    cr_assert_eq(position_at(store, INT64_MAX), 0);
    OK(store_begin(store, &st));
    add_user(store, "u");
    append_at(store, 100);
    append_at(store, 200);
    OK(store_commit(store, &st));
    OK(store_begin(store, &st));
    append_at(store, 1);
    store_rollback(store); /* nothing is at position 3 */
    OK(store_begin(store, &st));
    cr_assert_eq(append_at(store, 300), 4);
    append_at(store, 250);
    append_at(store, 400);
    OK(store_commit(store, &st));
    static const int64_t cases[][2] = {{99, 0}, {100, 1}, {199, 1}, {200, 2}, {300, 5}, {399, 5}, {400, 6}, {999, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(position_at(store, cases[i][0]), cases[i][1], "at %lld", (long long)cases[i][0]);
    position = position_at(store, 270); /* depends on which rows it looks at */
    cr_assert(position == 2 || position == 5, "%lld", (long long)position);

    OK(store_begin(store, &st));
    OK(store_user_merge(store, "u", "v", &moved, &duplicates, &renamed, &position, &st));
    OK(store_commit(store, &st));
    cr_assert_eq(position, 7);
    cr_assert_eq(position_at(store, 999), 6);
    put_counts(store, 7, 500, NULL); /* which tells that position 7 was there */
    cr_assert_eq(position_at(store, 499), 6);
    cr_assert_eq(position_at(store, 500), 7);
    store_close(store);
}

/* ---- vectors */

Test(past, a_vector_is_kept_when_another_takes_its_place)
{
    static const float first[3] = {1, 2, 3}, second[3] = {4, 5, 6};
    struct store *store = writer();
    int64_t position;
    OK(store_begin(store, &st));
    const uint32_t item_id = add_item(store, "red-shoe");
    const struct store_space space = add_space(store, "text", 3);
    OK(store_feature_put(store, item_id, &space, first, 2000, &position, &st));
    OK(store_feature_put(store, item_id, &space, first, 3000, &position, &st));
    OK(store_feature_put(store, item_id, &space, second, 4000, &position, &st));
    OK(store_commit(store, &st));
    expect_query("SELECT group_concat(item_id || ',' || space_id || '<' || until_position || ':' || hex(vec))"
                 " FROM feature_past",
                 "1,1<4:0000803F0000004000004040");
    store_close(store);
    run_sql("UPDATE feature_past SET vec = x'0000803F0000004000004041'");
    store = reader();
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    int seen = 0;
    struct status why = STATUS_INIT;
    cr_assert_not(store_past_features(store, 3, stop_feature, &seen, &why));
    cr_assert_str_eq(why.reason, "STORE_CORRUPT");
    cr_assert_not_null(strstr(why.message, "'red-shoe'"), "%s", why.message);
    OK(store_past_features(store, 4, stop_feature, &seen, &st));
    store_close(store);
}

/* ---- databases of version 3 */

static void make_version_3(void)
{
    run_sql("DROP TABLE feature_past; DROP TABLE request; DROP INDEX item_change_item; DROP INDEX counts_time;"
            "DROP INDEX counts_blob; DROP TABLE list; DELETE FROM total WHERE name IN ('past_ms', 'forgotten');"
            "CREATE TABLE list(user_id INTEGER NOT NULL REFERENCES user, name TEXT NOT NULL, model TEXT NOT NULL,"
            " counts INTEGER NOT NULL, catalogue INTEGER NOT NULL, at_position INTEGER NOT NULL,"
            " now_ms INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY(user_id, name)) STRICT;"
            "DROP TABLE impression; CREATE TABLE impression(user_id INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
            " item_id INTEGER NOT NULL, place INTEGER NOT NULL CHECK(place >= 1), recomm_id TEXT NOT NULL,"
            " PRIMARY KEY(user_id, at_ms, item_id, recomm_id)) STRICT, WITHOUT ROWID;"
            "CREATE UNIQUE INDEX impression_once ON impression(user_id, recomm_id, item_id);"
            "CREATE INDEX impression_time ON impression(at_ms);"
            "INSERT INTO impression VALUES(1, 2, 3, 4, 'r');" /* the schema that looks damaged to a check */
            "PRAGMA user_version = 3");
}

Test(past, of_version_3_begins_where_nothing_is_missing)
{
    static const float values[2][3] = {{1, 2, 3}, {4, 5, 6}};
    struct store *store = writer();
    struct store_list list = {0};
    int64_t position;
    OK(store_begin(store, &st));
    const uint32_t a = add_item(store, "a"), b = add_item(store, "b"); /* at 1000 */
    const struct store_space space = add_space(store, "text", 3);
    OK(store_feature_put(store, a, &space, values[0], 2000, &position, &st));
    OK(store_commit(store, &st));
    store_close(store);
    make_version_3();
    store = writer();
    cr_assert_eq(begin_of(store), 0, "nothing was overwritten");
    expect_query("SELECT user_id || ' ' || at_ms || ' ' || item_id || ' ' || recomm_id || ' ' || place FROM impression",
                 "1 2 3 r 4");
    OK(store_begin(store, &st));
    OK(store_feature_put(store, a, &space, values[1], 3000, &position, &st)); /* 4 */
    OK(store_commit(store, &st));
    char *want = take_copy(store);
    OK(store_begin(store, &st));
    OK(store_feature_put(store, b, &space, values[0], 4000, &position, &st));
    OK(store_commit(store, &st));
    store_close(store);
    make_version_3();
    store = writer();
    expect_query("PRAGMA user_version", "4");
    cr_assert_eq(begin_of(store), 3000);
    expect_past(store, position_at(store, 3000), want);
    free(want);
    for (int64_t i = 1; i <= 16; i++)
        put_counts(store, i, 5000 + i, NULL);
    OK(store_begin(store, &st));
    OK(store_list_put(store, 0, "everybody", &list, &st));
    OK(store_commit(store, &st));
    OK(store_check(store, &st));
    store_close(store);
    make_version_3();
    store = writer();
    cr_assert_eq(begin_of(store), 5001, "versions before the oldest of sixteen may have been forgotten");
    store_close(store);
}
