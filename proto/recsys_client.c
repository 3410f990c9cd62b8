/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/recsys_client.h"

#include "proto/client_socket.h"
#include "proto/json_rpc.h"
#include "proto/remote_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_ID_SHIFT  16 /* leaves 48 bits: ids stay exact in a JSON reader that has doubles only */
#define ENVELOPE_FRAMES 2  /* header and body */
#define JSON_TEXT_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))

struct recsys_client {
    struct client_socket socket;
    uint64_t next_id;
};

/* An answer as far as its header. */
struct answer {
    struct client_message message;
    uint64_t request_id;
    struct status remote;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_INTERNAL, "NO_MEMORY", "out of memory");
}

static void set_status(struct status *st, const struct status *value)
{
    if (st != NULL)
        *st = *value;
}

/* A random start: the answer to a request of an earlier process that reused our address is not taken for ours. */
static bool choose_first_id(uint64_t *id)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    *id = (random >> FIRST_ID_SHIFT) + 1;
    return true;
}

struct recsys_client *recsys_client_new(const char *endpoint, uint32_t timeout_ms, struct status *st)
{
    struct recsys_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        out_of_memory(st);
        return NULL;
    }
    if (!choose_first_id(&client->next_id)) {
        status_fail(st, STATUS_INTERNAL, "NO_RANDOM", "the system has no random numbers");
        goto fail;
    }
    if (!client_socket_open(&client->socket, endpoint, timeout_ms, st))
        goto fail;
    return client;
fail:
    free(client);
    return NULL;
}

void recsys_client_free(struct recsys_client *client)
{
    if (client == NULL)
        return;
    client_socket_close(&client->socket);
    free(client);
}

/* Header, body and attachments as frames; header and body are malloc'ed. */
static bool build_frames(struct frame *frames, const struct envelope_header *header, const ProtobufCMessage *request,
                         const struct recsys_attachment *attachments, size_t attachment_count)
{
    size_t header_size = 0, body_size = protobuf_c_message_get_packed_size(request);
    void *header_bytes = envelope_write_request_header(header, &header_size);
    uint8_t *body = malloc(body_size + 1); /* an empty message has no bytes, and malloc(0) may be NULL */
    if (header_bytes == NULL || body == NULL) {
        free(header_bytes);
        free(body);
        return false;
    }
    protobuf_c_message_pack(request, body);
    frames[0] = (struct frame){.data = header_bytes, .size_bytes = header_size};
    frames[1] = (struct frame){.data = body, .size_bytes = body_size};
    for (size_t i = 0; i < attachment_count; i++)
        frames[ENVELOPE_FRAMES + i] =
            (struct frame){.data = attachments[i].data, .size_bytes = attachments[i].size_bytes};
    return true;
}

static bool send_request(struct recsys_client *client, const char *method, const ProtobufCMessage *request,
                         const struct recsys_attachment *attachments, size_t attachment_count, int64_t deadline_ms,
                         uint64_t *request_id, struct status *st)
{
    struct envelope_header header = {.request_id = client->next_id, .timeout_ms = client->socket.timeout_ms};
    struct frame frames[ENVELOPE_FRAMES + ENVELOPE_ATTACHMENTS_MAX];
    if (attachment_count > ENVELOPE_ATTACHMENTS_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "more than %d attachments",
                           ENVELOPE_ATTACHMENTS_MAX);
    if (strlen(method) >= sizeof header.method)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ENVELOPE", "method '%.64s...' is too long", method);
    snprintf(header.method, sizeof header.method, "%s", method);
    if (!build_frames(frames, &header, request, attachments, attachment_count))
        return out_of_memory(st);
    bool ok = client_socket_send(&client->socket, frames, ENVELOPE_FRAMES + attachment_count, deadline_ms, st);
    free((void *)frames[0].data);
    free((void *)frames[1].data);
    if (ok) {
        *request_id = header.request_id;
        client->next_id++;
    }
    return ok;
}

bool recsys_client_send(struct recsys_client *client, const char *method, const ProtobufCMessage *request,
                        const struct recsys_attachment *attachments, size_t attachment_count, uint64_t *request_id,
                        struct status *st)
{
    int64_t deadline_ms = client_socket_deadline_ms(&client->socket);
    return send_request(client, method, request, attachments, attachment_count, deadline_ms, request_id, st);
}

static bool is_json(struct client_message *message)
{
    struct frame frame = client_message_frame(message, 0);
    return json_rpc_recognise(frame.data, frame.size_bytes);
}

/* The next protobuf answer, which the caller closes. A JSON one belongs to a JSON call that was given up: it is
 * dropped. */
static bool next_answer(struct recsys_client *client, struct answer *answer, int64_t deadline_ms, struct status *st)
{
    do {
        client_message_close(&answer->message);
        if (!client_socket_receive(&client->socket, &answer->message, deadline_ms, st))
            return false;
    } while (is_json(&answer->message));
    uint64_t server_us;
    struct frame header = client_message_frame(&answer->message, 0);
    return envelope_read_reply_header(&header, &answer->request_id, &server_us, &answer->remote, st);
}

static bool unpack_answer(struct answer *answer, const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply,
                          struct status *st)
{
    if (answer->remote.code != STATUS_OK) {
        set_status(st, &answer->remote);
        return false;
    }
    if (answer->message.count < ENVELOPE_FRAMES)
        return status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "reply without a body");
    struct status problem = STATUS_INIT;
    struct frame body = client_message_frame(&answer->message, 1);
    ProtobufCMessage *message = envelope_unpack(reply_type, NULL, NULL, &body, &problem);
    if (message == NULL)
        return status_fail_field(st, STATUS_DATA_LOSS, "BAD_REPLY", problem.field, "reply: %s", problem.message);
    *reply = message;
    return true;
}

/* An error with id 0 is for us as well: the server could not read so far as the id. */
static bool answers(const struct answer *answer, uint64_t request_id)
{
    return answer->request_id == request_id || (answer->request_id == 0 && answer->remote.code != STATUS_OK);
}

bool recsys_client_call(struct recsys_client *client, const char *method, const ProtobufCMessage *request,
                        const struct recsys_attachment *attachments, size_t attachment_count,
                        const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply, struct status *st)
{
    struct answer answer = {0};
    uint64_t request_id;
    bool ok = false;
    int64_t deadline_ms = client_socket_deadline_ms(&client->socket);
    if (!send_request(client, method, request, attachments, attachment_count, deadline_ms, &request_id, st))
        goto out;
    do {
        if (!next_answer(client, &answer, deadline_ms, st))
            goto out;
    } while (!answers(&answer, request_id)); /* a late one, of a call that was given up */
    ok = unpack_answer(&answer, reply_type, reply, st);
out:
    client_message_close(&answer.message);
    return ok;
}

bool recsys_client_receive(struct recsys_client *client, uint64_t *request_id,
                           const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply, struct status *st)
{
    struct answer answer = {0};
    bool ok = next_answer(client, &answer, client_socket_deadline_ms(&client->socket), st);
    *request_id = ok ? answer.request_id : 0;
    if (ok)
        ok = unpack_answer(&answer, reply_type, reply, st);
    client_message_close(&answer.message);
    return ok;
}

/* The call's text. The server learns how long we wait, as it does from a protobuf header, unless `params` says
 * otherwise. */
static char *call_text(const struct recsys_client *client, const char *method, const json_t *params,
                       uint64_t request_id)
{
    json_t *call = json_object();
    json_t *own_params = params != NULL ? json_deep_copy(params) : json_object();
    char *text = NULL;
    int failed = own_params == NULL;
    if (json_is_object(own_params) && json_object_get(own_params, "timeout_ms") == NULL &&
        json_object_get(own_params, "timeoutMs") == NULL)
        failed |= json_object_set_new(own_params, "timeout_ms", json_integer(client->socket.timeout_ms));
    failed |= json_object_set_new(call, "jsonrpc", json_string("2.0"));
    failed |= json_object_set_new(call, "id", json_integer((json_int_t)request_id));
    failed |= json_object_set_new(call, "method", json_string(method));
    failed |= json_object_set_new(call, "params", own_params);
    if (failed == 0)
        text = json_dumps(call, JSON_TEXT_FLAGS);
    json_decref(call);
    return text;
}

static bool send_json(struct recsys_client *client, const char *method, const json_t *params, int64_t deadline_ms,
                      struct status *st)
{
    char *text = call_text(client, method, params, client->next_id);
    if (text == NULL)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_CALL", "call cannot be written as JSON");
    struct frame frame = {.data = text, .size_bytes = strlen(text)};
    bool ok = client_socket_send(&client->socket, &frame, 1, deadline_ms, st);
    free(text);
    if (ok)
        client->next_id++;
    return ok;
}

/* The next JSON answer as a new reference. A protobuf one belongs to a call that was given up: it is dropped. */
static json_t *next_json(struct recsys_client *client, int64_t deadline_ms, struct status *st)
{
    struct client_message message = {0};
    do {
        client_message_close(&message);
        if (!client_socket_receive(&client->socket, &message, deadline_ms, st))
            return NULL;
    } while (!is_json(&message));
    struct frame frame = client_message_frame(&message, 0);
    json_t *answer = json_loadb(frame.data, frame.size_bytes, 0, NULL);
    if (answer == NULL)
        status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "reply is not JSON");
    client_message_close(&message);
    return answer;
}

/* As above, an error without id is for us as well. */
static bool json_answers(const json_t *answer, uint64_t request_id)
{
    const json_t *id = json_object_get(answer, "id");
    if (json_is_integer(id))
        return (uint64_t)json_integer_value(id) == request_id;
    return json_object_get(answer, "error") != NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static json_t *take_result(const json_t *answer, struct status *st)
{
    json_t *result = json_object_get(answer, "result");
    const json_t *error = json_object_get(answer, "error");
    if (error == NULL && result != NULL)
        return json_incref(result);
    if (!json_is_object(error)) {
        status_fail(st, STATUS_DATA_LOSS, "BAD_REPLY", "reply has neither result nor error");
        return NULL;
    }
    const json_t *data = json_object_get(error, "data");
    json_int_t retry_after_ms = json_integer_value(json_object_get(data, "retry_after_ms"));
    remote_status_fill(st, json_integer_value(json_object_get(error, "code")), text_of(data, "reason"),
                       text_of(data, "field"), text_of(error, "message"));
    if (st != NULL && retry_after_ms > 0 && retry_after_ms <= UINT32_MAX)
        st->retry_after_ms = (uint32_t)retry_after_ms;
    return NULL;
}

json_t *recsys_client_call_json(struct recsys_client *client, const char *method, const json_t *params,
                                struct status *st)
{
    uint64_t request_id = client->next_id;
    int64_t deadline_ms = client_socket_deadline_ms(&client->socket);
    if (!send_json(client, method, params, deadline_ms, st))
        return NULL;
    for (;;) {
        json_t *answer = next_json(client, deadline_ms, st);
        if (answer == NULL)
            return NULL;
        json_t *result = NULL;
        bool is_ours = json_answers(answer, request_id);
        if (is_ours)
            result = take_result(answer, st);
        json_decref(answer);
        if (is_ours)
            return result;
    }
}
