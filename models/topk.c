/* SPDX-License-Identifier: Apache-2.0 */
#include "models/topk.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

/* The selected so far as a binary heap with the worst at the root (Williams, "Algorithm 232: heapsort", CACM 7(6), 1964). */
struct heap {
    uint32_t *index; /* the caller's output */
    size_t size;
    const float *score;
    const uint32_t *tie;
};

static bool is_better(const struct heap *heap, uint32_t a, uint32_t b)
{
    if (heap->score[a] != heap->score[b])
        return heap->score[a] > heap->score[b];
    if (heap->tie != NULL && heap->tie[a] != heap->tie[b])
        return heap->tie[a] < heap->tie[b];
    return a < b;
}

/* Put `index` at `hole`, or below it, moving worse ones up. */
static void sift_down(struct heap *heap, size_t hole, uint32_t index)
{
    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= heap->size)
            break;
        if (child + 1 < heap->size && is_better(heap, heap->index[child], heap->index[child + 1]))
            child++;
        if (!is_better(heap, index, heap->index[child]))
            break;
        heap->index[hole] = heap->index[child];
        hole = child;
    }
    heap->index[hole] = index;
}

/* Take the first k that may be selected; returns the index after the last one looked at. */
static size_t fill(struct heap *heap, size_t count, size_t k)
{
    size_t i = 0;
    for (; i < count && heap->size < k; i++)
        if (heap->score[i] > -INFINITY) /* false for NaN */
            heap->index[heap->size++] = (uint32_t)i;
    for (size_t at = heap->size / 2; at-- > 0;)
        sift_down(heap, at, heap->index[at]);
    return i;
}

/* Moving the worst behind the rest, again and again, leaves the best in front. */
static void sort_best_first(struct heap *heap)
{
    while (heap->size > 1) {
        uint32_t worst = heap->index[0];
        uint32_t last = heap->index[--heap->size];
        sift_down(heap, 0, last);
        heap->index[heap->size] = worst;
    }
}

/* ---- many of few: a histogram finds who is among the best, a radix sort orders them */

#define MANY_LEAST   32   /* below, the heap is faster */
#define FEW_TIMES    64   /* and among so many times k: few of them get into it */
#define BUCKETS      2048 /* 11 bits, also of a digit */
#define COLLECT_MOST 1024

struct keyed {
    uint32_t key, index; /* the smaller key, the better */
};

/* order-preserving, turned round; both zeros are one */
static uint32_t key_of(float score)
{
    union {
        float number;
        uint32_t bits;
    } u = {.number = score + 0.0f};
    return u.bits >> 31 != 0 ? u.bits : ~u.bits & 0x7fffffffu;
}

/* by one digit of the key, stable */
static void sort_digit(struct keyed *to, const struct keyed *from, size_t count, unsigned shift)
{
    uint32_t start[BUCKETS] = {0};
    for (size_t i = 0; i < count; i++)
        start[from[i].key >> shift & (BUCKETS - 1)]++;
    for (uint32_t b = 0, sum = 0; b < BUCKETS; b++) {
        uint32_t own = start[b];
        start[b] = sum;
        sum += own;
    }
    for (size_t i = 0; i < count; i++)
        to[start[from[i].key >> shift & (BUCKETS - 1)]++] = from[i];
}

/* monotone in the score, between the least and the greatest */
static uint32_t bucket_of(float score, float least, float scale)
{
    float at = (score - least) * scale;
    return at >= BUCKETS - 1 ? BUCKETS - 1 : (uint32_t)at;
}

/* the first bucket from which on there are at least k; `*found` is how many there are */
static uint32_t find_threshold(const uint32_t *histogram, size_t k, size_t *found)
{
    uint32_t bucket = BUCKETS;
    *found = 0;
    while (bucket > 0 && *found < k)
        *found += histogram[--bucket];
    return bucket;
}

/* False where it does not suit: infinite scores, or too many within one bucket. Selects as the heap does, ties by index. */
static bool select_many(uint32_t *out, const float *score, size_t count, size_t k, size_t *selected)
{
    struct keyed first[COLLECT_MOST], second[COLLECT_MOST];
    uint32_t histogram[BUCKETS] = {0};
    float least = INFINITY, greatest = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (score[i] > -INFINITY) {
            least = score[i] < least ? score[i] : least;
            greatest = score[i] > greatest ? score[i] : greatest;
        }
    float scale = (BUCKETS - 1) / (greatest - least);
    if (!(greatest > least) || !isfinite(greatest) || !isfinite(scale) || !(scale > 0))
        return false;
    for (size_t i = 0; i < count; i++)
        if (score[i] > -INFINITY)
            histogram[bucket_of(score[i], least, scale)]++;
    size_t found, used = 0;
    uint32_t threshold = find_threshold(histogram, k, &found);
    if (found > COLLECT_MOST)
        return false;
    for (size_t i = 0; i < count; i++)
        if (score[i] > -INFINITY && bucket_of(score[i], least, scale) >= threshold)
            first[used++] = (struct keyed){key_of(score[i]), (uint32_t)i};
    sort_digit(second, first, used, 0);
    sort_digit(first, second, used, 11);
    sort_digit(second, first, used, 22);
    *selected = used < k ? used : k;
    for (size_t i = 0; i < *selected; i++)
        out[i] = second[i].index;
    return true;
}

size_t topk_select(uint32_t *out, const float *score, const uint32_t *tie, size_t count, size_t k)
{
    assert(count <= (size_t)UINT32_MAX + 1);
    if (k == 0 || count == 0)
        return 0;
    size_t many;
    if (tie == NULL && k >= MANY_LEAST && count <= k * FEW_TIMES && select_many(out, score, count, k, &many))
        return many;
    struct heap heap = {.index = out, .score = score, .tie = tie};
    size_t i = fill(&heap, count, k);
    size_t selected = heap.size;
    float worst = selected > 0 ? score[out[0]] : INFINITY;
    for (; i < count; i++) {
        /* most fail here, without a look at the ties; NaN does too, for the root is a number */
        if (!(score[i] >= worst) || !is_better(&heap, (uint32_t)i, out[0]))
            continue;
        sift_down(&heap, 0, (uint32_t)i);
        worst = score[out[0]];
    }
    sort_best_first(&heap);
    return selected;
}
