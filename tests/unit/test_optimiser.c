/* SPDX-License-Identifier: Apache-2.0
 *
 * Adam against its formulas in double: clipping, warm-up, decay, what stays as it is. */
#include "models/optimiser.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 8, STEPS = 25 };

/* name, group, rank, shape, count, offset, slot, frozen: as params_declare would make them, with gaps in between */
static struct param list[TENSORS] = {
    {"matrix", PARAM_ENCODER, 2, {40, 30}, 1200, 0, NULL, false},
    {"bias", PARAM_ENCODER, 1, {37}, 37, 1200, NULL, false},
    {"table that is frozen", PARAM_ENCODER, 2, {4, 5}, 20, 1248, NULL, true},
    {"cube", PARAM_SEQUENCE, 3, {5, 10, 51}, 2550, 1280, NULL, false},
    {"scale", PARAM_SEQUENCE, 1, {1}, 1, 3840, NULL, false},
    {"head", PARAM_HEAD, 2, {3, 7}, 21, 3856, NULL, false},
    {"mean", PARAM_STATISTICS, 1, {9}, 9, 3888, NULL, false},
    {"no rows", PARAM_ENCODER, 2, {0, 8}, 0, 3904, NULL, false},
};
enum { TOTAL = 3904 };
static const struct params params = {list, TENSORS, TOTAL};

struct scene {
    const char *what;
    float encoder, sequence, head; /* rates; statistics: none */
    float decay, clip;             /* decay of the encoder and, half of it, of the sequence */
    int warmup_steps;
};

static const struct scene scenes[] = {
    {"plain", .01f, .003f, .02f, 0, 0, 0},    {"decay", .01f, .003f, 0, .2f, 0, 0},
    {"clipped", .01f, .003f, 0, 0, 30, 0},    {"never clipped", .01f, .003f, 0, 0, 1e6f, 0},
    {"warm-up", .01f, .003f, .02f, 0, 0, 10}, {"all of it", .01f, 0, .02f, .1f, 10, 7},
};

static struct optimiser_options options_of(const struct scene *s)
{
    struct optimiser_options options = {.clip = s->clip, .warmup_steps = s->warmup_steps};
    options.rate[PARAM_ENCODER] = s->encoder;
    options.rate[PARAM_SEQUENCE] = s->sequence;
    options.rate[PARAM_HEAD] = s->head;
    options.decay[PARAM_ENCODER] = s->decay;
    options.decay[PARAM_SEQUENCE] = s->decay / 2;
    return options;
}

struct twin {
    double x[TOTAL], m[TOTAL], v[TOTAL];
};

static bool moves(const struct param *p, const struct optimiser_options *o)
{
    return !p->frozen && o->rate[p->group] > 0;
}

/* as the optimiser has them, in single precision */
static const double beta1 = (double).9f, beta2 = (double).999f;

static void twin_tensor(struct twin *t, const struct param *p, const struct optimiser_options *o, const float *gradient,
                        double clip, int step)
{
    double rate = (double)o->rate[p->group], warm = step < o->warmup_steps ? (double)step / o->warmup_steps : 1;
    double decay = p->rank > 1 ? (double)o->decay[p->group] : 0;
    for (size_t i = p->offset; i < p->offset + p->count; i++) {
        double g = (double)gradient[i] * clip;
        t->m[i] = beta1 * t->m[i] + (1 - beta1) * g;
        t->v[i] = beta2 * t->v[i] + (1 - beta2) * g * g;
        double m = t->m[i] / (1 - pow(beta1, step)), v = t->v[i] / (1 - pow(beta2, step));
        t->x[i] -= rate * decay * t->x[i] + rate * warm * m / (sqrt(v) + 1e-8);
    }
}

/* returns the norm of the gradient of what moves */
static double twin_step(struct twin *t, const struct optimiser_options *o, const float *gradient, int step)
{
    double squares = 0;
    for (size_t p = 0; p < TENSORS; p++)
        for (size_t i = list[p].offset; moves(&list[p], o) && i < list[p].offset + list[p].count; i++)
            squares += (double)gradient[i] * (double)gradient[i];
    double norm = sqrt(squares), clip = o->clip > 0 && norm > (double)o->clip ? (double)o->clip / norm : 1;
    for (size_t p = 0; p < TENSORS; p++)
        if (moves(&list[p], o))
            twin_tensor(t, &list[p], o, gradient, clip, step);
    return norm;
}

static void draw_block(float *block, struct random *rng)
{
    for (size_t i = 0; i < TOTAL; i++)
        block[i] = random_normal(rng);
}

/* gradients of a size of their own in every step; some next to nothing, where epsilon decides, some nothing */
static void draw_gradient(float *gradient, int step, struct random *rng)
{
    for (size_t i = 0; i < TOTAL; i++) {
        float size = i % 11 == 0 ? 1e-8f : i % 13 == 0 ? 0 : .2f * (float)(1 + step % 5);
        gradient[i] = size * random_normal(rng);
    }
}

static void check_block(const struct scene *s, const struct optimiser *o, const float *block, const float *before,
                        const struct twin *t)
{
    bool touched[TOTAL] = {false};
    for (size_t p = 0; p < TENSORS; p++)
        for (size_t i = list[p].offset; i < list[p].offset + list[p].count; i++) {
            touched[i] = moves(&list[p], &o->options);
            cr_assert(!touched[i] || fabs((double)block[i] - t->x[i]) < 1e-5, "%s, %s, %zu: %.8g, wanted %.8g", s->what,
                      list[p].name, i - list[p].offset, (double)block[i], t->x[i]);
        }
    for (size_t i = 0; i < TOTAL; i++)
        cr_assert(touched[i] || (block[i] == before[i] && o->m[i] == 0 && o->v[i] == 0), "%s: number %zu moved",
                  s->what, i);
}

/* STEPS steps; the block that comes of it in `block` */
static void run(const struct scene *s, size_t threads, float *block)
{
    struct optimiser_options options = options_of(s);
    struct status st = STATUS_INIT;
    struct optimiser o;
    struct random rng;
    struct twin *t = random_model_alloc(1, sizeof *t);
    float *before = random_model_alloc(TOTAL, sizeof *before), *gradient = random_model_alloc(TOTAL, sizeof *gradient);
    struct team *team = team_new(threads, &st);
    cr_assert_not_null(team, "%s", st.message);
    cr_assert(optimiser_init(&o, &params, &options));
    random_init(&rng, 5);
    draw_block(block, &rng);
    memcpy(before, block, TOTAL * sizeof *before);
    for (size_t i = 0; i < TOTAL; i++)
        t->x[i] = (double)block[i];
    for (int step = 1; step <= STEPS; step++) {
        draw_gradient(gradient, step, &rng);
        double got = optimiser_step(&o, team, block, gradient), wanted = twin_step(t, &options, gradient, step);
        cr_assert_lt(fabs(got / wanted - 1), 1e-5, "%s, step %d: norm %g, wanted %g", s->what, step, got, wanted);
    }
    check_block(s, &o, block, before, t);
    optimiser_close(&o);
    team_free(team);
    free(t);
    free(before);
    free(gradient);
}

Test(optimiser, agrees_with_adam_in_double)
{
    float block[TOTAL];
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        for (size_t threads = 1; threads < 4; threads += 2)
            run(&scenes[i], threads, block);
}

/* The scenes would be no test of what they turn on if it made no difference. */
Test(optimiser, every_option_counts)
{
    float plain[TOTAL], other[TOTAL];
    run(&scenes[0], 1, plain);
    for (size_t i = 1; i < sizeof scenes / sizeof *scenes; i++) {
        double most = 0;
        run(&scenes[i], 1, other);
        for (size_t j = 0; j < list[0].count; j++)
            most = fmax(most, fabs((double)plain[j] - (double)other[j]));
        cr_assert_eq(most > 1e-3, scenes[i].clip < 1e6f, "%s: %g", scenes[i].what, most);
    }
}

Test(optimiser, the_same_number_of_threads_gives_the_same_bits)
{
    float first[TOTAL], second[TOTAL];
    for (size_t threads = 1; threads < 6; threads++) {
        run(&scenes[5], threads, first);
        run(&scenes[5], threads, second);
        cr_assert_arr_eq(first, second, sizeof first, "%zu threads", threads);
    }
}

Test(optimiser, close_leaves_nothing)
{
    struct optimiser o = {0};
    struct optimiser_options options = options_of(&scenes[0]);
    optimiser_close(&o);
    cr_assert(optimiser_init(&o, &params, &options));
    cr_assert_eq(o.step, 0);
    optimiser_close(&o);
    cr_assert(o.m == NULL && o.v == NULL);
    optimiser_close(&o);
}
