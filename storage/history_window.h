/* SPDX-License-Identifier: Apache-2.0
 *
 * The newest events of one user, and what is known about the older ones that are not kept: enough to tell which
 * questions they answer exactly. Inside of histories.c; knows neither locks nor memory. */
#ifndef RECSYS_STORAGE_HISTORY_WINDOW_H
#define RECSYS_STORAGE_HISTORY_WINDOW_H

#include "storage/histories.h"

struct history_window {
    struct store_event
        *events; /* oldest first by (ts_ms, position), at most HISTORIES_EVENTS_MAX; belongs to the holder */
    size_t count;
    bool complete;          /* there are no older ones; else the window is full */
    int64_t older_position; /* the smallest known position of an older one; INT64_MAX: none is known */
};

/* The newest `newest` events with position <= at_position: sets events, count and complete of `out`. Its memory
 * has room for them and may be the window's own, beginning at or before window->events. False, with nothing
 * written, where older events could belong to the answer. */
bool history_window_answer(const struct history_window *window, int64_t at_position, size_t newest,
                           struct history *out);

/* Put an event in its place; one that is there is ignored. A full window lets go of its oldest. Else `events` has
 * room for one more. */
void history_window_insert(struct history_window *window, const struct store_event *event);

/* There is an older event that is not kept. */
void history_window_note_older(struct history_window *window, int64_t position);

#endif
