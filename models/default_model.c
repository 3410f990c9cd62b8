/* SPDX-License-Identifier: Apache-2.0 */
#include "models/default_model.h"

#include "models/components.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Chosen on validation events of scientific and ml100k; the other sets stay honest. */
#define WHITENING      0.25f /* λ^-¼: by half */
#define SHARPNESS      3.0f  /* 1 / temperature */
#define POSITION_DECAY 0.8f  /* of the pick, per step of age */
#define WEIGHT_TEXT    0.9f  /* text picks and judges */
#define WEIGHT_OTHER   0.25f
#define COOCCURRENCE   1.4f
#define REVERSE        0.7f
#define EPSILON        0.1f
#define DECAY          0.75f
#define POPULARITY     0.1f
#define RECENT         0.01f
#define NOVELTY        0.6f

size_t default_model_sample(size_t available)
{
    if (available < DEFAULT_MODEL_ITEMS)
        return 0;
    size_t sample = DEFAULT_MODEL_ITEMS;
    while (sample + sample / 2 <= available)
        sample += sample / 2;
    return sample;
}

/* every modality against itself, and a stream for every ordered pair */
static void describe(struct architecture *a, const struct default_model_view *views, size_t view_count,
                     const struct default_model_behaviour *behaviours, size_t behaviour_count, int history)
{
    *a = (struct architecture){.width = 64, .blocks = 0, .heads = 1, .feedforward = 128, .history = history};
    for (size_t i = 0; i < view_count; i++) {
        struct view *v = &a->views[a->view_count];
        snprintf(v->name, sizeof v->name, "%s", views[i].modality);
        snprintf(v->modality, sizeof v->modality, "%s", views[i].modality);
        snprintf(v->encoder, sizeof v->encoder, "%s", views[i].encoder);
        v->dimension = (int)views[i].dimension;
        v->components = v->dimension < DEFAULT_MODEL_COMPONENTS ? v->dimension : DEFAULT_MODEL_COMPONENTS;
        a->similarities[a->similarity_count++] =
            (struct similarity){.candidate_view = a->view_count, .history_view = a->view_count, .heads = 1};
        a->view_count++;
    }
    for (int pick = 0; pick < a->similarity_count; pick++)
        for (int judge = 0; judge < a->similarity_count && a->stream_count < ARCHITECTURE_STREAMS_MAX; judge++)
            a->streams[a->stream_count++] = (struct stream){pick, judge};
    for (size_t i = 0; i < behaviour_count; i++)
        snprintf(a->behaviours[a->behaviour_count++], sizeof a->behaviours[0], "%s", behaviours[i].name);
}

static void set_head(struct model *model, const struct default_model_behaviour *behaviours)
{
    const struct architecture *a = &model->architecture;
    struct weights *w = &model->weights;
    for (int i = 0; i < a->similarity_count; i++) {
        w->similarity[i].sharpness[0] = SHARPNESS;
        for (int age = 0; age < ARCHITECTURE_POSITIONS; age++)
            w->similarity[i].position[age] = logf(POSITION_DECAY) * (float)age;
    }
    for (int i = 0; i < a->stream_count; i++) {
        const char *pick = a->views[a->streams[i].pick].modality, *judge = a->views[a->streams[i].judge].modality;
        w->stream[i] = strcmp(pick, "text") == 0 && strcmp(judge, "text") == 0 ? WEIGHT_TEXT : WEIGHT_OTHER;
    }
    for (int i = 0; i < a->behaviour_count; i++)
        w->value[i] = behaviours[i].weight;
    *w->cooccurrence = COOCCURRENCE;
    *w->reverse = REVERSE;
    *w->epsilon = EPSILON;
    *w->decay = DECAY;
    *w->popularity = POPULARITY;
    *w->recent = RECENT;
    *w->novelty = NOVELTY;
}

struct model *default_model_fit(const struct default_model_view *views, size_t view_count,
                                const struct default_model_behaviour *behaviours, size_t behaviour_count, int history,
                                struct status *st)
{
    struct architecture architecture;
    describe(&architecture, views, view_count, behaviours, behaviour_count, history);
    struct model *model = model_new(&architecture, DEFAULT_MODEL_NAME, NULL, 0, st);
    if (model == NULL)
        return NULL;
    for (size_t i = 0; i < view_count; i++)
        if (!components_fit(model->weights.view[i].mean, model->weights.view[i].rotation, views[i].rows, views[i].count,
                            views[i].dimension, (size_t)architecture.views[i].components, WHITENING)) {
            status_fail(st, STATUS_INTERNAL, "FIT_FAILED", "principal components of '%s' could not be computed",
                        views[i].modality);
            model_release(model);
            return NULL;
        }
    set_head(model, behaviours);
    return model;
}
