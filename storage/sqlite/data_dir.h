/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory of one shop and its lock. Whatever umask says, directories made here are 0700 and files 0600. */
#ifndef RECSYS_STORAGE_SQLITE_DATA_DIR_H
#define RECSYS_STORAGE_SQLITE_DATA_DIR_H

#include "proto/status.h"

/* A writer of the daemon or one of its tools that needs a scratch file in the directory gives it this ending; left-over
 * ones are removed at the next start. */
#define DATA_DIR_SCRATCH_SUFFIX ".tmp"

/* Make the directory (its parent must be there) and take its LOCK file. Returns the descriptor that holds the lock
 * until it is closed, or -1: UNAVAILABLE / STORE_LOCKED names the process that has it. */
int data_dir_lock(const char *data_dir, struct status *st);

/* Remove scratch files older runs left behind. Only for the holder of the lock. */
void data_dir_clean(const char *data_dir);

/* Make an empty file where there is none, and let that survive a power cut. */
bool data_dir_create_file(const char *data_dir, const char *path, struct status *st);

#endif
