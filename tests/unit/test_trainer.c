/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage one: its gradient against differences of its own loss, that it can be repeated bit by bit, that it stops, goes on and gives up as it says,
 * and that it learns what was planted. */
#include "models/trainer.h"

#include "models/matrix.h"
#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP 1e-2

enum { USERS_MOST = 64, EVENTS = 10, BEHAVIOURS = 3 };

/* A log of users with EVENTS events each, cut, as a training set; and a model of its columns. */
struct scene {
    struct evaluation_event events[USERS_MOST * EVENTS];
    size_t start[USERS_MOST + 1];
    struct evaluation_data data;
    struct holdout holdout;
    int behaviour_of[256];
    struct training_set set;
    struct model *model;
};

/* the next item of a user who was at `item`; numbers of ITEMS */
typedef uint32_t next_item(struct random *rng, uint32_t item, uint32_t items);

static uint32_t any_item(struct random *rng, uint32_t item, uint32_t items)
{
    (void)item;
    return (uint32_t)random_below(rng, items);
}

static uint32_t item_after(struct random *rng, uint32_t item, uint32_t items)
{
    (void)rng;
    return (item + 1) % items;
}

static void draw_log(struct scene *s, size_t users, uint32_t items, bool wanted_only, next_item *next)
{
    static const float weight[] = {0, 1, 5, -2};
    struct random rng;
    random_init(&rng, 12);
    for (size_t user = 0; user < users; user++) {
        uint32_t item = (uint32_t)random_below(&rng, items);
        int64_t ts_ms = 1700000000000;
        s->start[user] = user * EVENTS;
        for (size_t i = 0; i < EVENTS; i++) {
            uint8_t behaviour = wanted_only ? 1 : (uint8_t)(1 + random_below(&rng, BEHAVIOURS));
            ts_ms += (int64_t)exp2(8 + 20 * (double)random_uniform(&rng)); /* a quarter of a second to three days */
            s->events[user * EVENTS + i] = (struct evaluation_event){item, ts_ms, behaviour, weight[behaviour]};
            item = next(&rng, item, items);
        }
    }
    s->start[users] = users * EVENTS;
    s->data = (struct evaluation_data){items, users, s->events, s->start};
}

/* both views of every item, one in five missing */
static void draw_features(struct scene *s)
{
    struct status st = STATUS_INIT;
    struct random rng;
    float *vectors[ARCHITECTURE_VIEWS_MAX] = {NULL};
    random_init(&rng, 13);
    for (int v = 0; v < 2; v++) {
        size_t D = (size_t)s->model->architecture.views[v].dimension;
        vectors[v] = random_model_alloc(s->data.item_count * D, sizeof(float));
        for (size_t item = 0; item < s->data.item_count; item++)
            for (size_t j = 0; j < D && item % 5 != (size_t)v; j++)
                vectors[v][item * D + j] = random_normal(&rng);
    }
    cr_assert(training_set_features(&s->set, s->model, (const float *const *)vectors, &st), "%s", st.message);
    free(vectors[0]);
    free(vectors[1]);
}

static void scene_init(struct scene *s, size_t users, uint32_t items, int history, bool wanted_only, next_item *next)
{
    struct status st = STATUS_INIT;
    struct architecture a;
    memset(s, 0, sizeof *s);
    matrix_init();
    draw_log(s, users, items, wanted_only, next);
    for (int i = 0; i < 256; i++)
        s->behaviour_of[i] = i >= 1 && i <= BEHAVIOURS ? i - 1 : -1;
    cr_assert(holdout_cut(&s->holdout, &s->data, HOLDOUT_LEAVE_ONE_OUT, 0, NULL, &st), "%s", st.message);
    cr_assert(training_set_init(&s->set, &s->data, &s->holdout, s->behaviour_of, &st), "%s", st.message);
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    a.history = history;
    s->model = random_model_of(&a, s->set.columns, 14);
}

static void scene_close(struct scene *s)
{
    model_release(s->model);
    training_set_close(&s->set);
    holdout_close(&s->holdout);
}

static const struct trainer_options plain = {.seed = 1,
                                             .epochs = 3,
                                             .batch_users = USERS_MOST,
                                             .learning_rate = .01f,
                                             .clip = 5,
                                             .negatives = 9,
                                             .gbce_t = .75f};

/* everything random that there is */
static const struct trainer_options random_everything = {.seed = 1,
                                                         .epochs = 3,
                                                         .batch_users = 5,
                                                         .learning_rate = .01f,
                                                         .weight_decay = .01f,
                                                         .clip = 5,
                                                         .warmup_steps = 4,
                                                         .dropout = .2f,
                                                         .attention_dropout = .1f,
                                                         .id_dropout = .2f,
                                                         .modality_dropout = .2f,
                                                         .feature_noise = .05f,
                                                         .label_smoothing = .1f,
                                                         .average = .9f,
                                                         .negatives = 9,
                                                         .gbce_t = .75f,
                                                         .mask_seen = true,
                                                         .random_window = true};

static struct team *team_of(size_t threads)
{
    struct status st = STATUS_INIT;
    struct team *team = team_new(threads, &st);
    cr_assert_not_null(team, "%s", st.message);
    return team;
}

static struct trainer *trainer_of(struct scene *s, const struct trainer_options *options, struct team *team)
{
    struct status st = STATUS_INIT;
    struct trainer *trainer = trainer_new(s->model, &s->set, true, options, team, &st);
    cr_assert_not_null(trainer, "%s", st.message);
    return trainer;
}

/* ---- the gradient */

static double loss_of(const struct scene *s, struct trainer *trainer, float *gradient)
{
    uint32_t users[USERS_MOST];
    double loss;
    for (size_t i = 0; i < s->data.user_count; i++)
        users[i] = (uint32_t)i;
    cr_assert(trainer_gradient(trainer, users, s->data.user_count, &loss, gradient));
    return loss;
}

/* the derivative by one number, to the fourth order: what is left is the rounding of the loss */
static double slope(const struct scene *s, struct trainer *trainer, float *x, float *scratch)
{
    static const double at[] = {-2, -1, 1, 2}, factor[] = {1, -8, 8, -1};
    double sum = 0;
    float before = *x;
    for (int i = 0; i < 4; i++) {
        *x = (float)(before + at[i] * STEP);
        sum += factor[i] * loss_of(s, trainer, scratch);
    }
    *x = before;
    return sum / (12 * STEP);
}

/* some numbers of a tensor, spread over it, and the one that matters most */
static void check_tensor(const struct scene *s, struct trainer *trainer, const struct param *p, const float *gradient,
                         float *scratch)
{
    const float *got = gradient + p->offset;
    size_t stride = p->count / 6 + 1, strongest = 0;
    for (size_t j = 0; j < p->count; j++)
        if (fabsf(got[j]) > fabsf(got[strongest]))
            strongest = j;
    double largest = fabs((double)got[strongest]);
    for (size_t j = 0; j < p->count + stride; j += stride) {
        size_t at = j < p->count ? j : strongest;
        double wanted = slope(s, trainer, *p->slot + at, scratch);
        cr_assert_lt(fabs(got[at] - wanted), 1e-2 * largest + 5e-5, "%s[%zu]: %.6g, wanted %.6g", p->name, at,
                     (double)got[at], wanted);
    }
}

static void check_gradient(struct scene *s, const struct trainer_options *options)
{
    size_t total = s->model->params.total;
    struct team *team = team_of(2);
    struct trainer *trainer = trainer_of(s, options, team);
    float *gradient = random_model_alloc(total, sizeof(float)), *scratch = random_model_alloc(total, sizeof(float));
    double loss = loss_of(s, trainer, gradient);
    cr_assert_gt(loss, .1);
    for (size_t i = 0; i < s->model->params.count; i++) {
        const struct param *p = &s->model->params.list[i];
        if (p->group == PARAM_ENCODER || p->group == PARAM_SEQUENCE)
            check_tensor(s, trainer, p, gradient, scratch);
        for (size_t j = p->offset; p->group == PARAM_HEAD && j < p->offset + p->count; j++)
            cr_assert_eq(gradient[j], 0, "%s is stage two's", p->name);
    }
    free(gradient);
    free(scratch);
    trainer_free(trainer);
    team_free(team);
}

/* Histories longer than what is attended to, behaviours that are no targets, items without a modality; each of the losses. */
Test(trainer, agrees_with_differences)
{
    static const struct {
        enum trainer_loss loss;
        bool mask_seen;
        int ahead;
        float prior;
    } cases[] = {{TRAINER_SOFTMAX, true, 1, 0},
                 {TRAINER_SOFTMAX, true, 3, 1.5f},
                 {TRAINER_SAMPLED, false, 1, 0},
                 {TRAINER_GBCE, false, 1, 0}};
    struct scene s;
    scene_init(&s, 8, 14, 6, false, any_item);
    draw_features(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_options options = plain;
        options.loss = cases[i].loss;
        options.mask_seen = cases[i].mask_seen;
        options.ahead = cases[i].ahead;
        options.prior = cases[i].prior;
        check_gradient(&s, &options);
    }
    scene_close(&s);
}

Test(trainer, threads_share_the_work_and_not_the_result)
{
    struct scene s;
    scene_init(&s, 20, 30, 50, false, any_item);
    draw_features(&s);
    size_t total = s.model->params.total;
    float *gradient[2];
    double loss[2], largest = 0;
    for (size_t i = 0; i < 2; i++) {
        struct team *team = team_of(i == 0 ? 1 : 3);
        struct trainer *trainer = trainer_of(&s, &plain, team);
        gradient[i] = random_model_alloc(total, sizeof(float));
        loss[i] = loss_of(&s, trainer, gradient[i]);
        trainer_free(trainer);
        team_free(team);
    }
    cr_assert_float_eq(loss[0], loss[1], 1e-5);
    for (size_t i = 0; i < total; i++) {
        largest = fmax(largest, fabs((double)gradient[0][i]));
        cr_assert_float_eq(gradient[0][i], gradient[1][i], 1e-5, "%zu: %g and %g", i, (double)gradient[0][i],
                           (double)gradient[1][i]);
    }
    cr_assert_gt(largest, 1e-2);
    free(gradient[0]);
    free(gradient[1]);
    scene_close(&s);
}

/* ---- epochs */

static void run_epochs(struct trainer *trainer, int count)
{
    struct status st = STATUS_INIT;
    struct trainer_epoch epoch;
    for (int i = 0; i < count; i++) {
        cr_assert(trainer_run_epoch(trainer, &epoch, &st), "%s", st.message);
        cr_assert(isfinite(epoch.loss) && epoch.loss > 0 && epoch.events > 0);
    }
}

/* the numbers after `epochs` epochs from the start that `seed` gives; malloc'ed */
static float *train(struct scene *s, size_t threads, uint64_t seed, int epochs)
{
    struct team *team = team_of(threads);
    struct trainer_options options = random_everything;
    size_t size = s->model->params.total * sizeof(float);
    options.seed = seed;
    memset(s->model->block, 0, size); /* what trainer_start does not fill begins at zero, as in a new model */
    trainer_start(s->model, seed);
    struct trainer *trainer = trainer_of(s, &options, team);
    run_epochs(trainer, epochs);
    trainer_finish(trainer);
    float *copy = random_model_alloc(s->model->params.total, sizeof *copy);
    memcpy(copy, s->model->block, size);
    trainer_free(trainer);
    team_free(team);
    return copy;
}

Test(trainer, the_same_seed_gives_the_same_bytes)
{
    struct scene s;
    scene_init(&s, 20, 30, 6, false, any_item);
    draw_features(&s);
    size_t size = s.model->params.total * sizeof(float);
    for (size_t threads = 1; threads <= 3; threads++) {
        float *first = train(&s, threads, 1, 2), *second = train(&s, threads, 1, 2), *other = train(&s, threads, 2, 2);
        cr_assert_arr_eq(first, second, size, "%zu threads", threads);
        cr_assert_neq(memcmp(first, other, size), 0, "another seed");
        free(first);
        free(second);
        free(other);
    }
    scene_close(&s);
}

/* A training that was saved after an epoch and read by another trainer goes on as if nothing had been; other options or data do not fit. */
Test(trainer, goes_on_from_what_was_saved)
{
    struct status st = STATUS_INIT;
    struct scene s;
    size_t size;
    scene_init(&s, 20, 30, 6, false, any_item);
    draw_features(&s);
    size_t total = s.model->params.total;
    float *start = random_model_alloc(total, sizeof *start);
    memcpy(start, s.model->block, total * sizeof *start);
    struct team *team = team_of(2);
    struct trainer *trainer = trainer_of(&s, &random_everything, team);
    run_epochs(trainer, 1);
    unsigned char *bytes = trainer_save(trainer, "options and data", &size, &st);
    cr_assert_not_null(bytes, "%s", st.message);
    run_epochs(trainer, 2);
    trainer_finish(trainer);
    float *wanted = random_model_alloc(total, sizeof *wanted);
    memcpy(wanted, s.model->block, total * sizeof *wanted);
    trainer_free(trainer);

    memcpy(s.model->block, start, total * sizeof *start);
    trainer = trainer_of(&s, &random_everything, team);
    cr_assert_not(trainer_restore(trainer, "other options", bytes, size, &st));
    cr_assert_eq(st.code, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(st.reason, "OTHER_CHECKPOINT");
    cr_assert_not(trainer_restore(trainer, "options and data", bytes, size / 2, &st), "half a file");
    cr_assert_arr_eq(s.model->block, start, total * sizeof *start, "nothing was taken");
    st = (struct status)STATUS_INIT;
    cr_assert(trainer_restore(trainer, "options and data", bytes, size, &st), "%s", st.message);
    struct trainer_epoch progress;
    trainer_progress(trainer, &progress);
    cr_assert(progress.epoch == 1 && progress.best_epoch == 1 && !trainer_is_done(trainer));
    run_epochs(trainer, 2);
    cr_assert(trainer_is_done(trainer));
    trainer_finish(trainer);
    cr_assert_arr_eq(s.model->block, wanted, total * sizeof *wanted);
    trainer_free(trainer);
    team_free(team);
    free(bytes);
    free(start);
    free(wanted);
    scene_close(&s);
}

/* Without a learning rate no epoch is better than the first. */
Test(trainer, stops_when_nothing_gets_better)
{
    static const struct {
        int patience, epochs;
    } cases[] = {{2, 3}, {1, 2}, {0, 6}, {50, 6}};
    struct scene s;
    struct team *team = team_of(1);
    scene_init(&s, 20, 30, 50, false, any_item);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_options options = plain;
        struct trainer_epoch progress;
        options.learning_rate = 0;
        options.epochs = 6;
        options.patience = cases[i].patience;
        struct trainer *trainer = trainer_of(&s, &options, team);
        while (!trainer_is_done(trainer))
            run_epochs(trainer, 1);
        trainer_progress(trainer, &progress);
        cr_assert_eq(progress.epoch, cases[i].epochs, "patience %d: %d epochs", cases[i].patience, progress.epoch);
        cr_assert_eq(progress.best_epoch, 1);
        trainer_free(trainer);
    }
    team_free(team);
    scene_close(&s);
}

/* Item k + 1 follows item k. */
Test(trainer, learns_what_follows_what)
{
    struct status st = STATUS_INIT;
    struct scene s;
    struct trainer_options options = plain;
    struct trainer_epoch epoch;
    struct team *team = team_of(2);
    double first = -1;
    scene_init(&s, 60, 40, 20, true, item_after);
    memset(s.model->block, 0, s.model->params.total * sizeof(float));
    trainer_start(s.model, 3);
    options.epochs = 150;
    options.batch_users = 16;
    options.warmup_steps = 10;
    struct trainer *trainer = trainer_of(&s, &options, team);
    do {
        cr_assert(trainer_run_epoch(trainer, &epoch, &st), "%s", st.message);
        cr_assert(epoch.gradient_norm > 0 && epoch.events == 60 * (EVENTS - 3),
                  "two are held out, one predicts nothing");
        first = first < 0 ? epoch.ndcg : first;
    } while (!trainer_is_done(trainer) && epoch.best_ndcg < .95);
    cr_assert_lt(first, .6, "four steps are not enough: %g", first);
    cr_assert_gt(epoch.best_ndcg, .8, "NDCG@10 is %g after %d epochs", epoch.best_ndcg, epoch.epoch);
    trainer_free(trainer);
    team_free(team);
    scene_close(&s);
}

/* What is kept is the best epoch, whatever came later; on a log without a pattern later ones are no better for long. */
Test(trainer, keeps_the_best_epoch)
{
    struct status st = STATUS_INIT;
    struct scene s;
    struct trainer_options options = plain;
    struct trainer_epoch epoch;
    struct team *team = team_of(1);
    scene_init(&s, 20, 30, 20, true, any_item);
    size_t size = s.model->params.total * sizeof(float);
    float *best = random_model_alloc(s.model->params.total, sizeof *best);
    options.epochs = 60;
    options.patience = 3;
    struct trainer *trainer = trainer_of(&s, &options, team);
    do {
        cr_assert(trainer_run_epoch(trainer, &epoch, &st), "%s", st.message);
        if (epoch.best_epoch == epoch.epoch)
            memcpy(best, s.model->block, size);
    } while (!trainer_is_done(trainer));
    cr_assert_lt(epoch.best_epoch, epoch.epoch, "every epoch was better than the last");
    cr_assert_neq(memcmp(s.model->block, best, size), 0);
    trainer_finish(trainer);
    cr_assert_arr_eq(s.model->block, best, size);
    free(best);
    trainer_free(trainer);
    team_free(team);
    scene_close(&s);
}

Test(trainer, a_loss_that_is_no_number_ends_it)
{
    struct status st = STATUS_INIT;
    struct trainer_epoch epoch;
    struct scene s;
    struct team *team = team_of(2);
    scene_init(&s, 20, 30, 50, false, any_item);
    s.model->weights.output[0] = NAN;
    struct trainer *trainer = trainer_of(&s, &plain, team);
    cr_assert_not(trainer_run_epoch(trainer, &epoch, &st));
    cr_assert_eq(st.code, STATUS_INTERNAL);
    cr_assert_str_eq(st.reason, "DIVERGED");
    trainer_free(trainer);
    team_free(team);
    scene_close(&s);
}
