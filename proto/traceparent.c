/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/traceparent.h"

#include <string.h>

#define LENGTH 55 /* of version 00, and of the part that every version has */

static bool is_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length;
}

static bool is_zero(const char *text, size_t length)
{
    return strspn(text, "0") >= length;
}

/* https://www.w3.org/TR/trace-context/#traceparent-header-field-values */
bool traceparent_valid(const char *text)
{
    size_t length = strnlen(text, TRACEPARENT_SIZE);
    if (length < LENGTH || length == TRACEPARENT_SIZE)
        return false;
    if (strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz-") != length) /* it goes into logs as it is */
        return false;
    if (text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!is_hex(text, 2) || !is_hex(text + 3, 32) || !is_hex(text + 36, 16) || !is_hex(text + 53, 2))
        return false;
    if (is_zero(text + 3, 32) || is_zero(text + 36, 16))
        return false;
    bool first_version = memcmp(text, "00", 2) == 0;
    bool longer_is_fine = length == LENGTH || (!first_version && text[LENGTH] == '-');
    return memcmp(text, "ff", 2) != 0 && longer_is_fine;
}
