/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

#include "proto/place.h"

#include <assert.h>
#include <string.h>
#include <unistr.h>

#define FIELDS_MAX       64 /* of a message; the schema has 17 */
#define VARINT_BYTES_MAX 10

/* What is left to read. */
struct cursor {
    const uint8_t *at;
    size_t left;
};

/* One field as it stands on the wire; bytes only for length-prefixed ones. */
struct wire_field {
    uint32_t id;
    unsigned wire_type;
    struct cursor bytes;
};

static bool skip(struct cursor *in, uint64_t count)
{
    if (count > in->left)
        return false;
    in->at += count;
    in->left -= (size_t)count;
    return true;
}

static bool read_varint(struct cursor *in, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < VARINT_BYTES_MAX && i < in->left; i++) {
        sum |= (uint64_t)(in->at[i] & 0x7f) << (7 * i);
        if ((in->at[i] & 0x80) == 0) {
            *value = sum;
            return skip(in, i + 1);
        }
    }
    return false;
}

static bool read_prefixed(struct cursor *in, struct cursor *bytes)
{
    uint64_t size;
    if (!read_varint(in, &size) || size > in->left)
        return false;
    *bytes = (struct cursor){.at = in->at, .left = (size_t)size};
    return skip(in, size);
}

static bool read_field(struct cursor *in, struct wire_field *field)
{
    uint64_t tag, ignored;
    if (!read_varint(in, &tag) || tag > UINT32_MAX)
        return false;
    *field = (struct wire_field){.id = (uint32_t)(tag >> 3), .wire_type = tag & 7};
    switch (field->wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(in, &ignored);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        return skip(in, 8);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        return read_prefixed(in, &field->bytes);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        return skip(in, 4);
    default: /* groups, which proto3 does not have */
        return false;
    }
}

static bool bad_body(struct status *st, const struct place *at, const char *problem)
{
    char path[sizeof st->field];
    place_write(at, path, sizeof path);
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_BODY", path, "%s", problem);
}

static bool check_string(struct cursor text, const struct place *at, struct status *st)
{
    if (text.left == 0)
        return true;
    if (memchr(text.at, '\0', text.left) != NULL)
        return bad_body(st, at, "string contains a NUL byte");
    if (u8_check(text.at, text.left) != NULL)
        return bad_body(st, at, "string is not UTF-8");
    return true;
}

/* Recursion is as deep as the schema, which has no recursive messages. */
static bool check_message(const ProtobufCMessageDescriptor *type, struct cursor in, const struct place *at,
                          struct status *st)
{
    assert(type->n_fields <= FIELDS_MAX);
    size_t elements[FIELDS_MAX] = {0};
    while (in.left > 0) {
        struct wire_field field;
        if (!read_field(&in, &field))
            return bad_body(st, at, "message is truncated or not protobuf");
        const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(type, field.id);
        if (known == NULL || field.wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        struct place name = {.up = at, .name = known->name};
        struct place element = {.up = &name, .index = elements[known - type->fields]++};
        const struct place *here = known->label == PROTOBUF_C_LABEL_REPEATED ? &element : &name;
        if (known->type == PROTOBUF_C_TYPE_STRING && !check_string(field.bytes, here, st))
            return false;
        if (known->type == PROTOBUF_C_TYPE_MESSAGE && !check_message(known->descriptor, field.bytes, here, st))
            return false;
    }
    return true;
}

bool wire_check_strings(const ProtobufCMessageDescriptor *type, const struct frame *frame, struct status *st)
{
    return check_message(type, (struct cursor){.at = frame->data, .left = frame->size_bytes}, NULL, st);
}
