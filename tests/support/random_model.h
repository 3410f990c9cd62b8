/* SPDX-License-Identifier: Apache-2.0
 *
 * Models and shops for tests, made from a seed: every kind of attention that an architecture can ask for, with
 * numbers of the size that training gives. And the sequence part once more, as plain loops in double, for the tests
 * that need to know what it should say. Aborts where memory runs out. */
#ifndef RECSYS_TESTS_SUPPORT_RANDOM_MODEL_H
#define RECSYS_TESTS_SUPPORT_RANDOM_MODEL_H

#include "models/encoder.h"
#include "models/model.h"
#include "models/random.h"
#include "models/sequence.h"

/* All have the views "text" and "image" of different dimensions and the same number of components, and the
 * behaviours below.
 *   X(name, what is special)
 * Models with a sequence part know the items "item-0" to "item-<RANDOM_MODEL_NAMES - 1>". */
/* clang-format off */
#define RANDOM_MODEL_KINDS(X)                                                            \
    X(DEFAULT,   "like the default model: two modalities, four streams")                 \
    X(HEADS,     "two heads, each with its temperature")                                 \
    X(HARD,      "hard attention to three events")                                       \
    X(COSINE,    "cosine attention, two heads")                                          \
    X(ADDITIVE,  "additive attention, two heads")                                        \
    X(MASKED,    "missing features masked")                                              \
    X(HARD_MASK, "hard attention, missing features masked")                              \
    X(CORRECTED, "low-rank corrections of both views")                                   \
    X(ID,        "a view of the learned embeddings, and a sequence part of one block")   \
    X(JOINT,     "the candidate's text against the history's image")                     \
    X(SEQUENCE,  "a sequence part of two blocks")                                        \
    X(NEGATIVE,  "two behaviours of negative value")
/* clang-format on */

enum random_model_kind {
#define RANDOM_MODEL_ENUM(name, what) RANDOM_MODEL_##name,
    RANDOM_MODEL_KINDS(RANDOM_MODEL_ENUM)
#undef RANDOM_MODEL_ENUM
        RANDOM_MODEL_COUNT
};

enum { RANDOM_MODEL_NAMES = 150, RANDOM_MODEL_BEHAVIOURS = 3 };

/* What is special about a kind. */
const char *random_model_label(enum random_model_kind kind);

/* The architecture of a kind, and a model of it; one reference. */
void random_model_architecture(struct architecture *architecture, enum random_model_kind kind);
struct model *random_model(enum random_model_kind kind, uint64_t seed);

/* A model of any architecture, with `names` ID rows. */
struct model *random_model_of(const struct architecture *architecture, size_t names, uint64_t seed);

/* Items "item-0", "item-1", ... of a shop; each feature is missing with probability `missing`. */
struct random_items {
    size_t count;
    struct encoder_item *items; /* (count) */
    char (*names)[32];          /* (count) */
    float *vectors;
};

void random_items_init(struct random_items *items, const struct model *model, size_t count, float missing,
                       uint64_t seed);
void random_items_close(struct random_items *items);

/* Where the items of a shop are encoded; `count` rows from 0. */
void random_items_encode(const struct random_items *items, const struct model *model, struct encoder_rows *rows);

/* One history, oldest first; every row looks back from the next event, the last from now_ms. */
struct sequence {
    size_t length;        /* >= 1 */
    const float *token;   /* (length, width) */
    const int *behaviour; /* (length): index in the architecture, or -1 */
    const int64_t *ts_ms; /* (length), ascending */
    int64_t now_ms;
};

/* u (width) of a history after its last event, as models/sequence.h says. */
void random_model_state(double *u, const struct model *model, const struct sequence *sequence);

/* ⌊ln(max(1, seconds)) / 0.301⌋, in double. */
int random_model_time_bucket(int64_t age_ms);

/* `count` values or die. */
void *random_model_alloc(size_t count, size_t size_bytes);

#endif
