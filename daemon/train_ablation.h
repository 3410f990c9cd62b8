/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of a model, and what it is worth without them: switched off while scoring, not trained without. A diagnostic of where the score comes
 * from; what a part is worth to a model that never had it, only `fit --without` says.
 *
 *   id            the items' embeddings: no item has an ID row
 *   MODALITY      text, image, ...: no item has the vectors
 *   sequence, cooccurrence, prior, streams     the term is not added
 *   same, cross   streams where one modality picks and judges; where one picks and another judges
 *   A>B           streams where modality A picks and B judges
 *   time          the biases of time, in attention and streams */
#ifndef RECSYS_DAEMON_TRAIN_ABLATION_H
#define RECSYS_DAEMON_TRAIN_ABLATION_H

#include "daemon/train_scorer.h"

#define TRAIN_ABLATION_TEXT 160 /* bytes of a list of parts */

/* A scorer with something switched off, to be restored. */
struct train_ablation {
    float *numbers; /* all of the model's, as they were; NULL where none were changed */
    bool encoded;
};

/* The parts that `model` has, those with numbers that say something: into `names`, at most `capacity`; how many there are. */
size_t train_ablation_parts(const struct model *model, char (*names)[TRAIN_ABLATION_TEXT], size_t capacity);

/* Whether every part of `text` (separated by commas) is one: those with a name for all models always are, and change nothing in a model that lacks
 * them. INVALID_ARGUMENT / UNKNOWN_PART listing what the model has. */
bool train_ablation_check(const struct model *model, const char *text, struct status *st);

/* Switch the parts of `text`, which was checked, off. On failure the scorer must be restored too. The model's numbers may be changed meanwhile: nobody
 * else may use it. */
bool train_ablation_apply(struct train_ablation *ablation, struct train_scorer *scorer, const char *text,
                          struct status *st);

/* Everything on again. */
bool train_ablation_restore(struct train_ablation *ablation, struct train_scorer *scorer, struct status *st);

#endif
