/* SPDX-License-Identifier: Apache-2.0
 *
 * import: from files to the daemon. Items come first, then vectors, which refuse unknown items, then events, which
 * create them. */
#include "daemon/ctl_import.h"

#include "daemon/ctl_commands.h"
#include "daemon/timestamp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* Once: the second Ctrl-C ends the program there and then. */
void import_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool import_interrupted(void)
{
    return interrupted != 0;
}

/* A quick question first: that nobody is there should not take as long as a batch may. */
static bool connect_daemon(struct ctl *ctl, struct status *st)
{
    json_t *pong = ctl_call(ctl, "ping", NULL, st);
    if (pong == NULL)
        return false;
    json_decref(pong);
    ctl_close(ctl);
    return ctl_connect(ctl, IMPORT_TIMEOUT_MS, st);
}

static bool send_all(struct import *import, struct status *st)
{
    int64_t started_us = timestamp_monotonic_us();
    bool ok = import->dry_run || connect_daemon(import->ctl, st);
    if (ok && import->items_path != NULL)
        ok = import_items(import, st);
    for (size_t i = 0; ok && i < import->feature_count && !import_interrupted(); i++)
        ok = import_features(import, &import->features[i], st);
    if (ok && import->events_path != NULL && !import_interrupted())
        ok = import_events(import, st);
    import->total_us = timestamp_monotonic_us() - started_us;
    return ok;
}

static bool is_transient(const struct status *st)
{
    return st->code == STATUS_UNAVAILABLE || st->code == STATUS_DEADLINE_EXCEEDED ||
           st->code == STATUS_RESOURCE_EXHAUSTED || st->code == STATUS_ABORTED;
}

static int run(struct import *import, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    if (!import_check(import, arguments, &st))
        return ctl_fail(import->ctl, &st);
    import_catch_signals();
    bool ok = send_all(import, &st);
    if (ok || import->sent_any || import->reported > 0)
        import_print_summary(import, ok && !import_interrupted());
    if (!ok) {
        int code = ctl_fail(import->ctl, &st);
        if (import->sent_any && is_transient(&st))
            fprintf(stderr, "hint: what was acknowledged is stored; run the same command again and it continues\n");
        return code;
    }
    if (import_interrupted()) {
        ctl_note(import->ctl, "interrupted; run the same command again and it continues");
        return CTL_EX_SIGINT;
    }
    return 0;
}

int ctl_run_import(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct import *import = calloc(1, sizeof *import); /* a few hundred KiB: too much for the stack */
    if (import == NULL) {
        struct status st = STATUS_INIT;
        ctl_no_memory(&st);
        return ctl_fail(ctl, &st);
    }
    import->ctl = ctl;
    import->progress.style = ctl->quiet ? PROGRESS_NONE : progress_style_of_stderr();
    int code = run(import, arguments);
    import_close(import);
    free(import);
    return code;
}
