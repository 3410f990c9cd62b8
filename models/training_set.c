/* SPDX-License-Identifier: Apache-2.0 */
#include "models/training_set.h"

#include "models/components.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_A_TIME 256

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the training set");
}

static bool number_columns(struct training_set *set)
{
    const struct evaluation_data *data = set->data;
    size_t events = data->user_start[data->user_count];
    set->column_of = malloc((data->item_count + 1) * sizeof *set->column_of);
    set->item_of = malloc((data->item_count + 1) * sizeof *set->item_of);
    set->count = calloc(data->item_count + 1, sizeof *set->count);
    if (set->column_of == NULL || set->item_of == NULL || set->count == NULL)
        return false;
    for (size_t i = 0; i < events; i++)
        if (set->holdout->in_training[i] && data->events[i].weight > 0)
            set->count[data->events[i].item]++;
    for (size_t item = 0; item < data->item_count; item++) {
        set->column_of[item] = TRAINING_NO_COLUMN;
        if (set->count[item] == 0)
            continue;
        set->column_of[item] = (uint32_t)set->columns;
        set->item_of[set->columns] = (uint32_t)item;
        set->count[set->columns++] = set->count[item]; /* columns never run ahead of items */
    }
    return true;
}

/* events of items that only have negative behaviours have no column and are left out */
static bool gather_events(struct training_set *set)
{
    const struct evaluation_data *data = set->data;
    size_t most = set->holdout->training_count + 1;
    set->start = malloc((data->user_count + 1) * sizeof *set->start);
    set->column = malloc(most * sizeof *set->column);
    set->ts_ms = malloc(most * sizeof *set->ts_ms);
    set->behaviour = malloc(most * sizeof *set->behaviour);
    set->weight = malloc(most * sizeof *set->weight);
    if (set->start == NULL || set->column == NULL || set->ts_ms == NULL || set->behaviour == NULL ||
        set->weight == NULL)
        return false;
    for (size_t user = 0; user < data->user_count; user++) {
        set->start[user] = set->event_count;
        for (size_t i = data->user_start[user]; i < data->user_start[user + 1]; i++) {
            const struct evaluation_event *event = &data->events[i];
            if (!set->holdout->in_training[i] || set->column_of[event->item] == TRAINING_NO_COLUMN)
                continue;
            size_t at = set->event_count++;
            set->column[at] = set->column_of[event->item];
            set->ts_ms[at] = event->ts_ms;
            set->behaviour[at] = set->behaviour_of[event->behaviour];
            set->weight[at] = event->weight;
        }
    }
    set->start[data->user_count] = set->event_count;
    return true;
}

bool training_set_init(struct training_set *set, const struct evaluation_data *data, const struct holdout *holdout,
                       const int *behaviour_of, struct status *st)
{
    *set = (struct training_set){.data = data, .holdout = holdout, .behaviour_of = behaviour_of};
    if (!number_columns(set) || !gather_events(set)) {
        training_set_close(set);
        return out_of_memory(st);
    }
    for (size_t user = 0; user < data->user_count; user++)
        if (set->start[user + 1] - set->start[user] >= 2)
            return true;
    training_set_close(set);
    return status_fail(st, STATUS_FAILED_PRECONDITION, "NO_TRAINING_DATA",
                       "no user has two events in the training part of the log");
}

void training_set_close(struct training_set *set)
{
    free(set->column_of);
    free(set->item_of);
    free(set->count);
    free(set->start);
    free(set->column);
    free(set->ts_ms);
    free(set->behaviour);
    free(set->weight);
    for (int v = 0; v < ARCHITECTURE_VIEWS_MAX; v++) {
        free(set->x[v]);
        free(set->present[v]);
    }
    *set = (struct training_set){0};
}

/* which columns have the vector, and the vectors of `count` columns from `first` */
static void gather_rows(const struct training_set *set, float *raw, bool *present, const float *vectors, size_t first,
                        size_t count, size_t dimension)
{
    for (size_t i = 0; i < count; i++) {
        const float *row = vectors + (size_t)set->item_of[first + i] * dimension;
        memcpy(raw + i * dimension, row, dimension * sizeof *raw);
        present[first + i] = false;
        for (size_t j = 0; j < dimension && !present[first + i]; j++)
            present[first + i] = row[j] != 0;
    }
}

static bool view_features(struct training_set *set, const struct model *model, int v, const float *vectors)
{
    size_t D = (size_t)model->architecture.views[v].dimension, r = (size_t)model->architecture.views[v].components;
    float *raw = malloc(2 * ROWS_A_TIME * D * sizeof *raw);
    set->x[v] = malloc((set->columns + 1) * r * sizeof *set->x[v]);
    set->present[v] = malloc((set->columns + 1) * sizeof *set->present[v]);
    bool ok = raw != NULL && set->x[v] != NULL && set->present[v] != NULL;
    for (size_t first = 0; ok && first < set->columns; first += ROWS_A_TIME) {
        size_t count = set->columns - first < ROWS_A_TIME ? set->columns - first : ROWS_A_TIME;
        gather_rows(set, raw, set->present[v], vectors, first, count, D);
        components_apply(set->x[v] + first * r, raw, model->weights.view[v].mean, model->weights.view[v].rotation,
                         count, D, r, raw + ROWS_A_TIME * D);
    }
    free(raw);
    return ok;
}

bool training_set_features(struct training_set *set, const struct model *model,
                           const float *const vectors[ARCHITECTURE_VIEWS_MAX], struct status *st)
{
    for (int v = 0; v < model->architecture.view_count; v++)
        if (vectors[v] != NULL && !view_features(set, model, v, vectors[v]))
            return out_of_memory(st);
    return true;
}
