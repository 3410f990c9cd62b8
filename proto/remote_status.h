/* SPDX-License-Identifier: Apache-2.0
 *
 * A failure that a server reported, as a status of ours. Behind envelope.h and recsys_client.h. */
#ifndef RECSYS_PROTO_REMOTE_STATUS_H
#define RECSYS_PROTO_REMOTE_STATUS_H

#include "proto/status.h"

/* Fill `remote`, which is never OK afterwards: a code that we do not know becomes INTERNAL, because a later server's
 * reason and sentence still stand. */
void remote_status_fill(struct status *remote, int64_t code, const char *reason, const char *field,
                        const char *message);

#endif
