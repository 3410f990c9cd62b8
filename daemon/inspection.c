/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/inspection.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BUCKET_WIDTH 0.301 /* of ln(seconds), as model_time_bucket has it */

static const char *const group_names[] = {"statistics", "encoder", "sequence", "head"};
#define GROUPS (sizeof group_names / sizeof *group_names)

static const char *const kind_names[] = {"dot", "cosine", "additive"};

/* ---- what the numbers mean */

double inspection_half_life(const float *bias, size_t count, double above)
{
    size_t at = 0;
    for (size_t i = 1; i < count; i++)
        if (bias[i] > bias[at])
            at = i;
    double level = (double)bias[at] + above - log(2);
    if ((double)bias[at] <= level)
        return 0;
    for (at++; at < count; at++)
        if ((double)bias[at] <= level) {
            double before = (double)bias[at - 1];
            return (double)at - 1 + (before - level) / (before - (double)bias[at]);
        }
    return INFINITY;
}

double inspection_bucket_seconds(double bucket)
{
    return exp(BUCKET_WIDTH * (bucket + 0.5));
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *steps(const float *position)
{
    return number(inspection_half_life(position, ARCHITECTURE_POSITIONS, 0));
}

static json_t *seconds(const float *time, double above)
{
    double bucket = inspection_half_life(time, ARCHITECTURE_TIME_BUCKETS, above);
    return number(bucket > 0 ? inspection_bucket_seconds(bucket) : 0);
}

/* log(.5) / log(decay) */
static json_t *decay_steps(double decay)
{
    if (decay <= 0)
        return json_real(0);
    return number(decay < 1 ? log(0.5) / log(decay) : INFINITY);
}

static json_t *temperature(double sharpness)
{
    return number(1 / sharpness);
}

void inspection_similarity_name(const struct architecture *a, int similarity, char *out)
{
    const struct similarity *s = &a->similarities[similarity];
    const char *candidate = a->views[s->candidate_view].name, *history = a->views[s->history_view].name;
    if (s->candidate_view == s->history_view)
        snprintf(out, sizeof a->views[0].name, "%s", candidate);
    else
        snprintf(out, 2 * sizeof a->views[0].name, "%s/%s", candidate, history);
}

/* ---- sizes */

static json_t *tensors_json(const struct model *model)
{
    json_t *list = json_array();
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        json_t *shape = json_array();
        for (int j = 0; j < p->rank; j++)
            json_array_append_new(shape, json_integer((json_int_t)p->shape[j]));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:I}", "name", p->name, "group", group_names[p->group],
                                        "shape", shape, "bytes", (json_int_t)p->count * (json_int_t)sizeof(float)));
    }
    return list;
}

static json_t *size_json(size_t tensors, size_t numbers)
{
    return json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)tensors, "numbers", (json_int_t)numbers, "bytes",
                     (json_int_t)numbers * (json_int_t)sizeof(float));
}

static json_t *sizes_json(const struct model *model)
{
    size_t tensors[GROUPS] = {0}, numbers[GROUPS] = {0}, total = 0;
    json_t *groups = json_object();
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        tensors[p->group]++;
        numbers[p->group] += p->count;
        total += p->count;
    }
    for (size_t g = 0; g < GROUPS; g++)
        json_object_set_new(groups, group_names[g], size_json(tensors[g], numbers[g]));
    return json_pack("{s:I, s:I, s:o}", "numbers", (json_int_t)total, "bytes",
                     (json_int_t)total * (json_int_t)sizeof(float), "groups", groups);
}

static json_t *items_json(const struct model *model)
{
    double events = 0;
    for (size_t i = 0; i < model->item_count; i++)
        events += (double)model->item_training_count[i];
    return json_pack("{s:I, s:f}", "id_rows", (json_int_t)model->item_count, "training_events", events);
}

/* ---- the head */

static json_t *streams_json(const struct model *model)
{
    const struct architecture *a = &model->architecture;
    json_t *list = json_array();
    for (int i = 0; i < a->stream_count; i++) {
        char pick[130], judge[130];
        inspection_similarity_name(a, a->streams[i].pick, pick);
        inspection_similarity_name(a, a->streams[i].judge, judge);
        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f}", "pick", pick, "judge", judge, "weight",
                                              (double)model->weights.stream[i], "weight_per_log_count",
                                              (double)model->weights.stream_count[i]));
    }
    return list;
}

/* the behaviour that others are compared with */
static int reference(const struct architecture *a)
{
    int view = architecture_behaviour(a, "view");
    return view >= 0 ? view : 0;
}

static json_t *pick_behaviours(const struct model *model, int similarity)
{
    const struct architecture *a = &model->architecture;
    const float *bias = model->weights.similarity[similarity].behaviour;
    json_t *object = json_object();
    for (int i = 0; i < a->behaviour_count; i++) {
        double stronger = (double)bias[i] - (double)bias[reference(a)];
        json_object_set_new(object, a->behaviours[i],
                            json_pack("{s:o, s:o}", "weight", number(exp(stronger)), "half_life_seconds",
                                      seconds(model->weights.similarity[similarity].time, -stronger)));
    }
    return object;
}

static json_t *similarities_json(const struct model *model)
{
    const struct architecture *a = &model->architecture;
    json_t *list = json_array();
    for (int i = 0; i < a->similarity_count; i++) {
        char name[130];
        json_t *temperatures = json_array();
        for (int h = 0; h < a->similarities[i].heads; h++)
            json_array_append_new(temperatures, temperature((double)model->weights.similarity[i].sharpness[h]));
        inspection_similarity_name(a, i, name);
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "name", name, "kind",
                                              kind_names[a->similarities[i].kind], "heads", a->similarities[i].heads,
                                              "temperature", temperatures, "half_life_steps",
                                              steps(model->weights.similarity[i].position), "half_life_seconds",
                                              seconds(model->weights.similarity[i].time, 0), "behaviours",
                                              pick_behaviours(model, i)));
    }
    return list;
}

static json_t *sequence_json(const struct model *model)
{
    const struct architecture *a = &model->architecture;
    if (a->blocks == 0)
        return json_null();
    json_t *blocks = json_array();
    for (int b = 0; b < a->blocks; b++) {
        json_t *by_position = json_array(), *by_time = json_array();
        for (size_t h = 0; h < (size_t)a->heads; h++) {
            json_array_append_new(by_position, steps(model->weights.block[b].position + h * ARCHITECTURE_POSITIONS));
            json_array_append_new(by_time, seconds(model->weights.block[b].time + h * ARCHITECTURE_TIME_BUCKETS, 0));
        }
        json_array_append_new(blocks,
                              json_pack("{s:o, s:o}", "half_life_steps", by_position, "half_life_seconds", by_time));
    }
    return json_pack("{s:o, s:o}", "temperature", temperature((double)*model->weights.sequence_scale), "blocks",
                     blocks);
}

static json_t *cooccurrence_json(const struct weights *w)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:o}", "weight", (double)*w->cooccurrence, "reverse", (double)*w->reverse,
                     "epsilon", (double)*w->epsilon, "decay", (double)*w->decay, "half_life_steps",
                     decay_steps((double)*w->decay));
}

static json_t *behaviours_json(const struct model *model)
{
    json_t *object = json_object();
    for (int i = 0; i < model->architecture.behaviour_count; i++)
        json_object_set_new(object, model->architecture.behaviours[i], json_real((double)model->weights.value[i]));
    return object;
}

json_t *inspection_report(const struct model *model)
{
    const struct weights *w = &model->weights;
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:f, s:f, s:f}, s:o, s:O?}", "name",
                     model->name, "version", model->version, "sha256", model->sha256, "architecture",
                     architecture_write(&model->architecture), "items", items_json(model), "sizes", sizes_json(model),
                     "tensors", tensors_json(model), "streams", streams_json(model), "similarities",
                     similarities_json(model), "sequence", sequence_json(model), "cooccurrence", cooccurrence_json(w),
                     "prior", "popularity", (double)*w->popularity, "recent", (double)*w->recent, "novelty",
                     (double)*w->novelty, "behaviours", behaviours_json(model), "training", model->training);
}
