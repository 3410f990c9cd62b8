/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers byte strings in the order in which they come, 0, 1, 2, ..., and finds them again. A string is any bytes of
 * any size: a text, with its end if one wants to read it as a text, or an array of numbers; one of no bytes is a
 * string too. Nothing is ever removed.
 *
 *   memory       where the bytes of any number of dictionaries lie, in chunks that never move
 *   dictionary   which number which bytes have: a table of its own, open addressing, at most half full
 *
 * Ownership: both structs are part of their owner, and zeroed they are empty, without an init. Strings are copied in.
 * What dictionary_get gives out is the memory's, and stays where and as it is until the memory is closed, however much
 * the dictionary grows; it does not need the dictionary.
 *
 * Errors: the only one is that memory gives out. The dictionary then has what it had, and may be asked again.
 *
 * Threads: no locks in here. A dictionary may be read (find, get, count) by any number of threads at a time, but by no
 * other one while it is added to; memory may be added to, through whatever dictionaries, by one thread at a time. So
 * the owner's lock is held for reading around find, get and count, and for writing around add; where only one thread
 * ever adds, that one reads without the lock. Bytes that were given out are read without it by whoever got them.
 *
 * Cost: finding and adding take constant time beside reading the string, growth included, on average over many; an add
 * that grows the table takes time for every string, but reads none of them again. Strings that are chosen to have equal
 * hashes take longer, up to as many steps as there are strings. Of more than a few strings each takes 24 to 48 bytes
 * beside its own, which are rounded up to 4; the first one of a memory takes a chunk of 64 KiB. */
#ifndef RECSYS_DAEMON_DICTIONARY_H
#define RECSYS_DAEMON_DICTIONARY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dictionary_chunk;
struct dictionary_entry;

struct dictionary_memory {
    struct dictionary_chunk *chunks; /* the newest first */
    char *chunk_free;                /* what is left of the newest */
    size_t chunk_room;
    atomic_size_t bytes;
};

struct dictionary {
    struct dictionary_entry *entries; /* [count], room for slot_count / 2 */
    uint32_t *slots;                  /* [slot_count], a power of two or 0: number + 1; 0: free */
    size_t slot_count;
    uint32_t count; /* how many strings there are: their numbers are below it. The only member that others read */
};

/* Free all strings, of every dictionary that used the memory; those are good for nothing but dictionary_close then. */
void dictionary_memory_close(struct dictionary_memory *memory);

/* Bytes that the memory and the tables of all dictionaries that use it take, about. Any thread, without a lock. */
size_t dictionary_memory_bytes(const struct dictionary_memory *memory);

/* Free the table; the strings are the memory's. */
void dictionary_close(struct dictionary *dictionary);

/* The number of a string. False: it has none, and `*number` stays as it is. `bytes` is not NULL, also where there are
 * none. */
bool dictionary_find(const struct dictionary *dictionary, const void *bytes, size_t size_bytes, uint32_t *number);

/* Add a string that is not there: dictionary_find was asked, this does not. `memory` is the same for all strings of a
 * dictionary, `bytes` is not NULL. The limits are the caller's to keep: 4 GiB for a string, 2^32 - 1 strings. False out
 * of memory: nothing was added, `*number` stays as it is. */
bool dictionary_add(struct dictionary *dictionary, struct dictionary_memory *memory, const void *bytes,
                    size_t size_bytes, uint32_t *number);

/* The string of a number, aligned for uint32_t, not NULL also where it has no bytes; or NULL where nothing has the
 * number. `*size_bytes` (NULL: nobody asks) is its size, or 0. */
const void *dictionary_get(const struct dictionary *dictionary, uint32_t number, size_t *size_bytes);

#endif
