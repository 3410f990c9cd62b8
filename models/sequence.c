/* SPDX-License-Identifier: Apache-2.0 */
#include "models/sequence.h"

#include "models/attention.h"
#include "models/layers.h"
#include "models/matrix.h"

#include <string.h>

/* Σ over histories of rows × L², for arrays of one matrix per history */
static size_t pair_count(const struct sequences *s)
{
    size_t pairs = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t length = s->start[i + 1] - s->start[i];
        pairs += length * length;
    }
    return pairs;
}

/* factors of dropout, 0 or 1 / (1 - rate); 16 random bits each */
static float *dropout_factors(size_t count, float rate, const struct sequence_dropout *dropout, struct arena *arena)
{
    float *factor = arena_floats(arena, count), kept = 1.0f / (1.0f - rate);
    uint32_t threshold = (uint32_t)(rate * 65536.0f);
    for (size_t i = 0; factor != NULL && i < count; i += 4) {
        uint64_t bits = random_u64(dropout->random);
        for (size_t j = i; j < i + 4 && j < count; j++, bits >>= 16)
            factor[j] = (bits & 0xffff) < threshold ? 0 : kept;
    }
    return factor;
}

static void multiply(float *x, const float *factor, size_t count)
{
    for (size_t i = 0; factor != NULL && i < count; i++)
        x[i] *= factor[i];
}

/* everything of the tape that has a fixed size */
static bool reserve(struct sequence_tape *tape, const struct architecture *a, const struct sequences *s,
                    const struct sequence_dropout *dropout, struct arena *arena)
{
    size_t T = tape->tokens, d = (size_t)a->width, f = (size_t)a->feedforward, pairs = pair_count(s);
    bool ok = (tape->bucket = arena_alloc(arena, pairs)) != NULL && (tape->last = arena_floats(arena, T * d)) != NULL;
    bool drop = dropout != NULL && dropout->rate > 0, drop_weights = dropout != NULL && dropout->attention_rate > 0;
    if (drop)
        ok = ok && (tape->dropped_token = dropout_factors(T * d, dropout->rate, dropout, arena)) != NULL;
    for (int b = 0; ok && b < a->blocks; b++) {
        float **const wide[] = {&tape->block[b].x,        &tape->block[b].norm1, &tape->block[b].y,
                                &tape->block[b].attended, &tape->block[b].gate1, &tape->block[b].middle,
                                &tape->block[b].norm2,    &tape->block[b].fed,   &tape->block[b].gate2};
        for (size_t i = 0; ok && i < sizeof wide / sizeof *wide; i++)
            ok = (*wide[i] = arena_floats(arena, T * d)) != NULL;
        ok = ok && (tape->block[b].qkv = arena_floats(arena, T * 3 * d)) != NULL &&
             (tape->block[b].weight = arena_floats(arena, (size_t)a->heads * pairs)) != NULL &&
             (tape->block[b].a = arena_floats(arena, T * f)) != NULL &&
             (tape->block[b].b = arena_floats(arena, T * f)) != NULL &&
             (tape->block[b].m = arena_floats(arena, T * f)) != NULL;
        if (drop)
            ok = ok && (tape->block[b].dropped1 = dropout_factors(T * d, dropout->rate, dropout, arena)) != NULL &&
                 (tape->block[b].dropped2 = dropout_factors(T * d, dropout->rate, dropout, arena)) != NULL;
        if (drop_weights)
            ok = ok && (tape->block[b].kept =
                            dropout_factors((size_t)a->heads * pairs, dropout->attention_rate, dropout, arena)) != NULL;
    }
    return ok;
}

struct history {
    struct attention_events events;
    size_t first; /* its first event */
    size_t pairs; /* L² of the histories before it */
};

static struct history history_of(const struct sequences *s, const struct sequence_tape *tape, size_t index,
                                 size_t pairs)
{
    size_t first = s->start[index], length = s->start[index + 1] - first;
    return (struct history){{length, s->behaviour + first, tape->bucket + pairs}, first, pairs};
}

static void attend(float *y, const struct sequence_tape *tape, int b, const struct model *model,
                   const struct sequences *s)
{
    const struct architecture *a = &model->architecture;
    size_t d = (size_t)a->width, heads = (size_t)a->heads, pairs = 0;
    struct attention_biases biases = {(size_t)a->behaviour_count, model->weights.block[b].position,
                                      model->weights.block[b].time, model->weights.block[b].behaviour_bias};
    for (size_t i = 0; i < s->count; i++) {
        struct history h = history_of(s, tape, i, pairs);
        float *kept = tape->block[b].kept == NULL ? NULL : tape->block[b].kept + heads * pairs;
        attention_forward(y + h.first * d, tape->block[b].weight + heads * pairs, kept,
                          tape->block[b].qkv + h.first * 3 * d, &biases, &h.events, heads, d);
        pairs += h.events.length * h.events.length;
    }
}

static void attend_backward(float *dqkv, const struct weights *gradient, const float *dy,
                            const struct sequence_tape *tape, int b, const struct model *model,
                            const struct sequences *s, float *scratch)
{
    const struct architecture *a = &model->architecture;
    size_t d = (size_t)a->width, heads = (size_t)a->heads, pairs = 0;
    struct attention_bias_gradients gradients = {gradient->block[b].position, gradient->block[b].time,
                                                 gradient->block[b].behaviour_bias};
    for (size_t i = 0; i < s->count; i++) {
        struct history h = history_of(s, tape, i, pairs);
        const float *kept = tape->block[b].kept == NULL ? NULL : tape->block[b].kept + heads * pairs;
        attention_backward(dqkv + h.first * 3 * d, &gradients, dy + h.first * d, tape->block[b].weight + heads * pairs,
                           kept, tape->block[b].qkv + h.first * 3 * d, &h.events, (size_t)a->behaviour_count, scratch,
                           heads, d);
        pairs += h.events.length * h.events.length;
    }
}

static void fill_buckets(const struct sequence_tape *tape, const struct sequences *s)
{
    size_t pairs = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t first = s->start[i], length = s->start[i + 1] - first;
        attention_buckets(tape->bucket + pairs, s->ts_ms + first, s->next_ms + first, length);
        pairs += length * length;
    }
}

/* out = x + σ(gate)·attention, then + σ(gate)·SwiGLU */
static void block_forward(float *out, const struct sequence_tape *tape, int b, const struct model *model,
                          const struct sequences *s)
{
    const struct weights *w = &model->weights;
    size_t T = tape->tokens, d = (size_t)model->architecture.width, f = (size_t)model->architecture.feedforward;
    layer_norm(tape->block[b].norm1, tape->block[b].x, w->block[b].norm1_scale, w->block[b].norm1_shift, T, d);
    matrix_multiply(tape->block[b].qkv, tape->block[b].norm1, w->block[b].qkv, T, 3 * d, d);
    attend(tape->block[b].y, tape, b, model, s);
    matrix_multiply(tape->block[b].attended, tape->block[b].y, w->block[b].out, T, d, d);
    multiply(tape->block[b].attended, tape->block[b].dropped1, T * d);
    layer_gated_residual(tape->block[b].middle, tape->block[b].gate1, tape->block[b].x, tape->block[b].attended,
                         w->block[b].gate1, w->block[b].gate1_bias, T, d);
    layer_norm(tape->block[b].norm2, tape->block[b].middle, w->block[b].norm2_scale, w->block[b].norm2_shift, T, d);
    layer_swiglu(tape->block[b].fed, tape->block[b].a, tape->block[b].b, tape->block[b].m, tape->block[b].norm2,
                 w->block[b].up_gate, w->block[b].up, w->block[b].down, T, d, f);
    multiply(tape->block[b].fed, tape->block[b].dropped2, T * d);
    layer_gated_residual(out, tape->block[b].gate2, tape->block[b].middle, tape->block[b].fed, w->block[b].gate2,
                         w->block[b].gate2_bias, T, d);
}

bool sequence_forward(float *u, struct sequence_tape *tape, const struct model *model, const struct sequences *s,
                      const struct sequence_dropout *dropout, struct arena *arena)
{
    const struct weights *w = &model->weights;
    size_t T = s->start[s->count], d = (size_t)model->architecture.width;
    int blocks = model->architecture.blocks;
    *tape = (struct sequence_tape){.tokens = T};
    if (!reserve(tape, &model->architecture, s, dropout, arena))
        return false;
    fill_buckets(tape, s);
    float *x = blocks > 0 ? tape->block[0].x : tape->last;
    memcpy(x, s->token, T * d * sizeof *x);
    for (size_t i = 0; i < T; i++)
        if (s->behaviour[i] >= 0)
            layer_add_bias(x + i * d, w->behaviour + (size_t)s->behaviour[i] * d, 1, d);
    multiply(x, tape->dropped_token, T * d);
    for (int b = 0; b < blocks; b++)
        block_forward(b + 1 < blocks ? tape->block[b + 1].x : tape->last, tape, b, model, s);
    layer_norm(u, tape->last, w->norm_scale, w->norm_shift, T, d);
    return true;
}

/* Scratch of backward: gradients of one block's inner values. */
struct backward {
    float *wide[3]; /* (T, d) each */
    float *dqkv;    /* (T, 3d) */
    float *swiglu;  /* (3, T, f) */
    float *pairs;   /* (longest, longest) */
};

static bool reserve_backward(struct backward *scratch, const struct architecture *a, const struct sequences *s,
                             struct arena *arena)
{
    size_t T = s->start[s->count], d = (size_t)a->width, longest = 0;
    for (size_t i = 0; i < s->count; i++)
        longest = s->start[i + 1] - s->start[i] > longest ? s->start[i + 1] - s->start[i] : longest;
    for (int i = 0; i < 3; i++)
        if ((scratch->wide[i] = arena_floats(arena, T * d)) == NULL)
            return false;
    scratch->dqkv = arena_floats(arena, T * 3 * d);
    scratch->swiglu = arena_floats(arena, 3 * T * (size_t)a->feedforward);
    scratch->pairs = arena_floats(arena, longest * longest);
    return scratch->dqkv != NULL && scratch->swiglu != NULL && scratch->pairs != NULL;
}

/* dx (T, d) is written from dout (T, d), which is overwritten */
static void block_backward(float *dx, float *dout, const struct weights *g, const struct sequence_tape *tape, int b,
                           const struct model *model, const struct sequences *s, const struct backward *scratch)
{
    const struct weights *w = &model->weights;
    size_t T = tape->tokens, d = (size_t)model->architecture.width, f = (size_t)model->architecture.feedforward;
    size_t bytes = T * d * sizeof(float);
    float *dmiddle = scratch->wide[0], *dfed = scratch->wide[1], *dnorm = scratch->wide[2];
    memset(dmiddle, 0, bytes);
    memset(dfed, 0, bytes);
    layer_gated_residual_backward(dmiddle, dfed, g->block[b].gate2, g->block[b].gate2_bias, dout, tape->block[b].gate2,
                                  tape->block[b].middle, tape->block[b].fed, w->block[b].gate2, dnorm, T, d);
    multiply(dfed, tape->block[b].dropped2, T * d);
    memset(dnorm, 0, bytes);
    layer_swiglu_backward(dnorm, g->block[b].up_gate, g->block[b].up, g->block[b].down, dfed, tape->block[b].a,
                          tape->block[b].b, tape->block[b].m, tape->block[b].norm2, w->block[b].up_gate, w->block[b].up,
                          w->block[b].down, scratch->swiglu, T, d, f);
    layer_norm_backward(dmiddle, g->block[b].norm2_scale, g->block[b].norm2_shift, dnorm, tape->block[b].middle,
                        w->block[b].norm2_scale, T, d);
    float *dattended = dfed, *dy = dout;
    memset(dx, 0, bytes);
    memset(dattended, 0, bytes);
    layer_gated_residual_backward(dx, dattended, g->block[b].gate1, g->block[b].gate1_bias, dmiddle,
                                  tape->block[b].gate1, tape->block[b].x, tape->block[b].attended, w->block[b].gate1,
                                  dnorm, T, d);
    multiply(dattended, tape->block[b].dropped1, T * d);
    matrix_weight_gradient(g->block[b].out, tape->block[b].y, dattended, T, d, d);
    memset(dy, 0, bytes);
    matrix_input_gradient(dy, dattended, w->block[b].out, T, d, d);
    attend_backward(scratch->dqkv, g, dy, tape, b, model, s, scratch->pairs);
    matrix_weight_gradient(g->block[b].qkv, tape->block[b].norm1, scratch->dqkv, T, 3 * d, d);
    memset(dnorm, 0, bytes);
    matrix_input_gradient(dnorm, scratch->dqkv, w->block[b].qkv, T, 3 * d, d);
    layer_norm_backward(dx, g->block[b].norm1_scale, g->block[b].norm1_shift, dnorm, tape->block[b].x,
                        w->block[b].norm1_scale, T, d);
}

bool sequence_backward(float *dtoken, const struct weights *g, const float *du, const struct sequence_tape *tape,
                       const struct model *model, const struct sequences *s, struct arena *arena)
{
    size_t T = tape->tokens, d = (size_t)model->architecture.width;
    struct backward scratch;
    float *dout = arena_floats(arena, T * d), *dx = arena_floats(arena, T * d);
    if (dout == NULL || dx == NULL || !reserve_backward(&scratch, &model->architecture, s, arena))
        return false;
    memset(dx, 0, T * d * sizeof *dx);
    layer_norm_backward(dx, g->norm_scale, g->norm_shift, du, tape->last, model->weights.norm_scale, T, d);
    for (int b = model->architecture.blocks; b-- > 0;) {
        float *swap = dout;
        dout = dx;
        dx = swap;
        block_backward(dx, dout, g, tape, b, model, s, &scratch);
    }
    multiply(dx, tape->dropped_token, T * d);
    for (size_t i = 0; i < T; i++) {
        for (size_t j = 0; j < d; j++)
            dtoken[i * d + j] += dx[i * d + j];
        if (s->behaviour[i] >= 0)
            layer_add_bias_backward(g->behaviour + (size_t)s->behaviour[i] * d, dx + i * d, 1, d);
    }
    return true;
}
