/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors, the file format of weights that PyTorch and everything around it reads and writes: an 8-byte little-endian header
 * length, a JSON header (name -> dtype, shape, data_offsets; "__metadata__" -> strings), then the tensors' bytes.
 *
 * Files come from strangers. Nothing of the data is used before the whole header is checked: header length within the file and at
 * most SAFETENSORS_HEADER_MAX, JSON object without duplicate keys, depth at most 4, known dtypes, shape products without overflow,
 * offsets in range, without overlap and without holes, covering the buffer to its last byte, at most SAFETENSORS_TENSORS_MAX
 * tensors, metadata values strings. Format: github.com/huggingface/safetensors, "Format". */
#ifndef RECSYS_MODELS_SAFETENSORS_H
#define RECSYS_MODELS_SAFETENSORS_H

#include "proto/status.h"

#include <jansson.h>
#include <stddef.h>

#define SAFETENSORS_HEADER_MAX  (16u << 20) /* bytes; ids of a million items are a tensor, not header */
#define SAFETENSORS_TENSORS_MAX 4096
#define SAFETENSORS_RANK_MAX    4

enum safetensors_dtype {
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_I32,
    SAFETENSORS_U8,
};

/* One tensor. `data` points into the bytes that were parsed; it may be unaligned for its type. */
struct safetensors_tensor {
    const char *name;
    enum safetensors_dtype dtype;
    int rank;
    size_t shape[SAFETENSORS_RANK_MAX];
    size_t count; /* elements */
    const unsigned char *data;
    size_t size_bytes;
};

/* A parsed file. The caller keeps the bytes alive and unchanged as long as this is open. */
struct safetensors {
    json_t *header; /* owned; names point into it */
    struct safetensors_tensor *tensors;
    size_t tensor_count;
};

/* Check and index `bytes`. False with INVALID_ARGUMENT / BAD_SAFETENSORS and a sentence that names the tensor or the byte; `file` is
 * then all-zero. */
bool safetensors_parse(struct safetensors *file, const void *bytes, size_t size_bytes, struct status *st);

/* Free the index (not the bytes). Accepts an all-zero struct and leaves it all-zero. */
void safetensors_close(struct safetensors *file);

/* The tensor of that name, or NULL. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* The metadata string of that key, or NULL. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Copy a floating tensor (f32, f16 or f64) into f32 `out`, whose shape must be `rank` dimensions `shape` exactly. False, naming the
 * tensor, with INVALID_ARGUMENT / BAD_SAFETENSORS when it is missing, of another shape or type, or holds NaN or infinity. `out` may be
 * written in part on failure. */
bool safetensors_read_f32(const struct safetensors *file, const char *name, float *out, int rank, const size_t *shape,
                          struct status *st);

/* What a writer is given: the same fields; `data` is borrowed until written. */
struct safetensors_writer {
    json_t *metadata; /* object of strings, owned; may be NULL */
    struct safetensors_tensor *tensors;
    size_t tensor_count, tensor_capacity;
};

/* Add a tensor; `name` and `data` stay the caller's and must outlive the writer. False only out of memory or past the limits. */
bool safetensors_add(struct safetensors_writer *writer, const char *name, enum safetensors_dtype dtype, int rank,
                     const size_t *shape, const void *data, struct status *st);

/* Set a metadata string. */
bool safetensors_add_metadata(struct safetensors_writer *writer, const char *key, const char *value, struct status *st);

/* The whole file as malloc'ed bytes, which the caller frees. The same tensors give the same bytes: keys sorted, the header padded with
 * blanks to a multiple of 8. NULL with `st` out of memory. */
unsigned char *safetensors_write(const struct safetensors_writer *writer, size_t *size_bytes, struct status *st);

/* Free what the writer owns; accepts all-zero, leaves all-zero. */
void safetensors_writer_close(struct safetensors_writer *writer);

#endif
