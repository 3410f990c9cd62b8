/* SPDX-License-Identifier: Apache-2.0
 *
 * What can only be checked on the whole: the addresses and who can reach them. */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX 128 /* bytes */

struct address {
    char host[HOST_MAX]; /* without brackets and zone */
    bool bracketed;
};

static bool fail_address(struct status *st, const char *setting, const char *address, const char *problem)
{
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", setting, "'%s' has '%.96s': %s", setting,
                             address, problem);
}

/* 0, and "*" as ZeroMQ writes it, let the system choose. */
static bool is_port(const char *text)
{
    unsigned port = 0;
    if (strcmp(text, "*") == 0)
        return true;
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (unsigned)(text[i] - '0');
    return port <= 65535;
}

/* Split "HOST:PORT" or "[HOST]:PORT"; NULL, or what is wrong. */
static const char *split(const char *text, struct address *address)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !is_port(colon + 1))
        return "expected ADDRESS:PORT with a port up to 65535";
    size_t length = (size_t)(colon - text);
    address->bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (address->bracketed) {
        text++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof address->host)
        return "expected ADDRESS:PORT with an address";
    memcpy(address->host, text, length);
    address->host[length] = '\0';
    return NULL;
}

/* NULL, or what is wrong with the host. A name may be that of an interface; only binding to it tells. */
static const char *check_host(struct address *address)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    struct in6_addr six;
    struct in_addr four;
    char *host = address->host;
    if (address->bracketed) {
        host[strcspn(host, "%")] = '\0'; /* the zone of a link-local address */
        return inet_pton(AF_INET6, host, &six) == 1 ? NULL : "no IPv6 address in the brackets";
    }
    if (strchr(host, ':') != NULL)
        return "an IPv6 address is written in brackets: [::1]:PORT";
    if (strcmp(host, "*") == 0)
        return NULL;
    if (strspn(host, letters) != strlen(host))
        return "no address";
    if (strspn(host, "0123456789.") == strlen(host) && inet_pton(AF_INET, host, &four) != 1)
        return "no IPv4 address";
    return NULL;
}

static bool is_loopback(const struct address *address)
{
    struct in6_addr six;
    struct in_addr four;
    if (address->bracketed)
        return inet_pton(AF_INET6, address->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (inet_pton(AF_INET, address->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return strcmp(address->host, "localhost") == 0 || strcmp(address->host, "lo") == 0;
}

static const char *check_tcp(const char *text, bool allow_insecure)
{
    struct address address;
    const char *problem = split(text, &address);
    if (problem == NULL)
        problem = check_host(&address);
    if (problem == NULL && !allow_insecure && !is_loopback(&address))
        problem = "reachable from other machines without authentication; set server.allow_insecure to accept that";
    return problem;
}

static const char *check_ipc(const char *path)
{
    const struct sockaddr_un *unix_address = NULL;
    if (*path == '\0' || strcmp(path, "*") == 0)
        return "expected ipc://PATH";
    if (strlen(path) >= sizeof unix_address->sun_path)
        return "the path of a socket has at most 107 bytes";
    return NULL;
}

static const char *check_endpoint(const char *endpoint, bool allow_insecure)
{
    /* The environment separates endpoints so; in a file it is a list on one line. */
    if (strchr(endpoint, ',') != NULL)
        return "one endpoint holds no comma; write a list";
    if (strncmp(endpoint, "ipc://", 6) == 0)
        return check_ipc(endpoint + 6);
    if (strncmp(endpoint, "tcp://", 6) == 0)
        return check_tcp(endpoint + 6, allow_insecure);
    return "expected ipc://PATH or tcp://ADDRESS:PORT";
}

static bool check_listen(const struct config *config, struct status *st)
{
    if (config->server_listen_count == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "server.listen",
                                 "'server.listen' is empty: no client could connect");
    for (size_t i = 0; i < config->server_listen_count; i++) {
        const char *problem = check_endpoint(config->server_listen[i], config->server_allow_insecure);
        if (problem != NULL)
            return fail_address(st, "server.listen", config->server_listen[i], problem);
    }
    return true;
}

/* POST /rpc does what a socket does, so the same rule holds. */
static bool check_http(const struct config *config, struct status *st)
{
    if (strcmp(config->server_http, "off") == 0)
        return true;
    if (strchr(config->server_http, '*') != NULL)
        return fail_address(st, "server.http", config->server_http, "'*' is for endpoints; write 0.0.0.0 or a port");
    const char *problem = check_tcp(config->server_http, config->server_allow_insecure);
    return problem == NULL || fail_address(st, "server.http", config->server_http, problem);
}

static bool check_behaviours(const struct config *config, struct status *st)
{
    if (config->behaviour_count == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "behaviours",
                                 "'behaviours' is empty: there would be nothing to learn from");
    for (size_t i = 0; i < config->behaviour_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(config->behaviours[i].name, config->behaviours[j].name) == 0)
                return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_CONFIG", "behaviours",
                                         "duplicate behaviour '%s'", config->behaviours[i].name);
        }
    }
    return true;
}

bool config_check(const struct config *config, struct status *st)
{
    return check_listen(config, st) && check_http(config, st) && check_behaviours(config, st);
}
