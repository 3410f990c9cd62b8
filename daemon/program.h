/* SPDX-License-Identifier: Apache-2.0
 *
 * What the offline programs (recsys-train, recsys-rescore) share: options, settings, exit codes. */
#ifndef RECSYS_DAEMON_PROGRAM_H
#define RECSYS_DAEMON_PROGRAM_H

#include "daemon/config.h"

#define PROGRAM_EXIT_USAGE  64
#define PROGRAM_EXIT_CONFIG 78

/* Read the settings for a data directory: defaults, `file` (NULL: /etc/recsysd/recsysd.yaml if it is there), environment, `data_dir` (NULL: as
 * configured). */
bool program_configure(struct config *config, const char *file, const char *data_dir, struct status *st);

/* Print "NAME: message" on standard error; the exit code that belongs to it. */
int program_fail(const char *name, const struct status *st);

/* The same for the command line. */
int program_usage_error(const char *name, const char *what, const char *argument);

/* A whole number from `least` to `most`. */
bool program_number(const char *text, int64_t least, int64_t most, int64_t *out);

/* Set up the libraries of a process that computes: one BLAS thread, libsodium. */
bool program_init(struct status *st);

/* Cores of this machine, at least 1. */
size_t program_cores(void);

#endif
