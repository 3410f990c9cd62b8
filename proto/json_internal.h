/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files behind json_rpc.h share. */
#ifndef RECSYS_PROTO_JSON_INTERNAL_H
#define RECSYS_PROTO_JSON_INTERNAL_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* The field of `type` called `name`, or that `name` is an accepted alias of; NULL when there is none. */
const ProtobufCFieldDescriptor *json_find_field(const ProtobufCMessageDescriptor *type, const char *name);

/* The field whose name or alias is spelled most like `name`; NULL only when `type` has no fields. */
const ProtobufCFieldDescriptor *json_nearest_field(const ProtobufCMessageDescriptor *type, const char *name);

/* True for repeated messages that are a JSON object: their element's first field is `key`. */
bool json_field_is_map(const ProtobufCFieldDescriptor *field);

/* A new JSON string; what is not UTF-8 becomes U+FFFD, NULL becomes "". NULL only out of memory. */
json_t *json_text(const char *text);

enum json_whole { JSON_WHOLE, JSON_WHOLE_NOT, JSON_WHOLE_TOO_LARGE };

/* Read a whole number: an integer, a real without fraction (JavaScript and Lua have no other), or its decimal text
 * where `text_allowed`. `*whole` only when JSON_WHOLE is returned. */
enum json_whole json_whole_number(const json_t *value, bool text_allowed, int64_t *whole);

#endif
