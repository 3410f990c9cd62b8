/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/scenarios.h"

#include "proto/json_rpc.h"
#include "proto/suggest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MOST 12
#define NODES_MOST 100000
#define RULES_ROOM ((size_t)4 << 20)

struct scenario {
    char *name, *json;
    ProtobufCMessage *request;
    struct list_fields fields;
};

struct scenarios {
    atomic_int references;
    struct scenario *list;
    size_t count;
};

/* ---- YAML to JSON */

struct converter {
    yaml_document_t *document;
    size_t nodes; /* visited, so that aliases of aliases come to an end */
    const char *problem;
    size_t line; /* from 1 */
};

static json_t *refuse(struct converter *c, const yaml_node_t *node, const char *problem)
{
    if (c->problem == NULL) {
        c->problem = problem;
        c->line = node == NULL ? 1 : node->start_mark.line + 1;
    }
    return NULL;
}

static json_t *convert_scalar(struct converter *c, const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    json_t *number = NULL;
    if (strlen(text) != node->data.scalar.length)
        return refuse(c, node, "a NUL character");
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return json_string(text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return json_boolean(text[0] == 't');
    if (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)
        return refuse(c, node, "no value; leave the line out");
    if (strspn(text, "+-.0123456789eE") == strlen(text)) {
        number = json_loads(text[0] == '.' ? "" : text, JSON_DECODE_ANY, NULL);
        if (!json_is_number(number)) {
            json_decref(number);
            number = NULL;
        }
    }
    return number != NULL ? number : json_string(text);
}

static json_t *convert(struct converter *c, int index, int depth);

static json_t *convert_mapping(struct converter *c, const yaml_node_t *node, int depth)
{
    json_t *object = json_object();
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(c->document, pair->key);
        const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;
        json_t *value = NULL;
        if (name == NULL || json_object_get(object, name) != NULL)
            refuse(c, key, name == NULL ? "a key is one word" : "a key that was there before");
        else
            value = convert(c, pair->value, depth + 1);
        if (value == NULL || json_object_set_new(object, name, value) != 0) {
            refuse(c, key, "bad UTF-8, or no memory");
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *convert_sequence(struct converter *c, const yaml_node_t *node, int depth)
{
    json_t *array = json_array();
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        json_t *value = convert(c, *item, depth + 1);
        if (value == NULL || json_array_append_new(array, value) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* NULL with c->problem */
static json_t *convert(struct converter *c, int index, int depth)
{
    const yaml_node_t *node = yaml_document_get_node(c->document, index);
    if (node == NULL || depth > DEPTH_MOST || ++c->nodes > NODES_MOST)
        return refuse(c, node, "nested too deep, or too much");
    json_t *value = node->type == YAML_MAPPING_NODE    ? convert_mapping(c, node, depth)
                    : node->type == YAML_SEQUENCE_NODE ? convert_sequence(c, node, depth)
                                                       : convert_scalar(c, node);
    return value != NULL ? value : refuse(c, node, "bad UTF-8, or no memory");
}

static bool bad(struct status *st, const char *path, size_t line, const char *problem)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SCENARIO", "%s:%zu: %s", path, line, problem);
}

/* the text of a file as one JSON object; {} for an empty one; NULL with st */
static json_t *read_yaml(const char *text, size_t size_bytes, const char *path, struct status *st)
{
    yaml_parser_t parser;
    yaml_document_t document;
    json_t *root = NULL;
    if (!yaml_parser_initialize(&parser)) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", path);
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size_bytes);
    if (!yaml_parser_load(&parser, &document)) {
        bad(st, path, parser.problem_mark.line + 1, parser.problem != NULL ? parser.problem : "bad YAML");
        yaml_parser_delete(&parser);
        return NULL;
    }
    struct converter c = {.document = &document};
    yaml_node_t *top = yaml_document_get_root_node(&document);
    if (top == NULL || (top->type == YAML_SCALAR_NODE && top->data.scalar.length == 0))
        root = json_object();
    else if (top->type != YAML_MAPPING_NODE)
        refuse(&c, top, "expected 'NAME:' with the scenario's fields below it");
    else
        root = convert_mapping(&c, top, 0);
    if (root == NULL)
        bad(st, path, c.line, c.problem);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return root;
}

/* ---- one scenario */

/* fields that belong to one request */
static const char *not_a_preset(const struct list_fields *f)
{
    const struct {
        const char *name;
        bool given;
    } own[] = {
        {"user", f->user[0] != '\0'},        {"min_seq", f->min_seq[0] != '\0'}, {"at_seq", f->at_seq[0] != '\0'},
        {"now", f->now[0] != '\0'},          {"model", f->model[0] != '\0'},     {"counts", f->counts[0] != '\0'},
        {"catalogue", f->catalogue[0] != 0}, {"scenario", f->scenario[0] != 0},  {"events", f->n_events > 0},
        {"current", f->n_current > 0},       {"seed", f->seed[0] != 0},          {"as_of", f->as_of[0] != 0},
        {"without", f->n_without > 0},       {"context", f->n_context > 0},      {"experiment", f->experiment[0] != 0},
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i].given)
            return own[i].name;
    return NULL;
}

static bool check_rules(const struct list_fields *fields, struct status *st)
{
    struct arena arena;
    struct rules rules;
    arena_init(&arena, RULES_ROOM);
    bool ok = list_fields_rules(fields, &arena, &rules, st);
    arena_close(&arena);
    return ok;
}

static bool make_scenario(struct scenario *scenario, const char *name, const json_t *json, struct status *st)
{
    enum engine_task task;
    if (!json_is_object(json))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SCENARIO", "its fields are missing");
    scenario->name = strdup(name);
    scenario->json = json_dumps(json, JSON_COMPACT);
    if (scenario->name == NULL || scenario->json == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for scenarios");
    scenario->request = json_rpc_decode(json, &recsys__recommend_request__descriptor, NULL, st);
    if (scenario->request == NULL)
        return false;
    list_fields_read(scenario->request, &scenario->fields, &task);
    const char *own = not_a_preset(&scenario->fields);
    if (own != NULL)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_SCENARIO", own, "'%s' belongs to one request", own);
    return check_rules(&scenario->fields, st);
}

static void scenario_close(struct scenario *scenario)
{
    if (scenario->request != NULL)
        protobuf_c_message_free_unpacked(scenario->request, NULL);
    free(scenario->name);
    free(scenario->json);
}

/* ---- the set */

static struct scenarios *scenarios_new(size_t count)
{
    struct scenarios *scenarios = calloc(1, sizeof *scenarios);
    if (scenarios == NULL)
        return NULL;
    scenarios->references = 1;
    scenarios->list = calloc(count + 1, sizeof *scenarios->list);
    if (scenarios->list == NULL) {
        free(scenarios);
        return NULL;
    }
    return scenarios;
}

static struct scenarios *make_all(const json_t *root, const char *path, struct status *st)
{
    struct scenarios *scenarios = scenarios_new(json_object_size(root));
    const char *name;
    json_t *json;
    if (scenarios == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for scenarios");
        return NULL;
    }
    json_object_foreach((json_t *)root, name, json)
    {
        scenarios->count++;
        if (!make_scenario(&scenarios->list[scenarios->count - 1], name, json, st)) {
            status_wrap(st, "%s: scenario '%.64s'", path, name);
            scenarios_release(scenarios);
            return NULL;
        }
    }
    return scenarios;
}

struct scenarios *scenarios_load_text(const char *file, const char *text, size_t size_bytes, struct status *st)
{
    json_t *root = NULL;
    struct scenarios *scenarios = NULL;
    if (size_bytes > SCENARIOS_FILE_BYTES)
        bad(st, file, 1, "the file is too large");
    else
        root = read_yaml(text, size_bytes, file, st);
    if (root != NULL && json_object_size(root) > SCENARIOS_MOST)
        bad(st, file, 1, "too many scenarios");
    else if (root != NULL)
        scenarios = make_all(root, file, st);
    json_decref(root);
    return scenarios;
}

/* malloc'ed: all of the file, or so much that it is too large; NULL with st */
static char *read_file(FILE *file, const char *path, size_t *size_bytes, struct status *st)
{
    const size_t capacity = SCENARIOS_FILE_BYTES + 1;
    if (fseek(file, 0, SEEK_END) != 0 || fseek(file, 0, SEEK_SET) != 0) {
        bad(st, path, 1, "not a regular file");
        return NULL;
    }
    char *text = malloc(capacity);
    if (text == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read '%s'", path);
        return NULL;
    }
    *size_bytes = fread(text, 1, capacity, file);
    if (!ferror(file))
        return text;
    status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
    free(text);
    return NULL;
}

struct scenarios *scenarios_load(const char *path, struct status *st)
{
    size_t size_bytes = 0;
    if (strcmp(path, "off") == 0)
        return make_all(NULL, path, st);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
        return NULL;
    }
    char *text = read_file(file, path, &size_bytes, st);
    fclose(file);
    struct scenarios *scenarios = text == NULL ? NULL : scenarios_load_text(path, text, size_bytes, st);
    free(text);
    return scenarios;
}

struct scenarios *scenarios_acquire(struct scenarios *scenarios)
{
    atomic_fetch_add_explicit(&scenarios->references, 1, memory_order_relaxed);
    return scenarios;
}

void scenarios_release(struct scenarios *scenarios)
{
    if (scenarios == NULL || atomic_fetch_sub_explicit(&scenarios->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < scenarios->count; i++)
        scenario_close(&scenarios->list[i]);
    free(scenarios->list);
    free(scenarios);
}

const struct list_fields *scenarios_find(const struct scenarios *scenarios, const char *name, struct status *st)
{
    const char *names[SCENARIOS_MOST];
    for (size_t i = 0; i < scenarios->count; i++) {
        names[i] = scenarios->list[i].name;
        if (strcmp(names[i], name) == 0)
            return &scenarios->list[i].fields;
    }
    const char *nearest = suggest(name, names, scenarios->count);
    status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_SCENARIO", "scenario",
                      nearest != NULL ? "there is no scenario '%.64s', did you mean '%.64s'?"
                                      : "there is no scenario '%.64s'",
                      name, nearest);
    return NULL;
}

size_t scenarios_count(const struct scenarios *scenarios)
{
    return scenarios->count;
}

const char *scenarios_name(const struct scenarios *scenarios, size_t index)
{
    return scenarios->list[index].name;
}

const char *scenarios_json(const struct scenarios *scenarios, size_t index)
{
    return scenarios->list[index].json;
}

/* ---- the one that answers */

struct scenarios *scenarios_slot_acquire(struct scenarios_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    struct scenarios *scenarios = scenarios_acquire(slot->now);
    pthread_mutex_unlock(&slot->lock);
    return scenarios;
}

void scenarios_slot_set(struct scenarios_slot *slot, struct scenarios *scenarios)
{
    pthread_mutex_lock(&slot->lock);
    struct scenarios *before = slot->now;
    slot->now = scenarios;
    pthread_mutex_unlock(&slot->lock);
    scenarios_release(before);
}
