/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_history.h"

#include "daemon/engine_weights.h"
#include "models/default_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURRENT_AS "view" /* what a current item counts as, where the shop has such a behaviour */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

/* ---- the log and what came with the request */

static bool find_behaviour(const struct engine *engine, const char *name, uint8_t *number)
{
    for (size_t b = 1; b < 256; b++)
        if (engine->behaviours[b].configured && strcmp(engine->behaviours[b].name, name) == 0) {
            *number = (uint8_t)b;
            return true;
        }
    return false;
}

/* behind those that are not later */
static void insert_event(struct history *history, const struct store_event *event)
{
    size_t at = history->count++;
    for (; at > 0 && history->events[at - 1].ts_ms > event->ts_ms; at--)
        history->events[at] = history->events[at - 1];
    history->events[at] = *event;
}

static bool reserve_events(struct history *history, size_t more, struct status *st)
{
    size_t capacity = history->count + more;
    if (capacity <= history->capacity)
        return true;
    struct store_event *events = reallocarray(history->events, capacity, sizeof *events);
    if (events == NULL)
        return out_of_memory(st);
    history->events = events;
    history->capacity = capacity;
    return true;
}

bool engine_history_extend(struct engine_worker *worker, const struct engine_request *request,
                           struct engine_answer *answer, struct status *st)
{
    size_t total = request->event_count + request->current_count;
    const char **names = arena_alloc(&worker->arena, (total + 1) * sizeof *names);
    uint32_t *item_ids = arena_alloc(&worker->arena, (total + 1) * sizeof *item_ids);
    uint8_t viewed = 0;
    if (total == 0)
        return true;
    if (names == NULL || item_ids == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < total; i++)
        names[i] = i < request->event_count ? request->events[i].item : request->current[i - request->event_count];
    catalog_find(answer->view.snapshot->catalog, names, total, item_ids);
    find_behaviour(worker->engine, CURRENT_AS, &viewed);
    if (!reserve_events(&worker->history, total, st))
        return false;
    for (size_t i = 0; i < total; i++) {
        struct store_event event = {.item_id = item_ids[i], .ts_ms = request->now_ms, .behaviour = viewed};
        if (i < request->event_count) {
            event.ts_ms = request->events[i].ts_ms;
            if (!find_behaviour(worker->engine, request->events[i].behaviour, &event.behaviour))
                return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "events",
                                         "behaviour '%s' is not configured", request->events[i].behaviour);
        }
        if (item_ids[i] == 0)
            answer->unknown[answer->unknown_count++] = names[i];
        else
            insert_event(&worker->history, &event);
    }
    return true;
}

bool engine_history_is_without(const struct engine_request *request, int64_t position)
{
    size_t first = 0, count = request->without_count;
    while (count > 0) {
        size_t half = count / 2;
        bool after = request->without[first + half] < position;
        first += after ? half + 1 : 0;
        count = after ? count - half - 1 : half;
    }
    return first < request->without_count && request->without[first] == position;
}

void engine_history_drop(struct engine_worker *worker, const struct engine_request *request)
{
    struct history *history = &worker->history;
    size_t kept = 0;
    for (size_t i = 0; request->without_count > 0 && i < history->count; i++)
        if (!engine_history_is_without(request, history->events[i].position))
            history->events[kept++] = history->events[i];
    if (request->without_count > 0)
        history->count = kept;
}

/* ---- as the model sees it */

static void locate(const struct snapshot_view *view, struct recommender_event *event)
{
    uint32_t row = snapshot_find(view, event->item_id);
    if (row == SNAPSHOT_ROW_NONE)
        return;
    const struct snapshot_segment *segment = snapshot_segment_of(view, row);
    event->rows = &segment->rows;
    event->row = row - segment->first;
}

/* Other weights do what they would do if they were configured: a trained model keeps its own values, a default model is
 * fitted again with them, and differs in nothing else from one that has none. */
static int behaviour_of(const struct engine_worker *worker, const struct model *model, const char *name)
{
    bool fitted_again = worker->behaviour_weight != NULL && strcmp(model->name, DEFAULT_MODEL_NAME) == 0;
    return fitted_again ? -1 : architecture_behaviour(&model->architecture, name);
}

struct recommender_event *engine_history_events(struct engine_worker *worker, const struct snapshot_view *view,
                                                size_t most, size_t *count)
{
    const struct model *model = view->snapshot->model;
    size_t have = worker->history.count;
    most = most < (size_t)model->architecture.history ? most : (size_t)model->architecture.history;
    const struct store_event *from = worker->history.events + (have > most ? have - most : 0);
    *count = have > most ? most : have;
    struct recommender_event *events = arena_alloc(&worker->arena, (*count + 1) * sizeof *events);
    for (size_t i = 0; events != NULL && i < *count; i++) {
        const struct engine_behaviour *behaviour = &worker->engine->behaviours[from[i].behaviour];
        const float *weights = worker->behaviour_weight;
        events[i] =
            (struct recommender_event){.item_id = from[i].item_id,
                                       .ts_ms = from[i].ts_ms,
                                       .behaviour = behaviour_of(worker, model, behaviour->name),
                                       .weight = weights != NULL ? weights[from[i].behaviour] : behaviour->weight};
        locate(view, &events[i]);
    }
    return events;
}

/* ---- examples */

static bool is_named(const struct engine_example *example, const char *modality)
{
    for (size_t m = 0; m < example->modality_count; m++)
        if (strcmp(example->modalities[m], modality) == 0)
            return true;
    return false;
}

/* in a row of its own the views of other modalities are missing */
static void clear_others(const struct architecture *a, const struct engine_example *example, struct encoder_rows *rows,
                         size_t row)
{
    for (int v = 0; v < a->view_count; v++) {
        size_t components = (size_t)a->views[v].components;
        if (is_named(example, a->views[v].modality))
            continue;
        memset(rows->view[v] + row * components, 0, components * sizeof(float));
        for (int role = 0; role < ROLE_COUNT; role++)
            memset(rows->role[v][role] + row * components, 0, components * sizeof(float));
    }
}

static bool check_vector(const struct engine_example *example, struct status *st)
{
    double norm = 0;
    for (size_t i = 0; i < example->dimension; i++)
        norm += (double)example->values[i] * (double)example->values[i];
    return (isfinite(norm) && norm > 0) || status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VECTOR", example->field,
                                                             "a vector of an example is zero or not finite");
}

/* encode a raw vector; true with `*found` false where the model reads no such vectors */
static bool encode_vector(const struct model *model, const struct engine_example *example, struct encoder_rows *rows,
                          size_t row, struct arena *arena, bool *found, struct status *st)
{
    const struct architecture *a = &model->architecture;
    struct encoder_item item = {.name = ""};
    *found = false;
    for (int v = 0; v < a->view_count; v++) {
        const struct view *view = &a->views[v];
        if (strcmp(view->modality, example->modalities[0]) != 0 ||
            (example->encoder[0] != '\0' && strcmp(view->encoder, example->encoder) != 0))
            continue;
        if ((size_t)view->dimension != example->dimension)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VECTOR", example->field,
                                     "a vector of '%s' has %zu values, the model reads %d", view->modality,
                                     example->dimension, view->dimension);
        item.vector[v] = example->values;
        *found = true;
    }
    return !*found || encoder_encode(model, &item, 1, rows, row, arena) || out_of_memory(st);
}

struct example_rows {
    struct encoder_rows *rows;
    size_t used;
};

/* one example as an event; `*listed` false where it says nothing */
static bool make_example(struct engine_worker *worker, const struct snapshot_view *view,
                         const struct engine_example *example, uint32_t item_id, struct example_rows *own,
                         struct recommender_event *event, bool *listed, struct status *st)
{
    const struct model *model = view->snapshot->model;
    for (size_t m = 0; m < example->modality_count; m++)
        if (!engine_is_modality(view->snapshot->catalog, example->modalities[m]))
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", example->field,
                                     "'%s' is no modality of this shop", example->modalities[m]);
    *event = (struct recommender_event){.item_id = item_id, .behaviour = -1, .weight = example->weight};
    if (example->dimension > 0) {
        if (!check_vector(example, st) ||
            !encode_vector(model, example, own->rows, own->used, &worker->arena, listed, st))
            return false;
    } else {
        *listed = item_id != 0;
        locate(view, event);
        if (!*listed || example->modality_count == 0)
            return true;
        if (event->rows != NULL)
            encoder_copy(&model->architecture, own->rows, own->used, event->rows, event->row);
        *listed = event->rows != NULL;
    }
    if (!*listed)
        return true;
    clear_others(&model->architecture, example, own->rows, own->used);
    event->item_id = 0; /* what followed the item is no matter of one modality */
    event->rows = own->rows;
    event->row = own->used++;
    return true;
}

struct recommender_event *engine_history_examples(struct engine_worker *worker, const struct snapshot_view *view,
                                                  const struct engine_request *request, const uint32_t *item_ids,
                                                  struct engine_answer *answer, size_t *count, struct status *st)
{
    struct arena *arena = &worker->arena;
    size_t given = request->item_count, total = given + request->example_count;
    struct recommender_event *events = arena_alloc(arena, (total + 1) * sizeof *events);
    struct example_rows own = {.rows = arena_alloc(arena, sizeof *own.rows)};
    *count = 0;
    if (events == NULL || own.rows == NULL ||
        !encoder_rows_borrow(own.rows, &view->snapshot->model->architecture, request->example_count, arena)) {
        out_of_memory(st);
        return NULL;
    }
    for (size_t i = 0; i < given; i++) {
        if (item_ids[i] == 0)
            continue;
        events[*count] = (struct recommender_event){.item_id = item_ids[i], .behaviour = -1, .weight = 1};
        locate(view, &events[(*count)++]);
    }
    for (size_t i = 0; i < request->example_count; i++) {
        const struct engine_example *example = &request->examples[i];
        uint32_t item_id = 0;
        bool listed = false;
        if (example->item[0] != '\0')
            catalog_find(view->snapshot->catalog, &example->item, 1, &item_id);
        if (example->item[0] != '\0' && item_id == 0)
            answer->unknown[answer->unknown_count++] = example->item;
        if (!make_example(worker, view, example, item_id, &own, &events[*count], &listed, st))
            return NULL;
        *count += listed;
    }
    return events;
}
