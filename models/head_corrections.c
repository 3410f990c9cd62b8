/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head_corrections.h"

#include "models/matrix.h"

#include <math.h>
#include <string.h>

static bool is_corrected(const struct architecture *a, const struct similarity *s)
{
    return a->views[s->candidate_view].correction > 0 || a->views[s->history_view].correction > 0;
}

bool head_corrections_init(struct head_corrections *c, const struct recommender_user *user,
                           const struct recommender_event *events, struct arena *arena)
{
    const struct architecture *a = &user->model->architecture;
    size_t L = user->length, rows = L > RECOMMENDER_BLOCK ? L : RECOMMENDER_BLOCK, widest = 0, rank = 0;
    *c = (struct head_corrections){.events = events};
    for (int v = 0; v < a->view_count; v++) {
        widest = (size_t)a->views[v].components > widest ? (size_t)a->views[v].components : widest;
        rank = (size_t)a->views[v].correction > rank ? (size_t)a->views[v].correction : rank;
    }
    if (rank == 0 || L == 0)
        return true;
    for (int i = 0; i < a->similarity_count; i++) {
        if (!is_corrected(a, &a->similarities[i]))
            continue;
        c->dpick[i] = arena_floats(arena, RECOMMENDER_BLOCK * L);
        c->djudge[i] = arena_floats(arena, RECOMMENDER_BLOCK * L);
        if (c->dpick[i] == NULL || c->djudge[i] == NULL)
            return false;
    }
    c->drow = arena_floats(arena, rows * widest);
    c->dother = arena_floats(arena, rows * widest);
    c->unit = arena_floats(arena, rows * widest);
    c->low = arena_floats(arena, rows * rank);
    c->dlow = arena_floats(arena, rows * rank);
    c->history = arena_floats(arena, L * widest);
    return c->drow != NULL && c->dother != NULL && c->unit != NULL && c->low != NULL && c->dlow != NULL &&
           c->history != NULL;
}

void head_corrections_clear(const struct head_corrections *c, const struct recommender_user *user)
{
    for (int i = 0; i < user->model->architecture.similarity_count; i++) {
        if (c->dpick[i] == NULL)
            continue;
        memset(c->dpick[i], 0, RECOMMENDER_BLOCK * user->length * sizeof(float));
        memset(c->djudge[i], 0, RECOMMENDER_BLOCK * user->length * sizeof(float));
    }
}

/* rows (n, r) of one role got the gradient drow: row = x + (x·down)·up */
static void add_role(const struct head_corrections *c, const struct model *model, const struct weights *g, int view,
                     enum role role, const float *x, const float *drow, size_t n)
{
    size_t r = (size_t)model->architecture.views[view].components;
    size_t rank = (size_t)model->architecture.views[view].correction;
    if (rank == 0)
        return;
    matrix_multiply(c->low, x, model->weights.view[view].down[role], n, rank, r);
    matrix_weight_gradient(g->view[view].up[role], c->low, drow, n, r, rank);
    matrix_product(c->dlow, rank, (struct matrix_slice){drow, r, false},
                   (struct matrix_slice){model->weights.view[view].up[role], r, true}, n, rank, r, 1, false);
    matrix_weight_gradient(g->view[view].down[role], x, c->dlow, n, rank, r);
}

/* x of the events, as add_role wants it */
static void gather_history(const struct head_corrections *c, const struct recommender_user *user, int view)
{
    size_t r = (size_t)user->model->architecture.views[view].components;
    for (size_t l = 0; l < user->length; l++) {
        if (c->events[l].rows != NULL)
            memcpy(c->history + l * r, c->events[l].rows->view[view] + c->events[l].row * r, r * sizeof(float));
        else
            memset(c->history + l * r, 0, r * sizeof(float));
    }
}

/* Gradient of x̂ = x / |x| (width) becomes that of x. */
static void normalise_backward(float *d, const float *x, size_t width)
{
    float norm = sqrtf(matrix_dot(x, x, width));
    if (norm <= 0) {
        memset(d, 0, width * sizeof *d);
        return;
    }
    float along = matrix_dot(d, x, width) / (norm * norm);
    for (size_t i = 0; i < width; i++)
        d[i] = (d[i] - along * x[i]) / norm;
}

/* One similarity's products q·k of one head: the rows (n, r) of either side, and the gradient of the products (count, L). */
struct product {
    const struct recommender_pass *pass;
    const float *q, *k, *dproduct;
    size_t r, offset, width;
};

/* dq into drow (count, r) and dk into dother (L, r), zero outside the head's slice */
static void product_backward(const struct head_corrections *c, const struct product *p)
{
    size_t n = p->pass->block->count, L = p->pass->user->length, r = p->r;
    memset(c->drow, 0, n * r * sizeof(float));
    memset(c->dother, 0, L * r * sizeof(float));
    struct matrix_slice d = {p->dproduct, L, false}, q = {p->q + p->offset, r, false}, k = {p->k + p->offset, r, false};
    matrix_product(c->drow + p->offset, r, d, k, n, p->width, L, 1, false);
    d.transposed = true;
    matrix_product(c->dother + p->offset, r, d, q, L, p->width, n, 1, false);
}

static void additive_backward(const struct head_corrections *c, const struct product *p, const float *w)
{
    size_t n = p->pass->block->count, L = p->pass->user->length, r = p->r;
    memset(c->drow, 0, n * r * sizeof(float));
    memset(c->dother, 0, L * r * sizeof(float));
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < L; l++)
            for (size_t j = p->offset; j < p->offset + p->width; j++) {
                float t = tanhf(p->q[i * r + j] + p->k[l * r + j]);
                float d = p->dproduct[i * L + l] * w[j - p->offset] * (1 - t * t);
                c->drow[i * r + j] += d;
                c->dother[l * r + j] += d;
            }
}

/* cosine: the products were of normalised slices q̂ and k̂; keys are kept normalised, candidates are normalised here once more */
static void cosine_backward(const struct head_corrections *c, struct product *p, int view)
{
    size_t n = p->pass->block->count, L = p->pass->user->length, r = p->r;
    const float *q = p->q;
    for (size_t i = 0; i < n; i++) {
        const float *from = q + i * r + p->offset;
        float *to = c->unit + i * r + p->offset, norm = sqrtf(matrix_dot(from, from, p->width));
        for (size_t j = 0; j < p->width; j++)
            to[j] = norm > 0 ? from[j] / norm : 0;
    }
    p->q = c->unit;
    product_backward(c, p);
    for (size_t i = 0; i < n; i++)
        normalise_backward(c->drow + i * r + p->offset, q + i * r + p->offset, p->width);
    for (size_t l = 0; l < L; l++) {
        const struct recommender_event *event = &c->events[l];
        if (event->rows == NULL)
            memset(c->dother + l * r, 0, r * sizeof(float));
        else
            normalise_backward(c->dother + l * r + p->offset,
                               event->rows->role[view][ROLE_KEY] + event->row * r + p->offset, p->width);
    }
}

static void add_pick(const struct head_corrections *c, const struct recommender_pass *pass, const struct weights *g,
                     int index)
{
    const struct recommender_user *user = pass->user;
    const struct architecture *a = &user->model->architecture;
    const struct similarity *s = &a->similarities[index];
    size_t r = (size_t)a->views[s->candidate_view].components, width = r / (size_t)s->heads;
    const float *q = pass->block->rows->role[s->candidate_view][ROLE_QUERY] + pass->block->first * r;
    struct product p = {pass, q, user->key[index], c->dpick[index], r, (size_t)pass->head * width, width};
    gather_history(c, user, s->history_view);
    if (s->kind == ATTENTION_ADDITIVE)
        additive_backward(c, &p, user->model->weights.similarity[index].additive);
    else if (s->kind == ATTENTION_COSINE)
        cosine_backward(c, &p, s->history_view);
    else
        product_backward(c, &p);
    add_role(c, user->model, g, s->candidate_view, ROLE_QUERY,
             pass->block->rows->view[s->candidate_view] + pass->block->first * r, c->drow, pass->block->count);
    add_role(c, user->model, g, s->history_view, ROLE_KEY, c->history, c->dother, user->length);
}

static void add_judge(const struct head_corrections *c, const struct recommender_pass *pass, const struct weights *g,
                      int index)
{
    const struct recommender_user *user = pass->user;
    const struct architecture *a = &user->model->architecture;
    const struct similarity *s = &a->similarities[index];
    size_t r = (size_t)a->views[s->candidate_view].components, width = r / (size_t)s->heads;
    const float *row = pass->block->rows->role[s->candidate_view][ROLE_CANDIDATE_VALUE] + pass->block->first * r;
    struct product p = {pass, row, user->worth[index], c->djudge[index], r, (size_t)pass->head * width, width};
    gather_history(c, user, s->history_view);
    product_backward(c, &p);
    add_role(c, user->model, g, s->candidate_view, ROLE_CANDIDATE_VALUE,
             pass->block->rows->view[s->candidate_view] + pass->block->first * r, c->drow, pass->block->count);
    add_role(c, user->model, g, s->history_view, ROLE_HISTORY_VALUE, c->history, c->dother, user->length);
}

void head_corrections_add(const struct head_corrections *c, const struct recommender_pass *pass,
                          const struct weights *g)
{
    const struct architecture *a = &pass->user->model->architecture;
    for (int i = 0; i < a->similarity_count; i++) {
        if (c->dpick[i] == NULL || pass->head >= a->similarities[i].heads)
            continue;
        if (recommender_picks(a, i))
            add_pick(c, pass, g, i);
        add_judge(c, pass, g, i);
    }
}
