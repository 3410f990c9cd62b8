/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_yaml.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

static bool load(struct config *config, const char *text, struct status *st)
{
    *st = (struct status)STATUS_INIT;
    return config_load_text(config, "f.yaml", text, strlen(text), st);
}

/* Each text is refused with a message that holds `problem`, and changes nothing. */
struct refused {
    const char *text;
    const char *problem;
};

static void expect_refused(const struct refused *cases, size_t count)
{
    struct config defaults;
    config_init(&defaults);
    for (size_t i = 0; i < count; i++) {
        struct config config = defaults;
        struct status st;
        cr_expect_not(load(&config, cases[i].text, &st), "accepted: %s", cases[i].text);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(st.reason, "BAD_CONFIG");
        cr_expect(strstr(st.message, cases[i].problem) != NULL, "\n%s\nsays: %s", cases[i].text, st.message);
        cr_expect_eq(memcmp(&config, &defaults, sizeof config), 0, "%s", cases[i].text);
    }
}

Test(config_yaml, listen_may_be_one_scalar)
{
    struct config config;
    struct status st;
    config_init(&config);
    cr_assert(load(&config, "server:\n  listen: tcp://127.0.0.1:7411\n", &st), "%s", st.message);
    cr_expect_eq(config.server_listen_count, 1);
    cr_expect_str_eq(config.server_listen[0], "tcp://127.0.0.1:7411");
}

Test(config_yaml, unknown_keys_are_refused_with_place_and_nearest)
{
    static const struct refused cases[] = {
        {"server:\n  worker: 4\n", "f.yaml:2:3: unknown setting 'server.worker', did you mean 'workers'?"},
        {"server:\n  timeout: 4\n", "did you mean 'timeout_ms'?"},
        {"server:\n  lisen: ipc://a\n", "did you mean 'listen'?"},
        {"server:\n  colour: red\n", "f.yaml:2:3: unknown setting 'server.colour'"},
        {"\nsevrer:\n  workers: 4\n", "f.yaml:2:1: unknown section 'sevrer', did you mean 'server'?"},
        {"behaviors: {view: 1}\n", "did you mean 'behaviours'?"},
        {"behaviours2: {view: 1}\n", "did you mean 'behaviours'?"},
        {"server: {'': 1}\n", "unknown setting 'server.'"},
        {"log: {server.workers: 1}\n", "unknown setting"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(config_yaml, values_of_the_wrong_type_or_range_are_refused)
{
    static const struct refused cases[] = {
        {"server:\n  workers: 257\n", "f.yaml:2:12: 'server.workers' is '257', expected 0 to 256"},
        {"server: {workers: -1}\n", "expected 0 to 256"},
        {"server: {queue_bytes: 99999999999999999999}\n", "expected 1048576 to 17179869184"},
        {"server: {workers: four}\n", "'server.workers' is 'four', expected a whole number"},
        {"server: {workers: 1.5}\n", "expected a whole number"},
        {"server: {workers: 1e2}\n", "expected a whole number"},
        {"server: {workers: 010}\n", "expected a whole number"},
        {"server: {workers: 0x10}\n", "expected a whole number"},
        {"server: {workers: '4'}\n", "is a number: write it without quotes"},
        {"server: {workers: [4]}\n", "'server.workers' is one value"},
        {"server: {workers: {a: 4}}\n", "'server.workers' is one value"},
        {"server: {workers: }\n", "'server.workers' has no value"},
        {"server: {http: ~}\n", "'server.http' has no value"},
        {"server: {http: ''}\n", "'server.http' is empty"},
        {"server: {http: \"a\\x07\"}\n", "control character"},
        {"server: {http: \"a\\0b\"}\n", "NUL"},
        {"server: {allow_insecure: yes}\n", "'server.allow_insecure' is 'yes', expected true or false"},
        {"server: {allow_insecure: 'true'}\n", "without quotes"},
        {"server: {allow_insecure: 1}\n", "expected true or false"},
        {"storage: {batch_ms: 1000.5}\n", "expected 0 to 1000"},
        {"storage: {batch_ms: -0.001}\n", "expected 0 to 1000"},
        {"storage: {batch_ms: .nan}\n", "expected a number"},
        {"storage: {batch_ms: nan}\n", "expected a number"},
        {"storage: {batch_ms: inf}\n", "expected a number"},
        {"storage: {batch_ms: 1e999}\n", "expected a number"},
        {"storage: {batch_ms: 0x1p3}\n", "expected a number"},
        {"storage: {batch_ms: '1,5'}\n", "without quotes"},
        {"storage: {durability: fast}\n", "'storage.durability' is 'fast', expected full or normal"},
        {"log: {level: warning}\n", "expected debug or info or warn or error"},
        {"server: {listen: {a: b}}\n", "'server.listen' is an endpoint or a list of endpoints"},
        {"server: {listen: [[ipc://a]]}\n", "'server.listen' is an endpoint or a list of endpoints"},
        {"server: {listen: [ipc://a, ipc://a]}\n", "twice"},
        {"server: {listen: [a1, a2, a3, a4, a5, a6, a7, a8, a9]}\n", "more than 8 endpoints"},
        {"server: 4\n", "f.yaml:1:9: 'server' is a section"},
        {"server: [1]\n", "'server' is a section"},
        {"- server\n", "f.yaml:1:1: expected sections"},
        {"server\n", "expected sections"},
        {"? [a]\n: 1\n", "a key is one word"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(config_yaml, behaviours_are_checked)
{
    static const struct refused cases[] = {
        {"behaviours: {View: 1}\n", "'View' is no name of a behaviour"},
        {"behaviours: {1st: 1}\n", "is no name of a behaviour"},
        {"behaviours: {a-b: 1}\n", "is no name of a behaviour"},
        {"behaviours: {'': 1}\n", "is no name of a behaviour"},
        {"behaviours: {abcdefghijklmnopqrstuvwxyz_12345: 1}\n", "at most 31"},
        {"behaviours:\n  view: 1\n  view: 2\n", "f.yaml:3:3: duplicate behaviour 'view'"},
        {"behaviours: {view: 100.5}\n", "expected a number from -100 to 100"},
        {"behaviours: {view: .inf}\n", "expected a number from -100 to 100"},
        {"behaviours: {view: }\n", "expected a number from -100 to 100"},
        {"behaviours: {view: '1'}\n", "the weight of 'view' is a number"},
        {"behaviours: {view: [1]}\n", "the weight of 'view' is a number"},
        {"behaviours: [view]\n", "'behaviours' is a section"},
    };
    expect_refused(cases, COUNT(cases));

    char text[2048] = "behaviours:\n";
    struct config config;
    struct status st;
    config_init(&config);
    for (int i = 0; i <= CONFIG_BEHAVIOURS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  b%d: 1\n", i);
    cr_expect_not(load(&config, text, &st));
    cr_expect_str_eq(st.message, "f.yaml:34:3: more than 32 behaviours");
    *strstr(text, "  b32") = '\0';
    cr_expect(load(&config, text, &st), "%s", st.message);
    cr_expect_eq(config.behaviour_count, CONFIG_BEHAVIOURS_MAX);
}

Test(config_yaml, yaml_that_a_configuration_needs_nothing_of_is_refused)
{
    static const struct refused cases[] = {
        {"server: {workers: 1}\nserver: {workers: 2}\n", "f.yaml:2:1: duplicate key 'server'"},
        {"server:\n  workers: 1\n  workers: 1\n", "f.yaml:3:3: duplicate key 'workers' in 'server'"},
        {"server: {listen: ipc://a, listen: ipc://b}\n", "duplicate key 'listen'"},
        {"server: &a {workers: 1}\n", "f.yaml:1:9: anchors"},
        {"server: {workers: &a 1}\n", "anchors"},
        {"server: {&a workers: 1}\n", "anchors"},
        {"server: {listen: &a [ipc://a]}\n", "anchors"},
        {"server: *a\n", "f.yaml:1:9: aliases"},
        {"server: {workers: *a}\n", "aliases"},
        {"server:\n  <<: {workers: 1}\n", "f.yaml:2:3: merge keys"},
        {"<<: {server: {workers: 1}}\n", "merge keys"},
        {"server: {workers: !!int 1}\n", "tags"},
        {"server: {workers: ! 1}\n", "tags"},
        {"server: !x {workers: 1}\n", "tags"},
        {"server: {listen: !!seq [a]}\n", "tags"},
        {"log: {level: info}\n---\nlog: {level: warn}\n", "f.yaml:2:1: a second document"},
        {"server: {workers: 1\n", "f.yaml:2:1: "},
        {"server:\n\tworkers: 1\n", "f.yaml:2:1: "},
        {"log: {level: 'info}\n", "f.yaml:"},
        {"server:\n  # ok \xc3\xbc\n  http: \xc3\xbc\xff\n", "f.yaml:3:10: bad UTF-8"},
        {"server:\n  http: \xc3\xbc\x01\n", "f.yaml:2:10: control characters are not allowed"},
        {"server: {x: [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]}\n", "f.yaml:1:27: nested deeper than 16 levels"},
    };
    expect_refused(cases, COUNT(cases));
}

Test(config_yaml, size_is_limited)
{
    struct config config;
    struct status st = STATUS_INIT;
    char *text = malloc(CONFIG_FILE_MAX + 1);
    cr_assert_not_null(text);
    config_init(&config);
    memset(text, '#', CONFIG_FILE_MAX + 1);
    cr_expect(config_load_text(&config, "f", text, CONFIG_FILE_MAX, &st), "%s", st.message);
    cr_expect_not(config_load_text(&config, "f", text, CONFIG_FILE_MAX + 1, &st));
    cr_expect_str_eq(st.message, "f:1:1: the file is over 262144 bytes");
    /* Deep nesting alone must not take quadratic time: the limit of depth ends it. */
    memset(text, '[', CONFIG_FILE_MAX);
    cr_expect_not(config_load_text(&config, "f", text, CONFIG_FILE_MAX, &st));
    cr_expect_str_eq(st.message, "f:1:17: nested deeper than 16 levels");
    cr_expect_not(config_load_text(&config, "f", text, CONFIG_FILE_MAX, NULL));
    free(text);
}
