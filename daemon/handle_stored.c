/* SPDX-License-Identifier: Apache-2.0
 *
 * list.put: lists that were computed before, for requests that leave no time to score anything. */
#include "daemon/engine_stored.h"
#include "daemon/ingest.h"
#include "daemon/routes.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAMED_MOST 100 /* unknown users in a reply */

/* One list on its way into the store; a row of the ingest. */
struct stored_list {
    const char *user; /* "": everybody */
    struct store_list list;
    int32_t unknown_items;
    bool stored; /* false: the user is unknown */
};

/* ---- on the writer's thread */

static bool write_lists(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct stored_list *rows = ingest->rows;
    for (size_t i = 0; i < ingest->row_count; i++) {
        bool everybody = rows[i].user[0] == '\0';
        int64_t user_id = 0;
        if (!everybody && !store_user_find(writer->store, rows[i].user, false, &user_id, NULL, st))
            return false;
        rows[i].stored = everybody || user_id != 0;
        if (!rows[i].stored)
            continue;
        task->changed = true;
        if (!store_list_put(writer->store, user_id, ENGINE_STORED_LIST, &rows[i].list, st))
            return false;
    }
    return true;
}

static void lists_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    const struct stored_list *rows = ingest->rows;
    Recsys__ListPutReply reply = RECSYS__LIST_PUT_REPLY__INIT;
    char *unknown[NAMED_MOST];
    (void)writer;
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    reply.unknown_users = unknown;
    for (size_t i = 0; i < ingest->row_count; i++) {
        if (rows[i].stored) {
            reply.stored++;
            reply.unknown_items += rows[i].unknown_items;
        } else if (reply.n_unknown_users < NAMED_MOST) {
            unknown[reply.n_unknown_users++] = (char *)rows[i].user;
        }
    }
    reply.durable = strcmp(ingest->config->storage_durability, "full") == 0;
    job_reply(ingest->job, &reply.base);
}

/* ---- checks */

static bool check_items(const struct config *config, const Recsys__StoredList *from, size_t row, struct status *st)
{
    struct field_name items = field_at("lists", row, "items"), scores = field_at("lists", row, "scores");
    if (from->n_items > (size_t)config->limits_list)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_MANY", items.text,
                                 "'%s' has %zu ids, %lld are allowed", items.text, from->n_items,
                                 (long long)config->limits_list);
    if (from->n_scores != 0 && from->n_scores != from->n_items)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", scores.text,
                                 "'%s' has %zu numbers for %zu items: as many, or none", scores.text, from->n_scores,
                                 from->n_items);
    for (size_t i = 0; i < from->n_items; i++)
        if (!check_id(config, from->items[i], items.text, st))
            return false;
    for (size_t i = 0; i < from->n_scores; i++)
        if (!(fabs(from->scores[i]) <= FLT_MAX)) /* nor is NaN */
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "NON_FINITE_VALUE", scores.text,
                                     "'%s': number %zu is not finite, or too large for a score", scores.text, i);
    return true;
}

/* what the scores are a function of, as far as it is said */
static bool read_inputs(const Recsys__StoredList *from, size_t row, struct store_list *list, struct status *st)
{
    if (strlen(from->model) >= sizeof list->model)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", field_at("lists", row, "model").text,
                                 "the model's version is longer than %zu bytes", sizeof list->model - 1);
    if (from->now_ms < 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", field_at("lists", row, "now_ms").text,
                                 "'now_ms' is negative");
    snprintf(list->model, sizeof list->model, "%s", from->model);
    list->now_ms = from->now_ms;
    return check_position(from->counts, field_at("lists", row, "counts").text, 0, &list->counts, st) &&
           check_position(from->catalogue, field_at("lists", row, "catalogue").text, 0, &list->catalogue, st) &&
           check_position(from->seq, field_at("lists", row, "seq").text, 0, &list->position, st);
}

/* the items that the shop has, with their scores; false when the arena gives out */
static bool find_items(struct handler *handler, struct arena *arena, const Recsys__StoredList *from,
                       struct stored_list *out)
{
    uint32_t *item_ids = arena_alloc(arena, (from->n_items + 1) * sizeof *item_ids);
    float *scores = arena_floats(arena, from->n_items + 1);
    size_t count = 0;
    if (item_ids == NULL || scores == NULL)
        return false;
    catalog_find(handler->server->catalog, (const char *const *)from->items, from->n_items, item_ids);
    for (size_t i = 0; i < from->n_items; i++) {
        if (item_ids[i] == 0)
            continue;
        item_ids[count] = item_ids[i];
        scores[count++] = from->n_scores > 0 ? (float)from->scores[i] : 0;
    }
    out->unknown_items = (int32_t)(from->n_items - count);
    out->list.item_ids = item_ids;
    out->list.scores = scores;
    out->list.count = count;
    return true;
}

static bool read_list(struct handler *handler, struct job *job, const Recsys__StoredList *from, size_t row,
                      struct stored_list *out, struct status *st)
{
    const struct config *config = &handler->server->config;
    if (from->user[0] != '\0' && !check_id(config, from->user, field_at("lists", row, "user").text, st))
        return false;
    if (!check_items(config, from, row, st) || !read_inputs(from, row, &out->list, st))
        return false;
    out->user = from->user;
    return find_items(handler, &job->arena, from, out) ||
           status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "the request needs more memory than one may take");
}

bool handle_list_put(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__ListPutRequest *r = (const Recsys__ListPutRequest *)job->request;
    struct ingest *ingest = ingest_new(handler, job, r->n_lists, sizeof(struct stored_list), st);
    if (ingest == NULL)
        return false;
    struct stored_list *rows = ingest->rows;
    for (size_t i = 0; i < r->n_lists; i++)
        if (!read_list(handler, job, r->lists[i], i, &rows[i], st))
            return false;
    return ingest_submit(handler, ingest, write_lists, lists_done, st);
}
