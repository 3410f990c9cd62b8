/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/status.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistr.h>

static bool is_printable(const char *text)
{
    if (u8_check((const uint8_t *)text, strlen(text)) != NULL)
        return false;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

Test(status, starts_ok_and_empty)
{
    struct status st = STATUS_INIT;
    cr_assert_eq(st.code, STATUS_OK);
    cr_assert_str_empty(st.reason);
    cr_assert_str_empty(st.message);
}

Test(status, a_failure_is_described_and_false)
{
    struct status st = {.field = "old", .retry_after_ms = 7};
    cr_assert_not(status_fail(&st, STATUS_NOT_FOUND, "UNKNOWN_ITEM", "item '%s' is unknown", "tea"));
    cr_assert_eq(st.code, STATUS_NOT_FOUND);
    cr_assert_str_eq(st.reason, "UNKNOWN_ITEM");
    cr_assert_str_eq(st.message, "item 'tea' is unknown");
    cr_assert_str_empty(st.field, "an earlier failure shows through");
    cr_assert_eq(st.retry_after_ms, 0);
}

Test(status, a_failure_names_its_field)
{
    struct status st = STATUS_INIT;
    cr_assert_not(status_fail_field(&st, STATUS_INVALID_ARGUMENT, "BAD_TIME", "events[3].ts", "'%d' is no time", 5));
    cr_assert_str_eq(st.field, "events[3].ts");
    cr_assert_str_eq(st.message, "'5' is no time");
}

Test(status, nobody_has_to_listen)
{
    cr_assert_not(status_fail(NULL, STATUS_INTERNAL, "X", "x"));
    cr_assert_not(status_fail_field(NULL, STATUS_INTERNAL, "X", "f", "x"));
    cr_assert_not(status_wrap(NULL, "load"));
}

Test(status, what_strangers_wrote_is_made_printable)
{
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"tea\nINFO forged line", "tea?INFO forged line"},
        {"\x1b[31mred\x7f", "?[31mred?"},
        {"caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac"},
        {"bad \xff\xfe bytes", "bad ?? bytes"},
        {"surrogate \xed\xa0\x80.", "surrogate ???."},
        {"ends in the middle of \xe2\x82", "ends in the middle of "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        status_fail_field(&st, STATUS_INVALID_ARGUMENT, "X", cases[i].given, "%s", cases[i].given);
        cr_expect_str_eq(st.message, cases[i].expected, "case %zu: '%s'", i, st.message);
        cr_expect_str_eq(st.field, cases[i].expected, "case %zu: '%s'", i, st.field);
    }
}

/* Every offset of the cut inside a character of three bytes. */
Test(status, long_text_is_cut_at_a_character)
{
    for (size_t shift = 0; shift < 3; shift++) {
        char text[1000] = "xxx";
        size_t length = shift;
        while (length + 3 < sizeof text - 1) {
            memcpy(text + length, "\xe2\x82\xac", 3);
            length += 3;
        }
        text[length] = '\0';
        struct status st = STATUS_INIT;
        status_fail_field(&st, STATUS_INTERNAL, "X", text, "%s", text);
        cr_expect(is_printable(st.message) && is_printable(st.field), "shift %zu", shift);
        cr_expect_gt(strlen(st.message), sizeof st.message - 4);
        cr_expect_gt(strlen(st.field), sizeof st.field - 4);
        cr_expect_eq(strncmp(text, st.message, strlen(st.message)), 0);
    }
}

Test(status, wrapping_puts_the_step_in_front)
{
    struct status st = STATUS_INIT;
    status_fail_field(&st, STATUS_DATA_LOSS, "BAD_NPY", "raw", "header of 5 bytes");
    cr_assert_not(status_wrap(&st, "load '%s'", "a.npy"));
    cr_assert_not(status_wrap(&st, "start"));
    cr_assert_str_eq(st.message, "start: load 'a.npy': header of 5 bytes");
    cr_assert_eq(st.code, STATUS_DATA_LOSS);
    cr_assert_str_eq(st.reason, "BAD_NPY");
    cr_assert_str_eq(st.field, "raw");
}

Test(status, wrapping_a_long_message_stays_in_bounds)
{
    struct status st = STATUS_INIT;
    char text[1000];
    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    status_fail(&st, STATUS_INTERNAL, "X", "%s", text);
    status_wrap(&st, "step");
    cr_expect_eq(strlen(st.message), sizeof st.message - 1);
    cr_expect_eq(strncmp(st.message, "step: mmm", 9), 0);
    status_wrap(&st, "%s", text);
    cr_expect_eq(strlen(st.message), sizeof st.message - 1);
}

Test(status, numbers_are_those_of_grpc)
{
    cr_expect_eq(STATUS_INVALID_ARGUMENT, 3);
    cr_expect_eq(STATUS_NOT_FOUND, 5);
    cr_expect_eq(STATUS_RESOURCE_EXHAUSTED, 8);
    cr_expect_eq(STATUS_UNAVAILABLE, 14);
    cr_expect_eq(STATUS_UNAUTHENTICATED, 16);
}

Test(status, labels_and_exit_codes)
{
    cr_expect_str_eq(status_label(STATUS_OK), "ok");
    cr_expect_str_eq(status_label(STATUS_RESOURCE_EXHAUSTED), "resource_exhausted");
    cr_expect_str_eq(status_label((enum status_code)99), "unknown");
    cr_expect_eq(status_exit_code(STATUS_OK), 0);
    cr_expect_eq(status_exit_code(STATUS_UNAVAILABLE), 69);
    cr_expect_eq(status_exit_code(STATUS_PERMISSION_DENIED), 77);
    cr_expect_eq(status_exit_code((enum status_code)99), 70);
}
