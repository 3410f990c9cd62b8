/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_progress.h"

#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_EVERY_US  100000
#define LINE_EVERY_US 10000000
#define BAR_MAX       40

enum ctl_progress_style ctl_progress_style_of_stderr(void)
{
    const char *terminal = getenv("TERM");
    bool redraws = isatty(STDERR_FILENO) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;
    return redraws ? CTL_PROGRESS_BAR : CTL_PROGRESS_LINES;
}

static double share(const struct ctl_progress *progress)
{
    double done = progress->total > 0 ? (double)progress->position / (double)progress->total : 0;
    return done < 1 ? done : 1;
}

/* "3:07", "1:02:33", or "-:--" while nothing can be said. */
static void print_left(const struct ctl_progress *progress, int64_t now_us, char *out, size_t out_size)
{
    double done = share(progress);
    double elapsed_s = (double)(now_us - progress->started_us) / 1e6;
    double left_s = done > 0 ? elapsed_s * (1 - done) / done + 0.5 : -1;
    if (left_s < 0 || left_s > 1e7)
        snprintf(out, out_size, "-:--");
    else if (left_s < 3600)
        snprintf(out, out_size, "%d:%02d", (int)left_s / 60, (int)left_s % 60);
    else
        snprintf(out, out_size, "%d:%02d:%02d", (int)left_s / 3600, (int)left_s / 60 % 60, (int)left_s % 60);
}

static void print_bar(double done, size_t width, char *out)
{
    size_t filled = (size_t)(done * (double)width);
    out[0] = '[';
    memset(out + 1, '#', filled);
    memset(out + 1 + filled, '.', width - filled);
    memcpy(out + 1 + width, "] ", 3);
}

void ctl_progress_text(const struct ctl_progress *progress, int64_t now_us, size_t width, char *out, size_t out_size)
{
    char facts[160], left[32], bar[BAR_MAX + 4] = "";
    double elapsed_s = (double)(now_us - progress->started_us) / 1e6;
    double rate = elapsed_s > 0 ? (double)progress->rows / elapsed_s : 0;
    print_left(progress, now_us, left, sizeof left);
    if (progress->total > 0)
        snprintf(facts, sizeof facts, "%3d %%  %" PRIu64 " rows  %.0f/s  ETA %s", (int)(share(progress) * 100),
                 progress->rows, rate, left);
    else
        snprintf(facts, sizeof facts, "%" PRIu64 " rows  %.0f/s", progress->rows, rate);
    size_t used = strlen(progress->label) + 2 + strlen(facts) + 4;
    if (progress->total > 0 && width > used + 5)
        print_bar(share(progress), width - used < BAR_MAX ? width - used : BAR_MAX, bar);
    snprintf(out, out_size, "%s  %s%s", progress->label, bar, facts);
    if (width > 0 && width < out_size)
        out[width - 1] = '\0'; /* a line that wraps could not be redrawn */
}

static void draw(struct ctl_progress *progress, int64_t now_us)
{
    char text[256];
    struct winsize size = {0};
    if (progress->style == CTL_PROGRESS_BAR) {
        size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
        ctl_progress_text(progress, now_us, width, text, sizeof text);
        fprintf(stderr, "\r%s\033[K", text);
        fflush(stderr);
        progress->visible = true;
    } else {
        ctl_progress_text(progress, now_us, 0, text, sizeof text);
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
    if (progress->style == CTL_PROGRESS_BAR)
        draw(progress, progress->started_us);
}

void ctl_progress_update(struct ctl_progress *progress, uint64_t position, uint64_t rows)
{
    progress->position = position;
    progress->rows = rows;
    if (progress->style == CTL_PROGRESS_NONE)
        return;
    int64_t now_us = timestamp_monotonic_us();
    if (now_us - progress->drawn_us >= (progress->style == CTL_PROGRESS_BAR ? BAR_EVERY_US : LINE_EVERY_US))
        draw(progress, now_us);
}

void ctl_progress_clear(struct ctl_progress *progress)
{
    if (!progress->visible)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->visible = false;
}
