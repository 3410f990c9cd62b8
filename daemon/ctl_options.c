/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_options.h"

#include "daemon/ctl_session.h"
#include "proto/suggest.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 48
#define LONG_BASE   256 /* getopt's values of long options, out of the way of letters */

/* The lists, as getopt_long wants them. */
struct table {
    const struct ctl_option *options[OPTIONS_MAX];
    const char *names[OPTIONS_MAX];
    size_t count;
    struct option longs[OPTIONS_MAX + 1];
    char shorts[3 + 2 * OPTIONS_MAX];
};

static void table_fill(struct table *table, const struct ctl_option *const *lists, bool stop_at_word)
{
    memset(table, 0, sizeof *table);
    char *shorts = table->shorts;
    if (stop_at_word)
        *shorts++ = '+';
    *shorts++ = ':'; /* a missing argument is told from an unknown option */
    for (; *lists != NULL; lists++) {
        for (const struct ctl_option *option = *lists; option->name != NULL; option++) {
            assert(table->count < OPTIONS_MAX);
            table->longs[table->count] =
                (struct option){.name = option->name,
                                .has_arg = option->argument != NULL ? required_argument : no_argument,
                                .val = LONG_BASE + (int)table->count};
            if (option->letter != '\0') {
                *shorts++ = option->letter;
                if (option->argument != NULL)
                    *shorts++ = ':';
            }
            table->names[table->count] = option->name;
            table->options[table->count++] = option;
        }
    }
}

static const struct ctl_option *table_find(const struct table *table, int value)
{
    if (value >= LONG_BASE)
        return (size_t)(value - LONG_BASE) < table->count ? table->options[value - LONG_BASE] : NULL;
    for (size_t i = 0; value != 0 && i < table->count; i++) {
        if (table->options[i]->letter == value)
            return table->options[i];
    }
    return NULL;
}

static bool fail_unknown(const struct table *table, const char *word, struct status *st)
{
    const struct ctl_option *option = table_find(table, optopt);
    if (option != NULL)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--%s' takes no value", option->name);
    if (optopt != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown option '-%c'", optopt);
    char name[64] = "";
    size_t length = strcspn(word, "=");
    if (length > 2 && length < sizeof name)
        memcpy(name, word + 2, length - 2);
    const char *nearest = suggest(name, table->names, table->count);
    if (nearest != NULL)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown option '--%s'; did you mean '--%s'?", name,
                           nearest);
    return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown option '%s'", word);
}

static bool keep(struct ctl_arguments *arguments, const struct ctl_option *option, const char *value, struct status *st)
{
    struct ctl_given *given = reallocarray(arguments->given, arguments->given_count + 1, sizeof *given);
    if (given == NULL)
        return ctl_no_memory(st);
    arguments->given = given;
    given[arguments->given_count++] = (struct ctl_given){option, value};
    return true;
}

bool ctl_options_scan(struct ctl_arguments *arguments, int argc, char **argv, const struct ctl_option *const *lists,
                      bool stop_at_word, int *at, struct status *st)
{
    struct table table;
    table_fill(&table, lists, stop_at_word);
    char **slice = argv + *at - 1; /* getopt skips its argv[0] */
    int slice_count = argc - *at + 1;
    opterr = 0;
    optind = 0; /* glibc: start anew */
    int value;
    while ((value = getopt_long(slice_count, slice, table.shorts, table.longs, NULL)) != -1) {
        if (value == '?')
            return fail_unknown(&table, slice[optind - 1], st);
        const struct ctl_option *option = table_find(&table, value == ':' ? optopt : value);
        if (value == ':')
            return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--%s' needs a value: %s", option->name,
                               option->argument);
        if (!keep(arguments, option, option->argument != NULL ? optarg : NULL, st))
            return false;
    }
    *at += optind - 1;
    return true;
}

void ctl_arguments_close(struct ctl_arguments *arguments)
{
    free(arguments->given);
    memset(arguments, 0, sizeof *arguments);
}

const char *ctl_option_next(const struct ctl_arguments *arguments, const char *name, size_t *position)
{
    while (*position < arguments->given_count) {
        const struct ctl_given *given = &arguments->given[(*position)++];
        if (strcmp(given->option->name, name) == 0)
            return given->value != NULL ? given->value : "";
    }
    return NULL;
}

const char *ctl_option_text(const struct ctl_arguments *arguments, const char *name)
{
    const char *last = NULL;
    const char *value;
    size_t position = 0;
    while ((value = ctl_option_next(arguments, name, &position)) != NULL)
        last = value;
    return last;
}

bool ctl_option_given(const struct ctl_arguments *arguments, const char *name)
{
    return ctl_option_text(arguments, name) != NULL;
}

bool ctl_option_integer(const struct ctl_arguments *arguments, const char *name, int64_t least, int64_t most,
                        int64_t *value, struct status *st)
{
    const char *text = ctl_option_text(arguments, name);
    if (text == NULL)
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < least || number > most)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE,
                           "option '--%s': '%s' is no whole number from %lld to %lld", name, text, (long long)least,
                           (long long)most);
    *value = number;
    return true;
}

bool ctl_parse_real(const char *text, double *value)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number))
        return false;
    *value = number;
    return true;
}
