/* SPDX-License-Identifier: Apache-2.0
 *
 * What a list says of itself, on its way out: terms of scores, the events that they are of, and what each stage left. */
#ifndef RECSYS_DAEMON_LIST_TERMS_H
#define RECSYS_DAEMON_LIST_TERMS_H

#include "daemon/handler.h"

/* The name of an event of answer->history in replies: its position in the log, or "+1", "+2", ... for those that came with the request, oldest first. Filled for all of
 * them at once, in the arena; NULL when that gives out. */
const char **list_terms_events(struct arena *arena, const struct engine_answer *answer);

/* The terms of an item; points into the answer and the arena. False when that gives out. */
bool list_terms_fill(struct arena *arena, const struct engine_answer *answer, const char *const *events,
                     const struct engine_item *item, Recsys__RankedItem *out);

/* The events attended to, and the funnel. */
bool list_terms_history(struct arena *arena, const struct engine_answer *answer, const char *const *events,
                        Recsys__RankedList *out);
bool list_terms_funnel(struct arena *arena, const struct engine_answer *answer, Recsys__RankedList *out);

#endif
