/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECONDS_LEAST      INT64_C(100000000)
#define SECONDS_MOST       INT64_C(10000000000)
#define MILLISECONDS_LEAST INT64_C(100000000000)
#define MILLISECONDS_MOST  INT64_C(10000000000000)

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

/* Take exactly `count` digits from *at. */
static bool take_digits(const char **at, int count, int *value)
{
    int sum = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit((*at)[i]))
            return false;
        sum = sum * 10 + ((*at)[i] - '0');
    }
    *at += count;
    *value = sum;
    return true;
}

static bool take(const char **at, char letter)
{
    if (**at != letter)
        return false;
    (*at)++;
    return true;
}

/* Take the digits after a point as milliseconds; what is finer is cut off. In integers, because 0.29 is no double. */
static bool take_fraction(const char **at, int *ms)
{
    int sum = 0, count = 0;
    for (; is_digit(**at); (*at)++, count++) {
        if (count < 3)
            sum = sum * 10 + (**at - '0');
    }
    if (count == 0)
        return false;
    for (; count < 3; count++)
        sum *= 10;
    *ms = sum;
    return true;
}

static bool is_number(const char *text)
{
    const char *at = text;
    if (*at == '-' || *at == '+')
        at++;
    const size_t whole = strspn(at, "0123456789");
    at += whole;
    if (*at == '.')
        at += 1 + strspn(at + 1, "0123456789");
    return whole > 0 && *at == '\0' && at[-1] != '.';
}

/* A number of seconds or of milliseconds, told apart by how large it is. */
static bool parse_number(const char *text, int64_t *out_ms)
{
    int64_t whole = 0;
    int fraction_ms = 0;
    const char *at = text;
    for (; is_digit(*at) && whole <= MILLISECONDS_MOST; at++)
        whole = whole * 10 + (*at - '0');
    if (take(&at, '.') && !take_fraction(&at, &fraction_ms))
        return false;
    if (*at != '\0')
        return false;
    /* With a fraction the upper bound itself is already passed. */
    const int64_t beyond = fraction_ms > 0;
    if (whole >= SECONDS_LEAST && whole <= SECONDS_MOST - beyond) {
        *out_ms = whole * 1000 + fraction_ms;
        return true;
    }
    if (whole >= MILLISECONDS_LEAST && whole <= MILLISECONDS_MOST - beyond) {
        *out_ms = whole;
        return true;
    }
    return false;
}

static bool parse_date(const char **at, struct tm *tm)
{
    int year, month, day;
    if (!take_digits(at, 4, &year) || !take(at, '-') || !take_digits(at, 2, &month) || !take(at, '-') ||
        !take_digits(at, 2, &day))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    /* timegm turns 30 February into 2 March: what comes back unchanged is a date. */
    struct tm normal = *tm;
    timegm(&normal);
    return year > 0 && normal.tm_year == tm->tm_year && normal.tm_mon == tm->tm_mon && normal.tm_mday == tm->tm_mday;
}

static bool parse_clock(const char **at, struct tm *tm, int *ms)
{
    if (!take_digits(at, 2, &tm->tm_hour) || !take(at, ':') || !take_digits(at, 2, &tm->tm_min))
        return false;
    if (take(at, ':')) {
        if (!take_digits(at, 2, &tm->tm_sec))
            return false;
        if (take(at, '.') && !take_fraction(at, ms))
            return false;
    }
    return tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 59;
}

/* "Z", "+02:00", "+0200", "+02", or nothing, which is UTC. */
static bool parse_zone(const char **at, int *offset_s)
{
    int hours, minutes = 0;
    const int sign = **at == '-' ? -1 : 1;
    if (**at == '\0' || take(at, 'Z') || take(at, 'z')) {
        *offset_s = 0;
        return true;
    }
    if (!take(at, '+') && !take(at, '-'))
        return false;
    if (!take_digits(at, 2, &hours))
        return false;
    if ((take(at, ':') || **at != '\0') && !take_digits(at, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool parse_iso(const char *text, int64_t *out_ms)
{
    struct tm tm = {0};
    int ms = 0, offset_s = 0;
    const char *at = text;
    if (!parse_date(&at, &tm))
        return false;
    if (*at != '\0') {
        if (!take(&at, 'T') && !take(&at, 't') && !take(&at, ' '))
            return false;
        if (!parse_clock(&at, &tm, &ms) || !parse_zone(&at, &offset_s) || *at != '\0')
            return false;
    }
    *out_ms = ((int64_t)timegm(&tm) - offset_s) * 1000 + ms;
    return true;
}

bool timestamp_parse(const char *text, const char *field, int64_t *out_ms, struct status *st)
{
    if (is_number(text)) {
        if (parse_number(text, out_ms))
            return true;
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_TIME", field,
                                 "'%.40s' is of ambiguous magnitude: give seconds (1400000000), milliseconds "
                                 "(1400000000000) or a date (2014-05-13T16:53:20Z)",
                                 text);
    }
    if (parse_iso(text, out_ms))
        return true;
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_TIME", field,
                             "'%.40s' is no time: give seconds (1400000000), milliseconds (1400000000000) or ISO 8601 "
                             "(2014-05-13, 2014-05-13T16:53:20Z, 2014-05-13T18:53:20.5+02:00)",
                             text);
}

void timestamp_format(int64_t at_ms, char *out)
{
    /* The remainder must not be negative before 1970. */
    const int64_t ms = (at_ms % 1000 + 1000) % 1000;
    const time_t at_s = (time_t)(at_ms / 1000 - (at_ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&at_s, &tm); /* cannot fail: 2^63 ms end in the year 292 million */
    const size_t length = strftime(out, 26, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + length, 6, ".%03dZ", (int)ms);
}

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t timestamp_now_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

int64_t timestamp_monotonic_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}
