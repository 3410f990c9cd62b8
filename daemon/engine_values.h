/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: what some rows say in one field of the columns, as small numbers: keys of caps, categories of a mix. */
#ifndef RECSYS_DAEMON_ENGINE_VALUES_H
#define RECSYS_DAEMON_ENGINE_VALUES_H

#include "daemon/engine_list.h"

/* Row i of those given has the values key[start[i]] .. key[start[i + 1] - 1], each once; values are numbered from 0 without gaps. */
struct engine_values {
    uint32_t *start; /* (rows + 1) */
    uint32_t *key;
    size_t key_count;
};

/* Of `count` rows of the scoring's view. All memory is the worker's arena. False when it gives out. */
bool engine_values_map(const struct scoring *scoring, int field, const uint32_t *rows, size_t count,
                       struct engine_values *map);

#endif
