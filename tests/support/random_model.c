/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 16, COMPONENTS = 12, TEXT_DIMENSION = 24, IMAGE_DIMENSION = 20 };

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "random model: %s\n", what);
        abort();
    }
}

void *random_model_alloc(size_t count, size_t size_bytes)
{
    void *memory = calloc(count + 1, size_bytes);
    require(memory != NULL, "out of memory");
    return memory;
}

const char *random_model_label(enum random_model_kind kind)
{
    static const char *const labels[] = {
#define RANDOM_MODEL_LABEL(name, what) what,
        RANDOM_MODEL_KINDS(RANDOM_MODEL_LABEL)
#undef RANDOM_MODEL_LABEL
    };
    return labels[kind];
}

/* ---- architectures */

static void add_view(struct architecture *a, const char *name, int dimension, int components)
{
    struct view *v = &a->views[a->view_count++];
    *v = (struct view){.dimension = dimension, .components = components};
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->modality, sizeof v->modality, "%s", name);
    if (strcmp(name, "id") != 0)
        snprintf(v->encoder, sizeof v->encoder, "%s-encoder@1", name);
}

static struct similarity *add_similarity(struct architecture *a, int candidate_view, int history_view)
{
    struct similarity *s = &a->similarities[a->similarity_count++];
    *s = (struct similarity){.candidate_view = candidate_view, .history_view = history_view, .heads = 1};
    return s;
}

static void add_all_streams(struct architecture *a)
{
    for (int pick = 0; pick < a->similarity_count; pick++)
        for (int judge = 0; judge < a->similarity_count; judge++)
            a->streams[a->stream_count++] = (struct stream){pick, judge};
}

static void set_similarities(struct architecture *a, enum random_model_kind kind)
{
    for (int i = 0; i < a->similarity_count; i++) {
        struct similarity *s = &a->similarities[i];
        if (kind == RANDOM_MODEL_HEADS || kind == RANDOM_MODEL_COSINE || kind == RANDOM_MODEL_ADDITIVE)
            s->heads = 2;
        if (kind == RANDOM_MODEL_COSINE)
            s->kind = ATTENTION_COSINE;
        if (kind == RANDOM_MODEL_ADDITIVE)
            s->kind = ATTENTION_ADDITIVE;
        s->hard = kind == RANDOM_MODEL_HARD || kind == RANDOM_MODEL_HARD_MASK ? 3 : 0;
        s->mask_missing = kind == RANDOM_MODEL_MASKED || kind == RANDOM_MODEL_HARD_MASK;
    }
}

void random_model_architecture(struct architecture *a, enum random_model_kind kind)
{
    static const char *const behaviours[RANDOM_MODEL_BEHAVIOURS] = {"click", "purchase", "dislike"};
    *a = (struct architecture){.width = WIDTH, .heads = 2, .feedforward = 20, .history = ARCHITECTURE_HISTORY_MAX};
    a->blocks = kind == RANDOM_MODEL_SEQUENCE ? 2 : kind == RANDOM_MODEL_ID ? 1 : 0;
    add_view(a, "text", TEXT_DIMENSION, COMPONENTS);
    add_view(a, "image", IMAGE_DIMENSION, COMPONENTS);
    add_similarity(a, 0, 0);
    add_similarity(a, 1, 1);
    if (kind == RANDOM_MODEL_ID) {
        add_view(a, "id", WIDTH, WIDTH);
        add_similarity(a, 2, 2);
    }
    if (kind == RANDOM_MODEL_JOINT)
        add_similarity(a, 0, 1);
    if (kind == RANDOM_MODEL_CORRECTED)
        a->views[0].correction = a->views[1].correction = 3;
    set_similarities(a, kind);
    add_all_streams(a);
    for (int i = 0; i < RANDOM_MODEL_BEHAVIOURS; i++)
        snprintf(a->behaviours[a->behaviour_count++], sizeof a->behaviours[0], "%s", behaviours[i]);
}

/* ---- numbers */

static void fill(float *values, size_t count, float mean, float deviation, struct random *rng)
{
    for (size_t i = 0; i < count; i++)
        values[i] = mean + deviation * random_normal(rng);
}

static void fill_similarities(struct model *model, struct random *rng)
{
    const struct architecture *a = &model->architecture;
    for (int i = 0; i < a->similarity_count; i++) {
        for (int h = 0; h < a->similarities[i].heads; h++)
            model->weights.similarity[i].sharpness[h] = 3 + 3 * random_uniform(rng);
        for (int age = 0; age < ARCHITECTURE_POSITIONS; age++)
            model->weights.similarity[i].position[age] = logf(.8f) * (float)age + .1f * random_normal(rng);
    }
}

static void fill_norms(struct model *model, struct random *rng)
{
    const struct architecture *a = &model->architecture;
    size_t d = (size_t)a->width;
    for (int v = 0; v < a->view_count; v++)
        if (model->weights.view[v].norm_scale != NULL)
            fill(model->weights.view[v].norm_scale, d, 1, .1f, rng);
    for (int b = 0; b < a->blocks; b++) {
        fill(model->weights.block[b].norm1_scale, d, 1, .1f, rng);
        fill(model->weights.block[b].norm2_scale, d, 1, .1f, rng);
    }
    fill(model->weights.norm_scale, d, 1, .1f, rng);
    *model->weights.sequence_scale = .4f;
}

static void fill_head(struct model *model, struct random *rng)
{
    const struct architecture *a = &model->architecture;
    struct weights *w = &model->weights;
    fill(w->stream, (size_t)a->stream_count, .5f, .2f, rng);
    fill(w->stream_count, (size_t)a->stream_count, .05f, .02f, rng);
    fill(w->value, (size_t)a->behaviour_count, 1, .1f, rng);
    *w->cooccurrence = 1.2f;
    *w->reverse = .6f;
    *w->epsilon = .1f;
    *w->decay = .8f;
    *w->popularity = .03f;
    *w->recent = -.05f;
    *w->novelty = .4f;
}

struct model *random_model_of(const struct architecture *a, size_t names, uint64_t seed)
{
    struct status st = STATUS_INIT;
    struct random rng;
    random_init(&rng, seed);
    char(*text)[32] = random_model_alloc(names, sizeof *text);
    const char **name = random_model_alloc(names, sizeof(const char *));
    for (size_t i = 0; i < names; i++) {
        snprintf(text[i], sizeof text[i], "item-%zu", i);
        name[i] = text[i];
    }
    struct model *model = model_new(a, "random", name, names, &st);
    require(model != NULL, st.message);
    for (size_t i = 0; i < model->params.count; i++)
        fill(*model->params.list[i].slot, model->params.list[i].count, 0, .25f, &rng);
    for (size_t i = 0; i < names; i++)
        model->item_training_count[i] = (float)random_below(&rng, 50);
    fill_similarities(model, &rng);
    fill_head(model, &rng);
    if (a->blocks > 0)
        fill_norms(model, &rng);
    free(name);
    free(text);
    return model;
}

struct model *random_model(enum random_model_kind kind, uint64_t seed)
{
    struct architecture architecture;
    random_model_architecture(&architecture, kind);
    struct model *model = random_model_of(&architecture, architecture.blocks > 0 ? RANDOM_MODEL_NAMES : 0, seed);
    if (kind == RANDOM_MODEL_NEGATIVE) {
        model->weights.value[1] = -.7f;
        model->weights.value[2] = -1.3f;
    }
    return model;
}

/* ---- items */

void random_items_init(struct random_items *shop, const struct model *model, size_t count, float missing, uint64_t seed)
{
    const struct architecture *a = &model->architecture;
    struct random rng;
    random_init(&rng, seed);
    size_t floats = 0;
    for (int v = 0; v < a->view_count; v++)
        floats += count * (size_t)a->views[v].dimension;
    *shop = (struct random_items){.count = count};
    shop->items = random_model_alloc(count, sizeof *shop->items);
    shop->names = random_model_alloc(count, sizeof *shop->names);
    shop->vectors = random_model_alloc(floats, sizeof *shop->vectors);
    float *at = shop->vectors;
    for (size_t i = 0; i < count; i++) {
        snprintf(shop->names[i], sizeof shop->names[i], "item-%zu", i);
        shop->items[i] = (struct encoder_item){.name = shop->names[i]};
        for (int v = 0; v < a->view_count; v++) {
            size_t dimension = (size_t)a->views[v].dimension;
            if (strcmp(a->views[v].modality, "id") == 0 || random_uniform(&rng) < missing)
                continue;
            fill(at, dimension, .2f, 3, &rng); /* of any scale: the encoder normalises */
            shop->items[i].vector[v] = at;
            at += dimension;
        }
    }
}

void random_items_close(struct random_items *shop)
{
    free(shop->items);
    free(shop->names);
    free(shop->vectors);
    *shop = (struct random_items){0};
}

void random_items_encode(const struct random_items *shop, const struct model *model, struct encoder_rows *rows)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20);
    require(encoder_rows_init(rows, &model->architecture, shop->count), "no rows");
    require(encoder_encode(model, shop->items, shop->count, rows, 0, &arena), "encoding");
    arena_close(&arena);
}

/* ---- the sequence part in double */

int random_model_time_bucket(int64_t age_ms)
{
    double seconds = fmax(1, (double)age_ms / 1000);
    int bucket = (int)floor(log(seconds) / 0.301);
    return bucket < ARCHITECTURE_TIME_BUCKETS ? bucket : ARCHITECTURE_TIME_BUCKETS - 1;
}

static void norm_row(double *out, const double *x, const float *scale, const float *shift, size_t d)
{
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++)
        mean += x[j] / (double)d;
    for (size_t j = 0; j < d; j++)
        variance += (x[j] - mean) * (x[j] - mean) / (double)d;
    for (size_t j = 0; j < d; j++)
        out[j] = (x[j] - mean) / sqrt(variance + 1e-5) * scale[j] + shift[j];
}

/* out (columns) = x (inner) · w (inner, columns) */
static void times(double *out, const double *x, const float *w, size_t inner, size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        out[c] = 0;
        for (size_t i = 0; i < inner; i++)
            out[c] += x[i] * w[i * columns + c];
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void add_gated(double *x, const double *f, const float *gate, const float *bias, size_t d)
{
    double *open = random_model_alloc(d, sizeof *open);
    times(open, x, gate, d, d);
    for (size_t j = 0; j < d; j++)
        x[j] += sigmoid(open[j] + bias[j]) * f[j];
    free(open);
}

static double logit(const struct model *model, int block, size_t h, const struct sequence *s, const double *qkv,
                    size_t i, size_t j)
{
    size_t d = (size_t)model->architecture.width, width = d / (size_t)model->architecture.heads;
    size_t steps = i - j < ARCHITECTURE_POSITIONS ? i - j : ARCHITECTURE_POSITIONS - 1;
    int64_t from_ms = i + 1 == s->length ? s->now_ms : s->ts_ms[i + 1]; /* a row predicts the next event, at its time */
    double sum = 0;
    for (size_t k = 0; k < width; k++)
        sum += qkv[i * 3 * d + h * width + k] * qkv[j * 3 * d + d + h * width + k];
    sum = sum / sqrt((double)width) + model->weights.block[block].position[h * ARCHITECTURE_POSITIONS + steps];
    sum += model->weights.block[block]
               .time[h * ARCHITECTURE_TIME_BUCKETS + (size_t)random_model_time_bucket(from_ms - s->ts_ms[j])];
    if (s->behaviour[j] >= 0)
        sum += model->weights.block[block]
                   .behaviour_bias[h * (size_t)model->architecture.behaviour_count + (size_t)s->behaviour[j]];
    return sum;
}

/* y (d) of row i: what each head makes of the rows up to i */
static void attend_row(double *y, const struct model *model, int block, const struct sequence *s, const double *qkv,
                       size_t i)
{
    size_t d = (size_t)model->architecture.width, heads = (size_t)model->architecture.heads, width = d / heads;
    double *weight = random_model_alloc(i + 1, sizeof *weight);
    memset(y, 0, d * sizeof *y);
    for (size_t h = 0; h < heads; h++) {
        double most = -INFINITY, sum = 0;
        for (size_t j = 0; j <= i; j++)
            most = fmax(most, weight[j] = logit(model, block, h, s, qkv, i, j));
        for (size_t j = 0; j <= i; j++)
            sum += weight[j] = exp(weight[j] - most);
        for (size_t j = 0; j <= i; j++)
            for (size_t k = 0; k < width; k++)
                y[h * width + k] += weight[j] / sum * qkv[j * 3 * d + 2 * d + h * width + k];
    }
    free(weight);
}

static void feed_forward(double *out, const double *x, const struct model *model, int block)
{
    size_t d = (size_t)model->architecture.width, f = (size_t)model->architecture.feedforward;
    double *gate = random_model_alloc(f, sizeof *gate), *up = random_model_alloc(f, sizeof *up);
    times(gate, x, model->weights.block[block].up_gate, d, f);
    times(up, x, model->weights.block[block].up, d, f);
    for (size_t j = 0; j < f; j++)
        up[j] *= gate[j] * sigmoid(gate[j]);
    times(out, up, model->weights.block[block].down, f, d);
    free(gate);
    free(up);
}

static void run_block(double *x, const struct model *model, int b, const struct sequence *s)
{
    size_t d = (size_t)model->architecture.width, L = s->length;
    double *qkv = random_model_alloc(L * 3 * d, sizeof *qkv), *y = random_model_alloc(d, sizeof *y);
    double *f = random_model_alloc(d, sizeof *f);
    for (size_t i = 0; i < L; i++) {
        norm_row(y, x + i * d, model->weights.block[b].norm1_scale, model->weights.block[b].norm1_shift, d);
        times(qkv + i * 3 * d, y, model->weights.block[b].qkv, d, 3 * d);
    }
    for (size_t i = 0; i < L; i++) {
        attend_row(y, model, b, s, qkv, i);
        times(f, y, model->weights.block[b].out, d, d);
        add_gated(x + i * d, f, model->weights.block[b].gate1, model->weights.block[b].gate1_bias, d);
        norm_row(y, x + i * d, model->weights.block[b].norm2_scale, model->weights.block[b].norm2_shift, d);
        feed_forward(f, y, model, b);
        add_gated(x + i * d, f, model->weights.block[b].gate2, model->weights.block[b].gate2_bias, d);
    }
    free(qkv);
    free(y);
    free(f);
}

void random_model_state(double *u, const struct model *model, const struct sequence *s)
{
    size_t d = (size_t)model->architecture.width;
    double *x = random_model_alloc(s->length * d, sizeof *x);
    for (size_t i = 0; i < s->length; i++)
        for (size_t j = 0; j < d; j++)
            x[i * d + j] = (double)s->token[i * d + j] +
                           (s->behaviour[i] >= 0 ? model->weights.behaviour[(size_t)s->behaviour[i] * d + j] : 0);
    for (int b = 0; b < model->architecture.blocks; b++)
        run_block(x, model, b, s);
    norm_row(u, x + (s->length - 1) * d, model->weights.norm_scale, model->weights.norm_shift, d);
    free(x);
}
