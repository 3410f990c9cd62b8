/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_deadline.h"

#include "daemon/timestamp.h"

#include <stdio.h>

#define HISTORY_LEAST    10
#define CANDIDATES_LEAST 50
#define SCAN_LEAST       20000 /* rows: among fewer a scan takes about as long as what it spares */
#define RESERVE          0.7   /* of what is left: encoding the reply, and being wrong */
#define NS_AT_FIRST      0.1f  /* per multiply-add */
#define LEARN_LEAST      1e5   /* multiply-adds that say something about the speed */
#define LEARN_RATE       0.1f

static void note(struct engine_worker *worker, struct engine_answer *answer, const char *what, size_t before,
                 size_t after)
{
    char *text = arena_alloc(&worker->arena, 64);
    if (text == NULL || answer->degraded_count == ENGINE_NOTES_MAX)
        return;
    snprintf(text, 64, "%s:%zu->%zu", what, before, after);
    answer->degraded[answer->degraded_count++] = text;
}

/* events with which `qualifying` rows can be ranked in so many multiply-adds */
static size_t length_within(const struct config *config, const struct architecture *a, double cost, size_t qualifying,
                            size_t length)
{
    size_t least = 0; /* fits, if anything does */
    while (least < length) {
        size_t middle = least + (length - least + 1) / 2;
        if ((double)ranking_cost(config, a, qualifying, middle) <= cost)
            least = middle;
        else
            length = middle - 1;
    }
    return least;
}

struct engine_plan engine_plan_make(struct engine_worker *worker, const struct engine_request *request,
                                    const struct architecture *a, size_t qualifying, size_t length, size_t n,
                                    struct engine_answer *answer)
{
    const struct config *config = worker->engine->config;
    struct engine_plan plan = {.history = length, .candidates = SIZE_MAX};
    if (request->deadline_us == 0 || length == 0)
        return plan;
    float speed = worker->ns_per_product > 0 ? worker->ns_per_product : NS_AT_FIRST;
    double left_ns = (double)(request->deadline_us - timestamp_monotonic_us()) * 1000 * RESERVE;
    double fits = left_ns / (double)speed;
    if ((double)ranking_cost(config, a, qualifying, length) <= fits)
        return plan;
    size_t least = length < HISTORY_LEAST ? length : HISTORY_LEAST;
    plan.history = length_within(config, a, fits, qualifying, length);
    if (plan.history >= least) {
        note(worker, answer, "history", length, plan.history);
        return plan;
    }
    plan.history = least;
    double scan = (double)qualifying * (double)recommender_cost(a, 1);
    double candidates = (fits - scan) / (double)recommender_cost(a, least);
    if (qualifying > SCAN_LEAST && candidates >= CANDIDATES_LEAST && candidates >= (double)n) {
        plan.candidates = (size_t)candidates;
        if (least < length)
            note(worker, answer, "history", length, least);
        note(worker, answer, "candidates", qualifying, plan.candidates);
        return plan;
    }
    plan.history = 0;
    plan.unscored = true;
    if (answer->degraded_count < ENGINE_NOTES_MAX)
        answer->degraded[answer->degraded_count++] = "unscored";
    return plan;
}

void engine_plan_learn(struct engine_worker *worker, size_t cost, int64_t begin_us)
{
    if ((double)cost < LEARN_LEAST)
        return;
    float ns = (float)((double)(timestamp_monotonic_us() - begin_us) * 1000 / (double)cost);
    worker->ns_per_product =
        worker->ns_per_product > 0 ? worker->ns_per_product + LEARN_RATE * (ns - worker->ns_per_product) : ns;
}
