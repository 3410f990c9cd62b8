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
    int64_t *user_ids;  /* (user_count), ascending */
    size_t user_count, user_capacity;
    char *user_text;         /* all names; NULL until train_data_name_users */
    const char **user_names; /* (user_count); likewise */
};

/* Load. `config_file` and `data_dir` as for program_configure. */
bool train_data_load(struct train_data *data, const char *config_file, const char *data_dir, struct status *st);

/* The same with the log up to `position`, so that two runs see the same events; items are as they are now. FAILED_PRECONDITION / OUT_OF_LOG for one
 * that is not there yet. */
bool train_data_load_at(struct train_data *data, const char *config_file, const char *data_dir, int64_t position,
                        struct status *st);
void train_data_close(struct train_data *data);

/* Read the users' names: most of what is done with a shop does without them. A user who was erased meanwhile is called "". */
bool train_data_name_users(struct train_data *data, struct status *st);

/* The items' names by row, malloc'ed, borrowed from the items. NULL out of memory. */
const char **train_data_item_names(const struct train_data *data);

/* The model's number of each behaviour that the store numbers, -1 where the model does not know it. */
void train_data_behaviours(const struct train_data *data, const struct architecture *architecture,
                           int behaviour_of[256]);

/* The view of it that evaluation takes. */
struct evaluation_data train_data_view(const struct train_data *data);

/* The vectors of a modality (item_count, *dimension), zero rows where missing, of the encoder that most items have. Malloc'ed; NULL where the shop has
 * none or memory is out. */
float *train_data_vectors(const struct train_data *data, const char *modality, size_t *dimension);

#endif
