/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a model by name, and that switching one off changes that part, for as long as it is off. What needs a shop is tested with the
 * program (tests/integration/test_evaluate.py). */
#include "daemon/train_ablation.h"

#include "daemon/train_progress.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static bool listed(const struct model *model, const char *part)
{
    char names[MOST][TRAIN_ABLATION_TEXT];
    size_t count = train_ablation_parts(model, names, MOST), found = 0;
    for (size_t i = 0; i < count; i++)
        found += strcmp(names[i], part) == 0;
    cr_assert_leq(found, 1, "'%s' is there twice", part);
    return found > 0;
}

static void clear_time(struct model *model)
{
    for (int b = 0; b < model->architecture.blocks; b++)
        memset(model->weights.block[b].time, 0,
               (size_t)model->architecture.heads * ARCHITECTURE_TIME_BUCKETS * sizeof(float));
    for (int s = 0; s < model->architecture.similarity_count; s++)
        memset(model->weights.similarity[s].time, 0, ARCHITECTURE_TIME_BUCKETS * sizeof(float));
}

Test(train_ablation, parts_of_models)
{
    struct model *plain = random_model(RANDOM_MODEL_DEFAULT, 1), *trained = random_model(RANDOM_MODEL_ID, 1);
    static const char *const both[] = {"text",      "image",      "streams",    "cross",       "same",
                                       "text>text", "text>image", "image>text", "image>image", "cooccurrence"};
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        cr_assert(listed(plain, both[i]), "%s", both[i]);
        cr_assert(listed(trained, both[i]), "%s", both[i]);
    }
    cr_assert(!listed(plain, "id") && !listed(plain, "sequence") && !listed(plain, "id>text"));
    cr_assert(listed(trained, "id") && listed(trained, "sequence") && listed(trained, "id>text"));
    model_release(plain);
    model_release(trained);
}

Test(train_ablation, a_part_without_numbers_is_not_there)
{
    struct model *model = random_model(RANDOM_MODEL_ID, 2);
    clear_time(model);
    cr_assert_not(listed(model, "time"));
    model->weights.block[0].time[ARCHITECTURE_TIME_BUCKETS + 3] = .1f; /* of the second head */
    cr_assert(listed(model, "time"));
    *model->weights.cooccurrence = *model->weights.popularity = *model->weights.recent = *model->weights.novelty = 0;
    cr_assert(!listed(model, "cooccurrence") && !listed(model, "prior"));
    *model->weights.recent = .1f;
    cr_assert(listed(model, "prior"));
    model_release(model);
}

Test(train_ablation, an_unknown_part_is_refused_with_what_there_is)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 3);
    static const char *const good[] = {"text", "id,text", "sequence", "text>image,cross", "prior,time,cooccurrence"};
    static const char *const bad[] = {"txt", "text>video", "text,", ",text", "text >image", "id>id", "TEXT"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(train_ablation_check(model, good[i], NULL), "'%s'", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct status st = STATUS_INIT;
        cr_assert_not(train_ablation_check(model, bad[i], &st), "'%s'", bad[i]);
        cr_assert_str_eq(st.reason, "UNKNOWN_PART");
        cr_assert_not_null(strstr(st.message, "text>image"), "%s", st.message);
    }
    char endless[4 * TRAIN_ABLATION_TEXT];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    cr_assert_not(train_ablation_check(model, endless, NULL));
    model_release(model);
}

/* 1 for a stream that is on: text>text, text>image, image>text, image>image */
static void assert_weights(struct train_scorer *scorer, const char *parts, const char *streams, float sequence,
                           float cooccurrence, float prior)
{
    struct train_ablation ablation;
    cr_assert(train_ablation_apply(&ablation, scorer, parts, NULL));
    for (int i = 0; i < 4; i++)
        cr_assert_eq(scorer->part_weight[PART_STREAMS + i], (float)(streams[i] - '0'), "%s: stream %d", parts, i);
    cr_assert_eq(scorer->part_weight[PART_SEQUENCE], sequence, "%s", parts);
    cr_assert_eq(scorer->part_weight[PART_COOCCURRENCE], cooccurrence, "%s", parts);
    cr_assert_eq(scorer->part_weight[PART_PRIOR], prior, "%s", parts);
    cr_assert(train_ablation_restore(&ablation, scorer, NULL));
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        cr_assert_eq(scorer->part_weight[i], 1, "%s: part %d is on again", parts, i);
}

Test(train_ablation, terms_and_streams)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 4);
    struct train_scorer scorer = {.model = model};
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        scorer.part_weight[i] = 1;
    assert_weights(&scorer, "streams", "0000", 1, 1, 1);
    assert_weights(&scorer, "cross", "1001", 1, 1, 1);
    assert_weights(&scorer, "same", "0110", 1, 1, 1);
    assert_weights(&scorer, "text>image", "1011", 1, 1, 1);
    assert_weights(&scorer, "image>text,prior", "1101", 1, 1, 0);
    assert_weights(&scorer, "sequence,cooccurrence", "1111", 0, 0, 1);
    model_release(model);
}

Test(train_ablation, time_is_forgotten_and_remembered)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 5);
    struct train_scorer scorer = {.model = model};
    struct train_ablation ablation;
    size_t size = model->params.total * sizeof(float);
    for (int s = 0; s < model->architecture.similarity_count; s++)
        model->weights.similarity[s].time[7] = .5f;
    model->weights.block[1].time[7] = .5f;
    float *before = random_model_alloc(model->params.total, sizeof *before);
    memcpy(before, model->block, size);
    cr_assert(train_ablation_apply(&ablation, &scorer, "time,time", NULL));
    cr_assert_not(listed(model, "time"));
    cr_assert_neq(memcmp(before, model->block, size), 0);
    clear_time(model); /* nothing else was changed: the same as clearing these tables alone */
    float *cleared = random_model_alloc(model->params.total, sizeof *cleared);
    memcpy(cleared, model->block, size);
    memcpy(model->block, before, size);
    clear_time(model);
    cr_assert_arr_eq(model->block, cleared, size);
    cr_assert(train_ablation_restore(&ablation, &scorer, NULL));
    cr_assert_arr_eq(model->block, before, size);
    free(before);
    free(cleared);
    model_release(model);
}

/* ---- the line that shows how far it is */

Test(train_progress, facts)
{
    struct train_progress progress = {.label = "markov", .total = 1000, .started_us = 1000000};
    char text[80];
    train_progress_facts(&progress, 1000000, text, sizeof text);
    cr_assert_str_eq(text, "  0 %  0/s  ETA -:--");
    progress.done = 250;
    train_progress_facts(&progress, 26000000, text, sizeof text);
    cr_assert_str_eq(text, " 25 %  10/s  ETA 1:15");
    progress.done = 1000;
    train_progress_facts(&progress, 11000000, text, sizeof text);
    cr_assert_str_eq(text, "100 %  100/s  ETA 0:00");
}

static bool answer(void *context, size_t thread, const struct evaluation_query *query, float *score)
{
    (void)thread;
    (void)query;
    *score = 7;
    return *(const bool *)context;
}

Test(train_progress, counts_what_the_scorer_answers)
{
    struct train_progress progress = {.shown = false};
    bool yes = true, no = false;
    float score = 0;
    train_progress_start(&progress, "markov", 2, answer, &yes);
    cr_assert(train_progress_score(&progress, 0, NULL, &score));
    cr_assert(train_progress_score(&progress, 1, NULL, &score));
    cr_assert(score == 7 && progress.done == 2);
    train_progress_start(&progress, "markov", 2, answer, &no);
    cr_assert_not(train_progress_score(&progress, 0, NULL, &score));
    cr_assert_eq(progress.done, 1);
    train_progress_end(&progress);
}
