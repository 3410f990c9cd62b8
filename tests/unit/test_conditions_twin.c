/* SPDX-License-Identifier: Apache-2.0
 *
 * Conditions and filters by chance, on a large shop by chance, against a twin that looks at every record. */
#include "tests/unit/conditions_rig.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS     200
#define VALUES_MAX 8

/* ---- a twin that looks at every record */

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

Test(conditions_twin, lists_are_as_the_twin_says, .fini = tear_down_by_chance)
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

Test(conditions_twin, filters_are_as_the_twin_says, .fini = tear_down_by_chance)
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
