/* SPDX-License-Identifier: Apache-2.0
 *
 * item.put, item.get, item.delete, item.list. */
#include "daemon/ingest.h"
#include "daemon/metrics.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIST_DEFAULT 100
#define NEVER        "never"

/* What a row says, checked and in the form of the store; NULL and flags: not given. */
struct item_row {
    const Recsys__Item *item;
    const char *categories_json, *attributes_json;
    bool has_created, has_expires, refused;
    int64_t created_ms, expires_ms;
};

static bool too_large(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "the request needs more memory than one may take");
}

/* ---- item.put: on the worker */

static const char *dump(struct arena *arena, json_t *json)
{
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT);
    char *text = json == NULL ? NULL : arena_alloc(arena, size + 1);
    if (text != NULL) {
        json_dumpb(json, text, size, JSON_COMPACT);
        text[size] = '\0';
    }
    json_decref(json);
    return text;
}

static json_t *strings(char *const *texts, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static json_t *attribute_value(const Recsys__Attribute *attribute)
{
    switch (attribute->value_case) {
    case RECSYS__ATTRIBUTE__VALUE_TEXT:
        return json_string(attribute->text);
    case RECSYS__ATTRIBUTE__VALUE_NUMBER:
        return json_real(attribute->number); /* NULL for what is not finite */
    case RECSYS__ATTRIBUTE__VALUE_FLAG:
        return json_boolean(attribute->flag);
    case RECSYS__ATTRIBUTE__VALUE_LIST:
        return strings(attribute->list->values, attribute->list->n_values);
    default:
        return NULL;
    }
}

static bool dump_attributes(struct arena *arena, const Recsys__Item *item, const char *field, const char **out,
                            struct status *st)
{
    json_t *object = json_object();
    for (size_t i = 0; i < item->n_attributes; i++) {
        bool named = item->attributes[i]->key[0] != '\0';
        json_t *value = named ? attribute_value(item->attributes[i]) : NULL;
        if (value == NULL || json_object_set_new(object, item->attributes[i]->key, value) != 0) {
            json_decref(object);
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_ATTRIBUTE", field,
                                     "attribute '%s' has no name or no finite value", item->attributes[i]->key);
        }
    }
    *out = dump(arena, object);
    return *out != NULL || too_large(st);
}

static bool check_item(const struct ingest *ingest, size_t index, struct item_row *row, struct status *st)
{
    const struct config *config = ingest->config;
    const Recsys__Item *item = row->item;
    struct arena *arena = &ingest->job->arena;
    if (!check_id(config, item->item, field_at("items", index, "item").text, st))
        return false;
    if (item->_price_case != RECSYS__ITEM___PRICE__NOT_SET && !(isfinite(item->price) && item->price >= 0))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", field_at("items", index, "price").text,
                                 "the price is negative or not finite");
    row->has_created = item->created[0] != '\0';
    row->has_expires = item->expires[0] != '\0';
    if (row->has_created && strcmp(item->created, NEVER) != 0 &&
        !timestamp_parse(item->created, field_at("items", index, "created").text, &row->created_ms, st))
        return false;
    row->expires_ms = INT64_MAX;
    if (row->has_expires && strcmp(item->expires, NEVER) != 0 &&
        !timestamp_parse(item->expires, field_at("items", index, "expires").text, &row->expires_ms, st))
        return false;
    if (item->n_categories > 0) {
        row->categories_json = dump(arena, strings(item->categories, item->n_categories));
        if (row->categories_json == NULL)
            return too_large(st);
    }
    return item->n_attributes == 0 ||
           dump_attributes(arena, item, field_at("items", index, "attributes").text, &row->attributes_json, st);
}

/* ---- item.put: on the writer */

/* the item as it will be: what the row gives over what is there */
static struct store_item merge(const struct item_row *row, const struct catalog_item *old, bool replace)
{
    const Recsys__Item *given = row->item;
    struct store_item item = {.name = given->item,
                              .title = "",
                              .categories_json = "[]",
                              .attributes_json = "{}",
                              .available = true,
                              .expires_ms = INT64_MAX};
    if (old != NULL && !replace)
        item = old->item;
    if (old != NULL)
        item.item_id = old->item.item_id;
    item.deleted = false;
    if (given->_title_case != RECSYS__ITEM___TITLE__NOT_SET)
        item.title = given->title;
    if (row->categories_json != NULL)
        item.categories_json = row->categories_json;
    if (row->attributes_json != NULL)
        item.attributes_json = row->attributes_json;
    if (given->_price_case != RECSYS__ITEM___PRICE__NOT_SET) {
        item.has_price = true;
        item.price = given->price;
    }
    if (given->_available_case != RECSYS__ITEM___AVAILABLE__NOT_SET)
        item.available = given->available;
    if (row->has_created)
        item.created_ms = row->created_ms;
    if (row->has_expires)
        item.expires_ms = row->expires_ms;
    return item;
}

static bool fits(const struct ingest *ingest, const struct store_item *item, size_t index, struct status *st)
{
    size_t size = strlen(item->title) + strlen(item->categories_json) + strlen(item->attributes_json);
    if (size <= (size_t)ingest->config->limits_attributes_bytes)
        return true;
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", field_at("items", index, "attributes").text,
                             "title, categories and attributes take %zu bytes, %lld are allowed", size,
                             (long long)ingest->config->limits_attributes_bytes);
}

static bool check_sizes(struct writer *writer, struct ingest *ingest, bool replace, struct status *st)
{
    struct item_row *rows = ingest->rows;
    for (size_t i = 0; i < ingest->row_count; i++) {
        if (rows[i].refused)
            continue;
        struct status row_status = STATUS_INIT;
        struct catalog_item *old = writer_find_item(writer, rows[i].item->item);
        struct store_item item = merge(&rows[i], old, replace);
        rows[i].refused = !fits(ingest, &item, i, &row_status);
        catalog_item_release(old);
        if (rows[i].refused && !ingest_refuse(ingest, i, &row_status, st))
            return false;
    }
    return true;
}

static bool write_items(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct item_row *rows = ingest->rows;
    bool replace = ((const Recsys__ItemPutRequest *)ingest->job->request)->replace, ok = true;
    if (!check_sizes(writer, ingest, replace, st))
        return false;
    task->changed = true;
    for (size_t i = 0; ok && i < ingest->row_count; i++) {
        if (rows[i].refused)
            continue;
        struct catalog_item *old = writer_find_item(writer, rows[i].item->item);
        struct store_item item = merge(&rows[i], old, replace);
        ok = writer_put_item(writer, &item, old, NULL, 0, ingest->now_ms, st);
        ingest->created_items += old == NULL;
        ingest->stored += old != NULL;
        ingest->position = item.position;
        catalog_item_release(old);
    }
    return ok;
}

/* the reply's position; a request that changed nothing is as new as everything */
static void write_position(const struct writer *writer, const struct ingest *ingest, char seq[24])
{
    int64_t position = ingest->position > 0 ? ingest->position : writer->engine->committed;
    snprintf(seq, 24, "%lld", (long long)position);
}

static void items_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    Recsys__ItemPutReply reply = RECSYS__ITEM_PUT_REPLY__INIT;
    char seq[24];
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    metrics_add(METRICS_COUNTER_items_put, (uint64_t)ingest->created_items + (uint64_t)ingest->stored);
    write_position(writer, ingest, seq);
    reply.seq = seq;
    reply.created = ingest->created_items;
    reply.changed = ingest->stored;
    reply.errors = ingest->errors.list;
    reply.n_errors = ingest->errors.count;
    job_reply(ingest->job, &reply.base);
}

bool handle_item_put(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ItemPutRequest *r = (const Recsys__ItemPutRequest *)job->request;
    struct ingest *ingest = ingest_new(handler, job, r->n_items, sizeof(struct item_row), st);
    if (ingest == NULL)
        return false;
    ingest->atomic = r->_atomic_case == RECSYS__ITEM_PUT_REQUEST___ATOMIC__NOT_SET || r->atomic;
    struct item_row *rows = ingest->rows;
    for (size_t i = 0; i < r->n_items; i++) {
        struct status row_status = STATUS_INIT;
        rows[i].item = r->items[i];
        rows[i].refused = !check_item(ingest, i, &rows[i], &row_status);
        if (rows[i].refused && !ingest_refuse(ingest, i, &row_status, st))
            return false;
    }
    return ingest_submit(handler, ingest, write_items, items_done, st);
}

/* ---- item.delete */

static bool write_deletions(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    const Recsys__ItemDeleteRequest *r = (const Recsys__ItemDeleteRequest *)ingest->job->request;
    char **missing = ingest->rows;
    bool ok = true;
    task->changed = true;
    for (size_t i = 0; ok && i < r->n_items; i++) {
        struct catalog_item *old = writer_find_item(writer, r->items[i]);
        if (old == NULL || old->item.deleted) {
            missing[ingest->duplicates++] = r->items[i];
        } else {
            struct store_item item = old->item;
            item.deleted = true;
            ok = writer_put_item(writer, &item, old, NULL, 0, ingest->now_ms, st);
            ingest->position = item.position;
            ingest->stored++;
        }
        catalog_item_release(old);
    }
    return ok;
}

static void deletions_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    Recsys__ItemDeleteReply reply = RECSYS__ITEM_DELETE_REPLY__INIT;
    char seq[24];
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    write_position(writer, ingest, seq);
    reply.seq = seq;
    reply.deleted = ingest->stored;
    reply.missing = ingest->rows;
    reply.n_missing = (size_t)ingest->duplicates;
    job_reply(ingest->job, &reply.base);
}

bool handle_item_delete(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ItemDeleteRequest *r = (const Recsys__ItemDeleteRequest *)job->request;
    struct ingest *ingest = ingest_new(handler, job, r->n_items, sizeof(char *), st);
    if (ingest == NULL)
        return false;
    for (size_t i = 0; i < r->n_items; i++)
        if (!check_id(&handler->server->config, r->items[i], field_at("items", i, "").text, st))
            return false;
    return ingest_submit(handler, ingest, write_deletions, deletions_done, st);
}

/* ---- item.get, item.list */

static bool fill_features(struct handler *handler, const struct catalog_item *item, Recsys__Item *out)
{
    struct arena *arena = &handler->worker.arena;
    struct catalog_space *spaces = arena_alloc(arena, CATALOG_SPACES_MAX * sizeof *spaces);
    Recsys__FeatureInfo *rows = arena_alloc(arena, (item->feature_count + 1) * sizeof *rows);
    out->features = arena_alloc(arena, (item->feature_count + 1) * sizeof *out->features);
    if (spaces == NULL || rows == NULL || out->features == NULL)
        return false;
    size_t known = catalog_spaces(handler->server->catalog, spaces);
    for (size_t i = 0; i < item->feature_count; i++) {
        Recsys__FeatureInfo *row = &rows[out->n_features];
        for (size_t s = 0; s < known; s++)
            if (spaces[s].space.space_id == item->features[i]->space_id) {
                recsys__feature_info__init(row);
                row->modality = spaces[s].space.modality;
                row->encoder = spaces[s].space.encoder;
                row->dimension = spaces[s].space.dimension;
                out->features[out->n_features++] = row;
            }
    }
    return true;
}

/* the texts stay in the record, which the caller holds until the reply is packed */
static bool fill_item(struct handler *handler, const struct catalog_item *record, Recsys__Item *out)
{
    struct arena *arena = &handler->worker.arena;
    const struct store_item *item = &record->item;
    char *times = arena_alloc(arena, 64);
    recsys__item__init(out);
    out->item = (char *)item->name;
    out->_title_case = RECSYS__ITEM___TITLE_TITLE;
    out->title = (char *)item->title;
    out->_available_case = RECSYS__ITEM___AVAILABLE_AVAILABLE;
    out->available = item->available;
    out->deleted = item->deleted;
    if (item->has_price) {
        out->_price_case = RECSYS__ITEM___PRICE_PRICE;
        out->price = item->price;
    }
    if (times == NULL)
        return false;
    if (item->created_ms > 0) {
        timestamp_format(item->created_ms, times);
        out->created = times;
    }
    if (item->expires_ms < INT64_MAX) {
        timestamp_format(item->expires_ms, times + 32);
        out->expires = times + 32;
    }
    return unpack_categories(arena, item->categories_json, &out->n_categories, &out->categories) &&
           unpack_attributes(arena, item->attributes_json, &out->n_attributes, &out->attributes) &&
           fill_features(handler, record, out);
}

static bool fill_items(struct handler *handler, struct catalog_item *const *records, size_t count, Recsys__Item ***out,
                       struct status *st)
{
    Recsys__Item *items = handler_alloc(handler, (count + 1) * sizeof *items);
    *out = handler_alloc(handler, (count + 1) * sizeof **out);
    bool ok = items != NULL && *out != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = fill_item(handler, records[i], &items[i]);
        (*out)[i] = &items[i];
    }
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

bool handle_item_get(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ItemGetRequest *r = (const Recsys__ItemGetRequest *)job->request;
    const struct config *config = &handler->server->config;
    Recsys__ItemGetReply reply = RECSYS__ITEM_GET_REPLY__INIT;
    if (r->n_items == 0 || r->n_items > (size_t)config->limits_batch)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "items",
                                 "'items' has %zu ids, from 1 to %lld are allowed", r->n_items,
                                 (long long)config->limits_batch);
    for (size_t i = 0; i < r->n_items; i++)
        if (!check_id(config, r->items[i], field_at("items", i, "").text, st))
            return false;
    struct catalog_item **records = handler_alloc(handler, r->n_items * sizeof(struct catalog_item *));
    uint32_t *ids = handler_alloc(handler, r->n_items * sizeof *ids);
    reply.missing = handler_alloc(handler, r->n_items * sizeof *reply.missing);
    if (records == NULL || ids == NULL || reply.missing == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    catalog_find(handler->server->catalog, (const char *const *)r->items, r->n_items, ids);
    for (size_t i = 0; i < r->n_items; i++) {
        struct catalog_item *record = ids[i] == 0 ? NULL : catalog_get(handler->server->catalog, ids[i]);
        if (record != NULL)
            records[reply.n_items++] = record;
        else
            reply.missing[reply.n_missing++] = r->items[i];
    }
    bool ok = fill_items(handler, records, reply.n_items, &reply.items, st);
    if (ok)
        job_reply(job, &reply.base);
    for (size_t i = 0; i < reply.n_items; i++)
        catalog_item_release(records[i]);
    return ok;
}

bool handle_item_list(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ItemListRequest *r = (const Recsys__ItemListRequest *)job->request;
    Recsys__ItemListReply reply = RECSYS__ITEM_LIST_REPLY__INIT;
    size_t n;
    int64_t after;
    if (!check_n(r->_n_case != RECSYS__ITEM_LIST_REQUEST___N__NOT_SET, r->n, LIST_DEFAULT,
                 handler->server->config.limits_list, &n, st) ||
        !check_position(r->cursor, "cursor", 0, &after, st))
        return false;
    struct catalog_item **records = handler_alloc(handler, n * sizeof(struct catalog_item *));
    if (records == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    uint32_t from = after > UINT32_MAX ? UINT32_MAX : (uint32_t)after;
    reply.n_items = catalog_page(handler->server->catalog, from, r->include_deleted, records, n);
    bool ok = fill_items(handler, records, reply.n_items, &reply.items, st);
    if (ok && reply.n_items == n)
        reply.cursor = position_text(&job->arena, records[n - 1]->item.item_id);
    if (ok)
        job_reply(job, &reply.base);
    for (size_t i = 0; i < reply.n_items; i++)
        catalog_item_release(records[i]);
    return ok;
}
