/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_html_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '&')
            fputs("&amp;", out);
        else if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '"')
            fputs("&quot;", out);
        else if (c == '\'')
            fputs("&#39;", out);
        else if ((c < ' ' && c != '\t' && c != '\n') || c == 0x7f)
            fputs("\xef\xbf\xbd", out);
        else
            fputc(c, out);
    }
}

void html_put(FILE *out, const char *pattern, ...)
{
    va_list texts;
    va_start(texts, pattern);
    const char *at = pattern;
    for (const char *hole; (hole = strstr(at, "{}")) != NULL; at = hole + 2) {
        fwrite(at, 1, (size_t)(hole - at), out);
        put_escaped(out, va_arg(texts, const char *));
    }
    va_end(texts);
    fputs(at, out);
}

struct html_digits html_exact(double value)
{
    struct html_digits digits;
    snprintf(digits.text, sizeof digits.text, "%.9g", value);
    return digits;
}

struct html_digits html_rounded(double value, int decimals)
{
    struct html_digits digits;
    snprintf(digits.text, sizeof digits.text, "%.*f", decimals, value);
    return digits;
}

struct html_digits html_signed(double value, int decimals)
{
    struct html_digits digits;
    snprintf(digits.text, sizeof digits.text, "%+.*f", decimals, value);
    return digits;
}

struct html_digits html_whole(int64_t value)
{
    struct html_digits digits;
    snprintf(digits.text, sizeof digits.text, "%" PRId64, value);
    return digits;
}
