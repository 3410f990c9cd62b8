/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_reply.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 7 significant digits: what a float holds, and no more noise than that on the wire */
static double rounded(float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)value);
    return strtod(text, NULL);
}

static bool wants(const struct list_fields *f, const char *field)
{
    for (size_t i = 0; i < f->n_fields; i++)
        if (strcmp(f->fields[i], field) == 0)
            return true;
    return false;
}

static bool fill_values(struct arena *arena, const struct list_fields *f, const struct store_item *item,
                        Recsys__ItemValues *values)
{
    recsys__item_values__init(values);
    if (wants(f, "title"))
        values->title = (char *)item->title;
    if (wants(f, "price") && item->has_price) {
        values->_price_case = RECSYS__ITEM_VALUES___PRICE_PRICE;
        values->price = item->price;
    }
    if (wants(f, "available")) {
        values->_available_case = RECSYS__ITEM_VALUES___AVAILABLE_AVAILABLE;
        values->available = item->available;
    }
    return (!wants(f, "categories") ||
            unpack_categories(arena, item->categories_json, &values->n_categories, &values->categories)) &&
           (!wants(f, "attributes") ||
            unpack_attributes(arena, item->attributes_json, &values->n_attributes, &values->attributes));
}

static bool fill_item(struct handler *handler, const struct list_fields *f, const struct engine_item *from,
                      Recsys__RankedItem *out)
{
    struct arena *arena = &handler->worker.arena;
    recsys__ranked_item__init(out);
    out->item = (char *)from->item->item.name;
    out->score = rounded(from->score);
    out->source = (char *)engine_source_name(from->source);
    out->label = (char *)from->label;
    if (from->propensity > 0) {
        out->_propensity_case = RECSYS__RANKED_ITEM___PROPENSITY_PROPENSITY;
        out->propensity = rounded(from->propensity);
    }
    if (from->moved != 0) {
        out->_moved_case = RECSYS__RANKED_ITEM___MOVED_MOVED;
        out->moved = from->moved;
    }
    Recsys__Weight *parts = arena_alloc(arena, (from->part_count + 1) * sizeof *parts);
    out->parts = arena_alloc(arena, (from->part_count + 1) * sizeof *out->parts);
    if (parts == NULL || out->parts == NULL)
        return false;
    for (size_t i = 0; i < from->part_count; i++) {
        recsys__weight__init(&parts[i]);
        parts[i].key = (char *)from->parts[i].key;
        parts[i].value = rounded(from->parts[i].value);
        out->parts[i] = &parts[i];
    }
    out->n_parts = from->part_count;
    if (f->n_fields == 0)
        return true;
    out->values = arena_alloc(arena, sizeof *out->values);
    return out->values != NULL && fill_values(arena, f, &from->item->item, out->values);
}

bool list_reply_fill(struct handler *handler, const struct list_fields *f, const struct engine_answer *answer,
                     Recsys__RankedList *reply)
{
    struct arena *arena = &handler->worker.arena;
    Recsys__RankedItem *items = arena_alloc(arena, (answer->count + 1) * sizeof *items);
    reply->items = arena_alloc(arena, (answer->count + 1) * sizeof *reply->items);
    unsigned char random[16];
    char *recomm_id = arena_alloc(arena, LIST_ID_TEXT);
    if (items == NULL || reply->items == NULL || recomm_id == NULL)
        return false;
    randombytes_buf(random, sizeof random);
    reply->recomm_id = sodium_bin2hex(recomm_id, LIST_ID_TEXT, random, sizeof random);
    for (size_t i = 0; i < answer->count; i++) {
        if (!fill_item(handler, f, &answer->items[i], &items[i]))
            return false;
        reply->items[i] = &items[i];
    }
    reply->n_items = answer->count;
    reply->model = (char *)answer->model;
    reply->counts = (char *)answer->counts;
    reply->catalogue = (char *)answer->catalogue;
    reply->seq = (char *)answer->seq;
    reply->now_ms = answer->now_ms;
    reply->degraded = (char **)answer->degraded;
    reply->n_degraded = answer->degraded_count;
    reply->shortened = (char *)answer->shortened;
    reply->filled = (char *)answer->filled;
    reply->unknown = (char **)answer->unknown;
    reply->n_unknown = answer->unknown_count;
    return true;
}
