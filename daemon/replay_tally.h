/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes of asking many requests in two ways: how much the second lists differ from the first, by scenario, item by
 * item, and where most. Knows nothing of where the lists come from; what it keeps of them is its own. One thread. */
#ifndef RECSYS_DAEMON_REPLAY_TALLY_H
#define RECSYS_DAEMON_REPLAY_TALLY_H

#include "daemon/engine.h"

#define REPLAY_CHANGES_MOST   20
#define REPLAY_SCENARIO_BYTES 160
#define REPLAY_GONE           " (gone)" /* behind the name of a scenario that the other file does not have */

/* The requests of one scenario. */
struct replay_group {
    char scenario[REPLAY_SCENARIO_BYTES]; /* "": of none */
    int64_t requests, equal;              /* equal: the same items in the same order */
    double overlap, moved; /* sums: share of the first list that the second has; mean places that items of both moved */
};

/* How one pair of lists differs. */
struct replay_change {
    double overlap, moved;
    char recomm_id[64], user[257], scenario[REPLAY_SCENARIO_BYTES];
    uint32_t *item_ids; /* owned: gone ones, then those that came */
    size_t gone_count, came_count;
};

/* An item that was on a list. */
struct replay_item;

/* All-zero is an empty one. */
struct replay_tally {
    struct replay_group *groups; /* owned, in the order in which they were met */
    size_t group_count, group_capacity;
    struct replay_change changes[REPLAY_CHANGES_MOST]; /* the largest first: lowest overlap, then most moved */
    size_t change_count;
    struct replay_item *items; /* a table, owned */
    uint32_t *first;           /* (first_count) ids of the first list that waits for the second, owned */
    size_t first_count, first_capacity;
    int64_t pair; /* number of that pair */
};

/* Accepts all-zero, leaves all-zero. */
void replay_tally_close(struct replay_tally *tally);

/* Keep the first list of a pair, in the place of one that no second came for. The answer may be closed afterwards.
 * False out of memory. */
bool replay_tally_begin(struct replay_tally *tally, const struct engine_answer *first);

/* Whose list it is. */
struct replay_origin {
    const char *recomm_id, *user, *scenario;
};

/* Compare with the second list of the pair and count. False out of memory; the pair is then counted in part, and the
 * tally of no more use. */
bool replay_tally_end(struct replay_tally *tally, const struct replay_origin *origin,
                      const struct engine_answer *second);

/* A request whose scenario the other file does not have: in a group of its own, "SCENARIO (gone)", with no overlap.
 * False out of memory. */
bool replay_tally_gone(struct replay_tally *tally, const char *scenario);

/* The name of an item that was on a list; "" of one that was on none. Lives as long as the tally. */
const char *replay_tally_name(const struct replay_tally *tally, uint32_t item_id);

/* An item that is on more or on fewer of the second lists. */
struct replay_count {
    const char *item; /* lives as long as the tally */
    int64_t before, after;
};

/* Those whose number of lists changed, at most `most`: the largest difference first, then by name. In the arena; NULL
 * where that gives out. */
struct replay_count *replay_tally_items(const struct replay_tally *tally, size_t most, size_t *count,
                                        struct arena *arena);

#endif
