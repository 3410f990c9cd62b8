/* SPDX-License-Identifier: Apache-2.0
 *
 * A moment of the past, as a list of that day was a function of it: the log up to a position, the items and vectors as they were, the model and the counts that answered.
 * What is not what answers now is built anew out of the store, and the last such moment is kept for the next request. */
#ifndef RECSYS_DAEMON_ENGINE_PAST_H
#define RECSYS_DAEMON_ENGINE_PAST_H

#include "daemon/engine.h"

/* Items of the past, encoded by the model of then; counted. */
struct engine_past {
    atomic_int references;
    int64_t catalogue; /* version */
    struct catalog *catalog;
    struct snapshot *snapshot;
};

void engine_past_release(struct engine_past *past); /* NULL is fine */

/* What answered at a time. */
struct engine_moment {
    int64_t position;  /* the log's */
    int64_t catalogue; /* versions */
    int64_t counts;
    char model[97];
};

/* Find it. FAILED_PRECONDITION / BEYOND_RETENTION before what is kept, NOTHING_YET before the first model. */
bool engine_past_moment(struct engine_worker *worker, int64_t as_of_ms, struct engine_moment *moment,
                        struct status *st);

/* The items and the model of a moment: `*snapshot` with a reference, and `*past` where it had to be built (also a reference), which must outlive the snapshot. As long as
 * items and model are those of now, what answers now is taken. RESOURCE_EXHAUSTED / BUSY while another moment is being built or still read, MODEL_TOO_LARGE where
 * there is no memory for it; FAILED_PRECONDITION / MODEL_GONE for a model
 * that was deleted. */
bool engine_past_find(struct engine_worker *worker, const struct engine_moment *moment, struct snapshot **snapshot,
                      struct engine_past **past, struct status *st);

#endif
