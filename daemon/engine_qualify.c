/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_qualify.h"

#include "daemon/engine_funnel.h"
#include "daemon/engine_history.h"

#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

static void clear_row(struct snapshot_view *view, uint32_t row)
{
    if (row != SNAPSHOT_ROW_NONE)
        view->alive[row / 64] &= ~((uint64_t)1 << (row % 64));
}

static void note_unknown(struct engine_answer *answer, const char *name)
{
    answer->unknown[answer->unknown_count++] = name;
}

/* rows of the named items; unknown ones are noted and get SNAPSHOT_ROW_NONE */
static bool find_rows(struct engine_worker *worker, struct engine_answer *answer, const char *const *names,
                      size_t count, uint32_t **rows, uint32_t **item_ids)
{
    *rows = arena_alloc(&worker->arena, (count + 1) * sizeof **rows);
    *item_ids = arena_alloc(&worker->arena, (count + 1) * sizeof **item_ids);
    if (*rows == NULL || *item_ids == NULL)
        return false;
    catalog_find(answer->view.snapshot->catalog, names, count, *item_ids);
    for (size_t i = 0; i < count; i++) {
        (*rows)[i] = (*item_ids)[i] == 0 ? SNAPSHOT_ROW_NONE : snapshot_find(&answer->view, (*item_ids)[i]);
        if ((*rows)[i] == SNAPSHOT_ROW_NONE)
            note_unknown(answer, names[i]);
    }
    return true;
}

/* only these rows may be listed, as far as they may be shown at all */
static bool keep_only(struct engine_worker *worker, struct engine_answer *answer, const uint32_t *rows, size_t count)
{
    size_t words = answer->view.row_count / 64 + 1;
    uint64_t *kept = arena_alloc(&worker->arena, words * sizeof *kept);
    if (kept == NULL)
        return false;
    memset(kept, 0, words * sizeof *kept);
    for (size_t i = 0; i < count; i++)
        if (rows[i] != SNAPSHOT_ROW_NONE)
            kept[rows[i] / 64] |= (uint64_t)1 << (rows[i] % 64);
    for (size_t i = 0; i < words; i++)
        answer->view.alive[i] &= kept[i];
    return true;
}

struct seen {
    const struct engine_request *request;
    struct snapshot_view *view;
    bool counts[256]; /* behaviours */
};

static bool hide_seen(void *context, const struct store_event *event)
{
    struct seen *seen = context;
    int64_t age_ms = seen->request->now_ms - event->ts_ms; /* times are of four-digit years, `within` may be anything */
    bool recent = seen->request->seen_within_ms == 0 || age_ms < seen->request->seen_within_ms;
    if (recent && seen->counts[event->behaviour] && !engine_history_is_without(seen->request, event->position))
        clear_row(seen->view, snapshot_find(seen->view, event->item_id));
    return true;
}

static bool read_seen_rule(const struct engine_worker *worker, const struct engine_request *request, struct seen *seen,
                           struct status *st)
{
    memset(seen->counts, request->seen_behaviour_count == 0, sizeof seen->counts);
    for (size_t i = 0; i < request->seen_behaviour_count; i++) {
        bool known = false;
        for (size_t b = 1; b < 256; b++)
            if (request->seen_behaviours[i][0] != 0 &&
                strcmp(worker->engine->behaviours[b].name, request->seen_behaviours[i]) == 0)
                known = seen->counts[b] = true;
        if (!known)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "seen.behaviours",
                                     "behaviour '%s' is not configured", request->seen_behaviours[i]);
    }
    return true;
}

/* whatever the length of the history: what memory does not hold is looked up */
static bool exclude_seen(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, int64_t at_position, struct status *st)
{
    struct seen seen = {.request = request, .view = &answer->view};
    if (!read_seen_rule(worker, request, &seen, st))
        return false;
    if (worker->history.user_id != 0 && !worker->history.complete &&
        !store_event_scan(worker->reader, worker->history.user_id, at_position, hide_seen, &seen, st))
        return false;
    for (size_t i = 0; i < worker->history.count; i++)
        hide_seen(&seen, &worker->history.events[i]);
    return true;
}

/* ---- the request as a whole */

bool engine_qualify_find(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, struct engine_named_rows *rows)
{
    uint32_t *ids;
    size_t most = request->item_count + request->exclude_count + 2 * request->current_count + request->event_count +
                  request->example_count;
    answer->unknown = arena_alloc(&worker->arena, (most + 1) * sizeof *answer->unknown);
    if (answer->unknown == NULL ||
        !find_rows(worker, answer, request->items, request->item_count, &rows->items, &rows->item_ids) ||
        !find_rows(worker, answer, request->exclude, request->exclude_count, &rows->exclude, &ids))
        return false;
    size_t unknown = answer->unknown_count;
    bool ok = find_rows(worker, answer, request->current, request->current_count, &rows->current, &ids);
    answer->unknown_count = unknown; /* they are noted as events */
    return ok;
}

/* leave out what may not be listed, whatever the user's taste */
bool engine_qualify_hide(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, const struct engine_named_rows *rows, int64_t at_position,
                         struct status *st)
{
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    if (request->task == ENGINE_RANK && !keep_only(worker, answer, rows->items, request->item_count))
        return out_of_memory(st);
    if (request->task == ENGINE_RANK)
        engine_funnel_note(answer, STAGE_CANDIDATES);
    for (size_t i = 0; i < request->exclude_count; i++)
        clear_row(&answer->view, rows->exclude[i]);
    engine_funnel_note(answer, STAGE_NOT_EXCLUDED);
    for (size_t i = 0; i < request->current_count; i++)
        clear_row(&answer->view, rows->current[i]);
    for (size_t i = 0; examples && !request->include_context && i < request->item_count; i++)
        clear_row(&answer->view, rows->items[i]);
    for (size_t i = 0; examples && !request->include_context && i < request->example_count; i++) {
        uint32_t item_id = 0;
        if (request->examples[i].item[0] != '\0')
            catalog_find(answer->view.snapshot->catalog, &request->examples[i].item, 1, &item_id);
        if (item_id != 0)
            clear_row(&answer->view, snapshot_find(&answer->view, item_id));
    }
    engine_funnel_note(answer, STAGE_NOT_CURRENT);
    if (request->exclude_seen && !exclude_seen(worker, request, answer, at_position, st))
        return false;
    engine_funnel_note(answer, STAGE_NOT_SEEN);
    return true;
}
