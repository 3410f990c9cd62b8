/* SPDX-License-Identifier: Apache-2.0
 *
 * What `replay` and `plan` share: ask for all pages of a replay, add them up, print what came of it. */
#ifndef RECSYS_DAEMON_CTL_REPLAY_H
#define RECSYS_DAEMON_CTL_REPLAY_H

#include "daemon/ctl_session.h"

#include <jansson.h>

#define CTL_REPLAY_COUNT 10000   /* requests, where -n does not say otherwise */
#define CTL_REPLAY_MOST  1000000 /* that -n may say */

/* The other side of the comparison. */
struct ctl_replay {
    const char *model; /* a version, or a name: its newest; NULL: the active one. Loaded for as long as it takes */
    json_t *params;    /* owned: scenarios, behaviours, from, until of the method */
    int64_t most;      /* requests looked at, at most */
};

/* The pages added up, as a new reference; NULL with `st`:
 *   compared, skipped       requests
 *   model, other            the two that answered
 *   groups[]                scenario, requests, equal, and but for one that is gone mean_overlap, mean_moved
 *   changes[]               as in the method's reply, the largest of all pages
 *   items[]                 item, change: lists that it is on more than before; the largest change first */
json_t *ctl_replay_run(struct ctl *ctl, const struct ctl_replay *replay, struct status *st);

/* That for people, on stdout. */
bool ctl_replay_print(const struct ctl *ctl, const json_t *report, struct status *st);

/* The text of a file of scenarios as a JSON string, for `scenarios` of the method; NULL with `st`. */
json_t *ctl_replay_read_scenarios(const char *path, struct status *st);

#endif
