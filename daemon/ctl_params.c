/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_params.h"

#include "daemon/ctl_session.h"

#include <string.h>

static json_t *text_value(const char *what, const char *text, size_t length, struct status *st)
{
    json_t *value = json_stringn(text, length);
    if (value == NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "%s: '%s' is not UTF-8", what, text);
    return value;
}

bool ctl_params_set(json_t *object, const char *key, json_t *value, struct status *st)
{
    return json_object_set_new(object, key, value) == 0 || ctl_no_memory(st);
}

static bool append(json_t *array, json_t *value, struct status *st)
{
    return json_array_append_new(array, value) == 0 || ctl_no_memory(st);
}

bool ctl_params_text(json_t *object, const char *key, const char *text, struct status *st)
{
    if (text == NULL)
        return true;
    json_t *value = text_value(key, text, strlen(text), st);
    return value != NULL && ctl_params_set(object, key, value, st);
}

bool ctl_params_real(json_t *object, const char *key, const char *text, struct status *st)
{
    double number;
    if (text == NULL)
        return true;
    if (!ctl_parse_real(text, &number))
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "%s: '%s' is no number", key, text);
    return ctl_params_set(object, key, json_real(number), st);
}

bool ctl_params_yes_no(json_t *object, const char *key, const char *text, struct status *st)
{
    if (text == NULL)
        return true;
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "%s: '%s' is neither yes nor no", key, text);
    return ctl_params_set(object, key, json_boolean(strcmp(text, "yes") == 0), st);
}

bool ctl_params_integer(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                        int64_t least, int64_t most, struct status *st)
{
    int64_t number = 0;
    if (!ctl_option_given(arguments, option))
        return true;
    return ctl_option_integer(arguments, option, least, most, &number, st) &&
           ctl_params_set(object, key, json_integer(number), st);
}

bool ctl_params_texts(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                      struct status *st)
{
    if (!ctl_option_given(arguments, option))
        return true;
    json_t *array = json_array();
    if (!ctl_params_set(object, key, array, st))
        return false;
    size_t position = 0;
    const char *text;
    while ((text = ctl_option_next(arguments, option, &position)) != NULL) {
        json_t *value = text_value(option, text, strlen(text), st);
        if (value == NULL || !append(array, value, st))
            return false;
    }
    return true;
}

bool ctl_params_words(json_t *object, const char *key, const struct ctl_arguments *arguments, size_t first,
                      struct status *st)
{
    json_t *array = json_array();
    if (!ctl_params_set(object, key, array, st))
        return false;
    for (size_t i = first; i < arguments->word_count; i++) {
        json_t *value = text_value(key, arguments->words[i], strlen(arguments->words[i]), st);
        if (value == NULL || !append(array, value, st))
            return false;
    }
    return true;
}

bool ctl_params_commas(json_t *object, const char *key, const char *text, struct status *st)
{
    if (*text == '\0')
        return true;
    json_t *array = json_array();
    if (!ctl_params_set(object, key, array, st))
        return false;
    for (const char *end;; text = end + 1) {
        end = strchrnul(text, ',');
        json_t *value = text_value(key, text, (size_t)(end - text), st);
        if (value == NULL || !append(array, value, st))
            return false;
        if (*end == '\0')
            return true;
    }
}

/* Split "name=value" at the first '='. */
static bool split_pair(const char *option, const char *text, char *name, size_t name_size, const char **value,
                       struct status *st)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || (size_t)(equals - text) >= name_size)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--%s': '%s' is not NAME=VALUE", option,
                           text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    *value = equals + 1;
    json_t *probe =
        text_value(option, name, strlen(name), st); /* a key that is not UTF-8 would look like out of memory */
    json_decref(probe);
    return probe != NULL;
}

bool ctl_params_weights(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                        struct status *st)
{
    if (!ctl_option_given(arguments, option))
        return true;
    json_t *weights = json_object();
    if (!ctl_params_set(object, key, weights, st))
        return false;
    size_t position = 0;
    const char *text;
    while ((text = ctl_option_next(arguments, option, &position)) != NULL) {
        char name[128];
        const char *value;
        if (!split_pair(option, text, name, sizeof name, &value, st) || !ctl_params_real(weights, name, value, st))
            return false;
    }
    return true;
}

/* Add `value` under `name`: beside what is there already, as a list. Consumes `value`. */
static bool add_value(json_t *object, const char *name, json_t *value, struct status *st)
{
    json_t *there = json_object_get(object, name);
    if (there == NULL)
        return ctl_params_set(object, name, value, st);
    if (!json_is_array(there)) {
        json_t *list = json_array();
        if (json_array_append(list, there) != 0 || json_object_set_new(object, name, list) != 0) {
            json_decref(value);
            return ctl_no_memory(st);
        }
        there = list;
    }
    return append(there, value, st);
}

bool ctl_params_pairs(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                      struct status *st)
{
    if (!ctl_option_given(arguments, option))
        return true;
    json_t *pairs = json_object();
    if (!ctl_params_set(object, key, pairs, st))
        return false;
    size_t position = 0;
    const char *text;
    while ((text = ctl_option_next(arguments, option, &position)) != NULL) {
        char name[512];
        const char *value;
        if (!split_pair(option, text, name, sizeof name, &value, st))
            return false;
        json_t *json = text_value(option, value, strlen(value), st);
        if (json == NULL || !add_value(pairs, name, json, st))
            return false;
    }
    return true;
}
