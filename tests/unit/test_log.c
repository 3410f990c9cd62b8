/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"
#include "daemon/timestamp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Standard error goes into a file in memory, and back again when the text is taken. */
static int captured = -1, saved = -1;

static void capture(void)
{
    fflush(stderr);
    captured = memfd_create("log", 0);
    saved = dup(STDERR_FILENO);
    cr_assert(captured >= 0 && saved >= 0);
    /* Lines of several threads must not overwrite each other. */
    cr_assert_eq(fcntl(captured, F_SETFL, O_APPEND), 0);
    cr_assert_geq(dup2(captured, STDERR_FILENO), 0);
}

static char *take_captured(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    const off_t size = lseek(captured, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    cr_assert_not_null(text);
    cr_assert_eq(pread(captured, text, (size_t)size, 0), size);
    close(captured);
    return text;
}

/* Take one line of JSON off the text; it must be valid by a strict parser. */
static json_t *next_object(char **rest)
{
    char *line = strsep(rest, "\n");
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    cr_assert(json_is_object(object), "%s: %s", error.text, line);
    return object;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(none)";
}

Test(log, a_line_of_json_has_time_level_event_and_message)
{
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    const int64_t before_ms = timestamp_now_ms();
    capture();
    log_warn("checkpoint_failed", "database '%s' is busy, %d tries", "a\"b\\c", 3);
    char *text = take_captured(), *rest = text;
    json_t *object = next_object(&rest);
    int64_t at_ms = 0;
    cr_expect_str_eq(text_of(object, "level"), "warn");
    cr_expect_str_eq(text_of(object, "event"), "checkpoint_failed");
    cr_expect_str_eq(text_of(object, "msg"), "database 'a\"b\\c' is busy, 3 tries");
    cr_expect(timestamp_parse(text_of(object, "ts"), "ts", &at_ms, NULL));
    cr_expect(at_ms >= before_ms && at_ms <= timestamp_now_ms());
    cr_expect_eq(json_object_size(object), 4);
    cr_expect_str_eq(rest, "", "one line");
    json_decref(object);
    free(text);
}

Test(log, whatever_is_quoted_a_line_stays_one_line_of_valid_json)
{
    static const struct {
        const char *message, *shown;
    } cases[] = {
        {"plain", "plain"},
        {"", ""},
        {"two\nlines\r\n", "two?lines??"},
        {"\033[31mred\x7f", "?[31mred?"},
        {"\xc2\x9b"
         "31m",
         "??31m"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xac", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xac"},
        {"bad \xff\xc0\xaf utf-8", "bad ??? utf-8"},
        {"surrogate \xed\xa0\x80", "surrogate ???"},
        {"{\"level\":\"error\"}", "{\"level\":\"error\"}"},
    };
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        log_info("quoted", "%s", cases[i].message);
    char *text = take_captured(), *rest = text;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *object = next_object(&rest);
        cr_expect_str_eq(text_of(object, "msg"), cases[i].shown);
        json_decref(object);
    }
    cr_expect_str_eq(rest, "");
    free(text);
}

Test(log, a_long_message_is_cut_at_a_character)
{
    enum { LETTERS = 5000 };
    char *message = calloc(1, 3 * LETTERS + 1);
    for (size_t i = 0; i < LETTERS; i++)
        memcpy(message + 3 * i, "\xe2\x82\xac", 3);
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    log_info("long", "%s", message);
    memset(message, '"', 3 * LETTERS);
    log_info("long_escaped", "%s", message);
    char *text = take_captured(), *rest = text;
    for (int i = 0; i < 2; i++) {
        json_t *object = next_object(&rest);
        const size_t length = strlen(text_of(object, "msg"));
        cr_expect(length > 1000 && length < 1024, "%zu", length);
        json_decref(object);
    }
    cr_expect_str_eq(rest, "");
    free(text);
    free(message);
}

Test(log, a_line_of_text_is_for_people)
{
    int hour, minute, second, ms, used = 0;
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    capture();
    log_warn("store", "checkpoint failed err=%s", "busy");
    char *text = take_captured();
    cr_expect_eq(sscanf(text, "%2d:%2d:%2d.%3d%n", &hour, &minute, &second, &ms, &used), 4, "%s", text);
    cr_expect_eq(used, 12);
    cr_expect_str_eq(text + used, " warn  store: checkpoint failed err=busy\n");
    free(text);
}

Test(log, auto_is_json_where_there_is_no_terminal)
{
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
    capture();
    log_info("started", "ready");
    char *text = take_captured(), *rest = text;
    json_decref(next_object(&rest));
    free(text);
}

Test(log, auto_is_text_on_a_terminal)
{
    char line[256] = "";
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        cr_skip_test("no pseudo-terminal here");
    const int end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    const int before = dup(STDERR_FILENO);
    cr_assert(end >= 0 && before >= 0);
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
    dup2(end, STDERR_FILENO);
    log_info("started", "ready");
    dup2(before, STDERR_FILENO);
    cr_expect_gt(read(terminal, line, sizeof line - 1), 0);
    cr_expect(strstr(line, " info  started: ready") != NULL, "%s", line);
    close(before);
    close(end);
    close(terminal);
}

Test(log, lines_below_the_level_are_left_out)
{
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    capture();
    log_debug("a", "no");
    log_info("b", "no");
    log_warn("c", "yes");
    log_error("d", "yes");
    char *text = take_captured();
    cr_expect(strstr(text, "no") == NULL, "%s", text);
    cr_expect(strstr(text, "warn  c: yes\n") != NULL && strstr(text, "error d: yes\n") != NULL, "%s", text);
    free(text);
}

Test(log, names_of_levels_and_formats)
{
    enum log_level level = LOG_LEVEL_DEBUG;
    enum log_format format = LOG_FORMAT_AUTO;
    cr_expect(log_level_parse("warn", &level) && level == LOG_LEVEL_WARN);
    cr_expect(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
    cr_expect(log_level_parse("info", &level) && level == LOG_LEVEL_INFO);
    cr_expect(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
    cr_expect(log_format_parse("text", &format) && format == LOG_FORMAT_TEXT);
    cr_expect(log_format_parse("auto", &format) && format == LOG_FORMAT_AUTO);
    cr_expect(log_format_parse("json", &format) && format == LOG_FORMAT_JSON);
    cr_expect_not(log_level_parse("Warn", &level));
    cr_expect_not(log_level_parse("", &level));
    cr_expect_not(log_format_parse("xml", &format));
    cr_expect(level == LOG_LEVEL_ERROR && format == LOG_FORMAT_JSON, "the output is written only on success");
}

Test(log, errno_is_that_of_the_caller)
{
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    errno = ENOSPC;
    log_error("disk", "write: %m");
    const int after = errno;
    char *text = take_captured();
    cr_expect_eq(after, ENOSPC);
    cr_expect(strstr(text, "No space left on device") != NULL, "%s", text);
    free(text);
}

static void burst(int count)
{
    for (int i = 0; i < count; i++)
        log_info("burst", "line %d", i);
}

static unsigned suppressed_of(const json_t *object)
{
    return (unsigned)json_integer_value(json_object_get(object, "suppressed"));
}

/* Every call is either a line or counted by a later line, whatever the speed of the machine. */
Test(log, a_burst_is_limited_and_what_was_held_back_is_counted)
{
    enum { CALLS = 5000 };
    unsigned lines = 0, counted = 0;
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    const int64_t start_us = timestamp_monotonic_us();
    burst(CALLS);
    const int64_t seconds = (timestamp_monotonic_us() - start_us) / 1000000 + 1;
    usleep(1100000); /* the next one is in a new second */
    burst(1);
    char *text = take_captured(), *rest = text;
    while (*rest != '\0') {
        json_t *object = next_object(&rest);
        counted += suppressed_of(object);
        lines++;
        json_decref(object);
    }
    cr_expect_geq(lines, 11, "%u lines", lines);
    cr_expect_leq(lines, 10 * seconds + 1, "%u lines in %lld s", lines, (long long)seconds);
    cr_expect_eq(lines + counted, CALLS + 1, "%u lines, %u counted", lines, counted);
    free(text);
}

Test(log, a_burst_holds_back_nothing_of_other_events)
{
    unsigned others = 0;
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    burst(100);
    log_info("other_event", "line %d", 1);
    log_info("burst", "of another place %d", 2);
    char *text = take_captured(), *rest = text;
    while (*rest != '\0') {
        json_t *object = next_object(&rest);
        others += strcmp(text_of(object, "event"), "other_event") == 0;
        others += strncmp(text_of(object, "msg"), "of another place", 16) == 0;
        json_decref(object);
    }
    cr_expect_eq(others, 2);
    free(text);
}

/* More places than are remembered: still a line each. */
Test(log, many_places)
{
    static char events[500][8];
    size_t lines = 0;
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    capture();
    for (size_t i = 0; i < 500; i++) {
        snprintf(events[i], sizeof events[i], "e%zu", i);
        log_info(events[i], "once");
    }
    char *text = take_captured();
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 500);
    free(text);
}

static void *write_lines(void *event)
{
    for (int i = 0; i < 10; i++)
        log_info(event, "%0900d", i);
    return NULL;
}

Test(log, lines_of_several_threads_do_not_mix)
{
    static char events[4][8] = {"t0", "t1", "t2", "t3"};
    pthread_t threads[4];
    int lines = 0;
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture();
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, events[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = take_captured(), *rest = text;
    for (; *rest != '\0'; lines++)
        json_decref(next_object(&rest));
    cr_expect_eq(lines, 40);
    free(text);
}
