/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_scorer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARENA_BYTES     ((size_t)512 << 20)
#define MODEL_BYTES_MAX ((size_t)8 << 30)

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to score");
}

/* ---- encoding */

static bool is_id(const struct view *view)
{
    return strcmp(view->modality, "id") == 0;
}

static bool has_what_it_reads(const struct train_scorer *scorer, struct status *st)
{
    const struct architecture *a = &scorer->model->architecture;
    for (int v = 0; v < a->view_count; v++) {
        const struct view *view = &a->views[v];
        struct store_space space;
        if (is_id(view))
            continue;
        if (!catalog_find_space(scorer->data->catalog, view->modality, view->encoder, &space))
            return status_fail(st, STATUS_FAILED_PRECONDITION, "MODEL_MISMATCH",
                               "the model reads '%s' vectors of encoder '%s', which the shop does not have",
                               view->modality, view->encoder);
        if (space.dimension != view->dimension)
            return status_fail(st, STATUS_FAILED_PRECONDITION, "MODEL_MISMATCH",
                               "the model reads '%s' vectors of %d numbers, the shop's have %d", view->modality,
                               view->dimension, space.dimension);
    }
    return true;
}

bool train_scorer_encode(struct train_scorer *scorer, struct status *st)
{
    const struct architecture *a = &scorer->model->architecture;
    const struct train_data *data = scorer->data;
    struct encoder_item *inputs = calloc(data->item_count + 1, sizeof *inputs);
    if (inputs == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < data->item_count; i++) /* no item has the empty name, so it finds no ID row */
        inputs[i].name = scorer->without_id ? "" : data->items[i]->item.name;
    for (int v = 0; v < a->view_count; v++) {
        struct store_space space;
        bool found = !is_id(&a->views[v]) && !scorer->without_view[v] &&
                     catalog_find_space(data->catalog, a->views[v].modality, a->views[v].encoder, &space);
        for (size_t i = 0; found && i < data->item_count; i++) {
            const struct catalog_feature *feature = catalog_item_feature(data->items[i], space.space_id);
            inputs[i].vector[v] = feature == NULL ? NULL : feature->values;
        }
    }
    bool ok = encoder_encode(scorer->model, inputs, data->item_count, &scorer->rows, 0, &scorer->thread[0].arena);
    free(inputs);
    return ok || out_of_memory(st);
}

static bool allocate(struct train_scorer *scorer)
{
    size_t count = scorer->data->item_count;
    scorer->thread = calloc(scorer->threads, sizeof *scorer->thread);
    scorer->item_ids = malloc((count + 1) * sizeof *scorer->item_ids);
    if (scorer->thread == NULL || scorer->item_ids == NULL ||
        !encoder_rows_init(&scorer->rows, &scorer->model->architecture, count > 0 ? count : 1))
        return false;
    for (size_t t = 0; t < scorer->threads; t++)
        arena_init(&scorer->thread[t].arena, ARENA_BYTES);
    for (size_t i = 0; i < count; i++)
        scorer->item_ids[i] = (uint32_t)i;
    return true;
}

bool train_scorer_init(struct train_scorer *scorer, struct model *model, const struct train_data *data,
                       struct counts_view *counts, size_t threads, struct status *st)
{
    *scorer = (struct train_scorer){.model = model_acquire(model),
                                    .data = data,
                                    .counts = counts_view_acquire(counts),
                                    .threads = threads < 1 ? 1 : threads};
    train_data_behaviours(data, &model->architecture, scorer->behaviour_of);
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        scorer->part_weight[i] = 1;
    bool ok =
        has_what_it_reads(scorer, st) && (allocate(scorer) || out_of_memory(st)) && train_scorer_encode(scorer, st);
    if (!ok)
        train_scorer_close(scorer);
    return ok;
}

void train_scorer_close(struct train_scorer *scorer)
{
    for (size_t t = 0; scorer->thread != NULL && t < scorer->threads; t++) {
        arena_close(&scorer->thread[t].arena);
        cooccurrence_close(&scorer->thread[t].cooccurrence);
    }
    free(scorer->thread);
    free(scorer->item_ids);
    encoder_rows_close(&scorer->rows);
    counts_view_release(scorer->counts);
    model_release(scorer->model);
    *scorer = (struct train_scorer){0};
}

/* ---- scoring */

static struct recommender_event *events_of(const struct train_scorer *scorer, const struct evaluation_query *query,
                                           struct arena *arena, size_t *count)
{
    size_t most = (size_t)scorer->model->architecture.history;
    const struct evaluation_event *from = query->history + (query->length > most ? query->length - most : 0);
    *count = query->length > most ? most : query->length;
    struct recommender_event *events = arena_alloc(arena, (*count + 1) * sizeof *events);
    for (size_t i = 0; events != NULL && i < *count; i++)
        events[i] = (struct recommender_event){.item_id = from[i].item,
                                               .ts_ms = from[i].ts_ms,
                                               .behaviour = scorer->behaviour_of[from[i].behaviour],
                                               .weight = from[i].weight,
                                               .rows = &scorer->rows,
                                               .row = from[i].item};
    return events;
}

static void score_all(const struct train_scorer *scorer, const struct cooccurrence *cooccurrence,
                      const struct recommender_user *user, int64_t now_ms, float *score)
{
    struct recommender_context context = {scorer->counts, cooccurrence, now_ms, scorer->part_weight};
    size_t count = scorer->data->item_count;
    for (size_t first = 0; first < count; first += RECOMMENDER_BLOCK) {
        size_t left = count - first;
        struct recommender_block block = {&scorer->rows, first, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK,
                                          scorer->item_ids + first};
        recommender_score(user, &context, &block, score + first, NULL);
    }
}

bool train_scorer_score(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    const struct train_scorer *scorer = context;
    struct arena *arena = &scorer->thread[thread].arena;
    struct cooccurrence *cooccurrence = &scorer->thread[thread].cooccurrence;
    struct arena_mark mark = arena_mark(arena);
    const struct weights *w = &scorer->model->weights;
    struct recommender_user user;
    size_t count;
    struct recommender_event *events = events_of(scorer, query, arena, &count);
    struct cooccurrence_event *newest_first = arena_alloc(arena, (count + 1) * sizeof *newest_first);
    bool ok = events != NULL && newest_first != NULL;
    for (size_t i = 0; ok && i < count; i++)
        newest_first[i] = (struct cooccurrence_event){events[count - 1 - i].item_id,
                                                      recommender_value(scorer->model, &events[count - 1 - i])};
    ok = ok && cooccurrence_compute(cooccurrence, scorer->counts, newest_first, count, cooccurrence_scalars(w)) &&
         recommender_prepare(&user, scorer->model, events, count, query->now_ms, arena);
    if (ok)
        score_all(scorer, cooccurrence, &user, query->now_ms, score);
    arena_rewind(arena, mark);
    return ok;
}

/* ---- files */

static bool read_whole(FILE *file, const char *path, unsigned char **bytes, size_t *size, struct status *st)
{
    struct stat about;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_MODEL", "'%s' is not a file", path);
    if (about.st_size > (off_t)MODEL_BYTES_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_MODEL",
                           "'%s' has %lld bytes, more than the %zu of a model", path, (long long)about.st_size,
                           MODEL_BYTES_MAX);
    *size = (size_t)about.st_size;
    *bytes = malloc(*size + 1);
    if (*bytes == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the %zu bytes of '%s'", *size,
                           path);
    if (fread(*bytes, 1, *size, file) != *size)
        return status_fail(st, STATUS_UNAVAILABLE, "NO_MODEL", "read '%s': it ended before its %zu bytes", path, *size);
    return true;
}

struct model *train_scorer_read_model(const char *path, struct status *st)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        status_fail(st, STATUS_NOT_FOUND, "NO_MODEL", "open '%s': %m", path);
        return NULL;
    }
    unsigned char *bytes = NULL;
    size_t size = 0;
    struct model *model = NULL;
    if (read_whole(file, path, &bytes, &size, st)) {
        model = model_read(bytes, size, st);
        if (model == NULL)
            status_wrap(st, "model '%s'", path);
    }
    free(bytes);
    fclose(file);
    return model;
}
