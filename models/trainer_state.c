/* SPDX-License-Identifier: Apache-2.0 */
#include "models/safetensors.h"
#include "models/trainer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The arrays that training goes on from, each of params.total floats. */
struct array {
    const char *name;
    float *at; /* NULL: this trainer has none */
};
#define ARRAYS 5

static void list_arrays(const struct trainer *t, struct array arrays[ARRAYS])
{
    const struct array list[ARRAYS] = {{"weights", t->model->block},
                                       {"adam.m", t->optimiser.m},
                                       {"adam.v", t->optimiser.v},
                                       {"best", t->best},
                                       {"average", t->average}};
    memcpy(arrays, list, sizeof list);
}

unsigned char *trainer_save(const struct trainer *t, const char *fingerprint, size_t *size_bytes, struct status *st)
{
    struct safetensors_writer writer = {0};
    struct array arrays[ARRAYS];
    char progress[256];
    unsigned char *bytes = NULL;
    const struct trainer_epoch *p = &t->progress;
    /* a double as its bits: what is read back must be what was written */
    snprintf(progress, sizeof progress, "%d %d %a %zu", p->epoch, p->best_epoch, p->best_ndcg, t->optimiser.step);
    bool ok = safetensors_add_metadata(&writer, "fingerprint", fingerprint, st) &&
              safetensors_add_metadata(&writer, "progress", progress, st);
    list_arrays(t, arrays);
    for (int i = 0; ok && i < ARRAYS; i++)
        ok = arrays[i].at == NULL ||
             safetensors_add(&writer, arrays[i].name, SAFETENSORS_F32, 1, &t->model->params.total, arrays[i].at, st);
    if (ok)
        bytes = safetensors_write(&writer, size_bytes, st);
    safetensors_writer_close(&writer);
    return bytes;
}

static bool other(struct status *st)
{
    return status_fail(st, STATUS_FAILED_PRECONDITION, "OTHER_CHECKPOINT",
                       "the checkpoint is of other options or another state of the shop");
}

static bool restore(struct trainer *t, const char *fingerprint, const struct safetensors *file, struct status *st)
{
    const char *written = safetensors_metadata(file, "fingerprint"), *text = safetensors_metadata(file, "progress");
    struct trainer_epoch p = {0};
    struct array arrays[ARRAYS];
    size_t step = 0;
    if (written == NULL || text == NULL || strcmp(written, fingerprint) != 0 ||
        sscanf(text, "%d %d %la %zu", &p.epoch, &p.best_epoch, &p.best_ndcg, &step) != 4)
        return other(st);
    list_arrays(t, arrays);
    for (int i = 0; i < ARRAYS; i++) {
        const struct safetensors_tensor *tensor = safetensors_find(file, arrays[i].name);
        if ((tensor == NULL) != (arrays[i].at == NULL) || (tensor != NULL && tensor->count != t->model->params.total))
            return other(st);
    }
    for (int i = 0; i < ARRAYS; i++)
        if (arrays[i].at != NULL &&
            !safetensors_read_f32(file, arrays[i].name, arrays[i].at, 1, &t->model->params.total, st))
            return false;
    t->progress = p;
    t->optimiser.step = step;
    return true;
}

bool trainer_restore(struct trainer *t, const char *fingerprint, const void *bytes, size_t size_bytes,
                     struct status *st)
{
    struct safetensors file = {0};
    if (!safetensors_parse(&file, bytes, size_bytes, st))
        return false;
    bool ok = restore(t, fingerprint, &file, st);
    safetensors_close(&file);
    return ok;
}
