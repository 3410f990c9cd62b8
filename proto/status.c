/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

/* What a stranger sent may be quoted in a message: make it printable UTF-8 that ends at a whole character. */
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
        if (length <= 0 || symbol < 0x20 || symbol == 0x7f) {
            *at = '?';
            length = 1;
        }
        at += length;
        left -= (size_t)length;
    }
}

static void fill(struct status *st, enum status_code code, const char *reason, const char *field, const char *format,
                 va_list arguments)
{
    if (st == NULL)
        return;
    st->code = code;
    st->retry_after_ms = 0;
    snprintf(st->reason, sizeof st->reason, "%s", reason);
    snprintf(st->field, sizeof st->field, "%s", field);
    vsnprintf(st->message, sizeof st->message, format, arguments);
    make_printable(st->field);
    make_printable(st->message);
}

bool status_fail(struct status *st, enum status_code code, const char *reason, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fill(st, code, reason, "", format, arguments);
    va_end(arguments);
    return false;
}

bool status_fail_field(struct status *st, enum status_code code, const char *reason, const char *field,
                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fill(st, code, reason, field, format, arguments);
    va_end(arguments);
    return false;
}

bool status_wrap(struct status *st, const char *format, ...)
{
    if (st == NULL)
        return false;
    char inner[sizeof st->message];
    memcpy(inner, st->message, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(st->message, sizeof st->message, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof st->message)
        snprintf(st->message + length, sizeof st->message - (size_t)length, ": %s", inner);
    make_printable(st->message);
    return false;
}

const char *status_label(enum status_code code)
{
    switch (code) {
#define STATUS_LABEL(name, number, label, exit_code)                                                                   \
    case STATUS_##name:                                                                                                \
        return label;
        STATUS_CODES(STATUS_LABEL)
#undef STATUS_LABEL
    }
    return "unknown";
}

int status_exit_code(enum status_code code)
{
    switch (code) {
#define STATUS_EXIT(name, number, label, exit_code)                                                                    \
    case STATUS_##name:                                                                                                \
        return exit_code;
        STATUS_CODES(STATUS_EXIT)
#undef STATUS_EXIT
    }
    return 70;
}
