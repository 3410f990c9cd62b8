/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_progress.h"

#include "daemon/progress.h"
#include "daemon/timestamp.h"

#include <stdio.h>

static double share(const struct train_progress *progress)
{
    return progress->total > 0 ? (double)progress->done / (double)progress->total : 0;
}

void train_progress_facts(const struct train_progress *progress, int64_t now_us, char *out, size_t size)
{
    double done = share(progress), elapsed_s = (double)(now_us - progress->started_us) / 1e6;
    char left[32];
    progress_span(left, done > 0 ? elapsed_s * (1 - done) / done : -1);
    snprintf(out, size, "%3d %%  %.0f/s  ETA %s", (int)(done * 100),
             elapsed_s > 0 ? (double)progress->done / elapsed_s : 0, left);
}

static void draw(struct train_progress *progress, int64_t now_us)
{
    char facts[80], text[PROGRESS_TEXT_BYTES];
    train_progress_facts(progress, now_us, facts, sizeof facts);
    progress_line(text, progress_columns(), progress->label, share(progress), facts);
    progress_draw(text);
    progress->drawn_us = now_us;
}

void train_progress_start(struct train_progress *progress, const char *label, size_t total, evaluation_scorer *scorer,
                          void *context)
{
    progress->label = label;
    progress->done = 0;
    progress->total = total;
    progress->scorer = scorer;
    progress->context = context;
    progress->started_us = timestamp_monotonic_us();
    if (progress->shown)
        draw(progress, progress->started_us);
}

bool train_progress_score(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    struct train_progress *progress = context;
    bool ok = progress->scorer(progress->context, thread, query, score);
    progress->done++;
    if (thread == 0 && progress->shown) {
        int64_t now_us = timestamp_monotonic_us();
        if (now_us - progress->drawn_us >= PROGRESS_DRAW_EVERY_US)
            draw(progress, now_us);
    }
    return ok;
}

void train_progress_end(struct train_progress *progress)
{
    if (progress->shown)
        progress_erase();
}
