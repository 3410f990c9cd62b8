/* SPDX-License-Identifier: Apache-2.0
 *
 * A list on its way out. */
#ifndef RECSYS_DAEMON_LIST_REPLY_H
#define RECSYS_DAEMON_LIST_REPLY_H

#include "daemon/list_fields.h"
#include "daemon/messages.h"

#define LIST_ID_TEXT 33 /* of a recomm_id, with its end */

/* Seven significant digits: what a float holds, and no more noise than that on the wire. */
double list_reply_rounded(float value);

/* What the explanations of one list share. */
struct list_words {
    const struct language *language;
    const char **memory;       /* reason_memory */
    const char *const *events; /* list_terms_events; NULL: terms are not told */
};

/* Fill one item, with its reason and terms where it has any. False when the arena gives out. */
bool list_reply_item(struct handler *handler, const struct list_fields *fields, const struct engine_answer *answer,
                     const struct list_words *words, const struct engine_item *from, Recsys__RankedItem *out);

/* Find the words for a list; `named`: terms are told. False when the arena gives out. */
bool list_reply_words(struct handler *handler, const struct list_fields *fields, const struct engine_answer *answer,
                      bool named, struct list_words *words);

/* Fill `reply` with an answer; it points into the answer and the worker's arena. False when that gives out. */
bool list_reply_fill(struct handler *handler, const struct list_fields *fields, const struct engine_answer *answer,
                     Recsys__RankedList *reply);

#endif
