/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests for lists, as JSON: whatever is read as one becomes rules or a refusal that names a field, and what caps and knobs say is in range. */
#include "daemon/list_fields.h"
#include "proto/json_rpc.h"

#include <math.h>
#include <stdlib.h>

static const ProtobufCMessageDescriptor *const list_types[] = {
    &recsys__recommend_request__descriptor, &recsys__rank_request__descriptor, &recsys__similar_request__descriptor,
    &recsys__top_request__descriptor, &recsys__complement_request__descriptor};

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static bool is_knob(float value)
{
    return value >= 0 && value <= 1;
}

static void check(const struct rules *rules)
{
    expect(rules->cap_count <= RULES_CAPS_MAX && rules->boost_count <= RULES_BOOSTS_MAX &&
           rules->promotion_count <= RULES_PROMOTIONS_MAX);
    for (size_t i = 0; i < rules->cap_count; i++)
        expect(rules->caps[i].most >= 1 && (rules->caps[i].window == 0 || rules->caps[i].window > rules->caps[i].most));
    for (size_t i = 0; i < rules->boost_count; i++)
        expect(isfinite(rules->boosts[i].add));
    for (size_t i = 0; i < rules->promotion_count; i++)
        expect(rules->promotions[i].share > 0 && rules->promotions[i].share <= 1);
    for (size_t i = 0; i < rules->filter.must_count; i++)
        expect(rules->filter.must[i].field[0] != '\0' && rules->filter.must[i].any_count <= RULES_VALUES_MAX);
    expect(is_knob(rules->diversity) && is_knob(rules->novelty) && is_knob(rules->serendipity) &&
           is_knob(rules->calibration) && is_knob(rules->exploration) && is_knob(rules->rotation));
    expect(rules->rotation_ms > 0 && rules->price_ceiling >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *params = size < 2 ? NULL : json_loadb((const char *)data + 1, size - 1, 0, NULL);
    struct status st = STATUS_INIT;
    const ProtobufCMessageDescriptor *type =
        list_types[size == 0 ? 0 : data[0] % (sizeof list_types / sizeof *list_types)];
    ProtobufCMessage *message = json_is_object(params) ? json_rpc_decode(params, type, NULL, &st) : NULL;
    if (message != NULL) {
        struct list_fields fields;
        struct arena arena;
        struct rules rules;
        enum engine_task task;
        arena_init(&arena, (size_t)4 << 20);
        expect(list_fields_read(message, &fields, &task));
        if (list_fields_rules(&fields, &arena, &rules, &st))
            check(&rules);
        else
            expect(st.code != STATUS_OK && (st.field[0] != '\0' || st.code == STATUS_RESOURCE_EXHAUSTED));
        arena_close(&arena);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    json_decref(params);
    return 0;
}
