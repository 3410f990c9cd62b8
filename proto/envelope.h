/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames around a message, protobuf encoding. Pure functions over bytes: no sockets here.
 *
 *   request  [delimiter: empty]? [RequestHeader] [request message] [attachment]*
 *   reply    [delimiter: empty]? [ReplyHeader] [reply message]        (the body frame is empty when code is not 0)
 *   JSON     [delimiter: empty]? [text]                               (see json_rpc.h) */
#ifndef RECSYS_PROTO_ENVELOPE_H
#define RECSYS_PROTO_ENVELOPE_H

#include "proto/status.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define ENVELOPE_VERSION         1
#define ENVELOPE_FRAMES_MAX      8    /* after the routing id, delimiter included */
#define ENVELOPE_HEADER_MAX      4096 /* bytes */
#define ENVELOPE_ATTACHMENTS_MAX 4

/* Bytes that belong to somebody else. */
struct frame {
    const void *data;
    size_t size_bytes;
};

/* A request's header, checked and copied out of the frame. */
struct envelope_header {
    uint64_t request_id;
    uint32_t timeout_ms;
    char method[64];
    char traceparent[64]; /* "" when absent or not a valid W3C traceparent */
    char idempotency_key[129];
};

/* What a message's frames are, delimiter already taken off. */
enum envelope_kind { ENVELOPE_PROTOBUF, ENVELOPE_JSON };

/* Sort out frames (delimiter taken off): which kind, and are there enough and not too many. INVALID_ARGUMENT / BAD_ENVELOPE. */
bool envelope_classify(const struct frame *frames, size_t count, enum envelope_kind *kind, struct status *st);

/* Read a RequestHeader. On failure (BAD_ENVELOPE: not a header, over ENVELOPE_HEADER_MAX, method missing or not printable ASCII,
 * idempotency key over 128 bytes; FAILED_PRECONDITION / BAD_VERSION: another major version) `header->request_id` is set if it could be read, else 0. */
bool envelope_read_header(struct envelope_header *header, const struct frame *frame, struct status *st);

/* Write a ReplyHeader of `st` into malloc'ed bytes that the caller frees. NULL only out of memory. */
void *envelope_write_reply_header(uint64_t request_id, const struct status *st, uint64_t server_us, size_t *size_bytes);

/* Write a RequestHeader, likewise. */
void *envelope_write_request_header(const struct envelope_header *header, size_t *size_bytes);

/* Read a ReplyHeader: `st` becomes the server's status. False with DATA_LOSS / BAD_REPLY when it is none. */
bool envelope_read_reply_header(const struct frame *frame, uint64_t *request_id, uint64_t *server_us,
                                struct status *remote, struct status *st);

/* Unpack a body with `allocator`. NULL with INVALID_ARGUMENT / BAD_BODY (truncated, garbage, or strings that are not UTF-8 without NUL: the field is
 * named), or RESOURCE_EXHAUSTED / TOO_LARGE where the allocator gave out (`*refused` is read after a failure; may be NULL). */
ProtobufCMessage *envelope_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *allocator,
                                  const bool *refused, const struct frame *frame, struct status *st);

#endif
