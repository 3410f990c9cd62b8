/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_options.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_session.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct ctl_option options[] = {
    {"count", 'n', "N", ""},     {"exclude", 0, "ITEM", ""}, {"weight", 0, "NAME=FACTOR", ""},
    {"attribute", 0, "K=V", ""}, {"quiet", 'q', NULL, ""},   {0},
};

static const struct ctl_option *const lists[] = {options, NULL};

#define ARGV(...) ((char *[]){(char *)"recsysctl", __VA_ARGS__, NULL})

static int count_of(char **argv)
{
    int count = 0;
    while (argv[count] != NULL)
        count++;
    return count;
}

/* Everything must be read well. */
static struct ctl_arguments scan(char **argv)
{
    struct ctl_arguments arguments = {0};
    struct status st = STATUS_INIT;
    int at = 1;
    cr_assert(ctl_options_scan(&arguments, count_of(argv), argv, lists, false, &at, &st), "%s", st.message);
    arguments.words = argv + at;
    arguments.word_count = (size_t)(count_of(argv) - at);
    return arguments;
}

Test(ctl_options, words_and_options_in_any_order)
{
    struct ctl_arguments arguments = scan(ARGV("u1", "-n", "5", "i1", "--exclude=a", "-q", "--exclude", "b"));
    size_t position = 0;
    int64_t n = 0;
    cr_assert_eq(arguments.word_count, 2);
    cr_expect_str_eq(arguments.words[0], "u1");
    cr_expect_str_eq(arguments.words[1], "i1");
    cr_expect(ctl_option_integer(&arguments, "count", 1, 10, &n, NULL));
    cr_expect_eq(n, 5);
    cr_expect(ctl_option_given(&arguments, "quiet"));
    cr_expect_not(ctl_option_given(&arguments, "weight"));
    cr_expect_str_eq(ctl_option_next(&arguments, "exclude", &position), "a");
    cr_expect_str_eq(ctl_option_next(&arguments, "exclude", &position), "b");
    cr_expect_null(ctl_option_next(&arguments, "exclude", &position));
    cr_expect_str_eq(ctl_option_text(&arguments, "exclude"), "b");
    ctl_arguments_close(&arguments);
}

Test(ctl_options, stops_at_the_command)
{
    char **argv = ARGV("-q", "item", "-n", "5");
    struct ctl_arguments arguments = {0};
    int at = 1;
    cr_assert(ctl_options_scan(&arguments, 5, argv, lists, true, &at, NULL));
    cr_expect_eq(at, 2);
    cr_expect_eq(arguments.given_count, 1);
    ctl_arguments_close(&arguments);
}

Test(ctl_options, ids_may_look_like_options_after_two_dashes)
{
    struct ctl_arguments arguments = scan(ARGV("-q", "--", "-5", "-"));
    cr_assert_eq(arguments.word_count, 2);
    cr_expect_str_eq(arguments.words[0], "-5");
    cr_expect_str_eq(arguments.words[1], "-");
    ctl_arguments_close(&arguments);
}

Test(ctl_options, mistakes_are_named)
{
    static const struct {
        const char *words[3];
        const char *message;
    } cases[] = {
        {{"--excluse", "x"}, "unknown option '--excluse'; did you mean '--exclude'?"},
        {{"--excluse=x"}, "unknown option '--excluse'; did you mean '--exclude'?"},
        {{"--zzzzzzzz"}, "unknown option '--zzzzzzzz'"},
        {{"u", "-x"}, "unknown option '-x'"},
        {{"u", "-n"}, "option '--count' needs a value: N"},
        {{"--exclude"}, "option '--exclude' needs a value: ITEM"},
        {{"--quiet=1"}, "option '--quiet' takes no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[] = {(char *)"recsysctl", (char *)cases[i].words[0], (char *)cases[i].words[1], NULL};
        struct ctl_arguments arguments = {0};
        struct status st = STATUS_INIT;
        int at = 1;
        cr_expect_not(ctl_options_scan(&arguments, count_of(argv), argv, lists, false, &at, &st));
        cr_expect_str_eq(st.message, cases[i].message);
        cr_expect_str_eq(st.reason, CTL_USAGE);
        ctl_arguments_close(&arguments);
    }
}

Test(ctl_options, numbers_have_a_range)
{
    static const char *const bad[] = {"", "x", "5x", "0", "11", "99999999999999999999", "1.5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ctl_arguments arguments = scan(ARGV("-n", (char *)bad[i]));
        int64_t n = 7;
        cr_expect_not(ctl_option_integer(&arguments, "count", 1, 10, &n, NULL), "'%s' was taken", bad[i]);
        cr_expect_eq(n, 7);
        ctl_arguments_close(&arguments);
    }
}

Test(ctl_options, params_hold_only_what_was_given)
{
    struct ctl_arguments arguments = scan(ARGV("--weight", "text=0.5", "--weight", "image=2", "--attribute", "k=a",
                                               "--attribute", "k=b=c", "--attribute", "m=", "--attribute", "k=d"));
    json_t *params = json_object();
    cr_assert(ctl_params_integer(params, "n", &arguments, "count", 1, 10, NULL));
    cr_assert(ctl_params_texts(params, "exclude", &arguments, "exclude", NULL));
    cr_assert(ctl_params_text(params, "now", NULL, NULL));
    cr_assert(ctl_params_commas(params, "none", "", NULL));
    cr_assert(ctl_params_weights(params, "weights", &arguments, "weight", NULL));
    cr_assert(ctl_params_pairs(params, "attributes", &arguments, "attribute", NULL));
    cr_assert(ctl_params_commas(params, "fields", "title,price", NULL));
    cr_assert(ctl_params_yes_no(params, "exclude_seen", "no", NULL));
    json_t *expected =
        json_pack("{s:{s:f, s:f}, s:{s:[s,s,s], s:s}, s:[s,s], s:b}", "weights", "text", 0.5, "image", 2.0,
                  "attributes", "k", "a", "b=c", "d", "m", "", "fields", "title", "price", "exclude_seen", 0);
    cr_expect(json_equal(params, expected));
    json_decref(params);
    json_decref(expected);
    ctl_arguments_close(&arguments);
}

Test(ctl_options, bad_values_are_usage_errors)
{
    struct ctl_arguments arguments = scan(ARGV("--weight", "text", "--attribute", "=v", "--exclude", "\xff"));
    json_t *params = json_object();
    struct status st[5] = {STATUS_INIT, STATUS_INIT, STATUS_INIT, STATUS_INIT, STATUS_INIT};
    cr_expect_not(ctl_params_weights(params, "weights", &arguments, "weight", &st[0]));
    cr_expect_not(ctl_params_pairs(params, "attributes", &arguments, "attribute", &st[1]));
    cr_expect_not(ctl_params_texts(params, "exclude", &arguments, "exclude", &st[2]));
    cr_expect_not(ctl_params_real(params, "price", "nan", &st[3]));
    cr_expect_not(ctl_params_yes_no(params, "available", "Yes", &st[4]));
    for (size_t i = 0; i < 5; i++)
        cr_expect_str_eq(st[i].reason, CTL_USAGE, "%zu: %s", i, st[i].message);
    json_decref(params);
    ctl_arguments_close(&arguments);
}
