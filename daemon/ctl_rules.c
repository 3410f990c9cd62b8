/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_rules.h"

#include <string.h>

#define POOL_MOST 1000000 /* what the daemon allows is its own affair */

static bool usage(struct status *st, const char *what, const char *text, const char *expected)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "USAGE", "%s '%.128s' is not %s", what, text, expected);
}

/* ---- conditions */

/* "a,b" into an array */
static bool set_values(json_t *condition, const char *key, const char *text, struct status *st)
{
    if (*text == '\0')
        return usage(st, "condition", json_string_value(json_object_get(condition, "field")), "followed by a value");
    return ctl_params_commas(condition, key, text, st);
}

/* a number, or for times the text as it is */
static bool set_bound(json_t *condition, bool least, const char *text, struct status *st)
{
    const char *field = json_string_value(json_object_get(condition, "field"));
    bool time = strcmp(field, "created") == 0 || strcmp(field, "expires") == 0;
    double value;
    if (!time && ctl_parse_real(text, &value))
        return ctl_params_set(condition, least ? "min" : "max", json_real(value), st);
    return ctl_params_text(condition, least ? "after" : "before", text, st);
}

static bool fill_condition(json_t *condition, const char *text, size_t name_length, struct status *st)
{
    const char *rest = text + name_length;
    if (!ctl_params_set(condition, "field", json_stringn(text, name_length), st))
        return false;
    if (strcmp(rest, "?") == 0 || strcmp(rest, "!?") == 0)
        return ctl_params_set(condition, "exists", json_boolean(rest[0] == '?'), st);
    if (strncmp(rest, ">=", 2) == 0 || strncmp(rest, "<=", 2) == 0)
        return set_bound(condition, rest[0] == '>', rest + 2, st);
    if (strncmp(rest, "!=", 2) == 0)
        return set_values(condition, "none", rest + 2, st);
    return set_values(condition, "any", rest + 1, st);
}

json_t *ctl_rules_condition(const char *text, struct status *st)
{
    size_t name_length = strcspn(text, "=<>!?");
    const char *rest = text + name_length;
    bool known = rest[0] == '=' || strncmp(rest, "!=", 2) == 0 || strncmp(rest, ">=", 2) == 0 ||
                 strncmp(rest, "<=", 2) == 0 || strcmp(rest, "?") == 0 || strcmp(rest, "!?") == 0;
    json_t *condition = json_object();
    if (name_length == 0 || !known)
        usage(st, "condition", text, "NAME=VALUE,VALUE NAME!=VALUE NAME>=NUMBER NAME<=NUMBER NAME? or NAME!?");
    else if (fill_condition(condition, text, name_length, st))
        return condition;
    json_decref(condition);
    return NULL;
}

static bool add_conditions(json_t *filter, const char *key, const struct ctl_arguments *arguments, const char *option,
                           struct status *st)
{
    json_t *list = json_array();
    const char *text;
    for (size_t position = 0; (text = ctl_option_next(arguments, option, &position)) != NULL;) {
        json_t *condition = ctl_rules_condition(text, st);
        if (condition == NULL || json_array_append_new(list, condition) != 0) {
            json_decref(list);
            return false;
        }
    }
    if (json_array_size(list) > 0)
        return ctl_params_set(filter, key, list, st);
    json_decref(list);
    return true;
}

static bool add_filter(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    json_t *filter = json_object();
    bool ok = add_conditions(filter, "must", arguments, "must", st) &&
              add_conditions(filter, "must_not", arguments, "must-not", st) &&
              add_conditions(filter, "should", arguments, "should", st);
    if (ok && json_object_size(filter) > 0)
        return ctl_params_set(params, "filter", filter, st);
    json_decref(filter);
    return ok;
}

/* ---- boosts, promotions, caps */

/* one element of a list, from the text of an option */
typedef bool make_element(json_t *element, const char *text, struct status *st);

static bool add_elements(json_t *params, const char *key, const struct ctl_arguments *arguments, const char *option,
                         make_element *make, struct status *st)
{
    json_t *list = json_array();
    const char *text;
    for (size_t position = 0; (text = ctl_option_next(arguments, option, &position)) != NULL;) {
        json_t *element = json_object();
        if (!make(element, text, st) || json_array_append(list, element) != 0) {
            json_decref(element);
            json_decref(list);
            return false;
        }
        json_decref(element);
    }
    if (json_array_size(list) > 0)
        return ctl_params_set(params, key, list, st);
    json_decref(list);
    return true;
}

/* "when" from a single condition */
static bool set_when(json_t *element, const char *text, struct status *st)
{
    json_t *condition = ctl_rules_condition(text, st), *when = json_array();
    if (condition == NULL || json_array_append_new(when, condition) != 0) {
        json_decref(when);
        return false;
    }
    return ctl_params_set(element, "when", when, st);
}

/* a number that ends at `end`; false where it is none */
static bool number_until(const char *text, const char *end, double *value)
{
    char number[64];
    size_t length = (size_t)(end - text);
    if (length >= sizeof number)
        return false;
    memcpy(number, text, length);
    number[length] = '\0';
    return ctl_parse_real(number, value);
}

static bool make_boost(json_t *element, const char *text, struct status *st)
{
    const char *colon = strchr(text, ':');
    double add;
    if (colon == NULL || !number_until(text, colon, &add))
        return usage(st, "--boost", text, "NUMBER:CONDITION");
    return ctl_params_set(element, "add", json_real(add), st) && set_when(element, colon + 1, st);
}

static bool make_promotion(json_t *element, const char *text, struct status *st)
{
    const char *colon = strchr(text, ':'), *equals = strchr(text, '=');
    double share;
    if (colon != NULL && equals > colon)
        equals = NULL; /* of the condition */
    if (colon == NULL || !number_until(text, equals != NULL ? equals : colon, &share))
        return usage(st, "--promote", text, "SHARE:CONDITION or SHARE=LABEL:CONDITION");
    return ctl_params_set(element, "share", json_real(share), st) &&
           (equals == NULL ||
            ctl_params_set(element, "label", json_stringn(equals + 1, (size_t)(colon - equals - 1)), st)) &&
           set_when(element, colon + 1, st);
}

static bool make_cap(json_t *element, const char *text, struct status *st)
{
    const char *equals = strrchr(text, '='), *end = text + strlen(text);
    const char *slash = equals == NULL ? NULL : strchr(equals, '/');
    double most, window = 0;
    if (equals == NULL || equals == text || !number_until(equals + 1, slash != NULL ? slash : end, &most) ||
        (slash != NULL && !number_until(slash + 1, end, &window)))
        return usage(st, "--cap", text, "NAME=MOST or NAME=MOST/WINDOW");
    return ctl_params_set(element, "by", json_stringn(text, (size_t)(equals - text)), st) &&
           ctl_params_set(element, "most", json_real(most), st) &&
           ctl_params_set(element, "window", json_real(window), st);
}

bool ctl_rules_params(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    static const char *const knobs[][2] = {{"diversity", "diversity"},
                                           {"novelty", "novelty"},
                                           {"serendipity", "serendipity"},
                                           {"calibration", "calibration"},
                                           {"price_ceiling", "price-ceiling"},
                                           {"exploration", "exploration"},
                                           {"rotation", "rotation"}};
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++)
        if (!ctl_params_real(params, knobs[i][0], ctl_option_text(arguments, knobs[i][1]), st))
            return false;
    return add_filter(params, arguments, st) && add_elements(params, "boost", arguments, "boost", make_boost, st) &&
           add_elements(params, "promotions", arguments, "promote", make_promotion, st) &&
           add_elements(params, "caps", arguments, "cap", make_cap, st) &&
           ctl_params_text(params, "scenario", ctl_option_text(arguments, "scenario"), st) &&
           ctl_params_text(params, "rerank", ctl_option_text(arguments, "rerank"), st) &&
           ctl_params_text(params, "seed", ctl_option_text(arguments, "seed"), st) &&
           ctl_params_integer(params, "rotation_ms", arguments, "rotation-ms", 1, INT64_MAX, st) &&
           ctl_params_integer(params, "pool", arguments, "pool", 1, POOL_MOST, st);
}
