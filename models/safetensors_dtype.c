/* SPDX-License-Identifier: Apache-2.0 */
#include "models/safetensors_dtype.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Files are little-endian and elements are copied as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors are read and written on little-endian machines");

static const struct {
    const char *label;
    size_t size_bytes;
} dtypes[] = {
    [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F16] = {"F16", 2}, [SAFETENSORS_F64] = {"F64", 8},
    [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4}, [SAFETENSORS_U8] = {"U8", 1},
};

#define DTYPE_COUNT (sizeof dtypes / sizeof dtypes[0])

const char *safetensors_dtype_label(enum safetensors_dtype dtype)
{
    assert((size_t)dtype < DTYPE_COUNT);
    return dtypes[dtype].label;
}

size_t safetensors_dtype_bytes(enum safetensors_dtype dtype)
{
    assert((size_t)dtype < DTYPE_COUNT);
    return dtypes[dtype].size_bytes;
}

bool safetensors_dtype_of_label(enum safetensors_dtype *dtype, const char *label)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(label, dtypes[i].label) == 0) {
            *dtype = (enum safetensors_dtype)i;
            return true;
        }
    }
    return false;
}

bool safetensors_measure(struct safetensors_tensor *tensor)
{
    size_t count = 1, size_bytes;
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] > INT64_MAX || __builtin_mul_overflow(count, tensor->shape[i], &count))
            return false;
    if (__builtin_mul_overflow(count, safetensors_dtype_bytes(tensor->dtype), &size_bytes))
        return false;
    tensor->count = count;
    tensor->size_bytes = size_bytes;
    return true;
}
