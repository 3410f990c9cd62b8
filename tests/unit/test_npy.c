/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/npy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define F4(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }"

static char folder[] = "/tmp/test_npy.XXXXXX";
static char path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/matrix.npy", folder);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(npy, .init = make_folder, .fini = remove_folder);

static void write_bytes(const void *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size_bytes, file), size_bytes);
    cr_assert_eq(fclose(file), 0);
}

/* A file of `version` whose header is `text`, followed by `data`. */
static void write_npy(int version, const char *text, const void *data, size_t data_bytes)
{
    char bytes[4096] = "\x93NUMPY";
    size_t length = strlen(text), at = 8;
    bytes[6] = (char)version;
    bytes[at++] = (char)(length & 0xff);
    bytes[at++] = (char)(length >> 8);
    if (version > 1)
        at += 2; /* zero */
    cr_assert_lt(at + length + data_bytes, sizeof bytes);
    memcpy(bytes + at, text, length);
    if (data_bytes > 0)
        memcpy(bytes + at + length, data, data_bytes);
    write_bytes(bytes, at + length + data_bytes);
}

static void expect_refusal(const char *what, const char *said)
{
    struct status st = STATUS_INIT;
    struct npy npy, zero;
    memset(&zero, 0, sizeof zero);
    cr_expect_not(npy_open(&npy, path, &st), "%s was accepted", what);
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT, "%s: code %d", what, (int)st.code);
    cr_expect_str_eq(st.reason, "BAD_NPY", "%s: reason %s", what, st.reason);
    cr_expect_not_null(strstr(st.message, path), "%s: no file name in: %s", what, st.message);
    cr_expect_not_null(strstr(st.message, said), "%s: '%s' not in: %s", what, said, st.message);
    cr_expect_arr_eq(&npy, &zero, sizeof npy, "%s: the struct was not left empty", what);
}

/* Open, read everything, compare. */
static void expect_matrix(const char *what, enum npy_type type, size_t rows, size_t columns, const float *wanted)
{
    struct status st = STATUS_INIT;
    struct npy npy;
    float got[64];
    cr_assert(npy_open(&npy, path, &st), "%s: %s", what, st.message);
    cr_expect_eq(npy.type, type, "%s: type %d", what, (int)npy.type);
    cr_assert(npy.rows == rows && npy.columns == columns, "%s: (%zu, %zu)", what, npy.rows, npy.columns);
    cr_assert(npy_read_rows(&npy, got, rows, &st), "%s: %s", what, st.message);
    for (size_t i = 0; i < rows * columns; i++)
        cr_expect(got[i] == wanted[i], "%s: number %zu is %g, not %g", what, i, (double)got[i], (double)wanted[i]);
    npy_close(&npy);
}

static const float six[6] = {1, -2, 0.5f, 3e30f, -0.0f, 6};

Test(npy, reads_each_type)
{
    static const unsigned char halves[] = {0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38, 0xff, 0x7b, 0x01, 0x00, 0x55, 0x35};
    static const float half_values[] = {1, -2, 0.5f, 65504, 0x1p-24f, 0.333251953125f};
    static const double doubles[6] = {1, -2, 0.5, 0.1, 1e-3, 6};
    static const float double_values[6] = {1, -2, 0.5f, 0.1f, 1e-3f, 6};
    write_npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }\n", halves, sizeof halves);
    expect_matrix("f2", NPY_F16, 2, 3, half_values);
    write_npy(1, F4("(2, 3)") "\n", six, sizeof six);
    expect_matrix("f4", NPY_F32, 2, 3, six);
    write_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }\n", doubles, sizeof doubles);
    expect_matrix("f8", NPY_F64, 3, 2, double_values);
}

Test(npy, reads_each_version)
{
    for (int version = 1; version <= 3; version++) {
        write_npy(version, F4("(2, 3)") "          \n", six, sizeof six);
        expect_matrix("version", NPY_F32, 2, 3, six);
    }
}

Test(npy, header_may_be_written_in_many_ways)
{
    static const char *const headers[] = {
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        "{'fortran_order':False,'descr':'<f4','shape':(2,3)}",
        "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3,), }",
        "  {  'descr'  :  '<f4'  ,  'fortran_order'  :  False  ,  'shape'  :  (  2  ,  3  )  ,  }  \n\n",
        "{\n'descr': '<f4',\n\t'fortran_order': False,\r\n'shape': (0002, 3)}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        write_npy(1, headers[i], six, sizeof six);
        expect_matrix(headers[i], NPY_F32, 2, 3, six);
    }
}

Test(npy, refuses_what_is_no_matrix_of_floats)
{
    static const struct {
        const char *header, *said;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", "type '>f4', expected '<f2', '<f4' or '<f8'"},
        {"{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3), }", "type '=f4'"},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (2, 3), }", "type '|f4'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", "type '|O'"},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }", "type '<i8'"},
        {"{'descr': '<f44', 'fortran_order': False, 'shape': (2, 3), }", "type '<f44'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (2, 3), }", "type ''"},
        {"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", "structured type"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", "Fortran order"},
        {F4("()"), "0 dimensions, expected 2"},
        {F4("(6,)"), "1 dimension, expected 2"},
        {F4("(6)"), "1 dimension, expected 2"},
        {F4("(1, 2, 3)"), "3 dimensions, expected 2"},
        {F4("(2, 0)"), "shape (2, 0) has no columns"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_npy(1, cases[i].header, six, sizeof six);
        expect_refusal(cases[i].header, cases[i].said);
    }
}

Test(npy, refuses_malformed_headers)
{
    static const struct {
        const char *header, *said;
    } cases[] = {
        {"", "expected { at byte 0 of the header, found the end"},
        {"[1, 2]", "expected {"},
        {"{}", "header lacks 'descr'"},
        {"{'descr': '<f4', 'shape': (2, 3)}", "header lacks 'fortran_order'"},
        {"{'descr': '<f4', 'fortran_order': False, }", "header lacks 'shape'"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", "second 'descr'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", "unknown or second 'x'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", "expected , or }"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", "expected , or )"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", "expected nothing more at byte"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}", "expected , or }"},
        {"{'descr' '<f4'}", "expected : at byte 9"},
        {"{descr: '<f4'}", "expected a key"},
        {"{'descr: <f4}", "expected a string that ends"},
        {"{'descr': <f4}", "expected a type"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", "expected True or False"},
        {F4("[2, 3]"), "expected ("},
        {F4("(-2, 3)"), "expected a number at byte 51 of the header, found -2, 3)"},
        {F4("(,)"), "expected a number"},
        {F4("(2 3)"), "expected , or )"},
        {F4("(2, 3L)"), "expected , or )"},
        {F4("(2.0, 3)"), "expected , or )"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_npy(1, cases[i].header, six, sizeof six);
        expect_refusal(cases[i].header, cases[i].said);
    }
}

Test(npy, refuses_shapes_that_overflow)
{
    static const struct {
        const char *header, *said;
    } cases[] = {
        {F4("(18446744073709551616, 1)"), "shape beyond 64 bits"},
        {F4("(99999999999999999999999999, 1)"), "shape beyond 64 bits"},
        {F4("(4294967296, 4294967296)"), "more than 64 bits can count"}, /* the product would wrap to 0 */
        {F4("(4611686018427387904, 1)"), "more than 64 bits can count"}, /* times 4 bytes would wrap to 0 */
        {F4("(4611686018427387903, 1)"), "more than 64 bits can count"}, /* only with the header in front */
        {F4("(1152921504606846976, 1)"), "found"},                       /* fits, but not in this file */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_npy(1, cases[i].header, NULL, 0);
        expect_refusal(cases[i].header, cases[i].said);
    }
}

Test(npy, refuses_files_of_the_wrong_size)
{
    static const unsigned char long_data[sizeof six + 1];
    write_npy(1, F4("(2, 3)"), six, sizeof six - 1);
    expect_refusal("short", "shape (2, 3) makes a file of 93 bytes, found 92: cut short?");
    write_npy(1, F4("(2, 3)"), long_data, sizeof long_data);
    expect_refusal("long", "shape (2, 3) makes a file of 93 bytes, found 94: too long");
    write_npy(1, F4("(2, 3)"), NULL, 0);
    expect_refusal("no data", "found 69");
}

Test(npy, refuses_a_damaged_start)
{
    static const struct {
        const char *bytes, *said;
        size_t size_bytes;
    } cases[] = {
        {"", "no .npy file", 0},
        {"\x93NUM", "no .npy file", 4},
        {"1,2,3\n4,5,6\n", "no .npy file", 12},
        {"PK\3\4..............", "zip archive (.npz?)", 18},
        {"\x93NUMPY", "ends inside its header, after 6 bytes", 6},
        {"\x93NUMPY\1\0\x76", "ends inside its header, after 9 bytes", 9},
        {"\x93NUMPY\1\0\x76\0{'descr'", "ends inside its header, after 18 bytes", 18},
        {"\x93NUMPY\2\0\x76\0\0", "ends inside its header, after 11 bytes", 11},
        {"\x93NUMPY\0\0\0\0", "format version 0.0", 10},
        {"\x93NUMPY\4\0\0\0\0\0", "format version 4.0, expected 1.0, 2.0 or 3.0", 12},
        {"\x93NUMPY\1\1\0\0", "format version 1.1", 10},
        {"\x93NUMPY\2\0\377\377\377\377{}", "header of 4294967295 bytes, at most 65536 are read", 14},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_bytes(cases[i].bytes, cases[i].size_bytes);
        expect_refusal(cases[i].said, cases[i].said);
    }
}

Test(npy, names_a_file_that_cannot_be_opened)
{
    struct npy npy;
    struct status st = STATUS_INIT;
    cr_expect_not(npy_open(&npy, path, &st));
    cr_expect_eq(st.code, STATUS_NOT_FOUND);
    cr_expect_str_eq(st.reason, "NO_INPUT");
    cr_expect_not_null(strstr(st.message, path));
    cr_expect_not(npy_open(&npy, folder, &st));
    cr_expect_eq(st.code, STATUS_NOT_FOUND);
    cr_expect_str_eq(st.reason, "NO_INPUT");
    cr_assert_eq(mkfifo(path, 0600), 0);
    FILE *keep = fopen(path, "r+"); /* so that opening it to read does not wait for a writer */
    cr_assert_not_null(keep);
    expect_refusal("fifo", "pipe or device");
    fclose(keep);
}

Test(npy, rows_come_in_pieces_and_in_order)
{
    enum { ROWS = 41, COLUMNS = 1000 }; /* a row and the reader's buffer do not end together */
    float *data = malloc(sizeof *data * ROWS * COLUMNS), *got = malloc(sizeof *got * ROWS * COLUMNS);
    cr_assert(data != NULL && got != NULL);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        data[i] = (float)i;
    write_npy(1, F4("(41, 1000)"), NULL, 0);
    FILE *file = fopen(path, "ab");
    cr_assert_eq(fwrite(data, sizeof *data, ROWS * COLUMNS, file), (size_t)(ROWS * COLUMNS));
    cr_assert_eq(fclose(file), 0);

    struct npy npy;
    struct status st = STATUS_INIT;
    cr_assert(npy_open(&npy, path, &st), "%s", st.message);
    for (size_t count = 1; npy.next_row < ROWS; count += 3) {
        size_t from = npy.next_row, left = ROWS - from;
        cr_assert(npy_read_rows(&npy, got + from * COLUMNS, count < left ? count : left, &st), "%s", st.message);
        cr_expect_eq(npy.next_row, from + (count < left ? count : left));
    }
    cr_expect(npy_read_rows(&npy, NULL, 0, &st));
    cr_expect_arr_eq(got, data, sizeof *data * ROWS * COLUMNS);
    npy_close(&npy);
    free(data);
    free(got);
}

Test(npy, a_file_cut_while_it_is_read_is_an_error)
{
    enum { ROWS = 20, COLUMNS = 900 }; /* more than stdio has read ahead when the file is cut */
    struct npy npy;
    struct status st = STATUS_INIT;
    float row[COLUMNS];
    write_npy(1, F4("(20, 900)"), NULL, 0);
    struct stat facts;
    cr_assert_eq(stat(path, &facts), 0);
    cr_assert_eq(truncate(path, facts.st_size + (off_t)(ROWS * sizeof row)), 0);
    cr_assert(npy_open(&npy, path, &st), "%s", st.message);
    cr_assert_eq(truncate(path, facts.st_size + (off_t)(10 * sizeof row)), 0);
    for (int r = 0; r < 10; r++)
        cr_expect(npy_read_rows(&npy, row, 1, &st), "row %d: %s", r, st.message);
    cr_expect_not(npy_read_rows(&npy, row, 1, &st));
    cr_expect_eq(npy.next_row, 10);
    cr_expect_eq(st.code, STATUS_DATA_LOSS);
    cr_expect_not_null(strstr(st.message, path), "%s", st.message);
    cr_expect_not_null(strstr(st.message, "after row 10: the file has become shorter"), "%s", st.message);
    npy_close(&npy);
}

Test(npy, no_rows_is_a_matrix)
{
    write_npy(1, F4("(0, 48)"), NULL, 0);
    expect_matrix("empty", NPY_F32, 0, 48, NULL);
}

Test(npy, nan_and_infinity_are_passed_on)
{
    static const unsigned char halves[] = {0x00, 0x7c, 0x00, 0xfc, 0x00, 0x7e};
    struct npy npy;
    struct status st = STATUS_INIT;
    float got[3];
    write_npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 3), }", halves, sizeof halves);
    cr_assert(npy_open(&npy, path, &st), "%s", st.message);
    cr_assert(npy_read_rows(&npy, got, 1, &st), "%s", st.message);
    cr_expect(isinf(got[0]) && got[0] > 0);
    cr_expect(isinf(got[1]) && got[1] < 0);
    cr_expect(isnan(got[2]));
    npy_close(&npy);
}

/* The definition of IEEE 754 binary16, in doubles. */
Test(npy, every_half_is_exact)
{
    for (unsigned half = 0; half <= 0xffff; half++) {
        int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
        float got = npy_half_to_float((unsigned short)half);
        if (exponent == 31) {
            cr_assert(fraction == 0 ? isinf(got) : isnan(got), "%#x gave %g", half, (double)got);
        } else {
            double size = exponent == 0 ? fraction * 0x1p-24 : ldexp(1024 + fraction, exponent - 25);
            cr_assert((double)fabsf(got) == size, "%#x gave %g, not %g", half, (double)got, size);
        }
        cr_assert_eq(signbit(got) != 0, half >> 15 != 0, "%#x lost its sign", half);
    }
}

Test(npy, close_accepts_an_empty_struct)
{
    struct npy npy, zero;
    memset(&npy, 0, sizeof npy);
    memset(&zero, 0, sizeof zero);
    npy_close(&npy);
    cr_expect_arr_eq(&npy, &zero, sizeof npy);
}
