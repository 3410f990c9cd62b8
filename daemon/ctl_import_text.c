/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t";

size_t import_categories_max(const char *text)
{
    size_t count = 1;
    while ((text = strpbrk(text, ",|>")) != NULL) {
        count++;
        text++;
    }
    return count;
}

/* A '>' separates only with blanks around it: "<b>" or "C->D" may be part of a name. */
static bool is_separator(const char *start, const char *at)
{
    if (*at != '>')
        return *at == ',' || *at == '|';
    return at > start && at[-1] == ' ' && at[1] == ' ';
}

static char *trim(char *start, char *end)
{
    start += strspn(start, blanks);
    while (end > start && strchr(blanks, end[-1]) != NULL)
        end--;
    *end = '\0';
    return start;
}

size_t import_categories_split(char *text, char **parts)
{
    size_t count = 0;
    char *start = text;
    for (char *at = text;; at++) {
        char symbol = *at;
        if (symbol != '\0' && !is_separator(text, at))
            continue;
        *at = '\0';
        char *part = trim(start, at);
        if (*part != '\0')
            parts[count++] = part;
        if (symbol == '\0')
            return count;
        start = at + 1;
    }
}

bool import_yes_no(const char *text, bool *value)
{
    static const char *const words[2][4] = {{"no", "false", "0", "0.0"}, {"yes", "true", "1", "1.0"}};
    for (size_t i = 0; i < 8; i++) {
        if (strcasecmp(text, words[i / 4][i % 4]) == 0) {
            *value = i / 4 == 1;
            return true;
        }
    }
    return false;
}

bool import_ids_path(const char *npy_path, char *out, size_t out_size)
{
    static const char ending[] = ".npy";
    size_t length = strlen(npy_path);
    if (length < sizeof ending || length >= out_size || strcmp(npy_path + length - 4, ending) != 0)
        return false;
    snprintf(out, out_size, "%.*s.ids", (int)(length - 4), npy_path);
    return true;
}
