/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: the terms of a score. A sum taken apart by models/explanation.h gets names here: of modalities, events and boosts. */
#ifndef RECSYS_DAEMON_ENGINE_EXPLAIN_H
#define RECSYS_DAEMON_ENGINE_EXPLAIN_H

#include "daemon/engine_list.h"

/* The events that the scores attend to: answer->history, newest first. Nothing for who explains nothing. False when the arena gives out. */
bool engine_explain_history(const struct scoring *scoring, struct engine_answer *answer);

/* Fill the terms of items (count), which are the rows of `ranked`, out of `explained` (count; NULL for a top, whose score is one term); terms that are exactly 0 are left
 * out. */
bool engine_explain_items(const struct scoring *scoring, const struct ranked *ranked, size_t count,
                          const struct explanation *explained, struct engine_item *items, struct status *st);

#endif
