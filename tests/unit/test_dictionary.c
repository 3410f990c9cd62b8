/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/dictionary.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABSENT UINT32_MAX

static struct dictionary_memory memory;
static struct dictionary dictionary;

static void tear_down(void)
{
    dictionary_close(&dictionary);
    dictionary_memory_close(&memory);
}

TestSuite(dictionary, .fini = tear_down);

/* The number, or ABSENT. */
static uint32_t find(const void *bytes, size_t size_bytes)
{
    uint32_t number = 0;
    return dictionary_find(&dictionary, bytes, size_bytes, &number) ? number : ABSENT;
}

/* The new number, or ABSENT where the string was there already or memory gave out. */
static uint32_t add(const void *bytes, size_t size_bytes)
{
    uint32_t number = 0;
    bool added = find(bytes, size_bytes) == ABSENT && dictionary_add(&dictionary, &memory, bytes, size_bytes, &number);
    return added ? number : ABSENT;
}

static uint32_t find_text(const char *text)
{
    return find(text, strlen(text) + 1);
}

static uint32_t add_text(const char *text)
{
    return add(text, strlen(text) + 1);
}

static void expect(uint32_t number, const void *bytes, size_t size_bytes)
{
    size_t kept_bytes = SIZE_MAX;
    const void *kept = dictionary_get(&dictionary, number, &kept_bytes);
    cr_assert_not_null(kept);
    cr_assert_eq((uintptr_t)kept % sizeof(uint32_t), 0);
    cr_assert_eq(kept_bytes, size_bytes);
    cr_assert_eq(memcmp(kept, bytes, size_bytes), 0);
}

/* ---- finding */

Test(dictionary, an_empty_one_has_nothing)
{
    size_t size_bytes = 7;
    cr_assert_eq(dictionary.count, 0);
    cr_assert_eq(find_text("lamp"), ABSENT);
    cr_assert_eq(find("", 0), ABSENT);
    cr_assert_null(dictionary_get(&dictionary, 0, &size_bytes));
    cr_assert_eq(size_bytes, 0);
    cr_assert_null(dictionary_get(&dictionary, 0, NULL));
    cr_assert_eq(dictionary_memory_bytes(&memory), 0);
}

Test(dictionary, numbers_are_in_the_order_of_coming)
{
    static const char *const texts[] = {"red", "green", "blue", "Red", "re", "red "};
    enum { COUNT = sizeof texts / sizeof texts[0] };
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(add_text(texts[i]), i);
        cr_assert_eq(dictionary.count, i + 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(find_text(texts[i]), i);
        cr_assert_str_eq((const char *)dictionary_get(&dictionary, i, NULL), texts[i]);
        expect(i, texts[i], strlen(texts[i]) + 1);
    }
    cr_assert_eq(find_text("r"), ABSENT);
    cr_assert_eq(find("red", 3), ABSENT, "without its end it is another string");
    cr_assert_null(dictionary_get(&dictionary, COUNT, NULL));
    cr_assert_null(dictionary_get(&dictionary, UINT32_MAX, NULL));
}

Test(dictionary, a_string_is_a_copy)
{
    char text[] = "lamp";
    uint32_t number = add_text(text);
    memset(text, 'x', sizeof text - 1);
    cr_assert_eq(find_text("lamp"), number);
    cr_assert_eq(find_text(text), ABSENT);
    expect(number, "lamp", 5);
}

/* ---- bytes */

Test(dictionary, bytes_may_be_zero)
{
    static const char zeros[6] = {0};
    for (size_t size_bytes = 0; size_bytes <= sizeof zeros; size_bytes++)
        cr_assert_eq(add(zeros, size_bytes), size_bytes);
    cr_assert_eq(add("a\0b", 3), 7);
    cr_assert_eq(add("a\0c", 3), 8, "what follows a zero counts");
    cr_assert_eq(add("a\0", 2), 9);
    for (size_t size_bytes = 0; size_bytes <= sizeof zeros; size_bytes++) {
        cr_assert_eq(find(zeros, size_bytes), size_bytes);
        expect((uint32_t)size_bytes, zeros, size_bytes);
    }
    cr_assert_eq(find("a\0c", 3), 8);
    cr_assert_eq(find("a", 1), ABSENT);
    expect(7, "a\0b", 3);
}

Test(dictionary, a_string_may_be_an_array_of_numbers)
{
    static const uint32_t sets[][3] = {{0, 0, 0}, {0, 1, 2}, {0, 1, 256}, {1, 0, 0}, {UINT32_MAX, 0, 1}};
    enum { COUNT = sizeof sets / sizeof sets[0] };
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(add(sets[i], sizeof sets[i]), 2 * i);
        char letter = (char)('a' + i);
        add(&letter, 1); /* what follows it is aligned all the same */
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t *set = dictionary_get(&dictionary, 2 * i, NULL);
        cr_assert_eq(find(sets[i], sizeof sets[i]), 2 * i);
        expect(2 * i, sets[i], sizeof sets[i]);
        for (size_t at = 0; at < 3; at++)
            cr_assert_eq(set[at], sets[i][at]);
    }
    cr_assert_eq(find(sets[1], 2 * sizeof(uint32_t)), ABSENT, "a part of one is another one");
}

Test(dictionary, a_string_may_be_longer_than_a_chunk)
{
    enum { SIZE = 200000 };
    char *text = malloc(SIZE);
    memset(text, 'x', SIZE);
    uint32_t before = add_text("before"), whole = add(text, SIZE), shorter = add(text, SIZE - 1);
    uint32_t after = add_text("after");
    text[SIZE - 1] = 'y';
    uint32_t other = add(text, SIZE);
    expect(other, text, SIZE);
    text[SIZE - 1] = 'x';
    expect(whole, text, SIZE);
    expect(shorter, text, SIZE - 1);
    cr_assert_eq(find(text, SIZE), whole);
    cr_assert_eq(find(text, SIZE - 1), shorter);
    cr_assert_eq(find(text, SIZE - 2), ABSENT);
    cr_assert_eq(find_text("before"), before);
    cr_assert_eq(find_text("after"), after);
    cr_assert_geq(dictionary_memory_bytes(&memory), 3 * SIZE - 1);
    free(text);
}

/* ---- growth */

static const char *nth(size_t i)
{
    static char text[48];
    snprintf(text, sizeof text, "%zu is a value of its own", i);
    return text;
}

/* How many of the first `count`, one in `step`, are not found, or not with their numbers. */
static size_t lost(uint32_t count, uint32_t step)
{
    size_t lost_count = 0;
    for (uint32_t i = 0; i < count; i += step)
        lost_count += find_text(nth(i)) != i;
    return lost_count;
}

/* So many that about ten pairs have the same hash of 32 bits: those are told apart by their bytes alone. */
Test(dictionary, many_are_found_after_every_growth)
{
    enum { MANY = 300000 };
    size_t slot_count = 0, growths = 0, wrong = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        wrong += add_text(nth(i)) != i;
        if (dictionary.slot_count == slot_count)
            continue;
        slot_count = dictionary.slot_count;
        growths++;
        cr_assert_eq(lost(i + 1, 1 + i / 500), 0, "after growth %zu", growths);
    }
    cr_assert_eq(wrong, 0);
    cr_assert_geq(growths, 12);
    cr_assert_eq(dictionary.count, MANY);
    cr_assert_geq(dictionary.slot_count, 2 * MANY, "half of it is free, which ends a search");
    cr_assert_eq(lost(MANY, 1), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        wrong += strcmp(dictionary_get(&dictionary, i, NULL), nth(i)) != 0;
        wrong += find_text(nth(MANY + i)) != ABSENT;
    }
    cr_assert_eq(wrong, 0);
}

Test(dictionary, what_was_given_out_stays_while_it_grows)
{
    enum { EARLY = 100, LATE = 50000 };
    static const void *given[EARLY];
    for (uint32_t i = 0; i < EARLY; i++)
        given[i] = dictionary_get(&dictionary, add_text(nth(i)), NULL);
    uint32_t nothing = add("", 0);
    const void *no_bytes = dictionary_get(&dictionary, nothing, NULL);
    size_t slot_count = dictionary.slot_count;
    cr_assert_not_null(no_bytes);
    for (size_t i = EARLY; i < LATE; i++)
        add_text(nth(i));
    cr_assert_geq(dictionary.slot_count, 64 * slot_count);
    for (uint32_t i = 0; i < EARLY; i++) {
        cr_assert_eq(dictionary_get(&dictionary, i, NULL), given[i]);
        cr_assert_str_eq((const char *)given[i], nth(i));
    }
    cr_assert_eq(dictionary_get(&dictionary, nothing, NULL), no_bytes);
    cr_assert_eq(find("", 0), nothing);
}

/* ---- memory */

Test(dictionary, dictionaries_share_a_memory_and_nothing_else)
{
    struct dictionary other = {0};
    uint32_t number = ABSENT;
    add_text("red");
    add_text("blue");
    cr_assert(dictionary_add(&other, &memory, "blue", 5, &number));
    cr_assert_eq(number, 0);
    cr_assert(dictionary_add(&other, &memory, "green", 6, &number));
    cr_assert_eq(number, 1);
    cr_assert_eq(find_text("blue"), 1);
    cr_assert_eq(find_text("green"), ABSENT);
    cr_assert_not(dictionary_find(&other, "red", 4, &number));
    cr_assert_eq(number, 1, "what is not found leaves it");
    cr_assert_neq(dictionary_get(&other, 0, NULL), dictionary_get(&dictionary, 1, NULL));
    const char *green = dictionary_get(&other, 1, NULL);
    dictionary_close(&other);
    cr_assert_str_eq(green, "green", "strings are the memory's");
    cr_assert_eq(find_text("red"), 0);
}

Test(dictionary, bytes_are_those_of_strings_and_tables)
{
    enum { COUNT = 10000, SIZE = 100 };
    char bytes[SIZE] = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        memcpy(bytes, &i, sizeof i);
        add(bytes, SIZE);
    }
    cr_assert_geq(dictionary_memory_bytes(&memory), COUNT * (SIZE + 24));
    cr_assert_leq(dictionary_memory_bytes(&memory), COUNT * (SIZE + 48) + (128 << 10), "and a chunk that is not full");
}
