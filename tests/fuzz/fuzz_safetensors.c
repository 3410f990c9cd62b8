/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a safetensors file. What is accepted must be readable to its last byte, and writing it must give a file that reads
 * back the same and writes again as the same bytes. */
#include "models/safetensors.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void touch(const struct safetensors *file)
{
    volatile unsigned sum = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        for (size_t at = 0; at < tensor->size_bytes; at++)
            sum = sum + tensor->data[at];
        require(safetensors_find(file, tensor->name) == tensor, "a tensor is found by its name");
        if (tensor->dtype == SAFETENSORS_I64 || tensor->dtype == SAFETENSORS_I32 || tensor->dtype == SAFETENSORS_U8)
            continue;
        float *values = malloc(tensor->count * sizeof values[0] + 1);
        require(values != NULL, "memory");
        struct status st = STATUS_INIT;
        if (safetensors_read_f32(file, tensor->name, values, tensor->rank, tensor->shape, &st))
            for (size_t at = 0; at < tensor->count; at++)
                require(values[at] - values[at] == 0, "what was read is finite");
        free(values);
    }
}

static unsigned char *write_again(const struct safetensors *file, size_t *size_bytes)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        require(safetensors_add(&writer, t->name, t->dtype, t->rank, t->shape, t->data, &st), st.message);
    }
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(file->header, "__metadata__"), key, value)
    {
        require(safetensors_add_metadata(&writer, key, safetensors_metadata(file, key), &st), st.message);
    }
    unsigned char *bytes = safetensors_write(&writer, size_bytes, &st);
    require(bytes != NULL, st.message);
    safetensors_writer_close(&writer);
    return bytes;
}

static void compare(const struct safetensors *a, const struct safetensors *b)
{
    require(a->tensor_count == b->tensor_count, "as many tensors");
    for (size_t i = 0; i < a->tensor_count; i++) {
        const struct safetensors_tensor *left = &a->tensors[i], *right = safetensors_find(b, left->name);
        require(right != NULL && left->dtype == right->dtype && left->rank == right->rank, "the same tensors");
        require(memcmp(left->shape, right->shape, sizeof left->shape) == 0, "the same shapes");
        require(left->size_bytes == right->size_bytes && memcmp(left->data, right->data, left->size_bytes) == 0,
                "the same data");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct safetensors first, second;
    struct status st = STATUS_INIT;
    if (!safetensors_parse(&first, data, size_bytes, &st)) {
        require(first.header == NULL && first.tensors == NULL && first.tensor_count == 0, "all-zero after a failure");
        require(st.code != STATUS_OK && st.message[0] != '\0', "a failure is explained");
        return 0;
    }
    touch(&first);
    size_t second_bytes, third_bytes;
    unsigned char *written = write_again(&first, &second_bytes);
    require(safetensors_parse(&second, written, second_bytes, &st), st.message);
    compare(&first, &second);
    unsigned char *rewritten = write_again(&second, &third_bytes);
    require(second_bytes == third_bytes && memcmp(written, rewritten, second_bytes) == 0, "the same bytes");
    safetensors_close(&second);
    safetensors_close(&first);
    free(written);
    free(rewritten);
    return 0;
}
