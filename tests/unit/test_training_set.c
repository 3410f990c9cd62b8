/* SPDX-License-Identifier: Apache-2.0
 *
 * What stage one gets to see of a log, event by event. */
#include "models/training_set.h"

#include "models/components.h"
#include "models/matrix.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VIEW = 1, BUY, DISLIKE, ITEMS = 6, MANY = 300 };

/* Every user's last two events are held out. Items 2 and 3 have no events but those, item 4 was only ever disliked, nobody has met item 5. */
static const struct evaluation_event few_events[] = {
    {0, 10, VIEW, 1},    {1, 20, BUY, 5}, {4, 30, DISLIKE, -2}, {2, 40, VIEW, 1}, {3, 50, VIEW, 1}, /* user 0 */
    {1, 5, VIEW, 1},     {0, 6, VIEW, 1}, {1, 7, VIEW, 1},      {2, 8, VIEW, 1},                    /* user 1 */
    {3, 1, VIEW, 1},     {3, 2, VIEW, 1},                                                           /* too short */
    {0, 1, DISLIKE, -2}, {1, 2, BUY, 5},  {2, 3, VIEW, 1},      {2, 4, VIEW, 1},                    /* user 3 */
};
static const size_t few_starts[] = {0, 5, 9, 11, 15};
static const struct evaluation_data few = {ITEMS, 4, few_events, few_starts};
static int behaviour_of[256];

static void number_behaviours(void)
{
    for (int i = 0; i < 256; i++)
        behaviour_of[i] = -1;
    behaviour_of[VIEW] = 0;
    behaviour_of[DISLIKE] = 1; /* the model does not know BUY */
}

static void cut(struct holdout *holdout, const struct evaluation_data *data, enum holdout_kind kind)
{
    struct status st = STATUS_INIT;
    number_behaviours();
    cr_assert(holdout_cut(holdout, data, kind, 0, NULL, &st), "%s", st.message);
}

static void check_event(const struct training_set *set, size_t at, uint32_t column, int64_t ts_ms, int behaviour,
                        float weight)
{
    cr_assert(set->column[at] == column && set->ts_ms[at] == ts_ms && set->behaviour[at] == behaviour &&
                  set->weight[at] == weight,
              "event %zu: column %u, at %ld, behaviour %d, weight %g", at, set->column[at], (long)set->ts_ms[at],
              set->behaviour[at], (double)set->weight[at]);
}

Test(training_set, columns_are_the_items_that_somebody_wanted)
{
    struct status st = STATUS_INIT;
    struct holdout holdout;
    struct training_set set;
    cut(&holdout, &few, HOLDOUT_LEAVE_ONE_OUT);
    cr_assert(training_set_init(&set, &few, &holdout, behaviour_of, &st), "%s", st.message);
    cr_assert_eq(set.columns, 2);
    cr_assert(set.item_of[0] == 0 && set.item_of[1] == 1);
    cr_assert(set.column_of[0] == 0 && set.column_of[1] == 1);
    for (size_t item = 2; item < ITEMS; item++)
        cr_assert_eq(set.column_of[item], TRAINING_NO_COLUMN, "item %zu is no column", item);
    cr_assert(set.count[0] == 2 && set.count[1] == 3, "%g and %g: a dislike does not count", (double)set.count[0],
              (double)set.count[1]);
    static const size_t starts[] = {0, 2, 4, 4, 6};
    cr_assert_arr_eq(set.start, starts, sizeof starts);
    cr_assert_eq(set.event_count, 6);
    check_event(&set, 0, 0, 10, 0, 1);
    check_event(&set, 1, 1, 20, -1, 5);
    check_event(&set, 2, 1, 5, 0, 1);
    check_event(&set, 3, 0, 6, 0, 1);
    check_event(&set, 4, 0, 1, 1, -2); /* no target, but it was seen */
    check_event(&set, 5, 1, 2, -1, 5);
    training_set_close(&set);
    cr_assert_null(set.column);
    holdout_close(&holdout);
}

/* Nothing of what is asked later is in it: in production all but each user's last event is. */
Test(training_set, follows_the_cut)
{
    struct status st = STATUS_INIT;
    struct holdout holdout;
    struct training_set set;
    cut(&holdout, &few, HOLDOUT_NONE);
    cr_assert(training_set_init(&set, &few, &holdout, behaviour_of, &st), "%s", st.message);
    cr_assert_eq(set.columns, 4, "items 0 to 3");
    cr_assert_eq(set.event_count, few_starts[4] - 4 - 1, "without the last ones and the disliked item");
    training_set_close(&set);
    holdout_close(&holdout);
}

Test(training_set, nothing_to_learn_from)
{
    static const struct evaluation_event events[] = {{0, 1, VIEW, 1}, {1, 2, VIEW, 1}, {0, 3, VIEW, 1},
                                                     {2, 1, VIEW, 1}, {1, 2, VIEW, 1}, {0, 3, VIEW, 1}};
    static const size_t starts[] = {0, 3, 6}, none[] = {0, 0};
    const struct evaluation_data cases[] = {{ITEMS, 2, events, starts}, {ITEMS, 1, events, none}, {0, 0, events, none}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        struct holdout holdout;
        struct training_set set;
        cut(&holdout, &cases[i], HOLDOUT_LEAVE_ONE_OUT);
        cr_assert_not(training_set_init(&set, &cases[i], &holdout, behaviour_of, &st), "%zu", i);
        cr_assert_eq(st.code, STATUS_FAILED_PRECONDITION);
        cr_assert_str_eq(st.reason, "NO_TRAINING_DATA");
        cr_assert_null(set.column, "nothing is left behind");
        holdout_close(&holdout);
    }
}

/* ---- features */

static float *draw_vectors(size_t count, size_t dimension)
{
    struct random rng;
    random_init(&rng, 4);
    float *vectors = random_model_alloc(count * dimension, sizeof *vectors);
    for (size_t i = 0; i < count * dimension; i++)
        vectors[i] = i / dimension % 7 == 3 ? 0 : 1 + 5 * random_normal(&rng); /* one in seven has none */
    return vectors;
}

static void check_features(const struct training_set *set, const struct model *model, const float *vectors)
{
    size_t D = (size_t)model->architecture.views[0].dimension, r = (size_t)model->architecture.views[0].components;
    float *wanted = random_model_alloc(r, sizeof *wanted), *scratch = random_model_alloc(D, sizeof *scratch);
    for (size_t c = 0; c < set->columns; c++) {
        size_t item = set->item_of[c];
        components_apply(wanted, vectors + item * D, model->weights.view[0].mean, model->weights.view[0].rotation, 1, D,
                         r, scratch);
        cr_assert_eq(set->present[0][c], item % 7 != 3, "column %zu", c);
        for (size_t j = 0; j < r; j++)
            cr_assert_float_eq(set->x[0][c * r + j], wanted[j], 1e-6, "column %zu, %zu", c, j);
    }
    free(wanted);
    free(scratch);
}

/* More columns than are worked on at a time, and rows of items that are none in between. */
Test(training_set, features_are_those_of_the_columns)
{
    struct evaluation_event events[MANY + 2];
    const size_t starts[] = {0, MANY + 2};
    const struct evaluation_data data = {2 * MANY, 1, events, starts};
    struct status st = STATUS_INIT;
    struct holdout holdout;
    struct training_set set;
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1);
    matrix_init();
    for (size_t i = 0; i < MANY + 2; i++)
        events[i] = (struct evaluation_event){(uint32_t)(2 * (i % MANY)), (int64_t)i, VIEW, 1};
    cut(&holdout, &data, HOLDOUT_LEAVE_ONE_OUT);
    cr_assert(training_set_init(&set, &data, &holdout, behaviour_of, &st), "%s", st.message);
    cr_assert_eq(set.columns, MANY);
    float *vectors = draw_vectors(data.item_count, (size_t)model->architecture.views[0].dimension);
    const float *const views[ARCHITECTURE_VIEWS_MAX] = {vectors, NULL};
    cr_assert(training_set_features(&set, model, views, &st), "%s", st.message);
    check_features(&set, model, vectors);
    cr_assert(set.x[1] == NULL && set.present[1] == NULL, "nobody has an image");
    free(vectors);
    training_set_close(&set);
    training_set_close(&set); /* all-zero after the first */
    holdout_close(&holdout);
    model_release(model);
}
