/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void print_options(FILE *out, const struct ctl_option *option)
{
    for (; option->name != NULL; option++) {
        char left[64];
        const char *argument = option->argument;
        snprintf(left, sizeof left, "--%s%s%s", option->name, argument != NULL ? " " : "",
                 argument != NULL ? argument : "");
        if (option->letter != '\0')
            fprintf(out, "  -%c, %-26s  %s\n", option->letter, left, option->help);
        else
            fprintf(out, "      %-26s  %s\n", left, option->help);
    }
}

static void print_line(FILE *out, const struct ctl_command *command)
{
    char left[64];
    snprintf(left, sizeof left, "%s %s", command->name, command->arguments);
    fprintf(out, "  %-22s  %s\n", left, command->help);
}

void ctl_help_all(FILE *out)
{
    fputs("Usage: recsysctl [OPTIONS] COMMAND [ARGUMENTS]\n"
          "Ask and feed a running recsysd.\n\n"
          "Examples:\n"
          "  recsysctl status\n"
          "  recsysctl import --items shop.item --feature text=text_feat.npy --inter shop.inter\n"
          "  recsysctl recommend u1 -n 5\n"
          "  recsysctl -o json recommend u1 | jq -r '.items[].item'\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < ctl_command_count; i++)
        print_line(out, &ctl_commands[i]);
    fputs("\nOptions, before or after the command:\n", out);
    print_options(out, ctl_global_options);
    fputs(
        "\nEnvironment: RECSYSCTL_ENDPOINT, NO_COLOR.\n"
        "Exit codes: 0 done, 64 usage, 65 bad data, 66 no such thing, 69 no answer, 75 try again, 77 not allowed; see\n"
        "recsysctl(1). 'recsysctl help COMMAND' tells about one command.\n",
        out);
}

void ctl_help_group(FILE *out, const char *group)
{
    fprintf(out, "Usage: recsysctl [OPTIONS] %s COMMAND [ARGUMENTS]\n\nCommands:\n", group);
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (ctl_command_in_group(&ctl_commands[i], group))
            print_line(out, &ctl_commands[i]);
    }
}

void ctl_help_command(FILE *out, const struct ctl_command *command)
{
    bool has_options = command->options->name != NULL;
    fprintf(out, "Usage: recsysctl %s%s%s%s\n", command->name, has_options ? " [OPTIONS]" : "",
            *command->arguments != '\0' ? " " : "", command->arguments);
    fprintf(out, "%c%s.\n", toupper((unsigned char)command->help[0]), command->help + 1);
    if (command->more != NULL)
        fprintf(out, "\n%s\n", command->more);
    if (has_options) {
        fputs("\nOptions:\n", out);
        print_options(out, command->options);
    }
    fputs("\nFor options of all commands see 'recsysctl --help'.\n", out);
}

int ctl_run_help(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    if (arguments->word_count == 0) {
        ctl_help_all(stdout);
        return 0;
    }
    struct status st = STATUS_INIT;
    const char *group = NULL;
    size_t used = 0;
    const struct ctl_command *command = ctl_commands_find(arguments->words, arguments->word_count, &group, &used, &st);
    if (command != NULL)
        ctl_help_command(stdout, command);
    else if (group != NULL)
        ctl_help_group(stdout, group);
    else
        return ctl_fail(ctl, &st);
    return 0;
}
