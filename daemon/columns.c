/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/columns.h"

#include "daemon/dictionary.h"
#include "daemon/postings.h"
#include "proto/suggest.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(COLUMNS_SET_NONE == 0, "a zeroed column says nothing");

struct field {
    struct dictionary values; /* texts, with their ends */
    struct dictionary sets;   /* value numbers, ascending; the first is the empty set, COLUMNS_SET_NONE */
    struct postings postings; /* by value, the sets that it is in */
    _Atomic(uint32_t *) set_columns[COLUMNS_SEGMENTS_MAX];  /* NULL: no row of the segment says anything */
    _Atomic(double *) number_columns[COLUMNS_SEGMENTS_MAX]; /* NULL: no row of the segment has a number */
};

struct columns {
    pthread_rwlock_t lock;   /* guards names, dictionaries and postings; their one writer reads them without it */
    struct dictionary names; /* number: index of the field */
    struct field fields[COLUMNS_FIELDS_MAX];
    struct dictionary_memory memory; /* of all dictionaries; it and what follows belong to the writer */
    uint32_t *gathered;              /* values of the row that is being put */
    size_t gathered_count, gathered_capacity;
    atomic_size_t bytes; /* beside the dictionaries */
};

/* the row that is being put */
struct row {
    struct columns *columns;
    size_t segment, capacity, at;
};

enum { FIELD_CATEGORY, FIELD_PRICE, FIELD_AVAILABLE, FIELD_ATTRIBUTES /* from here on */ };

static void count_bytes(struct columns *columns, size_t bytes)
{
    atomic_fetch_add_explicit(&columns->bytes, bytes, memory_order_relaxed);
}

/* ---- numbers for fields, values and sets */

/* `*field` NULL: there are too many already. False out of memory. */
static bool find_field(struct columns *columns, const char *name, struct field **field)
{
    size_t size_bytes = strlen(name) + 1;
    uint32_t number = 0;
    *field = NULL;
    if (dictionary_find(&columns->names, name, size_bytes, &number)) {
        *field = &columns->fields[number];
        return true;
    }
    if (columns->names.count == COLUMNS_FIELDS_MAX)
        return true;
    struct field *next = &columns->fields[columns->names.count];
    pthread_rwlock_wrlock(&columns->lock);
    /* the empty set is there when this was tried before and memory gave out in between */
    bool ok = (next->sets.count > 0 || dictionary_add(&next->sets, &columns->memory, "", 0, &number)) &&
              dictionary_add(&columns->names, &columns->memory, name, size_bytes, &number);
    pthread_rwlock_unlock(&columns->lock);
    if (ok)
        *field = next;
    return ok;
}

static bool find_value(struct columns *columns, struct field *field, const char *text, uint32_t *number)
{
    size_t size_bytes = strlen(text) + 1;
    if (dictionary_find(&field->values, text, size_bytes, number))
        return true;
    pthread_rwlock_wrlock(&columns->lock);
    bool ok = postings_reserve(&field->postings, field->values.count, &columns->bytes) &&
              dictionary_add(&field->values, &columns->memory, text, size_bytes, number);
    if (ok)
        postings_begin(&field->postings, *number);
    pthread_rwlock_unlock(&columns->lock);
    return ok;
}

/* All room first: a set that only some of its values know about would answer wrongly ever after. */
static bool add_set(struct columns *columns, struct field *field, const uint32_t *values, size_t count, uint32_t *set)
{
    for (size_t i = 0; i < count; i++)
        if (!postings_reserve_set(&field->postings, values[i], &columns->bytes))
            return false;
    if (!dictionary_add(&field->sets, &columns->memory, values, count * sizeof *values, set))
        return false;
    for (size_t i = 0; i < count; i++)
        postings_push(&field->postings, values[i], *set);
    return true;
}

/* `values` ascending, each once. */
static bool find_set(struct columns *columns, struct field *field, const uint32_t *values, size_t count, uint32_t *set)
{
    if (dictionary_find(&field->sets, values, count * sizeof *values, set))
        return true;
    pthread_rwlock_wrlock(&columns->lock);
    bool ok = add_set(columns, field, values, count, set);
    pthread_rwlock_unlock(&columns->lock);
    return ok;
}

/* ---- one row */

/* The segment's column, made when its first row says something. Readers may come upon it at once: it is complete. */
static uint32_t *set_column(const struct row *row, struct field *field)
{
    uint32_t *sets = atomic_load_explicit(&field->set_columns[row->segment], memory_order_relaxed);
    if (sets != NULL)
        return sets;
    sets = calloc(row->capacity, sizeof *sets);
    if (sets == NULL)
        return NULL;
    count_bytes(row->columns, row->capacity * sizeof *sets);
    atomic_store_explicit(&field->set_columns[row->segment], sets, memory_order_release);
    return sets;
}

static double *number_column(const struct row *row, struct field *field)
{
    double *numbers = atomic_load_explicit(&field->number_columns[row->segment], memory_order_relaxed);
    if (numbers != NULL)
        return numbers;
    numbers = reallocarray(NULL, row->capacity, sizeof *numbers);
    if (numbers == NULL)
        return NULL;
    for (size_t i = 0; i < row->capacity; i++)
        numbers[i] = NAN;
    count_bytes(row->columns, row->capacity * sizeof *numbers);
    atomic_store_explicit(&field->number_columns[row->segment], numbers, memory_order_release);
    return numbers;
}

/* A put that memory gave out on may have left something in the row, and another item comes in its place. */
static void clear_row(const struct row *row)
{
    for (size_t i = 0; i < row->columns->names.count; i++) {
        struct field *field = &row->columns->fields[i];
        uint32_t *sets = atomic_load_explicit(&field->set_columns[row->segment], memory_order_relaxed);
        double *numbers = atomic_load_explicit(&field->number_columns[row->segment], memory_order_relaxed);
        if (sets != NULL)
            sets[row->at] = COLUMNS_SET_NONE;
        if (numbers != NULL)
            numbers[row->at] = NAN;
    }
}

static bool put_number(const struct row *row, struct field *field, double number)
{
    double *numbers = number_column(row, field);
    if (numbers == NULL)
        return false;
    numbers[row->at] = number;
    return true;
}

static bool gather(struct columns *columns, struct field *field, const char *text)
{
    if (columns->gathered_count == columns->gathered_capacity) {
        size_t capacity = columns->gathered_capacity * 2 + 16;
        uint32_t *gathered = reallocarray(columns->gathered, capacity, sizeof *gathered);
        if (gathered == NULL)
            return false;
        count_bytes(columns, (capacity - columns->gathered_capacity) * sizeof *gathered);
        columns->gathered = gathered;
        columns->gathered_capacity = capacity;
    }
    return find_value(columns, field, text, &columns->gathered[columns->gathered_count++]);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The row gets the set of what was gathered. */
static bool put_gathered(const struct row *row, struct field *field)
{
    uint32_t *values = row->columns->gathered, set = COLUMNS_SET_NONE;
    size_t count = 0;
    if (row->columns->gathered_count == 0)
        return true;
    if (row->columns->gathered_count > 1)
        qsort(values, row->columns->gathered_count, sizeof *values, compare_numbers);
    for (size_t i = 0; i < row->columns->gathered_count; i++)
        if (count == 0 || values[count - 1] != values[i])
            values[count++] = values[i];
    if (!find_set(row->columns, field, values, count, &set))
        return false;
    uint32_t *sets = set_column(row, field);
    if (sets == NULL)
        return false;
    sets[row->at] = set;
    return true;
}

static bool put_text(const struct row *row, struct field *field, const char *text)
{
    row->columns->gathered_count = 0;
    return gather(row->columns, field, text) && put_gathered(row, field);
}

static bool put_texts(const struct row *row, struct field *field, const json_t *list)
{
    row->columns->gathered_count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text != NULL && !gather(row->columns, field, text))
            return false;
    }
    return put_gathered(row, field);
}

static bool put_attribute(const struct row *row, const char *name, const json_t *value)
{
    struct field *field;
    char text[32];
    if (json_is_object(value) || json_is_null(value))
        return true;
    if (!find_field(row->columns, name, &field))
        return false;
    if (field == NULL || field < &row->columns->fields[FIELD_ATTRIBUTES])
        return true;
    if (json_is_array(value))
        return put_texts(row, field, value);
    if (json_is_string(value))
        return put_text(row, field, json_string_value(value));
    if (json_is_boolean(value))
        return put_text(row, field, json_is_true(value) ? "true" : "false");
    snprintf(text, sizeof text, "%.15g", json_number_value(value));
    return put_text(row, field, text) && put_number(row, field, json_number_value(value));
}

/* NULL where the text says nothing. Integers are read as reals: one that is too large must not silence the others. */
static json_t *parse(const char *text, const char *nothing)
{
    if (text == NULL || strcmp(text, nothing) == 0)
        return NULL;
    return json_loads(text, JSON_DECODE_INT_AS_REAL, NULL);
}

static bool put_categories(const struct row *row, const char *text)
{
    json_t *list = parse(text, "[]");
    bool ok = put_texts(row, &row->columns->fields[FIELD_CATEGORY], list); /* of what is no list, the size is 0 */
    json_decref(list);
    return ok;
}

static bool put_attributes(const struct row *row, const char *text)
{
    json_t *object = parse(text, "{}"), *value;
    const char *name;
    bool ok = true;
    json_object_foreach(object, name, value)
    {
        ok = put_attribute(row, name, value);
        if (!ok)
            break;
    }
    json_decref(object);
    return ok;
}

bool columns_put(struct columns *columns, size_t segment, size_t capacity, size_t at, const struct catalog_item *item)
{
    struct row row = {.columns = columns, .segment = segment, .capacity = capacity, .at = at};
    clear_row(&row);
    return put_text(&row, &columns->fields[FIELD_AVAILABLE], item->item.available ? "true" : "false") &&
           (!item->item.has_price || put_number(&row, &columns->fields[FIELD_PRICE], item->item.price)) &&
           put_categories(&row, item->item.categories_json) && put_attributes(&row, item->item.attributes_json);
}

/* ---- life */

/* Readers come all the time: with the default kind the writer might never get its turn. */
static bool lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    bool ok = pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0 &&
              pthread_rwlock_init(lock, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return ok;
}

struct columns *columns_new(void)
{
    static const char *const always[FIELD_ATTRIBUTES] = {
        [FIELD_CATEGORY] = "category", [FIELD_PRICE] = "price", [FIELD_AVAILABLE] = "available"};
    struct columns *columns = calloc(1, sizeof *columns);
    if (columns == NULL)
        return NULL;
    if (!lock_init(&columns->lock)) {
        free(columns);
        return NULL;
    }
    count_bytes(columns, sizeof *columns);
    for (size_t i = 0; i < FIELD_ATTRIBUTES; i++) {
        struct field *field;
        if (!find_field(columns, always[i], &field)) {
            columns_free(columns);
            return NULL;
        }
    }
    return columns;
}

static void field_close(struct field *field)
{
    postings_close(&field->postings, field->values.count);
    dictionary_close(&field->values);
    dictionary_close(&field->sets);
    for (size_t i = 0; i < COLUMNS_SEGMENTS_MAX; i++) {
        free(atomic_load_explicit(&field->set_columns[i], memory_order_relaxed));
        free(atomic_load_explicit(&field->number_columns[i], memory_order_relaxed));
    }
}

void columns_free(struct columns *columns)
{
    if (columns == NULL)
        return;
    for (size_t i = 0; i < COLUMNS_FIELDS_MAX; i++) /* one that has no name yet may have a set */
        field_close(&columns->fields[i]);
    dictionary_close(&columns->names);
    dictionary_memory_close(&columns->memory);
    free(columns->gathered);
    pthread_rwlock_destroy(&columns->lock);
    free(columns);
}

/* ---- reading */

/* A dictionary under the lock. */
static const void *string_of(struct columns *columns, const struct dictionary *dictionary, uint32_t number,
                             size_t *size_bytes)
{
    pthread_rwlock_rdlock(&columns->lock);
    const void *bytes = dictionary_get(dictionary, number, size_bytes);
    pthread_rwlock_unlock(&columns->lock);
    return bytes;
}

static size_t count_of(struct columns *columns, const struct dictionary *dictionary)
{
    pthread_rwlock_rdlock(&columns->lock);
    size_t count = dictionary->count;
    pthread_rwlock_unlock(&columns->lock);
    return count;
}

int columns_find(struct columns *columns, const char *name, const char **nearest)
{
    const char *names[COLUMNS_FIELDS_MAX] = {NULL};
    uint32_t number = 0;
    pthread_rwlock_rdlock(&columns->lock);
    bool found = dictionary_find(&columns->names, name, strlen(name) + 1, &number);
    size_t count = found || nearest == NULL ? 0 : columns->names.count;
    for (uint32_t i = 0; i < count; i++)
        names[i] = dictionary_get(&columns->names, i, NULL);
    pthread_rwlock_unlock(&columns->lock);
    if (nearest != NULL)
        *nearest = suggest(name, names, count);
    return found ? (int)number : -1;
}

const char *columns_name(struct columns *columns, int field)
{
    return string_of(columns, &columns->names, (uint32_t)field, NULL);
}

size_t columns_set_count(struct columns *columns, int field)
{
    return count_of(columns, &columns->fields[field].sets);
}

void columns_sets_with(struct columns *columns, int field, const char *const *values, size_t count, uint64_t *bits,
                       size_t set_count)
{
    const struct field *of = &columns->fields[field];
    pthread_rwlock_rdlock(&columns->lock);
    for (size_t i = 0; i < count; i++) {
        uint32_t value = 0;
        if (dictionary_find(&of->values, values[i], strlen(values[i]) + 1, &value))
            postings_mark(&of->postings, value, bits, set_count);
    }
    pthread_rwlock_unlock(&columns->lock);
}

const uint32_t *columns_sets(const struct columns *columns, int field, size_t segment)
{
    return atomic_load_explicit(&columns->fields[field].set_columns[segment], memory_order_acquire);
}

const double *columns_numbers(const struct columns *columns, int field, size_t segment)
{
    return atomic_load_explicit(&columns->fields[field].number_columns[segment], memory_order_acquire);
}

const uint32_t *columns_set_values(struct columns *columns, int field, uint32_t set, size_t *count)
{
    size_t size_bytes;
    const uint32_t *values = string_of(columns, &columns->fields[field].sets, set, &size_bytes);
    *count = size_bytes / sizeof *values;
    return values;
}

size_t columns_value_count(struct columns *columns, int field)
{
    return count_of(columns, &columns->fields[field].values);
}

const char *columns_value(struct columns *columns, int field, uint32_t value)
{
    return string_of(columns, &columns->fields[field].values, value, NULL);
}

size_t columns_bytes(struct columns *columns)
{
    return atomic_load_explicit(&columns->bytes, memory_order_relaxed) + dictionary_memory_bytes(&columns->memory);
}
