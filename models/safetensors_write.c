/* SPDX-License-Identifier: Apache-2.0 */
#include "models/safetensors.h"

#include "models/safetensors_dtype.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#define bad(st, ...) status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SAFETENSORS", __VA_ARGS__)

static bool no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "write safetensors: out of memory");
}

static bool check_text(const char *what, const char *text, struct status *st)
{
    if (u8_check((const uint8_t *)text, strlen(text)) != NULL)
        return bad(st, "%s '%s' is not UTF-8", what, text);
    return true;
}

static bool check_name(const struct safetensors_writer *writer, const char *name, struct status *st)
{
    if (!check_text("tensor", name, st))
        return false;
    if (strcmp(name, SAFETENSORS_METADATA_KEY) == 0)
        return bad(st, "no tensor can be named '%s'", name);
    for (size_t i = 0; i < writer->tensor_count; i++)
        if (strcmp(writer->tensors[i].name, name) == 0)
            return bad(st, "tensor '%s' added twice", name);
    return true;
}

static bool reserve_tensor(struct safetensors_writer *writer, struct status *st)
{
    if (writer->tensor_count == SAFETENSORS_TENSORS_MAX)
        return bad(st, "more than %d tensors", SAFETENSORS_TENSORS_MAX);
    if (writer->tensor_count < writer->tensor_capacity)
        return true;
    size_t capacity = writer->tensor_capacity == 0 ? 32 : 2 * writer->tensor_capacity;
    struct safetensors_tensor *tensors = reallocarray(writer->tensors, capacity, sizeof tensors[0]);
    if (tensors == NULL)
        return no_memory(st);
    writer->tensors = tensors;
    writer->tensor_capacity = capacity;
    return true;
}

bool safetensors_add(struct safetensors_writer *writer, const char *name, enum safetensors_dtype dtype, int rank,
                     const size_t *shape, const void *data, struct status *st)
{
    if (!check_name(writer, name, st))
        return false;
    if (rank < 0 || rank > SAFETENSORS_RANK_MAX)
        return bad(st, "tensor '%s': %d dimensions, more than %d", name, rank, SAFETENSORS_RANK_MAX);
    struct safetensors_tensor tensor = {.name = name, .dtype = dtype, .rank = rank, .data = data};
    for (int i = 0; i < rank; i++)
        tensor.shape[i] = shape[i];
    if (!safetensors_measure(&tensor))
        return bad(st, "tensor '%s': size of its shape overflows", name);
    if (!reserve_tensor(writer, st))
        return false;
    writer->tensors[writer->tensor_count++] = tensor;
    return true;
}

bool safetensors_add_metadata(struct safetensors_writer *writer, const char *key, const char *value, struct status *st)
{
    if (!check_text("metadata key", key, st) || !check_text("metadata", value, st))
        return false;
    if (writer->metadata == NULL && (writer->metadata = json_object()) == NULL)
        return no_memory(st);
    /* the reader's limit */
    if (json_object_size(writer->metadata) == SAFETENSORS_TENSORS_MAX && json_object_get(writer->metadata, key) == NULL)
        return bad(st, "more than %d metadata strings", SAFETENSORS_TENSORS_MAX);
    if (json_object_set_new(writer->metadata, key, json_string(value)) != 0)
        return no_memory(st);
    return true;
}

/* Large elements first, so that every tensor is aligned for its type behind the padded header; then by name, so that the bytes do
 * not depend on the order of adding. */
static int compare_tensors(const void *left, const void *right)
{
    const struct safetensors_tensor *a = *(const struct safetensors_tensor *const *)left;
    const struct safetensors_tensor *b = *(const struct safetensors_tensor *const *)right;
    size_t a_bytes = safetensors_dtype_bytes(a->dtype), b_bytes = safetensors_dtype_bytes(b->dtype);
    if (a_bytes != b_bytes)
        return a_bytes > b_bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Pointers to the tensors in the order of the file; one is allocated even for none. */
static const struct safetensors_tensor **sort_tensors(const struct safetensors_writer *writer)
{
    const struct safetensors_tensor **sorted =
        calloc(writer->tensor_count + 1, sizeof(const struct safetensors_tensor *));
    if (sorted == NULL)
        return NULL;
    for (size_t i = 0; i < writer->tensor_count; i++)
        sorted[i] = &writer->tensors[i];
    qsort(sorted, writer->tensor_count, sizeof sorted[0], compare_tensors);
    return sorted;
}

/* False out of memory; a sum of sizes beyond JSON's integers could not be allocated either. */
static bool append_number(json_t *array, size_t number)
{
    return number <= INT64_MAX && json_array_append_new(array, json_integer((json_int_t)number)) == 0;
}

static json_t *describe_tensor(const struct safetensors_tensor *tensor, size_t begin)
{
    json_t *entry = NULL;
    json_t *shape = json_array();
    json_t *offsets = json_array();
    bool ok = shape != NULL && offsets != NULL;
    for (int i = 0; ok && i < tensor->rank; i++)
        ok = append_number(shape, tensor->shape[i]);
    ok = ok && append_number(offsets, begin) && append_number(offsets, begin + tensor->size_bytes);
    if (ok)
        entry = json_pack("{s:s, s:O, s:O}", "dtype", safetensors_dtype_label(tensor->dtype), "shape", shape,
                          "data_offsets", offsets);
    json_decref(shape);
    json_decref(offsets);
    return entry;
}

/* The header's text, malloc'ed, and the size of the data behind it. NULL out of memory. */
static char *describe_file(const struct safetensors_writer *writer, const struct safetensors_tensor **sorted,
                           size_t *data_bytes)
{
    char *text = NULL;
    size_t at = 0;
    json_t *header = json_object();
    if (header == NULL)
        goto out;
    if (writer->metadata != NULL && json_object_set(header, SAFETENSORS_METADATA_KEY, writer->metadata) != 0)
        goto out;
    for (size_t i = 0; i < writer->tensor_count; i++) {
        size_t begin = at;
        if (__builtin_add_overflow(at, sorted[i]->size_bytes, &at) ||
            json_object_set_new(header, sorted[i]->name, describe_tensor(sorted[i], begin)) != 0)
            goto out;
    }
    text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    *data_bytes = at;
out:
    json_decref(header);
    return text;
}

/* Header length, header, blanks, data. */
static unsigned char *assemble(size_t *size_bytes, const char *text, const struct safetensors_tensor **sorted,
                               size_t tensor_count, size_t data_bytes, struct status *st)
{
    size_t text_bytes = strlen(text);
    uint64_t header_bytes = (text_bytes + 7) / 8 * 8;
    size_t total_bytes;
    if (header_bytes > SAFETENSORS_HEADER_MAX) {
        bad(st, "header of %llu bytes, more than %u", (unsigned long long)header_bytes, SAFETENSORS_HEADER_MAX);
        return NULL;
    }
    unsigned char *bytes = NULL;
    if (__builtin_add_overflow(sizeof header_bytes + (size_t)header_bytes, data_bytes, &total_bytes) ||
        (bytes = malloc(total_bytes)) == NULL) {
        no_memory(st);
        return NULL;
    }
    unsigned char *at = bytes;
    memcpy(at, &header_bytes, sizeof header_bytes);
    at += sizeof header_bytes;
    memcpy(at, text, text_bytes);
    memset(at + text_bytes, ' ', (size_t)header_bytes - text_bytes);
    at += header_bytes;
    for (size_t i = 0; i < tensor_count; i++) {
        if (sorted[i]->size_bytes > 0) /* an empty tensor's data may be NULL */
            memcpy(at, sorted[i]->data, sorted[i]->size_bytes);
        at += sorted[i]->size_bytes;
    }
    *size_bytes = total_bytes;
    return bytes;
}

unsigned char *safetensors_write(const struct safetensors_writer *writer, size_t *size_bytes, struct status *st)
{
    unsigned char *bytes = NULL;
    char *text = NULL;
    size_t data_bytes = 0;
    const struct safetensors_tensor **sorted = sort_tensors(writer);
    if (sorted != NULL)
        text = describe_file(writer, sorted, &data_bytes);
    if (text == NULL)
        no_memory(st);
    else
        bytes = assemble(size_bytes, text, sorted, writer->tensor_count, data_bytes, st);
    free(text);
    free(sorted);
    return bytes;
}

void safetensors_writer_close(struct safetensors_writer *writer)
{
    json_decref(writer->metadata);
    free(writer->tensors);
    *writer = (struct safetensors_writer){0};
}
