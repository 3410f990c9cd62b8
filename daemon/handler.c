/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/handler.h"

#include "daemon/timestamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool check_id(const struct config *config, const char *id, const char *field, struct status *st)
{
    size_t length = strlen(id);
    if (length == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", field, "'%s' is missing", field);
    if (length > (size_t)config->limits_id_bytes)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", field,
                                 "'%s' is of %zu bytes, %" PRId64 " are allowed", field, length,
                                 config->limits_id_bytes);
    for (const unsigned char *at = (const unsigned char *)id; *at != '\0'; at++)
        if (*at < 0x20 || *at == 0x7f)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "CONTROL_CHARACTER", field,
                                     "'%s' holds a control character", field);
    return true;
}

bool check_n(bool given, int32_t n, size_t preset, int64_t most, size_t *out, struct status *st)
{
    if (given && (n < 1 || n > most))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "n",
                                 "'n' is %d, from 1 to %" PRId64 " is allowed", n, most);
    *out = given ? (size_t)n : preset;
    return true;
}

bool check_time(const struct config *config, const char *text, const char *field, int64_t now_ms, int64_t preset_ms,
                int64_t *out_ms, struct status *st)
{
    int64_t at_ms;
    if (text[0] == '\0') {
        *out_ms = preset_ms;
        return true;
    }
    if (!timestamp_parse(text, field, &at_ms, st))
        return false;
    if (at_ms > now_ms + config->limits_future_ms)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "IN_THE_FUTURE", field,
                                 "'%s' is %" PRId64 " s ahead of the clock", field, (at_ms - now_ms) / 1000);
    *out_ms = at_ms;
    return true;
}

bool check_position(const char *text, const char *field, int64_t preset, int64_t *out, struct status *st)
{
    char *end;
    if (text[0] == '\0') {
        *out = preset;
        return true;
    }
    errno = 0;
    long long position = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || position < 0 || text[0] < '0' || text[0] > '9')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_POSITION", field,
                                 "'%s' is no position that this server gave out", field);
    *out = position;
    return true;
}

struct field_name field_at(const char *list, size_t row, const char *member)
{
    struct field_name name;
    snprintf(name.text, sizeof name.text, "%s[%zu]%s%s", list, row, member[0] == '\0' ? "" : ".", member);
    return name;
}

void *handler_alloc(struct handler *handler, size_t size)
{
    return arena_alloc(&handler->worker.arena, size);
}

char *position_text(struct arena *arena, int64_t position)
{
    char *text = arena_alloc(arena, 24);
    if (text != NULL)
        snprintf(text, 24, "%" PRId64, position);
    return text;
}

static char *copy_text(struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = arena_alloc(arena, size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

/* strings of a JSON array */
static bool copy_strings(struct arena *arena, const json_t *list, size_t *count, char ***out)
{
    size_t size = json_array_size(list);
    char **texts = arena_alloc(arena, (size + 1) * sizeof *texts);
    if (texts == NULL)
        return false;
    for (size_t i = 0; i < size; i++) {
        texts[i] = copy_text(arena, json_string_value(json_array_get(list, i)));
        if (texts[i] == NULL)
            return false;
    }
    *count = size;
    *out = texts;
    return true;
}

bool unpack_categories(struct arena *arena, const char *json, size_t *count, char ***categories)
{
    json_t *list = json_loads(json, 0, NULL);
    bool ok = copy_strings(arena, list, count, categories);
    json_decref(list);
    return ok;
}

static Recsys__Attribute *unpack_attribute(struct arena *arena, const char *key, const json_t *value)
{
    Recsys__Attribute *attribute = arena_alloc(arena, sizeof *attribute);
    if (attribute == NULL)
        return NULL;
    recsys__attribute__init(attribute);
    attribute->key = copy_text(arena, key);
    bool ok = attribute->key != NULL;
    if (json_is_string(value)) {
        attribute->value_case = RECSYS__ATTRIBUTE__VALUE_TEXT;
        attribute->text = copy_text(arena, json_string_value(value));
        ok = ok && attribute->text != NULL;
    } else if (json_is_number(value)) {
        attribute->value_case = RECSYS__ATTRIBUTE__VALUE_NUMBER;
        attribute->number = json_number_value(value);
    } else if (json_is_boolean(value)) {
        attribute->value_case = RECSYS__ATTRIBUTE__VALUE_FLAG;
        attribute->flag = json_is_true(value);
    } else {
        attribute->value_case = RECSYS__ATTRIBUTE__VALUE_LIST;
        attribute->list = arena_alloc(arena, sizeof *attribute->list);
        ok = ok && attribute->list != NULL;
        if (ok) {
            recsys__text_list__init(attribute->list);
            ok = copy_strings(arena, value, &attribute->list->n_values, &attribute->list->values);
        }
    }
    return ok ? attribute : NULL;
}

bool unpack_attributes(struct arena *arena, const char *json, size_t *count, Recsys__Attribute ***attributes)
{
    json_t *object = json_loads(json, 0, NULL), *value;
    const char *key;
    Recsys__Attribute **list = arena_alloc(arena, (json_object_size(object) + 1) * sizeof *list);
    bool ok = list != NULL;
    size_t at = 0;
    json_object_foreach(object, key, value)
    {
        if (ok) {
            list[at] = unpack_attribute(arena, key, value);
            ok = list[at++] != NULL;
        }
    }
    json_decref(object);
    if (ok) {
        *count = at;
        *attributes = list;
    }
    return ok;
}

bool row_errors_add(struct row_errors *errors, struct arena *arena, size_t row, const struct status *st)
{
    if (errors->count == errors->capacity) {
        size_t capacity = errors->capacity * 2 + 16;
        Recsys__RowError **grown = arena_alloc(arena, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        if (errors->count > 0)
            memcpy(grown, errors->list, errors->count * sizeof *grown);
        errors->list = grown;
        errors->capacity = capacity;
    }
    Recsys__RowError *error = arena_alloc(arena, sizeof *error);
    if (error == NULL)
        return false;
    recsys__row_error__init(error);
    error->row = (int32_t)row;
    error->reason = copy_text(arena, st->reason);
    error->field = copy_text(arena, st->field);
    error->message = copy_text(arena, st->message);
    errors->list[errors->count] = error;
    if (error->reason == NULL || error->field == NULL || error->message == NULL)
        return false;
    errors->count++;
    return true;
}
