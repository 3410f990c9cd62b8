/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import_ids.h"

#include "daemon/atomic_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#define ID_LIST_NONE SIZE_MAX

static bool no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}

/* Room for `size` more bytes of text and one more id. */
static bool reserve(struct id_list *ids, size_t size, struct status *st)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity > 0 ? 2 * ids->capacity : 1024;
        size_t *offsets = reallocarray(ids->offsets, capacity, sizeof *offsets);
        if (offsets == NULL)
            return no_memory(st);
        ids->offsets = offsets;
        ids->capacity = capacity;
    }
    if (size > ids->text_capacity - ids->text_used) {
        size_t capacity = 2 * ids->text_capacity + size + 4096;
        char *text = realloc(ids->text, capacity);
        if (text == NULL)
            return no_memory(st);
        ids->text = text;
        ids->text_capacity = capacity;
    }
    return true;
}

static bool add(struct id_list *ids, const char *id, struct status *st)
{
    size_t size = id != NULL ? strlen(id) + 1 : 0;
    if (!reserve(ids, size, st))
        return false;
    ids->offsets[ids->count++] = id != NULL ? ids->text_used : ID_LIST_NONE;
    if (size > 0)
        memcpy(ids->text + ids->text_used, id, size);
    ids->text_used += size;
    return true;
}

static bool check_id(const char *path, size_t line_number, const char *id, size_t length, struct status *st)
{
    const char *fault = NULL;
    if (length == 0)
        fault = "no item id";
    else if (strlen(id) != length)
        fault = "NUL byte";
    else if (u8_check((const uint8_t *)id, length) != NULL)
        fault = "not UTF-8";
    if (fault == NULL)
        return true;
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_IDS", "%s:%zu: %s", path, line_number, fault);
}

bool id_list_read(struct id_list *ids, const char *path, struct status *st)
{
    bool ok = false;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", path, strerror(errno));
    while ((length = getline(&line, &capacity, file)) > 0) {
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = '\0';
        if (!check_id(path, ids->count + 1, line, (size_t)length, st) || !add(ids, line, st))
            goto out;
    }
    if (ferror(file)) {
        status_fail(st, STATUS_DATA_LOSS, "READ_FAILED", "read '%s': %s", path, strerror(errno));
        goto out;
    }
    ok = true;
out:
    free(line);
    fclose(file);
    return ok;
}

bool id_list_read_items(struct id_list *ids, const char *path, const char *const *columns,
                        struct ctl_progress *progress, struct status *st)
{
    bool ok = false;
    int column = -1;
    struct status row_st = STATUS_INIT;
    enum atomic_row row;
    struct atomic_file file = {0};
    if (!atomic_file_open(&file, path, st) || !atomic_file_require(&file, columns, &column, st))
        goto out;
    while ((row = atomic_file_next(&file, &row_st)) == ATOMIC_ROW || row == ATOMIC_BAD_ROW) {
        if (!add(ids, row == ATOMIC_ROW ? file.cells[column] : NULL, st))
            goto out;
        ctl_progress_update(progress, file.read_bytes, ids->count);
    }
    ok = row == ATOMIC_END;
    if (!ok)
        *st = row_st;
out:
    atomic_file_close(&file);
    return ok;
}

const char *id_list_get(const struct id_list *ids, size_t row)
{
    return row < ids->count && ids->offsets[row] != ID_LIST_NONE ? ids->text + ids->offsets[row] : NULL;
}

void id_list_close(struct id_list *ids)
{
    free(ids->text);
    free(ids->offsets);
    memset(ids, 0, sizeof *ids);
}
