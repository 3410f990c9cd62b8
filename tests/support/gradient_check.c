/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/gradient_check.h"

#include "tests/support/random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP  1e-5 /* of the central difference */
#define FLOOR 2e-6 /* what the numbers that a gradient starts with cost in rounding */
#define LEAST 1e-4 /* a gradient whose largest number is below this would pass whatever the code says */

static char sentence[256];

float gradient_start(size_t index)
{
    return .25f + .125f * (float)(index % 5);
}

float *gradient_draw(size_t count, float deviation, struct random *rng)
{
    float *values = random_model_alloc(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = deviation * random_normal(rng);
    return values;
}

struct gradient_tensor gradient_tensor_draw(const char *name, size_t count, float mean, float deviation,
                                            struct random *rng)
{
    struct gradient_tensor t = {.name = name, .count = count, .x = gradient_draw(count, deviation, rng)};
    t.twin = random_model_alloc(count, sizeof *t.twin);
    t.dx = random_model_alloc(count, sizeof *t.dx);
    for (size_t i = 0; i < count; i++) {
        t.x[i] += mean;
        t.twin[i] = (double)t.x[i];
        t.dx[i] = gradient_start(i);
    }
    return t;
}

void gradient_tensors_close(const struct gradient_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(tensors[i].x);
        free(tensors[i].twin);
        free(tensors[i].dx);
    }
}

double gradient_functional(const float *coefficient, const double *out, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)coefficient[i] * out[i];
    return sum;
}

/* what the code under test added (or wrote) */
static double claimed(const struct gradient_tensor *t, size_t i)
{
    return (double)t->dx[i] - (t->written ? 0 : (double)gradient_start(i));
}

static double difference(gradient_value *value, void *context, double *at)
{
    double before = *at;
    *at = before + STEP;
    double more = value(context);
    *at = before - STEP;
    double less = value(context);
    *at = before;
    return (more - less) / (2 * STEP);
}

static const char *compare(const struct gradient_tensor *t, const double *wanted)
{
    double largest = 0;
    for (size_t i = 0; i < t->count; i++)
        largest = fmax(largest, fabs(wanted[i]));
    if (!t->idle && largest < LEAST) {
        snprintf(sentence, sizeof sentence, "%s: nothing depends on it, which makes no test", t->name);
        return sentence;
    }
    for (size_t i = 0; i < t->count; i++)
        if (!(fabs(claimed(t, i) - wanted[i]) <= GRADIENT_TOLERANCE * largest + FLOOR)) {
            snprintf(sentence, sizeof sentence, "gradient of %s, number %zu of %zu: %.7g, wanted %.7g (largest %.7g)",
                     t->name, i, t->count, claimed(t, i), wanted[i], largest);
            return sentence;
        }
    return NULL;
}

const char *gradient_wrong(gradient_value *value, void *context, const struct gradient_tensor *tensors, size_t count)
{
    const char *wrong = NULL;
    for (size_t t = 0; wrong == NULL && t < count; t++) {
        double *wanted = random_model_alloc(tensors[t].count, sizeof *wanted);
        for (size_t i = 0; !tensors[t].idle && i < tensors[t].count; i++)
            wanted[i] = difference(value, context, &tensors[t].twin[i]);
        wrong = compare(&tensors[t], wanted);
        free(wanted);
    }
    return wrong;
}

const char *gradient_apart(const char *name, const float *got, const double *wanted, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - wanted[i]) <= tolerance)) {
            snprintf(sentence, sizeof sentence, "%s, number %zu of %zu: %.8g, wanted %.8g", name, i, count,
                     (double)got[i], wanted[i]);
            return sentence;
        }
    return NULL;
}

void gradient_model_init(struct gradient_model *g, const struct model *model, enum param_group group)
{
    const struct params *params = &model->params;
    *g = (struct gradient_model){.model = model, .count = params->count};
    g->tensors = random_model_alloc(params->count, sizeof *g->tensors);
    g->twin = random_model_alloc(params->total, sizeof *g->twin);
    g->block = random_model_alloc(params->total, sizeof *g->block);
    params_point(params, &model->weights, &g->gradient, g->block);
    for (size_t i = 0; i < params->count; i++) {
        const struct param *p = &params->list[i];
        g->tensors[i] = (struct gradient_tensor){
            p->name, p->count,         model->block + p->offset, g->twin + p->offset, g->block + p->offset,
            false,   p->group != group};
        for (size_t j = 0; j < p->count; j++) {
            g->tensors[i].twin[j] = (double)g->tensors[i].x[j];
            g->tensors[i].dx[j] = gradient_start(j);
        }
    }
}

void gradient_model_close(struct gradient_model *g)
{
    free(g->tensors);
    free(g->twin);
    free(g->block);
    *g = (struct gradient_model){0};
}

const double *gradient_model_twin(const struct gradient_model *g, const float *weight)
{
    return g->twin + (weight - g->model->block);
}

struct gradient_tensor *gradient_model_tensor(const struct gradient_model *g, const char *name)
{
    for (size_t i = 0; i < g->count; i++)
        if (strcmp(g->tensors[i].name, name) == 0)
            return &g->tensors[i];
    fprintf(stderr, "gradient check: no tensor '%s'\n", name);
    abort();
}
