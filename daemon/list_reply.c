/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_reply.h"

#include "daemon/list_terms.h"
#include "daemon/reason.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

#define DIGITS 7 /* significant ones, of a float */

double list_reply_rounded(float value)
{
    /* powers of ten that a double holds exactly: a whole number over one of them is the double nearest to the decimal */
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int most = (int)(sizeof tens / sizeof *tens) - 1;
    if (value == 0 || !isfinite(value))
        return value;
    int shift = DIGITS - 1 - (int)floor(log10(fabs((double)value)));
    if (shift > most) /* nobody sees these */
        return (double)value;
    return shift >= 0 ? rint((double)value * tens[shift]) / tens[shift]
                      : rint((double)value / tens[-shift < most ? -shift : most]) * tens[-shift < most ? -shift : most];
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

bool list_reply_words(struct handler *handler, const struct list_fields *f, const struct engine_answer *answer,
                      bool named, struct list_words *words)
{
    struct arena *arena = &handler->worker.arena;
    *words = (struct list_words){.language = messages_find(handler->server->messages, f->language),
                                 .memory = reason_memory(answer, arena),
                                 .events = named ? list_terms_events(arena, answer) : NULL};
    return words->language != NULL && words->memory != NULL && (!named || words->events != NULL);
}

/* in words, and term by term */
static bool explain(struct arena *arena, const struct engine_answer *answer, const struct list_words *words,
                    const struct engine_item *from, Recsys__RankedItem *out)
{
    if (from->terms == NULL)
        return true;
    out->reason = (char *)reason_of(words->language, answer, from, words->memory, arena);
    return out->reason != NULL && (words->events == NULL || list_terms_fill(arena, answer, words->events, from, out));
}

bool list_reply_item(struct handler *handler, const struct list_fields *f, const struct engine_answer *answer,
                     const struct list_words *words, const struct engine_item *from, Recsys__RankedItem *out)
{
    struct arena *arena = &handler->worker.arena;
    recsys__ranked_item__init(out);
    out->item = (char *)from->item->item.name;
    out->score = list_reply_rounded(from->score);
    out->source = (char *)engine_source_name(from->source);
    out->label = (char *)from->label;
    if (from->propensity > 0) {
        out->_propensity_case = RECSYS__RANKED_ITEM___PROPENSITY_PROPENSITY;
        out->propensity = list_reply_rounded(from->propensity);
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
        parts[i].value = list_reply_rounded(from->parts[i].value);
        out->parts[i] = &parts[i];
    }
    out->n_parts = from->part_count;
    if (!explain(arena, answer, words, from, out))
        return false;
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
    bool full = strcmp(f->explain, "full") == 0, named = full || f->trace != NULL;
    struct list_words words;
    if (items == NULL || reply->items == NULL || recomm_id == NULL ||
        !list_reply_words(handler, f, answer, named, &words))
        return false;
    struct list_words brief = {words.language, words.memory, NULL};
    randombytes_buf(random, sizeof random);
    reply->recomm_id = sodium_bin2hex(recomm_id, LIST_ID_TEXT, random, sizeof random);
    for (size_t i = 0; i < answer->count; i++) {
        if (!list_reply_item(handler, f, answer, full ? &words : &brief, &answer->items[i], &items[i]))
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
    return (!named || list_terms_history(arena, answer, words.events, reply)) &&
           (!answer->counting || list_terms_funnel(arena, answer, reply));
}
