/* SPDX-License-Identifier: Apache-2.0
 *
 * Self-attention with its relative biases against plain loops in double, and its gradients against central differences of them. */
#include "models/attention.h"

#include "models/architecture.h"
#include "models/model.h"
#include "tests/support/gradient_check.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = ARCHITECTURE_POSITIONS, BUCKETS = ARCHITECTURE_TIME_BUCKETS, BEHAVIOURS = 3 };
enum { QKV, POSITION, TIME, BEHAVIOUR, TENSORS };

struct shape {
    size_t length, heads, d;
    float dropout;     /* 0: no factors */
    bool no_behaviour; /* none of the events has one */
};

static const struct shape shapes[] = {
    {1, 1, 4, 0, false},    {1, 2, 4, .5f, true},  {2, 1, 3, 0, false},    {5, 1, 4, 0, true},
    {6, 2, 8, 0, false},    {7, 4, 8, .3f, false}, {17, 2, 6, .5f, false}, {70, 2, 4, 0, false}, /* past POSITIONS */
    {66, 2, 4, .2f, false},
};

/* One sequence, and what it should come to. */
struct attention {
    struct shape shape;
    struct gradient_tensor t[TENSORS];
    int *behaviour;
    uint8_t *bucket;
    float *factor, *kept; /* (heads, L, L), or NULL */
    float *y, *weight, *dy;
    double *wanted;        /* (L, d) */
    double *wanted_weight; /* (heads, L, L): without factors */
};

static void draw_factors(struct attention *a, struct random *rng)
{
    size_t count = a->shape.heads * a->shape.length * a->shape.length;
    a->factor = random_model_alloc(count, sizeof *a->factor);
    a->kept = random_model_alloc(count, sizeof *a->kept);
    for (size_t i = 0; i < count; i++)
        a->factor[i] = a->kept[i] = random_uniform(rng) < a->shape.dropout ? 0 : 1 / (1 - a->shape.dropout);
    a->factor[0] = a->kept[0] = 1; /* else a sequence of one might say nothing */
}

static void attention_init(struct attention *a, const struct shape *shape, struct random *rng)
{
    size_t L = shape->length, d = shape->d, heads = shape->heads;
    *a = (struct attention){.shape = *shape, .dy = gradient_draw(L * d, 1, rng)};
    a->t[QKV] = gradient_tensor_draw("qkv", L * 3 * d, 0, 1, rng);
    a->t[POSITION] = gradient_tensor_draw("position", heads * POSITIONS, 0, 1, rng);
    a->t[TIME] = gradient_tensor_draw("time", heads * BUCKETS, 0, 1, rng);
    a->t[BEHAVIOUR] = gradient_tensor_draw("behaviour", heads * BEHAVIOURS, 0, 1, rng);
    a->t[QKV].written = true;
    a->t[POSITION].idle = a->t[TIME].idle = L == 1; /* the softmax of one is 1 whatever it is */
    a->t[BEHAVIOUR].idle = L == 1 || shape->no_behaviour;
    a->behaviour = random_model_alloc(L, sizeof *a->behaviour);
    a->bucket = random_model_alloc(L * L, sizeof *a->bucket);
    for (size_t i = 0; i < L; i++)
        a->behaviour[i] = shape->no_behaviour ? -1 : i == 0 ? 1 : (int)random_below(rng, BEHAVIOURS + 1) - 1;
    for (size_t i = 0; i < L * L; i++)
        a->bucket[i] = (uint8_t)random_below(rng, BUCKETS);
    if (shape->dropout > 0)
        draw_factors(a, rng);
    a->y = random_model_alloc(L * d, sizeof *a->y);
    a->weight = random_model_alloc(heads * L * L, sizeof *a->weight);
    a->wanted = random_model_alloc(L * d, sizeof *a->wanted);
    a->wanted_weight = random_model_alloc(heads * L * L, sizeof *a->wanted_weight);
}

static void attention_close(struct attention *a)
{
    gradient_tensors_close(a->t, TENSORS);
    free(a->behaviour);
    free(a->bucket);
    free(a->factor);
    free(a->kept);
    free(a->y);
    free(a->weight);
    free(a->dy);
    free(a->wanted);
    free(a->wanted_weight);
}

static double twin_logit(const struct attention *a, size_t h, size_t i, size_t j)
{
    size_t d = a->shape.d, width = d / a->shape.heads, steps = i - j < POSITIONS ? i - j : POSITIONS - 1;
    const double *q = a->t[QKV].twin + i * 3 * d + h * width, *k = a->t[QKV].twin + j * 3 * d + d + h * width;
    double sum = 0;
    for (size_t c = 0; c < width; c++)
        sum += q[c] * k[c];
    sum = sum / sqrt((double)width) + a->t[POSITION].twin[h * POSITIONS + steps];
    sum += a->t[TIME].twin[h * BUCKETS + a->bucket[i * a->shape.length + j]];
    return a->behaviour[j] < 0 ? sum : sum + a->t[BEHAVIOUR].twin[h * BEHAVIOURS + (size_t)a->behaviour[j]];
}

static void twin_row(struct attention *a, size_t h, size_t i)
{
    size_t L = a->shape.length, d = a->shape.d, width = d / a->shape.heads;
    double *weight = a->wanted_weight + (h * L + i) * L, *y = a->wanted + i * d + h * width, most = -INFINITY, sum = 0;
    memset(y, 0, width * sizeof *y);
    for (size_t j = 0; j <= i; j++)
        most = fmax(most, weight[j] = twin_logit(a, h, i, j));
    for (size_t j = 0; j <= i; j++)
        sum += weight[j] = exp(weight[j] - most);
    for (size_t j = 0; j <= i; j++) {
        weight[j] /= sum;
        double used = weight[j] * (a->factor == NULL ? 1 : (double)a->factor[(h * L + i) * L + j]);
        for (size_t c = 0; c < width; c++)
            y[c] += used * a->t[QKV].twin[j * 3 * d + 2 * d + h * width + c];
    }
}

static double value(void *context)
{
    struct attention *a = context;
    for (size_t h = 0; h < a->shape.heads; h++)
        for (size_t i = 0; i < a->shape.length; i++)
            twin_row(a, h, i);
    return gradient_functional(a->dy, a->wanted, a->shape.length * a->shape.d);
}

static struct attention_events events_of(const struct attention *a)
{
    return (struct attention_events){a->shape.length, a->behaviour, a->bucket};
}

static void forward(struct attention *a)
{
    struct attention_biases biases = {BEHAVIOURS, a->t[POSITION].x, a->t[TIME].x, a->t[BEHAVIOUR].x};
    struct attention_events events = events_of(a);
    attention_forward(a->y, a->weight, a->kept, a->t[QKV].x, &biases, &events, a->shape.heads, a->shape.d);
}

static void check_forward(struct attention *a)
{
    size_t L = a->shape.length, pairs = a->shape.heads * L * L;
    forward(a);
    value(a);
    const char *wrong = gradient_apart("y", a->y, a->wanted, L * a->shape.d, 3e-5);
    if (wrong == NULL)
        wrong = gradient_apart("weights", a->weight, a->wanted_weight, pairs, 1e-5); /* zero above the diagonal too */
    for (size_t i = 0; a->kept != NULL && i < pairs; i++)
        a->wanted_weight[i] *= (double)a->factor[i];
    if (wrong == NULL && a->kept != NULL)
        wrong = gradient_apart("weights that were used", a->kept, a->wanted_weight, pairs, 2e-5);
    cr_assert_null(wrong, "length %zu, %zu heads, dropout %g: %s", L, a->shape.heads, (double)a->shape.dropout, wrong);
}

static void check_backward(struct attention *a)
{
    size_t L = a->shape.length;
    struct attention_bias_gradients gradients = {a->t[POSITION].dx, a->t[TIME].dx, a->t[BEHAVIOUR].dx};
    struct attention_events events = events_of(a);
    float *scratch = gradient_draw(L * L, 1, &(struct random){{1, 2, 3, 4}});
    attention_backward(a->t[QKV].dx, &gradients, a->dy, a->weight, a->kept, a->t[QKV].x, &events, BEHAVIOURS, scratch,
                       a->shape.heads, a->shape.d);
    const char *wrong = gradient_wrong(value, a, a->t, TENSORS);
    cr_assert_null(wrong, "length %zu, %zu heads, dropout %g: %s", L, a->shape.heads, (double)a->shape.dropout, wrong);
    free(scratch);
}

Test(attention, agrees_with_plain_loops_and_so_do_its_gradients)
{
    struct random rng;
    random_init(&rng, 1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct attention a;
        attention_init(&a, &shapes[i], &rng);
        check_forward(&a);
        check_backward(&a);
        attention_close(&a);
    }
}

/* A row knows nothing of later events, and an entry of a table is read only where its bias is asked for. */
Test(attention, a_row_sees_only_what_came_before)
{
    struct random rng;
    struct attention a;
    enum { L = 9, D = 8, HEADS = 2 };
    random_init(&rng, 2);
    attention_init(&a, &(struct shape){L, HEADS, D, 0, false}, &rng);
    forward(&a);
    float before[L * D];
    memcpy(before, a.y, sizeof before);
    for (size_t i = L - 3; i < L; i++) {
        a.behaviour[i] = (a.behaviour[i] + 2) % BEHAVIOURS;
        for (size_t j = 0; j < 3 * D; j++)
            a.t[QKV].x[i * 3 * D + j] += 5;
    }
    forward(&a);
    cr_assert_arr_eq(a.y, before, (L - 3) * D * sizeof *before);
    cr_assert_arr_neq(a.y + (L - 3) * D, before + (L - 3) * D, 3 * D * sizeof *before);
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < L; i++) {
            double sum = 0;
            for (size_t j = 0; j < L; j++)
                sum += (double)a.weight[(h * L + i) * L + j];
            cr_assert_float_eq(sum, 1, 1e-5, "head %zu, row %zu: the weights sum to %g", h, i, sum);
        }
    attention_close(&a);
}

Test(attention, buckets_are_of_the_time_to_what_a_row_predicts)
{
    enum { L = 60 };
    int64_t ts_ms[L], next_ms[L], now_ms = 1700000000000;
    uint8_t bucket[L * L];
    struct random rng;
    random_init(&rng, 3);
    for (size_t i = 0; i < L; i++) {
        /* some at once, some within seconds, some years later */
        now_ms += i % 5 == 0 ? 0 : (int64_t)exp2(36 * (double)random_uniform(&rng));
        ts_ms[i] = now_ms;
    }
    for (size_t i = 0; i < L; i++)
        next_ms[i] = i + 1 < L ? ts_ms[i + 1] : now_ms - 1; /* a clock that went back: an age below zero */
    memset(bucket, 255, sizeof bucket);
    attention_buckets(bucket, ts_ms, next_ms, L);
    for (size_t i = 0; i < L; i++)
        for (size_t j = 0; j <= i; j++)
            cr_assert_eq(bucket[i * L + j], model_time_bucket(next_ms[i] - ts_ms[j]), "row %zu, event %zu: %d, not %d",
                         i, j, bucket[i * L + j], model_time_bucket(next_ms[i] - ts_ms[j]));
}
