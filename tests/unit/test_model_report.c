/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/model_report.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SHA256 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define GOOD   "{\"model\":{\"ndcg@10\":0.125},\"holdout\":\"time\",\"queries\":812,\"mask_seen\":true}"

static json_t *parse(const char *text)
{
    struct status st = STATUS_INIT;
    json_t *report = model_report_parse(text, SHA256, &st);
    cr_assert_not_null(report, "%s: %s", text, st.message);
    return report;
}

Test(model_report, reads_what_evaluate_prints)
{
    json_t *report = parse(GOOD);
    cr_expect_float_eq(model_report_metric(report), 0.125, 1e-12);
    json_decref(report);
    json_decref(parse("{\"model\":{\"ndcg@10\":0},\"holdout\":\"time\",\"log_position\":5,\"sha256\":\"" SHA256 "\"}"));
}

Test(model_report, refuses_what_is_none)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "no JSON object"},
        {"[1]", "no JSON object"},
        {"{\"model\":{}, \"model\":{}}", "no JSON object"},
        {"{\"model\":{\"ndcg@10\":\"0.1\"},\"holdout\":\"time\",\"queries\":1}", "'ndcg@10'"},
        {"{\"model\":{\"ndcg@10\":1.5},\"holdout\":\"time\",\"queries\":1}", "from 0 to 1"},
        {"{\"model\":{\"ndcg@10\":-0.1},\"holdout\":\"time\",\"queries\":1}", "from 0 to 1"},
        {"{\"model\":{\"ndcg@10\":0.1},\"queries\":1}", "'holdout'"},
        {"{\"model\":{\"ndcg@10\":0.1},\"holdout\":\"time\"}", "'queries'"},
        {"{\"model\":{\"ndcg@10\":0.1},\"holdout\":\"time\",\"queries\":\"1\"}", "'queries'"},
        {"{\"model\":{\"ndcg@10\":0.1},\"holdout\":\"time\",\"queries\":1,\"sha256\":\"aa\"}", "another file"},
        {"{\"model\":{\"ndcg@10\":0.1},\"holdout\":\"time\",\"queries\":1,\"sha256\":7}", "another file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        cr_expect_null(model_report_parse(cases[i].text, SHA256, &st), "%s", cases[i].text);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(st.field, "report");
        cr_expect_not_null(strstr(st.message, cases[i].words), "'%s' is not in '%s'", cases[i].words, st.message);
    }
}

Test(model_report, has_a_limit)
{
    struct status st = STATUS_INIT;
    char *text = malloc(MODEL_REPORT_BYTES_MAX + 2);
    cr_assert_not_null(text);
    memset(text, ' ', MODEL_REPORT_BYTES_MAX + 1);
    memcpy(text, GOOD, strlen(GOOD));
    text[MODEL_REPORT_BYTES_MAX] = '\0';
    json_decref(parse(text));
    text[MODEL_REPORT_BYTES_MAX] = ' ';
    text[MODEL_REPORT_BYTES_MAX + 1] = '\0';
    cr_assert_null(model_report_parse(text, SHA256, &st));
    cr_assert_str_eq(st.reason, "TOO_LONG");
    free(text);
}

Test(model_report, compares_only_the_same_events)
{
    static const struct {
        const char *text, *key; /* NULL: comparable */
    } cases[] = {
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"time\",\"queries\":812,\"mask_seen\":true,\"seconds\":3}", NULL},
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"leave-one-out\",\"queries\":812,\"mask_seen\":true}", "'holdout'"},
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"time\",\"queries\":813,\"mask_seen\":true}", "'queries' is 812"},
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"time\",\"queries\":812,\"mask_seen\":false}", "'mask_seen'"},
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"time\",\"queries\":812}", "not there"},
        {"{\"model\":{\"ndcg@10\":0.5},\"holdout\":\"time\",\"queries\":812,\"mask_seen\":true,\"log_position\":9}",
         "'log_position'"},
    };
    json_t *report = parse(GOOD);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        json_t *other = parse(cases[i].text);
        cr_expect_eq(model_report_comparable(report, other, &st), cases[i].key == NULL, "%s", cases[i].text);
        if (cases[i].key != NULL) {
            cr_expect_eq(st.code, STATUS_FAILED_PRECONDITION);
            cr_expect_str_eq(st.reason, "NOT_COMPARABLE");
            cr_expect_not_null(strstr(st.message, cases[i].key), "'%s' is not in '%s'", cases[i].key, st.message);
        }
        json_decref(other);
    }
    json_decref(report);
}
