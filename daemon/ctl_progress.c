/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_progress.h"

#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_EVERY_US 10000000

static double share(const struct ctl_progress *progress)
{
    double done = progress->total > 0 ? (double)progress->position / (double)progress->total : 0;
    return done < 1 ? done : 1;
}

void ctl_progress_text(const struct ctl_progress *progress, int64_t now_us, size_t columns,
                       char out[PROGRESS_TEXT_BYTES])
{
    char facts[160], left[32];
    double elapsed_s = (double)(now_us - progress->started_us) / 1e6, done = share(progress);
    double rate = elapsed_s > 0 ? (double)progress->rows / elapsed_s : 0;
    const char *unit = progress->unit != NULL ? progress->unit : "rows";
    progress_span(left, done > 0 ? elapsed_s * (1 - done) / done : -1);
    if (progress->total > 0)
        snprintf(facts, sizeof facts, "%3d %%  %" PRIu64 " %s  %.0f/s  ETA %s", (int)(done * 100), progress->rows, unit,
                 rate, left);
    else
        snprintf(facts, sizeof facts, "%" PRIu64 " %s  %.0f/s", progress->rows, unit, rate);
    progress_line(out, columns, progress->label, progress->total > 0 ? done : -1, facts);
}

static void draw(struct ctl_progress *progress, int64_t now_us)
{
    char text[PROGRESS_TEXT_BYTES];
    if (progress->style == PROGRESS_BAR) {
        ctl_progress_text(progress, now_us, progress_columns(), text);
        progress_draw(text);
        progress->visible = true;
    } else {
        ctl_progress_text(progress, now_us, 0, text);
        fprintf(stderr, "recsysctl: %s\n", text);
    }
    progress->drawn_us = now_us;
}

void ctl_progress_start(struct ctl_progress *progress, const char *label, uint64_t total)
{
    snprintf(progress->label, sizeof progress->label, "%s", label);
    progress->total = total;
    progress->position = 0;
    progress->rows = 0;
    progress->started_us = progress->drawn_us = timestamp_monotonic_us();
    if (progress->style == PROGRESS_BAR)
        draw(progress, progress->started_us);
}

void ctl_progress_update(struct ctl_progress *progress, uint64_t position, uint64_t rows)
{
    progress->position = position;
    progress->rows = rows;
    if (progress->style == PROGRESS_NONE)
        return;
    int64_t now_us = timestamp_monotonic_us();
    if (now_us - progress->drawn_us >= (progress->style == PROGRESS_BAR ? PROGRESS_DRAW_EVERY_US : LINE_EVERY_US))
        draw(progress, now_us);
}

void ctl_progress_clear(struct ctl_progress *progress)
{
    if (!progress->visible)
        return;
    progress_erase();
    progress->visible = false;
}
