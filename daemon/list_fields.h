/* SPDX-License-Identifier: Apache-2.0
 *
 * What requests for lists have in common, by the names of the schema, whatever message they came in. */
#ifndef RECSYS_DAEMON_LIST_FIELDS_H
#define RECSYS_DAEMON_LIST_FIELDS_H

#include "daemon/handler.h"
#include "daemon/rules.h"

/* A `oneof _name` of the schema: absent is not zero. */
struct list_number {
    bool given;
    double value;
};

/* What an experiment does with one list (list_trial.h). */
struct list_trial {
    struct experiments *set;                  /* a reference */
    const struct experiment *experiment;      /* NULL: none */
    const struct experiment_variant *variant; /* the user's; NULL: in none, or a shadow */
    const char *missing;                      /* a model that is not loaded; NULL: all are */
    struct engine_answer *second;             /* of the other model, interleaved */
    const uint8_t *teams;                     /* per item of the list: which model brought it; NULL: it is of one */
};

struct list_fields {
    size_t n_items, n_exclude, n_weights, n_fields, n_boost, n_promotions, n_caps, n_events, n_current, n_like,
        n_unlike, n_modalities, n_without, n_context;
    char **items, **exclude, **fields, **current, **modalities, **without;
    Recsys__Context **context;
    Recsys__Weight **weights;
    const Recsys__SeenRule *seen;
    const Recsys__Filter *filter;
    Recsys__Boost **boost;
    Recsys__Promotion **promotions;
    Recsys__Cap **caps;
    Recsys__Event **events;
    Recsys__Example **like, **unlike;
    struct list_number n, exclude_seen, price_ceiling, diversity, novelty, serendipity, calibration, pool, exploration,
        rotation, deadline_ms;
    const char *user, *min_seq, *at_seq, *now, *model, *counts, *catalogue, *rerank, *scenario, *by, *seed, *explain,
        *language, *as_of, *experiment;
    const char *trace; /* of no message: an item that is asked about; NULL: none */
    bool funnel;
    int64_t rotation_ms; /* 0: not given */
    bool include_context;
    struct list_trial trial;
    struct scenarios *scenarios; /* a reference, held for what was taken from one */
};

/* From a message of any of these requests; LIST_FIELDS what all have, the others what some have. */
/* clang-format off */
#define LIST_NUMBER(r, name)   .name = {(r)->_##name##_case != 0, (double)(r)->name}
#define LIST_REPEATED(r, name) .n_##name = (r)->n_##name, .name = (r)->name
#define LIST_FIELDS(r)                                                                                                 \
    LIST_REPEATED(r, exclude), LIST_REPEATED(r, fields), LIST_REPEATED(r, boost), LIST_REPEATED(r, promotions),        \
    LIST_REPEATED(r, caps), .seen = (r)->seen, .user = (r)->user, .now = (r)->now, .counts = (r)->counts,              \
    .catalogue = (r)->catalogue, .filter = (r)->filter, .rerank = (r)->rerank, .scenario = (r)->scenario,              \
    LIST_NUMBER(r, n), LIST_NUMBER(r, exclude_seen), LIST_NUMBER(r, diversity), LIST_NUMBER(r, novelty),               \
    LIST_NUMBER(r, calibration), LIST_NUMBER(r, pool), LIST_NUMBER(r, price_ceiling), LIST_NUMBER(r, serendipity),  \
    LIST_NUMBER(r, exploration), .seed = (r)->seed, LIST_NUMBER(r, rotation), .rotation_ms = (r)->rotation_ms,         \
    .explain = (r)->explain, .language = (r)->language, .as_of = (r)->as_of, .experiment = (r)->experiment,            \
    .funnel = (r)->funnel, LIST_REPEATED(r, without), LIST_REPEATED(r, context)
#define LIST_FIELDS_MODEL(r)                                                                                           \
    LIST_REPEATED(r, weights), .model = (r)->model
#define LIST_FIELDS_LOG(r) .min_seq = (r)->min_seq, .at_seq = (r)->at_seq
#define LIST_FIELDS_SESSION(r) LIST_REPEATED(r, events), LIST_REPEATED(r, current), LIST_NUMBER(r, deadline_ms)
/* clang-format on */

#define LIST_FIELDS_NONE                                                                                               \
    {                                                                                                                  \
        .user = "", .min_seq = "", .at_seq = "", .now = "", .model = "", .counts = "", .catalogue = "", .rerank = "",  \
        .scenario = "", .by = "", .seed = "", .explain = "", .language = "", .as_of = "", .experiment = ""             \
    }

/* Take from `preset` what `fields` does not give. Identity and versions (user, items, now, min_seq, ...) are never taken. */
void list_fields_complete(struct list_fields *fields, const struct list_fields *preset);

/* The fields of a request message of this type; false for a type that asks for no list. */
bool list_fields_read(const ProtobufCMessage *message, struct list_fields *fields, enum engine_task *task);

/* What `explain` says. INVALID_ARGUMENT / BAD_VALUE. */
bool list_fields_explain(const struct list_fields *fields, enum engine_explain *explain, struct status *st);

/* Filter, boosts, promotions, caps and knobs, checked; texts stay those of the messages. Memory comes from `arena`.
 * INVALID_ARGUMENT names the field; RESOURCE_EXHAUSTED / NO_MEMORY. */
bool list_fields_rules(const struct list_fields *fields, struct arena *arena, struct rules *rules, struct status *st);

#endif
