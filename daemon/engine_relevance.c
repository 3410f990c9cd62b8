/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_relevance.h"

#include "models/matrix.h"

#include <math.h>
#include <string.h>

#define SHOWN_MOST 1000 /* impressions of a user that are looked at, the newest */

/* ---- how far from what the user met */

/* `cosine` (considered, count) grows by one view's share */
static bool add_cosines(struct gathering *g, int view, const struct recommender_event *const *met, size_t count,
                        float *cosine)
{
    size_t components = (size_t)g->scoring->user.model->architecture.views[view].components;
    float *own = arena_floats(g->arena, g->considered * components + 1);
    float *theirs = arena_floats(g->arena, count * components + 1);
    if (own == NULL || theirs == NULL)
        return false;
    for (size_t i = 0; i < g->considered; i++)
        memcpy(own + i * components, gathering_feature(g, view, i), components * sizeof *own);
    for (size_t l = 0; l < count; l++)
        memcpy(theirs + l * components, met[l]->rows->view[view] + met[l]->row * components,
               components * sizeof *theirs);
    matrix_product(cosine, count, (struct matrix_slice){own, components, false},
                   (struct matrix_slice){theirs, components, true}, g->considered, count, components, 1, true);
    return true;
}

/* far (considered): 1 - the greatest mean cosine with what the user met and did not dislike */
static bool find_far(struct gathering *g, float *far)
{
    const struct scoring *scoring = g->scoring;
    const struct architecture *a = &scoring->user.model->architecture;
    const struct recommender_event **met = arena_alloc(g->arena, (scoring->event_count + 1) * sizeof *met);
    float *cosine = arena_floats(g->arena, g->considered * scoring->event_count + 1);
    size_t count = 0, views = 0;
    if (met == NULL || cosine == NULL)
        return false;
    for (size_t i = 0; i < scoring->event_count; i++)
        if (scoring->events[i].rows != NULL && recommender_value(scoring->user.model, &scoring->events[i]) > 0)
            met[count++] = &scoring->events[i];
    memset(cosine, 0, (g->considered * count + 1) * sizeof *cosine);
    for (int v = 0; v < a->view_count; v++) {
        views += engine_rerank_is_content(&a->views[v]);
        if (engine_rerank_is_content(&a->views[v]) && count > 0 && !add_cosines(g, v, met, count, cosine))
            return false;
    }
    for (size_t i = 0; i < g->considered; i++) {
        float greatest = 0;
        for (size_t l = 0; l < count; l++)
            greatest = fmaxf(greatest, cosine[i * count + l]);
        far[i] = views > 0 ? 1 - fminf(greatest / (float)views, 1) : 1;
    }
    return true;
}

/* ---- what the user does not know */

static float known_to(const struct gathering *g, size_t i)
{
    const struct snapshot_segment *segment = snapshot_segment_of(g->scoring->view, g->items[i].row);
    uint32_t item_id = segment->item_ids[g->items[i].row - segment->first];
    return log1pf((float)counts_popularity(g->scoring->context.counts, item_id));
}

/* towards what few know: log(1 + events) against the pool's greatest */
static bool favour_new(struct gathering *g, float novelty, float *relevance)
{
    float *known = arena_floats(g->arena, g->considered + 1), greatest = 0;
    if (known == NULL)
        return false;
    for (size_t i = 0; i < g->considered; i++) {
        known[i] = known_to(g, i);
        greatest = fmaxf(greatest, known[i]);
    }
    for (size_t i = 0; i < g->considered; i++)
        relevance[i] = (1 - novelty) * relevance[i] + novelty * (1 - (greatest > 0 ? known[i] / greatest : 0));
    return true;
}

static bool favour_far(struct gathering *g, float serendipity, float *relevance)
{
    float *far = arena_floats(g->arena, g->considered + 1);
    if (far == NULL || !find_far(g, far))
        return false;
    for (size_t i = 0; i < g->considered; i++)
        relevance[i] *= 1 - serendipity + serendipity * far[i];
    return true;
}

/* ---- what was shown lately */

struct shown {
    uint32_t item_id;
    float freshness; /* 1: now, 0: so long ago that it does not matter */
};

struct shown_list {
    struct shown *list;
    size_t count;
    int64_t now_ms, within_ms;
};

/* the newest first, so that the first of an item is the one that counts */
static void note_shown(void *context, uint32_t item_id, int64_t at_ms)
{
    struct shown_list *shown = context;
    float age = (float)(shown->now_ms - at_ms) / (float)shown->within_ms;
    if (at_ms <= shown->now_ms)
        shown->list[shown->count++] = (struct shown){item_id, fmaxf(1 - age, 0)};
}

static bool rotate(struct gathering *g, float *relevance, struct status *st)
{
    const struct scoring *scoring = g->scoring;
    const struct rules *rules = scoring->rules;
    struct engine_worker *worker = scoring->worker;
    struct shown_list shown = {.list = arena_alloc(g->arena, SHOWN_MOST * sizeof *shown.list),
                               .now_ms = scoring->request->now_ms,
                               .within_ms = rules->rotation_ms};
    if (shown.list == NULL)
        return engine_rerank_no_memory(st);
    if (worker->history.user_id == 0)
        return true;
    if (!store_impression_recent(worker->reader, worker->history.user_id, shown.now_ms - shown.within_ms, shown.now_ms,
                                 SHOWN_MOST, note_shown, &shown, st))
        return false;
    for (size_t i = 0; i < g->considered && shown.count > 0; i++) {
        const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, g->items[i].row);
        uint32_t item_id = segment->item_ids[g->items[i].row - segment->first];
        for (size_t k = 0; k < shown.count; k++)
            if (shown.list[k].item_id == item_id) {
                relevance[i] *= 1 - rules->rotation * shown.list[k].freshness;
                break;
            }
    }
    return true;
}

/* ---- the whole */

bool engine_relevance_set(struct gathering *g, struct status *st)
{
    const struct rules *rules = g->scoring->rules;
    float *relevance = arena_floats(g->arena, g->count + 1);
    if (relevance == NULL)
        return engine_rerank_no_memory(st);
    float best = g->count > 0 ? g->items[0].score : 0, worst = best;
    for (size_t i = 0; i < g->considered; i++)
        worst = fminf(worst, g->items[i].score);
    for (size_t i = 0; i < g->count; i++)
        relevance[i] = best > worst ? fmaxf((g->items[i].score - worst) / (best - worst), 0) : 1;
    g->pool.relevance = relevance;
    if ((rules->novelty > 0 && !favour_new(g, rules->novelty, relevance)) ||
        (rules->serendipity > 0 && !favour_far(g, rules->serendipity, relevance)))
        return engine_rerank_no_memory(st);
    return rules->rotation <= 0 || rotate(g, relevance, st);
}
