/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the completion script for bash out of the table of commands. */
#include "daemon/ctl_commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Is this option in a list before list number `limit` of the table? Two commands may share one. */
static bool told_before(const struct ctl_option *option, size_t limit)
{
    for (size_t i = 0; i < limit; i++) {
        for (const struct ctl_option *other = ctl_commands[i].options; other->name != NULL; other++) {
            if (strcmp(other->name, option->name) == 0)
                return true;
        }
    }
    return false;
}

static void print_pattern(const struct ctl_option *option)
{
    printf("    --%s", option->name);
    if (option->letter != '\0')
        printf(" | -%c", option->letter);
    fputs(") ", stdout);
}

/* What may stand after an option that takes a value. */
static void print_values(const struct ctl_option *option)
{
    if (option->argument == NULL)
        return;
    print_pattern(option);
    if (islower((unsigned char)option->argument[0])) {
        fputs("words='", stdout);
        for (const char *at = option->argument; *at != '\0'; at++)
            putchar(*at == '|' ? ' ' : *at);
        puts("' ;;");
    } else if (strstr(option->argument, "FILE") != NULL) {
        puts("compopt -o filenames; COMPREPLY=($(compgen -f -- \"${current##*=}\")); return ;;");
    } else {
        puts("return ;;");
    }
}

static void print_names(const struct ctl_option *option)
{
    for (; option->name != NULL; option++)
        printf(" --%s", option->name);
}

/* The first words of commands, each once: those of one group follow each other in the table. */
static void print_first_words(const char *separator, bool groups_only)
{
    const char *before = "";
    size_t before_length = 0;
    const char *between = "";
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *name = ctl_commands[i].name;
        size_t length = strcspn(name, " ");
        if ((length == before_length && strncmp(name, before, length) == 0) || (groups_only && name[length] == '\0'))
            continue;
        printf("%s%.*s", between, (int)length, name);
        between = separator;
        before = name;
        before_length = length;
    }
}

static void print_words_of_groups(void)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *space = strchr(ctl_commands[i].name, ' ');
        if (space != NULL)
            printf("    '%.*s') words+=' %s' ;;&\n", (int)(space - ctl_commands[i].name), ctl_commands[i].name,
                   space + 1);
    }
}

static void print_words_of_commands(void)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *command = &ctl_commands[i];
        printf("    '%s') words+='", command->name);
        print_names(command->options);
        if (islower((unsigned char)command->arguments[0]))
            printf(" %s", command->arguments);
        puts("' ;;");
    }
}

/* Which command stands before the cursor? Options and their values may stand between its words. */
static void print_finding_command(void)
{
    puts("    for ((i = 1; i < ${#tokens[@]} - 1; i++)); do\n"
         "        case ${tokens[i]} in");
    for (const struct ctl_option *option = ctl_global_options; option->name != NULL; option++) {
        if (option->argument != NULL) {
            fputs("    ", stdout);
            print_pattern(option);
            puts("((i++)) ;;");
        }
    }
    fputs("        -*) ;;\n"
          "        *)\n"
          "            case $command in\n"
          "            '') command=${tokens[i]} ;;\n"
          "            ",
          stdout);
    print_first_words(" | ", true);
    puts(") command+=\" ${tokens[i]}\" ;;\n"
         "            esac\n"
         "            ;;\n"
         "        esac\n"
         "    done");
}

static void print_values_of_options(void)
{
    puts("    case $previous in");
    for (const struct ctl_option *option = ctl_global_options; option->name != NULL; option++)
        print_values(option);
    for (size_t i = 0; i < ctl_command_count; i++) {
        for (const struct ctl_option *option = ctl_commands[i].options; option->name != NULL; option++) {
            if (!told_before(option, i))
                print_values(option);
        }
    }
    puts("    esac\n"
         "    if [[ -n $words ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "        return\n"
         "    fi");
}

static void print_words(void)
{
    fputs("    words='", stdout);
    print_names(ctl_global_options);
    fputs("'\n"
          "    case $command in\n"
          "    '' | help) words+=' ",
          stdout);
    print_first_words(" ", false);
    puts("' ;;");
    print_words_of_groups();
    print_words_of_commands();
    puts("    esac\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))");
}

/* The line is split again here: in COMP_WORDS bash has cut "ipc:///x" and "--output=json" at ':' and '='. */
static void print_bash(void)
{
    puts("# bash completion of recsysctl: source <(recsysctl completion bash)\n"
         "_recsysctl()\n"
         "{\n"
         "    local line=${COMP_LINE:0:COMP_POINT} tokens current previous command='' words='' i\n"
         "    read -ra tokens <<< \"$line\"\n"
         "    [[ $line == *[[:space:]] ]] && tokens+=('')\n"
         "    current=${tokens[-1]} previous=${tokens[-2]-}\n"
         "    [[ $current == --*=* ]] && previous=${current%%=*} current=${current#*=}\n"
         "    COMPREPLY=()");
    print_finding_command();
    print_values_of_options();
    print_words();
    puts("}\n"
         "complete -F _recsysctl recsysctl");
}

int ctl_run_completion(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    if (strcmp(arguments->words[0], "bash") != 0) {
        struct status st = STATUS_INIT;
        status_fail(&st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "no completion for '%s', only for bash",
                    arguments->words[0]);
        return ctl_fail(ctl, &st);
    }
    print_bash();
    return 0;
}
