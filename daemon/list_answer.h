/* SPDX-License-Identifier: Apache-2.0
 *
 * From the fields of a request to a filled reply: what every method that answers with lists does. */
#ifndef RECSYS_DAEMON_LIST_ANSWER_H
#define RECSYS_DAEMON_LIST_ANSWER_H

#include "daemon/list_fields.h"

/* Check the fields, complete them from their scenario, answer and fill `reply`. `also_exclude`: items left out that the caller did not name (pages before this
 * one). The reply points into fields and answer: both are closed by list_answer_close once it is packed, on success. Errors name the field. */
bool list_answer(struct handler *handler, struct list_fields *fields, enum engine_task task,
                 const char *const *also_exclude, size_t also_count, struct engine_answer *answer,
                 Recsys__RankedList *reply, struct status *st);

void list_answer_close(struct list_fields *fields, struct engine_answer *answer);

#endif
