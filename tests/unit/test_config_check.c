/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

struct address {
    const char *address;
    const char *problem;  /* NULL: well-formed */
    bool reaches_outside; /* needs allow_insecure */
};

static void expect_checked(const struct address *cases, size_t count, const char *setting)
{
    for (size_t i = 0; i < count; i++) {
        struct config config;
        struct status st = STATUS_INIT;
        config_init(&config);
        cr_assert(config_set(&config, setting, cases[i].address, &st), "%s", st.message);
        const bool closed = config_check(&config, &st);
        cr_expect_eq(closed, cases[i].problem == NULL && !cases[i].reaches_outside, "%s: %s", cases[i].address,
                     st.message);
        cr_expect(closed || strcmp(st.field, setting) == 0);
        if (cases[i].reaches_outside)
            cr_expect(strstr(st.message, "server.allow_insecure") != NULL, "%s", st.message);
        config.server_allow_insecure = true;
        const bool open = config_check(&config, &st);
        cr_expect_eq(open, cases[i].problem == NULL, "%s: %s", cases[i].address, st.message);
        cr_expect(open || strstr(st.message, cases[i].problem) != NULL, "%s: %s", cases[i].address, st.message);
    }
}

Test(config_check, endpoints_are_checked)
{
    static const struct address cases[] = {
        {"ipc:///run/a.sock", NULL, false},
        {"ipc://relative", NULL, false},
        {"ipc://@abstract", NULL, false},
        {"tcp://127.0.0.1:7411", NULL, false},
        {"tcp://127.255.0.9:*", NULL, false},
        {"tcp://localhost:7411", NULL, false},
        {"tcp://lo:7411", NULL, false},
        {"tcp://[::1]:7411", NULL, false},
        {"tcp://*:7411", NULL, true},
        {"tcp://0.0.0.0:7411", NULL, true},
        {"tcp://[::]:7411", NULL, true},
        {"tcp://[::ffff:10.0.0.1]:7411", NULL, true},
        {"tcp://[fe80::1%eth0]:7411", NULL, true},
        {"tcp://10.1.2.3:65535", NULL, true},
        {"tcp://128.0.0.1:1", NULL, true},
        {"tcp://eth0:7411", NULL, true},
        {"tcp://localhost.example.org:7411", NULL, true},
        {"tcp://127.0.0.1.example.org:7411", NULL, true},
        {"ipc://", "expected ipc://PATH", false},
        {"ipc://*", "expected ipc://PATH", false},
        {"http://127.0.0.1:80", "expected ipc://PATH or tcp://ADDRESS:PORT", false},
        {"inproc://a", "expected ipc://PATH or tcp://ADDRESS:PORT", false},
        {"127.0.0.1:80", "expected ipc://PATH or tcp://ADDRESS:PORT", false},
        {"tcp://127.0.0.1", "expected ADDRESS:PORT", false},
        {"tcp://127.0.0.1:", "expected ADDRESS:PORT", false},
        {"tcp://127.0.0.1:65536", "a port up to 65535", false},
        {"tcp://127.0.0.1:999999999999", "a port up to 65535", false},
        {"tcp://127.0.0.1:80/", "a port up to 65535", false},
        {"tcp://:80", "an address", false},
        {"tcp://[]:80", "an address", false},
        {"tcp://256.0.0.1:80", "no IPv4 address", false},
        {"tcp://127.1:80", "no IPv4 address", false},
        {"tcp://::1:80", "brackets", false},
        {"tcp://[127.0.0.1]:80", "no IPv6 address", false},
        {"tcp://a b:80", "no address", false},
        {"tcp://127.0.0.1;10.0.0.1:80", "no address", false},
    };
    expect_checked(cases, COUNT(cases), "server.listen");
}

Test(config_check, the_address_of_http_is_checked)
{
    static const struct address cases[] = {
        {"off", NULL, false},
        {"127.0.0.1:0", NULL, false},
        {"localhost:9464", NULL, false},
        {"[::1]:9464", NULL, false},
        {"0.0.0.0:9464", NULL, true},
        {"[::]:9464", NULL, true},
        {"*:9464", "'*' is for endpoints", false},
        {"127.0.0.1:*", "'*' is for endpoints", false},
        {"127.0.0.1", "expected ADDRESS:PORT", false},
        {"9464", "expected ADDRESS:PORT", false},
    };
    expect_checked(cases, COUNT(cases), "server.http");
}

Test(config_check, the_path_of_a_socket_fits_the_system)
{
    struct config config;
    struct status st = STATUS_INIT;
    char endpoint[6 + 108 + 1] = "ipc://";
    config_init(&config);
    memset(endpoint + 6, 'a', 108);
    cr_assert(config_set(&config, "server.listen", endpoint, &st));
    cr_expect_not(config_check(&config, &st));
    cr_expect(strstr(st.message, "at most 107 bytes") != NULL, "%s", st.message);
    endpoint[6 + 107] = '\0';
    cr_assert(config_set(&config, "server.listen", endpoint, &st));
    cr_expect(config_check(&config, &st), "%s", st.message);
}

Test(config_check, the_whole_is_checked)
{
    struct config config;
    struct status st = STATUS_INIT;
    config_init(&config);
    config.behaviour_count = 0;
    cr_expect_not(config_check(&config, &st));
    cr_expect_str_eq(st.field, "behaviours");

    config_init(&config);
    config.server_listen_count = 0;
    cr_expect_not(config_check(&config, &st));
    cr_expect_str_eq(st.field, "server.listen");

    config_init(&config);
    strcpy(config.server_listen[0], "ipc://a,ipc://b");
    cr_expect_not(config_check(&config, &st));
    cr_expect(strstr(st.message, "write a list") != NULL, "%s", st.message);

    config_init(&config);
    strcpy(config.behaviours[3].name, "view");
    cr_expect_not(config_check(&config, &st));
    cr_expect_str_eq(st.message, "duplicate behaviour 'view'");
}
