/* SPDX-License-Identifier: Apache-2.0
 *
 * Adam over a model's block of numbers, by groups of tensors: Kingma & Ba 2015, with decoupled weight decay (Loshchilov & Hutter 2019), clipping of the
 * gradient's norm and linear warm-up. */
#ifndef RECSYS_MODELS_OPTIMISER_H
#define RECSYS_MODELS_OPTIMISER_H

#include "models/params.h"
#include "models/team.h"

#define OPTIMISER_GROUPS (PARAM_HEAD + 1)

struct optimiser_options {
    float rate[OPTIMISER_GROUPS];  /* learning rate of each param_group; 0: the group stays as it is */
    float decay[OPTIMISER_GROUPS]; /* of the weights, per step, times the rate; not applied to tensors of rank 1 */
    float clip;                    /* of the gradient's norm; 0: none */
    int warmup_steps;
};

struct optimiser {
    struct optimiser_options options;
    const struct params *params;
    size_t step;
    float *m, *v; /* (params->total) each, owned */
};

/* False out of memory. */
bool optimiser_init(struct optimiser *optimiser, const struct params *params, const struct optimiser_options *options);
void optimiser_close(struct optimiser *optimiser);

/* One step on `block` against `gradient` (params->total floats each). Returns the gradient's norm before clipping, summed in a fixed order. */
double optimiser_step(struct optimiser *optimiser, struct team *team, float *block, const float *gradient);

#endif
