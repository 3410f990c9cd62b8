/* SPDX-License-Identifier: Apache-2.0
 *
 * What experiments.c, which keeps a set of experiments, and experiments_yaml.c, which reads a file into one, share. */
#ifndef RECSYS_DAEMON_EXPERIMENTS_INTERNAL_H
#define RECSYS_DAEMON_EXPERIMENTS_INTERNAL_H

#include "daemon/experiments.h"

#include <stdatomic.h>

/* An experiment with all that it points to. */
struct experiment_entry {
    struct experiment experiment;
    struct experiment_variant variants[EXPERIMENT_VARIANTS_MOST];
    char name[EXPERIMENT_NAME_BYTES + 1], salt[EXPERIMENT_NAME_BYTES + 1];
    struct {
        char name[EXPERIMENT_MODEL_BYTES + 1], scenario[EXPERIMENT_NAME_BYTES + 1], model[EXPERIMENT_MODEL_BYTES + 1];
    } texts[EXPERIMENT_VARIANTS_MOST]; /* of the variants; zeroed */
};

struct experiments {
    atomic_int references;
    struct experiment_entry *list;
    size_t count;
};

/* Fill a set that is zeroed but for its references; the list is the set's, also on failure. `text` may hold any bytes,
 * `path` stands for it in errors, which are those of experiments_load. */
bool experiments_read(struct experiments *experiments, const char *path, const char *text, size_t size_bytes,
                      struct status *st);

/* The defaults of a zeroed entry: its salt is its name, it is for all users and has no variants yet. */
void experiment_entry_init(struct experiment_entry *entry, const char *name);

/* The next variant, for which there is room, as the request says and with share 1; its number. */
size_t experiment_entry_add(struct experiment_entry *entry, const char *name);

/* Turn the shares of the variants from relative weights into parts of 1. False where they are too far apart for that;
 * they are of no use then. */
bool experiment_entry_divide(struct experiment_entry *entry);

/* RESOURCE_EXHAUSTED / NO_MEMORY; false. */
bool experiments_no_memory(struct status *st);

#endif
