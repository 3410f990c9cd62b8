/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios: presets of requests for lists, by name, from a YAML file of their own (server.scenarios), so that they can change while the daemon runs. Each is written
 * in the fields of `recommend`, as in JSON; what a request does not give itself is taken from the scenario that it names. */
#ifndef RECSYS_DAEMON_SCENARIOS_H
#define RECSYS_DAEMON_SCENARIOS_H

#include "daemon/list_fields.h"

#define SCENARIOS_MOST       1000
#define SCENARIOS_FILE_BYTES ((size_t)1 << 20)

/* What one file said; immutable and counted. */
struct scenarios;

/* Read a file; "off": none. INVALID_ARGUMENT / BAD_SCENARIO with file, scenario and field: bad YAML, an unknown field, a value that a request could not have, a field
 * that belongs to one request (user, now, versions, ...). NOT_FOUND / NO_INPUT. One reference, the caller's; NULL with st. */
struct scenarios *scenarios_load(const char *path, struct status *st);

/* The same from memory; `file` stands for it in messages. `text` may hold any bytes. */
struct scenarios *scenarios_load_text(const char *file, const char *text, size_t size_bytes, struct status *st);

struct scenarios *scenarios_acquire(struct scenarios *scenarios);
void scenarios_release(struct scenarios *scenarios); /* NULL is fine */

/* A scenario as fields, good as long as the reference; NULL and INVALID_ARGUMENT / UNKNOWN_SCENARIO with the nearest name. */
const struct list_fields *scenarios_find(const struct scenarios *scenarios, const char *name, struct status *st);

size_t scenarios_count(const struct scenarios *scenarios);
const char *scenarios_name(const struct scenarios *scenarios, size_t index); /* in the file's order */
const char *scenarios_json(const struct scenarios *scenarios, size_t index); /* what it says, as compact JSON */

/* The set that answers now, with a reference for the caller. */
struct scenarios *scenarios_slot_acquire(struct scenarios_slot *slot);

/* Put a new set in, taking over the reference; who holds the old one keeps it. */
void scenarios_slot_set(struct scenarios_slot *slot, struct scenarios *scenarios);

#endif
