/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/json_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static bool parse(struct json_rpc_call *call, const char *text, struct status *st)
{
    return json_rpc_parse(call, text, strlen(text), st);
}

Test(json_rpc, json_is_told_from_protobuf)
{
    cr_expect(json_rpc_recognise("{", 1));
    cr_expect(json_rpc_recognise(" \t\r\n[1]", 7));
    cr_expect_not(json_rpc_recognise("", 0));
    cr_expect_not(json_rpc_recognise("  ", 2));
    cr_expect_not(json_rpc_recognise("\0{", 2));
    cr_expect_not(json_rpc_recognise("\x08\x01{", 3));
}

Test(json_rpc, a_call_is_read)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    cr_assert(parse(&call, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":{\"text\":\"hi\"}}", &st));
    cr_expect_str_eq(call.method, "ping");
    cr_expect_eq(json_integer_value(call.id), 7);
    cr_expect_str_eq(json_string_value(json_object_get(call.params, "text")), "hi");
    cr_expect_eq(call.timeout_ms, 0);
    cr_expect_null(call.idempotency_key);
    cr_expect_null(call.traceparent);
    json_rpc_close(&call);
    cr_expect_null(call.root);
    json_rpc_close(&call);
}

Test(json_rpc, params_and_id_may_be_absent_or_null)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    cr_assert(parse(&call, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}", &st));
    cr_expect_null(call.params);
    cr_expect_null(call.id);
    json_rpc_close(&call);
    cr_assert(parse(&call, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":null,\"id\":null}", &st));
    cr_expect_null(call.params);
    cr_expect(json_is_null(call.id));
    json_rpc_close(&call);
}

Test(json_rpc, options_leave_params_and_live_as_long_as_the_call)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    cr_assert(
        parse(&call,
              "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"timeoutMs\":250.0,\"idempotency_key\":\"once\","
              "\"traceparent\":\"" TRACE "\",\"user\":\"ada\"}}",
              &st),
        "%s", st.message);
    cr_expect_eq(call.timeout_ms, 250);
    cr_expect_str_eq(call.idempotency_key, "once");
    cr_expect_str_eq(call.traceparent, TRACE);
    cr_expect_eq(json_object_size(call.params), 1);
    json_rpc_close(&call);
}

Test(json_rpc, a_trace_that_is_none_is_dropped)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    cr_assert(parse(&call, "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"traceparent\":\"a\\nb\"}}", &st));
    cr_expect_null(call.traceparent);
    cr_expect_eq(json_object_size(call.params), 0);
    json_rpc_close(&call);
}

Test(json_rpc, calls_that_are_none_are_refused)
{
    static const struct {
        const char *text, *reason, *field;
    } cases[] = {
        {"", "BAD_JSON", ""},
        {"{", "BAD_JSON", ""},
        {"{} {}", "BAD_JSON", ""},
        {"\"ping\"", "BAD_JSON", ""},
        {"{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\",\"method\":\"m\"}", "BAD_JSON", ""},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"user\":\"a\\u0000b\"}}", "BAD_JSON", ""},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"user\":\"\xff\"}}", "BAD_JSON", ""},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"n\":99999999999999999999}}", "BAD_JSON", ""},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"n\":NaN}}", "BAD_JSON", ""},
        {"[{\"jsonrpc\":\"2.0\",\"method\":\"m\"}]", "BAD_CALL", ""},
        {"{\"method\":\"m\"}", "BAD_CALL", "jsonrpc"},
        {"{\"jsonrpc\":2.0,\"method\":\"m\"}", "BAD_CALL", "jsonrpc"},
        {"{\"jsonrpc\":\"1.0\",\"method\":\"m\"}", "BAD_CALL", "jsonrpc"},
        {"{\"jsonrpc\":\"2.0\"}", "BAD_CALL", "method"},
        {"{\"jsonrpc\":\"2.0\",\"method\":1}", "BAD_CALL", "method"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[1]}", "BAD_CALL", "params"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":{}}", "BAD_CALL", "id"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"timeout_ms\":5}", "BAD_CALL", "timeout_ms"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"timeout_ms\":-1}}", "BAD_CALL", "timeout_ms"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"timeout_ms\":4294967296}}", "BAD_CALL", "timeout_ms"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"timeout_ms\":1,\"timeoutMs\":1}}", "BAD_CALL",
         "timeoutMs"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"idempotency_key\":5}}", "BAD_CALL", "idempotency_key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_rpc_call call;
        struct status st = STATUS_INIT;
        cr_expect_not(parse(&call, cases[i].text, &st), "%s", cases[i].text);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT, "%s", cases[i].text);
        cr_expect_str_eq(st.reason, cases[i].reason, "%s: %s", cases[i].text, st.message);
        cr_expect_str_eq(st.field, cases[i].field, "%s: %s", cases[i].text, st.field);
        json_rpc_close(&call);
    }
}

Test(json_rpc, the_id_is_known_though_the_call_is_bad)
{
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    cr_assert_not(parse(&call, "{\"jsonrpc\":\"1.0\",\"id\":\"a7\",\"method\":\"m\"}", &st));
    cr_assert_not_null(call.id);
    cr_expect_str_eq(json_string_value(call.id), "a7");
    json_rpc_close(&call);
}

/* `depth` containers in all, the call and its params included. */
static bool parse_nested(size_t depth)
{
    char text[400] = "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"x\":";
    size_t length = strlen(text);
    struct json_rpc_call call;
    struct status st = STATUS_INIT;
    for (size_t i = 2; i < depth; i++)
        text[length++] = '[';
    for (size_t i = 2; i < depth; i++)
        text[length++] = ']';
    memcpy(text + length, "}}", 3);
    bool ok = parse(&call, text, &st);
    json_rpc_close(&call);
    return ok;
}

Test(json_rpc, nesting_has_a_limit)
{
    cr_expect(parse_nested(JSON_RPC_DEPTH_MAX));
    cr_expect_not(parse_nested(JSON_RPC_DEPTH_MAX + 1));
}

Test(json_rpc, a_request_is_decoded)
{
    struct status st = STATUS_INIT;
    Recsys__RecommendRequest *request = decode(
        "{\"user\":\"Zo\xc3\xab\",\"n\":5,\"exclude\":[\"a\",\"b\"],\"exclude_seen\":false,\"seen\":{\"behaviours\":"
        "[\"purchase\"],\"within_ms\":\"9007199254740993\"},\"weights\":{\"text\":0.7,\"image\":2},\"model\":null}",
        &recsys__recommend_request__descriptor, &st);
    cr_assert_not_null(request, "%s %s", st.field, st.message);
    cr_expect_str_eq(request->user, "Zo\xc3\xab");
    cr_expect_eq(request->_n_case, RECSYS__RECOMMEND_REQUEST___N_N);
    cr_expect_eq(request->n, 5);
    cr_expect_eq(request->n_exclude, 2);
    cr_expect_str_eq(request->exclude[1], "b");
    cr_expect_eq(request->_exclude_seen_case, RECSYS__RECOMMEND_REQUEST___EXCLUDE_SEEN_EXCLUDE_SEEN);
    cr_expect_eq(request->exclude_seen, 0);
    cr_expect_eq(request->seen->within_ms, INT64_C(9007199254740993));
    cr_expect_eq(request->n_weights, 2);
    cr_expect_str_eq(request->weights[1]->key, "image");
    cr_expect_eq(request->weights[1]->value, 2.0);
    cr_expect_str_empty(request->model);
    release(request);
}

Test(json_rpc, absent_is_not_zero)
{
    struct status st = STATUS_INIT;
    Recsys__RecommendRequest *request =
        (Recsys__RecommendRequest *)json_rpc_decode(NULL, &recsys__recommend_request__descriptor, NULL, &st);
    cr_assert_not_null(request);
    cr_expect_eq(request->_n_case, RECSYS__RECOMMEND_REQUEST___N__NOT_SET);
    release(request);
    request = decode("{\"n\":null,\"exclude_seen\":null}", &recsys__recommend_request__descriptor, &st);
    cr_assert_not_null(request);
    cr_expect_eq(request->_n_case, RECSYS__RECOMMEND_REQUEST___N__NOT_SET);
    cr_expect_eq(request->_exclude_seen_case, RECSYS__RECOMMEND_REQUEST___EXCLUDE_SEEN__NOT_SET);
    release(request);
}

Test(json_rpc, attributes_find_the_member_that_fits)
{
    struct status st = STATUS_INIT;
    Recsys__ItemPutRequest *request = decode(
        "{\"items\":[{\"item\":\"x\",\"attributes\":{\"s\":\"red\",\"d\":4.5,\"b\":true,\"l\":[\"p\",7],\"e\":[],"
        "\"none\":null}}]}",
        &recsys__item_put_request__descriptor, &st);
    cr_assert_not_null(request, "%s %s", st.field, st.message);
    Recsys__Attribute **attributes = request->items[0]->attributes;
    cr_assert_eq(request->items[0]->n_attributes, 6);
    cr_expect_eq(attributes[0]->value_case, RECSYS__ATTRIBUTE__VALUE_TEXT);
    cr_expect_str_eq(attributes[0]->text, "red");
    cr_expect_eq(attributes[1]->value_case, RECSYS__ATTRIBUTE__VALUE_NUMBER);
    cr_expect_eq(attributes[1]->number, 4.5);
    cr_expect_eq(attributes[2]->value_case, RECSYS__ATTRIBUTE__VALUE_FLAG);
    cr_expect(attributes[2]->flag);
    cr_assert_eq(attributes[3]->value_case, RECSYS__ATTRIBUTE__VALUE_LIST);
    cr_assert_eq(attributes[3]->list->n_values, 2);
    cr_expect_str_eq(attributes[3]->list->values[1], "7");
    cr_assert_eq(attributes[4]->value_case, RECSYS__ATTRIBUTE__VALUE_LIST);
    cr_expect_eq(attributes[4]->list->n_values, 0);
    cr_expect_eq(attributes[5]->value_case, RECSYS__ATTRIBUTE__VALUE__NOT_SET);
    cr_expect_str_eq(attributes[5]->key, "none");
    release(request);
}

Test(json_rpc, numbers_become_the_text_of_ids_and_times)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"42", "42"},
        {"-7", "-7"},
        {"9223372036854775807", "9223372036854775807"},
        {"1400000000000.0", "1400000000000"},
        {"1400000000.25", "1400000000.25"},
        {"1.4e12", "1400000000000"},
        {"0.1", "0.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[100];
        struct status st = STATUS_INIT;
        snprintf(json, sizeof json, "{\"user\":%s,\"now\":%s}", cases[i].json, cases[i].json);
        Recsys__RecommendRequest *request = decode(json, &recsys__recommend_request__descriptor, &st);
        cr_assert_not_null(request, "%s", cases[i].json);
        cr_expect_str_eq(request->user, cases[i].text, "%s gave %s", cases[i].json, request->user);
        cr_expect_str_eq(request->now, cases[i].text);
        release(request);
    }
}

Test(json_rpc, values_that_do_not_fit_are_named)
{
    static const struct {
        const char *text;
        const ProtobufCMessageDescriptor *type;
        const char *reason, *field;
    } cases[] = {
        {"{\"user\":true}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "user"},
        {"{\"user\":{}}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "user"},
        {"{\"user\":\"a\\u0000b\"}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "user"},
        {"{\"n\":\"5\"}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "n"},
        {"{\"n\":1.5}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "n"},
        {"{\"n\":2147483648}", &recsys__recommend_request__descriptor, "OUT_OF_RANGE", "n"},
        {"{\"n\":1e300}", &recsys__recommend_request__descriptor, "OUT_OF_RANGE", "n"},
        {"{\"exclude_seen\":1}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "exclude_seen"},
        {"{\"exclude\":[\"a\",null]}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "exclude[1]"},
        {"{\"seen\":[]}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "seen"},
        {"{\"seen\":{\"within_ms\":\"9223372036854775808\"}}", &recsys__recommend_request__descriptor, "OUT_OF_RANGE",
         "seen.within_ms"},
        {"{\"seen\":{\"within_ms\":\"soon\"}}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "seen.within_ms"},
        {"{\"weights\":[{\"key\":\"text\",\"value\":1}]}", &recsys__recommend_request__descriptor, "WRONG_TYPE",
         "weights"},
        {"{\"weights\":{\"text\":\"much\"}}", &recsys__recommend_request__descriptor, "WRONG_TYPE", "weights.text"},
        {"{\"events\":[{},{},{},{\"user\":[]}]}", &recsys__event_add_request__descriptor, "WRONG_TYPE",
         "events[3].user"},
        {"{\"events\":[{},7]}", &recsys__event_add_request__descriptor, "WRONG_TYPE", "events[1]"},
        {"{\"items\":{\"attributes\":{\"a\":{}}}}", &recsys__item_put_request__descriptor, "WRONG_TYPE",
         "items.attributes.a"},
        {"{\"items\":[{\"attributes\":{\"a\":[\"x\",[]]}}]}", &recsys__item_put_request__descriptor, "WRONG_TYPE",
         "items[0].attributes.a[1]"},
        {"{\"raw\":\"***\"}", &recsys__feature_put_request__descriptor, "BAD_BASE64", "raw"},
        {"{\"raw\":\"AAA\\u0000\"}", &recsys__feature_put_request__descriptor, "BAD_BASE64", "raw"},
        {"{\"raw\":5}", &recsys__feature_put_request__descriptor, "WRONG_TYPE", "raw"},
        {"{\"rows\":[{\"values\":[1,1e300]}]}", &recsys__feature_put_request__descriptor, "OUT_OF_RANGE",
         "rows[0].values[1]"},
        {"{\"code\":-1}", &recsys__reply_header__descriptor, "OUT_OF_RANGE", "code"},
        {"{\"server_us\":-1}", &recsys__reply_header__descriptor, "OUT_OF_RANGE", "server_us"},
        {"{\"server_us\":\"18446744073709551616\"}", &recsys__reply_header__descriptor, "OUT_OF_RANGE", "server_us"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        cr_expect_null(decode(cases[i].text, cases[i].type, &st), "%s", cases[i].text);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT, "%s", cases[i].text);
        cr_expect_str_eq(st.reason, cases[i].reason, "%s: %s", cases[i].text, st.message);
        cr_expect_str_eq(st.field, cases[i].field, "%s: '%s'", cases[i].text, st.field);
    }
}

Test(json_rpc, a_misspelt_name_is_told_the_nearest)
{
    static const struct {
        const char *text, *field, *nearest;
    } cases[] = {
        {"{\"usr\":\"a\"}", "usr", "'user'"},
        {"{\"exlude\":[]}", "exlude", "'exclude'"},
        {"{\"exclude_sen\":true}", "exclude_sen", "'exclude_seen'"},
        {"{\"blackList\":[]}", "blackList", "'exclude'"},
        {"{\"seen\":{\"behavior\":[]}}", "seen.behavior", "'behaviours'"},
        {"{\"userid\":\"a\"}", "userid", "'user'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        cr_expect_null(decode(cases[i].text, &recsys__recommend_request__descriptor, &st));
        cr_expect_str_eq(st.reason, "UNKNOWN_FIELD");
        cr_expect_str_eq(st.field, cases[i].field);
        cr_expect_not_null(strstr(st.message, cases[i].nearest), "%s: %s", cases[i].text, st.message);
    }
    struct status st = STATUS_INIT;
    cr_expect_null(decode("{\"x\":1}", &recsys__status_request__descriptor, &st));
    cr_expect_str_eq(st.reason, "UNKNOWN_FIELD");
}

/* Each pair must decode to the same message. */
Test(json_rpc, names_of_other_systems_are_understood)
{
    static const struct {
        const char *other, *ours;
        const ProtobufCMessageDescriptor *type;
    } cases[] = {
        {"{\"userId\":\"a\",\"count\":3,\"blacklist\":\"x\",\"excludeSeen\":true,\"nowMs\":1400000000000}",
         "{\"user\":\"a\",\"n\":3,\"exclude\":[\"x\"],\"exclude_seen\":true,\"now\":\"1400000000000\"}",
         &recsys__recommend_request__descriptor},
        {"{\"targetUserId\":\"a\",\"maxRecommendations\":3,\"manualWeights\":{\"text\":1},\"returnProperties\":"
         "\"title\"}",
         "{\"user\":\"a\",\"n\":3,\"weights\":{\"text\":1},\"fields\":[\"title\"]}",
         &recsys__recommend_request__descriptor},
        {"{\"item\":\"x\",\"top_k\":2,\"returnSelf\":true,\"minSeq\":\"5\",\"atSeq\":6}",
         "{\"items\":[\"x\"],\"n\":2,\"include_context\":true,\"min_seq\":\"5\",\"at_seq\":\"6\"}",
         &recsys__similar_request__descriptor},
        {"{\"user-id\":\"a\",\"candidates\":[\"x\",\"y\"],\"k\":1}", "{\"user\":\"a\",\"items\":[\"x\",\"y\"],\"n\":1}",
         &recsys__rank_request__descriptor},
        {"{\"feedback\":{\"UserId\":\"a\",\"ItemId\":\"x\",\"FeedbackType\":\"buy\",\"Timestamp\":5,\"id\":\"e1\","
         "\"Value\":2,\"attributionToken\":\"r\"},\"cascadeCreate\":true}",
         "{\"events\":[{\"user\":\"a\",\"item\":\"x\",\"behaviour\":\"buy\",\"ts\":\"5\",\"key\":\"e1\",\"value\":2,"
         "\"recomm_id\":\"r\"}],\"cascade_create\":true}",
         &recsys__event_add_request__descriptor},
        {"{\"item\":{\"itemId\":\"x\",\"name\":\"Tea\"}}", "{\"items\":[{\"item\":\"x\",\"title\":\"Tea\"}]}",
         &recsys__item_put_request__descriptor},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        ProtobufCMessage *other = decode(cases[i].other, cases[i].type, &st);
        cr_assert_not_null(other, "%s: %s %s", cases[i].other, st.field, st.message);
        ProtobufCMessage *ours = decode(cases[i].ours, cases[i].type, &st);
        cr_assert_not_null(ours, "%s: %s %s", cases[i].ours, st.field, st.message);
        json_t *a = json_rpc_encode(other), *b = json_rpc_encode(ours);
        cr_expect(json_equal(a, b), "%s", cases[i].other);
        json_decref(a);
        json_decref(b);
        release(other);
        release(ours);
    }
}

Test(json_rpc, an_alias_counts_only_where_its_field_is)
{
    struct status st = STATUS_INIT;
    cr_expect_null(decode("{\"id\":\"x\"}", &recsys__recommend_request__descriptor, &st));
    cr_expect_str_eq(st.reason, "UNKNOWN_FIELD");
    Recsys__Event *event = decode("{\"item\":\"x\"}", &recsys__event__descriptor, &st);
    cr_assert_not_null(event);
    cr_expect_str_eq(event->item, "x", "a field was taken for an alias");
    release(event);
}

Test(json_rpc, a_field_given_under_two_names_is_refused)
{
    struct status st = STATUS_INIT;
    cr_expect_null(decode("{\"user\":\"a\",\"userId\":\"b\"}", &recsys__recommend_request__descriptor, &st));
    cr_expect_str_eq(st.reason, "UNKNOWN_FIELD");
    cr_expect_str_eq(st.field, "userId");
    cr_expect_null(decode("{\"text\":\"a\",\"flag\":true}", &recsys__attribute__descriptor, &st));
    cr_expect_str_eq(st.field, "flag", "two members of a oneof");
}

Test(json_rpc, base64_of_every_flavour)
{
    static const char *const texts[] = {"+/8AgA==", "+/8AgA", "-_8AgA==", "-_8AgA"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char json[40];
        struct status st = STATUS_INIT;
        snprintf(json, sizeof json, "{\"raw\":\"%s\"}", texts[i]);
        Recsys__FeaturePutRequest *request = decode(json, &recsys__feature_put_request__descriptor, &st);
        cr_assert_not_null(request, "%s", texts[i]);
        cr_expect_eq(request->raw.len, 4);
        cr_expect_eq(memcmp(request->raw.data, "\xfb\xff\x00\x80", 4), 0);
        release(request);
    }
}

struct counted {
    size_t left;   /* allocations until it refuses */
    size_t blocks; /* not freed yet */
};

static void *counted_alloc(void *data, size_t size)
{
    struct counted *counted = data;
    if (counted->left == 0)
        return NULL;
    counted->left--;
    counted->blocks++;
    return malloc(size);
}

static void counted_free(void *data, void *block)
{
    ((struct counted *)data)->blocks--;
    free(block);
}

Test(json_rpc, an_allocator_may_refuse_at_any_time)
{
    json_t *params =
        json_loads("{\"items\":[{\"item\":\"x\",\"title\":\"t\",\"categories\":[\"a\",\"b\"],\"attributes\":"
                   "{\"s\":\"v\",\"l\":[\"p\",\"q\"]}},{\"item\":\"y\"}]}",
                   0, NULL);
    ProtobufCMessage *message = NULL;
    size_t refusals = 0;
    for (size_t left = 0; message == NULL && left < 100; left++) {
        struct counted counted = {.left = left};
        ProtobufCAllocator allocator = {.alloc = counted_alloc, .free = counted_free, .allocator_data = &counted};
        struct status st = STATUS_INIT;
        message = json_rpc_decode(params, &recsys__item_put_request__descriptor, &allocator, &st);
        if (message == NULL) {
            refusals++;
            cr_expect_str_eq(st.reason, "TOO_LARGE");
            cr_expect_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
        }
        protobuf_c_message_free_unpacked(message, &allocator);
        cr_expect_eq(counted.blocks, 0, "lost after %zu allocations", left);
    }
    cr_expect_not_null(message);
    cr_expect_gt(refusals, 10);
    json_decref(params);
}

Test(json_rpc, replies_are_json_rpc)
{
    size_t size = 0;
    json_t *id = json_string("a7");
    char *text = json_rpc_result(id, json_object(), &size);
    cr_expect_str_eq(text, "{\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"result\":{}}");
    cr_expect_eq(size, strlen(text));
    free(text);
    struct status st = STATUS_INIT;
    status_fail(&st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", "no '%s'", "x");
    text = json_rpc_error(NULL, &st, &size);
    cr_expect_str_eq(text, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":5,\"message\":\"no 'x'\",\"data\":{"
                           "\"reason\":\"UNKNOWN_ITEM\"}}}");
    cr_expect_eq(size, strlen(text));
    free(text);
    status_fail_field(&st, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "n", "full");
    st.retry_after_ms = 30;
    text = json_rpc_error(id, &st, &size);
    cr_expect_not_null(strstr(text, "\"data\":{\"reason\":\"QUEUE_FULL\",\"field\":\"n\",\"retry_after_ms\":30}"), "%s",
                       text);
    free(text);
    json_decref(id);
}
