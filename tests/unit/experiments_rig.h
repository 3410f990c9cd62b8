/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts as files of experiments. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_EXPERIMENTS_RIG_H
#define RECSYS_TESTS_UNIT_EXPERIMENTS_RIG_H

#include "daemon/experiments.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline struct experiments *load_bytes(const char *text, size_t size_bytes, struct status *st)
{
    char path[] = "/tmp/test_experiments.XXXXXX";
    int file = mkstemp(path);
    *st = (struct status)STATUS_INIT;
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, size_bytes), (ssize_t)size_bytes);
    cr_assert_eq(close(file), 0);
    struct experiments *experiments = experiments_load(path, st);
    unlink(path);
    return experiments;
}

static inline struct experiments *load(const char *text, struct status *st)
{
    return load_bytes(text, strlen(text), st);
}

static inline struct experiments *load_good(const char *text)
{
    struct status st;
    struct experiments *experiments = load(text, &st);
    cr_assert(experiments != NULL, "%s\nsays: %s", text, st.message);
    return experiments;
}

/* `head` and `count` lines, each with its number between `before` and `after` */
static inline void write_lines(char *text, size_t size, const char *head, const char *before, const char *after,
                               size_t count)
{
    size_t used = (size_t)snprintf(text, size, "%s", head);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu%s\n", before, i, after);
    cr_assert_lt(used, size);
}

#endif
