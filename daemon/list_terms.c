/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_terms.h"

#include "daemon/list_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVENT_TEXT  24
#define STREAM_TEXT 140

const char **list_terms_events(struct arena *arena, const struct engine_answer *answer)
{
    const char **events = arena_alloc(arena, (answer->history_count + 1) * sizeof *events);
    char(*text)[EVENT_TEXT] = arena_alloc(arena, (answer->history_count + 1) * sizeof *text);
    int own = 0;
    if (events == NULL || text == NULL)
        return NULL;
    for (size_t i = answer->history_count; i-- > 0;) {
        if (answer->history[i].position > 0)
            snprintf(text[i], sizeof *text, "%" PRId64, answer->history[i].position);
        else
            snprintf(text[i], sizeof *text, "+%d", ++own);
        events[i] = text[i];
    }
    return events;
}

static const char *kind_name(enum engine_term_kind kind)
{
    static const char *const names[] = {"sequence", "stream", "cooccurrence", "popularity", "recent",
                                        "novelty",  "boost",  "top",          "stored"};
    return names[kind];
}

/* "text->image"; consecutive terms are mostly of one stream and share it */
static const char *stream_name(struct arena *arena, const struct engine_term *term, const struct engine_term *before,
                               const char *name_before)
{
    if (before != NULL && before->kind == TERM_STREAM && before->pick_modality == term->pick_modality &&
        before->modality == term->modality)
        return name_before;
    char *name = arena_alloc(arena, STREAM_TEXT);
    if (name != NULL)
        snprintf(name, STREAM_TEXT, "%s->%s", term->pick_modality, term->modality);
    return name;
}

static void fill_term(const struct engine_answer *answer, const char *const *events, const struct engine_term *term,
                      const char *stream, Recsys__Term *out)
{
    recsys__term__init(out);
    out->kind = (char *)kind_name(term->kind);
    out->value = list_reply_rounded(term->value);
    if (term->event >= 0) {
        const struct catalog_item *item = answer->history[term->event].item;
        out->event = (char *)events[term->event];
        out->item = item == NULL ? "" : (char *)item->item.name;
    }
    if (term->kind == TERM_STREAM) {
        out->stream = (char *)stream;
        out->_pick_case = RECSYS__TERM___PICK_PICK;
        out->pick = list_reply_rounded(term->pick);
        out->_judge_case = RECSYS__TERM___JUDGE_JUDGE;
        out->judge = list_reply_rounded(term->judge);
    } else {
        out->modality = (char *)term->modality;
    }
    if (term->rule >= 0) {
        out->_rule_case = RECSYS__TERM___RULE_RULE;
        out->rule = term->rule;
    }
}

bool list_terms_fill(struct arena *arena, const struct engine_answer *answer, const char *const *events,
                     const struct engine_item *item, Recsys__RankedItem *out)
{
    Recsys__Term *terms = arena_alloc(arena, (item->term_count + 1) * sizeof *terms);
    const char *stream = NULL;
    out->terms = arena_alloc(arena, (item->term_count + 1) * sizeof *out->terms);
    if (terms == NULL || out->terms == NULL)
        return false;
    for (size_t i = 0; i < item->term_count; i++) {
        const struct engine_term *term = &item->terms[i];
        if (term->kind == TERM_STREAM && (stream = stream_name(arena, term, i > 0 ? term - 1 : NULL, stream)) == NULL)
            return false;
        fill_term(answer, events, term, stream, &terms[i]);
        out->terms[i] = &terms[i];
    }
    out->n_terms = item->term_count;
    return true;
}

bool list_terms_history(struct arena *arena, const struct engine_answer *answer, const char *const *events,
                        Recsys__RankedList *out)
{
    Recsys__HistoryEvent *list = arena_alloc(arena, (answer->history_count + 1) * sizeof *list);
    out->history = arena_alloc(arena, (answer->history_count + 1) * sizeof *out->history);
    if (list == NULL || out->history == NULL)
        return false;
    for (size_t i = 0; i < answer->history_count; i++) {
        const struct engine_attended *from = &answer->history[i];
        recsys__history_event__init(&list[i]);
        list[i].item = from->item == NULL ? "" : (char *)from->item->item.name;
        list[i].title = from->item == NULL ? "" : (char *)from->item->item.title;
        list[i].behaviour = (char *)from->behaviour;
        list[i].ts = from->ts_ms;
        list[i].seq = (char *)events[i];
        if (from->item != NULL &&
            !unpack_categories(arena, from->item->item.categories_json, &list[i].n_categories, &list[i].categories))
            return false;
        out->history[i] = &list[i];
    }
    out->n_history = answer->history_count;
    return true;
}

bool list_terms_funnel(struct arena *arena, const struct engine_answer *answer, Recsys__RankedList *out)
{
    Recsys__Stage *stages = arena_alloc(arena, STAGE_COUNT * sizeof *stages);
    out->funnel = arena_alloc(arena, STAGE_COUNT * sizeof *out->funnel);
    if (stages == NULL || out->funnel == NULL)
        return false;
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        if (!answer->funnel.reached[stage])
            continue;
        Recsys__Stage *to = &stages[out->n_funnel];
        recsys__stage__init(to);
        to->name = (char *)engine_stage_name((enum engine_stage)stage);
        to->count = (int64_t)answer->funnel.count[stage];
        out->funnel[out->n_funnel++] = to;
    }
    return true;
}
