/* SPDX-License-Identifier: Apache-2.0
 *
 * The outcome of a call: a code that travels on the wire unchanged, a reason for programs and a sentence for people.
 * Lives on the caller's stack; never allocated, never freed. Every layer uses it. */
#ifndef RECSYS_PROTO_STATUS_H
#define RECSYS_PROTO_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* Codes are gRPC's, because every backend knows them.
 *   X(name, number, label for metrics, exit code of a program that ends with it (sysexits.h)) */
/* clang-format off */
#define STATUS_CODES(X)                                          \
    X(OK,                   0, "ok",                   0)        \
    X(INVALID_ARGUMENT,     3, "invalid_argument",    65)        \
    X(DEADLINE_EXCEEDED,    4, "deadline_exceeded",   69)        \
    X(NOT_FOUND,            5, "not_found",           66)        \
    X(ALREADY_EXISTS,       6, "already_exists",      73)        \
    X(PERMISSION_DENIED,    7, "permission_denied",   77)        \
    X(RESOURCE_EXHAUSTED,   8, "resource_exhausted",  75)        \
    X(FAILED_PRECONDITION,  9, "failed_precondition", 65)        \
    X(ABORTED,             10, "aborted",             75)        \
    X(UNIMPLEMENTED,       12, "unimplemented",       69)        \
    X(INTERNAL,            13, "internal",            70)        \
    X(UNAVAILABLE,         14, "unavailable",         69)        \
    X(DATA_LOSS,           15, "data_loss",           65)        \
    X(UNAUTHENTICATED,     16, "unauthenticated",     77)
/* clang-format on */

enum status_code {
#define STATUS_ENUM(name, number, label, exit_code) STATUS_##name = (number),
    STATUS_CODES(STATUS_ENUM)
#undef STATUS_ENUM
};

struct status {
    enum status_code code;
    uint32_t retry_after_ms; /* 0: no hint */
    char reason[32];         /* UPPER_SNAKE, "" when OK */
    char field[64];          /* the request's field at fault, or "" */
    char message[320];       /* lower case, no full stop, the subject in quotes */
};

/* An outcome that is OK. */
#define STATUS_INIT                                                                                                    \
    {                                                                                                                  \
        .code = STATUS_OK                                                                                              \
    }

/* Describe a failure. Returns false, so that a function can end with `return status_fail(st, ...)`. The message is cut to fit, at
 * a UTF-8 boundary; invalid UTF-8 and control characters in it are replaced by '?'. `st` may be NULL. */
bool status_fail(struct status *st, enum status_code code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same, naming the field of the request that is at fault. */
bool status_fail_field(struct status *st, enum status_code code, const char *reason, const char *field,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Put what was being done in front of the message of a failure: "load 'a.npy': ...". Returns false. */
bool status_wrap(struct status *st, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "invalid_argument", for metric labels; "unknown" for a number that is no code. */
const char *status_label(enum status_code code);

/* The exit code (sysexits.h) of a program that ends because of this. */
int status_exit_code(enum status_code code);

#endif
