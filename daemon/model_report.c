/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/model_report.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#define VALUE_BYTES 48 /* of a value in a message */

static json_t *bad(json_t *report, struct status *st, const char *what)
{
    status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_REPORT", "report", "the report %s", what);
    json_decref(report);
    return NULL;
}

double model_report_metric(const json_t *report)
{
    return json_number_value(json_object_get(json_object_get(report, "model"), MODEL_REPORT_METRIC));
}

json_t *model_report_parse(const char *text, const char *sha256, struct status *st)
{
    size_t size = strlen(text);
    if (size > MODEL_REPORT_BYTES_MAX) {
        status_fail_field(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", "report",
                          "the report is of %zu bytes, %u are allowed", size, MODEL_REPORT_BYTES_MAX);
        return NULL;
    }
    json_t *report = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(report))
        return bad(report, st, "is no JSON object");
    const json_t *metric = json_object_get(json_object_get(report, "model"), MODEL_REPORT_METRIC);
    double value = json_number_value(metric);
    if (!json_is_number(metric) || !(value >= 0 && value <= 1))
        return bad(report, st, "has no 'model' with a '" MODEL_REPORT_METRIC "' from 0 to 1");
    if (!json_is_string(json_object_get(report, "holdout")))
        return bad(report, st, "does not say its 'holdout'");
    if (!json_is_integer(json_object_get(report, "queries")) &&
        !json_is_integer(json_object_get(report, "log_position")))
        return bad(report, st, "does not say its 'queries' or 'log_position'");
    const json_t *of = json_object_get(report, "sha256");
    if (of != NULL && (!json_is_string(of) || strcasecmp(json_string_value(of), sha256) != 0))
        return bad(report, st, "is about another file: its 'sha256' is not that of this one");
    return report;
}

/* what is said of a member in a message */
static void print_value(const json_t *value, char out[VALUE_BYTES])
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    size_t length = text == NULL ? 0 : strlen(text);
    if (text == NULL)
        strcpy(out, "not there");
    else if (length < VALUE_BYTES)
        memcpy(out, text, length + 1);
    else
        strcpy(out, "something else");
    free(text);
}

bool model_report_comparable(const json_t *candidate, const json_t *active, struct status *st)
{
    /* what decides which events are ranked, among what, and how */
    static const char *const keys[] = {"holdout", "target", "mask_seen", "log_position", "queries",
                                       "users",   "items",  "events",    "now"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *here = json_object_get(candidate, keys[i]), *there = json_object_get(active, keys[i]);
        char ours[VALUE_BYTES], theirs[VALUE_BYTES];
        if ((here == NULL && there == NULL) || json_equal(here, there))
            continue;
        print_value(here, ours);
        print_value(there, theirs);
        return status_fail(st, STATUS_FAILED_PRECONDITION, "NOT_COMPARABLE",
                           "the reports are not about the same events: '%s' is %s for the new model and %s for the "
                           "active one",
                           keys[i], ours, theirs);
    }
    return true;
}
