/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists that were computed before they are asked for. The content is a pair of item_id (u32) and score (f32) of each
 * item, little-endian, which is what the machines we run on have in memory. */
#include "storage/sqlite/database.h"
#include "storage/sqlite/errors.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lists are stored as they are in memory");

#define PAIR_BYTES (sizeof(uint32_t) + sizeof(float))

static void pack(char *content, const struct store_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        memcpy(content + i * PAIR_BYTES, &list->item_ids[i], sizeof(uint32_t));
        memcpy(content + i * PAIR_BYTES + sizeof(uint32_t), &list->scores[i], sizeof(float));
    }
}

bool store_list_put(struct store *store, int64_t user_id, const char *name, const struct store_list *list,
                    struct status *st)
{
    if (!transaction_open(store, st))
        return false;
    if (user_id < 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_LIST", "a list '%s' of user %lld", name,
                           (long long)user_id);
    char *content = malloc(list->count * PAIR_BYTES + 1); /* never NULL: that would be stored as no value */
    if (content == NULL)
        return errors_memory(st, "store a list");
    pack(content, list);
    sqlite3_stmt *s = sql_use(store, SQL_LIST_PUT);
    const int bound = sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC) |
                      sqlite3_bind_text(s, 3, list->model, -1, SQLITE_STATIC) | sqlite3_bind_int64(s, 4, list->counts) |
                      sqlite3_bind_int64(s, 5, list->catalogue) | sqlite3_bind_int64(s, 6, list->position) |
                      sqlite3_bind_int64(s, 7, list->now_ms) |
                      sqlite3_bind_blob64(s, 8, content, list->count * PAIR_BYTES, SQLITE_STATIC);
    const bool ok = sql_run(store, SQL_LIST_PUT, bound, st);
    free(content);
    return ok;
}

/* The arrays, in one block. */
static bool unpack(struct store *store, sqlite3_stmt *row, int column, struct store_list *list, struct status *st)
{
    const char *content = sqlite3_column_blob(row, column);
    const size_t size_bytes = (size_t)sqlite3_column_bytes(row, column), count = size_bytes / PAIR_BYTES;
    if (size_bytes % PAIR_BYTES != 0 || (content == NULL && size_bytes > 0))
        return errors_corrupt(st, store->path, "a list of %zu bytes", size_bytes);
    uint32_t *item_ids = malloc(size_bytes + 1);
    if (item_ids == NULL)
        return errors_memory(st, "read a list");
    float *scores = (float *)(void *)(item_ids + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(&item_ids[i], content + i * PAIR_BYTES, sizeof(uint32_t));
        memcpy(&scores[i], content + i * PAIR_BYTES + sizeof(uint32_t), sizeof(float));
    }
    list->item_ids = item_ids;
    list->scores = scores;
    list->count = count;
    return true;
}

bool store_list_get(struct store *store, int64_t user_id, const char *name, struct store_list *list, struct status *st)
{
    sqlite3_stmt *s = sql_use(store, SQL_LIST_GET);
    struct store_list found = {0};
    bool row = false;
    if (!sql_bound(store, SQL_LIST_GET,
                   sqlite3_bind_int64(s, 1, user_id) | sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC), st))
        return false;
    bool ok = sql_step(store, SQL_LIST_GET, &row, st);
    if (ok && row) {
        found.counts = sqlite3_column_int64(s, 1);
        found.catalogue = sqlite3_column_int64(s, 2);
        found.position = sqlite3_column_int64(s, 3);
        found.now_ms = sqlite3_column_int64(s, 4);
        ok = sql_text(store, s, 0, found.model, sizeof found.model, st) && unpack(store, s, 5, &found, st);
    }
    sql_end(store, SQL_LIST_GET);
    if (ok)
        *list = found;
    return ok;
}
