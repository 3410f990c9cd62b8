/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/atomic_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistr.h>

#define BOM      "\xef\xbb\xbf"
#define GZIP     "\x1f\x8b"
#define BAD_LINE STATUS_INVALID_ARGUMENT

/* ---- lines ---- */

enum line { LINE, LINE_TOO_LONG, LINE_END, LINE_FAILED };

/* Read one line into file->line, without its end. getline() would take as much memory as a file without line ends is
 * long; here the rest of a line that is too long is passed over. */
static enum line read_line(struct atomic_file *file, size_t *line_bytes)
{
    size_t length = 0;
    uint64_t taken = 0;
    bool too_long = false;
    int c;
    while ((c = getc_unlocked(file->file)) != EOF) {
        taken++;
        if (c == '\n')
            break;
        if (length + 1 < file->line_capacity)
            file->line[length++] = (char)c;
        else
            too_long = true;
    }
    file->read_bytes += taken;
    if (c == EOF && ferror(file->file))
        return LINE_FAILED;
    if (taken == 0)
        return LINE_END;
    file->line_number++;
    if (!too_long && length > 0 && file->line[length - 1] == '\r')
        length--;
    file->line[length] = '\0';
    *line_bytes = length;
    return too_long || length > ATOMIC_FILE_LINE_MAX ? LINE_TOO_LONG : LINE;
}

/* What every line must be, header or row. */
static bool check_text(const char *line, size_t line_bytes, const char *reason, struct status *st)
{
    const char *nul = memchr(line, '\0', line_bytes);
    if (nul != NULL)
        return status_fail(st, BAD_LINE, reason, "a NUL byte at byte %td", nul - line);
    const uint8_t *bad = u8_check((const uint8_t *)line, line_bytes);
    if (bad != NULL)
        return status_fail(st, BAD_LINE, reason, "invalid UTF-8 at byte %td", (const char *)bad - line);
    return true;
}

static bool too_long(const char *reason, struct status *st)
{
    return status_fail(st, BAD_LINE, reason, "longer than %u bytes", ATOMIC_FILE_LINE_MAX);
}

static bool read_failed(struct status *st)
{
    return status_fail(st, STATUS_DATA_LOSS, "READ_FAILED", "read: %s", strerror(errno));
}

/* Cut `line` at its tabs. All cells are counted, the first ATOMIC_FILE_COLUMNS_MAX are kept. */
static size_t split(char *line, const char **cells)
{
    size_t count = 0;
    for (char *cell; (cell = strsep(&line, "\t")) != NULL; count++)
        if (count < ATOMIC_FILE_COLUMNS_MAX)
            cells[count] = cell;
    return count;
}

/* ---- the header ---- */

static bool is_known_type(const char *type)
{
    static const char *const known[] = {"token", "token_seq", "float", "float_seq"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(type, known[i]) == 0)
            return true;
    return false;
}

/* Cut the type off the name of a column, and check both against the columns before it. */
static bool check_column(const struct atomic_file *file, size_t column, struct status *st)
{
    const char *name = file->names[column];
    char *colon = strrchr(name, ':'); /* within file->header, which is ours to cut */
    if (colon == NULL)
        return status_fail(st, BAD_LINE, "BAD_HEADER", "column '%s' has no type, expected such as 'user_id:token'",
                           name);
    if (!is_known_type(colon + 1))
        return status_fail(st, BAD_LINE, "BAD_HEADER",
                           "the type of column '%s' is not token, token_seq, float or float_seq", name);
    *colon = '\0';
    if (*name == '\0')
        return status_fail(st, BAD_LINE, "BAD_HEADER", "column %zu has no name", column + 1);
    for (size_t i = 0; i < column; i++)
        if (strcmp(file->names[i], name) == 0)
            return status_fail(st, BAD_LINE, "BAD_HEADER", "two columns are called '%s'", name);
    return true;
}

static bool parse_header(struct atomic_file *file, struct status *st)
{
    if (strchr(file->header, ':') == NULL)
        return status_fail(st, BAD_LINE, "BAD_HEADER",
                           "no header, expected tab-separated columns such as 'user_id:token', found '%.60s'",
                           file->header);
    size_t count = split(file->header, file->names);
    if (count > ATOMIC_FILE_COLUMNS_MAX)
        return status_fail(st, BAD_LINE, "BAD_HEADER", "%zu columns, at most %d are read", count,
                           ATOMIC_FILE_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!check_column(file, i, st))
            return false;
    file->column_count = count;
    return true;
}

static bool read_header(struct atomic_file *file, struct status *st)
{
    size_t line_bytes = 0;
    enum line got = read_line(file, &line_bytes);
    if (got == LINE_FAILED)
        return read_failed(st);
    if (got == LINE_END)
        return status_fail(st, BAD_LINE, "BAD_HEADER", "empty file");
    if (memcmp(file->line, GZIP, sizeof GZIP - 1) == 0)
        return status_fail(st, BAD_LINE, "BAD_HEADER", "gzip data: unpack it first");
    if (got == LINE_TOO_LONG)
        return too_long("BAD_HEADER", st);
    size_t skipped = memcmp(file->line, BOM, sizeof BOM - 1) == 0 ? sizeof BOM - 1 : 0;
    if (!check_text(file->line, line_bytes, "BAD_HEADER", st))
        return false;
    file->header = strdup(file->line + skipped);
    if (file->header == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for %zu bytes", line_bytes);
    return parse_header(file, st);
}

/* ---- the file ---- */

bool atomic_file_open(struct atomic_file *file, const char *path, struct status *st)
{
    bool ok = false;
    struct stat facts;
    memset(file, 0, sizeof *file);
    file->file = fopen(path, "rbe");
    if (file->file == NULL || fstat(fileno(file->file), &facts) != 0) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", path, strerror(errno));
        goto out;
    }
    if (S_ISDIR(facts.st_mode)) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", path, strerror(EISDIR));
        goto out;
    }
    snprintf(file->path, sizeof file->path, "%s", path);
    file->size_bytes = S_ISREG(facts.st_mode) ? (uint64_t)facts.st_size : 0;
    file->line_capacity = ATOMIC_FILE_LINE_MAX + 2; /* a CR and a NUL */
    file->line = calloc(1, file->line_capacity);    /* zeroed: the first bytes are compared however short the line */
    if (file->line == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for %zu bytes", file->line_capacity);
        goto out;
    }
    if (!read_header(file, st)) {
        status_wrap(st, "'%s' line 1", path);
        goto out;
    }
    ok = true;
out:
    if (!ok)
        atomic_file_close(file);
    return ok;
}

int atomic_file_column(const struct atomic_file *file, const char *const *names)
{
    for (; *names != NULL; names++)
        for (size_t i = 0; i < file->column_count; i++)
            if (strcmp(file->names[i], *names) == 0)
                return (int)i;
    return -1;
}

/* "'a', 'b', 'c'", with "..." for what does not fit. */
static void list_names(char *out, size_t capacity, const char *const *names, size_t count)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        int length = snprintf(out + used, capacity - used, "%s'%s'", i > 0 ? ", " : "", names[i]);
        if (length < 0 || (size_t)length + sizeof ", ..." > capacity - used) {
            snprintf(out + used, capacity - used, "%s...", i > 0 ? ", " : "");
            return;
        }
        used += (size_t)length;
    }
}

bool atomic_file_require(const struct atomic_file *file, const char *const *names, int *column, struct status *st)
{
    int found = atomic_file_column(file, names);
    if (found < 0) {
        char wanted[100], present[140];
        size_t count = 0;
        while (names[count] != NULL)
            count++;
        list_names(wanted, sizeof wanted, names, count);
        list_names(present, sizeof present, file->names, file->column_count);
        return status_fail(st, STATUS_INVALID_ARGUMENT, "MISSING_COLUMN", "'%s': no column %s%s, found %s", file->path,
                           count > 1 ? "named one of " : "", wanted, present);
    }
    *column = found;
    return true;
}

static bool parse_row(struct atomic_file *file, size_t line_bytes, struct status *st)
{
    if (!check_text(file->line, line_bytes, "BAD_ROW", st))
        return false;
    size_t count = split(file->line, file->cells);
    if (count != file->column_count)
        return status_fail(st, BAD_LINE, "BAD_ROW", "%zu cell%s, the header has %zu", count, count == 1 ? "" : "s",
                           file->column_count);
    return true;
}

enum atomic_row atomic_file_next(struct atomic_file *file, struct status *st)
{
    size_t line_bytes = 0;
    enum line got;
    bool ok = false;
    do {
        got = read_line(file, &line_bytes);
    } while (got == LINE && line_bytes == 0);

    switch (got) {
    case LINE_FAILED:
        read_failed(st);
        status_wrap(st, "'%s' after line %ju", file->path, (uintmax_t)file->line_number);
        return ATOMIC_FAILED;
    case LINE_END:
        return ATOMIC_END;
    case LINE_TOO_LONG:
        ok = too_long("BAD_ROW", st);
        break;
    case LINE:
        ok = parse_row(file, line_bytes, st);
        break;
    }
    if (ok)
        return ATOMIC_ROW;
    status_wrap(st, "'%s' line %ju", file->path, (uintmax_t)file->line_number);
    return ATOMIC_BAD_ROW;
}

void atomic_file_close(struct atomic_file *file)
{
    if (file->file != NULL)
        fclose(file->file);
    free(file->line);
    free(file->header);
    memset(file, 0, sizeof *file);
}
