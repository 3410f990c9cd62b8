/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_scalar.h"

#include "proto/json_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_SIZE   40
#define WHOLE_REAL_MAX     9007199254740992.0 /* 2^53: beyond it a double does not know its last digit */
#define NUMBER_TEXT_DIGITS 15                 /* what a double always keeps */

bool decoder_fail(const struct decoder *d, const struct place *at, enum status_code code, const char *reason,
                  const char *format, ...)
{
    char message[sizeof d->st->message], path[sizeof d->st->field];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    place_write(at, path, sizeof path);
    return status_fail_field(d->st, code, reason, path, "%s", message);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

bool decoder_wrong_type(const struct decoder *d, const struct place *at, const json_t *value, const char *expected)
{
    return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "WRONG_TYPE", "expected %s, got %s", expected,
                        type_name(value));
}

static bool out_of_range(const struct decoder *d, const struct place *at, const char *type)
{
    return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "number does not fit %s", type);
}

void *decoder_take(const struct decoder *d, size_t count, size_t size, const struct place *at)
{
    size_t bytes;
    void *block = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes))
        block = d->allocator != NULL ? d->allocator->alloc(d->allocator->allocator_data, bytes) : malloc(bytes);
    if (block == NULL) {
        decoder_fail(d, at, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "request needs more memory than one may have");
        return NULL;
    }
    return memset(block, 0, bytes);
}

static void give_back(const struct decoder *d, void *block)
{
    if (d->allocator != NULL)
        d->allocator->free(d->allocator->allocator_data, block);
    else
        free(block);
}

char *decoder_copy_text(const struct decoder *d, const char *text, size_t length, const struct place *at)
{
    char *copy = decoder_take(d, 1, length + 1, at);
    if (copy != NULL)
        memcpy(copy, text, length);
    return copy;
}

size_t json_scalar_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return sizeof(void *);
}

static enum json_whole whole_text(const char *text, int64_t *whole)
{
    size_t digits = strspn(text + (text[0] == '-'), "0123456789");
    if (digits == 0 || text[digits + (text[0] == '-')] != '\0')
        return JSON_WHOLE_NOT;
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (errno == ERANGE)
        return JSON_WHOLE_TOO_LARGE;
    *whole = number;
    return JSON_WHOLE;
}

enum json_whole json_whole_number(const json_t *value, bool text_allowed, int64_t *whole)
{
    if (json_is_string(value) && text_allowed)
        return whole_text(json_string_value(value), whole);
    if (json_is_integer(value)) {
        *whole = json_integer_value(value);
        return JSON_WHOLE;
    }
    double real = json_real_value(value);
    if (!json_is_real(value) || trunc(real) != real)
        return JSON_WHOLE_NOT;
    if (fabs(real) > WHOLE_REAL_MAX)
        return JSON_WHOLE_TOO_LARGE;
    *whole = (int64_t)real;
    return JSON_WHOLE;
}

static bool decode_whole(const struct decoder *d, const json_t *value, bool text_allowed, int64_t least, int64_t most,
                         int64_t *whole, const struct place *at)
{
    int64_t number = 0;
    enum json_whole result = json_whole_number(value, text_allowed, &number);
    if (result == JSON_WHOLE_NOT && (json_is_real(value) || json_is_string(value)))
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "WRONG_TYPE", "expected a whole number");
    if (result == JSON_WHOLE_NOT)
        return decoder_wrong_type(d, at, value, "a whole number");
    if (result == JSON_WHOLE_TOO_LARGE || number < least || number > most)
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "number is not in %" PRId64 " to %" PRId64,
                            least, most);
    *whole = number;
    return true;
}

static bool decode_signed_32(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    int64_t whole;
    if (!decode_whole(d, value, false, INT32_MIN, INT32_MAX, &whole, at))
        return false;
    *(int32_t *)member = (int32_t)whole;
    return true;
}

static bool decode_unsigned_32(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    int64_t whole;
    if (!decode_whole(d, value, false, 0, UINT32_MAX, &whole, at))
        return false;
    *(uint32_t *)member = (uint32_t)whole;
    return true;
}

static bool decode_signed_64(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    return decode_whole(d, value, true, INT64_MIN, INT64_MAX, member, at);
}

/* Only text can hold the upper half: jansson's integers are signed. */
static bool decode_unsigned_64(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    const char *text = json_string_value(value);
    if (text != NULL && text[0] != '\0' && text[strspn(text, "0123456789")] == '\0') {
        errno = 0;
        unsigned long long number = strtoull(text, NULL, 10);
        if (errno == ERANGE)
            return out_of_range(d, at, "64 bits");
        *(uint64_t *)member = number;
        return true;
    }
    int64_t whole;
    if (!decode_whole(d, value, true, 0, INT64_MAX, &whole, at))
        return false;
    *(uint64_t *)member = (uint64_t)whole;
    return true;
}

static bool decode_real(const struct decoder *d, const json_t *value, bool is_float, void *member,
                        const struct place *at)
{
    if (!json_is_number(value))
        return decoder_wrong_type(d, at, value, "a number");
    double real = json_number_value(value);
    if (!isfinite(is_float ? (double)(float)real : real))
        return out_of_range(d, at, "a float");
    if (is_float)
        *(float *)member = (float)real;
    else
        *(double *)member = real;
    return true;
}

static bool decode_bool(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    if (!json_is_boolean(value))
        return decoder_wrong_type(d, at, value, "a boolean");
    *(protobuf_c_boolean *)member = json_is_true(value);
    return true;
}

static bool decode_enum(const struct decoder *d, const json_t *value, const ProtobufCEnumDescriptor *type, void *member,
                        const struct place *at)
{
    if (!json_is_string(value))
        return decoder_wrong_type(d, at, value, "a name");
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(value));
    if (known == NULL)
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "'%.48s' is not a %s",
                            json_string_value(value), type->short_name);
    *(int *)member = known->value;
    return true;
}

/* Ids and times that came as numbers. jansson writes reals the same in every locale, printf does not. */
static void number_text(const json_t *value, char text[NUMBER_TEXT_SIZE])
{
    int64_t whole;
    size_t length;
    if (json_whole_number(value, false, &whole) == JSON_WHOLE)
        length = (size_t)snprintf(text, NUMBER_TEXT_SIZE, "%" PRId64, whole);
    else
        length =
            json_dumpb(value, text, NUMBER_TEXT_SIZE - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(NUMBER_TEXT_DIGITS));
    assert(length < NUMBER_TEXT_SIZE);
    text[length] = '\0';
}

static bool decode_string(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    char number[NUMBER_TEXT_SIZE];
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (json_is_number(value)) {
        number_text(value, number);
        text = number;
        length = strlen(number);
    }
    if (text == NULL)
        return decoder_wrong_type(d, at, value, "a string");
    if (memchr(text, '\0', length) != NULL)
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "WRONG_TYPE", "string contains a NUL character");
    char *copy = decoder_copy_text(d, text, length, at);
    if (copy == NULL)
        return false;
    *(char **)member = copy;
    return true;
}

/* Both alphabets, padded or not, as protobuf's own JSON mapping accepts them. */
static bool from_base64(const char *text, size_t length, uint8_t *bytes, size_t capacity, size_t *size)
{
    static const int variants[] = {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
                                   sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_URLSAFE_NO_PADDING};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (sodium_base642bin(bytes, capacity, text, length, NULL, size, NULL, variants[i]) == 0)
            return true;
    }
    return false;
}

static bool decode_bytes(const struct decoder *d, const json_t *value, void *member, const struct place *at)
{
    if (!json_is_string(value))
        return decoder_wrong_type(d, at, value, "a base64 string");
    size_t length = json_string_length(value), size = 0;
    if (length == 0)
        return true;
    size_t capacity = length / 4 * 3 + 3;
    uint8_t *bytes = decoder_take(d, 1, capacity, at);
    if (bytes == NULL)
        return false;
    if (!from_base64(json_string_value(value), length, bytes, capacity, &size)) {
        give_back(d, bytes);
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "BAD_BASE64", "string is not base64");
    }
    *(ProtobufCBinaryData *)member = (ProtobufCBinaryData){.len = size, .data = bytes};
    return true;
}

bool json_decode_scalar(const struct decoder *d, const json_t *value, const ProtobufCFieldDescriptor *field,
                        void *member, const struct place *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return decode_signed_32(d, value, member, at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return decode_unsigned_32(d, value, member, at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return decode_signed_64(d, value, member, at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return decode_unsigned_64(d, value, member, at);
    case PROTOBUF_C_TYPE_FLOAT:
        return decode_real(d, value, true, member, at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return decode_real(d, value, false, member, at);
    case PROTOBUF_C_TYPE_BOOL:
        return decode_bool(d, value, member, at);
    case PROTOBUF_C_TYPE_ENUM:
        return decode_enum(d, value, field->descriptor, member, at);
    case PROTOBUF_C_TYPE_STRING:
        return decode_string(d, value, member, at);
    case PROTOBUF_C_TYPE_BYTES:
        return decode_bytes(d, value, member, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    assert(!"a message is no scalar");
    return false;
}
