/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_evaluate.h"

#include "daemon/evaluate_options.h"
#include "daemon/program.h"
#include "daemon/refit.h"
#include "daemon/train_report.h"
#include "daemon/train_served.h"
#include "models/default_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "recsys-train"

struct evaluate {
    struct evaluate_options options;
    struct train_data data;
    struct contest contest;
    struct model *model;
    struct train_scorer scorer;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the report");
}

/* ---- the model */

static bool override_numbers(struct evaluate *e, struct status *st)
{
    for (size_t i = 0; i < e->options.override_count; i++) {
        const struct evaluate_override *o = &e->options.overrides[i];
        bool found = false;
        for (size_t p = 0; p < e->model->params.count; p++) {
            const struct param *param = &e->model->params.list[p];
            if (strcmp(param->name, o->name) == 0 && o->index < param->count) {
                (*param->slot)[o->index] = o->value;
                found = true;
            }
        }
        if (!found)
            return status_fail(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_TENSOR", "the model has no number '%s[%zu]'",
                               o->name, o->index);
    }
    return true;
}

/* the default model, with the version that it has as a file */
static struct model *fit_default(const struct evaluate *e, struct status *st)
{
    struct model *model = refit(&e->data.engine, st);
    size_t size;
    unsigned char *bytes = model == NULL ? NULL : model_write(model, &size, st);
    if (bytes == NULL) {
        model_release(model);
        return NULL;
    }
    free(bytes);
    return model;
}

static const json_t *trained(const struct evaluate *e, const char *key)
{
    const json_t *value = json_object_get(e->model->training, key);
    return value != NULL ? value : json_object_get(json_object_get(e->model->training, "options"), key);
}

/* A model that has met the items' events is measured with them: it then shows what they are worth when they are warm. The default model has met
 * none. */
static bool keeps_cold_events(const struct evaluate *e)
{
    double share = json_number_value(trained(e, "cold_share"));
    return e->options.model_file != NULL && e->options.contest.cold_share > 0 &&
           fabs(share - e->options.contest.cold_share) > 1e-9;
}

static bool list_ablations(struct evaluate *e, struct status *st)
{
    for (size_t i = 0; i < e->options.ablation_count; i++)
        if (!train_ablation_check(e->model, e->options.ablations[i], st))
            return false;
    if (e->options.ablate_all)
        e->options.ablation_count += train_ablation_parts(e->model, e->options.ablations + e->options.ablation_count,
                                                          EVALUATE_ABLATIONS_MAX - e->options.ablation_count);
    return true;
}

static bool open_model(struct evaluate *e, struct status *st)
{
    e->model = e->options.model_file != NULL ? train_scorer_read_model(e->options.model_file, st) : fit_default(e, st);
    if (e->model == NULL || !override_numbers(e, st) || !list_ablations(e, st))
        return false;
    e->options.contest.warm = keeps_cold_events(e);
    return true;
}

/* ---- who takes part */

static bool add_default(struct evaluate *e, struct status *st)
{
    struct model *model = fit_default(e, st);
    struct train_scorer scorer = {0};
    bool ok = model != NULL &&
              train_scorer_init(&scorer, model, &e->data, e->contest.counts, e->options.contest.threads, st) &&
              contest_add(&e->contest, DEFAULT_MODEL_NAME, train_scorer_score, &scorer, st);
    train_scorer_close(&scorer);
    model_release(model);
    return ok;
}

static bool run_contest(struct evaluate *e, struct status *st)
{
    bool is_default = e->options.model_file == NULL && e->options.override_count == 0;
    return train_scorer_init(&e->scorer, e->model, &e->data, e->contest.counts, e->options.contest.threads, st) &&
           contest_add(&e->contest, "model", train_scorer_score, &e->scorer, st) &&
           (e->options.model_only || (contest_add_baselines(&e->contest, st) && (is_default || add_default(e, st))));
}

/* {PART: metrics} */
static bool add_ablations(struct evaluate *e, json_t *report, struct status *st)
{
    json_t *ablations = json_object();
    bool ok = true;
    json_object_set_new(report, "ablations", ablations);
    for (size_t i = 0; ok && i < e->options.ablation_count; i++) {
        struct train_ablation ablation;
        struct contestant without = {0};
        char label[TRAIN_ABLATION_TEXT + 16];
        snprintf(label, sizeof label, "without %s", e->options.ablations[i]);
        ok = train_ablation_apply(&ablation, &e->scorer, e->options.ablations[i], st) &&
             contest_ask(&e->contest, label, train_scorer_score, &e->scorer, &without, st);
        ok = train_ablation_restore(&ablation, &e->scorer, ok ? st : NULL) && ok;
        json_t *metrics =
            ok ? train_report_metrics(&e->contest, &without.result, &e->contest.contestant[0].result, NULL) : NULL;
        if (ok && metrics == NULL)
            ok = out_of_memory(st);
        if (ok)
            json_object_set_new(ablations, e->options.ablations[i], metrics);
        evaluation_result_close(&without.result);
    }
    return ok;
}

static bool add_served(struct evaluate *e, json_t *report, struct status *st)
{
    struct train_served *served = calloc(1, sizeof *served);
    struct contestant contestant = {0};
    double recall, narrowed;
    if (served == NULL)
        return out_of_memory(st);
    bool ok = train_served_init(served, &e->contest, e->model, st) &&
              contest_ask(&e->contest, "as served", train_served_score, served, &contestant, st);
    if (ok) {
        train_served_recall(served, &recall, &narrowed);
        json_t *metrics = train_report_metrics(&e->contest, &contestant.result, &e->contest.contestant[0].result, NULL);
        ok = metrics != NULL || out_of_memory(st);
        if (ok) {
            json_object_set_new(metrics, "recall@10", json_real(recall));
            json_object_set_new(metrics, "narrowed", json_real(narrowed));
            json_object_set_new(report, "served", metrics);
        }
    }
    evaluation_result_close(&contestant.result);
    train_served_close(served);
    free(served);
    return ok;
}

/* ---- what is said about the model */

static void add_warnings(const struct evaluate *e, json_t *report)
{
    const char *holdout = json_string_value(trained(e, "holdout"));
    char text[256];
    if (e->options.model_file == NULL || holdout == NULL || strcmp(holdout, holdout_name(e->options.contest.kind)) == 0)
        return;
    snprintf(text, sizeof text, "the model was trained with --holdout %.40s: it may have learnt from what it is asked",
             holdout);
    json_object_set_new(report, "warnings", json_pack("[s]", text));
}

static void add_model(const struct evaluate *e, json_t *report)
{
    json_object_set_new(report, "model_version", json_string(e->model->version));
    json_object_set_new(report, "sha256", json_string(e->model->sha256));
    json_t *signature = json_object_get(e->model->training, "signature");
    json_object_set_new(report, "fitted_on", signature == NULL ? json_null() : json_deep_copy(signature));
    json_t *set = json_object();
    for (size_t i = 0; i < e->options.override_count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s[%zu]", e->options.overrides[i].name, e->options.overrides[i].index);
        json_object_set_new(set, name, json_real((double)e->options.overrides[i].value));
    }
    if (e->options.override_count > 0)
        json_object_set(report, "set", set);
    json_decref(set);
}

/* said before an hour of work rather than after it */
static bool can_write_ranks(const struct evaluate *e, struct status *st)
{
    FILE *file = e->options.ranks_file == NULL ? NULL : fopen(e->options.ranks_file, "ae");
    if (e->options.ranks_file != NULL && file == NULL)
        return status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m", e->options.ranks_file);
    if (file != NULL)
        fclose(file);
    return true;
}

static json_t *evaluate_all(struct evaluate *e, struct status *st)
{
    if (!can_write_ranks(e, st) || !open_model(e, st) ||
        !contest_init(&e->contest, &e->data, &e->options.contest, st) || !run_contest(e, st))
        return NULL;
    if (e->options.ranks_file != NULL && !contest_write_ranks(&e->contest, &e->data, e->options.ranks_file, st))
        return NULL;
    json_t *report = train_report(&e->contest);
    if (report == NULL) {
        out_of_memory(st);
        return NULL;
    }
    add_model(e, report);
    add_warnings(e, report);
    if ((e->options.ablation_count > 0 && !add_ablations(e, report, st)) ||
        (e->options.as_served && !add_served(e, report, st))) {
        json_decref(report);
        return NULL;
    }
    return report;
}

/* ---- the command */

static void close_all(struct evaluate *e)
{
    train_scorer_close(&e->scorer);
    contest_close(&e->contest);
    model_release(e->model);
    train_data_close(&e->data);
    free(e);
}

int train_evaluate(int argc, char **argv)
{
    struct status st = STATUS_INIT;
    struct evaluate *e = calloc(1, sizeof *e);
    if (e == NULL)
        return 71;
    int code = evaluate_options_parse(&e->options, argc, argv);
    json_t *report = NULL;
    if (code == 0) {
        if (program_init(&st) &&
            train_data_load_at(&e->data, e->options.config_file, e->options.data_dir, e->options.at_position, &st))
            report = evaluate_all(e, &st);
        if (report == NULL)
            code = 1 + program_fail(NAME, &st);
        else if (e->options.json)
            json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        else
            train_report_print(report);
        if (report != NULL && e->options.json)
            putchar('\n');
    }
    json_decref(report);
    close_all(e);
    return code == 0 ? 0 : code - 1;
}
