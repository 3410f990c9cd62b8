/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages as JSON: what is shown, what is left out, and what JSON cannot hold. */
#include "tests/unit/json_rig.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

Test(json_encode, replies_show_their_top_level_and_leave_out_the_empty_below)
{
    Recsys__RankedItem item = RECSYS__RANKED_ITEM__INIT, *items[] = {&item};
    Recsys__Weight part = RECSYS__WEIGHT__INIT, *parts[] = {&part};
    Recsys__RankedList list = RECSYS__RANKED_LIST__INIT;
    expect_json(&list.base,
                "{\"items\":[],\"recomm_id\":\"\",\"model\":\"\",\"counts\":\"\",\"catalogue\":\"\",\"seq\":\"\","
                "\"now_ms\":\"0\",\"took_us\":\"0\",\"degraded\":[],\"shortened\":\"\",\"filled\":\"\",\"unknown\":[],"
                "\"funnel\":[],\"history\":[],\"experiment\":\"\",\"variant\":\"\"}",
                "empty list");
    item.item = "x";
    item.score = 0.1;
    list.items = items;
    list.n_items = 1;
    list.now_ms = INT64_C(9007199254740993);
    json_t *value = json_rpc_encode(&list.base);
    cr_expect_str_eq(json_string_value(json_object_get(value, "now_ms")), "9007199254740993");
    json_decref(value);
    expect_json(
        &item.base,
        "{\"item\":\"x\",\"score\":0.1,\"source\":\"\",\"parts\":{},\"label\":\"\",\"terms\":[],\"reason\":\"\"}",
        "item at the top");
    part.key = "text";
    part.value = -0.25;
    item.parts = parts;
    item.n_parts = 1;
    value = json_rpc_encode(&list.base);
    char *text = json_dumps(json_object_get(value, "items"), JSON_COMPACT);
    cr_expect_str_eq(text, "[{\"item\":\"x\",\"score\":0.10000000000000001,\"parts\":{\"text\":-0.25}}]", "%s", text);
    free(text);
    json_decref(value);
}

Test(json_encode, an_item_survives_both_ways)
{
    static const char text[] =
        "{\"item\":\"x\",\"title\":\"\",\"categories\":[\"a\"],\"price\":0.0,\"available\":false,\"created\":\"\","
        "\"expires\":\"never\",\"attributes\":{\"s\":\"red\",\"d\":4.5,\"b\":true,\"l\":[\"p\"],\"none\":null},"
        "\"features\":[{\"modality\":\"text\",\"dimension\":3}],\"deleted\":true}";
    struct status st = STATUS_INIT;
    ProtobufCMessage *item = decode(text, &recsys__item__descriptor, &st);
    cr_assert_not_null(item, "%s %s", st.field, st.message);
    expect_json(item, text, "item");
    release(item);
}

Test(json_encode, what_json_cannot_hold_is_replaced)
{
    Recsys__RankedItem item = RECSYS__RANKED_ITEM__INIT;
    item.item = "a\xff"
                "b\xe2\x82";
    item.source = NULL;
    item.score = NAN;
    expect_json(
        &item.base,
        "{\"item\":\"a\xef\xbf\xbd"
        "b\xef\xbf\xbd\",\"score\":null,\"source\":\"\",\"parts\":{},\"label\":\"\",\"terms\":[],\"reason\":\"\"}",
        "item");
    Recsys__ReplyHeader header = RECSYS__REPLY_HEADER__INIT;
    header.request_id = UINT64_MAX;
    header.code = UINT32_MAX;
    json_t *value = json_rpc_encode(&header.base);
    cr_expect_str_eq(json_string_value(json_object_get(value, "request_id")), "18446744073709551615");
    cr_expect_eq(json_integer_value(json_object_get(value, "code")), UINT32_MAX);
    json_decref(value);
}

/* The schema has no enum yet; a descriptor by hand stands for one. */
struct paint {
    ProtobufCMessage base;
    int colour;
};

static const ProtobufCEnumValue colours[] = {{"NONE", "NONE", 0}, {"RED", "RED", 4}};
static const ProtobufCEnumValueIndex colours_by_name[] = {{"NONE", 0}, {"RED", 1}};
static const ProtobufCIntRange colour_ranges[] = {{0, 0}, {4, 1}, {0, 2}};
static const ProtobufCEnumDescriptor colour_type = {
    .magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC,
    .short_name = "Colour",
    .n_values = 2,
    .values = colours,
    .n_value_names = 2,
    .values_by_name = colours_by_name,
    .n_value_ranges = 2,
    .value_ranges = colour_ranges,
};
static const ProtobufCFieldDescriptor paint_fields[] = {{.name = "colour",
                                                         .id = 1,
                                                         .label = PROTOBUF_C_LABEL_NONE,
                                                         .type = PROTOBUF_C_TYPE_ENUM,
                                                         .offset = offsetof(struct paint, colour),
                                                         .descriptor = &colour_type}};
static const unsigned paint_by_name[] = {0};
static const ProtobufCMessageDescriptor paint_type;

static void paint_init(ProtobufCMessage *message)
{
    *(struct paint *)message = (struct paint){.base = PROTOBUF_C_MESSAGE_INIT(&paint_type)};
}

static const ProtobufCMessageDescriptor paint_type = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .short_name = "Paint",
    .sizeof_message = sizeof(struct paint),
    .n_fields = 1,
    .fields = paint_fields,
    .fields_sorted_by_name = paint_by_name,
    .message_init = paint_init,
};

Test(json_encode, enums_go_by_name)
{
    struct status st = STATUS_INIT;
    struct paint *paint = decode("{\"colour\":\"RED\"}", &paint_type, &st);
    cr_assert_not_null(paint, "%s", st.message);
    cr_expect_eq(paint->colour, 4);
    expect_json(&paint->base, "{\"colour\":\"RED\"}", "known");
    paint->colour = 9;
    expect_json(&paint->base, "{\"colour\":9}", "of a later version");
    release(paint);
    cr_expect_null(decode("{\"colour\":\"BLUE\"}", &paint_type, &st));
    cr_expect_str_eq(st.reason, "OUT_OF_RANGE");
}
