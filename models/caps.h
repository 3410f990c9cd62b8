/* SPDX-License-Identifier: Apache-2.0
 *
 * Caps on a list: of all candidates that share a key (a brand, a category) at most so many in any so many consecutive places. A candidate may have several keys
 * under one cap (two categories) and counts for each; one without a key is free.
 *
 * Keys are numbers below `key_count` that the caller gives out; what they stand for does not matter here. */
#ifndef RECSYS_MODELS_CAPS_H
#define RECSYS_MODELS_CAPS_H

#include "models/arena.h"

#include <stdbool.h>
#include <stdint.h>

#define CAPS_MAX 8

/* One cap over the candidates 0 .. count - 1 of a pool. */
struct cap {
    unsigned most;         /* >= 1 */
    unsigned window;       /* consecutive places, > most; 0: the whole list */
    const uint32_t *start; /* (count + 1): candidate i has keys key[start[i]] .. key[start[i + 1] - 1], each once */
    const uint32_t *key;
    size_t key_count; /* keys are below it */
};

/* A list that grows by one candidate at a time. */
struct caps {
    const struct cap *cap;
    size_t cap_count;
    size_t *list; /* (room): candidates placed so far, in order */
    size_t count, room;
    uint32_t
        *recent[CAPS_MAX]; /* (key_count): of the last window - 1 places (or all) of this cap, how many have the key */
};

/* An empty list with room for `room` candidates. All memory is the arena's. False when it gives out. `cap_count` <= CAPS_MAX. */
bool caps_open(struct caps *caps, const struct cap *cap, size_t cap_count, size_t room, struct arena *arena);

/* May `candidate` come next? The first cap that says no is written to `*broken` (NULL: nobody asks). */
bool caps_allow(const struct caps *caps, size_t candidate, size_t *broken);

/* Put `candidate` next. It is allowed (caps_allow), and there is room. */
void caps_place(struct caps *caps, size_t candidate);

/* Take back the last places until `count` are left. */
void caps_shorten(struct caps *caps, size_t count);

/* The list ran into a wall: no candidate of `pool` (the numbers 0 .. pool - 1, best first) that is not on it may come next, but it is shorter than `n`. Find a longer
 * one that keeps as much of its beginning as possible: from a prefix, always take the allowed candidate that shares its key with most of those still left (as one
 * schedules the most frequent task first when equal tasks need a pause between them), of those that are level the one with the fewest keys, then the best. The longest prefix from which this reaches
 * the most places is kept; prefixes are tried by halving, since a shorter one leaves more freedom. The list is at least as long as before. At most `n` places. Takes
 * O(log n · n · pool) look-ups at worst; candidates beyond those that a cap could ever let in are left out first. False when the arena gives out; the list is
 * then as it was. */
bool caps_repair(struct caps *caps, size_t pool, size_t n, struct arena *arena);

/* An upper bound on the length of any list up to `n` out of `pool` candidates under each cap alone: the largest t <= n with
 * Σ over keys of min(candidates that have it, most · ⌊t / window⌋ + min(most, t mod window)) + free candidates >= t. Candidates with several keys under a cap count
 * as free there. False when the arena gives out. */
bool caps_bound(const struct cap *cap, size_t cap_count, size_t pool, size_t n, size_t *bound, struct arena *arena);

#endif
