/* SPDX-License-Identifier: Apache-2.0
 *
 * recommend, rank, similar. */
#include "daemon/handler.h"
#include "daemon/metrics.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_DEFAULT 10

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* ---- the request */

/* What the three requests have in common, by the names of the schema. */
struct list_fields {
    size_t n_items, n_exclude, n_weights, n_fields;
    char **items, **exclude, **fields;
    Recsys__Weight **weights;
    const Recsys__SeenRule *seen;
    const char *user, *min_seq, *at_seq, *now, *model, *counts, *catalogue;
};

#define LIST_FIELDS(r)                                                                                                 \
    .n_exclude = (r)->n_exclude, .exclude = (r)->exclude, .n_weights = (r)->n_weights, .weights = (r)->weights,        \
    .n_fields = (r)->n_fields, .fields = (r)->fields, .seen = (r)->seen, .user = (r)->user, .min_seq = (r)->min_seq,   \
    .at_seq = (r)->at_seq, .now = (r)->now, .model = (r)->model, .counts = (r)->counts, .catalogue = (r)->catalogue

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static bool check_ids(const struct config *config, char **ids, size_t count, const char *list, int64_t most,
                      struct status *st)
{
    if (count > (size_t)most)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", list, "'%s' has %zu ids, %lld are allowed",
                                 list, count, (long long)most);
    for (size_t i = 0; i < count; i++)
        if (!check_id(config, ids[i], field_at(list, i, "").text, st))
            return false;
    return true;
}

static bool read_weights(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    struct engine_weight *weights = handler_alloc(handler, (f->n_weights + 1) * sizeof *weights);
    if (weights == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < f->n_weights; i++) {
        double value = f->weights[i]->value;
        if (!isfinite(value) || value < 0 || value > 100)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "weights",
                                     "the weight of '%s' is not from 0 to 100", f->weights[i]->key);
        weights[i] = (struct engine_weight){f->weights[i]->key, value};
    }
    out->weights = weights;
    out->weight_count = f->n_weights;
    return true;
}

static bool check_fields(const struct list_fields *f, struct status *st)
{
    static const char *const known[] = {"title", "categories", "price", "available", "attributes"};
    for (size_t i = 0; i < f->n_fields; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || strcmp(known[k], f->fields[i]) == 0;
        if (!found)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", "fields",
                                     "'%s' is not one of title, categories, price, available, attributes",
                                     f->fields[i]);
    }
    return true;
}

static bool read_request(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    const struct config *config = &handler->server->config;
    int64_t now_ms = timestamp_now_ms(), most = out->task == ENGINE_RANK ? config->limits_ranked : config->limits_list;
    if ((out->task == ENGINE_RECOMMEND || f->user[0] != '\0') && !check_id(config, f->user, "user", st))
        return false;
    if (out->task != ENGINE_RECOMMEND && f->n_items == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "items", "'items' is missing");
    if (!check_ids(config, f->items, f->n_items, "items", most, st) ||
        !check_ids(config, f->exclude, f->n_exclude, "exclude", config->limits_exclude, st) || !check_fields(f, st) ||
        !read_weights(handler, f, out, st) || !check_position(f->min_seq, "min_seq", 0, &out->min_position, st) ||
        !check_position(f->at_seq, "at_seq", INT64_MAX, &out->at_position, st) ||
        !check_time(config, f->now, "now_ms", now_ms, now_ms, &out->now_ms, st))
        return false;
    if (f->seen != NULL) {
        if (f->seen->within_ms < 0)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "seen.within_ms",
                                     "'seen.within_ms' is negative");
        out->seen_behaviours = (const char *const *)f->seen->behaviours;
        out->seen_behaviour_count = f->seen->n_behaviours;
        out->seen_within_ms = f->seen->within_ms;
    }
    out->user = f->user;
    out->items = (const char *const *)f->items;
    out->item_count = f->n_items;
    out->exclude = (const char *const *)f->exclude;
    out->exclude_count = f->n_exclude;
    out->model = or_null(f->model);
    out->counts = or_null(f->counts);
    out->catalogue = or_null(f->catalogue);
    return true;
}

/* ---- the reply */

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

static bool fill_reply(struct handler *handler, const struct list_fields *f, const struct engine_answer *answer,
                       Recsys__RankedList *reply)
{
    struct arena *arena = &handler->worker.arena;
    Recsys__RankedItem *items = arena_alloc(arena, (answer->count + 1) * sizeof *items);
    reply->items = arena_alloc(arena, (answer->count + 1) * sizeof *reply->items);
    unsigned char random[16];
    char *recomm_id = arena_alloc(arena, 2 * sizeof random + 1);
    if (items == NULL || reply->items == NULL || recomm_id == NULL)
        return false;
    randombytes_buf(random, sizeof random);
    reply->recomm_id = sodium_bin2hex(recomm_id, 2 * sizeof random + 1, random, sizeof random);
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

static bool answer_list(struct handler *handler, struct job *job, const struct list_fields *f,
                        struct engine_request *request, struct status *st)
{
    struct engine_answer answer;
    Recsys__RankedList reply = RECSYS__RANKED_LIST__INIT;
    if (!read_request(handler, f, request, st))
        return false;
    int64_t begin_us = timestamp_monotonic_us();
    if (!engine_answer(&handler->worker, request, &answer, st))
        return false;
    int64_t took_us = timestamp_monotonic_us() - begin_us;
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, (double)took_us / 1e6);
    if (answer.degraded_count > 0)
        metrics_add(METRICS_COUNTER_lists_degraded, 1);
    if (f->user[0] != '\0')
        metrics_add(handler->worker.history.cached ? METRICS_COUNTER_history_hits : METRICS_COUNTER_history_misses, 1);
    reply.took_us = took_us;
    bool ok = fill_reply(handler, f, &answer, &reply);
    if (ok)
        job_reply(job, &reply.base);
    engine_answer_close(&answer);
    return ok || out_of_memory(st);
}

bool handle_recommend(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__RecommendRequest *r = (const Recsys__RecommendRequest *)job->request;
    struct list_fields fields = {LIST_FIELDS(r)};
    struct engine_request request = {.task = ENGINE_RECOMMEND};
    bool seen_given = r->_exclude_seen_case != RECSYS__RECOMMEND_REQUEST___EXCLUDE_SEEN__NOT_SET;
    request.exclude_seen = !seen_given || r->exclude_seen;
    return check_n(r->_n_case != RECSYS__RECOMMEND_REQUEST___N__NOT_SET, r->n, N_DEFAULT,
                   handler->server->config.limits_list, &request.n, st) &&
           answer_list(handler, job, &fields, &request, st);
}

bool handle_rank(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__RankRequest *r = (const Recsys__RankRequest *)job->request;
    struct list_fields fields = {LIST_FIELDS(r), .items = r->items, .n_items = r->n_items};
    struct engine_request request = {.task = ENGINE_RANK};
    request.exclude_seen = r->_exclude_seen_case != RECSYS__RANK_REQUEST___EXCLUDE_SEEN__NOT_SET && r->exclude_seen;
    return check_n(r->_n_case != RECSYS__RANK_REQUEST___N__NOT_SET, r->n, 0, handler->server->config.limits_ranked,
                   &request.n, st) &&
           answer_list(handler, job, &fields, &request, st);
}

bool handle_similar(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__SimilarRequest *r = (const Recsys__SimilarRequest *)job->request;
    struct list_fields fields = {LIST_FIELDS(r), .items = r->items, .n_items = r->n_items};
    struct engine_request request = {.task = ENGINE_SIMILAR,
                                     .include_context = r->include_context,
                                     .modalities = (const char *const *)r->modalities,
                                     .modality_count = r->n_modalities};
    request.exclude_seen = r->_exclude_seen_case != RECSYS__SIMILAR_REQUEST___EXCLUDE_SEEN__NOT_SET && r->exclude_seen;
    return check_n(r->_n_case != RECSYS__SIMILAR_REQUEST___N__NOT_SET, r->n, N_DEFAULT,
                   handler->server->config.limits_list, &request.n, st) &&
           answer_list(handler, job, &fields, &request, st);
}
