/* SPDX-License-Identifier: Apache-2.0
 *
 * What trainer.c (epochs, validation), trainer_step.c (one step) and trainer_state.c (checkpoints) share. */
#ifndef RECSYS_MODELS_TRAINER_INTERNAL_H
#define RECSYS_MODELS_TRAINER_INTERNAL_H

#include "models/fusion.h"
#include "models/loss.h"
#include "models/sequence.h"
#include "models/trainer.h"

/* What each thread has of its own. */
struct trainer_thread {
    struct arena arena;
    struct random random;
    float *gradient_block;
    struct weights gradient; /* the ID table points to thread 0's: items are shared out, so its rows do not meet */
    float *dtoken, *doutput; /* (columns, d): what the sequences say about the items */
    size_t first, last;      /* its columns */
    struct fusion_items items;
    struct fusion_tape tape;
    double loss, weight; /* sums over its rows */
    double ndcg, hits;   /* sums over its queries */
    bool failed;
};

struct trainer {
    struct trainer_options options;
    struct model *model;
    const struct training_set *set;
    struct team *team;
    struct optimiser optimiser;
    bool id_rows;
    bool dropping;   /* false: as it is served */
    uint32_t *users; /* (user_count): those with two training events */
    size_t user_count;
    float *token, *output; /* (columns, d): z and o of this step */
    float *bias;           /* (columns): the prior, or NULL */
    float *average, *best; /* (params.total) or NULL */
    struct trainer_thread thread[TEAM_THREADS_MAX];
    /* this step's batch: windows of training events */
    size_t *window_first, *window_last;
    size_t windows;
    float batch_weight;
    struct trainer_sample { /* of the sampled losses, drawn anew in each step */
        uint32_t *column;   /* (negatives) */
        float *log_q, *o;   /* (negatives), (negatives, d) */
    } sample;
    struct trainer_epoch progress;
};

/* Loss of the batch in `windows`, summed gradients in thread 0's block. False when memory runs out. */
bool trainer_step_gradient(struct trainer *trainer, double *loss);

/* z and o of every column, without dropout, into token and output. */
bool trainer_encode(struct trainer *trainer);

#endif
