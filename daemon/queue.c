/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/queue.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool queue_init(struct queue *queue, size_t capacity, size_t bytes_max)
{
    memset(queue, 0, sizeof *queue);
    queue->ring = calloc(capacity, sizeof *queue->ring);
    queue->capacity = capacity;
    queue->bytes_max = bytes_max;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->filled, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&queue->lock, NULL);
    return queue->ring != NULL;
}

void queue_close(struct queue *queue)
{
    if (queue->ring == NULL)
        return;
    free(queue->ring);
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
    memset(queue, 0, sizeof *queue);
}

bool queue_push(struct queue *queue, void *item, size_t size_bytes)
{
    pthread_mutex_lock(&queue->lock);
    bool fits = !queue->closed && queue->count < queue->capacity &&
                (queue->count == 0 || queue->bytes + size_bytes <= queue->bytes_max);
    if (fits) {
        queue->ring[(queue->first + queue->count) % queue->capacity] = (struct queue_entry){item, size_bytes};
        queue->count++;
        queue->bytes += size_bytes;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return fits;
}

void *queue_pop(struct queue *queue, int64_t deadline_us)
{
    void *item = NULL;
    struct timespec until = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000};
    int waited = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->closed && deadline_us != 0 && waited == 0) {
        if (deadline_us == INT64_MAX)
            pthread_cond_wait(&queue->filled, &queue->lock);
        else
            waited = pthread_cond_timedwait(&queue->filled, &queue->lock, &until);
    }
    if (queue->count > 0) {
        item = queue->ring[queue->first].item;
        queue->bytes -= queue->ring[queue->first].size_bytes;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
    }
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void queue_end(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_depth(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t depth = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return depth;
}

bool queue_is_over(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool over = queue->closed && queue->count == 0;
    pthread_mutex_unlock(&queue->lock);
    return over;
}
