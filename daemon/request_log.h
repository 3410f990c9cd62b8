/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists that were answered, kept for replays and experiments: the request without its user's name, what was listed, and what it was a function of. Written through the
 * writer, after the reply and without anybody waiting for it: what does not fit into its queue is dropped and counted. */
#ifndef RECSYS_DAEMON_REQUEST_LOG_H
#define RECSYS_DAEMON_REQUEST_LOG_H

#include "daemon/list_fields.h"

/* A list on its way into the log; one malloc'ed block. */
struct request_record;

/* Make a record of an answered list, or NULL: nothing is to be recorded (requests.log, and whether the list is part of an experiment), or there is no memory. `request` is
 * the message as it came. To be called before the reply is given away, which `request` and `list` go with. */
struct request_record *request_log_record(struct handler *handler, const char *method, const ProtobufCMessage *request,
                                          const struct list_fields *fields, const struct engine_answer *answer,
                                          const Recsys__RankedList *list);

/* Hand it to the writer, after a shadow's list has been computed where the experiment has one. NULL is fine. */
void request_log_finish(struct handler *handler, struct request_record *record);

/* The logged request as a message, with `user` as its user; free with protobuf_c_message_free_unpacked. NULL for one that cannot be read or is asked no more. */
ProtobufCMessage *request_log_message(const struct store_request *request, const char *user);

/* Share of `first` (count items) that `second` has too. 1 of an empty list. */
double request_log_overlap(const uint32_t *first, size_t count, const uint32_t *second, size_t second_count);

#endif
