/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of a training: defaults, a YAML file of "name: value" lines (etc/train/NAME.yaml), and name=value from the command line, in this order. */
#ifndef RECSYS_DAEMON_TRAIN_OPTIONS_H
#define RECSYS_DAEMON_TRAIN_OPTIONS_H

#include "proto/status.h"

#include <jansson.h>

/* Every option. A line here is a field, its default, its limits and its line of `recsys-train fit --help`; all are numbers.
 *   X(name, default, least, most, WHOLE or any REAL number, what it is) */
/* clang-format off */
#define TRAIN_OPTIONS(X)                                                                                               \
    X(width,               64,    8,    512,    WHOLE, "d: numbers of a token") \
    X(blocks,              2,     0,    8,      WHOLE, "self-attention blocks; 0: no sequence part") \
    X(heads,               2,     1,    16,     WHOLE, "heads of the self-attention; divides width") \
    X(feedforward,         0,     0,    4096,   WHOLE, "inner width of a block; 0: twice the width") \
    X(history,             100,   1,    1000,   WHOLE, "events attended to") \
    X(components,          64,    1,    1024,   WHOLE, "principal components of a modality") \
    X(whitening,           0.25,  0,    0.5,    REAL,  "power of the eigenvalues that divides: .5 whitens fully, 0 not") \
    X(dropout,             0.3,   0,    0.95,   REAL,  "of tokens and of what a block adds") \
    X(attention_dropout,   0.1,   0,    0.95,   REAL,  "of the attention's weights") \
    X(id_dropout,          0.1,   0,    0.95,   REAL,  "of an item's own embedding, for a step") \
    X(modality_dropout,    0.1,   0,    0.95,   REAL,  "of each modality of an item, for a step") \
    X(feature_noise,       0.0,   0,    1,      REAL,  "deviation of the noise on features") \
    X(label_smoothing,     0.1,   0,    0.9,    REAL,  "share of the target that all items get; softmax only") \
    X(prior,               0,     0,    10,     REAL,  "of log(1 + training events) beside the sequence term in stage one") \
    X(batch_users,         32,    1,    65536,  WHOLE, "histories in a step") \
    X(learning_rate,       0.001, 0,    1,      REAL,  "of Adam") \
    X(weight_decay,        1,     0,    10,     REAL,  "decoupled, times the learning rate") \
    X(clip,                5,     0,    1e6,    REAL,  "of the gradient's norm; 0: none") \
    X(warmup_steps,        100,   0,    1e6,    WHOLE, "over which the learning rate rises") \
    X(epochs,              200,   0,    10000,  WHOLE, "at most") \
    X(patience,            10,    0,    10000,  WHOLE, "epochs without a better validation before it stops; 0: never") \
    X(average,             0.99,  0,    0.9999, REAL,  "decay per step of the average of weights that is kept; 0: none") \
    X(loss,                0,     0,    2,      WHOLE, "0 softmax over all items, 1 sampled softmax, 2 gBCE") \
    X(ahead,               1,     1,    16,     WHOLE, "events that each one predicts: the next, and at 1/2, 1/3 those after it") \
    X(negatives,           1024,  1,    65536,  WHOLE, "of the sampled losses") \
    X(gbce_t,              0.75,  0,    1,      REAL,  "calibration of gBCE") \
    X(mask_seen,           -1,    -1,   1,      WHOLE, "items of the history do not compete: 1 yes, 0 no, -1 if nobody repeats") \
    X(random_window,       0,     0,    1,      WHOLE, "half of the histories that are too long start anywhere") \
    X(head_epochs,         12,    0,    1000,   WHOLE, "passes of stage two over the held-out events") \
    X(head_learning_rate,  0.02,  0,    1,      REAL,  "of stage two") \
    X(head_queries,        4096,  16,   1e7,    WHOLE, "held-out events that stage two learns from, at most") \
    X(head_candidates,     8192,  16,   1e6,    WHOLE, "items they are compared with, at most") \
    X(head_decay,          0.001, 0,    10,     REAL,  "pull of the head's numbers to where they start") \
    X(head_balance,        1,     0,    1,      WHOLE, "parts weighed by NDCG@10 in the end, against the untrained head: 1 yes") \
    X(correction,          0,     0,    256,    WHOLE, "rank of the learned corrections to q, k, r, v; 0: none")
/* clang-format on */

struct train_options {
#define X(name, standard, least, most, kind, help) double name;
    TRAIN_OPTIONS(X)
#undef X
};

void train_options_default(struct train_options *options);

/* One "name=value". INVALID_ARGUMENT / BAD_OPTION names the option and its limits, and suggests a name. */
bool train_options_set(struct train_options *options, const char *assignment, struct status *st);

/* A YAML file of at most 64 KiB: one mapping of names to numbers. */
bool train_options_load(struct train_options *options, const char *path, struct status *st);

/* What belongs together: heads divide width. */
bool train_options_check(const struct train_options *options, struct status *st);

/* {name: value}; new reference. */
json_t *train_options_json(const struct train_options *options);

/* The lines of --help. */
void train_options_help(void);

#endif
