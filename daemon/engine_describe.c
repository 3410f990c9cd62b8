/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_describe.h"

#include "daemon/engine_weights.h"

#include <stdio.h>
#include <string.h>

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

bool engine_describe_items(const struct scoring *scoring, const struct ranking *ranking, struct engine_answer *answer)
{
    const struct architecture *a = &scoring->user.model->architecture;
    size_t stride = PART_STREAMS + (size_t)a->stream_count;
    float *parts;
    answer->items = arena_alloc(&scoring->worker->arena, (ranking->count + 1) * sizeof *answer->items);
    if (answer->items == NULL || !ranking_parts(scoring, ranking->items, ranking->count, &parts))
        return false;
    for (size_t i = 0; i < ranking->count; i++) {
        const struct ranked *from = &ranking->items[i];
        bool promoted = from->promotion >= 0 && (size_t)from->promotion < scoring->rules->promotion_count;
        const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, from->row);
        const float *part = parts + i * stride;
        struct engine_item *item = &answer->items[i];
        *item = (struct engine_item){.item = segment->items[from->row - segment->first],
                                     .score = from->score,
                                     .moved = from->moved,
                                     .propensity = from->propensity,
                                     .label = promoted ? scoring->rules->promotions[from->promotion].label : ""};
        item->source = from->newest ? SOURCE_NEWEST : find_source(scoring, part, item->item->item.item_id);
        if (from->promotion >= 0)
            item->source = promoted ? SOURCE_PROMOTION : SOURCE_EXPLORATION;
        if (scoring->request->task == ENGINE_TOP) {
            add_part(item, "popularity", from->score - (scoring->boost == NULL ? 0 : scoring->boost[from->row]));
        } else {
            if (scoring->user.state != NULL)
                add_part(item, "sequence", part[PART_SEQUENCE]);
            for (int s = 0; s < a->stream_count; s++)
                add_part(item, engine_judged_modality(a, s), part[PART_STREAMS + s]);
            add_part(item, "behaviour", part[PART_COOCCURRENCE]);
            add_part(item, "popularity", part[PART_PRIOR]);
        }
        if (scoring->boost != NULL)
            add_part(item, "boost", scoring->boost[from->row]);
    }
    answer->count = ranking->count;
    return true;
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
        snprintf(answer->shortened, sizeof answer->shortened,
                 "only %zu: of those that qualify the cap of %u of one %.64s in %s lets no more in", ranking->count,
                 cap->most, cap->by, within);
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
        filled += answer->items[i].source >= SOURCE_TRENDING;
    if (filled > 0 && request->task == ENGINE_RECOMMEND)
        snprintf(answer->filled, sizeof answer->filled, "%zu of %zu from trending, popular and new items", filled,
                 answer->count);
    if (ranking->newest_count > 0 && request->task == ENGINE_SIMILAR)
        snprintf(answer->filled, sizeof answer->filled, "%zu of %zu are new items, nothing makes them similar",
                 ranking->newest_count, answer->count);
}
