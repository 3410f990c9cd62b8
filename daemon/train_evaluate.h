/* SPDX-License-Identifier: Apache-2.0
 *
 * recsys-train evaluate: a model and the plain baselines on held-out events. */
#ifndef RECSYS_DAEMON_TRAIN_EVALUATE_H
#define RECSYS_DAEMON_TRAIN_EVALUATE_H

/* Run the subcommand; returns the exit code. */
int train_evaluate(int argc, char **argv);

#endif
