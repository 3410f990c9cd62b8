/* SPDX-License-Identifier: Apache-2.0
 *
 * experiment.report: what came of the lists of an experiment, variant by variant, from the request log. A user belongs
 * to the variant of the first list, with all that came of this and later ones: that is who was dealt what, whatever
 * became of the variants since. */
#include "daemon/experiments.h"
#include "daemon/handler.h"
#include "daemon/routes.h"
#include "daemon/timestamp.h"
#include "models/sequential.h"

#include <stdlib.h>
#include <string.h>

#define ALPHA       .05
#define LOOK_EVERY  1024 /* rows between looks at the clock */
#define ALPHA_MOST  .5
#define GONE_MOST   64 /* variants of an experiment that is in the file no more */
#define CONTROL     "control"
#define INTERLEAVED "interleaved" /* the variant of lists made of two (list_trial.c) */
#define NOT_SHOWN   "no difference shown yet"

struct arm {
    const char *name;
    int64_t users, lists, converted, outcomes;
    int64_t shadows; /* lists of which the overlap is known */
    double overlap;  /* their sum */
};

struct report {
    struct handler *handler;
    const struct experiment *experiment; /* NULL: it is in the file no more */
    enum experiment_kind kind;
    bool wanted[256]; /* behaviours that are an outcome, by number */
    struct arm *arms; /* (capacity), in the worker's arena */
    size_t arm_count, capacity;
    /* whose lists are being read */
    int64_t user_id;
    struct arm *arm; /* NULL: of a variant that is not reported */
    bool converted;
    int64_t wins[2]; /* outcomes on items of either model, interleaved */
    bool failed;     /* out of memory */
    bool late;       /* who asked has gone */
    int64_t deadline_us;
    size_t seen; /* rows */
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

/* ---- the log */

static struct arm *add_gone(struct report *r, const char *variant)
{
    size_t size = strlen(variant) + 1;
    char *name = r->arm_count == r->capacity ? NULL : handler_alloc(r->handler, size);
    r->failed = r->failed || (name == NULL && r->arm_count < r->capacity);
    if (name == NULL)
        return NULL;
    memcpy(name, variant, size);
    r->arms[r->arm_count] = (struct arm){.name = name};
    return &r->arms[r->arm_count++];
}

static struct arm *find_arm(struct report *r, const char *variant)
{
    if (r->kind == EXPERIMENT_INTERLEAVE)
        return strcmp(variant, INTERLEAVED) == 0 ? &r->arms[0] : NULL;
    for (size_t i = 0; i < r->arm_count; i++)
        if (strcmp(r->arms[i].name, variant) == 0)
            return &r->arms[i];
    return r->experiment == NULL ? add_gone(r, variant) : NULL;
}

/* of two interleaved models a user favours the one that brought more of the outcomes */
static void end_user(struct report *r)
{
    if (r->arm != NULL && r->wins[0] != r->wins[1])
        r->arms[r->wins[1] > r->wins[0]].converted++;
}

static void begin_user(struct report *r, const struct store_exposure *exposure)
{
    r->user_id = exposure->user_id;
    r->converted = false;
    r->wins[0] = r->wins[1] = 0;
    r->arm = find_arm(r, exposure->variant);
    if (r->arm != NULL)
        r->arm->users += exposure->user_id != 0;
}

static void take_list(struct arm *arm, const struct store_exposure *exposure)
{
    arm->lists++;
    if (exposure->overlap < 0)
        return;
    arm->shadows++;
    arm->overlap += exposure->overlap;
}

static void take_outcome(struct report *r, const struct store_exposure *exposure)
{
    if (r->kind != EXPERIMENT_INTERLEAVE) {
        r->arm->outcomes++;
        r->arm->converted += !r->converted;
        r->converted = true;
        return;
    }
    for (size_t i = 0; exposure->teams != NULL && i < exposure->item_count; i++)
        if (exposure->items[i] == exposure->item_id && exposure->teams[i] < 2) {
            r->arms[exposure->teams[i]].outcomes++;
            r->wins[exposure->teams[i]]++;
        }
}

static bool take(void *context, const struct store_exposure *exposure)
{
    struct report *r = context;
    if (exposure->user_id == 0 && r->kind != EXPERIMENT_SHADOW) /* a session has no variant of its own */
        return true;
    r->late = ++r->seen % LOOK_EVERY == 0 && timestamp_monotonic_us() > r->deadline_us;
    if (exposure->user_id != r->user_id) {
        end_user(r);
        begin_user(r, exposure);
    }
    if (r->arm != NULL && exposure->behaviour == 0)
        take_list(r->arm, exposure);
    else if (r->arm != NULL && r->wanted[exposure->behaviour])
        take_outcome(r, exposure);
    return !r->failed && !r->late;
}

/* ---- what is asked */

static bool read_outcome(struct report *r, const char *outcome, struct status *st)
{
    const struct engine *engine = &r->handler->server->engine;
    bool found = outcome[0] == '\0';
    for (size_t b = 1; b < 256; b++) {
        const struct engine_behaviour *behaviour = &engine->behaviours[b];
        r->wanted[b] =
            outcome[0] == '\0' ? behaviour->configured && behaviour->weight > 0 : strcmp(behaviour->name, outcome) == 0;
        found = found || r->wanted[b];
    }
    return found || status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_BEHAVIOUR", "outcome",
                                      "behaviour '%.64s' is not configured", outcome);
}

/* the variants of the file, or room for those of the log; `gone` says that the experiment is not in the file */
static bool open_arms(struct report *r, struct experiments *experiments, const char *name, struct status *gone)
{
    r->experiment = experiments_find(experiments, name, gone);
    r->kind = r->experiment == NULL ? EXPERIMENT_VARIANTS : r->experiment->kind;
    r->capacity = r->experiment == NULL ? GONE_MOST : r->experiment->variant_count;
    r->arms = handler_alloc(r->handler, (r->capacity + 1) * sizeof *r->arms);
    if (r->arms == NULL)
        return false;
    for (size_t i = 0; r->experiment != NULL && i < r->capacity; i++)
        r->arms[r->arm_count++] = (struct arm){.name = r->experiment->variants[i].name};
    return true;
}

static bool is_control(const struct arm *arm)
{
    return strcmp(arm->name, CONTROL) == 0;
}

/* the control first, the others by name */
static int by_name(const void *a, const void *b)
{
    const struct arm *x = a, *y = b;
    if (is_control(x) != is_control(y))
        return is_control(x) ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool read_log(struct report *r, const char *name, int64_t from_ms, int64_t until_ms, struct status *st)
{
    if (!store_exposure_scan(r->handler->worker.reader, name, from_ms, until_ms, take, r, st))
        return false;
    if (r->failed)
        return out_of_memory(st);
    if (r->late)
        return status_fail(st, STATUS_DEADLINE_EXCEEDED, "TIMEOUT",
                           "the log of this experiment is long: allow more time, or name 'from'");
    end_user(r);
    if (r->experiment == NULL)
        qsort(r->arms, r->arm_count, sizeof *r->arms, by_name);
    if (r->kind == EXPERIMENT_INTERLEAVE) { /* every list is of both */
        r->arms[1].users = r->arms[0].users;
        r->arms[1].lists = r->arms[0].lists;
    }
    return true;
}

/* ---- the reply */

static double rate_of(const struct arm *arm)
{
    return arm->users == 0 ? 0 : (double)arm->converted / (double)arm->users;
}

static void fill_arm(const struct arm *arm, Recsys__VariantReport *out)
{
    recsys__variant_report__init(out);
    out->name = (char *)arm->name;
    out->users = arm->users;
    out->lists = arm->lists;
    out->converted = arm->converted;
    out->outcomes = arm->outcomes;
    out->rate = rate_of(arm);
}

static void fill_result(struct sequential_result result, double alpha, Recsys__VariantReport *out)
{
    out->_low_case = RECSYS__VARIANT_REPORT___LOW_LOW;
    out->low = result.low;
    out->_high_case = RECSYS__VARIANT_REPORT___HIGH_HIGH;
    out->high = result.high;
    out->_p_case = RECSYS__VARIANT_REPORT___P_P;
    out->p = result.p;
    out->verdict = result.p >= alpha ? (char *)NOT_SHOWN : result.difference > 0 ? (char *)"better" : (char *)"worse";
}

/* against the first, each of the others */
static void compare_arms(const struct report *r, double alpha, Recsys__VariantReport *reports)
{
    const struct arm *first = &r->arms[0];
    for (size_t i = 1; i < r->arm_count; i++) {
        const struct arm *arm = &r->arms[i];
        const struct sequential_arm a = {first->users, first->converted}, b = {arm->users, arm->converted};
        fill_result(sequential_compare(a, b, alpha, (int)r->arm_count - 1), alpha, &reports[i]);
        if (first->converted == 0 || arm->users == 0)
            continue;
        reports[i]._lift_case = RECSYS__VARIANT_REPORT___LIFT_LIFT;
        reports[i].lift = rate_of(arm) / rate_of(first) - 1;
    }
}

static bool fill_reply(const struct report *r, Recsys__ExperimentReportReply *reply)
{
    Recsys__VariantReport *reports = handler_alloc(r->handler, (r->arm_count + 1) * sizeof *reports);
    reply->variants = handler_alloc(r->handler, (r->arm_count + 1) * sizeof *reply->variants);
    if (reports == NULL || reply->variants == NULL)
        return false;
    for (size_t i = 0; i < r->arm_count; i++) {
        fill_arm(&r->arms[i], &reports[i]);
        reply->variants[i] = &reports[i];
    }
    reply->n_variants = r->arm_count;
    reply->kind = (char *)experiment_kind_name(r->kind);
    if (r->kind == EXPERIMENT_VARIANTS) {
        compare_arms(r, reply->alpha, reports);
    } else if (r->kind == EXPERIMENT_INTERLEAVE) {
        fill_result(sequential_preference(r->arms[0].converted, r->arms[1].converted, reply->alpha), reply->alpha,
                    &reports[1]);
    } else if (r->arms[0].shadows > 0) {
        reports[0]._overlap_case = RECSYS__VARIANT_REPORT___OVERLAP_OVERLAP;
        reports[0].overlap = r->arms[0].overlap / (double)r->arms[0].shadows;
    }
    return true;
}

static bool read_request(struct report *r, const Recsys__ExperimentReportRequest *request,
                         Recsys__ExperimentReportReply *reply, struct status *st)
{
    const struct config *config = &r->handler->server->config;
    int64_t now_ms = timestamp_now_ms();
    if (request->experiment[0] == '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "experiment", "'experiment' is missing");
    reply->experiment = request->experiment;
    reply->outcome = request->outcome;
    reply->alpha = request->_alpha_case != 0 ? request->alpha : ALPHA;
    if (!(reply->alpha > 0 && reply->alpha <= ALPHA_MOST))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "alpha",
                                 "'alpha' is not above 0 and at most %g", ALPHA_MOST);
    return read_outcome(r, request->outcome, st) &&
           check_time(config, request->from, "from", now_ms, 0, &reply->from_ms, st) &&
           check_time(config, request->until, "until", now_ms, now_ms, &reply->until_ms, st);
}

static bool make_report(struct report *r, struct experiments *experiments, const char *until,
                        Recsys__ExperimentReportReply *reply, struct status *st)
{
    struct status gone = STATUS_INIT;
    /* up to now is up to the end: what has been logged in this very millisecond too */
    int64_t until_ms = until[0] == '\0' ? INT64_MAX : reply->until_ms;
    if (!open_arms(r, experiments, reply->experiment, &gone))
        return out_of_memory(st);
    if (!read_log(r, reply->experiment, reply->from_ms, until_ms, st))
        return false;
    if (r->experiment == NULL && r->arm_count == 0)
        return status_fail_field(st, STATUS_NOT_FOUND, "UNKNOWN_EXPERIMENT", "experiment",
                                 "%s; nor is a list of one in the log of this time", gone.message);
    return fill_reply(r, reply) || out_of_memory(st);
}

bool handle_experiment_report(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ExperimentReportRequest *request = (const Recsys__ExperimentReportRequest *)job->request;
    Recsys__ExperimentReportReply reply = RECSYS__EXPERIMENT_REPORT_REPLY__INIT;
    struct report r = {.handler = handler, .user_id = -1, .deadline_us = job->deadline_us};
    if (!read_request(&r, request, &reply, st))
        return false;
    struct experiments *experiments = experiments_slot_acquire(&handler->server->experiments);
    bool ok = make_report(&r, experiments, request->until, &reply, st);
    if (ok)
        job_reply(job, &reply.base);
    experiments_release(experiments);
    return ok;
}
