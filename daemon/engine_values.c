/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/engine_values.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t *values_of(const struct scoring *scoring, int field, uint32_t row, size_t *count)
{
    struct columns *columns = scoring->view->snapshot->columns;
    const struct snapshot_segment *segment = snapshot_segment_of(scoring->view, row);
    const uint32_t *sets = columns_sets(columns, field, snapshot_segment_index(scoring->view, row));
    uint32_t set = sets == NULL ? COLUMNS_SET_NONE : sets[row - segment->first];
    *count = 0;
    return set == COLUMNS_SET_NONE ? NULL : columns_set_values(columns, field, set, count);
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

bool engine_values_map(const struct scoring *scoring, int field, const uint32_t *rows, size_t count,
                       struct engine_values *map)
{
    struct arena *arena = &scoring->worker->arena;
    size_t total = 0, values;
    map->start = arena_alloc(arena, (count + 1) * sizeof *map->start);
    if (map->start == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        map->start[i] = (uint32_t)total;
        values_of(scoring, field, rows[i], &values);
        total += values;
    }
    map->start[count] = (uint32_t)total;
    map->key = arena_alloc(arena, (total + 1) * sizeof *map->key);
    uint32_t *known = arena_alloc(arena, (total + 1) * sizeof *known);
    if (map->key == NULL || known == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const uint32_t *value = values_of(scoring, field, rows[i], &values);
        if (values > 0)
            memcpy(map->key + map->start[i], value, values * sizeof *value);
    }
    memcpy(known, map->key, total * sizeof *known);
    qsort(known, total, sizeof *known, compare_numbers);
    map->key_count = 0;
    for (size_t i = 0; i < total; i++)
        if (i == 0 || known[i] != known[i - 1])
            known[map->key_count++] = known[i];
    for (size_t i = 0; i < total; i++) {
        const uint32_t *found = bsearch(&map->key[i], known, map->key_count, sizeof *known, compare_numbers);
        map->key[i] = (uint32_t)(found - known);
    }
    return true;
}
