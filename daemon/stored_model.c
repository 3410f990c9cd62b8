/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/stored_model.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAINING_BYTES_MAX (64u << 10)

void stored_model_version(char version[97], const char *name, const char *sha256)
{
    snprintf(version, 97, "%.64s-%.8s", name, sha256);
}

struct model *stored_model_read(const struct store_model *description, const void *bytes, size_t size_bytes,
                                struct status *st)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char sha256[2 * sizeof digest + 1];
    crypto_hash_sha256(digest, bytes, size_bytes);
    sodium_bin2hex(sha256, sizeof sha256, digest, sizeof digest);
    if (strcmp(sha256, description->sha256) != 0) {
        status_fail(st, STATUS_DATA_LOSS, "MODEL_DAMAGED", "the file's SHA-256 is %.16s..., not %.16s...", sha256,
                    description->sha256);
        return NULL;
    }
    struct model *model = model_read(bytes, size_bytes, st);
    if (model != NULL) {
        snprintf(model->name, sizeof model->name, "%s", description->name);
        snprintf(model->version, sizeof model->version, "%s", description->version);
    }
    return model;
}

struct model *stored_model_load(struct store *store, const char *version, struct status *st)
{
    struct store_model description;
    void *bytes = NULL;
    size_t size = 0;
    if (!store_model_load(store, version, &description, &bytes, &size, st))
        return NULL;
    struct model *model = stored_model_read(&description, bytes, size, st);
    if (model == NULL)
        status_wrap(st, "model '%s'", version);
    free(bytes);
    return model;
}

void stored_model_describe(struct store_model *out, const struct model *model, int64_t now_ms)
{
    *out = (struct store_model){.created_ms = now_ms};
    snprintf(out->version, sizeof out->version, "%s", model->version);
    snprintf(out->name, sizeof out->name, "%s", model->name);
    snprintf(out->sha256, sizeof out->sha256, "%s", model->sha256);
}

char *stored_model_training(const struct model *model)
{
    char *text = json_is_object(model->training) ? json_dumps(model->training, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (text != NULL && strlen(text) <= TRAINING_BYTES_MAX)
        return text;
    free(text);
    return strdup("{}");
}
