/* SPDX-License-Identifier: Apache-2.0
 *
 * Every request that the daemon answers. One line declares the handler, routes to it, labels its metrics and lists it in server.info; without a handler of
 * that name the program does not link.
 *   X(method, handler, request message, needs role) */
#ifndef RECSYS_DAEMON_ROUTES_H
#define RECSYS_DAEMON_ROUTES_H

#include "daemon/job.h"

/* clang-format off */
#define ROUTES(X)                                                             \
    X("recommend",      recommend,      recommend_request,      ROLE_READ)    \
    X("rank",           rank,           rank_request,           ROLE_READ)    \
    X("similar",        similar,        similar_request,        ROLE_READ)    \
    X("complement",     complement,     complement_request,     ROLE_READ)    \
    X("top",            top,            top_request,            ROLE_READ)    \
    X("audience",       audience,       audience_request,       ROLE_READ)    \
    X("next",           next,           next_request,           ROLE_READ)    \
    X("batch",          batch,          batch_request,          ROLE_READ)    \
    X("explain",        explain,        explain_request,        ROLE_READ)    \
    X("scenario.list",  scenario_list,  scenario_list_request,  ROLE_READ)    \
    X("scenario.reload", scenario_reload, scenario_reload_request, ROLE_ADMIN) \
    X("experiment.list", experiment_list, experiment_list_request, ROLE_READ) \
    X("experiment.reload", experiment_reload, experiment_reload_request, ROLE_ADMIN) \
    X("experiment.report", experiment_report, experiment_report_request, ROLE_READ) \
    X("replay",         replay,         replay_request,         ROLE_ADMIN)   \
    X("user.history",   user_history,   user_history_request,   ROLE_READ)    \
    X("impression.add", impression_add, impression_add_request, ROLE_INGEST)  \
    X("feedback.report", feedback_report, feedback_report_request, ROLE_READ) \
    X("user.merge",     user_merge,     user_merge_request,     ROLE_INGEST)  \
    X("user.erase",     user_erase,     user_erase_request,     ROLE_ADMIN)   \
    X("event.add",      event_add,      event_add_request,      ROLE_INGEST)  \
    X("item.put",       item_put,       item_put_request,       ROLE_INGEST)  \
    X("item.get",       item_get,       item_get_request,       ROLE_READ)    \
    X("item.delete",    item_delete,    item_delete_request,    ROLE_INGEST)  \
    X("item.list",      item_list,      item_list_request,      ROLE_READ)    \
    X("feature.put",    feature_put,    feature_put_request,    ROLE_INGEST)  \
    X("list.put",       list_put,       list_put_request,       ROLE_INGEST)  \
    X("model.put",      model_put,      model_put_request,      ROLE_ADMIN)   \
    X("model.get",      model_get,      model_get_request,      ROLE_ADMIN)   \
    X("model.list",     model_list,     model_list_request,     ROLE_ADMIN)   \
    X("model.activate", model_activate, model_activate_request, ROLE_ADMIN)   \
    X("model.rollback", model_rollback, model_rollback_request, ROLE_ADMIN)   \
    X("model.load",     model_load,     model_load_request,     ROLE_ADMIN)   \
    X("model.unload",   model_unload,   model_unload_request,   ROLE_ADMIN)   \
    X("model.delete",   model_delete,   model_delete_request,   ROLE_ADMIN)   \
    X("server.info",    server_info,    server_info_request,    ROLE_READ)    \
    X("status",         status,         status_request,         ROLE_READ)    \
    X("ping",           ping,           ping_request,           ROLE_READ)
/* clang-format on */

enum role_needed { ROLE_READ, ROLE_INGEST, ROLE_ADMIN };

struct handler;

struct route {
    const char *method;
    /* Answers with job_reply or hands the job on, and returns true; or returns false with `st`, and the caller answers. */
    bool (*handle)(struct handler *handler, struct job *job, struct status *st);
    const ProtobufCMessageDescriptor *request_type;
    enum role_needed role;
};

extern const struct route routes[];
extern const size_t route_count;

const struct route *route_find(const char *method);

#define ROUTE_DECLARE(method, name, request, role)                                                                     \
    bool handle_##name(struct handler *handler, struct job *job, struct status *st);
ROUTES(ROUTE_DECLARE)
#undef ROUTE_DECLARE

#endif
