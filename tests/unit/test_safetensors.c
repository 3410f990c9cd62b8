/* SPDX-License-Identifier: Apache-2.0 */
#include "models/safetensors.h"

#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* A file of exactly its size, so that AddressSanitizer sees a read past its end. */
struct blob {
    unsigned char *bytes;
    size_t size_bytes;
};

static struct blob blob_of_parts(uint64_t header_bytes, const char *header, size_t text_bytes, const void *data,
                                 size_t data_bytes)
{
    struct blob blob = {.size_bytes = sizeof header_bytes + text_bytes + data_bytes};
    blob.bytes = malloc(blob.size_bytes);
    cr_assert_not_null(blob.bytes);
    memcpy(blob.bytes, &header_bytes, sizeof header_bytes);
    memcpy(blob.bytes + sizeof header_bytes, header, text_bytes);
    memset(blob.bytes + sizeof header_bytes + text_bytes, 0, data_bytes);
    if (data != NULL)
        memcpy(blob.bytes + sizeof header_bytes + text_bytes, data, data_bytes);
    return blob;
}

static struct blob blob_of(const char *header, const void *data, size_t data_bytes)
{
    return blob_of_parts(strlen(header), header, strlen(header), data, data_bytes);
}

static void assert_empty(const struct safetensors *file, const char *what)
{
    cr_assert(file->header == NULL && file->tensors == NULL && file->tensor_count == 0, "%s: not all-zero", what);
}

static void assert_refused(struct blob blob, const char *what, const char *message)
{
    struct status st = STATUS_INIT;
    struct safetensors file;
    memset(&file, 0xa5, sizeof file);
    cr_assert_not(safetensors_parse(&file, blob.bytes, blob.size_bytes, &st), "%s: accepted", what);
    assert_empty(&file, what);
    cr_assert_eq(st.code, STATUS_INVALID_ARGUMENT, "%s: code %d", what, st.code);
    cr_assert_str_eq(st.reason, "BAD_SAFETENSORS");
    cr_assert(strstr(st.message, message) != NULL, "%s: '%s' says nothing of '%s'", what, st.message, message);
    free(blob.bytes);
}

static void parse(struct safetensors *file, struct blob blob)
{
    struct status st = STATUS_INIT;
    cr_assert(safetensors_parse(file, blob.bytes, blob.size_bytes, &st), "%s", st.message);
}

#define ENTRY(dtype, shape, offsets) "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets)   "{\"a\":" ENTRY(dtype, shape, offsets) "}"
#define F32                          "\"F32\""
#define U8                           "\"U8\""

Test(safetensors, hostile_headers)
{
    static const struct {
        const char *what, *header;
        size_t data_bytes;
        const char *message;
    } cases[] = {
        {"no header", "", 0, "'{'"},
        {"not an object", "[1,2]", 0, "'{'"},
        {"blank first", " {}", 0, "'{'"},
        {"not JSON", "{\"a\"", 0, "header: "},
        {"two values", "{}{}", 0, "header: "},
        {"text after padding", "{}   x", 0, "at byte 14"},
        {"unclosed", "{\"a\":{", 0, "header: "},
        {"quote at the end", "{\"a\\", 0, "header: "},
        {"not UTF-8", "{\"\xff\":1}", 0, "header: "},
        {"nul in a name", "{\"a\\u0000b\":1}", 0, "header: "},
        {"duplicate tensor", "{\"a\":" ENTRY(U8, "[1]", "[0,1]") ",\"a\":" ENTRY(U8, "[1]", "[0,1]") "}", 1,
         "duplicate"},
        {"duplicate by escape", "{\"a\":" ENTRY(U8, "[0]", "[0,0]") ",\"\\u0061\":" ENTRY(U8, "[0]", "[0,0]") "}", 0,
         "duplicate"},
        {"duplicate member", "{\"a\":{\"dtype\":" U8 ",\"dtype\":" F32 ",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         "duplicate"},
        {"duplicate metadata", "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
        {"metadata an array", "{\"__metadata__\":[]}", 0, "'__metadata__'"},
        {"metadata a number", "{\"__metadata__\":{\"k\":1}}", 0, "metadata 'k'"},
        {"metadata nested", "{\"__metadata__\":{\"k\":{\"l\":\"m\"}}}", 0, "metadata 'k'"},
        {"nested too deep", "{\"a\":{\"b\":[[[1]]]}}", 0, "deeper than 4 at byte 20"},
        {"tensor a number", "{\"a\":1}", 0, "'a' is not an object"},
        {"tensor an array", "{\"a\":[]}", 0, "'a' is not an object"},
        {"tensor without dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "'a': no 'dtype'"},
        {"tensor without shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "'a': no array 'shape'"},
        {"tensor without offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "'a': 'data_offsets'"},
        {"more members", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":0}}", 1, "'a': a member"},
        {"unknown dtype", ONE("\"F8_E4M3\"", "[1]", "[0,1]"), 1, "'a': unknown dtype 'F8_E4M3'"},
        {"dtype in small letters", ONE("\"u8\"", "[1]", "[0,1]"), 1, "unknown dtype 'u8'"},
        {"dtype a number", ONE("32", "[1]", "[0,1]"), 1, "no 'dtype'"},
        {"rank 5", ONE(U8, "[1,1,1,1,1]", "[0,1]"), 1, "5 dimensions"},
        {"shape a number", ONE(U8, "1", "[0,1]"), 1, "no array 'shape'"},
        {"negative dimension", ONE(U8, "[1,-1]", "[0,1]"), 1, "dimension 1"},
        {"fractional dimension", ONE(U8, "[1.0]", "[0,1]"), 1, "dimension 0"},
        {"dimension 1e0", ONE(U8, "[1e0]", "[0,1]"), 1, "dimension 0"},
        {"dimension a string", ONE(U8, "[\"1\"]", "[0,1]"), 1, "dimension 0"},
        {"dimension true", ONE(U8, "[true]", "[0,1]"), 1, "dimension 0"},
        {"dimension of 2^64", ONE(U8, "[18446744073709551616]", "[0,1]"), 1, "too big"},
        {"product is 2^64", ONE(U8, "[4294967296,4294967296]", "[0,0]"), 0, "overflows"},
        {"bytes are 2^64", ONE(F32, "[4611686018427387904]", "[0,0]"), 0, "overflows"},
        {"overflow before zero", ONE(U8, "[4294967296,4294967296,0]", "[0,0]"), 0, "overflows"},
        {"negative offset", ONE(U8, "[1]", "[-1,0]"), 1, "'data_offsets'"},
        {"fractional offset", ONE(U8, "[1]", "[0,1.5]"), 2, "'data_offsets'"},
        {"one offset", ONE(U8, "[1]", "[1]"), 1, "'data_offsets'"},
        {"three offsets", ONE(U8, "[1]", "[0,1,2]"), 1, "'data_offsets'"},
        {"offsets backwards", ONE(U8, "[1]", "[1,0]"), 1, "offsets 1 to 0"},
        {"offsets past the end", ONE(U8, "[2]", "[0,2]"), 1, "offsets 0 to 2 in 1 bytes"},
        {"offsets far past the end", ONE(U8, "[1]", "[9223372036854775806,9223372036854775807]"), 1, "offsets 9223"},
        {"fewer bytes than shape", ONE(F32, "[2]", "[0,4]"), 4, "4 bytes of data, its shape takes 8"},
        {"more bytes than shape", ONE(F32, "[1]", "[0,5]"), 5, "5 bytes of data, its shape takes 4"},
        {"hole at the start", ONE(U8, "[1]", "[1,2]"), 2, "hole of 1 bytes before tensor 'a'"},
        {"hole between", "{\"a\":" ENTRY(U8, "[1]", "[0,1]") ",\"b\":" ENTRY(U8, "[1]", "[3,4]") "}", 4,
         "hole of 2 bytes before tensor 'b'"},
        {"overlap", "{\"b\":" ENTRY(U8, "[2]", "[1,3]") ",\"a\":" ENTRY(U8, "[2]", "[0,2]") "}", 3, "'b' overlaps"},
        {"same place twice", "{\"a\":" ENTRY(U8, "[2]", "[0,2]") ",\"b\":" ENTRY(U8, "[2]", "[0,2]") "}", 2,
         "'b' overlaps"},
        {"empty inside another", "{\"a\":" ENTRY(U8, "[2]", "[0,2]") ",\"b\":" ENTRY(U8, "[0]", "[1,1]") "}", 2,
         "'b' overlaps"},
        {"trailing bytes", ONE(U8, "[1]", "[0,1]"), 4, "3 bytes after the last tensor"},
        {"trailing bytes, no tensor", "{}", 5, "5 bytes after the last tensor"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(blob_of(cases[i].header, NULL, cases[i].data_bytes), cases[i].what, cases[i].message);
}

Test(safetensors, hostile_lengths)
{
    static const struct {
        const char *what;
        uint64_t header_bytes;
        const char *message;
    } cases[] = {
        {"header past the end", 3, "header of 3 bytes in a file of 10"},
        {"header of 2^64-1", UINT64_MAX, "header of 18446744073709551615 bytes"},
        {"length wraps to a small one", UINT64_MAX - 5, "header of 18446744073709551610 bytes"},
        {"header cut", 1, "header: "},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(blob_of_parts(cases[i].header_bytes, "{}", 2, NULL, 0), cases[i].what, cases[i].message);
    for (size_t size_bytes = 0; size_bytes < 8; size_bytes++) {
        struct blob blob = blob_of("{}", NULL, 0);
        blob.bytes = realloc(blob.bytes, size_bytes + (size_bytes == 0));
        blob.size_bytes = size_bytes;
        assert_refused(blob, "file without a length", "shorter than");
    }
}

static void assert_flood_refused(const char *what, const char *prefix, const char *piece, size_t times,
                                 const char *message)
{
    size_t prefix_bytes = strlen(prefix), piece_bytes = strlen(piece);
    char *text = malloc(prefix_bytes + times * piece_bytes + 1);
    cr_assert_not_null(text);
    memcpy(text, prefix, prefix_bytes);
    for (size_t i = 0; i < times; i++)
        memcpy(text + prefix_bytes + i * piece_bytes, piece, piece_bytes + 1);
    assert_refused(blob_of(text, NULL, 0), what, message);
    free(text);
}

Test(safetensors, bombs)
{
    assert_flood_refused("nesting bomb of arrays", "{\"a\":", "[", 1000000, "deeper than 4");
    assert_flood_refused("nesting bomb of objects", "", "{\"a\":", 100000, "deeper than 4");
    assert_flood_refused("flood of empty arrays", "{\"a\":[", "[],", 1000000, "values");
    assert_flood_refused("flood of numbers", "{\"a\":[0", ",0", 1000000, "values");
    assert_flood_refused("header above the limit", "{", " ", SAFETENSORS_HEADER_MAX, "more than 16777216");
}

/* Header of `count` empty tensors, or metadata strings. */
static struct blob many(const char *prefix, const char *entry, const char *suffix, int count)
{
    size_t room = (size_t)count * (strlen(entry) + 16) + 64;
    char *text = malloc(room);
    cr_assert_not_null(text);
    size_t at = (size_t)snprintf(text, room, "%s", prefix);
    for (int i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, room - at, "%s\"%d\":%s", i > 0 ? "," : "", i, entry);
    snprintf(text + at, room - at, "%s", suffix);
    struct blob blob = blob_of(text, NULL, 0);
    free(text);
    return blob;
}

Test(safetensors, limits_are_reached_and_kept)
{
    const char *entry = ENTRY("\"F32\"", "[0,1,1,1]", "[0,0]");
    struct safetensors file;
    struct blob blob = many("{", entry, "}", SAFETENSORS_TENSORS_MAX);
    parse(&file, blob);
    cr_assert_eq(file.tensor_count, SAFETENSORS_TENSORS_MAX);
    safetensors_close(&file);
    free(blob.bytes);
    assert_refused(many("{", entry, "}", SAFETENSORS_TENSORS_MAX + 1), "a tensor too many", "4097 tensors");

    blob = many("{\"__metadata__\":{", "\"x\"", "}}", SAFETENSORS_TENSORS_MAX);
    parse(&file, blob);
    cr_assert_str_eq(safetensors_metadata(&file, "4095"), "x");
    safetensors_close(&file);
    free(blob.bytes);
    assert_refused(many("{\"__metadata__\":{", "\"x\"", "}}", SAFETENSORS_TENSORS_MAX + 1), "a string too many",
                   "more than 4096 metadata");
}

Test(safetensors, reads_a_file_of_others)
{
    /* as upstream writes it: not sorted, padded, offsets out of order, a scalar, brackets inside strings */
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"odd\":\"[{[{[{\\\"[\"},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[4,12]},"
                                 "\"\\u00e9[[[[[\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                 "\"none\":{\"dtype\":\"I64\",\"shape\":[3,0],\"data_offsets\":[12,12]}}     ";
    const float weights[] = {1.5f, -2.0f};
    unsigned char data[12] = {7, 0, 0, 0};
    memcpy(data + 4, weights, sizeof weights);
    struct blob blob = blob_of(header, data, sizeof data);
    struct safetensors file;
    struct status st = STATUS_INIT;
    parse(&file, blob);
    cr_assert_eq(file.tensor_count, 3);
    cr_assert_str_eq(safetensors_metadata(&file, "format"), "pt");
    cr_assert_null(safetensors_metadata(&file, "absent"));
    const struct safetensors_tensor *scalar = safetensors_find(&file, "é[[[[[");
    cr_assert(scalar != NULL && scalar->dtype == SAFETENSORS_I32 && scalar->rank == 0 && scalar->count == 1);
    cr_assert(scalar->size_bytes == 4 && scalar->data[0] == 7);
    const struct safetensors_tensor *none = safetensors_find(&file, "none");
    cr_assert(none != NULL && none->count == 0 && none->size_bytes == 0 && none->shape[0] == 3);
    cr_assert_null(safetensors_find(&file, "__metadata__"));
    float out[2];
    cr_assert(safetensors_read_f32(&file, "w", out, 2, (const size_t[]){2, 1}, &st), "%s", st.message);
    cr_assert(out[0] == 1.5f && out[1] == -2.0f);
    safetensors_close(&file);
    free(blob.bytes);
}

Test(safetensors, zero_tensors)
{
    struct blob blob = blob_of("{}", NULL, 0);
    struct safetensors file;
    parse(&file, blob);
    cr_assert_eq(file.tensor_count, 0);
    cr_assert_null(safetensors_find(&file, "a"));
    cr_assert_null(safetensors_metadata(&file, "a"));
    safetensors_close(&file);
    assert_empty(&file, "closed");
    safetensors_close(&file);
    free(blob.bytes);
}

Test(safetensors, half_and_double_become_single)
{
    static const struct {
        uint16_t half;
        float single;
    } halves[] = {
        {0x0000, 0.0f},        {0x0001, 0x1p-24f}, {0x03ff, 0x3ffp-24f},      {0x0400, 0x1p-14f}, {0x3555, 0x1.554p-2f},
        {0x3bff, 0x1.ffcp-1f}, {0x3c00, 1.0f},     {0x3c01, 1.0f + 0x1p-10f}, {0xc000, -2.0f},    {0xfbff, -65504.0f},
    };
    static const double doubles[] = {0.1, -1e300 * 1e-290, 3.4028234e38};
    uint16_t data[LENGTH(halves)];
    float out[LENGTH(halves)];
    for (size_t i = 0; i < LENGTH(halves); i++)
        data[i] = halves[i].half;
    struct safetensors file;
    struct status st = STATUS_INIT;
    struct blob blob = blob_of(ONE("\"F16\"", "[10]", "[0,20]"), data, sizeof data);
    parse(&file, blob);
    cr_assert(safetensors_read_f32(&file, "a", out, 1, (const size_t[]){10}, &st), "%s", st.message);
    for (size_t i = 0; i < LENGTH(halves); i++)
        cr_assert_eq(out[i], halves[i].single, "%04x: %a", halves[i].half, (double)out[i]);
    safetensors_close(&file);
    free(blob.bytes);

    blob = blob_of(ONE("\"F64\"", "[3]", "[0,24]") "   ", doubles, sizeof doubles); /* unaligned */
    parse(&file, blob);
    cr_assert(safetensors_read_f32(&file, "a", out, 1, (const size_t[]){3}, &st), "%s", st.message);
    for (size_t i = 0; i < LENGTH(doubles); i++)
        cr_assert_eq(out[i], (float)doubles[i]);
    safetensors_close(&file);
    free(blob.bytes);
}

Test(safetensors, read_f32_refuses_what_is_not_finite)
{
    const float nan_single[] = {1.0f, NAN}, infinite_single[] = {1.0f, -INFINITY};
    const uint16_t nan_half[] = {0, 0x7c01}, infinite_half[] = {0, 0xfc00};
    const double nan_double[] = {0, NAN}, large_double[] = {0, 1e39};
    const struct {
        const char *what, *header;
        const void *data;
        size_t data_bytes;
    } cases[] = {
        {"f32 NaN", ONE(F32, "[2]", "[0,8]"), nan_single, sizeof nan_single},
        {"f32 infinity", ONE(F32, "[2]", "[0,8]"), infinite_single, sizeof infinite_single},
        {"f16 NaN", ONE("\"F16\"", "[2]", "[0,4]"), nan_half, sizeof nan_half},
        {"f16 infinity", ONE("\"F16\"", "[2]", "[0,4]"), infinite_half, sizeof infinite_half},
        {"f64 NaN", ONE("\"F64\"", "[2]", "[0,16]"), nan_double, sizeof nan_double},
        {"f64 beyond f32", ONE("\"F64\"", "[2]", "[0,16]"), large_double, sizeof large_double},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct blob blob = blob_of(cases[i].header, cases[i].data, cases[i].data_bytes);
        struct safetensors file;
        struct status st = STATUS_INIT;
        float out[2];
        parse(&file, blob);
        cr_assert_not(safetensors_read_f32(&file, "a", out, 1, (const size_t[]){2}, &st), "%s", cases[i].what);
        cr_assert_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_assert_not_null(strstr(st.message, "'a': element 1"), "%s: %s", cases[i].what, st.message);
        safetensors_close(&file);
        free(blob.bytes);
    }
}

Test(safetensors, read_f32_refuses_another_shape_or_type)
{
    struct blob blob =
        blob_of("{\"a\":" ENTRY(F32, "[2,3]", "[0,24]") ",\"ids\":" ENTRY("\"I32\"", "[6]", "[24,48]") "}", NULL, 48);
    static const struct {
        const char *name;
        int rank;
        size_t shape[3];
        const char *message;
    } cases[] = {
        {"b", 2, {2, 3}, "no tensor 'b'"},
        {"a", 2, {3, 2}, "'a': dimension 0 is 2, wanted 3"},
        {"a", 2, {2, 4}, "'a': dimension 1 is 3, wanted 4"},
        {"a", 1, {6}, "'a': 2 dimensions, wanted 1"},
        {"a", 3, {2, 3, 1}, "'a': 2 dimensions, wanted 3"},
        {"a", 0, {0}, "'a': 2 dimensions, wanted 0"},
        {"ids", 1, {6}, "'ids': dtype I32 is not floating"},
    };
    struct safetensors file;
    parse(&file, blob);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct status st = STATUS_INIT;
        float out[6];
        cr_assert_not(safetensors_read_f32(&file, cases[i].name, out, cases[i].rank, cases[i].shape, &st));
        cr_assert_str_eq(st.reason, "BAD_SAFETENSORS");
        cr_assert_not_null(strstr(st.message, cases[i].message), "%s", st.message);
    }
    safetensors_close(&file);
    free(blob.bytes);
}

Test(safetensors, writer_refuses_what_the_reader_would)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    const size_t one[] = {1, 1, 1, 1, 1}, huge[] = {SIZE_MAX / 4 + 1}, wide[] = {SIZE_MAX, 0};
    const char byte = 1;
    cr_assert(safetensors_add(&writer, "a", SAFETENSORS_U8, 1, one, &byte, &st));
    cr_assert_not(safetensors_add(&writer, "a", SAFETENSORS_U8, 1, one, &byte, &st), "a name twice");
    cr_assert_not(safetensors_add(&writer, "__metadata__", SAFETENSORS_U8, 1, one, &byte, &st));
    cr_assert_not(safetensors_add(&writer, "\xff", SAFETENSORS_U8, 1, one, &byte, &st));
    cr_assert_not(safetensors_add(&writer, "b", SAFETENSORS_U8, 5, one, &byte, &st), "rank 5");
    cr_assert_not(safetensors_add(&writer, "b", SAFETENSORS_U8, -1, one, &byte, &st));
    cr_assert_not(safetensors_add(&writer, "b", SAFETENSORS_F32, 1, huge, &byte, &st));
    cr_assert_not(safetensors_add(&writer, "b", SAFETENSORS_U8, 2, wide, &byte, &st), "no integer of JSON");
    cr_assert_not(safetensors_add_metadata(&writer, "k", "\xc3", &st));
    cr_assert_not(safetensors_add_metadata(&writer, "\xc3", "v", &st));
    cr_assert_eq(writer.tensor_count, 1);
    safetensors_writer_close(&writer);
    cr_assert(writer.metadata == NULL && writer.tensors == NULL && writer.tensor_count == 0);
    safetensors_writer_close(&writer);
}

Test(safetensors, writer_keeps_the_limits)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    static char names[SAFETENSORS_TENSORS_MAX][12];
    for (int i = 0; i < SAFETENSORS_TENSORS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        cr_assert(safetensors_add(&writer, names[i], SAFETENSORS_F32, 4, (const size_t[]){1, 0, 1, 1}, NULL, &st));
        cr_assert(safetensors_add_metadata(&writer, names[i], names[i], &st));
    }
    cr_assert_not(safetensors_add(&writer, "more", SAFETENSORS_U8, 0, NULL, "", &st));
    cr_assert_not(safetensors_add_metadata(&writer, "more", "", &st));
    cr_assert(safetensors_add_metadata(&writer, "7", "seven", &st), "replacing needs no room");
    struct blob blob;
    struct safetensors file;
    blob.bytes = safetensors_write(&writer, &blob.size_bytes, &st);
    cr_assert_not_null(blob.bytes, "%s", st.message);
    parse(&file, blob);
    cr_assert_eq(file.tensor_count, SAFETENSORS_TENSORS_MAX);
    cr_assert_str_eq(safetensors_metadata(&file, "7"), "seven");
    safetensors_close(&file);
    free(blob.bytes);

    char *large = malloc(SAFETENSORS_HEADER_MAX + 1);
    cr_assert_not_null(large);
    memset(large, 'x', SAFETENSORS_HEADER_MAX);
    large[SAFETENSORS_HEADER_MAX] = '\0';
    cr_assert(safetensors_add_metadata(&writer, "0", large, &st));
    size_t size_bytes = 77;
    cr_assert_null(safetensors_write(&writer, &size_bytes, &st));
    cr_assert_eq(size_bytes, 77, "written on failure");
    cr_assert_not_null(strstr(st.message, "header of"));
    free(large);
    safetensors_writer_close(&writer);
}

Test(safetensors, written_bytes_are_these)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    const float values[] = {1.0f, -2.0f};
    static const char header[] = "{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\"},"
                                 "\"bytes\":{\"data_offsets\":[8,9],\"dtype\":\"U8\",\"shape\":[]},"
                                 "\"values\":{\"data_offsets\":[0,8],\"dtype\":\"F32\",\"shape\":[2,1]}}";
    cr_assert(safetensors_add(&writer, "bytes", SAFETENSORS_U8, 0, NULL, "z", &st));
    cr_assert(safetensors_add(&writer, "values", SAFETENSORS_F32, 2, (const size_t[]){2, 1}, values, &st));
    cr_assert(safetensors_add_metadata(&writer, "b", "2", &st));
    cr_assert(safetensors_add_metadata(&writer, "a", "1", &st));
    size_t size_bytes, padded_bytes = (sizeof header - 1 + 7) / 8 * 8;
    unsigned char *bytes = safetensors_write(&writer, &size_bytes, &st);
    cr_assert_not_null(bytes);
    cr_assert_eq(size_bytes, 8 + padded_bytes + 9);
    uint64_t header_bytes;
    memcpy(&header_bytes, bytes, 8);
    cr_assert_eq(header_bytes, padded_bytes);
    cr_assert_eq(memcmp(bytes + 8, header, sizeof header - 1), 0);
    for (size_t i = sizeof header - 1; i < padded_bytes; i++)
        cr_assert_eq(bytes[8 + i], ' ');
    cr_assert_eq(memcmp(bytes + 8 + padded_bytes, values, sizeof values), 0);
    cr_assert_eq(bytes[size_bytes - 1], 'z');
    free(bytes);
    safetensors_writer_close(&writer);
}

/* Up to 12 random tensors whose data live in `pool`. */
enum { TENSORS = 12, POOL_BYTES = 65536 };
struct tensors {
    char names[TENSORS][16];
    struct safetensors_tensor tensor[TENSORS];
    uint32_t count;
    unsigned char pool[POOL_BYTES];
};

static void draw_tensors(struct tensors *tensors, struct random *rng)
{
    static const char *const texts[] = {"w", "é/", "\"q\"", "\n\x01", "😀", "long.name"};
    for (size_t i = 0; i < POOL_BYTES; i++)
        tensors->pool[i] = (unsigned char)random_u64(rng);
    tensors->count = (uint32_t)random_below(rng, TENSORS + 1);
    for (uint32_t i = 0; i < tensors->count; i++) {
        struct safetensors_tensor *tensor = &tensors->tensor[i];
        snprintf(tensors->names[i], sizeof tensors->names[i], "%s%u", texts[random_below(rng, LENGTH(texts))], i);
        *tensor = (struct safetensors_tensor){.name = tensors->names[i],
                                              .dtype = (enum safetensors_dtype)random_below(rng, 6),
                                              .rank = (int)random_below(rng, SAFETENSORS_RANK_MAX + 1),
                                              .count = 1,
                                              .data = tensors->pool + random_below(rng, 4096)};
        for (int d = 0; d < tensor->rank; d++)
            tensor->count *= tensor->shape[d] = (size_t)random_below(rng, 8);
    }
}

static struct blob write_in_order(const struct tensors *tensors, const uint32_t *order)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    struct blob blob;
    for (uint32_t i = 0; i < tensors->count; i++) {
        const struct safetensors_tensor *t = &tensors->tensor[order[i]];
        cr_assert(safetensors_add(&writer, t->name, t->dtype, t->rank, t->shape, t->data, &st), "%s", st.message);
        cr_assert(safetensors_add_metadata(&writer, t->name, t->name, &st), "%s", st.message);
    }
    blob.bytes = safetensors_write(&writer, &blob.size_bytes, &st);
    cr_assert_not_null(blob.bytes, "%s", st.message);
    safetensors_writer_close(&writer);
    return blob;
}

static void assert_same_tensors(const struct safetensors *file, const struct tensors *tensors, struct blob blob)
{
    static const size_t element_bytes[] = {4, 2, 8, 8, 4, 1};
    cr_assert_eq(file->tensor_count, tensors->count);
    for (uint32_t i = 0; i < tensors->count; i++) {
        const struct safetensors_tensor *wanted = &tensors->tensor[i];
        const struct safetensors_tensor *found = safetensors_find(file, wanted->name);
        cr_assert_not_null(found, "'%s' is lost", wanted->name);
        cr_assert(found->dtype == wanted->dtype && found->rank == wanted->rank && found->count == wanted->count);
        cr_assert_eq(memcmp(found->shape, wanted->shape, sizeof found->shape), 0);
        cr_assert_eq(found->size_bytes, wanted->count * element_bytes[wanted->dtype]);
        cr_assert_eq(memcmp(found->data, wanted->data, found->size_bytes), 0, "'%s' changed", wanted->name);
        cr_assert_eq((size_t)(found->data - blob.bytes) % element_bytes[wanted->dtype], 0, "not aligned");
        cr_assert_str_eq(safetensors_metadata(file, wanted->name), wanted->name);
    }
}

Test(safetensors, round_trip_of_random_tensors)
{
    static struct tensors tensors;
    const uint64_t seed = 20240609;
    struct random rng;
    random_init(&rng, seed);
    cr_log_info("seed %llu", (unsigned long long)seed);
    for (int round = 0; round < 200; round++) {
        uint32_t order[TENSORS];
        for (uint32_t i = 0; i < TENSORS; i++)
            order[i] = i;
        draw_tensors(&tensors, &rng);
        struct blob blob = write_in_order(&tensors, order);
        struct safetensors file;
        parse(&file, blob);
        assert_same_tensors(&file, &tensors, blob);
        safetensors_close(&file);

        random_shuffle(&rng, order, tensors.count);
        struct blob again = write_in_order(&tensors, order);
        cr_assert_eq(again.size_bytes, blob.size_bytes);
        cr_assert_eq(memcmp(again.bytes, blob.bytes, blob.size_bytes), 0, "round %d: bytes depend on the order", round);
        free(again.bytes);
        free(blob.bytes);
    }
}

/* Every cut and every changed byte of a good file is refused or read, never a crash. */
Test(safetensors, damaged_files)
{
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    struct blob blob;
    cr_assert(safetensors_add(&writer, "a", SAFETENSORS_F32, 1, (const size_t[]){2}, "abcdefgh", &st));
    cr_assert(safetensors_add(&writer, "b", SAFETENSORS_U8, 1, (const size_t[]){3}, "xyz", &st));
    blob.bytes = safetensors_write(&writer, &blob.size_bytes, &st);
    cr_assert_not_null(blob.bytes);
    for (size_t cut = 0; cut < blob.size_bytes; cut++) {
        struct blob part = {malloc(cut + (cut == 0)), cut};
        cr_assert_not_null(part.bytes);
        memcpy(part.bytes, blob.bytes, cut);
        assert_refused(part, "cut", "");
    }
    for (size_t at = 0; at < blob.size_bytes; at++) {
        for (unsigned change = 1; change < 256; change += 3) {
            struct safetensors file;
            blob.bytes[at] = (unsigned char)(blob.bytes[at] ^ change);
            if (safetensors_parse(&file, blob.bytes, blob.size_bytes, &st))
                cr_assert_leq(file.tensor_count, 2);
            safetensors_close(&file);
            blob.bytes[at] = (unsigned char)(blob.bytes[at] ^ change);
        }
    }
    free(blob.bytes);
    safetensors_writer_close(&writer);
}
