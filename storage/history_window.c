/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/history_window.h"

#include <string.h>

bool history_window_answer(const struct history_window *window, int64_t at_position, size_t newest, struct history *out)
{
    size_t first = window->count, taken = 0;
    bool more = false;
    for (size_t i = window->count; i > 0 && !more; i--) {
        if (window->events[i - 1].position > at_position)
            continue;
        more = taken == newest;
        if (!more) {
            first = i - 1;
            taken++;
        }
    }
    if (!more && !window->complete && (taken < newest || at_position < window->older_position))
        return false;
    out->complete = !more && window->complete;
    out->count = 0;
    for (size_t i = first; i < window->count; i++) {
        if (window->events[i].position <= at_position)
            out->events[out->count++] = window->events[i];
    }
    return true;
}

static bool is_before(const struct store_event *a, const struct store_event *b)
{
    return a->ts_ms != b->ts_ms ? a->ts_ms < b->ts_ms : a->position < b->position;
}

/* The index of the first event that is not before `event`. Most events are the newest: look from that end. */
static size_t window_place(const struct history_window *window, const struct store_event *event)
{
    size_t at = window->count;
    while (at > 0 && !is_before(&window->events[at - 1], event))
        at--;
    return at;
}

void history_window_note_older(struct history_window *window, int64_t position)
{
    window->complete = false;
    if (window->older_position > position)
        window->older_position = position;
}

void history_window_insert(struct history_window *window, const struct store_event *event)
{
    size_t at = window_place(window, event);
    if (at < window->count && window->events[at].position == event->position)
        return;
    bool full = window->count == HISTORIES_EVENTS_MAX;
    if (at == 0 && full) {
        history_window_note_older(window, event->position);
        return;
    }
    if (full) {
        history_window_note_older(window, window->events[0].position);
        at--;
        memmove(&window->events[0], &window->events[1], at * sizeof *event);
    } else {
        memmove(&window->events[at + 1], &window->events[at], (window->count - at) * sizeof *event);
        window->count++;
    }
    window->events[at] = *event;
}
