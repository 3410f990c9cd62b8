/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that answer with a list: recommend, rank, similar, complement, top, next, user history, scenario list;
 * and what `why` (ctl_why.c) has in common with them. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_heat.h"
#include "daemon/ctl_html.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_rules.h"

#include <stdio.h>
#include <string.h>

#define LIST_MAX   1000000 /* what the daemon allows is its own affair (server.info) */
#define MAPS_SHOWN 3       /* below a list; the page has all */

/* What is asked about another day, another history or another group of users; and what is said about the list. */
static bool what_if_params(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    const char *page = ctl_option_text(arguments, "html"), *output = ctl_option_text(arguments, "output");
    if (page != NULL && strcmp(page, "-") == 0 && output != NULL && strcmp(output, "table") != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE,
                           "option '--html': stdout cannot take a page besides '--output %s'", output);
    return ctl_params_texts(params, "without", arguments, "without", st) &&
           ctl_params_text(params, "as_of", ctl_option_text(arguments, "as-of"), st) &&
           ctl_params_pairs(params, "context", arguments, "context", st) &&
           ctl_params_text(params, "experiment", ctl_option_text(arguments, "experiment"), st) &&
           ctl_params_text(params, "language", ctl_option_text(arguments, "language"), st) &&
           (!ctl_option_given(arguments, "funnel") || ctl_params_set(params, "funnel", json_true(), st));
}

bool ctl_list_params(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    const char *fields = ctl_option_text(arguments, "fields");
    return ctl_params_integer(params, "n", arguments, "count", 1, LIST_MAX, st) &&
           ctl_params_texts(params, "exclude", arguments, "exclude", st) &&
           ctl_params_yes_no(params, "exclude_seen", ctl_option_text(arguments, "exclude-seen"), st) &&
           ctl_params_weights(params, "weights", arguments, "weight", st) &&
           ctl_params_text(params, "min_seq", ctl_option_text(arguments, "min-seq"), st) &&
           ctl_params_text(params, "at_seq", ctl_option_text(arguments, "at-seq"), st) &&
           ctl_params_text(params, "now", ctl_option_text(arguments, "now"), st) &&
           ctl_params_texts(params, "current", arguments, "current", st) &&
           ctl_params_real(params, "deadline_ms", ctl_option_text(arguments, "deadline"), st) &&
           ctl_params_commas(params, "fields", fields != NULL ? fields : "title", st) &&
           what_if_params(params, arguments, st) && ctl_rules_params(params, arguments, st);
}

/* What a person should know about a list besides its items; readers of JSON see it there. */
void ctl_list_notes(const struct ctl *ctl, const json_t *list)
{
    static const char *const lists[] = {"degraded", "unknown"};
    static const char *const texts[] = {"shortened", "filled"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *names = json_object_get(list, lists[i]);
        size_t k;
        json_t *element;
        char all[512] = "";
        json_array_foreach(names, k, element)
        {
            const char *text = json_string_value(element);
            strncat(all, k > 0 ? ", " : "", sizeof all - strlen(all) - 1);
            strncat(all, text != NULL ? text : "?", sizeof all - strlen(all) - 1);
        }
        if (json_array_size(names) > 0)
            ctl_note(ctl, "%s: %s", lists[i], all);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = ctl_member_text(list, texts[i]);
        if (*text != '\0')
            ctl_note(ctl, "%s: %s", texts[i], text);
    }
    if (json_array_size(json_object_get(list, "items")) == 0)
        ctl_note(ctl, "no items");
}

void ctl_list_print_funnel(const json_t *list)
{
    const json_t *funnel = json_object_get(list, "funnel");
    size_t i;
    json_t *stage;
    json_array_foreach(funnel, i, stage)
    {
        printf("%s%s %lld", i == 0 ? "funnel: " : " > ", ctl_member_text(stage, "name"),
               (long long)ctl_member_integer(stage, "count"));
    }
    if (json_array_size(funnel) > 0)
        putchar('\n');
}

bool ctl_list_write_page(const struct ctl *ctl, const struct ctl_arguments *arguments, const char *user,
                         const json_t *reply, bool *alone, struct status *st)
{
    const char *path = ctl_option_text(arguments, "html");
    *alone = path != NULL && strcmp(path, "-") == 0;
    if (path != NULL && !ctl_html_write(path, user, reply, st))
        return false;
    if (path != NULL && !*alone)
        ctl_note(ctl, "wrote '%s'", path);
    return true;
}

int ctl_list_fail(const struct ctl *ctl, const struct status *st)
{
    const int code = ctl_fail(ctl, st);
    return strcmp(st->reason, CTL_HTML_WRITE_FAILED) == 0 ? CTL_EX_IOERR : code;
}

/* Was this field asked for, and does any item have it? */
static bool any_has(const json_t *items, const char *field)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        const json_t *value = json_object_get(json_object_get(item, "values"), field);
        if (value == NULL)
            value = json_object_get(item, field);
        if (value != NULL && !(json_is_array(value) && json_array_size(value) == 0))
            return true;
    }
    return false;
}

static bool print_table(const struct ctl *ctl, const json_t *items, bool reasons, struct status *st)
{
    static const struct ctl_column always[] = {
        {"rank", NULL, CTL_CELL_ORDINAL, true, false},
        {"item", "item", CTL_CELL_PLAIN, false, false},
        {"score", "score", CTL_CELL_SCORE, true, false},
        {"source", "source", CTL_CELL_PLAIN, false, false},
    };
    static const struct ctl_column asked[] = {
        {"label", "label", CTL_CELL_PLAIN, false, false},
        {"price", "values.price", CTL_CELL_PLAIN, true, false},
        {"available", "values.available", CTL_CELL_PLAIN, false, false},
        {"categories", "values.categories", CTL_CELL_LIST, false, true},
        {"title", "values.title", CTL_CELL_PLAIN, false, true},
        {"reason", "reason", CTL_CELL_PLAIN, false, true}, /* the last one */
    };
    const size_t asked_count = sizeof asked / sizeof *asked - (reasons ? 0 : 1);
    struct ctl_column columns[sizeof always / sizeof *always + sizeof asked / sizeof *asked];
    size_t count = sizeof always / sizeof *always;
    memcpy(columns, always, sizeof always);
    for (size_t i = 0; i < asked_count; i++)
        if (any_has(items, asked[i].title))
            columns[count++] = asked[i];
    return ctl_print_table(ctl, items, columns, count, st);
}

/* Below the table: each item's reason in full, and the maps of the first. */
static bool print_explanations(const struct ctl *ctl, const json_t *result, struct status *st)
{
    const json_t *items = json_object_get(result, "items"), *history = json_object_get(result, "history");
    const size_t count = json_array_size(items);
    size_t i;
    json_t *item;
    if (any_has(items, "reason"))
        putchar('\n');
    json_array_foreach(items, i, item)
    {
        const char *reason = ctl_member_text(item, "reason");
        if (*reason == '\0')
            continue;
        printf("%4zu ", i + 1);
        ctl_heat_print_text(stdout, reason, 0);
        putchar('\n');
    }
    for (i = 0; i < count && i < MAPS_SHOWN; i++) {
        item = json_array_get(items, i);
        printf("\n%zu. ", i + 1);
        ctl_heat_print_heading(item);
        if (!ctl_heat_show(ctl, item, history, st))
            return false;
    }
    if (count > MAPS_SHOWN)
        ctl_note(ctl, "the first %d of %zu items are explained; --html FILE explains all", MAPS_SHOWN, count);
    return true;
}

static bool print_list(const struct ctl *ctl, const struct ctl_arguments *arguments, const json_t *result,
                       struct status *st)
{
    const json_t *items = json_object_get(result, "items");
    const bool explain = ctl_option_given(arguments, "explain");
    if (ctl->output == CTL_JSON) {
        ctl_print_json(ctl, result);
        return true;
    }
    if (ctl->output == CTL_NDJSON)
        ctl_print_lines(items);
    else if (!print_table(ctl, items, !explain, st) || (explain && !print_explanations(ctl, result, st)))
        return false;
    if (ctl->output == CTL_TABLE)
        ctl_list_print_funnel(result);
    ctl_list_notes(ctl, result);
    return true;
}

/* Call and print; consumes `params`, which are NULL or half-made unless `built`. */
static int answer(struct ctl *ctl, const struct ctl_arguments *arguments, const char *method, json_t *params,
                  bool built, struct status *st)
{
    if (!built) {
        json_decref(params);
        return ctl_fail(ctl, st);
    }
    const char *user = arguments->word_count > 0 ? arguments->words[0] : NULL; /* of the commands that take --html */
    json_t *result = ctl_call(ctl, method, params, st);
    bool alone = false;
    bool ok = result != NULL && ctl_list_write_page(ctl, arguments, user, result, &alone, st) &&
              (alone || print_list(ctl, arguments, result, st));
    json_decref(result);
    return ok ? 0 : ctl_list_fail(ctl, st);
}

/* How much is said about each item. */
static bool explain_params(json_t *params, const struct ctl_arguments *arguments, struct status *st)
{
    if (ctl_option_given(arguments, "explain") || ctl_option_given(arguments, "html"))
        return ctl_params_text(params, "explain", "full", st);
    return ctl_params_text(params, "explain", ctl_option_given(arguments, "reason") ? "reason" : NULL, st);
}

int ctl_run_recommend(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    const char *user = arguments->word_count > 0 ? arguments->words[0] : NULL;
    bool built = ctl_params_text(params, "user", user, &st) && ctl_list_params(params, arguments, &st) &&
                 explain_params(params, arguments, &st);
    return answer(ctl, arguments, "recommend", params, built, &st);
}

int ctl_run_rank(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool built = ctl_params_text(params, "user", arguments->words[0], &st) &&
                 ctl_params_words(params, "items", arguments, 1, &st) && ctl_list_params(params, arguments, &st);
    return answer(ctl, arguments, "rank", params, built, &st);
}

/* ITEM or ITEM:MODALITY into an array of examples */
static bool examples(json_t *params, const char *key, const struct ctl_arguments *arguments, struct status *st)
{
    json_t *list = json_array();
    const char *text;
    bool ok = true;
    for (size_t position = 0; ok && (text = ctl_option_next(arguments, key, &position)) != NULL;) {
        const char *colon = strrchr(text, ':');
        size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
        json_t *example = json_object();
        ok = ctl_params_set(example, "item", json_stringn(text, length), st) &&
             (colon == NULL || ctl_params_set(example, "modalities", json_pack("[s]", colon + 1), st)) &&
             json_array_append(list, example) == 0;
        json_decref(example);
    }
    if (ok && json_array_size(list) > 0)
        return ctl_params_set(params, key, list, st);
    json_decref(list);
    return ok;
}

int ctl_run_similar(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool built = ctl_params_words(params, "items", arguments, 0, &st) &&
                 ctl_params_texts(params, "modalities", arguments, "modality", &st) &&
                 examples(params, "like", arguments, &st) && examples(params, "unlike", arguments, &st) &&
                 ctl_params_text(params, "user", ctl_option_text(arguments, "user"), &st) &&
                 ctl_list_params(params, arguments, &st);
    return answer(ctl, arguments, "similar", params, built, &st);
}

int ctl_run_complement(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool built = ctl_params_words(params, "items", arguments, 0, &st) &&
                 ctl_params_text(params, "user", ctl_option_text(arguments, "user"), &st) &&
                 ctl_list_params(params, arguments, &st);
    return answer(ctl, arguments, "complement", params, built, &st);
}

int ctl_run_top(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool built = ctl_params_text(params, "by", arguments->words[0], &st) &&
                 ctl_params_text(params, "user", ctl_option_text(arguments, "user"), &st) &&
                 ctl_list_params(params, arguments, &st);
    return answer(ctl, arguments, "top", params, built, &st);
}

int ctl_run_next(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    bool built = ctl_params_text(params, "recomm_id", arguments->words[0], &st) &&
                 ctl_params_integer(params, "n", arguments, "count", 1, LIST_MAX, &st);
    return answer(ctl, arguments, "next", params, built, &st);
}

int ctl_run_scenario_list(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    static const struct ctl_column columns[] = {{"name", "name", CTL_CELL_PLAIN, false, false},
                                                {"fields", "fields", CTL_CELL_PLAIN, false, true}};
    struct status st = STATUS_INIT;
    (void)arguments;
    json_t *result = ctl_call(ctl, "scenario.list", json_object(), &st);
    const json_t *scenarios = json_object_get(result, "scenarios");
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(scenarios);
    else if (ok)
        ok = ctl_print_table(ctl, scenarios, columns, sizeof columns / sizeof *columns, &st);
    if (ok && ctl->output == CTL_TABLE && json_array_size(scenarios) == 0)
        ctl_note(ctl, "no scenarios: server.scenarios of the configuration names their file");
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}

int ctl_run_scenario_reload(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    (void)arguments;
    json_t *result = ctl_call(ctl, "scenario.reload", json_object(), &st);
    if (result == NULL)
        return ctl_fail(ctl, &st);
    if (ctl->output == CTL_TABLE)
        printf("%lld scenarios\n", (long long)ctl_member_integer(result, "scenarios"));
    else
        ctl_print_json(ctl, result);
    json_decref(result);
    return 0;
}

static bool print_history(const struct ctl *ctl, const json_t *result, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"seq", "seq", CTL_CELL_PLAIN, true, false},
        {"time", "ts", CTL_CELL_TIME, false, false},
        {"behaviour", "behaviour", CTL_CELL_PLAIN, false, false},
        {"value", "value", CTL_CELL_PLAIN, true, false},
        {"item", "item", CTL_CELL_PLAIN, false, false},
        {"title", "title", CTL_CELL_PLAIN, false, true},
    };
    const json_t *events = json_object_get(result, "events");
    if (ctl->output == CTL_JSON) {
        ctl_print_json(ctl, result);
        return true;
    }
    if (ctl->output == CTL_NDJSON)
        ctl_print_lines(events);
    else if (!ctl_print_table(ctl, events, columns, sizeof columns / sizeof *columns, st))
        return false;
    int64_t total = ctl_member_integer(result, "total");
    if (json_is_false(json_object_get(result, "known")))
        ctl_note(ctl, "the shop does not know this user");
    else if (total > (int64_t)json_array_size(events))
        ctl_note(ctl, "%zu of %lld events; -n N shows more", json_array_size(events), (long long)total);
    return true;
}

int ctl_run_user_history(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    if (!ctl_params_text(params, "user", arguments->words[0], &st) ||
        !ctl_params_integer(params, "n", arguments, "count", 1, LIST_MAX, &st) ||
        !ctl_params_text(params, "at_seq", ctl_option_text(arguments, "at-seq"), &st)) {
        json_decref(params);
        return ctl_fail(ctl, &st);
    }
    json_t *result = ctl_call(ctl, "user.history", params, &st);
    bool ok = result != NULL && print_history(ctl, result, &st);
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}
