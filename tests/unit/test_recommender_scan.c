/* SPDX-License-Identifier: Apache-2.0
 *
 * The cheap score that chooses candidates, against plain loops in double. */
#include "tests/unit/recommender_rig.h"

/* Σ_l value_l · e^position[age] · row_l of the view, normalised; the first similarity with that candidate view says
 * how */
static void naive_query(double *query, const struct scene *s, bool unordered, int index)
{
    const struct architecture *a = &s->model->architecture;
    int view = a->similarities[index].history_view;
    size_t r = (size_t)a->views[view].components;
    double norm = 0;
    memset(query, 0, r * sizeof *query);
    for (size_t l = 0; l < s->length; l++) {
        size_t age = unordered ? 0 : s->length - 1 - l;
        double weight =
            value_of(s->model, &s->events[l]) * exp(s->model->weights.similarity[index].position[age < 63 ? age : 63]);
        const float *row = row_of(s->events[l].rows, s->model, view, ROLE_HISTORY_VALUE, s->events[l].row);
        for (size_t j = 0; j < r; j++)
            query[j] += weight * row[j];
    }
    for (size_t j = 0; j < r; j++)
        norm += query[j] * query[j];
    for (size_t j = 0; norm > 0 && j < r; j++)
        query[j] /= sqrt(norm);
}

static double naive_scan(const struct scene *s, bool unordered, size_t candidate)
{
    const struct architecture *a = &s->model->architecture;
    bool seen[ARCHITECTURE_VIEWS_MAX] = {false};
    double sum = 0, query[64];
    for (int i = 0; i < a->similarity_count; i++) {
        int view = a->similarities[i].candidate_view;
        double weight = 0;
        for (int j = 0; j < a->stream_count; j++)
            if (a->similarities[a->streams[j].judge].candidate_view == view)
                weight += s->model->weights.stream[j] * s->weight[PART_STREAMS + j];
        if (seen[view])
            continue;
        seen[view] = true;
        naive_query(query, s, unordered, i);
        const float *row = row_of(&s->rows, s->model, view, ROLE_CANDIDATE_VALUE, candidate);
        for (size_t j = 0; j < (size_t)a->views[view].components; j++)
            sum += weight * query[j] * row[j];
    }
    return sum;
}

static void check_scan(enum random_model_kind kind, size_t length, bool unordered)
{
    enum { ITEMS = 300, FIRST = 11 };
    struct scene s;
    struct recommender_user user;
    float score[ITEMS + 1] = {0};
    scene_init(&s, random_model(kind, 14), length, ITEMS, .2f, 14);
    cr_assert(unordered ? recommender_prepare_examples(&user, s.model, s.events, length, &s.arena)
                        : recommender_prepare(&user, s.model, s.events, length, NOW_MS, &s.arena));
    double *u = unordered ? NULL : naive_state(&s, s.events, length);
    size_t d = (size_t)s.model->architecture.width;
    score[ITEMS - FIRST] = 77;
    recommender_scan(&user, s.weight, &s.rows, FIRST, ITEMS - FIRST, score);
    cr_assert_eq(score[ITEMS - FIRST], 77, "written past the rows");
    static const uint32_t some[] = {ITEMS - 1, FIRST, 200, 57, 57, 100, 12};
    float own[sizeof some / sizeof *some];
    recommender_scan_some(&user, s.weight, &s.rows, some, sizeof some / sizeof *some, own);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        cr_assert_float_eq(own[i], score[some[i] - FIRST], 1e-4f, "row %u by itself", some[i]);
    for (size_t i = FIRST; i < ITEMS; i++) {
        double wanted = 0;
        for (size_t j = 0; u != NULL && j < d; j++)
            wanted += *s.model->weights.sequence_scale * u[j] * s.rows.output[i * d + j];
        wanted = u != NULL ? wanted : length > 0 ? naive_scan(&s, unordered, i) : 0;
        cr_assert_lt(fabs(score[i - FIRST] - wanted), 1e-4, "%s, %zu events, row %zu: %.8g, wanted %.8g",
                     random_model_label(kind), length, i, (double)score[i - FIRST], wanted);
    }
    free(u);
    scene_close(&s);
}

Test(recommender_scan, a_scan_compares_with_the_decayed_mean_or_the_state)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        check_scan(kind, 0, false);
        check_scan(kind, 1, false);
        check_scan(kind, 80, false);
        check_scan(kind, 4, true);
    }
}
