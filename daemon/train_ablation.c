/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_ablation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX (16 + ARCHITECTURE_VIEWS_MAX + ARCHITECTURE_STREAMS_MAX)

static const char *const general[] = {"id", "sequence", "streams", "cross", "same", "cooccurrence", "prior", "time"};
#define GENERAL (sizeof general / sizeof *general)

static const char *modality_of(const struct architecture *a, int similarity)
{
    return a->views[a->similarities[similarity].candidate_view].modality;
}

static const char *picks(const struct architecture *a, int stream)
{
    return modality_of(a, a->streams[stream].pick);
}

static const char *judges(const struct architecture *a, int stream)
{
    return modality_of(a, a->streams[stream].judge);
}

/* ---- what there is */

static bool any_nonzero(const float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i] != 0)
            return true;
    return false;
}

/* call `each` for every table of time biases */
static void for_time(const struct model *model, void (*each)(void *context, float *table, size_t count), void *context)
{
    const struct architecture *a = &model->architecture;
    for (int b = 0; b < a->blocks; b++)
        each(context, model->weights.block[b].time, (size_t)a->heads * ARCHITECTURE_TIME_BUCKETS);
    for (int s = 0; s < a->similarity_count; s++)
        each(context, model->weights.similarity[s].time, ARCHITECTURE_TIME_BUCKETS);
}

static void find_nonzero(void *context, float *table, size_t count)
{
    bool *found = context;
    *found = *found || any_nonzero(table, count);
}

static void clear_table(void *context, float *table, size_t count)
{
    (void)context;
    memset(table, 0, count * sizeof *table);
}

static bool has_streams(const struct architecture *a, bool crossing)
{
    for (int i = 0; i < a->stream_count; i++)
        if ((strcmp(picks(a, i), judges(a, i)) != 0) == crossing)
            return true;
    return false;
}

static bool has(const struct model *model, const char *part)
{
    const struct architecture *a = &model->architecture;
    const struct weights *w = &model->weights;
    if (strcmp(part, "id") == 0)
        return model->item_count > 0;
    if (strcmp(part, "sequence") == 0)
        return a->blocks > 0;
    if (strcmp(part, "streams") == 0)
        return a->stream_count > 0;
    if (strcmp(part, "cross") == 0)
        return has_streams(a, true);
    if (strcmp(part, "same") == 0)
        return has_streams(a, false);
    if (strcmp(part, "cooccurrence") == 0)
        return *w->cooccurrence != 0;
    if (strcmp(part, "prior") == 0)
        return *w->popularity != 0 || *w->recent != 0 || *w->novelty != 0;
    bool found = false;
    for_time(model, find_nonzero, &found);
    return found;
}

struct parts {
    char (*names)[TRAIN_ABLATION_TEXT];
    size_t count, capacity;
};

static void add(struct parts *parts, const char *name)
{
    for (size_t i = 0; i < parts->count; i++)
        if (strcmp(parts->names[i], name) == 0)
            return;
    if (parts->count < parts->capacity)
        snprintf(parts->names[parts->count++], TRAIN_ABLATION_TEXT, "%s", name);
}

/* names that depend on the model: modalities and single streams */
static void add_special(struct parts *parts, const struct architecture *a)
{
    for (int v = 0; v < a->view_count; v++)
        if (strcmp(a->views[v].modality, "id") != 0)
            add(parts, a->views[v].modality);
    for (int i = 0; i < a->stream_count; i++) {
        char name[TRAIN_ABLATION_TEXT];
        snprintf(name, sizeof name, "%s>%s", picks(a, i), judges(a, i));
        add(parts, name);
    }
}

size_t train_ablation_parts(const struct model *model, char (*names)[TRAIN_ABLATION_TEXT], size_t capacity)
{
    struct parts parts = {names, 0, capacity};
    for (size_t i = 0; i < GENERAL; i++)
        if (has(model, general[i]))
            add(&parts, general[i]);
    add_special(&parts, &model->architecture);
    return parts.count;
}

/* ---- lists of parts */

/* the next part of a list into `part`; false at the end. A part that is too long is cut, and then is none. */
static bool next_part(const char **text, char part[TRAIN_ABLATION_TEXT])
{
    if (*text == NULL)
        return false;
    size_t length = strcspn(*text, ",");
    snprintf(part, TRAIN_ABLATION_TEXT, "%.*s", length < TRAIN_ABLATION_TEXT ? (int)length : TRAIN_ABLATION_TEXT - 1,
             *text);
    *text = (*text)[length] == ',' ? *text + length + 1 : NULL;
    return true;
}

static bool is_part(const struct model *model, const char *part)
{
    char names[PARTS_MAX][TRAIN_ABLATION_TEXT];
    struct parts parts = {names, 0, PARTS_MAX};
    for (size_t i = 0; i < GENERAL; i++)
        add(&parts, general[i]);
    add_special(&parts, &model->architecture);
    for (size_t i = 0; i < parts.count; i++)
        if (strcmp(names[i], part) == 0)
            return true;
    return false;
}

bool train_ablation_check(const struct model *model, const char *text, struct status *st)
{
    char part[TRAIN_ABLATION_TEXT], names[PARTS_MAX][TRAIN_ABLATION_TEXT], list[240] = "";
    const char *rest = text;
    while (next_part(&rest, part)) {
        if (is_part(model, part))
            continue;
        size_t count = train_ablation_parts(model, names, PARTS_MAX), at = 0;
        for (size_t i = 0; i < count && at < sizeof list; i++)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i == 0 ? "" : ", ", names[i]);
        return status_fail(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_PART", "the model has no part '%.40s'; it has %s",
                           part, list);
    }
    return true;
}

/* ---- switching off */

static void weigh(struct train_scorer *scorer, const char *part)
{
    const struct architecture *a = &scorer->model->architecture;
    if (strcmp(part, "sequence") == 0)
        scorer->part_weight[PART_SEQUENCE] = 0;
    if (strcmp(part, "cooccurrence") == 0)
        scorer->part_weight[PART_COOCCURRENCE] = 0;
    if (strcmp(part, "prior") == 0)
        scorer->part_weight[PART_PRIOR] = 0;
    for (int i = 0; i < a->stream_count; i++) {
        char name[TRAIN_ABLATION_TEXT];
        bool same = strcmp(picks(a, i), judges(a, i)) == 0;
        snprintf(name, sizeof name, "%s>%s", picks(a, i), judges(a, i));
        if (strcmp(part, "streams") == 0 || strcmp(part, same ? "same" : "cross") == 0 || strcmp(part, name) == 0)
            scorer->part_weight[PART_STREAMS + i] = 0;
    }
}

/* what needs the items encoded anew */
static bool blind(struct train_scorer *scorer, const char *part)
{
    const struct architecture *a = &scorer->model->architecture;
    if (strcmp(part, "id") == 0)
        return scorer->without_id = true;
    bool any = false;
    for (int v = 0; v < a->view_count; v++)
        if (strcmp(a->views[v].modality, part) == 0)
            any = scorer->without_view[v] = true;
    return any;
}

static bool forget_time(struct train_ablation *ablation, const struct model *model, struct status *st)
{
    if (ablation->numbers != NULL)
        return true;
    ablation->numbers = malloc(model->params.total * sizeof *ablation->numbers + 1);
    if (ablation->numbers == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a copy of the model");
    memcpy(ablation->numbers, model->block, model->params.total * sizeof *ablation->numbers);
    for_time(model, clear_table, NULL);
    return true;
}

bool train_ablation_apply(struct train_ablation *ablation, struct train_scorer *scorer, const char *text,
                          struct status *st)
{
    *ablation = (struct train_ablation){0};
    char part[TRAIN_ABLATION_TEXT];
    bool ok = true;
    while (ok && next_part(&text, part)) {
        weigh(scorer, part);
        ablation->encoded |= blind(scorer, part);
        ok = strcmp(part, "time") != 0 || forget_time(ablation, scorer->model, st);
    }
    return ok && (!ablation->encoded || train_scorer_encode(scorer, st));
}

bool train_ablation_restore(struct train_ablation *ablation, struct train_scorer *scorer, struct status *st)
{
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        scorer->part_weight[i] = 1;
    scorer->without_id = false;
    memset(scorer->without_view, 0, sizeof scorer->without_view);
    if (ablation->numbers != NULL)
        memcpy(scorer->model->block, ablation->numbers, scorer->model->params.total * sizeof *ablation->numbers);
    free(ablation->numbers);
    bool encode = ablation->encoded;
    *ablation = (struct train_ablation){0};
    return !encode || train_scorer_encode(scorer, st);
}
