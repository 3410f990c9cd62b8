/* SPDX-License-Identifier: Apache-2.0 */
#include "models/encoder.h"

#include "models/components.h"
#include "models/fusion.h"
#include "models/matrix.h"

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

static size_t block_floats(const struct architecture *a, size_t capacity)
{
    size_t arrays = 2 + (size_t)a->view_count * (1 + ROLE_COUNT);
    return capacity * encoder_row_floats(a) + arrays * ROW_ALIGNMENT;
}

static void lay_out(struct encoder_rows *rows, const struct architecture *a, size_t capacity, float *at)
{
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
}

bool encoder_rows_init(struct encoder_rows *rows, const struct architecture *a, size_t capacity)
{
    *rows = (struct encoder_rows){.capacity = capacity};
    rows->block = aligned_alloc(64, (block_floats(a, capacity) * sizeof(float) + 63) & ~(size_t)63);
    if (rows->block != NULL)
        lay_out(rows, a, capacity, rows->block);
    return rows->block != NULL;
}

bool encoder_rows_borrow(struct encoder_rows *rows, const struct architecture *a, size_t capacity, struct arena *arena)
{
    *rows = (struct encoder_rows){.capacity = capacity};
    float *at = arena_floats(arena, block_floats(a, capacity));
    if (at != NULL)
        lay_out(rows, a, capacity, at);
    return at != NULL;
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

/* tokens z and outputs o of a batch */
static bool encode_tokens(const struct model *model, const struct encoder_item *items, size_t count,
                          const struct encoder_rows *rows, size_t first, struct arena *arena)
{
    const struct architecture *a = &model->architecture;
    size_t d = (size_t)a->width;
    struct fusion_items fused = {.count = count};
    struct fusion_tape tape;
    int64_t *id_row = arena_alloc(arena, count * sizeof *id_row);
    if (id_row == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        id_row[i] = model_item_row(model, items[i].name);
    fused.id_row = id_row;
    for (int v = 0; v < a->view_count; v++) {
        bool *present = is_id(&a->views[v]) ? NULL : arena_alloc(arena, count * sizeof *present);
        if (present == NULL && !is_id(&a->views[v]))
            return false;
        for (size_t i = 0; present != NULL && i < count; i++)
            present[i] = items[i].vector[v] != NULL;
        fused.present[v] = present;
        fused.x[v] = rows->view[v] + first * (size_t)a->views[v].components;
    }
    return fusion_forward(rows->token + first * d, rows->output + first * d, &tape, model, &fused, arena);
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

bool encoder_correct(const struct model *model, const struct encoder_rows *rows, size_t first, size_t count,
                     struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    bool ok = true;
    for (int v = 0; ok && v < model->architecture.view_count; v++)
        ok = model->architecture.views[v].correction == 0 || correct_view(model, v, rows, first, count, arena);
    arena_rewind(arena, mark);
    return ok;
}
