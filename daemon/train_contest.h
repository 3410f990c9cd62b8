/* SPDX-License-Identifier: Apache-2.0
 *
 * A contest: held-out events of a shop as queries, and scorers that answer all of them: a model, and the baselines it has to beat. All see the same
 * training part, the same items and the same queries, so that they can be compared query by query. */
#ifndef RECSYS_DAEMON_TRAIN_CONTEST_H
#define RECSYS_DAEMON_TRAIN_CONTEST_H

#include "daemon/train_data.h"
#include "models/evaluation_lists.h"
#include "models/holdout.h"

struct contest_options {
    enum holdout_kind kind;
    bool validation; /* the validation events, not the test */
    bool mask_seen;
    double cold_share; /* of the items, whose training events are taken out; 0: none */
    bool warm;         /* of those items, keep the events: only point them out */
    size_t users;      /* ask about so many users only; 0: all */
    size_t threads;
    bool progress; /* show it on the terminal */
};

/* Who took part. */
struct contestant {
    char name[80];
    struct evaluation_result result;
    double seconds;
};

/* A kind of vector, of the encoder that most items have. */
struct contest_modality {
    char name[64];
    float *rows; /* (item_count, dimension), centred and normalised */
    size_t dimension;
    bool *present; /* (item_count) */
};

#define CONTESTANTS_MAX (8 + EVALUATION_MODALITIES_MAX)

struct contest {
    struct contest_options options;
    const struct train_data *data;
    struct evaluation_data view;
    struct holdout holdout;
    struct counts_view *counts; /* of the training part, by item row */
    bool *is_cold;              /* (item_count), or NULL */
    struct holdout_query *queries;
    size_t query_count, user_count; /* users with a query */
    uint32_t *user, *target;        /* (query_count) of each query: whose, which item */
    struct contest_modality modality[EVALUATION_MODALITIES_MAX];
    size_t modality_count;
    struct evaluation_items items;
    struct contestant contestant[CONTESTANTS_MAX]; /* the first is the model */
    size_t contestant_count;
};

/* Cut the shop's log, count, choose the queries. `data` must outlive the contest; users' names are read for a sample. A sample is the first users by a
 * seeded hash of their names: the same ones each time, most of them also when the shop has grown, and those of a smaller sample among them.
 * FAILED_PRECONDITION / NO_QUERIES where nothing is held out. After a failure it is closed. */
bool contest_init(struct contest *contest, struct train_data *data, const struct contest_options *options,
                  struct status *st);
void contest_close(struct contest *contest);

/* Let a scorer answer all queries. */
bool contest_ask(const struct contest *contest, const char *name, evaluation_scorer *scorer, void *context,
                 struct contestant *contestant, struct status *st);

/* The same, and keep the result in the contest. */
bool contest_add(struct contest *contest, const char *name, evaluation_scorer *scorer, void *context,
                 struct status *st);

/* Add popularity, popularity-7d, markov, and content-MODALITY for each modality. */
bool contest_add_baselines(struct contest *contest, struct status *st);

/* The first contestant of that name, or NULL. */
const struct contestant *contest_find(const struct contest *contest, const char *name);

/* One line per query, tab-separated, under a line of names: user, at, item, train_count, history_length, cold, then the rank with each contestant.
 * `at` is the index of the event among the user's; train_count the item's events in the training part. Users' names are read. */
bool contest_write_ranks(const struct contest *contest, struct train_data *data, const char *path, struct status *st);

#endif
