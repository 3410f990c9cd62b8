/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_funnel.h"

#include "daemon/engine_candidates.h"

static void set(struct engine_answer *answer, enum engine_stage stage, size_t count)
{
    answer->funnel.reached[stage] = true;
    answer->funnel.count[stage] = count;
}

void engine_funnel_begin(const struct engine_request *request, struct engine_answer *answer)
{
    struct engine_trace *trace = &answer->trace;
    *trace = (struct engine_trace){.row = SNAPSHOT_ROW_NONE, .lost = STAGE_COUNT};
    answer->counting = request->funnel;
    if (answer->counting)
        set(answer, STAGE_CATALOGUE, catalog_item_count(answer->view.snapshot->catalog));
    if (request->trace != NULL) {
        uint32_t item_id = 0;
        catalog_find(answer->view.snapshot->catalog, &request->trace, 1, &item_id);
        trace->row = item_id == 0 ? SNAPSHOT_ROW_NONE : snapshot_find(&answer->view, item_id);
        trace->lost = trace->row == SNAPSHOT_ROW_NONE ? STAGE_CATALOGUE : STAGE_COUNT;
        trace->deleted = item_id != 0; /* a compaction leaves deleted items out */
    }
    if (trace->row != SNAPSHOT_ROW_NONE) {
        const struct snapshot_segment *segment = snapshot_segment_of(&answer->view, trace->row);
        trace->deleted = segment->items[trace->row - segment->first]->item.deleted;
    }
    engine_funnel_note(answer, STAGE_SHOWN);
}

void engine_funnel_note(struct engine_answer *answer, enum engine_stage stage)
{
    struct engine_trace *trace = &answer->trace;
    if (answer->counting)
        set(answer, stage, engine_count_rows(&answer->view, 0, answer->view.row_count));
    if (trace->row != SNAPSHOT_ROW_NONE && trace->lost == STAGE_COUNT && !engine_has_row(&answer->view, trace->row))
        trace->lost = stage;
}

void engine_funnel_ranked(const struct ranking *ranking, struct engine_answer *answer)
{
    struct engine_trace *trace = &answer->trace;
    if (answer->counting) {
        set(answer, STAGE_SCORED, ranking->scored);
        if (ranking->pool > 0)
            set(answer, STAGE_POOL, ranking->pool);
        set(answer, STAGE_LISTED, ranking->count);
    }
    if (trace->row == SNAPSHOT_ROW_NONE)
        return;
    for (size_t i = 0; i < ranking->count; i++)
        if (ranking->items[i].row == trace->row)
            trace->place = i + 1;
    trace->by_score = ranking->traced_place;
    trace->scanned = !ranking->exhaustive;
    if (trace->lost == STAGE_COUNT && trace->place == 0)
        trace->lost = ranking->traced_place == 0 ? STAGE_SCORED : STAGE_LISTED;
}
