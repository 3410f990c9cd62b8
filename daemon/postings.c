/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/postings.h"

#include <stdlib.h>
#include <string.h>

#define POSTING_FEW  2
#define POSTINGS_MIN 8

/* The sets that contain a value. */
struct posting {
    uint32_t count, capacity; /* capacity 0: they are in `few` */
    union {
        uint32_t few[POSTING_FEW];
        uint32_t *many;
    };
};

static void count_bytes(atomic_size_t *counter, size_t bytes)
{
    atomic_fetch_add_explicit(counter, bytes, memory_order_relaxed);
}

/* ---- one list */

static const uint32_t *posting_sets(const struct posting *posting)
{
    return posting->capacity == 0 ? posting->few : posting->many;
}

/* Room for one more. */
static bool posting_reserve(struct posting *posting, atomic_size_t *bytes)
{
    bool few = posting->capacity == 0;
    if (posting->count < (few ? POSTING_FEW : posting->capacity))
        return true;
    uint32_t capacity = posting->count * 2;
    uint32_t *many = reallocarray(few ? NULL : posting->many, capacity, sizeof *many);
    if (many == NULL)
        return false;
    if (few)
        memcpy(many, posting->few, sizeof posting->few);
    count_bytes(bytes, (capacity - posting->capacity) * sizeof *many);
    posting->many = many;
    posting->capacity = capacity;
    return true;
}

static void posting_push(struct posting *posting, uint32_t set)
{
    if (posting->capacity == 0)
        posting->few[posting->count++] = set;
    else
        posting->many[posting->count++] = set;
}

/* ---- the lists of all values */

void postings_close(struct postings *postings, uint32_t count)
{
    for (uint32_t value = 0; value < count; value++)
        if (postings->lists[value].capacity > 0)
            free(postings->lists[value].many);
    free(postings->lists);
    *postings = (struct postings){.lists = NULL};
}

bool postings_reserve(struct postings *postings, uint32_t value, atomic_size_t *bytes)
{
    if (value < postings->capacity)
        return true;
    size_t capacity = postings->capacity == 0 ? POSTINGS_MIN : postings->capacity * 2;
    struct posting *lists = reallocarray(postings->lists, capacity, sizeof *lists);
    if (lists == NULL)
        return false;
    count_bytes(bytes, (capacity - postings->capacity) * sizeof *lists);
    postings->lists = lists;
    postings->capacity = capacity;
    return true;
}

void postings_begin(struct postings *postings, uint32_t value)
{
    postings->lists[value] = (struct posting){0};
}

bool postings_reserve_set(struct postings *postings, uint32_t value, atomic_size_t *bytes)
{
    return posting_reserve(&postings->lists[value], bytes);
}

void postings_push(struct postings *postings, uint32_t value, uint32_t set)
{
    posting_push(&postings->lists[value], set);
}

void postings_mark(const struct postings *postings, uint32_t value, uint64_t *bits, size_t set_count)
{
    const struct posting *posting = &postings->lists[value];
    const uint32_t *sets = posting_sets(posting);
    for (uint32_t i = 0; i < posting->count && sets[i] < set_count; i++) /* ascending: sets are numbered as they come */
        bits[sets[i] / 64] |= (uint64_t)1 << (sets[i] % 64);
}
