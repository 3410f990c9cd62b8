/* SPDX-License-Identifier: Apache-2.0
 *
 * The co-occurrence term of every item at once: s_co(c) = w · Σ_l decay^age · value_l · (log(1 + P[i_l → c] / ε) + ρ · log(1 + P'[c → i_l] / ε)), P what
 * followed the event's item and P' what came before it, as shares of all that did. Order carries less than company where a shop is sparse: looking both ways
 * is worth as much again as half of the way forward (scientific-clip). A sum over events, so each event's share can be shown. Only items that were met next
 * to one of the events get a term: the rest is zero.
 * Events whose decay has fallen below .003 are left out: they would change no list. */
#ifndef RECSYS_MODELS_COOCCURRENCE_H
#define RECSYS_MODELS_COOCCURRENCE_H

#include "models/counts.h"
#include "models/params.h"

#include <stdbool.h>

/* The terms of one request, by item id; reused from request to request. Start from all-zero. */
struct cooccurrence {
    float *term;       /* (capacity): 0 where nothing is known */
    uint32_t *touched; /* ids with a term, each once */
    size_t touched_count, capacity;
    bool *is_touched;
};

/* An event as this term sees it. */
struct cooccurrence_event {
    uint32_t item_id;
    float value; /* of its behaviour, with its sign */
};

/* w, ρ, ε and decay of the formula. */
struct cooccurrence_scalars {
    float weight, reverse, epsilon, decay;
};

/* As a model has them. */
struct cooccurrence_scalars cooccurrence_scalars(const struct weights *weights);

/* Compute the terms from events, newest first: events[age]. False only out of memory. */
bool cooccurrence_compute(struct cooccurrence *cooccurrence, const struct counts_view *counts,
                          const struct cooccurrence_event *events, size_t count, struct cooccurrence_scalars scalars);

/* Events whose decay^age has fallen below this say nothing that would change a list, and are left out. */
#define COOCCURRENCE_NEGLIGIBLE 0.003f

/* What one event adds to the term of one item, `factor` being decay^age. */
float cooccurrence_of(const struct counts_view *counts, const struct cooccurrence_event *event,
                      struct cooccurrence_scalars scalars, float factor, uint32_t item_id);

/* The term of one item. */
float cooccurrence_term(const struct cooccurrence *cooccurrence, uint32_t item_id);

/* Back to no terms; keeps the memory. */
void cooccurrence_reset(struct cooccurrence *cooccurrence);
void cooccurrence_close(struct cooccurrence *cooccurrence);

#endif
