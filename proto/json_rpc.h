/* SPDX-License-Identifier: Apache-2.0
 *
 * The same messages as JSON-RPC 2.0: one call in, one reply out, translated by the descriptors that protobuf-c generates, so that
 * a new field or method needs no line here.
 *
 *   field            JSON
 *   string           string; an integer or real is accepted and becomes its text (ids, times)
 *   int32, uint32    number
 *   64-bit           string in replies; string or number in requests
 *   float, double    number; never NaN or infinite
 *   bytes            base64 string
 *   enum             its name
 *   message          object
 *   repeated         array, but an object where the element's first field is `key`: {"text": 0.7}. Its value is the field `value`,
 *                    or the member of the oneof that fits the JSON type (string, number, bool, array of strings)
 *   oneof member     absent when not set; null means not set
 *
 * Names are those of recsys.proto; the aliases that users of other systems expect are accepted too (`userId` for `user`, `count`
 * for `n`, ...: the list is in json_names.c). An unknown name is an error with the nearest known one in its message: a misspelt
 * option that is silently ignored costs its user a day. */
#ifndef RECSYS_PROTO_JSON_RPC_H
#define RECSYS_PROTO_JSON_RPC_H

#include "proto/status.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* Nesting that a call may have; the schema needs 6. */
#define JSON_RPC_DEPTH_MAX 16

/* A call as it came in. All pointers live as long as `root`. */
struct json_rpc_call {
    json_t *root;     /* owned */
    const json_t *id; /* string, number or null; NULL when absent or not known */
    const char *method;
    json_t *params;              /* object, or NULL when absent */
    uint32_t timeout_ms;         /* params.timeout_ms (alias timeoutMs), taken out of params; 0 when absent */
    const char *idempotency_key; /* params.idempotency_key, likewise, or NULL */
    const char *traceparent;     /* params.traceparent, likewise, or NULL */
};

/* True when a frame is JSON rather than protobuf: its first byte that is no white space is '{' or '[' (neither can begin a
 * RequestHeader). */
bool json_rpc_recognise(const void *data, size_t size);

/* Parse and check one call: object, "jsonrpc": "2.0", "method" a string, "params" an object if present (arrays of parameters
 * and batches are refused), id of a legal type, no duplicate keys, no NUL in strings, depth. On failure `call->id` is set where it
 * could be read and `call` must be closed all the same. Errors: INVALID_ARGUMENT, reason BAD_JSON or BAD_CALL. */
bool json_rpc_parse(struct json_rpc_call *call, const char *text, size_t size, struct status *st);

/* Free what parse allocated; accepts an all-zero call and leaves it all-zero. */
void json_rpc_close(struct json_rpc_call *call);

/* Translate `params` (NULL: no parameters) into a new message of `type`, allocated by `allocator` (NULL: malloc). The caller frees
 * it with protobuf_c_message_free_unpacked. Returns NULL with the JSON path of the offending value in st->field
 * ("events[3].user") on failure: INVALID_ARGUMENT with reason UNKNOWN_FIELD, WRONG_TYPE, OUT_OF_RANGE, BAD_BASE64; or
 * RESOURCE_EXHAUSTED / TOO_LARGE where the allocator refused. Nothing leaks on failure. */
ProtobufCMessage *json_rpc_decode(const json_t *params, const ProtobufCMessageDescriptor *type,
                                  ProtobufCAllocator *allocator, struct status *st);

/* A message as a new JSON value, which the caller decrefs; NULL only out of memory. Invalid UTF-8 in strings is replaced by U+FFFD,
 * never an error. Fields outside oneofs are always there; empty repeated fields, empty strings and unset sub-messages are left
 * out inside nested messages, and present ("", [], {}) at the top level except for sub-messages. */
json_t *json_rpc_encode(const ProtobufCMessage *message);

/* The text of a reply; malloc'ed, the caller frees; `size` without the NUL. `id` may be NULL (becomes null); it is not consumed;
 * `result` is consumed. NULL only out of memory. */
char *json_rpc_result(const json_t *id, json_t *result, size_t *size);
char *json_rpc_error(const json_t *id, const struct status *st, size_t *size);

#endif
