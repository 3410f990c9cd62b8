/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_report.h"

#include "daemon/timestamp.h"
#include "models/bootstrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LENGTH 10

/* ---- some of the queries */

struct part {
    struct evaluation_result result, model; /* model.rank NULL: there is none to compare with */
    uint32_t *user;
};

static void part_close(struct part *part)
{
    evaluation_result_close(&part->result);
    evaluation_result_close(&part->model);
    free(part->user);
}

/* the ranks of the chosen queries, with their lists where there are any */
static bool choose(const struct evaluation_result *from, const bool *chosen, bool lists, struct evaluation_result *out)
{
    out->rank = malloc((from->count + 1) * sizeof *out->rank);
    out->list = lists ? malloc((from->count * EVALUATION_LIST + 1) * sizeof *out->list) : NULL;
    if (out->rank == NULL || (lists && out->list == NULL))
        return false;
    for (size_t q = 0; q < from->count; q++) {
        if (chosen != NULL && !chosen[q])
            continue;
        out->rank[out->count] = from->rank[q];
        if (lists)
            memcpy(out->list + out->count * EVALUATION_LIST, from->list + q * EVALUATION_LIST,
                   EVALUATION_LIST * sizeof *out->list);
        out->count++;
    }
    return true;
}

static bool part_init(struct part *part, const struct contest *contest, const struct evaluation_result *result,
                      const struct evaluation_result *model, const bool *chosen)
{
    *part = (struct part){.user = malloc((result->count + 1) * sizeof *part->user)};
    bool ok = part->user != NULL && choose(result, chosen, true, &part->result) &&
              (model == NULL || choose(model, chosen, false, &part->model));
    size_t kept = 0;
    for (size_t q = 0; ok && q < result->count; q++)
        if (chosen == NULL || chosen[q])
            part->user[kept++] = contest->user[q];
    if (!ok)
        part_close(part);
    return ok;
}

/* ---- metrics */

static void add_means(json_t *json, const struct evaluation_result *result)
{
    static const int ks[] = {1, 5, 10, 20};
    static const struct {
        enum evaluation_metric metric;
        const char *name;
    } metrics[] = {{EVALUATION_HIT_RATE, "hr"}, {EVALUATION_NDCG, "ndcg"}, {EVALUATION_MRR, "mrr"}};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++) {
            char key[16];
            snprintf(key, sizeof key, "%s@%d", metrics[m].name, ks[i]);
            json_object_set_new(json, key, json_real(evaluation_mean(result, metrics[m].metric, ks[i])));
        }
}

static bool add_lists(json_t *json, const struct contest *contest, const struct evaluation_result *result)
{
    struct evaluation_lists lists;
    if (!evaluation_lists_compute(result, LIST_LENGTH, &contest->items, &lists))
        return false;
    json_object_set_new(json, "coverage@10", json_real(lists.coverage));
    json_object_set_new(json, "gini@10", json_real(lists.gini));
    json_object_set_new(json, "novelty@10", json_real(lists.novelty));
    json_object_set_new(json, "ild@10", json_real(lists.diversity));
    return true;
}

static double *gains(const struct evaluation_result *result, enum evaluation_metric metric)
{
    double *value = malloc((result->count + 1) * sizeof *value);
    for (size_t q = 0; value != NULL && q < result->count; q++)
        value[q] = evaluation_gain(metric, result->rank[q], 10);
    return value;
}

static bool add_intervals(json_t *json, const struct part *part, enum evaluation_metric metric, const char *key,
                          const char *difference_key)
{
    struct bootstrap_interval interval;
    size_t count = part->result.count;
    double *own = gains(&part->result, metric), *model = part->model.rank == NULL ? NULL : gains(&part->model, metric);
    bool ok = own != NULL && bootstrap_mean(own, part->user, count, &interval);
    if (ok)
        json_object_set_new(json, key, json_pack("[f,f]", interval.low, interval.high));
    if (ok && part->model.rank != NULL) {
        ok = model != NULL && bootstrap_difference(model, own, part->user, count, &interval);
        if (ok)
            json_object_set_new(json, difference_key, json_pack("[f,f,f]", interval.mean, interval.low, interval.high));
    }
    free(own);
    free(model);
    return ok;
}

json_t *train_report_metrics(const struct contest *contest, const struct evaluation_result *result,
                             const struct evaluation_result *model, const bool *chosen)
{
    struct part part;
    if (!part_init(&part, contest, result, model, chosen))
        return NULL;
    json_t *json = json_object();
    add_means(json, &part.result);
    bool ok = add_lists(json, contest, &part.result) &&
              add_intervals(json, &part, EVALUATION_NDCG, "ndcg@10_interval", "difference") &&
              add_intervals(json, &part, EVALUATION_HIT_RATE, "hr@10_interval", "hr@10_difference");
    part_close(&part);
    if (!ok) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* "model" and "baselines" over the chosen queries */
static bool add_contestants(json_t *json, const struct contest *contest, const bool *chosen)
{
    json_t *baselines = json_object();
    bool ok = true;
    for (size_t c = 0; ok && c < contest->contestant_count; c++) {
        const struct contestant *one = &contest->contestant[c];
        const struct evaluation_result *model = c == 0 ? NULL : &contest->contestant[0].result;
        json_t *metrics = train_report_metrics(contest, &one->result, model, chosen);
        ok = metrics != NULL;
        if (ok && c == 0)
            json_object_set_new(json, "model", metrics);
        else if (ok)
            json_object_set_new(baselines, one->name, metrics);
    }
    if (contest->contestant_count > 1)
        json_object_set(json, "baselines", baselines);
    json_decref(baselines);
    return ok;
}

/* ---- slices */

struct slice {
    char name[96];
    enum { BY_ITEM_COUNT, BY_HISTORY, BY_MISSING } by;
    uint32_t least, most;
    const bool *present;
};

static bool belongs(const struct slice *slice, const struct contest *contest, size_t query)
{
    uint32_t number = slice->by == BY_ITEM_COUNT ? counts_popularity(contest->counts, contest->target[query])
                                                 : contest->queries[query].at;
    if (slice->by == BY_MISSING)
        return !slice->present[contest->target[query]];
    return number >= slice->least && number <= slice->most;
}

static json_t *slice_json(const struct slice *slice, const struct contest *contest, float *rank)
{
    json_t *json = json_object();
    for (size_t c = 0; c < contest->contestant_count; c++) {
        const struct contestant *one = &contest->contestant[c];
        struct evaluation_result part = {.rank = rank};
        for (size_t q = 0; q < contest->query_count; q++)
            if (belongs(slice, contest, q))
                rank[part.count++] = one->result.rank[q];
        if (c == 0)
            json_object_set_new(json, "count", json_integer((json_int_t)part.count));
        if (part.count > 0)
            json_object_set_new(json, one->name,
                                json_pack("{s:f, s:f}", "hr@10", evaluation_hit_rate(&part, 10), "ndcg@10",
                                          evaluation_ndcg(&part, 10)));
    }
    return json;
}

static json_t *slices_json(const struct contest *contest)
{
    struct slice slices[8 + EVALUATION_MODALITIES_MAX] = {
        {"items 0", BY_ITEM_COUNT, 0, 0, NULL},     {"items 1-5", BY_ITEM_COUNT, 1, 5, NULL},
        {"items 6-20", BY_ITEM_COUNT, 6, 20, NULL}, {"items 21+", BY_ITEM_COUNT, 21, UINT32_MAX, NULL},
        {"history 0", BY_HISTORY, 0, 0, NULL},      {"history 1-5", BY_HISTORY, 1, 5, NULL},
        {"history 6-20", BY_HISTORY, 6, 20, NULL},  {"history 21+", BY_HISTORY, 21, UINT32_MAX, NULL}};
    size_t count = 8;
    for (size_t m = 0; m < contest->modality_count; m++, count++) {
        snprintf(slices[count].name, sizeof slices[count].name, "target lacks %s", contest->modality[m].name);
        slices[count].by = BY_MISSING;
        slices[count].present = contest->modality[m].present;
    }
    float *rank = malloc((contest->query_count + 1) * sizeof *rank);
    json_t *json = rank == NULL ? NULL : json_object();
    for (size_t s = 0; json != NULL && s < count; s++)
        json_object_set_new(json, slices[s].name, slice_json(&slices[s], contest, rank));
    free(rank);
    return json;
}

/* ---- cold items */

static json_t *cold_json(const struct contest *contest)
{
    bool *chosen = calloc(contest->query_count + 1, sizeof *chosen);
    json_t *json = chosen == NULL ? NULL : json_object();
    size_t queries = 0, items = 0;
    for (size_t i = 0; i < contest->view.item_count; i++)
        items += contest->is_cold[i];
    for (size_t q = 0; chosen != NULL && q < contest->query_count; q++) {
        chosen[q] = contest->is_cold[contest->target[q]];
        queries += chosen[q];
    }
    if (json != NULL) {
        json_object_set_new(json, "share", json_real(contest->options.cold_share));
        json_object_set_new(json, "warm", json_boolean(contest->options.warm));
        json_object_set_new(json, "items", json_integer((json_int_t)items));
        json_object_set_new(json, "queries", json_integer((json_int_t)queries));
        if (queries > 0 && !add_contestants(json, contest, chosen)) {
            json_decref(json);
            json = NULL;
        }
    }
    free(chosen);
    return json;
}

/* ---- everything */

static void add_facts(json_t *json, const struct contest *contest)
{
    const struct contest_options *o = &contest->options;
    json_object_set_new(json, "users", json_integer((json_int_t)contest->user_count));
    json_object_set_new(json, "queries", json_integer((json_int_t)contest->query_count));
    json_object_set_new(json, "items", json_integer((json_int_t)contest->view.item_count));
    json_object_set_new(json, "events", json_integer((json_int_t)contest->data->event_count));
    json_object_set_new(json, "log_position", json_integer((json_int_t)contest->data->position));
    json_object_set_new(json, "training_events", json_integer((json_int_t)contest->holdout.training_count));
    json_object_set_new(json, "holdout", json_string(holdout_name(contest->holdout.kind)));
    json_object_set_new(json, "target", json_string(o->validation ? "validation" : "test"));
    json_object_set_new(json, "mask_seen", json_boolean(o->mask_seen));
    json_object_set_new(json, "now", json_string("the target's time"));
    if (contest->holdout.kind == HOLDOUT_TIME) {
        char from[32];
        timestamp_format(contest->holdout.cut_ms[0], from);
        json_object_set_new(json, "validation_from", json_string(from));
        timestamp_format(contest->holdout.cut_ms[1], from);
        json_object_set_new(json, "test_from", json_string(from));
    }
}

json_t *train_report(const struct contest *contest)
{
    json_t *json = json_object(), *cold = NULL;
    bool ok = json != NULL && add_contestants(json, contest, NULL);
    if (ok)
        json_object_set_new(json, "seconds", json_real(contest->contestant[0].seconds));
    json_t *slices = ok ? slices_json(contest) : NULL;
    ok = slices != NULL;
    if (ok)
        json_object_set_new(json, "slices", slices);
    if (ok && contest->is_cold != NULL) {
        cold = cold_json(contest);
        ok = cold != NULL;
        if (ok)
            json_object_set_new(json, "cold", cold);
    }
    if (!ok) {
        json_decref(json);
        return NULL;
    }
    add_facts(json, contest);
    return json;
}
