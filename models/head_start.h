/* SPDX-License-Identifier: Apache-2.0
 *
 * Where stage two starts: the head of the default model, so that what it does not learn is as good as without training. */
#ifndef RECSYS_MODELS_HEAD_START_H
#define RECSYS_MODELS_HEAD_START_H

#include "models/model.h"

/* Starting values of the head: the default model's weights, the sequence term at `sequence`, log(1 + popularity) at `popularity`. */
void head_start(struct model *model, const float *behaviour_weight, float sequence, float popularity);

#endif
