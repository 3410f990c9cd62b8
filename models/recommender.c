/* SPDX-License-Identifier: Apache-2.0 */
#include "models/recommender_internal.h"

#include "models/kernels.h"
#include "models/matrix.h"
#include "models/sequence.h"

#include <math.h>
#include <string.h>

/* Logits within ± this of their upper bound need no row maximum: e^-60 is far above the smallest float. */
#define BOUND 60.0f

float recommender_value(const struct model *model, const struct recommender_event *event)
{
    return event->behaviour >= 0 ? model->weights.value[event->behaviour] : event->weight;
}

/* rows (length, components) of one view and role; an event without a row is a zero row */
static float *gather(const struct model *model, int view, enum role role, const struct recommender_event *events,
                     size_t length, struct arena *arena)
{
    size_t r = (size_t)model->architecture.views[view].components;
    float *out = arena_floats(arena, length * r);
    for (size_t l = 0; out != NULL && l < length; l++) {
        if (events[l].rows != NULL)
            memcpy(out + l * r, events[l].rows->role[view][role] + events[l].row * r, r * sizeof *out);
        else
            memset(out + l * r, 0, r * sizeof *out);
    }
    return out;
}

static bool is_zero(const float *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i] != 0)
            return false;
    return true;
}

/* the age of an event in steps, as the biases know it */
static size_t position(const struct recommender_user *user, size_t l)
{
    size_t age = user->unordered ? 0 : user->length - 1 - l;
    return age < ARCHITECTURE_POSITIONS ? age : ARCHITECTURE_POSITIONS - 1;
}

static bool has_unit_rows(const struct view *view)
{
    return view->correction == 0 && strcmp(view->modality, "id") != 0;
}

/* the part of the pick that does not depend on the candidate */
static void fill_bias(struct recommender_user *user, int index, const struct recommender_event *events, int64_t now_ms)
{
    const struct architecture *a = &user->model->architecture;
    const struct similarity *s = &a->similarities[index];
    const struct view *view = &a->views[s->history_view];
    float *bias = user->bias[index], most = -INFINITY, sharpest = 0;
    for (size_t l = 0; l < user->length; l++) {
        size_t step = position(user, l);
        bias[l] = user->model->weights.similarity[index].position[step] +
                  user->model->weights.similarity[index]
                      .time[model_time_bucket(user->unordered ? 0 : now_ms - events[l].ts_ms)];
        if (events[l].behaviour >= 0)
            bias[l] += user->model->weights.similarity[index].behaviour[events[l].behaviour];
        if (s->mask_missing && is_zero(user->key[index] + l * (size_t)view->components, (size_t)view->components))
            bias[l] = -KERNELS_MASKED;
        most = fmaxf(most, bias[l]);
    }
    for (int h = 0; h < s->heads; h++)
        sharpest = fmaxf(sharpest, fabsf(user->model->weights.similarity[index].sharpness[h]));
    user->bounded[index] = s->kind == ATTENTION_DOT && has_unit_rows(view) &&
                           has_unit_rows(&a->views[s->candidate_view]) && s->hard == 0 && !s->mask_missing &&
                           2 * sharpest < BOUND;
    for (size_t l = 0; user->bounded[index] && l < user->length; l++)
        bias[l] -= sharpest + most; /* unit rows: no logit is above this */
}

/* normalise each head's slice of each row: cosine attention */
static void normalise_slices(float *rows, size_t count, size_t components, size_t heads)
{
    size_t width = components / heads;
    for (size_t i = 0; i < count * heads; i++) {
        float *slice = rows + i * width, norm = sqrtf(matrix_dot(slice, slice, width));
        for (size_t j = 0; j < width; j++)
            slice[j] = norm > 0 ? slice[j] / norm : 0;
    }
}

static bool prepare_similarities(struct recommender_user *user, const struct recommender_event *events, int64_t now_ms,
                                 struct arena *arena)
{
    const struct architecture *a = &user->model->architecture;
    for (int i = 0; i < a->similarity_count; i++) {
        const struct similarity *s = &a->similarities[i];
        const struct view *view = &a->views[s->history_view];
        float *key = gather(user->model, s->history_view, ROLE_KEY, events, user->length, arena);
        user->key[i] = key;
        user->worth[i] = key;
        user->bias[i] = arena_floats(arena, user->length);
        if (key == NULL || user->bias[i] == NULL)
            return false;
        if (view->correction > 0 || s->kind == ATTENTION_COSINE) /* else v is k: the rows themselves */
            user->worth[i] = gather(user->model, s->history_view, ROLE_HISTORY_VALUE, events, user->length, arena);
        if (user->worth[i] == NULL)
            return false;
        if (s->kind == ATTENTION_COSINE)
            normalise_slices(key, user->length, (size_t)view->components, (size_t)s->heads);
        fill_bias(user, i, events, now_ms);
    }
    return true;
}

/* u from the self-attention over the history's tokens */
static bool prepare_state(struct recommender_user *user, const struct recommender_event *events, int64_t now_ms,
                          struct arena *arena)
{
    size_t d = (size_t)user->model->architecture.width, L = user->length, start[] = {0, L};
    float *token = arena_floats(arena, L * d), *state = arena_floats(arena, L * d);
    int *behaviour = arena_alloc(arena, L * sizeof *behaviour);
    int64_t *ts_ms = arena_alloc(arena, (L + 1) * sizeof *ts_ms);
    if (token == NULL || behaviour == NULL || ts_ms == NULL || state == NULL)
        return false;
    for (size_t l = 0; l < L; l++) {
        if (events[l].rows != NULL)
            memcpy(token + l * d, events[l].rows->token + events[l].row * d, d * sizeof *token);
        else
            memset(token + l * d, 0, d * sizeof *token);
        behaviour[l] = events[l].behaviour;
        ts_ms[l] = events[l].ts_ms;
    }
    ts_ms[L] = now_ms; /* each row looks back from the next event, the last from now */
    struct sequences sequences = {1, start, token, behaviour, ts_ms, ts_ms + 1};
    struct sequence_tape tape;
    user->state = state + (L - 1) * d;
    return sequence_forward(state, &tape, user->model, &sequences, NULL, arena);
}

/* Σ_l value_l · e^position[age] · row_l of each view that judges, normalised: where the user's taste lies */
static bool prepare_queries(struct recommender_user *user, struct arena *arena)
{
    const struct architecture *a = &user->model->architecture;
    for (int i = 0; i < a->similarity_count; i++) {
        int view = a->similarities[i].candidate_view;
        size_t r = (size_t)a->views[view].components;
        if (user->query[view] != NULL)
            continue;
        float *query = user->query[view] = arena_floats(arena, r);
        if (query == NULL)
            return false;
        memset(query, 0, r * sizeof *query);
        for (size_t l = 0; l < user->length; l++) {
            size_t step = position(user, l);
            float weight = user->value[l] * expf(user->model->weights.similarity[i].position[step]);
            for (size_t j = 0; j < r; j++)
                query[j] += weight * user->worth[i][l * r + j];
        }
        normalise_slices(query, 1, r, 1);
    }
    return true;
}

static bool prepare_scratch(struct recommender_user *user, struct arena *arena)
{
    const struct architecture *a = &user->model->architecture;
    size_t widest = 0;
    for (int i = 0; i < a->similarity_count; i++)
        if (a->similarities[i].kind == ATTENTION_COSINE) {
            size_t r = (size_t)a->views[a->similarities[i].candidate_view].components;
            widest = r > widest ? r : widest;
        }
    user->similarities = arena_floats(arena, 2 * (size_t)a->similarity_count * RECOMMENDER_BLOCK * user->length);
    user->attention = arena_floats(arena, 3 * user->length);
    user->scaled = widest > 0 ? arena_floats(arena, RECOMMENDER_BLOCK * widest) : NULL;
    return user->similarities != NULL && user->attention != NULL && (widest == 0 || user->scaled != NULL);
}

static bool prepare(struct recommender_user *user, const struct recommender_event *events, size_t count, int64_t now_ms,
                    bool with_state, struct arena *arena)
{
    user->length = count;
    if (count == 0)
        return true;
    user->value = arena_floats(arena, count);
    if (user->value == NULL)
        return false;
    for (size_t l = 0; l < count; l++)
        user->value[l] = recommender_value(user->model, &events[l]);
    return prepare_similarities(user, events, now_ms, arena) && prepare_queries(user, arena) &&
           (!with_state || user->model->architecture.blocks == 0 || prepare_state(user, events, now_ms, arena)) &&
           prepare_scratch(user, arena);
}

static bool prepare_newest(struct recommender_user *user, const struct model *model,
                           const struct recommender_event *events, size_t count, int64_t now_ms, bool with_state,
                           struct arena *arena)
{
    *user = (struct recommender_user){.model = model};
    size_t most = (size_t)model->architecture.history;
    if (count > most) {
        events += count - most;
        count = most;
    }
    return prepare(user, events, count, now_ms, with_state, arena);
}

bool recommender_prepare(struct recommender_user *user, const struct model *model,
                         const struct recommender_event *events, size_t count, int64_t now_ms, struct arena *arena)
{
    return prepare_newest(user, model, events, count, now_ms, true, arena);
}

bool recommender_prepare_head(struct recommender_user *user, const struct model *model,
                              const struct recommender_event *events, size_t count, int64_t now_ms, float *state,
                              struct arena *arena)
{
    if (!prepare_newest(user, model, events, count, now_ms, false, arena))
        return false;
    user->state = count > 0 ? state : NULL;
    return true;
}

bool recommender_prepare_examples(struct recommender_user *user, const struct model *model,
                                  const struct recommender_event *examples, size_t count, struct arena *arena)
{
    *user = (struct recommender_user){.model = model, .unordered = true};
    return prepare(user, examples, count, count > 0 ? examples[0].ts_ms : 0, false, arena);
}

size_t recommender_cost(const struct architecture *a, size_t length)
{
    size_t components = 0;
    for (int i = 0; i < a->similarity_count; i++)
        components += (size_t)a->views[a->similarities[i].candidate_view].components;
    return components * length;
}

/* ---- scoring a block */

/* leave only the `keep` largest logits of a row: hard attention */
void recommender_harden(float *logit, size_t length, size_t keep, float *sorted)
{
    if (keep >= length)
        return;
    size_t kept = 0;
    for (size_t l = 0; l < length; l++) { /* insertion into the `keep` largest so far */
        size_t at = kept < keep ? kept++ : keep - 1;
        if (at == keep - 1 && kept == keep && l >= keep && logit[l] <= sorted[at])
            continue;
        while (at > 0 && sorted[at - 1] < logit[l]) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = logit[l];
    }
    for (size_t l = 0; l < length; l++)
        if (logit[l] < sorted[keep - 1])
            logit[l] = -KERNELS_MASKED;
}

bool recommender_picks(const struct architecture *a, int similarity)
{
    for (int i = 0; i < a->stream_count; i++)
        if (a->streams[i].pick == similarity)
            return true;
    return false;
}

/* q·k of every candidate and event, in the way of the similarity */
static void compare_pick(struct recommender_pass *pass, int index, float *out)
{
    const struct recommender_user *user = pass->user;
    const struct similarity *s = &user->model->architecture.similarities[index];
    size_t r = (size_t)user->model->architecture.views[s->candidate_view].components;
    size_t width = r / (size_t)s->heads, offset = (size_t)pass->head * width, n = pass->block->count;
    const float *q = pass->block->rows->role[s->candidate_view][ROLE_QUERY] + pass->block->first * r;
    if (s->kind == ATTENTION_ADDITIVE) {
        const float *w = user->model->weights.similarity[index].additive;
        float key[1024];
        for (size_t l = 0; l < user->length; l++) {
            memcpy(key, user->key[index] + l * r + offset, width * sizeof *key);
            for (size_t c = 0; c < n; c++)
                pass->kernels->additive(out + c * user->length + l, q + c * r + offset, key, w, 1, width);
        }
        return;
    }
    if (s->kind == ATTENTION_COSINE) {
        memcpy(user->scaled, q, n * r * sizeof *q);
        normalise_slices(user->scaled, n, r, (size_t)s->heads);
        q = user->scaled;
    }
    matrix_multiply_transposed(out, q + offset, r, user->key[index] + offset, r, n, user->length, width);
}

/* the similarities of one head: a product serves pick and judge where both are the rows themselves */
void recommender_compare(struct recommender_pass *pass)
{
    const struct recommender_user *user = pass->user;
    const struct architecture *a = &user->model->architecture;
    size_t plane = RECOMMENDER_BLOCK * user->length;
    for (int i = 0; i < a->similarity_count; i++) {
        const struct similarity *s = &a->similarities[i];
        const struct view *view = &a->views[s->candidate_view];
        size_t r = (size_t)view->components, width = r / (size_t)s->heads, offset = (size_t)pass->head * width;
        pass->judge[i] = user->similarities + 2 * (size_t)i * plane;
        pass->pick[i] = pass->judge[i];
        if (pass->head >= s->heads)
            continue;
        matrix_multiply_transposed(pass->judge[i],
                                   pass->block->rows->role[s->candidate_view][ROLE_CANDIDATE_VALUE] +
                                       pass->block->first * r + offset,
                                   r, user->worth[i] + offset, r, pass->block->count, user->length, width);
        if ((s->kind != ATTENTION_DOT || view->correction > 0 || a->views[s->history_view].correction > 0) &&
            recommender_picks(a, i)) {
            pass->pick[i] = pass->judge[i] + plane;
            compare_pick(pass, i, pass->pick[i]);
        }
    }
}

/* add the streams that `pick` chooses for, for one candidate and head */
static void attend(const struct recommender_pass *pass, int pick, size_t candidate, float *streams)
{
    const struct recommender_user *user = pass->user;
    const struct architecture *a = &user->model->architecture;
    const struct similarity *s = &a->similarities[pick];
    const float *judge[KERNELS_JUDGES_MAX];
    int stream[KERNELS_JUDGES_MAX];
    float out[KERNELS_JUDGES_MAX];
    size_t judges = 0, L = user->length;
    for (int i = 0; i < a->stream_count && judges < KERNELS_JUDGES_MAX; i++)
        if (a->streams[i].pick == pick) {
            judge[judges] = pass->judge[a->streams[i].judge] + candidate * L;
            stream[judges++] = i;
        }
    const float *row = pass->pick[pick] + candidate * L, *bias = user->bias[pick];
    float sharpness = user->model->weights.similarity[pick].sharpness[pass->head];
    if (s->hard > 0) {
        float *logit = user->attention + L, *sorted = user->attention + 2 * L;
        for (size_t l = 0; l < L; l++)
            logit[l] = row[l] * sharpness + bias[l];
        recommender_harden(logit, L, (size_t)s->hard, sorted);
        memset(sorted, 0, L * sizeof *sorted);
        row = logit;
        bias = sorted;
        sharpness = 1;
    }
    pass->kernels->attend(out, user->attention, row, sharpness, bias, user->value, judge, judges, L,
                          user->bounded[pick]);
    for (size_t j = 0; j < judges; j++)
        streams[stream[j]] += out[j];
}

static void score_streams(const struct recommender_user *user, const struct recommender_block *block, float *parts)
{
    const struct architecture *a = &user->model->architecture;
    size_t stride = PART_STREAMS + (size_t)a->stream_count;
    int heads = 0;
    for (int i = 0; i < a->similarity_count; i++)
        heads = a->similarities[i].heads > heads ? a->similarities[i].heads : heads;
    struct recommender_pass pass = {.user = user, .block = block, .kernels = kernels()};
    for (pass.head = 0; pass.head < heads && user->length > 0; pass.head++) {
        recommender_compare(&pass);
        for (int i = 0; i < a->similarity_count; i++)
            if (pass.head < a->similarities[i].heads && recommender_picks(a, i))
                for (size_t c = 0; c < block->count; c++)
                    attend(&pass, i, c, parts + c * stride + PART_STREAMS);
    }
}

/* γ, the request's weights, and everything that is not a stream */
static void finish(const struct recommender_user *user, const struct recommender_context *context,
                   const struct recommender_block *block, size_t c, float *part, float *score)
{
    const struct architecture *a = &user->model->architecture;
    const struct weights *w = &user->model->weights;
    uint32_t id = block->item_ids[c];
    float popularity = id < context->counts->item_capacity ? context->counts->log_popularity[id] : 0;
    float recent = counts_recent(context->counts, id, context->now_ms), sum = 0;
    size_t d = (size_t)a->width;
    if (user->state != NULL)
        part[PART_SEQUENCE] =
            *w->sequence_scale * matrix_dot(user->state, block->rows->output + (block->first + c) * d, d);
    part[PART_COOCCURRENCE] = cooccurrence_term(context->cooccurrence, id);
    part[PART_PRIOR] = *w->popularity * popularity + (recent > 0 ? *w->recent * log1pf(recent) : 0) +
                       (user->length > 0 ? *w->novelty / (1 + (float)counts_popularity(context->counts, id)) : 0);
    for (int i = 0; i < a->stream_count; i++)
        part[PART_STREAMS + i] *= w->stream[i] + w->stream_count[i] * popularity;
    for (int i = 0; i < PART_STREAMS + a->stream_count; i++) {
        part[i] *= context->weight[i];
        sum += part[i];
    }
    *score = sum;
}

void recommender_score(const struct recommender_user *user, const struct recommender_context *context,
                       const struct recommender_block *block, float *score, float *parts)
{
    size_t stride = PART_STREAMS + (size_t)user->model->architecture.stream_count;
    float own[RECOMMENDER_BLOCK * RECOMMENDER_PARTS_MAX];
    float *part = parts != NULL ? parts : own;
    memset(part, 0, block->count * stride * sizeof *part);
    score_streams(user, block, part);
    for (size_t c = 0; c < block->count; c++)
        finish(user, context, block, c, part + c * stride, score + c);
}
