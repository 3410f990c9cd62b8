/* SPDX-License-Identifier: Apache-2.0 */
#include "models/recommender.h"

#include "models/kernels.h"
#include "models/matrix.h"

#include <string.h>

/* what the view's share of a scan weighs: its streams, as judged by */
static float scan_weight(const struct recommender_user *user, const float *part_weight, int view)
{
    const struct architecture *a = &user->model->architecture;
    float weight = 0;
    for (int i = 0; i < a->stream_count; i++)
        if (a->similarities[a->streams[i].judge].candidate_view == view)
            weight += user->model->weights.stream[i] * part_weight[PART_STREAMS + i];
    return user->query[view] == NULL ? 0 : weight;
}

void recommender_scan(const struct recommender_user *user, const float *part_weight, const struct encoder_rows *rows,
                      size_t first, size_t count, float *score)
{
    const struct architecture *a = &user->model->architecture;
    if (user->state != NULL) {
        size_t d = (size_t)a->width;
        matrix_vector(score, rows->output + first * d, user->state, count, d, *user->model->weights.sequence_scale,
                      false);
        return;
    }
    memset(score, 0, count * sizeof *score);
    for (int v = 0; v < a->view_count; v++) {
        size_t r = (size_t)a->views[v].components;
        float weight = scan_weight(user, part_weight, v);
        if (weight != 0)
            matrix_vector(score, rows->role[v][ROLE_CANDIDATE_VALUE] + first * r, user->query[v], count, r, weight,
                          true);
    }
}

void recommender_scan_some(const struct recommender_user *user, const float *part_weight,
                           const struct encoder_rows *rows, const uint32_t *row, size_t count, float *score)
{
    const struct architecture *a = &user->model->architecture;
    const struct kernels *k = kernels();
    memset(score, 0, count * sizeof *score);
    if (user->state != NULL) {
        k->some_rows(score, rows->output, row, count, user->state, (size_t)a->width,
                     *user->model->weights.sequence_scale);
        return;
    }
    for (int v = 0; v < a->view_count; v++) {
        float weight = scan_weight(user, part_weight, v);
        if (weight != 0)
            k->some_rows(score, rows->role[v][ROLE_CANDIDATE_VALUE], row, count, user->query[v],
                         (size_t)a->views[v].components, weight);
    }
}
