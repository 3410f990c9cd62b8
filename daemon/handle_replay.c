/* SPDX-License-Identifier: Apache-2.0
 *
 * replay: requests of the log once more, as they are answered now and as they would be with another model, other
 * scenarios or other weights of behaviours. Nothing is stored, and nobody is shown anything. */
#include "daemon/engine_loaded.h"
#include "daemon/list_answer.h"
#include "daemon/replay_tally.h"
#include "daemon/request_log.h"
#include "daemon/routes.h"
#include "daemon/scenarios.h"
#include "daemon/timestamp.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define N_DEFAULT    100
#define N_MOST       1000
#define ITEMS_MOST   1000 /* in a reply */
#define WEIGHT_MOST  100.0
#define RESERVE      5      /* this part of the time is left for the reply: a fifth */
#define TRIES_MOST   3      /* of a pair between whose lists the counts or the catalogue changed */
#define DEADLINE_MS  600000 /* as good as none, in the place of a scenario's: how busy we are must not matter */
#define VERSION_TEXT 97

struct replay {
    struct handler *handler;
    int64_t from_ms, until_ms, cursor; /* cursor: the request_id looked at last */
    size_t most;
    char model[VERSION_TEXT];                       /* of the second lists; "": the active one */
    struct scenarios *scenarios;                    /* of the second lists, a reference; NULL: those that answer now */
    bool weighted;                                  /* the second lists go by `weight` */
    float weight[256];                              /* of behaviours, by number */
    char first[VERSION_TEXT], second[VERSION_TEXT]; /* the models that answered */
    struct replay_tally tally;
    int64_t compared, skipped;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* ---- what is to be compared */

static bool read_model(struct replay *r, const char *wanted, struct status *st)
{
    struct engine *engine = &r->handler->server->engine;
    struct snapshot *active = NULL, *other = NULL;
    struct counts_view *counts = NULL;
    engine_acquire(engine, &active, &counts);
    if (wanted[0] != '\0')
        other = engine_loaded_find(engine, wanted);
    bool ok = wanted[0] == '\0' || other != NULL ||
              status_fail_field(st, STATUS_FAILED_PRECONDITION, "NOT_LOADED", "model",
                                "model '%.96s' is not loaded: 'recsysctl model load %.96s' does that", wanted, wanted);
    if (active != NULL)
        snprintf(r->first, sizeof r->first, "%s", active->model->version);
    if (other != NULL)
        snprintf(r->model, sizeof r->model, "%s", other->model->version);
    memcpy(r->second, other != NULL ? r->model : r->first, sizeof r->second);
    snapshot_release(active);
    snapshot_release(other);
    counts_view_release(counts);
    return ok;
}

static bool read_weight(struct replay *r, const Recsys__Weight *from, struct status *st)
{
    const struct engine *engine = &r->handler->server->engine;
    if (!isfinite(from->value) || fabs(from->value) > WEIGHT_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "behaviours",
                                 "the weight of '%.64s' is not from -%g to %g", from->key, WEIGHT_MOST, WEIGHT_MOST);
    for (size_t b = 1; b < 256; b++)
        if (engine->behaviours[b].configured && strcmp(engine->behaviours[b].name, from->key) == 0) {
            r->weight[b] = (float)from->value;
            return true;
        }
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "behaviours",
                             "behaviour '%.64s' is not configured", from->key);
}

static bool read_weights(struct replay *r, const Recsys__ReplayRequest *request, struct status *st)
{
    for (size_t b = 0; b < 256; b++)
        r->weight[b] = r->handler->server->engine.behaviours[b].weight;
    for (size_t i = 0; i < request->n_behaviours; i++)
        if (!read_weight(r, request->behaviours[i], st))
            return false;
    r->weighted = request->n_behaviours > 0;
    return true;
}

static bool read_scenarios(struct replay *r, const char *text, struct status *st)
{
    if (text[0] == '\0')
        return true;
    r->scenarios = scenarios_load_text("scenarios", text, strlen(text), st);
    return r->scenarios != NULL;
}

static bool read_request(struct replay *r, const Recsys__ReplayRequest *request, struct status *st)
{
    const struct config *config = &r->handler->server->config;
    int64_t now_ms = timestamp_now_ms();
    return check_n(request->_n_case != 0, request->n, N_DEFAULT, N_MOST, &r->most, st) &&
           check_position(request->cursor, "cursor", 0, &r->cursor, st) &&
           check_time(config, request->from, "from", now_ms, 0, &r->from_ms, st) &&
           check_time(config, request->until, "until", now_ms, INT64_MAX, &r->until_ms, st) &&
           read_model(r, request->model, st) && read_weights(r, request, st) &&
           read_scenarios(r, request->scenarios, st);
}

/* ---- one request of the log */

/* A copy in the worker's arena: the log is not kept open while lists are made. */
struct logged {
    struct handler *handler;
    struct store_request request; /* without items */
    bool found, failed;
};

static void *keep(struct logged *logged, const void *bytes, size_t size_bytes)
{
    void *copy = handler_alloc(logged->handler, size_bytes);
    if (copy == NULL)
        logged->failed = true;
    else if (size_bytes > 0)
        memcpy(copy, bytes, size_bytes);
    return copy;
}

static const char *keep_text(struct logged *logged, const char *text)
{
    return keep(logged, text, strlen(text) + 1);
}

static bool take(void *context, const struct store_request *request)
{
    struct logged *logged = context;
    logged->request = (struct store_request){.request_id = request->request_id,
                                             .user_id = request->user_id,
                                             .recomm_id = keep_text(logged, request->recomm_id),
                                             .method = keep_text(logged, request->method),
                                             .scenario = keep_text(logged, request->scenario),
                                             .position = request->position,
                                             .now_ms = request->now_ms,
                                             .body = keep(logged, request->body, request->body_bytes),
                                             .body_bytes = request->body_bytes};
    logged->found = true;
    return false;
}

/* As a message with its user; NULL where it can be asked no more, or is of somebody who is there no more. */
static ProtobufCMessage *read_logged(const struct store_request *request, const char *user)
{
    ProtobufCMessage *message = request->user_id != 0 && user[0] == '\0' ? NULL : request_log_message(request, user);
    if (message == NULL || request->user_id != 0)
        return message;
    /* nobody that the shop knew: the body's own user, which is none unless requests.user_names keeps them */
    const ProtobufCMessageDescriptor *type = message->descriptor;
    protobuf_c_message_free_unpacked(message, NULL);
    return protobuf_c_message_unpack(type, NULL, request->body_bytes, request->body);
}

/* ---- both lists */

/* A request that is asked twice. */
struct pair {
    const struct store_request *request;
    struct list_fields asked;
    enum engine_task task;
    char now[24], position[24];
    char counts[ENGINE_VERSION_TEXT], catalogue[ENGINE_VERSION_TEXT]; /* that the first list is a function of */
    bool last;                                                        /* it is not asked once more */
};

/* What makes both lists functions of the same inputs. */
static void fix_inputs(struct pair *pair)
{
    struct list_fields *fields = &pair->asked;
    snprintf(pair->now, sizeof pair->now, "%" PRId64, pair->request->now_ms);
    snprintf(pair->position, sizeof pair->position, "%" PRId64, pair->request->position);
    fields->now = pair->now;
    fields->at_seq = pair->position;
    fields->scenario = pair->request->scenario; /* of the variant, in an experiment */
    fields->min_seq = fields->model = fields->counts = fields->catalogue = "";
    fields->as_of = fields->experiment = fields->language = "";
    fields->explain = "none"; /* also where a scenario asks for more */
    fields->n_without = 0;
    fields->funnel = false;
    fields->deadline_ms = (struct list_number){true, DEADLINE_MS};
}

/* The list as it is answered now, or the other one. */
static bool ask(struct replay *r, const struct pair *pair, bool other, struct list_fields *fields,
                struct engine_answer *answer, struct status *st)
{
    Recsys__RankedList list;
    *fields = pair->asked;
    if (other) {
        fields->model = r->model;
        fields->scenarios = r->scenarios == NULL ? NULL : scenarios_acquire(r->scenarios);
        r->handler->worker.behaviour_weight = r->weighted ? r->weight : NULL;
    }
    bool ok = list_answer(r->handler, fields, pair->task, NULL, 0, answer, &list, st);
    r->handler->worker.behaviour_weight = NULL;
    return ok;
}

/* A failure that is of this request alone, such as a scenario that is gone. A model that has been unloaded meanwhile is
 * not. */
static bool skip(struct replay *r, const struct status *problem, struct status *st)
{
    bool own = problem->code == STATUS_INVALID_ARGUMENT || problem->code == STATUS_FAILED_PRECONDITION ||
               problem->code == STATUS_NOT_FOUND || problem->code == STATUS_RESOURCE_EXHAUSTED;
    if (!own || strcmp(problem->reason, "VERSION_GONE") == 0) {
        *st = *problem;
        return false;
    }
    r->skipped++;
    return true;
}

/* `*made` false: skipped */
static bool make_first(struct replay *r, struct pair *pair, bool *made, struct status *st)
{
    struct list_fields fields;
    struct engine_answer answer;
    struct status problem = STATUS_INIT;
    *made = ask(r, pair, false, &fields, &answer, &problem);
    if (!*made)
        return skip(r, &problem, st);
    bool ok = replay_tally_begin(&r->tally, &answer) || out_of_memory(st);
    snprintf(r->first, sizeof r->first, "%s", answer.model);
    memcpy(pair->counts, answer.counts, sizeof pair->counts);
    memcpy(pair->catalogue, answer.catalogue, sizeof pair->catalogue);
    list_answer_close(&fields, &answer);
    return ok;
}

/* Compared with the first. `*again`: not yet, because the counts or the catalogue have changed between them. */
static bool make_second(struct replay *r, const struct pair *pair, bool *again, struct status *st)
{
    struct list_fields fields;
    struct engine_answer answer;
    struct status problem = STATUS_INIT;
    const struct replay_origin origin = {pair->request->recomm_id, pair->asked.user, pair->request->scenario};
    *again = false;
    if (!ask(r, pair, true, &fields, &answer, &problem)) {
        if (strcmp(problem.reason, "UNKNOWN_SCENARIO") == 0 && !replay_tally_gone(&r->tally, origin.scenario))
            return out_of_memory(st);
        return skip(r, &problem, st);
    }
    *again =
        !pair->last && (strcmp(pair->counts, answer.counts) != 0 || strcmp(pair->catalogue, answer.catalogue) != 0);
    bool ok = *again || replay_tally_end(&r->tally, &origin, &answer) || out_of_memory(st);
    snprintf(r->second, sizeof r->second, "%s", answer.model);
    list_answer_close(&fields, &answer);
    r->compared += ok && !*again;
    return ok;
}

static bool compare(struct replay *r, const struct store_request *request, const ProtobufCMessage *message,
                    struct status *st)
{
    struct arena *arena = &r->handler->worker.arena;
    struct pair pair = {.request = request};
    bool ok = true, go_on = true;
    list_fields_read(message, &pair.asked, &pair.task);
    fix_inputs(&pair);
    for (int tries = 1; ok && go_on; tries++) {
        struct arena_mark mark = arena_mark(arena);
        pair.last = tries == TRIES_MOST;
        ok = make_first(r, &pair, &go_on, st);
        arena_rewind(arena, mark);
        if (ok && go_on)
            ok = make_second(r, &pair, &go_on, st);
        arena_rewind(arena, mark);
    }
    return ok;
}

/* ---- the page */

static bool replay_one(struct replay *r, const struct store_request *request, struct status *st)
{
    char user[STORE_USER_NAME_BYTES] = "";
    if (request->user_id != 0 && !store_user_name(r->handler->worker.reader, request->user_id, user, st))
        return false;
    ProtobufCMessage *message = read_logged(request, user);
    if (message == NULL) {
        r->skipped++;
        return true;
    }
    bool ok = compare(r, request, message, st);
    protobuf_c_message_free_unpacked(message, NULL);
    return ok;
}

/* `*more`: there are requests behind the cursor */
static bool replay_page(struct replay *r, int64_t stop_us, bool *more, struct status *st)
{
    struct arena *arena = &r->handler->worker.arena;
    bool ok = true;
    for (size_t done = 0; ok; done++) {
        struct arena_mark mark = arena_mark(arena);
        struct logged logged = {.handler = r->handler};
        ok = store_request_scan(r->handler->worker.reader, r->cursor, r->from_ms, r->until_ms, 1, take, &logged, st) &&
             (!logged.failed || out_of_memory(st));
        *more = logged.found;
        /* one in any case, or a caller without time would get nowhere */
        bool full = done == r->most || (done > 0 && timestamp_monotonic_us() >= stop_us);
        if (ok && *more && !full) {
            ok = replay_one(r, &logged.request, st);
            r->cursor = logged.request.request_id;
        }
        arena_rewind(arena, mark);
        if (!*more || full)
            break;
    }
    return ok;
}

/* ---- the reply */

static bool fill_groups(const struct replay *r, Recsys__ReplayReply *reply)
{
    size_t count = r->tally.group_count;
    Recsys__ReplayGroup *groups = handler_alloc(r->handler, (count + 1) * sizeof *groups);
    reply->groups = handler_alloc(r->handler, (count + 1) * sizeof *reply->groups);
    if (groups == NULL || reply->groups == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct replay_group *from = &r->tally.groups[i];
        recsys__replay_group__init(&groups[i]);
        groups[i].scenario = from->scenario;
        groups[i].requests = from->requests;
        groups[i].equal = from->equal;
        groups[i].overlap = from->overlap;
        groups[i].moved = from->moved;
        reply->groups[i] = &groups[i];
    }
    reply->n_groups = count;
    return true;
}

static bool fill_change(struct replay *r, struct replay_change *from, Recsys__ReplayChange *to)
{
    size_t count = from->gone_count + from->came_count;
    char **names = handler_alloc(r->handler, (count + 1) * sizeof *names);
    if (names == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        names[i] = (char *)replay_tally_name(&r->tally, from->item_ids[i]);
    recsys__replay_change__init(to);
    to->recomm_id = from->recomm_id;
    to->user = from->user;
    to->scenario = from->scenario;
    to->overlap = from->overlap;
    to->gone = names;
    to->n_gone = from->gone_count;
    to->came = names + from->gone_count;
    to->n_came = from->came_count;
    return true;
}

static bool fill_changes(struct replay *r, Recsys__ReplayReply *reply)
{
    size_t count = r->tally.change_count;
    Recsys__ReplayChange *changes = handler_alloc(r->handler, (count + 1) * sizeof *changes);
    reply->changes = handler_alloc(r->handler, (count + 1) * sizeof *reply->changes);
    bool ok = changes != NULL && reply->changes != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = fill_change(r, &r->tally.changes[i], &changes[i]);
        reply->changes[i] = &changes[i];
    }
    reply->n_changes = count;
    return ok;
}

static bool fill_items(const struct replay *r, Recsys__ReplayReply *reply)
{
    size_t count = 0;
    const struct replay_count *counts = replay_tally_items(&r->tally, ITEMS_MOST, &count, &r->handler->worker.arena);
    Recsys__ReplayItem *items = handler_alloc(r->handler, (count + 1) * sizeof *items);
    reply->items = handler_alloc(r->handler, (count + 1) * sizeof *reply->items);
    if (counts == NULL || items == NULL || reply->items == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        recsys__replay_item__init(&items[i]);
        items[i].item = (char *)counts[i].item;
        items[i].before = counts[i].before;
        items[i].after = counts[i].after;
        reply->items[i] = &items[i];
    }
    reply->n_items = count;
    return true;
}

static bool send_reply(struct replay *r, struct job *job, bool more, struct status *st)
{
    Recsys__ReplayReply reply = RECSYS__REPLAY_REPLY__INIT;
    char *cursor = position_text(&job->arena, r->cursor);
    if (cursor == NULL || !fill_groups(r, &reply) || !fill_changes(r, &reply) || !fill_items(r, &reply))
        return out_of_memory(st);
    if (more)
        reply.cursor = cursor;
    reply.compared = r->compared;
    reply.skipped = r->skipped;
    reply.model = r->first;
    reply.other = r->second;
    job_reply(job, &reply.base);
    return true;
}

bool handle_replay(struct handler *handler, struct job *job, struct status *st)
{
    struct replay *r = handler_alloc(handler, sizeof *r);
    bool more = false;
    if (r == NULL)
        return out_of_memory(st);
    *r = (struct replay){.handler = handler};
    int64_t stop_us = job->deadline_us - (job->deadline_us - job->received_us) / RESERVE;
    bool ok = read_request(r, (const Recsys__ReplayRequest *)job->request, st) && replay_page(r, stop_us, &more, st) &&
              send_reply(r, job, more, st);
    replay_tally_close(&r->tally);
    scenarios_release(r->scenarios);
    return ok;
}
