/* SPDX-License-Identifier: Apache-2.0
 *
 * What registry.c, which decides what answers, asks of registry_upload.c, which decides what becomes a model. */
#ifndef RECSYS_DAEMON_REGISTRY_INTERNAL_H
#define RECSYS_DAEMON_REGISTRY_INTERNAL_H

#include "daemon/registry.h"

/* REGISTRY_CHECK, on the background thread: read the file of a complete upload once and store it as a model; true too
 * where it is one already. An upload whose file is at fault (INVALID_ARGUMENT, or MODEL_DAMAGED) is dropped; after
 * other failures it stays. What came of it is logged and counted here. */
bool registry_upload_check(struct registry *registry, struct registry_order *order, struct status *st);

/* Background thread, as often as it likes: every few seconds give up the uploads that nothing was heard of for
 * config.model_upload_ms. A failure is logged. */
void registry_upload_expire(struct registry *registry);

/* At start: give up every upload, in a transaction of its own. `store` is the writing connection; errors are its. */
bool registry_upload_forget(struct store *store, struct status *st);

#endif
