/* SPDX-License-Identifier: Apache-2.0
 *
 * The k best of many scores, exactly and always in the same order. */
#ifndef RECSYS_MODELS_TOPK_H
#define RECSYS_MODELS_TOPK_H

#include <stddef.h>
#include <stdint.h>

/* Write to `out` the indices of the `k` best of `count` scores, best first, and return how many there are. NaN and -INFINITY are
 * never selected, so fewer than k may come; +INFINITY is the best score. Equal scores are ordered by smaller tie[index], equal ties
 * and `tie` NULL by smaller index.
 *   out (min(k, count))   score (count)   tie (count) or NULL   count <= 2^32
 * Takes O(count log k) at worst and allocates nothing (some 30 KB of stack); scores in random order take little more than one comparison each. */
size_t topk_select(uint32_t *out, const float *score, const uint32_t *tie, size_t count, size_t k);

#endif
