/* SPDX-License-Identifier: Apache-2.0
 *
 *   "\x93NUMPY"  major  minor  header size (2 bytes in version 1, then 4)  header  rows × columns numbers
 *
 * The header is a Python dict in text: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and white space. */
#include "daemon/npy.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC           "\x93NUMPY"
#define MAGIC_BYTES     6
#define HEADER_MAX      65536u /* bytes; three keys need about a hundred */
#define BUFFER_BYTES    16384u /* numbers are converted in pieces of this size */
#define QUOTE_BYTES_MAX 40     /* of the file's own text in a message */

static const size_t type_bytes[] = {[NPY_F16] = 2, [NPY_F32] = 4, [NPY_F64] = 8};

/* What the file was found to hold; `at` walks over the header's text. */
struct header {
    const char *start, *at, *end;
    struct status *st;
    bool has_type, has_order, has_shape;
    enum npy_type type;
    size_t rows, columns;
};

/* ---- the header's text ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_space(struct header *header)
{
    while (header->at < header->end && is_space(*header->at))
        header->at++;
}

static bool refuse(const struct header *header, const char *expected)
{
    size_t left = (size_t)(header->end - header->at);
    const char *found = left > 0 ? header->at : "the end";
    int shown = left > 0 ? (int)(left < 12 ? left : 12) : 7;
    return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                       "expected %s at byte %td of the header, found %.*s", expected, header->at - header->start, shown,
                       found);
}

/* Whether `symbol` comes next; if so, it is passed. */
static bool accept(struct header *header, char symbol)
{
    skip_space(header);
    if (header->at == header->end || *header->at != symbol)
        return false;
    header->at++;
    return true;
}

static bool accept_word(struct header *header, const char *word)
{
    size_t length = strlen(word);
    skip_space(header);
    if ((size_t)(header->end - header->at) < length || memcmp(header->at, word, length) != 0)
        return false;
    header->at += length;
    return true;
}

struct text {
    const char *bytes; /* points into the header */
    size_t size_bytes;
};

static bool equals(struct text text, const char *other)
{
    return text.size_bytes == strlen(other) && memcmp(text.bytes, other, text.size_bytes) == 0;
}

/* How much of it goes into a message. */
static int shown(struct text text)
{
    return text.size_bytes < QUOTE_BYTES_MAX ? (int)text.size_bytes : QUOTE_BYTES_MAX;
}

/* A quoted string. Escapes are not undone: nothing that is accepted has any. */
static bool read_text(struct header *header, const char *expected, struct text *out)
{
    skip_space(header);
    if (header->at == header->end || (*header->at != '\'' && *header->at != '"'))
        return refuse(header, expected);
    const char *bytes = header->at + 1;
    const char *close = memchr(bytes, *header->at, (size_t)(header->end - bytes));
    if (close == NULL)
        return refuse(header, "a string that ends");
    *out = (struct text){bytes, (size_t)(close - bytes)};
    header->at = close + 1;
    return true;
}

static bool read_type(struct header *header)
{
    struct text text = {0};
    skip_space(header);
    if (header->at < header->end && *header->at == '[')
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "a structured type, expected '<f2', '<f4' or '<f8'");
    if (!read_text(header, "a type", &text))
        return false;
    if (equals(text, "<f2"))
        header->type = NPY_F16;
    else if (equals(text, "<f4"))
        header->type = NPY_F32;
    else if (equals(text, "<f8"))
        header->type = NPY_F64;
    else
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "type '%.*s', expected '<f2', '<f4' or '<f8'", shown(text), text.bytes);
    header->has_type = true;
    return true;
}

static bool read_order(struct header *header)
{
    if (accept_word(header, "True"))
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "Fortran order, expected C order: save numpy.ascontiguousarray(array)");
    if (!accept_word(header, "False"))
        return refuse(header, "True or False");
    header->has_order = true;
    return true;
}

static bool read_size(struct header *header, size_t *out)
{
    size_t size = 0;
    skip_space(header);
    if (header->at == header->end || *header->at < '0' || *header->at > '9')
        return refuse(header, "a number");
    while (header->at < header->end && *header->at >= '0' && *header->at <= '9')
        if (__builtin_mul_overflow(size, 10u, &size) ||
            __builtin_add_overflow(size, (size_t)(*header->at++ - '0'), &size))
            return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "a shape beyond 64 bits");
    *out = size;
    return true;
}

static bool read_shape(struct header *header)
{
    size_t sizes[2] = {0, 0};
    size_t dimensions = 0;
    if (!accept(header, '('))
        return refuse(header, "(");
    while (!accept(header, ')')) {
        size_t size = 0;
        if (!read_size(header, &size))
            return false;
        if (dimensions < 2)
            sizes[dimensions] = size;
        dimensions++;
        if (!accept(header, ',')) {
            if (!accept(header, ')'))
                return refuse(header, ", or )");
            break;
        }
    }
    if (dimensions != 2)
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "%zu dimension%s, expected 2: rows and columns", dimensions, dimensions == 1 ? "" : "s");
    if (sizes[1] == 0)
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "shape (%zu, 0) has no columns", sizes[0]);
    header->rows = sizes[0];
    header->columns = sizes[1];
    header->has_shape = true;
    return true;
}

static bool read_entry(struct header *header)
{
    struct text key = {0};
    if (!read_text(header, "a key", &key))
        return false;
    if (!accept(header, ':'))
        return refuse(header, ":");
    if (equals(key, "descr") && !header->has_type)
        return read_type(header);
    if (equals(key, "fortran_order") && !header->has_order)
        return read_order(header);
    if (equals(key, "shape") && !header->has_shape)
        return read_shape(header);
    return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "header has an unknown or second '%.*s'",
                       shown(key), key.bytes);
}

static bool read_header(struct header *header)
{
    if (!accept(header, '{'))
        return refuse(header, "{");
    while (!accept(header, '}')) {
        if (!read_entry(header))
            return false;
        if (!accept(header, ',')) {
            if (!accept(header, '}'))
                return refuse(header, ", or }");
            break;
        }
    }
    skip_space(header);
    if (header->at != header->end)
        return refuse(header, "nothing more");
    if (!header->has_type || !header->has_order || !header->has_shape)
        return status_fail(header->st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "header lacks '%s'",
                           !header->has_type    ? "descr"
                           : !header->has_order ? "fortran_order"
                                                : "shape");
    return true;
}

/* ---- the file around it ---- */

static bool short_file(uint64_t file_bytes, struct status *st)
{
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "the file ends inside its header, after %ju bytes",
                       (uintmax_t)file_bytes);
}

/* Magic, version and size of the header, which is left to be read next. */
static bool read_prefix(FILE *file, uint64_t file_bytes, size_t *header_bytes, size_t *prefix_bytes, struct status *st)
{
    unsigned char prefix[12] = {0};
    size_t got = fread(prefix, 1, 8, file);
    if (got >= 4 && memcmp(prefix, "PK\3\4", 4) == 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "a zip archive (.npz?), expected one .npy array: save with numpy.save");
    if (got < MAGIC_BYTES || memcmp(prefix, MAGIC, MAGIC_BYTES) != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "no .npy file: it does not start with \\x93NUMPY");
    if (got < 8)
        return short_file(file_bytes, st);
    unsigned major = prefix[6], minor = prefix[7];
    if (major < 1 || major > 3 || minor != 0)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "format version %u.%u, expected 1.0, 2.0 or 3.0",
                           major, minor);
    size_t size_bytes = major == 1 ? 2 : 4;
    if (fread(prefix + 8, 1, size_bytes, file) != size_bytes)
        return short_file(file_bytes, st);
    uint32_t little;
    memcpy(&little, prefix + 8, sizeof little); /* version 1: the upper half is still zero */
    *header_bytes = le32toh(little);
    *prefix_bytes = 8 + size_bytes;
    if (*header_bytes > HEADER_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "header of %zu bytes, at most %u are read",
                           *header_bytes, HEADER_MAX);
    return true;
}

static bool check_size(const struct header *header, size_t data_at, uint64_t file_bytes, struct status *st)
{
    uint64_t expected;
    if (__builtin_mul_overflow(header->rows, header->columns, &expected) ||
        __builtin_mul_overflow(expected, type_bytes[header->type], &expected) ||
        __builtin_add_overflow(expected, data_at, &expected))
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "shape (%zu, %zu) is more than 64 bits can count",
                           header->rows, header->columns);
    if (expected != file_bytes)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY",
                           "shape (%zu, %zu) makes a file of %ju bytes, found %ju: %s", header->rows, header->columns,
                           (uintmax_t)expected, (uintmax_t)file_bytes,
                           expected > file_bytes ? "cut short?" : "too long");
    return true;
}

/* Everything before the first row. */
static bool inspect(struct npy *npy, uint64_t file_bytes, struct status *st)
{
    size_t header_bytes = 0, prefix_bytes = 0;
    bool ok = false;
    if (!read_prefix(npy->file, file_bytes, &header_bytes, &prefix_bytes, st))
        return false;
    char *text = malloc(header_bytes + 1);
    if (text == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for %zu bytes", header_bytes);
    if (fread(text, 1, header_bytes, npy->file) != header_bytes) {
        short_file(file_bytes, st);
        goto out;
    }
    struct header header = {.start = text, .at = text, .end = text + header_bytes, .st = st};
    if (!read_header(&header) || !check_size(&header, prefix_bytes + header_bytes, file_bytes, st))
        goto out;
    npy->type = header.type;
    npy->rows = header.rows;
    npy->columns = header.columns;
    ok = true;
out:
    free(text);
    return ok;
}

bool npy_open(struct npy *npy, const char *path, struct status *st)
{
    bool ok = false;
    struct stat facts;
    memset(npy, 0, sizeof *npy);
    npy->file = fopen(path, "rbe");
    if (npy->file == NULL || fstat(fileno(npy->file), &facts) != 0) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", path, strerror(errno));
        goto out;
    }
    if (S_ISDIR(facts.st_mode)) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", path, strerror(EISDIR));
        goto out;
    }
    if (!S_ISREG(facts.st_mode)) {
        status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NPY", "'%s': a pipe or device, whose size cannot be checked",
                    path);
        goto out;
    }
    snprintf(npy->path, sizeof npy->path, "%s", path);
    if (!inspect(npy, (uint64_t)facts.st_size, st)) {
        status_wrap(st, "'%s'", path);
        goto out;
    }
    ok = true;
out:
    if (!ok)
        npy_close(npy);
    return ok;
}

/* ---- numbers ---- */

float npy_half_to_float(unsigned short half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    uint32_t bits;
    float value;
    if (exponent == 0) { /* zero and subnormals: the smallest is 2^-24, a normal number as f32 */
        value = ldexpf((float)fraction, -24);
        return sign != 0 ? -value : value;
    }
    if (exponent == 31) /* infinity, or NaN with its payload */
        bits = sign | 0x7f800000u | fraction << 13;
    else
        bits = sign | (exponent + (127 - 15)) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float decode(enum npy_type type, const unsigned char *bytes)
{
    uint16_t half;
    uint32_t single_bits;
    uint64_t double_bits;
    float single_value;
    double double_value;
    switch (type) {
    case NPY_F16:
        memcpy(&half, bytes, sizeof half);
        return npy_half_to_float(le16toh(half));
    case NPY_F32:
        memcpy(&single_bits, bytes, sizeof single_bits);
        single_bits = le32toh(single_bits);
        memcpy(&single_value, &single_bits, sizeof single_value);
        return single_value;
    case NPY_F64:
        break;
    }
    memcpy(&double_bits, bytes, sizeof double_bits);
    double_bits = le64toh(double_bits);
    memcpy(&double_value, &double_bits, sizeof double_value);
    return (float)double_value;
}

bool npy_read_rows(struct npy *npy, float *out, size_t count, struct status *st)
{
    unsigned char buffer[BUFFER_BYTES];
    assert(npy->file != NULL && count <= npy->rows - npy->next_row);
    size_t number_bytes = type_bytes[npy->type];
    size_t left = count * npy->columns; /* cannot overflow: npy_open counted the whole file */
    while (left > 0) {
        size_t piece = left < sizeof buffer / number_bytes ? left : sizeof buffer / number_bytes;
        if (fread(buffer, number_bytes, piece, npy->file) != piece)
            return status_fail(st, STATUS_DATA_LOSS, "READ_FAILED", "read '%s' after row %zu: %s", npy->path,
                               npy->next_row, ferror(npy->file) ? strerror(errno) : "the file has become shorter");
        for (size_t i = 0; i < piece; i++)
            *out++ = decode(npy->type, buffer + i * number_bytes);
        left -= piece;
    }
    npy->next_row += count;
    return true;
}

void npy_close(struct npy *npy)
{
    if (npy->file != NULL)
        fclose(npy->file);
    memset(npy, 0, sizeof *npy);
}
