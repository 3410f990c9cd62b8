/* SPDX-License-Identifier: Apache-2.0
 *
 * What the score (recommender.c) and its gradient (head.c) share: the similarities of a block. */
#ifndef RECSYS_MODELS_RECOMMENDER_INTERNAL_H
#define RECSYS_MODELS_RECOMMENDER_INTERNAL_H

#include "models/kernels.h"
#include "models/recommender.h"

/* One head of a block's candidates against the history. */
struct recommender_pass {
    const struct recommender_user *user;
    const struct recommender_block *block;
    const struct kernels *kernels;
    int head;
    float *pick[ARCHITECTURE_SIMILARITIES_MAX]; /* (count, length) of this head, before sharpness and bias */
    float *judge[ARCHITECTURE_SIMILARITIES_MAX];
};

/* Fill pick and judge, which point into the user's scratch memory. */
void recommender_compare(struct recommender_pass *pass);

/* Whether any stream picks by this similarity. */
bool recommender_picks(const struct architecture *architecture, int similarity);

/* Leave only the `keep` largest logits (length) of a row, the others masked: hard attention. sorted (length): scratch. */
void recommender_harden(float *logit, size_t length, size_t keep, float *sorted);

#endif
