/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_explain.h"

#include "daemon/engine_rules.h"
#include "daemon/engine_weights.h"
#include "models/explanation.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

/* ---- the history */

static const struct catalog_item *item_of(const struct snapshot_view *view, uint32_t item_id)
{
    uint32_t row = item_id == 0 ? SNAPSHOT_ROW_NONE : snapshot_find(view, item_id);
    if (row == SNAPSHOT_ROW_NONE)
        return NULL;
    const struct snapshot_segment *segment = snapshot_segment_of(view, row);
    return segment->items[row - segment->first];
}

/* events that scores attend to; what is at the top is so for everybody */
static size_t attended_count(const struct scoring *scoring)
{
    return scoring->request->task == ENGINE_TOP ? 0 : scoring->event_count;
}

bool engine_explain_history(const struct scoring *scoring, struct engine_answer *answer)
{
    const struct engine_worker *worker = scoring->worker;
    size_t count = attended_count(scoring), have = worker->history.count;
    if (scoring->request->explain == EXPLAIN_NONE)
        return true;
    answer->history = arena_alloc(&scoring->worker->arena, (count + 1) * sizeof *answer->history);
    answer->history_count = count;
    for (size_t i = 0; answer->history != NULL && i < count; i++) {
        const struct recommender_event *event = &scoring->events[count - 1 - i];
        struct engine_attended *out = &answer->history[i];
        *out = (struct engine_attended){
            .item = item_of(scoring->view, event->item_id), .behaviour = "", .ts_ms = event->ts_ms};
        if (scoring->user.unordered || have < count) /* examples are no events of the log */
            continue;
        const struct store_event *logged = &worker->history.events[have - 1 - i];
        out->behaviour = worker->engine->behaviours[logged->behaviour].name;
        out->position = logged->position;
    }
    return answer->history != NULL;
}

/* ---- terms */

struct terms {
    struct engine_term *list;
    size_t count;
    uint32_t *told; /* scratch: an index per event */
};

static void add(struct terms *terms, struct engine_term term)
{
    if (term.value != 0)
        terms->list[terms->count++] = term;
}

static struct engine_term plain(enum engine_term_kind kind, float value)
{
    return (struct engine_term){
        .kind = kind, .value = value, .event = -1, .pick_modality = "", .modality = "", .rule = -1};
}

static void add_sequence(struct terms *terms, const struct architecture *a, const struct explanation *e)
{
    for (int v = 0; v <= ARCHITECTURE_VIEWS_MAX; v++) {
        struct engine_term term = plain(TERM_SEQUENCE, e->sequence[v]);
        term.modality = v < a->view_count ? a->views[v].modality : "id";
        add(terms, term);
    }
}

/* Of `count` values, oldest first, those that are to be told, newest first: all that are not 0, or for a reason, which names no more than two terms, the two largest
 * above 0. Returns how many. */
static size_t choose_told(const struct scoring *scoring, const float *value, size_t count, uint32_t *told)
{
    size_t chosen = 0;
    if (scoring->request->explain == EXPLAIN_FULL) {
        for (size_t l = count; l-- > 0;)
            if (value[l] != 0)
                told[chosen++] = (uint32_t)l;
        return chosen;
    }
    for (size_t l = count; l-- > 0;) {
        if (value[l] <= 0 || (chosen == 2 && value[l] <= value[told[1]]))
            continue;
        size_t at = chosen < 2 ? chosen++ : 1;
        if (at == 1 && value[l] > value[told[0]]) {
            told[1] = told[0];
            at = 0;
        }
        told[at] = (uint32_t)l;
    }
    return chosen;
}

static void add_streams(struct terms *terms, const struct scoring *scoring, const struct explanation *e)
{
    const struct architecture *a = &scoring->user.model->architecture;
    size_t L = scoring->user.length;
    for (int i = 0; i < a->stream_count; i++) {
        const float *pick = e->pick + (size_t)i * L, *value = e->value + (size_t)i * L;
        size_t count = choose_told(scoring, value, L, terms->told);
        struct engine_term term = plain(TERM_STREAM, 0);
        term.pick_modality = a->views[a->similarities[a->streams[i].pick].candidate_view].modality;
        term.modality = engine_judged_modality(a, i);
        for (size_t k = 0; k < count; k++) {
            size_t l = terms->told[k];
            term.event = (int)(L - 1 - l);
            term.value = value[l];
            term.pick = pick[l];
            float share = pick[l] * e->weight[i]; /* so small that it is none, where a value is hardly any */
            term.judge = fabsf(share) >= FLT_MIN ? value[l] / share : 0;
            add(terms, term);
        }
    }
}

static void add_cooccurrence(struct terms *terms, const struct scoring *scoring, size_t events,
                             const struct explanation *e)
{
    size_t count = choose_told(scoring, e->cooccurrence, events, terms->told);
    for (size_t k = 0; k < count; k++) {
        struct engine_term term = plain(TERM_COOCCURRENCE, e->cooccurrence[terms->told[k]]);
        term.event = (int)(events - 1 - terms->told[k]);
        add(terms, term);
    }
}

static void add_boosts(struct terms *terms, const struct rules *rules, uint32_t applied)
{
    for (size_t b = 0; rules != NULL && b < rules->boost_count; b++) {
        struct engine_term term = plain(TERM_BOOST, applied >> b & 1 ? rules->boosts[b].add : 0);
        term.rule = (int)b;
        add(terms, term);
    }
}

static float boost_of(const struct rules *rules, uint32_t applied)
{
    float boost = 0;
    for (size_t b = 0; rules != NULL && b < rules->boost_count; b++)
        boost += applied >> b & 1 ? rules->boosts[b].add : 0;
    return boost;
}

static bool fill(const struct scoring *scoring, const struct explanation *e, uint32_t applied, struct engine_item *item)
{
    const struct architecture *a = &scoring->user.model->architecture;
    size_t events = attended_count(scoring);
    size_t most = ARCHITECTURE_VIEWS_MAX + 1 + (size_t)a->stream_count * scoring->user.length + events + 4;
    most += scoring->rules == NULL ? 0 : scoring->rules->boost_count;
    struct terms terms = {.list = arena_alloc(&scoring->worker->arena, most * sizeof *terms.list),
                          .told = arena_alloc(&scoring->worker->arena, most * sizeof *terms.told)};
    if (terms.list == NULL || terms.told == NULL)
        return false;
    if (item->source == SOURCE_STORED) {
        add(&terms, plain(TERM_STORED, item->score));
    } else if (scoring->request->task == ENGINE_TOP) {
        add(&terms, plain(TERM_TOP, item->score - boost_of(scoring->rules, applied)));
    } else {
        add_sequence(&terms, a, e);
        add_streams(&terms, scoring, e);
        add_cooccurrence(&terms, scoring, events, e);
        add(&terms, plain(TERM_POPULARITY, e->popularity));
        add(&terms, plain(TERM_RECENT, e->recent));
        add(&terms, plain(TERM_NOVELTY, e->novelty));
    }
    if (item->source != SOURCE_STORED)
        add_boosts(&terms, scoring->rules, applied);
    item->terms = terms.list;
    item->term_count = terms.count;
    return true;
}

bool engine_explain_items(const struct scoring *scoring, const struct ranked *ranked, size_t count,
                          const struct explanation *explained, struct engine_item *items, struct status *st)
{
    uint32_t *applied = NULL;
    if (scoring->request->explain == EXPLAIN_NONE || count == 0)
        return true;
    if (!engine_rules_boosts_of(scoring, ranked, count, &applied, st))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!fill(scoring, explained == NULL ? NULL : &explained[i], applied[i], &items[i]))
            return out_of_memory(st);
    return true;
}
