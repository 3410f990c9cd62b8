/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/columns.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 1000

static struct columns *columns;

static void set_up(void)
{
    columns = columns_new();
    cr_assert_not_null(columns);
}

static void tear_down(void)
{
    columns_free(columns);
}

TestSuite(columns, .init = set_up, .fini = tear_down);

/* The record is gone before anything is read. */
static void put_item(size_t segment, size_t at, struct store_item fields)
{
    fields.item_id = 1;
    fields.name = "item-1";
    struct catalog_item *record = catalog_item_new(&fields, NULL, NULL, 0);
    cr_assert_not_null(record);
    cr_assert(columns_put(columns, segment, CAPACITY, at, record));
    catalog_item_release(record);
}

static void put(size_t segment, size_t at, const char *attributes)
{
    put_item(segment, at,
             (struct store_item){.available = true, .categories_json = "[]", .attributes_json = attributes});
}

static int field(const char *name)
{
    int index = columns_find(columns, name, NULL);
    cr_assert_geq(index, 0, "no field '%s'", name);
    cr_assert_str_eq(columns_name(columns, index), name);
    return index;
}

static uint32_t set_at(size_t segment, size_t at, const char *name)
{
    const uint32_t *sets = columns_sets(columns, field(name), segment);
    return sets == NULL ? COLUMNS_SET_NONE : sets[at];
}

static double number_at(size_t segment, size_t at, const char *name)
{
    const double *numbers = columns_numbers(columns, field(name), segment);
    return numbers == NULL ? NAN : numbers[at];
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The values of a row in alphabetical order: "blue|red". */
static const char *values_at(size_t segment, size_t at, const char *name)
{
    static char joined[512];
    const char *texts[32];
    size_t count, length = 0;
    const uint32_t *values = columns_set_values(columns, field(name), set_at(segment, at, name), &count);
    cr_assert_leq(count, 32);
    for (size_t i = 0; i < count; i++) {
        cr_assert_lt(values[i], columns_value_count(columns, field(name)));
        texts[i] = columns_value(columns, field(name), values[i]);
    }
    qsort(texts, count, sizeof(const char *), compare_texts);
    joined[0] = '\0';
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(joined + length, sizeof joined - length, "%s%s", i == 0 ? "" : "|", texts[i]);
    return joined;
}

/* Is the set of a row among those that have one of two values (the second may be the first)? */
static bool has_one_of(size_t at, const char *name, const char *one, const char *other)
{
    const char *values[] = {one, other};
    size_t set_count = columns_set_count(columns, field(name));
    uint64_t *bits = calloc(set_count / 64 + 1, sizeof *bits);
    columns_sets_with(columns, field(name), values, 2, bits, set_count);
    uint32_t set = set_at(0, at, name);
    bool has = bits[set / 64] >> (set % 64) & 1;
    cr_assert_not(bits[0] & 1, "who says nothing has no value");
    free(bits);
    return has;
}

/* ---- what is said */

Test(columns, a_new_shop_has_three_fields)
{
    cr_assert_geq(columns_find(columns, "category", NULL), 0);
    cr_assert_geq(columns_find(columns, "price", NULL), 0);
    cr_assert_geq(columns_find(columns, "available", NULL), 0);
    cr_assert_eq(columns_find(columns, "colour", NULL), -1);
    cr_assert_eq(columns_set_count(columns, field("category")), 1);
    cr_assert_eq(columns_value_count(columns, field("category")), 0);
    cr_assert_null(columns_sets(columns, field("category"), 0));
    cr_assert_null(columns_numbers(columns, field("price"), 0));
}

Test(columns, texts_and_lists_are_values)
{
    put(0, 0, "{\"colour\":\"red\"}");
    put(0, 1, "{\"colour\":[\"red\",\"blue\"]}");
    put(0, 2, "{\"size\":\"m\"}");
    cr_assert_str_eq(values_at(0, 0, "colour"), "red");
    cr_assert_str_eq(values_at(0, 1, "colour"), "blue|red");
    cr_assert_str_eq(values_at(0, 2, "colour"), "");
    cr_assert_eq(set_at(0, 2, "colour"), COLUMNS_SET_NONE);
    cr_assert_str_eq(values_at(0, 2, "size"), "m");
    cr_assert_str_eq(values_at(0, 0, "size"), "");
    cr_assert_eq(columns_value_count(columns, field("colour")), 2);
    cr_assert_null(columns_numbers(columns, field("colour"), 0), "no number was said");
}

Test(columns, equal_sets_are_one)
{
    put(0, 0, "{\"colour\":[\"red\",\"blue\"]}");
    put(0, 1, "{\"colour\":[\"blue\",\"red\",\"blue\",\"blue\"]}");
    put(0, 2, "{\"colour\":[\"blue\"]}");
    put(0, 3, "{\"colour\":\"blue\"}");
    cr_assert_neq(set_at(0, 0, "colour"), COLUMNS_SET_NONE);
    cr_assert_eq(set_at(0, 0, "colour"), set_at(0, 1, "colour"));
    cr_assert_eq(set_at(0, 2, "colour"), set_at(0, 3, "colour"));
    cr_assert_neq(set_at(0, 0, "colour"), set_at(0, 2, "colour"));
    cr_assert_eq(columns_set_count(columns, field("colour")), 3, "none, both, blue");
    cr_assert_str_eq(values_at(0, 1, "colour"), "blue|red");
}

Test(columns, numbers_are_values_as_well)
{
    put(0, 0, "{\"weight\":42}");
    put(0, 1, "{\"weight\":2.5}");
    put(0, 2, "{\"weight\":42.0}");
    put(0, 3, "{\"weight\":\"heavy\"}");
    put(0, 4, "{\"weight\":12345678901234567890123,\"colour\":\"red\"}");
    cr_assert_eq(number_at(0, 0, "weight"), 42);
    cr_assert_eq(number_at(0, 1, "weight"), 2.5);
    cr_assert(isnan(number_at(0, 3, "weight")));
    cr_assert_float_eq(number_at(0, 4, "weight"), 12345678901234567890123.0, 1e9);
    cr_assert(isnan(number_at(0, 5, "weight")), "a row that was not written");
    cr_assert_str_eq(values_at(0, 0, "weight"), "42");
    cr_assert_str_eq(values_at(0, 1, "weight"), "2.5");
    cr_assert_eq(set_at(0, 0, "weight"), set_at(0, 2, "weight"));
    cr_assert_str_eq(values_at(0, 3, "weight"), "heavy");
    cr_assert_str_eq(values_at(0, 4, "weight"), "1.23456789012346e+22");
    cr_assert_str_eq(values_at(0, 4, "colour"), "red");
}

Test(columns, flags_are_values)
{
    put(0, 0, "{\"fresh\":true}");
    put(0, 1, "{\"fresh\":false}");
    put_item(0, 2, (struct store_item){.available = false});
    cr_assert_str_eq(values_at(0, 0, "fresh"), "true");
    cr_assert_str_eq(values_at(0, 1, "fresh"), "false");
    cr_assert_str_eq(values_at(0, 2, "fresh"), "");
    cr_assert_str_eq(values_at(0, 0, "available"), "true");
    cr_assert_str_eq(values_at(0, 2, "available"), "false");
    cr_assert(isnan(number_at(0, 0, "fresh")));
}

Test(columns, a_price_is_only_a_number)
{
    put_item(0, 0, (struct store_item){.has_price = true, .price = 9.95});
    put_item(0, 1, (struct store_item){.has_price = false, .price = 3});
    put_item(0, 2, (struct store_item){.has_price = true, .price = 0});
    cr_assert_eq(number_at(0, 0, "price"), 9.95);
    cr_assert(isnan(number_at(0, 1, "price")));
    cr_assert_eq(number_at(0, 2, "price"), 0);
    cr_assert_null(columns_sets(columns, field("price"), 0));
    cr_assert_eq(columns_value_count(columns, field("price")), 0);
}

Test(columns, categories_are_values)
{
    put_item(0, 0, (struct store_item){.categories_json = "[\"home\",\"light\"]"});
    put_item(0, 1, (struct store_item){.categories_json = "[\"light\",7,null,[\"x\"],\"home\"]"});
    put_item(0, 2, (struct store_item){.categories_json = "[]"});
    put_item(0, 3, (struct store_item){.categories_json = NULL});
    put_item(0, 4, (struct store_item){.categories_json = "[7]"});
    cr_assert_str_eq(values_at(0, 0, "category"), "home|light");
    cr_assert_eq(set_at(0, 1, "category"), set_at(0, 0, "category"), "what is no text is passed over");
    for (size_t at = 2; at <= 4; at++)
        cr_assert_eq(set_at(0, at, "category"), COLUMNS_SET_NONE);
}

Test(columns, an_attribute_does_not_take_the_place_of_a_field_of_every_item)
{
    put_item(0, 0,
             (struct store_item){.has_price = true,
                                 .price = 5,
                                 .available = true,
                                 .categories_json = "[\"home\"]",
                                 .attributes_json = "{\"price\":7,\"category\":\"x\",\"available\":false}"});
    cr_assert_eq(number_at(0, 0, "price"), 5);
    cr_assert_str_eq(values_at(0, 0, "category"), "home");
    cr_assert_str_eq(values_at(0, 0, "available"), "true");
    cr_assert_str_eq(values_at(0, 0, "price"), "");
}

Test(columns, empty_lists_and_other_json_say_nothing)
{
    put(0, 0, "{\"colour\":[],\"size\":[1,true],\"deep\":{\"a\":\"b\"},\"void\":null}");
    put(0, 1, "{\"colour\":\"\"}");
    cr_assert_eq(set_at(0, 0, "colour"), COLUMNS_SET_NONE);
    cr_assert_eq(set_at(0, 0, "size"), COLUMNS_SET_NONE);
    cr_assert_eq(columns_find(columns, "deep", NULL), -1);
    cr_assert_eq(columns_find(columns, "void", NULL), -1);
    cr_assert_neq(set_at(0, 1, "colour"), COLUMNS_SET_NONE, "an empty text is a value");
}

Test(columns, malformed_json_says_nothing)
{
    static const char *const malformed[] = {"{", "{\"colour\":\"red\"",   "[\"colour\"]",          "\"colour\"",
                                            "",  "{\"colour\":\"\xff\"}", "{\"colour\":\"red\"} x"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        put_item(0, i,
                 (struct store_item){.has_price = true,
                                     .price = 1,
                                     .attributes_json = malformed[i],
                                     .categories_json = "{\"home\":[\"x\"]}"});
    cr_assert_eq(columns_find(columns, "colour", NULL), -1);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        cr_assert_eq(set_at(0, i, "category"), COLUMNS_SET_NONE);
        cr_assert_eq(number_at(0, i, "price"), 1, "the rest of the item is there");
    }
}

Test(columns, a_row_that_is_put_again_says_only_the_new)
{
    put(0, 0, "{\"colour\":\"red\",\"weight\":1}");
    put(0, 0, "{\"size\":\"m\"}");
    cr_assert_eq(set_at(0, 0, "colour"), COLUMNS_SET_NONE);
    cr_assert_eq(set_at(0, 0, "weight"), COLUMNS_SET_NONE);
    cr_assert(isnan(number_at(0, 0, "weight")));
    cr_assert_str_eq(values_at(0, 0, "size"), "m");
}

/* ---- fields */

Test(columns, an_unknown_field_has_a_nearest_one)
{
    const char *nearest = "?";
    put(0, 0, "{\"colour\":\"red\",\"weight\":1}");
    cr_assert_eq(columns_find(columns, "color", &nearest), -1);
    cr_assert_str_eq(nearest, "colour");
    cr_assert_eq(columns_find(columns, "prize", &nearest), -1);
    cr_assert_str_eq(nearest, "price");
    cr_assert_eq(columns_find(columns, "xyzzy", &nearest), -1);
    cr_assert_null(nearest);
    cr_assert_geq(columns_find(columns, "colour", &nearest), 0);
    cr_assert_null(nearest);
}

Test(columns, too_many_attributes_are_left_out)
{
    enum { ATTRIBUTES = COLUMNS_FIELDS_MAX + 20 };
    static char json[ATTRIBUTES * 24];
    size_t length = 0, found = 0;
    for (int i = 0; i < ATTRIBUTES; i++)
        length += (size_t)snprintf(json + length, sizeof json - length, "%s\"a%d\":\"v%d\"", i == 0 ? "{" : ",", i, i);
    snprintf(json + length, sizeof json - length, "}");
    put(0, 0, json);
    for (int i = 0; i < ATTRIBUTES; i++) {
        char name[16], value[16];
        snprintf(name, sizeof name, "a%d", i);
        snprintf(value, sizeof value, "v%d", i);
        if (columns_find(columns, name, NULL) < 0)
            continue;
        cr_assert_str_eq(values_at(0, 0, name), value);
        found++;
    }
    cr_assert_eq(found, COLUMNS_FIELDS_MAX - 3);
    put(0, 1, "{\"late\":1,\"a0\":\"late\"}");
    cr_assert_eq(columns_find(columns, "late", NULL), -1);
    cr_assert_str_eq(values_at(0, 1, "a0"), "late");
}

/* ---- segments */

Test(columns, a_segment_has_columns_of_its_own)
{
    put(0, 7, "{\"colour\":\"red\",\"early\":1}");
    put(1, 7, "{\"colour\":\"red\"}");
    put(1, 8, "{\"colour\":\"blue\",\"late\":2}");
    put(COLUMNS_SEGMENTS_MAX - 1, CAPACITY - 1, "{\"late\":3}");
    cr_assert_eq(set_at(0, 7, "colour"), set_at(1, 7, "colour"));
    cr_assert_str_eq(values_at(1, 8, "colour"), "blue");
    cr_assert_str_eq(values_at(0, 8, "colour"), "");
    cr_assert_null(columns_sets(columns, field("late"), 0));
    cr_assert_null(columns_numbers(columns, field("late"), 0));
    cr_assert_null(columns_sets(columns, field("early"), 1));
    cr_assert_null(columns_sets(columns, field("colour"), 2));
    cr_assert_eq(number_at(1, 8, "late"), 2);
    cr_assert(isnan(number_at(1, 7, "late")));
    cr_assert_eq(number_at(COLUMNS_SEGMENTS_MAX - 1, CAPACITY - 1, "late"), 3);
}

/* ---- values */

Test(columns, sets_are_found_by_their_values)
{
    put(0, 0, "{\"colour\":\"red\"}");
    put(0, 1, "{\"colour\":[\"blue\",\"red\"]}");
    put(0, 2, "{\"colour\":\"green\"}");
    put(0, 3, "{}");
    cr_assert(has_one_of(0, "colour", "red", "red"));
    cr_assert(has_one_of(1, "colour", "red", "red"));
    cr_assert(has_one_of(1, "colour", "blue", "nowhere"));
    cr_assert(has_one_of(2, "colour", "blue", "green"));
    cr_assert_not(has_one_of(2, "colour", "blue", "red"));
    cr_assert_not(has_one_of(3, "colour", "blue", "red"));
    cr_assert_not(has_one_of(0, "colour", "nowhere", "RED"));
}

Test(columns, a_value_in_many_sets_is_found_in_all)
{
    for (size_t at = 0; at < CAPACITY; at++) {
        char json[64];
        snprintf(json, sizeof json, "{\"tag\":[\"v%zu\",\"all\",\"%s\"]}", at, at % 2 == 0 ? "even" : "odd");
        put(0, at, json);
    }
    cr_assert_eq(columns_set_count(columns, field("tag")), CAPACITY + 1);
    cr_assert_eq(columns_value_count(columns, field("tag")), CAPACITY + 3);
    for (size_t at = 0; at < CAPACITY; at += 7) {
        char value[16];
        snprintf(value, sizeof value, "v%zu", at);
        cr_assert(has_one_of(at, "tag", "all", "all"));
        cr_assert_eq(has_one_of(at, "tag", "even", "even"), at % 2 == 0);
        cr_assert(has_one_of(at, "tag", value, value));
        cr_assert_not(has_one_of((at + 1) % CAPACITY, "tag", value, value));
    }
}

Test(columns, sets_that_came_after_the_count_are_passed_over)
{
    static const char *const values[] = {"all"};
    uint64_t bits[2] = {0, 0};
    for (size_t at = 0; at < 10; at++) {
        char json[64];
        snprintf(json, sizeof json, "{\"tag\":[\"all\",\"v%zu\"]}", at);
        put(0, at, json);
    }
    columns_sets_with(columns, field("tag"), values, 1, bits, 6);
    cr_assert_eq(bits[0], 0x3e, "sets 1 to 5");
    cr_assert_eq(bits[1], 0);
}

Test(columns, what_was_given_out_stays_while_dictionaries_grow)
{
    size_t count;
    put(0, 0, "{\"tag\":[\"first\",\"second\"]}");
    uint32_t set = set_at(0, 0, "tag");
    const uint32_t *values = columns_set_values(columns, field("tag"), set, &count);
    cr_assert_eq(count, 2);
    const char *first = columns_value(columns, field("tag"), values[0]);
    const char *name = columns_name(columns, field("tag"));
    size_t bytes = columns_bytes(columns);
    for (size_t i = 0; i < 20000; i++) {
        char json[96];
        snprintf(json, sizeof json, "{\"tag\":[\"first\",\"a rather long value, number %zu\"],\"n%zu\":1}", i, i % 100);
        put(0, 1 + i % (CAPACITY - 1), json);
    }
    cr_assert_str_eq(first, "first");
    cr_assert_str_eq(name, "tag");
    cr_assert_eq(columns_set_values(columns, field("tag"), set, &count), values);
    cr_assert_str_eq(values_at(0, 0, "tag"), "first|second");
    cr_assert_eq(columns_set_count(columns, field("tag")), 20002);
    cr_assert_gt(columns_bytes(columns), bytes + 20000 * 32);
}

Test(columns, a_set_or_value_that_is_not_there_is_empty)
{
    size_t count = 7;
    columns_set_values(columns, field("category"), COLUMNS_SET_NONE, &count);
    cr_assert_eq(count, 0);
    cr_assert_null(columns_set_values(columns, field("category"), 5, &count));
    cr_assert_eq(count, 0);
    cr_assert_null(columns_value(columns, field("category"), 0));
}

Test(columns, a_long_text_is_a_value)
{
    enum { LENGTH = 200000 }; /* longer than a chunk */
    char *json = malloc(LENGTH + 32), *text = malloc(LENGTH + 1);
    memset(text, 'x', LENGTH);
    text[LENGTH] = '\0';
    snprintf(json, LENGTH + 32, "{\"essay\":\"%s\"}", text);
    put(0, 0, "{\"essay\":\"short\"}");
    put(0, 1, json);
    put(0, 2, "{\"essay\":\"short\"}");
    cr_assert(has_one_of(1, "essay", text, text));
    cr_assert_not(has_one_of(0, "essay", text, text));
    cr_assert_eq(set_at(0, 0, "essay"), set_at(0, 2, "essay"));
    free(json);
    free(text);
}

Test(columns, none_to_free_is_fine)
{
    columns_free(NULL);
}
