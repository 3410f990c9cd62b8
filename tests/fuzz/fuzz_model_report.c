/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as the report of an evaluation: what is accepted has a metric in range and can be compared, with itself and with another. Input: two
 * reports with a NUL between them. */
#include "daemon/model_report.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static json_t *parse(const char *text)
{
    struct status st = STATUS_INIT;
    json_t *report = model_report_parse(text, "00ff", &st);
    require(report != NULL || (st.code == STATUS_INVALID_ARGUMENT && st.message[0] != '\0'), "a refusal is explained");
    if (report != NULL)
        require(model_report_metric(report) >= 0 && model_report_metric(report) <= 1, "the metric is in range");
    return report;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status st = STATUS_INIT;
    char *text = malloc(size + 2);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    json_t *first = parse(text), *second = parse(text + strlen(text) + 1);
    if (first != NULL)
        require(model_report_comparable(first, first, &st), "a report is about the same events as itself");
    if (first != NULL && second != NULL && !model_report_comparable(first, second, &st))
        require(strcmp(st.reason, "NOT_COMPARABLE") == 0, "a difference is named");
    json_decref(first);
    json_decref(second);
    free(text);
    return 0;
}
