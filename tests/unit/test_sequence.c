/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence part over packed histories against plain loops in double, its dropout included, and its gradients against central differences of them. */
#include "models/sequence.h"

#include "tests/support/gradient_check.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)

/* ---- histories */

enum { HISTORIES_MOST = 12 };

struct packed {
    struct sequences s;
    size_t start[HISTORIES_MOST + 1];
    struct gradient_tensor token; /* (T, width) */
    int *behaviour;
    int64_t *ts_ms, *next_ms;
};

static void fill_history(const struct packed *p, size_t first, size_t length, struct random *rng)
{
    int64_t now_ms = 1700000000000;
    for (size_t i = first; i < first + length; i++) {
        p->behaviour[i] = (int)random_below(rng, RANDOM_MODEL_BEHAVIOURS + 1) - 1;
        now_ms += i % 5 == 0 ? 0 : (int64_t)random_below(rng, (uint64_t)(3 * DAY_MS));
        p->ts_ms[i] = now_ms;
    }
    for (size_t i = first; i < first + length; i++)
        p->next_ms[i] = i + 1 < first + length ? p->ts_ms[i + 1] : now_ms + DAY_MS;
}

static void packed_init(struct packed *p, const size_t *lengths, size_t count, size_t width, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    *p = (struct packed){0};
    for (size_t i = 0; i < count; i++)
        p->start[i + 1] = p->start[i] + lengths[i];
    size_t T = p->start[count];
    p->token = gradient_tensor_draw("token", T * width, 0, 1, &rng);
    for (size_t i = 3; i < T; i += 7) /* an item that is gone has a row of zeros */
        for (size_t j = i * width; j < (i + 1) * width; j++)
            p->token.twin[j] = (double)(p->token.x[j] = 0);
    p->behaviour = random_model_alloc(T, sizeof *p->behaviour);
    p->ts_ms = random_model_alloc(T, sizeof *p->ts_ms);
    p->next_ms = random_model_alloc(T, sizeof *p->next_ms);
    for (size_t i = 0; i < count; i++)
        fill_history(p, p->start[i], lengths[i], &rng);
    p->s = (struct sequences){count, p->start, p->token.x, p->behaviour, p->ts_ms, p->next_ms};
}

static void packed_close(struct packed *p)
{
    gradient_tensors_close(&p->token, 1);
    free(p->behaviour);
    free(p->ts_ms);
    free(p->next_ms);
}

/* u (T, width); what forward keeps is gone when it returns */
static float *forward(const struct model *model, const struct sequences *s)
{
    struct arena arena;
    struct sequence_tape tape;
    arena_init(&arena, (size_t)256 << 20);
    float *u = random_model_alloc(s->start[s->count] * (size_t)model->architecture.width, sizeof *u);
    cr_assert(sequence_forward(u, &tape, model, s, NULL, &arena));
    arena_close(&arena);
    return u;
}

/* ---- the twin */

struct twin {
    struct gradient_model g;
    const struct packed *histories;
    const struct sequence_tape *tape; /* whose dropout is repeated, or NULL */
    float attention_rate;
    const float *du; /* (T, d) */
    double *x;       /* (T, d): u in the end */
    double *qkv;     /* (T, 3d) */
};

static const double *in(const struct twin *t, const float *weight)
{
    return gradient_model_twin(&t->g, weight);
}

static void twin_norm(double *out, const double *x, const double *scale, const double *shift, size_t d)
{
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++)
        mean += x[j] / (double)d;
    for (size_t j = 0; j < d; j++)
        variance += (x[j] - mean) * (x[j] - mean) / (double)d;
    for (size_t j = 0; j < d; j++)
        out[j] = (x[j] - mean) / sqrt(variance + 1e-5) * scale[j] + shift[j];
}

/* out (columns) = x (inner) · w (inner, columns) */
static void times(double *out, const double *x, const double *w, size_t inner, size_t columns)
{
    memset(out, 0, columns * sizeof *out);
    for (size_t i = 0; i < inner; i++)
        for (size_t c = 0; c < columns; c++)
            out[c] += x[i] * w[i * columns + c];
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* x += σ(x·gate + bias) ⊙ f ⊙ factor */
static void twin_gated(double *x, const double *f, const float *factor, const double *gate, const double *bias,
                       size_t d)
{
    double open[64];
    times(open, x, gate, d, d);
    for (size_t j = 0; j < d; j++)
        x[j] += sigmoid(open[j] + bias[j]) * f[j] * (factor == NULL ? 1 : (double)factor[j]);
}

/* what dropout made of a weight: after forward, `kept` has the weights that were used */
static double twin_factor(const struct twin *t, int b, size_t at)
{
    const float *kept = t->tape == NULL ? NULL : t->tape->block[b].kept;
    return kept == NULL ? 1 : kept[at] > 0 ? 1 / (1 - (double)t->attention_rate) : 0;
}

static double twin_logit(const struct twin *t, int b, size_t h, size_t i, size_t j)
{
    const struct model *model = t->g.model;
    const struct packed *p = t->histories;
    size_t d = (size_t)model->architecture.width, width = d / (size_t)model->architecture.heads, far = i - j;
    const double *q = t->qkv + i * 3 * d + h * width, *k = t->qkv + j * 3 * d + d + h * width;
    size_t bucket = (size_t)model_time_bucket(p->next_ms[i] - p->ts_ms[j]);
    double sum = 0;
    for (size_t c = 0; c < width; c++)
        sum += q[c] * k[c];
    sum /= sqrt((double)width);
    far = far < ARCHITECTURE_POSITIONS ? far : ARCHITECTURE_POSITIONS - 1;
    sum += in(t, model->weights.block[b].position)[h * ARCHITECTURE_POSITIONS + far];
    sum += in(t, model->weights.block[b].time)[h * ARCHITECTURE_TIME_BUCKETS + bucket];
    if (p->behaviour[j] >= 0)
        sum += in(t, model->weights.block[b].behaviour_bias)[h * RANDOM_MODEL_BEHAVIOURS + (size_t)p->behaviour[j]];
    return sum;
}

/* y (width of a head) of event i of a history that begins at `first`; `factors` is where row i's are */
static void twin_attend(double *y, const struct twin *t, int b, size_t h, size_t first, size_t i, size_t factors)
{
    size_t d = (size_t)t->g.model->architecture.width, width = d / (size_t)t->g.model->architecture.heads;
    double weight[512], most = -INFINITY, sum = 0;
    for (size_t j = first; j <= i; j++)
        most = fmax(most, weight[j - first] = twin_logit(t, b, h, i, j));
    for (size_t j = first; j <= i; j++)
        sum += weight[j - first] = exp(weight[j - first] - most);
    memset(y, 0, width * sizeof *y);
    for (size_t j = first; j <= i; j++)
        for (size_t c = 0; c < width; c++)
            y[c] += weight[j - first] / sum * twin_factor(t, b, factors + j - first) *
                    t->qkv[j * 3 * d + 2 * d + h * width + c];
}

static void twin_swiglu(double *out, const double *x, const struct twin *t, int b)
{
    const struct model *model = t->g.model;
    size_t d = (size_t)model->architecture.width, f = (size_t)model->architecture.feedforward;
    double gate[64], up[64];
    times(gate, x, in(t, model->weights.block[b].up_gate), d, f);
    times(up, x, in(t, model->weights.block[b].up), d, f);
    for (size_t j = 0; j < f; j++)
        up[j] *= gate[j] * sigmoid(gate[j]);
    times(out, up, in(t, model->weights.block[b].down), f, d);
}

/* one event through one block, once qkv of its history is there */
static void twin_event(const struct twin *t, int b, size_t first, size_t length, size_t i, size_t pairs)
{
    const struct weights *w = &t->g.model->weights;
    size_t d = (size_t)t->g.model->architecture.width, heads = (size_t)t->g.model->architecture.heads;
    double y[64], f[64], *x = t->x + i * d;
    const float *factor1 = t->tape == NULL ? NULL : t->tape->block[b].dropped1;
    const float *factor2 = t->tape == NULL ? NULL : t->tape->block[b].dropped2;
    for (size_t h = 0; h < heads; h++)
        twin_attend(y + h * (d / heads), t, b, h, first, i, heads * pairs + (h * length + i - first) * length);
    times(f, y, in(t, w->block[b].out), d, d);
    twin_gated(x, f, factor1 == NULL ? NULL : factor1 + i * d, in(t, w->block[b].gate1), in(t, w->block[b].gate1_bias),
               d);
    twin_norm(y, x, in(t, w->block[b].norm2_scale), in(t, w->block[b].norm2_shift), d);
    twin_swiglu(f, y, t, b);
    twin_gated(x, f, factor2 == NULL ? NULL : factor2 + i * d, in(t, w->block[b].gate2), in(t, w->block[b].gate2_bias),
               d);
}

static void twin_block(const struct twin *t, int b)
{
    const struct weights *w = &t->g.model->weights;
    const struct sequences *s = &t->histories->s;
    size_t d = (size_t)t->g.model->architecture.width, pairs = 0;
    double row[64];
    for (size_t i = 0; i < s->start[s->count]; i++) {
        twin_norm(row, t->x + i * d, in(t, w->block[b].norm1_scale), in(t, w->block[b].norm1_shift), d);
        times(t->qkv + i * 3 * d, row, in(t, w->block[b].qkv), d, 3 * d);
    }
    for (size_t h = 0; h < s->count; h++) {
        size_t first = s->start[h], length = s->start[h + 1] - first;
        for (size_t i = first; i < first + length; i++)
            twin_event(t, b, first, length, i, pairs);
        pairs += length * length;
    }
}

static double value(void *context)
{
    const struct twin *t = context;
    const struct model *model = t->g.model;
    size_t T = t->histories->s.start[t->histories->s.count], d = (size_t)model->architecture.width;
    const float *factor = t->tape == NULL ? NULL : t->tape->dropped_token;
    for (size_t i = 0; i < T * d; i++) {
        int behaviour = t->histories->behaviour[i / d];
        double added = behaviour < 0 ? 0 : in(t, model->weights.behaviour)[(size_t)behaviour * d + i % d];
        t->x[i] = (t->histories->token.twin[i] + added) * (factor == NULL ? 1 : (double)factor[i]);
    }
    for (int b = 0; b < model->architecture.blocks; b++)
        twin_block(t, b);
    for (size_t i = 0; i < T; i++) {
        double row[64];
        memcpy(row, t->x + i * d, d * sizeof *row);
        twin_norm(t->x + i * d, row, in(t, model->weights.norm_scale), in(t, model->weights.norm_shift), d);
    }
    return t->du == NULL ? 0 : gradient_functional(t->du, t->x, T * d);
}

static void twin_init(struct twin *t, const struct model *model, const struct packed *histories)
{
    size_t T = histories->s.start[histories->s.count], d = (size_t)model->architecture.width;
    *t = (struct twin){.histories = histories};
    gradient_model_init(&t->g, model, PARAM_SEQUENCE);
    t->x = random_model_alloc(T * d, sizeof *t->x);
    t->qkv = random_model_alloc(T * 3 * d, sizeof *t->qkv);
}

static void twin_close(struct twin *t)
{
    gradient_model_close(&t->g);
    free(t->x);
    free(t->qkv);
}

/* ---- tests */

Test(sequence, agrees_with_plain_loops)
{
    static const size_t lengths[] = {1, 2, 300, 3, 17, 1, 64, 65, 100};
    static const enum random_model_kind kinds[] = {RANDOM_MODEL_ID, RANDOM_MODEL_SEQUENCE}; /* one block, two blocks */
    for (size_t k = 0; k < 2; k++) {
        struct model *model = random_model(kinds[k], 11 + k);
        size_t d = (size_t)model->architecture.width;
        struct packed p;
        struct twin t;
        packed_init(&p, lengths, sizeof lengths / sizeof *lengths, d, k);
        twin_init(&t, model, &p);
        float *u = forward(model, &p.s);
        value(&t);
        const char *wrong = gradient_apart("u", u, t.x, p.s.start[p.s.count] * d, 1e-4);
        cr_assert_null(wrong, "%s: %s", random_model_label(kinds[k]), wrong);
        free(u);
        twin_close(&t);
        packed_close(&p);
        model_release(model);
    }
}

/* Two blocks of width 8: small enough to move every number of it. */
static struct model *tiny_model(uint64_t seed)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    a.width = 8;
    a.feedforward = 12;
    return random_model_of(&a, 3, seed);
}

static void check_gradients(float rate, float attention_rate)
{
    static const size_t lengths[] = {3, 1, 7, 4};
    struct model *model = tiny_model(21);
    struct random rng;
    struct sequence_dropout dropout = {rate, attention_rate, &rng};
    struct sequence_tape tape;
    struct arena arena;
    struct packed p;
    struct twin t;
    random_init(&rng, 22);
    arena_init(&arena, (size_t)64 << 20);
    packed_init(&p, lengths, 4, 8, 23);
    twin_init(&t, model, &p);
    enum { SIZE = 15 * 8 };
    float u[SIZE], *du = gradient_draw(SIZE, 1, &rng);
    for (size_t i = 0; i < 15; i++) /* a row of zeros is where the norm is steepest: it would hide the other rows */
        p.behaviour[i] = i % 7 == 3 && p.behaviour[i] < 0 ? 0 : p.behaviour[i];
    cr_assert(sequence_forward(u, &tape, model, &p.s, rate > 0 || attention_rate > 0 ? &dropout : NULL, &arena));
    t.tape = &tape;
    t.attention_rate = attention_rate;
    t.du = du;
    value(&t);
    const char *wrong = gradient_apart("u", u, t.x, SIZE, 1e-4);
    cr_assert_null(wrong, "dropout %g, %g: %s", (double)rate, (double)attention_rate, wrong);
    cr_assert(sequence_backward(p.token.dx, &t.g.gradient, du, &tape, model, &p.s, &arena));
    wrong = gradient_wrong(value, &t, &p.token, 1);
    if (wrong == NULL)
        wrong = gradient_wrong(value, &t, t.g.tensors, t.g.count);
    cr_assert_null(wrong, "dropout %g, %g: %s", (double)rate, (double)attention_rate, wrong);
    free(du);
    twin_close(&t);
    packed_close(&p);
    arena_close(&arena);
    model_release(model);
}

Test(sequence, gradients)
{
    check_gradients(0, 0);
    check_gradients(.3f, 0);
    check_gradients(0, .4f);
    check_gradients(.2f, .2f);
}

static double distance(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return sum;
}

/* Every input counts for its own history from its own event on, and for nothing else. */
Test(sequence, an_input_counts_for_the_rows_behind_it)
{
    static const size_t lengths[] = {4, 12, 5};
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 5);
    size_t d = (size_t)model->architecture.width, last = 15 * d, changed = 6; /* the third event of the second */
    struct packed p;
    packed_init(&p, lengths, 3, d, 5);
    float *u = forward(model, &p.s);
    for (int input = 0; input < 3; input++) {
        int behaviour = p.behaviour[changed];
        p.behaviour[changed] = input == 0 ? (behaviour + 2) % RANDOM_MODEL_BEHAVIOURS : behaviour;
        p.token.x[changed * d] += input == 1 ? 1.0f : 0;
        p.next_ms[changed] += input == 2 ? 300 * DAY_MS : 0;
        float *other = forward(model, &p.s);
        cr_assert_lt(distance(u, other, changed * d), 1e-5, "input %d: rows before it", input);
        cr_assert_gt(distance(u + changed * d, other + changed * d, d), 1e-3, "input %d: its own row", input);
        cr_assert_gt(distance(u + last, other + last, d), input == 2 ? 0 : 1e-4, "input %d: a later row", input);
        cr_assert_lt(distance(u + last + d, other + last + d, 5 * d), 1e-5, "input %d: the next history", input);
        p.behaviour[changed] = behaviour;
        p.token.x[changed * d] -= input == 1 ? 1.0f : 0;
        p.next_ms[changed] -= input == 2 ? 300 * DAY_MS : 0;
        free(other);
    }
    free(u);
    packed_close(&p);
    model_release(model);
}

Test(sequence, the_same_twice_and_its_input_is_left_alone)
{
    static const size_t lengths[] = {30, 2};
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 6);
    size_t d = (size_t)model->architecture.width;
    struct packed p, copy;
    packed_init(&p, lengths, 2, d, 6);
    packed_init(&copy, lengths, 2, d, 6);
    float *first = forward(model, &p.s), *second = forward(model, &p.s);
    cr_assert_arr_eq(first, second, 32 * d * sizeof *first);
    cr_assert_arr_eq(copy.token.x, p.token.x, 32 * d * sizeof *first);
    free(first);
    free(second);
    packed_close(&p);
    packed_close(&copy);
    model_release(model);
}

Test(sequence, an_arena_that_gives_out_is_a_failure)
{
    static const size_t lengths[] = {50, 3};
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 7);
    size_t d = (size_t)model->architecture.width, backward_failed = 0;
    struct packed p;
    struct twin t;
    struct sequence_tape tape;
    struct arena arena;
    packed_init(&p, lengths, 2, d, 7);
    twin_init(&t, model, &p);
    float *u = random_model_alloc(53 * d, sizeof *u);
    bool ok = false;
    for (size_t limit = 0; !ok; limit += 4096) {
        struct random rng;
        random_init(&rng, limit);
        struct sequence_dropout dropout = {.1f, .1f, &rng};
        arena_init(&arena, limit);
        bool went = sequence_forward(u, &tape, model, &p.s, &dropout, &arena);
        ok = went && sequence_backward(p.token.dx, &t.g.gradient, u, &tape, model, &p.s, &arena);
        backward_failed += went && !ok;
        cr_assert(!ok || limit > 100000, "it cannot fit %zu bytes", limit);
        cr_assert_lt(limit, (size_t)4 << 20, "it should fit four megabytes");
        arena_close(&arena);
    }
    cr_assert_gt(backward_failed, 0);
    free(u);
    twin_close(&t);
    packed_close(&p);
    model_release(model);
}
