/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_fit.h"

#include "daemon/program.h"
#include "daemon/train_run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME        "recsys-train"
#define THREADS_MAX 64

static const char usage[] =
    "usage: recsys-train fit --data-dir DIR --out FILE [--holdout leave-one-out|time|none] [--seed N] [--threads N]\n"
    "                        [--config F] [--options F] [--set NAME=VALUE]... [--without PART]...\n"
    "\n"
    "  -d, --data-dir DIR     the shop, read only; the daemon may be running\n"
    "  -c, --config FILE      the daemon's settings (behaviours and their weights)\n"
    "      --out FILE         the model, a safetensors file\n"
    "      --holdout KIND     none (default): for production, each user's last event validates; leave-one-out, time:\n"
    "                         for an evaluation with the same word\n"
    "      --seed N           default 1; the same seed and threads give the same bytes\n"
    "  -t, --threads N        default: one per core\n"
    "      --options FILE     options as YAML, 'name: value'\n"
    "      --set NAME=VALUE   one option; the last word counts\n"
    "      --without PART     train without id, sequence, streams, cross, same, cooccurrence, prior, time or a "
    "modality\n"
    "      --cold-share X     this share of the items, by a hash of the id, loses its training events\n"
    "      --stage-one FILE   take encoder and sequence part from a model of the same options instead of training "
    "them\n"
    "      --no-resume        start over, even if OUT.checkpoint is there\n"
    "  -q, --quiet            no progress\n"
    "\n"
    "Options:\n";

/* ---- command line */

/* 0: go on; otherwise exit with that code - 1 */
static int parse(struct train_request *f, int argc, char **argv)
{
    enum { OUT = 256, HOLDOUT, SEED, OPTIONS, SET, WITHOUT, COLD_SHARE, STAGE_ONE, NO_RESUME };
    static const struct option table[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"out", required_argument, NULL, OUT},
                                          {"holdout", required_argument, NULL, HOLDOUT},
                                          {"seed", required_argument, NULL, SEED},
                                          {"threads", required_argument, NULL, 't'},
                                          {"options", required_argument, NULL, OPTIONS},
                                          {"set", required_argument, NULL, SET},
                                          {"without", required_argument, NULL, WITHOUT},
                                          {"cold-share", required_argument, NULL, COLD_SHARE},
                                          {"stage-one", required_argument, NULL, STAGE_ONE},
                                          {"no-resume", no_argument, NULL, NO_RESUME},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int64_t number = 0;
    char *end;
    struct status st = STATUS_INIT;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "d:c:t:qh", table, NULL)) != -1;) {
        bool ok = true;
        switch (option) {
        case 'd':
            f->data_dir = optarg;
            break;
        case 'c':
            f->config_file = optarg;
            break;
        case OUT:
            f->out = optarg;
            break;
        case HOLDOUT:
            ok = holdout_parse(optarg, &f->holdout);
            break;
        case SEED:
            ok = program_number(optarg, 0, INT64_MAX, &number);
            f->seed = (uint64_t)number;
            break;
        case 't':
            ok = program_number(optarg, 1, THREADS_MAX, &number);
            f->threads = (size_t)number;
            break;
        case OPTIONS:
            if (!train_options_load(&f->options, optarg, &st))
                return 1 + program_fail(NAME, &st);
            break;
        case SET:
            if (!train_options_set(&f->options, optarg, &st))
                return 1 + program_fail(NAME, &st);
            break;
        case WITHOUT:
            ok = train_without_add(&f->without, optarg);
            break;
        case COLD_SHARE:
            f->cold_share = strtod(optarg, &end);
            ok = end != optarg && *end == '\0' && f->cold_share >= 0 && f->cold_share <= 1;
            break;
        case STAGE_ONE:
            f->stage_one = optarg;
            break;
        case NO_RESUME:
            f->fresh = true;
            break;
        case 'q':
            f->quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            train_options_help();
            return 1;
        default:
            return 1 + program_usage_error(NAME, "unknown option or missing value:", argv[optind - 1]);
        }
        if (!ok)
            return 1 + program_usage_error(NAME, "cannot take", optarg);
    }
    if (optind < argc)
        return 1 + program_usage_error(NAME, "unexpected argument", argv[optind]);
    if (f->out == NULL)
        return 1 + program_usage_error(NAME, "--out FILE is missing", NULL);
    return train_options_check(&f->options, &st) ? 0 : 1 + program_fail(NAME, &st);
}

int train_fit(int argc, char **argv)
{
    struct status st = STATUS_INIT;
    struct train_request request = {.seed = 1, .holdout = HOLDOUT_NONE};
    request.threads = program_cores() < THREADS_MAX ? program_cores() : THREADS_MAX;
    train_options_default(&request.options);
    int code = parse(&request, argc, argv);
    if (code != 0)
        return code - 1;
    return program_init(&st) && train_run(&request, &st) ? 0 : program_fail(NAME, &st);
}
