/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/queue.h"

#include "daemon/timestamp.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>

static int numbers[20000]; /* an item is the address of its number */

static struct queue queue;

static void *item(int number)
{
    return &numbers[number];
}

static int number_of(const void *item)
{
    return item == NULL ? -1 : (int)((const int *)item - numbers);
}

static void set_up(size_t capacity, size_t bytes_max)
{
    cr_assert(queue_init(&queue, capacity, bytes_max));
}

Test(queue, hands_out_in_order_around_the_ring)
{
    set_up(3, 1000);
    int in = 0, out = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i <= round % 3; i++)
            cr_assert(queue_push(&queue, item(in++), 1));
        cr_assert_eq(queue_depth(&queue), (size_t)(in - out));
        while (out < in)
            cr_assert_eq(number_of(queue_pop(&queue, 0)), out++);
    }
    cr_assert_null(queue_pop(&queue, 0));
    queue_close(&queue);
}

Test(queue, takes_no_more_entries_than_it_may)
{
    set_up(2, 1000);
    cr_assert(queue_push(&queue, item(0), 0));
    cr_assert(queue_push(&queue, item(1), 0));
    cr_assert_not(queue_push(&queue, item(2), 0));
    cr_assert_eq(queue_depth(&queue), 2);
    cr_assert_eq(number_of(queue_pop(&queue, 0)), 0);
    cr_assert(queue_push(&queue, item(3), 0));
    cr_assert_eq(number_of(queue_pop(&queue, 0)), 1);
    cr_assert_eq(number_of(queue_pop(&queue, 0)), 3);
    queue_close(&queue);
}

Test(queue, takes_no_more_bytes_than_it_may)
{
    set_up(100, 10);
    cr_assert(queue_push(&queue, item(0), 25), "an empty queue takes an item of any size");
    cr_assert_not(queue_push(&queue, item(1), 1));
    cr_assert_eq(number_of(queue_pop(&queue, 0)), 0);
    cr_assert(queue_push(&queue, item(2), 4));
    cr_assert(queue_push(&queue, item(3), 6), "exactly full");
    cr_assert_not(queue_push(&queue, item(4), 1));
    cr_assert(queue_push(&queue, item(5), 0));
    cr_assert_eq(number_of(queue_pop(&queue, 0)), 2);
    cr_assert_not(queue_push(&queue, item(6), 5));
    cr_assert(queue_push(&queue, item(7), 4), "what left makes room");
    queue_close(&queue);
}

Test(queue, pop_waits_no_longer_than_its_deadline)
{
    set_up(4, 100);
    cr_assert_null(queue_pop(&queue, 0));
    cr_assert_null(queue_pop(&queue, 1), "a deadline that has passed");
    int64_t deadline_us = timestamp_monotonic_us() + 20000;
    cr_assert_null(queue_pop(&queue, deadline_us));
    cr_assert_geq(timestamp_monotonic_us(), deadline_us);
    cr_assert(queue_push(&queue, item(8), 1));
    cr_assert_eq(number_of(queue_pop(&queue, 1)), 8, "what is there is handed out even late");
    queue_close(&queue);
}

Test(queue, an_ended_queue_hands_out_the_rest)
{
    set_up(4, 100);
    cr_assert(queue_push(&queue, item(1), 1));
    cr_assert(queue_push(&queue, item(2), 1));
    cr_assert_not(queue_is_over(&queue));
    queue_end(&queue);
    cr_assert_not(queue_push(&queue, item(3), 1));
    cr_assert_not(queue_is_over(&queue));
    cr_assert_eq(number_of(queue_pop(&queue, INT64_MAX)), 1);
    cr_assert_eq(number_of(queue_pop(&queue, INT64_MAX)), 2);
    cr_assert(queue_is_over(&queue));
    cr_assert_null(queue_pop(&queue, INT64_MAX), "nobody waits for what cannot come");
    queue_close(&queue);
}

Test(queue, close_copes_with_a_queue_that_never_was)
{
    struct queue none = {.ring = NULL};
    queue_close(&none);
    cr_assert_null(none.ring);
}

#define THREADS 3
#define EACH    5000

static atomic_int seen[THREADS * EACH];
static atomic_bool out_of_order;

static void *produce(void *first)
{
    for (int i = 0; i < EACH; i++)
        while (!queue_push(&queue, item(number_of(first) + i), 1))
            sched_yield(); /* full */
    return NULL;
}

static void *consume(void *unused)
{
    int last[THREADS] = {-1, -1, -1};
    (void)unused;
    for (void *got; (got = queue_pop(&queue, INT64_MAX)) != NULL;) {
        int number = number_of(got), producer = number / EACH;
        atomic_fetch_add(&seen[number], 1);
        if (number <= last[producer])
            atomic_store(&out_of_order, true);
        last[producer] = number;
    }
    return NULL;
}

Test(queue, threads_get_every_item_once_and_in_order)
{
    pthread_t producers[THREADS], consumers[THREADS];
    set_up(16, 12);
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&consumers[i], NULL, consume, NULL), 0);
        cr_assert_eq(pthread_create(&producers[i], NULL, produce, item(i * EACH)), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(producers[i], NULL);
    queue_end(&queue);
    for (int i = 0; i < THREADS; i++) /* all who wait wake up */
        pthread_join(consumers[i], NULL);
    for (int i = 0; i < THREADS * EACH; i++)
        cr_assert_eq(atomic_load(&seen[i]), 1, "item %d came %d times", i, atomic_load(&seen[i]));
    cr_assert_not(atomic_load(&out_of_order));
    cr_assert(queue_is_over(&queue));
    queue_close(&queue);
}
