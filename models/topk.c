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

size_t topk_select(uint32_t *out, const float *score, const uint32_t *tie, size_t count, size_t k)
{
    assert(count <= (size_t)UINT32_MAX + 1);
    if (k == 0 || count == 0)
        return 0;
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
