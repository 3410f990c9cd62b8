/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking C client of recsysd: one connection, used by one thread at a time. The command line, the batch job, the tests and
 * the benchmark all go through it.
 *
 * A call is `recsys_client_call` (protobuf) or `recsys_client_call_json`. To keep several requests in flight, pair
 * `recsys_client_send` with `recsys_client_receive`; replies may come in another order than requests. */
#ifndef RECSYS_CLIENT_H
#define RECSYS_CLIENT_H

#include "proto/status.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* Where recsysd listens unless told otherwise. */
#define RECSYS_DEFAULT_ENDPOINT "ipc:///run/recsysd/recsysd.sock"

struct recsys_client;

/* Raw bytes that travel beside a request: little-endian f32 rows of `feature.put`. Not copied before the call returns. */
struct recsys_attachment {
    const void *data;
    size_t size_bytes;
};

/* Connect to `endpoint` ("ipc://path", "tcp://host:port"). Connecting is lazy: that nobody listens shows as UNAVAILABLE on the
 * first call. `timeout_ms` bounds every call. NULL with `st` on a malformed endpoint. */
struct recsys_client *recsys_client_new(const char *endpoint, uint32_t timeout_ms, struct status *st);

/* Close the connection; NULL is fine. Does not wait. */
void recsys_client_free(struct recsys_client *client);

/* One call. On success `*reply` is a message of type `reply_type` that the caller frees with
 * protobuf_c_message_free_unpacked(reply, NULL). On failure the server's own status (code, reason, field, retry_after_ms) or
 * UNAVAILABLE / NO_ANSWER when none came in time, or DATA_LOSS / BAD_REPLY. */
bool recsys_client_call(struct recsys_client *client, const char *method, const ProtobufCMessage *request,
                        const struct recsys_attachment *attachments, size_t attachment_count,
                        const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply, struct status *st);

/* The same as JSON-RPC. `params` is borrowed. Returns the `result` as a new reference, NULL on failure. */
json_t *recsys_client_call_json(struct recsys_client *client, const char *method, const json_t *params,
                                struct status *st);

/* Send without waiting for the answer. `*request_id` names the answer. */
bool recsys_client_send(struct recsys_client *client, const char *method, const ProtobufCMessage *request,
                        const struct recsys_attachment *attachments, size_t attachment_count, uint64_t *request_id,
                        struct status *st);

/* Wait for the next answer, whichever request it belongs to. False with the status of that answer (and `*request_id` set), or
 * with UNAVAILABLE / NO_ANSWER and `*request_id` 0 when the time is up. */
bool recsys_client_receive(struct recsys_client *client, uint64_t *request_id,
                           const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply, struct status *st);

#endif
