/* SPDX-License-Identifier: Apache-2.0
 *
 * A JSON call from a stranger: parsed, its params read as every request there is, and what could be read written
 * again. */
#include "proto/json_rpc.h"
#include "tests/fuzz/request_types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted must be accepted in our own spelling too, and mean the same. */
static void check_round_trip(const ProtobufCMessage *message)
{
    struct status st = STATUS_INIT;
    json_t *written = json_rpc_encode(message);
    ProtobufCMessage *again = json_rpc_decode(written, message->descriptor, NULL, &st);
    if (written == NULL || again == NULL)
        abort();
    json_t *rewritten = json_rpc_encode(again);
    if (!json_equal(written, rewritten))
        abort();
    json_decref(rewritten);
    json_decref(written);
    protobuf_c_message_free_unpacked(again, NULL);
}

static void read_params(const struct json_rpc_call *call, const ProtobufCMessageDescriptor *type)
{
    struct capped capped = {.left_bytes = CAPPED_BYTES};
    ProtobufCAllocator allocator = capped_allocator(&capped);
    struct status st = STATUS_INIT;
    size_t length;
    ProtobufCMessage *message = json_rpc_decode(call->params, type, &allocator, &st);
    if (message == NULL) {
        if (st.code == STATUS_OK)
            abort();
        free(json_rpc_error(call->id, &st, &length));
        return;
    }
    check_round_trip(message);
    free(json_rpc_result(call->id, json_rpc_encode(message), &length));
    protobuf_c_message_free_unpacked(message, &allocator);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    size_t length;
    (void)json_rpc_recognise(data, size);
    if (json_rpc_parse(&call, (const char *)data, size, &st)) {
        for (size_t i = 0; i < REQUEST_TYPES_COUNT; i++)
            read_params(&call, request_types[i]);
    } else {
        free(json_rpc_error(call.id, &st, &length));
    }
    json_rpc_close(&call);
    return 0;
}
