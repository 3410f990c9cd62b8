/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/messages_internal.h"

#include "proto/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
    const char *file, *text;
    size_t size_bytes;
    size_t line; /* from 1 */
    struct messages *messages;
    char tag[MESSAGES_TAG_BYTES], key[MESSAGES_KEY_BYTES]; /* what is being read; "": nothing */
    struct status *st;
};

static bool bad(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool bad(struct reader *r, const char *format, ...)
{
    char problem[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    status_fail(r->st, STATUS_INVALID_ARGUMENT, "BAD_MESSAGES", "%s", problem);
    if (r->key[0] != '\0')
        status_wrap(r->st, "'%s'", r->key);
    if (r->tag[0] != '\0')
        status_wrap(r->st, "language '%s'", r->tag);
    return status_wrap(r->st, "%s:%zu", r->file, r->line);
}

static size_t line_of(const struct reader *r, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < r->size_bytes; i++)
        line += r->text[i] == '\n';
    return line;
}

static bool fail_yaml(struct reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return messages_no_memory(r->st);
    r->line = parser->error == YAML_READER_ERROR ? line_of(r, parser->problem_offset) : parser->problem_mark.line + 1;
    r->key[0] = '\0'; /* the parser looks ahead: it may be another one's line */
    return bad(r, "%s", parser->problem != NULL ? parser->problem : "bad YAML");
}

static bool is_plain(const struct reader *r)
{
    return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static const char *value_of(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* Refuse what a catalogue of texts needs nothing of. */
static bool check_event(struct reader *r)
{
    const yaml_event_t *event = &r->event;
    const yaml_char_t *anchor, *tag;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return bad(r, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        /* libyaml drops the tag "!" and leaves only this trace of it. */
        if (is_plain(r) && !event->data.scalar.plain_implicit)
            return bad(r, "tags are not supported");
        if (strlen(value_of(r)) != event->data.scalar.length)
            return bad(r, "a NUL character");
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    default:
        return true;
    }
    if (anchor != NULL)
        return bad(r, "anchors are not supported");
    return tag == NULL || bad(r, "tags are not supported");
}

static bool next(struct reader *r)
{
    yaml_event_delete(&r->event);
    memset(&r->event, 0, sizeof r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_yaml(r);
    r->line = r->event.start_mark.line + 1;
    return check_event(r);
}

/* "key:" with nothing after it, "~" or "null". */
static bool is_null(const struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT || !is_plain(r))
        return false;
    return *value_of(r) == '\0' || strcmp(value_of(r), "~") == 0 || strcmp(value_of(r), "null") == 0;
}

/* The current event as a key, copied because the next event frees it. */
static bool read_key(struct reader *r, char *key, size_t key_bytes)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return bad(r, "a key is one word");
    if (r->event.data.scalar.length >= key_bytes)
        return bad(r, "a key of more than %zu bytes", key_bytes - 1);
    memcpy(key, value_of(r), r->event.data.scalar.length + 1);
    return true;
}

/* ---- texts */

static const char *keep(struct reader *r, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = arena_alloc(&r->messages->arena, bytes);
    if (copy == NULL) {
        messages_no_memory(r->st);
        return NULL;
    }
    return memcpy(copy, text, bytes);
}

static bool has_control_character(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
        if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)) /* U+0080 to U+009F */
            return true;
    return false;
}

/* Is it one of the words of a list with spaces between them? */
static bool is_among(const char *words, const char *word, size_t bytes)
{
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length == bytes && memcmp(at, word, bytes) == 0)
            return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

static bool check_placeholders(struct reader *r, const char *text, const char *placeholders)
{
    for (const char *at = text + strcspn(text, "{}"); *at != '\0'; at += strcspn(at, "{}")) {
        size_t bytes = strcspn(at + 1, "{}");
        if (*at == '}')
            return bad(r, "a '}' without a '{'");
        if (at[1 + bytes] != '}')
            return bad(r, "a '{' without a '}'");
        if (!is_among(placeholders, at + 1, bytes))
            return bad(r, "unknown placeholder '{%.*s}', expected %s%s", bytes > 64 ? 64 : (int)bytes, at + 1,
                       *placeholders == '\0' ? "none" : "some of: ", placeholders);
        at += bytes + 2;
    }
    return true;
}

/* The current event as a text that lasts; NULL with st. */
static const char *read_text(struct reader *r, const char *placeholders)
{
    bool ok;
    if (r->event.type != YAML_SCALAR_EVENT)
        ok = bad(r, "expected one text");
    else if (is_null(r) || r->event.data.scalar.length == 0)
        ok = bad(r, "no text; leave the line out");
    else if (r->event.data.scalar.length > MESSAGES_TEXT_BYTES)
        ok = bad(r, "a text of more than %d bytes", MESSAGES_TEXT_BYTES);
    else if (has_control_character(value_of(r)))
        ok = bad(r, "a control character");
    else
        ok = check_placeholders(r, value_of(r), placeholders);
    return ok ? keep(r, value_of(r)) : NULL;
}

/* ---- one message */

static bool read_months(struct reader *r, struct language *language)
{
    size_t count = 0;
    const char **months = arena_zeroed(&r->messages->arena, MESSAGES_MONTHS, sizeof *months);
    if (months == NULL)
        return messages_no_memory(r->st);
    if (language->months != NULL)
        return bad(r, "a key that was there before");
    if (!next(r))
        return false;
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return bad(r, "expected a list of %d names", MESSAGES_MONTHS);
    for (;; count++) {
        if (!next(r))
            return false;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (count == MESSAGES_MONTHS)
            return bad(r, "more than %d names", MESSAGES_MONTHS);
        months[count] = read_text(r, "");
        if (months[count] == NULL)
            return false;
    }
    if (count < MESSAGES_MONTHS)
        return bad(r, "%zu names, expected %d", count, MESSAGES_MONTHS);
    language->months = months;
    return true;
}

static bool unknown_key(struct reader *r)
{
    const char *keys[MESSAGES_BUILT_IN + 1];
    for (size_t i = 0; i < MESSAGES_BUILT_IN; i++)
        keys[i] = messages_key(i);
    keys[MESSAGES_BUILT_IN] = "months";
    const char *nearest = suggest(r->key, keys, MESSAGES_BUILT_IN + 1);
    return nearest == NULL ? bad(r, "unknown key") : bad(r, "unknown key, did you mean '%s'?", nearest);
}

/* modality.NAME or behaviour.NAME */
static bool is_name(const char *key)
{
    static const char *const kinds[] = {"modality.", "behaviour."};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(key, kinds[i], strlen(kinds[i])) == 0 && key[strlen(kinds[i])] != '\0')
            return !has_control_character(key);
    return false;
}

/* Where the text of r->key goes; NULL with st. */
static const char **find_place(struct reader *r, struct language *language)
{
    size_t index = messages_index_of(r->key);
    if (index < MESSAGES_BUILT_IN)
        return &language->texts[index];
    if (!is_name(r->key)) {
        unknown_key(r);
        return NULL;
    }
    struct language_name *name = messages_find_name(language, r->key);
    if (name != NULL)
        return &name->text;
    if (language->name_count == MESSAGES_NAMES_MOST) {
        bad(r, "more than %d names", MESSAGES_NAMES_MOST);
        return NULL;
    }
    name = arena_alloc(&r->messages->arena, sizeof *name);
    const char *key = keep(r, r->key);
    if (name == NULL || key == NULL) {
        messages_no_memory(r->st);
        return NULL;
    }
    *name = (struct language_name){.next = language->names, .key = key};
    language->names = name;
    language->name_count++;
    return &name->text;
}

/* One "key: text" of a language; the current event is the key. */
static bool read_message(struct reader *r, struct language *language)
{
    if (!read_key(r, r->key, sizeof r->key))
        return false;
    if (strcmp(r->key, "months") == 0)
        return read_months(r, language);
    const char **place = find_place(r, language);
    if (place == NULL)
        return false;
    if (*place != NULL)
        return bad(r, "a key that was there before");
    if (!next(r))
        return false;
    *place = read_text(r, messages_placeholders(r->key));
    return *place != NULL;
}

/* ---- one language */

/* Letters, then parts of letters and digits with '-' between them. */
static bool is_tag(const char *tag)
{
    size_t part_bytes = 0;
    bool first = true;
    for (const char *at = tag; *at != '\0'; at++) {
        const bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        const bool digit = *at >= '0' && *at <= '9';
        const bool end = *at == '-' && part_bytes > 0;
        if (!letter && !end && (!digit || first))
            return false;
        first = first && !end;
        part_bytes = end ? 0 : part_bytes + 1;
    }
    return part_bytes > 0;
}

static bool check_tag(struct reader *r)
{
    const struct messages *messages = r->messages;
    const struct language *before = messages_find_tag(messages, r->tag, strlen(r->tag));
    if (!is_tag(r->tag))
        return bad(r, "not a tag such as 'de' or 'de-AT'");
    if (before != NULL && before != &messages->languages[0])
        return bad(r, "a language that was there before");
    return messages->count < MESSAGES_LANGUAGES_MOST || bad(r, "more than %d languages", MESSAGES_LANGUAGES_MOST);
}

/* One "tag: ..." of the file; the current event is the tag. */
static bool read_language(struct reader *r)
{
    if (!read_key(r, r->tag, sizeof r->tag) || !check_tag(r) || !next(r))
        return false;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return bad(r, "expected messages below it");
    struct language *language = &r->messages->languages[++r->messages->count];
    memcpy(language->tag, r->tag, sizeof language->tag);
    for (;;) {
        r->key[0] = '\0';
        if (!next(r))
            return false;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!read_message(r, language))
            return false;
    }
}

static bool read_languages(struct reader *r)
{
    for (;;) {
        r->tag[0] = '\0';
        if (!next(r))
            return false;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!read_language(r))
            return false;
    }
}

/* ---- the file */

static bool read_document(struct reader *r)
{
    do {
        if (!next(r))
            return false;
    } while (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT);
    if (r->event.type == YAML_STREAM_END_EVENT)
        return true;
    if (!is_null(r)) {
        if (r->event.type != YAML_MAPPING_START_EVENT)
            return bad(r, "expected 'LANGUAGE:' with its messages below it");
        if (!read_languages(r))
            return false;
    }
    for (int ends = 0; ends < 2; ends++) /* of document and file */
        if (!next(r))
            return false;
    return r->event.type == YAML_STREAM_END_EVENT || bad(r, "a second document");
}

static bool read_all(struct reader *r)
{
    if (r->size_bytes > MESSAGES_FILE_BYTES)
        return bad(r, "the file is over 1 MiB");
    const uint8_t *broken = u8_check((const uint8_t *)r->text, r->size_bytes);
    if (broken != NULL) {
        r->line = line_of(r, (size_t)(broken - (const uint8_t *)r->text));
        return bad(r, "bad UTF-8");
    }
    if (!yaml_parser_initialize(&r->parser))
        return messages_no_memory(r->st);
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->text, r->size_bytes);
    const bool ok = read_document(r);
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    return ok;
}

bool messages_read(struct messages *messages, const char *file, const char *text, size_t size_bytes, struct status *st)
{
    struct reader r = {.file = file, .text = text, .size_bytes = size_bytes, .line = 1, .messages = messages, .st = st};
    return read_all(&r);
}
