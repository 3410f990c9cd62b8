/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a long command is, on stderr: a bar that is redrawn at most ten times a second on a terminal, a plain line
 * every ten seconds elsewhere. */
#ifndef RECSYS_DAEMON_CTL_PROGRESS_H
#define RECSYS_DAEMON_CTL_PROGRESS_H

#include "daemon/progress.h"

struct ctl_progress {
    enum progress_style style;
    char label[64];
    uint64_t total;    /* bytes or rows, as `position`; 0: not known */
    uint64_t position; /* of total */
    uint64_t rows;     /* done, for the rate */
    const char *unit;  /* of `rows` for people; NULL: "rows" */
    int64_t started_us, drawn_us;
    bool visible; /* a bar stands on the terminal's line */
};

/* Begin; `style` must be set. A bar shows at once. */
void ctl_progress_start(struct ctl_progress *progress, const char *label, uint64_t total);

/* Cheap enough to be called for every row. */
void ctl_progress_update(struct ctl_progress *progress, uint64_t position, uint64_t rows);

/* Take the bar away, so that something else can be printed; the next update brings it back. Also the end. */
void ctl_progress_clear(struct ctl_progress *progress);

/* The text of a bar for a terminal of so many columns, or of a line with 0 columns. */
void ctl_progress_text(const struct ctl_progress *progress, int64_t now_us, size_t columns,
                       char out[PROGRESS_TEXT_BYTES]);

#endif
