/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_data.h"

#include "daemon/program.h"

#include <stdlib.h>
#include <string.h>

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the training data");
}

/* ---- events */

struct reading {
    struct train_data *data;
    int64_t user_id;
    bool failed;
};

static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity * 2 + 1024;
    void *grown = realloc(array, wanted * size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

/* `user_id` of the user whose events come now; 0 marks the end of the last one */
static bool begin_user(struct train_data *data, int64_t user_id)
{
    size_t capacity = data->user_capacity;
    size_t *starts = grow(data->user_start, data->user_count + 1, &data->user_capacity, sizeof *starts);
    if (starts == NULL)
        return false;
    data->user_start = starts;
    int64_t *ids = grow(data->user_ids, data->user_count + 1, &capacity, sizeof *ids);
    if (ids == NULL)
        return false;
    data->user_ids = ids;
    data->user_ids[data->user_count] = user_id;
    data->user_start[data->user_count++] = data->event_count;
    return true;
}

static bool read_event(void *context, const struct store_event *event)
{
    struct reading *reading = context;
    struct train_data *data = reading->data;
    struct evaluation_event *events = grow(data->events, data->event_count, &data->event_capacity, sizeof *events);
    if (events != NULL)
        data->events = events;
    if (events == NULL || (event->user_id != reading->user_id && !begin_user(data, event->user_id))) {
        reading->failed = true;
        return false;
    }
    reading->user_id = event->user_id;
    uint32_t row = event->item_id < data->row_of_count ? data->row_of[event->item_id] : UINT32_MAX;
    if (row != UINT32_MAX)
        data->events[data->event_count++] = (struct evaluation_event){row, event->ts_ms, event->behaviour,
                                                                      data->engine.behaviours[event->behaviour].weight};
    return true;
}

static bool read_events(struct train_data *data, struct status *st)
{
    struct reading reading = {.data = data};
    if (!store_event_scan(data->store, 0, data->position, read_event, &reading, st))
        return false;
    if (reading.failed || !begin_user(data, 0))
        return out_of_memory(st);
    data->user_count--; /* the last start is the end */
    return true;
}

/* ---- names of users */

#define USERS_A_PAGE 1000

static int compare_ids(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* append the names of a page to the text; `offset` (user_count) says where each is */
static bool take_names(struct train_data *data, const struct store_user *users, size_t count, size_t *offset,
                       size_t *size, size_t *capacity)
{
    for (size_t i = 0; i < count; i++) {
        const int64_t *found =
            bsearch(&users[i].user_id, data->user_ids, data->user_count, sizeof *data->user_ids, compare_ids);
        if (found == NULL) /* without events */
            continue;
        size_t length = strlen(users[i].name) + 1;
        char *text = grow(data->user_text, *size + length, capacity, 1);
        if (text == NULL)
            return false;
        data->user_text = text;
        memcpy(text + *size, users[i].name, length);
        offset[found - data->user_ids] = *size;
        *size += length;
    }
    return true;
}

bool train_data_name_users(struct train_data *data, struct status *st)
{
    if (data->user_names != NULL)
        return true;
    struct store_user *page = malloc(USERS_A_PAGE * sizeof *page);
    size_t *offset = calloc(data->user_count + 1, sizeof *offset), size = 1, capacity = 1024, count = 0;
    const char **names = malloc((data->user_count + 1) * sizeof *names);
    data->user_text = calloc(capacity, 1); /* begins with the name of who has none */
    bool ok = (page != NULL && offset != NULL && names != NULL && data->user_text != NULL) || out_of_memory(st);
    int32_t after_bucket = -1;
    int64_t after_id = 0;
    do {
        ok = ok && store_user_list(data->store, after_bucket, after_id, INT32_MAX, page, USERS_A_PAGE, &count, st) &&
             (take_names(data, page, count, offset, &size, &capacity) || out_of_memory(st));
        if (ok && count > 0) {
            after_bucket = page[count - 1].bucket;
            after_id = page[count - 1].user_id;
        }
    } while (ok && count == USERS_A_PAGE);
    for (size_t i = 0; ok && i < data->user_count; i++)
        names[i] = data->user_text + offset[i];
    free(page);
    free(offset);
    if (ok)
        data->user_names = names;
    else {
        free(names);
        free(data->user_text);
        data->user_text = NULL;
    }
    return ok;
}

/* ---- items */

static bool number_items(struct train_data *data, struct status *st)
{
    int64_t position;
    if (!catalog_collect(data->catalog, 0, &data->items, &data->item_count, &position))
        return out_of_memory(st);
    data->row_of_count = (size_t)catalog_largest_id(data->catalog) + 1;
    data->row_of = malloc(data->row_of_count * sizeof *data->row_of);
    if (data->row_of == NULL)
        return out_of_memory(st);
    memset(data->row_of, 0xff, data->row_of_count * sizeof *data->row_of);
    size_t kept = 0;
    for (size_t i = 0; i < data->item_count; i++) {
        if (data->items[i]->item.deleted) { /* nobody is shown it: it does not compete */
            catalog_item_release(data->items[i]);
            continue;
        }
        data->row_of[data->items[i]->item.item_id] = (uint32_t)kept;
        data->items[kept++] = data->items[i];
    }
    data->item_count = kept;
    return true;
}

/* the last position, or `position` if it is given */
static bool choose_position(struct train_data *data, int64_t position, struct status *st)
{
    if (!store_position(data->store, &data->position, st))
        return false;
    if (position == INT64_MAX || position == data->position)
        return true;
    if (position > data->position)
        return status_fail(st, STATUS_FAILED_PRECONDITION, "OUT_OF_LOG", "the log ends at '%lld', before '%lld'",
                           (long long)data->position, (long long)position);
    data->position = position;
    return true;
}

bool train_data_load_at(struct train_data *data, const char *config_file, const char *data_dir, int64_t position,
                        struct status *st)
{
    memset(data, 0, sizeof *data);
    if (!program_configure(&data->config, config_file, data_dir, st))
        return false;
    struct store_options options = {.data_dir = data->config.storage_data_dir};
    data->store = store_open_reader(&options, st);
    data->catalog = catalog_new();
    bool ok = data->store != NULL && (data->catalog != NULL || out_of_memory(st));
    if (ok) {
        engine_init(&data->engine, &data->config, data->catalog, NULL);
        ok = engine_load_behaviours(&data->engine, data->store, false, st) && choose_position(data, position, st) &&
             catalog_load(data->catalog, data->store, st) && number_items(data, st) && read_events(data, st);
    }
    if (!ok)
        train_data_close(data);
    return ok;
}

bool train_data_load(struct train_data *data, const char *config_file, const char *data_dir, struct status *st)
{
    return train_data_load_at(data, config_file, data_dir, INT64_MAX, st);
}

void train_data_close(struct train_data *data)
{
    for (size_t i = 0; i < data->item_count; i++)
        catalog_item_release(data->items[i]);
    free(data->items);
    free(data->row_of);
    free(data->events);
    free(data->user_start);
    free(data->user_ids);
    free(data->user_text);
    free(data->user_names);
    if (data->engine.config != NULL)
        engine_close(&data->engine);
    catalog_free(data->catalog);
    store_close(data->store);
    memset(data, 0, sizeof *data);
}

const char **train_data_item_names(const struct train_data *data)
{
    const char **names = malloc((data->item_count + 1) * sizeof *names);
    for (size_t i = 0; names != NULL && i < data->item_count; i++)
        names[i] = data->items[i]->item.name;
    return names;
}

void train_data_behaviours(const struct train_data *data, const struct architecture *architecture,
                           int behaviour_of[256])
{
    for (int i = 0; i < 256; i++) {
        const char *name = data->engine.behaviours[i].name;
        behaviour_of[i] = name[0] == '\0' ? -1 : architecture_behaviour(architecture, name);
    }
}

struct evaluation_data train_data_view(const struct train_data *data)
{
    return (struct evaluation_data){data->item_count, data->user_count, data->events, data->user_start};
}

float *train_data_vectors(const struct train_data *data, const char *modality, size_t *dimension)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(data->catalog, spaces), best = CATALOG_SPACES_MAX;
    for (size_t i = 0; i < count; i++)
        if (strcmp(spaces[i].space.modality, modality) == 0 &&
            (best == CATALOG_SPACES_MAX || spaces[i].item_count > spaces[best].item_count))
            best = i;
    if (best == CATALOG_SPACES_MAX)
        return NULL;
    *dimension = (size_t)spaces[best].space.dimension;
    float *rows = calloc(data->item_count * *dimension + 1, sizeof *rows);
    for (size_t i = 0; rows != NULL && i < data->item_count; i++) {
        const struct catalog_feature *feature = catalog_item_feature(data->items[i], spaces[best].space.space_id);
        if (feature != NULL)
            memcpy(rows + i * *dimension, feature->values, *dimension * sizeof *rows);
    }
    return rows;
}
