/* SPDX-License-Identifier: Apache-2.0
 *
 * Conditions, lists of them and filters on a shop of seven that is written down here; those that come by chance are in
 * test_conditions_twin.c. */
#include "tests/unit/conditions_rig.h"

TestSuite(conditions, .init = set_up, .fini = tear_down);

/* ---- conditions */

static struct rule_condition any_of(const char *field, const char *const *values, size_t count)
{
    struct rule_condition condition = on(field);
    condition.any = values;
    condition.any_count = count;
    return condition;
}

static struct rule_condition none_of(const char *field, const char *const *values, size_t count)
{
    struct rule_condition condition = on(field);
    condition.none = values;
    condition.none_count = count;
    return condition;
}

static struct rule_condition between(const char *field, double least, double most)
{
    struct rule_condition condition = on(field);
    condition.least = least;
    condition.most = most;
    return condition;
}

static struct rule_condition existing(const char *field, int exists)
{
    struct rule_condition condition = on(field);
    condition.exists = exists;
    return condition;
}

#define TEXTS(...)                                                                                                     \
    (const char *const[])                                                                                              \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define TEXT_COUNT(...)     (sizeof(TEXTS(__VA_ARGS__)) / sizeof(const char *))
#define ANY_OF(field, ...)  any_of(field, TEXTS(__VA_ARGS__), TEXT_COUNT(__VA_ARGS__))
#define NONE_OF(field, ...) none_of(field, TEXTS(__VA_ARGS__), TEXT_COUNT(__VA_ARGS__))

/* ---- a shop of seven, by hand */

static void build_seven(void)
{
    put(0, (struct store_item){.item_id = 1,
                               .name = "lamp",
                               .categories_json = "[\"home\",\"light\"]",
                               .attributes_json =
                                   "{\"colour\":\"red\",\"sizes\":[\"s\",\"m\"],\"weight\":1.5,\"fresh\":true}",
                               .has_price = true,
                               .price = 10,
                               .available = true,
                               .created_ms = NOW - 10,
                               .expires_ms = INT64_MAX});
    put(1, (struct store_item){.item_id = 2,
                               .name = "chair",
                               .categories_json = "[\"home\"]",
                               .attributes_json = "{\"colour\":[\"red\",\"blue\"],\"weight\":7}",
                               .has_price = true,
                               .price = 100,
                               .available = true,
                               .expires_ms = INT64_MAX});
    put(2, (struct store_item){.item_id = 3,
                               .name = "shirt",
                               .categories_json = "[\"wear\"]",
                               .attributes_json = "{\"colour\":\"blue\",\"sizes\":[\"m\",\"s\",\"m\"]}",
                               .has_price = true,
                               .price = 25,
                               .available = true,
                               .created_ms = NOW,
                               .expires_ms = NOW + 1000});
    put(3, (struct store_item){.item_id = 4,
                               .name = "gift",
                               .categories_json = "[]",
                               .attributes_json = "{}",
                               .available = false,
                               .expires_ms = INT64_MAX});
    put(4, (struct store_item){.item_id = 5,
                               .name = "mug",
                               .categories_json = "[\"home\"]",
                               .attributes_json = "{\"colour\":\"green\",\"weight\":\"heavy\",\"fresh\":false}",
                               .has_price = true,
                               .price = 10,
                               .available = true,
                               .expires_ms = INT64_MAX});
    put(5, (struct store_item){.item_id = 6,
                               .name = "desk",
                               .categories_json = "[\"home\"]",
                               .attributes_json = "{\"weight\":42,\"colour\":[]}",
                               .has_price = true,
                               .price = 250,
                               .available = true,
                               .expires_ms = INT64_MAX});
    put(6, (struct store_item){.item_id = 7,
                               .name = "sock",
                               .categories_json = "[\"wear\"]",
                               .attributes_json = "{\"sizes\":[\"m\"],\"late\":\"yes\"}",
                               .has_price = true,
                               .price = 5,
                               .available = true,
                               .expires_ms = INT64_MAX});
    build(5, 7);
}

/* "025": the rows whose bit is set. */
static const char *digits(uint64_t rows)
{
    static char text[65];
    size_t length = 0;
    for (unsigned row = 0; row < 64; row++)
        if (rows >> row & 1)
            text[length++] = (char)('0' + row);
    text[length] = '\0';
    return text;
}

static const char *all_hold(const struct rule_condition *conditions, size_t count)
{
    struct status st = STATUS_INIT;
    uint64_t rows = 0x7f, out = UINT64_MAX;
    cr_assert(conditions_all(&view, conditions, count, "when", &rows, &out, &arena, &st), "%s", st.message);
    cr_assert_eq(rows, 0x7f, "what was asked about stays");
    return digits(out);
}

static const char *holds(struct rule_condition condition)
{
    return all_hold(&condition, 1);
}

static const char *one_holds(const struct rule_condition *conditions, size_t count)
{
    struct status st = STATUS_INIT;
    uint64_t rows = 0x7f, out = UINT64_MAX;
    cr_assert(conditions_any(&view, conditions, count, "when", &rows, &out, &arena, &st), "%s", st.message);
    cr_assert_eq(rows, 0x7f, "what was asked about stays");
    return digits(out);
}

static const char *let_through(struct rule_filter filter)
{
    struct status st = STATUS_INIT;
    uint64_t rows = 0x7f;
    cr_assert(conditions_filter(&view, &filter, &rows, &arena, &st), "%s", st.message);
    return digits(rows);
}

Test(conditions, any_is_one_of_the_values)
{
    build_seven();
    cr_assert_str_eq(holds(ANY_OF("colour", "red")), "01");
    cr_assert_str_eq(holds(ANY_OF("colour", "red", "green", "nowhere")), "014");
    cr_assert_str_eq(holds(ANY_OF("colour", "nowhere")), "");
    cr_assert_str_eq(holds(ANY_OF("sizes", "s")), "02");
    cr_assert_str_eq(holds(ANY_OF("category", "home")), "0145");
    cr_assert_str_eq(holds(ANY_OF("category", "light", "wear")), "026");
    cr_assert_str_eq(holds(ANY_OF("fresh", "true")), "0");
    cr_assert_str_eq(holds(ANY_OF("available", "false")), "3");
    cr_assert_str_eq(holds(ANY_OF("late", "yes")), "6");
    cr_assert_str_eq(holds(ANY_OF("weight", "42", "heavy")), "45");
    cr_assert_str_eq(holds(ANY_OF("price", "10")), "", "a price is only a number");
}

Test(conditions, none_is_true_without_a_value)
{
    build_seven();
    cr_assert_str_eq(holds(NONE_OF("colour", "red")), "23456");
    cr_assert_str_eq(holds(NONE_OF("colour", "red", "blue", "green")), "356");
    cr_assert_str_eq(holds(NONE_OF("colour", "nowhere")), "0123456");
    cr_assert_str_eq(holds(NONE_OF("late", "yes")), "012345");
    cr_assert_str_eq(holds(NONE_OF("price", "10")), "0123456");
    struct rule_condition both = ANY_OF("colour", "red");
    both.none = TEXTS("blue");
    both.none_count = 1;
    cr_assert_str_eq(holds(both), "0");
}

Test(conditions, numbers_lie_between_both_included)
{
    build_seven();
    cr_assert_str_eq(holds(between("weight", 1.5, 7)), "01");
    cr_assert_str_eq(holds(between("weight", 1.5000001, 6.999999)), "");
    cr_assert_str_eq(holds(between("weight", 7, INFINITY)), "15");
    cr_assert_str_eq(holds(between("weight", -INFINITY, 7)), "01", "'heavy' is no number, and nothing is none");
    cr_assert_str_eq(holds(between("weight", 8, 7)), "");
    cr_assert_str_eq(holds(between("price", 10, 25)), "024");
    cr_assert_str_eq(holds(between("price", -INFINITY, 1e9)), "012456");
    cr_assert_str_eq(holds(between("colour", -INFINITY, 1e9)), "");
    cr_assert_str_eq(holds(between("weight", NAN, 7)), "");
    struct rule_condition both = between("weight", 1, 10);
    both.any = TEXTS("7", "42");
    both.any_count = 2;
    cr_assert_str_eq(holds(both), "1");
}

Test(conditions, existing_is_a_value_or_number)
{
    build_seven();
    cr_assert_str_eq(holds(existing("weight", 1)), "0145");
    cr_assert_str_eq(holds(existing("weight", 0)), "236");
    cr_assert_str_eq(holds(existing("colour", 1)), "0124", "an empty list is nothing");
    cr_assert_str_eq(holds(existing("colour", 0)), "356");
    cr_assert_str_eq(holds(existing("late", 1)), "6");
    cr_assert_str_eq(holds(existing("late", 0)), "012345");
    cr_assert_str_eq(holds(existing("price", 1)), "012456");
    cr_assert_str_eq(holds(existing("price", 0)), "3");
    cr_assert_str_eq(holds(existing("category", 0)), "3");
    cr_assert_str_eq(holds(existing("available", 0)), "");
    cr_assert_str_eq(holds(on("late")), "0123456", "nothing given: nothing to fail");
    struct rule_condition never = existing("weight", 0);
    never.least = 0;
    cr_assert_str_eq(holds(never), "");
}

Test(conditions, items_are_found_by_their_ids)
{
    build_seven();
    cr_assert_str_eq(holds(ANY_OF("item", "sock", "nowhere", "lamp", "lamp")), "06");
    cr_assert_str_eq(holds(NONE_OF("item", "sock", "nowhere", "lamp")), "12345");
    cr_assert_str_eq(holds(existing("item", 1)), "0123456");
    cr_assert_str_eq(holds(existing("item", 0)), "");
    cr_assert_str_eq(holds(between("item", 0, INFINITY)), "", "an id is no number");
    cr_assert_str_eq(holds(on("item")), "0123456");
    struct rule_condition both = ANY_OF("item", "sock", "lamp");
    both.none = TEXTS("sock");
    both.none_count = 1;
    cr_assert_str_eq(holds(both), "0");
    struct rule_condition mixed[] = {ANY_OF("item", "sock", "lamp", "mug"), ANY_OF("category", "home")};
    cr_assert_str_eq(all_hold(mixed, 2), "04");
}

Test(conditions, times_are_numbers)
{
    build_seven();
    cr_assert_str_eq(holds(between("created", (double)NOW - 10, INFINITY)), "02");
    cr_assert_str_eq(holds(between("created", -INFINITY, (double)NOW - 1)), "0", "0 is no time");
    cr_assert_str_eq(holds(existing("created", 1)), "02");
    cr_assert_str_eq(holds(existing("created", 0)), "13456");
    cr_assert_str_eq(holds(between("expires", (double)NOW + 1000, INFINITY)), "2", "never is no time");
    cr_assert_str_eq(holds(between("expires", (double)NOW + 1001, INFINITY)), "");
    cr_assert_str_eq(holds(existing("expires", 1)), "2");
    cr_assert_str_eq(holds(existing("expires", 0)), "013456");
    cr_assert_str_eq(holds(ANY_OF("created", "1700000000000")), "", "a time is no value");
    cr_assert_str_eq(holds(NONE_OF("created", "1700000000000")), "0123456");
}

Test(conditions, all_or_one_of_a_list)
{
    build_seven();
    struct rule_condition list[] = {ANY_OF("colour", "red"), between("price", -INFINITY, 10),
                                    ANY_OF("item", "lamp", "desk")};
    cr_assert_str_eq(all_hold(list, 1), "01");
    cr_assert_str_eq(all_hold(list, 2), "0");
    cr_assert_str_eq(all_hold(list, 3), "0");
    cr_assert_str_eq(all_hold(list + 1, 2), "0");
    cr_assert_str_eq(one_holds(list, 1), "01");
    cr_assert_str_eq(one_holds(list, 2), "0146");
    cr_assert_str_eq(one_holds(list, 3), "01456");
    cr_assert_str_eq(all_hold(NULL, 0), "0123456");
    cr_assert_str_eq(one_holds(NULL, 0), "");
}

Test(conditions, only_rows_that_were_asked_about)
{
    struct status st = STATUS_INIT;
    build_seven();
    struct rule_condition home = ANY_OF("category", "home");
    uint64_t rows = 0x72; /* 1, 4, 5, 6 */
    cr_assert(conditions_all(&view, &home, 1, "when", &rows, &rows, &arena, &st));
    cr_assert_str_eq(digits(rows), "145");
    rows = 0x72;
    cr_assert(conditions_any(&view, &home, 1, "when", &rows, &rows, &arena, &st));
    cr_assert_str_eq(digits(rows), "145");
    rows = 0;
    cr_assert(conditions_any(&view, &home, 1, "when", &rows, &rows, &arena, &st));
    cr_assert_eq(rows, 0);
}

Test(conditions, a_filter_is_must_and_must_not_and_should)
{
    build_seven();
    struct rule_condition must[] = {ANY_OF("category", "home"), existing("price", 1)};
    struct rule_condition must_not[] = {ANY_OF("colour", "red"), ANY_OF("item", "mug")};
    struct rule_condition should[] = {existing("weight", 1), between("price", 200, INFINITY), ANY_OF("late", "yes")};
    struct rule_filter filter = {.must = must, .must_count = 2};
    cr_assert_str_eq(let_through((struct rule_filter){0}), "0123456");
    cr_assert_str_eq(let_through(filter), "0145");
    filter.must_not = must_not;
    filter.must_not_count = 1;
    cr_assert_str_eq(let_through(filter), "45");
    filter.must_not_count = 2;
    cr_assert_str_eq(let_through(filter), "5");
    filter.must_count = 0;
    cr_assert_str_eq(let_through(filter), "2356");
    filter.should = should;
    filter.should_count = 3;
    cr_assert_str_eq(let_through(filter), "56");
    filter.must_not_count = 0;
    cr_assert_str_eq(let_through(filter), "01456");
}

Test(conditions, an_older_view_has_only_its_rows)
{
    build_seven();
    struct status st = STATUS_INIT;
    struct rule_condition missing = NONE_OF("late", "often");
    struct catalog_item *changed = records[2];
    cr_assert(snapshot_append(snapshot, catalog, &changed, 1, 3, &arena, &st), "%s", st.message);
    cr_assert_str_eq(holds(missing), "0123456");
    cr_assert_str_eq(holds(ANY_OF("colour", "blue")), "12");
}

Test(conditions, a_shop_that_begins_empty)
{
    struct status st = STATUS_INIT;
    put(0, (struct store_item){.item_id = 1,
                               .name = "lamp",
                               .categories_json = "[]",
                               .available = true,
                               .attributes_json = "{\"colour\":\"red\"}",
                               .created_ms = 5,
                               .expires_ms = INT64_MAX});
    build(0, 1);
    struct rule_condition list[] = {ANY_OF("colour", "red"), ANY_OF("item", "lamp"), between("created", 5, 5)};
    uint64_t rows = 1;
    cr_assert(conditions_all(&view, list, 3, "when", &rows, &rows, &arena, &st), "%s", st.message);
    cr_assert_eq(rows, 1);
}

Test(conditions, a_shop_without_items)
{
    struct status st = STATUS_INIT;
    build(0, 0);
    struct rule_condition list[] = {ANY_OF("category", "home"), between("price", 1, 2), ANY_OF("available", "true"),
                                    ANY_OF("item", "lamp")};
    uint64_t rows = 0;
    cr_assert(conditions_any(&view, list, 4, "when", &rows, &rows, &arena, &st), "%s", st.message);
    cr_assert_eq(rows, 0);
}

/* ---- failures */

static void expect_unknown(struct rule_filter filter, const char *where, const char *message)
{
    struct status st = STATUS_INIT;
    uint64_t rows = 0x7f;
    size_t used = arena_used(&arena);
    cr_assert_not(conditions_filter(&view, &filter, &rows, &arena, &st));
    cr_assert_eq(st.code, STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(st.reason, "UNKNOWN_FIELD");
    cr_assert_str_eq(st.field, where);
    cr_assert_str_eq(st.message, message);
    cr_assert_eq(arena_used(&arena), used);
}

Test(conditions, an_unknown_field_is_named)
{
    build_seven();
    struct rule_condition color = ANY_OF("color", "red"), odd = existing("xyzzy", 0), creatd = existing("creatd", 1);
    struct rule_condition list[] = {ANY_OF("colour", "nowhere"), color};
    expect_unknown((struct rule_filter){.must = list, .must_count = 2}, "filter.must",
                   "no item has an attribute 'color', did you mean 'colour'?");
    expect_unknown((struct rule_filter){.must_not = &odd, .must_not_count = 1}, "filter.must_not",
                   "no item has an attribute 'xyzzy'");
    expect_unknown((struct rule_filter){.should = &creatd, .should_count = 1}, "filter.should",
                   "no item has an attribute 'creatd', did you mean 'created'?");
}

Test(conditions, memory_gives_out)
{
    struct arena small;
    build_seven();
    struct rule_condition list[] = {ANY_OF("colour", "red"), ANY_OF("item", "lamp")};
    struct rule_filter filters[] = {
        {.must = list, .must_count = 2}, {.must_not = list, .must_not_count = 2}, {.should = list, .should_count = 2}};
    for (size_t limit = 0; limit < 2048; limit += 64)
        for (size_t i = 0; i < 3; i++) {
            struct status st = STATUS_INIT;
            uint64_t rows = 0x7f;
            arena_init(&small, limit);
            if (!conditions_filter(&view, &filters[i], &rows, &small, &st)) {
                cr_assert_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
                cr_assert_str_eq(st.reason, "NO_MEMORY");
            }
            cr_assert_eq(arena_used(&small), 0);
            arena_close(&small);
        }
}
