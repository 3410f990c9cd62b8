/* SPDX-License-Identifier: Apache-2.0
 *
 * The file is read twice. The first pass refuses what a configuration needs nothing of (anchors, tags, a second document) and what
 * libyaml 0.2.5 does not bound itself (depth), so that the second can be about settings only. */
#include "daemon/config_yaml.h"

#include "daemon/config_settings.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
    const char *name;
    const char *text;
    size_t size_bytes;
    struct config *config;
    bool seen[CONFIG_SETTING_COUNT]; /* in this file */
    struct status *st;
};

static bool fail_at(struct reader *r, yaml_mark_t mark, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool fail_at(struct reader *r, yaml_mark_t mark, const char *format, ...)
{
    char message[sizeof r->st->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status_fail(r->st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "%s:%zu:%zu: %s", r->name, mark.line + 1,
                       mark.column + 1, message);
}

/* Put the place in front of a failure that config_settings.c described. */
static bool wrap_at(struct reader *r, yaml_mark_t mark)
{
    return status_wrap(r->st, "%s:%zu:%zu", r->name, mark.line + 1, mark.column + 1);
}

/* Line and column of a byte, for errors that come without. */
static yaml_mark_t mark_of(const struct reader *r, size_t offset)
{
    yaml_mark_t mark = {0};
    size_t line_start = 0;
    if (offset > r->size_bytes)
        offset = r->size_bytes;
    for (size_t i = 0; i < offset; i++) {
        if (r->text[i] == '\n') {
            mark.line++;
            line_start = i + 1;
        }
    }
    for (size_t i = line_start; i < offset; i++)
        mark.column += ((unsigned char)r->text[i] & 0xc0) != 0x80; /* characters, not bytes */
    return mark;
}

static bool fail_yaml(struct reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "bad YAML";
    if (parser->error == YAML_MEMORY_ERROR)
        return status_fail(r->st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", r->name);
    if (parser->error == YAML_READER_ERROR)
        return fail_at(r, mark_of(r, parser->problem_offset), "%s", problem);
    if (parser->context != NULL)
        return fail_at(r, parser->problem_mark, "%s, %s", problem, parser->context);
    return fail_at(r, parser->problem_mark, "%s", problem);
}

static bool start(struct reader *r)
{
    if (!yaml_parser_initialize(&r->parser))
        return status_fail(r->st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", r->name);
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->text, r->size_bytes);
    memset(&r->event, 0, sizeof r->event);
    return true;
}

static void stop(struct reader *r)
{
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
}

static bool next(struct reader *r)
{
    yaml_event_delete(&r->event);
    memset(&r->event, 0, sizeof r->event);
    return yaml_parser_parse(&r->parser, &r->event) || fail_yaml(r);
}

static bool check_properties(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        return fail_at(r, r->event.start_mark, "anchors are not supported");
    if (tag != NULL)
        return fail_at(r, r->event.start_mark, "tags are not supported");
    return true;
}

static bool check_scalar(struct reader *r)
{
    const yaml_event_t *event = &r->event;
    if (!check_properties(r, event->data.scalar.anchor, event->data.scalar.tag))
        return false;
    /* libyaml drops the tag "!" and leaves only this trace of it. */
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event->data.scalar.plain_implicit)
        return fail_at(r, event->start_mark, "tags are not supported");
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return fail_at(r, event->start_mark, "a NUL character");
    return true;
}

static bool check_event(struct reader *r, int *depth, int *documents)
{
    const yaml_event_t *event = &r->event;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents == 1 || fail_at(r, event->start_mark, "a second document");
    case YAML_ALIAS_EVENT:
        return fail_at(r, event->start_mark, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return check_scalar(r);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        if (++*depth > CONFIG_DEPTH_MAX)
            return fail_at(r, event->start_mark, "nested deeper than %d levels", CONFIG_DEPTH_MAX);
        if (event->type == YAML_MAPPING_START_EVENT)
            return check_properties(r, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return check_properties(r, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        --*depth;
        return true;
    default:
        return true;
    }
}

/* The first pass. */
static bool check_form(struct reader *r)
{
    int depth = 0, documents = 0;
    do {
        if (!next(r) || !check_event(r, &depth, &documents))
            return false;
    } while (r->event.type != YAML_STREAM_END_EVENT);
    return true;
}

static bool is_quoted(const struct reader *r)
{
    return r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

static const char *value_of(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* "key:" with nothing after it, "~" or "null". */
static bool is_null(const struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT || is_quoted(r))
        return false;
    return *value_of(r) == '\0' || strcmp(value_of(r), "~") == 0 || strcasecmp(value_of(r), "null") == 0;
}

static bool read_scalar(struct reader *r, const struct config_setting *setting)
{
    const bool number = setting->kind == CONFIG_KIND_INTEGER || setting->kind == CONFIG_KIND_REAL;
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, r->event.start_mark, "'%s' is one value, no list and no section", setting->dotted);
    if (is_null(r))
        return fail_at(r, r->event.start_mark, "'%s' has no value; leave the line out for the default",
                       setting->dotted);
    if (is_quoted(r) && (number || setting->kind == CONFIG_KIND_SWITCH))
        return fail_at(r, r->event.start_mark, "'%s' is %s: write it without quotes", setting->dotted,
                       number ? "a number" : "true or false");
    return config_setting_parse(r->config, setting, value_of(r), r->st) || wrap_at(r, r->event.start_mark);
}

static bool read_endpoint(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
        return fail_at(r, r->event.start_mark, "'server.listen' is an endpoint or a list of endpoints");
    return config_listen_add(r->config, value_of(r), r->st) || wrap_at(r, r->event.start_mark);
}

static bool read_listen(struct reader *r, const struct config_setting *setting)
{
    config_setting_clear(r->config, setting);
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return read_endpoint(r);
    if (!next(r))
        return false;
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (!read_endpoint(r) || !next(r))
            return false;
    }
    return true;
}

/* The current event as a key, copied because the next event frees it. */
static bool read_key(struct reader *r, char *key, size_t key_size)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, r->event.start_mark, "a key is one word");
    if (strcmp(value_of(r), "<<") == 0 && !is_quoted(r))
        return fail_at(r, r->event.start_mark, "merge keys are not supported");
    snprintf(key, key_size, "%s", value_of(r));
    return true;
}

static bool read_behaviours(struct reader *r, const struct config_setting *setting)
{
    char name[128];
    config_setting_clear(r->config, setting);
    if (!next(r))
        return false;
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        const yaml_mark_t mark = r->event.start_mark;
        if (!read_key(r, name, sizeof name) || !next(r))
            return false;
        if (r->event.type != YAML_SCALAR_EVENT || is_quoted(r))
            return fail_at(r, r->event.start_mark, "the weight of '%s' is a number", name);
        if (!config_behaviour_add(r->config, name, value_of(r), r->st))
            return wrap_at(r, mark);
        if (!next(r))
            return false;
    }
    return true;
}

/* One "name: value" of a section; the current event is the name. */
static bool read_setting(struct reader *r, const char *section)
{
    char name[128];
    if (!read_key(r, name, sizeof name))
        return false;
    const struct config_setting *setting = config_setting_find(section, name, r->st);
    if (setting == NULL)
        return wrap_at(r, r->event.start_mark);
    bool *seen = &r->seen[setting - config_settings];
    if (*seen)
        return fail_at(r, r->event.start_mark, "duplicate key '%s' in '%s'", name, section);
    *seen = true;
    if (!next(r))
        return false;
    return setting->kind == CONFIG_KIND_LISTEN ? read_listen(r, setting) : read_scalar(r, setting);
}

/* One "section: ..." of the file; the current event is the section's name. A section without content is one whose lines are all
 * commented out: it says nothing. */
static bool read_section(struct reader *r, bool *seen)
{
    char section[128];
    if (!read_key(r, section, sizeof section))
        return false;
    const struct config_setting *first = config_section_find(section, r->st);
    if (first == NULL)
        return wrap_at(r, r->event.start_mark);
    if (seen[first - config_settings])
        return fail_at(r, r->event.start_mark, "duplicate key '%s'", section);
    seen[first - config_settings] = true;
    if (!next(r))
        return false;
    if (is_null(r))
        return true;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(r, r->event.start_mark, "'%s' is a section: settings follow, one a line", section);
    if (first->kind == CONFIG_KIND_BEHAVIOURS)
        return read_behaviours(r, first);
    if (!next(r))
        return false;
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        if (!read_setting(r, section) || !next(r))
            return false;
    }
    return true;
}

/* The second pass. */
static bool read_document(struct reader *r)
{
    bool seen[CONFIG_SETTING_COUNT] = {false}; /* a section, by its first setting */
    do {
        if (!next(r))
            return false;
    } while (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT);
    if (r->event.type == YAML_STREAM_END_EVENT || is_null(r))
        return true;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(r, r->event.start_mark, "expected sections such as 'server:'");
    if (!next(r))
        return false;
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        if (!read_section(r, seen) || !next(r))
            return false;
    }
    return true;
}

static bool pass(struct reader *r, bool (*read)(struct reader *))
{
    if (!start(r))
        return false;
    const bool ok = read(r);
    stop(r);
    return ok;
}

bool config_load_text(struct config *config, const char *name, const void *text, size_t size_bytes, struct status *st)
{
    struct config scratch = *config;
    struct reader r = {.name = name, .text = text, .size_bytes = size_bytes, .config = &scratch, .st = st};
    if (size_bytes > CONFIG_FILE_MAX)
        return fail_at(&r, (yaml_mark_t){0}, "the file is over %u bytes", CONFIG_FILE_MAX);
    const uint8_t *bad = u8_check(text, size_bytes);
    if (bad != NULL)
        return fail_at(&r, mark_of(&r, (size_t)(bad - (const uint8_t *)text)), "bad UTF-8");
    if (!pass(&r, check_form) || !pass(&r, read_document))
        return false;
    *config = scratch;
    return true;
}
