/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward functions against central differences. A test writes the forward function once more, as plain loops in double (the twin), and a value: a random
 * linear functional of what the twin puts out. The code under test is given the functional's coefficients as the gradients of its outputs; what it says
 * about each input is compared with (value(x + h) - value(x - h)) / 2h of the twin.
 *
 * Gradients are added to what was there: every gradient starts with numbers that are not zero, and the check takes them off. Criterion is not needed:
 * what is wrong is returned as a sentence, NULL if nothing is; it is good until the next call. Aborts where memory runs out. */
#ifndef RECSYS_TESTS_SUPPORT_GRADIENT_CHECK_H
#define RECSYS_TESTS_SUPPORT_GRADIENT_CHECK_H

#include "models/model.h"
#include "models/random.h"

/* Of the largest number of a gradient: what single precision may be off. */
#define GRADIENT_TOLERANCE 2e-3

/* Some numbers that the functions read. */
struct gradient_tensor {
    const char *name;
    size_t count;
    float *x;     /* for the code under test */
    double *twin; /* the same numbers for the twin */
    float *dx;    /* the gradient under test */
    bool written; /* it is written, not added to */
    bool idle;    /* nothing depends on these numbers: the gradient stays as it was; otherwise something must */
};

/* Draw `count` normal numbers; the gradient starts as it should. x, twin and dx are freed by gradient_tensors_close. */
struct gradient_tensor gradient_tensor_draw(const char *name, size_t count, float mean, float deviation,
                                            struct random *rng);
void gradient_tensors_close(const struct gradient_tensor *tensors, size_t count);

/* What number `index` of a gradient starts with. */
float gradient_start(size_t index);

/* `count` normal numbers; free(). */
float *gradient_draw(size_t count, float deviation, struct random *rng);

/* Σ coefficient · out */
double gradient_functional(const float *coefficient, const double *out, size_t count);

/* The value under test; reads the tensors' twins, which are moved one number at a time. */
typedef double gradient_value(void *context);

/* The first number of a gradient that is wrong. */
const char *gradient_wrong(gradient_value *value, void *context, const struct gradient_tensor *tensors, size_t count);

/* The first of `count` numbers that is further than `tolerance` from what it should be. */
const char *gradient_apart(const char *name, const float *got, const double *wanted, size_t count, double tolerance);

/* All tensors of a model, in the order of its params; those of other groups than `group` are idle. */
struct gradient_model {
    const struct model *model;
    size_t count;
    struct gradient_tensor *tensors; /* x in the model's own block */
    double *twin;                    /* (params.total) */
    float *block;                    /* (params.total): the gradients' */
    struct weights gradient;         /* points into it */
};

void gradient_model_init(struct gradient_model *g, const struct model *model, enum param_group group);
void gradient_model_close(struct gradient_model *g);

/* The twin of a number of the model's block, and the tensor of that name in the file. */
const double *gradient_model_twin(const struct gradient_model *g, const float *weight);
struct gradient_tensor *gradient_model_tensor(const struct gradient_model *g, const char *name);

#endif
