/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_settings.h"

#include "proto/suggest.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

/* clang-format off */
#define NAME_OF(section, name) #section, #name, #section "." #name
#define AT(section, name)      offsetof(struct config, section##_##name)
#define INTEGER(section, name, preset, least, most, doc)                                                               \
    {NAME_OF(section, name), doc, CONFIG_KIND_INTEGER, AT(section, name), least, most},
#define REAL(section, name, preset, least, most, doc)                                                                  \
    {NAME_OF(section, name), doc, CONFIG_KIND_REAL, AT(section, name), least, most},
#define SWITCH(section, name, preset, doc) {NAME_OF(section, name), doc, CONFIG_KIND_SWITCH, AT(section, name), 0, 0},
#define TEXT(section, name, preset, doc)   {NAME_OF(section, name), doc, CONFIG_KIND_TEXT, AT(section, name), 0, 0},

const struct config_setting config_settings[CONFIG_SETTING_COUNT] = {
    {NAME_OF(server, listen), "where clients connect: ipc://PATH or tcp://ADDRESS:PORT", CONFIG_KIND_LISTEN, 0, 0, 0},
    CONFIG_SETTINGS(INTEGER, REAL, SWITCH, TEXT)
    {"behaviours", "", "behaviours", "what users do and what it weighs: 1 is a view, negative is dislike",
     CONFIG_KIND_BEHAVIOURS, 0, -CONFIG_WEIGHT_MOST, CONFIG_WEIGHT_MOST},
};

#undef NAME_OF
#undef AT
#undef INTEGER
#undef REAL
#undef SWITCH
#undef TEXT
/* clang-format on */

static const struct {
    const char *dotted;
    const char *const words[5]; /* NULL-terminated */
} choices[] = {
    {"storage.durability", {"full", "normal"}},
    {"requests.log", {"experiments", "off", "all"}},
    {"log.level", {"debug", "info", "warn", "error"}},
    {"log.format", {"auto", "text", "json"}},
};

/* The words that a text setting is limited to, or NULL when any text will do. */
static const char *const *words_of(const struct config_setting *setting)
{
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (strcmp(choices[i].dotted, setting->dotted) == 0)
            return choices[i].words;
    }
    return NULL;
}

/* `shown` is the whole name, `word` the part that the candidates are like. */
static void fail_unknown(const char *what, const char *shown, const char *word, const char *const *candidates,
                         size_t count, struct status *st)
{
    const char *near = suggest(word, candidates, count);
    if (near != NULL)
        status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", shown, "unknown %s '%.64s', did you mean '%s'?",
                          what, shown, near);
    else
        status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", shown, "unknown %s '%.64s'", what, shown);
}

const struct config_setting *config_section_find(const char *section, struct status *st)
{
    const char *candidates[CONFIG_SETTING_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        if (strcmp(config_settings[i].section, section) == 0)
            return &config_settings[i];
        if (count == 0 || strcmp(candidates[count - 1], config_settings[i].section) != 0)
            candidates[count++] = config_settings[i].section;
    }
    fail_unknown("section", section, section, candidates, count, st);
    return NULL;
}

const struct config_setting *config_setting_find(const char *section, const char *name, struct status *st)
{
    const char *candidates[CONFIG_SETTING_COUNT];
    size_t count = 0;
    char dotted[128];
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        if (strcmp(config_settings[i].section, section) != 0)
            continue;
        if (strcmp(config_settings[i].name, name) == 0)
            return &config_settings[i];
        candidates[count++] = config_settings[i].name;
    }
    snprintf(dotted, sizeof dotted, "%s.%s", section, name);
    fail_unknown("setting", dotted, name, candidates, count, st);
    return NULL;
}

const struct config_setting *config_setting_find_dotted(const char *dotted, struct status *st)
{
    const char *candidates[CONFIG_SETTING_COUNT];
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        if (strcmp(config_settings[i].dotted, dotted) == 0)
            return &config_settings[i];
        candidates[i] = config_settings[i].dotted;
    }
    fail_unknown("setting", dotted, dotted, candidates, CONFIG_SETTING_COUNT, st);
    return NULL;
}

static bool fail_value(const struct config_setting *setting, const char *text, const char *expected, struct status *st)
{
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", setting->dotted, "'%s' is '%.64s', expected %s",
                             setting->dotted, text, expected);
}

static bool fail_range(const struct config_setting *setting, const char *text, struct status *st)
{
    char expected[96];
    snprintf(expected, sizeof expected, "%.15g to %.15g", setting->least, setting->most);
    return fail_value(setting, text, expected, st);
}

/* Decimal digits after an optional minus. YAML 1.1 reads 010 as eight and people as ten: refused. */
static bool is_integer(const char *text)
{
    const char *digits = text + (*text == '-');
    const size_t count = strspn(digits, "0123456789");
    return count > 0 && digits[count] == '\0' && (count == 1 || digits[0] != '0');
}

static bool parse_integer(struct config *config, const struct config_setting *setting, const char *text,
                          struct status *st)
{
    if (!is_integer(text))
        return fail_value(setting, text, "a whole number", st);
    errno = 0;
    const long long value = strtoll(text, NULL, 10);
    if (errno != 0 || (double)value < setting->least || (double)value > setting->most)
        return fail_range(setting, text, st);
    *(int64_t *)(void *)((char *)config + setting->offset) = value;
    return true;
}

/* A decimal number whatever the locale; no hexadecimal, infinity or NaN. */
static bool to_real(const char *text, double *value)
{
    char *end;
    if (strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return false;
    *value = strtod_l(text, &end, plain);
    freelocale(plain);
    return end != text && *end == '\0' && isfinite(*value);
}

static bool parse_real(struct config *config, const struct config_setting *setting, const char *text, struct status *st)
{
    double value;
    if (!to_real(text, &value))
        return fail_value(setting, text, "a number", st);
    if (value < setting->least || value > setting->most)
        return fail_range(setting, text, st);
    *(double *)(void *)((char *)config + setting->offset) = value;
    return true;
}

static bool parse_switch(struct config *config, const struct config_setting *setting, const char *text,
                         struct status *st)
{
    const bool on = strcmp(text, "true") == 0;
    if (!on && strcmp(text, "false") != 0)
        return fail_value(setting, text, "true or false", st);
    *(bool *)((char *)config + setting->offset) = on;
    return true;
}

/* Fails for what cannot be seen in a log or written back to a file: bad UTF-8, control and formatting characters. */
static bool is_visible(const char *text)
{
    const uint32_t hidden = UC_CATEGORY_MASK_Cc | UC_CATEGORY_MASK_Cf | UC_CATEGORY_MASK_Cs | UC_CATEGORY_MASK_Cn |
                            UC_CATEGORY_MASK_Zl | UC_CATEGORY_MASK_Zp;
    const uint8_t *at = (const uint8_t *)text;
    for (size_t left = strlen(text); left > 0;) {
        ucs4_t symbol;
        const int length = u8_mbtoucr(&symbol, at, left);
        if (length <= 0 || uc_is_general_category_withtable(symbol, hidden))
            return false;
        at += length;
        left -= (size_t)length;
    }
    return true;
}

static bool check_text(const struct config_setting *setting, const char *text, struct status *st)
{
    const char *problem = NULL;
    if (*text == '\0')
        problem = "is empty";
    else if (strlen(text) >= CONFIG_TEXT_MAX)
        problem = "is too long";
    else if (!is_visible(text))
        problem = "holds bad UTF-8 or a control character";
    if (problem == NULL)
        return true;
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", setting->dotted, "'%s' %s", setting->dotted,
                             problem);
}

static bool check_word(const struct config_setting *setting, const char *text, struct status *st)
{
    const char *const *words = words_of(setting);
    char expected[96] = "";
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0)
            return true;
        const size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s", i > 0 ? " or " : "", words[i]);
    }
    return words == NULL || fail_value(setting, text, expected, st);
}

static bool parse_text(struct config *config, const struct config_setting *setting, const char *text, struct status *st)
{
    if (!check_text(setting, text, st))
        return false;
    if (!check_word(setting, text, st))
        return false;
    /* Cleared whole, so that equal configurations are equal bytes. */
    char *field = (char *)config + setting->offset;
    memset(field, 0, CONFIG_TEXT_MAX);
    memcpy(field, text, strlen(text));
    return true;
}

/* The entries of the table for the two lists, which have functions of their own. */
#define LISTEN     (&config_settings[0])
#define BEHAVIOURS (&config_settings[CONFIG_SETTING_COUNT - 1])

bool config_listen_add(struct config *config, const char *endpoint, struct status *st)
{
    if (!check_text(LISTEN, endpoint, st))
        return false;
    for (size_t i = 0; i < config->server_listen_count; i++) {
        if (strcmp(config->server_listen[i], endpoint) == 0)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", LISTEN->dotted,
                                     "'%s' has '%.64s' twice", LISTEN->dotted, endpoint);
    }
    if (config->server_listen_count == CONFIG_LISTEN_MAX)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", LISTEN->dotted,
                                 "'%s' has more than %d endpoints", LISTEN->dotted, CONFIG_LISTEN_MAX);
    char *field = config->server_listen[config->server_listen_count++];
    memset(field, 0, CONFIG_TEXT_MAX);
    memcpy(field, endpoint, strlen(endpoint));
    return true;
}

/* [a-z][a-z0-9_]{0,30} */
static bool is_behaviour_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    return *name >= 'a' && *name <= 'z' && strspn(name, letters) == strlen(name) &&
           strlen(name) < sizeof((struct config_behaviour *)0)->name;
}

bool config_behaviour_add(struct config *config, const char *name, const char *weight, struct status *st)
{
    struct config_behaviour next = {0};
    if (!is_behaviour_name(name))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", BEHAVIOURS->dotted,
                                 "'%.64s' is no name of a behaviour: a to z first, then also 0 to 9 and _, at most %zu",
                                 name, sizeof next.name - 1);
    for (size_t i = 0; i < config->behaviour_count; i++) {
        if (strcmp(config->behaviours[i].name, name) == 0)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", BEHAVIOURS->dotted,
                                     "duplicate behaviour '%s'", name);
    }
    if (config->behaviour_count == CONFIG_BEHAVIOURS_MAX)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", BEHAVIOURS->dotted,
                                 "more than %d behaviours", CONFIG_BEHAVIOURS_MAX);
    if (!to_real(weight, &next.weight) || fabs(next.weight) > CONFIG_WEIGHT_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", BEHAVIOURS->dotted,
                                 "'%s' weighs '%.64s', expected a number from %g to %g", name, weight,
                                 -CONFIG_WEIGHT_MOST, CONFIG_WEIGHT_MOST);
    memcpy(next.name, name, strlen(name));
    config->behaviours[config->behaviour_count++] = next;
    return true;
}

/* The text without blanks around it; cuts it in place. */
static char *trim(char *text)
{
    text += strspn(text, " ");
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
    return text;
}

static bool add_part(struct config *config, const struct config_setting *setting, char *part, struct status *st)
{
    if (setting->kind == CONFIG_KIND_LISTEN)
        return config_listen_add(config, part, st);
    char *equals = strchr(part, '=');
    if (equals == NULL)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", setting->dotted,
                                 "'%.64s' has no weight, expected NAME=WEIGHT", part);
    *equals = '\0';
    return config_behaviour_add(config, trim(part), trim(equals + 1), st);
}

static bool parse_list(struct config *config, const struct config_setting *setting, const char *text, struct status *st)
{
    bool ok = true;
    struct config next = *config;
    char *copy = strdup(text), *rest = copy;
    if (copy == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for '%s'", setting->dotted);
    config_setting_clear(&next, setting);
    while (ok && rest != NULL)
        ok = add_part(&next, setting, trim(strsep(&rest, ",")), st);
    free(copy);
    if (ok)
        *config = next;
    return ok;
}

void config_setting_clear(struct config *config, const struct config_setting *setting)
{
    if (setting->kind == CONFIG_KIND_LISTEN) {
        memset(config->server_listen, 0, sizeof config->server_listen);
        config->server_listen_count = 0;
    } else {
        memset(config->behaviours, 0, sizeof config->behaviours);
        config->behaviour_count = 0;
    }
}

bool config_setting_parse(struct config *config, const struct config_setting *setting, const char *text,
                          struct status *st)
{
    switch (setting->kind) {
    case CONFIG_KIND_INTEGER:
        return parse_integer(config, setting, text, st);
    case CONFIG_KIND_REAL:
        return parse_real(config, setting, text, st);
    case CONFIG_KIND_SWITCH:
        return parse_switch(config, setting, text, st);
    case CONFIG_KIND_TEXT:
        return parse_text(config, setting, text, st);
    case CONFIG_KIND_LISTEN:
    case CONFIG_KIND_BEHAVIOURS:
        break;
    }
    return parse_list(config, setting, text, st);
}
