/* SPDX-License-Identifier: Apache-2.0 */
#include "models/fusion.h"

#include "models/kernels.h"
#include "models/layers.h"
#include "models/matrix.h"

#include <math.h>
#include <string.h>

#define GATE  ((size_t)ARCHITECTURE_GATE_WIDTH)
#define PARTS ((size_t)ARCHITECTURE_VIEWS_MAX + 1)
#define ID    ((size_t)ARCHITECTURE_VIEWS_MAX) /* the ID's place among the parts */

/* rows, gate bias of one part; NULL where the model or the items have none */
static const float *part_rows(const struct fusion_tape *tape, size_t part)
{
    return part == ID ? tape->id : tape->z[part];
}

static const float *part_gate_bias(const struct weights *w, size_t part)
{
    return part == ID ? w->id_gate_bias : w->view[part].gate_bias;
}

static bool has(const struct fusion_items *items, size_t part, size_t i)
{
    return part == ID ? items->id_row[i] >= 0 : items->present[part] != NULL && items->present[part][i];
}

static bool project(struct fusion_tape *tape, int v, const struct model *model, const struct fusion_items *items,
                    struct arena *arena)
{
    const struct weights *w = &model->weights;
    size_t n = items->count, d = (size_t)model->architecture.width, r = (size_t)model->architecture.views[v].components;
    tape->projected[v] = arena_floats(arena, n * d);
    tape->z[v] = arena_floats(arena, n * d);
    if (tape->projected[v] == NULL || tape->z[v] == NULL)
        return false;
    matrix_multiply(tape->projected[v], items->x[v], w->view[v].projection, n, d, r);
    layer_add_bias(tape->projected[v], w->view[v].bias, n, d);
    layer_norm(tape->z[v], tape->projected[v], w->view[v].norm_scale, w->view[v].norm_shift, n, d);
    return true;
}

static bool gather_ids(struct fusion_tape *tape, const struct model *model, const struct fusion_items *items,
                       struct arena *arena)
{
    size_t d = (size_t)model->architecture.width;
    tape->id = arena_floats(arena, items->count * d);
    for (size_t i = 0; tape->id != NULL && i < items->count; i++) {
        if (items->id_row[i] >= 0)
            memcpy(tape->id + i * d, model->weights.id + (size_t)items->id_row[i] * d, d * sizeof(float));
        else
            memset(tape->id + i * d, 0, d * sizeof(float));
    }
    return tape->id != NULL;
}

/* e_m of every item into column `part` of the gate */
static bool score_part(struct fusion_tape *tape, size_t part, const struct model *model,
                       const struct fusion_items *items, struct arena *arena)
{
    const struct weights *w = &model->weights;
    size_t n = items->count, d = (size_t)model->architecture.width;
    float *hidden = tape->hidden[part] = arena_floats(arena, n * GATE);
    if (hidden == NULL)
        return false;
    matrix_multiply(hidden, part_rows(tape, part), w->gate, n, GATE, d);
    layer_add_bias(hidden, part_gate_bias(w, part), n, GATE);
    kernels()->tanh(hidden, n * GATE);
    for (size_t i = 0; i < n; i++) {
        float *score = &tape->gate[i * PARTS + part];
        if (!has(items, part, i)) {
            *score = -INFINITY;
            continue;
        }
        *score = matrix_dot(hidden + i * GATE, w->gate_out, GATE);
        if (part == ID)
            *score += *w->gate_count * log1pf(model->item_training_count[items->id_row[i]]);
    }
    return true;
}

/* softmax over the parts that are there; all zero where none is */
static void weigh(float *gate)
{
    float most = -INFINITY, sum = 0;
    for (size_t part = 0; part < PARTS; part++)
        most = fmaxf(most, gate[part]);
    for (size_t part = 0; part < PARTS; part++) {
        gate[part] = gate[part] == -INFINITY ? 0 : expf(gate[part] - most);
        sum += gate[part];
    }
    for (size_t part = 0; part < PARTS && sum > 0; part++)
        gate[part] /= sum;
}

bool fusion_forward(float *token, float *output, struct fusion_tape *tape, const struct model *model,
                    const struct fusion_items *items, struct arena *arena)
{
    size_t n = items->count, d = (size_t)model->architecture.width;
    *tape = (struct fusion_tape){.count = n};
    tape->gate = arena_floats(arena, n * PARTS);
    bool ok = tape->gate != NULL;
    for (size_t i = 0; ok && i < n * PARTS; i++)
        tape->gate[i] = -INFINITY;
    for (int v = 0; ok && v < model->architecture.view_count; v++)
        if (items->present[v] != NULL)
            ok = project(tape, v, model, items, arena) && score_part(tape, (size_t)v, model, items, arena);
    if (model->weights.id != NULL && model->item_count > 0)
        ok = ok && gather_ids(tape, model, items, arena) && score_part(tape, ID, model, items, arena);
    if (!ok)
        return false;
    memset(token, 0, n * d * sizeof *token);
    for (size_t i = 0; i < n; i++)
        weigh(tape->gate + i * PARTS);
    for (size_t part = 0; part < PARTS; part++) {
        const float *rows = part_rows(tape, part);
        for (size_t i = 0; rows != NULL && i < n; i++)
            for (size_t j = 0; j < d; j++)
                token[i * d + j] += tape->gate[i * PARTS + part] * rows[i * d + j];
    }
    matrix_multiply(output, token, model->weights.output, n, d, d);
    return true;
}

/* de_m = g_m (dz·z_m - Σ_k g_k dz·z_k), in dscore (count, PARTS) */
static void gate_gradient(float *dscore, const float *dtoken, const struct fusion_tape *tape, size_t d)
{
    for (size_t i = 0; i < tape->count; i++) {
        const float *gate = tape->gate + i * PARTS;
        float *out = dscore + i * PARTS, mean = 0;
        for (size_t part = 0; part < PARTS; part++) {
            out[part] = gate[part] > 0 ? matrix_dot(dtoken + i * d, part_rows(tape, part) + i * d, d) : 0;
            mean += gate[part] * out[part];
        }
        for (size_t part = 0; part < PARTS; part++)
            out[part] = gate[part] * (out[part] - mean);
    }
}

/* dz of one part: through the sum and through its own score */
static void part_gradient(float *dz, float *dhidden, const struct weights *g, size_t part, const float *dscore,
                          const float *dtoken, const struct fusion_tape *tape, const struct model *model,
                          const struct fusion_items *items)
{
    const struct weights *w = &model->weights;
    size_t n = tape->count, d = (size_t)model->architecture.width;
    const float *hidden = tape->hidden[part];
    float *dbias = part == ID ? g->id_gate_bias : g->view[part].gate_bias;
    for (size_t i = 0; i < n; i++) {
        float gate = tape->gate[i * PARTS + part], de = dscore[i * PARTS + part];
        for (size_t j = 0; j < d; j++)
            dz[i * d + j] = gate * dtoken[i * d + j];
        for (size_t j = 0; j < GATE; j++) {
            float h = hidden[i * GATE + j];
            g->gate_out[j] += de * h;
            dhidden[i * GATE + j] = de * w->gate_out[j] * (1 - h * h);
        }
        if (part == ID && items->id_row[i] >= 0)
            *g->gate_count += de * log1pf(model->item_training_count[items->id_row[i]]);
    }
    layer_add_bias_backward(dbias, dhidden, n, GATE);
    matrix_weight_gradient(g->gate, part_rows(tape, part), dhidden, n, GATE, d);
    matrix_input_gradient(dz, dhidden, w->gate, n, GATE, d);
}

static void project_backward(const struct weights *g, int v, const float *dz, float *dprojected,
                             const struct fusion_tape *tape, const struct model *model,
                             const struct fusion_items *items)
{
    size_t n = tape->count, d = (size_t)model->architecture.width, r = (size_t)model->architecture.views[v].components;
    memset(dprojected, 0, n * d * sizeof *dprojected);
    layer_norm_backward(dprojected, g->view[v].norm_scale, g->view[v].norm_shift, dz, tape->projected[v],
                        model->weights.view[v].norm_scale, n, d);
    layer_add_bias_backward(g->view[v].bias, dprojected, n, d);
    matrix_weight_gradient(g->view[v].projection, items->x[v], dprojected, n, d, r);
}

bool fusion_backward(const struct weights *g, float *dtoken, const float *doutput, const struct fusion_tape *tape,
                     const float *token, const struct model *model, const struct fusion_items *items,
                     struct arena *arena)
{
    size_t n = tape->count, d = (size_t)model->architecture.width;
    struct arena_mark mark = arena_mark(arena);
    float *dscore = arena_floats(arena, n * PARTS), *dhidden = arena_floats(arena, n * GATE);
    float *dz = arena_floats(arena, n * d), *dprojected = arena_floats(arena, n * d);
    if (dscore == NULL || dhidden == NULL || dz == NULL || dprojected == NULL) {
        arena_rewind(arena, mark);
        return false;
    }
    matrix_weight_gradient(g->output, token, doutput, n, d, d);
    matrix_input_gradient(dtoken, doutput, model->weights.output, n, d, d);
    gate_gradient(dscore, dtoken, tape, d);
    for (int v = 0; v < model->architecture.view_count; v++)
        if (tape->z[v] != NULL) {
            part_gradient(dz, dhidden, g, (size_t)v, dscore, dtoken, tape, model, items);
            project_backward(g, v, dz, dprojected, tape, model, items);
        }
    if (tape->id != NULL) {
        part_gradient(dz, dhidden, g, ID, dscore, dtoken, tape, model, items);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; items->id_row[i] >= 0 && j < d; j++)
                g->id[(size_t)items->id_row[i] * d + j] += dz[i * d + j];
    }
    arena_rewind(arena, mark);
    return true;
}
