/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole score against plain loops in double, for every kind of attention, every kernel set and the shapes where
 * blocks and vectors end. */
#include "models/kernels.h"
#include "tests/unit/recommender_rig.h"

#include <stdio.h>

struct shape {
    size_t length, items;
    float missing;
};

/* The score of a whole shop in blocks of 256, of the history's newest events. */
static void check_shape(enum random_model_kind kind, const char *set, const struct shape *shape)
{
    char what[160];
    struct scene s;
    struct recommender_user user;
    snprintf(what, sizeof what, "%s, %s, %zu events, %zu items, %g missing", random_model_label(kind), set,
             shape->length, shape->items, (double)shape->missing);
    scene_init(&s, random_model(kind, 31 + (uint64_t)kind), shape->length, shape->items, shape->missing, 77);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena), "%s", what);
    cr_assert_eq(user.length, s.length);
    for (size_t first = 0; first < shape->items; first += RECOMMENDER_BLOCK) {
        size_t left = shape->items - first, count = left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK;
        check_block(what, &s, &user, s.events, s.length, false, first, count, count < 20 ? 1 : 13);
    }
    scene_close(&s);
}

static bool force(const char *set)
{
    setenv("RECSYSD_KERNELS", set, 1);
    if (strcmp(kernels()->name, set) == 0)
        return true;
    cr_log_info("%s: not on this processor", set);
    return false;
}

static void check_set(const char *set)
{
    static const struct shape shapes[] = {
        {0, 255, .2f},  /* nobody knows the user */
        {1, 1, 0},      /* the least there can be */
        {1, 256, .3f},  /* a full block */
        {5, 3, 1},      /* no features at all */
        {17, 255, .2f}, /* all but a full block */
        {100, 257, .2f}, {1000, 9, .2f},
    };
    if (!force(set))
        return;
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            check_shape(kind, set, &shapes[i]);
}

Test(recommender, plain_agrees_with_plain_loops)
{
    check_set("plain");
}

Test(recommender, avx2_agrees_with_plain_loops)
{
    check_set("avx2");
}

Test(recommender, avx512_agrees_with_plain_loops)
{
    check_set("avx512");
}

Test(recommender, blocks_begin_anywhere)
{
    static const size_t blocks[][2] = {{0, 1}, {299, 1}, {7, 255}, {44, 256}, {10, 0}};
    struct scene s;
    struct recommender_user user;
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        scene_init(&s, random_model(kind, 5), 12, 300, .2f, 5);
        cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
            check_block(random_model_label(kind), &s, &user, s.events, s.length, false, blocks[i][0], blocks[i][1], 7);
        scene_close(&s);
    }
}

Test(recommender, only_the_newest_events_count)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    a.history = 9;
    scene_init(&s, random_model_of(&a, RANDOM_MODEL_NAMES, 5), 30, 40, .2f, 5);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    cr_assert_eq(user.length, 9);
    check_block("newest 9 of 30", &s, &user, s.events + 21, 9, false, 0, 40, 1);
    scene_close(&s);
}

Test(recommender, users_prepared_side_by_side)
{
    struct scene s;
    struct recommender_user long_user, short_user;
    scene_init(&s, random_model(RANDOM_MODEL_DEFAULT, 6), 50, 60, .2f, 6);
    cr_assert(recommender_prepare(&long_user, s.model, s.events, 50, NOW_MS, &s.arena));
    cr_assert(recommender_prepare(&short_user, s.model, s.events, 3, NOW_MS, &s.arena));
    check_block("long", &s, &long_user, s.events, 50, false, 0, 60, 5);
    check_block("short", &s, &short_user, s.events, 3, false, 0, 60, 5);
    check_block("long again", &s, &long_user, s.events, 50, false, 0, 60, 5);
    scene_close(&s);
}

Test(recommender, a_dislike_lowers_what_resembles_it)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_NEGATIVE, 8), 1, 20, 0, 8);
    float score[2], parts[2][PARTS_MOST];
    size_t stride = PART_STREAMS + (size_t)s.model->architecture.stream_count;
    struct recommender_block block = {&s.rows, 4, 1, s.ids + 4};
    for (int i = 0; i < 2; i++) {
        s.events[0] = (struct recommender_event){s.ids[4], NOW_MS, i == 0 ? 0 : 2, 1, &s.rows, 4};
        cr_assert(recommender_prepare(&user, s.model, s.events, 1, NOW_MS, &s.arena));
        recommender_score(&user, &s.context, &block, &score[i], parts[i]);
    }
    for (size_t i = PART_STREAMS; i < stride; i++)
        cr_assert(parts[0][i] > 0 && parts[1][i] < 0, "stream %zu: %g and %g", i - PART_STREAMS, (double)parts[0][i],
                  (double)parts[1][i]);
    scene_close(&s);
}

/* Where the candidate's view is corrected, q is no unit row whatever the history's view is: logits have no bound
 * known beforehand. */
Test(recommender, a_corrected_candidate_against_an_uncorrected_history)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_JOINT);
    a.views[0].correction = 2;
    a.similarities[0] = a.similarities[2]; /* text against image alone, and image against image */
    a.similarity_count = 2;
    a.stream_count = 4;
    for (int i = 0; i < 4; i++)
        a.streams[i] = (struct stream){i / 2, i % 2};
    struct model *model = random_model_of(&a, 0, 9);
    for (size_t i = 0; i < 24; i++)
        model->weights.view[0].up[ROLE_QUERY][i] *= 200;
    scene_init(&s, model, 20, 40, 0, 9);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    check_block("corrected candidate", &s, &user, s.events, s.length, false, 0, 40, 1);
    scene_close(&s);
}

Test(recommender, more_streams_of_one_pick_than_a_kernel_takes_at_once)
{
    struct architecture a;
    struct scene s;
    struct recommender_user user;
    random_model_architecture(&a, RANDOM_MODEL_DEFAULT);
    a.stream_count = KERNELS_JUDGES_MAX + 4;
    for (int i = 0; i < a.stream_count; i++)
        a.streams[i] = (struct stream){0, i % 2};
    json_t *json = architecture_write(&a);
    bool allowed = architecture_read(&a, json, NULL);
    json_decref(json);
    if (!allowed)
        return; /* refusing a stream that is there twice is as good */
    scene_init(&s, random_model_of(&a, 0, 10), 12, 10, 0, 10);
    cr_assert(recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &s.arena));
    check_block("twenty streams of one pick", &s, &user, s.events, s.length, false, 0, 10, 1);
    scene_close(&s);
}

Test(recommender, an_arena_that_gives_out_is_a_failure)
{
    struct scene s;
    struct recommender_user user;
    scene_init(&s, random_model(RANDOM_MODEL_SEQUENCE, 3), 20, 10, 0, 3);
    bool ok = false, examples = false;
    for (size_t limit = 0; !ok || !examples; limit += 8192) {
        struct arena arena;
        arena_init(&arena, limit);
        ok = recommender_prepare(&user, s.model, s.events, s.length, NOW_MS, &arena);
        arena_close(&arena);
        arena_init(&arena, limit);
        examples = recommender_prepare_examples(&user, s.model, s.events, s.length, &arena);
        arena_close(&arena);
        cr_assert_lt(limit, (size_t)8 << 20, "it should fit eight megabytes");
        cr_assert(!(ok && limit < 16384), "it cannot fit %zu bytes", limit);
    }
    scene_close(&s);
}

Test(recommender, cost_is_in_multiply_adds)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_JOINT);
    cr_assert_eq(recommender_cost(&a, 100), 3 * 12 * 100);
    cr_assert_eq(recommender_cost(&a, 0), 0);
}
