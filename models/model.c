/* SPDX-License-Identifier: Apache-2.0 */
#include "models/model.h"

#include "models/safetensors.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define FORMAT         "recsysd-1"
#define METADATA_LIMIT (256u << 10) /* bytes of a JSON text in the header: parsing takes many times as much */
#define PADDING        (128u << 10) /* bytes that aligning up to 1,024 tensors may add in memory */

struct model_item {
    UT_hash_handle hh;
    const char *name;
    int64_t row;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a model");
}

static bool bad_model(struct status *st, const char *what)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_MODEL", "%s", what);
}

struct model *model_acquire(struct model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void model_release(struct model *model)
{
    if (model == NULL || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1)
        return;
    struct model_item *entry, *next;
    HASH_ITER(hh, model->item_index, entry, next)
    {
        HASH_DEL(model->item_index, entry);
        free(entry);
    }
    params_close(&model->params);
    json_decref(model->training);
    free(model->block);
    free(model->item_names);
    free(model->item_training_count);
    free(model);
}

/* index the names that `model->item_names` holds; false also for a name that is there twice */
static bool index_items(struct model *model, struct status *st)
{
    const char *name = model->item_names;
    for (size_t row = 0; row < model->item_count; row++, name += strlen(name) + 1) {
        struct model_item *entry = NULL;
        HASH_FIND_STR(model->item_index, name, entry);
        if (entry != NULL)
            return bad_model(st, "an item id is there twice");
        entry = malloc(sizeof *entry);
        if (entry == NULL)
            return out_of_memory(st);
        *entry = (struct model_item){.name = name, .row = (int64_t)row};
        HASH_ADD_KEYPTR(hh, model->item_index, entry->name, strlen(entry->name), entry);
        if (entry->hh.tbl == NULL) {
            free(entry);
            return out_of_memory(st);
        }
    }
    return true;
}

/* everything but names and numbers; `most_bytes` is what the numbers may take: no more than the file that claims to hold them */
static struct model *allocate(const struct architecture *architecture, const char *name, size_t items,
                              size_t most_bytes, struct status *st)
{
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        out_of_memory(st);
        return NULL;
    }
    model->references = 1;
    model->architecture = *architecture;
    model->item_count = items;
    snprintf(model->name, sizeof model->name, "%s", name);
    bool ok = params_declare(&model->params, &model->weights, &model->architecture, items, st);
    size_t size = model->params.total * sizeof(float);
    ok = ok && (size <= most_bytes || bad_model(st, "the architecture needs more numbers than the file has"));
    if (ok) {
        model->block = aligned_alloc(64, size + 64);
        model->item_training_count = calloc(items + 1, sizeof(float));
        ok = (model->block != NULL && model->item_training_count != NULL) || out_of_memory(st);
        if (ok) {
            memset(model->block, 0, size);
            params_place(&model->params, model->block);
        }
    }
    if (!ok) {
        model_release(model);
        model = NULL;
    }
    return model;
}

struct model *model_new(const struct architecture *architecture, const char *name, const char *const *names,
                        size_t count, struct status *st)
{
    struct model *model = allocate(architecture, name, count, SIZE_MAX, st);
    if (model == NULL)
        return NULL;
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += strlen(names[i]) + 1;
    model->item_names = malloc(size);
    if (model->item_names == NULL) {
        out_of_memory(st);
        model_release(model);
        return NULL;
    }
    char *at = model->item_names;
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, names[i]) + 1;
    if (!index_items(model, st)) {
        model_release(model);
        return NULL;
    }
    return model;
}

static void set_version(struct model *model, const unsigned char *bytes, size_t size)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, bytes, size);
    sodium_bin2hex(model->sha256, sizeof model->sha256, digest, sizeof digest);
    snprintf(model->version, sizeof model->version, "%s-%.8s", model->name, model->sha256);
}

/* ---- writing */

static bool write_items(struct safetensors_writer *writer, const struct model *model, int64_t *ends, struct status *st)
{
    size_t at = 0;
    for (size_t i = 0; i < model->item_count; i++) {
        at += strlen(model->item_names + at) + 1;
        ends[i] = (int64_t)at;
    }
    return safetensors_add(writer, "items.names", SAFETENSORS_U8, 1, &at, model->item_names, st) &&
           safetensors_add(writer, "items.ends", SAFETENSORS_I64, 1, &model->item_count, ends, st) &&
           safetensors_add(writer, "items.count", SAFETENSORS_F32, 1, &model->item_count, model->item_training_count,
                           st);
}

static bool write_metadata(struct safetensors_writer *writer, const struct model *model, struct status *st)
{
    json_t *json = architecture_write(&model->architecture);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    char *training = model->training == NULL ? NULL : json_dumps(model->training, JSON_COMPACT | JSON_SORT_KEYS);
    bool ok = text != NULL || out_of_memory(st);
    ok = ok && safetensors_add_metadata(writer, "architecture", text, st) &&
         safetensors_add_metadata(writer, "format", FORMAT, st) &&
         safetensors_add_metadata(writer, "name", model->name, st) &&
         (training == NULL || safetensors_add_metadata(writer, "training", training, st));
    json_decref(json);
    free(text);
    free(training);
    return ok;
}

unsigned char *model_write(struct model *model, size_t *size_bytes, struct status *st)
{
    struct safetensors_writer writer = {0};
    unsigned char *bytes = NULL;
    int64_t *ends = malloc((model->item_count + 1) * sizeof *ends);
    bool ok = ends != NULL || out_of_memory(st);
    ok = ok && write_metadata(&writer, model, st) && write_items(&writer, model, ends, st);
    for (size_t i = 0; ok && i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        ok = safetensors_add(&writer, p->name, SAFETENSORS_F32, p->rank, p->shape, *p->slot, st);
    }
    if (ok)
        bytes = safetensors_write(&writer, size_bytes, st);
    if (bytes != NULL)
        set_version(model, bytes, *size_bytes);
    safetensors_writer_close(&writer);
    free(ends);
    return bytes;
}

/* ---- reading */

/* names and their ends must agree: ascending, each ending in the only NUL of its range */
static bool read_items(struct model *model, const struct safetensors *file, struct status *st)
{
    const struct safetensors_tensor *names = safetensors_find(file, "items.names");
    const struct safetensors_tensor *ends = safetensors_find(file, "items.ends");
    if (names->dtype != SAFETENSORS_U8)
        return bad_model(st, "'items.names' is not U8");
    model->item_names = malloc(names->size_bytes + 1);
    if (model->item_names == NULL)
        return out_of_memory(st);
    memcpy(model->item_names, names->data, names->size_bytes);
    size_t begin = 0;
    for (size_t i = 0; i < model->item_count; i++) {
        int64_t end;
        memcpy(&end, ends->data + i * sizeof end, sizeof end);
        if (end <= (int64_t)begin || end > (int64_t)names->size_bytes ||
            memchr(model->item_names + begin, '\0', (size_t)end - begin) != model->item_names + end - 1)
            return bad_model(st, "'items.ends' does not fit 'items.names'");
        begin = (size_t)end;
    }
    if (begin != names->size_bytes)
        return bad_model(st, "'items.names' goes on after the last item");
    return safetensors_read_f32(file, "items.count", model->item_training_count, 1, &model->item_count, st) &&
           index_items(model, st);
}

#define EPSILON_LEAST 1e-6f /* P / epsilon stays a number */

/* reject what no trainer would write and what would make scores meaningless */
static bool check_numbers(const struct model *model, struct status *st)
{
    const struct weights *w = &model->weights;
    if (!(*w->epsilon >= EPSILON_LEAST) || !(*w->decay >= 0 && *w->decay <= 1))
        return bad_model(st, "'head.epsilon' or 'head.decay' is out of range");
    return true;
}

static struct model *read_parsed(const struct safetensors *file, size_t size_bytes, struct status *st)
{
    const char *format = safetensors_metadata(file, "format"), *name = safetensors_metadata(file, "name");
    const char *text = safetensors_metadata(file, "architecture"), *training = safetensors_metadata(file, "training");
    const struct safetensors_tensor *ends = safetensors_find(file, "items.ends");
    if (format == NULL || strcmp(format, FORMAT) != 0 || name == NULL || strlen(name) > 64 || text == NULL ||
        strlen(text) > METADATA_LIMIT || (training != NULL && strlen(training) > METADATA_LIMIT) || ends == NULL ||
        ends->dtype != SAFETENSORS_I64 || safetensors_find(file, "items.names") == NULL) {
        bad_model(st, "not a model of format '" FORMAT "'");
        return NULL;
    }
    struct architecture architecture;
    struct model *model = NULL;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool ok = architecture_read(&architecture, json, st);
    json_decref(json);
    if (ok)
        model = allocate(&architecture, name, ends->count, size_bytes + PADDING, st);
    if (model == NULL)
        return NULL;
    model->training = training == NULL ? NULL : json_loads(training, JSON_REJECT_DUPLICATES, NULL);
    ok = read_items(model, file, st);
    for (size_t i = 0; ok && i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        ok = safetensors_read_f32(file, p->name, *p->slot, p->rank, p->shape, st);
    }
    if (!ok || !check_numbers(model, st)) {
        model_release(model);
        return NULL;
    }
    return model;
}

struct model *model_read(const void *bytes, size_t size_bytes, struct status *st)
{
    struct safetensors file = {0};
    if (!safetensors_parse(&file, bytes, size_bytes, st))
        return NULL;
    struct model *model = read_parsed(&file, size_bytes, st);
    safetensors_close(&file);
    if (model != NULL)
        set_version(model, bytes, size_bytes);
    return model;
}

int64_t model_item_row(const struct model *model, const char *name)
{
    struct model_item *entry = NULL;
    HASH_FIND_STR(model->item_index, name, entry);
    return entry == NULL ? -1 : entry->row;
}

int model_time_bucket(int64_t age_ms)
{
    float seconds = fmaxf(1.0f, (float)age_ms / 1000.0f);
    int bucket = (int)(logf(seconds) / 0.301f);
    return bucket < ARCHITECTURE_TIME_BUCKETS ? bucket : ARCHITECTURE_TIME_BUCKETS - 1;
}
