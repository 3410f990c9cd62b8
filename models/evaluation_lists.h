/* SPDX-License-Identifier: Apache-2.0
 *
 * What lists are like beyond being right: how much of the catalogue they show, how evenly, how obvious and how alike their items are. Over the lists
 * that an evaluation kept. */
#ifndef RECSYS_MODELS_EVALUATION_LISTS_H
#define RECSYS_MODELS_EVALUATION_LISTS_H

#include "models/evaluation.h"

#define EVALUATION_MODALITIES_MAX 16

/* What is known of the items. */
struct evaluation_items {
    size_t item_count;
    uint32_t *users;    /* (item_count), owned: users with an event of the item in the training part */
    size_t users_total; /* users with any event in it */
    struct {
        const float *
            rows; /* (item_count, dimension), centred and normalised (baseline_content_prepare); zero rows are missing */
        size_t dimension;
    } modality[EVALUATION_MODALITIES_MAX]; /* the caller's */
    size_t modality_count;
};

/* Count users; the modalities are left to the caller. False out of memory. */
bool evaluation_items_init(struct evaluation_items *items, const struct evaluation_data *data, const bool *in_training);
void evaluation_items_close(struct evaluation_items *items);

struct evaluation_lists {
    double coverage; /* share of the items that are in any list */
    double gini;     /* of how often items are listed, over all items: 0 all alike, towards 1 few take all */
    double
        novelty; /* mean of -log2(users(i) / users) over all places; an item that nobody touched counts as touched by one */
    double
        diversity; /* mean of 1 - cosine over the pairs of a list: per modality over the items that have it, then over the modalities, then over
                       * the lists that have such a pair; 0 where none has */
};

/* Over the first `k` (1 to EVALUATION_LIST) items of each list. All zero without lists. False out of memory. */
bool evaluation_lists_compute(const struct evaluation_result *result, size_t k, const struct evaluation_items *items,
                              struct evaluation_lists *out);

#endif
