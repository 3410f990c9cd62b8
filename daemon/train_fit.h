/* SPDX-License-Identifier: Apache-2.0
 *
 * `recsys-train fit`: train a model on a shop and write it. */
#ifndef RECSYS_DAEMON_TRAIN_FIT_H
#define RECSYS_DAEMON_TRAIN_FIT_H

/* The command; returns the exit code. */
int train_fit(int argc, char **argv);

#endif
