/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/rescore.h"

#include "daemon/program.h"
#include "daemon/stored_model.h"
#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES     ((size_t)512 << 20)
#define HISTORIES_BYTES ((size_t)16 << 20) /* every user is asked for once: a cache only has to be there */
#define LINE_BYTES      1024

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the shop");
}

static bool version_gone(struct status *st, const char *what, const char *asked, const char *have)
{
    return status_fail(st, STATUS_FAILED_PRECONDITION, "VERSION_GONE",
                       "the output was begun with %s '%s', the shop now has '%s': remove it and begin again", what,
                       asked, have);
}

static struct model *load_model(struct rescore *r, const char *wanted, struct status *st)
{
    if (wanted[0] != '\0')
        snprintf(r->model, sizeof r->model, "%s", wanted);
    else if (!store_activation_latest(r->store, r->model, st))
        return NULL;
    if (r->model[0] == '\0') {
        status_fail(st, STATUS_FAILED_PRECONDITION, "NO_MODEL", "the shop has no model yet: start recsysd once");
        return NULL;
    }
    return stored_model_load(r->store, r->model, st);
}

/* counts first, then the position: the counts are never newer than the log that is read */
static bool fix_inputs(struct rescore *r, const struct rescore_inputs *given, struct status *st)
{
    int64_t counts_position;
    if (!store_counts_latest(r->store, &counts_position, st) || !store_position(r->store, &r->position, st))
        return false;
    if (given->counts[0] != '\0')
        counts_position = strtoll(given->counts, NULL, 10);
    if (given->seq[0] != '\0')
        r->position = strtoll(given->seq, NULL, 10);
    r->now_ms = given->now_ms != 0 ? given->now_ms : timestamp_now_ms();
    snprintf(r->seq, sizeof r->seq, "%" PRId64, r->position);
    snprintf(r->counts, sizeof r->counts, "%" PRId64, counts_position);
    r->engine.committed = r->position;
    struct counts_view *counts = engine_rebuild_counts(&r->engine, r->store, counts_position, NULL, st);
    if (counts != NULL)
        engine_set_counts(&r->engine, counts);
    return counts != NULL;
}

static bool load(struct rescore *r, const struct rescore_inputs *inputs, struct status *st)
{
    engine_init(&r->engine, &r->config, r->catalog, r->histories);
    if (!engine_load_behaviours(&r->engine, r->store, false, st) || !fix_inputs(r, inputs, st) ||
        !catalog_load(r->catalog, r->store, st))
        return false;
    snprintf(r->catalogue, sizeof r->catalogue, "%" PRId64, catalog_position(r->catalog));
    if (inputs->catalogue[0] != '\0' && strcmp(inputs->catalogue, r->catalogue) != 0)
        return version_gone(st, "catalogue", inputs->catalogue, r->catalogue);
    struct model *model = load_model(r, inputs->model, st);
    bool ok = model != NULL && engine_install_model(&r->engine, model, &r->arena, st);
    model_release(model);
    return ok;
}

bool rescore_open(struct rescore *r, const char *config_file, const char *data_dir, const struct rescore_inputs *inputs,
                  size_t n, struct status *st)
{
    memset(r, 0, sizeof *r);
    if (!program_configure(&r->config, config_file, data_dir, st))
        return false;
    if (n > (size_t)r->config.limits_list)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "n is at most %" PRId64, r->config.limits_list);
    r->n = n;
    r->options = (struct store_options){.data_dir = r->config.storage_data_dir};
    arena_init(&r->arena, ARENA_BYTES);
    r->store = store_open_reader(&r->options, st);
    r->catalog = catalog_new();
    r->histories = histories_new(HISTORIES_BYTES);
    bool ok = r->store != NULL;
    if (ok && (r->catalog == NULL || r->histories == NULL))
        ok = out_of_memory(st);
    ok = ok && load(r, inputs, st);
    if (!ok)
        rescore_close(r);
    return ok;
}

void rescore_close(struct rescore *r)
{
    if (r->engine.config != NULL)
        engine_close(&r->engine);
    histories_free(r->histories);
    catalog_free(r->catalog);
    store_close(r->store);
    arena_close(&r->arena);
    memset(r, 0, sizeof *r);
}

bool rescore_user(struct rescore *r, struct engine_worker *worker, const char *user, struct engine_answer *answer,
                  struct status *st)
{
    struct engine_request request = {.task = ENGINE_RECOMMEND,
                                     .user = user,
                                     .n = r->n,
                                     .exclude_seen = true,
                                     .at_position = r->position,
                                     .now_ms = r->now_ms};
    return engine_answer(worker, &request, answer, st);
}

/* ---- users */

static bool read_names(struct rescore_users *users, const char *path, struct status *st)
{
    char line[LINE_BYTES];
    size_t capacity = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %m", path);
    bool ok = true;
    while (ok && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0')
            continue;
        if (users->name_count == capacity) {
            capacity = capacity * 2 + 1024;
            char **grown = realloc(users->names, capacity * sizeof *grown);
            if (grown == NULL) {
                ok = out_of_memory(st);
                break;
            }
            users->names = grown;
        }
        users->names[users->name_count] = strdup(line);
        ok = users->names[users->name_count] != NULL || out_of_memory(st);
        users->name_count += ok;
    }
    fclose(file);
    if (ok && users->names == NULL)
        ok = status_fail(st, STATUS_INVALID_ARGUMENT, "NO_USERS", "'%s' names no user", path);
    return ok;
}

bool rescore_users_open(struct rescore_users *users, struct rescore *rescore, const char *file, int64_t shard,
                        int64_t shards, struct status *st)
{
    *users = (struct rescore_users){.rescore = rescore};
    users->begin_bucket = (int32_t)(shard * RESCORE_BUCKETS / shards);
    users->end_bucket = (int32_t)((shard + 1) * RESCORE_BUCKETS / shards);
    users->bucket = users->begin_bucket - 1;
    users->user_id = INT64_MAX;
    if (file == NULL)
        return true;
    if (!read_names(users, file, st)) {
        rescore_users_close(users);
        return false;
    }
    users->next_name = (size_t)shard * users->name_count / (size_t)shards;
    size_t end = (size_t)(shard + 1) * users->name_count / (size_t)shards;
    while (users->name_count > end)
        free(users->names[--users->name_count]);
    return true;
}

void rescore_users_close(struct rescore_users *users)
{
    for (size_t i = 0; i < users->name_count; i++)
        free(users->names[i]);
    free(users->names);
    *users = (struct rescore_users){0};
}

bool rescore_users_next(struct rescore_users *users, struct store_user *out, size_t *count, struct status *st)
{
    *count = 0;
    if (users->names == NULL) {
        if (!store_user_list(users->rescore->store, users->bucket, users->user_id, users->end_bucket, out,
                             RESCORE_BLOCK_USERS, count, st))
            return false;
        if (*count > 0) {
            users->bucket = out[*count - 1].bucket;
            users->user_id = out[*count - 1].user_id;
        }
        return true;
    }
    for (; *count < RESCORE_BLOCK_USERS && users->next_name < users->name_count; users->next_name++)
        snprintf(out[(*count)++].name, sizeof out->name, "%s", users->names[users->next_name]);
    return true;
}
