/* SPDX-License-Identifier: Apache-2.0
 *
 * Single values from JSON into the members of a protobuf-c struct, and the errors of decoding. Behind json_rpc.h. */
#ifndef RECSYS_PROTO_JSON_SCALAR_H
#define RECSYS_PROTO_JSON_SCALAR_H

#include "proto/place.h"
#include "proto/status.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* What one decoding carries along. */
struct decoder {
    ProtobufCAllocator *allocator; /* NULL: malloc */
    struct status *st;
};

/* Describe a failure at `at`. Returns false. */
bool decoder_fail(const struct decoder *d, const struct place *at, enum status_code code, const char *reason,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* WRONG_TYPE: "expected a string, got an array". Returns false. */
bool decoder_wrong_type(const struct decoder *d, const struct place *at, const json_t *value, const char *expected);

/* `count` times `size` zeroed bytes of the decoder's allocator, neither of them 0; NULL with TOO_LARGE when it
 * refuses. */
void *decoder_take(const struct decoder *d, size_t count, size_t size, const struct place *at);

/* A copy with its NUL; NULL as above. */
char *decoder_copy_text(const struct decoder *d, const char *text, size_t length, const struct place *at);

/* Bytes that one value of `type` takes in a list. */
size_t json_scalar_size(ProtobufCType type);

/* Write `value` to `member` as the type of `field`, which is no message. Nothing is written on failure. */
bool json_decode_scalar(const struct decoder *d, const json_t *value, const ProtobufCFieldDescriptor *field,
                        void *member, const struct place *at);

#endif
