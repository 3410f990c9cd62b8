/* SPDX-License-Identifier: Apache-2.0
 *
 * From modalities to the token against plain loops in double, and its gradients against central differences of them. */
#include "models/fusion.h"

#include "tests/support/gradient_check.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 8, G = ARCHITECTURE_GATE_WIDTH, ITEMS = 11, NAMES = 6, VIEWS = 3 };

/* What items have. */
struct scene {
    const char *what;
    enum random_model_kind kind; /* SEQUENCE: two views; ID: and one of the embeddings */
    size_t names;                /* ID rows of the model */
    bool no_image;               /* nobody has one: present is NULL */
};

static const struct scene scenes[] = {
    {"text, image and ID", RANDOM_MODEL_SEQUENCE, NAMES, false},
    {"a view of the ID too", RANDOM_MODEL_ID, NAMES, false},
    {"no images", RANDOM_MODEL_SEQUENCE, NAMES, true},
    {"no IDs", RANDOM_MODEL_SEQUENCE, 0, false},
};

struct fusion {
    struct model *model;
    struct gradient_model g;
    struct fusion_items items;
    float *x[VIEWS];
    bool present[VIEWS][ITEMS];
    int64_t id_row[ITEMS];
    float *dtoken, *doutput;
    double token[ITEMS * D], output[ITEMS * D];
};

/* Items 0 to 5 have ID rows, if the model has any, and modalities at random; item 3 has nothing but its ID, item 7 nothing at all, item 8
 * a text only. */
static void draw_items(struct fusion *f, const struct scene *scene, struct random *rng)
{
    f->items = (struct fusion_items){.count = ITEMS, .id_row = f->id_row};
    for (size_t i = 0; i < ITEMS; i++)
        f->id_row[i] = i < scene->names ? (int64_t)(scene->names - 1 - i) : -1;
    for (int v = 0; v < 2; v++) {
        f->x[v] = gradient_draw(ITEMS * (size_t)f->model->architecture.views[v].components, .5f, rng);
        for (size_t i = 0; i < ITEMS; i++)
            f->present[v][i] = i != 3 && i != 7 && (i == 8 ? v == 0 : i < 2 || random_below(rng, 3) > 0);
        f->items.x[v] = f->x[v];
        f->items.present[v] = scene->no_image && v == 1 ? NULL : f->present[v];
    }
}

static void mark_idle(const struct fusion *f, const struct scene *scene)
{
    static const char *const of_image[] = {"encoder.image.weight", "encoder.image.bias", "encoder.image.norm.weight",
                                           "encoder.image.norm.bias", "encoder.image.gate"};
    static const char *const of_id[] = {"encoder.id.embedding", "encoder.id.gate", "encoder.gate.count"};
    for (size_t i = 0; scene->no_image && i < sizeof of_image / sizeof *of_image; i++)
        gradient_model_tensor(&f->g, of_image[i])->idle = true;
    for (size_t i = 0; scene->names == 0 && i < sizeof of_id / sizeof *of_id; i++)
        gradient_model_tensor(&f->g, of_id[i])->idle = true;
}

static void fusion_init(struct fusion *f, const struct scene *scene)
{
    struct architecture a;
    struct random rng;
    random_init(&rng, 3);
    random_model_architecture(&a, scene->kind);
    a.width = D;
    for (int v = 0; v < a.view_count; v++)
        if (strcmp(a.views[v].modality, "id") == 0)
            a.views[v].dimension = a.views[v].components = D;
    *f = (struct fusion){.model = random_model_of(&a, scene->names, 4)};
    *f->model->weights.gate_count = .2f;
    gradient_model_init(&f->g, f->model, PARAM_ENCODER);
    draw_items(f, scene, &rng);
    mark_idle(f, scene);
    f->dtoken = gradient_draw(ITEMS * D, 1, &rng);
    f->doutput = gradient_draw(ITEMS * D, 1, &rng);
}

static void fusion_close(struct fusion *f)
{
    gradient_model_close(&f->g);
    model_release(f->model);
    for (int v = 0; v < VIEWS; v++)
        free(f->x[v]);
    free(f->dtoken);
    free(f->doutput);
}

static const double *in(const struct fusion *f, const float *weight)
{
    return gradient_model_twin(&f->g, weight);
}

/* z = LN(x A + b) */
static void twin_view(double *z, const struct fusion *f, int v, size_t i)
{
    const struct weights *w = &f->model->weights;
    size_t r = (size_t)f->model->architecture.views[v].components;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < D; j++) {
        z[j] = in(f, w->view[v].bias)[j];
        for (size_t c = 0; c < r; c++)
            z[j] += (double)f->x[v][i * r + c] * in(f, w->view[v].projection)[c * D + j];
        mean += z[j] / D;
    }
    for (size_t j = 0; j < D; j++)
        variance += (z[j] - mean) * (z[j] - mean) / D;
    for (size_t j = 0; j < D; j++)
        z[j] =
            (z[j] - mean) / sqrt(variance + 1e-5) * in(f, w->view[v].norm_scale)[j] + in(f, w->view[v].norm_shift)[j];
}

/* w · tanh(z U + c) */
static double twin_score(const struct fusion *f, const double *z, const float *gate_bias)
{
    const struct weights *w = &f->model->weights;
    double score = 0;
    for (size_t g = 0; g < G; g++) {
        double sum = in(f, gate_bias)[g];
        for (size_t j = 0; j < D; j++)
            sum += z[j] * in(f, w->gate)[j * G + g];
        score += in(f, w->gate_out)[g] * tanh(sum);
    }
    return score;
}

static void twin_item(struct fusion *f, size_t i)
{
    const struct weights *w = &f->model->weights;
    double z[VIEWS][D], score[VIEWS], sum = 0, *token = f->token + i * D, *output = f->output + i * D;
    size_t parts = 0;
    for (int v = 0; v < 2; v++)
        if (f->items.present[v] != NULL && f->present[v][i]) {
            twin_view(z[parts], f, v, i);
            score[parts] = twin_score(f, z[parts], w->view[v].gate_bias);
            parts++;
        }
    if (f->id_row[i] >= 0) {
        memcpy(z[parts], in(f, w->id) + (size_t)f->id_row[i] * D, sizeof z[parts]);
        score[parts] = twin_score(f, z[parts], w->id_gate_bias) +
                       *in(f, w->gate_count) * log1p((double)f->model->item_training_count[f->id_row[i]]);
        parts++;
    }
    memset(token, 0, D * sizeof *token);
    memset(output, 0, D * sizeof *output);
    for (size_t p = 0; p < parts; p++)
        sum += exp(score[p]);
    for (size_t p = 0; p < parts; p++)
        for (size_t j = 0; j < D; j++)
            token[j] += exp(score[p]) / sum * z[p][j];
    for (size_t j = 0; j < D; j++)
        for (size_t c = 0; c < D; c++)
            output[j] += token[c] * in(f, w->output)[c * D + j];
}

static double value(void *context)
{
    struct fusion *f = context;
    for (size_t i = 0; i < f->items.count; i++)
        twin_item(f, i);
    return gradient_functional(f->dtoken, f->token, ITEMS * D) + gradient_functional(f->doutput, f->output, ITEMS * D);
}

/* items from `first` on, as a thread would be given them */
static struct fusion_items share(const struct fusion *f, size_t first, size_t count)
{
    struct fusion_items items = {.count = count, .id_row = f->id_row + first};
    for (int v = 0; v < 2; v++) {
        items.x[v] = f->x[v] + first * (size_t)f->model->architecture.views[v].components;
        items.present[v] = f->items.present[v] == NULL ? NULL : f->present[v] + first;
    }
    return items;
}

/* forward and backward of a range; the gradients add to what is there */
static void run(struct fusion *f, float *token, float *output, size_t first, size_t count)
{
    struct fusion_items items = share(f, first, count);
    struct fusion_tape tape;
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20);
    float dtoken[ITEMS * D];
    memcpy(dtoken, f->dtoken + first * D, count * D * sizeof *dtoken);
    cr_assert(fusion_forward(token + first * D, output + first * D, &tape, f->model, &items, &arena));
    cr_assert(fusion_backward(&f->g.gradient, dtoken, f->doutput + first * D, &tape, token + first * D, f->model,
                              &items, &arena));
    arena_close(&arena);
}

static void check(struct fusion *f, const char *what, const float *token, const float *output)
{
    value(f);
    const char *wrong = gradient_apart("token", token, f->token, ITEMS * D, 5e-5);
    if (wrong == NULL)
        wrong = gradient_apart("output", output, f->output, ITEMS * D, 5e-5);
    if (wrong == NULL)
        wrong = gradient_wrong(value, f, f->g.tensors, f->g.count);
    cr_assert_null(wrong, "%s: %s", what, wrong);
}

Test(fusion, agrees_with_plain_loops_and_so_do_its_gradients)
{
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        struct fusion f;
        float token[ITEMS * D], output[ITEMS * D];
        fusion_init(&f, &scenes[i]);
        run(&f, token, output, 0, ITEMS);
        check(&f, scenes[i].what, token, output);
        for (size_t j = 7 * D; j < 8 * D; j++)
            cr_assert(token[j] == 0 && output[j] == 0, "an item that has nothing is %g", (double)token[j]);
        fusion_close(&f);
    }
}

/* In ranges, one of them empty, the gradients gather to the same. */
Test(fusion, a_range_at_a_time)
{
    struct fusion f;
    float token[ITEMS * D], output[ITEMS * D];
    fusion_init(&f, &scenes[0]);
    run(&f, token, output, 0, 4);
    run(&f, token, output, 4, 0);
    run(&f, token, output, 4, ITEMS - 4);
    check(&f, "in ranges", token, output);
    fusion_close(&f);
}

Test(fusion, an_arena_that_gives_out_is_a_failure)
{
    struct fusion f;
    struct fusion_tape tape;
    float token[ITEMS * D], output[ITEMS * D];
    size_t backward_failed = 0;
    bool ok = false;
    fusion_init(&f, &scenes[0]);
    for (size_t limit = 0; !ok; limit += 512) {
        struct arena arena;
        arena_init(&arena, limit);
        bool went = fusion_forward(token, output, &tape, f.model, &f.items, &arena);
        size_t used = arena_used(&arena);
        ok = went && fusion_backward(&f.g.gradient, f.dtoken, f.doutput, &tape, token, f.model, &f.items, &arena);
        cr_assert_eq(arena_used(&arena), used, "backward keeps what it was lent");
        backward_failed += went && !ok;
        cr_assert(!ok || limit > 4000, "it cannot fit %zu bytes", limit);
        cr_assert_lt(limit, (size_t)1 << 20, "it should fit a megabyte");
        arena_close(&arena);
    }
    cr_assert_gt(backward_failed, 0);
    fusion_close(&f);
}
