/* SPDX-License-Identifier: Apache-2.0
 *
 * experiment.list, experiment.reload. */
#include "daemon/experiments.h"
#include "daemon/handler.h"
#include "daemon/routes.h"

static bool fill_variants(struct handler *handler, const struct experiment *experiment, Recsys__Experiment *out)
{
    size_t count = experiment->variant_count;
    Recsys__Variant *list = handler_alloc(handler, (count + 1) * sizeof *list);
    out->variants = handler_alloc(handler, (count + 1) * sizeof *out->variants);
    if (list == NULL || out->variants == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct experiment_variant *variant = &experiment->variants[i];
        recsys__variant__init(&list[i]);
        list[i].name = (char *)variant->name;
        list[i].share = variant->share;
        list[i].scenario = (char *)variant->scenario;
        list[i].model = (char *)variant->model;
        out->variants[i] = &list[i];
    }
    out->n_variants = count;
    return true;
}

static bool fill(struct handler *handler, const struct experiments *experiments, Recsys__ExperimentListReply *reply)
{
    size_t count = experiments_count(experiments);
    Recsys__Experiment *list = handler_alloc(handler, (count + 1) * sizeof *list);
    reply->experiments = handler_alloc(handler, (count + 1) * sizeof *reply->experiments);
    if (list == NULL || reply->experiments == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct experiment *experiment = experiments_at(experiments, i);
        recsys__experiment__init(&list[i]);
        list[i].name = (char *)experiment->name;
        list[i].kind = (char *)experiment_kind_name(experiment->kind);
        list[i].share = experiment->share;
        if (!fill_variants(handler, experiment, &list[i]))
            return false;
        reply->experiments[i] = &list[i];
    }
    reply->n_experiments = count;
    return true;
}

bool handle_experiment_list(struct handler *handler, struct job *job, struct status *st)
{
    Recsys__ExperimentListReply reply = RECSYS__EXPERIMENT_LIST_REPLY__INIT;
    struct experiments *experiments = experiments_slot_acquire(&handler->server->experiments);
    bool ok = fill(handler, experiments, &reply);
    if (ok)
        job_reply(job, &reply.base);
    experiments_release(experiments);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

bool handle_experiment_reload(struct handler *handler, struct job *job, struct status *st)
{
    Recsys__ExperimentReloadReply reply = RECSYS__EXPERIMENT_RELOAD_REPLY__INIT;
    if (!server_reload(handler->server, st))
        return false;
    struct experiments *experiments = experiments_slot_acquire(&handler->server->experiments);
    reply.experiments = (int32_t)experiments_count(experiments);
    experiments_release(experiments);
    job_reply(job, &reply.base);
    return true;
}
