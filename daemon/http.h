/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP port for operators and for POST /rpc: GET (and HEAD) /livez, /readyz, /healthz (alias of readyz), /metrics, /version, and
 * POST /rpc with a JSON-RPC call as body. libmicrohttpd with its own thread; a call waits suspended, it holds no thread. */
#ifndef RECSYS_DAEMON_HTTP_H
#define RECSYS_DAEMON_HTTP_H

#include "proto/status.h"

#include <stddef.h>

struct http;
struct http_call;

/* What the port asks of the daemon. The functions are called on the HTTP thread and must not block. */
struct http_hooks {
    void *context;
    bool (*ready)(void *context, char *reason, size_t reason_size); /* false with "draining", "loading", ... */
    /* Take over a POST /rpc. On true the callee owns `body` (malloc'ed, `size` bytes) and must call http_call_finish(call, ...) exactly once, from any
     * thread, before http_free returns; on false it takes nothing and `st` becomes the JSON-RPC error of the reply. */
    bool (*rpc)(void *context, struct http_call *call, char *body, size_t size, struct status *st);
};

/* Listen on `address` ("127.0.0.1:9464", "[::1]:9464"; port 0 picks one). Bodies are limited to `body_max` bytes (413 beyond), connections to 256,
 * idle ones are closed after 30 s. `version` is the text of GET /version. NULL with UNAVAILABLE / BIND_FAILED, naming the address. */
struct http *http_new(const char *address, size_t body_max, const char *version, const struct http_hooks *hooks,
                      struct status *st);

/* The port that it listens on. */
unsigned http_port(const struct http *http);

/* Answer a call: `text` is malloc'ed and becomes http's; `code` chooses the HTTP status (OK 200, INVALID_ARGUMENT 400, UNAUTHENTICATED 401,
 * PERMISSION_DENIED 403, NOT_FOUND 404, DEADLINE_EXCEEDED 504, RESOURCE_EXHAUSTED 429, UNAVAILABLE 503, UNIMPLEMENTED 501, ABORTED and
 * ALREADY_EXISTS 409, FAILED_PRECONDITION 412, else 500); retry_after_ms > 0 becomes a Retry-After header in whole seconds. */
void http_call_finish(struct http_call *call, char *text, size_t size, enum status_code code, uint32_t retry_after_ms);

/* Refuse new requests, wait for calls in flight to be finished by their owner, close. NULL is fine. */
void http_free(struct http *http);

#endif
