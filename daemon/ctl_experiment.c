/* SPDX-License-Identifier: Apache-2.0
 *
 * experiment list, reload, report. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <stdio.h>
#include <string.h>

/* ---- list */

/* one row for each variant */
static bool add_variant(json_t *rows, const json_t *experiment, const json_t *variant, struct status *st)
{
    const char *scenario = ctl_member_text(variant, "scenario"), *model = ctl_member_text(variant, "model");
    bool variants = strcmp(ctl_member_text(experiment, "kind"), "variants") == 0;
    double share = json_number_value(json_object_get(experiment, "share"));
    double part = json_number_value(json_object_get(variant, "share"));
    json_t *row = json_object();
    bool ok = ctl_params_text(row, "experiment", ctl_member_text(experiment, "name"), st) &&
              ctl_params_text(row, "kind", ctl_member_text(experiment, "kind"), st) &&
              ctl_params_text(row, "variant", ctl_member_text(variant, "name"), st) &&
              ctl_params_set(row, "share", json_sprintf("%.4g", 100 * share * (variants ? part : 1)), st) &&
              ctl_params_text(row, "scenario", *scenario != '\0' ? scenario : NULL, st) &&
              ctl_params_text(row, "model", *model != '\0' ? model : NULL, st);
    if (ok && json_array_append(rows, row) != 0)
        ok = ctl_no_memory(st);
    json_decref(row);
    return ok;
}

static bool print_experiments(const struct ctl *ctl, const json_t *experiments, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"experiment", "experiment", CTL_CELL_PLAIN, false, false}, {"kind", "kind", CTL_CELL_PLAIN, false, false},
        {"variant", "variant", CTL_CELL_PLAIN, false, false},       {"users %", "share", CTL_CELL_PLAIN, true, false},
        {"scenario", "scenario", CTL_CELL_PLAIN, false, false},     {"model", "model", CTL_CELL_PLAIN, false, true},
    };
    json_t *rows = json_array(), *experiment, *variant;
    size_t i, k;
    bool ok = true;
    json_array_foreach(experiments, i, experiment)
    {
        json_array_foreach(json_object_get(experiment, "variants"), k, variant)
        {
            ok = ok && add_variant(rows, experiment, variant, st);
        }
    }
    ok = ok && ctl_print_table(ctl, rows, columns, sizeof columns / sizeof *columns, st);
    json_decref(rows);
    return ok;
}

int ctl_run_experiment_list(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    (void)arguments;
    json_t *result = ctl_call(ctl, "experiment.list", NULL, &st);
    const json_t *experiments = json_object_get(result, "experiments");
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(experiments);
    else if (ok)
        ok = print_experiments(ctl, experiments, &st);
    if (ok && ctl->output == CTL_TABLE && json_array_size(experiments) == 0)
        ctl_note(ctl, "no experiments: server.experiments of the configuration names their file");
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}

/* ---- reload */

int ctl_run_experiment_reload(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    (void)arguments;
    json_t *result = ctl_call(ctl, "experiment.reload", NULL, &st);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output == CTL_TABLE)
        printf("%lld experiments\n", (long long)ctl_member_integer(result, "experiments"));
    else
        ctl_print_json(ctl, result);
    json_decref(result);
    return 0;
}

/* ---- report */

/* a share as a percentage, into the row where the variant has it */
static bool set_percent(json_t *row, const json_t *variant, const char *key, bool sign, int decimals, struct status *st)
{
    const json_t *value = json_object_get(variant, key);
    double percent = 100 * json_number_value(value);
    return value == NULL ||
           ctl_params_set(
               row, key, sign ? json_sprintf("%+.*f", decimals, percent) : json_sprintf("%.*f", decimals, percent), st);
}

/* a variant as the table shows it */
static bool fill_row(json_t *row, const json_t *variant, struct status *st)
{
    static const char *const counts[] = {"users", "lists", "converted"};
    const char *verdict = ctl_member_text(variant, "verdict");
    const json_t *low = json_object_get(variant, "low"), *high = json_object_get(variant, "high");
    const json_t *p = json_object_get(variant, "p");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!ctl_params_set(row, counts[i], json_integer(ctl_member_integer(variant, counts[i])), st))
            return false;
    return ctl_params_text(row, "name", ctl_member_text(variant, "name"), st) &&
           set_percent(row, variant, "rate", false, 2, st) && set_percent(row, variant, "lift", true, 1, st) &&
           set_percent(row, variant, "overlap", false, 1, st) &&
           (low == NULL || high == NULL ||
            ctl_params_set(row, "interval",
                           json_sprintf("%+.2f to %+.2f", 100 * json_number_value(low), 100 * json_number_value(high)),
                           st)) &&
           (p == NULL || ctl_params_set(row, "p", json_sprintf("%.4f", json_number_value(p)), st)) &&
           ctl_params_text(row, "verdict", *verdict != '\0' ? verdict : NULL, st);
}

static bool print_variants(const struct ctl *ctl, const json_t *report, struct status *st)
{
    static const struct ctl_column compared[] = {
        {"variant", "name", CTL_CELL_PLAIN, false, false},
        {"users", "users", CTL_CELL_PLAIN, true, false},
        {"lists", "lists", CTL_CELL_PLAIN, true, false},
        {"converted", "converted", CTL_CELL_PLAIN, true, false},
        {"rate %", "rate", CTL_CELL_PLAIN, true, false},
        {"lift %", "lift", CTL_CELL_PLAIN, true, false},
        {"difference", "interval", CTL_CELL_PLAIN, true, false},
        {"p", "p", CTL_CELL_PLAIN, true, false},
        {"verdict", "verdict", CTL_CELL_PLAIN, false, false},
    };
    static const struct ctl_column shadowed[] = {
        {"variant", "name", CTL_CELL_PLAIN, false, false},
        {"users", "users", CTL_CELL_PLAIN, true, false},
        {"lists", "lists", CTL_CELL_PLAIN, true, false},
        {"overlap %", "overlap", CTL_CELL_PLAIN, true, false},
    };
    bool shadow = strcmp(ctl_member_text(report, "kind"), "shadow") == 0;
    json_t *rows = json_array(), *variant;
    size_t i;
    bool ok = true;
    json_array_foreach(json_object_get(report, "variants"), i, variant)
    {
        json_t *row = json_object();
        ok = ok && fill_row(row, variant, st) && (json_array_append(rows, row) == 0 || ctl_no_memory(st));
        json_decref(row);
    }
    ok = ok && (shadow ? ctl_print_table(ctl, rows, shadowed, sizeof shadowed / sizeof *shadowed, st)
                       : ctl_print_table(ctl, rows, compared, sizeof compared / sizeof *compared, st));
    json_decref(rows);
    return ok;
}

/* what the numbers mean */
static void explain(const struct ctl *ctl, const json_t *report)
{
    const char *kind = ctl_member_text(report, "kind"), *outcome = ctl_member_text(report, "outcome");
    double alpha = json_number_value(json_object_get(report, "alpha"));
    if (strcmp(kind, "shadow") == 0) {
        ctl_note(ctl, "overlap: the share of the list that was shown which the shadow would have had too");
        return;
    }
    if (strcmp(kind, "interleave") == 0)
        ctl_note(ctl, "converted: users who favoured this model; difference: of its share of them and a half, in "
                      "percentage points");
    else
        ctl_note(ctl, "difference: of the rate from the first variant's, in percentage points");
    ctl_note(ctl,
             "outcome: %s; interval and p hold at any time, so look as often as you like and stop at a verdict "
             "(at most %g %% of them are false alarms)",
             *outcome != '\0' ? outcome : "any behaviour with a weight above 0", 100 * alpha);
}

static bool report_params(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    return ctl_params_text(params, "experiment", arguments->words[0], st) &&
           ctl_params_text(params, "outcome", ctl_option_text(arguments, "outcome"), st) &&
           ctl_params_text(params, "from", ctl_option_text(arguments, "from"), st) &&
           ctl_params_text(params, "until", ctl_option_text(arguments, "until"), st) &&
           ctl_params_real(params, "alpha", ctl_option_text(arguments, "alpha"), st);
}

int ctl_run_experiment_report(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object(), *result = NULL;
    if (report_params(params, arguments, &st))
        result = ctl_call(ctl, "experiment.report", json_incref(params), &st);
    json_decref(params);
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(json_object_get(result, "variants"));
    else if (ok)
        ok = print_variants(ctl, result, &st);
    if (ok && ctl->output == CTL_TABLE)
        explain(ctl, result);
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}
