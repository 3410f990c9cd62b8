/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages from and to JSON text, for the tests of both ways. */
#ifndef RECSYS_TESTS_UNIT_JSON_RIG_H
#define RECSYS_TESTS_UNIT_JSON_RIG_H

#include "proto/json_rpc.h"
#include "proto/recsys.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Decode JSON text with malloc. */
static inline void *decode(const char *text, const ProtobufCMessageDescriptor *type, struct status *st)
{
    json_t *params = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(params, "the test's own JSON is wrong: %s", text);
    void *message = json_rpc_decode(params, type, NULL, st);
    json_decref(params);
    return message;
}

static inline void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

/* Compare a message as JSON with the text expected; `what` says what it is. */
static inline void expect_json(const ProtobufCMessage *message, const char *expected, const char *what)
{
    json_t *value = json_rpc_encode(message);
    char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15));
    cr_expect_str_eq(text, expected, "%s: %s", what, text);
    free(text);
    json_decref(value);
}

#endif
