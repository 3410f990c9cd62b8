/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands on models share. */
#ifndef RECSYS_DAEMON_CTL_MODEL_H
#define RECSYS_DAEMON_CTL_MODEL_H

#include "daemon/ctl_session.h"

#include <stddef.h>

/* Checking a large file and encoding a large catalogue take their time: connect with the patience for it, after a quick question that tells whether
 * anybody is there. `*chunk_bytes` (may be NULL) is how much of a file to send at a time. */
bool ctl_model_connect(struct ctl *ctl, size_t *chunk_bytes, struct status *st);

#endif
