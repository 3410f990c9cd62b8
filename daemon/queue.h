/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded queue between threads: a ring under a mutex, with two conditions. Bounded in entries and in bytes; a full queue says so at once,
 * it never waits and never grows. */
#ifndef RECSYS_DAEMON_QUEUE_H
#define RECSYS_DAEMON_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_entry {
    void *item;
    size_t size_bytes;
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct queue_entry *ring;
    size_t capacity, first, count, bytes, bytes_max;
    bool closed;
};

/* False out of memory. */
bool queue_init(struct queue *queue, size_t capacity, size_t bytes_max);
void queue_close(struct queue *queue); /* empty by then */

/* False when it is full or ended; the item stays the caller's. An empty queue takes an item of any size. */
bool queue_push(struct queue *queue, void *item, size_t size_bytes);

/* The next item. Waits until `deadline_us` on the monotonic clock (0: not at all; INT64_MAX: for ever). NULL when there was none, or when the queue has
 * ended and is empty. */
void *queue_pop(struct queue *queue, int64_t deadline_us);

/* No more pushes; who waits wakes up once it is empty. */
void queue_end(struct queue *queue);

/* Ended, and nothing is left. */
bool queue_is_over(struct queue *queue);

size_t queue_depth(struct queue *queue);

#endif
