/* SPDX-License-Identifier: Apache-2.0 */
#include "models/baselines.h"

#include "models/matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool baseline_popularity(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    (void)query;
    const struct baseline_counts *baseline = context;
    for (size_t i = 0; i < baseline->item_count; i++)
        score[i] = (float)counts_popularity(baseline->counts, (uint32_t)i);
    return true;
}

bool baseline_markov(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    const struct baseline_counts *baseline = context;
    memset(score, 0, baseline->item_count * sizeof *score);
    float weight = 1;
    for (size_t k = 0; k < 3 && k < query->length; k++, weight *= 0.5f) {
        size_t count;
        const struct counts_entry *row =
            counts_row(baseline->counts, query->history[query->length - 1 - k].item, &count);
        for (size_t i = 0; i < count; i++)
            score[row[i].item_id] += weight * row[i].probability;
    }
    return true;
}

/* ---- popularity lately */

static int64_t newest_ms(const struct evaluation_data *data, const bool *in_training)
{
    int64_t newest = INT64_MIN;
    for (size_t i = 0; i < data->user_start[data->user_count]; i++)
        if (in_training[i] && data->events[i].weight > 0 && data->events[i].ts_ms > newest)
            newest = data->events[i].ts_ms;
    return newest;
}

bool baseline_recent_init(struct baseline_recent *baseline, const struct evaluation_data *data, const bool *in_training,
                          int64_t end_ms)
{
    *baseline = (struct baseline_recent){.item_count = data->item_count};
    baseline->count = calloc(data->item_count + 1, sizeof *baseline->count);
    if (baseline->count == NULL)
        return false;
    int64_t last_ms = end_ms == INT64_MAX ? newest_ms(data, in_training) : end_ms - 1;
    for (size_t i = 0; i < data->user_start[data->user_count]; i++) {
        const struct evaluation_event *event = &data->events[i];
        if (in_training[i] && event->weight > 0 && event->ts_ms <= last_ms &&
            last_ms - event->ts_ms < BASELINE_RECENT_MS)
            baseline->count[event->item] += 1;
    }
    return true;
}

void baseline_recent_close(struct baseline_recent *baseline)
{
    free(baseline->count);
    *baseline = (struct baseline_recent){0};
}

bool baseline_recent(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    (void)query;
    const struct baseline_recent *baseline = context;
    memcpy(score, baseline->count, baseline->item_count * sizeof *score);
    return true;
}

/* ---- content */

bool baseline_content(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    const struct baseline_content *baseline = context;
    size_t d = baseline->dimension;
    float *taste = calloc(d + 1, sizeof *taste), weight = 1;
    if (taste == NULL)
        return false;
    for (size_t k = 0; k < 10 && k < query->length; k++, weight *= 0.8f) {
        const float *row = baseline->rows + query->history[query->length - 1 - k].item * d;
        for (size_t j = 0; j < d; j++)
            taste[j] += weight * row[j];
    }
    matrix_vector(score, baseline->rows, taste, baseline->item_count, d, 1, false);
    free(taste);
    return true;
}

static void centre(float *rows, size_t count, size_t dimension, bool *present, double *mean)
{
    size_t rows_present = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < dimension; j++)
            present[i] = present[i] || rows[i * dimension + j] != 0;
        rows_present += present[i];
        for (size_t j = 0; j < dimension; j++)
            mean[j] += rows[i * dimension + j];
    }
    for (size_t i = 0; i < count; i++) {
        if (!present[i])
            continue;
        double norm = 0;
        for (size_t j = 0; j < dimension; j++) {
            rows[i * dimension + j] -= (float)(mean[j] / (double)rows_present);
            norm += (double)rows[i * dimension + j] * rows[i * dimension + j];
        }
        for (size_t j = 0; norm > 0 && j < dimension; j++)
            rows[i * dimension + j] /= (float)sqrt(norm);
    }
}

bool baseline_content_prepare(float *rows, size_t count, size_t dimension)
{
    bool *present = calloc(count + 1, sizeof *present);
    double *mean = calloc(dimension + 1, sizeof *mean);
    bool ok = present != NULL && mean != NULL;
    if (ok)
        centre(rows, count, dimension, present, mean);
    free(present);
    free(mean);
    return ok;
}
