/* SPDX-License-Identifier: Apache-2.0
 *
 * model list, activate, rollback, load, unload, delete. */
#include "daemon/ctl_model.h"

#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <stdio.h>

#define TIMEOUT_MS  600000
#define CHUNK_BYTES (1 << 20)

bool ctl_model_connect(struct ctl *ctl, size_t *chunk_bytes, struct status *st)
{
    json_t *info = ctl_call(ctl, "server.info", NULL, st);
    if (info == NULL)
        return false;
    int64_t frame_bytes = ctl_member_integer(json_object_get(info, "limits"), "frame_bytes");
    if (chunk_bytes != NULL)
        *chunk_bytes = frame_bytes > 0 && frame_bytes < CHUNK_BYTES ? (size_t)frame_bytes : CHUNK_BYTES;
    json_decref(info);
    ctl_close(ctl);
    return ctl_connect(ctl, TIMEOUT_MS, st);
}

/* ---- list */

static bool print_models(const struct ctl *ctl, const json_t *result, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"version", "version", CTL_CELL_PLAIN, false, false},
        {"state", "state", CTL_CELL_PLAIN, false, false},
        {"size", "size_bytes", CTL_CELL_BYTES, true, false},
        {"stored", "created_ms", CTL_CELL_TIME, false, false},
        {"ndcg@10", "metrics.ndcg@10", CTL_CELL_SCORE, true, false},
        {"validation", "validation.ndcg@10", CTL_CELL_SCORE, true, false},
        {"trained on", "training_data", CTL_CELL_PLAIN, false, true},
    };
    const json_t *models = json_object_get(result, "models");
    if (ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ctl->output == CTL_NDJSON)
        ctl_print_lines(models);
    else
        return ctl_print_table(ctl, models, columns, sizeof columns / sizeof *columns, st);
    return true;
}

int ctl_run_model_list(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    (void)arguments;
    struct status st = STATUS_INIT;
    json_t *result = ctl_call(ctl, "model.list", NULL, &st);
    bool ok = result != NULL && print_models(ctl, result, &st);
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}

/* ---- activate, rollback */

static void print_switch(const struct ctl *ctl, const json_t *result)
{
    const char *model = ctl_member_text(result, "model");
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else if (json_is_true(json_object_get(result, "activated")))
        printf("%s answers from now on, %s did before\n", model, ctl_member_text(result, "before"));
    else
        printf("%s goes on answering: %s\n", model, ctl_member_text(result, "kept"));
}

/* consumes `params` */
static int switch_model(struct ctl *ctl, const char *method, json_t *params)
{
    struct status st = STATUS_INIT;
    json_t *result = NULL;
    if (ctl_model_connect(ctl, NULL, &st))
        result = ctl_call(ctl, method, json_incref(params), &st);
    json_decref(params);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    print_switch(ctl, result);
    json_decref(result);
    return 0;
}

int ctl_run_model_activate(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool ok = ctl_params_text(params, "name", arguments->words[0], &st);
    if (ok && ctl_option_given(arguments, "if-better"))
        ok = ctl_params_set(params, "if_better", json_true(), &st);
    if (ok)
        return switch_model(ctl, "model.activate", params);
    json_decref(params);
    return ctl_fail(ctl, &st);
}

int ctl_run_model_rollback(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    (void)arguments;
    return switch_model(ctl, "model.rollback", json_object());
}

/* ---- load, unload */

/* encoding the catalogue takes its time */
static int call_patiently(struct ctl *ctl, const char *method, const char *name, const char *says)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object(), *result = NULL;
    if (ctl_params_text(params, "name", name, &st) && ctl_model_connect(ctl, NULL, &st))
        result = ctl_call(ctl, method, json_incref(params), &st);
    json_decref(params);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else
        printf("%s %s\n", ctl_member_text(result, "model"), says);
    json_decref(result);
    return 0;
}

int ctl_run_model_load(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    return call_patiently(ctl, "model.load", arguments->words[0], "is loaded: requests can name it");
}

int ctl_run_model_unload(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    return call_patiently(ctl, "model.unload", arguments->words[0], "is no longer loaded");
}

/* ---- delete */

int ctl_run_model_delete(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object(), *result = NULL;
    if (ctl_params_text(params, "name", arguments->words[0], &st))
        result = ctl_call(ctl, "model.delete", json_incref(params), &st);
    json_decref(params);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else
        printf("deleted %s\n", ctl_member_text(result, "version"));
    json_decref(result);
    return 0;
}
