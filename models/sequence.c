/* SPDX-License-Identifier: Apache-2.0 */
#include "models/sequence.h"

#include "models/layers.h"
#include "models/matrix.h"

#include <math.h>
#include <string.h>

#define MASKED (-1e30f)

/* The bias of row i on event j: how many steps and how long ago, and what it was. Row i looks back from the time of the event it predicts. */
static float bias(const struct model *model, int block, size_t head, const struct sequence *s, size_t i, size_t j)
{
    size_t B = (size_t)model->architecture.behaviour_count;
    size_t steps = i - j < ARCHITECTURE_POSITIONS ? i - j : ARCHITECTURE_POSITIONS - 1;
    int64_t from_ms = i + 1 < s->length ? s->ts_ms[i + 1] : s->now_ms;
    size_t bucket = (size_t)model_time_bucket(from_ms - s->ts_ms[j]);
    float sum = model->weights.block[block].position[head * ARCHITECTURE_POSITIONS + steps] +
                model->weights.block[block].time[head * ARCHITECTURE_TIME_BUCKETS + bucket];
    if (s->behaviour[j] >= 0)
        sum += model->weights.block[block].behaviour_bias[head * B + (size_t)s->behaviour[j]];
    return sum;
}

/* y (L, d): concatenated heads of softmax(QKᵀ/√dh + bias) V; qkv (L, 3d); scores (L, L) */
static void attend(float *y, const float *qkv, float *scores, const struct model *model, int block,
                   const struct sequence *s)
{
    size_t d = (size_t)model->architecture.width, heads = (size_t)model->architecture.heads, width = d / heads;
    size_t L = s->length;
    float scale = 1.0f / sqrtf((float)width);
    for (size_t h = 0; h < heads; h++) {
        matrix_multiply_transposed(scores, qkv + h * width, 3 * d, qkv + d + h * width, 3 * d, L, L, width);
        for (size_t i = 0; i < L; i++)
            for (size_t j = 0; j < L; j++)
                scores[i * L + j] = j <= i ? scores[i * L + j] * scale + bias(model, block, h, s, i, j) : MASKED;
        layer_softmax(scores, L, L);
        for (size_t i = 0; i < L; i++) {
            float *out = y + i * d + h * width;
            memset(out, 0, width * sizeof *out);
            for (size_t j = 0; j <= i; j++) {
                const float *v = qkv + j * 3 * d + 2 * d + h * width;
                for (size_t k = 0; k < width; k++)
                    out[k] += scores[i * L + j] * v[k];
            }
        }
    }
}

bool sequence_forward(float *u, const struct model *model, const struct sequence *s, struct arena *arena)
{
    const struct weights *w = &model->weights;
    size_t L = s->length, d = (size_t)model->architecture.width, f = (size_t)model->architecture.feedforward;
    float *x = arena_floats(arena, L * d), *norm = arena_floats(arena, L * d), *qkv = arena_floats(arena, L * 3 * d);
    float *y = arena_floats(arena, L * d), *out = arena_floats(arena, L * d), *scratch = arena_floats(arena, L * d);
    float *scores = arena_floats(arena, L * L), *hidden = arena_floats(arena, 2 * L * f);
    if (x == NULL || norm == NULL || qkv == NULL || y == NULL || out == NULL || scratch == NULL || scores == NULL ||
        hidden == NULL)
        return false;
    memcpy(x, s->token, L * d * sizeof *x);
    for (size_t i = 0; i < L; i++)
        if (s->behaviour[i] >= 0)
            layer_add_bias(x + i * d, w->behaviour + (size_t)s->behaviour[i] * d, 1, d);
    for (int b = 0; b < model->architecture.blocks; b++) {
        layer_norm(norm, x, w->block[b].norm1_scale, w->block[b].norm1_shift, L, d);
        matrix_multiply(qkv, norm, w->block[b].qkv, L, 3 * d, d);
        attend(y, qkv, scores, model, b, s);
        matrix_multiply(out, y, w->block[b].out, L, d, d);
        layer_gated_residual(x, out, w->block[b].gate1, w->block[b].gate1_bias, scratch, L, d);
        layer_norm(norm, x, w->block[b].norm2_scale, w->block[b].norm2_shift, L, d);
        layer_swiglu(out, norm, w->block[b].up_gate, w->block[b].up, w->block[b].down, hidden, L, d, f);
        layer_gated_residual(x, out, w->block[b].gate2, w->block[b].gate2_bias, scratch, L, d);
    }
    layer_norm(u, x + (L - 1) * d, w->norm_scale, w->norm_shift, 1, d);
    return true;
}
