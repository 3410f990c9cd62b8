/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/envelope.h"
#include "proto/recsys.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct frame frame_of(const char *text)
{
    return (struct frame){.data = text, .size_bytes = strlen(text)};
}

static struct frame pack(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    protobuf_c_message_pack(message, bytes);
    return (struct frame){.data = bytes, .size_bytes = size};
}

/* Read a header that is `packed`; frees what it made. */
static bool read_packed(const Recsys__RequestHeader *packed, struct envelope_header *header, struct status *st)
{
    struct frame frame = pack(&packed->base);
    bool ok = envelope_read_header(header, &frame, st);
    free((void *)frame.data);
    return ok;
}

static Recsys__RequestHeader valid_header(void)
{
    Recsys__RequestHeader packed = RECSYS__REQUEST_HEADER__INIT;
    packed.version = ENVELOPE_VERSION;
    packed.method = "ping";
    packed.request_id = 42;
    return packed;
}

Test(envelope, frames_are_sorted_out)
{
    static const struct {
        const char *what, *first;
        size_t count;
        bool ok;
        enum envelope_kind kind;
    } cases[] = {
        {"nothing", "\x08\x01", 0, false, 0},
        {"header alone", "\x08\x01", 1, false, 0},
        {"header and body", "\x08\x01", 2, true, ENVELOPE_PROTOBUF},
        {"four attachments", "\x08\x01", 6, true, ENVELOPE_PROTOBUF},
        {"five attachments", "\x08\x01", 7, false, 0},
        {"JSON", " \r\n\t{}", 1, true, ENVELOPE_JSON},
        {"JSON batch, refused later", "[", 1, true, ENVELOPE_JSON},
        {"JSON with an attachment", "{}", 2, false, 0},
        {"empty header", "", 2, true, ENVELOPE_PROTOBUF},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct frame frames[8] = {frame_of(cases[i].first)};
        struct status st = STATUS_INIT;
        enum envelope_kind kind = (enum envelope_kind)77;
        cr_expect_eq(envelope_classify(frames, cases[i].count, &kind, &st), cases[i].ok, "%s", cases[i].what);
        if (cases[i].ok)
            cr_expect_eq(kind, cases[i].kind, "%s", cases[i].what);
        else
            cr_expect_str_eq(st.reason, "BAD_ENVELOPE", "%s", cases[i].what);
    }
}

Test(envelope, a_request_header_survives_the_wire)
{
    const struct envelope_header sent = {.request_id = UINT64_MAX - 1,
                                         .timeout_ms = 250,
                                         .method = "event.add",
                                         .traceparent = TRACE,
                                         .idempotency_key = "caf\xc3\xa9"};
    struct envelope_header got = {0};
    struct status st = STATUS_INIT;
    struct frame frame;
    frame.data = envelope_write_request_header(&sent, &frame.size_bytes);
    cr_assert(envelope_read_header(&got, &frame, &st), "%s", st.message);
    cr_expect_eq(got.request_id, sent.request_id);
    cr_expect_eq(got.timeout_ms, 250);
    cr_expect_str_eq(got.method, "event.add");
    cr_expect_str_eq(got.traceparent, TRACE);
    cr_expect_str_eq(got.idempotency_key, "caf\xc3\xa9");
    free((void *)frame.data);
}

Test(envelope, frames_that_are_no_header_are_refused)
{
    static char large[ENVELOPE_HEADER_MAX + 2];
    memset(large, 0x08, sizeof large - 1);
    const struct frame frames[] = {frame_of(""), frame_of("hello"), frame_of("\x08"),
                                   frame_of("\x12\x7f"
                                            "a"),
                                   frame_of(large)};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct envelope_header header = {.request_id = 9};
        struct status st = STATUS_INIT;
        cr_expect_not(envelope_read_header(&header, &frames[i], &st), "frame %zu", i);
        cr_expect_str_eq(st.reason, "BAD_ENVELOPE", "frame %zu: %s", i, st.reason);
        cr_expect_eq(header.request_id, 0);
    }
}

Test(envelope, methods_that_could_not_be_logged_are_refused)
{
    static const char *const methods[] = {"",
                                          "two words",
                                          "line\nbreak",
                                          "caf\xc3\xa9",
                                          "not utf-8 \xff",
                                          "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct envelope_header header = {0};
        struct status st = STATUS_INIT;
        Recsys__RequestHeader packed = valid_header();
        packed.method = (char *)methods[i];
        cr_expect_not(read_packed(&packed, &header, &st), "'%s'", methods[i]);
        cr_expect_str_eq(st.reason, "BAD_ENVELOPE");
        cr_expect_str_eq(st.field, "method");
        cr_expect_eq(header.request_id, 42, "the answer cannot be matched to its request");
    }
}

Test(envelope, another_version_is_told_apart)
{
    struct envelope_header header = {0};
    struct status st = STATUS_INIT;
    Recsys__RequestHeader packed = valid_header();
    packed.version = 2;
    cr_assert_not(read_packed(&packed, &header, &st));
    cr_expect_eq(st.code, STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(st.reason, "BAD_VERSION");
    cr_expect_eq(header.request_id, 42);
}

Test(envelope, an_idempotency_key_has_128_bytes_at_most)
{
    char key[130] = "";
    struct envelope_header header = {0};
    struct status st = STATUS_INIT;
    Recsys__RequestHeader packed = valid_header();
    packed.idempotency_key = key;
    memset(key, 'k', 128);
    cr_expect(read_packed(&packed, &header, &st));
    cr_expect_eq(strlen(header.idempotency_key), 128);
    key[128] = 'k';
    cr_expect_not(read_packed(&packed, &header, &st));
    cr_expect_str_eq(st.field, "idempotency_key");
}

Test(envelope, a_traceparent_that_is_none_is_dropped)
{
    static const struct {
        const char *text;
        bool kept;
    } cases[] = {
        {TRACE, true},
        {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-new", true},
        {TRACE "-new", false},
        {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.new", false},
        {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false},
        {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-0123456789", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct envelope_header header = {0};
        struct status st = STATUS_INIT;
        Recsys__RequestHeader packed = valid_header();
        packed.traceparent = (char *)cases[i].text;
        cr_assert(read_packed(&packed, &header, &st));
        cr_expect_str_eq(header.traceparent, cases[i].kept ? cases[i].text : "");
    }
}

Test(envelope, a_failure_survives_the_wire)
{
    struct status sent = STATUS_INIT, remote = STATUS_INIT, st = STATUS_INIT;
    uint64_t request_id = 0, server_us = 0;
    struct frame frame;
    status_fail_field(&sent, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "n", "queue of %d is full", 5);
    sent.retry_after_ms = 30;
    frame.data = envelope_write_reply_header(7, &sent, 1234, &frame.size_bytes);
    cr_assert(envelope_read_reply_header(&frame, &request_id, &server_us, &remote, &st), "%s", st.message);
    cr_expect_eq(request_id, 7);
    cr_expect_eq(server_us, 1234);
    cr_expect_eq(remote.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(remote.reason, "QUEUE_FULL");
    cr_expect_str_eq(remote.field, "n");
    cr_expect_str_eq(remote.message, "queue of 5 is full");
    cr_expect_eq(remote.retry_after_ms, 30);
    free((void *)frame.data);
}

Test(envelope, a_success_is_read_as_one)
{
    struct status sent = STATUS_INIT, st = STATUS_INIT;
    struct status remote = {.code = STATUS_INTERNAL, .reason = "OLD"};
    uint64_t request_id, server_us;
    struct frame frame;
    frame.data = envelope_write_reply_header(7, &sent, 0, &frame.size_bytes);
    cr_assert(envelope_read_reply_header(&frame, &request_id, &server_us, &remote, &st));
    cr_expect_eq(remote.code, STATUS_OK);
    cr_expect_str_empty(remote.reason);
    free((void *)frame.data);
}

Test(envelope, a_code_of_a_later_server_is_a_failure_still)
{
    struct status remote = STATUS_INIT, st = STATUS_INIT;
    uint64_t request_id, server_us;
    Recsys__ReplyHeader packed = RECSYS__REPLY_HEADER__INIT;
    packed.version = ENVELOPE_VERSION;
    packed.code = 4000000000u;
    packed.reason = "SOMETHING_NEW";
    struct frame frame = pack(&packed.base);
    cr_assert(envelope_read_reply_header(&frame, &request_id, &server_us, &remote, &st));
    cr_expect_eq(remote.code, STATUS_INTERNAL);
    cr_expect_str_eq(remote.reason, "SOMETHING_NEW");
    free((void *)frame.data);
}

Test(envelope, a_reply_without_header_is_data_loss)
{
    const struct frame frames[] = {frame_of(""), frame_of("hello"), frame_of("\x08\x02")};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct status remote = STATUS_INIT, st = STATUS_INIT;
        uint64_t request_id = 5, server_us = 6;
        cr_expect_not(envelope_read_reply_header(&frames[i], &request_id, &server_us, &remote, &st));
        cr_expect_eq(st.code, STATUS_DATA_LOSS);
        cr_expect_str_eq(st.reason, "BAD_REPLY");
        cr_expect_eq(request_id, 5, "written although it failed");
    }
}

static struct frame packed_events(Recsys__Event *second)
{
    Recsys__Event first = RECSYS__EVENT__INIT;
    Recsys__Event *events[] = {&first, second};
    Recsys__EventAddRequest request = RECSYS__EVENT_ADD_REQUEST__INIT;
    first.user = "ada";
    first.item = "tea";
    request.events = events;
    request.n_events = 2;
    return pack(&request.base);
}

Test(envelope, a_body_is_unpacked)
{
    Recsys__Event second = RECSYS__EVENT__INIT;
    second.user = "Zo\xc3\xab";
    struct frame frame = packed_events(&second);
    struct status st = STATUS_INIT;
    ProtobufCMessage *message = envelope_unpack(&recsys__event_add_request__descriptor, NULL, NULL, &frame, &st);
    cr_assert_not_null(message, "%s", st.message);
    cr_expect_eq(((Recsys__EventAddRequest *)message)->n_events, 2);
    cr_expect_str_eq(((Recsys__EventAddRequest *)message)->events[1]->user, "Zo\xc3\xab");
    protobuf_c_message_free_unpacked(message, NULL);
    free((void *)frame.data);
}

Test(envelope, strings_that_are_no_text_are_named)
{
    static const char *const values[] = {"\xff", "cut \xe2\x82", "surrogate \xed\xa0\x80", "overlong \xc0\xaf"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        Recsys__Event second = RECSYS__EVENT__INIT;
        second.user = (char *)values[i];
        struct frame frame = packed_events(&second);
        struct status st = STATUS_INIT;
        cr_expect_null(envelope_unpack(&recsys__event_add_request__descriptor, NULL, NULL, &frame, &st));
        cr_expect_str_eq(st.reason, "BAD_BODY");
        cr_expect_str_eq(st.field, "events[1].user", "'%s'", st.field);
        free((void *)frame.data);
    }
}

/* protobuf-c alone would read "admin". */
Test(envelope, a_nul_inside_a_string_is_refused)
{
    static const char body[] = "\x0a\x06"
                               "admin\0";
    const struct frame frame = {.data = body, .size_bytes = 8};
    struct status st = STATUS_INIT;
    cr_assert_null(envelope_unpack(&recsys__recommend_request__descriptor, NULL, NULL, &frame, &st));
    cr_expect_str_eq(st.reason, "BAD_BODY");
    cr_expect_str_eq(st.field, "user");
}

Test(envelope, every_truncation_of_a_body_is_read_or_refused)
{
    Recsys__Event second = RECSYS__EVENT__INIT;
    second.user = "bob";
    struct frame frame = packed_events(&second);
    size_t refused = 0;
    for (size_t size = 0; size < frame.size_bytes; size++) {
        uint8_t *copy = malloc(size + 1); /* of its own, for the sanitizer to see reads past the end */
        memcpy(copy, frame.data, size);
        struct frame cut = {.data = copy, .size_bytes = size};
        struct status st = STATUS_INIT;
        ProtobufCMessage *message = envelope_unpack(&recsys__event_add_request__descriptor, NULL, NULL, &cut, &st);
        if (message == NULL) {
            cr_expect_str_eq(st.reason, "BAD_BODY");
            refused++;
        }
        protobuf_c_message_free_unpacked(message, NULL);
        free(copy);
    }
    cr_expect_eq(refused, frame.size_bytes - 2, "only nothing and the first event alone are messages");
    free((void *)frame.data);
}

Test(envelope, a_field_of_another_wire_type_is_refused)
{
    const struct frame frame = frame_of("\x08\x01"); /* RecommendRequest.user as a number */
    struct status st = STATUS_INIT;
    cr_assert_null(envelope_unpack(&recsys__recommend_request__descriptor, NULL, NULL, &frame, &st));
    cr_expect_str_eq(st.reason, "BAD_BODY");
}

struct limited {
    size_t left_bytes;
    size_t blocks;
    bool refused;
};

static void *limited_alloc(void *data, size_t size)
{
    struct limited *limited = data;
    if (size > limited->left_bytes) {
        limited->refused = true;
        return NULL;
    }
    limited->left_bytes -= size;
    limited->blocks++;
    return malloc(size);
}

static void limited_free(void *data, void *block)
{
    ((struct limited *)data)->blocks--;
    free(block);
}

/* Two bytes on the wire make an event of a hundred in memory. */
Test(envelope, a_body_that_grows_too_much_is_too_large)
{
    static char body[20001];
    for (size_t i = 0; i < sizeof body - 1; i += 2)
        memcpy(body + i, "\x0a\0", 2);
    const struct frame frame = {.data = body, .size_bytes = sizeof body - 1};
    struct limited limited = {.left_bytes = 200000};
    ProtobufCAllocator allocator = {.alloc = limited_alloc, .free = limited_free, .allocator_data = &limited};
    struct status st = STATUS_INIT;
    cr_assert_null(envelope_unpack(&recsys__event_add_request__descriptor, &allocator, &limited.refused, &frame, &st));
    cr_expect_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(st.reason, "TOO_LARGE");
    cr_expect_eq(limited.blocks, 0, "memory is lost");
}
