/* SPDX-License-Identifier: Apache-2.0
 *
 * why: what puts an item on a user's list, or what keeps it off. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_heat.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TERMS_SHOWN 10
#define BAR_CELLS   24
#define BAR_BYTES   (3 * BAR_CELLS + 1)

/* A bar of so many of its cells: to an eighth above zero, shaded ones below. */
static void bar_text(char out[BAR_BYTES], double share)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t length = (size_t)(fmin(fabs(share), 1) * BAR_CELLS * 8 + .5);
    *out = '\0';
    for (; length >= 8; length -= 8)
        strcat(out, share < 0 ? "▒" : "█");
    if (length > 0)
        strcat(out, share < 0 ? "▒" : eighths[length]);
}

/* An object of numbers as a table with bars; nothing when it is empty. */
static bool print_parts(const struct ctl *ctl, const char *title, json_t *parts, struct status *st)
{
    const struct ctl_column columns[] = {{title, "part", CTL_CELL_PLAIN, false, false},
                                         {"value", "value", CTL_CELL_SCORE, true, false},
                                         {"share", "bar", CTL_CELL_PLAIN, false, false}};
    const char *name;
    json_t *value, *rows = json_array();
    double most = 0;
    bool ok = rows != NULL;
    json_object_foreach(parts, name, value)
    {
        most = fmax(most, fabs(json_number_value(value)));
    }
    json_object_foreach(parts, name, value)
    {
        char bar[BAR_BYTES];
        bar_text(bar, most > 0 ? json_number_value(value) / most : 0);
        ok = ok &&
             json_array_append_new(rows, json_pack("{s:s, s:O, s:s}", "part", name, "value", value, "bar", bar)) == 0;
    }
    if (!ok)
        ctl_no_memory(st);
    else if (json_array_size(rows) > 0) {
        putchar('\n');
        ok = ctl_print_table(ctl, rows, columns, sizeof columns / sizeof *columns, st);
    }
    json_decref(rows);
    return ok;
}

static double size_of_term(const json_t *term)
{
    return fabs(json_number_value(json_object_get(term, "value")));
}

/* The largest first, of equal ones the first as they come. Returns how many there are. */
static size_t largest_terms(const json_t *terms, const json_t *largest[TERMS_SHOWN])
{
    size_t count = 0, i;
    json_t *term;
    json_array_foreach(terms, i, term)
    {
        size_t at = count;
        while (at > 0 && size_of_term(largest[at - 1]) < size_of_term(term)) {
            if (at < TERMS_SHOWN)
                largest[at] = largest[at - 1];
            at--;
        }
        if (at < TERMS_SHOWN)
            largest[at] = term;
        if (count < TERMS_SHOWN)
            count++;
    }
    return count;
}

/* A term with what is known of its event; NULL: no memory. */
static json_t *term_row(const json_t *term, const json_t *history)
{
    const char *seq = ctl_member_text(term, "event");
    const json_t *event = ctl_heat_event(history, seq);
    const struct ctl_heat_row row = {.seq = seq, .event = event, .item = ctl_member_text(term, "item")};
    const char *title = ctl_heat_column(term) != NULL ? ctl_heat_title(&row) : "";
    return json_pack("{s:o, s:s, s:O*, s:O*, s:O*, s:O*}", "what", ctl_heat_term_name(term), "event", title, "when",
                     json_object_get(event, "ts"), "pick", json_object_get(term, "pick"), "judge",
                     json_object_get(term, "judge"), "value", json_object_get(term, "value"));
}

static bool print_terms(const struct ctl *ctl, const json_t *item, const json_t *history, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"term", "what", CTL_CELL_PLAIN, false, false}, {"value", "value", CTL_CELL_SCORE, true, false},
        {"pick", "pick", CTL_CELL_SCORE, true, false},  {"judge", "judge", CTL_CELL_SCORE, true, false},
        {"when", "when", CTL_CELL_TIME, false, false},  {"event", "event", CTL_CELL_PLAIN, false, true},
    };
    const json_t *largest[TERMS_SHOWN] = {NULL};
    const json_t *terms = json_object_get(item, "terms");
    const size_t count = largest_terms(terms, largest);
    json_t *rows = json_array();
    bool ok = rows != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = json_array_append_new(rows, term_row(largest[i], history)) == 0;
    if (!ok)
        ctl_no_memory(st);
    else if (count > 0) {
        putchar('\n');
        ok = ctl_print_table(ctl, rows, columns, sizeof columns / sizeof *columns, st);
    }
    json_decref(rows);
    if (ok && json_array_size(terms) > count)
        ctl_note(ctl, "the largest %zu of %zu terms", count, json_array_size(terms));
    return ok;
}

/* What its score is made of: by part, by term, by event. */
static bool print_item(const struct ctl *ctl, const json_t *item, const json_t *history, struct status *st)
{
    if (!print_parts(ctl, "part", json_object_get(item, "parts"), st) || !print_terms(ctl, item, history, st))
        return false;
    if (json_array_size(json_object_get(item, "terms")) == 0)
        return true;
    putchar('\n');
    return ctl_heat_show(ctl, item, history, st);
}

static bool print_gap(const struct ctl *ctl, const json_t *reply, struct status *st)
{
    const json_t *last = json_object_get(reply, "last"), *gap = json_object_get(reply, "gap");
    if (last != NULL) {
        fputs("\nlast on the list: ", stdout);
        ctl_heat_print_heading(last);
    }
    if (gap != NULL)
        printf("behind it by %.4f\n", json_number_value(gap));
    return print_parts(ctl, "gap by part", json_object_get(reply, "gap_parts"), st);
}

static bool print_why(const struct ctl *ctl, const json_t *reply, struct status *st)
{
    const json_t *list = json_object_get(reply, "list"), *item = json_object_get(reply, "explained");
    const char *reason = ctl_member_text(item, "reason");
    ctl_heat_print_text(stdout, ctl_member_text(reply, "says"), 0);
    putchar('\n');
    if (item != NULL) {
        putchar('\n');
        ctl_heat_print_heading(item);
    }
    if (*reason != '\0') {
        ctl_heat_print_text(stdout, reason, 0);
        putchar('\n');
    }
    if (item != NULL && !print_item(ctl, item, json_object_get(list, "history"), st))
        return false;
    if (!print_gap(ctl, reply, st))
        return false;
    if (json_array_size(json_object_get(list, "funnel")) > 0)
        putchar('\n');
    ctl_list_print_funnel(list);
    if (list != NULL)
        ctl_list_notes(ctl, list);
    return true;
}

/* NULL with st */
static json_t *why_params(const struct ctl_arguments *arguments, struct status *st)
{
    json_t *params = json_object(), *request = json_object();
    bool ok = ctl_params_text(params, "item", arguments->words[1], st) &&
              ctl_params_text(request, "user", arguments->words[0], st) && ctl_list_params(request, arguments, st) &&
              ctl_params_text(request, "explain", "full", st) && ctl_params_set(request, "funnel", json_true(), st) &&
              ctl_params_set(params, "request", json_incref(request), st);
    json_decref(request);
    if (ok)
        return params;
    json_decref(params);
    return NULL;
}

int ctl_run_why(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = why_params(arguments, &st);
    if (params == NULL)
        return ctl_fail(ctl, &st);
    json_t *reply = ctl_call(ctl, "explain", params, &st);
    bool alone = false;
    bool ok = reply != NULL && ctl_list_write_page(ctl, arguments, arguments->words[0], reply, &alone, &st);
    if (ok && !alone && ctl->output == CTL_TABLE)
        ok = print_why(ctl, reply, &st);
    else if (ok && !alone)
        ctl_print_json(ctl, reply);
    json_decref(reply);
    return ok ? 0 : ctl_list_fail(ctl, &st);
}
