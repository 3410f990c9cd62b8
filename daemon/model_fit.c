/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/model_fit.h"

#include "models/recommender.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define ITEM_INDEX_BYTES 160 /* of an item that a model knows by name: name, hash entry, bucket */
#define HOUR_MS          3600000

/* ---- the shop */

/* "'image' of encoder 'clip@1', 'clip@2'": the encoders that the shop has of a modality, "" where it has none */
static void list_encoders(struct catalog *catalog, const char *modality, char *out, size_t size)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(catalog, spaces), at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && at < size; i++)
        if (strcmp(spaces[i].space.modality, modality) == 0)
            at += (size_t)snprintf(out + at, size - at, "%s'%s'", at > 0 ? ", " : "", spaces[i].space.encoder);
}

static bool mismatch(const struct view *view, struct catalog *catalog, struct status *st)
{
    char encoders[120];
    list_encoders(catalog, view->modality, encoders, sizeof encoders);
    if (encoders[0] == '\0')
        return status_fail(st, STATUS_FAILED_PRECONDITION, "MODEL_MISMATCH",
                           "the model reads '%s' of encoder '%s', the shop has no vectors of '%s'", view->modality,
                           view->encoder, view->modality);
    return status_fail(st, STATUS_FAILED_PRECONDITION, "MODEL_MISMATCH",
                       "the model reads '%s' of encoder '%s', the shop has '%s' of %s", view->modality, view->encoder,
                       view->modality, encoders);
}

bool model_fit_shop(const struct model *model, struct catalog *catalog, struct status *st)
{
    for (int i = 0; i < model->architecture.view_count; i++) {
        const struct view *view = &model->architecture.views[i];
        struct store_space space;
        if (strcmp(view->modality, "id") == 0)
            continue;
        if (!catalog_find_space(catalog, view->modality, view->encoder, &space))
            return mismatch(view, catalog, st);
        if (space.dimension != view->dimension)
            return status_fail(st, STATUS_FAILED_PRECONDITION, "MODEL_MISMATCH",
                               "the model reads '%s' of encoder '%s' with %d numbers, the shop has %d", view->modality,
                               view->encoder, view->dimension, space.dimension);
    }
    return true;
}

/* ---- memory */

uint64_t model_fit_bytes(const struct model *model, struct catalog *catalog)
{
    uint32_t records = catalog_largest_id(catalog); /* deleted items have rows too */
    return (uint64_t)model->params.total * sizeof(float) + (uint64_t)model->item_count * ITEM_INDEX_BYTES +
           snapshot_bytes(&model->architecture, records, records);
}

/* MemAvailable: what can be had without swapping, the page cache included */
static bool read_meminfo(uint64_t *bytes)
{
    char line[128];
    uint64_t kib = 0;
    bool found = false;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1;
    if (file != NULL)
        fclose(file);
    *bytes = kib * 1024;
    return found;
}

uint64_t model_fit_available(int64_t most)
{
    uint64_t bytes;
    struct sysinfo info;
    if (!read_meminfo(
            &bytes)) /* hidden in a sandbox: free memory without the page cache, which is less than there is */
        bytes = sysinfo(&info) == 0 ? (uint64_t)(info.freeram + info.bufferram) * info.mem_unit : UINT64_MAX;
    return most > 0 && (uint64_t)most < bytes ? (uint64_t)most : bytes;
}

bool model_fit_memory(const char *version, uint64_t needed, uint64_t available, struct status *st)
{
    if (needed <= available)
        return true;
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "MODEL_TOO_LARGE",
                       "model '%s' needs %" PRIu64 " bytes beside the one that answers, %" PRIu64 " are there", version,
                       needed, available);
}

/* ---- scores */

/* the snapshot's first items, over and over, an hour apart, with every behaviour that the model knows */
static struct recommender_event *make_history(const struct snapshot *snapshot, size_t rows, size_t count,
                                              int64_t now_ms, struct arena *arena)
{
    const struct snapshot_segment *segment = snapshot->segments[0];
    int behaviours = snapshot->model->architecture.behaviour_count;
    struct recommender_event *events = arena_alloc(arena, (count + 1) * sizeof *events);
    for (size_t i = 0; events != NULL && i < count; i++)
        events[i] = (struct recommender_event){.item_id = segment->item_ids[i % rows],
                                               .ts_ms = now_ms - (int64_t)(count - i) * HOUR_MS,
                                               .behaviour = behaviours > 0 ? (int)i % behaviours : -1,
                                               .weight = 1,
                                               .rows = &segment->rows,
                                               .row = i % rows};
    return events;
}

static bool compute_terms(struct cooccurrence *cooccurrence, const struct model *model,
                          const struct counts_view *counts, const struct recommender_event *events, size_t count,
                          struct arena *arena)
{
    const struct weights *w = &model->weights;
    struct cooccurrence_event *newest_first = arena_alloc(arena, (count + 1) * sizeof *newest_first);
    for (size_t i = 0; newest_first != NULL && i < count; i++)
        newest_first[i] = (struct cooccurrence_event){events[count - 1 - i].item_id,
                                                      recommender_value(model, &events[count - 1 - i])};
    return newest_first != NULL &&
           cooccurrence_compute(cooccurrence, counts, newest_first, count, cooccurrence_scalars(w));
}

static bool score_block(struct snapshot *snapshot, const struct counts_view *counts, int64_t now_ms,
                        struct cooccurrence *cooccurrence, float *score, size_t rows, struct arena *arena)
{
    const struct model *model = snapshot->model;
    const struct snapshot_segment *segment = snapshot->segments[0];
    size_t count = (size_t)model->architecture.history;
    float weight[RECOMMENDER_PARTS_MAX];
    struct recommender_user user;
    struct recommender_event *events = make_history(snapshot, rows, count, now_ms, arena);
    for (size_t i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    if (events == NULL || !compute_terms(cooccurrence, model, counts, events, count, arena) ||
        !recommender_prepare(&user, model, events, count, now_ms, arena))
        return false;
    struct recommender_context context = {counts, cooccurrence, now_ms, weight};
    struct recommender_block block = {&segment->rows, 0, rows, segment->item_ids};
    recommender_score(&user, &context, &block, score, NULL);
    return true;
}

bool model_fit_scores(struct snapshot *snapshot, const struct counts_view *counts, int64_t now_ms, struct arena *arena,
                      struct status *st)
{
    struct cooccurrence cooccurrence = {0};
    struct arena_mark mark = arena_mark(arena);
    float score[RECOMMENDER_BLOCK];
    size_t rows = snapshot->base_count < RECOMMENDER_BLOCK ? snapshot->base_count : RECOMMENDER_BLOCK;
    bool ok = true;
    if (rows > 0 && !score_block(snapshot, counts, now_ms, &cooccurrence, score, rows, arena))
        ok = status_fail(st, STATUS_RESOURCE_EXHAUSTED, "MODEL_TOO_LARGE",
                         "a request to model '%s' needs more memory than one may take", snapshot->model->version);
    for (size_t i = 0; ok && i < rows; i++)
        if (!isfinite(score[i]))
            ok = status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SCORES",
                             "model '%s' gives scores that are no finite numbers", snapshot->model->version);
    cooccurrence_close(&cooccurrence);
    arena_rewind(arena, mark);
    return ok;
}
