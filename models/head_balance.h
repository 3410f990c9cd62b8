/* SPDX-License-Identifier: Apache-2.0
 *
 * The last step of stage two: how much each part of the score counts, by what is served. Cross-entropy fits probabilities, over the whole catalogue and
 * for targets that no list will ever reach; a list shows ten. So factors on the parts are tried on held-out events, and those with the best NDCG@10
 * are kept. Five numbers, found by three grids in turn: too few to fit noise with. */
#ifndef RECSYS_MODELS_HEAD_BALANCE_H
#define RECSYS_MODELS_HEAD_BALANCE_H

#include "models/head.h"
#include "models/team.h"

/* Factors on parts of a model's score. `same`: streams where one modality picks and judges; `cross`: the others. */
struct head_balance {
    float sequence, cooccurrence, prior, same, cross;
    double ndcg;        /* @10 with these factors */
    double ndcg_before; /* and with all of them 1 */
    bool fitted;        /* they are on the head that was trained, not on the one that it started from */
};

/* Find them for `count` queries, ranked among the items of `sample` (NULL: all), which has their targets; the model stays as it is. Writes all but
 * `fitted`. Of choices that so few queries cannot tell apart the one that changes least. False out of memory. */
bool head_balance_find(struct head_balance *balance, const struct model *model, const struct head_items *items,
                       const struct head_sample *sample, const struct head_query *queries, size_t count,
                       struct team *team, struct status *st);

/* Put the factors into the model's weights. */
void head_balance_apply(const struct head_balance *balance, struct model *model);

#endif
