/* SPDX-License-Identifier: Apache-2.0
 *
 * What every command of recsysctl has in hand: where the daemon is, how to print, and the connection, made when it is
 * first needed. One thread. */
#ifndef RECSYS_DAEMON_CTL_SESSION_H
#define RECSYS_DAEMON_CTL_SESSION_H

#include "proto/recsys_client.h"
#include "proto/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CTL_TIMEOUT_MS 5000 /* of a call, where neither --timeout nor the command says otherwise */

/* The reason of a failure that is the caller's command line: exit code 64, and a hint to --help. */
#define CTL_USAGE     "USAGE"
#define CTL_EX_USAGE  64
#define CTL_EX_IOERR  74
#define CTL_EX_SIGINT 130

enum ctl_output { CTL_TABLE, CTL_JSON, CTL_NDJSON };

struct ctl {
    const char *endpoint; /* borrowed from argv or the environment */
    const char *command;  /* its name, for hints; "" before it is known */
    uint32_t timeout_ms;  /* 0: not given */
    enum ctl_output output;
    bool quiet;                   /* errors only on stderr: no notes, no progress */
    bool terminal;                /* stdout is one */
    bool colour;                  /* stdout may be coloured */
    struct recsys_client *client; /* owned; NULL until ctl_connect */
};

/* Connect unless that is done. `preset_timeout_ms` holds where --timeout was not given. A malformed endpoint is a usage
 * error. */
bool ctl_connect(struct ctl *ctl, uint32_t preset_timeout_ms, struct status *st);

/* Call `method`, connecting first. Consumes `params` (NULL: none). The daemon's result as a new reference, or NULL. */
json_t *ctl_call(struct ctl *ctl, const char *method, json_t *params, struct status *st);

/* Tell the failure on stderr as "recsysctl: sentence" with a line of what to do where that helps. Returns the exit
 * code. */
int ctl_fail(const struct ctl *ctl, const struct status *st);

/* A remark on stderr, "recsysctl: ..." ; nothing with --quiet. */
void ctl_note(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Close the connection. Accepts an all-zero struct. */
void ctl_close(struct ctl *ctl);

/* `return ctl_no_memory(st)`: false, with RESOURCE_EXHAUSTED / NO_MEMORY. */
bool ctl_no_memory(struct status *st);

#endif
