/* SPDX-License-Identifier: Apache-2.0
 *
 * impression.add, feedback.report: what was shown, and what came of it. */
#include "daemon/ingest.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"

#include <stdio.h>
#include <string.h>

#define RECOMM_ID_BYTES 128
#define WEEK_MS         604800000
#define FORGOTTEN_MOST  1000 /* old impressions that go with each call: more than one brings */

/* ---- impression.add */

struct shown {
    const Recsys__ImpressionAddRequest *request;
    uint32_t *item_ids; /* 0: unknown */
    char **unknown;
    size_t unknown_count;
    int64_t at_ms;
    int32_t first, added, duplicates;
};

static bool write_shown(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct shown *shown = ingest->rows;
    const Recsys__ImpressionAddRequest *r = shown->request;
    int64_t user_id;
    bool created;
    if (!store_user_find(writer->store, r->user, ingest->cascade_create, &user_id, &created, st))
        return false;
    if (user_id == 0)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_USER", "user",
                                 "user '%.64s' is unknown and cascade_create is not set", r->user);
    task->changed = true;
    for (size_t i = 0; i < r->n_items; i++) {
        bool duplicate;
        const struct store_impression impression = {.user_id = user_id,
                                                    .at_ms = shown->at_ms,
                                                    .item_id = shown->item_ids[i],
                                                    .place = shown->first + (int32_t)i,
                                                    .recomm_id = r->recomm_id};
        if (shown->item_ids[i] == 0)
            continue;
        if (!store_impression_add(writer->store, &impression, &duplicate, st))
            return false;
        shown->added += !duplicate;
        shown->duplicates += duplicate;
    }
    return store_impression_forget(writer->store, ingest->now_ms - ingest->config->storage_impressions_ms,
                                   FORGOTTEN_MOST, st);
}

static void shown_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    const struct shown *shown = ingest->rows;
    Recsys__ImpressionAddReply reply = RECSYS__IMPRESSION_ADD_REPLY__INIT;
    (void)writer;
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    reply.added = shown->added;
    reply.duplicates = shown->duplicates;
    reply.unknown = shown->unknown;
    reply.n_unknown = shown->unknown_count;
    reply.durable = strcmp(ingest->config->storage_durability, "full") == 0;
    job_reply(ingest->job, &reply.base);
}

static bool check_shown(struct handler *handler, const Recsys__ImpressionAddRequest *r, struct ingest *ingest,
                        struct shown *shown, struct status *st)
{
    const struct config *config = &handler->server->config;
    if (!check_id(config, r->user, "user", st))
        return false;
    if (r->recomm_id[0] == '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "recomm_id", "'recomm_id' is missing");
    if (strlen(r->recomm_id) > RECOMM_ID_BYTES)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", "recomm_id",
                                 "'recomm_id' is longer than %d bytes", RECOMM_ID_BYTES);
    if (r->n_items == 0 || r->n_items > (size_t)config->limits_list)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "items",
                                 "'items' has %zu ids, 1 to %lld are allowed", r->n_items,
                                 (long long)config->limits_list);
    shown->first = r->_first_case != 0 ? r->first : 1;
    if (shown->first < 1 || shown->first > config->limits_list)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "first", "'first' is not from 1 to %lld",
                                 (long long)config->limits_list);
    for (size_t i = 0; i < r->n_items; i++)
        if (!check_id(config, r->items[i], field_at("items", i, "").text, st))
            return false;
    return check_time(config, r->ts, "ts", ingest->now_ms, ingest->now_ms, &shown->at_ms, st);
}

bool handle_impression_add(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ImpressionAddRequest *r = (const Recsys__ImpressionAddRequest *)job->request;
    struct ingest *ingest = ingest_new(handler, job, 1, sizeof(struct shown), st);
    if (ingest == NULL)
        return false;
    ingest->row_count = r->n_items > 0 ? r->n_items : 1; /* as the writer counts them */
    struct shown *shown = ingest->rows;
    shown->request = r;
    ingest->cascade_create = r->_cascade_create_case != 0 && r->cascade_create;
    if (!check_shown(handler, r, ingest, shown, st))
        return false;
    shown->item_ids = arena_alloc(&job->arena, (r->n_items + 1) * sizeof *shown->item_ids);
    shown->unknown = arena_alloc(&job->arena, (r->n_items + 1) * sizeof *shown->unknown);
    if (shown->item_ids == NULL || shown->unknown == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                           "the request needs more memory than one may take");
    catalog_find(handler->server->catalog, (const char *const *)r->items, r->n_items, shown->item_ids);
    for (size_t i = 0; i < r->n_items; i++)
        if (shown->item_ids[i] == 0)
            shown->unknown[shown->unknown_count++] = r->items[i];
    return ingest_submit(handler, ingest, write_shown, shown_done, st);
}

/* ---- feedback.report */

struct report {
    struct handler *handler;
    Recsys__PlaceFeedback *current;
    Recsys__PlaceFeedback all;
    int64_t total[256];
    Recsys__PlaceFeedback **places;
    size_t count, capacity;
    bool failed;
};

static bool add_response(struct handler *handler, Recsys__PlaceFeedback *place, uint8_t behaviour, int64_t count)
{
    Recsys__Metric *metric = handler_alloc(handler, sizeof *metric);
    if (place->responses == NULL)
        place->responses = handler_alloc(handler, 256 * sizeof *place->responses);
    if (metric == NULL || place->responses == NULL)
        return false;
    recsys__metric__init(metric);
    metric->key = handler->server->engine.behaviours[behaviour].name;
    metric->value = (double)count;
    place->responses[place->n_responses++] = metric;
    return true;
}

static bool open_place(struct report *report, int32_t number)
{
    if (report->count == report->capacity) {
        size_t capacity = report->capacity * 2 + 64;
        Recsys__PlaceFeedback **places = handler_alloc(report->handler, capacity * sizeof *places);
        if (places == NULL)
            return false;
        if (report->count > 0)
            memcpy(places, report->places, report->count * sizeof *places);
        report->places = places;
        report->capacity = capacity;
    }
    report->current = handler_alloc(report->handler, sizeof *report->current);
    if (report->current == NULL)
        return false;
    recsys__place_feedback__init(report->current);
    report->current->place = number;
    report->places[report->count++] = report->current;
    return true;
}

static bool take_response(void *context, const struct store_response *response)
{
    struct report *report = context;
    report->failed =
        (report->current == NULL || report->current->place != response->place) && !open_place(report, response->place);
    report->total[response->behaviour] += response->count;
    if (!report->failed && response->behaviour == 0)
        report->current->impressions = response->count;
    else if (!report->failed)
        report->failed = !add_response(report->handler, report->current, response->behaviour, response->count);
    return !report->failed;
}

static bool sum_up(struct report *report)
{
    recsys__place_feedback__init(&report->all);
    report->all.impressions = report->total[0];
    for (int b = 1; b < 256; b++)
        if (report->total[b] > 0 && !add_response(report->handler, &report->all, (uint8_t)b, report->total[b]))
            return false;
    return true;
}

bool handle_feedback_report(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__FeedbackReportRequest *r = (const Recsys__FeedbackReportRequest *)job->request;
    const struct config *config = &handler->server->config;
    Recsys__FeedbackReportReply reply = RECSYS__FEEDBACK_REPORT_REPLY__INIT;
    int64_t now_ms = timestamp_now_ms();
    struct report *report = handler_alloc(handler, sizeof *report);
    if (report == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    *report = (struct report){.handler = handler};
    if (!check_time(config, r->until, "until", now_ms, now_ms, &reply.until_ms, st) ||
        !check_time(config, r->from, "from", now_ms, reply.until_ms - WEEK_MS, &reply.from_ms, st) ||
        !store_impression_report(handler->worker.reader, reply.from_ms, reply.until_ms, take_response, report, st))
        return false;
    Recsys__PlaceFeedback **places = handler_alloc(handler, (report->count + 1) * sizeof *places);
    if (report->failed || places == NULL || !sum_up(report))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    places[0] = &report->all;
    if (report->count > 0)
        memcpy(places + 1, report->places, report->count * sizeof *places);
    reply.places = places;
    reply.n_places = report->count + 1;
    job_reply(job, &reply.base);
    return true;
}
