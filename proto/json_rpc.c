/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_rpc.h"

#include "proto/json_internal.h"
#include "proto/traceparent.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define IDEMPOTENCY_KEY_MAX 128 /* bytes, as in the protobuf envelope */
#define DUMP_FLAGS          (JSON_COMPACT | JSON_REAL_PRECISION(15))

bool json_rpc_recognise(const void *data, size_t size)
{
    const char *text = data;
    for (size_t i = 0; i < size; i++) {
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0')
            return text[i] == '{' || text[i] == '[';
    }
    return false;
}

static bool __attribute__((format(printf, 3, 4)))
bad_call(struct status *st, const char *field, const char *format, ...)
{
    char message[sizeof st->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CALL", field, "%s", message);
}

/* True when `value` nests at most `depth` containers. */
static bool is_shallow(json_t *value, int depth)
{
    if (!json_is_object(value) && !json_is_array(value))
        return true;
    if (depth == 0)
        return false;
    const char *key;
    size_t index;
    json_t *child;
    json_object_foreach(value, key, child)
    {
        if (!is_shallow(child, depth - 1))
            return false;
    }
    json_array_foreach(value, index, child)
    {
        if (!is_shallow(child, depth - 1))
            return false;
    }
    return true;
}

static bool read_id(struct json_rpc_call *call, struct status *st)
{
    const json_t *id = json_object_get(call->root, "id");
    if (id != NULL && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
        return bad_call(st, "id", "id is neither string, number nor null");
    call->id = id;
    return true;
}

/* An option beside params instead of inside would otherwise be ignored without a word. */
static bool check_members(json_t *root, struct status *st)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "jsonrpc") != 0 && strcmp(name, "id") != 0 && strcmp(name, "method") != 0 &&
            strcmp(name, "params") != 0)
            return bad_call(st, name,
                            "call has an unknown member '%.48s'; what belongs to the request goes into params", name);
    }
    return true;
}

static bool read_call(struct json_rpc_call *call, struct status *st)
{
    const char *version = json_string_value(json_object_get(call->root, "jsonrpc"));
    const char *method = json_string_value(json_object_get(call->root, "method"));
    json_t *params = json_object_get(call->root, "params");
    if (version == NULL || strcmp(version, "2.0") != 0)
        return bad_call(st, "jsonrpc", "jsonrpc is not \"2.0\"");
    if (method == NULL)
        return bad_call(st, "method", "method is missing or not a string");
    if (params != NULL && !json_is_object(params) && !json_is_null(params))
        return bad_call(st, "params", "params is not an object; parameters are given by name");
    call->method = method;
    call->params = json_is_object(params) ? params : NULL;
    return true;
}

/* Move a member of params to the call itself, so that it is no field of the request and lives as long. `*value` is
 * NULL when it is absent or null. */
static bool take_option(struct json_rpc_call *call, const char *name, const char *alias, const json_t **value,
                        struct status *st)
{
    const json_t *by_alias = json_object_get(call->params, alias);
    const char *spelled = by_alias != NULL ? alias : name;
    json_t *option = json_object_get(call->params, spelled);
    *value = NULL;
    if (option == NULL)
        return true;
    if (spelled == alias && json_object_get(call->params, name) != NULL)
        return bad_call(st, alias, "'%s' and '%s' are the same option", alias, name);
    if (json_object_set(call->root, name, option) != 0)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE", "out of memory");
    json_object_del(call->params, spelled);
    if (!json_is_null(option))
        *value = option;
    return true;
}

static bool take_timeout(struct json_rpc_call *call, struct status *st)
{
    const json_t *value;
    int64_t timeout_ms = 0;
    if (!take_option(call, "timeout_ms", "timeoutMs", &value, st))
        return false;
    if (value == NULL)
        return true;
    if (json_whole_number(value, false, &timeout_ms) != JSON_WHOLE || timeout_ms < 0 || timeout_ms > UINT32_MAX)
        return bad_call(st, "timeout_ms", "timeout_ms is not a whole number in 0 to %" PRIu32, UINT32_MAX);
    call->timeout_ms = (uint32_t)timeout_ms;
    return true;
}

static bool take_idempotency_key(struct json_rpc_call *call, struct status *st)
{
    const json_t *value;
    if (!take_option(call, "idempotency_key", "idempotencyKey", &value, st))
        return false;
    if (value == NULL)
        return true;
    if (!json_is_string(value) || json_string_length(value) > IDEMPOTENCY_KEY_MAX)
        return bad_call(st, "idempotency_key", "idempotency_key is not a string of at most %d bytes",
                        IDEMPOTENCY_KEY_MAX);
    call->idempotency_key = json_string_value(value);
    return true;
}

/* As in the protobuf envelope, a trace context that is not one is dropped, never an error. */
static bool take_traceparent(struct json_rpc_call *call, struct status *st)
{
    const json_t *value;
    if (!take_option(call, "traceparent", "traceParent", &value, st))
        return false;
    const char *text = json_string_value(value);
    if (text != NULL && traceparent_valid(text))
        call->traceparent = text;
    return true;
}

bool json_rpc_parse(struct json_rpc_call *call, const char *text, size_t size, struct status *st)
{
    *call = (struct json_rpc_call){0};
    json_error_t error;
    call->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (call->root == NULL)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_JSON", "not JSON at byte %d: %s", error.position,
                           error.text);
    if (!json_is_object(call->root))
        return bad_call(st, "", "call is not an object; batches are not supported");
    if (!read_id(call, st))
        return false;
    if (!is_shallow(call->root, JSON_RPC_DEPTH_MAX))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_JSON", "nested deeper than %d", JSON_RPC_DEPTH_MAX);
    return check_members(call->root, st) && read_call(call, st) && take_timeout(call, st) &&
           take_idempotency_key(call, st) && take_traceparent(call, st);
}

void json_rpc_close(struct json_rpc_call *call)
{
    json_decref(call->root);
    *call = (struct json_rpc_call){0};
}

/* The reply around `outcome`, which is consumed. Adding NULL to an object fails, so failures add up to one check at
 * the end. */
static char *reply_text(const json_t *id, const char *member, json_t *outcome, size_t *size)
{
    json_t *reply = json_object();
    char *text = NULL;
    int failed = json_object_set_new(reply, "jsonrpc", json_string("2.0"));
    failed |= json_object_set_new(reply, "id", id != NULL ? json_deep_copy(id) : json_null());
    failed |= json_object_set_new(reply, member, outcome);
    if (failed == 0)
        text = json_dumps(reply, DUMP_FLAGS);
    if (text != NULL)
        *size = strlen(text);
    json_decref(reply);
    return text;
}

char *json_rpc_result(const json_t *id, json_t *result, size_t *size)
{
    return reply_text(id, "result", result, size);
}

char *json_rpc_error(const json_t *id, const struct status *st, size_t *size)
{
    json_t *data = json_object();
    int failed = json_object_set_new(data, "reason", json_text(st->reason));
    if (st->field[0] != '\0')
        failed |= json_object_set_new(data, "field", json_text(st->field));
    if (st->retry_after_ms > 0)
        failed |= json_object_set_new(data, "retry_after_ms", json_integer(st->retry_after_ms));
    json_t *error = json_object();
    failed |= json_object_set_new(error, "code", json_integer((json_int_t)st->code));
    failed |= json_object_set_new(error, "message", json_text(st->message));
    failed |= json_object_set_new(error, "data", data);
    if (failed != 0) {
        json_decref(error);
        return NULL;
    }
    return reply_text(id, "error", error, size);
}
