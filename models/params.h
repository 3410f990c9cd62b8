/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of a model: one block of floats, carved into named tensors. The list of tensors is made once from the architecture (params_declare);
 * the file's names, the gradients' layout and the moments' come from it. */
#ifndef RECSYS_MODELS_PARAMS_H
#define RECSYS_MODELS_PARAMS_H

#include "models/architecture.h"
#include "proto/status.h"

#include <stddef.h>

/* Which part of the training moves a tensor. */
enum param_group {
    PARAM_STATISTICS, /* fitted, never trained: means, rotations */
    PARAM_ENCODER,    /* stage one */
    PARAM_SEQUENCE,   /* stage one */
    PARAM_HEAD,       /* stage two */
};

struct param {
    char name[96]; /* in the file */
    enum param_group group;
    int rank;
    size_t shape[3];
    size_t count;
    size_t offset; /* in the block */
    float **slot;  /* the field of struct weights that points to it */
    bool frozen;   /* training leaves it as it is */
};

/* Corrections of one view: x + (x·A)·B, A (components, correction), B (correction, components). */
enum role { ROLE_QUERY, ROLE_KEY, ROLE_CANDIDATE_VALUE, ROLE_HISTORY_VALUE, ROLE_COUNT };

/* Typed pointers into the block. Shapes: r components, d width, f feedforward, h heads, G gate width, B behaviours. */
struct weights {
    struct {
        float *mean;                    /* (dimension) */
        float *rotation;                /* (dimension, r) */
        float *down[ROLE_COUNT];        /* (r, correction) */
        float *up[ROLE_COUNT];          /* (correction, r) */
        float *projection, *bias;       /* (r, d), (d): A_m, b_m */
        float *norm_scale, *norm_shift; /* (d) */
        float *gate_bias;               /* (G) */
    } view[ARCHITECTURE_VIEWS_MAX];
    float *id;              /* (items, d) */
    float *id_gate_bias;    /* (G) */
    float *gate, *gate_out; /* (d, G), (G) */
    float *gate_count;      /* (1): of log(1 + training count) on the ID's logit */
    float *output;          /* (d, d): W_o */
    float *behaviour;       /* (B, d): added to an event's token */
    struct {
        float *norm1_scale, *norm1_shift;        /* (d) */
        float *qkv;                              /* (d, 3d) */
        float *out;                              /* (d, d) */
        float *gate1, *gate1_bias;               /* (d, d), (d) */
        float *norm2_scale, *norm2_shift;        /* (d) */
        float *up, *up_gate, *down;              /* (d, f), (d, f), (f, d): SwiGLU */
        float *gate2, *gate2_bias;               /* (d, d), (d) */
        float *position, *time, *behaviour_bias; /* (h, positions), (h, buckets), (h, B) */
    } block[ARCHITECTURE_BLOCKS_MAX];
    float *norm_scale, *norm_shift; /* (d) */
    float *sequence_scale;          /* (1): 1/τ */
    struct {
        float *sharpness;                   /* (heads): 1/temperature */
        float *additive;                    /* (components / heads): w of the additive score */
        float *position, *time, *behaviour; /* (positions), (buckets), (B) */
    } similarity[ARCHITECTURE_SIMILARITIES_MAX];
    float *stream;              /* (streams): γ */
    float *stream_count;        /* (streams): γ grows by this times log(1 + the candidate's count) */
    float *value;               /* (B): what a behaviour says, with its sign */
    float *cooccurrence;        /* (1) */
    float *reverse;             /* (1): what came before, against what followed */
    float *epsilon;             /* (1) */
    float *decay;               /* (1): of co-occurrence, per step of age */
    float *popularity, *recent; /* (1): prior */
    float *novelty; /* (1): prior, of 1 / (1 + the candidate's count), where there is a history: new items have less to
                                 * speak for them than others; to who has no history, nothing does */
};

struct params {
    struct param *list;
    size_t count;
    size_t total; /* floats of the block */
};

/* Declare every tensor of the architecture with `items` ID rows, setting slots into `weights`. */
bool params_declare(struct params *params, struct weights *weights, const struct architecture *architecture,
                    size_t items, struct status *st);

/* Point the slots into `block` (total floats). */
void params_place(const struct params *params, float *block);

/* Typed pointers into another block of the same layout: gradients, moments, averages. `declared` is the struct that params_declare was given. */
void params_point(const struct params *params, const struct weights *declared, struct weights *out, float *block);

void params_close(struct params *params);

#endif
