/* SPDX-License-Identifier: Apache-2.0 */
#include "models/params.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 1024

/* Tensors start at 64 bytes: rows of a cache line. */
static size_t aligned(size_t floats)
{
    return (floats + 15) & ~(size_t)15;
}

static void declare(struct params *p, float **slot, enum param_group group, int rank, const size_t *shape,
                    const char *format, ...) __attribute__((format(printf, 6, 7)));

/* the list has room for every architecture within the limits, so this cannot fail */
static void declare(struct params *p, float **slot, enum param_group group, int rank, const size_t *shape,
                    const char *format, ...)
{
    struct param *param = &p->list[p->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(param->name, sizeof param->name, format, arguments);
    va_end(arguments);
    param->group = group;
    param->rank = rank;
    param->count = 1;
    for (int i = 0; i < rank; i++) {
        param->shape[i] = shape[i];
        param->count *= shape[i];
    }
    param->offset = p->total;
    param->slot = slot;
    p->total += aligned(param->count);
}

#define SHAPE(...)                                                                                                     \
    (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), (size_t[])                                                \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void declare_view(struct params *p, struct weights *w, const struct architecture *a, int i)
{
    static const char *const roles[] = {"query", "key", "candidate_value", "history_value"};
    const struct view *v = &a->views[i];
    size_t d = (size_t)a->width, r = (size_t)v->components, D = (size_t)v->dimension, c = (size_t)v->correction;
    bool id = strcmp(v->modality, "id") == 0;
    if (!id) {
        declare(p, &w->view[i].mean, PARAM_STATISTICS, SHAPE(D), "view.%s.mean", v->name);
        declare(p, &w->view[i].rotation, PARAM_STATISTICS, SHAPE(D, r), "view.%s.rotation", v->name);
    }
    for (int role = 0; role < ROLE_COUNT && c > 0; role++) {
        declare(p, &w->view[i].down[role], PARAM_HEAD, SHAPE(r, c), "view.%s.%s.down", v->name, roles[role]);
        declare(p, &w->view[i].up[role], PARAM_HEAD, SHAPE(c, r), "view.%s.%s.up", v->name, roles[role]);
    }
    if (id || a->blocks == 0)
        return;
    declare(p, &w->view[i].projection, PARAM_ENCODER, SHAPE(r, d), "encoder.%s.weight", v->name);
    declare(p, &w->view[i].bias, PARAM_ENCODER, SHAPE(d), "encoder.%s.bias", v->name);
    declare(p, &w->view[i].norm_scale, PARAM_ENCODER, SHAPE(d), "encoder.%s.norm.weight", v->name);
    declare(p, &w->view[i].norm_shift, PARAM_ENCODER, SHAPE(d), "encoder.%s.norm.bias", v->name);
    declare(p, &w->view[i].gate_bias, PARAM_ENCODER, SHAPE(ARCHITECTURE_GATE_WIDTH), "encoder.%s.gate", v->name);
}

static void declare_encoder(struct params *p, struct weights *w, const struct architecture *a, size_t items)
{
    size_t d = (size_t)a->width;
    declare(p, &w->id, PARAM_ENCODER, SHAPE(items, d), "encoder.id.embedding");
    declare(p, &w->id_gate_bias, PARAM_ENCODER, SHAPE(ARCHITECTURE_GATE_WIDTH), "encoder.id.gate");
    declare(p, &w->gate, PARAM_ENCODER, SHAPE(d, ARCHITECTURE_GATE_WIDTH), "encoder.gate.weight");
    declare(p, &w->gate_out, PARAM_ENCODER, SHAPE(ARCHITECTURE_GATE_WIDTH), "encoder.gate.out");
    declare(p, &w->gate_count, PARAM_ENCODER, SHAPE(1), "encoder.gate.count");
    declare(p, &w->output, PARAM_ENCODER, SHAPE(d, d), "encoder.output.weight");
}

static void declare_block(struct params *p, struct weights *w, const struct architecture *a, int i)
{
    size_t d = (size_t)a->width, f = (size_t)a->feedforward, h = (size_t)a->heads, B = (size_t)a->behaviour_count;
    enum param_group g = PARAM_SEQUENCE;
    declare(p, &w->block[i].norm1_scale, g, SHAPE(d), "block.%d.norm1.weight", i);
    declare(p, &w->block[i].norm1_shift, g, SHAPE(d), "block.%d.norm1.bias", i);
    declare(p, &w->block[i].qkv, g, SHAPE(d, 3 * d), "block.%d.qkv.weight", i);
    declare(p, &w->block[i].out, g, SHAPE(d, d), "block.%d.out.weight", i);
    declare(p, &w->block[i].gate1, g, SHAPE(d, d), "block.%d.gate1.weight", i);
    declare(p, &w->block[i].gate1_bias, g, SHAPE(d), "block.%d.gate1.bias", i);
    declare(p, &w->block[i].norm2_scale, g, SHAPE(d), "block.%d.norm2.weight", i);
    declare(p, &w->block[i].norm2_shift, g, SHAPE(d), "block.%d.norm2.bias", i);
    declare(p, &w->block[i].up, g, SHAPE(d, f), "block.%d.ffn.up.weight", i);
    declare(p, &w->block[i].up_gate, g, SHAPE(d, f), "block.%d.ffn.gate.weight", i);
    declare(p, &w->block[i].down, g, SHAPE(f, d), "block.%d.ffn.down.weight", i);
    declare(p, &w->block[i].gate2, g, SHAPE(d, d), "block.%d.gate2.weight", i);
    declare(p, &w->block[i].gate2_bias, g, SHAPE(d), "block.%d.gate2.bias", i);
    declare(p, &w->block[i].position, g, SHAPE(h, ARCHITECTURE_POSITIONS), "block.%d.position", i);
    declare(p, &w->block[i].time, g, SHAPE(h, ARCHITECTURE_TIME_BUCKETS), "block.%d.time", i);
    declare(p, &w->block[i].behaviour_bias, g, SHAPE(h, B), "block.%d.behaviour", i);
}

static void declare_sequence(struct params *p, struct weights *w, const struct architecture *a)
{
    size_t d = (size_t)a->width;
    declare(p, &w->behaviour, PARAM_SEQUENCE, SHAPE((size_t)a->behaviour_count, d), "sequence.behaviour");
    for (int i = 0; i < a->blocks; i++)
        declare_block(p, w, a, i);
    declare(p, &w->norm_scale, PARAM_SEQUENCE, SHAPE(d), "sequence.norm.weight");
    declare(p, &w->norm_shift, PARAM_SEQUENCE, SHAPE(d), "sequence.norm.bias");
    declare(p, &w->sequence_scale, PARAM_HEAD, SHAPE(1), "head.sequence");
}

static void declare_head(struct params *p, struct weights *w, const struct architecture *a)
{
    size_t B = (size_t)a->behaviour_count;
    for (int i = 0; i < a->similarity_count; i++) {
        const struct similarity *s = &a->similarities[i];
        size_t heads = (size_t)s->heads, slice = (size_t)a->views[s->candidate_view].components / heads;
        declare(p, &w->similarity[i].sharpness, PARAM_HEAD, SHAPE(heads), "similarity.%d.sharpness", i);
        declare(p, &w->similarity[i].additive, PARAM_HEAD, SHAPE(slice), "similarity.%d.additive", i);
        declare(p, &w->similarity[i].position, PARAM_HEAD, SHAPE(ARCHITECTURE_POSITIONS), "similarity.%d.position", i);
        declare(p, &w->similarity[i].time, PARAM_HEAD, SHAPE(ARCHITECTURE_TIME_BUCKETS), "similarity.%d.time", i);
        declare(p, &w->similarity[i].behaviour, PARAM_HEAD, SHAPE(B), "similarity.%d.behaviour", i);
    }
    declare(p, &w->stream, PARAM_HEAD, SHAPE((size_t)a->stream_count), "head.stream");
    declare(p, &w->stream_count, PARAM_HEAD, SHAPE((size_t)a->stream_count), "head.stream_count");
    declare(p, &w->value, PARAM_HEAD, SHAPE(B), "head.value");
    declare(p, &w->cooccurrence, PARAM_HEAD, SHAPE(1), "head.cooccurrence");
    declare(p, &w->reverse, PARAM_HEAD, SHAPE(1), "head.reverse");
    declare(p, &w->epsilon, PARAM_HEAD, SHAPE(1), "head.epsilon");
    declare(p, &w->decay, PARAM_HEAD, SHAPE(1), "head.decay");
    declare(p, &w->popularity, PARAM_HEAD, SHAPE(1), "head.popularity");
    declare(p, &w->recent, PARAM_HEAD, SHAPE(1), "head.recent");
    declare(p, &w->novelty, PARAM_HEAD, SHAPE(1), "head.novelty");
}

bool params_declare(struct params *p, struct weights *weights, const struct architecture *a, size_t items,
                    struct status *st)
{
    memset(weights, 0, sizeof *weights);
    *p = (struct params){.list = calloc(PARAMS_MAX, sizeof *p->list)};
    if (p->list == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the list of tensors");
    for (int i = 0; i < a->view_count; i++)
        declare_view(p, weights, a, i);
    if (a->blocks > 0) {
        declare_encoder(p, weights, a, items);
        declare_sequence(p, weights, a);
    }
    declare_head(p, weights, a);
    return true;
}

void params_place(const struct params *p, float *block)
{
    for (size_t i = 0; i < p->count; i++)
        *p->list[i].slot = block + p->list[i].offset;
}

void params_point(const struct params *p, const struct weights *declared, struct weights *out, float *block)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < p->count; i++) {
        size_t field = (size_t)((const char *)p->list[i].slot - (const char *)declared);
        *(float **)((char *)out + field) = block + p->list[i].offset;
    }
}

void params_close(struct params *p)
{
    free(p->list);
    *p = (struct params){0};
}
