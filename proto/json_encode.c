/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_internal.h"
#include "proto/json_rpc.h"
#include "proto/json_scalar.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#define REPLACEMENT_GROWTH 3 /* bytes that U+FFFD may take for one bad byte */

static json_t *encode_message(const ProtobufCMessage *message, bool nested);

static const void *member_of(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

/* u8_mbtouc reads U+FFFD where there is no character, and moves on as Unicode recommends. */
static json_t *repaired_text(const uint8_t *text, size_t length)
{
    size_t capacity, used = 0;
    if (__builtin_mul_overflow(length, REPLACEMENT_GROWTH, &capacity))
        return NULL;
    uint8_t *repaired = malloc(capacity);
    if (repaired == NULL)
        return NULL;
    while (length > 0) {
        ucs4_t symbol;
        size_t step = (size_t)u8_mbtouc(&symbol, text, length);
        used += (size_t)u8_uctomb(repaired + used, symbol, (ptrdiff_t)(capacity - used));
        text += step;
        length -= step;
    }
    json_t *value = json_stringn((const char *)repaired, used);
    free(repaired);
    return value;
}

json_t *json_text(const char *text)
{
    if (text == NULL)
        text = "";
    size_t length = strlen(text);
    if (length == 0 || u8_check((const uint8_t *)text, length) == NULL)
        return json_stringn(text, length);
    return repaired_text((const uint8_t *)text, length);
}

static json_t *encode_bytes(const ProtobufCBinaryData *bytes)
{
    size_t size = sodium_base64_encoded_len(bytes->len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(size);
    if (text == NULL)
        return NULL;
    sodium_bin2base64(text, size, bytes->data, bytes->len, sodium_base64_VARIANT_ORIGINAL);
    json_t *value = json_string(text);
    free(text);
    return value;
}

/* JavaScript reads numbers as doubles and would round these. */
static json_t *encode_signed_64(int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return json_string(text);
}

static json_t *encode_unsigned_64(uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

/* A later peer's enum may have values that we cannot name. */
static json_t *encode_enum(int number, const ProtobufCEnumDescriptor *type)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, number);
    return known != NULL ? json_string(known->name) : json_integer(number);
}

/* The 15 digits that are written of the largest doubles round up to what no reader can hold. */
static json_t *encode_real(double real)
{
    const double largest = 1.79769313486231e308;
    if (!isfinite(real))
        return json_null();
    return json_real(real > largest ? largest : real < -largest ? -largest : real);
}

static json_t *encode_value(const ProtobufCFieldDescriptor *field, const void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return encode_signed_64(*(const int64_t *)member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return encode_unsigned_64(*(const uint64_t *)member);
    case PROTOBUF_C_TYPE_FLOAT:
        return encode_real((double)*(const float *)member);
    case PROTOBUF_C_TYPE_DOUBLE:
        return encode_real(*(const double *)member);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)member);
    case PROTOBUF_C_TYPE_ENUM:
        return encode_enum(*(const int *)member, field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
        return json_text(*(char *const *)member);
    case PROTOBUF_C_TYPE_BYTES:
        return encode_bytes(member);
    case PROTOBUF_C_TYPE_MESSAGE:
        return encode_message(*(ProtobufCMessage *const *)member, true);
    }
    return NULL;
}

/* The functions that add to a container free the value when they fail, and fail for a NULL one. */
static json_t *encode_list(const ProtobufCFieldDescriptor *field, const char *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *element = encode_value(field, list + i * json_scalar_size(field->type));
        if (json_array_append_new(array, element) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* The value of a oneof's list member is the list inside its wrapper. */
static json_t *encode_member(const ProtobufCFieldDescriptor *field, const void *member)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return encode_value(field, member);
    const ProtobufCMessage *wrapper = *(ProtobufCMessage *const *)member;
    const ProtobufCFieldDescriptor *list = &wrapper->descriptor->fields[0];
    return encode_list(list, *(char *const *)member_of(wrapper, list->offset),
                       *(const size_t *)member_of(wrapper, list->quantifier_offset));
}

static bool is_set_in_oneof(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
           *(const uint32_t *)member_of(message, field->quantifier_offset) == field->id;
}

static json_t *encode_entry(const ProtobufCMessage *entry)
{
    const ProtobufCMessageDescriptor *type = entry->descriptor;
    for (unsigned i = 1; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (strcmp(field->name, "value") == 0 || is_set_in_oneof(entry, field))
            return encode_member(field, member_of(entry, field->offset));
    }
    return json_null();
}

static json_t *encode_map(ProtobufCMessage *const *entries, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *key = json_text(*(char *const *)member_of(entries[i], entries[i]->descriptor->fields[0].offset));
        int failed = json_object_set_new(object, json_string_value(key), encode_entry(entries[i]));
        json_decref(key);
        if (failed != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* True when a field of a message is not worth its name: the rules are in json_rpc.h. */
static bool is_left_out(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, bool nested)
{
    const void *member = member_of(message, field->offset);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return !is_set_in_oneof(message, field);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return nested && *(const size_t *)member_of(message, field->quantifier_offset) == 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)member == NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return nested && (*(char *const *)member == NULL || **(char *const *)member == '\0');
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return nested && ((const ProtobufCBinaryData *)member)->len == 0;
    return false;
}

static json_t *encode_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *member = member_of(message, field->offset);
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return encode_value(field, member);
    size_t count = *(const size_t *)member_of(message, field->quantifier_offset);
    if (json_field_is_map(field))
        return encode_map(*(ProtobufCMessage * *const *)member, count);
    return encode_list(field, *(char *const *)member, count);
}

static json_t *encode_message(const ProtobufCMessage *message, bool nested)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    json_t *object = json_object();
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (is_left_out(message, field, nested))
            continue;
        if (json_object_set_new(object, field->name, encode_field(message, field)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *json_rpc_encode(const ProtobufCMessage *message)
{
    return encode_message(message, false);
}
