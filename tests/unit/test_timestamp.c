/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/timestamp.h"

#include <criterion/criterion.h>
#include <string.h>

struct accepted {
    const char *text;
    int64_t ms;
};

static void expect_accepted(const struct accepted *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct status st = STATUS_INIT;
        int64_t ms = -1;
        cr_expect(timestamp_parse(cases[i].text, "ts", &ms, &st), "'%s': %s", cases[i].text, st.message);
        cr_expect_eq(ms, cases[i].ms, "'%s' is %lld", cases[i].text, (long long)ms);
    }
}

static void expect_refused(const char *const *cases, size_t count, const char *hint)
{
    for (size_t i = 0; i < count; i++) {
        struct status st = STATUS_INIT;
        int64_t ms = -77;
        cr_expect_not(timestamp_parse(cases[i], "events[3].ts", &ms, &st), "'%s' is %lld", cases[i], (long long)ms);
        cr_expect_eq(ms, -77, "'%s': the output is written only on success", cases[i]);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(st.reason, "BAD_TIME");
        cr_expect_str_eq(st.field, "events[3].ts");
        cr_expect(strstr(st.message, hint) != NULL, "'%s': %s", cases[i], st.message);
    }
}

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

Test(timestamp, numbers_of_seconds)
{
    static const struct accepted cases[] = {
        {"1400000000", INT64_C(1400000000000)},      {"1400000000.25", INT64_C(1400000000250)},
        {"1400000000.29", INT64_C(1400000000290)}, /* 1400000000.29 * 1000 is less than that as a double */
        {"1400000000.9999", INT64_C(1400000000999)}, {"1400000000.000001", INT64_C(1400000000000)},
        {"100000000", INT64_C(100000000000)},        {"10000000000", INT64_C(10000000000000)},
    };
    expect_accepted(cases, COUNT(cases));
}

Test(timestamp, numbers_of_milliseconds)
{
    static const struct accepted cases[] = {
        {"1400000000000", INT64_C(1400000000000)},     {"1400000000123.7", INT64_C(1400000000123)},
        {"100000000000", INT64_C(100000000000)},       {"10000000000000", INT64_C(10000000000000)},
        {"00001400000000000", INT64_C(1400000000000)},
    };
    expect_accepted(cases, COUNT(cases));
}

Test(timestamp, numbers_of_ambiguous_magnitude_are_refused_with_a_hint)
{
    static const char *const cases[] = {
        "0",
        "1",
        "2026",
        "20260501",
        "99999999",
        "10000000001",
        "99999999999",
        "10000000000.5",
        "10000000000001",
        "1400000000000000",
        "-1",
        "-1400000000",
        "+1400000000",
        "99999999999999999999999999999999999999999999",
    };
    expect_refused(cases, COUNT(cases), "ambiguous magnitude: give seconds");
}

Test(timestamp, iso_8601)
{
    static const struct accepted cases[] = {
        {"1970-01-01", 0},
        {"2026-05-01", INT64_C(1777593600000)},
        {"2026-05-01T10:00Z", INT64_C(1777629600000)},
        {"2026-05-01 10:00:00", INT64_C(1777629600000)},
        {"2026-05-01T10:00:00", INT64_C(1777629600000)},
        {"2026-05-01t10:00:00z", INT64_C(1777629600000)},
        {"2026-05-01T10:00:00.5+02:00", INT64_C(1777622400500)},
        {"2026-05-01T10:00:00+0200", INT64_C(1777622400000)},
        {"2026-05-01T10:00:00-02", INT64_C(1777636800000)},
        {"2026-05-01T10:00:00.123456789Z", INT64_C(1777629600123)},
        {"2024-02-29T23:59:59.999Z", INT64_C(1709251199999)},
        {"2000-02-29", INT64_C(951782400000)},
        {"1969-12-31T23:59:59.250Z", -750},
        {"1969-12-31T23:59:59+00:00", -1000},
    };
    expect_accepted(cases, COUNT(cases));
}

Test(timestamp, what_is_no_time_is_refused)
{
    static const char *const cases[] = {
        "",
        " ",
        "now",
        "1e9",
        "1400000000.",
        ".5",
        "1400000000 ",
        " 1400000000",
        "0x53711A80",
        "nan",
        "-",
        "2026-5-1",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-02-29",
        "2100-02-29",
        "2026-04-31",
        "0000-01-01",
        "2026-05-01T",
        "2026-05-01T24:00:00Z",
        "2026-05-01T10:60:00Z",
        "2026-05-01T10:00:60Z",
        "2026-05-01T10",
        "2026-05-01T10:0",
        "2026-05-01T10:00:",
        "2026-05-01T10:00:00.",
        "2026-05-01T10:00:00.Z",
        "2026-05-01T10:00:00+",
        "2026-05-01T10:00:00+2",
        "2026-05-01T10:00:00+02:",
        "2026-05-01T10:00:00+24:00",
        "2026-05-01T10:00:00+02:60",
        "2026-05-01T10:00:00ZZ",
        "2026-05-01T10:00:00Z ",
        "2026-05-01Z",
        "2026-05-01T10:00:00 UTC",
        "12026-05-01",
        "01/05/2026",
    };
    expect_refused(cases, COUNT(cases), "is no time: give seconds");
}

Test(timestamp, long_and_hostile_text_is_quoted_in_part)
{
    char text[100000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const char *const cases[] = {text, "\033[31m\n", "\xff\xfe"};
    expect_refused(cases, COUNT(cases), "is no time");
    struct status st = STATUS_INIT;
    int64_t ms;
    timestamp_parse(cases[1], "ts", &ms, &st);
    cr_expect(strpbrk(st.message, "\033\n") == NULL);
}

Test(timestamp, failure_needs_no_status)
{
    int64_t ms;
    cr_expect_not(timestamp_parse("soon", "ts", &ms, NULL));
}

Test(timestamp, format)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {INT64_C(1777629600007), "2026-05-01T10:00:00.007Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {INT64_C(10000000000000), "2286-11-20T17:46:40.000Z"},
        {INT64_MAX, "292278994-08-17T07:12:55.807Z"},
        {INT64_MIN, "-292275055-05-16T16:47:04.192Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        timestamp_format(cases[i].ms, out);
        cr_expect_str_eq(out, cases[i].text);
    }
}

Test(timestamp, what_is_formatted_is_parsed_back)
{
    for (int64_t ms = INT64_C(-100000000001); ms < INT64_C(10000000000000); ms += INT64_C(98765432123)) {
        char text[32];
        struct status st = STATUS_INIT;
        int64_t again = 0;
        timestamp_format(ms, text);
        cr_assert(timestamp_parse(text, "ts", &again, &st), "%s", st.message);
        cr_assert_eq(again, ms, "%s", text);
    }
}

Test(timestamp, clocks)
{
    char text[32];
    const int64_t before_us = timestamp_monotonic_us();
    cr_expect_geq(timestamp_monotonic_us(), before_us);
    timestamp_format(timestamp_now_ms(), text);
    cr_expect(strncmp(text, "20", 2) == 0 && strcmp(text, "2024") > 0, "milliseconds, not seconds: %s", text);
}
