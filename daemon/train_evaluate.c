/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_evaluate.h"

#include "daemon/program.h"
#include "daemon/refit.h"
#include "daemon/timestamp.h"
#include "daemon/train_data.h"
#include "models/default_model.h"
#include "models/recommender.h"

#include <getopt.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME          "recsys-train"
#define ARENA_BYTES   ((size_t)512 << 20)
#define THREADS_MAX   64
#define OVERRIDES_MAX 256

static const char usage[] =
    "usage: recsys-train evaluate --data-dir DIR --model default --holdout leave-one-out [--mask-seen] [-o "
    "table|json]\n"
    "\n"
    "  -d, --data-dir DIR       the shop; the daemon may be running\n"
    "  -c, --config FILE        settings (behaviours and their weights)\n"
    "  -m, --model default      what to evaluate: the default model, fitted on this shop\n"
    "      --holdout KIND       leave-one-out: each user's last event is the test\n"
    "      --target WHICH       test, or validation: the event before the last\n"
    "      --mask-seen          items of the history do not compete, except the target\n"
    "      --set NAME[I]=VALUE  override one number of the model by its tensor's name, as head.cooccurrence=1.2\n"
    "      --model-only         leave the baselines out\n"
    "  -t, --threads N          default: one per core\n"
    "  -o, --output FORMAT      table or json\n"
    "\n"
    "Full ranking of every item; ties count half; statistics from each user's events but the last two; the target's "
    "time is taken as now.\n";

struct override {
    char name[96];
    size_t index;
    float value;
};

struct evaluate {
    const char *data_dir, *config_file;
    enum evaluation_target target;
    bool mask_seen, json, model_only;
    size_t threads;
    struct override overrides[OVERRIDES_MAX];
    size_t override_count;
    struct train_data data;
    struct evaluation_data view;
    struct counts_view *counts;
    struct model *model;
    struct encoder_rows rows;
    uint32_t *item_ids; /* (item_count): the row itself: counts are by row here */
    struct arena arena[THREADS_MAX];
    struct cooccurrence cooccurrence[THREADS_MAX];
    float part_weight[RECOMMENDER_PARTS_MAX];
};

/* ---- the model as a scorer */

static struct recommender_event *events_of(struct evaluate *e, const struct evaluation_query *query,
                                           struct arena *arena, size_t *count)
{
    size_t most = (size_t)e->model->architecture.history;
    const struct evaluation_event *from = query->history + (query->length > most ? query->length - most : 0);
    *count = query->length > most ? most : query->length;
    struct recommender_event *events = arena_alloc(arena, (*count + 1) * sizeof *events);
    for (size_t i = 0; events != NULL && i < *count; i++)
        events[i] =
            (struct recommender_event){.item_id = from[i].item,
                                       .ts_ms = from[i].ts_ms,
                                       .behaviour = architecture_behaviour(
                                           &e->model->architecture, e->data.engine.behaviours[from[i].behaviour].name),
                                       .weight = from[i].weight,
                                       .rows = &e->rows,
                                       .row = from[i].item};
    return events;
}

static bool score_all(struct evaluate *e, size_t thread, const struct recommender_user *user,
                      const struct evaluation_query *query, float *score)
{
    struct recommender_context context = {e->counts, &e->cooccurrence[thread], query->now_ms, e->part_weight};
    for (size_t first = 0; first < e->view.item_count; first += RECOMMENDER_BLOCK) {
        size_t left = e->view.item_count - first;
        struct recommender_block block = {&e->rows, first, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK,
                                          e->item_ids + first};
        recommender_score(user, &context, &block, score + first, NULL);
    }
    return true;
}

static bool score_model(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    struct evaluate *e = context;
    struct arena *arena = &e->arena[thread];
    struct arena_mark mark = arena_mark(arena);
    const struct weights *w = &e->model->weights;
    struct recommender_user user;
    size_t count;
    struct recommender_event *events = events_of(e, query, arena, &count);
    struct cooccurrence_event *newest_first = arena_alloc(arena, (count + 1) * sizeof *newest_first);
    bool ok = events != NULL && newest_first != NULL;
    for (size_t i = 0; ok && i < count; i++)
        newest_first[i] = (struct cooccurrence_event){events[count - 1 - i].item_id,
                                                      recommender_value(e->model, &events[count - 1 - i])};
    ok = ok &&
         cooccurrence_compute(&e->cooccurrence[thread], e->counts, newest_first, count, *w->cooccurrence, *w->epsilon,
                              *w->decay) &&
         recommender_prepare(&user, e->model, events, count, query->now_ms, arena) &&
         score_all(e, thread, &user, query, score);
    arena_rewind(arena, mark);
    return ok;
}

static bool override_numbers(struct evaluate *e, struct status *st)
{
    for (size_t i = 0; i < e->override_count; i++) {
        const struct override *o = &e->overrides[i];
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

static bool prepare_model(struct evaluate *e, struct status *st)
{
    e->model = refit(&e->data.engine, st);
    if (e->model == NULL || !override_numbers(e, st))
        return false;
    const struct architecture *a = &e->model->architecture;
    size_t count = e->view.item_count;
    struct encoder_item *inputs = calloc(count + 1, sizeof *inputs);
    e->item_ids = malloc((count + 1) * sizeof *e->item_ids);
    bool ok = inputs != NULL && e->item_ids != NULL && encoder_rows_init(&e->rows, a, count > 0 ? count : 1);
    struct store_space space;
    for (size_t i = 0; ok && i < count; i++) {
        e->item_ids[i] = (uint32_t)i;
        inputs[i].name = e->data.items[i]->item.name;
        for (int v = 0; v < a->view_count; v++) {
            const struct catalog_feature *feature =
                catalog_find_space(e->data.catalog, a->views[v].modality, a->views[v].encoder, &space)
                    ? catalog_item_feature(e->data.items[i], space.space_id)
                    : NULL;
            inputs[i].vector[v] = feature == NULL ? NULL : feature->values;
        }
    }
    for (size_t t = 0; t < e->threads; t++)
        arena_init(&e->arena[t], ARENA_BYTES);
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        e->part_weight[i] = 1;
    ok = ok && encoder_encode(e->model, inputs, count, &e->rows, 0, &e->arena[0]);
    free(inputs);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to encode the items");
}

/* ---- results */

static json_t *metrics_json(const struct evaluation_result *result)
{
    json_t *json = json_object();
    static const int ks[] = {1, 5, 10, 20};
    char key[16];
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        snprintf(key, sizeof key, "hr@%d", ks[i]);
        json_object_set_new(json, key, json_real(evaluation_hit_rate(result, ks[i])));
        snprintf(key, sizeof key, "ndcg@%d", ks[i]);
        json_object_set_new(json, key, json_real(evaluation_ndcg(result, ks[i])));
        snprintf(key, sizeof key, "mrr@%d", ks[i]);
        json_object_set_new(json, key, json_real(evaluation_mrr(result, ks[i])));
    }
    return json;
}

static json_t *run(struct evaluate *e, evaluation_scorer *scorer, void *context)
{
    struct evaluation_result result;
    if (!evaluation_run(&e->view, e->target, e->mask_seen, e->threads, scorer, context, &result))
        return NULL;
    json_t *json = metrics_json(&result);
    evaluation_result_close(&result);
    return json;
}

static json_t *run_content(struct evaluate *e, const char *modality)
{
    struct baseline_content content = {.item_count = e->view.item_count};
    float *rows = train_data_vectors(&e->data, modality, &content.dimension);
    if (rows == NULL)
        return NULL;
    baseline_content_prepare(rows, content.item_count, content.dimension);
    content.rows = rows;
    json_t *json = run(e, baseline_content, &content);
    free(rows);
    return json;
}

static json_t *run_baselines(struct evaluate *e)
{
    struct baseline_counts counts = {e->counts, e->view.item_count};
    json_t *baselines = json_object();
    json_object_set_new(baselines, "popularity", run(e, baseline_popularity, &counts));
    json_object_set_new(baselines, "markov", run(e, baseline_markov, &counts));
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(e->data.catalog, spaces);
    for (size_t i = 0; i < count; i++) {
        char key[80];
        snprintf(key, sizeof key, "content-%s", spaces[i].space.modality);
        if (json_object_get(baselines, key) == NULL)
            json_object_set_new(baselines, key, run_content(e, spaces[i].space.modality));
    }
    return baselines;
}

static json_t *evaluate_all(struct evaluate *e, struct status *st)
{
    e->view = train_data_view(&e->data);
    e->counts = evaluation_counts(&e->view);
    if (e->counts == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for counts");
        return NULL;
    }
    if (!prepare_model(e, st))
        return NULL;
    int64_t begin_us = timestamp_monotonic_us();
    json_t *model = run(e, score_model, e);
    json_t *report = json_object();
    if (model == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to score");
        json_decref(report);
        return NULL;
    }
    json_object_set_new(report, "model", model);
    json_object_set_new(report, "seconds", json_real((double)(timestamp_monotonic_us() - begin_us) / 1e6));
    if (!e->model_only)
        json_object_set_new(report, "baselines", run_baselines(e));
    json_object_set_new(report, "users", json_integer((json_int_t)e->view.user_count));
    json_object_set_new(report, "items", json_integer((json_int_t)e->view.item_count));
    json_object_set_new(report, "events", json_integer((json_int_t)e->data.event_count));
    json_object_set_new(report, "holdout", json_string("leave-one-out"));
    json_object_set_new(report, "target", json_string(e->target == EVALUATION_TEST ? "test" : "validation"));
    json_object_set_new(report, "mask_seen", json_boolean(e->mask_seen));
    json_object_set_new(report, "now", json_string("the target's time"));
    json_object_set_new(report, "fitted_on", json_deep_copy(json_object_get(e->model->training, "signature")));
    return report;
}

static void add_row(struct libscols_table *table, const char *name, const json_t *metrics)
{
    static const char *const keys[] = {"hr@1", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr@20"};
    struct libscols_line *line = scols_table_new_line(table, NULL);
    scols_line_set_data(line, 0, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[16];
        snprintf(text, sizeof text, "%.4f", json_real_value(json_object_get(metrics, keys[i])));
        scols_line_set_data(line, i + 1, text);
    }
}

static void print_table(const json_t *report)
{
    static const char *const heads[] = {"", "HR@1", "HR@10", "NDCG@10", "HR@20", "NDCG@20", "MRR@20"};
    scols_init_debug(0);
    struct libscols_table *table = scols_new_table();
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        scols_table_new_column(table, heads[i], 0, i == 0 ? 0 : SCOLS_FL_RIGHT);
    add_row(table, "model", json_object_get(report, "model"));
    const char *name;
    json_t *metrics;
    json_object_foreach(json_object_get(report, "baselines"), name, metrics) add_row(table, name, metrics);
    scols_print_table(table);
    scols_unref_table(table);
    printf("%s events of %lld users, %lld items ranked in full, seen items %s; now is the target's time\n",
           json_string_value(json_object_get(report, "target")),
           (long long)json_integer_value(json_object_get(report, "users")),
           (long long)json_integer_value(json_object_get(report, "items")),
           json_is_true(json_object_get(report, "mask_seen")) ? "masked" : "not masked");
}

/* ---- command line */

static bool parse_override(struct evaluate *e, char *text)
{
    char *equals = strchr(text, '='), *bracket = strchr(text, '['), *end;
    if (equals == NULL || e->override_count == OVERRIDES_MAX)
        return false;
    struct override *o = &e->overrides[e->override_count];
    size_t length = (size_t)((bracket != NULL && bracket < equals ? bracket : equals) - text);
    o->value = strtof(equals + 1, &end);
    if (length >= sizeof o->name || *end != '\0' || end == equals + 1 || !isfinite(o->value))
        return false;
    memcpy(o->name, text, length);
    o->index = bracket != NULL && bracket < equals ? strtoul(bracket + 1, NULL, 10) : 0;
    e->override_count++;
    return true;
}

/* 0: go on; otherwise exit with that code - 1 */
static int parse(struct evaluate *e, int argc, char **argv)
{
    enum { HOLDOUT = 256, TARGET, MASK_SEEN, SET, MODEL_ONLY };
    static const struct option table[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"holdout", required_argument, NULL, HOLDOUT},
                                          {"target", required_argument, NULL, TARGET},
                                          {"mask-seen", no_argument, NULL, MASK_SEEN},
                                          {"set", required_argument, NULL, SET},
                                          {"model-only", no_argument, NULL, MODEL_ONLY},
                                          {"threads", required_argument, NULL, 't'},
                                          {"output", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int64_t number = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "d:c:m:t:o:h", table, NULL)) != -1;) {
        bool ok = true;
        switch (option) {
        case 'd':
            e->data_dir = optarg;
            break;
        case 'c':
            e->config_file = optarg;
            break;
        case 'm':
            ok = strcmp(optarg, "default") == 0;
            break;
        case HOLDOUT:
            ok = strcmp(optarg, "leave-one-out") == 0;
            break;
        case TARGET:
            ok = strcmp(optarg, "test") == 0 || strcmp(optarg, "validation") == 0;
            e->target = optarg[0] == 't' ? EVALUATION_TEST : EVALUATION_VALIDATION;
            break;
        case MASK_SEEN:
            e->mask_seen = true;
            break;
        case SET:
            ok = parse_override(e, optarg);
            break;
        case MODEL_ONLY:
            e->model_only = true;
            break;
        case 't':
            ok = program_number(optarg, 1, THREADS_MAX, &number);
            e->threads = (size_t)number;
            break;
        case 'o':
            ok = strcmp(optarg, "json") == 0 || strcmp(optarg, "table") == 0;
            e->json = optarg[0] == 'j';
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            return 1 + program_usage_error(NAME, "unknown option or missing value:", argv[optind - 1]);
        }
        if (!ok)
            return 1 + program_usage_error(NAME, "cannot take", optarg);
    }
    return optind < argc ? 1 + program_usage_error(NAME, "unexpected argument", argv[optind]) : 0;
}

static void close_all(struct evaluate *e)
{
    for (size_t t = 0; t < THREADS_MAX; t++) {
        arena_close(&e->arena[t]);
        cooccurrence_close(&e->cooccurrence[t]);
    }
    encoder_rows_close(&e->rows);
    free(e->item_ids);
    model_release(e->model);
    counts_view_release(e->counts);
    train_data_close(&e->data);
    free(e);
}

int train_evaluate(int argc, char **argv)
{
    struct status st = STATUS_INIT;
    struct evaluate *e = calloc(1, sizeof *e);
    if (e == NULL)
        return 71;
    e->threads = program_cores() < THREADS_MAX ? program_cores() : THREADS_MAX;
    int code = parse(e, argc, argv);
    json_t *report = NULL;
    if (code == 0) {
        if (program_init(&st) && train_data_load(&e->data, e->config_file, e->data_dir, &st))
            report = evaluate_all(e, &st);
        if (report == NULL)
            code = 1 + program_fail(NAME, &st);
        else if (e->json)
            json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        else
            print_table(report);
        if (report != NULL && e->json)
            putchar('\n');
    }
    json_decref(report);
    close_all(e);
    return code == 0 ? 0 : code - 1;
}
