/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a long command is, on stderr: a bar that is redrawn at most ten times a second on a terminal, a plain line
 * every ten seconds elsewhere. */
#ifndef RECSYS_DAEMON_CTL_PROGRESS_H
#define RECSYS_DAEMON_CTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_progress_style { CTL_PROGRESS_NONE, CTL_PROGRESS_BAR, CTL_PROGRESS_LINES };

struct ctl_progress {
    enum ctl_progress_style style;
    char label[64];
    uint64_t total;    /* bytes or rows, as `position`; 0: not known */
    uint64_t position; /* of total */
    uint64_t rows;     /* done, for the rate */
    int64_t started_us, drawn_us;
    bool visible; /* a bar stands on the terminal's line */
};

/* A bar where stderr is a terminal that can redraw, lines elsewhere. */
enum ctl_progress_style ctl_progress_style_of_stderr(void);

/* Begin; `style` must be set. A bar shows at once. */
void ctl_progress_start(struct ctl_progress *progress, const char *label, uint64_t total);

/* Cheap enough to be called for every row. */
void ctl_progress_update(struct ctl_progress *progress, uint64_t position, uint64_t rows);

/* Take the bar away, so that something else can be printed; the next update brings it back. Also the end. */
void ctl_progress_clear(struct ctl_progress *progress);

/* The text of a bar for a terminal of `width` columns, or of a line with width 0. `out` of at least 256 bytes. */
void ctl_progress_text(const struct ctl_progress *progress, int64_t now_us, size_t width, char *out, size_t out_size);

#endif
