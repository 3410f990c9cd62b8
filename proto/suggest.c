/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/suggest.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX   64 /* bytes; nobody mistypes a longer one */
#define PREFIX_MIN 3

/* Not tolower(): the locale must not change what is suggested. */
static int fold(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: Levenshtein's, with a swap of neighbours as one step. Both words are within WORD_MAX. */
static size_t distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const size_t change = fold(a[i - 1]) != fold(b[j - 1]);
            row[j] = least(above[j - 1] + change, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b_bytes];
}

const char *suggest(const char *word, const char *const *candidates, size_t count)
{
    const size_t word_bytes = strlen(word);
    const char *nearest = NULL;
    size_t nearest_distance = WORD_MAX;
    if (word_bytes == 0 || word_bytes > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = strlen(candidates[i]);
        if (bytes > WORD_MAX)
            continue;
        const size_t steps = distance(word, word_bytes, candidates[i], bytes);
        const bool near = 3 * steps <= (bytes > word_bytes ? bytes : word_bytes);
        const bool begins = word_bytes >= PREFIX_MIN && strncasecmp(word, candidates[i], word_bytes) == 0;
        if ((near || begins) && steps < nearest_distance) {
            nearest = candidates[i];
            nearest_distance = steps;
        }
    }
    return nearest;
}
