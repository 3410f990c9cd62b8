/* SPDX-License-Identifier: Apache-2.0
 *
 * A protobuf request from a stranger: frames, headers and every body. The first byte of the input is the header's
 * length. */
#include "proto/envelope.h"
#include "tests/fuzz/request_types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_headers(const struct frame *frames)
{
    struct envelope_header header = {0};
    struct status st = STATUS_INIT, remote = STATUS_INIT;
    uint64_t request_id, server_us;
    enum envelope_kind kind;
    (void)envelope_classify(frames, 2, &kind, &st);
    (void)envelope_read_reply_header(&frames[0], &request_id, &server_us, &remote, &st);
    if (!envelope_read_header(&header, &frames[0], &st))
        return;
    struct envelope_header again;
    struct frame written = {0};
    written.data = envelope_write_request_header(&header, &written.size_bytes);
    if (written.data != NULL && !envelope_read_header(&again, &written, &st))
        abort(); /* what was accepted must be accepted again */
    free((void *)written.data);
}

static void unpack_body(const ProtobufCMessageDescriptor *type, const struct frame *frame)
{
    struct capped capped = {.left_bytes = CAPPED_BYTES};
    ProtobufCAllocator allocator = capped_allocator(&capped);
    struct status st = STATUS_INIT;
    ProtobufCMessage *message = envelope_unpack(type, &allocator, &capped.refused, frame, &st);
    if (message == NULL && st.code == STATUS_OK)
        abort();
    protobuf_c_message_free_unpacked(message, &allocator);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t header_size = data[0] < size - 1 ? data[0] : size - 1;
    const struct frame frames[] = {
        {.data = data + 1, .size_bytes = header_size},
        {.data = data + 1 + header_size, .size_bytes = size - 1 - header_size},
    };
    read_headers(frames);
    for (size_t i = 0; i < REQUEST_TYPES_COUNT; i++)
        unpack_body(request_types[i], &frames[1]);
    return 0;
}
