/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_rules.h"

#include "proto/suggest.h"

#include <string.h>

/* clang-format off */
const struct ctl_option ctl_global_options[] = {
    {"endpoint", 0,   "E",                 "where recsysd listens: ipc://PATH or tcp://HOST:PORT"},
    {"timeout",  0,   "MS",                "wait at most this many milliseconds for each answer"},
    {"output",   'o', "table|json|ndjson", "json: the daemon's result; ndjson: one line per element of its list"},
    {"quiet",    'q', NULL,                "nothing but errors on stderr"},
    {"no-color", 0,   NULL,                "no colours; NO_COLOR in the environment does the same"},
    {"help",     'h', NULL,                "show help"},
    {"version",  0,   NULL,                "show the version"},
    {0},
};

static const struct ctl_option no_options[] = {{0}};

static const struct ctl_option event_add_options[] = {
    {"user",      0, "USER",  "who"},
    {"item",      0, "ITEM",  "what"},
    {"behaviour", 0, "B",     "what was done: view, purchase, ... (view)"},
    {"value",     0, "V",     "a rating or a quantity; stored, not scored"},
    {"ts",        0, "T",     "when: ISO 8601, seconds or milliseconds (now)"},
    {"key",       0, "K",     "idempotency: a second event of this user with this key is a duplicate"},
    {"recomm-id", 0, "R",     "the list that led to it"},
    {"create",    0, NULL,    "create users and items that the shop does not know"},
    {0},
};

static const struct ctl_option item_put_options[] = {
    {"title",     0, "T",      "title"},
    {"category",  0, "C",      "category; may be repeated"},
    {"price",     0, "P",      "price"},
    {"available", 0, "yes|no", "may it be recommended"},
    {"created",   0, "T",      "time before which it is not recommended"},
    {"expires",   0, "T",      "time from which it is not recommended; never: no such time"},
    {"attribute", 0, "K=V",    "attribute; may be repeated, the same name again makes a list"},
    {"replace",   0, NULL,     "start from an empty item: what is not given is cleared"},
    {0},
};

static const struct ctl_option item_list_options[] = {
    {"count",           'n', "N",      "items of one page (100)"},
    {"cursor",          0,   "CURSOR", "go on where an earlier list ended"},
    {"all",             0,   NULL,     "all pages"},
    {"include-deleted", 0,   NULL,     "deleted items too"},
    {0},
};

static const struct ctl_option history_options[] = {
    {"count",  'n', "N", "newest events (20)"},
    {"at-seq", 0,   "S", "as of this position of the log"},
    {0},
};

#define LIST_OPTIONS                                                                                                  \
    {"count",        'n', "N",           "items at most"},                                                            \
    {"exclude",      0,   "ITEM",        "leave this item out; may be repeated"},                                     \
    {"exclude-seen", 0,   "yes|no",      "leave out what the user has seen"},                                         \
    {"weight",       0,   "NAME=FACTOR", "of a modality, behaviour or popularity (1): text=0.5; may be repeated"},    \
    {"min-seq",      0,   "S",           "the answer must know the log up to here"},                                  \
    {"at-seq",       0,   "S",           "the answer must not know the log after here"},                              \
    {"now",          0,   "T",           "answer as of this time"},                                                   \
    {"fields",       0,   "A,B",         "of each item: title, categories, price, available, attributes (title)"}

#define WHAT_IF_OPTIONS                                                                                               \
    {"without",    0, "SEQ",       "as if this event (seq in user history) had not happened; may be repeated"},       \
    {"as-of",      0, "T",         "as it would have been answered then"},                                            \
    {"context",    0, "KEY=VALUE", "what else is known: device=phone; may be repeated"},                              \
    {"experiment", 0, "NAME",      "the user's variant of this experiment answers"},                                  \
    {"language",   0, "L",         "of the reasons"},                                                                 \
    {"funnel",     0, NULL,        "show how many items are left after each stage"}

#define PERSONAL_OPTIONS                                                                                              \
    LIST_OPTIONS,                                                                                                     \
    {"current",    0, "ITEM", "looked at now, or in the cart: counts as the newest event; may be repeated"},          \
    {"deadline",   0, "MS",   "answer within this, with less if need be"},                                            \
    WHAT_IF_OPTIONS,                                                                                                  \
    CTL_RULES_OPTIONS

#define HTML_OPTION                                                                                                   \
    {"html",         0,   "FILE",        "write a page that explains every score; - is stdout"}

static const struct ctl_option recommend_options[] = {
    {"reason",       0,   NULL,          "show why each item is there, in words"},
    {"explain",      0,   NULL,          "show also what each event of the history adds to the scores"},
    HTML_OPTION,
    PERSONAL_OPTIONS,
    {0},
};

static const struct ctl_option rank_options[] = {
    PERSONAL_OPTIONS,
    {0},
};

static const struct ctl_option why_options[] = {
    HTML_OPTION,
    PERSONAL_OPTIONS,
    {0},
};

static const struct ctl_option top_options[] = {
    {"count",        'n', "N",           "items at most"},
    {"exclude",      0,   "ITEM",        "leave this item out; may be repeated"},
    {"user",         0,   "USER",        "whose seen items --exclude-seen leaves out"},
    {"exclude-seen", 0,   "yes|no",      "leave out what the user has seen"},
    {"now",          0,   "T",           "answer as of this time"},
    {"fields",       0,   "A,B",         "of each item: title, categories, price, available, attributes (title)"},
    WHAT_IF_OPTIONS,
    CTL_RULES_OPTIONS,
    {0},
};

static const struct ctl_option audience_options[] = {
    {"count",        'n', "N",      "users at most"},
    {"users",        0,   "N",      "users looked at, those of the newest events (1000)"},
    {"include-seen", 0,   "yes|no", "also who has seen the item (no)"},
    {0},
};

static const struct ctl_option feedback_options[] = {
    {"from",  0, "T", "impressions from this time on (the last 7 days)"},
    {"until", 0, "T", "and before this time (now)"},
    {0},
};

static const struct ctl_option user_erase_options[] = {
    {"yes", 0, NULL, "do not ask"},
    {0},
};

static const struct ctl_option experiment_report_options[] = {
    {"outcome", 0, "B", "behaviour that counts as success (any with a weight above 0)"},
    {"from",    0, "T", "lists from this time on (all)"},
    {"until",   0, "T", "and before this time (now)"},
    {"alpha",   0, "A", "rate of false alarms to live with (0.05)"},
    {0},
};

#define REPLAY_OPTIONS                                                      \
    {"from",  0,   "T", "requests logged from this time on (all)"},         \
    {"until", 0,   "T", "and before this time"},                            \
    {"count", 'n', "N", "requests at most (10000)"}

static const struct ctl_option replay_options[] = {
    {"model",     0, "NAME",        "answers instead of the active one; loaded for this where it is not"},
    {"scenarios", 0, "FILE",        "these instead of those that answer now"},
    {"behaviour", 0, "NAME=WEIGHT", "in the place of the configured weight; may be repeated"},
    REPLAY_OPTIONS,
    {0},
};

static const struct ctl_option plan_options[] = {
    {"against", 0, "FILE", "what the daemon was started with (/etc/recsysd/recsysd.yaml)"},
    REPLAY_OPTIONS,
    {0},
};

static const struct ctl_option next_options[] = {
    {"count", 'n', "N", "items of this page (as before)"},
    {0},
};

static const struct ctl_option similar_options[] = {
    LIST_OPTIONS,
    {"modality", 0, "M",    "look at this one only; may be repeated"},
    {"user", 0, "USER", "whose seen items --exclude-seen leaves out"},
    {"like", 0, "ITEM[:MODALITY]", "similar to this, in this way; may be repeated"},
    {"unlike", 0, "ITEM[:MODALITY]", "unlike this; may be repeated"},
    WHAT_IF_OPTIONS,
    CTL_RULES_OPTIONS,
    {0},
};

static const struct ctl_option import_options[] = {
    {"inter",     0, "FILE",          "events"},
    {"items",     0, "FILE",          "items"},
    {"feature",   0, "NAME=FILE.npy", "vectors of modality NAME; may be repeated"},
    {"behaviour", 0, "B",             "of events in a file without such a column (view)"},
    {"encoder",   0, "NAME@VERSION",  "what made the vectors (default)"},
    {"batch",     0, "N",             "rows sent at a time (2000)"},
    {"strict",    0, NULL,            "stop at the first bad row"},
    {"dry-run",   0, NULL,            "read and check the files, send nothing"},
    {0},
};

static const struct ctl_option model_put_options[] = {
    {"name",   0, "NAME", "what the model is called (the file's name without .safetensors)"},
    {"report", 0, "FILE", "its evaluation, as recsys-train evaluate -o json prints it"},
    {0},
};

static const struct ctl_option model_activate_options[] = {
    {"if-better", 0, NULL, "only if its report is not worse than that of the active model"},
    {0},
};

const struct ctl_command ctl_commands[] = {
    {"ping", "", "is the daemon there and ready", 0, 0, no_options, ctl_run_ping,
     "Exits with 0: ready, 1: it answers but takes no requests now, 2: no answer."},
    {"status", "", "what the shop holds and how the daemon is doing", 0, 0, no_options, ctl_run_status, NULL},
    {"info", "", "version, methods, limits and behaviours", 0, 0, no_options, ctl_run_info, NULL},
    {"event add", "[-]", "record what users did", 0, 1, event_add_options, ctl_run_event_add,
     "With '-', events are read from stdin, one JSON object per line with the fields of event.add:\n"
     "  {\"user\": \"u1\", \"item\": \"i1\", \"behaviour\": \"purchase\", \"key\": \"order-17\"}\n"
     "A bad line is reported and skipped (exit code 65). Lines with a key can safely be sent again.\n\n"
     "Example:\n"
     "  recsysctl event add --user u1 --item i1 --behaviour purchase --create"},
    {"item get", "ITEM...", "show items", 1, CTL_ANY, no_options, ctl_run_item_get,
     "Exits with 66 when the shop does not have one of them."},
    {"item put", "ITEM | -", "create or change an item", 1, 1, item_put_options, ctl_run_item_put,
     "Fields that are not given keep their value.\n"
     "With '-', items are read from stdin, one JSON object per line:\n"
     "  {\"item\": \"i1\", \"title\": \"Desk lamp\", \"categories\": [\"light\"], \"attributes\": {\"watt\": 7}}\n\n"
     "Example:\n"
     "  recsysctl item put i1 --title 'Desk lamp' --category light --price 19.90 --attribute brand=Acme"},
    {"item delete", "ITEM...", "delete items", 1, CTL_ANY, no_options, ctl_run_item_delete,
     "Items that are not there are named on stderr and are no error."},
    {"item list", "", "list the catalogue", 0, 0, item_list_options, ctl_run_item_list, NULL},
    {"user history", "USER", "what a user did, newest first", 1, 1, history_options, ctl_run_user_history, NULL},
    {"user merge", "FROM INTO", "make a session or a second account the same user", 2, 2, no_options, ctl_run_user_merge,
     "Events of FROM become those of INTO. Where nobody is called INTO, FROM gets that name."},
    {"user erase", "USER", "erase a user with everything that is stored of them", 1, 1, user_erase_options, ctl_run_user_erase,
     "Asks first on a terminal. Prints what was erased, and the models that may have been trained on it."},
    {"recommend", "[USER]", "the best items for a user", 0, 1, recommend_options, ctl_run_recommend,
     "Without USER: for somebody of whom nothing is known but --current.\n\n"
     "Example:\n"
     "  recsysctl recommend u1 -n 5 --exclude i7 --weight popularity=0.5\n"
     "  recsysctl recommend u1 --must 'price<=50' --must-not brand=Acme --cap category=2/10 --diversity 0.3\n"
     "  recsysctl recommend u1 --explain --html why.html"},
    {"rank", "USER ITEM...", "put the given items in order for a user", 2, CTL_ANY, rank_options, ctl_run_rank, NULL},
    {"why", "USER ITEM", "why an item is on a user's list, or what keeps it off", 2, 2, why_options, ctl_run_why,
     "Takes the options of the list that is in question.\n\n"
     "Example:\n"
     "  recsysctl why u1 i7\n"
     "  recsysctl why u1 i7 -n 20 --must 'price<=50' --html why.html"},
    {"similar", "[ITEM...]", "items that go with all of these", 0, CTL_ANY, similar_options, ctl_run_similar,
     "Example:\n"
     "  recsysctl similar i1 --modality image -n 5\n"
     "  recsysctl similar --like i1:image --like i2:text --unlike i3"},
    {"complement", "ITEM...", "what goes with a cart, by what users did", 1, CTL_ANY, top_options, ctl_run_complement, NULL},
    {"top", "popular|trending|newest", "what everybody gets", 1, 1, top_options, ctl_run_top,
     "Example:\n"
     "  recsysctl top trending --must category=shoes -n 5"},
    {"next", "RECOMM_ID", "the next page of a list", 1, 1, next_options, ctl_run_next, NULL},
    {"audience", "ITEM", "users who would like an item", 1, 1, audience_options, ctl_run_audience,
     "Looks at the users who were active last.\n\n"
     "Example:\n"
     "  recsysctl audience i1 -n 20 --users 5000 --timeout 5000"},
    {"feedback report", "", "what came of the lists that were shown, by place", 0, 0, feedback_options, ctl_run_feedback_report,
     "Place 0 is all of them together. A response is an event of the same user, item and recomm_id."},
    {"scenario list", "", "presets of lists that requests can name", 0, 0, no_options, ctl_run_scenario_list, NULL},
    {"scenario reload", "", "read the file of scenarios again", 0, 0, no_options, ctl_run_scenario_reload,
     "A file with a fault changes nothing."},
    {"experiment list", "", "experiments and their variants", 0, 0, no_options, ctl_run_experiment_list, NULL},
    {"experiment reload", "", "read the file of experiments again", 0, 0, no_options, ctl_run_experiment_reload,
     "A file with a fault changes nothing."},
    {"experiment report", "NAME", "what came of an experiment, variant by variant", 1, 1, experiment_report_options,
     ctl_run_experiment_report, "Interval and p hold at any time: look as often as you like."},
    {"replay", "", "ask logged requests again: another model, other scenarios, other weights", 0, 0, replay_options,
     ctl_run_replay,
     "Example:\n"
     "  recsysctl replay --model shop-b\n"
     "  recsysctl replay --scenarios new.yaml --behaviour purchase=8"},
    {"plan", "FILE", "what another configuration would change, settings and lists", 1, 1, plan_options, ctl_run_plan,
     "Give the whole file: what it leaves out is at its default, server.scenarios too.\n\n"
     "Example:\n"
     "  recsysctl plan new.yaml"},
    {"import", "", "load items, vectors and events from files", 0, 0, import_options, ctl_run_import,
     "Files of items and events are RecBole's atomic files (tab-separated, first line user_id:token item_id:token\n"
     "timestamp:float); vectors are NumPy matrices. Row r of a matrix belongs to item r of --items, unless a file\n"
     "of the same name that ends in .ids instead of .npy names the item of each row, one per line. Columns:\n"
     "  events  user_id|user|userID  item_id|item|itemID  timestamp|ts|time\n"
     "          [behaviour|behavior|event_type|type]  [rating|value]\n"
     "  items   item_id|item|itemID  [title|name]  [categories|category|genre]  [price]  [available]\n"
     "          any other column becomes an attribute\n"
     "Running it again adds nothing twice, and continues what was interrupted. Bad rows are reported and left out.\n\n"
     "Example:\n"
     "  recsysctl import --items shop.item --feature text=text_feat.npy --inter shop.inter"},
    {"list put", "FILE | -", "store lists that recsys-rescore wrote, for when there is no time to score", 1, 1, no_options,
     ctl_run_list_put,
     "They answer where --deadline leaves no time to score anything. A list takes the place of the user's before; a line\n"
     "with the user \"\" is for everybody who has none. Bad lines are reported and left out (exit code 65).\n\n"
     "Example:\n"
     "  recsys-rescore --out lists.ndjson && recsysctl list put lists.ndjson"},
    {"model list", "", "the models that are stored, newest first", 0, 0, no_options, ctl_run_model_list, NULL},
    {"model put", "FILE", "store a model file", 1, 1, model_put_options, ctl_run_model_put,
     "The file is sent in chunks and checked before it counts; an upload that was interrupted continues. A file that is\n"
     "stored already keeps its name, and only gets the report. Nothing answers differently before 'model activate'.\n\n"
     "Example:\n"
     "  recsysctl model put shop.safetensors --report shop.json"},
    {"model activate", "NAME", "let a model answer", 1, 1, model_activate_options, ctl_run_model_activate,
     "NAME is a version, or a name: its newest version. Items are encoded aside, then the model takes over in one step;\n"
     "requests in flight finish on the one before. A model that does not fit the shop or the memory is refused and\n"
     "changes nothing. With --if-better both models need a report on the same events.\n\n"
     "Example:\n"
     "  recsysctl model activate shop --if-better"},
    {"model rollback", "", "let the model answer that did before", 0, 0, no_options, ctl_run_model_rollback,
     "Again: the one before that."},
    {"model load", "NAME", "load a model beside the active one", 1, 1, no_options, ctl_run_model_load,
     "Requests, experiments and replays can then name it."},
    {"model unload", "NAME", "let go of a model that is loaded", 1, 1, no_options, ctl_run_model_unload, NULL},
    {"model delete", "NAME", "delete a model that is not active", 1, 1, no_options, ctl_run_model_delete, NULL},
    {"model get", "[NAME] FILE", "fetch a model's file; without a name that of the active one", 1, 2, no_options,
     ctl_run_model_get, "FILE '-' is standard output."},
    {"completion", "bash", "print a completion script", 1, 1, no_options, ctl_run_completion,
     "Example:\n"
     "  source <(recsysctl completion bash)"},
    {"help", "[COMMAND]", "show help", 0, 2, no_options, ctl_run_help, NULL},
};
/* clang-format on */

const size_t ctl_command_count = sizeof ctl_commands / sizeof *ctl_commands;

bool ctl_command_in_group(const struct ctl_command *command, const char *group)
{
    size_t length = strlen(group);
    return strncmp(command->name, group, length) == 0 && command->name[length] == ' ';
}

/* What could stand after "item": fail with the nearest or with all of them. */
static void fail_in_group(const char *group, const char *word, struct status *st)
{
    const char *names[16];
    size_t count = 0;
    char all[200] = "";
    for (size_t i = 0; i < ctl_command_count && count < 16; i++) {
        if (!ctl_command_in_group(&ctl_commands[i], group))
            continue;
        names[count] = ctl_commands[i].name + strlen(group) + 1;
        strncat(all, count > 0 ? ", " : "", sizeof all - strlen(all) - 1);
        strncat(all, names[count++], sizeof all - strlen(all) - 1);
    }
    const char *nearest = word != NULL ? suggest(word, names, count) : NULL;
    if (nearest != NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown command '%s %s'; did you mean '%s %s'?", group,
                    word, group, nearest);
    else if (word != NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown command '%s %s'; there are: %s", group, word, all);
    else
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "'%s' needs one more word: %s", group, all);
}

static void fail_command(const char *word, struct status *st)
{
    char groups[32][16];
    const char *names[64];
    size_t count = 0, group_count = 0;
    for (size_t i = 0; i < ctl_command_count && count < 64 && group_count < 32; i++) {
        const char *space = strchr(ctl_commands[i].name, ' ');
        names[count++] = ctl_commands[i].name;
        if (space != NULL && (size_t)(space - ctl_commands[i].name) < sizeof groups[0]) {
            char *group = groups[group_count++];
            memcpy(group, ctl_commands[i].name, (size_t)(space - ctl_commands[i].name));
            group[space - ctl_commands[i].name] = '\0';
            names[count - 1] = group;
        }
    }
    const char *nearest = suggest(word, names, count);
    if (nearest != NULL)
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown command '%s'; did you mean '%s'?", word, nearest);
    else
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "unknown command '%s'", word);
}

const struct ctl_command *ctl_commands_find(char *const *words, size_t word_count, const char **group, size_t *used,
                                            struct status *st)
{
    bool grouped = false;
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *command = &ctl_commands[i];
        bool in_group = ctl_command_in_group(command, words[0]);
        if (strcmp(command->name, words[0]) == 0 ||
            (in_group && word_count > 1 && strcmp(command->name + strlen(words[0]) + 1, words[1]) == 0)) {
            *used = in_group ? 2 : 1;
            return command;
        }
        grouped = grouped || in_group;
    }
    if (grouped && word_count == 1 && group != NULL)
        *group = words[0];
    else if (grouped)
        fail_in_group(words[0], word_count > 1 ? words[1] : NULL, st);
    else
        fail_command(words[0], st);
    return NULL;
}

/* The name is one or two words, with global options before, between and after them. */
static bool parse_name(struct ctl_arguments *arguments, int argc, char **argv, int *at, struct status *st)
{
    const struct ctl_option *const globals[] = {ctl_global_options, NULL};
    char *words[2];
    size_t used = 0;
    for (size_t count = 0; count < 2 && arguments->command == NULL; count++) {
        if (!ctl_options_scan(arguments, argc, argv, globals, true, at, st))
            return false;
        if (*at >= argc)
            return true;
        words[count] = argv[(*at)++];
        arguments->command = ctl_commands_find(words, count + 1, count == 0 ? &arguments->group : NULL, &used, st);
        if (arguments->command == NULL && (count > 0 || arguments->group == NULL))
            return false;
    }
    arguments->group = NULL;
    return true;
}

static bool check_words(const struct ctl_arguments *arguments, struct status *st)
{
    const struct ctl_command *command = arguments->command;
    if (arguments->word_count < (size_t)command->least)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "'%s' needs: %s", command->name, command->arguments);
    if (arguments->word_count > (size_t)command->most)
        return status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "'%s': one argument too many: '%s'", command->name,
                           arguments->words[command->most]);
    return true;
}

bool ctl_commands_parse(struct ctl_arguments *arguments, int argc, char **argv, struct status *st)
{
    int at = 1;
    if (!parse_name(arguments, argc, argv, &at, st))
        return false;
    if (arguments->command != NULL) {
        const struct ctl_option *const lists[] = {ctl_global_options, arguments->command->options, NULL};
        if (!ctl_options_scan(arguments, argc, argv, lists, false, &at, st))
            return false;
        arguments->words = argv + at;
        arguments->word_count = (size_t)(argc - at);
    }
    if (ctl_option_given(arguments, "help") || ctl_option_given(arguments, "version"))
        return true;
    if (arguments->command != NULL)
        return check_words(arguments, st);
    if (arguments->group != NULL)
        fail_in_group(arguments->group, NULL, st);
    else
        status_fail(st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "no command given");
    return false;
}
