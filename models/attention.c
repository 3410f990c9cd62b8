/* SPDX-License-Identifier: Apache-2.0 */
#include "models/attention.h"

#include "models/architecture.h"
#include "models/kernels.h"
#include "models/matrix.h"
#include "models/model.h"

#include <math.h>
#include <string.h>

#define POSITIONS ((size_t)ARCHITECTURE_POSITIONS)
#define BUCKETS   ((size_t)ARCHITECTURE_TIME_BUCKETS)

/* along a row the age only grows towards older events, so the bucket is found by walking */
void attention_buckets(uint8_t *bucket, const int64_t *ts_ms, const int64_t *next_ms, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int64_t known_ms = -1;
        int now = 0;
        for (size_t j = i + 1; j-- > 0;) {
            int64_t age_ms = next_ms[i] - ts_ms[j];
            if (age_ms != known_ms)
                now = model_time_bucket(age_ms);
            known_ms = age_ms;
            bucket[i * length + j] = (uint8_t)now;
        }
    }
}

static size_t step_of(size_t i, size_t j)
{
    return i - j < POSITIONS ? i - j : POSITIONS - 1;
}

/* softmax of one row of scores over j <= i, biases added; zero behind */
static void attend_row(float *row, size_t i, size_t h, float scale, const struct attention_biases *biases,
                       const struct attention_events *e, const struct kernels *k)
{
    const float *position = biases->position + h * POSITIONS, *time = biases->time + h * BUCKETS;
    const float *behaviour = biases->behaviour + h * biases->behaviours;
    const uint8_t *bucket = e->bucket + i * e->length;
    for (size_t j = 0; j <= i; j++)
        row[j] = row[j] * scale + position[step_of(i, j)] + time[bucket[j]] +
                 (e->behaviour[j] >= 0 ? behaviour[e->behaviour[j]] : 0);
    k->softmax(row, i + 1);
    memset(row + i + 1, 0, (e->length - i - 1) * sizeof *row);
}

void attention_forward(float *y, float *weight, float *kept, const float *qkv, const struct attention_biases *biases,
                       const struct attention_events *e, size_t heads, size_t d)
{
    size_t width = d / heads, L = e->length;
    float scale = 1.0f / sqrtf((float)width);
    const struct kernels *k = kernels();
    for (size_t h = 0; h < heads; h++) {
        float *w = weight + h * L * L, *used = kept == NULL ? w : kept + h * L * L;
        matrix_multiply_transposed(w, qkv + h * width, 3 * d, qkv + d + h * width, 3 * d, L, L, width);
        for (size_t i = 0; i < L; i++)
            attend_row(w + i * L, i, h, scale, biases, e, k);
        for (size_t i = 0; kept != NULL && i < L * L; i++)
            used[i] *= w[i];
        matrix_product(y + h * width, d, (struct matrix_slice){used, L, false},
                       (struct matrix_slice){qkv + 2 * d + h * width, 3 * d, false}, L, width, L, 1, false);
    }
}

/* the tables' gradients are sums of dS over the places that read an entry */
static void bias_gradients(const struct attention_bias_gradients *gradients, const float *dscore, size_t i, size_t h,
                           const struct attention_events *e, size_t behaviours)
{
    float *position = gradients->position + h * POSITIONS, *time = gradients->time + h * BUCKETS;
    float *behaviour = gradients->behaviour + h * behaviours;
    const uint8_t *bucket = e->bucket + i * e->length;
    for (size_t j = 0; j <= i; j++) {
        position[step_of(i, j)] += dscore[j];
        time[bucket[j]] += dscore[j];
        if (e->behaviour[j] >= 0)
            behaviour[e->behaviour[j]] += dscore[j];
    }
}

/* dS = used ⊙ dA - weight · Σ used ⊙ dA, in place of dA, for j <= i; zero behind */
static void score_gradient(float *row, const float *weight, const float *used, size_t i, size_t length)
{
    float sum = 0;
    for (size_t j = 0; j <= i; j++)
        sum += row[j] * used[j];
    for (size_t j = 0; j <= i; j++)
        row[j] = used[j] * row[j] - weight[j] * sum;
    memset(row + i + 1, 0, (length - i - 1) * sizeof *row);
}

void attention_backward(float *dqkv, const struct attention_bias_gradients *gradients, const float *dy,
                        const float *weight, const float *kept, const float *qkv, const struct attention_events *e,
                        size_t behaviours, float *scratch, size_t heads, size_t d)
{
    size_t width = d / heads, L = e->length;
    float scale = 1.0f / sqrtf((float)width);
    for (size_t h = 0; h < heads; h++) {
        const float *w = weight + h * L * L, *used = kept == NULL ? w : kept + h * L * L;
        struct matrix_slice dy_h = {dy + h * width, d, false}, v = {qkv + 2 * d + h * width, 3 * d, true};
        matrix_product(scratch, L, dy_h, v, L, L, width, 1, false);
        for (size_t i = 0; i < L; i++) {
            score_gradient(scratch + i * L, w + i * L, used + i * L, i, L);
            bias_gradients(gradients, scratch + i * L, i, h, e, behaviours);
        }
        struct matrix_slice dscore = {scratch, L, false}, q = {qkv + h * width, 3 * d, false};
        struct matrix_slice key = {qkv + d + h * width, 3 * d, false};
        matrix_product(dqkv + h * width, 3 * d, dscore, key, L, width, L, scale, false);
        dscore.transposed = true;
        matrix_product(dqkv + d + h * width, 3 * d, dscore, q, L, width, L, scale, false);
        matrix_product(dqkv + 2 * d + h * width, 3 * d, (struct matrix_slice){used, L, true}, dy_h, L, width, L, 1,
                       false);
    }
}
