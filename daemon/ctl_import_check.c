/* SPDX-License-Identifier: Apache-2.0
 *
 * Before an import: options, headers, columns and numbers of rows of all its files, so that nothing is half imported
 * because of a mistake in a later one. */
#include "daemon/ctl_import.h"
#include "daemon/ctl_import_text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIMENSION_MAX  (1u << 20) /* keeps sizes in range; the daemon's own limit is lower */
#define BATCH_ROWS     2000
#define BATCH_ROWS_MAX 100000

static const char *const user_names[] = {"user_id", "user", "userID", NULL};
static const char *const item_names[] = {"item_id", "item", "itemID", NULL};
static const char *const ts_names[] = {"timestamp", "ts", "time", NULL};
static const char *const behaviour_names[] = {"behaviour", "behavior", "event_type", "type", NULL};
static const char *const value_names[] = {"rating", "value", NULL};
static const char *const title_names[] = {"title", "name", NULL};
static const char *const category_names[] = {"categories", "category", "genre", NULL};
static const char *const price_names[] = {"price", NULL};
static const char *const available_names[] = {"available", NULL};

static bool open_items(struct import *import, struct status *st)
{
    struct atomic_file *file = &import->items;
    struct item_columns *columns = &import->item_columns;
    if (import->items_path == NULL)
        return true;
    if (!atomic_file_open(file, import->items_path, st) || !atomic_file_require(file, item_names, &columns->item, st))
        return false;
    columns->title = atomic_file_column(file, title_names);
    columns->categories = atomic_file_column(file, category_names);
    columns->price = atomic_file_column(file, price_names);
    columns->available = atomic_file_column(file, available_names);
    return true;
}

static bool open_events(struct import *import, struct status *st)
{
    struct atomic_file *file = &import->events;
    struct event_columns *columns = &import->event_columns;
    if (import->events_path == NULL)
        return true;
    if (!atomic_file_open(file, import->events_path, st) ||
        !atomic_file_require(file, user_names, &columns->user, st) ||
        !atomic_file_require(file, item_names, &columns->item, st) ||
        !atomic_file_require(file, ts_names, &columns->ts, st))
        return false;
    columns->behaviour = atomic_file_column(file, behaviour_names);
    columns->value = atomic_file_column(file, value_names);
    return true;
}

/* "text=text_feat.npy" */
static bool open_matrix(struct import *import, const char *argument, struct status *st)
{
    const char *equals = strchr(argument, '=');
    struct import_feature *feature = &import->features[import->feature_count];
    if (equals == NULL || equals == argument || equals[1] == '\0')
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--feature': '%s' is not NAME=FILE.npy",
                           argument);
    if (import->feature_count == IMPORT_FEATURES_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--feature': more than %d",
                           IMPORT_FEATURES_MAX);
    char *modality = strndup(argument, (size_t)(equals - argument));
    if (modality == NULL)
        return ctl_no_memory(st);
    for (size_t i = 0; i < import->feature_count; i++) {
        if (strcmp(import->features[i].modality, modality) == 0) {
            status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--feature': '%s' is given twice", modality);
            free(modality);
            return false;
        }
    }
    feature->modality = modality;
    import->feature_count++;
    if (!npy_open(&feature->npy, equals + 1, st))
        return false;
    if (feature->npy.columns < 1 || feature->npy.columns > DIMENSION_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "'%s': rows of %zu values", feature->npy.path,
                           feature->npy.columns);
    return true;
}

/* The ids of the item file's lines, read when the first matrix needs them. */
static bool read_item_ids(struct import *import, struct status *st)
{
    if (import->item_ids.count > 0)
        return true;
    if (import->items.size_bytes == 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE,
                           "'%s' is a pipe and can be read once only: the vectors need a file, or .ids files",
                           import->items_path);
    ctl_progress_start(&import->progress, "checking", import->items.size_bytes);
    bool ok = id_list_read_items(&import->item_ids, import->items_path, item_names, &import->progress, st);
    ctl_progress_clear(&import->progress);
    return ok;
}

/* Find out which row of a matrix is which item. */
static bool find_ids(struct import *import, struct import_feature *feature, struct status *st)
{
    char path[4096];
    const char *source = path;
    if (import_ids_path(feature->npy.path, path, sizeof path) && access(path, F_OK) == 0) {
        if (!id_list_read(&feature->own_ids, path, st))
            return false;
        feature->ids = &feature->own_ids;
    } else if (import->items_path != NULL) {
        if (!read_item_ids(import, st))
            return false;
        feature->ids = &import->item_ids;
        source = import->items_path;
    } else {
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE,
                           "'%s': which row is which item? Give --items, or a file of ids beside it, ending in .ids",
                           feature->npy.path);
    }
    if (feature->ids->count != feature->npy.rows)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "ROW_COUNT", "'%s' has %zu rows, but '%s' has %zu items",
                           feature->npy.path, feature->npy.rows, source, feature->ids->count);
    return true;
}

static bool open_features(struct import *import, const struct ctl_arguments *arguments, struct status *st)
{
    size_t position = 0;
    const char *argument;
    while ((argument = ctl_option_next(arguments, "feature", &position)) != NULL) {
        if (!open_matrix(import, argument, st))
            return false;
    }
    for (size_t i = 0; i < import->feature_count; i++) {
        if (!find_ids(import, &import->features[i], st))
            return false;
    }
    return true;
}

static bool read_options(struct import *import, const struct ctl_arguments *arguments, struct status *st)
{
    int64_t batch_rows = BATCH_ROWS;
    const char *behaviour = ctl_option_text(arguments, "behaviour"), *encoder = ctl_option_text(arguments, "encoder");
    if (!ctl_option_integer(arguments, "batch", 1, BATCH_ROWS_MAX, &batch_rows, st))
        return false;
    import->items_path = ctl_option_text(arguments, "items");
    import->events_path = ctl_option_text(arguments, "inter");
    import->behaviour = behaviour != NULL ? behaviour : "view";
    import->encoder = encoder != NULL ? encoder : "";
    import->batch_rows = (size_t)batch_rows;
    import->strict = ctl_option_given(arguments, "strict");
    import->dry_run = ctl_option_given(arguments, "dry-run");
    if (import->items_path == NULL && import->events_path == NULL && !ctl_option_given(arguments, "feature"))
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE,
                           "nothing to import: give --inter, --items or --feature");
    return true;
}

bool import_check(struct import *import, const struct ctl_arguments *arguments, struct status *st)
{
    if (!read_options(import, arguments, st) || !open_items(import, st) || !open_features(import, arguments, st) ||
        !open_events(import, st))
        return false;
    for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++) {
        if (!batch_open(&import->batches[i], import->batch_rows, st))
            return false;
    }
    return true;
}

void import_close(struct import *import)
{
    for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++)
        batch_close(&import->batches[i]);
    for (size_t i = 0; i < import->feature_count; i++) {
        npy_close(&import->features[i].npy);
        id_list_close(&import->features[i].own_ids);
        free(import->features[i].modality);
    }
    id_list_close(&import->item_ids);
    atomic_file_close(&import->items);
    atomic_file_close(&import->events);
}
