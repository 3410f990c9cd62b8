/* SPDX-License-Identifier: Apache-2.0
 *
 * The model a shop has before any training: principal components of its own vectors, identity projections, all streams between its modalities, and
 * weights measured on the validation events of two public sets (README.md, "The default model"). A model file like any other. */
#ifndef RECSYS_MODELS_DEFAULT_MODEL_H
#define RECSYS_MODELS_DEFAULT_MODEL_H

#include "models/model.h"

#define DEFAULT_MODEL_NAME       "default"
#define DEFAULT_MODEL_ITEMS      256 /* vectors of a modality before it is used */
#define DEFAULT_MODEL_COMPONENTS 64
#define DEFAULT_MODEL_REVISION   1 /* of the weights below; a shop fits anew when it changes */

/* One modality to fit. */
struct default_model_view {
    const char *modality, *encoder;
    size_t dimension;
    const float *rows; /* (count, dimension) */
    size_t count;
};

struct default_model_behaviour {
    const char *name;
    float weight;
};

/* How many of `available` vectors to fit on: the largest of 256, 384, 576, ... (each growth by half) that is there; 0 below 256. Fitting on a number that
 * moves in steps makes the model independent of when it was fitted. */
size_t default_model_sample(size_t available);

/* Fit. `views` may be empty: then counts and popularity alone rank. `history` is the number of events attended to. */
struct model *default_model_fit(const struct default_model_view *views, size_t view_count,
                                const struct default_model_behaviour *behaviours, size_t behaviour_count, int history,
                                struct status *st);

#endif
