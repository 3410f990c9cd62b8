/* SPDX-License-Identifier: Apache-2.0
 *
 * feature.put: vectors of items. */
#include "daemon/ingest.h"
#include "daemon/metrics.h"
#include "daemon/routes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_ENCODER "default"

/* A vector that has been checked. */
struct feature_row {
    const char *item;
    const float *values;
    bool refused;
};

struct feature_put {
    const char *modality, *encoder;
    int32_t dimension;
    bool create;
    struct feature_row rows[];
};

static bool bad(struct status *st, const char *reason, const char *field, const char *what)
{
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, reason, field, "%s", what);
}

/* ---- on the worker */

static bool check_names(const char *modality, const char *encoder, struct status *st)
{
    static const char *const reserved[] = {"id", "behaviour", "popularity", "sequence"};
    size_t length = strlen(modality);
    bool good = length > 0 && length < 64 && modality[0] >= 'a' && modality[0] <= 'z' &&
                strspn(modality, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        good = good && strcmp(modality, reserved[i]) != 0;
    if (!good)
        return bad(st, "BAD_NAME", "modality",
                   "a modality is named by 1 to 63 of a-z, 0-9, _ and -, a letter first, and is none of "
                   "id, behaviour, popularity, sequence");
    for (const char *at = encoder; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~')
            return bad(st, "BAD_NAME", "encoder", "an encoder is named by printable ASCII without blanks");
    return strlen(encoder) <= 128 || bad(st, "TOO_LONG", "encoder", "an encoder's name has at most 128 bytes");
}

/* what rows that come inline should have: as the shop knows it, else as the first row that has any */
static int32_t inline_dimension(struct handler *handler, const Recsys__FeaturePutRequest *r, const char *encoder)
{
    struct store_space space;
    if (catalog_find_space(handler->server->catalog, r->modality, encoder, &space))
        return space.dimension;
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i]->n_values > 0)
            return (int32_t)r->rows[i]->n_values;
    return 0;
}

/* where the rows are: inline, in one attachment, or in `raw`; sets the row count and the dimension */
static bool find_rows(struct handler *handler, const struct job *job, const char *encoder, size_t *count,
                      int32_t *dimension, const unsigned char **raw, struct status *st)
{
    const struct config *config = &handler->server->config;
    const Recsys__FeaturePutRequest *r = (const Recsys__FeaturePutRequest *)job->request;
    const struct job_bytes *attachments;
    size_t attachment_count = job_attachments(job, &attachments), raw_size = 0;
    *raw = NULL;
    *count = r->n_rows;
    *dimension = r->n_rows > 0 ? inline_dimension(handler, r, encoder) : r->dimension;
    if ((r->n_rows > 0) + (attachment_count > 0) + (r->raw.len > 0) != 1)
        return bad(st, "MISSING", "rows", "vectors come in 'rows', in 'raw' or in an attachment: exactly one of them");
    if (*dimension < 1 || *dimension > config->limits_dimension)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "dimension",
                                 "the dimension is %d, from 1 to %lld is allowed", *dimension,
                                 (long long)config->limits_dimension);
    if (r->n_rows > 0)
        return true;
    *raw = attachment_count > 0 ? attachments[0].data : r->raw.data;
    raw_size = attachment_count > 0 ? attachments[0].size : r->raw.len;
    *count = r->n_items;
    if (attachment_count > 1 || raw_size != *count * (size_t)*dimension * sizeof(float))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "DIM_MISMATCH", "items",
                                 "%zu items of %d values need %zu bytes, %zu came", *count, *dimension,
                                 *count * (size_t)*dimension * sizeof(float), raw_size);
    return true;
}

static bool check_vector(const struct feature_put *put, const struct feature_row *row, size_t index, size_t size,
                         struct status *st)
{
    struct field_name field = field_at("rows", index, "values");
    double square = 0;
    if (size != (size_t)put->dimension)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "DIM_MISMATCH", field.text,
                                 "item '%s', modality '%s': %zu values, not %d", row->item, put->modality, size,
                                 put->dimension);
    for (size_t i = 0; i < size; i++) {
        if (!isfinite(row->values[i]))
            return status_fail_field(st, STATUS_INVALID_ARGUMENT, "NON_FINITE_VALUE", field.text,
                                     "item '%s', modality '%s': value %zu is not finite", row->item, put->modality, i);
        square += (double)row->values[i] * row->values[i];
    }
    if (!(square > 0))
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "ZERO_NORM", field.text,
                                 "item '%s', modality '%s': every value is zero", row->item, put->modality);
    return true;
}

/* rows of the attachment, copied to where floats may be read */
static bool read_rows(const struct job *job, struct ingest *ingest, struct feature_put *put, const unsigned char *raw,
                      struct status *st)
{
    const Recsys__FeaturePutRequest *r = (const Recsys__FeaturePutRequest *)job->request;
    size_t dimension = (size_t)put->dimension;
    float *copy = raw == NULL ? NULL : arena_floats(&ingest->job->arena, ingest->row_count * dimension);
    if (raw != NULL && copy == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                           "the request needs more memory than one may take");
    if (raw != NULL)
        memcpy(copy, raw, ingest->row_count * dimension * sizeof *copy);
    for (size_t i = 0; i < ingest->row_count; i++) {
        struct feature_row *row = &put->rows[i];
        struct status row_status = STATUS_INIT;
        row->item = raw == NULL ? r->rows[i]->item : r->items[i];
        row->values = raw == NULL ? r->rows[i]->values : copy + i * dimension;
        size_t size = raw == NULL ? r->rows[i]->n_values : dimension;
        row->refused = !check_id(ingest->config, row->item, field_at("rows", i, "item").text, &row_status) ||
                       !check_vector(put, row, i, size, &row_status);
        if (row->refused && !ingest_refuse(ingest, i, &row_status, st))
            return false;
    }
    return true;
}

/* ---- on the writer */

/* is the modality known, and does the dimension fit? `space->space_id` 0: it is to be made */
static bool check_space(struct writer *writer, const struct ingest *ingest, const struct feature_put *put,
                        struct store_space *space, struct status *st)
{
    if (writer_find_space(writer, put->modality, put->encoder, space)) {
        if (space->dimension == put->dimension)
            return true;
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "DIM_MISMATCH", "dimension",
                                 "modality '%s', encoder '%s' has %d values a vector, not %d", put->modality,
                                 put->encoder, space->dimension, put->dimension);
    }
    if (!put->create)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_MODALITY", "modality",
                                 "modality '%s' with encoder '%s' is new to this shop and 'create' is not set",
                                 put->modality, put->encoder);
    const char *known[2 * CATALOG_SPACES_MAX];
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(writer->engine->catalog, spaces), modalities = 0;
    bool again = false; /* another encoder of a modality that is there */
    for (size_t i = 0; i < count + writer->space_count; i++) {
        const char *name = i < count ? spaces[i].space.modality : writer->spaces[i - count].modality;
        size_t k = 0;
        while (k < modalities && strcmp(known[k], name) != 0)
            k++;
        if (k == modalities)
            known[modalities++] = name;
        again = again || strcmp(name, put->modality) == 0;
    }
    if ((!again && modalities >= (size_t)ingest->config->limits_modalities) ||
        count + writer->space_count >= CATALOG_SPACES_MAX)
        return status_fail_field(st, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY", "modality",
                                 "the shop has as many modalities and encoders as it may have");
    *space = (struct store_space){.dimension = put->dimension};
    snprintf(space->modality, sizeof space->modality, "%s", put->modality);
    snprintf(space->encoder, sizeof space->encoder, "%s", put->encoder);
    return true;
}

static bool check_items(struct writer *writer, struct ingest *ingest, struct feature_put *put, struct status *st)
{
    for (size_t i = 0; i < ingest->row_count && !ingest->cascade_create; i++) {
        if (put->rows[i].refused)
            continue;
        struct status row_status = STATUS_INIT;
        struct catalog_item *item =
            ingest_item(writer, ingest, put->rows[i].item, field_at("rows", i, "item").text, false, &row_status);
        put->rows[i].refused = item == NULL;
        catalog_item_release(item);
        if (item == NULL && !ingest_refuse(ingest, i, &row_status, st))
            return false;
    }
    return true;
}

static bool write_feature(struct writer *writer, struct ingest *ingest, const struct feature_row *row,
                          const struct store_space *space, struct status *st)
{
    struct catalog_item *item = ingest_item(writer, ingest, row->item, "rows.item", true, st);
    struct catalog_feature *feature = catalog_feature_new(space->space_id, space->dimension, row->values);
    bool ok = item != NULL && feature != NULL;
    if (item != NULL && feature == NULL)
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a vector");
    ok = ok && store_feature_put(writer->store, item->item.item_id, space, row->values, ingest->now_ms,
                                 &ingest->position, st);
    if (ok)
        ok = writer_put_features(writer, item, &feature, 1, ingest->position, st);
    else
        catalog_feature_release(feature);
    catalog_item_release(item);
    ingest->stored += ok;
    return ok;
}

static bool write_features(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct feature_put *put = ingest->rows;
    struct store_space space;
    if (!check_space(writer, ingest, put, &space, st) || !check_items(writer, ingest, put, st))
        return false;
    task->changed = true;
    if (space.space_id == 0 && !writer_put_space(writer, &space, st))
        return false;
    for (size_t i = 0; i < ingest->row_count; i++)
        if (!put->rows[i].refused && !write_feature(writer, ingest, &put->rows[i], &space, st))
            return false;
    return true;
}

static void features_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    Recsys__FeaturePutReply reply = RECSYS__FEATURE_PUT_REPLY__INIT;
    char seq[24];
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    metrics_add(METRICS_COUNTER_features_put, (uint64_t)ingest->stored);
    int64_t position = ingest->position > 0 ? ingest->position : writer->engine->committed;
    snprintf(seq, sizeof seq, "%lld", (long long)position);
    reply.seq = seq;
    reply.stored = ingest->stored;
    reply.errors = ingest->errors.list;
    reply.n_errors = ingest->errors.count;
    reply.created_items = ingest->created_items;
    job_reply(ingest->job, &reply.base);
}

bool handle_feature_put(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__FeaturePutRequest *r = (const Recsys__FeaturePutRequest *)job->request;
    const unsigned char *raw;
    size_t count;
    int32_t dimension;
    const char *encoder = r->encoder[0] == '\0' ? DEFAULT_ENCODER : r->encoder;
    if (!check_names(r->modality, encoder, st) || !find_rows(handler, job, encoder, &count, &dimension, &raw, st))
        return false;
    struct ingest *ingest = ingest_new(handler, job, count, sizeof(struct feature_row), st);
    struct feature_put *put =
        ingest == NULL ? NULL : arena_alloc(&job->arena, sizeof *put + count * sizeof(struct feature_row));
    if (ingest == NULL)
        return false;
    if (put == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "TOO_LARGE",
                           "the request needs more memory than one may take");
    *put = (struct feature_put){r->modality, encoder, dimension, r->create};
    ingest->rows = put;
    ingest->atomic = r->_atomic_case == RECSYS__FEATURE_PUT_REQUEST___ATOMIC__NOT_SET || r->atomic;
    ingest->cascade_create = r->cascade_create;
    return read_rows(job, ingest, put, raw, st) && ingest_submit(handler, ingest, write_features, features_done, st);
}
