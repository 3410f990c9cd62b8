/* SPDX-License-Identifier: Apache-2.0
 *
 * recsysctl: asks and feeds a running recsysd. What it can do is the table in ctl_commands.c. */
#include "daemon/ctl_commands.h"
#include "proto/suggest.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef RECSYSD_VERSION
#define RECSYSD_VERSION "unknown"
#endif

/* Titles are UTF-8. Only the character type is taken from the environment: numbers keep their point. */
static void set_locale(void)
{
    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0';
}

static bool set_output(struct ctl *ctl, const char *text, struct status *st)
{
    static const char *const names[] = {[CTL_TABLE] = "table", [CTL_JSON] = "json", [CTL_NDJSON] = "ndjson"};
    const size_t count = sizeof names / sizeof *names;
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            ctl->output = (enum ctl_output)i;
            return true;
        }
    }
    if (text == NULL)
        return true;
    const char *nearest = suggest(text, names, count);
    return status_fail(
        st, STATUS_INVALID_ARGUMENT, CTL_USAGE, "option '--output': '%s' is not table, json or ndjson%s%s%s", text,
        nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
}

static bool set_globals(struct ctl *ctl, const struct ctl_arguments *arguments, struct status *st)
{
    int64_t timeout_ms = 0;
    if (!set_output(ctl, ctl_option_text(arguments, "output"), st) ||
        !ctl_option_integer(arguments, "timeout", 1, 3600000, &timeout_ms, st))
        return false;
    const char *endpoint = ctl_option_text(arguments, "endpoint");
    if (endpoint == NULL && is_set("RECSYSCTL_ENDPOINT"))
        endpoint = getenv("RECSYSCTL_ENDPOINT");
    const char *terminal = getenv("TERM");
    ctl->endpoint = endpoint != NULL ? endpoint : RECSYS_DEFAULT_ENDPOINT;
    ctl->timeout_ms = (uint32_t)timeout_ms;
    ctl->quiet = ctl_option_given(arguments, "quiet");
    ctl->terminal = isatty(STDOUT_FILENO) == 1;
    ctl->colour = ctl->terminal && !is_set("NO_COLOR") && !ctl_option_given(arguments, "no-color") &&
                  terminal != NULL && strcmp(terminal, "dumb") != 0;
    return true;
}

static int dispatch(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    if (ctl_option_given(arguments, "help")) {
        if (arguments->command != NULL)
            ctl_help_command(stdout, arguments->command);
        else if (arguments->group != NULL)
            ctl_help_group(stdout, arguments->group);
        else
            ctl_help_all(stdout);
        return 0;
    }
    if (ctl_option_given(arguments, "version")) {
        puts("recsysctl " RECSYSD_VERSION);
        return 0;
    }
    return arguments->command->run(ctl, arguments);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.endpoint = RECSYS_DEFAULT_ENDPOINT};
    struct ctl_arguments arguments = {0};
    struct status st = STATUS_INIT;
    int code;
    set_locale();
    bool ok = ctl_commands_parse(&arguments, argc, argv, &st);
    if (arguments.command != NULL)
        ctl.command = arguments.command->name;
    if (ok && set_globals(&ctl, &arguments, &st))
        code = dispatch(&ctl, &arguments);
    else
        code = ctl_fail(&ctl, &st);
    ctl_close(&ctl);
    ctl_arguments_close(&arguments);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        fputs("recsysctl: write to stdout: failed\n", stderr);
        code = CTL_EX_IOERR;
    }
    return code;
}
