/* SPDX-License-Identifier: Apache-2.0
 *
 * audience: for an item, the users who were active lately and would rank it highest. One score per user, the same as in `rank`. */
#include "daemon/handler.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"

#include <stdlib.h>
#include <string.h>

#define N_DEFAULT     10
#define USERS_DEFAULT 1000 /* looked at */
#define USERS_MOST    10000
#define TAIL_EVENTS   5000   /* read at a time */
#define TAIL_MOST     200000 /* newest events that are looked through for users */
#define MET_SLOTS     32768  /* three times USERS_MOST, at least */

struct candidate {
    char *name;
    float score;
};

struct audience {
    struct handler *handler;
    const Recsys__AudienceRequest *request;
    size_t users_most, n;
    int64_t now_ms, until_us;
    int64_t *user_ids;
    size_t user_count;
    struct candidate *best; /* (n), best first */
    size_t count, looked_at;
    bool late;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* ---- who was active lately */

/* ids that were met, open addressing; 0: free */
static bool meet(int64_t *met, int64_t user_id)
{
    size_t slot = (size_t)((uint64_t)user_id * 0x9e3779b97f4a7c15u >> 32) % MET_SLOTS;
    while (met[slot] != 0 && met[slot] != user_id)
        slot = (slot + 1) % MET_SLOTS;
    bool first = met[slot] == 0;
    met[slot] = user_id;
    return first;
}

/* users of the newest events, the last one to do something first */
static bool find_users(struct audience *a, struct status *st)
{
    struct arena *arena = &a->handler->worker.arena;
    struct store *store = a->handler->worker.reader;
    struct store_event *events = arena_alloc(arena, TAIL_EVENTS * sizeof *events);
    int64_t *met = arena_alloc(arena, MET_SLOTS * sizeof *met);
    int64_t end = a->handler->server->engine.committed, looked = 0;
    a->user_ids = arena_alloc(arena, (a->users_most + 1) * sizeof *a->user_ids);
    if (events == NULL || a->user_ids == NULL || met == NULL)
        return out_of_memory(st);
    memset(met, 0, MET_SLOTS * sizeof *met);
    while (end > 0 && a->user_count < a->users_most && looked < TAIL_MOST) {
        int64_t begin = end > TAIL_EVENTS ? end - TAIL_EVENTS : 0; /* positions: at most one event each */
        size_t count;
        if (!store_event_tail(store, begin, end, events, TAIL_EVENTS, &count, st))
            return false;
        for (size_t i = count; i-- > 0 && a->user_count < a->users_most;)
            if (meet(met, events[i].user_id))
                a->user_ids[a->user_count++] = events[i].user_id;
        looked += TAIL_EVENTS;
        end = begin;
    }
    return true;
}

/* ---- one user */

static void place(struct audience *a, char *name, float score)
{
    size_t at = a->count;
    if (at == a->n &&
        (score < a->best[at - 1].score || (score == a->best[at - 1].score && strcmp(name, a->best[at - 1].name) >= 0)))
        return;
    if (at < a->n)
        a->count++;
    else
        at--;
    for (; at > 0 && (a->best[at - 1].score < score ||
                      (a->best[at - 1].score == score && strcmp(a->best[at - 1].name, name) > 0));
         at--)
        a->best[at] = a->best[at - 1];
    a->best[at] = (struct candidate){name, score};
}

static bool look_at(struct audience *a, int64_t user_id, struct status *st)
{
    struct engine_worker *worker = &a->handler->worker;
    const char *item = a->request->item;
    struct engine_answer answer;
    char *name = arena_alloc(&worker->arena, STORE_USER_NAME_BYTES);
    if (name == NULL)
        return out_of_memory(st);
    if (!store_user_name(worker->reader, user_id, name, st))
        return false;
    struct arena_mark mark = arena_mark(&worker->arena);
    struct engine_request request = {.task = ENGINE_RANK,
                                     .user = name,
                                     .items = &item,
                                     .item_count = 1,
                                     .exclude_seen = a->request->_include_seen_case == 0 || !a->request->include_seen,
                                     .at_position = INT64_MAX,
                                     .now_ms = a->now_ms};
    if (name[0] == '\0') /* merged into another one meanwhile */
        return true;
    if (!engine_answer(worker, &request, &answer, st))
        return false;
    float score = answer.count > 0 ? answer.items[0].score : 0;
    bool listed = answer.count > 0 && answer.items[0].source != SOURCE_NEWEST;
    engine_answer_close(&answer);
    arena_rewind(&worker->arena, mark);
    a->looked_at++;
    if (listed)
        place(a, name, score);
    return true;
}

static bool fill(struct audience *a, Recsys__AudienceReply *reply)
{
    Recsys__AudienceMember *members = handler_alloc(a->handler, (a->count + 1) * sizeof *members);
    reply->users = handler_alloc(a->handler, (a->count + 1) * sizeof *reply->users);
    if (members == NULL || reply->users == NULL)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        recsys__audience_member__init(&members[i]);
        members[i].user = a->best[i].name;
        members[i].score = (double)a->best[i].score;
        reply->users[i] = &members[i];
    }
    reply->n_users = a->count;
    reply->looked_at = (int32_t)a->looked_at;
    reply->complete = !a->late;
    return true;
}

bool handle_audience(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__AudienceRequest *r = (const Recsys__AudienceRequest *)job->request;
    const struct config *config = &handler->server->config;
    Recsys__AudienceReply reply = RECSYS__AUDIENCE_REPLY__INIT;
    struct audience a = {.handler = handler, .request = r, .now_ms = timestamp_now_ms(), .until_us = job->deadline_us};
    uint32_t item_id;
    if (!check_id(config, r->item, "item", st) ||
        !check_n(r->_n_case != 0, r->n, N_DEFAULT, config->limits_list, &a.n, st) ||
        !check_n(r->_users_case != 0, r->users, USERS_DEFAULT, USERS_MOST, &a.users_most, st))
        return false;
    const char *item = r->item;
    catalog_find(handler->server->catalog, &item, 1, &item_id);
    if (item_id == 0)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", "item", "there is no item '%.64s'", r->item);
    a.best = handler_alloc(handler, (a.n + 1) * sizeof *a.best);
    if (a.best == NULL)
        return out_of_memory(st);
    if (!find_users(&a, st))
        return false;
    for (size_t i = 0; i < a.user_count && !a.late; i++) {
        if (!look_at(&a, a.user_ids[i], st))
            return false;
        a.late = timestamp_monotonic_us() > a.until_us; /* who asked has gone: what is there is the answer */
    }
    if (!fill(&a, &reply))
        return out_of_memory(st);
    job_reply(job, &reply.base);
    return true;
}
