/* SPDX-License-Identifier: Apache-2.0
 *
 * feedback report: what came of the lists that were shown. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <stdio.h>
#include <string.h>

#define BEHAVIOURS_MOST 16 /* columns of a table */

/* responses that any place has, in the order in which they come */
static size_t find_behaviours(const json_t *places, const char **names)
{
    size_t i, count = 0;
    json_t *place, *value;
    const char *name;
    json_array_foreach(places, i, place)
    {
        json_object_foreach(json_object_get(place, "responses"), name, value)
        {
            size_t k = 0;
            while (k < count && strcmp(names[k], name) != 0)
                k++;
            if (k == count && count < BEHAVIOURS_MOST)
                names[count++] = name;
        }
    }
    return count;
}

static bool print_places(const struct ctl *ctl, const json_t *places, struct status *st)
{
    const char *names[BEHAVIOURS_MOST];
    char paths[BEHAVIOURS_MOST][64];
    struct ctl_column columns[BEHAVIOURS_MOST + 2] = {{"place", "place", CTL_CELL_PLAIN, true, false},
                                                      {"impressions", "impressions", CTL_CELL_PLAIN, true, false}};
    size_t count = find_behaviours(places, names);
    for (size_t i = 0; i < count; i++) {
        snprintf(paths[i], sizeof paths[i], "responses.%s", names[i]);
        columns[i + 2] = (struct ctl_column){names[i], paths[i], CTL_CELL_PLAIN, true, false};
    }
    return ctl_print_table(ctl, places, columns, count + 2, st);
}

int ctl_run_feedback_report(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    if (!ctl_params_text(params, "from", ctl_option_text(arguments, "from"), &st) ||
        !ctl_params_text(params, "until", ctl_option_text(arguments, "until"), &st)) {
        json_decref(params);
        return ctl_fail(ctl, &st);
    }
    json_t *result = ctl_call(ctl, "feedback.report", params, &st);
    const json_t *places = json_object_get(result, "places");
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(places);
    else if (ok)
        ok = print_places(ctl, places, &st);
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}
