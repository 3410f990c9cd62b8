/* SPDX-License-Identifier: Apache-2.0
 *
 * Options and words of a command line, read by getopt_long according to lists that help and completion read too. What
 * was given is kept in order; commands ask for it by name. */
#ifndef RECSYS_DAEMON_CTL_OPTIONS_H
#define RECSYS_DAEMON_CTL_OPTIONS_H

#include "proto/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One option; a list ends with an all-zero one. */
struct ctl_option {
    const char *name;     /* the long one, without dashes */
    char letter;          /* the short one, or 0 */
    const char *argument; /* "N", "FILE" (completed as a file), "yes|no" (lower case: the choices); NULL: a switch */
    const char *help;     /* one line, lower case, no full stop */
};

struct ctl_given {
    const struct ctl_option *option;
    const char *value; /* NULL for a switch */
};

struct ctl_command;

struct ctl_arguments {
    const struct ctl_command *command; /* NULL: none was named */
    const char *group;                 /* "item" when only the first word of a command was named, else NULL */
    struct ctl_given *given;           /* owned */
    size_t given_count;
    char **words; /* borrowed from argv */
    size_t word_count;
};

/* Read the options of `lists` (NULL-terminated) from argv[*at] on, up to the first word with `stop_at_word`, else all
 * of them, moving words to the end; `*at` becomes the index of the first word. A usage error names the option, and the
 * nearest known one. */
bool ctl_options_scan(struct ctl_arguments *arguments, int argc, char **argv, const struct ctl_option *const *lists,
                      bool stop_at_word, int *at, struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void ctl_arguments_close(struct ctl_arguments *arguments);

/* The last value given, or NULL. */
const char *ctl_option_text(const struct ctl_arguments *arguments, const char *name);

/* Every value given: start with `*position` 0; NULL after the last. */
const char *ctl_option_next(const struct ctl_arguments *arguments, const char *name, size_t *position);

bool ctl_option_given(const struct ctl_arguments *arguments, const char *name);

/* A whole number within `least` to `most`; `*value` stays as it is where the option was not given. Else a usage error.
 */
bool ctl_option_integer(const struct ctl_arguments *arguments, const char *name, int64_t least, int64_t most,
                        int64_t *value, struct status *st);

/* `text` as a finite number. */
bool ctl_parse_real(const char *text, double *value);

#endif
