/* SPDX-License-Identifier: Apache-2.0
 *
 * user merge, erase; audience. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COUNT_MOST 1000000 /* what the daemon allows is its own affair */

int ctl_run_user_merge(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    if (!ctl_params_text(params, "from", arguments->words[0], &st) ||
        !ctl_params_text(params, "into", arguments->words[1], &st)) {
        json_decref(params);
        return ctl_fail(ctl, &st);
    }
    json_t *result = ctl_call(ctl, "user.merge", params, &st);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else if (json_is_false(json_object_get(result, "known")))
        ctl_note(ctl, "the shop does not know '%s'", arguments->words[0]);
    else
        printf("%lld events moved, %lld duplicates\n", (long long)ctl_member_integer(result, "moved"),
               (long long)ctl_member_integer(result, "duplicates"));
    json_decref(result);
    return 0;
}

/* ---- erase */

/* Asked on a terminal; elsewhere the command line has said it. */
static bool is_confirmed(const struct ctl_arguments *arguments)
{
    char answer[16];
    if (ctl_option_given(arguments, "yes") || isatty(STDIN_FILENO) != 1)
        return true;
    fprintf(stderr, "erase '%s' with all events? This cannot be undone. Type 'yes': ", arguments->words[0]);
    fflush(stderr);
    return fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0;
}

static void print_receipt(const struct ctl *ctl, const char *user, const json_t *result)
{
    const json_t *models = json_object_get(result, "models");
    size_t i;
    json_t *model;
    if (json_is_false(json_object_get(result, "known"))) {
        ctl_note(ctl, "the shop does not know '%s'", user);
        return;
    }
    printf("erased '%s': %lld events, %lld impressions, %lld logged requests\n", user,
           (long long)ctl_member_integer(result, "events"), (long long)ctl_member_integer(result, "impressions"),
           (long long)ctl_member_integer(result, "requests"));
    if (json_array_size(models) > 0)
        puts("models that may have been trained on these events:");
    json_array_foreach(models, i, model)
    {
        printf("  %s\n", json_string_value(model));
    }
}

int ctl_run_user_erase(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object(), *result = NULL;
    if (!ctl_params_text(params, "user", arguments->words[0], &st)) {
        json_decref(params);
        return ctl_fail(ctl, &st);
    }
    if (!is_confirmed(arguments)) {
        ctl_note(ctl, "nothing was erased");
        json_decref(params);
        return 1;
    }
    result = ctl_call(ctl, "user.erase", params, &st);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else
        print_receipt(ctl, arguments->words[0], result);
    json_decref(result);
    return 0;
}

/* ---- audience */

int ctl_run_audience(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    static const struct ctl_column columns[] = {{"rank", NULL, CTL_CELL_ORDINAL, true, false},
                                                {"user", "user", CTL_CELL_PLAIN, false, false},
                                                {"score", "score", CTL_CELL_SCORE, true, false}};
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    if (!ctl_params_text(params, "item", arguments->words[0], &st) ||
        !ctl_params_integer(params, "n", arguments, "count", 1, COUNT_MOST, &st) ||
        !ctl_params_integer(params, "users", arguments, "users", 1, COUNT_MOST, &st) ||
        !ctl_params_yes_no(params, "include_seen", ctl_option_text(arguments, "include-seen"), &st)) {
        json_decref(params);
        return ctl_fail(ctl, &st);
    }
    json_t *result = ctl_call(ctl, "audience", params, &st);
    const json_t *users = json_object_get(result, "users");
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(users);
    else if (ok)
        ok = ctl_print_table(ctl, users, columns, sizeof columns / sizeof *columns, &st);
    if (ok && ctl->output == CTL_TABLE)
        ctl_note(ctl, "%lld users looked at%s", (long long)ctl_member_integer(result, "looked_at"),
                 json_is_true(json_object_get(result, "complete")) ? "" : ", the others not in time");
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}
