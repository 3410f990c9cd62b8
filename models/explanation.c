/* SPDX-License-Identifier: Apache-2.0 */
#include "models/explanation.h"

#include "models/fusion.h"
#include "models/matrix.h"
#include "models/recommender_internal.h"

#include <math.h>
#include <string.h>

#define PARTS ((size_t)ARCHITECTURE_VIEWS_MAX + 1)

/* ---- streams */

/* attention (L) of one candidate and head, as kernels' attend has it before the value comes in; false where every event is masked */
static bool attention(const struct recommender_pass *pass, int pick, size_t candidate, float *out, float *sorted)
{
    const struct recommender_user *user = pass->user;
    const struct similarity *s = &user->model->architecture.similarities[pick];
    size_t L = user->length;
    const float *row = pass->pick[pick] + candidate * L, *bias = user->bias[pick];
    float sharpness = user->model->weights.similarity[pick].sharpness[pass->head], most = -INFINITY;
    for (size_t l = 0; l < L; l++)
        out[l] = row[l] * sharpness + bias[l];
    if (s->hard > 0)
        recommender_harden(out, L, (size_t)s->hard, sorted);
    for (size_t l = 0; l < L; l++)
        most = fmaxf(most, out[l]);
    if (most < -0.5f * KERNELS_MASKED)
        return false;
    pass->kernels->softmax(out, L);
    return true;
}

/* one head's share of every stream that `pick` chooses for */
static void add_streams(const struct recommender_pass *pass, int pick, size_t candidate, const float *attended,
                        struct explanation *out)
{
    const struct recommender_user *user = pass->user;
    const struct architecture *a = &user->model->architecture;
    size_t L = user->length;
    float heads = (float)a->similarities[pick].heads;
    for (int i = 0; i < a->stream_count; i++) {
        if (a->streams[i].pick != pick)
            continue;
        const float *judge = pass->judge[a->streams[i].judge] + candidate * L;
        float *picked = out->pick + (size_t)i * L, *value = out->value + (size_t)i * L;
        for (size_t l = 0; l < L; l++) {
            picked[l] += attended[l] / heads;
            value[l] += out->weight[i] * attended[l] * user->value[l] * judge[l];
        }
    }
}

static bool explain_streams(struct explanation *out, const struct recommender_user *user,
                            const struct recommender_block *block, struct arena *arena)
{
    const struct architecture *a = &user->model->architecture;
    float *attended = arena_floats(arena, user->length), *sorted = arena_floats(arena, user->length);
    struct recommender_pass pass = {.user = user, .block = block, .kernels = kernels()};
    int heads = 0;
    if (attended == NULL || sorted == NULL)
        return false;
    for (int i = 0; i < a->similarity_count; i++)
        heads = a->similarities[i].heads > heads ? a->similarities[i].heads : heads;
    for (pass.head = 0; pass.head < heads; pass.head++) {
        recommender_compare(&pass);
        for (int i = 0; i < a->similarity_count; i++)
            for (size_t c = 0; pass.head < a->similarities[i].heads && recommender_picks(a, i) && c < block->count; c++)
                if (attention(&pass, i, c, attended, sorted))
                    add_streams(&pass, i, c, attended, &out[c]);
    }
    return true;
}

/* ---- sequence */

static bool is_zero(const float *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i] != 0)
            return false;
    return true;
}

/* which modalities the candidates have: a missing one is a zero row */
static bool find_present(struct fusion_items *items, const struct model *model, const struct recommender_block *block,
                         const char *const *names, struct arena *arena)
{
    const struct architecture *a = &model->architecture;
    int64_t *id_row = arena_alloc(arena, block->count * sizeof *id_row);
    *items = (struct fusion_items){.count = block->count, .id_row = id_row};
    for (size_t c = 0; id_row != NULL && c < block->count; c++)
        id_row[c] = model_item_row(model, names[c]);
    for (int v = 0; id_row != NULL && v < a->view_count; v++) {
        size_t r = (size_t)a->views[v].components;
        items->x[v] = block->rows->view[v] + block->first * r;
        if (strcmp(a->views[v].modality, "id") == 0)
            continue;
        bool *present = arena_alloc(arena, block->count * sizeof *present);
        if (present == NULL)
            return false;
        for (size_t c = 0; c < block->count; c++)
            present[c] = !is_zero(items->x[v] + c * r, r);
        items->present[v] = present;
    }
    return id_row != NULL;
}

/* scale · g_m · (z_m · W_o u) for every part m of the candidate's token */
static bool explain_sequence(struct explanation *out, const struct recommender_user *user,
                             const struct recommender_context *context, const struct recommender_block *block,
                             const char *const *names, struct arena *arena)
{
    const struct model *model = user->model;
    size_t d = (size_t)model->architecture.width, n = block->count;
    struct fusion_items items;
    struct fusion_tape tape;
    float *token = arena_floats(arena, n * d), *output = arena_floats(arena, n * d), *taste = arena_floats(arena, d);
    if (token == NULL || output == NULL || taste == NULL || !find_present(&items, model, block, names, arena) ||
        !fusion_forward(token, output, &tape, model, &items, arena))
        return false;
    float scale = *model->weights.sequence_scale * context->weight[PART_SEQUENCE];
    for (size_t j = 0; j < d; j++)
        taste[j] = matrix_dot(model->weights.output + j * d, user->state, d);
    for (size_t c = 0; c < n; c++)
        for (size_t part = 0; part < PARTS; part++) {
            const float *z = part == PARTS - 1 ? tape.id : tape.z[part];
            float gate = tape.gate[c * PARTS + part];
            if (z != NULL && gate > 0)
                out[c].sequence[part] = scale * gate * matrix_dot(z + c * d, taste, d);
        }
    return true;
}

/* ---- counts */

static void explain_cooccurrence(struct explanation *out, const struct recommender_user *user,
                                 const struct recommender_context *context, uint32_t item_id,
                                 const struct recommender_event *events, size_t count)
{
    struct cooccurrence_scalars scalars = cooccurrence_scalars(&user->model->weights);
    float factor = 1;
    if (user->unordered)
        scalars.decay = 1;
    for (size_t age = 0; age < count && factor >= COOCCURRENCE_NEGLIGIBLE; age++, factor *= scalars.decay) {
        const struct recommender_event *event = &events[count - 1 - age];
        struct cooccurrence_event from = {event->item_id, recommender_value(user->model, event)};
        out->cooccurrence[count - 1 - age] =
            context->weight[PART_COOCCURRENCE] * cooccurrence_of(context->counts, &from, scalars, factor, item_id);
    }
}

static void explain_prior(struct explanation *out, const struct recommender_user *user,
                          const struct recommender_context *context, uint32_t item_id)
{
    const struct weights *w = &user->model->weights;
    float weight = context->weight[PART_PRIOR], recent = counts_recent(context->counts, item_id, context->now_ms);
    float popularity = item_id < context->counts->item_capacity ? context->counts->log_popularity[item_id] : 0;
    out->popularity = weight * *w->popularity * popularity;
    out->recent = recent > 0 ? weight * *w->recent * log1pf(recent) : 0;
    out->novelty =
        user->length > 0 ? weight * *w->novelty / (1 + (float)counts_popularity(context->counts, item_id)) : 0;
    for (int i = 0; i < user->model->architecture.stream_count; i++)
        out->weight[i] = context->weight[PART_STREAMS + i] * (w->stream[i] + w->stream_count[i] * popularity);
}

/* ---- all of it */

static bool make_room(struct explanation *out, const struct recommender_user *user, size_t count, struct arena *arena)
{
    size_t streams = (size_t)user->model->architecture.stream_count, cells = streams * user->length;
    *out = (struct explanation){.pick = arena_zeroed(arena, cells + 1, sizeof(float)),
                                .value = arena_zeroed(arena, cells + 1, sizeof(float)),
                                .weight = arena_zeroed(arena, streams + 1, sizeof(float)),
                                .cooccurrence = arena_zeroed(arena, count + 1, sizeof(float))};
    return out->pick != NULL && out->value != NULL && out->weight != NULL && out->cooccurrence != NULL;
}

bool explanation_compute(struct explanation *out, const struct recommender_user *user,
                         const struct recommender_context *context, const struct recommender_block *block,
                         const char *const *names, const struct recommender_event *events, size_t count,
                         struct arena *arena)
{
    for (size_t c = 0; c < block->count; c++) {
        if (!make_room(&out[c], user, count, arena))
            return false;
        explain_prior(&out[c], user, context, block->item_ids[c]);
        explain_cooccurrence(&out[c], user, context, block->item_ids[c], events, count);
    }
    return (user->length == 0 || explain_streams(out, user, block, arena)) &&
           (user->state == NULL || explain_sequence(out, user, context, block, names, arena));
}
