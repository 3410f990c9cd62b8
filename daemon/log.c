/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include "daemon/timestamp.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

#define MESSAGE_MAX    1024 /* bytes; escaped as JSON it still fits into LINE_MAX_BYTES */
#define EVENT_MAX      64
#define LINE_MAX_BYTES 4096 /* what a pipe takes in one piece, so that lines of several programs do not mix */
#define PLACES_MAX     128
#define BURST_LINES    10
#define BURST_US       1000000

/* Where a line comes from: two string literals, compared by address and never read. */
struct place {
    const char *event;
    const char *format;
    int64_t since_us; /* start of the second that is being counted */
    unsigned passed;
    unsigned long suppressed;
};

static enum log_level least_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_AUTO;

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place places[PLACES_MAX]; /* guarded by places_lock */

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"auto", "text", "json"};

void log_configure(enum log_level level, enum log_format format)
{
    least_level = level;
    line_format = format;
}

static int find_name(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
    }
    return -1;
}

bool log_level_parse(const char *text, enum log_level *level)
{
    const int index = find_name(text, level_names, (int)(sizeof level_names / sizeof *level_names));
    if (index >= 0)
        *level = (enum log_level)index;
    return index >= 0;
}

bool log_format_parse(const char *text, enum log_format *format)
{
    const int index = find_name(text, format_names, (int)(sizeof format_names / sizeof *format_names));
    if (index >= 0)
        *format = (enum log_format)index;
    return index >= 0;
}

/* Ended last; one that still owes a count is kept as long as possible. */
static bool is_older(const struct place *a, const struct place *b)
{
    if ((a->suppressed == 0) != (b->suppressed == 0))
        return a->suppressed == 0;
    return a->since_us < b->since_us;
}

static struct place *find_place(const char *event, const char *format)
{
    struct place *oldest = &places[0];
    for (size_t i = 0; i < PLACES_MAX; i++) {
        if (places[i].event == event && places[i].format == format)
            return &places[i];
        if (is_older(&places[i], oldest))
            oldest = &places[i];
    }
    *oldest = (struct place){.event = event, .format = format};
    return oldest;
}

/* False when this second has had its lines; otherwise how many were held back before this one. */
static bool may_pass(const char *event, const char *format, unsigned long *suppressed)
{
    const int64_t now_us = timestamp_monotonic_us();
    pthread_mutex_lock(&places_lock);
    struct place *place = find_place(event, format);
    if (place->passed == 0 || now_us - place->since_us >= BURST_US) {
        place->since_us = now_us;
        place->passed = 0;
    }
    const bool passes = place->passed < BURST_LINES;
    if (passes) {
        place->passed++;
        *suppressed = place->suppressed;
        place->suppressed = 0;
    } else {
        place->suppressed++;
    }
    pthread_mutex_unlock(&places_lock);
    return passes;
}

/* What a stranger sent may be quoted: no line feed forges a line, no escape sequence reaches a terminal, and JSON gets UTF-8. */
static void make_printable(char *text)
{
    unsigned char *at = (unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0) {
        ucs4_t symbol;
        int length = u8_mbtoucr(&symbol, at, left);
        if (length == -2) { /* cut in the middle of a character */
            *at = '\0';
            return;
        }
        if (length <= 0) {
            *at = '?';
            length = 1;
        } else if (symbol < 0x20 || (symbol >= 0x7f && symbol <= 0x9f)) {
            memset(at, '?', (size_t)length);
        }
        at += length;
        left -= (size_t)length;
    }
}

static size_t compose_text(char *line, enum log_level level, const char *event, const char *message,
                           unsigned long suppressed)
{
    const int64_t now_ms = timestamp_now_ms();
    const time_t now_s = (time_t)(now_ms / 1000);
    struct tm tm;
    char owed[40] = "";
    localtime_r(&now_s, &tm);
    if (suppressed > 0)
        snprintf(owed, sizeof owed, " suppressed=%lu", suppressed);
    const int length = snprintf(line, LINE_MAX_BYTES, "%02d:%02d:%02d.%03d %-5s %s: %s%s\n", tm.tm_hour, tm.tm_min,
                                tm.tm_sec, (int)(now_ms % 1000), level_names[level], event, message, owed);
    return length < 0 ? 0 : (size_t)length;
}

static size_t compose_json(char *line, enum log_level level, const char *event, const char *message,
                           unsigned long suppressed)
{
    static const char failed[] =
        "{\"level\":\"error\",\"event\":\"log_failed\",\"msg\":\"no memory for a log line\"}\n";
    char ts[32];
    size_t length = 0;
    timestamp_format(timestamp_now_ms(), ts);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s}", "ts", ts, "level", level_names[level], "event", event, "msg", message);
    if (object != NULL && suppressed > 0)
        json_object_set_new(object, "suppressed", json_integer((json_int_t)suppressed));
    if (object != NULL)
        length = json_dumpb(object, line, LINE_MAX_BYTES - 1, JSON_COMPACT);
    json_decref(object);
    if (length == 0 || length > LINE_MAX_BYTES - 1) {
        memcpy(line, failed, sizeof failed - 1);
        return sizeof failed - 1;
    }
    line[length] = '\n';
    return length + 1;
}

/* A log that cannot be written is no reason to stop. */
static void write_line(const char *line, size_t size)
{
    ssize_t written;
    do
        written = write(STDERR_FILENO, line, size);
    while (written < 0 && errno == EINTR);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    if (level < least_level)
        return;
    const int saved_errno = errno; /* a caller may log first and look at errno then */
    unsigned long suppressed = 0;
    if (may_pass(event, format, &suppressed)) {
        char message[MESSAGE_MAX], name[EVENT_MAX], line[LINE_MAX_BYTES];
        va_list arguments;
        va_start(arguments, format);
        errno = saved_errno; /* for %m */
        vsnprintf(message, sizeof message, format, arguments);
        va_end(arguments);
        snprintf(name, sizeof name, "%s", event);
        make_printable(message);
        make_printable(name);
        const bool json = line_format == LOG_FORMAT_JSON || (line_format == LOG_FORMAT_AUTO && !isatty(STDERR_FILENO));
        write_line(line, json ? compose_json(line, level, name, message, suppressed)
                              : compose_text(line, level, name, message, suppressed));
    }
    errno = saved_errno;
}
