/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a score comes from: the sum of recommender.h taken apart, for the few items that are shown. Streams and co-occurrence by event, the sequence term by the
 * candidate's modality (z = Σ g_m z_m, so u·o = Σ_m g_m u·(z_m W_o)), the prior by its parts. Adds up to the score but for rounding: the similarities are the same
 * products, summed in another order. */
#ifndef RECSYS_MODELS_EXPLANATION_H
#define RECSYS_MODELS_EXPLANATION_H

#include "models/recommender.h"

/* One candidate. Arrays of the caller's arena; L is the user's length. */
struct explanation {
    float *pick;         /* (streams, L): the event's share of the attention, the mean over heads */
    float *value;        /* (streams, L): what it adds to the score, with γ and the request's weight */
    float *weight;       /* (streams): γ times the request's weight: value / (weight · pick) is the judgement */
    float *cooccurrence; /* (count of events) */
    float sequence[ARCHITECTURE_VIEWS_MAX + 1]; /* by view, the last for the item's own embedding */
    float popularity, recent, novelty;          /* the prior */
};

/* Explain the candidates of a block: out (block->count). `events` (count, oldest first) are those that `user` was prepared with, `names` (block->count) the
 * candidates' external ids. False when the arena gives out. */
bool explanation_compute(struct explanation *out, const struct recommender_user *user,
                         const struct recommender_context *context, const struct recommender_block *block,
                         const char *const *names, const struct recommender_event *events, size_t count,
                         struct arena *arena);

#endif
