/* SPDX-License-Identifier: Apache-2.0
 *
 * Models written to memory and read back, and what two of them have in common. Everything is static: each test program
 * has one. */
#ifndef RECSYS_TESTS_UNIT_MODEL_FILE_RIG_H
#define RECSYS_TESTS_UNIT_MODEL_FILE_RIG_H

#include "models/model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static inline unsigned char *write_model(struct model *model, size_t *size)
{
    struct status st = STATUS_INIT;
    unsigned char *bytes = model_write(model, size, &st);
    cr_assert_not_null(bytes, "%s", st.message);
    return bytes;
}

/* Bytes in a block of exactly their size, so that AddressSanitizer sees a read past them. */
static inline struct model *read_copy(const unsigned char *bytes, size_t size, struct status *st)
{
    unsigned char *copy = malloc(size + (size == 0));
    cr_assert_not_null(copy);
    memcpy(copy, bytes, size);
    struct model *model = model_read(copy, size, st);
    memset(copy, 0xa5, size); /* nothing of the file is needed once it is read */
    free(copy);
    return model;
}

static inline void assert_same_numbers(const struct model *a, const struct model *b, const char *what)
{
    cr_assert_eq(a->params.count, b->params.count, "%s", what);
    for (size_t i = 0; i < a->params.count; i++) {
        const struct param *p = &a->params.list[i], *q = &b->params.list[i];
        cr_assert_str_eq(p->name, q->name);
        cr_assert_arr_eq(*p->slot, *q->slot, p->count * sizeof(float), "%s: '%s'", what, p->name);
    }
    cr_assert_eq(a->item_count, b->item_count);
    cr_assert_arr_eq(a->item_training_count, b->item_training_count, a->item_count * sizeof(float));
}

#endif
