/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/refit.h"

#include "models/default_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A modality and the encoder whose vectors most items have. */
struct chosen {
    struct store_space space;
    size_t items;
};

static size_t choose_spaces(const struct engine *engine, struct chosen *chosen)
{
    struct catalog_space *spaces = malloc(CATALOG_SPACES_MAX * sizeof *spaces);
    size_t count = spaces == NULL ? 0 : catalog_spaces(engine->catalog, spaces), found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < found && strcmp(chosen[at].space.modality, spaces[i].space.modality) != 0)
            at++;
        if (at == found && found < ARCHITECTURE_VIEWS_MAX)
            chosen[found++] = (struct chosen){spaces[i].space, 0};
        if (at < found && spaces[i].item_count > chosen[at].items)
            chosen[at] = (struct chosen){spaces[i].space, spaces[i].item_count};
    }
    free(spaces);
    size_t kept = 0;
    for (size_t i = 0; i < found; i++)
        if (default_model_sample(chosen[i].items) > 0)
            chosen[kept++] = chosen[i];
    return kept;
}

static size_t behaviours(const struct engine *engine, struct default_model_behaviour *out)
{
    size_t count = 0;
    for (int i = 1; i < 256 && count < ARCHITECTURE_BEHAVIOURS_MAX; i++)
        if (engine->behaviours[i].configured)
            out[count++] = (struct default_model_behaviour){engine->behaviours[i].name, engine->behaviours[i].weight};
    return count;
}

void refit_signature(const struct engine *engine, char *text, size_t size)
{
    struct chosen chosen[ARCHITECTURE_VIEWS_MAX];
    struct default_model_behaviour behaviour[ARCHITECTURE_BEHAVIOURS_MAX];
    size_t count = choose_spaces(engine, chosen), behaviour_count = behaviours(engine, behaviour), at = 0;
    at += (size_t)snprintf(text, size, "revision=%d history=%d", DEFAULT_MODEL_REVISION,
                           (int)engine->config->model_history);
    for (size_t i = 0; i < count && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, " %s/%s:%zu", chosen[i].space.modality, chosen[i].space.encoder,
                               default_model_sample(chosen[i].items));
    for (size_t i = 0; i < behaviour_count && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, " %s=%g", behaviour[i].name, (double)behaviour[i].weight);
}

bool refit_is_due(const struct engine *engine, const struct model *model)
{
    if (strcmp(model->name, DEFAULT_MODEL_NAME) != 0)
        return false;
    char now[4096];
    refit_signature(engine, now, sizeof now);
    const char *then = json_string_value(json_object_get(model->training, "signature"));
    return then == NULL || strcmp(then, now) != 0;
}

/* vectors of the lowest `sample` item ids that have the feature */
static float *sample_rows(struct catalog_item *const *items, size_t count, const struct store_space *space,
                          size_t sample, size_t *found)
{
    size_t dimension = (size_t)space->dimension;
    float *rows = malloc(sample * dimension * sizeof *rows);
    *found = 0;
    for (size_t i = 0; rows != NULL && i < count && *found < sample; i++) {
        const struct catalog_feature *feature = catalog_item_feature(items[i], space->space_id);
        if (feature != NULL && !items[i]->item.deleted)
            memcpy(rows + (*found)++ * dimension, feature->values, dimension * sizeof *rows);
    }
    return rows;
}

struct model *refit(const struct engine *engine, struct status *st)
{
    struct chosen chosen[ARCHITECTURE_VIEWS_MAX];
    struct default_model_view views[ARCHITECTURE_VIEWS_MAX];
    struct default_model_behaviour behaviour[ARCHITECTURE_BEHAVIOURS_MAX];
    float *rows[ARCHITECTURE_VIEWS_MAX] = {NULL};
    struct catalog_item **items = NULL;
    struct model *model = NULL;
    char signature[4096];
    size_t count = 0, view_count = choose_spaces(engine, chosen), behaviour_count = behaviours(engine, behaviour);
    int64_t position;
    refit_signature(engine, signature, sizeof signature);
    bool ok = catalog_collect(engine->catalog, 0, &items, &count, &position);
    for (size_t i = 0; ok && i < view_count; i++) {
        size_t found;
        rows[i] = sample_rows(items, count, &chosen[i].space, default_model_sample(chosen[i].items), &found);
        views[i] = (struct default_model_view){chosen[i].space.modality, chosen[i].space.encoder,
                                               (size_t)chosen[i].space.dimension, rows[i], found};
        ok = rows[i] != NULL && found > 1;
    }
    if (ok)
        model =
            default_model_fit(views, view_count, behaviour, behaviour_count, (int)engine->config->model_history, st);
    else
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to fit the default model");
    if (model != NULL)
        model->training = json_pack("{s:s}", "signature", signature);
    for (size_t i = 0; i < view_count; i++)
        free(rows[i]);
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
    free(items);
    return model;
}
