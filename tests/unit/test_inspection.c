/* SPDX-License-Identifier: Apache-2.0
 *
 * What is told of a model: half-lives worked out by hand, and every number in its place. */
#include "daemon/inspection.h"

#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- half-lives */

static void fill_slope(float *bias, size_t count, double slope)
{
    for (size_t i = 0; i < count; i++)
        bias[i] = (float)(slope * (double)i);
}

Test(inspection, half_life_of_a_straight_table)
{
    float bias[64];
    fill_slope(bias, 64, log(.8)); /* the default model's */
    cr_expect_float_eq(inspection_half_life(bias, 64, 0), log(.5) / log(.8), 1e-4);
    fill_slope(bias, 64, log(.5));
    cr_expect_float_eq(inspection_half_life(bias, 64, 0), 1, 1e-5);
    cr_expect_float_eq(inspection_half_life(bias, 64, -2 * log(2)), 3, 1e-5, "four times as strong: two more halvings");
    cr_expect_eq(inspection_half_life(bias, 64, log(2)), 0, "half as strong: there from the start");
}

Test(inspection, half_life_begins_at_the_highest)
{
    const float bias[] = {0, 1, 2, 2 - (float)M_LN2, 1};
    cr_expect_float_eq(inspection_half_life(bias, 5, 0), 3, 1e-5);
}

Test(inspection, half_life_beyond_the_table)
{
    float bias[64];
    fill_slope(bias, 64, 0);
    cr_expect(isinf(inspection_half_life(bias, 64, 0)));
    fill_slope(bias, 64, log(.5) / 64);
    cr_expect(isinf(inspection_half_life(bias, 64, 0)));
    fill_slope(bias, 64, .1); /* the oldest weighs most */
    cr_expect(isinf(inspection_half_life(bias, 64, 0)));
    cr_expect(isinf(inspection_half_life(bias, 1, 0)));
}

/* the middle of a bucket lies in it, by the function that the scores use */
Test(inspection, buckets_are_those_of_the_model)
{
    for (int bucket = 4; bucket < ARCHITECTURE_TIME_BUCKETS; bucket++)
        cr_expect_eq(model_time_bucket((int64_t)(inspection_bucket_seconds(bucket) * 1000)), bucket, "bucket %d",
                     bucket);
}

/* ---- the report */

static const json_t *at(const json_t *json, const char *path)
{
    char part[64];
    const char *dot;
    for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
        json = json_is_array(json) ? json_array_get(json, (size_t)(part[0] - '0')) : json_object_get(json, part);
    }
    json = json_is_array(json) ? json_array_get(json, (size_t)(path[0] - '0')) : json_object_get(json, path);
    cr_assert_not_null(json, "nothing at '%s'", path);
    return json;
}

static double number_at(const json_t *json, const char *path)
{
    cr_assert(json_is_number(at(json, path)), "no number at '%s'", path);
    return json_number_value(at(json, path));
}

static const char *text_at(const json_t *json, const char *path)
{
    cr_assert(json_is_string(at(json, path)), "no text at '%s'", path);
    return json_string_value(at(json, path));
}

static json_t *report_of(const struct model *model)
{
    json_t *report = inspection_report(model);
    cr_assert_not_null(report);
    return report;
}

Test(inspection, says_who_picks_and_who_judges)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1);
    model->weights.stream[1] = .3125f; /* pick 0, judge 1 */
    model->weights.stream_count[1] = -.25f;
    json_t *report = report_of(model);
    cr_expect_eq(json_array_size(at(report, "streams")), 4);
    cr_expect_str_eq(text_at(report, "streams.1.pick"), "text");
    cr_expect_str_eq(text_at(report, "streams.1.judge"), "image");
    cr_expect_eq(number_at(report, "streams.1.weight"), .3125);
    cr_expect_eq(number_at(report, "streams.1.weight_per_log_count"), -.25);
    cr_expect(json_is_null(at(report, "sequence")));
    cr_expect(json_is_null(at(report, "training")));
    json_decref(report);
    model_release(model);
}

Test(inspection, similarity_across_modalities_names_both)
{
    char name[130];
    struct model *model = random_model(RANDOM_MODEL_JOINT, 1);
    int last = model->architecture.similarity_count - 1;
    inspection_similarity_name(&model->architecture, last, name);
    cr_expect_str_eq(name, "text/image");
    inspection_similarity_name(&model->architecture, 0, name);
    cr_expect_str_eq(name, "text");
    model_release(model);
}

Test(inspection, half_life_of_a_click_and_of_a_purchase)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1);
    float *time = model->weights.similarity[0].time, *behaviour = model->weights.similarity[0].behaviour;
    fill_slope(time, ARCHITECTURE_TIME_BUCKETS, log(.5) / 10); /* half every ten buckets */
    fill_slope(model->weights.similarity[0].position, ARCHITECTURE_POSITIONS, log(.5) / 4);
    model->weights.similarity[0].sharpness[0] = 4;
    behaviour[0] = .5f;                    /* click: the reference, as there is no view */
    behaviour[1] = .5f + 2 * (float)M_LN2; /* purchase: four times as strong */
    behaviour[2] = .5f - 2 * (float)M_LN2; /* dislike: a quarter */
    json_t *report = report_of(model);
    const json_t *similarity = at(report, "similarities.0");
    cr_expect_str_eq(text_at(similarity, "kind"), "dot");
    cr_expect_float_eq(number_at(similarity, "temperature.0"), .25, 1e-9);
    cr_expect_float_eq(number_at(similarity, "half_life_steps"), 4, 1e-3);
    cr_expect_float_eq(number_at(similarity, "half_life_seconds") / exp(.301 * 10.5), 1, 1e-3);
    cr_expect_float_eq(number_at(similarity, "behaviours.click.weight"), 1, 1e-6);
    cr_expect_float_eq(number_at(similarity, "behaviours.click.half_life_seconds") / exp(.301 * 10.5), 1, 1e-3);
    cr_expect_float_eq(number_at(similarity, "behaviours.purchase.weight"), 4, 1e-5);
    cr_expect_float_eq(number_at(similarity, "behaviours.purchase.half_life_seconds") / exp(.301 * 30.5), 1, 1e-3);
    cr_expect_float_eq(number_at(similarity, "behaviours.dislike.weight"), .25, 1e-6);
    cr_expect_eq(number_at(similarity, "behaviours.dislike.half_life_seconds"), 0);
    json_decref(report);
    model_release(model);
}

Test(inspection, decay_of_cooccurrence)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1);
    *model->weights.decay = .5f;
    json_t *report = report_of(model);
    cr_expect_float_eq(number_at(report, "cooccurrence.half_life_steps"), 1, 1e-9);
    json_decref(report);
    *model->weights.decay = 1; /* nothing is forgotten */
    report = report_of(model);
    cr_expect(json_is_null(at(report, "cooccurrence.half_life_steps")));
    json_decref(report);
    *model->weights.decay = 0; /* only the last event counts */
    report = report_of(model);
    cr_expect_eq(number_at(report, "cooccurrence.half_life_steps"), 0);
    json_decref(report);
    model_release(model);
}

/* for every kind of model: every tensor is there, and the groups add up */
Test(inspection, sizes_add_up)
{
    for (int kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct model *model = random_model((enum random_model_kind)kind, 1);
        const char *what = random_model_label((enum random_model_kind)kind), *name;
        size_t i;
        json_int_t tensors = 0, by_group = 0;
        json_t *report = report_of(model), *group;
        const json_t *tensor;
        cr_expect_eq(json_array_size(at(report, "tensors")), model->params.count, "%s", what);
        json_array_foreach(at(report, "tensors"), i, tensor) tensors += json_integer_value(at(tensor, "bytes"));
        json_object_foreach((json_t *)at(report, "sizes.groups"), name, group) by_group +=
            json_integer_value(at(group, "bytes"));
        cr_expect_eq(tensors, json_integer_value(at(report, "sizes.bytes")), "%s", what);
        cr_expect_eq(by_group, tensors, "%s", what);
        cr_expect_eq(number_at(report, "sizes.numbers") * sizeof(float), (double)tensors, "%s", what);
        json_decref(report);
        model_release(model);
    }
}

Test(inspection, sequence_and_its_items)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 1);
    float *position = model->weights.block[1].position;
    double events = 0;
    *model->weights.sequence_scale = .5f;
    fill_slope(position + (model->architecture.heads - 1) * ARCHITECTURE_POSITIONS, ARCHITECTURE_POSITIONS,
               log(.5) / 2);
    for (size_t i = 0; i < model->item_count; i++)
        events += (double)model->item_training_count[i];
    model->training = json_pack("{s:{s:s}}", "data", "sha256", "abc");
    json_t *report = report_of(model);
    cr_expect_eq(number_at(report, "items.id_rows"), RANDOM_MODEL_NAMES);
    cr_expect_float_eq(number_at(report, "items.training_events"), events, 1e-6);
    cr_expect_float_eq(number_at(report, "sequence.temperature"), 2, 1e-9);
    cr_expect_eq(json_array_size(at(report, "sequence.blocks")), 2);
    const json_t *heads = at(report, "sequence.blocks.1.half_life_steps");
    cr_assert_eq(json_array_size(heads), (size_t)model->architecture.heads);
    cr_expect_float_eq(json_number_value(json_array_get(heads, json_array_size(heads) - 1)), 2, 1e-3);
    cr_expect_str_eq(text_at(report, "training.data.sha256"), "abc");
    json_decref(report);
    model_release(model);
}
