/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_fields.h"

#include "daemon/timestamp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT_PREFIX "context."
#define CONTEXT_MOST   16
#define LABEL_BYTES    256
#define ADD_MOST       1000.0
#define ROTATION_MS    86400000       /* a day */
#define ROTATION_MOST  315360000000LL /* ten years */
#define SHARES_SUM     1.0001         /* thirds are not exact */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the request needs more memory than one may take");
}

/* ---- from messages */

bool list_fields_read(const ProtobufCMessage *message, struct list_fields *fields, enum engine_task *task)
{
    const struct list_fields none = LIST_FIELDS_NONE;
    const void *any = message;
    if (message->descriptor == &recsys__recommend_request__descriptor) {
        const Recsys__RecommendRequest *r = any;
        *fields =
            (struct list_fields){LIST_FIELDS(r), LIST_FIELDS_MODEL(r), LIST_FIELDS_LOG(r), LIST_FIELDS_SESSION(r)};
        *task = ENGINE_RECOMMEND;
    } else if (message->descriptor == &recsys__rank_request__descriptor) {
        const Recsys__RankRequest *r = any;
        *fields = (struct list_fields){LIST_FIELDS(r), LIST_FIELDS_MODEL(r), LIST_FIELDS_LOG(r), LIST_FIELDS_SESSION(r),
                                       LIST_REPEATED(r, items)};
        *task = ENGINE_RANK;
    } else if (message->descriptor == &recsys__similar_request__descriptor) {
        const Recsys__SimilarRequest *r = any;
        *fields = (struct list_fields){LIST_FIELDS(r),
                                       LIST_FIELDS_MODEL(r),
                                       LIST_FIELDS_LOG(r),
                                       LIST_REPEATED(r, items),
                                       LIST_REPEATED(r, like),
                                       LIST_REPEATED(r, unlike),
                                       LIST_REPEATED(r, modalities),
                                       LIST_NUMBER(r, deadline_ms),
                                       .include_context = r->include_context};
        *task = ENGINE_SIMILAR;
    } else if (message->descriptor == &recsys__complement_request__descriptor) {
        const Recsys__ComplementRequest *r = any;
        *fields = (struct list_fields){LIST_FIELDS(r), LIST_FIELDS_MODEL(r), LIST_REPEATED(r, items)};
        *task = ENGINE_COMPLEMENT;
    } else if (message->descriptor == &recsys__top_request__descriptor) {
        const Recsys__TopRequest *r = any;
        *fields = (struct list_fields){LIST_FIELDS(r), LIST_FIELDS_LOG(r), .by = r->by};
        *task = ENGINE_TOP;
    } else {
        *fields = none;
        return false;
    }
#define OR_NONE(name) fields->name = fields->name != NULL ? fields->name : none.name
    OR_NONE(min_seq);
    OR_NONE(at_seq);
    OR_NONE(model);
    OR_NONE(by);
#undef OR_NONE
    return true;
}

bool list_fields_explain(const struct list_fields *fields, enum engine_explain *explain, struct status *st)
{
    static const char *const names[] = {"none", "reason", "full"};
    *explain = EXPLAIN_NONE;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(fields->explain, names[i]) == 0) {
            *explain = (enum engine_explain)i;
            return true;
        }
    return fields->explain[0] == '\0' ||
           status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "explain",
                             "'explain' is '%.64s', not none, reason or full", fields->explain);
}

/* ---- presets */

static void complete_number(struct list_number *number, const struct list_number *preset)
{
    if (!number->given)
        *number = *preset;
}

void list_fields_complete(struct list_fields *fields, const struct list_fields *preset)
{
#define TAKE_LIST(name)                                                                                                \
    if (fields->n_##name == 0) {                                                                                       \
        fields->n_##name = preset->n_##name;                                                                           \
        fields->name = preset->name;                                                                                   \
    }
    TAKE_LIST(exclude)
    TAKE_LIST(weights)
    TAKE_LIST(fields)
    TAKE_LIST(boost)
    TAKE_LIST(promotions)
    TAKE_LIST(caps)
#undef TAKE_LIST
    fields->seen = fields->seen != NULL ? fields->seen : preset->seen;
    fields->filter = fields->filter != NULL ? fields->filter : preset->filter;
    fields->rerank = fields->rerank[0] != '\0' ? fields->rerank : preset->rerank;
    fields->explain = fields->explain[0] != '\0' ? fields->explain : preset->explain;
    fields->language = fields->language[0] != '\0' ? fields->language : preset->language;
    fields->funnel = fields->funnel || preset->funnel;
    complete_number(&fields->n, &preset->n);
    complete_number(&fields->exclude_seen, &preset->exclude_seen);
    complete_number(&fields->price_ceiling, &preset->price_ceiling);
    complete_number(&fields->diversity, &preset->diversity);
    complete_number(&fields->novelty, &preset->novelty);
    complete_number(&fields->serendipity, &preset->serendipity);
    complete_number(&fields->calibration, &preset->calibration);
    complete_number(&fields->pool, &preset->pool);
    complete_number(&fields->exploration, &preset->exploration);
    complete_number(&fields->rotation, &preset->rotation);
    fields->rotation_ms = fields->rotation_ms != 0 ? fields->rotation_ms : preset->rotation_ms;
    complete_number(&fields->deadline_ms, &preset->deadline_ms);
}

/* ---- conditions */

static bool check_bounds(const Recsys__Condition *c, const char *where, struct status *st)
{
    bool has_min = c->_min_case != 0, has_max = c->_max_case != 0;
    if ((has_min && !isfinite(c->min)) || (has_max && !isfinite(c->max)) || (has_min && has_max && c->min > c->max))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", where,
                                 "min and max of '%s' are not a range of numbers", c->field);
    return true;
}

static bool read_times(const Recsys__Condition *c, const char *where, struct rule_condition *out, struct status *st)
{
    int64_t at_ms;
    if (c->after[0] == '\0' && c->before[0] == '\0')
        return true;
    if (strcmp(c->field, "created") != 0 && strcmp(c->field, "expires") != 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONDITION", where,
                                 "after and before are for 'created' and 'expires', not for '%s'", c->field);
    if (c->after[0] != '\0') {
        if (!timestamp_parse(c->after, where, &at_ms, st))
            return false;
        out->least = fmax(out->least, (double)at_ms);
    }
    if (c->before[0] != '\0') {
        if (!timestamp_parse(c->before, where, &at_ms, st))
            return false;
        out->most = fmin(out->most, (double)at_ms - 1); /* times are whole milliseconds */
    }
    return true;
}

static const char *context_value(const struct list_fields *f, const char *key)
{
    for (size_t i = 0; i < f->n_context; i++)
        if (strcmp(f->context[i]->key, key) == 0)
            return f->context[i]->value;
    return NULL;
}

static bool is_among(const char *value, char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], value) == 0)
            return true;
    return false;
}

/* The same for every item: what the request says of itself is looked at once. */
static enum rule_always decide_context(const struct list_fields *f, const Recsys__Condition *c)
{
    const char *value = context_value(f, c->field + strlen(CONTEXT_PREFIX));
    char *end;
    if (c->_exists_case != 0 && c->exists != (value != NULL))
        return RULE_FAILS;
    if (value == NULL)
        return c->n_any > 0 || c->_min_case != 0 || c->_max_case != 0 ? RULE_FAILS : RULE_HOLDS;
    if ((c->n_any > 0 && !is_among(value, c->any, c->n_any)) || is_among(value, c->none, c->n_none))
        return RULE_FAILS;
    if (c->_min_case == 0 && c->_max_case == 0)
        return RULE_HOLDS;
    double number = strtod(value, &end);
    bool holds = end != value && *end == '\0' && isfinite(number) && (c->_min_case == 0 || number >= c->min) &&
                 (c->_max_case == 0 || number <= c->max);
    return holds ? RULE_HOLDS : RULE_FAILS;
}

static bool read_condition(const struct list_fields *f, const Recsys__Condition *c, const char *where,
                           struct rule_condition *out, struct status *st)
{
    bool bounded = c->_min_case != 0 || c->_max_case != 0 || c->after[0] != '\0' || c->before[0] != '\0';
    if (c->field[0] == '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", where, "a condition names no field");
    if (c->n_any == 0 && c->n_none == 0 && !bounded && c->_exists_case == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONDITION", where,
                                 "the condition on '%s' has none of any, none, min, max, after, before, exists",
                                 c->field);
    if (c->n_any > RULES_VALUES_MAX || c->n_none > RULES_VALUES_MAX)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", where,
                                 "the condition on '%s' has more than %d values", c->field, RULES_VALUES_MAX);
    if (strcmp(c->field, "item") == 0 && (bounded || c->_exists_case != 0))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONDITION", where,
                                 "'item' takes any and none, and nothing else");
    *out = (struct rule_condition){.field = c->field,
                                   .any = (const char *const *)c->any,
                                   .any_count = c->n_any,
                                   .none = (const char *const *)c->none,
                                   .none_count = c->n_none,
                                   .least = c->_min_case != 0 ? c->min : -INFINITY,
                                   .most = c->_max_case != 0 ? c->max : INFINITY,
                                   .exists = c->_exists_case == 0 ? -1 : c->exists};
    if (strncmp(c->field, CONTEXT_PREFIX, strlen(CONTEXT_PREFIX)) == 0)
        out->always = decide_context(f, c);
    return check_bounds(c, where, st) && read_times(c, where, out, st);
}

static bool read_conditions(const struct list_fields *fields, Recsys__Condition **from, size_t count, const char *where,
                            struct arena *arena, const struct rule_condition **out, size_t *out_count,
                            struct status *st)
{
    struct rule_condition *list = arena_alloc(arena, (count + 1) * sizeof *list);
    if (list == NULL)
        return out_of_memory(st);
    if (count > RULES_CONDITIONS_MAX)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", where,
                                 "'%s' has %zu conditions, %d are allowed", where, count, RULES_CONDITIONS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!read_condition(fields, from[i], field_at(where, i, "").text, &list[i], st))
            return false;
    *out = list;
    *out_count = count;
    return true;
}

static bool read_filter(const struct list_fields *fields, const Recsys__Filter *f, struct arena *arena,
                        struct rule_filter *out, struct status *st)
{
    return f == NULL ||
           (read_conditions(fields, f->must, f->n_must, "filter.must", arena, &out->must, &out->must_count, st) &&
            read_conditions(fields, f->must_not, f->n_must_not, "filter.must_not", arena, &out->must_not,
                            &out->must_not_count, st) &&
            read_conditions(fields, f->should, f->n_should, "filter.should", arena, &out->should, &out->should_count,
                            st));
}

/* ---- boosts, promotions, caps */

static bool check_count(const char *list, size_t count, size_t most, struct status *st)
{
    return count <= most || status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", list,
                                              "'%s' has %zu members, %zu are allowed", list, count, most);
}

static bool read_boosts(const struct list_fields *f, struct arena *arena, struct rules *rules, struct status *st)
{
    struct rule_boost *list = arena_alloc(arena, (f->n_boost + 1) * sizeof *list);
    if (list == NULL)
        return out_of_memory(st);
    if (!check_count("boost", f->n_boost, RULES_BOOSTS_MAX, st))
        return false;
    for (size_t i = 0; i < f->n_boost; i++) {
        const Recsys__Boost *from = f->boost[i];
        list[i] = (struct rule_boost){.add = (float)from->add};
        if (!isfinite(from->add) || fabs(from->add) > ADD_MOST)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", field_at("boost", i, "add").text,
                                     "'add' is not from -%g to %g", ADD_MOST, ADD_MOST);
        if (!read_conditions(f, from->when, from->n_when, field_at("boost", i, "when").text, arena, &list[i].when,
                             &list[i].when_count, st))
            return false;
    }
    rules->boosts = list;
    rules->boost_count = f->n_boost;
    return true;
}

static bool read_promotions(const struct list_fields *f, struct arena *arena, struct rules *rules, struct status *st)
{
    struct rule_promotion *list = arena_alloc(arena, (f->n_promotions + 1) * sizeof *list);
    double sum = 0;
    if (list == NULL)
        return out_of_memory(st);
    if (!check_count("promotions", f->n_promotions, RULES_PROMOTIONS_MAX, st))
        return false;
    for (size_t i = 0; i < f->n_promotions; i++) {
        const Recsys__Promotion *from = f->promotions[i];
        list[i] = (struct rule_promotion){.share = from->share, .label = from->label};
        if (!(from->share > 0 && from->share <= 1) || (sum += from->share) > SHARES_SUM)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE",
                                     field_at("promotions", i, "share").text,
                                     "'share' is not above 0 and at most 1, or all shares are more than 1 together");
        if (strlen(from->label) > LABEL_BYTES)
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", field_at("promotions", i, "label").text,
                                     "'label' is longer than %d bytes", LABEL_BYTES);
        if (!read_conditions(f, from->when, from->n_when, field_at("promotions", i, "when").text, arena, &list[i].when,
                             &list[i].when_count, st))
            return false;
    }
    rules->promotions = list;
    rules->promotion_count = f->n_promotions;
    return true;
}

static bool read_caps(const struct list_fields *f, struct arena *arena, struct rules *rules, struct status *st)
{
    struct rule_cap *list = arena_alloc(arena, (f->n_caps + 1) * sizeof *list);
    if (list == NULL)
        return out_of_memory(st);
    if (!check_count("caps", f->n_caps, RULES_CAPS_MAX, st))
        return false;
    for (size_t i = 0; i < f->n_caps; i++) {
        const Recsys__Cap *from = f->caps[i];
        if (from->by[0] == '\0')
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", field_at("caps", i, "by").text,
                                     "a cap names no attribute");
        if (from->most < 1 || from->window < 0 || (from->window > 0 && from->window <= from->most))
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", field_at("caps", i, "most").text,
                                     "'most' is not at least 1 and below 'window' (0: the whole list)");
        list[i] = (struct rule_cap){from->by, (unsigned)from->most, (unsigned)from->window};
    }
    rules->caps = list;
    rules->cap_count = f->n_caps;
    return true;
}

/* ---- knobs */

static bool read_knob(const struct list_number *from, const char *name, float *out, struct status *st)
{
    *out = (float)from->value;
    return !from->given || (from->value >= 0 && from->value <= 1) ||
           status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", name, "'%s' is not from 0 to 1", name);
}

static bool read_knobs(const struct list_fields *f, struct rules *rules, struct status *st)
{
    if (strcmp(f->rerank, "mmr") == 0)
        rules->rerank = RULE_MMR;
    else if (f->rerank[0] != '\0' && strcmp(f->rerank, "dpp") != 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "rerank", "'%s' is not dpp or mmr",
                                 f->rerank);
    if (f->price_ceiling.given && !(f->price_ceiling.value > 0 && isfinite(f->price_ceiling.value)))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "price_ceiling",
                                 "'price_ceiling' is not above 0");
    if (f->pool.given && f->pool.value < 1)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "pool", "'pool' is not at least 1");
    rules->price_ceiling = f->price_ceiling.given ? f->price_ceiling.value : 0;
    if (f->rotation_ms < 0 || f->rotation_ms > ROTATION_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "rotation_ms",
                                 "'rotation_ms' is not from 0 to %lld", (long long)ROTATION_MOST);
    rules->rotation_ms = f->rotation_ms > 0 ? f->rotation_ms : ROTATION_MS;
    rules->seed = f->seed;
    rules->pool = f->pool.given ? (size_t)f->pool.value : 0;
    return read_knob(&f->diversity, "diversity", &rules->diversity, st) &&
           read_knob(&f->novelty, "novelty", &rules->novelty, st) &&
           read_knob(&f->serendipity, "serendipity", &rules->serendipity, st) &&
           read_knob(&f->calibration, "calibration", &rules->calibration, st) &&
           read_knob(&f->exploration, "exploration", &rules->exploration, st) &&
           read_knob(&f->rotation, "rotation", &rules->rotation, st);
}

bool list_fields_rules(const struct list_fields *fields, struct arena *arena, struct rules *rules, struct status *st)
{
    double shares = 0;
    if (fields->n_context > CONTEXT_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "context",
                                 "'context' has %zu entries, %d are allowed", fields->n_context, CONTEXT_MOST);
    size_t conditions =
        fields->filter == NULL ? 0 : fields->filter->n_must + fields->filter->n_must_not + fields->filter->n_should;
    for (size_t i = 0; i < fields->n_boost; i++)
        conditions += fields->boost[i]->n_when;
    for (size_t i = 0; i < fields->n_promotions; i++)
        conditions += fields->promotions[i]->n_when;
    if (conditions > RULES_CONDITIONS_ALL)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", "filter",
                                 "the request has %zu conditions, %d are allowed", conditions, RULES_CONDITIONS_ALL);
    *rules = (struct rules){.rerank = RULE_DPP};
    for (size_t i = 0; i < fields->n_promotions; i++)
        shares += fields->promotions[i]->share;
    if (fields->exploration.given && fields->exploration.value + shares > SHARES_SUM)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "exploration",
                                 "'exploration' and the shares of promotions are more than 1 together");
    return read_filter(fields, fields->filter, arena, &rules->filter, st) && read_boosts(fields, arena, rules, st) &&
           read_promotions(fields, arena, rules, st) && read_caps(fields, arena, rules, st) &&
           read_knobs(fields, rules, st);
}
