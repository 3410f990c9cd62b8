/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Each text is refused with a message that holds `problem`, and changes nothing. */
struct refused {
    const char *text, *problem;
};

static char path[64];

static void write_file(const char *text, size_t size)
{
    snprintf(path, sizeof path, "/tmp/test_train_options.XXXXXX");
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, size), (ssize_t)size);
    cr_assert_eq(close(file), 0);
}

static bool load(struct train_options *options, const char *text, struct status *st)
{
    *st = (struct status)STATUS_INIT;
    write_file(text, strlen(text));
    bool ok = train_options_load(options, path, st);
    unlink(path);
    return ok;
}

static void expect_bad(const struct status *st, const char *text, const char *problem)
{
    cr_expect_eq(st->code, STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(st->reason, "BAD_OPTION");
    cr_expect(strstr(st->message, problem) != NULL, "%s\nsays: %s\nnot: %s", text, st->message, problem);
}

/* Every default is within its limits and is what the JSON tells; both limits are taken, what is beyond them is not. */
Test(train_options, every_option_has_its_default_and_limits)
{
    static const struct {
        const char *name;
        double standard, least, most;
    } table[] = {
#define X(name, standard, least, most, kind, help) {#name, standard, least, most},
        TRAIN_OPTIONS(X)
#undef X
    };
    struct train_options options;
    train_options_default(&options);
    json_t *json = train_options_json(&options);
    cr_assert_eq(json_object_size(json), COUNT(table));
    for (size_t i = 0; i < COUNT(table); i++) {
        const double values[] = {table[i].least, table[i].most, table[i].least - 1e-3, table[i].most * 1.01 + 1e-3};
        cr_expect_eq(json_number_value(json_object_get(json, table[i].name)), table[i].standard, "%s", table[i].name);
        cr_expect(table[i].least <= table[i].standard && table[i].standard <= table[i].most, "%s", table[i].name);
        for (size_t j = 0; j < 4; j++) {
            char text[128];
            struct status st = STATUS_INIT;
            snprintf(text, sizeof text, "%s=%.17g", table[i].name, values[j]);
            cr_expect_eq(train_options_set(&options, text, &st), j < 2, "%s: %s", text, st.message);
            if (j >= 2)
                expect_bad(&st, text, table[i].name);
        }
    }
    json_decref(json);
}

Test(train_options, the_last_word_counts)
{
    struct train_options options, defaults;
    struct status st;
    train_options_default(&defaults);
    options = defaults;
    cr_expect(train_options_check(&options, NULL));
    cr_expect(load(&options, "# for a small shop\nwidth: 32\nepochs: 7\ndropout: 0.25\n", &st), "%s", st.message);
    cr_expect(options.width == 32 && options.epochs == 7 && options.dropout == .25 &&
              options.blocks == defaults.blocks);
    cr_expect(train_options_set(&options, "epochs=9", &st) && train_options_set(&options, "head_decay=1e-4", &st));
    cr_expect(options.epochs == 9 && options.head_decay == 1e-4 && options.width == 32);
    cr_expect(load(&options, "", &st) && load(&options, "# nothing\n", &st), "an empty file changes nothing");
    cr_expect(options.epochs == 9);
    json_t *json = train_options_json(&options);
    cr_expect(json_is_integer(json_object_get(json, "epochs")) && json_is_real(json_object_get(json, "dropout")));
    json_decref(json);
}

Test(train_options, assignments_that_are_refused)
{
    static const struct refused cases[] = {
        {"epochs", "'epochs' is not name=value"},
        {"", "is not name=value"},
        {"=3", "no training option ''"},
        {"epoch=3", "no training option 'epoch', did you mean 'epochs'"},
        {"drop_out=.1", "did you mean 'dropout'"},
        {"colour=3", "no training option 'colour'"},
        {"epochs=", "'epochs' takes a number from 0 to 10000, not ''"},
        {"epochs=many", "'epochs' takes a number from 0 to 10000, not 'many'"},
        {"epochs=3 4", "not '3 4'"},
        {"epochs=-1", "not '-1'"},
        {"width=64.5", "'width' takes a whole number, not '64.5'"},
        {"head_balance=.5", "'head_balance' takes a whole number, not '.5'"},
        {"dropout=1", "'dropout' takes a number from 0 to 0.95, not '1'"},
        {"dropout=nan", "not 'nan'"},
        {"learning_rate=inf", "not 'inf'"},
        {"learning_rate=1e999", "not '1e999'"},
        {"a_name_that_is_longer_than_any_option_could_ever_be_in_this_program_or_another=1", "is not name=value"},
    };
    struct train_options defaults;
    train_options_default(&defaults);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct train_options options = defaults;
        struct status st = STATUS_INIT;
        cr_expect_not(train_options_set(&options, cases[i].text, &st), "accepted: %s", cases[i].text);
        expect_bad(&st, cases[i].text, cases[i].problem);
        cr_expect_eq(memcmp(&options, &defaults, sizeof options), 0, "%s", cases[i].text);
    }
}

/* With the file and the line. */
Test(train_options, files_that_are_refused)
{
    static const struct refused cases[] = {
        {"epoch: 3\n", "line 1: there is no training option 'epoch', did you mean 'epochs'"},
        {"\n# why\nwidth: wide\n", "line 3: 'width' takes a number from 8 to 512, not 'wide'"},
        {"epochs:\n", "line 1: 'epochs' takes a number"},
        {"epochs: [3]\n", "line 1 is not 'name: value'"},
        {"{[1]: 3}\n", "line 1 is not 'name: value'"},
        {"train:\n  epochs: 3\n", "line 1 is not 'name: value'"},
        {"- epochs\n", "not a list of 'name: value'"},
        {"epochs\n", "not a list of 'name: value'"},
        {"{\n\n  epochs: 3\n", "line 4: "},
        {"epochs: \"3\n", "line "},
        {"epochs: 3\n\tdropout: .1\n", "line 2: "},
    };
    struct train_options defaults;
    train_options_default(&defaults);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct train_options options = defaults;
        struct status st;
        cr_expect_not(load(&options, cases[i].text, &st), "accepted: %s", cases[i].text);
        expect_bad(&st, cases[i].text, cases[i].problem);
        expect_bad(&st, cases[i].text, path);
    }
}

Test(train_options, files_that_are_too_long_or_are_not_there)
{
    static char text[70000];
    struct train_options options;
    struct status st = STATUS_INIT;
    train_options_default(&options);
    cr_expect_not(train_options_load(&options, "/no/such/file.yaml", &st));
    cr_expect_eq(st.code, STATUS_NOT_FOUND);
    cr_expect(strstr(st.message, "/no/such/file.yaml") != NULL, "%s", st.message);

    memset(text, '#', sizeof text - 1);
    cr_expect_not(load(&options, text, &st));
    expect_bad(&st, "a long file", "65536 bytes");
    text[65536] = '\0';
    cr_expect(load(&options, text, &st), "64 KiB are allowed: %s", st.message);
}

/* fopen opens a directory; there are no options in it */
Test(train_options, a_directory_is_no_file)
{
    struct train_options options;
    struct status st = STATUS_INIT;
    train_options_default(&options);
    cr_expect_not(train_options_load(&options, "/tmp", &st));
    cr_expect(strstr(st.message, "/tmp") != NULL, "%s", st.message);
}

Test(train_options, heads_divide_the_width)
{
    static const struct {
        double width, heads;
        bool fits;
    } cases[] = {{64, 1, true}, {64, 16, true}, {64, 3, false}, {9, 3, true}, {8, 16, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct train_options options;
        struct status st = STATUS_INIT;
        train_options_default(&options);
        options.width = cases[i].width;
        options.heads = cases[i].heads;
        cr_expect_eq(train_options_check(&options, &st), cases[i].fits, "%g, %g", cases[i].width, cases[i].heads);
        if (!cases[i].fits)
            expect_bad(&st, "heads", "heads do not divide a width");
    }
}
