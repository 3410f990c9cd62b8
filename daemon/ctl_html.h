/* SPDX-License-Identifier: Apache-2.0
 *
 * A list and where its scores come from, as one HTML file that needs nothing else: no scripts, fonts or pictures, and a
 * policy that would forbid them. Every text from outside is escaped. The same reply makes the same bytes.
 *
 * What is shown is there for programs too, at full precision:
 *   data-item, data-score                      of an item
 *   data-item, data-part, data-part-value      of a part of its score
 *   data-item, data-event, data-stream, data-value
 *                                              one cell of its map: what an event adds through a stream, or through
 *                                              "co-occurrence"; data-event is empty for the rest of a stream
 *   data-item, data-event or data-stream, data-sum
 *                                              the sum of a row or of a column of the map; with neither, of all of it
 *   data-item, data-kind, data-value           a term that comes from no event: "popularity", "sequence, text"
 *   data-item, data-total                      the sum of all cells with data-value
 *   data-gap; data-gap-part, data-gap-value    why: how far the item is behind the last one of the list, by part
 *   data-stage, data-count                     items left after a stage */
#ifndef RECSYS_DAEMON_CTL_HTML_H
#define RECSYS_DAEMON_CTL_HTML_H

#include "proto/status.h"

#include <jansson.h>
#include <stdio.h>

#define CTL_HTML_WRITE_FAILED "WRITE_FAILED" /* reason of a file that could not be written */

/* The page of a reply of `recommend` or, where it says why, of `explain`. `user` NULL or "": somebody unknown. Missing
 * members are left out. False with st when out of memory; whether `out` took everything is the caller's to ask. */
bool ctl_html_print(FILE *out, const char *user, const json_t *reply, struct status *st);

/* The page into a file, which is there in full or as it was before; "-" is stdout, and what is no plain file (a pipe, a
 * device) is written to as it is. Failures besides memory have the reason CTL_HTML_WRITE_FAILED. */
bool ctl_html_write(const char *path, const char *user, const json_t *reply, struct status *st);

#endif
