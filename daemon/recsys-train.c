/* SPDX-License-Identifier: Apache-2.0
 *
 * recsys-train: what is learned, and how good it is. */
#include "daemon/program.h"
#include "daemon/train_evaluate.h"
#include "daemon/train_fit.h"
#include "daemon/train_inspect.h"
#include "proto/suggest.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"fit", train_fit, "learn a model from the log and write its file"},
    {"evaluate", train_evaluate, "rank held-out events with a model and the plain baselines"},
    {"inspect", train_inspect, "say what a model file holds and what its numbers mean"},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(void)
{
    puts("usage: recsys-train COMMAND [OPTIONS]\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].help);
    puts("\n'recsys-train COMMAND --help' explains a command. See recsys-train(1).");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return program_usage_error("recsys-train", "a command is missing", NULL);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("recsys-train %s\n", RECSYSD_VERSION);
        return 0;
    }
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], names[i]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    const char *near = suggest(argv[1], names, COMMANDS);
    return program_usage_error("recsys-train", near != NULL ? "unknown command, did you mean" : "unknown command",
                               near != NULL ? near : argv[1]);
}
