/* SPDX-License-Identifier: Apache-2.0
 *
 * Are the batch job's lists those of the daemon? Equal means: the same order, except that neighbours closer than 1e-5 of the sum of their terms may
 * swap, because BLAS differs in the last bit with the shape of a batch. */
#include "daemon/rescore.h"
#include "models/random.h"
#include "proto/recsys_client.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS  30000
#define ARENA_BYTES ((size_t)512 << 20)
#define TOLERANCE   1e-5
#define DESCRIBED   5

/* a sample of users, each as likely (Vitter 1985, algorithm R) */
static struct store_user *sample_users(struct rescore *r, size_t count, uint64_t seed, size_t *found, struct status *st)
{
    struct rescore_users users;
    struct random rng;
    struct store_user *sample = calloc(count + 1, sizeof *sample), *block = calloc(RESCORE_BLOCK_USERS, sizeof *block);
    size_t seen = 0, in_block = 1;
    bool ok = sample != NULL && block != NULL && rescore_users_open(&users, r, NULL, 0, 1, st);
    random_init(&rng, seed);
    while (ok && in_block > 0) {
        ok = rescore_users_next(&users, block, &in_block, st);
        for (size_t i = 0; ok && i < in_block; i++, seen++) {
            size_t at = seen < count ? seen : (size_t)random_below(&rng, seen + 1);
            if (at < count)
                sample[at] = block[i];
        }
    }
    free(block);
    if (!ok) {
        free(sample);
        return NULL;
    }
    *found = seen < count ? seen : count;
    return sample;
}

static double size_of(const struct engine_item *item)
{
    double sum = 0;
    for (size_t i = 0; i < item->part_count; i++)
        sum += fabs((double)item->parts[i].value);
    return sum;
}

static size_t position_of(const struct engine_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strcmp(answer->items[i].item->item.name, name) == 0)
            return i;
    return answer->count;
}

/* may `theirs` (an item and its score) stand at place `at` of our list? */
static bool fits(const struct engine_answer *ours, size_t at, const char *name, double score)
{
    const struct engine_item *here = &ours->items[at];
    if (strcmp(here->item->item.name, name) == 0)
        return true;
    size_t place = position_of(ours, name);
    double other = place < ours->count ? (double)ours->items[place].score : score;
    return fabs(other - (double)here->score) <= TOLERANCE * fmax(size_of(here), 1e-3);
}

static bool equal_lists(const struct engine_answer *ours, const json_t *items, char *why, size_t why_size)
{
    if (json_array_size(items) != ours->count) {
        snprintf(why, why_size, "%zu items, the daemon has %zu", ours->count, json_array_size(items));
        return false;
    }
    for (size_t i = 0; i < ours->count; i++) {
        const json_t *item = json_array_get(items, i);
        const char *name = json_string_value(json_object_get(item, "item"));
        double score = json_number_value(json_object_get(item, "score"));
        if (name == NULL || !fits(ours, i, name, score)) {
            snprintf(why, why_size, "place %zu: '%s' %.7g, the daemon has '%s' %.7g", i + 1,
                     ours->items[i].item->item.name, (double)ours->items[i].score, name == NULL ? "?" : name, score);
            return false;
        }
    }
    return true;
}

static bool compare_user(struct rescore *r, struct engine_worker *worker, struct recsys_client *client,
                         const char *user, bool describe, bool *equal, struct status *st)
{
    struct arena_mark mark = arena_mark(&worker->arena);
    struct engine_answer answer;
    char why[256];
    if (!rescore_user(r, worker, user, &answer, st))
        return false;
    json_t *params = json_pack("{s:s, s:I, s:s, s:I, s:s, s:s, s:s, s:i}", "user", user, "n", (json_int_t)r->n,
                               "at_seq", r->seq, "now_ms", (json_int_t)r->now_ms, "model", r->model, "counts",
                               r->counts, "catalogue", r->catalogue, "timeout_ms", TIMEOUT_MS);
    json_t *result = recsys_client_call_json(client, "recommend", params, st);
    if (result != NULL) {
        *equal = equal_lists(&answer, json_object_get(result, "items"), why, sizeof why);
        if (!*equal && describe)
            fprintf(stderr, "user '%s': %s\n", user, why);
    }
    bool ok = result != NULL;
    json_decref(params);
    json_decref(result);
    engine_answer_close(&answer);
    arena_rewind(&worker->arena, mark);
    return ok;
}

bool rescore_verify(struct rescore *r, const char *endpoint, size_t count, uint64_t seed, size_t *different,
                    struct status *st)
{
    size_t found = 0;
    struct engine_worker worker;
    struct recsys_client *client = recsys_client_new(endpoint, TIMEOUT_MS, st);
    struct store_user *users = client == NULL ? NULL : sample_users(r, count, seed, &found, st);
    bool ok = users != NULL;
    engine_worker_init(&worker, &r->engine, r->store, ARENA_BYTES);
    *different = 0;
    for (size_t i = 0; ok && i < found; i++) {
        bool equal = false;
        ok = compare_user(r, &worker, client, users[i].name, *different < DESCRIBED, &equal, st);
        *different += ok && !equal;
    }
    if (ok)
        printf("verified %zu lists: %zu differ\n", found, *different);
    engine_worker_close(&worker);
    recsys_client_free(client);
    free(users);
    return ok;
}
