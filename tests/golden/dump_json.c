/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/golden/dump_json.h"

#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *subject)
{
    fprintf(stderr, "dump: %s '%s'\n", what, subject);
    exit(1);
}

json_t *dump_row(const float *values, size_t count)
{
    json_t *row = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(row, json_real((double)values[i])) != 0)
            fail("no number of JSON, or no memory", "row");
    return row;
}

json_t *dump_matrix(const float *values, size_t rows, size_t columns)
{
    json_t *matrix = json_array();
    for (size_t i = 0; i < rows; i++)
        json_array_append_new(matrix, dump_row(values + i * columns, columns));
    return matrix;
}

static bool is_zero(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] != 0)
            return false;
    return true;
}

json_t *dump_block(const struct model *model, const float *block)
{
    json_t *json = json_object();
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *p = &model->params.list[i];
        if (!is_zero(block + p->offset, p->count))
            json_object_set_new(json, p->name, dump_row(block + p->offset, p->count));
    }
    return json;
}

static FILE *open_file(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *out = fopen(path, "wb");
    if (out == NULL)
        fail("cannot write", path);
    return out;
}

FILE *dump_open(const char *directory, const char *name)
{
    return open_file(directory, name);
}

void dump_line(FILE *out, json_t *json)
{
    if (json == NULL || json_dumpf(json, out, JSON_COMPACT) != 0 || fputc('\n', out) == EOF)
        fail("cannot write", "a line");
    json_decref(json);
}

void dump_close(FILE *out)
{
    if (fclose(out) != 0)
        fail("cannot write", "the end");
}

void dump_model_file(const char *directory, const char *name, struct model *model)
{
    struct status st = STATUS_INIT;
    size_t size;
    unsigned char *bytes = model_write(model, &size, &st);
    if (bytes == NULL)
        fail(st.message, name);
    FILE *out = open_file(directory, name);
    if (fwrite(bytes, 1, size, out) != size)
        fail("cannot write", name);
    dump_close(out);
    free(bytes);
}

struct model *dump_read_model(const char *path)
{
    struct status st = STATUS_INIT;
    size_t size = 0, capacity = (size_t)1 << 30;
    FILE *in = fopen(path, "rb");
    unsigned char *bytes = in == NULL ? NULL : malloc(capacity);
    if (bytes == NULL)
        fail("cannot read", path);
    size = fread(bytes, 1, capacity, in);
    fclose(in);
    struct model *model = model_read(bytes, size, &st);
    if (model == NULL)
        fail(st.message, path);
    free(bytes);
    return model;
}
