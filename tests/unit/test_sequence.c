/* SPDX-License-Identifier: Apache-2.0
 *
 * The self-attention over a history against plain loops in double (tests/support/random_model.c). */
#include "models/sequence.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)

struct history {
    struct sequence sequence;
    float *token;
    int *behaviour;
    int64_t *ts_ms;
};

static void history_init(struct history *h, size_t length, size_t width, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    h->token = random_model_alloc(length * width, sizeof *h->token);
    h->behaviour = random_model_alloc(length, sizeof *h->behaviour);
    h->ts_ms = random_model_alloc(length, sizeof *h->ts_ms);
    int64_t now_ms = 1700000000000;
    for (size_t i = 0; i < length; i++) {
        for (size_t j = 0; j < width; j++)
            h->token[i * width + j] = i % 7 == 3 ? 0 : random_normal(&rng); /* an item that is gone has a zero row */
        h->behaviour[i] = (int)random_below(&rng, RANDOM_MODEL_BEHAVIOURS + 1) - 1;
        now_ms += i % 5 == 0 ? 0 : (int64_t)random_below(&rng, (uint64_t)(3 * DAY_MS));
        h->ts_ms[i] = now_ms;
    }
    h->sequence = (struct sequence){length, h->token, h->behaviour, h->ts_ms, now_ms + DAY_MS};
}

static void history_close(struct history *h)
{
    free(h->token);
    free(h->behaviour);
    free(h->ts_ms);
}

static float *forward(const struct model *model, const struct sequence *sequence)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20);
    float *u = random_model_alloc((size_t)model->architecture.width, sizeof *u);
    cr_assert(sequence_forward(u, model, sequence, &arena));
    arena_close(&arena);
    return u;
}

Test(sequence, agrees_with_plain_loops)
{
    static const size_t lengths[] = {1, 2, 3, 17, 64, 65, 100, 300, 1000};
    static const enum random_model_kind kinds[] = {RANDOM_MODEL_ID, RANDOM_MODEL_SEQUENCE}; /* one block, two blocks */
    for (size_t k = 0; k < 2; k++) {
        struct model *model = random_model(kinds[k], 11 + k);
        size_t d = (size_t)model->architecture.width;
        double *wanted = random_model_alloc(d, sizeof *wanted);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            struct history h;
            history_init(&h, lengths[i], d, i);
            float *u = forward(model, &h.sequence);
            random_model_state(wanted, model, &h.sequence);
            for (size_t j = 0; j < d; j++)
                cr_assert_lt(fabs(u[j] - wanted[j]), 5e-5, "%s, length %zu, %zu: %.7g, wanted %.7g",
                             random_model_label(kinds[k]), lengths[i], j, (double)u[j], wanted[j]);
            free(u);
            history_close(&h);
        }
        free(wanted);
        model_release(model);
    }
}

static double distance(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += fabs((double)a[i] - b[i]);
    return sum;
}

/* The order, the time, the behaviour of an old event: each says something. */
Test(sequence, every_input_counts)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 5);
    size_t d = (size_t)model->architecture.width;
    struct history h;
    history_init(&h, 12, d, 5);
    float *u = forward(model, &h.sequence), *other;
    h.sequence.now_ms += 300 * DAY_MS;
    other = forward(model, &h.sequence);
    cr_assert_gt(distance(u, other, d), 1e-3, "now_ms");
    h.sequence.now_ms -= 300 * DAY_MS;
    free(other);
    h.behaviour[2] = (h.behaviour[2] + 2) % RANDOM_MODEL_BEHAVIOURS;
    other = forward(model, &h.sequence);
    cr_assert_gt(distance(u, other, d), 1e-4, "behaviour");
    free(other);
    h.token[0] += 1;
    float *third = forward(model, &h.sequence);
    cr_assert_gt(distance(u, third, d), 1e-4, "token");
    free(third);
    free(u);
    history_close(&h);
    model_release(model);
}

Test(sequence, the_same_twice_and_its_input_is_left_alone)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 6);
    size_t d = (size_t)model->architecture.width;
    struct history h;
    history_init(&h, 30, d, 6);
    float *copy = random_model_alloc(30 * d, sizeof *copy);
    memcpy(copy, h.token, 30 * d * sizeof *copy);
    float *first = forward(model, &h.sequence), *second = forward(model, &h.sequence);
    cr_assert_arr_eq(first, second, d * sizeof *first);
    cr_assert_arr_eq(copy, h.token, 30 * d * sizeof *copy);
    free(first);
    free(second);
    free(copy);
    history_close(&h);
    model_release(model);
}

Test(sequence, an_arena_that_gives_out_is_a_failure)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 7);
    struct history h;
    struct arena arena;
    float u[64];
    history_init(&h, 50, (size_t)model->architecture.width, 7);
    bool ok = false;
    for (size_t limit = 0; !ok; limit += 2048) {
        arena_init(&arena, limit);
        ok = sequence_forward(u, model, &h.sequence, &arena);
        cr_assert(!ok || limit > 10000, "it cannot fit %zu bytes", limit);
        cr_assert_lt(limit, (size_t)1 << 20, "it should fit a megabyte");
        arena_close(&arena);
    }
    history_close(&h);
    model_release(model);
}
