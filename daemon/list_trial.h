/* SPDX-License-Identifier: Apache-2.0
 *
 * A list within an experiment: whose variant it is, and for two interleaved models which of them brought each item. */
#ifndef RECSYS_DAEMON_LIST_TRIAL_H
#define RECSYS_DAEMON_LIST_TRIAL_H

#include "daemon/list_fields.h"

/* Find the user's variant of fields->experiment and put its scenario and model into the fields; nothing where the user is not in it, or the variant's model is not loaded
 * (fields->trial.missing says which). INVALID_ARGUMENT / UNKNOWN_EXPERIMENT, BAD_VALUE beside a model of the request's own. */
bool list_trial_begin(struct handler *handler, struct list_fields *fields, struct status *st);

/* Is the list made of two? */
bool list_trial_is_interleaved(const struct list_fields *fields);

/* Put the items of both lists into `first`, which is about to be sent, at most `n`, and remember who brought them. Both answers must live as long as the reply. False when
 * the arena gives out. */
bool list_trial_interleave(struct handler *handler, struct list_fields *fields, Recsys__RankedList *first,
                           const Recsys__RankedList *second, size_t n);

/* The experiment's name and the variant, into the reply; nothing where there is none. */
void list_trial_name(const struct list_fields *fields, Recsys__RankedList *reply);

void list_trial_close(struct list_fields *fields);

#endif
