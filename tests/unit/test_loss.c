/* SPDX-License-Identifier: Apache-2.0
 *
 * The losses against their formulas in double, and their gradients against central differences of those. */
#include "models/loss.h"

#include "tests/support/gradient_check.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 5, COLUMNS = 13, SAMPLE = 6 };

#define NO_COLUMN UINT32_MAX

enum kind { SOFTMAX, SAMPLED, GBCE };
enum { U, OUTPUT, TENSORS };

struct scene {
    const char *what;
    enum kind kind;
    size_t rows, targets;
    bool weights, gaps, seen;
    float smoothing, t, scale;
};

static const struct scene scenes[] = {
    {"softmax", SOFTMAX, 3, 1, false, false, false, 0, 0, 1},
    {"softmax, a block", SOFTMAX, LOSS_BLOCK, 1, false, true, false, 0, 0, .5f},
    {"softmax, weighted", SOFTMAX, 2 * LOSS_BLOCK + 1, 1, true, true, false, 0, 0, .01f},
    {"softmax, seen masked", SOFTMAX, LOSS_BLOCK + 6, 1, true, true, true, 0, 0, 1},
    {"softmax, smoothed", SOFTMAX, 20, 1, true, false, false, .4f, 0, 1},
    {"softmax, smoothed, seen masked", SOFTMAX, LOSS_BLOCK + 6, 1, true, true, true, .4f, 0, .5f},
    {"softmax, three targets", SOFTMAX, 9, 3, false, true, false, 0, 0, 1},
    {"softmax, two targets, all of it", SOFTMAX, LOSS_BLOCK + 6, 2, true, true, true, .4f, 0, .5f},
    {"sampled softmax", SAMPLED, 5, 1, false, false, false, 0, 0, 1},
    {"sampled softmax, weighted", SAMPLED, LOSS_BLOCK + 9, 2, true, true, false, 0, 0, .3f},
    {"plain BCE", GBCE, 5, 1, false, false, false, 0, 0, 1},
    {"gBCE", GBCE, LOSS_BLOCK + 9, 2, true, true, false, 0, .75f, .3f},
    {"gBCE, calibrated", GBCE, 20, 1, false, true, false, 0, 1, 1},
};

struct loss {
    const struct scene *scene;
    struct gradient_tensor t[TENSORS];
    struct loss_rows rows;
    struct loss_sample sample;
    uint32_t *target, *seen, column[SAMPLE];
    size_t *seen_from;
    float *weight, *target_q; /* (rows, targets), (rows) */
    float q[COLUMNS], log_q[SAMPLE], o[SAMPLE * D], *scratch;
};

static void draw_rows(struct loss *l, struct random *rng)
{
    const struct scene *s = l->scene;
    size_t asked = s->rows * s->targets;
    l->target = random_model_alloc(asked, sizeof *l->target);
    l->weight = random_model_alloc(asked, sizeof *l->weight);
    l->target_q = random_model_alloc(s->rows, sizeof *l->target_q);
    l->seen = random_model_alloc(s->rows, sizeof *l->seen);
    l->seen_from = random_model_alloc(s->rows, sizeof *l->seen_from);
    for (size_t i = 0; i < asked; i++) { /* one row in seven asks nothing, and others less than they could */
        bool gap = s->gaps && (i % 5 == 4 || i / s->targets % 7 == 3);
        l->target[i] = gap ? NO_COLUMN : (uint32_t)random_below(rng, COLUMNS);
        l->weight[i] = i % 8 == 5 ? 0 : 2 * random_uniform(rng);
    }
    for (size_t i = 0; i < s->rows; i++) {
        uint32_t first = l->target[i * s->targets];
        l->target_q[i] = first == NO_COLUMN ? 0 : l->q[first];
        l->seen[i] = i % 4 == 3 ? NO_COLUMN : (uint32_t)random_below(rng, COLUMNS);
        l->seen_from[i] = i / 9 * 9; /* users of nine events */
    }
    l->rows = (struct loss_rows){s->rows,
                                 l->t[U].x,
                                 s->targets,
                                 l->target,
                                 s->weights ? l->weight : NULL,
                                 s->seen ? l->seen : NULL,
                                 s->seen ? l->seen_from : NULL,
                                 NULL};
}

static void draw_sample(struct loss *l, struct random *rng)
{
    for (size_t j = 0; j < SAMPLE; j++) {
        l->column[j] = j + 1 == SAMPLE ? l->column[0] : (uint32_t)random_below(rng, COLUMNS); /* one of them twice */
        l->log_q[j] = logf(l->q[l->column[j]]);
        memcpy(l->o + j * D, l->t[OUTPUT].x + l->column[j] * D, D * sizeof *l->o);
    }
    l->sample = (struct loss_sample){SAMPLE, l->column, l->log_q, l->o};
}

static void loss_init(struct loss *l, const struct scene *scene, float deviation, struct random *rng)
{
    float sum = 0;
    *l = (struct loss){.scene = scene};
    l->t[U] = gradient_tensor_draw("u", scene->rows * D, 0, deviation, rng);
    l->t[OUTPUT] = gradient_tensor_draw("output", COLUMNS * D, 0, 1, rng);
    for (size_t j = 0; j < COLUMNS; j++)
        sum += l->q[j] = .1f + random_uniform(rng);
    for (size_t j = 0; j < COLUMNS; j++)
        l->q[j] /= sum;
    draw_rows(l, rng);
    draw_sample(l, rng);
    l->scratch = gradient_draw((size_t)LOSS_BLOCK * COLUMNS, 1, rng);
}

static void loss_close(struct loss *l)
{
    gradient_tensors_close(l->t, TENSORS);
    free(l->target);
    free(l->seen);
    free(l->seen_from);
    free(l->weight);
    free(l->target_q);
    free(l->scratch);
}

static double run(struct loss *l)
{
    const struct scene *s = l->scene;
    if (s->kind == SOFTMAX)
        return loss_softmax(l->t[U].dx, l->t[OUTPUT].dx, &l->rows, l->t[OUTPUT].x, COLUMNS, D, s->smoothing, s->scale,
                            l->scratch);
    if (s->kind == SAMPLED)
        return loss_sampled_softmax(l->t[U].dx, l->t[OUTPUT].dx, &l->rows, l->t[OUTPUT].x, &l->sample, l->target_q, D,
                                    s->scale, l->scratch);
    return loss_gbce(l->t[U].dx, l->t[OUTPUT].dx, &l->rows, l->t[OUTPUT].x, &l->sample, COLUMNS, s->t, D, s->scale,
                     l->scratch);
}

/* ---- the twins */

static double score(const struct loss *l, size_t row, size_t column)
{
    double sum = 0;
    for (size_t j = 0; j < D; j++)
        sum += l->t[U].twin[row * D + j] * l->t[OUTPUT].twin[column * D + j];
    return sum;
}

/* target k of a row, and what it weighs: 0 where there is none */
static uint32_t target_of(const struct loss *l, size_t row, size_t k)
{
    return l->target[row * l->scene->targets + k];
}

static double weight_of(const struct loss *l, size_t row, size_t k)
{
    if (target_of(l, row, k) == NO_COLUMN)
        return 0;
    return l->scene->weights ? (double)l->weight[row * l->scene->targets + k] : 1;
}

static bool competes(const struct loss *l, size_t row, size_t column)
{
    for (size_t k = 0; k < l->scene->targets; k++)
        if (target_of(l, row, k) == column)
            return true;
    for (size_t i = l->seen_from[row]; l->scene->seen && i <= row; i++)
        if (l->seen[i] == column)
            return false;
    return true;
}

/* Σ over targets of weight · -Σ_j share_j · log p_j, the shares 1 - ε for the target and ε for all that compete, evenly */
static double softmax_row(const struct loss *l, size_t row, double smoothing)
{
    double most = -INFINITY, sum = 0, mean = 0, loss = 0;
    size_t count = 0;
    for (size_t j = 0; j < COLUMNS; j++)
        if (competes(l, row, j))
            most = fmax(most, score(l, row, j));
    for (size_t j = 0; j < COLUMNS; j++)
        if (competes(l, row, j)) {
            sum += exp(score(l, row, j) - most);
            mean += score(l, row, j);
            count++;
        }
    for (size_t k = 0; k < l->scene->targets; k++)
        if (target_of(l, row, k) != NO_COLUMN)
            loss += weight_of(l, row, k) * (most + log(sum) - smoothing * mean / (double)count -
                                            (1 - smoothing) * score(l, row, target_of(l, row, k)));
    return loss;
}

/* log(1 + e^x) */
static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* -log p⁺, p⁺ = e^s⁺ / (e^s⁺ + mean of e^(s_j - log q'_j) over the draws that are not the target), q' = q / (1 - q of the target) */
static double sampled_row(const struct loss *l, size_t row)
{
    double most = -INFINITY, sum = 0, logit[SAMPLE];
    uint32_t target = target_of(l, row, 0);
    double rest = log(1 - (double)l->q[target]);
    size_t count = 0;
    for (size_t j = 0; j < SAMPLE; j++)
        if (l->column[j] != target) {
            logit[count] = score(l, row, l->column[j]) - log((double)l->q[l->column[j]]) + rest;
            most = fmax(most, logit[count++]);
        }
    for (size_t j = 0; j < count; j++)
        sum += exp(logit[j] - most) / (double)count;
    return count == 0 ? 0 : softplus(most + log(sum) - score(l, row, target));
}

static double gbce_row(const struct loss *l, size_t row)
{
    double alpha = (double)SAMPLE / (COLUMNS - 1), t = (double)l->scene->t;
    double beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha);
    double sum = beta * softplus(-score(l, row, target_of(l, row, 0)));
    for (size_t j = 0; j < SAMPLE; j++)
        if (l->column[j] != target_of(l, row, 0))
            sum += softplus(score(l, row, l->column[j]));
    return sum / (SAMPLE + 1);
}

static double total(const struct loss *l, double smoothing)
{
    double sum = 0;
    for (size_t i = 0; i < l->scene->rows; i++) {
        if (l->scene->kind == SOFTMAX)
            sum += softmax_row(l, i, smoothing);
        else if (target_of(l, i, 0) != NO_COLUMN) /* of several targets they take the first */
            sum += weight_of(l, i, 0) * (l->scene->kind == SAMPLED ? sampled_row(l, i) : gbce_row(l, i));
    }
    return sum;
}

static double value(void *context)
{
    const struct loss *l = context;
    return total(l, (double)l->scene->smoothing) * (double)l->scene->scale;
}

/* ---- tests */

Test(loss, agrees_with_its_formula_and_so_do_its_gradients)
{
    struct random rng;
    random_init(&rng, 1);
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct loss l;
        loss_init(&l, &scenes[i], 1, &rng);
        double got = run(&l), wanted = total(&l, 0);
        cr_assert_lt(fabs(got - wanted), 1e-4 * (1 + wanted), "%s: %.8g, wanted %.8g", scenes[i].what, got, wanted);
        const char *wrong = gradient_wrong(value, &l, l.t, TENSORS);
        cr_assert_null(wrong, "%s: %s", scenes[i].what, wrong);
        loss_close(&l);
    }
}

/* Scores that e^x could not hold. */
Test(loss, takes_scores_of_any_size)
{
    struct random rng;
    random_init(&rng, 2);
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct loss l;
        loss_init(&l, &scenes[i], 100, &rng);
        double got = run(&l), wanted = total(&l, 0);
        cr_assert_lt(fabs(got - wanted), 1e-4 * (1 + wanted), "%s: %.8g, wanted %.8g", scenes[i].what, got, wanted);
        for (int t = 0; t < TENSORS; t++)
            for (size_t j = 0; j < l.t[t].count; j++)
                cr_assert(isfinite(l.t[t].dx[j]), "%s, gradient of %s, %zu", scenes[i].what, l.t[t].name, j);
        loss_close(&l);
    }
}

static void check_untouched(const struct loss *l, const char *what)
{
    for (int t = 0; t < TENSORS; t++)
        for (size_t j = 0; j < l->t[t].count; j++)
            cr_assert_float_eq(l->t[t].dx[j], gradient_start(j), 1e-6, "%s, %s: gradient of %s, %zu", l->scene->what,
                               what, l->t[t].name, j);
}

/* No rows, rows that ask nothing, rows without weight: no loss, no gradient. */
Test(loss, nothing_asked_is_nothing_lost)
{
    struct random rng;
    random_init(&rng, 3);
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct loss l;
        loss_init(&l, &scenes[i], 1, &rng);
        l.rows.count = 0;
        cr_assert_eq(run(&l), 0);
        check_untouched(&l, "no rows");
        l.rows.count = scenes[i].rows;
        memset(l.weight, 0, scenes[i].rows * scenes[i].targets * sizeof *l.weight);
        l.rows.weight = l.weight;
        cr_assert_eq(run(&l), 0);
        check_untouched(&l, "no weight");
        l.rows.weight = NULL;
        for (size_t j = 0; j < scenes[i].rows * scenes[i].targets; j++)
            l.target[j] = NO_COLUMN;
        cr_assert_eq(run(&l), 0);
        check_untouched(&l, "no targets");
        loss_close(&l);
    }
}

/* Every draw is the target: nothing to tell it from. */
Test(loss, a_sample_of_nothing_but_the_target)
{
    static const struct scene scene = {"sampled softmax", SAMPLED, 4, 1, false, false, false, 0, 0, 1};
    struct random rng;
    struct loss l;
    random_init(&rng, 4);
    loss_init(&l, &scene, 1, &rng);
    for (size_t i = 0; i < scene.rows; i++) {
        l.target[i] = 2;
        l.target_q[i] = l.q[2];
    }
    for (size_t j = 0; j < SAMPLE; j++) {
        l.column[j] = 2;
        l.log_q[j] = logf(l.q[2]);
        memcpy(l.o + j * D, l.t[OUTPUT].x + 2 * D, D * sizeof *l.o);
    }
    cr_assert_lt(fabs(run(&l)), 1e-6);
    check_untouched(&l, "all are hits");
    loss_close(&l);
}

/* A bias of the columns is what one more number in every row would be: 1 in the states, the bias in the items. */
Test(loss, a_bias_is_one_more_dimension)
{
    enum { FEW = 3, WIDE = 5, LONG = 4 };
    struct random rng;
    float u[FEW * LONG], o[WIDE * LONG], wide_u[FEW * (LONG + 1)], wide_o[WIDE * (LONG + 1)], bias[WIDE];
    float du[FEW * LONG] = {0}, dout[WIDE * LONG] = {0}, wide_du[FEW * (LONG + 1)] = {0},
                   wide_dout[WIDE * (LONG + 1)] = {0};
    float scratch[LOSS_BLOCK * WIDE];
    const uint32_t target[FEW] = {4, 0, 2};
    random_init(&rng, 77);
    for (size_t i = 0; i < FEW; i++)
        for (size_t j = 0; j <= LONG; j++)
            wide_u[i * (LONG + 1) + j] = j < LONG ? (u[i * LONG + j] = random_normal(&rng)) : 1;
    for (size_t i = 0; i < WIDE; i++)
        for (size_t j = 0; j <= LONG; j++)
            wide_o[i * (LONG + 1) + j] =
                j < LONG ? (o[i * LONG + j] = random_normal(&rng)) : (bias[i] = 3 * random_normal(&rng));
    struct loss_rows rows = {.count = FEW, .u = u, .targets = 1, .target = target, .bias = bias};
    struct loss_rows wide = {.count = FEW, .u = wide_u, .targets = 1, .target = target};
    double loss = loss_softmax(du, dout, &rows, o, WIDE, LONG, .1f, .5f, scratch);
    double wanted = loss_softmax(wide_du, wide_dout, &wide, wide_o, WIDE, LONG + 1, .1f, .5f, scratch);
    cr_assert_lt(fabs(loss - wanted), 1e-5, "%g, wanted %g", loss, wanted);
    for (size_t i = 0; i < FEW; i++)
        for (size_t j = 0; j < LONG; j++)
            cr_assert_lt(fabsf(du[i * LONG + j] - wide_du[i * (LONG + 1) + j]), 1e-5f);
    for (size_t i = 0; i < WIDE; i++)
        for (size_t j = 0; j < LONG; j++)
            cr_assert_lt(fabsf(dout[i * LONG + j] - wide_dout[i * (LONG + 1) + j]), 1e-5f);
}
