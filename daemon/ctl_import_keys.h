/* SPDX-License-Identifier: Apache-2.0
 *
 * Idempotency keys of imported events. The key of a row is made of what it says and of how many rows that say the same
 * came before it in its file, so that importing a file again adds nothing, a corrected file adds what is new, and real
 * repetitions are kept. */
#ifndef RECSYS_DAEMON_CTL_IMPORT_KEYS_H
#define RECSYS_DAEMON_CTL_IMPORT_KEYS_H

#include "proto/status.h"

#include <stdint.h>

#define EVENT_KEY_SIZE 33 /* XXH3-128 in hexadecimal, with the NUL */

/* One file's rows so far. Memory grows with the number of different rows, by some 15 bytes each. */
struct event_keys {
    void *state; /* XXH3_state_t; owned */
    void *seen;  /* JudyL: 64-bit hash of a row's content -> rows that had it */
};

bool event_keys_open(struct event_keys *keys, struct status *st);

/* The key of the next row: XXH3-128 of user, item, time in ms, behaviour and ordinal (decimal, from 0), with a 0x1f
 * between them. False only out of memory. */
bool event_keys_next(struct event_keys *keys, const char *user, const char *item, int64_t at_ms, const char *behaviour,
                     char out[EVENT_KEY_SIZE], struct status *st);

/* Accepts an all-zero struct and leaves it all-zero. */
void event_keys_close(struct event_keys *keys);

#endif
