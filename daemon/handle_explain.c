/* SPDX-License-Identifier: Apache-2.0
 *
 * explain: what became of one item on the way to a list, and what its score is made of. The list is asked for once more, as it was or would be. */
#include "daemon/list_answer.h"
#include "daemon/list_reply.h"
#include "daemon/list_terms.h"
#include "daemon/routes.h"
#include "daemon/served.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAYS_BYTES 480

struct explaining {
    struct handler *handler;
    const Recsys__ExplainRequest *request;
    struct list_fields fields;
    struct engine_answer answer;
    Recsys__RankedList list;
    Recsys__RankedItem explained, last;
    Recsys__ExplainReply reply;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* ---- what became of it */

static const char *stage_of(const struct explaining *e)
{
    const struct engine_trace *trace = &e->answer.trace;
    switch (trace->lost) {
    case STAGE_CATALOGUE:
        return trace->deleted ? "not_shown" : "unknown";
    case STAGE_SHOWN:
        return "not_shown";
    case STAGE_CANDIDATES:
        return "not_candidate";
    case STAGE_NOT_EXCLUDED:
        return "excluded";
    case STAGE_NOT_CURRENT:
        return "current";
    case STAGE_NOT_SEEN:
        return "seen";
    case STAGE_FILTER:
        return "filter";
    case STAGE_PRICE_CEILING:
        return "price_ceiling";
    case STAGE_SCORED:
        return trace->scanned ? "not_scanned" : "unscored";
    case STAGE_POOL:
    case STAGE_LISTED:
        break;
    case STAGE_COUNT:
        return "listed";
    }
    if (e->answer.count > 0 && e->answer.items[e->answer.count - 1].source == SOURCE_STORED)
        return "stored";
    bool above = e->answer.shortened[0] != '\0' || /* there was room */
                 (e->answer.count > 0 && trace->item.score > e->answer.items[e->answer.count - 1].score);
    return above ? "rules" : "outranked";
}

static void say_hidden(const struct explaining *e, char *text)
{
    const struct catalog_item *record = e->answer.trace.scored ? e->answer.trace.item.item : NULL;
    const char *why = "it is deleted, not available, not yet created or expired";
    if (e->answer.trace.deleted)
        why = "it is deleted";
    else if (record != NULL && !record->item.available)
        why = "it is not available";
    else if (record != NULL && record->item.created_ms > e->answer.now_ms)
        why = "it is not shown before its creation date";
    else if (record != NULL && record->item.expires_ms <= e->answer.now_ms)
        why = "it has expired";
    snprintf(text, SAYS_BYTES, "it is not shown to anybody: %s", why);
}

static void say_gap(const struct explaining *e, const char *stage, char *text)
{
    const struct engine_trace *trace = &e->answer.trace;
    const struct engine_item *last = e->answer.count == 0 ? NULL : &e->answer.items[e->answer.count - 1];
    if (last == NULL)
        snprintf(text, SAYS_BYTES, "the list is empty");
    else if (strcmp(stage, "rules") == 0)
        snprintf(text, SAYS_BYTES,
                 "by its score it would be in place %zu; diversity, caps, promotions or another knob gave the places "
                 "to others",
                 trace->by_score);
    else
        snprintf(text, SAYS_BYTES,
                 "its score %.4g puts it in place %zu of what qualifies; the last of the list has %.4g",
                 (double)trace->item.score, trace->by_score, (double)last->score);
}

static void say(const struct explaining *e, const char *stage, char *text)
{
    static const char *const sentences[][2] = {
        {"unknown", "the shop does not have it"},
        {"not_candidate", "it is not among the items of the request"},
        {"excluded", "the request excludes it"},
        {"current", "it is what is looked at now, in the cart, or an example"},
        {"seen", "the user has seen it, and seen items are left out"},
        {"filter", "the filter does not let it through"},
        {"price_ceiling", "it costs more than the price ceiling allows"},
        {"not_scanned", "in a shop of this size only the best of a scan are scored in full, and it was not among them"},
        {"unscored", "it has no score: nothing is known that speaks for it"},
        {"stored", "there was no time to score anything: a list that was put before has the places"},
    };
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
        if (strcmp(sentences[i][0], stage) == 0) {
            snprintf(text, SAYS_BYTES, "%s", sentences[i][1]);
            return;
        }
    if (strcmp(stage, "listed") == 0)
        snprintf(text, SAYS_BYTES, "it is in place %zu of the list", e->answer.trace.place);
    else if (strcmp(stage, "not_shown") == 0)
        say_hidden(e, text);
    else
        say_gap(e, stage, text);
}

/* ---- the gap */

static float part_of(const struct engine_item *item, const char *key)
{
    for (size_t i = 0; i < item->part_count; i++)
        if (strcmp(item->parts[i].key, key) == 0)
            return item->parts[i].value;
    return 0;
}

/* last minus item, part by part; both have the same parts, being of one request */
static bool fill_gap(struct explaining *e, const struct engine_item *last)
{
    struct arena *arena = &e->handler->worker.arena;
    const struct engine_item *item = &e->answer.trace.item;
    Recsys__Weight *parts = arena_alloc(arena, (last->part_count + 1) * sizeof *parts);
    e->reply.gap_parts = arena_alloc(arena, (last->part_count + 1) * sizeof *e->reply.gap_parts);
    if (parts == NULL || e->reply.gap_parts == NULL)
        return false;
    for (size_t i = 0; i < last->part_count; i++) {
        recsys__weight__init(&parts[i]);
        parts[i].key = (char *)last->parts[i].key;
        parts[i].value = list_reply_rounded(last->parts[i].value - part_of(item, last->parts[i].key));
        e->reply.gap_parts[i] = &parts[i];
    }
    e->reply.n_gap_parts = last->part_count;
    e->reply._gap_case = RECSYS__EXPLAIN_REPLY___GAP_GAP;
    e->reply.gap = list_reply_rounded(last->score - item->score);
    return true;
}

/* ---- the reply */

static bool fill_items(struct explaining *e)
{
    const struct engine_trace *trace = &e->answer.trace;
    struct list_words words;
    const struct engine_item *last = e->answer.count == 0 ? NULL : &e->answer.items[e->answer.count - 1];
    if (!list_reply_words(e->handler, &e->fields, &e->answer, true, &words))
        return false;
    if (trace->scored) {
        e->reply.explained = &e->explained;
        if (!list_reply_item(e->handler, &e->fields, &e->answer, &words, &trace->item, &e->explained))
            return false;
    }
    if (trace->place > 0 || last == NULL)
        return true;
    e->reply.last = &e->last;
    return list_reply_item(e->handler, &e->fields, &e->answer, &words, last, &e->last) &&
           (!trace->scored || last->source == SOURCE_STORED || fill_gap(e, last));
}

static bool fill(struct explaining *e, struct status *st)
{
    const struct engine_trace *trace = &e->answer.trace;
    char *says = handler_alloc(e->handler, SAYS_BYTES);
    recsys__explain_reply__init(&e->reply);
    if (says == NULL || !fill_items(e))
        return out_of_memory(st);
    e->reply.item = e->request->item;
    e->reply.stage = (char *)stage_of(e);
    say(e, e->reply.stage, says);
    e->reply.says = says;
    if (trace->place > 0) {
        e->reply._place_case = RECSYS__EXPLAIN_REPLY___PLACE_PLACE;
        e->reply.place = (int32_t)trace->place;
    }
    if (trace->by_score > 0) {
        e->reply._by_score_case = RECSYS__EXPLAIN_REPLY___BY_SCORE_BY_SCORE;
        e->reply.by_score = (int32_t)trace->by_score;
    }
    e->reply.list = &e->list;
    return true;
}

static bool explain(struct explaining *e, struct job *job, const ProtobufCMessage *request, size_t shown,
                    struct status *st)
{
    enum engine_task task;
    list_fields_read(request, &e->fields, &task);
    const struct config *config = &e->handler->server->config;
    double most = (double)(task == ENGINE_RANK ? config->limits_ranked : config->limits_list);
    if (shown > 0 && !(e->fields.n.given && e->fields.n.value >= (double)shown)) /* all pages of it, as one list */
        e->fields.n = (struct list_number){true, fmin((double)shown, most)};
    e->fields.trace = e->request->item;
    if (!list_answer(e->handler, &e->fields, task, NULL, 0, &e->answer, &e->list, st))
        return false;
    bool ok = fill(e, st);
    if (ok)
        job_reply(job, &e->reply.base);
    list_answer_close(&e->fields, &e->answer);
    return ok;
}

bool handle_explain(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ExplainRequest *r = (const Recsys__ExplainRequest *)job->request;
    struct explaining *e = handler_alloc(handler, sizeof *e);
    struct served_list before;
    if (e == NULL)
        return out_of_memory(st);
    if ((r->request == NULL) == (r->recomm_id[0] == '\0'))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "request",
                                 "give the request of the list, or its recomm_id, one of the two");
    if (!check_id(&handler->server->config, r->item, "item", st))
        return false;
    *e = (struct explaining){.handler = handler, .request = r};
    if (r->request != NULL)
        return explain(e, job, &r->request->base, 0, st);
    if (!served_find(&handler->server->served, r->recomm_id, &before, st))
        return false;
    bool ok = explain(e, job, before.request, before.count, st);
    served_close(&before);
    return ok;
}
