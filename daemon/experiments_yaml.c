/* SPDX-License-Identifier: Apache-2.0
 *
 * The file is read twice, as that of the settings is. The first pass refuses what it needs nothing of (anchors,
 * aliases, tags, depth) where it stands, which a document no longer tells; the second reads the document. */
#include "daemon/experiments_internal.h"

#include "proto/suggest.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MOST 8 /* four are needed; those beyond get a message about their key */
#define KEYS_MOST  5

struct reader {
    const char *path, *text;
    size_t size_bytes;
    yaml_document_t *document;
    const char *experiment, *variant; /* being read, or NULL */
    struct status *st;
};

static bool bad(struct reader *r, yaml_mark_t mark, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* `key` is the one at fault, or "" */
static bool bad(struct reader *r, yaml_mark_t mark, const char *key, const char *format, ...)
{
    char problem[sizeof r->st->message], where[200] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    if (r->variant != NULL)
        snprintf(where, sizeof where, "experiment '%.64s', variant '%.64s': ", r->experiment, r->variant);
    else if (r->experiment != NULL)
        snprintf(where, sizeof where, "experiment '%.64s': ", r->experiment);
    return status_fail_field(r->st, STATUS_INVALID_ARGUMENT, "BAD_EXPERIMENT", key, "%s:%zu: %s%s", r->path,
                             mark.line + 1, where, problem);
}

/* ---- YAML, first pass */

static bool start(struct reader *r, yaml_parser_t *parser)
{
    if (!yaml_parser_initialize(parser))
        return experiments_no_memory(r->st);
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)r->text, r->size_bytes);
    return true;
}

static bool fail_yaml(struct reader *r, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_MEMORY_ERROR)
        return experiments_no_memory(r->st);
    if (parser->error == YAML_READER_ERROR) { /* bad UTF-8: comes with a byte and no line */
        mark.line = 0;
        for (size_t i = 0; i < parser->problem_offset && i < r->size_bytes; i++)
            mark.line += r->text[i] == '\n';
    }
    return bad(r, mark, "", "%s", parser->problem != NULL ? parser->problem : "bad YAML");
}

static bool check_node(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL || tag != NULL)
        return bad(r, event->start_mark, "", "%s are not supported", anchor != NULL ? "anchors" : "tags");
    return true;
}

static bool check_scalar(struct reader *r, const yaml_event_t *event)
{
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return bad(r, event->start_mark, "", "a NUL character");
    /* of the tag "!" libyaml leaves only this trace */
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event->data.scalar.plain_implicit)
        return bad(r, event->start_mark, "", "tags are not supported");
    return check_node(r, event, event->data.scalar.anchor, event->data.scalar.tag);
}

static bool check_event(struct reader *r, const yaml_event_t *event, int *depth, int *documents)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents == 1 || bad(r, event->start_mark, "", "a second document");
    case YAML_ALIAS_EVENT:
        return bad(r, event->start_mark, "", "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return check_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        if (++*depth > DEPTH_MOST)
            return bad(r, event->start_mark, "", "nested too deep");
        if (event->type == YAML_MAPPING_START_EVENT)
            return check_node(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return check_node(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        --*depth;
        return true;
    default:
        return true;
    }
}

static bool check_form(struct reader *r)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int depth = 0, documents = 0;
    bool ok = true, more = true;
    if (!start(r, &parser))
        return false;
    while (ok && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            ok = fail_yaml(r, &parser);
            break;
        }
        ok = check_event(r, &event, &depth, &documents);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* ---- values */

static const yaml_node_t *node_at(const struct reader *r, int index)
{
    return yaml_document_get_node(r->document, index);
}

/* NULL: a list or a section */
static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static bool is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_node_t *node)
{
    const char *text = is_plain(node) ? text_of(node) : "a";
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static bool is_name(const char *text, size_t most)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(text);
    return length > 0 && length <= most && strspn(text, letters) == length;
}

/* The value of `key` into `out`, of most + 1 bytes. */
static bool read_name(struct reader *r, const yaml_node_t *node, const char *key, char *out, size_t most)
{
    const char *text = text_of(node);
    if (text == NULL || is_null(node))
        return bad(r, node->start_mark, key, "'%s': expected a name", key);
    if (!is_name(text, most))
        return bad(r, node->start_mark, key, "'%s' is '%.64s', expected 1 to %zu of A-Z, a-z, 0-9, '.', '_' and '-'",
                   key, text, most);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

/* A decimal number, no hexadecimal, infinity or NaN. Nothing here sets LC_NUMERIC: the point is a point. */
static bool to_real(const char *text, double *value)
{
    char *end;
    if (strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

/* Above 0, and at most 1 where it is a part of the users. What is not given stays as it is. */
static bool read_share(struct reader *r, const yaml_node_t *node, bool of_users, double *share)
{
    double value;
    if (node == NULL)
        return true;
    if (!is_plain(node))
        return bad(r, node->start_mark, "share", "'share' is a number, without quotes");
    if (!to_real(text_of(node), &value) || !(value > 0) || (of_users && value > 1))
        return bad(r, node->start_mark, "share", "'share' is '%.64s', expected a number above 0%s", text_of(node),
                   of_users ? " and at most 1" : "");
    *share = value;
    return true;
}

struct key {
    const char *name;
    const yaml_node_t *value; /* NULL: not given */
};

static bool read_key(struct reader *r, const yaml_node_pair_t *pair, struct key *keys, size_t count)
{
    const yaml_node_t *node = node_at(r, pair->key), *value = node_at(r, pair->value);
    const char *text = text_of(node), *names[KEYS_MOST] = {NULL};
    if (text == NULL)
        return bad(r, node->start_mark, "", "a key is one word");
    for (size_t i = 0; i < count; i++) {
        names[i] = keys[i].name;
        if (strcmp(text, names[i]) != 0)
            continue;
        if (keys[i].value != NULL)
            return bad(r, node->start_mark, text, "'%s' is there twice", text);
        if (is_null(value))
            return bad(r, node->start_mark, text, "'%s' has no value; leave the line out", text);
        keys[i].value = value;
        return true;
    }
    const char *near = suggest(text, names, count);
    if (near != NULL)
        return bad(r, node->start_mark, text, "unknown key '%.64s', did you mean '%s'?", text, near);
    return bad(r, node->start_mark, text, "unknown key '%.64s'", text);
}

static bool read_keys(struct reader *r, const yaml_node_t *mapping, struct key *keys, size_t count)
{
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++)
        if (!read_key(r, pair, keys, count))
            return false;
    return true;
}

/* The name of what a pair is about, good as long as the document; NULL with st. */
static const char *read_title(struct reader *r, const yaml_node_pair_t *pair, const char *what)
{
    const yaml_node_t *node = node_at(r, pair->key);
    const char *text = text_of(node);
    if (text == NULL)
        bad(r, node->start_mark, "", "a key is one word");
    else if (!is_name(text, EXPERIMENT_NAME_BYTES))
        bad(r, node->start_mark, text, "'%.80s' is no name of %s: 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-'", text,
            what, EXPERIMENT_NAME_BYTES);
    else
        return text;
    return NULL;
}

/* ---- variants */

static bool read_model(struct reader *r, const yaml_node_t *node, const char *key, char *out)
{
    if (!read_name(r, node, key, out, EXPERIMENT_MODEL_BYTES))
        return false;
    if (strcmp(out, EXPERIMENT_ACTIVE) == 0)
        *out = '\0';
    return true;
}

/* keys of variant `i`; its name is there */
static bool read_variant(struct reader *r, const yaml_node_t *node, struct experiment_entry *entry, size_t i)
{
    enum { SCENARIO, MODEL, SHARE, COUNT };
    struct key keys[COUNT] = {{"scenario", NULL}, {"model", NULL}, {"share", NULL}};
    if (node->type != YAML_MAPPING_NODE)
        return bad(r, node->start_mark, r->variant, "expected its keys, or {} for what the request says");
    if (!read_keys(r, node, keys, COUNT) || !read_share(r, keys[SHARE].value, false, &entry->variants[i].share))
        return false;
    if (keys[SCENARIO].value != NULL &&
        !read_name(r, keys[SCENARIO].value, "scenario", entry->texts[i].scenario, EXPERIMENT_NAME_BYTES))
        return false;
    return keys[MODEL].value == NULL || read_model(r, keys[MODEL].value, "model", entry->texts[i].model);
}

static bool read_pair(struct reader *r, const yaml_node_pair_t *pair, struct experiment_entry *entry)
{
    const char *name = read_title(r, pair, "a variant");
    yaml_mark_t mark = node_at(r, pair->key)->start_mark;
    if (name == NULL)
        return false;
    for (size_t i = 0; i < entry->experiment.variant_count; i++)
        if (strcmp(entry->variants[i].name, name) == 0)
            return bad(r, mark, name, "variant '%s' is there twice", name);
    if (entry->experiment.variant_count == EXPERIMENT_VARIANTS_MOST)
        return bad(r, mark, "variants", "more than %d variants", EXPERIMENT_VARIANTS_MOST);
    r->variant = name;
    if (!read_variant(r, node_at(r, pair->value), entry, experiment_entry_add(entry, name)))
        return false;
    r->variant = NULL;
    return true;
}

static bool read_variants(struct reader *r, const yaml_node_t *node, struct experiment_entry *entry)
{
    if (node->type != YAML_MAPPING_NODE)
        return bad(r, node->start_mark, "variants", "'variants' is a section: the names follow, one a line");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++)
        if (!read_pair(r, pair, entry))
            return false;
    if (entry->experiment.variant_count < 2)
        return bad(r, node->start_mark, "variants", "'variants' has %zu, expected 2 to %d",
                   entry->experiment.variant_count, EXPERIMENT_VARIANTS_MOST);
    return experiment_entry_divide(entry) ||
           bad(r, node->start_mark, "share", "the shares of the variants are too far apart");
}

/* a variant that is named as its model */
static bool read_named_model(struct reader *r, const yaml_node_t *node, const char *key, struct experiment_entry *entry)
{
    char name[EXPERIMENT_MODEL_BYTES + 1];
    if (!read_name(r, node, key, name, EXPERIMENT_MODEL_BYTES))
        return false;
    return read_model(r, node, key, entry->texts[experiment_entry_add(entry, name)].model);
}

static bool read_interleave(struct reader *r, const yaml_node_t *node, struct experiment_entry *entry)
{
    if (node->type != YAML_SEQUENCE_NODE || node->data.sequence.items.top - node->data.sequence.items.start != 2)
        return bad(r, node->start_mark, "interleave", "'interleave' is a list of two models");
    const yaml_node_item_t *items = node->data.sequence.items.start;
    if (!read_named_model(r, node_at(r, items[0]), "interleave", entry) ||
        !read_named_model(r, node_at(r, items[1]), "interleave", entry))
        return false;
    if (strcmp(entry->variants[0].name, entry->variants[1].name) == 0)
        return bad(r, node->start_mark, "interleave", "'interleave' has '%s' twice", entry->variants[0].name);
    return true;
}

static bool read_shadow(struct reader *r, const yaml_node_t *node, struct experiment_entry *entry)
{
    if (!read_named_model(r, node, "shadow", entry))
        return false;
    if (entry->variants[0].model[0] == '\0')
        return bad(r, node->start_mark, "shadow", "'shadow' is '" EXPERIMENT_ACTIVE "', which answers anyway");
    return true;
}

/* ---- experiments */

/* What reads each kind. */
static bool (*const kinds[])(struct reader *r, const yaml_node_t *node, struct experiment_entry *entry) = {
    [EXPERIMENT_VARIANTS] = read_variants,
    [EXPERIMENT_INTERLEAVE] = read_interleave,
    [EXPERIMENT_SHADOW] = read_shadow,
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* Exactly one of the first keys, which are the kinds. */
static bool choose_kind(struct reader *r, yaml_mark_t mark, const struct key *keys, enum experiment_kind *kind)
{
    const char *given = NULL;
    for (size_t i = 0; i < KINDS; i++) {
        if (keys[i].value == NULL)
            continue;
        if (given != NULL)
            return bad(r, keys[i].value->start_mark, keys[i].name,
                       "'%s' and '%s': an experiment has one of 'variants', 'interleave' and 'shadow'", given,
                       keys[i].name);
        given = keys[i].name;
        *kind = (enum experiment_kind)i;
    }
    return given != NULL || bad(r, mark, "", "none of 'variants', 'interleave' and 'shadow'");
}

static bool read_experiment(struct reader *r, const yaml_node_pair_t *pair, struct experiment_entry *entry)
{
    enum { SHARE = KINDS, SALT, COUNT };
    _Static_assert(COUNT == KEYS_MOST, "names of keys have room");
    struct key keys[COUNT] = {[SHARE] = {"share", NULL}, [SALT] = {"salt", NULL}};
    struct experiment *experiment = &entry->experiment;
    const yaml_node_t *node = node_at(r, pair->value);
    yaml_mark_t mark = node_at(r, pair->key)->start_mark;
    for (size_t i = 0; i < KINDS; i++)
        keys[i].name = experiment_kind_name((enum experiment_kind)i);
    experiment_entry_init(entry, r->experiment);
    if (node->type != YAML_MAPPING_NODE)
        return bad(r, mark, "", "its keys are missing");
    if (!read_keys(r, node, keys, COUNT) || !choose_kind(r, mark, keys, &experiment->kind) ||
        !read_share(r, keys[SHARE].value, true, &experiment->share))
        return false;
    if (keys[SALT].value != NULL && !read_name(r, keys[SALT].value, "salt", entry->salt, EXPERIMENT_NAME_BYTES))
        return false;
    return kinds[experiment->kind](r, keys[experiment->kind].value, entry);
}

/* One pair of the file into the next place, for which there is room. */
static bool read_entry(struct reader *r, const yaml_node_pair_t *pair, struct experiments *experiments)
{
    const char *name = read_title(r, pair, "an experiment");
    if (name == NULL)
        return false;
    for (size_t i = 0; i < experiments->count; i++)
        if (strcmp(experiments->list[i].name, name) == 0)
            return bad(r, node_at(r, pair->key)->start_mark, name, "experiment '%s' is there twice", name);
    r->experiment = name;
    if (!read_experiment(r, pair, &experiments->list[experiments->count++]))
        return false;
    r->experiment = NULL;
    return true;
}

static bool read_all(struct reader *r, struct experiments *experiments)
{
    const yaml_node_t *top = yaml_document_get_root_node(r->document);
    if (top == NULL || is_null(top))
        return true;
    if (top->type != YAML_MAPPING_NODE)
        return bad(r, top->start_mark, "", "expected 'NAME:' with the experiment's keys below it");
    yaml_node_pair_t *pair = top->data.mapping.pairs.start, *end = top->data.mapping.pairs.top;
    if (end - pair > EXPERIMENTS_MOST)
        return bad(r, top->start_mark, "", "more than %d experiments", EXPERIMENTS_MOST);
    experiments->list = calloc((size_t)(end - pair) + 1, sizeof *experiments->list);
    if (experiments->list == NULL)
        return experiments_no_memory(r->st);
    for (; pair < end; pair++)
        if (!read_entry(r, pair, experiments))
            return false;
    return true;
}

/* The second pass. */
static bool read_document(struct reader *r, struct experiments *experiments)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!start(r, &parser))
        return false;
    bool ok = yaml_parser_load(&parser, &document) || fail_yaml(r, &parser);
    yaml_parser_delete(&parser);
    if (!ok)
        return false;
    r->document = &document;
    ok = read_all(r, experiments);
    r->document = NULL;
    yaml_document_delete(&document);
    return ok;
}

bool experiments_read(struct experiments *experiments, const char *path, const char *text, size_t size_bytes,
                      struct status *st)
{
    struct reader r = {.path = path, .text = text, .size_bytes = size_bytes, .st = st};
    if (size_bytes > EXPERIMENTS_FILE_BYTES)
        return bad(&r, (yaml_mark_t){0}, "", "the file is over %zu bytes", EXPERIMENTS_FILE_BYTES);
    return check_form(&r) && read_document(&r, experiments);
}
