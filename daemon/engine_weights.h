/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: what a request's weights and modalities make of the parts of a score. */
#ifndef RECSYS_DAEMON_ENGINE_WEIGHTS_H
#define RECSYS_DAEMON_ENGINE_WEIGHTS_H

#include "daemon/engine_list.h"

/* The modality that a stream judges by. */
const char *engine_judged_modality(const struct architecture *architecture, int stream);

/* Does the shop have vectors of this modality? */
bool engine_is_modality(struct catalog *catalog, const char *name);

/* Fill scoring->part_weight: 1, but where the request names a modality, "behaviour" or "popularity". For `similar` nothing counts but the examples; with modalities
 * named, each of them by itself. For `complement` what users did counts, and popularity just enough to order what it says nothing about. INVALID_ARGUMENT /
 * UNKNOWN_MODALITY. */
bool engine_weigh(struct scoring *scoring, const struct engine_request *request, struct status *st);

#endif
