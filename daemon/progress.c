/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_MAX 40

enum progress_style progress_style_of_stderr(void)
{
    const char *terminal = getenv("TERM");
    bool redraws = isatty(STDERR_FILENO) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;
    return redraws ? PROGRESS_BAR : PROGRESS_LINES;
}

size_t progress_columns(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void print_bar(char *out, double done, size_t width)
{
    size_t filled = (size_t)((done < 1 ? done : 1) * (double)width);
    out[0] = '[';
    memset(out + 1, '#', filled);
    memset(out + 1 + filled, '.', width - filled);
    memcpy(out + 1 + width, "] ", 3);
}

void progress_line(char out[PROGRESS_TEXT_BYTES], size_t columns, const char *label, double done, const char *facts)
{
    char bar[BAR_MAX + 4] = "";
    size_t used = strlen(label) + 2 + strlen(facts) + 4;
    if (done >= 0 && columns > used + 5)
        print_bar(bar, done, columns - used < BAR_MAX ? columns - used : BAR_MAX);
    int length = snprintf(out, PROGRESS_TEXT_BYTES, "%s  %s%s", label, bar, facts);
    if (length > 0 && columns > 0 && columns < PROGRESS_TEXT_BYTES)
        out[columns - 1] = '\0'; /* a line that wraps could not be redrawn */
}

void progress_span(char *out, double seconds)
{
    int whole = seconds >= 0 && seconds <= 1e7 ? (int)lround(seconds) : -1;
    if (whole < 0)
        strcpy(out, "-:--");
    else if (whole < 3600)
        snprintf(out, 32, "%d:%02d", whole / 60, whole % 60);
    else
        snprintf(out, 32, "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

void progress_draw(const char *text)
{
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
}

void progress_erase(void)
{
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
