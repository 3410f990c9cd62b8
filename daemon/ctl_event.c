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

static int add_stream(struct ctl *ctl, json_t *params)
{
    struct status st = STATUS_INIT;
    struct ctl_stream stream = {.file = stdin, .name = "stdin"};
    bool ok = ctl_stream_send(ctl, &stream, "event.add", "events", params, &st);
    if (stream.result != NULL)
        print_added(ctl, stream.result);
    int code = !ok ? ctl_fail(ctl, &st) : stream.bad > 0 ? status_exit_code(STATUS_INVALID_ARGUMENT) : 0;
    if (ok && stream.bad > 0)
        ctl_note(ctl, "%llu of %llu lines were refused", (unsigned long long)stream.bad,
                 (unsigned long long)stream.line_number);
    ctl_stream_close(&stream);
    return code;
}

static int add_one(struct ctl *ctl, const struct ctl_arguments *arguments, json_t *params)
{
    struct status st = STATUS_INIT;
    json_t *result = NULL;
    json_t *event = json_object();
    json_t *events = json_array();
    int code;
    if (json_array_append_new(events, event) != 0) {
        json_decref(events);
        ctl_no_memory(&st);
        goto out;
    }
    if (!ctl_params_set(params, "events", events, &st) || !event_from_options(event, arguments, &st))
        goto out;
    result = ctl_call(ctl, "event.add", json_incref(params), &st);
    if (result != NULL)
        print_added(ctl, result);
out:
    code = result != NULL ? 0 : ctl_fail(ctl, &st);
    json_decref(result);
    return code;
}

int ctl_run_event_add(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    int code;
    if (ctl_option_given(arguments, "create") && !ctl_params_set(params, "cascade_create", json_true(), &st)) {
        code = ctl_fail(ctl, &st);
    } else if (arguments->word_count == 0) {
        code = add_one(ctl, arguments, params);
    } else if (strcmp(arguments->words[0], "-") == 0 && !ctl_option_given(arguments, "user")) {
        code = add_stream(ctl, params);
    } else {
        status_fail(&st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "either --user and --item, or '-' for events on stdin");
        code = ctl_fail(ctl, &st);
    }
    json_decref(params);
    return code;
}
