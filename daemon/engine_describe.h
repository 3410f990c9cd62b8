/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: a ranking becomes an answer: parts of each score, where each item came from, and what is to be said about the list. */
#ifndef RECSYS_DAEMON_ENGINE_DESCRIBE_H
#define RECSYS_DAEMON_ENGINE_DESCRIBE_H

#include "daemon/engine_list.h"

/* Fill answer->items, with explain their terms too, and the traced item, whether listed or not. */
bool engine_describe_items(const struct scoring *scoring, const struct ranking *ranking, struct engine_answer *answer,
                           struct status *st);

/* Say why there are fewer than `n`, and where those came from that the user's taste did not bring. */
void engine_describe_shortage(const struct scoring *scoring, const struct ranking *ranking, size_t n,
                              struct engine_answer *answer);

#endif
