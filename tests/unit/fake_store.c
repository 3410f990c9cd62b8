/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct user {
    int64_t user_id;
    char name[64];
};

struct store {
    pthread_mutex_t lock; /* guards all below; a hook is called without it */
    struct user *users;
    size_t user_count;
    struct store_event *log;
    size_t log_count;
    int64_t last_user_id, last_position;
    int reads, views;
    bool fail;
    void (*hook)(void *context);
    void *hook_context;
    struct fake_catalog catalog;
};

struct store *fake_store_new(void)
{
    struct store *store = calloc(1, sizeof *store);
    assert(store != NULL);
    pthread_mutex_init(&store->lock, NULL);
    return store;
}

void fake_store_free(struct store *store)
{
    pthread_mutex_destroy(&store->lock);
    free(store->users);
    free(store->log);
    free(store);
}

/* Make room for one more in powers of two. */
static void *grow(void *array, size_t count, size_t size_bytes)
{
    if ((count & (count - 1)) != 0)
        return array;
    array = realloc(array, (count == 0 ? 1 : 2 * count) * size_bytes);
    assert(array != NULL);
    return array;
}

static struct user *find_user(struct store *store, const char *name)
{
    for (size_t i = 0; i < store->user_count; i++) {
        if (strcmp(store->users[i].name, name) == 0)
            return &store->users[i];
    }
    return NULL;
}

static struct user *add_user(struct store *store, const char *name)
{
    store->users = grow(store->users, store->user_count, sizeof store->users[0]);
    struct user *user = &store->users[store->user_count++];
    user->user_id = ++store->last_user_id;
    assert(strlen(name) < sizeof user->name);
    strcpy(user->name, name);
    return user;
}

void fake_store_append(struct store *store, const char *name, struct store_event *event)
{
    pthread_mutex_lock(&store->lock);
    struct user *user = find_user(store, name);
    if (user == NULL)
        user = add_user(store, name);
    event->user_id = user->user_id;
    event->position = ++store->last_position;
    store->log = grow(store->log, store->log_count, sizeof store->log[0]);
    store->log[store->log_count++] = *event;
    pthread_mutex_unlock(&store->lock);
}

void fake_store_forget(struct store *store, const char *name)
{
    pthread_mutex_lock(&store->lock);
    struct user *user = find_user(store, name);
    if (user != NULL) {
        for (size_t i = 0; i < store->log_count; i++) {
            if (store->log[i].user_id == user->user_id)
                store->log[i].user_id = 0;
        }
        user->name[0] = '\0';
    }
    pthread_mutex_unlock(&store->lock);
}

int fake_store_reads(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    int reads = store->reads;
    pthread_mutex_unlock(&store->lock);
    return reads;
}

void fake_store_fail(struct store *store, bool fail)
{
    store->fail = fail;
}

void fake_store_hook(struct store *store, void (*hook)(void *context), void *context)
{
    store->hook = hook;
    store->hook_context = context;
}

void fake_store_set_catalog(struct store *store, const struct fake_catalog *catalog)
{
    store->catalog = *catalog;
}

int fake_store_views(struct store *store)
{
    return store->views;
}

static bool finish_read(struct store *store, struct status *st)
{
    if (store->hook != NULL)
        store->hook(store->hook_context);
    return !store->fail || status_fail(st, STATUS_UNAVAILABLE, "STORE_IO", "read 'fake': input/output error");
}

bool store_user_find(struct store *store, const char *name, bool create, int64_t *user_id, bool *created,
                     struct status *st)
{
    assert(!create);
    pthread_mutex_lock(&store->lock);
    store->reads++;
    struct user *user = find_user(store, name);
    int64_t found = user == NULL ? 0 : user->user_id;
    pthread_mutex_unlock(&store->lock);
    if (!finish_read(store, st))
        return false;
    *user_id = found;
    *created = false;
    return true;
}

static int compare_events(const void *left, const void *right)
{
    const struct store_event *a = left, *b = right;
    if (a->ts_ms != b->ts_ms)
        return a->ts_ms < b->ts_ms ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

/* All of the user's events in order, malloc'ed. */
static struct store_event *sorted_events(struct store *store, int64_t user_id, int64_t at_position, size_t *count)
{
    pthread_mutex_lock(&store->lock);
    store->reads++;
    struct store_event *events = malloc((store->log_count + 1) * sizeof events[0]);
    assert(events != NULL);
    *count = 0;
    for (size_t i = 0; i < store->log_count; i++) {
        if (store->log[i].user_id == user_id && store->log[i].position <= at_position)
            events[(*count)++] = store->log[i];
    }
    pthread_mutex_unlock(&store->lock);
    qsort(events, *count, sizeof events[0], compare_events);
    return events;
}

bool store_event_history(struct store *store, int64_t user_id, int64_t at_position, struct store_event *out,
                         size_t capacity, size_t *count, bool *more, struct status *st)
{
    size_t all;
    struct store_event *events = sorted_events(store, user_id, at_position, &all);
    bool ok = finish_read(store, st);
    if (ok) {
        *count = all < capacity ? all : capacity;
        *more = all > capacity;
        if (*count > 0)
            memcpy(out, events + (all - *count), *count * sizeof out[0]);
    }
    free(events);
    return ok;
}

bool store_read_begin(struct store *store, struct status *st)
{
    if (store->views > 0)
        return status_fail(st, STATUS_INTERNAL, "TEST", "a read view within a read view");
    store->views++;
    return true;
}

void store_read_end(struct store *store)
{
    store->views--;
}

bool store_space_list(struct store *store, struct store_space *out, size_t capacity, size_t *count, struct status *st)
{
    if (!finish_read(store, st))
        return false;
    *count = store->catalog.space_count < capacity ? store->catalog.space_count : capacity;
    if (*count > 0)
        memcpy(out, store->catalog.spaces, *count * sizeof out[0]);
    return true;
}

bool store_item_scan(struct store *store, bool (*each)(void *context, const struct store_item *item), void *context,
                     struct status *st)
{
    for (size_t i = 0; i < store->catalog.item_count; i++) {
        if (!each(context, &store->catalog.items[i]))
            return true;
    }
    return finish_read(store, st);
}

bool store_feature_scan(struct store *store,
                        bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                     int32_t dimension),
                        void *context, struct status *st)
{
    for (size_t i = 0; i < store->catalog.feature_count; i++) {
        const struct fake_feature *feature = &store->catalog.features[i];
        if (!each(context, feature->item_id, feature->space_id, feature->values, feature->dimension))
            return true;
    }
    return finish_read(store, st);
}

/* Nobody asks a fake for its past. */
bool store_past_items(struct store *store, int64_t position, bool (*each)(void *context, const struct store_item *item),
                      void *context, struct status *st)
{
    (void)position;
    return store_item_scan(store, each, context, st);
}

bool store_past_features(struct store *store, int64_t position,
                         bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                      int32_t dimension),
                         void *context, struct status *st)
{
    (void)position;
    return store_feature_scan(store, each, context, st);
}
