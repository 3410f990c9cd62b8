/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_describe.h"

#include "daemon/engine_candidates.h"
#include "daemon/engine_explain.h"
#include "daemon/engine_weights.h"
#include "models/explanation.h"

#include <stdio.h>
#include <string.h>

#define BY_BYTES ((size_t)64) /* of an attribute's name in a sentence */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

static void add_part(struct engine_item *item, const char *key, float value)
{
    for (size_t i = 0; i < item->part_count; i++)
        if (strcmp(item->parts[i].key, key) == 0) {
            item->parts[i].value += value;
            return;
        }
    if (item->part_count < ENGINE_PARTS_MAX)
        item->parts[item->part_count++] = (struct engine_part){key, value};
}

static enum engine_source find_source(const struct scoring *scoring, const float *part, uint32_t item_id)
{
    const struct architecture *a = &scoring->user.model->architecture;
    float attention = part[PART_SEQUENCE], neighbour = part[PART_COOCCURRENCE], prior = part[PART_PRIOR];
    for (int i = 0; i < a->stream_count; i++)
        attention += part[PART_STREAMS + i];
    if (scoring->request->task == ENGINE_TOP)
        return scoring->request->top == ENGINE_POPULAR    ? SOURCE_POPULAR
               : scoring->request->top == ENGINE_TRENDING ? SOURCE_TRENDING
                                                          : SOURCE_NEWEST;
    if (attention > 0 && attention >= neighbour && attention >= prior)
        return scoring->user.unordered ? SOURCE_CONTENT : SOURCE_ATTENTION;
    if (neighbour > 0 && neighbour >= prior)
        return SOURCE_NEIGHBOUR;
    if (counts_recent(scoring->context.counts, item_id, scoring->context.now_ms) >= 0.5f)
        return SOURCE_TRENDING;
    if (counts_popularity(scoring->context.counts, item_id) > 0)
        return SOURCE_POPULAR;
    return SOURCE_NEWEST;
}

static void add_parts(const struct scoring *scoring, const float *part, uint32_t row, struct engine_item *item)
{
    const struct architecture *a = &scoring->user.model->architecture;
    if (scoring->request->task == ENGINE_TOP) {
        add_part(item, "popularity", item->score - engine_boost_of(scoring, row));
    } else {
        if (scoring->user.state != NULL)
            add_part(item, "sequence", part[PART_SEQUENCE]);
        for (int s = 0; s < a->stream_count; s++)
            add_part(item, engine_judged_modality(a, s), part[PART_STREAMS + s]);
        add_part(item, "behaviour", part[PART_COOCCURRENCE]);
        add_part(item, "popularity", part[PART_PRIOR]);
    }
    if (scoring->boost != NULL)
        add_part(item, "boost", scoring->boost[row]);
}

static float sum_of(const struct scoring *scoring, const float *part)
{
    float sum = 0;
    for (int i = 0; i < PART_STREAMS + scoring->user.model->architecture.stream_count; i++)
        sum += scoring->request->task == ENGINE_TOP ? 0 : part[i];
    return sum;
}

static void describe(const struct scoring *scoring, const struct ranked *from, const float *part,
                     struct engine_item *item)
{
    bool promoted = from->promotion >= 0 && (size_t)from->promotion < scoring->rules->promotion_count;
    const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, from->row);
    *item = (struct engine_item){.item = segment->items[from->row - segment->first],
                                 .score = from->score,
                                 .moved = from->moved,
                                 .propensity = from->propensity,
                                 .label = promoted ? scoring->rules->promotions[from->promotion].label : ""};
    if (from->stored) { /* what the score was made of is not known any more */
        item->source = SOURCE_STORED;
        add_part(item, "stored", from->score);
        return;
    }
    if (from->newest) /* nobody scored it on the way: a promotion, chance, or nothing better brought it here */
        item->score = engine_boost_of(scoring, from->row) + sum_of(scoring, part);
    item->source = from->newest ? SOURCE_NEWEST : find_source(scoring, part, item->item->item.item_id);
    if (from->promotion >= 0)
        item->source = promoted ? SOURCE_PROMOTION : SOURCE_EXPLORATION;
    add_parts(scoring, part, from->row, item);
}

/* the parts of a score that was taken apart */
static void sum_up(const struct scoring *scoring, const struct explanation *e, float *part)
{
    size_t L = scoring->user.length;
    part[PART_SEQUENCE] = part[PART_COOCCURRENCE] = 0;
    for (int v = 0; v <= ARCHITECTURE_VIEWS_MAX; v++)
        part[PART_SEQUENCE] += e->sequence[v];
    for (size_t i = 0; i < scoring->event_count; i++)
        part[PART_COOCCURRENCE] += e->cooccurrence[i];
    part[PART_PRIOR] = e->popularity + e->recent + e->novelty;
    for (int s = 0; s < scoring->user.model->architecture.stream_count; s++) {
        part[PART_STREAMS + s] = 0;
        for (size_t l = 0; l < L; l++)
            part[PART_STREAMS + s] += e->value[(size_t)s * L + l];
    }
}

/* the rows' parts, and in `*explained` what they are made of, where that is asked for and there is any */
static bool find_parts(const struct scoring *scoring, const struct ranked *ranked, size_t count, float **parts,
                       struct explanation **explained)
{
    size_t stride = PART_STREAMS + (size_t)scoring->user.model->architecture.stream_count;
    *explained = NULL;
    if (scoring->request->explain == EXPLAIN_NONE || scoring->request->task == ENGINE_TOP)
        return ranking_parts(scoring, ranked, count, parts);
    *parts = arena_floats(&scoring->worker->arena, count * stride + 1);
    if (*parts == NULL || !ranking_explain(scoring, ranked, count, explained))
        return false;
    for (size_t i = 0; i < count; i++)
        sum_up(scoring, &(*explained)[i], *parts + i * stride);
    return true;
}

static bool describe_rows(const struct scoring *scoring, const struct ranked *ranked, size_t count,
                          struct engine_item *items, struct status *st)
{
    size_t stride = PART_STREAMS + (size_t)scoring->user.model->architecture.stream_count;
    struct explanation *explained;
    float *parts;
    if (!find_parts(scoring, ranked, count, &parts, &explained))
        return out_of_memory(st);
    for (size_t i = 0; i < count; i++)
        describe(scoring, &ranked[i], parts + i * stride, &items[i]);
    return engine_explain_items(scoring, ranked, count, explained, items, st);
}

/* the score of a row that was not scored on the way */
static bool score_traced(const struct scoring *scoring, struct ranked *traced)
{
    struct explanation *explained;
    float *part;
    if (!find_parts(scoring, traced, 1, &part, &explained))
        return false;
    traced->score = engine_boost_of(scoring, traced->row) + sum_of(scoring, part);
    return true;
}

/* the item that is asked about, as if it were on the list; what has no score stays empty */
static bool describe_traced(const struct scoring *scoring, const struct ranking *ranking, struct engine_answer *answer,
                            struct status *st)
{
    struct engine_trace *trace = &answer->trace;
    struct ranked traced = {.row = trace->row, .promotion = -1, .score = ranking->traced_score};
    if (trace->row == SNAPSHOT_ROW_NONE)
        return true;
    if (trace->place > 0) {
        trace->scored = true;
        trace->item = answer->items[trace->place - 1];
        return true;
    }
    if (scoring->request->task == ENGINE_TOP && ranking->traced_place == 0)
        return true;
    if (ranking->traced_place == 0 && !score_traced(scoring, &traced))
        return out_of_memory(st);
    trace->scored = true;
    return describe_rows(scoring, &traced, 1, &trace->item, st);
}

bool engine_describe_items(const struct scoring *scoring, const struct ranking *ranking, struct engine_answer *answer,
                           struct status *st)
{
    answer->items = arena_alloc(&scoring->worker->arena, (ranking->count + 1) * sizeof *answer->items);
    answer->count = ranking->count;
    if (answer->items == NULL || !engine_explain_history(scoring, answer))
        return out_of_memory(st);
    return describe_rows(scoring, ranking->items, ranking->count, answer->items, st) &&
           describe_traced(scoring, ranking, answer, st);
}

/* why there are fewer than asked for, in words */
static void note_shortened(const struct engine_request *request, const struct scoring *scoring,
                           const struct ranking *ranking, struct engine_answer *answer)
{
    const struct rules *rules = scoring->rules;
    const char *seen = request->exclude_seen ? ", seen" : "", *filtered = "", *also = "";
    if (rules != NULL &&
        (rules->filter.must_count > 0 || rules->filter.must_not_count > 0 || rules->filter.should_count > 0))
        filtered = ", not let through by the filter";
    if (rules != NULL && rules->price_ceiling > 0)
        also = ", above the price ceiling";
    if (ranking->broken_cap >= 0) {
        const struct rule_cap *cap = &rules->caps[ranking->broken_cap];
        char within[48] = "a list";
        if (cap->window > 0)
            snprintf(within, sizeof within, "any %u places", cap->window);
        size_t by = strnlen(cap->by, BY_BYTES);
        while (by == BY_BYTES && by > 0 && ((unsigned char)cap->by[by] & 0xc0) == 0x80) /* not within a character */
            by--;
        snprintf(answer->shortened, sizeof answer->shortened,
                 "only %zu: of those that qualify the cap of %u of one %.*s in %s lets no more in", ranking->count,
                 cap->most, (int)by, cap->by, within);
    } else if (request->task == ENGINE_RANK) {
        snprintf(
            answer->shortened, sizeof answer->shortened,
            "only %zu of the %zu candidates qualify: the others are unknown, repeated, not shown or excluded%s%s%s",
            ranking->count, request->item_count, seen, filtered, also);
    } else {
        snprintf(answer->shortened, sizeof answer->shortened,
                 "only %zu of the %zu items that are shown qualify: the others are excluded%s%s%s", ranking->count,
                 scoring->view->alive_count, seen, filtered, also);
    }
}

void engine_describe_shortage(const struct scoring *scoring, const struct ranking *ranking, size_t n,
                              struct engine_answer *answer)
{
    const struct engine_request *request = scoring->request;
    if (ranking->count < n)
        note_shortened(request, scoring, ranking, answer);
    size_t filled = 0;
    for (size_t i = 0; i < answer->count; i++)
        filled += answer->items[i].source >= SOURCE_TRENDING && answer->items[i].source != SOURCE_STORED;
    if (filled > 0 && request->task == ENGINE_RECOMMEND)
        snprintf(answer->filled, sizeof answer->filled, "%zu of %zu from trending, popular and new items", filled,
                 answer->count);
    if (ranking->newest_count > 0 && request->task == ENGINE_SIMILAR)
        snprintf(answer->filled, sizeof answer->filled, "%zu of %zu are new items, nothing makes them similar",
                 ranking->newest_count, answer->count);
}
