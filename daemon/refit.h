/* SPDX-License-Identifier: Apache-2.0
 *
 * The default model of a shop: when it should be fitted again, and fitting it. First at 256 items with a feature, then at each growth by half, on the
 * lowest item ids up to exactly that count. */
#ifndef RECSYS_DAEMON_REFIT_H
#define RECSYS_DAEMON_REFIT_H

#include "daemon/engine.h"
#include "models/model.h"

/* What a default model fitted now would be fitted on, as text: equal texts, equal models. At most `size` bytes. */
void refit_signature(const struct engine *engine, char *text, size_t size);

/* Whether `model` is a default model that was fitted on something else than this. A model that somebody trained is never replaced. */
bool refit_is_due(const struct engine *engine, const struct model *model);

/* Fit on the catalogue as it is. */
struct model *refit(const struct engine *engine, struct status *st);

#endif
