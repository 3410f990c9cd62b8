/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as people write them, to milliseconds since 1970. */
#ifndef RECSYS_DAEMON_TIMESTAMP_H
#define RECSYS_DAEMON_TIMESTAMP_H

#include "proto/status.h"

/* Parse `text`: seconds ("1400000000", "1400000000.25"), milliseconds ("1400000000000") or ISO 8601 ("2026-05-01", "2026-05-01T10:00Z",
 * "2026-05-01T10:00:00.5+02:00", "2026-05-01 10:00:00" which is UTC). A number counts as seconds from 10^8 (1973) up to 10^10 and as
 * milliseconds from 10^11 up to 10^13 (2286); anything between or beyond, negative numbers included, is of ambiguous magnitude and refused with a
 * hint. False with INVALID_ARGUMENT, reason BAD_TIME, st->field = `field`. */
bool timestamp_parse(const char *text, const char *field, int64_t *out_ms, struct status *st);

/* "2026-05-01T10:00:00.000Z"; `out` of at least 32 bytes. */
void timestamp_format(int64_t at_ms, char *out);

/* The clocks: wall clock in ms, monotonic in µs. */
int64_t timestamp_now_ms(void);
int64_t timestamp_monotonic_us(void);

#endif
