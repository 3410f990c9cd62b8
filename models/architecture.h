/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model is made of, apart from its numbers: views of modalities, similarities between them, streams, the sequence part, behaviours. Written
 * as JSON into the model file's metadata. Terms as in the attention literature; design:
 *
 *   view         rows of one modality as one projection sees them: (items, components). "text", "image", or "id" (the item's own embedding)
 *   similarity   a view of the candidate against a view of the history event; the same modality as a rule, two where they share a space (CLIP)
 *   stream       an ordered pair of similarities: one picks the events that matter, the other judges what they say about the candidate */
#ifndef RECSYS_MODELS_ARCHITECTURE_H
#define RECSYS_MODELS_ARCHITECTURE_H

#include "proto/status.h"

#include <jansson.h>

#define ARCHITECTURE_VIEWS_MAX        16
#define ARCHITECTURE_SIMILARITIES_MAX 16
#define ARCHITECTURE_STREAMS_MAX      64
#define ARCHITECTURE_BLOCKS_MAX       8
#define ARCHITECTURE_BEHAVIOURS_MAX   32
#define ARCHITECTURE_HISTORY_MAX      1000
#define ARCHITECTURE_POSITIONS        64 /* ages in steps with a bias of their own; older ones share the last */
#define ARCHITECTURE_TIME_BUCKETS     64 /* ⌊ln(max(1, seconds)) / 0.301⌋, as HSTU: up to seven years */
#define ARCHITECTURE_GATE_WIDTH       32

enum attention_kind { ATTENTION_DOT, ATTENTION_COSINE, ATTENTION_ADDITIVE };

struct view {
    char name[64];     /* unique */
    char modality[64]; /* "id": the learned embedding */
    char encoder[129]; /* whose vectors; "" for "id" */
    int dimension;     /* of the raw vectors; the width for "id" */
    int components;    /* of the rows */
    int correction;    /* rank of the learned corrections to q, k, r, v; 0: the identity */
};

struct similarity {
    int candidate_view, history_view; /* the same number of components */
    enum attention_kind kind;
    int heads;         /* slices of the components, each with its temperature */
    int hard;          /* attend to this many events only; 0: all (soft) */
    bool mask_missing; /* leave events without the feature out of the softmax; default: they stay, neutral */
};

struct stream {
    int pick, judge; /* similarities */
};

struct architecture {
    int width, blocks, heads, feedforward; /* of the sequence part; blocks 0: there is none */
    int history;                           /* events attended to */
    int view_count, similarity_count, stream_count, behaviour_count;
    struct view views[ARCHITECTURE_VIEWS_MAX];
    struct similarity similarities[ARCHITECTURE_SIMILARITIES_MAX];
    struct stream streams[ARCHITECTURE_STREAMS_MAX];
    char behaviours[ARCHITECTURE_BEHAVIOURS_MAX][32];
};

/* As a JSON object (new reference; NULL out of memory), and back. A description from a file is checked: ranges, indices, names. False with
 * INVALID_ARGUMENT / BAD_MODEL naming the member. */
json_t *architecture_write(const struct architecture *architecture);
bool architecture_read(struct architecture *architecture, const json_t *json, struct status *st);

/* Index of a view or behaviour by name, or -1. */
int architecture_view(const struct architecture *architecture, const char *name);
int architecture_behaviour(const struct architecture *architecture, const char *name);

#endif
