/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/conditions.h"

#include "models/default_model.h"
#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMENSION  8
#define NOW        1700000000000
#define BASE       333                         /* no multiple of 64 */
#define APPENDED   (SNAPSHOT_DELTA_ROWS + 150) /* two deltas */
#define ROWS       (BASE + APPENDED)
#define ROUNDS     200
#define VALUES_MAX 8

static struct catalog *catalog;
static struct model *model;
static struct arena arena;
static struct snapshot *snapshot;
static struct snapshot_view view;
static struct catalog_item *records[ROWS]; /* by row, as they were put */

static void set_up(void)
{
    static float rows[300 * DIMENSION];
    struct random rng;
    struct status st = STATUS_INIT;
    matrix_init();
    random_init(&rng, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = random_normal(&rng);
    struct default_model_view text = {"text", "enc@1", DIMENSION, rows, 300};
    model = default_model_fit(&text, 1, NULL, 0, 10, &st);
    cr_assert_not_null(model, "%s", st.message);
    catalog = catalog_new();
    cr_assert_not_null(catalog);
    arena_init(&arena, (size_t)64 << 20);
}

static void tear_down(void)
{
    snapshot_view_close(&view);
    snapshot_release(snapshot);
    for (size_t i = 0; i < ROWS; i++)
        catalog_item_release(records[i]);
    model_release(model);
    arena_close(&arena);
    catalog_free(catalog);
}

TestSuite(conditions, .init = set_up, .fini = tear_down);

/* The first `base` of `count` records make the base, the others are appended; `view` is of all. */
static void build(size_t base, size_t count)
{
    struct status st = STATUS_INIT;
    snapshot = snapshot_build(model, catalog, records, base, 1, &arena, &st);
    cr_assert_not_null(snapshot, "%s", st.message);
    for (size_t row = base; row < count; row += 1000) {
        size_t batch = count - row < 1000 ? count - row : 1000;
        cr_assert(snapshot_append(snapshot, catalog, records + row, batch, 2, &arena, &st), "%s", st.message);
    }
    cr_assert(snapshot_capture(snapshot, NOW, &arena, &view));
    cr_assert_eq(view.row_count, count);
}

static void put(size_t row, struct store_item fields)
{
    records[row] = catalog_item_new(&fields, NULL, NULL, 0);
    cr_assert_not_null(records[row]);
    cr_assert(catalog_publish(catalog, catalog_item_acquire(records[row]), NULL));
}

/* ---- conditions */

static struct rule_condition on(const char *field)
{
    return (struct rule_condition){.field = field, .least = -INFINITY, .most = INFINITY, .exists = -1};
}

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

/* ---- a twin that looks at every record, for conditions that come by chance */

static json_t *attributes[ROWS], *categories[ROWS];

/* what an item says of a field */
struct said {
    char values[VALUES_MAX][32];
    size_t count;
    double number;
};

static void say(struct said *said, const char *text)
{
    if (said->count < VALUES_MAX) /* not an assertion: they are slow, and this runs a million times */
        snprintf(said->values[said->count++], sizeof said->values[0], "%s", text);
}

static void say_json(struct said *said, const json_t *json)
{
    char text[32];
    for (size_t i = 0; i < json_array_size(json); i++)
        if (json_is_string(json_array_get(json, i)))
            say(said, json_string_value(json_array_get(json, i)));
    if (json_is_string(json))
        say(said, json_string_value(json));
    if (json_is_boolean(json))
        say(said, json_is_true(json) ? "true" : "false");
    if (json_is_number(json)) {
        said->number = json_number_value(json);
        snprintf(text, sizeof text, "%.15g", said->number);
        say(said, text);
    }
}

static struct said said_by(size_t row, const char *field)
{
    const struct store_item *item = &records[row]->item;
    struct said said = {.number = NAN};
    if (strcmp(field, "item") == 0)
        say(&said, item->name);
    else if (strcmp(field, "created") == 0)
        said.number = item->created_ms == 0 ? NAN : (double)item->created_ms;
    else if (strcmp(field, "expires") == 0)
        said.number = item->expires_ms == INT64_MAX ? NAN : (double)item->expires_ms;
    else if (strcmp(field, "price") == 0)
        said.number = item->has_price ? item->price : NAN;
    else if (strcmp(field, "available") == 0)
        say(&said, item->available ? "true" : "false");
    else if (strcmp(field, "category") == 0)
        say_json(&said, categories[row]);
    else
        say_json(&said, json_object_get(attributes[row], field));
    return said;
}

static bool has_value(const struct said *said, const char *const *values, size_t count)
{
    for (size_t i = 0; i < said->count; i++)
        for (size_t j = 0; j < count; j++)
            if (strcmp(said->values[i], values[j]) == 0)
                return true;
    return false;
}

static bool twin_holds(size_t row, const struct rule_condition *condition)
{
    struct said said = said_by(row, condition->field);
    bool bounded = condition->least > -INFINITY || condition->most < INFINITY;
    bool exists = said.count > 0 || !isnan(said.number);
    if (condition->any_count > 0 && !has_value(&said, condition->any, condition->any_count))
        return false;
    if (has_value(&said, condition->none, condition->none_count))
        return false;
    if (bounded && !(said.number >= condition->least && said.number <= condition->most))
        return false;
    return condition->exists < 0 || (condition->exists == 1) == exists;
}

static bool twin_all(size_t row, const struct rule_condition *conditions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!twin_holds(row, &conditions[i]))
            return false;
    return true;
}

static bool twin_any(size_t row, const struct rule_condition *conditions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (twin_holds(row, &conditions[i]))
            return true;
    return false;
}

static bool twin_filter(size_t row, const struct rule_filter *filter)
{
    return twin_all(row, filter->must, filter->must_count) &&
           !twin_any(row, filter->must_not, filter->must_not_count) &&
           (filter->should_count == 0 || twin_any(row, filter->should, filter->should_count));
}

/* ---- a shop by chance */

static bool chance(struct random *rng, uint64_t in)
{
    return random_below(rng, in) == 0;
}

static json_t *some_texts(struct random *rng, const char *const *texts, size_t count, size_t most)
{
    json_t *list = json_array();
    for (size_t n = random_below(rng, most + 1); n > 0; n--)
        json_array_append_new(list, json_string(texts[random_below(rng, count)]));
    return list;
}

static json_t *some_number(struct random *rng)
{
    if (chance(rng, 2))
        return json_integer((json_int_t)random_below(rng, 6));
    return json_real((double)random_below(rng, 40) / 4 - 2);
}

static json_t *some_attributes(struct random *rng, size_t row)
{
    static const char *const colours[] = {"red", "green", "blue", "gr\xc3\xbcn", "true", "2"};
    json_t *object = json_object();
    if (chance(rng, 20))
        return object;
    if (!chance(rng, 3))
        json_object_set_new(object, "colour", some_texts(rng, colours, 4, 3));
    if (chance(rng, 2))
        json_object_set_new(object, "weight", some_number(rng));
    if (chance(rng, 3))
        json_object_set_new(object, "fresh", json_boolean((int)random_below(rng, 2)));
    if (chance(rng, 2))
        json_object_set_new(object, "mixed", chance(rng, 2) ? some_number(rng) : some_texts(rng, colours, 6, 4));
    else if (chance(rng, 2))
        json_object_set_new(object, "mixed", json_string(colours[random_below(rng, 6)]));
    if (row < BASE && chance(rng, 2))
        json_object_set_new(object, "early", json_string("yes"));
    if (row >= BASE + 1000 && chance(rng, 2))
        json_object_set_new(object, "late", some_number(rng));
    return object;
}

static void build_by_chance(struct random *rng)
{
    static const char *const shelves[] = {"home", "light", "wear", "sale"};
    for (size_t row = 0; row < ROWS; row++) {
        char name[32];
        uint32_t id = row < BASE ? (uint32_t)row + 1 : (uint32_t)random_below(rng, 600) + 1;
        attributes[row] = some_attributes(rng, row);
        categories[row] = some_texts(rng, shelves, 4, 3);
        char *attributes_json = json_dumps(attributes[row], JSON_COMPACT);
        char *categories_json = json_dumps(categories[row], JSON_COMPACT);
        snprintf(name, sizeof name, "item-%u", (unsigned)id);
        put(row, (struct store_item){.item_id = id,
                                     .name = name,
                                     .attributes_json = attributes_json,
                                     .categories_json = categories_json,
                                     .has_price = !chance(rng, 4),
                                     .price = (double)random_below(rng, 8),
                                     .available = !chance(rng, 5),
                                     .created_ms = chance(rng, 2) ? 0 : NOW - 2 + (int64_t)random_below(rng, 5),
                                     .expires_ms = chance(rng, 2) ? INT64_MAX : NOW + (int64_t)random_below(rng, 5)});
        free(attributes_json);
        free(categories_json);
    }
    build(BASE, ROWS);
}

/* A condition with the texts that it needs; does not move. */
struct chosen {
    struct rule_condition condition;
    char texts[6][32];
    const char *any[3], *none[3];
};

static size_t choose_texts(struct random *rng, const char *field, char texts[3][32], const char *chosen[3])
{
    size_t count = random_below(rng, 3) + 1;
    for (size_t i = 0; i < count; i++) {
        struct said said = said_by(random_below(rng, ROWS), field);
        bool known = said.count > 0 && !chance(rng, 6);
        snprintf(texts[i], 32, "%s", known ? said.values[random_below(rng, said.count)] : "nowhere");
        chosen[i] = texts[i];
    }
    return count;
}

static double choose_bound(struct random *rng, const char *field)
{
    struct said said = said_by(random_below(rng, ROWS), field);
    double number = isnan(said.number) ? (double)random_below(rng, 10) : said.number;
    return chance(rng, 2) ? number : number + 0.5;
}

static void choose(struct random *rng, struct chosen *chosen)
{
    static const char *const fields[] = {"item",   "created", "expires", "price", "category", "available",
                                         "colour", "weight",  "fresh",   "mixed", "early",    "late"};
    struct rule_condition *condition = &chosen->condition;
    *condition = on(fields[random_below(rng, sizeof fields / sizeof *fields)]);
    condition->any = chosen->any;
    condition->none = chosen->none;
    if (chance(rng, 2))
        condition->any_count = choose_texts(rng, condition->field, chosen->texts, chosen->any);
    if (chance(rng, 3))
        condition->none_count = choose_texts(rng, condition->field, chosen->texts + 3, chosen->none);
    if (chance(rng, 5))
        condition->least = choose_bound(rng, condition->field);
    if (chance(rng, 5))
        condition->most = choose_bound(rng, condition->field);
    if (chance(rng, 4))
        condition->exists = (int)random_below(rng, 2);
}

/* Up to `most` conditions; `list` gets copies. */
static size_t choose_list(struct random *rng, struct chosen *chosen, struct rule_condition *list, size_t most)
{
    size_t count = random_below(rng, most + 1);
    for (size_t i = 0; i < count; i++) {
        choose(rng, &chosen[i]);
        list[i] = chosen[i].condition;
    }
    return count;
}

#define WORDS (ROWS / 64 + 1)

/* every second row, all of them, or few */
static void choose_rows(struct random *rng, uint64_t rows[WORDS])
{
    uint64_t kind = random_below(rng, 3);
    memset(rows, 0, WORDS * sizeof rows[0]);
    for (size_t row = 0; row < ROWS; row++)
        if (kind == 0 || chance(rng, kind == 1 ? 2 : 100))
            rows[row / 64] |= (uint64_t)1 << (row % 64);
}

static bool bit(const uint64_t *rows, size_t row)
{
    return rows[row / 64] >> (row % 64) & 1;
}

/* The first row on which both do not agree, or ROWS; counts the rows that were let through. */
static size_t first_difference(const uint64_t *among, const uint64_t *out, const bool *expected, size_t *let)
{
    for (size_t row = 0; row < ROWS; row++) {
        bool wanted = bit(among, row) && expected[row];
        if (bit(out, row) != wanted)
            return row;
        *let += wanted;
    }
    for (size_t row = ROWS; row < WORDS * 64; row++)
        if (bit(out, row))
            return row;
    return ROWS;
}

static void set_up_by_chance(struct random *rng)
{
    set_up();
    random_init(rng, 20);
    build_by_chance(rng);
}

static void tear_down_by_chance(void)
{
    for (size_t row = 0; row < ROWS; row++) {
        json_decref(attributes[row]);
        json_decref(categories[row]);
    }
    tear_down();
}

Test(conditions_by_chance, lists_are_as_the_twin_says, .fini = tear_down_by_chance)
{
    static struct chosen chosen[3];
    static uint64_t among[WORDS], out[WORDS];
    static bool expected[ROWS];
    struct rule_condition list[3];
    struct random rng;
    size_t let_all = 0, let_any = 0;
    set_up_by_chance(&rng);
    size_t used = arena_used(&arena);
    for (int round = 0; round < ROUNDS; round++) {
        struct status st = STATUS_INIT;
        size_t count = choose_list(&rng, chosen, list, 3);
        choose_rows(&rng, among);
        cr_assert(conditions_all(&view, list, count, "when", among, out, &arena, &st), "%s", st.message);
        for (size_t row = 0; row < ROWS; row++)
            expected[row] = twin_all(row, list, count);
        size_t difference = first_difference(among, out, expected, &let_all);
        cr_assert_eq(difference, ROWS, "round %d, all: row %zu", round, difference);
        cr_assert(conditions_any(&view, list, count, "when", among, out, &arena, &st), "%s", st.message);
        for (size_t row = 0; row < ROWS; row++)
            expected[row] = twin_any(row, list, count);
        difference = first_difference(among, out, expected, &let_any);
        cr_assert_eq(difference, ROWS, "round %d, any: row %zu", round, difference);
    }
    cr_assert_eq(arena_used(&arena), used);
    cr_assert_gt(let_all, ROWS, "conditions that nothing fulfils test nothing");
    cr_assert_gt(let_any, ROWS);
}

Test(conditions_by_chance, filters_are_as_the_twin_says, .fini = tear_down_by_chance)
{
    static struct chosen chosen[6];
    static uint64_t among[WORDS], rows[WORDS];
    static bool expected[ROWS];
    struct rule_condition must[2], must_not[2], should[2];
    struct random rng;
    size_t let = 0;
    set_up_by_chance(&rng);
    for (int round = 0; round < ROUNDS; round++) {
        struct status st = STATUS_INIT;
        struct rule_filter filter = {.must = must, .must_not = must_not, .should = should};
        filter.must_count = choose_list(&rng, chosen, must, 2);
        filter.must_not_count = choose_list(&rng, chosen + 2, must_not, 2);
        filter.should_count = choose_list(&rng, chosen + 4, should, 2);
        choose_rows(&rng, among);
        memcpy(rows, among, sizeof rows);
        cr_assert(conditions_filter(&view, &filter, rows, &arena, &st), "%s", st.message);
        for (size_t row = 0; row < ROWS; row++)
            expected[row] = twin_filter(row, &filter);
        size_t difference = first_difference(among, rows, expected, &let);
        cr_assert_eq(difference, ROWS, "round %d: row %zu", round, difference);
    }
    cr_assert_gt(let, ROWS, "filters that let nothing through test nothing");
}
