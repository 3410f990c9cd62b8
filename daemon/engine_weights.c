/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_weights.h"

#include <stdlib.h>
#include <string.h>

#define LEARNED_LEAST 0.01f
#define TIE_BREAK     0.001f /* of popularity, among what does not go with the cart */

bool engine_is_modality(struct catalog *catalog, const char *name)
{
    struct catalog_space *spaces = malloc(CATALOG_SPACES_MAX * sizeof *spaces);
    size_t count = spaces == NULL ? 0 : catalog_spaces(catalog, spaces);
    bool known = false;
    for (size_t i = 0; i < count; i++)
        known = known || strcmp(spaces[i].space.modality, name) == 0;
    free(spaces);
    return known;
}

const char *engine_judged_modality(const struct architecture *a, int stream)
{
    return a->views[a->similarities[a->streams[stream].judge].candidate_view].modality;
}

/* An example of one modality has nothing that another could judge by; a stream across would reward who is unlike it, whose attention goes elsewhere. */
static bool has_modal_example(const struct engine_request *request)
{
    for (size_t i = 0; i < request->example_count; i++)
        if (request->examples[i].modality_count > 0)
            return true;
    return false;
}

static bool weigh_similar(struct scoring *scoring, const struct engine_request *request, struct status *st)
{
    const struct architecture *a = &scoring->user.model->architecture;
    scoring->part_weight[PART_PRIOR] = scoring->part_weight[PART_SEQUENCE] = 0;
    for (int i = 0; i < a->stream_count && has_modal_example(request); i++) {
        float learned = scoring->user.model->weights.stream[i]; /* from histories; here the caller says what counts */
        bool across = a->streams[i].pick != a->streams[i].judge;
        scoring->part_weight[PART_STREAMS + i] *= across ? 0 : learned > LEARNED_LEAST ? 1 / learned : 1;
    }
    if (request->modality_count == 0)
        return true;
    scoring->part_weight[PART_COOCCURRENCE] = 0;
    for (size_t m = 0; m < request->modality_count; m++)
        if (!engine_is_modality(scoring->view->snapshot->catalog, request->modalities[m]))
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "modalities",
                                     "'%s' is no modality of this shop", request->modalities[m]);
    for (int i = 0; i < a->stream_count; i++) {
        bool wanted = false;
        for (size_t m = 0; m < request->modality_count; m++)
            wanted = wanted || strcmp(engine_judged_modality(a, i), request->modalities[m]) == 0;
        if (!wanted || a->streams[i].pick != a->streams[i].judge)
            scoring->part_weight[PART_STREAMS + i] = 0;
    }
    return true;
}

static void weigh_complement(struct scoring *scoring)
{
    for (int i = 0; i < scoring->user.model->architecture.stream_count; i++)
        scoring->part_weight[PART_STREAMS + i] = 0;
    scoring->part_weight[PART_SEQUENCE] = 0;
    scoring->part_weight[PART_PRIOR] *= TIE_BREAK;
}

bool engine_weigh(struct scoring *scoring, const struct engine_request *request, struct status *st)
{
    const struct architecture *a = &scoring->user.model->architecture;
    int parts = PART_STREAMS + a->stream_count;
    for (int i = 0; i < parts; i++)
        scoring->part_weight[i] = 1;
    for (size_t w = 0; w < request->weight_count; w++) {
        const struct engine_weight *weight = &request->weights[w];
        bool behaviour = strcmp(weight->key, "behaviour") == 0, popularity = strcmp(weight->key, "popularity") == 0;
        if (!behaviour && !popularity && !engine_is_modality(scoring->view->snapshot->catalog, weight->key))
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "weights",
                                     "'%s' is no modality of this shop, nor 'behaviour' or 'popularity'", weight->key);
        if (behaviour)
            scoring->part_weight[PART_SEQUENCE] = scoring->part_weight[PART_COOCCURRENCE] = (float)weight->value;
        if (popularity)
            scoring->part_weight[PART_PRIOR] = (float)weight->value;
        for (int i = 0; i < a->stream_count; i++)
            if (strcmp(engine_judged_modality(a, i), weight->key) == 0)
                scoring->part_weight[PART_STREAMS + i] = (float)weight->value;
    }
    if (request->task == ENGINE_COMPLEMENT)
        weigh_complement(scoring);
    return request->task != ENGINE_SIMILAR || weigh_similar(scoring, request, st);
}
