/* SPDX-License-Identifier: Apache-2.0
 *
 * One writer commits events and appends them to the histories, readers check that each read has everything that
 * was acknowledged before it began, once, in order. The k-th event of a user has item_id k. For the thread
 * sanitizer: plain main, exit code 1 on failure. */
#include "storage/histories.h"
#include "tests/unit/fake_store.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define USERS     24
#define READERS   3
#define EVENTS    3000
#define BYTES_MAX (48 << 10) /* so little that users are evicted all the time */

struct stress {
    struct store *store;
    struct histories *histories;
    atomic_uint acknowledged[USERS]; /* events of the user */
    atomic_llong acknowledged_position;
    atomic_int reads, cached, failures;
    atomic_bool done;
};

struct reader {
    struct stress *stress;
    unsigned random_state;
    pthread_t thread;
};

static void user_name(char name[16], unsigned user)
{
    snprintf(name, 16, "user-%u", user);
}

static void fail(struct stress *stress, unsigned user, const char *what)
{
    atomic_fetch_add(&stress->failures, 1);
    fprintf(stderr, "stress_histories: user %u: %s\n", user, what);
}

/* `least`: events of the user that were acknowledged before the read. */
static void check(struct stress *stress, unsigned user, const struct history *history, int64_t at_position,
                  size_t newest, unsigned least)
{
    for (size_t i = 0; i < history->count; i++) {
        if (history->events[i].position > at_position)
            fail(stress, user, "an event from after the position");
        if (i > 0 && history->events[i].item_id != history->events[i - 1].item_id + 1)
            fail(stress, user, "events are missing, repeated or out of order");
    }
    unsigned last = history->count == 0 ? 0 : history->events[history->count - 1].item_id;
    if (at_position == INT64_MAX && newest > 0 && last < least)
        fail(stress, user, "an acknowledged event is missing");
    if (history->complete && history->count > 0 && history->events[0].item_id != 1)
        fail(stress, user, "complete without the first event");
    if (!history->complete && history->count != newest)
        fail(stress, user, "not complete and too short");
    if (history->user_id == 0 && (history->count > 0 || least > 0))
        fail(stress, user, "a user with events is unknown");
}

static void *read_histories(void *context)
{
    struct reader *reader = context;
    struct stress *stress = reader->stress;
    struct history history = {.events = NULL};
    static const size_t SIZES[] = {1, 7, 50, HISTORIES_EVENTS_MAX};
    while (!atomic_load(&stress->done)) {
        unsigned user = (unsigned)rand_r(&reader->random_state) % USERS;
        size_t newest = SIZES[rand_r(&reader->random_state) % 4];
        unsigned least = atomic_load(&stress->acknowledged[user]);
        int64_t at_position =
            rand_r(&reader->random_state) % 3 > 0 ? INT64_MAX : atomic_load(&stress->acknowledged_position);
        char name[16];
        user_name(name, user);
        struct status st = STATUS_INIT;
        if (!histories_read(stress->histories, stress->store, name, at_position, newest, &history, &st))
            fail(stress, user, st.message);
        check(stress, user, &history, at_position, newest, least);
        atomic_fetch_add(&stress->reads, 1);
        atomic_fetch_add(&stress->cached, history.cached);
    }
    history_close(&history);
    return NULL;
}

static void write_histories(struct stress *stress)
{
    unsigned random_state = 1;
    for (int i = 1; i <= EVENTS; i++) {
        unsigned user = (unsigned)rand_r(&random_state) % USERS;
        char name[16];
        user_name(name, user);
        struct store_event event = {.ts_ms = i, .item_id = atomic_load(&stress->acknowledged[user]) + 1};
        fake_store_append(stress->store, name, &event);
        histories_append(stress->histories, name, &event);
        atomic_store(&stress->acknowledged[user], event.item_id);
        atomic_store(&stress->acknowledged_position, event.position);
        if (i % 100 == 0)
            histories_drop(stress->histories, i % 1000 == 0 ? NULL : name);
        /* Keep pace with the readers, so that both are at work all the time. */
        while (atomic_load(&stress->reads) < 2 * i)
            sched_yield();
    }
    atomic_store(&stress->done, true);
}

int main(void)
{
    static struct stress stress;
    stress.store = fake_store_new();
    stress.histories = histories_new(BYTES_MAX);
    if (stress.histories == NULL)
        return 1;
    struct reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.stress = &stress, .random_state = i + 10};
        if (pthread_create(&readers[i].thread, NULL, read_histories, &readers[i]) != 0)
            abort();
    }
    write_histories(&stress);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    int cached = atomic_load(&stress.cached), reads = atomic_load(&stress.reads);
    size_t users, bytes;
    histories_size(stress.histories, &users, &bytes);
    if (bytes > BYTES_MAX || cached == 0 || cached == reads) {
        fprintf(stderr, "stress_histories: %zu bytes, %d of %d reads from memory\n", bytes, cached, reads);
        atomic_fetch_add(&stress.failures, 1);
    }
    histories_free(stress.histories);
    fake_store_free(stress.store);
    printf("stress_histories: %d reads, %d from memory, %d failures\n", reads, cached, atomic_load(&stress.failures));
    return atomic_load(&stress.failures) == 0 ? 0 : 1;
}
