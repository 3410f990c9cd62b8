/* SPDX-License-Identifier: Apache-2.0
 *
 * plan: what another configuration would change, setting by setting and list by list. Nothing is changed. */
#include "daemon/config_settings.h"
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_replay.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define AGAINST        "/etc/recsysd/recsysd.yaml"
#define SAME_WEIGHT    1e-9
#define NO_BEHAVIOUR   "(none)"
#define RESTART        "restart"
#define OF_SCENARIOS   "restart; another content: scenario reload"
#define OF_EXPERIMENTS "restart; another content: experiment reload"

struct plan {
    struct ctl *ctl;
    struct config now, next;
    const char *against; /* the file of `now` */
    json_t *weights;     /* owned: behaviours as the daemon has them */
    json_t *settings;    /* owned: rows of what changes */
    json_t *changed;     /* owned: behaviours whose weight changes, for the replay */
};

/* ---- settings */

static json_t *list_text(const struct config *config)
{
    char text[CONFIG_LISTEN_MAX * (CONFIG_TEXT_MAX + 2)] = "";
    size_t used = 0;
    for (size_t i = 0; i < config->server_listen_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? ", " : "", config->server_listen[i]);
    return json_string(text);
}

/* as it would be written; NULL out of memory, or for behaviours */
static json_t *value_of(const struct config *config, const struct config_setting *setting)
{
    const void *field = (const char *)config + setting->offset;
    switch (setting->kind) {
    case CONFIG_KIND_INTEGER:
        return json_sprintf("%" PRId64, *(const int64_t *)field);
    case CONFIG_KIND_REAL:
        return json_sprintf("%.10g", *(const double *)field);
    case CONFIG_KIND_SWITCH:
        return json_string(*(const bool *)field ? "true" : "false");
    case CONFIG_KIND_TEXT:
        return json_string(field);
    case CONFIG_KIND_LISTEN:
        return list_text(config);
    case CONFIG_KIND_BEHAVIOURS:
        break;
    }
    return NULL;
}

/* a row of what changes; consumes both values */
static bool add_row(struct plan *plan, const char *setting, json_t *now, json_t *next, const char *effect,
                    struct status *st)
{
    json_t *row = json_object();
    bool ok = ctl_params_set(row, "now", now, st);
    ok = ctl_params_set(row, "new", next, st) && ok;
    ok = ok && ctl_params_text(row, "setting", setting, st) && ctl_params_text(row, "effect", effect, st) &&
         (json_array_append(plan->settings, row) == 0 || ctl_no_memory(st));
    json_decref(row);
    return ok;
}

static const char *effect_of(const struct config_setting *setting)
{
    if (strcmp(setting->dotted, "server.scenarios") == 0)
        return OF_SCENARIOS;
    return strcmp(setting->dotted, "server.experiments") == 0 ? OF_EXPERIMENTS : RESTART;
}

static bool compare_settings(struct plan *plan, struct status *st)
{
    for (size_t i = 0; i < CONFIG_SETTING_COUNT; i++) {
        const struct config_setting *setting = &config_settings[i];
        if (setting->kind == CONFIG_KIND_BEHAVIOURS)
            continue;
        json_t *now = value_of(&plan->now, setting), *next = value_of(&plan->next, setting);
        bool same = now != NULL && next != NULL && json_equal(now, next);
        if (same) {
            json_decref(now);
            json_decref(next);
        } else if (!add_row(plan, setting->dotted, now, next, effect_of(setting), st)) {
            return false;
        }
    }
    return true;
}

/* ---- behaviours */

static const struct config_behaviour *find_behaviour(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->behaviour_count; i++)
        if (strcmp(config->behaviours[i].name, name) == 0)
            return &config->behaviours[i];
    return NULL;
}

/* `now` NULL: the daemon does not have it; `next` NULL: the new configuration does not */
static bool compare_behaviour(struct plan *plan, const char *name, const json_t *now,
                              const struct config_behaviour *next, struct status *st)
{
    char setting[64];
    double before = json_number_value(now), after = next == NULL ? 0 : next->weight;
    if (now != NULL && next != NULL && fabs(before - after) < SAME_WEIGHT)
        return true;
    snprintf(setting, sizeof setting, "behaviours.%.40s", name);
    return (now == NULL || ctl_params_set(plan->changed, name, json_real(after), st)) &&
           add_row(plan, setting, now == NULL ? json_string(NO_BEHAVIOUR) : json_sprintf("%.10g", before),
                   next == NULL ? json_string(NO_BEHAVIOUR) : json_sprintf("%.10g", after), RESTART, st);
}

static bool compare_behaviours(struct plan *plan, struct status *st)
{
    const char *name;
    json_t *weight;
    json_object_foreach(plan->weights, name, weight)
    {
        if (!compare_behaviour(plan, name, weight, find_behaviour(&plan->next, name), st))
            return false;
    }
    for (size_t i = 0; i < plan->next.behaviour_count; i++) {
        const struct config_behaviour *next = &plan->next.behaviours[i];
        if (json_object_get(plan->weights, next->name) == NULL && !compare_behaviour(plan, next->name, NULL, next, st))
            return false;
    }
    return true;
}

/* ---- both sides */

/* What the daemon was started with it tells of behaviours alone; for the rest there is the file. */
static bool read_now(struct plan *plan, const struct ctl_arguments *arguments, struct status *st)
{
    struct status problem = STATUS_INIT;
    const char *given = ctl_option_text(arguments, "against");
    plan->against = given != NULL ? given : AGAINST;
    config_init(&plan->now);
    if (!config_load(&plan->now, plan->against, &problem)) {
        if (given != NULL || problem.code != STATUS_NOT_FOUND) {
            *st = problem;
            return false;
        }
        ctl_note(plan->ctl, "there is no '%s', and no --against: compared with the defaults", plan->against);
        plan->against = "";
    }
    json_t *info = ctl_call(plan->ctl, "server.info", NULL, st);
    plan->weights = json_incref(json_object_get(info, "behaviours"));
    bool ok = info != NULL;
    json_decref(info);
    return ok;
}

static bool read_next(struct plan *plan, const char *path, struct status *st)
{
    config_init(&plan->next);
    return config_load(&plan->next, path, st) && (config_check(&plan->next, st) || status_wrap(st, "%s", path));
}

static json_t *replay(struct plan *plan, const struct ctl_arguments *arguments, struct status *st)
{
    struct ctl_replay what = {.most = CTL_REPLAY_COUNT};
    const char *path = plan->next.server_scenarios;
    json_t *scenarios = strcmp(path, "off") == 0 ? json_string("{}") : ctl_replay_read_scenarios(path, st);
    json_t *report = NULL;
    if (scenarios == NULL)
        return NULL;
    what.params = json_object();
    bool ok = ctl_params_set(what.params, "scenarios", scenarios, st) &&
              ctl_params_set(what.params, "behaviours", json_incref(plan->changed), st) &&
              ctl_params_text(what.params, "from", ctl_option_text(arguments, "from"), st) &&
              ctl_params_text(what.params, "until", ctl_option_text(arguments, "until"), st) &&
              ctl_option_integer(arguments, "count", 1, CTL_REPLAY_MOST, &what.most, st);
    if (ok)
        report = ctl_replay_run(plan->ctl, &what, st);
    json_decref(what.params);
    return report;
}

/* ---- printing */

static bool print_settings(const struct plan *plan, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"setting", "setting", CTL_CELL_PLAIN, false, false},
        {"now", "now", CTL_CELL_PLAIN, false, true},
        {"new", "new", CTL_CELL_PLAIN, false, true},
        {"takes effect with", "effect", CTL_CELL_PLAIN, false, false},
    };
    if (json_array_size(plan->settings) == 0)
        puts("no setting changes");
    else if (!ctl_print_table(plan->ctl, plan->settings, columns, sizeof columns / sizeof *columns, st))
        return false;
    putchar('\n');
    return true;
}

static bool print_json(const struct plan *plan, json_t *report, struct status *st)
{
    json_t *all = json_object();
    bool ok = ctl_params_text(all, "against", plan->against, st) &&
              ctl_params_set(all, "settings", json_incref(plan->settings), st) &&
              ctl_params_set(all, "replay", json_incref(report), st);
    if (ok)
        ctl_print_json(plan->ctl, all);
    json_decref(all);
    return ok;
}

/* what does not take long is told before what does */
static bool run(struct plan *plan, const struct ctl_arguments *arguments, struct status *st)
{
    bool table = plan->ctl->output == CTL_TABLE;
    if (!read_next(plan, arguments->words[0], st) || !read_now(plan, arguments, st) || !compare_settings(plan, st) ||
        !compare_behaviours(plan, st) || (table && !print_settings(plan, st)))
        return false;
    fflush(stdout);
    json_t *report = replay(plan, arguments, st);
    if (report == NULL)
        return false;
    bool ok = table ? ctl_replay_print(plan->ctl, report, st) : print_json(plan, report, st);
    json_decref(report);
    return ok;
}

int ctl_run_plan(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    struct plan plan = {.ctl = ctl};
    plan.settings = json_array();
    plan.changed = json_object();
    bool ok = run(&plan, arguments, &st);
    json_decref(plan.settings);
    json_decref(plan.changed);
    json_decref(plan.weights);
    return ok ? 0 : ctl_fail(ctl, &st);
}
