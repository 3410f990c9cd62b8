/* SPDX-License-Identifier: Apache-2.0
 *
 * user merge. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <stdio.h>

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
