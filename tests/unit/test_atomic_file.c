/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/atomic_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "user_id:token\titem_id:token\ttimestamp:float\n"

static char folder[] = "/tmp/test_atomic_file.XXXXXX";
static char path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/shop.inter", folder);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(atomic_file, .init = make_folder, .fini = remove_folder);

static void write_bytes(const char *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size_bytes, file), size_bytes);
    cr_assert_eq(fclose(file), 0);
}

static struct atomic_file open_text(const char *text)
{
    struct atomic_file file;
    struct status st = STATUS_INIT;
    write_bytes(text, strlen(text));
    cr_assert(atomic_file_open(&file, path, &st), "%s", st.message);
    return file;
}

static void expect_row(struct atomic_file *file, uint64_t line_number, const char *const *cells)
{
    struct status st = STATUS_INIT;
    enum atomic_row got = atomic_file_next(file, &st);
    cr_assert_eq(got, ATOMIC_ROW, "line %d: %s", (int)line_number, st.message);
    cr_expect_eq(file->line_number, line_number);
    for (size_t i = 0; i < file->column_count; i++)
        cr_expect_str_eq(file->cells[i], cells[i], "line %d cell %zu: '%s'", (int)line_number, i, file->cells[i]);
}

static void expect_bad_row(struct atomic_file *file, uint64_t line_number, const char *said)
{
    struct status st = STATUS_INIT;
    char line[32];
    snprintf(line, sizeof line, "' line %d: ", (int)line_number);
    cr_assert_eq(atomic_file_next(file, &st), ATOMIC_BAD_ROW, "line %d", (int)line_number);
    cr_expect_eq(file->line_number, line_number);
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(st.message, path), "no file name in: %s", st.message);
    cr_expect_not_null(strstr(st.message, line), "no '%s' in: %s", line, st.message);
    cr_expect_not_null(strstr(st.message, said), "'%s' not in: %s", said, st.message);
}

static void expect_end(struct atomic_file *file)
{
    cr_expect_eq(atomic_file_next(file, NULL), ATOMIC_END);
    cr_expect_eq(atomic_file_next(file, NULL), ATOMIC_END);
    atomic_file_close(file);
}

Test(atomic_file, reads_names_and_rows)
{
    struct atomic_file file = open_text(HEADER "u1\ti1\t1400000000\nu2\ti2\t1400000000.5\n");
    cr_assert_eq(file.column_count, 3);
    cr_expect_str_eq(file.names[0], "user_id");
    cr_expect_str_eq(file.names[1], "item_id");
    cr_expect_str_eq(file.names[2], "timestamp");
    expect_row(&file, 2, (const char *[]){"u1", "i1", "1400000000"});
    expect_row(&file, 3, (const char *[]){"u2", "i2", "1400000000.5"});
    expect_end(&file);
}

Test(atomic_file, accepts_every_known_type)
{
    struct atomic_file file = open_text("a:token\tb:token_seq\tc:float\td:float_seq\nx\ty z\t1\t1 2 3\n");
    cr_expect_eq(file.column_count, 4);
    expect_row(&file, 2, (const char *[]){"x", "y z", "1", "1 2 3"});
    expect_end(&file);
}

Test(atomic_file, a_name_may_hold_a_colon)
{
    struct atomic_file file = open_text("dc:title:token_seq\nx\n");
    cr_expect_str_eq(file.names[0], "dc:title");
    atomic_file_close(&file);
}

Test(atomic_file, accepts_bom_crlf_and_no_last_line_end)
{
    struct atomic_file file = open_text("\xef\xbb\xbfuser_id:token\titem_id:token\r\nu1\ti1\r\n\r\nu2\ti\r2");
    cr_assert_eq(file.column_count, 2);
    cr_expect_str_eq(file.names[0], "user_id");
    cr_expect_str_eq(file.names[1], "item_id");
    expect_row(&file, 2, (const char *[]){"u1", "i1"});
    expect_row(&file, 4, (const char *[]){"u2", "i\r2"});
    expect_end(&file);
}

Test(atomic_file, empty_lines_are_skipped_and_empty_cells_kept)
{
    struct atomic_file file = open_text(HEADER "\n\n\t\t\nu1\t\t\n\n\tZo\xc3\xab \xe2\x98\x95\t\n\n");
    expect_row(&file, 4, (const char *[]){"", "", ""});
    expect_row(&file, 5, (const char *[]){"u1", "", ""});
    expect_row(&file, 7, (const char *[]){"", "Zo\xc3\xab \xe2\x98\x95", ""});
    expect_end(&file);
}

Test(atomic_file, a_header_alone_has_no_rows)
{
    static const char *const headers[] = {"user_id:token", "user_id:token\n", "user_id:token\r\n\n\n"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct atomic_file file = open_text(headers[i]);
        expect_end(&file);
    }
}

Test(atomic_file, reading_goes_on_after_a_bad_row)
{
    static const char text[] = HEADER "u1\ti1\nu1\ti1\t1\t2\nu1\ti\0001\t1\nu1\t\xff\t1\nlone\nu1\ti1\t1\n";
    struct atomic_file file;
    struct status st = STATUS_INIT;
    write_bytes(text, sizeof text - 1);
    cr_assert(atomic_file_open(&file, path, &st), "%s", st.message);
    expect_bad_row(&file, 2, "2 cells, the header has 3");
    expect_bad_row(&file, 3, "4 cells, the header has 3");
    expect_bad_row(&file, 4, "a NUL byte at byte 4");
    expect_bad_row(&file, 5, "invalid UTF-8 at byte 3");
    expect_bad_row(&file, 6, "1 cell, the header has 3");
    expect_row(&file, 7, (const char *[]){"u1", "i1", "1"});
    expect_end(&file);
}

Test(atomic_file, a_row_of_very_many_cells_is_bad)
{
    char text[2048] = HEADER;
    size_t at = strlen(text);
    memset(text + at, '\t', 1000);
    struct atomic_file file = open_text(text);
    expect_bad_row(&file, 2, "1001 cells, the header has 3");
    expect_end(&file);
}

/* A header of one column and a line of `length` letters, and one more row. */
static struct atomic_file open_long_line(size_t length, const char *line_end)
{
    char *text = malloc(length + 64);
    cr_assert_not_null(text);
    size_t at = (size_t)sprintf(text, "title:token_seq\n");
    memset(text + at, 'x', length);
    sprintf(text + at + length, "%safter\n", line_end);
    struct atomic_file file = open_text(text);
    free(text);
    return file;
}

Test(atomic_file, a_line_may_be_so_long_and_no_longer)
{
    static const char *const line_ends[] = {"\n", "\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct atomic_file file = open_long_line(ATOMIC_FILE_LINE_MAX, line_ends[i]);
        cr_assert_eq(atomic_file_next(&file, NULL), ATOMIC_ROW);
        cr_expect_eq(strlen(file.cells[0]), ATOMIC_FILE_LINE_MAX);
        expect_row(&file, 3, (const char *[]){"after"});
        expect_end(&file);

        for (size_t more = 1; more <= 5; more += 2) {
            file = open_long_line(ATOMIC_FILE_LINE_MAX + more, line_ends[i]);
            expect_bad_row(&file, 2, "longer than 1048576 bytes");
            expect_row(&file, 3, (const char *[]){"after"});
            expect_end(&file);
        }
    }
}

Test(atomic_file, refuses_what_is_no_header)
{
    static const struct {
        const char *bytes, *said;
        size_t size_bytes; /* 0: strlen */
    } cases[] = {
        {"", "empty file", 0},
        {"\n" HEADER, "no header", 0},
        {"1\t2\t3\n", "no header, expected tab-separated columns such as 'user_id:token', found '1?2?3'", 0},
        {"user_id,item_id\n", "no header", 0},
        {"user_id:token\titem_id\n", "column 'item_id' has no type", 0},
        {"user_id:token\t\n", "column '' has no type", 0},
        {"user_id:string\n", "the type of column 'user_id:string' is not token, token_seq, float or float_seq", 0},
        {"user_id:Token\n", "the type of column 'user_id:Token'", 0},
        {"user_id:\n", "the type of column 'user_id:'", 0},
        {":token\n", "column 1 has no name", 0},
        {"a:token\tb:float\ta:float\n", "two columns are called 'a'", 0},
        {"caf\xe9:token\n", "invalid UTF-8 at byte 3", 0},
        {"u\0s\0e\0r\0:\0", "a NUL byte at byte 1", 10},
        {"\x1f\x8b\x08\0\0\0\0\0", "gzip data", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct atomic_file file, zero;
        struct status st = STATUS_INIT;
        memset(&zero, 0, sizeof zero);
        write_bytes(cases[i].bytes, cases[i].size_bytes > 0 ? cases[i].size_bytes : strlen(cases[i].bytes));
        cr_expect_not(atomic_file_open(&file, path, &st), "accepted, not: %s", cases[i].said);
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(st.reason, "BAD_HEADER");
        cr_expect_not_null(strstr(st.message, path), "no file name in: %s", st.message);
        cr_expect_not_null(strstr(st.message, "' line 1: "), "no line in: %s", st.message);
        cr_expect_arr_eq(&file, &zero, sizeof file, "the struct was not left empty");
        cr_expect_not_null(strstr(st.message, cases[i].said), "'%s' not in: %s", cases[i].said, st.message);
    }
}

Test(atomic_file, as_many_columns_as_allowed)
{
    for (int count = ATOMIC_FILE_COLUMNS_MAX; count <= ATOMIC_FILE_COLUMNS_MAX + 1; count++) {
        char text[2048] = "";
        struct atomic_file file;
        struct status st = STATUS_INIT;
        for (int i = 0; i < count; i++)
            sprintf(text + strlen(text), "%sc%d:float", i > 0 ? "\t" : "", i);
        write_bytes(text, strlen(text));
        bool opened = atomic_file_open(&file, path, &st);
        cr_expect_eq(opened, count == ATOMIC_FILE_COLUMNS_MAX, "%d columns: %s", count, st.message);
        if (!opened)
            cr_expect_not_null(strstr(st.message, "65 columns, at most 64 are read"), "%s", st.message);
        atomic_file_close(&file);
    }
}

Test(atomic_file, names_a_file_that_cannot_be_opened)
{
    const char *const paths[] = {path, folder};
    for (size_t i = 0; i < 2; i++) {
        struct atomic_file file;
        struct status st = STATUS_INIT;
        cr_expect_not(atomic_file_open(&file, paths[i], &st));
        cr_expect_eq(st.code, STATUS_NOT_FOUND);
        cr_expect_str_eq(st.reason, "NO_INPUT");
        cr_expect_not_null(strstr(st.message, paths[i]), "%s", st.message);
    }
}

Test(atomic_file, finds_columns_by_the_first_spelling_that_is_there)
{
    struct atomic_file file = open_text("item:token\titem_id:token\ttimestamp:float\n");
    cr_expect_eq(atomic_file_column(&file, (const char *const[]){"item_id", "item", NULL}), 1);
    cr_expect_eq(atomic_file_column(&file, (const char *const[]){"itemID", "item", "item_id", NULL}), 0);
    cr_expect_eq(atomic_file_column(&file, (const char *const[]){"price", NULL}), -1);
    cr_expect_eq(atomic_file_column(&file, (const char *const[]){"item_id:token", NULL}), -1);
    cr_expect_eq(atomic_file_column(&file, (const char *const[]){NULL}), -1);
    atomic_file_close(&file);
}

Test(atomic_file, a_missing_column_is_told_with_those_that_are_there)
{
    struct atomic_file file = open_text("user:token\titem_id:token\n");
    struct status st = STATUS_INIT;
    int column = 7;
    cr_expect(atomic_file_require(&file, (const char *const[]){"item_id", "item", NULL}, &column, &st));
    cr_expect_eq(column, 1);
    cr_expect_eq(st.code, STATUS_OK);
    cr_expect_not(atomic_file_require(&file, (const char *const[]){"timestamp", "time", NULL}, &column, &st));
    cr_expect_eq(column, 1, "written although nothing was found");
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(st.reason, "MISSING_COLUMN");
    cr_expect_not_null(strstr(st.message, path), "%s", st.message);
    cr_expect_not_null(strstr(st.message, "no column named one of 'timestamp', 'time', found 'user', 'item_id'"), "%s",
                       st.message);
    cr_expect_not(atomic_file_require(&file, (const char *const[]){"price", NULL}, &column, &st));
    cr_expect_not_null(strstr(st.message, "no column 'price', found 'user', 'item_id'"), "%s", st.message);
    atomic_file_close(&file);
}

Test(atomic_file, long_lists_of_columns_are_cut)
{
    char text[4096] = "";
    for (int i = 0; i < 60; i++)
        sprintf(text + strlen(text), "%sa_rather_long_column_name_%d:float", i > 0 ? "\t" : "", i);
    struct atomic_file file = open_text(text);
    struct status st = STATUS_INIT;
    int column;
    cr_expect_not(atomic_file_require(&file, (const char *const[]){"price", NULL}, &column, &st));
    cr_expect_not_null(strstr(st.message, "found 'a_rather_long_column_name_0', "), "%s", st.message);
    cr_expect_str_eq(st.message + strlen(st.message) - 5, ", ...");
    atomic_file_close(&file);
}

Test(atomic_file, counts_bytes_for_a_progress_bar)
{
    struct atomic_file file = open_text(HEADER "u1\ti1\t1\n\nu1\n");
    cr_expect_eq(file.size_bytes, strlen(HEADER) + 12);
    cr_expect_eq(file.read_bytes, strlen(HEADER));
    cr_expect_eq(atomic_file_next(&file, NULL), ATOMIC_ROW);
    cr_expect_eq(file.read_bytes, strlen(HEADER) + 8);
    cr_expect_eq(atomic_file_next(&file, NULL), ATOMIC_BAD_ROW);
    cr_expect_eq(file.read_bytes, file.size_bytes);
    expect_end(&file);
}

Test(atomic_file, reads_a_pipe)
{
    struct atomic_file file;
    struct status st = STATUS_INIT;
    cr_assert_eq(mkfifo(path, 0600), 0);
    int keep = open(path, O_RDWR); /* so that opening it to read does not wait for a writer */
    static const char text[] = HEADER "u1\ti1\t1\n";
    cr_assert_eq(write(keep, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    cr_assert(atomic_file_open(&file, path, &st), "%s", st.message);
    cr_expect_eq(file.size_bytes, 0);
    close(keep); /* the end of the file */
    expect_row(&file, 2, (const char *[]){"u1", "i1", "1"});
    expect_end(&file);
}

Test(atomic_file, a_failed_read_is_told)
{
    struct atomic_file file = open_text(HEADER "u1\ti1\t1\n");
    struct status st = STATUS_INIT;
    FILE *unreadable = fopen(path, "ab");
    cr_assert_not_null(unreadable);
    fclose(file.file);
    file.file = unreadable;
    cr_expect_eq(atomic_file_next(&file, &st), ATOMIC_FAILED);
    cr_expect_eq(st.code, STATUS_DATA_LOSS);
    cr_expect_not_null(strstr(st.message, path), "%s", st.message);
    atomic_file_close(&file);
}

Test(atomic_file, close_accepts_an_empty_struct)
{
    struct atomic_file file, zero;
    memset(&file, 0, sizeof file);
    memset(&zero, 0, sizeof zero);
    atomic_file_close(&file);
    cr_expect_arr_eq(&file, &zero, sizeof file);
}
