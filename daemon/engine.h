/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers requests for lists. No sockets here: the daemon's workers, the batch job and the tests all call the same function. A score is a
 * function of (log up to a position, catalogue, model, counts, now); the answer names all five.
 *
 * The engine holds what answers (the snapshot of the active model, the counts) and hands out references; `struct engine_worker` is what one
 * thread needs to work. */
#ifndef RECSYS_DAEMON_ENGINE_H
#define RECSYS_DAEMON_ENGINE_H

#include "daemon/config.h"
#include "daemon/rules.h"
#include "daemon/snapshot.h"
#include "models/cooccurrence.h"
#include "models/counts.h"
#include "storage/catalog.h"
#include "storage/histories.h"

#define ENGINE_VERSION_TEXT 24 /* of a position as text */
#define ENGINE_LOADED_MAX   8  /* models beside the active one */

/* A behaviour as it is stored and what it weighs now. */
struct engine_behaviour {
    char name[32];
    float weight;
    bool configured; /* events of it may be added */
};

struct engine {
    const struct config *config;
    struct catalog *catalog;
    struct histories *histories;
    struct engine_behaviour behaviours[256]; /* by stored number; set before threads start */
    pthread_mutex_t lock;                    /* guards the pointers to snapshots and counts */
    struct snapshot *snapshot;               /* NULL before the first model */
    struct snapshot
        *loaded[ENGINE_LOADED_MAX]; /* of models beside it, for who names them; NULL: free (engine_loaded.h) */
    struct counts_view *counts;
    struct counts_view *past_counts; /* an older version that a request asked for; one is kept */
    unsigned past_merges;            /* merges when it was rebuilt */
    struct engine_past *past;  /* the moment that a request asked for last (engine_past.h); guarded by past_lock */
    pthread_mutex_t past_lock; /* one rebuild at a time */
    _Atomic unsigned merges;   /* of users, since the start */
    _Atomic int64_t merged;    /* position of the last one that moved events: counts from before it are gone */
    pthread_mutex_t
        apply_lock; /* held while changed items reach catalogue and snapshot, and while a snapshot is replaced */
    pthread_mutex_t install_lock; /* one snapshot is built at a time; taken before apply_lock */
    _Atomic int64_t committed;    /* log position that memory and disk agree on */
};

/* Set up around a catalogue and histories that stay the caller's. */
bool engine_init(struct engine *engine, const struct config *config, struct catalog *catalog,
                 struct histories *histories);
void engine_close(struct engine *engine);

/* Learn the behaviours: those of the configuration, registered in the store (writer in a transaction) or found there (reader). */
bool engine_load_behaviours(struct engine *engine, struct store *store, bool create, struct status *st);

/* Put a snapshot or counts in the place of the one before, taking over the caller's reference. The caller holds apply_lock for a snapshot. */
void engine_set_snapshot(struct engine *engine, struct snapshot *snapshot);
void engine_set_counts(struct engine *engine, struct counts_view *counts);

/* Users have been merged at `position`: older versions of counts are of sequences that are no longer there. Takes no lock. */
void engine_note_merge(struct engine *engine, int64_t position);

/* References to what answers now; either may be NULL. */
void engine_acquire(struct engine *engine, struct snapshot **snapshot, struct counts_view **counts);

/* Put changed items into the catalogue and the snapshot. Takes over the references in `items`. Writer thread only; where the snapshot has no room left, a
 * new one is built first. */
bool engine_apply_items(struct engine *engine, struct catalog_item **items, size_t count, int64_t position,
                        struct arena *arena, struct status *st);

/* Build a snapshot of `model` (NULL: the one that answers now, a compaction) over the whole catalogue and put it in place, catching up with what changed
 * meanwhile. */
bool engine_install_model(struct engine *engine, struct model *model, struct arena *arena, struct status *st);

/* The same in two steps, for who has something to do in between: build a snapshot aside, which changes nothing, and put it in place (taking over the
 * reference, also on failure). */
struct snapshot *engine_prepare_model(struct engine *engine, struct model *model, struct arena *arena,
                                      struct status *st);
bool engine_publish(struct engine *engine, struct snapshot *snapshot, struct arena *arena, struct status *st);

/* Append to a snapshot what changed in the catalogue after `position`. The caller holds apply_lock. FAILED_PRECONDITION / SNAPSHOT_FULL. */
bool engine_catch_up(struct engine *engine, struct snapshot *snapshot, int64_t position, struct arena *arena,
                     struct status *st);

/* The counts at `position`, which must not be after `committed`, by scanning the log. NULL with st. */
struct counts_view *engine_rebuild_counts(const struct engine *engine, struct store *reader, int64_t position,
                                          struct counts **whole, struct status *st);

/* ---- requests */

enum engine_task { ENGINE_RECOMMEND, ENGINE_RANK, ENGINE_SIMILAR, ENGINE_COMPLEMENT, ENGINE_TOP };

enum engine_top { ENGINE_POPULAR, ENGINE_TRENDING, ENGINE_NEWEST };

struct engine_weight {
    const char *key;
    double value;
};

/* An event that is not in the log: of a session, or an item that is looked at now. */
struct engine_event {
    const char *item, *behaviour;
    int64_t ts_ms;
};

/* An item or a vector that the list is to be like, or with a negative weight unlike. */
struct engine_example {
    const char *item; /* "" for a vector */
    const char *const *modalities;
    size_t modality_count; /* none: all, and what users did; a vector has one */
    float weight;
    const float *values;
    size_t dimension;
    const char *encoder; /* "": the one that the model reads */
    char field[64];      /* where it stands in the request, for errors: "unlike[2]" */
};

enum engine_explain { EXPLAIN_NONE, EXPLAIN_REASON, EXPLAIN_FULL };

struct engine_request {
    enum engine_task task;
    enum engine_top top;
    const char *user;         /* "" or NULL: nobody */
    const char *const *items; /* candidates of rank, examples of similar, the cart of complement */
    size_t item_count;
    const struct engine_event *events; /* after those of the log, by time */
    size_t event_count;
    const char *const *current; /* the newest events of all; not listed */
    size_t current_count;
    const struct engine_example *examples; /* similar: beside items */
    size_t example_count;
    const char *const *exclude;
    size_t exclude_count;
    size_t n; /* rank: 0 is all */
    bool exclude_seen, include_context;
    const char *const *seen_behaviours; /* which count as seen; none: all */
    size_t seen_behaviour_count;
    int64_t seen_within_ms; /* 0: ever */
    const struct engine_weight *weights;
    size_t weight_count;
    const char *const *modalities; /* similar: only these */
    size_t modality_count;
    int64_t at_position;  /* INT64_MAX: now */
    int64_t min_position; /* 0: whatever is there */
    int64_t now_ms;
    int64_t as_of_ms;    /* 0: now; else as it would have been answered then; now_ms is the same time */
    int64_t deadline_us; /* monotonic: what cannot be done by then is left out; 0: none */
    const char *model, *counts, *catalogue; /* versions that must answer, or NULL */
    const struct rules *rules;              /* NULL: none */
    enum engine_explain explain;            /* REASON and FULL: the items come with their terms */
    bool funnel;                            /* count what is left after each stage */
    const int64_t *without;                 /* positions of events that are taken as not happened, ascending */
    size_t without_count;
    const char *trace; /* an item: what becomes of it; NULL: none */
};

/* Where an item of a list came from. */
enum engine_source {
    SOURCE_ATTENTION,   /* sequence and streams say most */
    SOURCE_NEIGHBOUR,   /* what others did next says most */
    SOURCE_CONTENT,     /* similar: its features */
    SOURCE_PROMOTION,   /* a promotion's share of the list */
    SOURCE_EXPLORATION, /* drawn at random */
    SOURCE_TRENDING,
    SOURCE_POPULAR,
    SOURCE_NEWEST,
    SOURCE_STORED, /* of a list that was computed before */
};

#define ENGINE_PARTS_MAX (4 + ARCHITECTURE_VIEWS_MAX)

struct engine_part {
    const char *key; /* "sequence", "behaviour", "popularity", "boost" or a modality; or "stored" alone */
    float value;
};

/* What one event, or nothing of the history, adds to a score. */
enum engine_term_kind {
    TERM_SEQUENCE,
    TERM_STREAM,
    TERM_COOCCURRENCE,
    TERM_POPULARITY,
    TERM_RECENT,
    TERM_NOVELTY,
    TERM_BOOST,
    TERM_TOP,
    TERM_STORED /* the score that the item had when its list was stored */
};

struct engine_term {
    enum engine_term_kind kind;
    float value;               /* they add up to the item's score */
    int event;                 /* index in answer->history; -1: of no event */
    const char *pick_modality; /* stream: who picks; else "" */
    const char *modality;      /* stream: who judges; sequence: of the candidate ("id" is the item itself); else "" */
    float pick, judge;         /* stream: value = pick · judge · the stream's weight */
    int rule;                  /* boost: index of the request's; -1 */
};

/* One event of the history as attended to. */
struct engine_attended {
    const struct catalog_item *item; /* lives as long as the answer; NULL where the model has no row of it */
    const char *behaviour;           /* "" of an example */
    int64_t ts_ms, position;         /* position 0: it came with the request */
};

struct engine_item {
    const struct catalog_item *item; /* lives as long as the answer */
    float score;
    enum engine_source source;
    const char *label; /* of the promotion that put it here, or "" */
    float propensity;  /* of one drawn at random: how likely it was; 0: it was not */
    int32_t moved;     /* places that rules and knobs moved it up; negative: down */
    size_t part_count;
    struct engine_part parts[ENGINE_PARTS_MAX];
    size_t term_count; /* with explain: all of them, or for REASON those that a reason may name */
    const struct engine_term *terms;
};

/* What takes items out on the way to a list, in this order. */
enum engine_stage {
    STAGE_CATALOGUE,
    STAGE_SHOWN,        /* available, created and not expired */
    STAGE_CANDIDATES,   /* named by rank */
    STAGE_NOT_EXCLUDED, /* by the request or pages before it */
    STAGE_NOT_CURRENT,  /* looked at now, in the cart, an example */
    STAGE_NOT_SEEN,
    STAGE_FILTER,
    STAGE_PRICE_CEILING,
    STAGE_SCORED, /* in a large shop: chosen by the scan */
    STAGE_POOL,   /* re-ranked */
    STAGE_LISTED,
    STAGE_COUNT
};

/* Items left after each stage, and what became of one of them. */
struct engine_funnel {
    bool reached[STAGE_COUNT];
    size_t count[STAGE_COUNT];
};

struct engine_trace {
    uint32_t row;           /* SNAPSHOT_ROW_NONE: the shop does not have it, or nothing is traced */
    bool deleted;           /* it has, but not any more */
    enum engine_stage lost; /* the first stage that it did not pass; STAGE_COUNT: it is listed */
    size_t place;           /* on the list, from 1; 0: not there */
    bool scanned;           /* the shop is so large that only the best of a scan were scored */
    bool scored;            /* it has a score: `item` is filled */
    size_t by_score;        /* place among what qualifies by score alone, from 1; 0: not known */
    struct engine_item item;
};

#define ENGINE_NOTES_MAX 8

/* A list, in the arena of the worker; close it to give back the snapshot. */
struct engine_answer {
    struct engine_item *items;
    size_t count;
    struct snapshot_view view;
    struct engine_past *past; /* whose items the view has, where it is of the past; a reference */
    const char *model;        /* version, or "" */
    char counts[ENGINE_VERSION_TEXT], catalogue[ENGINE_VERSION_TEXT], seq[ENGINE_VERSION_TEXT];
    int64_t now_ms;
    const char *degraded[ENGINE_NOTES_MAX];
    size_t degraded_count;
    char shortened[240], filled[160]; /* "" where not */
    const char **unknown;             /* ids that the shop does not have */
    size_t unknown_count;
    struct engine_attended *history; /* with explain: newest first */
    size_t history_count;
    bool counting; /* the funnel is asked for */
    struct engine_funnel funnel;
    struct engine_trace trace;
};

/* What one thread works with; nothing in it is shared. */
struct engine_worker {
    struct engine *engine;
    struct store *reader;
    struct arena arena; /* the caller marks and rewinds around a request */
    struct history history;
    struct cooccurrence cooccurrence;
    float ns_per_product;          /* what a multiply-add of scoring takes here, as learned; 0: nothing yet */
    const float *behaviour_weight; /* (256) in the place of the configured ones; NULL: those */
};

bool engine_worker_init(struct engine_worker *worker, struct engine *engine, struct store *reader, size_t arena_bytes);
void engine_worker_close(struct engine_worker *worker); /* not the reader */

/* Answer. INVALID_ARGUMENT naming the field (unknown behaviour, modality or attribute, weights); FAILED_PRECONDITION / VERSION_GONE for versions that are
 * not to be had, OUT_OF_LOG for an at_seq that is not there yet; RESOURCE_EXHAUSTED / NO_MEMORY. The answer must be closed on success. */
bool engine_answer(struct engine_worker *worker, const struct engine_request *request, struct engine_answer *answer,
                   struct status *st);
void engine_answer_close(struct engine_answer *answer);

/* "attention", "neighbour", ... */
const char *engine_source_name(enum engine_source source);

/* "catalogue", "shown", ... */
const char *engine_stage_name(enum engine_stage stage);

#endif
