/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/evaluate_options.h"

#include "daemon/program.h"
#include "daemon/progress.h"
#include "models/default_model.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "recsys-train"

static const char usage[] =
    "usage: recsys-train evaluate --data-dir DIR [--model FILE|default] [--holdout leave-one-out|time] [OPTIONS]\n"
    "\n"
    "  -d, --data-dir DIR       the shop; the daemon may be running\n"
    "  -c, --config FILE        settings (behaviours and their weights)\n"
    "  -m, --model WHAT         a model file, or default: the default model, fitted on this shop\n"
    "      --holdout KIND       leave-one-out: each user's last event is the test; time: the last tenth of the log\n"
    "      --target WHICH       test, or validation: the event, the tenth, before the test\n"
    "      --mask-seen          items of the history do not compete, except the target\n"
    "      --at-seq N           the log up to this position only, so that two runs see the same events\n"
    "      --users N            ask about N users only, the same ones each time\n"
    "      --ablate PART,...    once more with these parts of the model switched off; may be repeated. id, text,\n"
    "                           image, ..., sequence, streams, cross, same, text>image, ..., cooccurrence, prior,\n"
    "                           time; all: one by one, every part that the model has\n"
    "      --cold-share X       also how the targets among this share of the items fare, chosen by their names, which\n"
    "                           have no events to learn from; a model that met their events keeps them\n"
    "      --as-served          also as the daemon would answer, and what its choice of candidates misses\n"
    "      --ranks FILE         write the rank of each query's target\n"
    "      --set NAME[I]=VALUE  override one number of the model by its tensor's name, as head.cooccurrence=1.2\n"
    "      --model-only         leave the baselines out\n"
    "  -t, --threads N          default: one per core\n"
    "  -o, --output FORMAT      table or json\n"
    "  -q, --quiet              no progress\n"
    "  -h, --help               this\n"
    "\n"
    "Full ranking of every item; ties count half; statistics from the training part of the log; the target's time is\n"
    "taken as now; intervals by a bootstrap over users. See recsys-train(1).\n";

static bool parse_override(struct evaluate_options *o, const char *text)
{
    const char *equals = strchr(text, '='), *bracket = strchr(text, '[');
    char *end;
    if (equals == NULL || o->override_count == EVALUATE_OVERRIDES_MAX)
        return false;
    struct evaluate_override *one = &o->overrides[o->override_count];
    size_t length = (size_t)((bracket != NULL && bracket < equals ? bracket : equals) - text);
    one->value = strtof(equals + 1, &end);
    if (length >= sizeof one->name || *end != '\0' || end == equals + 1 || !isfinite(one->value))
        return false;
    memcpy(one->name, text, length);
    one->index = 0;
    if (bracket != NULL && bracket < equals) {
        one->index = strtoul(bracket + 1, &end, 10);
        if (end == bracket + 1 || end + 1 != equals || *end != ']')
            return false;
    }
    o->override_count++;
    return true;
}

static bool parse_ablation(struct evaluate_options *o, const char *text)
{
    if (strcmp(text, "all") == 0)
        return o->ablate_all = true;
    size_t length = strlen(text);
    if (length == 0 || length >= TRAIN_ABLATION_TEXT || o->ablation_count == EVALUATE_ABLATIONS_MAX)
        return false;
    memcpy(o->ablations[o->ablation_count++], text, length + 1);
    return true;
}

static bool parse_share(const char *text, double *share)
{
    char *end;
    *share = strtod(text, &end);
    return end != text && *end == '\0' && *share >= 0 && *share <= 1;
}

enum { HOLDOUT = 256, TARGET, MASK_SEEN, AT_SEQ, USERS, ABLATE, COLD_SHARE, AS_SERVED, RANKS, SET, MODEL_ONLY };

/* one option with its value; false: it cannot be */
static bool take_option(struct evaluate_options *o, int option, const char *value)
{
    int64_t number = 0;
    bool ok = true;
    switch (option) {
    case 'd':
        o->data_dir = value;
        break;
    case 'c':
        o->config_file = value;
        break;
    case 'm':
        o->model_file = strcmp(value, DEFAULT_MODEL_NAME) == 0 ? NULL : value;
        break;
    case HOLDOUT:
        ok = holdout_parse(value, &o->contest.kind) && o->contest.kind != HOLDOUT_NONE;
        break;
    case TARGET:
        ok = strcmp(value, "test") == 0 || strcmp(value, "validation") == 0;
        o->contest.validation = value[0] == 'v';
        break;
    case MASK_SEEN:
        o->contest.mask_seen = true;
        break;
    case AT_SEQ:
        ok = program_number(value, 0, INT64_MAX - 1, &o->at_position);
        break;
    case USERS:
        ok = program_number(value, 1, INT32_MAX, &number);
        o->contest.users = (size_t)number;
        break;
    case ABLATE:
        ok = parse_ablation(o, value);
        break;
    case COLD_SHARE:
        ok = parse_share(value, &o->contest.cold_share);
        break;
    case AS_SERVED:
        o->as_served = true;
        break;
    case RANKS:
        o->ranks_file = value;
        break;
    case SET:
        ok = parse_override(o, value);
        break;
    case MODEL_ONLY:
        o->model_only = true;
        break;
    case 't':
        ok = program_number(value, 1, EVALUATION_THREADS_MAX, &number);
        o->contest.threads = (size_t)number;
        break;
    case 'o':
        ok = strcmp(value, "json") == 0 || strcmp(value, "table") == 0;
        o->json = value[0] == 'j';
        break;
    case 'q':
        o->at_position = INT64_MAX;
        o->contest.progress = false;
        break;
    }
    return ok;
}

int evaluate_options_parse(struct evaluate_options *o, int argc, char **argv)
{
    static const struct option table[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"holdout", required_argument, NULL, HOLDOUT},
                                          {"target", required_argument, NULL, TARGET},
                                          {"mask-seen", no_argument, NULL, MASK_SEEN},
                                          {"at-seq", required_argument, NULL, AT_SEQ},
                                          {"users", required_argument, NULL, USERS},
                                          {"ablate", required_argument, NULL, ABLATE},
                                          {"cold-share", required_argument, NULL, COLD_SHARE},
                                          {"as-served", no_argument, NULL, AS_SERVED},
                                          {"ranks", required_argument, NULL, RANKS},
                                          {"set", required_argument, NULL, SET},
                                          {"model-only", no_argument, NULL, MODEL_ONLY},
                                          {"threads", required_argument, NULL, 't'},
                                          {"output", required_argument, NULL, 'o'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    o->contest.threads = program_cores() < EVALUATION_THREADS_MAX ? program_cores() : EVALUATION_THREADS_MAX;
    o->at_position = INT64_MAX;
    o->contest.progress = progress_style_of_stderr() == PROGRESS_BAR;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "d:c:m:t:o:qh", table, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (option == '?')
            return 1 + program_usage_error(NAME, "unknown option or missing value:", argv[optind - 1]);
        if (!take_option(o, option, optarg))
            return 1 + program_usage_error(NAME, "cannot take", optarg);
    }
    return optind < argc ? 1 + program_usage_error(NAME, "unexpected argument", argv[optind]) : 0;
}
