/* SPDX-License-Identifier: Apache-2.0
 *
 * event.add and user.history. */
#include "daemon/ingest.h"
#include "daemon/metrics.h"
#include "daemon/routes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_BEHAVIOUR "view"
#define KEY_BYTES_MAX     128
#define HISTORY_DEFAULT   20

/* An event that has been checked. */
struct event_row {
    const Recsys__Event *event;
    int64_t ts_ms;
    uint8_t behaviour;
    const char *key;
    bool refused;
};

/* ---- on the worker: what a row says by itself */

static bool find_behaviour(const struct engine *engine, const char *name, const char *field, uint8_t *number,
                           struct status *st)
{
    for (int i = 1; i < 256; i++)
        if (engine->behaviours[i].configured && strcmp(engine->behaviours[i].name, name) == 0) {
            *number = (uint8_t)i;
            return true;
        }
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", field,
                             "behaviour '%s' is not configured", name);
}

static bool check_event(struct handler *handler, const struct ingest *ingest, size_t index, struct event_row *row,
                        struct status *st)
{
    const struct config *config = ingest->config;
    const Recsys__Event *event = row->event;
    const char *behaviour = event->behaviour[0] == '\0' ? DEFAULT_BEHAVIOUR : event->behaviour;
    if (!check_id(config, event->user, field_at("events", index, "user").text, st) ||
        !check_id(config, event->item, field_at("events", index, "item").text, st) ||
        !find_behaviour(&handler->server->engine, behaviour, field_at("events", index, "behaviour").text,
                        &row->behaviour, st) ||
        !check_time(config, event->ts, field_at("events", index, "ts").text, ingest->now_ms, ingest->now_ms,
                    &row->ts_ms, st))
        return false;
    if (event->_value_case != RECSYS__EVENT___VALUE__NOT_SET && !isfinite(event->value))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "NON_FINITE_VALUE",
                                 field_at("events", index, "value").text, "the value is not finite");
    const char *member = strlen(event->key) > KEY_BYTES_MAX         ? "key"
                         : strlen(event->recomm_id) > KEY_BYTES_MAX ? "recomm_id"
                                                                    : NULL;
    return member == NULL ||
           status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", field_at("events", index, member).text,
                             "a %s of more than %d bytes", member, KEY_BYTES_MAX);
}

/* a row without a key of its own has one where the request has one */
static bool derive_key(struct job *job, size_t index, struct event_row *row)
{
    const char *request_key = job->kind == ENVELOPE_JSON ? job->call.idempotency_key : job->header.idempotency_key;
    row->key = row->event->key[0] == '\0' ? NULL : row->event->key;
    if (row->key != NULL || request_key == NULL || request_key[0] == '\0')
        return true;
    size_t size = strlen(request_key) + 32;
    char *key = arena_alloc(&job->arena, size);
    if (key != NULL)
        snprintf(key, size, "%s#%zu", request_key, index);
    row->key = key;
    return key != NULL;
}

/* ---- on the writer */

static struct status unknown_user(size_t index, const char *user)
{
    struct status st = STATUS_INIT;
    status_fail_field(&st, STATUS_NOT_FOUND, "UNKNOWN_USER", field_at("events", index, "user").text,
                      "user '%s' is unknown and cascade_create is not set", user);
    return st;
}

/* are user and item there? Nothing is changed. False with the row's status, or `broken` for an error of the store. */
static bool is_known(struct writer *writer, const struct event_row *row, size_t index, bool *broken, struct status *st)
{
    int64_t user_id;
    bool created;
    if (!store_user_find(writer->store, row->event->user, false, &user_id, &created, st)) {
        *broken = true;
        return false;
    }
    if (user_id == 0) {
        *st = unknown_user(index, row->event->user);
        return false;
    }
    struct catalog_item *item = writer_find_item(writer, row->event->item);
    if (item == NULL)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", field_at("events", index, "item").text,
                                 "item '%s' is unknown and cascade_create is not set", row->event->item);
    catalog_item_release(item);
    return true;
}

static bool check_stored(struct writer *writer, struct ingest *ingest, struct status *st)
{
    struct event_row *rows = ingest->rows;
    for (size_t i = 0; i < ingest->row_count; i++) {
        struct status row_status = STATUS_INIT;
        bool broken = false;
        if (rows[i].refused || is_known(writer, &rows[i], i, &broken, &row_status))
            continue;
        if (broken) {
            *st = row_status;
            return false;
        }
        if (!ingest_refuse(ingest, i, &row_status, st))
            return false;
        rows[i].refused = true;
    }
    return true;
}

static bool write_event(struct writer *writer, struct ingest *ingest, const struct event_row *row, int64_t user_id,
                        struct status *st)
{
    struct catalog_item *item = ingest_item(writer, ingest, row->event->item, "events.item", true, st);
    if (item == NULL)
        return false;
    bool duplicate, has_value = row->event->_value_case != RECSYS__EVENT___VALUE__NOT_SET;
    struct store_event event = {.user_id = user_id,
                                .item_id = item->item.item_id,
                                .ts_ms = row->ts_ms,
                                .behaviour = row->behaviour,
                                .has_value = has_value,
                                .value = has_value ? row->event->value : 0};
    struct store_event_extra extra = {ingest->now_ms, row->event->recomm_id[0] == '\0' ? NULL : row->event->recomm_id,
                                      row->key};
    catalog_item_release(item);
    if (!writer_add_event(writer, row->event->user, &event, &extra, &duplicate, st))
        return false;
    ingest->stored += !duplicate;
    ingest->duplicates += duplicate;
    if (event.position > ingest->position)
        ingest->position = event.position;
    return true;
}

static bool write_events(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct event_row *rows = ingest->rows;
    const char *last_user = NULL; /* events of one user come in runs */
    int64_t user_id = 0;
    if (!ingest->cascade_create && !check_stored(writer, ingest, st))
        return false;
    task->changed = true;
    for (size_t i = 0; i < ingest->row_count; i++) {
        if (rows[i].refused)
            continue;
        if (last_user == NULL || strcmp(last_user, rows[i].event->user) != 0) {
            bool created;
            last_user = rows[i].event->user;
            if (!store_user_find(writer->store, last_user, true, &user_id, &created, st))
                return false;
            ingest->created_users += created;
        }
        if (!write_event(writer, ingest, &rows[i], user_id, st))
            return false;
    }
    return true;
}

static void events_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    struct job *job = ingest->job;
    Recsys__EventAddReply reply = RECSYS__EVENT_ADD_REPLY__INIT;
    if (st->code != STATUS_OK) {
        job_fail(job, st);
        return;
    }
    metrics_add(METRICS_COUNTER_events_added, (uint64_t)ingest->stored);
    metrics_add(METRICS_COUNTER_events_duplicate, (uint64_t)ingest->duplicates);
    int64_t position = ingest->position > 0 ? ingest->position : writer->engine->committed;
    char seq[24];
    snprintf(seq, sizeof seq, "%lld", (long long)position);
    reply.seq = seq;
    reply.added = ingest->stored;
    reply.duplicates = ingest->duplicates;
    reply.errors = ingest->errors.list;
    reply.n_errors = ingest->errors.count;
    reply.created_users = ingest->created_users;
    reply.created_items = ingest->created_items;
    reply.durable = strcmp(ingest->config->storage_durability, "full") == 0;
    job_reply(job, &reply.base);
}

bool handle_event_add(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__EventAddRequest *r = (const Recsys__EventAddRequest *)job->request;
    struct ingest *ingest = ingest_new(handler, job, r->n_events, sizeof(struct event_row), st);
    if (ingest == NULL)
        return false;
    ingest->atomic = r->_atomic_case == RECSYS__EVENT_ADD_REQUEST___ATOMIC__NOT_SET || r->atomic;
    ingest->cascade_create =
        r->_cascade_create_case != RECSYS__EVENT_ADD_REQUEST___CASCADE_CREATE__NOT_SET && r->cascade_create;
    struct event_row *rows = ingest->rows;
    for (size_t i = 0; i < r->n_events; i++) {
        struct status row_status = STATUS_INIT;
        rows[i].event = r->events[i];
        if (!derive_key(job, i, &rows[i]))
            return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                               "the request needs more memory than one may take");
        if (check_event(handler, ingest, i, &rows[i], &row_status))
            continue;
        if (!ingest_refuse(ingest, i, &row_status, st))
            return false;
        rows[i].refused = true;
    }
    return ingest_submit(handler, ingest, write_events, events_done, st);
}

/* ---- user.history */

static bool fill_event(struct handler *handler, struct arena *arena, const struct store_event *event,
                       Recsys__HistoryEvent *out)
{
    recsys__history_event__init(out);
    struct catalog_item *item = catalog_get(handler->server->catalog, event->item_id);
    char *name = item == NULL ? NULL : arena_alloc(arena, strlen(item->item.name) + strlen(item->item.title) + 2);
    bool ok = name != NULL;
    if (ok) {
        out->item = strcpy(name, item->item.name);
        out->title = strcpy(name + strlen(name) + 1, item->item.title);
        ok = unpack_categories(arena, item->item.categories_json, &out->n_categories, &out->categories);
    }
    catalog_item_release(item);
    out->behaviour = handler->server->engine.behaviours[event->behaviour].name;
    out->ts = event->ts_ms;
    out->seq = position_text(arena, event->position);
    if (event->has_value) {
        out->_value_case = RECSYS__HISTORY_EVENT___VALUE_VALUE;
        out->value = event->value;
    }
    return ok && out->seq != NULL;
}

static bool read_history(struct handler *handler, const char *user, size_t n, int64_t at_position,
                         Recsys__UserHistoryReply *reply, struct status *st)
{
    struct arena *arena = &handler->worker.arena;
    struct store *store = handler->worker.reader;
    struct store_event *events = arena_alloc(arena, n * sizeof *events);
    Recsys__HistoryEvent *out = arena_alloc(arena, n * sizeof *out);
    reply->events = arena_alloc(arena, n * sizeof *reply->events);
    if (events == NULL || out == NULL || reply->events == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
    int64_t user_id;
    bool created, more;
    size_t count = 0;
    if (!store_user_find(store, user, false, &user_id, &created, st))
        return false;
    reply->known = user_id != 0;
    if (user_id != 0 && (!store_event_history(store, user_id, at_position, events, n, &count, &more, st) ||
                         !store_event_count(store, user_id, at_position, &reply->total, st)))
        return false;
    for (size_t i = 0; i < count; i++) { /* newest first */
        if (!fill_event(handler, arena, &events[count - 1 - i], &out[i]))
            return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
        reply->events[i] = &out[i];
    }
    reply->n_events = count;
    return true;
}

bool handle_user_history(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__UserHistoryRequest *r = (const Recsys__UserHistoryRequest *)job->request;
    const struct config *config = &handler->server->config;
    Recsys__UserHistoryReply reply = RECSYS__USER_HISTORY_REPLY__INIT;
    size_t n;
    int64_t at_position, committed = handler->server->engine.committed;
    if (!check_id(config, r->user, "user", st) ||
        !check_n(r->_n_case != RECSYS__USER_HISTORY_REQUEST___N__NOT_SET, r->n, HISTORY_DEFAULT, config->limits_list,
                 &n, st) ||
        !check_position(r->at_seq, "at_seq", committed, &at_position, st) ||
        !read_history(handler, r->user, n, at_position, &reply, st))
        return false;
    reply.user = r->user;
    reply.seq = position_text(&job->arena, at_position < committed ? at_position : committed);
    job_reply(job, &reply.base);
    return true;
}
