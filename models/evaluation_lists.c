/* SPDX-License-Identifier: Apache-2.0 */
#include "models/evaluation_lists.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool evaluation_items_init(struct evaluation_items *items, const struct evaluation_data *data, const bool *in_training)
{
    *items = (struct evaluation_items){.item_count = data->item_count};
    items->users = calloc(data->item_count + 1, sizeof *items->users);
    uint32_t *last = calloc(data->item_count + 1, sizeof *last); /* 1 + the last user who touched it */
    bool ok = items->users != NULL && last != NULL;
    for (size_t user = 0; ok && user < data->user_count; user++) {
        bool any = false;
        for (size_t i = data->user_start[user]; i < data->user_start[user + 1]; i++) {
            uint32_t item = data->events[i].item;
            if (!in_training[i] || data->events[i].weight <= 0)
                continue;
            any = true;
            items->users[item] += last[item] != (uint32_t)user + 1;
            last[item] = (uint32_t)user + 1;
        }
        items->users_total += any;
    }
    free(last);
    if (!ok)
        evaluation_items_close(items);
    return ok;
}

void evaluation_items_close(struct evaluation_items *items)
{
    free(items->users);
    *items = (struct evaluation_items){0};
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Σ (2i - n - 1) · x_i / (n · Σ x) over ascending x, i from 1 (as RecBole); sorts `times` */
static double gini(uint32_t *times, size_t count)
{
    double weighted = 0, sum = 0;
    qsort(times, count, sizeof *times, compare);
    for (size_t i = 0; i < count; i++) {
        weighted += (2 * (double)(i + 1) - (double)count - 1) * times[i];
        sum += times[i];
    }
    return sum > 0 ? weighted / ((double)count * sum) : 0;
}

static bool is_present(const float *row, size_t dimension)
{
    for (size_t j = 0; j < dimension; j++)
        if (row[j] != 0)
            return true;
    return false;
}

/* 1 - the mean cosine over pairs of unit rows: the pairs' products are (|Σ x|² - n) / 2. Negative where no pair has the modality. */
static double spread(const uint32_t *list, size_t count, const float *rows, size_t dimension, double *sum)
{
    size_t found = 0;
    double square = 0;
    memset(sum, 0, dimension * sizeof *sum);
    for (size_t i = 0; i < count; i++) {
        const float *row = rows + list[i] * dimension;
        if (!is_present(row, dimension))
            continue;
        found++;
        for (size_t j = 0; j < dimension; j++)
            sum[j] += row[j];
    }
    for (size_t j = 0; j < dimension; j++)
        square += sum[j] * sum[j];
    return found < 2 ? -1 : fmax(0, 1 - (square - (double)found) / ((double)found * ((double)found - 1)));
}

/* the mean over the modalities that say something; negative where none does */
static double diversity(const uint32_t *list, size_t count, const struct evaluation_items *items, double *scratch)
{
    double sum = 0;
    size_t found = 0;
    for (size_t m = 0; m < items->modality_count; m++) {
        double one = spread(list, count, items->modality[m].rows, items->modality[m].dimension, scratch);
        if (one >= 0) {
            sum += one;
            found++;
        }
    }
    return found > 0 ? sum / (double)found : -1;
}

static double novelty(uint32_t item, const struct evaluation_items *items)
{
    double users = items->users[item] > 0 ? items->users[item] : 1;
    double total = items->users_total > 0 ? (double)items->users_total : 1;
    return -log2(fmin(users / total, 1));
}

bool evaluation_lists_compute(const struct evaluation_result *result, size_t k, const struct evaluation_items *items,
                              struct evaluation_lists *out)
{
    assert(k >= 1 && k <= EVALUATION_LIST);
    size_t widest = 0, listed = 0, places = 0, diverse = 0;
    for (size_t m = 0; m < items->modality_count; m++)
        widest = items->modality[m].dimension > widest ? items->modality[m].dimension : widest;
    uint32_t *times = calloc(items->item_count + 1, sizeof *times);
    double *scratch = malloc((widest + 1) * sizeof *scratch);
    bool ok = times != NULL && scratch != NULL;
    struct evaluation_lists lists = {0};
    for (size_t q = 0; ok && result->list != NULL && q < result->count; q++) {
        const uint32_t *list = result->list + q * EVALUATION_LIST;
        size_t count = 0;
        for (; count < k && list[count] != EVALUATION_NO_ITEM; count++) {
            times[list[count]]++;
            lists.novelty += novelty(list[count], items);
        }
        places += count;
        double one = diversity(list, count, items, scratch);
        lists.diversity += one >= 0 ? one : 0;
        diverse += one >= 0;
    }
    if (ok) {
        for (size_t i = 0; i < items->item_count; i++)
            listed += times[i] > 0;
        lists.coverage = items->item_count > 0 ? (double)listed / (double)items->item_count : 0;
        lists.gini = gini(times, items->item_count);
        lists.novelty = places > 0 ? lists.novelty / (double)places : 0;
        lists.diversity = diverse > 0 ? lists.diversity / (double)diverse : 0;
        *out = lists;
    }
    free(times);
    free(scratch);
    return ok;
}
