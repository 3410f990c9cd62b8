/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured log lines on standard error: for a person at a terminal "12:00:01.123 warn  store: checkpoint failed err=..." and one JSON
 * object a line otherwise, keys ts (RFC 3339, UTC), level, event, msg and the caller's own. Only daemon/ logs; libraries return. Thread-safe:
 * each line is one write(2). No user ids above debug. */
#ifndef RECSYS_DAEMON_LOG_H
#define RECSYS_DAEMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON }; /* auto: text on a terminal */

/* Set before threads start. Default: info, auto. */
void log_configure(enum log_level level, enum log_format format);

/* "debug", "info", "warn", "error"; "auto", "text", "json". False for any other text. */
bool log_level_parse(const char *text, enum log_level *level);
bool log_format_parse(const char *text, enum log_format *format);

/* One line. `event` is a stable snake_case name for programs, the message is for people. A burst of one event from one place is limited to
 * 10 lines a second; the next line that passes carries "suppressed": count. */
void log_write(enum log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
