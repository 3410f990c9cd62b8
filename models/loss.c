/* SPDX-License-Identifier: Apache-2.0 */
#include "models/loss.h"

#include "models/kernels.h"
#include "models/matrix.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MASKED     (-1e30f)
#define NEGLIGIBLE 1e-30f /* the probability of a masked column is below */

static float target_weight(const struct loss_rows *rows, size_t row, size_t k)
{
    size_t at = row * rows->targets + k;
    return rows->target[at] == UINT32_MAX ? 0 : rows->weight == NULL ? 1 : rows->weight[at];
}

static float row_weight(const struct loss_rows *rows, size_t row)
{
    float sum = 0;
    for (size_t k = 0; k < rows->targets; k++)
        sum += target_weight(rows, row, k);
    return sum;
}

static bool is_target(const struct loss_rows *rows, size_t row, uint32_t column)
{
    for (size_t k = 0; k < rows->targets; k++)
        if (rows->target[row * rows->targets + k] == column)
            return true;
    return false;
}

/* take the columns that do not compete out of a row of scores */
static void mask_seen(float *score, const struct loss_rows *rows, size_t row)
{
    if (rows->seen == NULL)
        return;
    for (size_t i = rows->seen_from[row]; i <= row; i++)
        if (rows->seen[i] != UINT32_MAX && !is_target(rows, row, rows->seen[i]))
            score[rows->seen[i]] = MASKED;
}

/* columns of a row that are not masked, as their probability tells */
static size_t competing(const float *probability, size_t columns)
{
    size_t count = 0;
    for (size_t j = 0; j < columns; j++)
        count += probability[j] >= NEGLIGIBLE;
    return count > 0 ? count : 1;
}

/* one row of scores becomes the gradient of its loss, which is returned */
static double softmax_row(float *score, const struct loss_rows *rows, size_t row, size_t columns, float smoothing,
                          float scale)
{
    float weight = row_weight(rows, row), of_targets = 0;
    if (weight == 0) {
        memset(score, 0, columns * sizeof *score);
        return 0;
    }
    for (size_t j = 0; rows->bias != NULL && j < columns; j++)
        score[j] += rows->bias[j];
    mask_seen(score, rows, row);
    const uint32_t *target = rows->target + row * rows->targets;
    for (size_t k = 0; k < rows->targets; k++)
        if (target[k] != UINT32_MAX)
            of_targets += target_weight(rows, row, k) * score[target[k]];
    double loss = (double)(weight * kernels()->softmax(score, columns) - of_targets);
    float even = smoothing / (float)competing(score, columns);
    for (size_t j = 0; j < columns; j++)
        score[j] = (score[j] - (score[j] < NEGLIGIBLE ? 0 : even)) * weight * scale;
    for (size_t k = 0; k < rows->targets; k++)
        if (target[k] != UINT32_MAX)
            score[target[k]] -= (1 - smoothing) * target_weight(rows, row, k) * scale;
    return loss;
}

/* the gradients of s = u·oᵀ for a block of rows: du += ds·o, do += dsᵀ·u */
static void product_gradients(float *du, float *doutput, const float *dscore, const float *u, const float *output,
                              size_t n, size_t columns, size_t d)
{
    matrix_product(du, d, (struct matrix_slice){dscore, columns, false}, (struct matrix_slice){output, d, false}, n, d,
                   columns, 1, true);
    matrix_weight_gradient(doutput, dscore, u, n, d, columns);
}

double loss_softmax(float *du, float *doutput, const struct loss_rows *rows, const float *output, size_t columns,
                    size_t d, float smoothing, float scale, float *scratch)
{
    double loss = 0;
    for (size_t first = 0; first < rows->count; first += LOSS_BLOCK) {
        size_t n = rows->count - first < LOSS_BLOCK ? rows->count - first : LOSS_BLOCK;
        const float *u = rows->u + first * d;
        matrix_multiply_transposed(scratch, u, d, output, d, n, columns, d);
        for (size_t i = 0; i < n; i++)
            loss += softmax_row(scratch + i * columns, rows, first + i, columns, smoothing, scale);
        product_gradients(du + first * d, doutput, scratch, u, output, n, columns, d);
    }
    return loss;
}

/* ---- losses over a sample: the target apart from the negatives */

struct sampled {
    float *du, *doutput;
    const struct loss_rows *rows;
    const float *output;
    const struct loss_sample *sample;
    size_t d;
    float *scratch; /* (LOSS_BLOCK, sample) */
};

/* what a loss makes of one row: writes the gradients of the negatives' scores over them, returns the target's gradient and adds to `loss` */
typedef float row_loss(void *context, size_t row, float of_target, float *score, double *loss);

static double run_sampled(const struct sampled *s, float scale, row_loss *one, void *context)
{
    size_t d = s->d, count = s->sample->count;
    double loss = 0;
    for (size_t first = 0; first < s->rows->count; first += LOSS_BLOCK) {
        size_t n = s->rows->count - first < LOSS_BLOCK ? s->rows->count - first : LOSS_BLOCK;
        const float *u = s->rows->u + first * d;
        matrix_multiply_transposed(s->scratch, u, d, s->sample->o, d, n, count, d);
        for (size_t i = 0; i < n; i++) {
            float *score = s->scratch + i * count, weight = target_weight(s->rows, first + i, 0);
            uint32_t target = s->rows->target[(first + i) * s->rows->targets];
            if (weight == 0) {
                memset(score, 0, count * sizeof *score);
                continue;
            }
            for (size_t j = 0; j < count; j++)
                if (s->sample->column[j] == target) /* drawn by accident */
                    score[j] = MASKED;
            const float *o = s->output + (size_t)target * d;
            double own = 0;
            float dtarget = one(context, first + i, matrix_dot(u + i * d, o, d), score, &own) * weight * scale;
            loss += (double)weight * own;
            for (size_t j = 0; j < count; j++)
                score[j] *= weight * scale;
            for (size_t j = 0; j < d; j++) {
                s->du[(first + i) * d + j] += dtarget * o[j];
                s->doutput[(size_t)target * d + j] += dtarget * u[i * d + j];
            }
        }
        matrix_product(s->du + first * d, d, (struct matrix_slice){s->scratch, count, false},
                       (struct matrix_slice){s->sample->o, d, false}, n, d, count, 1, true);
        for (size_t j = 0; j < count; j++) {
            float *dcolumn = s->doutput + (size_t)s->sample->column[j] * d;
            for (size_t i = 0; i < n; i++)
                for (size_t c = 0; c < d; c++)
                    dcolumn[c] += s->scratch[i * count + j] * u[i * d + c];
        }
    }
    return loss;
}

struct corrected {
    const struct loss_sample *sample;
    const float *target_q;
};

static float corrected_row(void *context, size_t row, float of_target, float *score, double *loss)
{
    const struct corrected *c = context;
    size_t count = c->sample->count;
    size_t others_drawn = 0;
    for (size_t j = 0; j < count; j++)
        others_drawn += score[j] > 0.5f * MASKED;
    float shift = logf(1 - c->target_q[row]) - logf((float)(others_drawn > 0 ? others_drawn : 1));
    for (size_t j = 0; j < count; j++)
        score[j] = score[j] <= 0.5f * MASKED ? score[j] : score[j] - c->sample->log_q[j] + shift;
    float log_others = kernels()->softmax(score, count);
    float most = fmaxf(log_others, of_target);
    float log_sum = most + logf(expf(log_others - most) + expf(of_target - most));
    float others = expf(log_others - log_sum); /* 1 - p⁺ */
    for (size_t j = 0; j < count; j++)
        score[j] *= others;
    *loss += (double)(log_sum - of_target);
    return -others;
}

double loss_sampled_softmax(float *du, float *doutput, const struct loss_rows *rows, const float *output,
                            const struct loss_sample *sample, const float *target_q, size_t d, float scale,
                            float *scratch)
{
    struct corrected corrected = {sample, target_q};
    struct sampled s = {du, doutput, rows, output, sample, d, scratch};
    return run_sampled(&s, scale, corrected_row, &corrected);
}

struct generalised {
    size_t count;
    float beta;
};

/* log(1 + e^x) without overflow */
static double softplus(float x)
{
    return (double)(fmaxf(x, 0) + log1pf(expf(-fabsf(x))));
}

static float generalised_row(void *context, size_t row, float of_target, float *score, double *loss)
{
    (void)row;
    const struct generalised *g = context;
    float share = 1.0f / ((float)g->count + 1);
    double sum = (double)g->beta * softplus(-of_target);
    for (size_t j = 0; j < g->count; j++)
        sum += score[j] <= 0.5f * MASKED ? 0 : softplus(score[j]);
    kernels()->sigmoid(score, g->count);
    for (size_t j = 0; j < g->count; j++)
        score[j] *= share;
    *loss += sum * (double)share;
    float p = 1.0f / (1.0f + expf(-of_target));
    return -g->beta * (1 - p) * share;
}

double loss_gbce(float *du, float *doutput, const struct loss_rows *rows, const float *output,
                 const struct loss_sample *sample, size_t columns, float t, size_t d, float scale, float *scratch)
{
    float alpha = (float)sample->count / (float)(columns > 1 ? columns - 1 : 1);
    struct generalised g = {sample->count, alpha * (t * (1 - 1 / alpha) + 1 / alpha)};
    struct sampled s = {du, doutput, rows, output, sample, d, scratch};
    return run_sampled(&s, scale, generalised_row, &g);
}
