/* SPDX-License-Identifier: Apache-2.0
 *
 * The one table of recsysctl's commands. Parsing, help, suggestions and completion are read from it: a new command is a
 * line here and a function. */
#ifndef RECSYS_DAEMON_CTL_COMMANDS_H
#define RECSYS_DAEMON_CTL_COMMANDS_H

#include "daemon/ctl_options.h"
#include "daemon/ctl_session.h"

#include <limits.h>
#include <stdio.h>

#define CTL_ANY INT_MAX

struct ctl_command {
    const char *name;      /* one or two words: "ping", "item get" */
    const char *arguments; /* as help shows them: "USER ITEM..."; lower case: the choices */
    const char *help;      /* one line, lower case, no full stop */
    int least, most;       /* words that it takes; CTL_ANY: no limit */
    const struct ctl_option *options;
    int (*run)(struct ctl *ctl, const struct ctl_arguments *arguments); /* returns the exit code */
    const char *more; /* for its own help: sentences, an example; NULL: none */
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;
extern const struct ctl_option ctl_global_options[];

/* Read the whole command line. `arguments` says as much as was understood, so that --help is obeyed after a mistake in
 * what follows; a usage error says what would have been right. The caller closes `arguments` either way. */
bool ctl_commands_parse(struct ctl_arguments *arguments, int argc, char **argv, struct status *st);

/* The command of one or two words, or NULL with a usage error. With only the first word of several commands `*group` is
 * set, if not NULL, and there is no error. `*used` is how many words make the name. */
const struct ctl_command *ctl_commands_find(char *const *words, size_t word_count, const char **group, size_t *used,
                                            struct status *st);

/* True when `command` is one of a group's: "item get" of "item". */
bool ctl_command_in_group(const struct ctl_command *command, const char *group);

/* Help: on everything, on a group, on a command. */
void ctl_help_all(FILE *out);
void ctl_help_group(FILE *out, const char *group);
void ctl_help_command(FILE *out, const struct ctl_command *command);

/* What the commands that ask for lists share (ctl_list.c).
 *
 * The options of a list as fields of its request. False with a usage error, or out of memory. */
bool ctl_list_params(json_t *params, const struct ctl_arguments *arguments, struct status *st);

/* Remarks on stderr about the list as a whole: degraded, unknown, shortened, filled. */
void ctl_list_notes(const struct ctl *ctl, const json_t *list);

/* "funnel: catalogue 400 > ..." on stdout; nothing where the list has none. */
void ctl_list_print_funnel(const json_t *list);

/* Write the page that --html asks for, where it is given; `user` NULL: nobody. `*alone`: it went to stdout, where
 * nothing else may go. */
bool ctl_list_write_page(const struct ctl *ctl, const struct ctl_arguments *arguments, const char *user,
                         const json_t *reply, bool *alone, struct status *st);

/* Tell a failure; returns the exit code. */
int ctl_list_fail(const struct ctl *ctl, const struct status *st);

/* What the table calls; each in the file of its noun. */
int ctl_run_ping(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_status(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_info(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_event_add(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_item_get(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_item_put(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_item_delete(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_item_list(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_user_history(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_feedback_report(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_audience(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_user_merge(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_complement(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_top(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_next(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_scenario_list(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_scenario_reload(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_recommend(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_rank(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_why(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_similar(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_import(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_list(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_put(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_activate(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_rollback(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_delete(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_get(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_list_put(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_experiment_list(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_experiment_reload(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_experiment_report(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_replay(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_plan(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_user_erase(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_load(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_model_unload(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_completion(struct ctl *ctl, const struct ctl_arguments *arguments);
int ctl_run_help(struct ctl *ctl, const struct ctl_arguments *arguments);

#endif
