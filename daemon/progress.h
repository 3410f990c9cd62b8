/* SPDX-License-Identifier: Apache-2.0
 *
 * One line on stderr that tells how far something is: redrawn in place on a terminal, printed now and then elsewhere. What recsysctl import and
 * recsys-train fit draw with; what they say is theirs. One thread. */
#ifndef RECSYS_DAEMON_PROGRESS_H
#define RECSYS_DAEMON_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_DRAW_EVERY_US 100000 /* of a line that is redrawn */
#define PROGRESS_TEXT_BYTES    256    /* of a line, at most */

enum progress_style { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES };

/* A bar where stderr is a terminal that can redraw, lines elsewhere. */
enum progress_style progress_style_of_stderr(void);

/* Columns of the terminal at stderr; 80 where it does not say. */
size_t progress_columns(void);

/* "LABEL  [####....] FACTS" for a terminal of so many columns, never wider; with 0 columns "LABEL  FACTS" in full. `done` is a share from 0 to 1,
 * negative where it is not known: then there is no bar. */
void progress_line(char out[PROGRESS_TEXT_BYTES], size_t columns, const char *label, double done, const char *facts);

/* "3:07", "1:02:33"; "-:--" for what is negative, no number or longer than 10^7 seconds. `out` of at least 32 bytes. */
void progress_span(char *out, double seconds);

/* Put a line in place of the one that stands there; take it away, so that something else can be printed. */
void progress_draw(const char *text);
void progress_erase(void);

#endif
