/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_stored.h"

#include "daemon/engine_candidates.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

/* ---- which list */

/* Is the list that was stored the one that is asked for? Re-ranked, or without some events, it would be another. */
static bool may_stand_in(const struct engine_request *request)
{
    return request->task == ENGINE_RECOMMEND && request->without_count == 0 &&
           (request->rules == NULL || !rules_rerank(request->rules));
}

/* `answers` is what was found for what the request asked for; NULL: it left that open */
static bool is_version(const char *asked, const char *answers, int64_t of_list)
{
    return asked == NULL || strtoll(answers, NULL, 10) == of_list;
}

/* A request that fixes what answers gets no list of anything else, and one of the past none from after it. */
static bool fits(const struct engine_request *request, const struct engine_answer *answer,
                 const struct store_list *list)
{
    bool past = request->as_of_ms != 0 || request->at_position != INT64_MAX;
    return (request->model == NULL || strcmp(answer->model, list->model) == 0) &&
           is_version(request->counts, answer->counts, list->counts) &&
           is_version(request->catalogue, answer->catalogue, list->catalogue) &&
           (!past || (list->position <= strtoll(answer->seq, NULL, 10) && list->now_ms <= request->now_ms));
}

/* The list of a user (0: everybody's), if it fits; else one without items. The caller frees list->item_ids. */
static void read_list(const struct scoring *scoring, const struct engine_answer *answer, int64_t user_id,
                      struct store_list *list)
{
    struct status st = STATUS_INIT;
    *list = (struct store_list){.count = 0};
    if (!store_list_get(scoring->worker->reader, user_id, ENGINE_STORED_LIST, list, &st))
        log_warn("stored_list_failed", "%s", st.message); /* it may not cost the answer, which can do without */
    if (!fits(scoring->request, answer, list))
        list->count = 0;
}

static void find_list(const struct scoring *scoring, const struct engine_answer *answer, struct store_list *list)
{
    int64_t user_id = scoring->worker->history.user_id; /* 0: nobody that the shop knows */
    read_list(scoring, answer, user_id, list);
    if (list->count > 0 || user_id == 0)
        return;
    free(list->item_ids);
    read_list(scoring, answer, 0, list);
}

/* ---- its items in front */

static bool has_bit(const uint64_t *bits, uint32_t row)
{
    return bits[row / 64] >> (row % 64) & 1;
}

/* The rows of the list that qualify, each once; their bits are set in `taken`. Returns how many. */
static size_t take_list(const struct scoring *scoring, const struct store_list *list, size_t n, uint64_t *taken,
                        struct ranked *out)
{
    const struct snapshot_view *view = scoring->view;
    size_t most = (size_t)scoring->worker->engine->config->limits_list, count = 0;
    most = list->count < most ? list->count : most;
    for (size_t i = 0; i < most && count < n; i++) {
        uint32_t row = snapshot_find(view, list->item_ids[i]);
        if (row == SNAPSHOT_ROW_NONE || !engine_has_row(view, row) || has_bit(taken, row))
            continue;
        taken[row / 64] |= (uint64_t)1 << row % 64;
        out[count++] = (struct ranked){.score = list->scores[i], .row = row, .promotion = -1, .stored = true};
    }
    return count;
}

/* `count` items of the list and then the ranking's others, in the place of the ranking's */
static void put_in_front(struct ranked *merged, size_t count, const uint64_t *taken, size_t n, struct ranking *ranking)
{
    ranking->newest_count = 0;
    for (size_t i = 0; i < ranking->count && count < n; i++) {
        if (has_bit(taken, ranking->items[i].row))
            continue;
        merged[count++] = ranking->items[i];
        ranking->newest_count += ranking->items[i].newest;
    }
    memcpy(ranking->items, merged, count * sizeof *merged);
    ranking->count = count;
}

bool engine_stored_prefer(const struct scoring *scoring, size_t n, struct ranking *ranking,
                          struct engine_answer *answer, struct status *st)
{
    struct arena *arena = &scoring->worker->arena;
    struct arena_mark mark = arena_mark(arena);
    struct store_list list;
    if (!may_stand_in(scoring->request))
        return true;
    find_list(scoring, answer, &list);
    uint64_t *taken = arena_zeroed(arena, scoring->view->row_count / 64 + 1, sizeof *taken);
    struct ranked *merged = arena_alloc(arena, (n + 1) * sizeof *merged);
    bool ok = (taken != NULL && merged != NULL) || out_of_memory(st);
    size_t used = ok ? take_list(scoring, &list, n, taken, merged) : 0;
    if (used > 0) {
        put_in_front(merged, used, taken, n, ranking);
        if (answer->degraded_count < ENGINE_NOTES_MAX)
            answer->degraded[answer->degraded_count++] = "stored";
    }
    free(list.item_ids);
    arena_rewind(arena, mark);
    return ok;
}
