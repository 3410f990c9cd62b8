/* SPDX-License-Identifier: Apache-2.0
 *
 * What the registry has stored: each function hands one task to the writer and waits for its commit. Background thread only. */
#ifndef RECSYS_DAEMON_REGISTRY_WRITE_H
#define RECSYS_DAEMON_REGISTRY_WRITE_H

#include "daemon/registry.h"

/* How an activation relates to the one before. */
enum registry_step {
    REGISTRY_STEP_NONE,    /* none: the model is only stored */
    REGISTRY_STEP_FORWARD, /* a rollback comes back to what answers now */
    REGISTRY_STEP_REPLACE, /* it passes that over */
    REGISTRY_STEP_BACK,    /* this is the rollback */
};

/* Store a model that was fitted here (bytes (size), and `training_json`) and take that step to it. */
bool registry_write_fitted(struct registry *registry, const struct store_model *model, const void *bytes, size_t size,
                           const char *training_json, enum registry_step step, struct status *st);

/* FORWARD to `version`, or BACK to `target`. */
bool registry_write_activation(struct registry *registry, enum registry_step step,
                               const struct store_activation *target, struct status *st);

/* A checked upload becomes a model; one that was refused, or all that are stale, go. */
bool registry_write_finish(struct registry *registry, const struct store_model *model, const char *training_json,
                           struct status *st);
bool registry_write_drop(struct registry *registry, const char *version, struct status *st);
bool registry_write_expire(struct registry *registry, struct status *st);

#endif
