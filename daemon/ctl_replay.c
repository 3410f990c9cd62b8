/* SPDX-License-Identifier: Apache-2.0
 *
 * replay: requests of the log once more, against another model, other scenarios, other weights of behaviours. */
#include "daemon/ctl_replay.h"

#include "daemon/ctl_commands.h"
#include "daemon/ctl_model.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"
#include "daemon/ctl_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE          100
#define CHANGES_KEPT  20
#define CHANGES_SHOWN 10
#define ITEMS_SHOWN   10
#define FILE_MOST     ((size_t)1 << 20) /* what the daemon takes */
#define GONE          " (gone)"         /* behind a scenario that the other file does not have */

struct running {
    struct ctl *ctl;
    const struct ctl_replay *replay;
    char model[128]; /* version of the other model; "": the active one */
    bool loaded;     /* by us */
    int64_t compared, skipped;
    json_t *groups, *changes, *items; /* owned; items: name to change */
    json_t *page;                     /* owned: the last one */
    struct ctl_progress progress;
};

/* ---- adding up */

static bool add_integer(json_t *to, const json_t *from, const char *key, struct status *st)
{
    return ctl_params_set(to, key, json_integer(ctl_member_integer(to, key) + ctl_member_integer(from, key)), st);
}

static bool add_real(json_t *to, const json_t *from, const char *key, struct status *st)
{
    double sum = json_number_value(json_object_get(to, key)) + json_number_value(json_object_get(from, key));
    return ctl_params_set(to, key, json_real(sum), st);
}

/* the group of that scenario, borrowed, made where there is none */
static json_t *find_group(json_t *groups, const char *scenario, struct status *st)
{
    size_t i;
    json_t *group;
    json_array_foreach(groups, i, group)
    {
        if (strcmp(ctl_member_text(group, "scenario"), scenario) == 0)
            return group;
    }
    group = json_object();
    if (!ctl_params_text(group, "scenario", scenario, st) || json_array_append(groups, group) != 0) {
        json_decref(group);
        ctl_no_memory(st);
        return NULL;
    }
    json_decref(group); /* the list holds it */
    return group;
}

static bool add_groups(struct running *r, struct status *st)
{
    size_t i;
    json_t *from;
    bool ok = true;
    json_array_foreach(json_object_get(r->page, "groups"), i, from)
    {
        json_t *to = ok ? find_group(r->groups, ctl_member_text(from, "scenario"), st) : NULL;
        ok = to != NULL && add_integer(to, from, "requests", st) && add_integer(to, from, "equal", st) &&
             add_real(to, from, "overlap", st) && add_real(to, from, "moved", st);
    }
    return ok;
}

static double overlap_of(const json_t *change)
{
    return json_number_value(json_object_get(change, "overlap"));
}

/* keep the largest; of equal ones those that came first */
static bool add_changes(struct running *r, struct status *st)
{
    size_t i;
    json_t *change;
    json_array_foreach(json_object_get(r->page, "changes"), i, change)
    {
        size_t place = json_array_size(r->changes);
        while (place > 0 && overlap_of(change) < overlap_of(json_array_get(r->changes, place - 1)))
            place--;
        if (json_array_insert(r->changes, place, change) != 0)
            return ctl_no_memory(st);
        if (json_array_size(r->changes) > CHANGES_KEPT)
            json_array_remove(r->changes, CHANGES_KEPT);
    }
    return true;
}

static bool add_items(struct running *r, struct status *st)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(r->page, "items"), i, item)
    {
        const char *name = ctl_member_text(item, "item");
        int64_t change = ctl_member_integer(item, "after") - ctl_member_integer(item, "before");
        if (!ctl_params_set(r->items, name, json_integer(ctl_member_integer(r->items, name) + change), st))
            return false;
    }
    return true;
}

/* ---- asking */

static json_t *call_model(struct running *r, const char *method, const char *model, struct status *st)
{
    json_t *params = json_object();
    if (ctl_params_text(params, "name", model, st))
        return ctl_call(r->ctl, method, params, st);
    json_decref(params);
    return NULL;
}

/* the version that is meant: the newest of that name, which model.list has first */
static bool find_model(struct running *r, struct status *st)
{
    const char *wanted = r->replay->model;
    bool found = false;
    size_t i;
    json_t *model;
    if (wanted == NULL)
        return true;
    json_t *result = ctl_call(r->ctl, "model.list", NULL, st);
    if (result == NULL)
        return false;
    snprintf(r->model, sizeof r->model, "%s", wanted);
    for (int by_name = 0; by_name < 2; by_name++) {
        json_array_foreach(json_object_get(result, "models"), i, model)
        {
            if (found || strcmp(ctl_member_text(model, by_name ? "name" : "version"), wanted) != 0)
                continue;
            snprintf(r->model, sizeof r->model, "%s", ctl_member_text(model, "version"));
            found = true;
        }
    }
    json_decref(result);
    return true;
}

static bool load_model(struct running *r, struct status *st)
{
    ctl_progress_clear(&r->progress);
    ctl_note(r->ctl, "loading model '%s' for this replay", r->model);
    json_t *result = call_model(r, "model.load", r->model, st);
    r->loaded = result != NULL;
    json_decref(result);
    return r->loaded;
}

static void unload_model(struct running *r)
{
    struct status st = STATUS_INIT;
    if (!r->loaded)
        return;
    json_t *result = call_model(r, "model.unload", r->model, &st);
    if (result == NULL)
        ctl_note(r->ctl, "model '%s' stays loaded: %s", r->model, st.message);
    json_decref(result);
}

static bool fetch_page(struct running *r, const char *cursor, int64_t n, struct status *st)
{
    json_t *params = json_copy(r->replay->params);
    json_t *page = NULL;
    if (ctl_params_text(params, "model", r->model, st) && ctl_params_text(params, "cursor", cursor, st) &&
        ctl_params_set(params, "n", json_integer(n), st))
        page = ctl_call(r->ctl, "replay", json_incref(params), st);
    json_decref(params);
    if (page == NULL)
        return false;
    json_decref(r->page);
    r->page = page;
    r->compared += ctl_member_integer(page, "compared");
    r->skipped += ctl_member_integer(page, "skipped");
    return add_groups(r, st) && add_changes(r, st) && add_items(r, st);
}

static bool fetch_pages(struct running *r, struct status *st)
{
    char cursor[64] = "";
    int64_t left = r->replay->most;
    do {
        int64_t n = left < PAGE ? left : PAGE;
        if (!fetch_page(r, cursor, n, st)) {
            if (r->loaded || r->model[0] == '\0' || strcmp(st->reason, "NOT_LOADED") != 0)
                return false;
            *st = (struct status)STATUS_INIT;
            if (!load_model(r, st) || !fetch_page(r, cursor, n, st))
                return false;
        }
        left = r->replay->most - r->compared - r->skipped;
        snprintf(cursor, sizeof cursor, "%s", ctl_member_text(r->page, "cursor"));
        ctl_progress_update(&r->progress, (uint64_t)(r->compared + r->skipped), (uint64_t)(r->compared + r->skipped));
    } while (cursor[0] != '\0' && left > 0);
    return true;
}

/* ---- the report */

struct item_change {
    const char *name;
    int64_t change;
};

static int by_change(const void *a, const void *b)
{
    const struct item_change *x = a, *y = b;
    int64_t more = llabs(y->change) - llabs(x->change);
    return more != 0 ? (more > 0) - (more < 0) : strcmp(x->name, y->name);
}

/* the items as a list, those that moved most first; NULL out of memory */
static json_t *list_items(json_t *items)
{
    const char *name;
    json_t *change, *list = json_array();
    size_t count = 0;
    struct item_change *changes = calloc(json_object_size(items) + 1, sizeof *changes);
    bool ok = changes != NULL && list != NULL;
    json_object_foreach(items, name, change)
    {
        if (ok && json_integer_value(change) != 0)
            changes[count++] = (struct item_change){name, json_integer_value(change)};
    }
    if (ok)
        qsort(changes, count, sizeof *changes, by_change);
    for (size_t i = 0; ok && i < count; i++)
        ok = json_array_append_new(
                 list, json_pack("{s:s, s:I}", "item", changes[i].name, "change", (json_int_t)changes[i].change)) == 0;
    free(changes);
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

static bool is_gone(const json_t *group)
{
    const char *scenario = ctl_member_text(group, "scenario");
    size_t length = strlen(scenario), ending = strlen(GONE);
    return length >= ending && strcmp(scenario + length - ending, GONE) == 0;
}

/* sums to means; nothing was compared where the scenario is gone */
static bool take_means(json_t *groups, struct status *st)
{
    static const char *const sums[] = {"overlap", "moved"}, *const means[] = {"mean_overlap", "mean_moved"};
    size_t i;
    json_t *group;
    json_array_foreach(groups, i, group)
    {
        double requests = (double)ctl_member_integer(group, "requests");
        for (size_t k = 0; k < 2; k++) {
            double sum = json_number_value(json_object_get(group, sums[k]));
            json_object_del(group, sums[k]);
            if (!is_gone(group) && !ctl_params_set(group, means[k], json_real(requests > 0 ? sum / requests : 0), st))
                return false;
        }
    }
    return true;
}

static json_t *make_report(struct running *r, struct status *st)
{
    json_t *report = json_object();
    if (take_means(r->groups, st) && ctl_params_set(report, "compared", json_integer(r->compared), st) &&
        ctl_params_set(report, "skipped", json_integer(r->skipped), st) &&
        ctl_params_text(report, "model", ctl_member_text(r->page, "model"), st) &&
        ctl_params_text(report, "other", ctl_member_text(r->page, "other"), st) &&
        ctl_params_set(report, "groups", json_incref(r->groups), st) &&
        ctl_params_set(report, "changes", json_incref(r->changes), st) &&
        ctl_params_set(report, "items", list_items(r->items), st))
        return report;
    json_decref(report);
    return NULL;
}

json_t *ctl_replay_run(struct ctl *ctl, const struct ctl_replay *replay, struct status *st)
{
    struct running r = {.ctl = ctl, .replay = replay};
    json_t *report = NULL;
    r.groups = json_array();
    r.changes = json_array();
    r.items = json_object();
    r.progress.style = ctl->quiet ? PROGRESS_NONE : progress_style_of_stderr();
    r.progress.unit = "requests";
    if (r.groups == NULL || r.changes == NULL || r.items == NULL) {
        ctl_no_memory(st);
    } else if (ctl_model_connect(ctl, NULL, st) && find_model(&r, st)) {
        /* how many are logged nobody knows; where -n says how many are wanted, there are probably as many */
        ctl_progress_start(&r.progress, "replay", replay->most == CTL_REPLAY_COUNT ? 0 : (uint64_t)replay->most);
        if (fetch_pages(&r, st))
            report = make_report(&r, st);
        ctl_progress_clear(&r.progress);
        unload_model(&r);
    }
    json_decref(r.groups);
    json_decref(r.changes);
    json_decref(r.items);
    json_decref(r.page);
    return report;
}

/* ---- printing */

static bool print_groups(const struct ctl *ctl, const json_t *groups, struct status *st)
{
    static const struct ctl_column columns[] = {
        {"scenario", "scenario", CTL_CELL_PLAIN, false, false}, {"requests", "requests", CTL_CELL_PLAIN, true, false},
        {"equal %", "equal", CTL_CELL_PLAIN, true, false},      {"overlap@n", "overlap", CTL_CELL_PLAIN, true, false},
        {"moved", "moved", CTL_CELL_PLAIN, true, false},
    };
    json_t *rows = json_array(), *group;
    size_t i;
    bool ok = true;
    json_array_foreach(groups, i, group)
    {
        const char *scenario = ctl_member_text(group, "scenario");
        double requests = (double)ctl_member_integer(group, "requests");
        double equal = requests > 0 ? 100 * (double)ctl_member_integer(group, "equal") / requests : 0;
        double overlap = json_number_value(json_object_get(group, "mean_overlap"));
        double moved = json_number_value(json_object_get(group, "mean_moved"));
        json_t *row = json_object();
        ok = ok && ctl_params_text(row, "scenario", *scenario != '\0' ? scenario : "(none)", st) &&
             ctl_params_set(row, "requests", json_integer(ctl_member_integer(group, "requests")), st);
        if (ok && !is_gone(group))
            ok = ctl_params_set(row, "equal", json_sprintf("%.1f", equal), st) &&
                 ctl_params_set(row, "overlap", json_sprintf("%.3f", overlap), st) &&
                 ctl_params_set(row, "moved", json_sprintf("%.2f", moved), st);
        ok = ok && (json_array_append(rows, row) == 0 || ctl_no_memory(st));
        json_decref(row);
    }
    ok = ok && ctl_print_table(ctl, rows, columns, sizeof columns / sizeof *columns, st);
    json_decref(rows);
    return ok;
}

/* the first elements of a list under a heading; nothing where it is empty */
static bool print_first(const struct ctl *ctl, const char *heading, const json_t *list, size_t most,
                        const struct ctl_column *columns, size_t column_count, struct status *st)
{
    json_t *first = json_array();
    bool ok = first != NULL || ctl_no_memory(st);
    for (size_t i = 0; ok && i < json_array_size(list) && i < most; i++)
        ok = json_array_append(first, json_array_get(list, i)) == 0 || ctl_no_memory(st);
    if (ok && json_array_size(first) > 0) {
        printf("\n%s\n", heading);
        ok = ctl_print_table(ctl, first, columns, column_count, st);
    }
    json_decref(first);
    return ok;
}

bool ctl_replay_print(const struct ctl *ctl, const json_t *report, struct status *st)
{
    static const struct ctl_column changes[] = {
        {"overlap", "overlap", CTL_CELL_SCORE, true, false},    {"user", "user", CTL_CELL_PLAIN, false, false},
        {"scenario", "scenario", CTL_CELL_PLAIN, false, false}, {"gone", "gone", CTL_CELL_LIST, false, true},
        {"came", "came", CTL_CELL_LIST, false, true},
    };
    static const struct ctl_column items[] = {{"item", "item", CTL_CELL_PLAIN, false, false},
                                              {"lists more", "change", CTL_CELL_PLAIN, true, false}};
    int64_t compared = ctl_member_integer(report, "compared"), skipped = ctl_member_integer(report, "skipped");
    printf("%" PRId64 " requests compared, %" PRId64 " skipped; before: %s, after: %s\n", compared, skipped,
           ctl_member_text(report, "model"), ctl_member_text(report, "other"));
    if (compared + skipped == 0) {
        ctl_note(ctl, "no logged requests: requests.log of the configuration says which lists are kept");
        return true;
    }
    putchar('\n');
    return print_groups(ctl, json_object_get(report, "groups"), st) &&
           print_first(ctl, "largest changes", json_object_get(report, "changes"), CHANGES_SHOWN, changes,
                       sizeof changes / sizeof *changes, st) &&
           print_first(ctl, "items that gain or lose most", json_object_get(report, "items"), ITEMS_SHOWN, items,
                       sizeof items / sizeof *items, st);
}

/* ---- the command */

json_t *ctl_replay_read_scenarios(const char *path, struct status *st)
{
    json_t *value = NULL;
    FILE *file = fopen(path, "rbe");
    char *text = malloc(FILE_MOST + 2);
    size_t size = file != NULL && text != NULL ? fread(text, 1, FILE_MOST + 1, file) : 0;
    if (text != NULL)
        text[size] = '\0';
    if (text == NULL)
        ctl_no_memory(st);
    else if (file == NULL || ferror(file))
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
    else if (size > FILE_MOST)
        status_fail(st, STATUS_INVALID_ARGUMENT, "TOO_LONG", "'%s' has more than %zu bytes", path, FILE_MOST);
    else if (strspn(text, " \t\r\n") == size)
        value = json_string("{}"); /* no scenarios, which is not the same as those that answer now */
    else if ((value = json_stringn(text, size)) == NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SCENARIO", "'%s' is not UTF-8", path);
    if (file != NULL)
        fclose(file);
    free(text);
    return value;
}

static bool set_scenarios(json_t *params, const char *path, struct status *st)
{
    if (path == NULL)
        return true;
    json_t *text = ctl_replay_read_scenarios(path, st);
    return text != NULL && ctl_params_set(params, "scenarios", text, st);
}

int ctl_run_replay(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    struct ctl_replay replay = {.model = ctl_option_text(arguments, "model"), .most = CTL_REPLAY_COUNT};
    replay.params = json_object();
    bool ok = ctl_option_integer(arguments, "count", 1, CTL_REPLAY_MOST, &replay.most, &st) &&
              set_scenarios(replay.params, ctl_option_text(arguments, "scenarios"), &st) &&
              ctl_params_weights(replay.params, "behaviours", arguments, "behaviour", &st) &&
              ctl_params_text(replay.params, "from", ctl_option_text(arguments, "from"), &st) &&
              ctl_params_text(replay.params, "until", ctl_option_text(arguments, "until"), &st);
    json_t *report = ok ? ctl_replay_run(ctl, &replay, &st) : NULL;
    ok = report != NULL;
    if (ok && ctl->output == CTL_JSON)
        ctl_print_json(ctl, report);
    else if (ok && ctl->output == CTL_NDJSON)
        ctl_print_lines(json_object_get(report, "groups"));
    else if (ok)
        ok = ctl_replay_print(ctl, report, &st);
    json_decref(report);
    json_decref(replay.params);
    return ok ? 0 : ctl_fail(ctl, &st);
}
