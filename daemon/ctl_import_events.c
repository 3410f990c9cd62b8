/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import.h"
#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>

/* The daemon reads a number below this as seconds, or as ambiguous. */
#define PLAIN_MS_LEAST 100000000000

static const char *cell(const struct atomic_file *file, int column)
{
    return column >= 0 ? file->cells[column] : "";
}

static char *time_text(struct batch *batch, int64_t at_ms)
{
    char text[32];
    if (at_ms >= PLAIN_MS_LEAST)
        snprintf(text, sizeof text, "%" PRId64, at_ms);
    else
        timestamp_format(at_ms, text);
    return batch_text(batch, text);
}

static enum import_append append_event(struct import *import, struct batch *batch, struct status *st)
{
    const struct atomic_file *file = &import->events;
    const struct event_columns *columns = &import->event_columns;
    const char *behaviour = cell(file, columns->behaviour), *value = cell(file, columns->value);
    int64_t at_ms;
    double number = 0;
    if (!timestamp_parse(file->cells[columns->ts], "timestamp", &at_ms, st))
        return IMPORT_ROW_BAD;
    if (*value != '\0' && !ctl_parse_real(value, &number)) {
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NUMBER", "value '%.64s' is no number", value);
        return IMPORT_ROW_BAD;
    }
    Recsys__Event *event = batch_alloc(batch, sizeof *event);
    char *key = batch_alloc(batch, EVENT_KEY_SIZE);
    if (event == NULL || key == NULL)
        return IMPORT_BATCH_FULL;
    recsys__event__init(event);
    event->user = batch_text(batch, file->cells[columns->user]);
    event->item = batch_text(batch, file->cells[columns->item]);
    event->behaviour = batch_text(batch, *behaviour != '\0' ? behaviour : import->behaviour);
    event->ts = time_text(batch, at_ms);
    event->key = key;
    if (event->user == NULL || event->item == NULL || event->behaviour == NULL || event->ts == NULL)
        return IMPORT_BATCH_FULL;
    if (*value != '\0') {
        event->_value_case = RECSYS__EVENT___VALUE_VALUE;
        event->value = number;
    }
    /* Last, for it counts the row: one that did not fit comes again. */
    if (!event_keys_next(&import->keys, event->user, event->item, at_ms, event->behaviour, key, st))
        return IMPORT_FAILED;
    batch_add(batch, event, file->line_number, protobuf_c_message_get_packed_size(&event->base));
    return IMPORT_APPENDED;
}

static void seal_events(struct import *import, struct batch *batch)
{
    Recsys__EventAddRequest *request = &batch->request.events;
    (void)import;
    recsys__event_add_request__init(request);
    request->n_events = batch->row_count;
    request->events = (Recsys__Event **)(void *)batch->rows;
    request->_cascade_create_case = RECSYS__EVENT_ADD_REQUEST___CASCADE_CREATE_CASCADE_CREATE;
    request->cascade_create = true;
    request->_atomic_case = RECSYS__EVENT_ADD_REQUEST___ATOMIC_ATOMIC;
    request->atomic = false;
}

static void count_events(struct import *import, const ProtobufCMessage *message, Recsys__RowError *const **errors,
                         size_t *error_count)
{
    const Recsys__EventAddReply *reply = (const Recsys__EventAddReply *)message;
    import->tally->added += (uint64_t)reply->added;
    import->tally->duplicates += (uint64_t)reply->duplicates;
    import->created_users += (uint64_t)reply->created_users;
    import->created_items += (uint64_t)reply->created_items;
    *errors = reply->errors;
    *error_count = reply->n_errors;
}

static void place_event(const struct import *import, const struct batch *batch, size_t row, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s:%" PRIu64, import->events.path, batch->lines[row]);
}

bool import_events(struct import *import, struct status *st)
{
    static const struct import_kind kind = {.method = "event.add",
                                            .reply_type = &recsys__event_add_reply__descriptor,
                                            .append = append_event,
                                            .seal = seal_events,
                                            .count = count_events,
                                            .place = place_event};
    if (!event_keys_open(&import->keys, st))
        return false;
    int64_t started_us = timestamp_monotonic_us();
    import_begin(import, &kind, &import->events_tally, "events", import->events.size_bytes);
    bool ok = import_rows(import, &import->events, st);
    import->events_us = timestamp_monotonic_us() - started_us;
    event_keys_close(&import->keys);
    return ok;
}
