/* SPDX-License-Identifier: Apache-2.0
 *
 * Experiments on live requests, by name, from a YAML file of their own (server.experiments), so that they can change
 * while the daemon runs: variants of which each user gets one, two models whose lists are interleaved, or a model whose
 * list is computed beside the one that is shown. Here is the file, checked, and who is in which variant; what a variant
 * does with a request is the caller's.
 *
 * Names are 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'; a model may also be named by its version, which is longer. That
 * a scenario or a model exists is not looked at: they come and go, and are looked up when a request needs them. */
#ifndef RECSYS_DAEMON_EXPERIMENTS_H
#define RECSYS_DAEMON_EXPERIMENTS_H

#include "proto/status.h"

#include <pthread.h>
#include <stddef.h>

#define EXPERIMENTS_MOST         100
#define EXPERIMENTS_FILE_BYTES   ((size_t)1 << 20)
#define EXPERIMENT_VARIANTS_MOST 16
#define EXPERIMENT_NAME_BYTES    64
#define EXPERIMENT_MODEL_BYTES   96       /* a version is a name, '-' and a piece of a hash */
#define EXPERIMENT_ACTIVE        "active" /* in the file: the model that answers, even where one has this name */

enum experiment_kind {
    EXPERIMENT_VARIANTS,   /* 2 to 16; the first is the one that others are compared with */
    EXPERIMENT_INTERLEAVE, /* two, named as their models; one list is made of both */
    EXPERIMENT_SHADOW      /* one, named as its model; nobody sees its list */
};

struct experiment_variant {
    const char *name;
    const char *scenario; /* taken instead of the request's; "": as the request says */
    const char *model;    /* a name or a version; "": the one that answers */
    double share;         /* of the users in the experiment; variants' add up to 1, of other kinds each is 1 */
};

struct experiment {
    const char *name, *salt;
    enum experiment_kind kind;
    double share; /* (0, 1]: of all users; of a shadow: of the units that are asked for */
    struct experiment_variant *variants;
    size_t variant_count;
};

/* What one file said; immutable and counted. All that it hands out is good as long as the reference. */
struct experiments;

/* The set that answers now, for any thread. */
struct experiments_slot {
    pthread_mutex_t lock;
    struct experiments *now;
};

/* Read a file; "off": none. INVALID_ARGUMENT / BAD_EXPERIMENT with file, line, experiment, variant and key (which is
 * the status's field too): bad YAML, an anchor, alias or tag, a second document, an unknown key with the nearest known
 * one, a key twice or without a value, a bad name or share, not exactly one of variants, interleave, shadow, too many
 * or too much. NOT_FOUND / NO_INPUT. RESOURCE_EXHAUSTED / NO_MEMORY. One reference, the caller's; NULL with st. */
struct experiments *experiments_load(const char *path, struct status *st);
struct experiments *experiments_acquire(struct experiments *experiments);
void experiments_release(struct experiments *experiments); /* NULL is fine */

/* In the file's order. */
size_t experiments_count(const struct experiments *experiments);
const struct experiment *experiments_at(const struct experiments *experiments, size_t index);

/* NULL and INVALID_ARGUMENT / UNKNOWN_EXPERIMENT with the nearest name. */
const struct experiment *experiments_find(const struct experiments *experiments, const char *name, struct status *st);

/* "variants", "interleave" or "shadow", as in the file. */
const char *experiment_kind_name(enum experiment_kind kind);

/* Which variant a unit is in: the user's id, or, of a shadow, any text that names the request. NULL: not in the
 * experiment, as "" always is. Interleaved: the first, which says no more than that the unit is in.
 *
 * It depends on the salt, the shares and the unit and on nothing else, so it is the same for ever, after a restart and
 * on every machine. Two experiments with different salts are independent; those with the same salt and the same share
 * have the same users in them. Whether a unit is in and which variant it gets are drawn apart: as the whole share
 * grows, units come in, none goes, and none changes its variant. When the shares of the variants change, some do. */
const struct experiment_variant *experiment_assign(const struct experiment *experiment, const char *unit);

/* The set that answers now, with a reference for the caller. */
struct experiments *experiments_slot_acquire(struct experiments_slot *slot);

/* Put a new set in, taking over the reference; who holds the old one keeps it. */
void experiments_slot_set(struct experiments_slot *slot, struct experiments *experiments);

#endif
