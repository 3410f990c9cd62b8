/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "an attachment is little-endian: swap the values before sending");

static void place_vector(const struct import *import, const struct batch *batch, size_t row, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s: row %" PRIu64 " (item '%s')", import->feature->npy.path, batch->lines[row],
             (const char *)batch->rows[row]);
}

static void seal_features(struct import *import, struct batch *batch)
{
    Recsys__FeaturePutRequest *request = &batch->request.features;
    recsys__feature_put_request__init(request);
    request->modality = import->feature->modality;
    request->encoder = (char *)import->encoder;
    request->n_items = batch->row_count;
    request->items = (char **)(void *)batch->rows;
    request->dimension = (int32_t)import->feature->npy.columns;
    request->create = true;
    request->_atomic_case = RECSYS__FEATURE_PUT_REQUEST___ATOMIC_ATOMIC;
    request->atomic = false;
    batch->vectors_bytes = batch->row_count * import->feature->npy.columns * sizeof *batch->vectors;
}

static void count_features(struct import *import, const ProtobufCMessage *message, Recsys__RowError *const **errors,
                           size_t *error_count)
{
    const Recsys__FeaturePutReply *reply = (const Recsys__FeaturePutReply *)message;
    import->tally->stored += (uint64_t)reply->stored;
    *errors = reply->errors;
    *error_count = reply->n_errors;
}

/* Rows per batch, so that the attachment stays below its limit. */
static size_t rows_at_a_time(const struct import *import, const struct npy *npy)
{
    size_t fit = (BATCH_VECTORS_BYTES - 1) / (npy->columns * sizeof(float));
    if (fit < 1)
        fit = 1;
    return fit < import->batch_rows ? fit : import->batch_rows;
}

/* Read the next rows; those whose item line could not be read are left out and told. */
static bool fill_batch(struct import *import, struct batch *batch, struct status *st)
{
    struct import_feature *feature = import->feature;
    struct npy *npy = &feature->npy;
    size_t count = rows_at_a_time(import, npy), columns = npy->columns, first = npy->next_row;
    if (count > npy->rows - first)
        count = npy->rows - first;
    if (!batch_reserve_vectors(batch, count * columns, st) || !npy_read_rows(npy, batch->vectors, count, st))
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *id = id_list_get(feature->ids, first + i);
        char place[4352];
        if (id == NULL) {
            snprintf(place, sizeof place, "%s: row %zu", npy->path, first + i);
            if (!import_bad_row(import, place, "its line of the item file is bad", st))
                return false;
            continue;
        }
        if (batch->row_count < i)
            memmove(batch->vectors + batch->row_count * columns, batch->vectors + i * columns,
                    columns * sizeof *batch->vectors);
        batch_add(batch, (char *)id, first + i, strlen(id));
    }
    return true;
}

bool import_features(struct import *import, struct import_feature *feature, struct status *st)
{
    static const struct import_kind kind = {.method = "feature.put",
                                            .reply_type = &recsys__feature_put_reply__descriptor,
                                            .seal = seal_features,
                                            .count = count_features,
                                            .place = place_vector};
    bool ok = true;
    import->feature = feature;
    import_begin(import, &kind, &feature->tally, feature->modality, feature->npy.rows);
    while (ok && feature->npy.next_row < feature->npy.rows && !import_interrupted()) {
        struct batch *batch = import_acquire(import, st);
        ok = batch != NULL && fill_batch(import, batch, st) && import_send(import, batch, st);
        ctl_progress_update(&import->progress, feature->npy.next_row, feature->tally.rows + feature->tally.bad);
    }
    return import_finish(import, ok, st);
}
