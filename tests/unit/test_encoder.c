/* SPDX-License-Identifier: Apache-2.0
 *
 * The item encoder against plain loops in double, written from the design's formulas:
 *
 *   x̃_m = |(x / |x| - mean) · rotation|        q, k, r, v = x̃ + (x̃ · down) · up
 *   z_m = LN(x̃_m A_m + b_m)                    logit_m = w · tanh(z_m U + c_m), for the ID + κ · log(1 + its count)
 *   z   = Σ softmax(logit)_m z_m over what is there          o = z W_o */
#include "models/encoder.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, G = ARCHITECTURE_GATE_WIDTH };

#define UNTOUCHED (-12345.0f)

/* One item as it should be encoded. */
struct naive_row {
    double view[ARCHITECTURE_VIEWS_MAX][MOST];
    double role[ARCHITECTURE_VIEWS_MAX][ROLE_COUNT][MOST];
    double token[MOST], output[MOST];
};

static bool is_id(const struct view *view)
{
    return strcmp(view->modality, "id") == 0;
}

static void normalise(double *row, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += row[i] * row[i];
    for (size_t i = 0; sum > 0 && i < count; i++)
        row[i] /= sqrt(sum);
}

static void naive_view(double *out, const struct model *model, int v, const struct encoder_item *item, int64_t id_row)
{
    const struct view *view = &model->architecture.views[v];
    size_t r = (size_t)view->components, dimension = (size_t)view->dimension;
    memset(out, 0, r * sizeof *out);
    if (is_id(view)) {
        for (size_t j = 0; id_row >= 0 && j < r; j++)
            out[j] = model->weights.id[(size_t)id_row * r + j];
        return;
    }
    if (item->vector[v] == NULL)
        return;
    double *x = random_model_alloc(dimension, sizeof *x);
    for (size_t i = 0; i < dimension; i++)
        x[i] = item->vector[v][i];
    normalise(x, dimension);
    for (size_t i = 0; i < dimension; i++)
        for (size_t j = 0; j < r; j++)
            out[j] += (x[i] - model->weights.view[v].mean[i]) * model->weights.view[v].rotation[i * r + j];
    normalise(out, r);
    free(x);
}

static void naive_role(double *out, const double *x, const float *down, const float *up, size_t r, size_t c)
{
    for (size_t j = 0; j < r; j++) {
        out[j] = x[j];
        for (size_t k = 0; k < c; k++)
            for (size_t i = 0; i < r; i++)
                out[j] += x[i] * down[i * c + k] * up[k * r + j];
    }
}

static double naive_logit(const struct model *model, const double *z, const float *bias)
{
    size_t d = (size_t)model->architecture.width;
    double logit = 0;
    for (size_t g = 0; g < G; g++) {
        double sum = bias[g];
        for (size_t j = 0; j < d; j++)
            sum += z[j] * model->weights.gate[j * G + g];
        logit += model->weights.gate_out[g] * tanh(sum);
    }
    return logit;
}

static void naive_project(double *z, const struct model *model, int v, const double *x)
{
    size_t d = (size_t)model->architecture.width, r = (size_t)model->architecture.views[v].components;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++) {
        z[j] = model->weights.view[v].bias[j];
        for (size_t i = 0; i < r; i++)
            z[j] += x[i] * model->weights.view[v].projection[i * d + j];
        mean += z[j] / (double)d;
    }
    for (size_t j = 0; j < d; j++)
        variance += pow(z[j] - mean, 2) / (double)d;
    for (size_t j = 0; j < d; j++)
        z[j] = (z[j] - mean) / sqrt(variance + 1e-5) * model->weights.view[v].norm_scale[j] +
               model->weights.view[v].norm_shift[j];
}

static void naive_token(struct naive_row *row, const struct model *model, const struct encoder_item *item,
                        int64_t id_row)
{
    const struct weights *w = &model->weights;
    size_t d = (size_t)model->architecture.width;
    double z[ARCHITECTURE_VIEWS_MAX + 1][MOST], logit[ARCHITECTURE_VIEWS_MAX + 1], sum = 0;
    size_t parts = 0;
    for (int v = 0; v < model->architecture.view_count; v++) {
        if (is_id(&model->architecture.views[v]) || item->vector[v] == NULL)
            continue;
        naive_project(z[parts], model, v, row->view[v]);
        logit[parts] = naive_logit(model, z[parts], w->view[v].gate_bias);
        parts++;
    }
    if (id_row >= 0) {
        for (size_t j = 0; j < d; j++)
            z[parts][j] = w->id[(size_t)id_row * d + j];
        logit[parts] =
            naive_logit(model, z[parts], w->id_gate_bias) + *w->gate_count * log1p(model->item_training_count[id_row]);
        parts++;
    }
    for (size_t p = 0; p < parts; p++)
        sum += exp(logit[p]);
    for (size_t p = 0; p < parts; p++)
        for (size_t j = 0; j < d; j++)
            row->token[j] += exp(logit[p]) / sum * z[p][j];
    for (size_t j = 0; j < d; j++)
        for (size_t i = 0; i < d; i++)
            row->output[j] += row->token[i] * w->output[i * d + j];
}

/* `number` is the item's: models know "item-0" to "item-<RANDOM_MODEL_NAMES - 1>" in that order */
static void naive_encode(struct naive_row *row, const struct model *model, const struct encoder_item *item,
                         size_t number)
{
    const struct architecture *a = &model->architecture;
    int64_t id_row = number < model->item_count ? (int64_t)number : -1;
    *row = (struct naive_row){0};
    for (int v = 0; v < a->view_count; v++) {
        size_t r = (size_t)a->views[v].components, c = (size_t)a->views[v].correction;
        naive_view(row->view[v], model, v, item, id_row);
        for (int role = 0; role < ROLE_COUNT; role++)
            naive_role(row->role[v][role], row->view[v], model->weights.view[v].down[role],
                       model->weights.view[v].up[role], r, c);
    }
    if (a->blocks > 0)
        naive_token(row, model, item, id_row);
}

static void compare(const char *kind, const char *what, size_t item, const float *got, const double *wanted,
                    size_t count)
{
    for (size_t j = 0; j < count; j++)
        cr_assert_lt(fabs(got[j] - wanted[j]), 2e-5, "%s: %s of item %zu, %zu: %.7g, wanted %.7g", kind, what, item, j,
                     (double)got[j], wanted[j]);
}

static void compare_row(enum random_model_kind kind, const struct model *model, const struct encoder_rows *rows,
                        size_t at, const struct encoder_item *item, size_t number)
{
    const struct architecture *a = &model->architecture;
    const char *label = random_model_label(kind);
    struct naive_row naive;
    naive_encode(&naive, model, item, number);
    for (int v = 0; v < a->view_count; v++) {
        size_t r = (size_t)a->views[v].components;
        compare(label, a->views[v].name, number, rows->view[v] + at * r, naive.view[v], r);
        for (int role = 0; role < ROLE_COUNT; role++)
            compare(label, "a role", number, rows->role[v][role] + at * r, naive.role[v][role], r);
    }
    if (a->blocks > 0) {
        size_t d = (size_t)a->width;
        compare(label, "token", number, rows->token + at * d, naive.token, d);
        compare(label, "output", number, rows->output + at * d, naive.output, d);
    }
}

/* every float of the rows at once: they are carved out of one block */
static void fill_rows(const struct architecture *a, struct encoder_rows *rows, float value)
{
    for (size_t i = 0; i < rows->capacity * encoder_row_floats(a); i++)
        rows->block[i] = value;
    for (int v = 0; v < a->view_count; v++)
        for (size_t i = 0; i < rows->capacity * (size_t)a->views[v].components; i++) {
            rows->view[v][i] = value;
            for (int role = 0; role < ROLE_COUNT; role++)
                rows->role[v][role][i] = value;
        }
    for (size_t i = 0; rows->token != NULL && i < rows->capacity * (size_t)a->width; i++)
        rows->token[i] = rows->output[i] = value;
}

static void check_untouched(const struct architecture *a, const struct encoder_rows *rows, size_t row)
{
    for (int v = 0; v < a->view_count; v++)
        for (size_t j = 0; j < (size_t)a->views[v].components; j++) {
            size_t at = row * (size_t)a->views[v].components + j;
            cr_assert_eq(rows->view[v][at], UNTOUCHED, "row %zu was written", row);
            for (int role = 0; role < ROLE_COUNT; role++)
                cr_assert_eq(rows->role[v][role][at], UNTOUCHED, "row %zu was written", row);
        }
    for (size_t j = 0; rows->token != NULL && j < (size_t)a->width; j++)
        cr_assert(rows->token[row * (size_t)a->width + j] == UNTOUCHED &&
                      rows->output[row * (size_t)a->width + j] == UNTOUCHED,
                  "row %zu was written", row);
}

/* `count` items into rows 1, 2, ... of count + 2; the rows before and after stay */
static void check_encoding(enum random_model_kind kind, size_t count, float missing)
{
    struct model *model = random_model(kind, 21);
    struct random_items shop;
    struct encoder_rows rows;
    struct arena arena;
    random_items_init(&shop, model, count, missing, 3);
    arena_init(&arena, (size_t)16 << 20);
    cr_assert(encoder_rows_init(&rows, &model->architecture, count + 2));
    fill_rows(&model->architecture, &rows, UNTOUCHED);
    cr_assert(encoder_encode(model, shop.items, count, &rows, 1, &arena));
    cr_assert_eq(arena_used(&arena), 0, "the arena is given back");
    for (size_t i = 0; i < count; i++)
        compare_row(kind, model, &rows, 1 + i, &shop.items[i], i);
    check_untouched(&model->architecture, &rows, 0);
    check_untouched(&model->architecture, &rows, count + 1);
    arena_close(&arena);
    encoder_rows_close(&rows);
    random_items_close(&shop);
    model_release(model);
}

Test(encoder, agrees_with_plain_loops)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        check_encoding(kind, 1, 0);
        check_encoding(kind, 40, .3f);
    }
}

Test(encoder, nothing_is_there)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        check_encoding(kind, 0, 0);
        check_encoding(kind, RANDOM_MODEL_NAMES + 10, 1); /* the last ten have no ID either */
    }
}

Test(encoder, batches_meet_without_a_seam)
{
    static const size_t counts[] = {ENCODER_BATCH - 1, ENCODER_BATCH, ENCODER_BATCH + 1, 2 * ENCODER_BATCH + 3};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_encoding(RANDOM_MODEL_ID, counts[i], .2f);
        check_encoding(RANDOM_MODEL_CORRECTED, counts[i], .2f);
    }
}

/* Gates are renormalised: with a single modality there is nothing to weigh, and z is that modality's z. */
Test(encoder, one_modality_alone_has_all_the_weight)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 4);
    size_t d = (size_t)model->architecture.width;
    struct random_items shop;
    struct encoder_rows rows;
    random_items_init(&shop, model, 200, 0, 9);
    for (size_t i = 0; i < 200; i++)
        shop.items[i].vector[i % 2] = NULL;
    random_items_encode(&shop, model, &rows);
    for (size_t i = RANDOM_MODEL_NAMES; i < 200; i++) {
        int v = i % 2 == 0 ? 1 : 0;
        double z[MOST], x[MOST];
        naive_view(x, model, v, &shop.items[i], -1);
        naive_project(z, model, v, x);
        compare("alone", "token", i, rows.token + i * d, z, d);
    }
    encoder_rows_close(&rows);
    random_items_close(&shop);
    model_release(model);
}

Test(encoder, an_item_without_anything_is_zero)
{
    struct model *model = random_model(RANDOM_MODEL_ID, 4);
    size_t d = (size_t)model->architecture.width;
    struct encoder_item item = {.name = "never seen"};
    struct encoder_rows rows;
    struct random_items shop = {.count = 1, .items = &item};
    random_items_encode(&shop, model, &rows);
    for (size_t j = 0; j < d; j++)
        cr_assert(rows.token[j] == 0 && rows.output[j] == 0 && rows.view[2][j] == 0);
    encoder_rows_close(&rows);
    model_release(model);
}

Test(encoder, the_scale_of_a_vector_says_nothing)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 8);
    float vector[2][24], scales[2] = {1e-6f, 1e6f};
    struct encoder_item items[2] = {{.name = "a"}, {.name = "b"}};
    struct random_items shop = {.count = 2, .items = items};
    struct encoder_rows rows;
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 24; j++)
            vector[i][j] = scales[i] * (float)(1 + j % 5);
        items[i].vector[0] = vector[i];
    }
    random_items_encode(&shop, model, &rows);
    for (size_t j = 0; j < 12; j++)
        cr_assert_float_eq(rows.view[0][j], rows.view[0][12 + j], 1e-5);
    encoder_rows_close(&rows);
    model_release(model);
}

Test(encoder, rows_are_copied_whole)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct model *model = random_model(kind, 5);
        struct random_items shop;
        struct encoder_rows rows, copy;
        random_items_init(&shop, model, 5, .2f, 5);
        random_items_encode(&shop, model, &rows);
        cr_assert(encoder_rows_init(&copy, &model->architecture, 3));
        fill_rows(&model->architecture, &copy, UNTOUCHED);
        encoder_copy(&model->architecture, &copy, 1, &rows, 4);
        compare_row(kind, model, &copy, 1, &shop.items[4], 4);
        check_untouched(&model->architecture, &copy, 0);
        check_untouched(&model->architecture, &copy, 2);
        encoder_rows_close(&rows);
        encoder_rows_close(&copy);
        random_items_close(&shop);
        model_release(model);
    }
}

Test(encoder, floats_of_a_row)
{
    struct architecture a;
    random_model_architecture(&a, RANDOM_MODEL_DEFAULT);
    cr_assert_eq(encoder_row_floats(&a), 24, "two views of 12");
    random_model_architecture(&a, RANDOM_MODEL_CORRECTED);
    cr_assert_eq(encoder_row_floats(&a), 24 + 4 * 24, "and four roles of each");
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    cr_assert_eq(encoder_row_floats(&a), 24 + 32, "and a token and an output of 16");
}

Test(encoder, an_arena_that_gives_out_is_a_failure)
{
    struct model *model = random_model(RANDOM_MODEL_SEQUENCE, 6);
    struct random_items shop;
    struct encoder_rows rows;
    random_items_init(&shop, model, 20, 0, 6);
    cr_assert(encoder_rows_init(&rows, &model->architecture, 20));
    bool ok = false;
    for (size_t limit = 0; !ok; limit += 512) {
        struct arena arena;
        arena_init(&arena, limit);
        ok = encoder_encode(model, shop.items, 20, &rows, 0, &arena);
        cr_assert_lt(limit, (size_t)1 << 20, "it should fit a megabyte");
        cr_assert(!ok || limit > 2048, "it cannot fit %zu bytes", limit);
        arena_close(&arena);
    }
    encoder_rows_close(&rows);
    encoder_rows_close(&rows); /* all-zero after the first */
    random_items_close(&shop);
    model_release(model);
}
