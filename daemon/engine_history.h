/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: what the user did, or the examples that were given, as the model sees it. */
#ifndef RECSYS_DAEMON_ENGINE_HISTORY_H
#define RECSYS_DAEMON_ENGINE_HISTORY_H

#include "daemon/engine_list.h"

/* Put the request's events and current items behind those of the log in worker->history, by time. Items that the shop does not have are left out and noted in
 * answer->unknown. INVALID_ARGUMENT / UNKNOWN_BEHAVIOUR. */
bool engine_history_extend(struct engine_worker *worker, const struct engine_request *request,
                           struct engine_answer *answer, struct status *st);

/* Is this event of the log taken as not happened? */
bool engine_history_is_without(const struct engine_request *request, int64_t position);

/* Take such events out of worker->history. */
void engine_history_drop(struct engine_worker *worker, const struct engine_request *request);

/* The newest `most` events of worker->history (at most what the model attends to) over a view. NULL when the arena gives out. */
struct recommender_event *engine_history_events(struct engine_worker *worker, const struct snapshot_view *view,
                                                size_t most, size_t *count);

/* The items (item_ids, 0: unknown) and examples of the request as events of age 0. An example of one modality has a row of its own in which the others are missing; it
 * counts for no transition. INVALID_ARGUMENT / UNKNOWN_MODALITY, BAD_VECTOR name the example. */
struct recommender_event *engine_history_examples(struct engine_worker *worker, const struct snapshot_view *view,
                                                  const struct engine_request *request, const uint32_t *item_ids,
                                                  struct engine_answer *answer, size_t *count, struct status *st);

#endif
