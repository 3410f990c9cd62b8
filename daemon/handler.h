/* SPDX-License-Identifier: Apache-2.0
 *
 * What handlers share: the worker they run on, and the checks of values from outside. Handlers are thin: check, call the engine or hand a write to the
 * writer, fill the reply. */
#ifndef RECSYS_DAEMON_HANDLER_H
#define RECSYS_DAEMON_HANDLER_H

#include "daemon/job.h"
#include "daemon/server.h"
#include "daemon/writer.h"
#include "proto/recsys.pb-c.h"

/* One per worker thread. */
struct handler {
    struct server *server;
    struct engine_worker worker;
};

/* ---- checks; each names the field and is INVALID_ARGUMENT */

/* An external id: 1 to limits.id_bytes bytes, no control characters. UTF-8 was checked when the message was read. */
bool check_id(const struct config *config, const char *id, const char *field, struct status *st);

/* A count that was given or not: `preset` when not; 1 to `most` otherwise. */
bool check_n(bool given, int32_t n, size_t preset, int64_t most, size_t *out, struct status *st);

/* A time, not more than limits.future_ms ahead of `now_ms`; `preset_ms` where the text is empty. */
bool check_time(const struct config *config, const char *text, const char *field, int64_t now_ms, int64_t preset_ms,
                int64_t *out_ms, struct status *st);

/* A position in the log as it came over the wire; `preset` where the text is empty. */
bool check_position(const char *text, const char *field, int64_t preset, int64_t *out, struct status *st);

/* "rows[17].item" in a static-size buffer. */
struct field_name {
    char text[64];
};
struct field_name field_at(const char *list, size_t row, const char *member);

/* ---- replies */

/* Room in the request's arena of the worker; a request whose reply does not fit fails. */
void *handler_alloc(struct handler *handler, size_t size);

/* A position as text, in the arena of the job. */
char *position_text(struct arena *arena, int64_t position);

/* Categories and attributes, from the JSON that the store keeps, into repeated fields; both allocate from `arena`. False out of memory. */
bool unpack_categories(struct arena *arena, const char *json, size_t *count, char ***categories);
bool unpack_attributes(struct arena *arena, const char *json, size_t *count, Recsys__Attribute ***attributes);

/* A row's refusal, kept for replies to requests that are not atomic. */
struct row_errors {
    Recsys__RowError **list;
    size_t count, capacity;
};
bool row_errors_add(struct row_errors *errors, struct arena *arena, size_t row, const struct status *st);

#endif
