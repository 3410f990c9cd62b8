/* SPDX-License-Identifier: Apache-2.0 */
#include "models/encoder.h"

#include "models/components.h"
#include "models/layers.h"
#include "models/matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW_ALIGNMENT 16 /* floats: arrays start on a cache line */

static bool is_id(const struct view *view)
{
    return strcmp(view->modality, "id") == 0;
}

size_t encoder_row_floats(const struct architecture *a)
{
    size_t floats = a->blocks > 0 ? 2 * (size_t)a->width : 0;
    for (int i = 0; i < a->view_count; i++)
        floats += (size_t)a->views[i].components * (a->views[i].correction > 0 ? 1 + ROLE_COUNT : 1);
    return floats;
}

static float *carve(float **at, size_t floats)
{
    float *begin = *at;
    *at += (floats + ROW_ALIGNMENT - 1) / ROW_ALIGNMENT * ROW_ALIGNMENT;
    return begin;
}

bool encoder_rows_init(struct encoder_rows *rows, const struct architecture *a, size_t capacity)
{
    *rows = (struct encoder_rows){.capacity = capacity};
    size_t arrays = 2 + (size_t)a->view_count * (1 + ROLE_COUNT);
    size_t size = (capacity * encoder_row_floats(a) + arrays * ROW_ALIGNMENT) * sizeof(float);
    rows->block = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (rows->block == NULL)
        return false;
    float *at = rows->block;
    for (int i = 0; i < a->view_count; i++) {
        size_t floats = capacity * (size_t)a->views[i].components;
        rows->view[i] = carve(&at, floats);
        for (int role = 0; role < ROLE_COUNT; role++)
            rows->role[i][role] = a->views[i].correction > 0 ? carve(&at, floats) : rows->view[i];
    }
    if (a->blocks > 0) {
        rows->token = carve(&at, capacity * (size_t)a->width);
        rows->output = carve(&at, capacity * (size_t)a->width);
    }
    return true;
}

void encoder_rows_close(struct encoder_rows *rows)
{
    free(rows->block);
    *rows = (struct encoder_rows){0};
}

void encoder_copy(const struct architecture *a, const struct encoder_rows *out, size_t to,
                  const struct encoder_rows *in, size_t from)
{
    for (int i = 0; i < a->view_count; i++) {
        size_t r = (size_t)a->views[i].components;
        memcpy(out->view[i] + to * r, in->view[i] + from * r, r * sizeof(float));
        for (int role = 0; role < ROLE_COUNT && a->views[i].correction > 0; role++)
            memcpy(out->role[i][role] + to * r, in->role[i][role] + from * r, r * sizeof(float));
    }
    size_t d = (size_t)a->width;
    if (a->blocks > 0) {
        memcpy(out->token + to * d, in->token + from * d, d * sizeof(float));
        memcpy(out->output + to * d, in->output + from * d, d * sizeof(float));
    }
}

/* x̃ of one view: components of the raw vectors, or the learned embedding for "id" */
static bool encode_view(const struct model *model, int index, const struct encoder_item *items, size_t count,
                        float *out, struct arena *arena)
{
    const struct view *view = &model->architecture.views[index];
    size_t dimension = (size_t)view->dimension, r = (size_t)view->components;
    if (is_id(view)) {
        for (size_t i = 0; i < count; i++) {
            int64_t row = model->weights.id == NULL ? -1 : model_item_row(model, items[i].name);
            if (row >= 0)
                memcpy(out + i * r, model->weights.id + (size_t)row * r, r * sizeof *out);
            else
                memset(out + i * r, 0, r * sizeof *out);
        }
        return true;
    }
    float *raw = arena_floats(arena, count * dimension), *scratch = arena_floats(arena, count * dimension);
    if (raw == NULL || scratch == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].vector[index] != NULL)
            memcpy(raw + i * dimension, items[i].vector[index], dimension * sizeof *raw);
        else
            memset(raw + i * dimension, 0, dimension * sizeof *raw);
    }
    components_apply(out, raw, model->weights.view[index].mean, model->weights.view[index].rotation, count, dimension,
                     r, scratch);
    return true;
}

/* q, k, r, v: x + (x·down)·up */
static bool correct_view(const struct model *model, int index, const struct encoder_rows *rows, size_t first,
                         size_t count, struct arena *arena)
{
    const struct view *view = &model->architecture.views[index];
    size_t r = (size_t)view->components, c = (size_t)view->correction;
    const float *x = rows->view[index] + first * r;
    float *low = arena_floats(arena, count * c);
    if (low == NULL)
        return false;
    for (int role = 0; role < ROLE_COUNT; role++) {
        float *out = rows->role[index][role] + first * r;
        matrix_multiply(low, x, model->weights.view[index].down[role], count, c, r);
        matrix_multiply(out, low, model->weights.view[index].up[role], count, r, c);
        for (size_t i = 0; i < count * r; i++)
            out[i] += x[i];
    }
    return true;
}

/* additive attention's score of one modality's row (Bahdanau et al. 2015): w·tanh(z·U + c) */
static float gate_score(const struct weights *w, const float *z, const float *bias, size_t d)
{
    float score = 0;
    for (size_t g = 0; g < ARCHITECTURE_GATE_WIDTH; g++) {
        float sum = bias[g];
        for (size_t j = 0; j < d; j++)
            sum += z[j] * w->gate[j * ARCHITECTURE_GATE_WIDTH + g];
        score += w->gate_out[g] * tanhf(sum);
    }
    return score;
}

/* z = Σ g_m z_m over the modalities that are there; an item with none gets a zero row */
static void fuse(const struct model *model, const struct encoder_item *item, float *token,
                 const float *const *projected, const bool *present)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    size_t d = (size_t)a->width;
    float score[ARCHITECTURE_VIEWS_MAX + 1];
    const float *z[ARCHITECTURE_VIEWS_MAX + 1];
    size_t parts = 0;
    for (int v = 0; v < a->view_count; v++)
        if (present[v]) {
            z[parts] = projected[v];
            score[parts++] = gate_score(w, projected[v], w->view[v].gate_bias, d);
        }
    int64_t row = model_item_row(model, item->name);
    if (row >= 0) {
        z[parts] = w->id + (size_t)row * d;
        score[parts] =
            gate_score(w, z[parts], w->id_gate_bias, d) + *w->gate_count * log1pf(model->item_training_count[row]);
        parts++;
    }
    memset(token, 0, d * sizeof *token);
    if (parts == 0)
        return;
    layer_softmax(score, 1, parts);
    for (size_t p = 0; p < parts; p++)
        for (size_t j = 0; j < d; j++)
            token[j] += score[p] * z[p][j];
}

/* tokens z and outputs o of a batch */
static bool encode_tokens(const struct model *model, const struct encoder_item *items, size_t count,
                          const struct encoder_rows *rows, size_t first, struct arena *arena)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    size_t d = (size_t)a->width;
    float *projected[ARCHITECTURE_VIEWS_MAX] = {NULL};
    for (int v = 0; v < a->view_count; v++) {
        size_t r = (size_t)a->views[v].components;
        if (is_id(&a->views[v]))
            continue;
        projected[v] = arena_floats(arena, count * d);
        if (projected[v] == NULL)
            return false;
        matrix_multiply(projected[v], rows->view[v] + first * r, w->view[v].projection, count, d, r);
        layer_add_bias(projected[v], w->view[v].bias, count, d);
        layer_norm(projected[v], projected[v], w->view[v].norm_scale, w->view[v].norm_shift, count, d);
    }
    for (size_t i = 0; i < count; i++) {
        const float *z[ARCHITECTURE_VIEWS_MAX];
        bool present[ARCHITECTURE_VIEWS_MAX];
        for (int v = 0; v < a->view_count; v++) {
            present[v] = projected[v] != NULL && items[i].vector[v] != NULL;
            z[v] = projected[v] == NULL ? NULL : projected[v] + i * d;
        }
        fuse(model, &items[i], rows->token + (first + i) * d, z, present);
    }
    matrix_multiply(rows->output + first * d, rows->token + first * d, w->output, count, d, d);
    return true;
}

bool encoder_encode(const struct model *model, const struct encoder_item *items, size_t count,
                    const struct encoder_rows *rows, size_t first, struct arena *arena)
{
    const struct architecture *a = &model->architecture;
    bool ok = true;
    for (size_t begin = 0; ok && begin < count; begin += ENCODER_BATCH) {
        size_t batch = count - begin < ENCODER_BATCH ? count - begin : ENCODER_BATCH;
        struct arena_mark mark = arena_mark(arena);
        for (int v = 0; ok && v < a->view_count; v++) {
            float *out = rows->view[v] + (first + begin) * (size_t)a->views[v].components;
            ok = encode_view(model, v, items + begin, batch, out, arena) &&
                 (a->views[v].correction == 0 || correct_view(model, v, rows, first + begin, batch, arena));
            arena_rewind(arena, mark);
        }
        ok = ok && (a->blocks == 0 || encode_tokens(model, items + begin, batch, rows, first + begin, arena));
        arena_rewind(arena, mark);
    }
    return ok;
}
