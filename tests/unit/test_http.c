/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http.h"

#include "daemon/metrics.h"
#include "proto/json_rpc.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { BODY_MAX = 10000, CALLS_MAX = 64, REPLY_MAX = 65536, READ_SECONDS = 20 };

/* What the hook does with a call: finish it at once on the HTTP thread, keep it until the test finishes it, or say no. */
enum behaviour { ECHO, HOLD, REFUSE };

struct daemon {
    struct http *http;
    struct http_hooks hooks;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    enum behaviour behaviour;
    enum status_code refuse_code;
    bool ready;
    struct http_call *calls[CALLS_MAX];
    char *bodies[CALLS_MAX];
    size_t sizes[CALLS_MAX];
    size_t call_count;
};

static struct daemon fixture;

static bool hook_ready(void *context, char *reason, size_t reason_size)
{
    const struct daemon *daemon = context;
    if (!daemon->ready)
        snprintf(reason, reason_size, "loading");
    return daemon->ready;
}

static bool hook_rpc(void *context, struct http_call *call, char *body, size_t size, struct status *st)
{
    struct daemon *daemon = context;
    if (daemon->behaviour == REFUSE) {
        status_fail(st, daemon->refuse_code, "QUEUE_FULL", "too much to do");
        st->retry_after_ms = 1500;
        return false;
    }
    if (daemon->behaviour == ECHO) {
        http_call_finish(call, body, size, STATUS_OK, 0);
        return true;
    }
    pthread_mutex_lock(&daemon->lock);
    daemon->calls[daemon->call_count] = call;
    daemon->bodies[daemon->call_count] = body;
    daemon->sizes[daemon->call_count++] = size;
    pthread_cond_broadcast(&daemon->arrived);
    pthread_mutex_unlock(&daemon->lock);
    return true;
}

static void start(void)
{
    struct status st = STATUS_INIT;
    fixture = (struct daemon){.ready = true, .hooks = {&fixture, hook_ready, hook_rpc}};
    pthread_mutex_init(&fixture.lock, NULL);
    pthread_cond_init(&fixture.arrived, NULL);
    fixture.http = http_new("127.0.0.1:0", BODY_MAX, "recsysd 1.2.3", &fixture.hooks, &st);
    cr_assert_not_null(fixture.http, "%s", st.message);
    cr_assert_gt(http_port(fixture.http), 0u);
}

static void stop(void)
{
    http_free(fixture.http);
}

static void wait_for_held(size_t count)
{
    pthread_mutex_lock(&fixture.lock);
    while (fixture.call_count < count)
        pthread_cond_wait(&fixture.arrived, &fixture.lock);
    pthread_mutex_unlock(&fixture.lock);
}

static int dial(void)
{
    const struct timeval patience = {.tv_sec = READ_SECONDS};
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(fixture.http)),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(peer, 0);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert_eq(connect(peer, (const struct sockaddr *)&at, sizeof at), 0);
    return peer;
}

static void say(int peer, const char *text, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        const ssize_t part = send(peer, text + sent, size - sent, MSG_NOSIGNAL);
        cr_assert_gt(part, 0);
        sent += (size_t)part;
    }
}

static void say_text(int peer, const char *text)
{
    say(peer, text, strlen(text));
}

struct reply {
    int code; /* 0: the peer hung up without one */
    char text[REPLY_MAX];
    const char *body;
    size_t body_size;
};

static const char *header_of(const struct reply *reply, const char *name)
{
    static char value[256];
    const size_t length = strlen(name);
    for (const char *line = strchr(reply->text, '\n'); line != NULL && line + 2 < reply->body;
         line = strchr(line + 1, '\n'))
        if (strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + length + 3, "\r"), line + length + 3);
            return value;
        }
    return NULL;
}

/* Read one reply, not a byte of the next. */
static void hear(int peer, struct reply *reply, bool has_body)
{
    size_t size = 0;
    memset(reply, 0, sizeof *reply);
    while (size < 4 || strcmp(reply->text + size - 4, "\r\n\r\n") != 0) {
        cr_assert_lt(size + 1, sizeof reply->text);
        if (recv(peer, reply->text + size, 1, 0) != 1) {
            cr_assert_eq(size, 0u, "the reply is cut off: %s", reply->text);
            return;
        }
        size++;
    }
    cr_assert_eq(sscanf(reply->text, "HTTP/1.1 %d ", &reply->code), 1, "%s", reply->text);
    reply->body = reply->text + size;
    const char *length = header_of(reply, "Content-Length");
    cr_assert_not_null(length, "%s", reply->text);
    reply->body_size = has_body ? strtoul(length, NULL, 10) : 0;
    cr_assert_lt(size + reply->body_size, sizeof reply->text);
    for (size_t end = size + reply->body_size; size < end;) {
        const ssize_t part = recv(peer, reply->text + size, end - size, 0);
        cr_assert_gt(part, 0);
        size += (size_t)part;
    }
}

static bool hung_up(int peer)
{
    char byte;
    return recv(peer, &byte, 1, 0) <= 0;
}

static void ask(struct reply *reply, const char *request)
{
    const int peer = dial();
    say_text(peer, request);
    hear(peer, reply, strncmp(request, "HEAD", 4) != 0);
    close(peer);
}

/* In one piece, so that the server does nothing else between head and body. */
static void say_call(int peer, const char *headers, const char *body, size_t size)
{
    static char request[512 + 5 * BODY_MAX];
    const int length =
        snprintf(request, 512, "POST /rpc HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n", headers, size);
    cr_assert(length < 512 && size <= 5 * BODY_MAX);
    memcpy(request + length, body, size);
    say(peer, request, (size_t)length + size);
}

#define JSON "Content-Type: application/json\r\n"

static void call(struct reply *reply, const char *headers, const char *body)
{
    const int peer = dial();
    say_call(peer, headers, body, strlen(body));
    hear(peer, reply, true);
    close(peer);
}

/* A refusal as JSON-RPC: {"error": {"code": ..., "data": {"reason": ...}}}. */
static void expect_error(const struct reply *reply, int http_status, enum status_code code, const char *reason)
{
    cr_expect_eq(reply->code, http_status, "%d instead of %d", reply->code, http_status);
    cr_expect_str_eq(header_of(reply, "Content-Type"), "application/json");
    json_t *root = json_loads(reply->body, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *text = json_string_value(json_object_get(json_object_get(error, "data"), "reason"));
    cr_expect_eq(json_integer_value(json_object_get(error, "code")), (int)code, "%s", reply->body);
    cr_assert_not_null(text, "%s", reply->body);
    cr_expect_str_eq(text, reason);
    json_decref(root);
}

TestSuite(http, .init = start, .fini = stop);

Test(http, each_path_answers)
{
    static const struct {
        const char *path, *type, *body;
    } cases[] = {
        {"/livez", "text/plain; charset=utf-8", "alive\n"},
        {"/readyz", "text/plain; charset=utf-8", "ready\n"},
        {"/readyz?verbose", "text/plain; charset=utf-8", "ready\n"},
        {"/healthz", "text/plain; charset=utf-8", "ready\n"},
        {"/version", "text/plain; charset=utf-8", "recsysd 1.2.3\n"},
        {"/metrics", "text/plain; version=0.0.4; charset=utf-8", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct reply get, head;
        char request[128];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].path);
        ask(&get, request);
        cr_expect_eq(get.code, 200, "%s", cases[i].path);
        cr_expect_str_eq(header_of(&get, "Content-Type"), cases[i].type);
        if (cases[i].body != NULL)
            cr_expect_str_eq(get.body, cases[i].body);
        else
            cr_expect_not_null(strstr(get.body, "\nrecsysd_events_added_total 0\n"));
        snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].path);
        ask(&head, request);
        cr_expect_eq(head.code, 200, "HEAD %s", cases[i].path);
        cr_expect_str_eq(header_of(&head, "Content-Type"), cases[i].type);
    }
}

Test(http, head_has_the_size_but_no_body)
{
    static struct reply reply;
    const int peer = dial();
    const char request[] = "HEAD /livez HTTP/1.1\r\nHost: h\r\n\r\nGET /version HTTP/1.1\r\nHost: h\r\n\r\n";
    say(peer, request, sizeof request - 1);
    hear(peer, &reply, false);
    cr_expect_str_eq(header_of(&reply, "Content-Length"), "6");
    hear(peer, &reply, true); /* would begin with a body, if HEAD had one */
    cr_expect_str_eq(reply.body, "recsysd 1.2.3\n");
    close(peer);
}

Test(http, readiness_follows_the_hook_and_liveness_does_not)
{
    static struct reply reply;
    fixture.ready = false;
    ask(&reply, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(reply.code, 503);
    cr_expect_str_eq(reply.body, "loading\n");
    ask(&reply, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(reply.code, 503);
    ask(&reply, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(reply.code, 200);
}

Test(http, other_paths_and_methods_are_refused)
{
    static const struct {
        const char *request;
        int code;
        const char *allow;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 404, NULL},
        {"GET /livez/ HTTP/1.1\r\nHost: h\r\n\r\n", 404, NULL},
        {"GET /../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 404, NULL},
        {"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 404, NULL},
        {"POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 405, "GET, HEAD"},
        {"DELETE /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 405, "GET, HEAD"},
        {"GET /rpc HTTP/1.1\r\nHost: h\r\n\r\n", 405, "POST"},
        {"PUT /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Content-Length: 2\r\n\r\n{}", 405, "POST"},
        {"OPTIONS /rpc HTTP/1.1\r\nHost: h\r\n\r\n", 405, "POST"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct reply reply;
        ask(&reply, cases[i].request);
        cr_expect_eq(reply.code, cases[i].code, "%d for %s", reply.code, cases[i].request);
        const char *allow = header_of(&reply, "Allow");
        cr_expect_eq(allow != NULL, cases[i].allow != NULL);
        if (allow != NULL && cases[i].allow != NULL)
            cr_expect_str_eq(allow, cases[i].allow);
    }
    static struct reply reply;
    ask(&reply, "GET /rpc HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_error(&reply, 405, STATUS_UNIMPLEMENTED, "BAD_METHOD");
}

Test(http, a_call_is_answered_with_its_result)
{
    static const char *const types[] = {
        JSON,
        "Content-Type: text/json\r\n",
        "content-type: Application/JSON; charset=utf-8\r\n",
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        static struct reply reply;
        call(&reply, types[i], "{\"id\": 1}");
        cr_expect_eq(reply.code, 200, "%d for %s", reply.code, types[i]);
        cr_expect_str_eq(reply.body, "{\"id\": 1}");
        cr_expect_str_eq(header_of(&reply, "Content-Type"), "application/json");
    }
}

Test(http, a_browser_cannot_call)
{
    static const char *const types[] = {
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=application/json\r\n",
        "Content-Type: text/plain; application/json\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: application/jso\r\n",
    };
    static struct reply reply;
    fixture.behaviour = HOLD; /* a call that came through would hang, and be counted */
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        call(&reply, types[i], "{}");
        expect_error(&reply, 415, STATUS_INVALID_ARGUMENT, "BAD_TYPE");
    }
    call(&reply, JSON "Origin: http://evil.example\r\n", "{}");
    expect_error(&reply, 403, STATUS_PERMISSION_DENIED, "ORIGIN");
    call(&reply, JSON "Origin: null\r\n", "{}");
    expect_error(&reply, 403, STATUS_PERMISSION_DENIED, "ORIGIN");
    ask(&reply, "GET /metrics HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.example\r\n\r\n");
    cr_expect_eq(reply.code, 403);
    ask(&reply, "OPTIONS /rpc HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.example\r\n\r\n");
    cr_expect_eq(reply.code, 403);
    cr_expect_eq(fixture.call_count, 0u);
    cr_expect_eq(metrics_get(METRICS_COUNTER_frames_malformed), 10u);
}

Test(http, version_1_1_needs_a_host)
{
    static struct reply reply;
    ask(&reply, "GET /livez HTTP/1.1\r\n\r\n");
    cr_expect_eq(reply.code, 400);
    ask(&reply, "POST /rpc HTTP/1.1\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    cr_expect_eq(reply.code, 400);
}

Test(http, a_body_may_have_the_greatest_size_and_no_byte_more)
{
    static struct reply reply;
    static char body[5 * BODY_MAX];
    memset(body, ' ', sizeof body);
    int peer = dial();
    for (size_t size = 0; size <= BODY_MAX; size += BODY_MAX) {
        say_call(peer, JSON, body, size);
        hear(peer, &reply, true);
        cr_expect_eq(reply.code, 200, "%d for %zu bytes", reply.code, size);
        cr_expect_eq(reply.body_size, size);
        cr_expect_eq(memcmp(reply.body, body, size), 0);
    }
    for (size_t size = BODY_MAX + 1; size < 4 * BODY_MAX; size += BODY_MAX) { /* read, so that the reply can be seen */
        say_call(peer, JSON, body, size);
        hear(peer, &reply, true);
        expect_error(&reply, 413, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE");
    }
    say_call(peer, JSON, "{}", 2); /* and the connection is still good */
    hear(peer, &reply, true);
    cr_expect_eq(reply.code, 200);
    close(peer);
}

Test(http, a_body_far_too_large_is_refused_before_it_is_sent)
{
    static struct reply reply;
    ask(&reply, "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Content-Length: 99999999999999999999\r\n\r\n");
    cr_expect_eq(reply.code, 413);
    ask(&reply, "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Content-Length: 1000000\r\n\r\n");
    expect_error(&reply, 413, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE");
    ask(&reply, "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Expect: 100-continue\r\nContent-Length: 10001\r\n\r\n");
    expect_error(&reply, 413, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE");
}

/* Send a chunked body of `count` chunks of 1000 bytes, as long as the peer listens. */
static void say_chunks(int peer, size_t count)
{
    static const char head[] = "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n";
    char chunk[1007];
    memcpy(chunk, "3e8\r\n", 5);
    memset(chunk + 5, 'x', 1000);
    memcpy(chunk + 1005, "\r\n", 2);
    say(peer, head, sizeof head - 1);
    for (size_t i = 0; i < count; i++)
        if (send(peer, chunk, sizeof chunk, MSG_NOSIGNAL) != sizeof chunk)
            return;
    (void)!send(peer, "0\r\n\r\n", 5, MSG_NOSIGNAL);
}

Test(http, a_body_of_unknown_size_has_the_same_limit)
{
    static struct reply reply;
    int peer = dial();
    say_chunks(peer, 10);
    hear(peer, &reply, true);
    cr_expect_eq(reply.code, 200);
    cr_expect_eq(reply.body_size, 10000u);
    say_chunks(peer, 11);
    hear(peer, &reply, true);
    expect_error(&reply, 413, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE");
    close(peer);
    peer = dial();
    say_chunks(peer, 60); /* nobody reads for ever */
    cr_expect(hung_up(peer));
    close(peer);
}

Test(http, bodies_on_their_way_in_share_a_limit)
{
    static struct reply reply;
    int peers[16];
    char head[256];
    char body[BODY_MAX] = {0};
    const int length =
        snprintf(head, sizeof head, "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Content-Length: %d\r\n\r\n", BODY_MAX);
    for (size_t i = 0; i < 16; i++) { /* all but the last byte */
        peers[i] = dial();
        say(peers[i], head, (size_t)length);
        say(peers[i], body, BODY_MAX - 1);
    }
    do /* until the last of the sixteen has arrived */
        call(&reply, JSON, "{}");
    while (reply.code == 200);
    expect_error(&reply, 429, STATUS_RESOURCE_EXHAUSTED, "BUSY");
    cr_expect_str_eq(header_of(&reply, "Retry-After"), "1");
    for (size_t i = 0; i < 16; i++) {
        say(peers[i], "", 1);
        hear(peers[i], &reply, true);
        cr_expect_eq(reply.code, 200);
        close(peers[i]);
    }
    call(&reply, JSON, "{}");
    cr_expect_eq(reply.code, 200, "the room was given back");
}

Test(http, a_slow_call_is_finished_from_another_thread)
{
    static struct reply reply;
    fixture.behaviour = HOLD;
    const int slow = dial();
    say_call(slow, JSON, "{\"slow\": 1}", 11);
    wait_for_held(1);
    cr_expect_eq(fixture.sizes[0], 11u);
    cr_expect_eq(memcmp(fixture.bodies[0], "{\"slow\": 1}", 11), 0);
    ask(&reply, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"); /* it holds no thread */
    cr_expect_eq(reply.code, 200);
    http_call_finish(fixture.calls[0], fixture.bodies[0], 11, STATUS_UNAVAILABLE, 1);
    hear(slow, &reply, true);
    cr_expect_eq(reply.code, 503);
    cr_expect_str_eq(header_of(&reply, "Retry-After"), "1");
    cr_expect_str_eq(reply.body, "{\"slow\": 1}");
    close(slow);
}

Test(http, codes_choose_the_http_status)
{
    static const struct {
        enum status_code code;
        int http_status;
    } cases[] = {
        {STATUS_OK, 200},        {STATUS_INVALID_ARGUMENT, 400},   {STATUS_DEADLINE_EXCEEDED, 504},
        {STATUS_NOT_FOUND, 404}, {STATUS_ALREADY_EXISTS, 409},     {STATUS_PERMISSION_DENIED, 403},
        {STATUS_ABORTED, 409},   {STATUS_RESOURCE_EXHAUSTED, 429}, {STATUS_FAILED_PRECONDITION, 412},
        {STATUS_INTERNAL, 500},  {STATUS_UNIMPLEMENTED, 501},      {STATUS_UNAVAILABLE, 503},
        {STATUS_DATA_LOSS, 500}, {STATUS_UNAUTHENTICATED, 401},    {(enum status_code)99, 500},
    };
    static struct reply reply;
    const int peer = dial();
    fixture.behaviour = HOLD;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        say_call(peer, JSON, "{}", 2);
        wait_for_held(i + 1);
        http_call_finish(fixture.calls[i], fixture.bodies[i], 2, cases[i].code, 2001);
        hear(peer, &reply, true);
        cr_expect_eq(reply.code, cases[i].http_status, "%d for code %d", reply.code, (int)cases[i].code);
        cr_expect_str_eq(header_of(&reply, "Retry-After"), "3");
    }
    say_call(peer, JSON, "{}", 2);
    wait_for_held(sizeof cases / sizeof cases[0] + 1);
    free(fixture.bodies[fixture.call_count - 1]);
    http_call_finish(fixture.calls[fixture.call_count - 1], NULL, 0, STATUS_OK, 0); /* its owner ran out of memory */
    hear(peer, &reply, true);
    cr_expect_eq(reply.code, 500);
    cr_expect_eq(reply.body_size, 0u);
    cr_expect_null(header_of(&reply, "Retry-After"));
    close(peer);
}

Test(http, what_the_hook_refuses_is_an_error)
{
    static struct reply reply;
    fixture.behaviour = REFUSE;
    fixture.refuse_code = STATUS_RESOURCE_EXHAUSTED;
    call(&reply, JSON, "{}");
    expect_error(&reply, 429, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL");
    cr_expect_str_eq(header_of(&reply, "Retry-After"), "2");
    fixture.refuse_code = STATUS_UNAVAILABLE;
    call(&reply, JSON, "{}");
    expect_error(&reply, 503, STATUS_UNAVAILABLE, "QUEUE_FULL");
}

Test(http, a_connection_serves_many_requests)
{
    static struct reply reply;
    const int peer = dial();
    for (int i = 0; i < 3; i++) {
        char body[32];
        snprintf(body, sizeof body, "{\"id\": %d}", i);
        say_call(peer, JSON, body, strlen(body));
        hear(peer, &reply, true);
        cr_expect_eq(reply.code, 200);
        cr_expect_str_eq(reply.body, body);
        say_text(peer, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
        hear(peer, &reply, true);
        cr_expect_str_eq(reply.body, "alive\n");
    }
    say_call(peer, "Connection: close\r\n" JSON, "{}", 2);
    hear(peer, &reply, true);
    cr_expect(hung_up(peer));
    close(peer);
}

static void *finish_held(void *context)
{
    const size_t first = *(const size_t *)context;
    for (size_t i = first; i < CALLS_MAX; i += 2) {
        wait_for_held(i + 1);
        http_call_finish(fixture.calls[i], fixture.bodies[i], fixture.sizes[i], STATUS_OK, 0);
    }
    return NULL;
}

/* The threads finish calls while the hook may still be on its way back. */
Test(http, many_connections_get_their_own_replies)
{
    enum { PEERS = 16 };
    static struct reply reply;
    int peers[PEERS];
    pthread_t threads[2];
    size_t firsts[2] = {0, 1};
    fixture.behaviour = HOLD;
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, finish_held, &firsts[i]), 0);
    for (size_t i = 0; i < PEERS; i++)
        peers[i] = dial();
    for (int round = 0; round < CALLS_MAX / PEERS; round++) {
        char body[PEERS][16];
        for (size_t i = 0; i < PEERS; i++) {
            snprintf(body[i], sizeof body[i], "[%d, %zu]", round, i);
            say_call(peers[i], JSON, body[i], strlen(body[i]));
        }
        for (size_t i = 0; i < PEERS; i++) {
            hear(peers[i], &reply, true);
            cr_expect_str_eq(reply.body, body[i]);
        }
    }
    for (size_t i = 0; i < PEERS; i++)
        close(peers[i]);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

Test(http, a_peer_that_left_does_no_harm)
{
    static struct reply reply;
    fixture.behaviour = HOLD;
    const struct linger reset = {.l_onoff = 1};
    const int gone = dial();
    say_call(gone, JSON, "{}", 2);
    wait_for_held(1);
    setsockopt(gone, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(gone);
    http_call_finish(fixture.calls[0], fixture.bodies[0], 2, STATUS_OK, 0);
    ask(&reply, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(reply.code, 200);
    http_free(fixture.http);
    fixture.http = NULL;
    cr_expect_eq(metrics_get(METRICS_COUNTER_replies_dropped), 1u);
}

static void *free_http(void *context)
{
    (void)context;
    http_free(fixture.http);
    return NULL;
}

/* One call is held, the port is being closed, a second connection asks: wait until it is told that the port is draining. */
static void wait_for_draining(int peer, struct reply *reply)
{
    do {
        say_text(peer, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
        hear(peer, reply, true);
    } while (reply->code == 200);
}

Test(http, closing_waits_for_a_call_in_flight)
{
    static struct reply reply;
    pthread_t closer;
    fixture.behaviour = HOLD;
    const int slow = dial(), other = dial(), late = dial();
    say_call(slow, JSON, "{}", 2);
    wait_for_held(1);
    cr_assert_eq(pthread_create(&closer, NULL, free_http, NULL), 0);
    wait_for_draining(other, &reply);
    cr_expect_str_eq(reply.body, "draining\n");
    cr_expect_str_eq(header_of(&reply, "Connection"), "close");
    say_call(late, JSON, "{}", 2);
    hear(late, &reply, true);
    expect_error(&reply, 503, STATUS_UNAVAILABLE, "DRAINING");
    cr_expect_eq(fixture.call_count, 1u);
    http_call_finish(fixture.calls[0], fixture.bodies[0], 2, STATUS_OK, 0);
    hear(slow, &reply, true); /* the last reply is not lost */
    cr_expect_eq(reply.code, 200);
    cr_expect_str_eq(reply.body, "{}");
    pthread_join(closer, NULL);
    fixture.http = NULL;
    cr_expect_eq(metrics_get(METRICS_COUNTER_replies_dropped), 0u);
    close(slow);
    close(other);
    close(late);
}

Test(http, closing_does_not_wait_for_a_peer_that_does_not_read)
{
    enum { HUGE_BYTES = 64 << 20 };
    fixture.behaviour = HOLD;
    const int deaf = dial(), half = dial();
    say_call(deaf, JSON, "{}", 2);
    say_text(half, "POST /rpc HTTP/1.1\r\nHost: h\r\n" JSON "Content-Length: 10\r\n\r\n{");
    wait_for_held(1);
    free(fixture.bodies[0]);
    char *huge = calloc(1, HUGE_BYTES);
    cr_assert_not_null(huge);
    http_call_finish(fixture.calls[0], huge, HUGE_BYTES, STATUS_OK, 0);
    http_free(fixture.http);
    fixture.http = NULL;
    cr_expect_eq(metrics_get(METRICS_COUNTER_replies_dropped), 1u);
    close(deaf);
    close(half);
}

Test(http_address, a_bad_address_is_named)
{
    static const char *const addresses[] = {"",
                                            "nonsense",
                                            "127.0.0.1",
                                            "127.0.0.1:",
                                            ":9464",
                                            "::1:9464",
                                            "127.0.0.1:http",
                                            "127.0.0.1:65536",
                                            "192.0.2.1:9464",
                                            "[::1]",
                                            "[::1]9464",
                                            "[]:1"};
    const struct http_hooks hooks = {NULL, hook_ready, hook_rpc};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct status st = STATUS_INIT;
        cr_expect_null(http_new(addresses[i], BODY_MAX, "1", &hooks, &st), "%s", addresses[i]);
        cr_expect_eq(st.code, STATUS_UNAVAILABLE, "%s", addresses[i]);
        cr_expect_str_eq(st.reason, "BIND_FAILED");
        cr_expect_not_null(strstr(st.message, addresses[i]), "%s", st.message);
    }
    http_free(NULL);
}

Test(http_address, a_port_in_use_is_refused_and_a_free_one_can_be_had_again)
{
    struct status st = STATUS_INIT;
    char address[32];
    start();
    snprintf(address, sizeof address, "127.0.0.1:%u", http_port(fixture.http));
    cr_expect_null(http_new(address, BODY_MAX, "1", &fixture.hooks, &st));
    cr_expect_not_null(strstr(st.message, "in use"), "%s", st.message);
    stop();
    fixture.http = http_new(address, BODY_MAX, "1", &fixture.hooks, &st);
    cr_assert_not_null(fixture.http, "%s", st.message);
    stop();
}
