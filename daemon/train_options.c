/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_options.h"

#include "proto/suggest.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define FILE_LIMIT 65536

enum kind { REAL, WHOLE };

static const struct row {
    const char *name, *help;
    double standard, least, most;
    enum kind kind;
    size_t offset;
} rows[] = {
#define X(name, standard, least, most, kind, help)                                                                     \
    {#name, help, standard, least, most, kind, offsetof(struct train_options, name)},
    TRAIN_OPTIONS(X)
#undef X
};
#define ROWS (sizeof rows / sizeof *rows)

static double *field(struct train_options *options, const struct row *row)
{
    return (double *)(void *)((char *)options + row->offset);
}

void train_options_default(struct train_options *options)
{
    for (size_t i = 0; i < ROWS; i++)
        *field(options, &rows[i]) = rows[i].standard;
}

static bool unknown(const char *name, struct status *st)
{
    const char *names[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        names[i] = rows[i].name;
    const char *near = suggest(name, names, ROWS);
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "there is no training option '%.60s'%s%s%s", name,
                       near == NULL ? "" : ", did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'");
}

static bool set(struct train_options *options, const char *name, const char *text, struct status *st)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        char *end;
        double value = strtod(text, &end);
        if (end == text || *end != '\0' || !(value >= rows[i].least && value <= rows[i].most))
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION",
                               "'%s' takes a number from %g to %g, not '%.40s'", name, rows[i].least, rows[i].most,
                               text);
        if (rows[i].kind == WHOLE && value != floor(value))
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "'%s' takes a whole number, not '%.40s'",
                               name, text);
        *field(options, &rows[i]) = value;
        return true;
    }
    return unknown(name, st);
}

bool train_options_set(struct train_options *options, const char *assignment, struct status *st)
{
    char name[64];
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || (size_t)(equals - assignment) >= sizeof name)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "'%.60s' is not name=value", assignment);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    return set(options, name, equals + 1, st);
}

static bool set_pairs(struct train_options *options, yaml_document_t *document, struct status *st)
{
    const yaml_node_t *root = yaml_document_get_root_node(document);
    if (root == NULL)
        return true; /* an empty file changes nothing */
    if (root->type != YAML_MAPPING_NODE)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "not a list of 'name: value'");
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(document, p->key);
        const yaml_node_t *value = yaml_document_get_node(document, p->value);
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE)
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "line %zu is not 'name: value'",
                               key->start_mark.line + 1);
        if (!set(options, (const char *)key->data.scalar.value, (const char *)value->data.scalar.value, st))
            return status_wrap(st, "line %zu", key->start_mark.line + 1);
    }
    return true;
}

bool train_options_load(struct train_options *options, const char *path, struct status *st)
{
    unsigned char text[FILE_LIMIT + 1];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return status_fail(st, STATUS_NOT_FOUND, "NO_FILE", "open '%s': %s", path, strerror(errno));
    size_t size = fread(text, 1, sizeof text, file);
    bool failed = ferror(file) != 0;
    int error = errno;
    fclose(file);
    if (failed)
        return status_fail(st, STATUS_NOT_FOUND, "NO_FILE", "read '%s': %s", path, strerror(error));
    if (size == sizeof text)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "'%s' is longer than %d bytes", path, FILE_LIMIT);
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", path);
    yaml_parser_set_input_string(&parser, text, size);
    bool ok = yaml_parser_load(&parser, &document);
    if (!ok)
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "line %zu: %s", parser.problem_mark.line + 1,
                    parser.problem == NULL ? "not YAML" : parser.problem);
    else {
        ok = set_pairs(options, &document, st);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return ok || status_wrap(st, "'%s'", path);
}

bool train_options_check(const struct train_options *o, struct status *st)
{
    if (fmod(o->width, o->heads) != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_OPTION", "%g heads do not divide a width of %g", o->heads,
                           o->width);
    return true;
}

json_t *train_options_json(const struct train_options *options)
{
    json_t *json = json_object();
    for (size_t i = 0; i < ROWS; i++) {
        double value = *field((struct train_options *)options, &rows[i]);
        json_object_set_new(json, rows[i].name,
                            value == floor(value) ? json_integer((json_int_t)value) : json_real(value));
    }
    return json;
}

void train_options_help(void)
{
    for (size_t i = 0; i < ROWS; i++)
        printf("  %-20s %-8g %s\n", rows[i].name, rows[i].standard, rows[i].help);
}
