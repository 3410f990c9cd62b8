/* SPDX-License-Identifier: Apache-2.0
 *
 * A shop as the trainer sees it: items as rows, users' events oldest first, raw vectors. Read from the database in short transactions bounded by one log
 * position; the daemon may be running. */
#ifndef RECSYS_DAEMON_TRAIN_DATA_H
#define RECSYS_DAEMON_TRAIN_DATA_H

#include "daemon/engine.h"
#include "models/evaluation.h"

struct train_data {
    struct config config;
    struct store *store;
    struct catalog *catalog;
    struct engine engine;        /* behaviours and catalogue; it answers nothing */
    int64_t position;            /* the log up to here */
    struct catalog_item **items; /* (item_count), by row: item_id order */
    size_t item_count;
    uint32_t *row_of; /* by item_id; UINT32_MAX: none */
    size_t row_of_count;
    struct evaluation_event *events;
    size_t event_count, event_capacity;
    size_t *user_start; /* (user_count + 1) */
    size_t user_count, user_capacity;
};

/* Load. `config_file` and `data_dir` as for program_configure. */
bool train_data_load(struct train_data *data, const char *config_file, const char *data_dir, struct status *st);
void train_data_close(struct train_data *data);

/* The view of it that evaluation takes. */
struct evaluation_data train_data_view(const struct train_data *data);

/* The vectors of a modality (item_count, *dimension), zero rows where missing, of the encoder that most items have. Malloc'ed; NULL where the shop has
 * none or memory is out. */
float *train_data_vectors(const struct train_data *data, const char *modality, size_t *dimension);

#endif
