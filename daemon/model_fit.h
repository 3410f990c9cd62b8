/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a model can answer in this shop: it reads vectors that the shop has, it fits into memory beside the one that answers, and its scores are
 * numbers. Asked before it takes the other's place. */
#ifndef RECSYS_DAEMON_MODEL_FIT_H
#define RECSYS_DAEMON_MODEL_FIT_H

#include "daemon/snapshot.h"
#include "models/counts.h"

/* Every view's modality, encoder and dimension are the shop's. FAILED_PRECONDITION / MODEL_MISMATCH naming the first difference. Items that the model has
 * never seen are no difference: they have vectors and counts. */
bool model_fit_shop(const struct model *model, struct catalog *catalog, struct status *st);

/* Bytes that a model with the rows of all items of the catalogue takes, about. */
uint64_t model_fit_bytes(const struct model *model, struct catalog *catalog);

/* Bytes that may be taken now: what the system has, and no more than `most` where that is not 0. */
uint64_t model_fit_available(int64_t most);

/* RESOURCE_EXHAUSTED / MODEL_TOO_LARGE saying both numbers when `needed` is more than `available`. */
bool model_fit_memory(const char *version, uint64_t needed, uint64_t available, struct status *st);

/* Score a block of the snapshot's items for a made-up history of them: INVALID_ARGUMENT / BAD_SCORES when one is not finite, as numbers that are
 * finite but huge make it; RESOURCE_EXHAUSTED / MODEL_TOO_LARGE when a request of the longest history does not fit into `arena`. */
bool model_fit_scores(struct snapshot *snapshot, const struct counts_view *counts, int64_t now_ms, struct arena *arena,
                      struct status *st);

#endif
