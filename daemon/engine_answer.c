/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_deadline.h"
#include "daemon/engine_describe.h"
#include "daemon/engine_funnel.h"
#include "daemon/engine_history.h"
#include "daemon/engine_list.h"
#include "daemon/engine_loaded.h"
#include "daemon/engine_past.h"
#include "daemon/engine_qualify.h"
#include "daemon/engine_rules.h"
#include "daemon/engine_stored.h"
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

/* An older version of the counts: the one kept from before, or rebuilt from the log. */
static struct counts_view *past_counts(struct engine_worker *worker, int64_t position, struct status *st)
{
    struct engine *engine = worker->engine;
    if (pthread_mutex_trylock(&engine->past_lock) !=
        0) { /* scanning the log for old counts may hold up one worker, not all */
        status_fail_field(st, STATUS_RESOURCE_EXHAUSTED, "BUSY", "counts",
                          "another version of the counts is being rebuilt");
        st->retry_after_ms = REBUILD_RETRY_MS;
        return NULL;
    }
    unsigned merges = engine->merges;
    if (engine->past_counts == NULL || engine->past_counts->position != position || engine->past_merges != merges) {
        counts_view_release(engine->past_counts);
        engine->past_merges = merges;
        engine->past_counts = engine_rebuild_counts(engine, worker->reader, position, NULL, st);
    }
    struct counts_view *found = engine->past_counts == NULL ? NULL : counts_view_acquire(engine->past_counts);
    pthread_mutex_unlock(&engine->past_lock);
    return found;
}

/* the version that was asked for in the place of `*counts`, the current one; NULL on failure */
static bool replace_counts(struct engine_worker *worker, int64_t position, struct counts_view **counts,
                           struct status *st)
{
    if (*counts != NULL && position == (*counts)->position)
        return true;
    counts_view_release(*counts);
    *counts = past_counts(worker, position, st);
    return *counts != NULL;
}

static bool find_counts(struct engine_worker *worker, const char *asked, struct counts_view **counts, struct status *st)
{
    char *end;
    int64_t position = strtoll(asked, &end, 10);
    bool current = *counts != NULL && *asked != 0 && *end == 0 && position == (*counts)->position;
    if (!current &&
        (*asked == 0 || *end != 0 || position < worker->engine->merged || position > worker->engine->committed))
        return version_gone(st, "counts", asked, "another version");
    return replace_counts(worker, position, counts, st);
}

/* the model that was asked for in the place of `*snapshot`, which answers now */
static bool find_model(struct engine_worker *worker, const char *asked, struct snapshot **snapshot, struct status *st)
{
    struct snapshot *found = engine_loaded_find(worker->engine, asked);
    if (found == NULL)
        return version_gone(st, "model", asked, (*snapshot)->model->version);
    snapshot_release(*snapshot);
    *snapshot = found;
    return true;
}

/* everything as it was; what was erased or merged since is missing from the counts, and said */
static bool go_back(struct engine_worker *worker, const struct engine_request *request, struct snapshot **snapshot,
                    struct counts_view **counts, struct engine_answer *answer, int64_t *position, struct status *st)
{
    struct engine_moment moment;
    if (!engine_past_moment(worker, request->as_of_ms, &moment, st))
        return false;
    snapshot_release(*snapshot);
    *snapshot = NULL;
    if (!engine_past_find(worker, &moment, snapshot, &answer->past, st))
        return false;
    if (moment.counts < worker->engine->merged)
        degrade(answer, "changed_since");
    *position = moment.position;
    return replace_counts(worker, moment.counts, counts, st);
}

/* the four inputs beside the time; both references are the caller's, on failure too */
static bool choose_inputs(struct engine_worker *worker, const struct engine_request *request,
                          struct engine_answer *answer, struct snapshot **snapshot, struct counts_view **counts,
                          int64_t *position, struct status *st)
{
    engine_acquire(worker->engine, snapshot, counts);
    if (*snapshot == NULL || *counts == NULL)
        return status_fail(st, STATUS_UNAVAILABLE, "LOADING", "no model is loaded yet");
    if (request->as_of_ms != 0)
        return go_back(worker, request, snapshot, counts, answer, position, st);
    return (request->counts == NULL || find_counts(worker, request->counts, counts, st)) &&
           (request->model == NULL || find_model(worker, request->model, snapshot, st));
}

static bool fix_inputs(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                       struct counts_view **counts, struct status *st)
{
    struct snapshot *snapshot;
    int64_t committed = read_position(worker->engine, request->min_position, answer);
    int64_t position = request->at_position < committed ? request->at_position : committed;
    if (request->at_position != INT64_MAX && request->at_position > committed)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "OUT_OF_LOG", "at_seq",
                                 "the log ends at '%" PRId64 "'", committed);
    bool ok = choose_inputs(worker, request, answer, &snapshot, counts, &position, st) &&
              (snapshot_capture(snapshot, request->now_ms, &worker->arena, &answer->view) || out_of_memory(st));
    if (ok) {
        answer->model = snapshot->model->version;
        answer->now_ms = request->now_ms;
        snprintf(answer->counts, sizeof answer->counts, "%" PRId64, (*counts)->position);
        snprintf(answer->catalogue, sizeof answer->catalogue, "%" PRId64, answer->view.position);
        snprintf(answer->seq, sizeof answer->seq, "%" PRId64, position);
    }
    snapshot_release(snapshot); /* the view holds its own */
    if (ok && request->catalogue != NULL && strcmp(request->catalogue, answer->catalogue) != 0)
        ok = version_gone(st, "catalogue", request->catalogue, answer->catalogue);
    return ok;
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

/* does the shop have vectors at all? */
static bool has_spaces(struct catalog *catalog)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    return catalog_spaces(catalog, spaces) > 0;
}

/* the user's history, or the examples, and who else they brought: ready to score with */
static bool prepare_user(struct scoring *scoring, const struct engine_request *request, struct engine_answer *answer,
                         struct status *st)
{
    struct engine_worker *worker = scoring->worker;
    const struct model *model = answer->view.snapshot->model;
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    size_t count = request->task == ENGINE_TOP ? 0 : scoring->event_count; /* what is at the top is so for everybody */
    bool ok =
        examples
            ? recommender_prepare_examples(&scoring->user, model, scoring->events, scoring->event_count, &worker->arena)
            : recommender_prepare(&scoring->user, model, scoring->events, count, request->now_ms, &worker->arena);
    if (model->architecture.view_count == 0 && has_spaces(answer->view.snapshot->catalog))
        degrade(answer, "no_features");
    scoring->context.weight = scoring->part_weight;
    return (ok && add_cooccurrence(scoring, scoring->events, count)) || out_of_memory(st);
}

static bool read_events(struct scoring *scoring, const struct engine_request *request, const uint32_t *ids,
                        struct engine_answer *answer, struct status *st)
{
    bool examples = request->task == ENGINE_SIMILAR || request->task == ENGINE_COMPLEMENT;
    if (examples) {
        scoring->events =
            engine_history_examples(scoring->worker, &answer->view, request, ids, answer, &scoring->event_count, st);
        if (scoring->events != NULL && scoring->event_count == 0)
            degrade(answer, "no_examples");
        return scoring->events != NULL;
    }
    bool named = request->user != NULL && request->user[0] != '\0', top = request->task == ENGINE_TOP;
    if (named && scoring->worker->history.user_id == 0)
        degrade(answer, "unknown_user");
    else if (!top && scoring->worker->history.count == 0)
        degrade(answer, "no_history");
    scoring->events = engine_history_events(scoring->worker, &answer->view, SIZE_MAX, &scoring->event_count);
    return scoring->events != NULL || out_of_memory(st);
}

static bool read_history(struct engine_worker *worker, const struct engine_request *request, int64_t at_position,
                         struct engine_answer *answer, struct status *st)
{
    bool named = request->user != NULL && request->user[0] != '\0';
    size_t attended = (size_t)answer->view.snapshot->model->architecture.history + request->without_count;
    size_t newest = request->exclude_seen || attended > HISTORIES_EVENTS_MAX ? HISTORIES_EVENTS_MAX : attended;
    worker->history.count = 0;
    worker->history.user_id = 0;
    if (named && !histories_read(worker->engine->histories, worker->reader, request->user, at_position, newest,
                                 &worker->history, st))
        return false;
    engine_history_drop(worker, request);
    return engine_history_extend(worker, request, answer, st);
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
    if (plan.history < scoring->event_count)
        scoring->events += scoring->event_count - plan.history;
    scoring->event_count = plan.history;
    int64_t begin_us = timestamp_monotonic_us();
    if (!prepare_user(scoring, request, answer, st) || !engine_weigh(scoring, request, st))
        return false;
    struct ranking ranking;
    struct ranked *items = arena_alloc(&worker->arena, (n + 1) * sizeof *items);
    if (items == NULL)
        return out_of_memory(st);
    struct arena_mark mark = arena_mark(&worker->arena);
    if (!ranking_compute(scoring, n, &ranking, st))
        return false;
    memcpy(items, ranking.items, ranking.count * sizeof *items);
    ranking.items = items;
    arena_rewind(&worker->arena, mark); /* scores of all rows: a batch may ask many times */
    bool plain = request->task != ENGINE_TOP && (request->rules == NULL || !rules_rerank(request->rules));
    if (plan.candidates == SIZE_MAX && plain)
        engine_plan_learn(worker, ranking_cost(worker->engine->config, a, qualifying, plan.history), begin_us);
    if (plan.unscored && !engine_stored_prefer(scoring, n, &ranking, answer, st))
        return false;
    engine_funnel_ranked(&ranking, answer);
    if (!engine_describe_items(scoring, &ranking, answer, st))
        return false;
    engine_describe_shortage(scoring, &ranking, n, answer);
    return true;
}

static bool apply_rules(struct scoring *scoring, struct engine_answer *answer, struct status *st)
{
    if (!engine_rules_filter(scoring, &answer->view, st))
        return false;
    engine_funnel_note(answer, STAGE_FILTER);
    if (!engine_rules_ceiling(scoring, &answer->view, st))
        return false;
    engine_funnel_note(answer, STAGE_PRICE_CEILING);
    return engine_rules_prepare(scoring, st);
}

static bool answer_view(struct engine_worker *worker, const struct engine_request *request, struct scoring *scoring,
                        struct engine_answer *answer, struct status *st)
{
    struct engine_named_rows rows;
    int64_t at_position = strtoll(answer->seq, NULL, 10);
    engine_funnel_begin(request, answer);
    scoring->traced = answer->trace.row;
    if (!engine_qualify_find(worker, request, answer, &rows))
        return out_of_memory(st);
    return read_history(worker, request, at_position, answer, st) &&
           engine_qualify_hide(worker, request, answer, &rows, at_position, st) &&
           read_events(scoring, request, rows.item_ids, answer, st) && apply_rules(scoring, answer, st) &&
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
    engine_past_release(answer->past); /* after the view: its items are there */
    memset(answer, 0, sizeof *answer);
}
