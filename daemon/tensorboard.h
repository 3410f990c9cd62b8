/* SPDX-License-Identifier: Apache-2.0
 *
 * Curves for TensorBoard: an event file, that is records of
 *
 *   u64 length | u32 masked CRC-32C of these 8 bytes | protobuf Event | u32 masked CRC-32C of the Event        little-endian
 *
 * (tensorflow/core/lib/io/record_writer.h; the messages: proto/tensorboard.proto). A directory holds the files of one training; each run that
 * goes on with it adds one, and TensorBoard reads them in the order of their names. One thread. */
#ifndef RECSYS_DAEMON_TENSORBOARD_H
#define RECSYS_DAEMON_TENSORBOARD_H

#include "proto/status.h"

#include <stddef.h>
#include <stdio.h>

#define TENSORBOARD_TAG_MAX 200 /* bytes */

struct tensorboard {
    FILE *file;
    char path[4096];
};

/* Make `dir` unless it is there (its parent must be), and in it a new file "events.out.tfevents.SECONDS.HOST". False with ALREADY_EXISTS / OUTPUT. */
bool tensorboard_open(struct tensorboard *board, const char *dir, int64_t now_ms, struct status *st);

/* Say that what earlier files have at `step` and after it is void: training begins there, anew or once more. */
bool tensorboard_restart(struct tensorboard *board, int64_t step, int64_t now_ms, struct status *st);

/* One point of the curve `tag`, UTF-8 of up to TENSORBOARD_TAG_MAX bytes. It is in the file on return. False with RESOURCE_EXHAUSTED / DISK_FULL,
 * or INVALID_ARGUMENT / BAD_TAG. */
bool tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value, int64_t now_ms,
                        struct status *st);

/* Accepts all-zero, leaves all-zero. */
void tensorboard_close(struct tensorboard *board);

/* CRC-32C (Castagnoli; RFC 3720, B.4). */
uint32_t tensorboard_crc32c(const void *bytes, size_t size_bytes);

#endif
