/* SPDX-License-Identifier: Apache-2.0
 *
 * event add. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_stream.h"

#include <string.h>

static bool event_from_options(json_t *event, const struct ctl_arguments *arguments, struct status *st)
{
    static const char *const needed[] = {"user", "item"};
    for (size_t i = 0; i < 2; i++) {
        if (!ctl_option_given(arguments, needed[i]))
            return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--%s' is missing", needed[i]);
    }
    return ctl_params_text(event, "user", ctl_option_text(arguments, "user"), st) &&
           ctl_params_text(event, "item", ctl_option_text(arguments, "item"), st) &&
           ctl_params_text(event, "behaviour", ctl_option_text(arguments, "behaviour"), st) &&
           ctl_params_real(event, "value", ctl_option_text(arguments, "value"), st) &&
           ctl_params_text(event, "ts", ctl_option_text(arguments, "ts"), st) &&
           ctl_params_text(event, "key", ctl_option_text(arguments, "key"), st) &&
           ctl_params_text(event, "recomm_id", ctl_option_text(arguments, "recomm-id"), st);
}

static void print_added(const struct ctl *ctl, const json_t *result)
{
    if (ctl->output != CTL_TABLE) {
        ctl_print_json(ctl, result);
        return;
    }
    printf("added %lld, duplicates %lld, seq %s\n", (long long)ctl_member_integer(result, "added"),
           (long long)ctl_member_integer(result, "duplicates"), ctl_member_text(result, "seq"));
    if (ctl_member_integer(result, "created_users") + ctl_member_integer(result, "created_items") > 0)
        printf("created %lld users, %lld items\n", (long long)ctl_member_integer(result, "created_users"),
               (long long)ctl_member_integer(result, "created_items"));
}

static const struct ctl_rows event_rows = {"event.add", "events", event_from_options, print_added};

int ctl_run_event_add(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    int code;
    if (ctl_option_given(arguments, "create") && !ctl_params_set(params, "cascade_create", json_true(), &st)) {
        code = ctl_fail(ctl, &st);
    } else if (arguments->word_count == 0) {
        code = ctl_rows_one(ctl, &event_rows, arguments, params);
    } else if (strcmp(arguments->words[0], "-") == 0 && !ctl_option_given(arguments, "user")) {
        code = ctl_rows_stream(ctl, &event_rows, params);
    } else {
        status_fail(&st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "either --user and --item, or '-' for events on stdin");
        code = ctl_fail(ctl, &st);
    }
    json_decref(params);
    return code;
}
