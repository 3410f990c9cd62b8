/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader and the writer of safetensors agree on: element types and sizes. Not for other modules. */
#ifndef RECSYS_MODELS_SAFETENSORS_DTYPE_H
#define RECSYS_MODELS_SAFETENSORS_DTYPE_H

#include "models/safetensors.h"

/* The key of the header that is no tensor. */
#define SAFETENSORS_METADATA_KEY "__metadata__"

/* The file's word for the type ("F32"). */
const char *safetensors_dtype_label(enum safetensors_dtype dtype);

/* Bytes of one element. */
size_t safetensors_dtype_bytes(enum safetensors_dtype dtype);

/* The type of that word. False when there is none. */
bool safetensors_dtype_of_label(enum safetensors_dtype *dtype, const char *label);

/* Set count and size_bytes from dtype, rank and shape. False when either passes SIZE_MAX, or a dimension the integers of
 * JSON. */
bool safetensors_measure(struct safetensors_tensor *tensor);

#endif
