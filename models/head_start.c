/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head_start.h"

#include "models/random.h"

#include <math.h>
#include <string.h>

/* A random and B zero: they begin as nothing, and have a gradient */
static void start_corrections(struct model *model, int view)
{
    size_t r = (size_t)model->architecture.views[view].components;
    size_t count = r * (size_t)model->architecture.views[view].correction;
    struct random random;
    random_init(&random, 1 + (uint64_t)view);
    for (int role = 0; role < ROLE_COUNT && count > 0; role++)
        for (size_t i = 0; i < count; i++)
            model->weights.view[view].down[role][i] = random_normal(&random) / sqrtf((float)r);
}

void head_start(struct model *model, const float *behaviour_weight, float sequence, float popularity)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    for (int i = 0; i < a->similarity_count; i++) {
        for (int h = 0; h < a->similarities[i].heads; h++)
            w->similarity[i].sharpness[h] = 3;
        int slice = a->views[a->similarities[i].candidate_view].components / a->similarities[i].heads;
        for (int j = 0; j < slice; j++)
            w->similarity[i].additive[j] = 1;
        for (int age = 0; age < ARCHITECTURE_POSITIONS; age++)
            w->similarity[i].position[age] = logf(0.8f) * (float)age;
    }
    for (int i = 0; i < a->view_count; i++)
        start_corrections(model, i);
    for (int i = 0; i < a->stream_count; i++) {
        const char *pick = a->views[a->similarities[a->streams[i].pick].candidate_view].modality;
        const char *judge = a->views[a->similarities[a->streams[i].judge].candidate_view].modality;
        w->stream[i] = strcmp(pick, "text") == 0 && strcmp(judge, "text") == 0 ? 0.9f : 0.25f;
    }
    for (int i = 0; i < a->behaviour_count; i++)
        w->value[i] = behaviour_weight[i];
    *w->cooccurrence = 1.4f;
    *w->reverse = 0.7f;
    *w->epsilon = 0.1f;
    *w->decay = 0.75f;
    *w->popularity = popularity;
    *w->recent = 0.01f;
    *w->novelty = 0.6f;
    if (w->sequence_scale != NULL)
        *w->sequence_scale = sequence;
}
