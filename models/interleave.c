/* SPDX-License-Identifier: Apache-2.0 */
#include "models/interleave.h"

#include "models/random.h"

#include <stdbool.h>

struct captain {
    const uint32_t *list;
    size_t count, next;
};

/* From the end: where two lists are alike, what one wants was mostly taken by the other just now. */
static bool is_taken(const uint32_t *out, size_t count, uint32_t item)
{
    while (count > 0)
        if (out[--count] == item)
            return true;
    return false;
}

/* Go to the captain's best item that is not taken; false: there is none. */
static bool find_next(struct captain *captain, const uint32_t *out, size_t count)
{
    while (captain->next < captain->count && is_taken(out, count, captain->list[captain->next]))
        captain->next++;
    return captain->next < captain->count;
}

size_t interleave_team_draft(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count, size_t n,
                             uint64_t seed, uint32_t *out, uint8_t *team)
{
    struct captain captains[2] = {{a, a_count, 0}, {b, b_count, 0}};
    struct random coins;
    size_t count = 0;
    random_init(&coins, seed);
    for (bool more = true; more && count < n;) { /* a round */
        size_t first = (size_t)random_below(&coins, 2);
        more = false;
        for (size_t turn = 0; turn < 2 && count < n; turn++) {
            size_t who = first ^ turn;
            if (!find_next(&captains[who], out, count))
                continue;
            out[count] = captains[who].list[captains[who].next++];
            team[count++] = (uint8_t)who;
            more = true;
        }
    }
    return count;
}
