/* SPDX-License-Identifier: Apache-2.0
 *
 * One list out of two, so that users compare two models without knowing: team-draft interleaving (Radlinski, Kurup and
 * Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008, algorithm 2). As captains choose teams:
 * in each round a coin decides which list picks first, then each picks its best item that is not there yet, and that
 * item is of its team. What a user does with an item counts for its team; the rules favour neither. */
#ifndef RECSYS_MODELS_INTERLEAVE_H
#define RECSYS_MODELS_INTERLEAVE_H

#include <stddef.h>
#include <stdint.h>

/* Interleave two lists of item ids, best first, into at most `n` places; how many were filled: fewer than n only where
 * both lists give no more. No item comes twice, also where it is twice in one list. When one list is exhausted the
 * other fills the rest, and these items are of its team; of lists with n different items each, none is exhausted early.
 *   out, team (min(n, a_count + b_count))   team: 0 of a, 1 of b   a (a_count)   b (b_count)
 * The same seed gives the same list, and with a larger n a longer one that begins like it; near seeds give unrelated
 * coins. Allocates nothing and takes O(n · (a_count + b_count)): meant for lists that people look at. */
size_t interleave_team_draft(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count, size_t n,
                             uint64_t seed, uint32_t *out, uint8_t *team);

#endif
