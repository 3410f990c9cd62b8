/* SPDX-License-Identifier: Apache-2.0
 *
 * A database file with bytes changed, opened and read through: every outcome is fine but a crash, a leak or a read out
 * of bounds.
 *
 * The input is a list of (offset, 3 bytes big-endian; value, 1 byte): what is written over a small valid database.
 * Offsets wrap around. */
#include "storage/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUTATION_BYTES 4
#define DIMENSION      16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_store_XXXXXX";
static char path[64];
static uint8_t *valid; /* the file as it was made */
static size_t valid_bytes;

static void need(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_store: cannot %s\n", what);
    abort();
}

static void remove_files(void)
{
    static const char *const names[] = {"shop.db", "shop.db-wal", "shop.db-shm", "shop.db-journal", "LOCK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        unlink(name);
    }
}

static void clean_up(void)
{
    remove_files();
    rmdir(dir);
    free(valid);
}

static bool fill_user(struct store *store, int i, struct status *st)
{
    char name[32];
    int64_t user_id;
    snprintf(name, sizeof name, "user-%d", i);
    if (!store_user_find(store, name, true, &user_id, NULL, st))
        return false;
    for (int k = 0; k < 10; k++) {
        bool duplicate;
        char key[32];
        snprintf(key, sizeof key, "key-%d", k);
        struct store_event event = {.ts_ms = k, .user_id = user_id, .item_id = 1, .behaviour = 1};
        const struct store_event_extra extra = {.received_ms = k, .key = key};
        if (!store_event_append(store, &event, &extra, &duplicate, st))
            return false;
    }
    return true;
}

static bool fill_item(struct store *store, int i, struct status *st)
{
    char name[32];
    float values[DIMENSION] = {1, 2, 3};
    int64_t position;
    snprintf(name, sizeof name, "item-%d", i);
    struct store_item item = {.name = name, .title = "title", .expires_ms = INT64_MAX};
    struct store_space space = {.dimension = DIMENSION, .modality = "text", .encoder = "e@1"};
    return store_item_put(store, &item, 1, st) && store_space_put(store, &space, st) &&
           store_feature_put(store, item.item_id, &space, values, 1, &position, st);
}

static bool fill(struct store *store, struct status *st)
{
    static const char blob[9000];
    const struct store_model model = {.version = "v1", .name = "m", .sha256 = "s"};
    uint8_t behaviour;
    bool ok = store_begin(store, st) && store_behaviour_find(store, "view", true, &behaviour, st);
    for (int i = 0; ok && i < 20; i++)
        ok = fill_user(store, i, st) && fill_item(store, i, st);
    return ok && store_counts_put(store, 1, 1, blob, sizeof blob, st) &&
           store_model_put(store, &model, blob, sizeof blob, st) && store_activation_put(store, "v1", 1, 1, st) &&
           store_commit(store, st);
}

static void make_valid(void)
{
    struct status st = STATUS_INIT;
    need(mkdtemp(dir) != NULL, "make a directory");
    snprintf(path, sizeof path, "%s/shop.db", dir);
    struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
    need(store != NULL && fill(store, &st), st.message);
    store_close(store);
    FILE *file = fopen(path, "rb");
    need(file != NULL && fseek(file, 0, SEEK_END) == 0, "read the database");
    valid_bytes = (size_t)ftell(file);
    valid = malloc(valid_bytes);
    rewind(file);
    need(valid != NULL && fread(valid, 1, valid_bytes, file) == valid_bytes, "read the database");
    fclose(file);
    atexit(clean_up);
}

static void write_mutated(const uint8_t *data, size_t size)
{
    remove_files();
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    need(fd >= 0 && write(fd, valid, valid_bytes) == (ssize_t)valid_bytes, "write the database");
    for (size_t i = 0; i + MUTATION_BYTES <= size; i += MUTATION_BYTES) {
        const size_t offset = (size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2];
        need(pwrite(fd, data + i + 3, 1, (off_t)(offset % valid_bytes)) == 1, "write the database");
    }
    close(fd);
}

/* ---- reading: each callback touches all it is given */

static void see_behaviour(void *context, uint8_t behaviour, const char *name)
{
    *(size_t *)context += behaviour + strlen(name);
}

static bool see_event(void *context, const struct store_event *event)
{
    *(size_t *)context += (size_t)event->item_id + event->behaviour;
    return true;
}

static bool see_item(void *context, const struct store_item *item)
{
    *(size_t *)context +=
        strlen(item->name) + strlen(item->title) + strlen(item->categories_json) + strlen(item->attributes_json);
    return true;
}

static bool see_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    float sum = 0;
    for (int32_t i = 0; i < dimension; i++)
        sum += values[i];
    *(size_t *)context += item_id + space_id + (sum > 0);
    return true;
}

static void read_lists(struct store *store)
{
    struct store_event events[8];
    struct store_user users[8];
    struct store_space spaces[2];
    struct store_sizes sizes;
    size_t count;
    int64_t number;
    bool more;
    store_user_find(store, "user-7", false, &number, NULL, NULL);
    store_user_list(store, -1, 0, 1024, users, 8, &count, NULL);
    store_event_history(store, 3, INT64_MAX, events, 8, &count, &more, NULL);
    store_event_count(store, 3, INT64_MAX, &number, NULL);
    store_event_tail(store, 5, INT64_MAX, events, 8, &count, NULL);
    store_space_list(store, spaces, 2, &count, NULL);
    store_position(store, &number, NULL);
    store_sizes(store, &sizes, NULL);
    store_counts_latest(store, &number, NULL);
}

static void read_blobs(struct store *store)
{
    struct store_model model;
    char version[97];
    void *bytes = NULL;
    size_t size;
    int64_t position;
    if (store_counts_load(store, INT64_MAX, &position, &bytes, &size, NULL))
        free(bytes);
    store_activation_latest(store, version, NULL);
    if (store_model_load(store, "v1", &model, &bytes, &size, NULL))
        free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (valid == NULL)
        make_valid();
    write_mutated(data, size);
    struct status st = STATUS_INIT;
    size_t seen = 0;
    struct store *store = store_open_reader(&(struct store_options){.data_dir = dir}, &st);
    need((store == NULL) == (st.code != STATUS_OK), "tell success from failure");
    if (store == NULL)
        return 0;
    store_behaviour_list(store, see_behaviour, &seen, NULL);
    store_event_scan(store, 0, INT64_MAX, see_event, &seen, NULL);
    store_event_scan(store, 2, INT64_MAX, see_event, &seen, NULL);
    store_item_scan(store, see_item, &seen, NULL);
    store_feature_scan(store, see_feature, &seen, NULL);
    read_lists(store);
    read_blobs(store);
    store_check(store, NULL);
    store_close(store);
    return 0;
}
