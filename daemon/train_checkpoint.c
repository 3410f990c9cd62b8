/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_checkpoint.h"

#include "daemon/timestamp.h"
#include "models/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERY_US 2000000

static void path_of(char *path, size_t size, const char *out, int stage)
{
    snprintf(path, size, "%s.checkpoint%s", out, stage == TRAIN_STAGE_AGAIN ? "-again" : "");
}

void train_checkpoint_init(struct train_checkpoint *c, const char *out, int stage, const json_t *report)
{
    *c = (struct train_checkpoint){0};
    path_of(c->path, sizeof c->path, out, stage);
    static const char *const keys[] = {"seed",    "threads", "holdout",   "log_position",
                                       "options", "without", "cold_share"};
    json_t *facts = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(facts, keys[i], json_object_get(report, keys[i]));
    c->fingerprint = json_dumps(facts, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(facts);
}

void train_checkpoint_close(struct train_checkpoint *c)
{
    free(c->fingerprint);
    *c = (struct train_checkpoint){0};
}

/* the file's bytes, malloc'ed; NULL where there is none */
static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    unsigned char *bytes = NULL;
    if (file == NULL)
        return NULL;
    if (fseeko(file, 0, SEEK_END) == 0 && ftello(file) > 0) {
        *size = (size_t)ftello(file);
        rewind(file);
        bytes = malloc(*size);
        if (bytes != NULL && fread(bytes, 1, *size, file) != *size) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}

bool train_checkpoint_restore(const struct train_checkpoint *c, struct trainer *trainer, struct status *st)
{
    size_t size;
    unsigned char *bytes = read_file(c->path, &size);
    if (bytes == NULL || c->fingerprint == NULL)
        return true;
    struct status why = STATUS_INIT;
    bool ok = trainer_restore(trainer, c->fingerprint, bytes, size, &why);
    free(bytes);
    if (ok || why.code == STATUS_FAILED_PRECONDITION)
        return true;
    return status_fail(st, STATUS_DATA_LOSS, "BAD_CHECKPOINT",
                       "'%s' is damaged (%.100s): remove it, or use --no-resume", c->path, why.message);
}

bool train_checkpoint_write(struct train_checkpoint *c, const struct trainer *trainer, bool last, struct status *st)
{
    int64_t now_us = timestamp_monotonic_us();
    if (!last && c->written_us != 0 && now_us - c->written_us < EVERY_US)
        return true;
    size_t size;
    unsigned char *bytes = c->fingerprint == NULL ? NULL : trainer_save(trainer, c->fingerprint, &size, st);
    if (bytes == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a checkpoint");
    char aside[4300];
    snprintf(aside, sizeof aside, "%s.part", c->path);
    FILE *file = fopen(aside, "we");
    bool ok = file != NULL && fwrite(bytes, 1, size, file) == size;
    ok = (file == NULL || fclose(file) == 0) && ok && rename(aside, c->path) == 0;
    int error = errno;
    free(bytes);
    c->written_us = now_us;
    return ok || status_fail(st, STATUS_FAILED_PRECONDITION, "OUTPUT", "write '%s': %s", c->path, strerror(error));
}

bool train_checkpoint_place(const char *out, const json_t *report, struct train_log_place *place)
{
    struct train_checkpoint c;
    struct safetensors file = {0};
    struct status st = STATUS_INIT;
    size_t size;
    train_checkpoint_init(&c, out, TRAIN_STAGE_ENCODER, report);
    unsigned char *bytes = read_file(c.path, &size);
    bool ok = bytes != NULL && safetensors_parse(&file, bytes, size, &st);
    if (ok) {
        const char *fingerprint = safetensors_metadata(&file, "fingerprint");
        const char *progress = safetensors_metadata(&file, "progress");
        ok =
            fingerprint != NULL && progress != NULL && c.fingerprint != NULL && strcmp(fingerprint, c.fingerprint) == 0;
        *place = (struct train_log_place){TRAIN_STAGE_ENCODER, ok ? (int)strtol(progress, NULL, 10) : 0};
    }
    safetensors_close(&file);
    free(bytes);
    train_checkpoint_close(&c);
    return ok;
}

void train_checkpoint_remove(const char *out)
{
    char path[4200];
    for (int stage = TRAIN_STAGE_ENCODER; stage <= TRAIN_STAGE_AGAIN; stage += 2) {
        path_of(path, sizeof path, out, stage);
        unlink(path);
    }
}
