/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists that were served lately, for their next pages: the request as it came and the items shown so far, by recomm_id. In memory only, bounded in bytes, the oldest go
 * first. Any thread. */
#ifndef RECSYS_DAEMON_SERVED_H
#define RECSYS_DAEMON_SERVED_H

#include "proto/recsys.pb-c.h"
#include "proto/status.h"

#include <pthread.h>

struct served_entry;

struct served {
    pthread_mutex_t lock;
    struct served_entry *by_id, *oldest;
    size_t bytes, bytes_max;
    unsigned epoch; /* raised when all lists are forgotten */
};

/* One list, copied out; the caller closes it. */
struct served_list {
    ProtobufCMessage *request;
    char **items; /* shown on this page and those before it */
    size_t count;
    char *block; /* owned: what items point into */
};

void served_init(struct served *served, size_t bytes_max);
void served_close_all(struct served *served);

/* Forget all lists: somebody who is in one of them has been erased. */
void served_clear(struct served *served);

/* Raised by served_clear: what was answered before is not kept after it. To be read before a list is made. */
unsigned served_epoch(struct served *served);

/* Keep the request of a list that was made at `epoch`, and its items, behind `before_count` of the pages before. One that takes more than an eighth of the room is not kept; nor is anything
 * out of memory: then it has no next page. */
void served_add(struct served *served, unsigned epoch, const ProtobufCMessage *request, const Recsys__RankedList *list,
                const char *const *before, size_t before_count);

/* FAILED_PRECONDITION / RECOMM_GONE where it is not kept (any more). */
bool served_find(struct served *served, const char *recomm_id, struct served_list *out, struct status *st);
void served_close(struct served_list *list);

#endif
