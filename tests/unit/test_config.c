/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"
#include "daemon/config_yaml.h"
#include "daemon/log.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

/* Relative to the root of the project, where tests are run. */
#define REFERENCE "etc/recsysd.yaml"

static void expect_same(const struct config *got, const struct config *expected)
{
#define SAME_NUMBER(section, name, preset, least, most, doc)                                                           \
    cr_expect(got->section##_##name == expected->section##_##name, #section "." #name);
#define SAME_SWITCH(section, name, preset, doc)                                                                        \
    cr_expect(got->section##_##name == expected->section##_##name, #section "." #name);
#define SAME_TEXT(section, name, preset, doc)                                                                          \
    cr_expect_str_eq(got->section##_##name, expected->section##_##name, #section "." #name);
    CONFIG_SETTINGS(SAME_NUMBER, SAME_NUMBER, SAME_SWITCH, SAME_TEXT)
#undef SAME_NUMBER
#undef SAME_SWITCH
#undef SAME_TEXT
    cr_expect_eq(got->server_listen_count, expected->server_listen_count);
    for (size_t i = 0; i < expected->server_listen_count; i++)
        cr_expect_str_eq(got->server_listen[i], expected->server_listen[i]);
    cr_expect_eq(got->behaviour_count, expected->behaviour_count);
    for (size_t i = 0; i < expected->behaviour_count; i++) {
        cr_expect_str_eq(got->behaviours[i].name, expected->behaviours[i].name);
        cr_expect_eq(got->behaviours[i].weight, expected->behaviours[i].weight);
    }
}

/* A valid configuration that differs from the default in every setting. */
static void init_other(struct config *config)
{
    config_init(config);
#define OTHER_NUMBER(section, name, preset, least, most, doc)                                                          \
    config->section##_##name = (preset) == (most) ? (least) : (most);
#define OTHER_SWITCH(section, name, preset, doc) config->section##_##name = !(preset);
#define OTHER_TEXT(section, name, preset, doc)                                                                         \
    snprintf(config->section##_##name, CONFIG_TEXT_MAX, "gr\xc3\xbc\xc3\x9f \"%s\" \\ # : '", #name);
    CONFIG_SETTINGS(OTHER_NUMBER, OTHER_NUMBER, OTHER_SWITCH, OTHER_TEXT)
#undef OTHER_NUMBER
#undef OTHER_SWITCH
#undef OTHER_TEXT
    config->storage_batch_ms = 0.1;
    strcpy(config->storage_durability, "normal");
    strcpy(config->requests_log, "all");
    strcpy(config->log_level, "debug");
    strcpy(config->log_format, "json");
    strcpy(config->server_listen[0], "tcp://[::1]:7411");
    strcpy(config->server_listen[1], "ipc://@abstract \"name\"");
    config->server_listen_count = 2;
    config->behaviours[0] = (struct config_behaviour){"null", -1.0 / 3};
    config->behaviours[1] = (struct config_behaviour){"true", 1e-300};
    config->behaviour_count = 2;
}

static bool load(struct config *config, const char *text, struct status *st)
{
    *st = (struct status)STATUS_INIT;
    return config_load_text(config, "f.yaml", text, strlen(text), st);
}

Test(config, the_defaults_pass_the_check)
{
    struct config config;
    struct status st = STATUS_INIT;
    config_init(&config);
    cr_expect(config_check(&config, &st), "%s", st.message);
    cr_expect_str_eq(config.server_listen[0], "ipc:///run/recsysd/recsysd.sock");
    cr_expect_eq(config.behaviour_count, 7);
    cr_expect_str_eq(config.behaviours[6].name, "skip");
    cr_expect_eq(config.behaviours[6].weight, -0.5);
    cr_expect_eq(config.server_queue_requests, 1024);
    cr_expect_eq(config.storage_batch_ms, 5.0);
    cr_expect_str_eq(config.storage_data_dir, "/var/lib/recsysd");
}

/* Loaded over something that differs everywhere: so every setting is in the file, and at its default. */
Test(config, the_reference_file_is_exactly_the_defaults)
{
    struct config config, defaults;
    struct status st = STATUS_INIT;
    config_init(&defaults);
    init_other(&config);
    cr_assert(config_load(&config, REFERENCE, &st), "%s", st.message);
    expect_same(&config, &defaults);
}

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    config_print(config, out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

Test(config, what_is_printed_reads_back_to_the_same)
{
    struct config config, other;
    struct status st;
    config_init(&config);
    init_other(&other);
    char *text = print(&other);
    cr_expect(load(&config, text, &st), "%s\n%s", st.message, text);
    expect_same(&config, &other);
    free(text);

    config_init(&other);
    text = print(&other);
    cr_expect(load(&config, text, &st), "%s\n%s", st.message, text);
    expect_same(&config, &other);
    cr_expect(strstr(text, "  # scoring threads; 0: one per core (0 to 256)\n  workers: 0\n") != NULL, "%s", text);
    free(text);
}

Test(config, empty_lists_are_printed_as_such)
{
    struct config config, again;
    struct status st;
    config_init(&config);
    config_init(&again);
    config.server_listen_count = 0;
    config.behaviour_count = 0;
    char *text = print(&config);
    cr_expect(load(&again, text, &st), "%s\n%s", st.message, text);
    cr_expect(again.server_listen_count == 0 && again.behaviour_count == 0);
    free(text);
}

Test(config, a_file_changes_what_it_names)
{
    struct config config, expected;
    struct status st;
    config_init(&config);
    config_init(&expected);
    expected.server_workers = 4;
    expected.server_allow_insecure = true;
    expected.storage_batch_ms = 2.5;
    strcpy(expected.storage_data_dir, "/srv/my shop");
    strcpy(expected.server_http, "off");
    strcpy(expected.server_listen[0], "ipc://a");
    strcpy(expected.server_listen[1], "tcp://127.0.0.1:1");
    expected.server_listen_count = 2;
    expected.behaviours[0] = (struct config_behaviour){"rent", 2.5};
    expected.behaviours[1] = (struct config_behaviour){"return", -100};
    expected.behaviour_count = 2;
    cr_assert(load(&config,
                   "\xef\xbb\xbf# comment\r\nserver: {workers: 4, allow_insecure: true, http: off}\r\n"
                   "storage:\n  batch_ms: 2.5\n  \"data_dir\": '/srv/my shop'\n"
                   "behaviours:\n  rent: 2.5\n  return: -1e2\n",
                   &st),
              "%s", st.message);
    cr_assert(load(&config, "---\nserver:\n  listen:\n    - ipc://a\n    - 'tcp://127.0.0.1:1'\n...\n", &st), "%s",
              st.message);
    expect_same(&config, &expected);
}

Test(config, nothing_said_changes_nothing)
{
    static const char *const cases[] = {
        "", "# only a comment\n", "---\n", "~\n", "{}\n", "server:\nlog: {}\nbehaviours:\n"};
    struct config config, expected;
    struct status st;
    init_other(&config);
    expected = config;
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect(load(&config, cases[i], &st), "%s: %s", cases[i], st.message);
    expect_same(&config, &expected);
}

Test(config, files_that_cannot_be_read)
{
    static const char *const paths[] = {"/nonexistent/recsysd.yaml", "/", ""};
    struct config config;
    config_init(&config);
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct status st = STATUS_INIT;
        cr_expect_not(config_load(&config, paths[i], &st));
        cr_expect_eq(st.code, STATUS_NOT_FOUND);
        cr_expect_str_eq(st.reason, "NO_INPUT");
        cr_expect(strncmp(st.message, "read '", 6) == 0, "%s", st.message);
    }
}

Test(config, a_file_over_the_limit_and_a_file_through_a_pipe)
{
    struct config config;
    struct status st = STATUS_INIT;
    int ends[2];
    config_init(&config);
    cr_expect_not(config_load(&config, "/dev/zero", &st));
    cr_expect_str_eq(st.message, "/dev/zero:1:1: the file is over 262144 bytes");

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "server: {workers: 7}\n", 21), 21);
    close(ends[1]);
    char path[64];
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    cr_expect(config_load(&config, path, &st), "%s", st.message);
    cr_expect_eq(config.server_workers, 7);
    close(ends[0]);
}

Test(config, set_by_dotted_name)
{
    static const struct {
        const char *name, *value, *problem; /* NULL: accepted */
    } cases[] = {
        {"server.workers", "8", NULL},
        {"storage.batch_ms", "0.5", NULL},
        {"server.allow_insecure", "true", NULL},
        {"log.level", "debug", NULL},
        {"server.workers", "8x", "expected a whole number"},
        {"server.workers", "", "expected a whole number"},
        {"server.workers", " 8", "expected a whole number"},
        {"server.worker", "8", "unknown setting 'server.worker', did you mean 'server.workers'?"},
        {"workers", "8", "unknown setting 'workers'"},
        {"", "8", "unknown setting ''"},
        {"storage.data_dir", "bad \xff", "bad UTF-8"},
        {"storage.data_dir", "two\nlines", "control character"},
        {"storage.data_dir", "right-to-left \xe2\x80\xae", "control character"},
    };
    struct config config;
    config_init(&config);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct status st = STATUS_INIT;
        const bool ok = config_set(&config, cases[i].name, cases[i].value, &st);
        cr_expect_eq(ok, cases[i].problem == NULL, "%s=%s: %s", cases[i].name, cases[i].value, st.message);
        cr_expect(ok || strstr(st.message, cases[i].problem) != NULL, "%s", st.message);
        cr_expect(ok || strcmp(st.reason, "BAD_CONFIG") == 0);
    }
    cr_expect_eq(config.server_workers, 8);
    cr_expect_eq(config.storage_batch_ms, 0.5);
    cr_expect(config.server_allow_insecure);
    cr_expect_str_eq(config.log_level, "debug");
    cr_expect_str_eq(config.storage_data_dir, "/var/lib/recsysd");
}

Test(config, a_text_that_is_too_long_is_refused_whole)
{
    struct config config;
    char text[CONFIG_TEXT_MAX + 1];
    memset(text, 'a', sizeof text);
    text[CONFIG_TEXT_MAX] = '\0';
    config_init(&config);
    cr_expect_not(config_set(&config, "storage.data_dir", text, NULL));
    cr_expect_str_eq(config.storage_data_dir, "/var/lib/recsysd");
    cr_expect(config_set(&config, "storage.data_dir", text + 1, NULL));
    cr_expect_str_eq(config.storage_data_dir, text + 1);
    cr_expect(config_set(&config, "storage.data_dir", "/b", NULL));
    cr_expect_str_eq(config.storage_data_dir, "/b");
}

Test(config, environment)
{
    char *variables[] = {"PATH=/bin",
                         "RECSYSD_OTHER=1",
                         "RECSYSD__SERVER__QUEUE_REQUESTS=2",
                         "RECSYSD__SERVER__LISTEN=ipc://a, tcp://127.0.0.1:1",
                         "RECSYSD__BEHAVIOURS=view=1,purchase = 5.5",
                         "RECSYSD__STORAGE__DATA_DIR=/a=b",
                         NULL};
    struct config config, expected;
    struct status st = STATUS_INIT;
    config_init(&config);
    config_init(&expected);
    expected.server_queue_requests = 2;
    strcpy(expected.storage_data_dir, "/a=b");
    strcpy(expected.server_listen[0], "ipc://a");
    strcpy(expected.server_listen[1], "tcp://127.0.0.1:1");
    expected.server_listen_count = 2;
    expected.behaviours[0] = (struct config_behaviour){"view", 1};
    expected.behaviours[1] = (struct config_behaviour){"purchase", 5.5};
    expected.behaviour_count = 2;
    cr_assert(config_environment(&config, variables, &st), "%s", st.message);
    expect_same(&config, &expected);
}

/* Each is refused with a message that holds `problem`, and changes nothing. */
struct refused {
    const char *text;
    const char *problem;
};

Test(config, bad_variables_are_refused_and_change_nothing)
{
    static const struct refused cases[] = {
        {"RECSYSD__SERVER__WORKER=2", "environment variable 'RECSYSD__SERVER__WORKER': unknown setting, did you mean "
                                      "'RECSYSD__SERVER__WORKERS'?"},
        {"RECSYSD__server__workers=2", "did you mean 'RECSYSD__SERVER__WORKERS'?"},
        {"RECSYSD__=2", "unknown setting"},
        {"RECSYSD__SERVER=2", "unknown setting"},
        {"RECSYSD__SERVER__WORKERS=many", "'RECSYSD__SERVER__WORKERS': 'server.workers' is 'many', expected a whole"},
        {"RECSYSD__SERVER__WORKERS=", "expected a whole number"},
        {"RECSYSD__SERVER__WORKERS", "expected a whole number"},
        {"RECSYSD__SERVER__LISTEN=", "'server.listen' is empty"},
        {"RECSYSD__SERVER__LISTEN=ipc://a,,ipc://b", "'server.listen' is empty"},
        {"RECSYSD__SERVER__LISTEN=ipc://a,ipc://a", "twice"},
        {"RECSYSD__BEHAVIOURS=view", "expected NAME=WEIGHT"},
        {"RECSYSD__BEHAVIOURS=view=1,view=2", "duplicate behaviour 'view'"},
        {"RECSYSD__BEHAVIOURS=view=1=2", "expected a number"},
    };
    struct config defaults;
    config_init(&defaults);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *variables[] = {"RECSYSD__LOG__LEVEL=debug", (char *)(uintptr_t)cases[i].text, NULL};
        struct config config = defaults;
        struct status st = STATUS_INIT;
        cr_expect_not(config_environment(&config, variables, &st), "accepted: %s", cases[i].text);
        cr_expect_str_eq(st.reason, "BAD_CONFIG");
        cr_expect(strstr(st.message, cases[i].problem) != NULL, "%s: %s", cases[i].text, st.message);
        expect_same(&config, &defaults);
    }
}

/* A program that has called setlocale must not read or write a decimal comma. */
Test(config, numbers_do_not_depend_on_the_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    const char *set = NULL;
    for (size_t i = 0; i < COUNT(names) && set == NULL; i++)
        set = setlocale(LC_ALL, names[i]);
    if (set == NULL)
        cr_skip_test("no locale with a decimal comma is installed");
    struct config config, again;
    struct status st = STATUS_INIT;
    config_init(&config);
    config_init(&again);
    cr_expect(config_set(&config, "storage.batch_ms", "2.5", &st), "%s", st.message);
    char *text = print(&config);
    cr_expect(load(&again, text, &st), "%s", st.message);
    cr_expect_eq(again.storage_batch_ms, 2.5);
    free(text);
}

/* What the log accepts and what the file may say are one. */
Test(config, every_word_of_the_log_is_understood)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const formats[] = {"auto", "text", "json"};
    struct config config;
    enum log_level level;
    enum log_format format;
    config_init(&config);
    for (size_t i = 0; i < COUNT(levels); i++)
        cr_expect(config_set(&config, "log.level", levels[i], NULL) && log_level_parse(config.log_level, &level));
    for (size_t i = 0; i < COUNT(formats); i++)
        cr_expect(config_set(&config, "log.format", formats[i], NULL) && log_format_parse(config.log_format, &format));
}
