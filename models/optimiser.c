/* SPDX-License-Identifier: Apache-2.0 */
#include "models/optimiser.h"

#include "models/kernels.h"

#include <math.h>
#include <stdlib.h>

#define BETA1   0.9f
#define BETA2   0.999f
#define EPSILON 1e-8f

bool optimiser_init(struct optimiser *o, const struct params *params, const struct optimiser_options *options)
{
    *o = (struct optimiser){.options = *options, .params = params};
    o->m = calloc(params->total + 1, sizeof *o->m);
    o->v = calloc(params->total + 1, sizeof *o->v);
    if (o->m != NULL && o->v != NULL)
        return true;
    optimiser_close(o);
    return false;
}

void optimiser_close(struct optimiser *o)
{
    free(o->m);
    free(o->v);
    *o = (struct optimiser){0};
}

struct step {
    struct optimiser *optimiser;
    float *block;
    const float *gradient;
    double squares[TEAM_THREADS_MAX];
    float clip, rate, epsilon; /* with the bias corrections in them; rate is a factor on the groups' */
};

static bool is_trained(const struct optimiser *o, const struct param *p)
{
    return o->options.rate[p->group] > 0 && !p->frozen;
}

/* the norm, each thread its share of every tensor */
static void sum_squares(void *context, size_t thread, size_t threads)
{
    struct step *s = context;
    double sum = 0;
    for (size_t i = 0; i < s->optimiser->params->count; i++) {
        const struct param *p = &s->optimiser->params->list[i];
        size_t first, last;
        team_share(p->count, thread, threads, &first, &last);
        const float *g = s->gradient + p->offset;
        float part = 0;
        for (size_t j = first; is_trained(s->optimiser, p) && j < last; j++) {
            part += g[j] * g[j];
            if ((j & 1023) == 0) {
                sum += (double)part;
                part = 0;
            }
        }
        sum += (double)part;
    }
    s->squares[thread] = sum;
}

static void update(void *context, size_t thread, size_t threads)
{
    const struct step *s = context;
    const struct optimiser *o = s->optimiser;
    const struct kernels *k = kernels();
    for (size_t i = 0; i < o->params->count; i++) {
        const struct param *p = &o->params->list[i];
        if (!is_trained(o, p))
            continue;
        size_t first, last;
        team_share(p->count, thread, threads, &first, &last);
        size_t at = p->offset + first;
        float rate = o->options.rate[p->group], decay = p->rank > 1 ? o->options.decay[p->group] : 0;
        k->adam(s->block + at, o->m + at, o->v + at, s->gradient + at, last - first, s->clip, rate * s->rate,
                rate * decay, BETA1, BETA2, s->epsilon);
    }
}

double optimiser_step(struct optimiser *o, struct team *team, float *block, const float *gradient)
{
    struct step s = {.optimiser = o, .block = block, .gradient = gradient};
    team_run(team, sum_squares, &s);
    double sum = 0;
    for (size_t i = 0; i < team_size(team); i++)
        sum += s.squares[i];
    double norm = sqrt(sum);
    o->step++;
    double warm = o->options.warmup_steps > 0 ? fmin(1, (double)o->step / o->options.warmup_steps) : 1;
    double correction1 = 1 - pow((double)BETA1, (double)o->step), correction2 = 1 - pow((double)BETA2, (double)o->step);
    s.clip = o->options.clip > 0 && norm > (double)o->options.clip ? (float)((double)o->options.clip / norm) : 1;
    s.rate = (float)(warm * sqrt(correction2) / correction1);
    s.epsilon = (float)((double)EPSILON * sqrt(correction2));
    team_run(team, update, &s);
    return norm;
}
