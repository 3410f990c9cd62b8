/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: what a request's weights and modalities make of the parts of a score. */
#ifndef RECSYS_DAEMON_ENGINE_WEIGHTS_H
#define RECSYS_DAEMON_ENGINE_WEIGHTS_H

#include "daemon/engine_list.h"

/* The modality that a stream judges by. */
const char *engine_judged_modality(const struct architecture *architecture, int stream);

/* Fill scoring->part_weight: 1, but where the request names a modality, "behaviour" or "popularity". INVALID_ARGUMENT / UNKNOWN_MODALITY. */
bool engine_weigh(struct scoring *scoring, const struct engine_request *request, struct status *st);

/* For `similar`, after engine_weigh: nothing counts but the examples; with modalities named, each of them by itself. */
bool engine_weigh_similar(struct scoring *scoring, const struct engine_request *request, struct status *st);

#endif
