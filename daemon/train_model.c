/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_model.h"

#include "models/components.h"
#include "models/head_trainer.h"
#include "models/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY(x) (sizeof(x) / sizeof *(x))

/* ---- parts */

struct part {
    const char *name;
    size_t offset;
};
static const struct part parts[] = {
    {"id", offsetof(struct train_without, id)},
    {"sequence", offsetof(struct train_without, sequence)},
    {"streams", offsetof(struct train_without, streams)},
    {"cross", offsetof(struct train_without, cross)},
    {"same", offsetof(struct train_without, same)},
    {"cooccurrence", offsetof(struct train_without, cooccurrence)},
    {"prior", offsetof(struct train_without, prior)},
    {"time", offsetof(struct train_without, time)},
};

bool train_without_add(struct train_without *without, const char *name)
{
    for (size_t i = 0; i < ARRAY(parts); i++)
        if (strcmp(parts[i].name, name) == 0) {
            *(bool *)((char *)without + parts[i].offset) = true;
            return true;
        }
    if (without->modality_count == ARCHITECTURE_VIEWS_MAX)
        return false;
    without->modality[without->modality_count++] = name;
    return true;
}

json_t *train_without_json(const struct train_without *without)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY(parts); i++)
        if (*(const bool *)((const char *)without + parts[i].offset))
            json_array_append_new(list, json_string(parts[i].name));
    for (size_t i = 0; i < without->modality_count; i++)
        json_array_append_new(list, json_string(without->modality[i]));
    return list;
}

static bool leaves_out(const struct train_without *without, const char *modality)
{
    for (size_t i = 0; i < without->modality_count; i++)
        if (strcmp(without->modality[i], modality) == 0)
            return true;
    return false;
}

/* ---- description */

void train_vectors_close(struct train_vectors *vectors)
{
    for (int v = 0; v < ARCHITECTURE_VIEWS_MAX; v++)
        free(vectors->view[v]);
    *vectors = (struct train_vectors){0};
}

/* of the encoders of a modality the one that most items have */
static const struct catalog_space *best_space(const struct catalog_space *spaces, size_t count, size_t index)
{
    const struct catalog_space *best = &spaces[index];
    for (size_t i = 0; i < count; i++)
        if (strcmp(spaces[i].space.modality, best->space.modality) == 0 && spaces[i].item_count > best->item_count)
            best = &spaces[i];
    return best;
}

static bool add_view(struct architecture *a, struct train_vectors *vectors, const struct train_data *data,
                     const struct catalog_space *space, const struct train_options *options, struct status *st)
{
    size_t dimension;
    struct view *v = &a->views[a->view_count];
    snprintf(v->name, sizeof v->name, "%s", space->space.modality);
    snprintf(v->modality, sizeof v->modality, "%s", space->space.modality);
    snprintf(v->encoder, sizeof v->encoder, "%s", space->space.encoder);
    v->dimension = (int)space->space.dimension;
    v->components = v->dimension < (int)options->components ? v->dimension : (int)options->components;
    v->correction = (int)options->correction;
    vectors->view[a->view_count] = train_data_vectors(data, v->modality, &dimension);
    if (vectors->view[a->view_count] == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the vectors of '%s'",
                           v->modality);
    a->view_count++;
    return true;
}

static bool add_views(struct architecture *a, struct train_vectors *vectors, const struct train_data *data,
                      const struct train_options *options, const struct train_without *without, struct status *st)
{
    struct catalog_space *spaces = malloc(CATALOG_SPACES_MAX * sizeof *spaces);
    size_t count = spaces == NULL ? 0 : catalog_spaces(data->catalog, spaces);
    bool ok = spaces != NULL || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the modalities");
    for (size_t i = 0; ok && i < without->modality_count; i++) {
        size_t at = 0;
        while (at < count && strcmp(spaces[at].space.modality, without->modality[i]) != 0)
            at++;
        ok = at < count ||
             status_fail(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_PART",
                         "'%.60s' is neither a part of a model nor a modality of this shop", without->modality[i]);
    }
    for (size_t i = 0; ok && i < count && a->view_count < ARCHITECTURE_VIEWS_MAX; i++)
        if (spaces[i].item_count > 1 && !leaves_out(without, spaces[i].space.modality) &&
            architecture_view(a, spaces[i].space.modality) < 0)
            ok = add_view(a, vectors, data, best_space(spaces, count, i), options, st);
    free(spaces);
    return ok;
}

static void add_streams(struct architecture *a, const struct train_without *without)
{
    for (int v = 0; v < a->view_count && !without->streams; v++)
        a->similarities[a->similarity_count++] =
            (struct similarity){.candidate_view = v, .history_view = v, .heads = 1};
    for (int pick = 0; pick < a->similarity_count; pick++)
        for (int judge = 0; judge < a->similarity_count && a->stream_count < ARCHITECTURE_STREAMS_MAX; judge++)
            if (pick == judge ? !without->same : !without->cross)
                a->streams[a->stream_count++] = (struct stream){pick, judge};
}

bool train_model_describe(struct architecture *a, struct train_vectors *vectors, const struct train_data *data,
                          const struct train_options *o, const struct train_without *without, struct status *st)
{
    *vectors = (struct train_vectors){0};
    *a = (struct architecture){.width = (int)o->width,
                               .blocks = without->sequence ? 0 : (int)o->blocks,
                               .heads = (int)o->heads,
                               .feedforward = o->feedforward > 0 ? (int)o->feedforward : 2 * (int)o->width,
                               .history = (int)o->history};
    if (!add_views(a, vectors, data, o, without, st)) {
        train_vectors_close(vectors);
        return false;
    }
    add_streams(a, without);
    for (int i = 1; i < 256 && a->behaviour_count < ARCHITECTURE_BEHAVIOURS_MAX; i++)
        if (data->engine.behaviours[i].configured)
            snprintf(a->behaviours[a->behaviour_count++], sizeof a->behaviours[0], "%s",
                     data->engine.behaviours[i].name);
    return true;
}

/* ---- numbers */

/* statistics of one modality over the items of the training part that have it */
static bool fit_view(struct model *model, int v, const float *vectors, const struct training_set *set, float whitening,
                     struct status *st)
{
    size_t D = (size_t)model->architecture.views[v].dimension, found = 0;
    float *rows = malloc((set->columns + 1) * D * sizeof *rows);
    for (size_t c = 0; rows != NULL && c < set->columns; c++) {
        const float *row = vectors + (size_t)set->item_of[c] * D;
        bool present = false;
        for (size_t j = 0; j < D && !present; j++)
            present = row[j] != 0;
        if (present)
            memcpy(rows + found++ * D, row, D * sizeof *rows);
    }
    bool ok = rows != NULL && found > 1 &&
              components_fit(model->weights.view[v].mean, model->weights.view[v].rotation, rows, found, D,
                             (size_t)model->architecture.views[v].components, whitening);
    free(rows);
    return ok || status_fail(st, STATUS_INTERNAL, "FIT_FAILED", "principal components of '%s' could not be computed",
                             model->architecture.views[v].modality);
}

static void freeze(struct model *model, const struct train_without *without)
{
    for (size_t i = 0; i < model->params.count; i++) {
        struct param *p = &model->params.list[i];
        const struct weights *w = &model->weights;
        bool time = strncmp(p->name, "similarity.", 11) == 0 || strncmp(p->name, "block.", 6) == 0;
        time = time && strlen(p->name) > 5 && strcmp(p->name + strlen(p->name) - 5, ".time") == 0;
        p->frozen =
            (without->time && time) ||
            (without->cooccurrence && (p->slot == (float **)&w->cooccurrence || p->slot == (float **)&w->reverse ||
                                       p->slot == (float **)&w->epsilon || p->slot == (float **)&w->decay)) ||
            (without->prior && (p->slot == (float **)&w->popularity || p->slot == (float **)&w->recent ||
                                p->slot == (float **)&w->novelty)) ||
            (p->slot == (float **)&w->value && model->architecture.behaviour_count < 2);
    }
    if (without->cooccurrence)
        *model->weights.cooccurrence = 0;
    if (without->prior)
        *model->weights.popularity = *model->weights.recent = *model->weights.novelty = 0;
}

static void start(struct model *model, const struct train_data *data, const struct train_options *o,
                  const struct train_without *without, uint64_t seed)
{
    float weight[ARCHITECTURE_BEHAVIOURS_MAX] = {0};
    for (int b = 0; b < model->architecture.behaviour_count; b++)
        for (int i = 1; i < 256; i++)
            if (data->engine.behaviours[i].configured &&
                strcmp(data->engine.behaviours[i].name, model->architecture.behaviours[b]) == 0)
                weight[b] = data->engine.behaviours[i].weight;
    trainer_start(model, seed);
    float sequence = 0.7f; /* beside streams and counts it says less than it learned alone */
    head_start(model, weight, sequence, model->architecture.blocks > 0 ? sequence * (float)o->prior : 0);
    freeze(model, without);
}

struct model *train_model_new(const struct architecture *a, const struct train_vectors *vectors,
                              const struct train_data *data, struct training_set *set, const struct train_options *o,
                              const struct train_without *without, uint64_t seed, struct status *st)
{
    size_t rows = a->blocks > 0 && !without->id ? set->columns : 0;
    const char **names = malloc((rows + 1) * sizeof *names);
    if (names == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a model");
        return NULL;
    }
    for (size_t c = 0; c < rows; c++)
        names[c] = data->items[set->item_of[c]]->item.name;
    struct model *model = model_new(a, "trained", names, rows, st);
    free(names);
    bool ok = model != NULL;
    for (int v = 0; ok && v < a->view_count; v++)
        ok = fit_view(model, v, vectors->view[v], set, (float)o->whitening, st);
    ok = ok && training_set_features(set, model, (const float *const *)vectors->view, st);
    if (!ok) {
        model_release(model);
        return NULL;
    }
    memcpy(model->item_training_count, set->count, rows * sizeof(float));
    start(model, data, o, without, seed);
    return model;
}
