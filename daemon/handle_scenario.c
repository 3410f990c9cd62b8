/* SPDX-License-Identifier: Apache-2.0
 *
 * scenario.list, scenario.reload. */
#include "daemon/routes.h"
#include "daemon/scenarios.h"

static bool fill(struct handler *handler, const struct scenarios *scenarios, Recsys__ScenarioListReply *reply)
{
    size_t count = scenarios_count(scenarios);
    Recsys__Scenario *list = handler_alloc(handler, (count + 1) * sizeof *list);
    reply->scenarios = handler_alloc(handler, (count + 1) * sizeof *reply->scenarios);
    if (list == NULL || reply->scenarios == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        recsys__scenario__init(&list[i]);
        list[i].name = (char *)scenarios_name(scenarios, i);
        list[i].fields = (char *)scenarios_json(scenarios, i);
        reply->scenarios[i] = &list[i];
    }
    reply->n_scenarios = count;
    return true;
}

bool handle_scenario_list(struct handler *handler, struct job *job, struct status *st)
{
    Recsys__ScenarioListReply reply = RECSYS__SCENARIO_LIST_REPLY__INIT;
    struct scenarios *scenarios = scenarios_slot_acquire(&handler->server->scenarios);
    bool ok = fill(handler, scenarios, &reply);
    if (ok)
        job_reply(job, &reply.base);
    scenarios_release(scenarios);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

bool handle_scenario_reload(struct handler *handler, struct job *job, struct status *st)
{
    Recsys__ScenarioReloadReply reply = RECSYS__SCENARIO_RELOAD_REPLY__INIT;
    if (!server_reload(handler->server, st))
        return false;
    struct scenarios *scenarios = scenarios_slot_acquire(&handler->server->scenarios);
    reply.scenarios = (int32_t)scenarios_count(scenarios);
    scenarios_release(scenarios);
    job_reply(job, &reply.base);
    return true;
}
