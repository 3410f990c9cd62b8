/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_internal.h"
#include "proto/json_rpc.h"
#include "proto/json_scalar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 64 /* of a message; the schema has 31 */

static ProtobufCMessage *decode_message(const struct decoder *d, json_t *object, const ProtobufCMessageDescriptor *type,
                                        const struct place *at);

static void *member_of(ProtobufCMessage *message, unsigned offset)
{
    return (char *)message + offset;
}

static ProtobufCMessage *new_message(const struct decoder *d, const ProtobufCMessageDescriptor *type,
                                     const struct place *at)
{
    ProtobufCMessage *message = decoder_take(d, 1, type->sizeof_message, at);
    if (message != NULL)
        protobuf_c_message_init(type, message);
    return message;
}

static bool decode_value(const struct decoder *d, json_t *value, const ProtobufCFieldDescriptor *field, void *member,
                         const struct place *at)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return json_decode_scalar(d, value, field, member, at);
    ProtobufCMessage *message = decode_message(d, value, field->descriptor, at);
    if (message == NULL)
        return false;
    *(ProtobufCMessage **)member = message;
    return true;
}

/* The list hangs in the message, zeroed, before it is filled: whatever fails, freeing the message frees it. */
static char *new_list(const struct decoder *d, size_t count, const ProtobufCFieldDescriptor *field,
                      ProtobufCMessage *message, const struct place *at)
{
    char *list = decoder_take(d, count, json_scalar_size(field->type), at);
    if (list != NULL)
        *(void **)member_of(message, field->offset) = list;
    return list;
}

static void set_count(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t count)
{
    *(size_t *)member_of(message, field->quantifier_offset) = count;
}

static void set_case(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    *(uint32_t *)member_of(message, field->quantifier_offset) = field->id;
}

static bool decode_list(const struct decoder *d, json_t *value, const ProtobufCFieldDescriptor *field,
                        ProtobufCMessage *message, const struct place *at)
{
    bool is_array = json_is_array(value); /* else it is the only element */
    size_t count = is_array ? json_array_size(value) : 1;
    if (count == 0)
        return true;
    char *list = new_list(d, count, field, message, at);
    if (list == NULL)
        return false;
    set_count(message, field, count);
    for (size_t i = 0; i < count; i++) {
        struct place element = {.up = at, .index = i};
        void *member = list + i * json_scalar_size(field->type);
        if (!decode_value(d, is_array ? json_array_get(value, i) : value, field, member, is_array ? &element : at))
            return false;
    }
    return true;
}

static bool fits(const ProtobufCFieldDescriptor *field, const json_t *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return json_is_string(value);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_is_number(value);
    case PROTOBUF_C_TYPE_BOOL:
        return json_is_boolean(value);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_is_array(value);
    default:
        return false;
    }
}

/* A oneof cannot hold a list, so the schema wraps it: the value goes to the wrapper's only field. */
static bool decode_wrapped_list(const struct decoder *d, json_t *value, const ProtobufCFieldDescriptor *field,
                                ProtobufCMessage *entry, const struct place *at)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;
    assert(type->n_fields == 1 && type->fields[0].label == PROTOBUF_C_LABEL_REPEATED);
    ProtobufCMessage *wrapper = new_message(d, type, at);
    if (wrapper == NULL)
        return false;
    *(ProtobufCMessage **)member_of(entry, field->offset) = wrapper;
    set_case(entry, field);
    return decode_list(d, value, &type->fields[0], wrapper, at);
}

static bool decode_fitting(const struct decoder *d, json_t *value, ProtobufCMessage *entry, const struct place *at)
{
    const ProtobufCMessageDescriptor *type = entry->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 || !fits(field, value))
            continue;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            return decode_wrapped_list(d, value, field, entry, at);
        if (!decode_value(d, value, field, member_of(entry, field->offset), at))
            return false;
        set_case(entry, field);
        return true;
    }
    return decoder_wrong_type(d, at, value, "a string, number, boolean or list of strings");
}

/* One member of a JSON object that stands for a list of keys and values. */
static bool decode_entry(const struct decoder *d, const char *key, json_t *value, ProtobufCMessage *entry,
                         const struct place *at)
{
    const ProtobufCFieldDescriptor *plain = protobuf_c_message_descriptor_get_field_by_name(entry->descriptor, "value");
    char *copy = decoder_copy_text(d, key, strlen(key), at);
    if (copy == NULL)
        return false;
    *(char **)member_of(entry, entry->descriptor->fields[0].offset) = copy;
    if (plain != NULL)
        return decode_value(d, value, plain, member_of(entry, plain->offset), at);
    return json_is_null(value) || decode_fitting(d, value, entry, at);
}

static bool decode_map(const struct decoder *d, json_t *object, const ProtobufCFieldDescriptor *field,
                       ProtobufCMessage *message, const struct place *at)
{
    if (!json_is_object(object))
        return decoder_wrong_type(d, at, object, "an object");
    size_t count = json_object_size(object);
    if (count == 0)
        return true;
    ProtobufCMessage **list = (ProtobufCMessage **)(void *)new_list(d, count, field, message, at);
    if (list == NULL)
        return false;
    size_t filled = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        struct place place = {.up = at, .name = key};
        ProtobufCMessage *entry = new_message(d, field->descriptor, &place);
        if (entry == NULL)
            return false;
        list[filled++] = entry;
        set_count(message, field, filled);
        if (!decode_entry(d, key, value, entry, &place))
            return false;
    }
    return true;
}

static bool decode_field(const struct decoder *d, json_t *value, const ProtobufCFieldDescriptor *field,
                         ProtobufCMessage *message, const struct place *at)
{
    if (json_field_is_map(field))
        return decode_map(d, value, field, message, at);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return decode_list(d, value, field, message, at);
    if (!decode_value(d, value, field, member_of(message, field->offset), at))
        return false;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        set_case(message, field);
    return true;
}

static bool unknown_field(const struct decoder *d, const char *name, const ProtobufCMessageDescriptor *type,
                          const struct place *at)
{
    const ProtobufCFieldDescriptor *nearest = json_nearest_field(type, name);
    if (nearest == NULL)
        return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", "unknown field '%.48s'", name);
    return decoder_fail(d, at, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", "unknown field '%.48s', did you mean '%s'?",
                        name, nearest->name);
}

/* True when the message already has this field, under another name, or another member of its oneof. */
static bool is_given(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, uint64_t given)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &type->fields[i];
        bool same_oneof = (field->flags & other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                          field->quantifier_offset == other->quantifier_offset;
        if ((given >> i & 1) != 0 && (other == field || same_oneof))
            return true;
    }
    return false;
}

static bool decode_fields(const struct decoder *d, json_t *object, ProtobufCMessage *message, const struct place *at)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    assert(type->n_fields <= FIELDS_MAX);
    uint64_t given = 0;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        struct place place = {.up = at, .name = name};
        const ProtobufCFieldDescriptor *field = json_find_field(type, name);
        if (field == NULL)
            return unknown_field(d, name, type, &place);
        if (json_is_null(value))
            continue;
        if (is_given(message, field, given))
            return decoder_fail(d, &place, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD",
                                "'%.48s' repeats or contradicts another field that is given: '%s'", name, field->name);
        if (!decode_field(d, value, field, message, &place))
            return false;
        given |= UINT64_C(1) << (field - type->fields);
    }
    return true;
}

static ProtobufCMessage *decode_message(const struct decoder *d, json_t *object, const ProtobufCMessageDescriptor *type,
                                        const struct place *at)
{
    if (!json_is_object(object)) {
        decoder_wrong_type(d, at, object, "an object");
        return NULL;
    }
    ProtobufCMessage *message = new_message(d, type, at);
    if (message == NULL)
        return NULL;
    if (!decode_fields(d, object, message, at)) {
        protobuf_c_message_free_unpacked(message, d->allocator);
        return NULL;
    }
    return message;
}

ProtobufCMessage *json_rpc_decode(const json_t *params, const ProtobufCMessageDescriptor *type,
                                  ProtobufCAllocator *allocator, struct status *st)
{
    const struct decoder d = {.allocator = allocator, .st = st};
    if (params == NULL)
        return new_message(&d, type, NULL);
    /* jansson iterates over non-const objects only, though it does not write to them. */
    return decode_message(&d, (json_t *)params, type, NULL);
}
