/* SPDX-License-Identifier: Apache-2.0 */
#include "models/holdout.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define EVENTS_LEAST 3 /* of a user that is asked about in leave-one-out */

static const char *const names[] = {"leave-one-out", "time", "none"};
#define KINDS (sizeof names / sizeof *names)

const char *holdout_name(enum holdout_kind kind)
{
    return (size_t)kind < KINDS ? names[kind] : "";
}

bool holdout_parse(const char *text, enum holdout_kind *kind)
{
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(names[i], text) == 0) {
            *kind = (enum holdout_kind)i;
            return true;
        }
    return false;
}

/* What becomes of one event. */
enum fate { FATE_TRAINING, FATE_VALIDATION, FATE_TEST, FATE_NOTHING };

static enum fate fate_of(const struct holdout *holdout, const struct evaluation_event *event, size_t at, size_t count)
{
    switch (holdout->kind) {
    case HOLDOUT_LEAVE_ONE_OUT:
        if (count < EVENTS_LEAST)
            return FATE_NOTHING;
        return at + 1 == count ? FATE_TEST : at + 2 == count ? FATE_VALIDATION : FATE_TRAINING;
    case HOLDOUT_TIME:
        return event->ts_ms < holdout->cut_ms[0]   ? FATE_TRAINING
               : event->ts_ms < holdout->cut_ms[1] ? FATE_VALIDATION
                                                   : FATE_TEST;
    case HOLDOUT_NONE: /* an only event has nothing before it to predict it from */
        return at > 0 && at + 1 == count ? FATE_VALIDATION : FATE_TRAINING;
    }
    return FATE_NOTHING;
}

/* call `each` for every event, in order of users, then events */
static void for_each_event(struct holdout *holdout, const struct evaluation_data *data,
                           void (*each)(struct holdout *, const struct evaluation_data *, enum fate, size_t user,
                                        size_t at))
{
    for (size_t user = 0; user < data->user_count; user++) {
        const struct evaluation_event *events = data->events + data->user_start[user];
        size_t count = data->user_start[user + 1] - data->user_start[user];
        for (size_t at = 0; at < count; at++)
            each(holdout, data, fate_of(holdout, &events[at], at, count), user, at);
    }
}

static void count_event(struct holdout *holdout, const struct evaluation_data *data, enum fate fate, size_t user,
                        size_t at)
{
    bool wanted = data->events[data->user_start[user] + at].weight > 0;
    holdout->validation_count += wanted && fate == FATE_VALIDATION;
    holdout->test_count += wanted && fate == FATE_TEST;
}

static void place_event(struct holdout *holdout, const struct evaluation_data *data, enum fate fate, size_t user,
                        size_t at)
{
    size_t index = data->user_start[user] + at;
    const struct evaluation_event *event = &data->events[index];
    struct holdout_query query = {(uint32_t)user, (uint32_t)at};
    if (fate == FATE_TRAINING && (holdout->is_cold == NULL || !holdout->is_cold[event->item])) {
        holdout->in_training[index] = true;
        holdout->training_count++;
    }
    if (fate == FATE_VALIDATION && event->weight > 0)
        holdout->validation[holdout->validation_count++] = query;
    if (fate == FATE_TEST && event->weight > 0)
        holdout->test[holdout->test_count++] = query;
}

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* the 80 % and 90 % quantiles of the time stamps */
static bool find_cuts(struct holdout *holdout, const struct evaluation_data *data)
{
    size_t count = data->user_start[data->user_count];
    int64_t *times = malloc((count + 1) * sizeof *times);
    if (times == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        times[i] = data->events[i].ts_ms;
    times[count] = INT64_MAX; /* what is read where there are no events */
    qsort(times, count, sizeof *times, compare_times);
    holdout->cut_ms[0] = times[count * 8 / 10];
    holdout->cut_ms[1] = times[count * 9 / 10];
    free(times);
    return true;
}

/* A hash of the name, so that an item is cold or not whatever else the shop has, in every run and every program. */
static bool choose_cold(struct holdout *holdout, const struct evaluation_data *data, double share,
                        const char *const *item_names)
{
    holdout->is_cold = calloc(data->item_count + 1, sizeof *holdout->is_cold);
    for (size_t i = 0; holdout->is_cold != NULL && i < data->item_count; i++)
        holdout->is_cold[i] =
            (double)(XXH3_64bits(item_names[i], strlen(item_names[i])) >> 11) < share * 0x1p53; /* exact in a double */
    return holdout->is_cold != NULL;
}

bool holdout_cut(struct holdout *out, const struct evaluation_data *data, enum holdout_kind kind, double cold_share,
                 const char *const *item_names, struct status *st)
{
    assert(cold_share >= 0 && cold_share <= 1 && (cold_share == 0 || item_names != NULL));
    struct holdout holdout = {.kind = kind};
    size_t events = data->user_start[data->user_count];
    bool ok = (kind != HOLDOUT_TIME || find_cuts(&holdout, data)) &&
              (cold_share == 0 || choose_cold(&holdout, data, cold_share, item_names));
    if (ok) {
        for_each_event(&holdout, data, count_event);
        holdout.in_training = calloc(events + 1, sizeof *holdout.in_training);
        holdout.validation = malloc((holdout.validation_count + 1) * sizeof *holdout.validation);
        holdout.test = malloc((holdout.test_count + 1) * sizeof *holdout.test);
        ok = holdout.in_training != NULL && holdout.validation != NULL && holdout.test != NULL;
    }
    if (!ok) {
        holdout_close(&holdout);
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to divide %zu events", events);
    }
    holdout.validation_count = holdout.test_count = 0;
    for_each_event(&holdout, data, place_event);
    *out = holdout;
    return true;
}

void holdout_close(struct holdout *holdout)
{
    free(holdout->in_training);
    free(holdout->validation);
    free(holdout->test);
    free(holdout->is_cold);
    *holdout = (struct holdout){0};
}

struct counts_view *holdout_counts(const struct holdout *holdout, const struct evaluation_data *data)
{
    struct counts *counts = counts_new();
    struct counts_event *events = NULL;
    struct counts_view *view = NULL;
    size_t capacity = 0;
    bool ok = counts != NULL;
    for (size_t user = 0; ok && user < data->user_count; user++) {
        size_t begin = data->user_start[user], end = data->user_start[user + 1], kept = 0;
        if (end - begin > capacity) {
            free(events);
            capacity = end - begin;
            events = malloc(capacity * sizeof *events);
            ok = events != NULL;
        }
        for (size_t i = begin; ok && i < end; i++)
            if (holdout->in_training[i] && data->events[i].weight > 0)
                events[kept++] = (struct counts_event){data->events[i].item, data->events[i].ts_ms};
        ok = ok && counts_user(counts, events, kept, 1);
    }
    if (ok)
        view = counts_publish(counts, 1);
    free(events);
    counts_free(counts);
    return view;
}
