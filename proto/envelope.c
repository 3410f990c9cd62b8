/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/envelope.h"

#include "proto/json_rpc.h"
#include "proto/recsys.pb-c.h"
#include "proto/remote_status.h"
#include "proto/traceparent.h"
#include "proto/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof((struct envelope_header *)NULL)->traceparent >= TRACEPARENT_SIZE, "traceparent fits its field");

#define HEADER_FRAMES 2 /* header and body */

bool envelope_classify(const struct frame *frames, size_t count, enum envelope_kind *kind, struct status *st)
{
    if (count == 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "message without frames");
    if (json_rpc_recognise(frames[0].data, frames[0].size_bytes)) {
        if (count != 1)
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "JSON call in %zu frames, not one", count);
        *kind = ENVELOPE_JSON;
        return true;
    }
    if (count < HEADER_FRAMES)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE",
                           "one frame that is not JSON: a request is a header frame and a body frame");
    if (count > HEADER_FRAMES + ENVELOPE_ATTACHMENTS_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "more than %d attachments",
                           ENVELOPE_ATTACHMENTS_MAX);
    *kind = ENVELOPE_PROTOBUF;
    return true;
}

static bool bad_header(struct status *st, const char *field, const char *problem)
{
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", field, "request header: %s", problem);
}

/* Method names go into logs and metrics as they are. */
static bool is_method(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= sizeof((struct envelope_header *)NULL)->method)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return true;
}

static bool check_header(const Recsys__RequestHeader *packed, struct status *st)
{
    if (packed->version != ENVELOPE_VERSION)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "BAD_VERSION", "version",
                                 "request header: envelope version %u, this server speaks %d", packed->version,
                                 ENVELOPE_VERSION);
    if (!is_method(packed->method))
        return bad_header(st, "method", "method is empty, too long or not printable ASCII");
    if (strlen(packed->idempotency_key) >= sizeof((struct envelope_header *)NULL)->idempotency_key)
        return bad_header(st, "idempotency_key", "idempotency key of more than 128 bytes");
    return true;
}

static void copy_header(struct envelope_header *header, const Recsys__RequestHeader *packed)
{
    *header = (struct envelope_header){.request_id = packed->request_id, .timeout_ms = packed->timeout_ms};
    snprintf(header->method, sizeof header->method, "%s", packed->method);
    snprintf(header->idempotency_key, sizeof header->idempotency_key, "%s", packed->idempotency_key);
    if (traceparent_valid(packed->traceparent))
        snprintf(header->traceparent, sizeof header->traceparent, "%s", packed->traceparent);
}

bool envelope_read_header(struct envelope_header *header, const struct frame *frame, struct status *st)
{
    header->request_id = 0;
    if (frame->size_bytes == 0 || frame->size_bytes > ENVELOPE_HEADER_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "request header of %zu bytes",
                           frame->size_bytes);
    Recsys__RequestHeader *packed = recsys__request_header__unpack(NULL, frame->size_bytes, frame->data);
    if (packed == NULL)
        return bad_header(st, "", "truncated or not protobuf");
    header->request_id = packed->request_id;

    struct status strings = STATUS_INIT;
    bool ok;
    if (!wire_check_strings(&recsys__request_header__descriptor, frame, &strings))
        ok = bad_header(st, strings.field, strings.message);
    else
        ok = check_header(packed, st);
    if (ok)
        copy_header(header, packed);
    recsys__request_header__free_unpacked(packed, NULL);
    return ok;
}

static void *pack(const ProtobufCMessage *message, size_t *size_bytes)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return NULL;
    *size_bytes = protobuf_c_message_pack(message, bytes);
    return bytes;
}

void *envelope_write_reply_header(uint64_t request_id, const struct status *st, uint64_t server_us, size_t *size_bytes)
{
    Recsys__ReplyHeader header = RECSYS__REPLY_HEADER__INIT;
    header.version = ENVELOPE_VERSION;
    header.request_id = request_id;
    header.server_us = server_us;
    header.code = (uint32_t)st->code;
    if (st->code != STATUS_OK) {
        header.reason = (char *)st->reason;
        header.message = (char *)st->message;
        header.field = (char *)st->field;
        header.retry_after_ms = st->retry_after_ms;
    }
    return pack(&header.base, size_bytes);
}

void *envelope_write_request_header(const struct envelope_header *header, size_t *size_bytes)
{
    Recsys__RequestHeader packed = RECSYS__REQUEST_HEADER__INIT;
    packed.version = ENVELOPE_VERSION;
    packed.request_id = header->request_id;
    packed.timeout_ms = header->timeout_ms;
    packed.method = (char *)header->method;
    packed.traceparent = (char *)header->traceparent;
    packed.idempotency_key = (char *)header->idempotency_key;
    return pack(&packed.base, size_bytes);
}

bool envelope_read_reply_header(const struct frame *frame, uint64_t *request_id, uint64_t *server_us,
                                struct status *remote, struct status *st)
{
    Recsys__ReplyHeader *header = NULL;
    if (frame->size_bytes > 0)
        header = recsys__reply_header__unpack(NULL, frame->size_bytes, frame->data);
    if (header == NULL)
        return status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "reply header is truncated or not protobuf");
    bool ok = false;
    if (header->version != ENVELOPE_VERSION) {
        status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "reply header of envelope version %u", header->version);
        goto out;
    }
    *remote = (struct status)STATUS_INIT;
    if (header->code != STATUS_OK) {
        remote_status_fill(remote, header->code, header->reason, header->field, header->message);
        remote->retry_after_ms = header->retry_after_ms;
    }
    *request_id = header->request_id;
    *server_us = header->server_us;
    ok = true;
out:
    recsys__reply_header__free_unpacked(header, NULL);
    return ok;
}

ProtobufCMessage *envelope_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *allocator,
                                  const bool *refused, const struct frame *frame, struct status *st)
{
    if (!wire_check_strings(type, frame, st))
        return NULL;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, allocator, frame->size_bytes, frame->data);
    if (message != NULL)
        return message;
    if (refused != NULL && *refused)
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "request needs more memory than one may have");
    else
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_BODY", "body is not a %s", type->short_name);
    return NULL;
}
