/* SPDX-License-Identifier: Apache-2.0
 *
 * recsys-train inspect: what a model file holds, in words or as JSON. */
#ifndef RECSYS_DAEMON_TRAIN_INSPECT_H
#define RECSYS_DAEMON_TRAIN_INSPECT_H

/* Run the subcommand; returns the exit code. */
int train_inspect(int argc, char **argv);

#endif
