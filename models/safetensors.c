/* SPDX-License-Identifier: Apache-2.0 */
#include "models/safetensors.h"

#include "models/safetensors_dtype.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4

/* Brackets and commas a header may hold. A tensor of the highest rank takes 10 and a metadata string 1, so no honest header
 * comes near. Each of them costs a hundred bytes or so once parsed: this bounds the memory a hostile header can take. */
#define MARKS_MAX (16 * SAFETENSORS_TENSORS_MAX)

/* The two parts of a file. */
struct span {
    const char *header;
    size_t header_bytes;
    const unsigned char *data;
    size_t data_bytes;
};

#define bad(st, ...) status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_SAFETENSORS", __VA_ARGS__)

static bool no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "parse safetensors: out of memory");
}

static bool split(struct span *span, const void *bytes, size_t size_bytes, struct status *st)
{
    uint64_t header_bytes;
    if (size_bytes < sizeof header_bytes)
        return bad(st, "file of %zu bytes, shorter than the header's length", size_bytes);
    memcpy(&header_bytes, bytes, sizeof header_bytes);
    size_t rest_bytes = size_bytes - sizeof header_bytes;
    if (header_bytes > rest_bytes)
        return bad(st, "header of %llu bytes in a file of %zu", (unsigned long long)header_bytes, size_bytes);
    if (header_bytes > SAFETENSORS_HEADER_MAX)
        return bad(st, "header of %llu bytes, more than %u", (unsigned long long)header_bytes, SAFETENSORS_HEADER_MAX);
    span->header = (const char *)bytes + sizeof header_bytes;
    span->header_bytes = (size_t)header_bytes;
    span->data = (const unsigned char *)span->header + span->header_bytes;
    span->data_bytes = rest_bytes - span->header_bytes;
    if (span->header_bytes == 0 || span->header[0] != '{')
        return bad(st, "header does not begin with '{' at byte 8");
    return true;
}

/* Refuse nesting bombs and floods of tiny values before the JSON parser builds them. Strings are delimited as the parser does;
 * on text that is no JSON the two may differ, but then the parser has stopped before. */
static bool check_bounds(const struct span *span, struct status *st)
{
    int depth = 0;
    size_t marks = 0;
    bool in_string = false;
    for (size_t i = 0; i < span->header_bytes; i++) {
        char c = span->header[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (in_string)
            continue;
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (!in_string && (c == '{' || c == '[' || c == ','))
            marks++;
        if (depth > DEPTH_MAX)
            return bad(st, "header nested deeper than %d at byte %zu", DEPTH_MAX, i + 8);
        if (marks > MARKS_MAX)
            return bad(st, "header of more than %d values at byte %zu", MARKS_MAX, i + 8);
    }
    return true;
}

static json_t *load_header(const struct span *span, struct status *st)
{
    json_error_t error;
    json_t *header = json_loadb(span->header, span->header_bytes, JSON_REJECT_DUPLICATES, &error);
    if (header != NULL)
        return header;
    if (json_error_code(&error) == json_error_out_of_memory)
        no_memory(st);
    else
        bad(st, "header: %s at byte %lld", error.text, (long long)error.position + 8);
    return NULL;
}

static bool check_metadata(json_t *metadata, struct status *st)
{
    if (!json_is_object(metadata))
        return bad(st, "'" SAFETENSORS_METADATA_KEY "' is not an object");
    if (json_object_size(metadata) > SAFETENSORS_TENSORS_MAX)
        return bad(st, "more than %d metadata strings", SAFETENSORS_TENSORS_MAX);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return bad(st, "metadata '%s' is not a string", key);
    }
    return true;
}

/* A whole number from 0; fractions, signs and words fail. */
static bool read_natural(size_t *out, const json_t *value)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    return !__builtin_add_overflow(json_integer_value(value), 0, out);
}

static bool read_dtype(struct safetensors_tensor *tensor, const json_t *entry, struct status *st)
{
    const char *label = json_string_value(json_object_get(entry, "dtype"));
    if (label == NULL)
        return bad(st, "tensor '%s': no 'dtype'", tensor->name);
    if (!safetensors_dtype_of_label(&tensor->dtype, label))
        return bad(st, "tensor '%s': unknown dtype '%s'", tensor->name, label);
    return true;
}

static bool read_shape(struct safetensors_tensor *tensor, const json_t *entry, struct status *st)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return bad(st, "tensor '%s': no array 'shape'", tensor->name);
    if (json_array_size(shape) > SAFETENSORS_RANK_MAX)
        return bad(st, "tensor '%s': %zu dimensions, more than %d", tensor->name, json_array_size(shape),
                   SAFETENSORS_RANK_MAX);
    tensor->rank = (int)json_array_size(shape);
    for (int i = 0; i < tensor->rank; i++)
        if (!read_natural(&tensor->shape[i], json_array_get(shape, (size_t)i)))
            return bad(st, "tensor '%s': dimension %d is not a whole number from 0", tensor->name, i);
    if (!safetensors_measure(tensor))
        return bad(st, "tensor '%s': size of its shape overflows", tensor->name);
    return true;
}

static bool read_offsets(struct safetensors_tensor *tensor, const json_t *entry, const struct span *span,
                         struct status *st)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    size_t begin, end;
    if (json_array_size(offsets) != 2 || !read_natural(&begin, json_array_get(offsets, 0)) ||
        !read_natural(&end, json_array_get(offsets, 1)))
        return bad(st, "tensor '%s': 'data_offsets' is not a pair of whole numbers from 0", tensor->name);
    if (begin > end || end > span->data_bytes)
        return bad(st, "tensor '%s': offsets %zu to %zu in %zu bytes of data", tensor->name, begin, end,
                   span->data_bytes);
    if (end - begin != tensor->size_bytes)
        return bad(st, "tensor '%s': %zu bytes of data, its shape takes %zu", tensor->name, end - begin,
                   tensor->size_bytes);
    tensor->data = span->data + begin;
    return true;
}

static bool read_tensor(struct safetensors_tensor *tensor, const char *name, const json_t *entry,
                        const struct span *span, struct status *st)
{
    *tensor = (struct safetensors_tensor){.name = name};
    if (!json_is_object(entry))
        return bad(st, "tensor '%s' is not an object", name);
    if (!read_dtype(tensor, entry, st) || !read_shape(tensor, entry, st) || !read_offsets(tensor, entry, span, st))
        return false;
    if (json_object_size(entry) != 3)
        return bad(st, "tensor '%s': a member that is not dtype, shape or data_offsets", name);
    return true;
}

/* In the order of the data; among empty tensors at one place the name decides, so that the order is the file's alone. */
static int compare_places(const void *left, const void *right)
{
    const struct safetensors_tensor *a = left, *b = right;
    if (a->data != b->data)
        return a->data < b->data ? -1 : 1;
    if (a->size_bytes != b->size_bytes)
        return a->size_bytes < b->size_bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sort the tensors by place and check that they cover the data without gap or overlap. */
static bool check_layout(struct safetensors *file, const struct span *span, struct status *st)
{
    if (file->tensor_count > 0)
        qsort(file->tensors, file->tensor_count, sizeof file->tensors[0], compare_places);
    const unsigned char *at = span->data;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        if (tensor->data < at)
            return bad(st, "tensor '%s' overlaps the one before it", tensor->name);
        if (tensor->data > at)
            return bad(st, "hole of %td bytes before tensor '%s'", tensor->data - at, tensor->name);
        at += tensor->size_bytes;
    }
    size_t covered_bytes = (size_t)(at - span->data);
    if (covered_bytes != span->data_bytes)
        return bad(st, "%zu bytes after the last tensor", span->data_bytes - covered_bytes);
    return true;
}

static bool read_tensors(struct safetensors *file, const struct span *span, struct status *st)
{
    json_t *metadata = json_object_get(file->header, SAFETENSORS_METADATA_KEY);
    if (metadata != NULL && !check_metadata(metadata, st))
        return false;
    size_t count = json_object_size(file->header) - (metadata != NULL);
    if (count > SAFETENSORS_TENSORS_MAX)
        return bad(st, "%zu tensors, more than %d", count, SAFETENSORS_TENSORS_MAX);
    if (count > 0 && (file->tensors = calloc(count, sizeof file->tensors[0])) == NULL)
        return no_memory(st);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (entry == metadata)
            continue;
        if (!read_tensor(&file->tensors[file->tensor_count], name, entry, span, st))
            return false;
        file->tensor_count++;
    }
    return check_layout(file, span, st);
}

bool safetensors_parse(struct safetensors *file, const void *bytes, size_t size_bytes, struct status *st)
{
    struct span span = {0};
    *file = (struct safetensors){0};
    if (!split(&span, bytes, size_bytes, st) || !check_bounds(&span, st))
        return false;
    file->header = load_header(&span, st);
    if (file->header == NULL)
        return false;
    if (!read_tensors(file, &span, st)) {
        safetensors_close(file);
        return false;
    }
    return true;
}

void safetensors_close(struct safetensors *file)
{
    json_decref(file->header);
    free(file->tensors);
    *file = (struct safetensors){0};
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, SAFETENSORS_METADATA_KEY), key));
}

/* IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 bits of fraction. */
static float float_of_half(uint16_t half)
{
    int exponent = half >> 10 & 31;
    int fraction = half & 1023;
    float magnitude;
    if (exponent == 31)
        magnitude = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        magnitude = ldexpf((float)fraction, -24);
    else
        magnitude = ldexpf((float)(1024 + fraction), exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* Element `index` as f32; a f64 beyond its range becomes infinity. */
static float element_f32(const struct safetensors_tensor *tensor, size_t index)
{
    uint16_t half;
    float single;
    double wide;
    switch (tensor->dtype) {
    case SAFETENSORS_F16:
        memcpy(&half, tensor->data + index * sizeof half, sizeof half);
        return float_of_half(half);
    case SAFETENSORS_F64:
        memcpy(&wide, tensor->data + index * sizeof wide, sizeof wide);
        return (float)wide;
    default:
        memcpy(&single, tensor->data + index * sizeof single, sizeof single);
        return single;
    }
}

static bool check_shape(const struct safetensors_tensor *tensor, int rank, const size_t *shape, struct status *st)
{
    if (tensor->rank != rank)
        return bad(st, "tensor '%s': %d dimensions, wanted %d", tensor->name, tensor->rank, rank);
    for (int i = 0; i < rank; i++)
        if (tensor->shape[i] != shape[i])
            return bad(st, "tensor '%s': dimension %d is %zu, wanted %zu", tensor->name, i, tensor->shape[i], shape[i]);
    return true;
}

bool safetensors_read_f32(const struct safetensors *file, const char *name, float *out, int rank, const size_t *shape,
                          struct status *st)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    if (tensor == NULL)
        return bad(st, "no tensor '%s'", name);
    if (tensor->dtype != SAFETENSORS_F32 && tensor->dtype != SAFETENSORS_F16 && tensor->dtype != SAFETENSORS_F64)
        return bad(st, "tensor '%s': dtype %s is not floating", name, safetensors_dtype_label(tensor->dtype));
    if (!check_shape(tensor, rank, shape, st))
        return false;
    for (size_t i = 0; i < tensor->count; i++) {
        out[i] = element_f32(tensor, i);
        if (!isfinite(out[i]))
            return bad(st, "tensor '%s': element %zu is not a finite f32", name, i);
    }
    return true;
}
