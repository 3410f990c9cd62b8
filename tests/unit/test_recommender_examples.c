/* SPDX-License-Identifier: Apache-2.0
 *
 * "Similar to these": the score for examples, which have neither order nor time. */
#include "tests/unit/recommender_rig.h"

static void score_all(const struct scene *s, const struct recommender_user *user, float *score)
{
    struct recommender_block block = {&s->rows, 0, s->shop.count, s->ids};
    recommender_score(user, &s->context, &block, score, NULL);
}

static void check_examples(enum random_model_kind kind, bool same_time)
{
    enum { ITEMS = 60, EXAMPLES = 9 };
    struct scene s;
    struct recommender_user user;
    struct random rng;
    float first[ITEMS], score[ITEMS];
    random_init(&rng, 1);
    scene_init(&s, random_model(kind, 12), EXAMPLES, ITEMS, .1f, 12);
    for (size_t i = 0; same_time && i < EXAMPLES; i++)
        s.events[i].ts_ms = NOW_MS;
    cr_assert(recommender_prepare_examples(&user, s.model, s.events, EXAMPLES, &s.arena));
    check_block(random_model_label(kind), &s, &user, s.events, EXAMPLES, true, 0, ITEMS, 1);
    score_all(&s, &user, first);
    for (int round = 0; round < 5; round++) {
        struct recommender_event shuffled[EXAMPLES];
        uint32_t order[EXAMPLES];
        for (uint32_t i = 0; i < EXAMPLES; i++)
            order[i] = i;
        random_shuffle(&rng, order, EXAMPLES);
        for (size_t i = 0; i < EXAMPLES; i++)
            shuffled[i] = s.events[order[i]];
        cr_assert(recommender_prepare_examples(&user, s.model, shuffled, EXAMPLES, &s.arena));
        score_all(&s, &user, score);
        for (size_t i = 0; i < ITEMS; i++)
            cr_assert_lt(fabsf(score[i] - first[i]), 2e-5f, "%s: item %zu: %.8g, in another order %.8g",
                         random_model_label(kind), i, (double)first[i], (double)score[i]);
    }
    scene_close(&s);
}

Test(recommender_examples, examples_have_no_order)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        check_examples(kind, true);
}

Test(recommender_examples, examples_have_no_time)
{
    check_examples(RANDOM_MODEL_DEFAULT, false);
}

Test(recommender_examples, no_examples)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_SEQUENCE, 12), 0, 20, 0, 12);
    cr_assert(recommender_prepare_examples(&user, s.model, NULL, 0, &s.arena));
    check_block("no examples", &s, &user, NULL, 0, true, 0, 20, 1);
    scene_close(&s);
}
