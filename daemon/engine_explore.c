/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_explore.h"

#include "models/random.h"
#include "models/topk.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#define CANDIDATES_LEAST 50
#define CANDIDATES_TIMES 10

static uint64_t seed_of(const struct engine_request *request)
{
    const char *user = request->user == NULL ? "" : request->user, *seed = request->rules->seed;
    uint64_t hash = XXH3_64bits_withSeed(user, strlen(user), (uint64_t)request->now_ms);
    return seed == NULL ? hash : XXH3_64bits_withSeed(seed, strlen(seed), hash);
}

/* Of those that are level with the last candidate some were drawn to be candidates. */
struct boundary {
    const float *masked; /* (row_count) */
    float score;
    double chance;
};

/* the best of those that qualify and are hardly known; of the ones that nothing is known of, any */
static bool find_unknown(const struct scoring *scoring, const float *score, struct random *rng, uint32_t *best,
                         size_t most, size_t *found, struct boundary *boundary)
{
    const struct snapshot_view *view = scoring->view;
    struct arena *arena = &scoring->worker->arena;
    float *masked = arena_floats(arena, view->row_count + 1);
    uint32_t *tie = arena_alloc(arena, (view->row_count + 1) * sizeof *tie); /* or the oldest would always be it */
    if (masked == NULL || tie == NULL)
        return false;
    memset(tie, 0, (view->row_count + 1) * sizeof *tie);
    for (size_t row = 0; row < view->row_count; row++)
        masked[row] = -INFINITY;
    for (size_t w = 0; w < view->row_count / 64 + 1; w++)
        for (uint64_t word = view->alive[w]; word != 0; word &= word - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(word);
            const struct snapshot_segment *segment = snapshot_segment_of(view, row);
            uint32_t item_id = segment->item_ids[row - segment->first];
            if (counts_popularity(scoring->context.counts, item_id) <= EXPLORE_EVENTS_MOST) {
                masked[row] = score[row] == -INFINITY ? -FLT_MAX : score[row];
                tie[row] = (uint32_t)random_u64(rng);
            }
        }
    *found = topk_select(best, masked, tie, view->row_count, most);
    boundary->score = *found > 0 ? masked[best[*found - 1]] : -INFINITY;
    boundary->masked = masked;
    size_t level = 0, chosen = 0;
    for (size_t row = 0; *found > 0 && row < view->row_count; row++)
        level += masked[row] == boundary->score;
    for (size_t i = 0; i < *found; i++)
        chosen += masked[best[i]] == boundary->score;
    boundary->chance = level > 0 ? (double)chosen / (double)level : 1;
    return true;
}

bool engine_explore(const struct scoring *scoring, const float *score, size_t n, struct engine_exploration *drawn)
{
    struct random rng;
    double wanted = (double)scoring->rules->exploration * (double)n;
    random_init(&rng, seed_of(scoring->request));
    size_t places = (size_t)wanted + (random_uniform(&rng) < (float)(wanted - floor(wanted)));
    size_t most = CANDIDATES_TIMES * places > CANDIDATES_LEAST ? CANDIDATES_TIMES * places : CANDIDATES_LEAST, found;
    struct boundary boundary;
    *drawn = (struct engine_exploration){.rows = arena_alloc(&scoring->worker->arena, (most + 1) * sizeof(uint32_t))};
    if (drawn->rows == NULL || !find_unknown(scoring, score, &rng, drawn->rows, most, &found, &boundary))
        return false;
    drawn->count = places < found ? places : found;
    drawn->propensity = arena_floats(&scoring->worker->arena, drawn->count + 1);
    if (drawn->propensity == NULL)
        return false;
    for (size_t i = 0; i < drawn->count; i++) {
        size_t other = i + random_below(&rng, found - i);
        uint32_t row = drawn->rows[i];
        drawn->rows[i] = drawn->rows[other];
        drawn->rows[other] = row;
        double level = boundary.masked[drawn->rows[i]] == boundary.score ? boundary.chance : 1;
        drawn->propensity[i] = (float)(fmin(wanted / (double)found, 1) * level);
    }
    return true;
}
