/* SPDX-License-Identifier: Apache-2.0
 *
 * Which sets a value is in: for each value of a field, by its number, a list of the numbers of the sets that contain
 * it, ascending. Most values of a large dictionary are in one set, so that the first few need no memory of their own.
 * Nothing is ever removed.
 *
 * Values and sets are numbered by their owner's dictionaries. A new value gets a list, a new set goes to the lists of
 * all its values, and each time the room comes first, because the dictionary may give out in between:
 *
 *   value   postings_reserve, dictionary_add, postings_begin
 *   set     postings_reserve_set for each of its values, dictionary_add, postings_push for each of its values
 *
 * Ownership: the struct is part of its owner, and zeroed it is empty, without an init. It does not know how many values
 * there are: postings_close is told.
 *
 * Errors: the only one is that memory gives out. All lists then say what they said, and may be asked again. Room that
 * is not used stays for the next one.
 *
 * Threads: no locks in here. Lists may be read (postings_mark) by any number of threads at a time, but by no other one
 * while one of them changes: reserving moves what is there, so the owner's lock is held for writing around it too.
 *
 * Cost: reserving, beginning and pushing take constant time, growth included, on average over many; marking takes time
 * for each set of the value. A value takes 16 bytes, up to twice that after growth, and one that is in more than two
 * sets 4 to 8 bytes more for each. `bytes` is a counter of the owner's, to which all that is taken is added; whoever
 * reads it needs no lock. */
#ifndef RECSYS_DAEMON_POSTINGS_H
#define RECSYS_DAEMON_POSTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct posting;

struct postings {
    struct posting *lists; /* by value */
    size_t capacity;
};

/* Free the lists of all values that were begun: those below `count`. */
void postings_close(struct postings *postings, uint32_t count);

/* Room for the list of `value`, the next one: all below it were begun. False out of memory. */
bool postings_reserve(struct postings *postings, uint32_t value, atomic_size_t *bytes);

/* An empty list for `value`, for which there is room. */
void postings_begin(struct postings *postings, uint32_t value);

/* Room for one more set in the list of `value`. False out of memory. */
bool postings_reserve_set(struct postings *postings, uint32_t value, atomic_size_t *bytes);

/* `set` contains `value`; there is room, and `set` is above all that the list has. */
void postings_push(struct postings *postings, uint32_t value, uint32_t set);

/* Set the bit of each set below `set_count` that contains `value`, which was begun. bits (set_count / 64 + 1). */
void postings_mark(const struct postings *postings, uint32_t value, uint64_t *bits, size_t set_count);

#endif
