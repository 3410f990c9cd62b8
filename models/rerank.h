/* SPDX-License-Identifier: Apache-2.0
 *
 * From a pool of good candidates to a list: greedily, place after place, what gains most. Relevance against diversity by a determinantal point process (greedy MAP with the
 * incremental Cholesky factor of Chen, Zhang and Zhou, NeurIPS 2018) or by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998); calibration to a mix
 * of categories (Steck, RecSys 2018); caps and promotions as rules that hold. Scores do not change here, places do.
 *
 * The gain of candidate i after a list S:
 *   dpp   (1 - δ)·r_i + δ·½ log d²_i        d²_i: what is left of the candidate's own direction when those of S are taken out
 *   mmr   (1 - δ)·r_i - δ·max over S of f_i·f_j
 * and with calibration λ, of that gain g:
 *   (1 - λ)·g - λ·[KL(p ‖ q(S + i)) - KL(p ‖ q(S))]      p: the taste, q: the list's mix, smoothed with .01 of p */
#ifndef RECSYS_MODELS_RERANK_H
#define RECSYS_MODELS_RERANK_H

#include "models/caps.h"

#define RERANK_PROMOTIONS_MAX 9
#define RERANK_VIEWS_MAX      16

enum rerank_method { RERANK_DPP, RERANK_MMR };

/* Candidates of one kind get a share of the list. */
struct rerank_promotion {
    double
        share; /* 0 .. 1: of the first k places at least floor(share · k + 1e-6), as long as candidates last and caps let them in */
    const bool *promoted; /* (count) */
};

struct rerank_pool {
    size_t count;           /* candidates, best first */
    const float *relevance; /* (count), 0 .. 1, need not descend */
    size_t
        considered; /* the first so many compete by gain; those behind only fill what these leave open, in their order. <= count */

    float diversity; /* δ: 0 .. 1; 0: features are not looked at */
    enum rerank_method method;
    int view_count; /* the similarity of two candidates is the mean of their products over the views */
    size_t components[RERANK_VIEWS_MAX];
    /* (considered): rows (components) of norm at most 1; what is missing to 1 is a direction that nobody shares */
    const float *const *row[RERANK_VIEWS_MAX];

    float calibration; /* λ: 0 .. 1; 0: no categories are looked at */
    size_t category_count;
    const uint32_t *category_start; /* (considered + 1) */
    const uint32_t
        *category;      /* a candidate shares one unit among its categories, equally; without any it adds nothing */
    const float *taste; /* p (category_count): sums to 1 */

    const struct cap *cap;
    size_t cap_count;
    const struct rerank_promotion *promotion;
    size_t promotion_count; /* shares sum to at most 1 */
};

struct rerank_place {
    size_t candidate;
    int promotion; /* whose turn brought it here, or -1 */
};

struct rerank_result {
    struct rerank_place *place; /* in the arena */
    size_t count;
    size_t
        broken; /* where the list is shorter than it could be without caps: the first cap that stopped it; else SIZE_MAX */
};

/* A list of at most `n`. Where nothing is asked for (δ, λ 0, no caps, no promotions) it is the first n by relevance, ties by number. Equal gains go to the smaller
 * number, so the same pool gives the same list. False when the arena gives out. */
bool rerank(const struct rerank_pool *pool, size_t n, struct rerank_result *result, struct arena *arena);

#endif
