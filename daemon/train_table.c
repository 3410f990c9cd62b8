/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of an evaluation as tables. */
#include "daemon/train_report.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <string.h>

static struct libscols_table *table_new(const char *const *heads, size_t count)
{
    scols_init_debug(0);
    struct libscols_table *table = scols_new_table();
    for (size_t i = 0; table != NULL && i < count; i++)
        scols_table_new_column(table, heads[i], 0, i == 0 ? 0 : SCOLS_FL_RIGHT);
    return table;
}

static void print_and_close(struct libscols_table *table)
{
    if (table != NULL)
        scols_print_table(table);
    scols_unref_table(table);
}

static struct libscols_line *line_new(struct libscols_table *table, const char *name)
{
    struct libscols_line *line = table == NULL ? NULL : scols_table_new_line(table, NULL);
    if (line != NULL)
        scols_line_set_data(line, 0, name);
    return line;
}

static void set(struct libscols_line *line, size_t column, const char *text)
{
    if (line != NULL)
        scols_line_set_data(line, column, text);
}

static void set_number(struct libscols_line *line, size_t column, const json_t *number)
{
    char text[32] = "";
    if (json_is_real(number))
        snprintf(text, sizeof text, "%.4f", json_real_value(number));
    else if (json_is_integer(number))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    set(line, column, text);
}

/* "0.0590 - 0.0655" */
static void set_interval(struct libscols_line *line, size_t column, const json_t *interval)
{
    char text[64] = "";
    if (json_array_size(interval) == 2)
        snprintf(text, sizeof text, "%.4f - %.4f", json_real_value(json_array_get(interval, 0)),
                 json_real_value(json_array_get(interval, 1)));
    set(line, column, text);
}

/* "+0.0105 (+0.0061 to +0.0150)" */
static void set_difference(struct libscols_line *line, size_t column, const json_t *difference)
{
    char text[64] = "";
    if (json_array_size(difference) == 3)
        snprintf(text, sizeof text, "%+.4f (%+.4f to %+.4f)", json_real_value(json_array_get(difference, 0)),
                 json_real_value(json_array_get(difference, 1)), json_real_value(json_array_get(difference, 2)));
    set(line, column, text);
}

/* ---- the parts of a report */

static void add_accuracy(struct libscols_table *table, const char *name, const json_t *metrics)
{
    static const char *const keys[] = {"hr@1", "hr@10", "ndcg@10", NULL, "hr@20", "ndcg@20", "mrr@20"};
    struct libscols_line *line = line_new(table, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i] != NULL)
            set_number(line, i + 1, json_object_get(metrics, keys[i]));
    set_interval(line, 4, json_object_get(metrics, "ndcg@10_interval"));
    set_difference(line, 8, json_object_get(metrics, "difference"));
}

static void print_accuracy(const json_t *model, const json_t *others, const char *title, const char *last)
{
    const char *const heads[] = {title, "HR@1", "HR@10", "NDCG@10", "95 %", "HR@20", "NDCG@20", "MRR@20", last};
    struct libscols_table *table = table_new(heads, others == NULL ? 8 : 9);
    const char *name;
    json_t *metrics;
    if (model != NULL)
        add_accuracy(table, "model", model);
    json_object_foreach((json_t *)others, name, metrics) add_accuracy(table, name, metrics);
    print_and_close(table);
}

static void add_lists(struct libscols_table *table, const char *name, const json_t *metrics)
{
    static const char *const keys[] = {"coverage@10", "gini@10", "novelty@10", "ild@10"};
    struct libscols_line *line = line_new(table, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set_number(line, i + 1, json_object_get(metrics, keys[i]));
}

static void print_lists(const json_t *report)
{
    static const char *const heads[] = {"lists of 10", "COVERAGE", "GINI", "NOVELTY", "DIVERSITY"};
    struct libscols_table *table = table_new(heads, sizeof heads / sizeof *heads);
    const char *name;
    json_t *metrics;
    add_lists(table, "model", json_object_get(report, "model"));
    json_object_foreach(json_object_get(report, "baselines"), name, metrics) add_lists(table, name, metrics);
    print_and_close(table);
}

static void print_slices(const json_t *report)
{
    const char *heads[2 + CONTESTANTS_MAX] = {"NDCG@10 where", "QUERIES", "model"};
    size_t count = 3;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(report, "baselines"), name, value)
    {
        if (count < sizeof heads / sizeof *heads)
            heads[count++] = name;
    }
    struct libscols_table *table = table_new(heads, count);
    json_object_foreach(json_object_get(report, "slices"), name, value)
    {
        if (json_integer_value(json_object_get(value, "count")) == 0)
            continue;
        struct libscols_line *line = line_new(table, name);
        set_number(line, 1, json_object_get(value, "count"));
        for (size_t i = 2; i < count; i++)
            set_number(line, i, json_object_get(json_object_get(value, heads[i]), "ndcg@10"));
    }
    print_and_close(table);
}

static void print_cold(const json_t *cold)
{
    static const char *const heads[] = {"cold items", "HR@10", "95 %", "MODEL LEADS BY"};
    struct libscols_table *table = table_new(heads, sizeof heads / sizeof *heads);
    const char *name;
    json_t *metrics, *model = json_object_get(cold, "model");
    printf("\n%lld items are cold%s, %lld queries ask for one\n",
           (long long)json_integer_value(json_object_get(cold, "items")),
           json_is_true(json_object_get(cold, "warm")) ? " in name only (they keep their events, as the model met them)"
                                                       : "",
           (long long)json_integer_value(json_object_get(cold, "queries")));
    struct libscols_line *line = line_new(table, "model");
    set_number(line, 1, json_object_get(model, "hr@10"));
    set_interval(line, 2, json_object_get(model, "hr@10_interval"));
    json_object_foreach(json_object_get(cold, "baselines"), name, metrics)
    {
        line = line_new(table, name);
        set_number(line, 1, json_object_get(metrics, "hr@10"));
        set_interval(line, 2, json_object_get(metrics, "hr@10_interval"));
        set_difference(line, 3, json_object_get(metrics, "hr@10_difference"));
    }
    if (model != NULL)
        scols_print_table(table);
    scols_unref_table(table);
}

static void print_served(const json_t *served)
{
    printf("\nas served: HR@10 %.4f, NDCG@10 %.4f; ", json_real_value(json_object_get(served, "hr@10")),
           json_real_value(json_object_get(served, "ndcg@10")));
    double narrowed = json_real_value(json_object_get(served, "narrowed"));
    if (narrowed > 0)
        printf("in %.1f %% of the queries only candidates are scored; they have %.1f %% of the ten best items\n",
               narrowed * 100, json_real_value(json_object_get(served, "recall@10")) * 100);
    else
        puts("the shop is small enough for every item to be scored");
}

void train_report_print(const json_t *report)
{
    const json_t *ablations = json_object_get(report, "ablations"), *warnings = json_object_get(report, "warnings");
    print_accuracy(json_object_get(report, "model"), json_object_get(report, "baselines"), "", "MODEL LEADS BY");
    putchar('\n');
    print_lists(report);
    if (json_object_size(ablations) > 0) {
        putchar('\n');
        print_accuracy(NULL, ablations, "model without", "MODEL LEADS BY");
    }
    putchar('\n');
    print_slices(report);
    if (json_object_get(report, "cold") != NULL)
        print_cold(json_object_get(report, "cold"));
    if (json_object_get(report, "served") != NULL)
        print_served(json_object_get(report, "served"));
    printf("\n%s events of %lld users (%lld, %s), %lld items ranked in full, seen items %s; now is the target's time;\n"
           "model %s; intervals hold 95 %% of 2,000 resamples of the users\n",
           json_string_value(json_object_get(report, "target")),
           (long long)json_integer_value(json_object_get(report, "users")),
           (long long)json_integer_value(json_object_get(report, "queries")),
           json_string_value(json_object_get(report, "holdout")),
           (long long)json_integer_value(json_object_get(report, "items")),
           json_is_true(json_object_get(report, "mask_seen")) ? "masked" : "not masked",
           json_string_value(json_object_get(report, "model_version")));
    for (size_t i = 0; i < json_array_size(warnings); i++)
        printf("warning: %s\n", json_string_value(json_array_get(warnings, i)));
}
