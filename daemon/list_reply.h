/* SPDX-License-Identifier: Apache-2.0
 *
 * A list on its way out. */
#ifndef RECSYS_DAEMON_LIST_REPLY_H
#define RECSYS_DAEMON_LIST_REPLY_H

#include "daemon/list_fields.h"

#define LIST_ID_TEXT 33 /* of a recomm_id, with its end */

/* Fill `reply` with an answer; it points into the answer and the worker's arena. False when that gives out. */
bool list_reply_fill(struct handler *handler, const struct list_fields *fields, const struct engine_answer *answer,
                     Recsys__RankedList *reply);

#endif
