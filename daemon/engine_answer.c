/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_deadline.h"
#include "daemon/engine_history.h"
#include "daemon/engine_list.h"
#include "daemon/engine_rules.h"
#include "daemon/engine_weights.h"
#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REBUILD_RETRY_MS 1000

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

static void degrade(struct engine_answer *answer, const char *note)
{
    if (answer->degraded_count < ENGINE_NOTES_MAX)
        answer->degraded[answer->degraded_count++] = note;
}

static void clear_row(struct snapshot_view *view, uint32_t row)
{
    if (row != SNAPSHOT_ROW_NONE)
        view->alive[row / 64] &= ~((uint64_t)1 << (row % 64));
}

/* ---- the five inputs */

/* The log position that answers. A position is given out only once memory has it, so nothing is waited for: one that is not there
 * yet was given out by somebody else. */
static int64_t read_position(const struct engine *engine, int64_t min_position, struct engine_answer *answer)
{
    int64_t committed = engine->committed;
    if (committed < min_position)
        degrade(answer, "stale");
    return committed;
}

static bool version_gone(struct status *st, const char *field, const char *asked, const char *have)
{
    return status_fail_field(st, STATUS_FAILED_PRECONDITION, "VERSION_GONE", field,
                             "%s '%s' is not to be had, '%s' answers now", field, asked, have);
}

/* The version of the counts that was asked for: the current one, the one kept from before, or rebuilt from the log. */
static struct counts_view *find_counts(struct engine_worker *worker, struct counts_view *current, const char *asked,
                                       struct status *st)
{
    struct engine *engine = worker->engine;
    char *end;
    int64_t position = strtoll(asked, &end, 10);
    if (current != NULL && *asked != 0 && *end == 0 && position == current->position)
        return current;
    if (*end != '\0' || position < 0 || position > engine->committed) {
        version_gone(st, "counts", asked, "another version");
        counts_view_release(current);
        return NULL;
    }
    counts_view_release(current);
    if (pthread_mutex_trylock(&engine->past_lock) !=
        0) { /* scanning the log for old counts may hold up one worker, not all */
        status_fail_field(st, STATUS_RESOURCE_EXHAUSTED, "BUSY", "counts",
                          "another version of the counts is being rebuilt");
        st->retry_after_ms = REBUILD_RETRY_MS;
        return NULL;
    }
    if (engine->past_counts == NULL || engine->past_counts->position != position) {
        counts_view_release(engine->past_counts);
        engine->past_counts = engine_rebuild_counts(engine, worker->reader, position, NULL, st);
    }
    struct counts_view *found = engine->past_counts == NULL ? NULL : counts_view_acquire(engine->past_counts);
    pthread_mutex_unlock(&engine->past_lock);
    return found;
}

static bool fix_inputs(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                       struct counts_view **counts, struct status *st)
{
    struct snapshot *snapshot;
    int64_t committed = read_position(worker->engine, request->min_position, answer);
    if (request->at_position != INT64_MAX && request->at_position > committed)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "OUT_OF_LOG", "at_seq",
                                 "the log ends at '%" PRId64 "'", committed);
    engine_acquire(worker->engine, &snapshot, counts);
    if (snapshot == NULL || *counts == NULL) {
        snapshot_release(snapshot);
        counts_view_release(*counts);
        *counts = NULL;
        return status_fail(st, STATUS_UNAVAILABLE, "LOADING", "no model is loaded yet");
    }
    if (request->counts != NULL && (*counts = find_counts(worker, *counts, request->counts, st)) == NULL) {
        snapshot_release(snapshot);
        return false;
    }
    bool ok = snapshot_capture(snapshot, request->now_ms, &worker->arena, &answer->view) || out_of_memory(st);
    answer->model = snapshot->model->version;
    snapshot_release(snapshot); /* the view holds its own */
    answer->now_ms = request->now_ms;
    int64_t seq = request->at_position < committed ? request->at_position : committed;
    snprintf(answer->counts, sizeof answer->counts, "%" PRId64, (*counts)->position);
    snprintf(answer->catalogue, sizeof answer->catalogue, "%" PRId64, answer->view.position);
    snprintf(answer->seq, sizeof answer->seq, "%" PRId64, seq);
    if (ok && request->model != NULL && strcmp(request->model, answer->model) != 0)
        ok = version_gone(st, "model", request->model, answer->model);
    if (ok && request->catalogue != NULL && strcmp(request->catalogue, answer->catalogue) != 0)
        ok = version_gone(st, "catalogue", request->catalogue, answer->catalogue);
    return ok;
}

/* ---- what qualifies */

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
    catalog_find(worker->engine->catalog, names, count, *item_ids);
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
    if (recent && seen->counts[event->behaviour])
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

/* ---- the history as the model sees it */

static bool add_cooccurrence(struct scoring *scoring, const struct recommender_event *events, size_t count)
{
    struct cooccurrence_scalars scalars = cooccurrence_scalars(&scoring->user.model->weights);
    struct cooccurrence_event *newest_first = arena_alloc(&scoring->worker->arena, (count + 1) * sizeof *newest_first);
    if (scoring->user.unordered)
        scalars.decay = 1;
    for (size_t i = 0; newest_first != NULL && i < count; i++) {
        const struct recommender_event *event = &events[count - 1 - i];
        newest_first[i] = (struct cooccurrence_event){event->item_id, recommender_value(scoring->user.model, event)};
    }
    scoring->context.cooccurrence = &scoring->worker->cooccurrence;
    return newest_first != NULL &&
           cooccurrence_compute(&scoring->worker->cooccurrence, scoring->context.counts, newest_first, count, scalars);
}

/* ---- putting the answer together */

/* does the shop have vectors at all? */
static bool has_spaces(struct engine *engine)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    return catalog_spaces(engine->catalog, spaces) > 0;
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

static bool describe_items(const struct scoring *scoring, const struct ranking *ranking, struct engine_answer *answer)
{
    const struct architecture *a = &scoring->user.model->architecture;
    size_t stride = PART_STREAMS + (size_t)a->stream_count;
    float *parts;
    answer->items = arena_alloc(&scoring->worker->arena, (ranking->count + 1) * sizeof *answer->items);
    if (answer->items == NULL || !ranking_parts(scoring, ranking->items, ranking->count, &parts))
        return false;
    for (size_t i = 0; i < ranking->count; i++) {
        const struct ranked *from = &ranking->items[i];
        const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, from->row);
        const float *part = parts + i * stride;
        struct engine_item *item = &answer->items[i];
        *item =
            (struct engine_item){.item = segment->items[from->row - segment->first],
                                 .score = from->score,
                                 .moved = from->moved,
                                 .label = from->promotion < 0 ? "" : scoring->rules->promotions[from->promotion].label};
        item->source = from->newest ? SOURCE_NEWEST : find_source(scoring, part, item->item->item.item_id);
        if (from->promotion >= 0)
            item->source = SOURCE_PROMOTION;
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

static void note_shortage(const struct engine_request *request, const struct scoring *scoring,
                          const struct ranking *ranking, size_t n, struct engine_answer *answer)
{
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

/* the user's history, or the examples, and who else they brought: ready to score with */
static bool prepare_user(struct scoring *scoring, const struct engine_request *request, struct engine_answer *answer,
                         struct status *st)
{
    struct engine_worker *worker = scoring->worker;
    const struct model *model = answer->view.snapshot->model;
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    bool ok = examples ? recommender_prepare_examples(&scoring->user, model, scoring->events, scoring->event_count,
                                                      &worker->arena)
                       : recommender_prepare(&scoring->user, model, scoring->events, scoring->event_count,
                                             request->now_ms, &worker->arena);
    if (model->architecture.view_count == 0 && has_spaces(worker->engine))
        degrade(answer, "no_features");
    scoring->context.weight = scoring->part_weight;
    return (ok && add_cooccurrence(scoring, scoring->events, scoring->event_count)) || out_of_memory(st);
}

static bool read_events(struct scoring *scoring, const struct engine_request *request, const uint32_t *ids,
                        struct engine_answer *answer, struct status *st)
{
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    if (request->task == ENGINE_TOP)
        return true;
    if (examples) {
        scoring->events =
            engine_history_examples(scoring->worker, &answer->view, request, ids, answer, &scoring->event_count, st);
        if (scoring->events != NULL && scoring->event_count == 0)
            degrade(answer, "no_examples");
        return scoring->events != NULL;
    }
    bool named = request->user != NULL && request->user[0] != '\0';
    if (named && scoring->worker->history.user_id == 0)
        degrade(answer, "unknown_user");
    else if (scoring->worker->history.count == 0)
        degrade(answer, "no_history");
    scoring->events = engine_history_events(scoring->worker, &answer->view, SIZE_MAX, &scoring->event_count);
    return scoring->events != NULL || out_of_memory(st);
}

/* rows of what the request names */
struct named_rows {
    uint32_t *items, *item_ids, *exclude, *current;
};

static bool find_named(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                       struct named_rows *rows)
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
static bool hide(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                 const struct named_rows *rows, struct status *st)
{
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    if (request->task == ENGINE_RANK && !keep_only(worker, answer, rows->items, request->item_count))
        return out_of_memory(st);
    for (size_t i = 0; i < request->exclude_count; i++)
        clear_row(&answer->view, rows->exclude[i]);
    for (size_t i = 0; i < request->current_count; i++)
        clear_row(&answer->view, rows->current[i]);
    for (size_t i = 0; examples && !request->include_context && i < request->item_count; i++)
        clear_row(&answer->view, rows->items[i]);
    for (size_t i = 0; examples && !request->include_context && i < request->example_count; i++) {
        uint32_t item_id = 0;
        if (request->examples[i].item[0] != '\0')
            catalog_find(worker->engine->catalog, &request->examples[i].item, 1, &item_id);
        if (item_id != 0)
            clear_row(&answer->view, snapshot_find(&answer->view, item_id));
    }
    return !request->exclude_seen || exclude_seen(worker, request, answer, strtoll(answer->seq, NULL, 10), st);
}

static bool read_history(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, struct status *st)
{
    bool named = request->user != NULL && request->user[0] != '\0';
    size_t newest =
        request->exclude_seen ? HISTORIES_EVENTS_MAX : (size_t)answer->view.snapshot->model->architecture.history;
    worker->history.count = 0;
    worker->history.user_id = 0;
    return (!named || histories_read(worker->engine->histories, worker->reader, request->user,
                                     strtoll(answer->seq, NULL, 10), newest, &worker->history, st)) &&
           engine_history_extend(worker, request, answer, st);
}

static size_t count_rows(const struct snapshot_view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->row_count / 64 + 1; i++)
        count += (size_t)__builtin_popcountll(view->alive[i]);
    return count;
}

/* score and choose, as much as there is time for */
static bool make_list(struct scoring *scoring, const struct engine_request *request, struct engine_answer *answer,
                      struct status *st)
{
    struct engine_worker *worker = scoring->worker;
    const struct architecture *a = &answer->view.snapshot->model->architecture;
    size_t n = request->n > 0 ? request->n : request->item_count, qualifying = count_rows(&answer->view);
    struct engine_plan plan = engine_plan_make(worker, request, a, qualifying, scoring->event_count, n, answer);
    scoring->candidates_most = plan.candidates;
    scoring->events += scoring->event_count - plan.history;
    scoring->event_count = plan.history;
    int64_t begin_us = timestamp_monotonic_us();
    if (!prepare_user(scoring, request, answer, st) || !engine_weigh(scoring, request, st))
        return false;
    struct ranking ranking;
    if (!ranking_compute(scoring, n, &ranking, st))
        return false;
    if (plan.candidates == SIZE_MAX)
        engine_plan_learn(worker, recommender_cost(a, plan.history) * qualifying, begin_us);
    if (!describe_items(scoring, &ranking, answer))
        return out_of_memory(st);
    note_shortage(request, scoring, &ranking, n, answer);
    return true;
}

static bool answer_view(struct engine_worker *worker, const struct engine_request *request, struct scoring *scoring,
                        struct engine_answer *answer, struct status *st)
{
    struct named_rows rows;
    if (!find_named(worker, request, answer, &rows))
        return out_of_memory(st);
    return read_history(worker, request, answer, st) && hide(worker, request, answer, &rows, st) &&
           read_events(scoring, request, rows.item_ids, answer, st) &&
           engine_rules_filter(scoring, &answer->view, st) && engine_rules_prepare(scoring, st) &&
           make_list(scoring, request, answer, st);
}

bool engine_answer(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                   struct status *st)
{
    struct counts_view *counts = NULL;
    memset(answer, 0, sizeof *answer);
    bool ok = fix_inputs(worker, request, answer, &counts, st);
    if (ok) {
        struct scoring *scoring = arena_alloc(&worker->arena, sizeof *scoring);
        if (scoring == NULL) {
            ok = out_of_memory(st);
        } else {
            *scoring =
                (struct scoring){.worker = worker, .request = request, .view = &answer->view, .rules = request->rules};
            scoring->context = (struct recommender_context){.counts = counts, .now_ms = request->now_ms};
            ok = answer_view(worker, request, scoring, answer, st);
        }
    }
    counts_view_release(counts);
    if (!ok)
        engine_answer_close(answer);
    return ok;
}

void engine_answer_close(struct engine_answer *answer)
{
    snapshot_view_close(&answer->view);
    memset(answer, 0, sizeof *answer);
}
