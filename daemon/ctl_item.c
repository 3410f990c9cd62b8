/* SPDX-License-Identifier: Apache-2.0
 *
 * item get, put, delete, list. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_stream.h"

#include <string.h>

#define PAGE_MAX 1000000

static bool print_items(const struct ctl *ctl, const json_t *result, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"item", "item", CTL_CELL_PLAIN, false, false},           {"title", "title", CTL_CELL_PLAIN, false, true},
        {"categories", "categories", CTL_CELL_LIST, false, true}, {"price", "price", CTL_CELL_PLAIN, true, false},
        {"available", "available", CTL_CELL_PLAIN, false, false}, {"features", "features", CTL_CELL_LIST, false, false},
        {"deleted", "deleted", CTL_CELL_PLAIN, false, false},
    };
    const json_t *items = json_object_get(result, "items");
    if (ctl->output == CTL_JSON)
        ctl_print_json(ctl, result);
    else if (ctl->output == CTL_NDJSON)
        ctl_print_lines(items);
    else
        return ctl_print_table(ctl, items, columns, sizeof columns / sizeof *columns, st);
    return true;
}

/* Name what is missing; true when there is nothing to name. */
static bool report_missing(const json_t *result)
{
    const json_t *missing = json_object_get(result, "missing");
    size_t i;
    json_t *id;
    fflush(stdout);
    json_array_foreach(missing, i, id)
    {
        if (json_is_string(id))
            fprintf(stderr, "recsysctl: no item '%s'\n", json_string_value(id));
    }
    return json_array_size(missing) == 0;
}

int ctl_run_item_get(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    json_t *result = NULL;
    if (ctl_params_words(params, "items", arguments, 0, &st))
        result = ctl_call(ctl, "item.get", json_incref(params), &st);
    int code = 0;
    if (result == NULL || !print_items(ctl, result, &st))
        code = ctl_fail(ctl, &st);
    else if (!report_missing(result))
        code = status_exit_code(STATUS_NOT_FOUND);
    json_decref(result);
    json_decref(params);
    return code;
}

int ctl_run_item_delete(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    json_t *result = NULL;
    if (ctl_params_words(params, "items", arguments, 0, &st))
        result = ctl_call(ctl, "item.delete", json_incref(params), &st);
    int code = 0;
    if (result == NULL) {
        code = ctl_fail(ctl, &st);
    } else if (ctl->output != CTL_TABLE) {
        ctl_print_json(ctl, result);
    } else {
        printf("deleted %lld\n", (long long)ctl_member_integer(result, "deleted"));
        if (!ctl->quiet)
            report_missing(result);
    }
    json_decref(result);
    json_decref(params);
    return code;
}

static bool item_from_options(json_t *item, const struct ctl_arguments *arguments, struct status *st)
{
    return ctl_params_text(item, "item", arguments->words[0], st) &&
           ctl_params_text(item, "title", ctl_option_text(arguments, "title"), st) &&
           ctl_params_texts(item, "categories", arguments, "category", st) &&
           ctl_params_real(item, "price", ctl_option_text(arguments, "price"), st) &&
           ctl_params_yes_no(item, "available", ctl_option_text(arguments, "available"), st) &&
           ctl_params_text(item, "created", ctl_option_text(arguments, "created"), st) &&
           ctl_params_text(item, "expires", ctl_option_text(arguments, "expires"), st) &&
           ctl_params_pairs(item, "attributes", arguments, "attribute", st);
}

static void print_put(const struct ctl *ctl, const json_t *result)
{
    if (ctl->output != CTL_TABLE)
        ctl_print_json(ctl, result);
    else
        printf("created %lld, changed %lld\n", (long long)ctl_member_integer(result, "created"),
               (long long)ctl_member_integer(result, "changed"));
}

static const struct ctl_rows item_rows = {"item.put", "items", item_from_options, print_put};

int ctl_run_item_put(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    json_t *params = json_object();
    int code;
    if (ctl_option_given(arguments, "replace") && !ctl_params_set(params, "replace", json_true(), &st))
        code = ctl_fail(ctl, &st);
    else if (strcmp(arguments->words[0], "-") == 0)
        code = ctl_rows_stream(ctl, &item_rows, params);
    else
        code = ctl_rows_one(ctl, &item_rows, arguments, params);
    json_decref(params);
    return code;
}

/* Fetch the page at `cursor`; NULL on failure. */
static json_t *fetch_page(struct ctl *ctl, const struct ctl_arguments *arguments, const char *cursor, struct status *st)
{
    json_t *params = json_object();
    bool ok = ctl_params_integer(params, "n", arguments, "count", 1, PAGE_MAX, st) &&
              ctl_params_text(params, "cursor", cursor, st);
    if (ok && ctl_option_given(arguments, "include-deleted"))
        ok = ctl_params_set(params, "include_deleted", json_true(), st);
    if (ok)
        return ctl_call(ctl, "item.list", params, st);
    json_decref(params);
    return NULL;
}

/* Put the next page's items behind those before, so that all pages print as one; ndjson needs nothing kept. Consumes
 * `page`. */
static bool add_page(const struct ctl *ctl, json_t **all, json_t *page, struct status *st)
{
    if (ctl->output == CTL_NDJSON)
        ctl_print_lines(json_object_get(page, "items"));
    if (ctl->output == CTL_NDJSON || *all == NULL) {
        json_decref(*all);
        *all = page;
        return true;
    }
    json_t *before = json_object_get(*all, "items");
    bool ok =
        json_array_extend(before, json_object_get(page, "items")) == 0 && json_object_set(page, "items", before) == 0;
    json_decref(*all);
    *all = page;
    return ok || ctl_no_memory(st);
}

int ctl_run_item_list(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    bool follow = ctl_option_given(arguments, "all"), ok;
    char cursor[1024];
    const char *start = ctl_option_text(arguments, "cursor");
    json_t *all = NULL;
    snprintf(cursor, sizeof cursor, "%s", start != NULL ? start : "");
    do {
        json_t *page = fetch_page(ctl, arguments, cursor, &st);
        ok = page != NULL && add_page(ctl, &all, page, &st);
        if (ok)
            snprintf(cursor, sizeof cursor, "%s", ctl_member_text(all, "cursor"));
    } while (ok && follow && cursor[0] != '\0');
    if (ok && ctl->output != CTL_NDJSON)
        ok = print_items(ctl, all, &st);
    if (ok && ctl->output != CTL_JSON && cursor[0] != '\0')
        ctl_note(ctl, "there is more: --cursor '%s', or --all", cursor);
    json_decref(all);
    return ok ? 0 : ctl_fail(ctl, &st);
}
