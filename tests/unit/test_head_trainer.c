/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage two on made-up logs: that it learns, what it leaves alone, and that nothing it is fitted on knows its own answer. */
#include "models/head_trainer.h"

#include "models/matrix.h"
#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { USERS_MOST = 1500, EVENTS = 8, ITEMS_MOST = 3000, EPOCHS_MOST = 32 };

/* A log in which a user who was at item i goes to item 7 i + 1 with probability `planted`, else anywhere. */
struct scene {
    struct evaluation_event events[USERS_MOST * EVENTS];
    size_t start[USERS_MOST + 1];
    struct evaluation_data data;
    struct holdout holdout;
    struct counts_view *counts; /* of the training part */
    int behaviour_of[256];
    uint32_t ids[ITEMS_MOST];
    struct model *model;
    struct random_items shop;
    struct encoder_rows rows;
    struct head_trainer_data head;
};

static void draw_log(struct scene *s, size_t users, uint32_t items, float planted)
{
    struct random rng;
    random_init(&rng, 5);
    for (size_t user = 0; user < users; user++) {
        uint32_t item = (uint32_t)random_below(&rng, items);
        int64_t ts_ms = 1700000000000;
        s->start[user] = user * EVENTS;
        for (size_t i = 0; i < EVENTS; i++) {
            s->events[user * EVENTS + i] = (struct evaluation_event){item, ts_ms, 1, 1};
            ts_ms += 60000 + (int64_t)random_below(&rng, 3600000);
            uint32_t anywhere = (uint32_t)random_below(&rng, items);
            item = random_uniform(&rng) < planted ? (7 * item + 1) % items : anywhere;
        }
    }
    s->start[users] = users * EVENTS;
    s->data = (struct evaluation_data){items, users, s->events, s->start};
}

/* static: the log is too much for a stack */
static struct scene *scene_new(enum random_model_kind kind, size_t users, uint32_t items, float planted)
{
    static struct scene scene;
    struct scene *s = &scene;
    struct status st = STATUS_INIT;
    const float behaviour_weight[RANDOM_MODEL_BEHAVIOURS] = {1, 1, 1};
    memset(s, 0, sizeof *s);
    matrix_init();
    draw_log(s, users, items, planted);
    cr_assert(holdout_cut(&s->holdout, &s->data, HOLDOUT_LEAVE_ONE_OUT, 0, NULL, &st), "%s", st.message);
    s->counts = holdout_counts(&s->holdout, &s->data);
    cr_assert_not_null(s->counts);
    for (int i = 0; i < 256; i++)
        s->behaviour_of[i] = i == 1 ? 0 : -1;
    for (uint32_t i = 0; i < items; i++)
        s->ids[i] = i;
    s->model = random_model(kind, 6);
    memset(s->model->weights.stream_count, 0, (size_t)s->model->architecture.stream_count * sizeof(float));
    head_start(s->model, behaviour_weight, .7f, 0);
    random_items_init(&s->shop, s->model, items, .1f, 7);
    random_items_encode(&s->shop, s->model, &s->rows);
    s->head = (struct head_trainer_data){&s->data,
                                         s->holdout.validation,
                                         s->holdout.validation_count,
                                         s->behaviour_of,
                                         {&s->rows, s->counts, items, s->ids}};
    return s;
}

static void scene_close(struct scene *s)
{
    model_release(s->model);
    random_items_close(&s->shop);
    encoder_rows_close(&s->rows);
    counts_view_release(s->counts);
    holdout_close(&s->holdout);
}

static const struct head_trainer_options usual = {
    .seed = 1, .epochs = 20, .learning_rate = .05f, .decay = .001f, .queries = 10000, .candidates = 10000};

struct story {
    const struct model *model;
    struct head_epoch epoch[EPOCHS_MOST];
    double strength[EPOCHS_MOST]; /* after each epoch */
    int count;
};

/* what the term gives an item that follows the newest event three times in ten */
static double strength(const struct model *model)
{
    return *model->weights.cooccurrence * log1p(.3 / *model->weights.epsilon);
}

static void note(void *context, const struct head_epoch *epoch)
{
    struct story *story = context;
    cr_assert_lt(story->count, EPOCHS_MOST);
    story->strength[story->count] = strength(story->model);
    story->epoch[story->count++] = *epoch;
    cr_assert_eq(epoch->epoch, story->count);
}

static void train(struct scene *s, const struct head_trainer_options *options, size_t threads, struct story *story)
{
    struct status st = STATUS_INIT;
    struct team *team = team_new(threads, &st);
    cr_assert_not_null(team);
    *story = (struct story){.model = s->model};
    cr_assert(head_trainer_run(s->model, &s->head, options, team, note, story, NULL, &st), "%s", st.message);
    team_free(team);
}

static struct param *param_of(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->params.count; i++)
        if (strcmp(model->params.list[i].name, name) == 0)
            return &model->params.list[i];
    cr_assert(false, "no tensor '%s'", name);
    return NULL;
}

/* every fifth query is put aside, and the numbers kept are those of the epoch that did best on them */
static void check_kept(const struct scene *s, const struct story *story)
{
    int best = 0;
    cr_assert_eq(story->count, usual.epochs);
    for (int i = 0; i < story->count; i++) {
        cr_assert_eq(story->epoch[i].queries, 240, "of 300");
        cr_assert(story->epoch[i].validation_loss > 0);
        if (story->epoch[i].validation_loss < story->epoch[best].validation_loss)
            best = i;
    }
    cr_assert_eq(strength(s->model), story->strength[best], "those of epoch %d", best + 1);
}

/* The log says that the next item is known seven times in ten, or that it is not known at all. */
Test(head_trainer, cooccurrence_gets_the_weight_that_it_deserves)
{
    struct story story;
    struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, 300, 100, .7f);
    double before = strength(s->model);
    train(s, &usual, 2, &story);
    check_kept(s, &story);
    const struct head_epoch *first = &story.epoch[0], *last = &story.epoch[story.count - 1];
    cr_assert_lt(last->loss, first->loss - .3, "a loss of %g, after %g", last->loss, first->loss);
    cr_assert_lt(last->validation_loss, first->validation_loss - .2, "%g, after %g", last->validation_loss,
                 first->validation_loss);
    cr_assert_gt(strength(s->model), before + .5, "%g, from %g", strength(s->model), before);
    scene_close(s);

    s = scene_new(RANDOM_MODEL_DEFAULT, 300, 100, 0);
    train(s, &usual, 2, &story);
    check_kept(s, &story);
    cr_assert_lt(last->loss, first->loss);
    cr_assert_gt(last->validation_loss, log(100) - .3, "nobody can know: %g", last->validation_loss);
    cr_assert_lt(strength(s->model), before - .3, "%g, from %g", strength(s->model), before);
    scene_close(s);
}

/* Everything but the head, and of the head what is frozen. */
Test(head_trainer, what_is_at_rest_stays)
{
    static const char *const frozen[] = {"similarity.0.time", "head.popularity", "head.stream_count", "head.decay"};
    static const char *const moved[] = {"head.stream", "head.cooccurrence", "head.sequence", "similarity.1.sharpness"};
    struct story story;
    struct head_trainer_options options = usual;
    struct scene *s = scene_new(RANDOM_MODEL_SEQUENCE, 100, 100, .5f);
    const struct params *params = &s->model->params;
    float *before = random_model_alloc(params->total, sizeof *before);
    memcpy(before, s->model->block, params->total * sizeof *before);
    for (size_t i = 0; i < 4; i++)
        param_of(s->model, frozen[i])->frozen = true;
    options.epochs = 3;
    options.mask_seen = true;
    train(s, &options, 2, &story);
    for (size_t i = 0; i < params->count; i++) {
        const struct param *p = &params->list[i];
        for (size_t j = p->offset; (p->group != PARAM_HEAD || p->frozen) && j < p->offset + p->count; j++)
            if (p->slot == &s->model->weights.decay) /* goes through its logit and back */
                cr_assert_float_eq(s->model->block[j], before[j], 1e-6);
            else
                cr_assert_eq(s->model->block[j], before[j], "%s", p->name);
    }
    for (size_t i = 0; i < 4; i++) {
        size_t at = param_of(s->model, moved[i])->offset;
        cr_assert_neq(s->model->block[at], before[at], "%s", moved[i]);
    }
    free(before);
    scene_close(s);
}

/* The pull to the start: the stronger it is, the nearer the head stays. */
Test(head_trainer, decay_holds_it_back)
{
    double distance[2];
    for (size_t i = 0; i < 2; i++) {
        struct story story;
        struct head_trainer_options options = usual;
        struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, 200, 100, .7f);
        double before = strength(s->model);
        options.decay = i == 0 ? 0 : 10;
        train(s, &options, 1, &story);
        distance[i] = fabs(strength(s->model) - before);
        scene_close(s);
    }
    cr_assert_lt(distance[1], .5 * distance[0], "%g without, %g with a pull", distance[0], distance[1]);
}

/* Also where the shop is so large that blocks of items are drawn, and the held-out events are more than are used. */
static void check_bytes(size_t queries, size_t fitted)
{
    struct head_trainer_options options = usual;
    struct story story;
    float *first = NULL;
    options.epochs = 3;
    options.queries = queries;
    options.candidates = 256;
    for (int run = 0; run < 3; run++) {
        struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, 200, ITEMS_MOST, .7f);
        size_t size = s->model->params.total * sizeof(float);
        options.seed = run == 2 ? 9 : 1;
        train(s, &options, 2, &story);
        cr_assert_eq(story.epoch[0].queries, fitted);
        cr_assert_eq(isnan(story.epoch[2].validation_loss) != 0, fitted == queries, "none are put aside of a few");
        if (first == NULL) {
            first = random_model_alloc(s->model->params.total, sizeof *first);
            memcpy(first, s->model->block, size);
        }
        cr_assert_eq(memcmp(s->model->block, first, size) == 0, run < 2, "%zu queries, run %d", queries, run);
        scene_close(s);
    }
    free(first);
}

Test(head_trainer, the_same_seed_gives_the_same_bytes)
{
    check_bytes(3, 3);
    check_bytes(150, 120);
}

Test(head_trainer, a_loss_that_is_no_number_ends_it)
{
    struct status st = STATUS_INIT;
    struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, 50, 50, .5f);
    struct team *team = team_new(2, &st);
    *s->model->weights.popularity = NAN;
    cr_assert_not(head_trainer_run(s->model, &s->head, &usual, team, NULL, NULL, NULL, &st));
    cr_assert_eq(st.code, STATUS_INTERNAL);
    cr_assert_str_eq(st.reason, "DIVERGED");
    team_free(team);
    scene_close(s);
}

/* No held-out events, nothing to fit: the head stays as it starts. */
Test(head_trainer, nothing_to_fit)
{
    struct story story;
    struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, 50, 50, .5f);
    double before = strength(s->model);
    s->head.query_count = 0;
    train(s, &usual, 2, &story);
    cr_assert_eq(story.count, 0);
    cr_assert_float_eq(strength(s->model), before, 1e-6);
    scene_close(s);
}

/* ---- balance */

/* every item as it is served to who made one held-out event; parts: NULL, or of each item */
static void score_all(const struct scene *s, const struct holdout_query *query, struct arena *arena,
                      struct cooccurrence *cooccurrence, float *score, float *parts)
{
    const struct evaluation_event *log = s->events + s->start[query->user];
    struct recommender_event events[EVENTS];
    struct cooccurrence_event newest[EVENTS];
    float weight[RECOMMENDER_PARTS_MAX];
    size_t stride = PART_STREAMS + (size_t)s->model->architecture.stream_count;
    struct recommender_user user;
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    for (uint32_t i = 0; i < query->at; i++) {
        events[i] = (struct recommender_event){log[i].item, log[i].ts_ms, 0, 1, &s->rows, log[i].item};
        newest[query->at - 1 - i] = (struct cooccurrence_event){log[i].item, s->model->weights.value[0]};
    }
    int64_t now_ms = log[query->at].ts_ms;
    cr_assert(
        cooccurrence_compute(cooccurrence, s->counts, newest, query->at, cooccurrence_scalars(&s->model->weights)));
    cr_assert(recommender_prepare(&user, s->model, events, query->at, now_ms, arena));
    struct recommender_context context = {s->counts, cooccurrence, now_ms, weight};
    for (size_t first = 0; first < s->data.item_count; first += RECOMMENDER_BLOCK) {
        size_t left = s->data.item_count - first, count = left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK;
        struct recommender_block block = {&s->rows, first, count, s->ids + first};
        recommender_score(&user, &context, &block, score + first, parts == NULL ? NULL : parts + first * stride);
    }
}

/* where the target of one held-out event comes */
static double naive_gain(const struct scene *s, const struct holdout_query *query, struct arena *arena,
                         struct cooccurrence *cooccurrence)
{
    const struct evaluation_event *log = s->events + s->start[query->user];
    float score[ITEMS_MOST];
    score_all(s, query, arena, cooccurrence, score, NULL);
    float rank = .5f, wanted = score[log[query->at].item];
    for (size_t i = 0; i < s->data.item_count; i++)
        rank += score[i] > wanted ? 1 : score[i] == wanted ? .5f : 0;
    return evaluation_gain(EVALUATION_NDCG, rank, 10);
}

static double naive_ndcg(const struct scene *s)
{
    struct cooccurrence cooccurrence = {0};
    struct arena arena;
    double sum = 0;
    arena_init(&arena, (size_t)256 << 20);
    for (size_t i = 0; i < s->holdout.validation_count; i++) {
        struct arena_mark mark = arena_mark(&arena);
        sum += naive_gain(s, &s->holdout.validation[i], &arena, &cooccurrence);
        arena_rewind(&arena, mark);
    }
    cooccurrence_close(&cooccurrence);
    arena_close(&arena);
    return sum / (double)s->holdout.validation_count;
}

/* What it says is what the model then scores; and it is no worse than what was there. */
static void check_balance(enum random_model_kind kind, int epochs, struct head_balance *balance)
{
    struct status st = STATUS_INIT;
    struct head_trainer_options options = usual;
    struct scene *s = scene_new(kind, 200, 120, .7f);
    struct team *team = team_new(2, &st);
    options.epochs = epochs;
    double before = naive_ndcg(s);
    cr_assert(head_trainer_run(s->model, &s->head, &options, team, NULL, NULL, balance, &st), "%s", st.message);
    cr_assert_float_eq(balance->ndcg, naive_ndcg(s), 1e-3, "%g, found %g", balance->ndcg, naive_ndcg(s));
    cr_assert_geq(balance->ndcg, balance->ndcg_before);
    cr_assert_geq(balance->ndcg, before - 1e-3, "no worse than the head that it started from: %g, was %g",
                  balance->ndcg, before);
    if (epochs == 0)
        cr_assert_float_eq(balance->ndcg_before, before, 1e-3);
    team_free(team);
    scene_close(s);
}

Test(head_trainer, balance_is_what_is_then_served)
{
    struct head_balance balance;
    check_balance(RANDOM_MODEL_DEFAULT, 3, &balance);
    check_balance(RANDOM_MODEL_CORRECTED, 2, &balance);
    cr_assert(balance.fitted, "with corrections the head that training started from is no choice");
    check_balance(RANDOM_MODEL_SEQUENCE, 3, &balance);
    check_balance(RANDOM_MODEL_DEFAULT, 0, &balance);
    cr_assert(balance.same < 1 || balance.cross < 1, "features at random say nothing: factors of %g and %g",
              (double)balance.same, (double)balance.cross);
}

/* Every term of a part has the part's factor, and nothing else has. */
Test(head_trainer, factors_multiply_their_part)
{
    enum { ITEMS = 120, STREAMS = 4, PARTS = PART_STREAMS + STREAMS };
    static const float expected[PARTS] = {
        [PART_SEQUENCE] = 2,       [PART_COOCCURRENCE] = 3,   [PART_PRIOR] = 4,        [PART_STREAMS] = .5f,
        [PART_STREAMS + 1] = .25f, [PART_STREAMS + 2] = .25f, [PART_STREAMS + 3] = .5f};
    struct head_balance factors = {.sequence = 2, .cooccurrence = 3, .prior = 4, .same = .5f, .cross = .25f};
    struct scene *s = scene_new(RANDOM_MODEL_SEQUENCE, 200, ITEMS, .7f);
    struct cooccurrence cooccurrence = {0};
    struct arena arena;
    float score[ITEMS], before[ITEMS * PARTS], after[ITEMS * PARTS];
    arena_init(&arena, (size_t)256 << 20);
    cr_assert_eq(s->model->architecture.stream_count, STREAMS);
    for (int i = 0; i < STREAMS; i++)
        s->model->weights.stream_count[i] = 0.2f * (float)(i + 1);
    score_all(s, &s->holdout.validation[0], &arena, &cooccurrence, score, before);
    head_balance_apply(&factors, s->model);
    score_all(s, &s->holdout.validation[0], &arena, &cooccurrence, score, after);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        cr_assert_float_eq(after[i], expected[i % PARTS] * before[i], 1e-4f, "part %zu: %g, was %g", i % PARTS,
                           (double)after[i], (double)before[i]);
    cooccurrence_close(&cooccurrence);
    arena_close(&arena);
    scene_close(s);
}

/* The sequence part of a random model knows nothing, the counts know everything. */
Test(head_trainer, balance_silences_what_says_nothing)
{
    struct head_balance balance;
    check_balance(RANDOM_MODEL_SEQUENCE, 0, &balance);
    cr_assert_lt(balance.sequence, .5, "a factor of %g", (double)balance.sequence);
    cr_assert_gt(balance.ndcg, balance.ndcg_before);
}

/* ---- the leak */

struct alone {
    const struct scene *scene;
    struct cooccurrence cooccurrence;
};

/* the co-occurrence term and nothing else */
static bool score_cooccurrence(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    struct alone *alone = context;
    const struct weights *w = &alone->scene->model->weights;
    struct cooccurrence_event newest[EVENTS];
    (void)thread;
    for (size_t age = 0; age < query->length; age++)
        newest[age] = (struct cooccurrence_event){query->history[query->length - 1 - age].item, 1};
    if (!cooccurrence_compute(&alone->cooccurrence, alone->scene->counts, newest, query->length,
                              cooccurrence_scalars(w)))
        return false;
    for (uint32_t i = 0; i < alone->scene->data.item_count; i++)
        score[i] = cooccurrence_term(&alone->cooccurrence, i);
    return true;
}

static double ndcg_of(const struct scene *s, const struct holdout_query *queries, size_t count)
{
    struct alone alone = {.scene = s};
    struct evaluation_result result;
    cr_assert(evaluation_run(&s->data, queries, count, false, 1, score_cooccurrence, &alone, &result));
    double ndcg = evaluation_ndcg(&result, 10);
    evaluation_result_close(&result);
    cooccurrence_close(&alone.cooccurrence);
    return ndcg;
}

/* The events that the head is fitted on are as hard for the co-occurrence term as those of the test: within a quarter. On the training part, whose
 * transitions are counted, it looks far better than it is: a head fitted there would trust it blindly. */
Test(head_trainer, what_it_is_fitted_on_is_not_in_the_counts)
{
    struct scene *s = scene_new(RANDOM_MODEL_DEFAULT, USERS_MOST, 500, .25f);
    struct holdout_query *training = random_model_alloc(USERS_MOST, sizeof *training);
    for (uint32_t user = 0; user < USERS_MOST; user++)
        training[user] = (struct holdout_query){user, EVENTS - 3}; /* the newest of the training part */
    cr_assert_eq(s->head.query_count, USERS_MOST);
    for (size_t i = 0; i < s->head.query_count; i++) {
        size_t at = s->start[s->head.queries[i].user] + s->head.queries[i].at;
        cr_assert(!s->holdout.in_training[at], "query %zu is counted", i);
    }
    double fitted = ndcg_of(s, s->head.queries, s->head.query_count);
    double tested = ndcg_of(s, s->holdout.test, s->holdout.test_count);
    double counted = ndcg_of(s, training, USERS_MOST);
    cr_assert_gt(tested, .1, "the pattern is there: %g", tested);
    cr_assert_lt(fabs(fitted - tested), .25 * tested, "%g where it is fitted, %g on the test", fitted, tested);
    cr_assert_gt(counted, 1.5 * tested, "%g on counted positions, %g on the test", counted, tested);
    free(training);
    scene_close(s);
}
