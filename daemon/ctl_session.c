/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool ctl_connect(struct ctl *ctl, uint32_t preset_timeout_ms, struct status *st)
{
    if (ctl->client != NULL)
        return true;
    uint32_t timeout_ms = ctl->timeout_ms > 0 ? ctl->timeout_ms : preset_timeout_ms;
    ctl->client = recsys_client_new(ctl->endpoint, timeout_ms, st);
    if (ctl->client == NULL && st->code == STATUS_INVALID_ARGUMENT)
        snprintf(st->reason, sizeof st->reason, "%s", CTL_USAGE);
    return ctl->client != NULL;
}

json_t *ctl_call(struct ctl *ctl, const char *method, json_t *params, struct status *st)
{
    json_t *result = NULL;
    if (ctl_connect(ctl, CTL_TIMEOUT_MS, st))
        result = recsys_client_call_json(ctl->client, method, params, st);
    json_decref(params);
    return result;
}

/* libzmq connects in the background and keeps it to itself why it cannot: look at the socket's file for the two usual
 * causes. */
static void hint_unavailable(const struct ctl *ctl)
{
    static const char scheme[] = "ipc://";
    if (strncmp(ctl->endpoint, scheme, sizeof scheme - 1) == 0) {
        const char *path = ctl->endpoint + sizeof scheme - 1;
        if (access(path, R_OK | W_OK) != 0 && (errno == ENOENT || errno == EACCES)) {
            fprintf(stderr, "hint: '%s': %s; %s\n", path, strerror(errno),
                    errno == ENOENT ? "is recsysd running? (--endpoint and RECSYSCTL_ENDPOINT say where)"
                                    : "the socket belongs to recsysd's user and group");
            return;
        }
    }
    fprintf(stderr, "hint: is recsysd running at %s? (--endpoint and RECSYSCTL_ENDPOINT say where)\n", ctl->endpoint);
}

static void hint(const struct ctl *ctl, const struct status *st)
{
    const char *command = ctl->command != NULL ? ctl->command : "";
    if (strcmp(st->reason, CTL_USAGE) == 0) {
        fprintf(stderr, "hint: 'recsysctl %s%s--help' shows how it is used\n", command, *command != '\0' ? " " : "");
        return;
    }
    if (strcmp(command, "event add") == 0 &&
        (strcmp(st->reason, "UNKNOWN_ITEM") == 0 || strcmp(st->reason, "UNKNOWN_USER") == 0)) {
        fprintf(stderr, "hint: --create adds users and items that the shop does not know\n");
        return;
    }
    switch (st->code) {
    case STATUS_UNAVAILABLE:
        if (strcmp(st->reason, "NO_ANSWER") == 0) /* else somebody did answer */
            hint_unavailable(ctl);
        break;
    case STATUS_DEADLINE_EXCEEDED:
        fprintf(stderr, "hint: --timeout MS waits longer\n");
        break;
    case STATUS_UNAUTHENTICATED:
        fprintf(stderr, "hint: recsysd at %s wants to know who asks; its ipc endpoint may not\n", ctl->endpoint);
        break;
    case STATUS_PERMISSION_DENIED:
        fprintf(stderr, "hint: this client's role at %s does not include that\n", ctl->endpoint);
        break;
    case STATUS_UNIMPLEMENTED:
        fprintf(stderr, "hint: compare the versions: 'recsysctl --version' and 'recsysctl info'\n");
        break;
    default:
        if (st->retry_after_ms > 0)
            fprintf(stderr, "hint: try again in %u ms\n", st->retry_after_ms);
        break;
    }
}

int ctl_fail(const struct ctl *ctl, const struct status *st)
{
    fflush(stdout); /* keep what was printed in front of the complaint */
    if (st->field[0] != '\0' && strstr(st->message, st->field) == NULL)
        fprintf(stderr, "recsysctl: %s: %s\n", st->field, st->message);
    else
        fprintf(stderr, "recsysctl: %s\n", st->message);
    hint(ctl, st);
    return strcmp(st->reason, CTL_USAGE) == 0 ? CTL_EX_USAGE : status_exit_code(st->code);
}

void ctl_note(const struct ctl *ctl, const char *format, ...)
{
    if (ctl->quiet)
        return;
    fflush(stdout);
    fputs("recsysctl: ", stderr);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void ctl_close(struct ctl *ctl)
{
    recsys_client_free(ctl->client);
    ctl->client = NULL;
}

bool ctl_no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}
