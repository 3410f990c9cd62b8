/* SPDX-License-Identifier: Apache-2.0
 *
 * The model that a training begins with: its architecture from the shop's modalities and the options, its statistics from the training part, its
 * other numbers at their start. */
#ifndef RECSYS_DAEMON_TRAIN_MODEL_H
#define RECSYS_DAEMON_TRAIN_MODEL_H

#include "daemon/train_data.h"
#include "daemon/train_options.h"
#include "models/training_set.h"

/* Parts of a model that a training can leave out. */
struct train_without {
    bool id, sequence, streams, cross, same, cooccurrence, prior, time;
    const char *modality[ARCHITECTURE_VIEWS_MAX]; /* borrowed */
    size_t modality_count;
};

/* Note a part by its name; a word that is no part is taken for a modality. False when there are too many. */
bool train_without_add(struct train_without *without, const char *part);

/* The names of the parts, new reference. */
json_t *train_without_json(const struct train_without *without);

/* What the model reads of the shop: raw vectors of each view, by item row. */
struct train_vectors {
    float *view[ARCHITECTURE_VIEWS_MAX]; /* (item_count, dimension), owned */
};
void train_vectors_close(struct train_vectors *vectors);

/* Describe the model that fits the shop. INVALID_ARGUMENT / UNKNOWN_PART for a modality in `without` that the shop does not have. `vectors` is filled. */
bool train_model_describe(struct architecture *architecture, struct train_vectors *vectors,
                          const struct train_data *data, const struct train_options *options,
                          const struct train_without *without, struct status *st);

/* Make it, with ID rows for the columns of `set`, and fill the features of `set`. NULL on failure. */
struct model *train_model_new(const struct architecture *architecture, const struct train_vectors *vectors,
                              const struct train_data *data, struct training_set *set,
                              const struct train_options *options, const struct train_without *without, uint64_t seed,
                              struct status *st);

#endif
