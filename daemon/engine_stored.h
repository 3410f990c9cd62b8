/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: the last link of the chain of what a list is made of. Where a deadline leaves no time to score
 * anything, a list that was computed before and put into the store (list.put) comes first: what suited the user last
 * night is better than what everybody gets. */
#ifndef RECSYS_DAEMON_ENGINE_STORED_H
#define RECSYS_DAEMON_ENGINE_STORED_H

#include "daemon/engine_list.h"

/* What these lists are called in the store: there is one of a user, and one of user 0, who is everybody. */
#define ENGINE_STORED_LIST "recommend"

/* For a plan that is `unscored`: put what still qualifies (bits of the view) of the user's list, or of everybody's
 * where the user has none, in front of `ranking`, in its order and with its scores. What was there follows, without
 * what the list has, up to `n` in all; ranking->items has room for so many. Where an item of the list is used
 * answer->degraded gets "stored".
 *
 * Nothing changes for a task other than ENGINE_RECOMMEND, where rules change the order, and where the request does
 * without some events. A list is as good as none where it does not fit the request: made with another model, counts or
 * catalogue than it fixes, or after the moment of the past that it asks about; so is one that cannot be read, which is
 * logged. At most `limits.list` of its items are looked at, and the store is asked once for each of the two lists, for
 * everybody's only if it is needed. RESOURCE_EXHAUSTED / NO_MEMORY. */
bool engine_stored_prefer(const struct scoring *scoring, size_t n, struct ranking *ranking,
                          struct engine_answer *answer, struct status *st);

#endif
