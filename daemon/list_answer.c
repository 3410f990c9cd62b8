/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_answer.h"

#include "daemon/list_reply.h"
#include "daemon/list_trial.h"
#include "daemon/messages.h"
#include "daemon/metrics.h"
#include "daemon/scenarios.h"
#include "daemon/timestamp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_DEFAULT     10
#define EVENTS_MOST   1000 /* of a session */
#define EXAMPLES_MOST 100
#define FIELDS_MOST   16
#define NAMES_MOST    256
#define WITHOUT_MOST  1000
#define SEEN_AS       "view" /* what a current item counts as */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static bool check_ids(const struct config *config, char **ids, size_t count, const char *list, int64_t most,
                      struct status *st)
{
    if (count > (size_t)most)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", list, "'%s' has %zu ids, %lld are allowed",
                                 list, count, (long long)most);
    for (size_t i = 0; i < count; i++)
        if (!check_id(config, ids[i], field_at(list, i, "").text, st))
            return false;
    return true;
}

static bool read_weights(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    struct engine_weight *weights = handler_alloc(handler, (f->n_weights + 1) * sizeof *weights);
    if (weights == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < f->n_weights; i++) {
        double value = f->weights[i]->value;
        if (!isfinite(value) || value < 0 || value > 100)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "weights",
                                     "the weight of '%s' is not from 0 to 100", f->weights[i]->key);
        weights[i] = (struct engine_weight){f->weights[i]->key, value};
    }
    out->weights = weights;
    out->weight_count = f->n_weights;
    return true;
}

static bool check_fields(const struct list_fields *f, struct status *st)
{
    if (f->n_fields > FIELDS_MOST || f->n_weights > NAMES_MOST || f->n_modalities > NAMES_MOST ||
        (f->seen != NULL && f->seen->n_behaviours > NAMES_MOST))
        return status_fail_field(
            st, STATUS_INVALID_ARGUMENT, "TOO_MANY", f->n_fields > FIELDS_MOST ? "fields" : "weights",
            "'fields' has more than %d names, or weights, modalities or seen.behaviours more than %d", FIELDS_MOST,
            NAMES_MOST);
    static const char *const known[] = {"title", "categories", "price", "available", "attributes"};
    for (size_t i = 0; i < f->n_fields; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || strcmp(known[k], f->fields[i]) == 0;
        if (!found)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", "fields",
                                     "'%s' is not one of title, categories, price, available, attributes",
                                     f->fields[i]);
    }
    return true;
}

/* filters, boosts, promotions, caps, knobs */
static bool read_rules(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                       struct status *st)
{
    const struct config *config = &handler->server->config;
    struct rules *rules = handler_alloc(handler, sizeof *rules);
    if (rules == NULL)
        return out_of_memory(st);
    if (!list_fields_rules(f, &handler->worker.arena, rules, st))
        return false;
    if (rules->pool > (size_t)config->limits_ranked)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "pool", "'pool' is %zu, %lld are allowed",
                                 rules->pool, (long long)config->limits_ranked);
    out->rules = rules;
    return true;
}

/* what a session did, and what is looked at now */
static bool read_session(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    const struct config *config = &handler->server->config;
    struct engine_event *events = handler_alloc(handler, (f->n_events + 1) * sizeof *events);
    if (events == NULL)
        return out_of_memory(st);
    if (f->n_events > EVENTS_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "events", "'events' has %zu, %d are allowed",
                                 f->n_events, EVENTS_MOST);
    for (size_t i = 0; i < f->n_events; i++) {
        const Recsys__Event *from = f->events[i];
        events[i] = (struct engine_event){from->item, from->behaviour[0] == '\0' ? SEEN_AS : from->behaviour, 0};
        if (!check_id(config, from->item, field_at("events", i, "item").text, st) ||
            !check_time(config, from->ts, field_at("events", i, "ts").text, out->now_ms, out->now_ms, &events[i].ts_ms,
                        st))
            return false;
        if (from->user[0] != '\0')
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", field_at("events", i, "user").text,
                                     "events of a request are its user's: leave 'user' in them empty");
    }
    out->events = events;
    out->event_count = f->n_events;
    out->current = (const char *const *)f->current;
    out->current_count = f->n_current;
    return check_ids(config, f->current, f->n_current, "current", EVENTS_MOST, st);
}

static bool read_example(const struct config *config, const Recsys__Example *from, float sign, const char *field,
                         struct engine_example *out, struct status *st)
{
    double weight = from->_weight_case != 0 ? from->weight : 1;
    *out = (struct engine_example){.item = from->item,
                                   .modalities = (const char *const *)from->modalities,
                                   .modality_count = from->n_modalities,
                                   .weight = sign * (float)weight,
                                   .values = from->values,
                                   .dimension = from->n_values,
                                   .encoder = from->encoder};
    snprintf(out->field, sizeof out->field, "%s", field);
    if (!(weight > 0 && weight <= 100))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", field,
                                 "the weight of an example is not above 0 and at most 100");
    if ((from->item[0] != '\0') == (from->n_values > 0))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", field,
                                 "an example is an item or has values, one of the two");
    if (from->n_values > 0 && from->n_modalities != 1)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", field,
                                 "an example with values names the one modality that they are of");
    return from->item[0] == '\0' || check_id(config, from->item, field, st);
}

static bool read_examples(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                          struct status *st)
{
    const struct config *config = &handler->server->config;
    size_t count = f->n_like + f->n_unlike;
    struct engine_example *examples = handler_alloc(handler, (count + 1) * sizeof *examples);
    if (examples == NULL)
        return out_of_memory(st);
    if (count > EXAMPLES_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "like",
                                 "'like' and 'unlike' have %zu examples, %d are allowed", count, EXAMPLES_MOST);
    for (size_t i = 0; i < count; i++) {
        bool like = i < f->n_like;
        size_t at = like ? i : i - f->n_like;
        if (!read_example(config, like ? f->like[at] : f->unlike[at], like ? 1 : -1,
                          field_at(like ? "like" : "unlike", at, "").text, &examples[i], st))
            return false;
    }
    out->examples = examples;
    out->example_count = count;
    return true;
}

static bool read_top(const char *by, enum engine_top *top, struct status *st)
{
    static const char *const names[] = {"popular", "trending", "newest"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(by, names[i]) == 0) {
            *top = (enum engine_top)i;
            return true;
        }
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "by",
                             "'by' is '%.64s', not popular, trending or newest", by);
}

static bool read_exclude(struct handler *handler, const struct list_fields *f, const char *const *also, size_t count,
                         struct engine_request *out, struct status *st)
{
    const char **exclude = handler_alloc(handler, (f->n_exclude + count + 1) * sizeof *exclude);
    if (exclude == NULL)
        return out_of_memory(st);
    for (size_t i = 0; i < f->n_exclude; i++)
        exclude[i] = f->exclude[i];
    for (size_t i = 0; i < count; i++)
        exclude[f->n_exclude + i] = also[i];
    out->exclude = exclude;
    out->exclude_count = f->n_exclude + count;
    return true;
}

static int by_position(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* what is to be told about the list, and of which events it is not to know */
static bool read_explain(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    int64_t *without = handler_alloc(handler, (f->n_without + 1) * sizeof *without);
    if (without == NULL)
        return out_of_memory(st);
    if (!list_fields_explain(f, &out->explain, st))
        return false;
    if (f->n_without > WITHOUT_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "without",
                                 "'without' has %zu events, %d are allowed", f->n_without, WITHOUT_MOST);
    for (size_t i = 0; i < f->n_without; i++)
        if (!check_position(f->without[i], field_at("without", i, "").text, 0, &without[i], st))
            return false;
    if (messages_find(handler->server->messages, f->language) == NULL)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_LANGUAGE", "language",
                                 "there are no messages in '%.32s'", f->language);
    qsort(without, f->n_without, sizeof *without, by_position); /* looked up for every event */
    out->without = without;
    out->without_count = f->n_without;
    out->funnel = f->funnel;
    out->trace = f->trace;
    if (f->trace != NULL)
        out->explain = EXPLAIN_FULL;
    return true;
}

/* a time of the past fixes everything else that could be fixed */
static bool read_as_of(const struct list_fields *f, int64_t now_ms, struct engine_request *out, struct status *st)
{
    if (f->as_of[0] == '\0')
        return true;
    if (f->now[0] != '\0' || out->model != NULL || out->counts != NULL || out->catalogue != NULL ||
        out->at_position != INT64_MAX || out->min_position != 0)
        return status_fail_field(
            st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "as_of",
            "with 'as_of' there is no now, model, counts, catalogue, at_seq or min_seq: it fixes them");
    if (!timestamp_parse(f->as_of, "as_of", &out->as_of_ms, st))
        return false;
    if (out->as_of_ms > now_ms || out->as_of_ms <= 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "as_of", "'as_of' is not in the past");
    out->now_ms = out->as_of_ms;
    out->deadline_us = 0; /* what was is to be shown, however long it takes to find */
    return true;
}

/* how many, by when, of which versions */
static bool read_frame(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                       struct status *st)
{
    const struct config *config = &handler->server->config;
    bool rank = out->task == ENGINE_RANK;
    int64_t now_ms = timestamp_now_ms(), most = rank ? config->limits_ranked : config->limits_list;
    out->exclude_seen = f->exclude_seen.given ? f->exclude_seen.value != 0 : out->task == ENGINE_RECOMMEND;
    out->model = or_null(f->model);
    out->counts = or_null(f->counts);
    out->catalogue = or_null(f->catalogue);
    if (f->deadline_ms.given && !(f->deadline_ms.value > 0 && f->deadline_ms.value <= 600000))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "deadline_ms",
                                 "'deadline_ms' is not above 0 and at most 600000");
    if (f->deadline_ms.given)
        out->deadline_us = timestamp_monotonic_us() + (int64_t)(f->deadline_ms.value * 1000);
    return check_n(f->n.given, (int32_t)f->n.value, rank ? 0 : N_DEFAULT, most, &out->n, st) &&
           check_position(f->min_seq, "min_seq", 0, &out->min_position, st) &&
           check_position(f->at_seq, "at_seq", INT64_MAX, &out->at_position, st) &&
           check_time(config, f->now, "now_ms", now_ms, now_ms, &out->now_ms, st) && read_as_of(f, now_ms, out, st);
}

static bool read_request(struct handler *handler, const struct list_fields *f, struct engine_request *out,
                         struct status *st)
{
    const struct config *config = &handler->server->config;
    int64_t most = out->task == ENGINE_RANK ? config->limits_ranked : config->limits_list;
    bool of_items = out->task == ENGINE_RANK || out->task == ENGINE_SIMILAR || out->task == ENGINE_COMPLEMENT;
    if (f->user[0] != '\0' && !check_id(config, f->user, "user", st))
        return false;
    if (of_items && f->n_items + f->n_like == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "items", "'items' is missing");
    if (!read_frame(handler, f, out, st) || !check_ids(config, f->items, f->n_items, "items", most, st) ||
        !check_ids(config, f->exclude, f->n_exclude, "exclude", config->limits_exclude, st) || !check_fields(f, st) ||
        !read_weights(handler, f, out, st) || !read_rules(handler, f, out, st) || !read_session(handler, f, out, st) ||
        !read_examples(handler, f, out, st) || !read_explain(handler, f, out, st) ||
        (out->task == ENGINE_TOP && !read_top(f->by, &out->top, st)))
        return false;
    if (f->seen != NULL) {
        if (f->seen->within_ms < 0)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "seen.within_ms",
                                     "'seen.within_ms' is negative");
        out->seen_behaviours = (const char *const *)f->seen->behaviours;
        out->seen_behaviour_count = f->seen->n_behaviours;
        out->seen_within_ms = f->seen->within_ms;
    }
    out->user = f->user;
    out->items = (const char *const *)f->items;
    out->item_count = f->n_items;
    out->modalities = (const char *const *)f->modalities;
    out->modality_count = f->n_modalities;
    out->include_context = f->include_context;
    return true;
}

/* from the scenarios that answer now, unless the caller put others into the fields (a reference, given back likewise) */
static bool complete(struct handler *handler, struct list_fields *fields, struct status *st)
{
    if (fields->scenario[0] == '\0')
        return true;
    if (fields->scenarios == NULL)
        fields->scenarios = scenarios_slot_acquire(&handler->server->scenarios);
    const struct list_fields *preset = scenarios_find(fields->scenarios, fields->scenario, st);
    if (preset != NULL)
        list_fields_complete(fields, preset);
    return preset != NULL;
}

void list_answer_close(struct list_fields *fields, struct engine_answer *answer)
{
    engine_answer_close(answer);
    list_trial_close(fields);
    scenarios_release(fields->scenarios);
    fields->scenarios = NULL;
}

static bool answer_fields(struct handler *handler, const struct list_fields *fields, enum engine_task task,
                          const char *const *also_exclude, size_t also_count, struct engine_answer *answer,
                          Recsys__RankedList *reply, struct status *st)
{
    struct engine_request request = {.task = task};
    if (!read_request(handler, fields, &request, st) ||
        !read_exclude(handler, fields, also_exclude, also_count, &request, st))
        return false;
    int64_t begin_us = timestamp_monotonic_us();
    if (!engine_answer(&handler->worker, &request, answer, st))
        return false;
    recsys__ranked_list__init(reply);
    reply->took_us = timestamp_monotonic_us() - begin_us;
    metrics_observe(METRICS_HISTOGRAM_engine_seconds, (double)reply->took_us / 1e6);
    if (answer->degraded_count > 0)
        metrics_add(METRICS_COUNTER_lists_degraded, 1);
    if (fields->user[0] != '\0')
        metrics_add(handler->worker.history.cached ? METRICS_COUNTER_history_hits : METRICS_COUNTER_history_misses, 1);
    if (list_reply_fill(handler, fields, answer, reply))
        return true;
    engine_answer_close(answer);
    return out_of_memory(st);
}

/* the other model's list, at the same point of the log, and one list out of both */
static bool interleave(struct handler *handler, struct list_fields *fields, enum engine_task task,
                       const char *const *also_exclude, size_t also_count, Recsys__RankedList *reply, struct status *st)
{
    struct list_fields other = *fields;
    Recsys__RankedList second;
    size_t n = fields->n.given ? (size_t)fields->n.value : task == ENGINE_RANK ? fields->n_items : N_DEFAULT;
    char now[24];
    fields->trial.second = handler_alloc(handler, sizeof *fields->trial.second);
    if (fields->trial.second == NULL)
        return out_of_memory(st);
    memset(fields->trial.second, 0, sizeof *fields->trial.second);
    other.model = fields->trial.experiment->variants[1].model;
    snprintf(now, sizeof now, "%lld", (long long)reply->now_ms);
    other.now = now;
    other.at_seq = reply->seq;
    other.min_seq = "";
    if (other.deadline_ms.given) /* what is left of it */
        other.deadline_ms.value = fmax(other.deadline_ms.value - (double)reply->took_us / 1000, 0.001);
    return answer_fields(handler, &other, task, also_exclude, also_count, fields->trial.second, &second, st) &&
           (list_trial_interleave(handler, fields, reply, &second, n) || out_of_memory(st));
}

bool list_answer(struct handler *handler, struct list_fields *fields, enum engine_task task,
                 const char *const *also_exclude, size_t also_count, struct engine_answer *answer,
                 Recsys__RankedList *reply, struct status *st)
{
    memset(answer, 0, sizeof *answer);
    bool ok =
        list_trial_begin(handler, fields, st) && complete(handler, fields, st) &&
        answer_fields(handler, fields, task, also_exclude, also_count, answer, reply, st) &&
        (!list_trial_is_interleaved(fields) || interleave(handler, fields, task, also_exclude, also_count, reply, st));
    if (ok)
        list_trial_name(fields, reply);
    if (!ok)
        list_answer_close(fields, answer);
    return ok;
}
