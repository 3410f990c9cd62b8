/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: which rows may be listed for this request, whatever anybody's taste. */
#ifndef RECSYS_DAEMON_ENGINE_QUALIFY_H
#define RECSYS_DAEMON_ENGINE_QUALIFY_H

#include "daemon/engine.h"

/* Rows of what the request names, SNAPSHOT_ROW_NONE where the shop does not have it. */
struct engine_named_rows {
    uint32_t *items, *item_ids, *exclude, *current;
};

/* Find them; unknown names go to answer->unknown, which gets room for every name of the request. False when the arena gives out. */
bool engine_qualify_find(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, struct engine_named_rows *rows);

/* Clear the bits of answer->view: not among the candidates of rank, excluded, looked at now, an example or in the cart, seen by the user (worker->history, and what
 * it does not hold from the store, up to `at_position`). INVALID_ARGUMENT / UNKNOWN_BEHAVIOUR. */
bool engine_qualify_hide(struct engine_worker *worker, const struct engine_request *request,
                         struct engine_answer *answer, const struct engine_named_rows *rows, int64_t at_position,
                         struct status *st);

#endif
