/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_output.h"

#include "daemon/timestamp.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the daemon writes them (json_rpc.c): its digits, not those of the nearest binary number. */
#define DUMP_FLAGS (JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

void ctl_print_json(const struct ctl *ctl, const json_t *value)
{
    size_t flags = ctl->terminal && ctl->output == CTL_JSON ? JSON_INDENT(2) : JSON_COMPACT;
    json_dumpf(value, stdout, flags | DUMP_FLAGS);
    putchar('\n');
}

void ctl_print_lines(const json_t *list)
{
    size_t i;
    json_t *element;
    json_array_foreach(list, i, element)
    {
        json_dumpf(element, stdout, JSON_COMPACT | DUMP_FLAGS);
        putchar('\n');
    }
}

static int64_t integer_of(const json_t *value)
{
    return json_is_string(value) ? strtoll(json_string_value(value), NULL, 10) : (int64_t)json_number_value(value);
}

int64_t ctl_member_integer(const json_t *object, const char *name)
{
    return integer_of(json_object_get(object, name));
}

const char *ctl_member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static const json_t *member(const json_t *element, const char *path)
{
    const char *dot = strchr(path, '.');
    char outer[64];
    if (dot == NULL || (size_t)(dot - path) >= sizeof outer)
        return json_object_get(element, path);
    memcpy(outer, path, (size_t)(dot - path));
    outer[dot - path] = '\0';
    return json_object_get(json_object_get(element, outer), dot + 1);
}

/* The cells below are malloc'ed; NULL is out of memory. */
__attribute__((format(printf, 1, 2))) static char *print_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return length >= 0 ? text : NULL;
}

static char *plain_text(const json_t *value)
{
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (json_is_boolean(value))
        return strdup(json_is_true(value) ? "yes" : "no");
    if (json_is_integer(value))
        return print_text("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_real(value))
        return print_text("%.10g", json_real_value(value));
    return strdup("");
}

static char *list_text(const json_t *list)
{
    char *text = NULL;
    size_t size = 0, i;
    json_t *element;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    json_array_foreach(list, i, element)
    {
        const char *one = json_is_object(element) ? ctl_member_text(element, "modality") : json_string_value(element);
        fprintf(out, "%s%s", i > 0 ? ", " : "", one != NULL ? one : "");
    }
    return fclose(out) == 0 ? text : NULL;
}

static char *bytes_text(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double amount = (double)bytes;
    size_t unit = 0;
    while (amount >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        amount /= 1024;
        unit++;
    }
    return print_text(unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
}

static char *span_text(int64_t span_ms)
{
    int64_t seconds = span_ms / 1000;
    int64_t days = seconds / 86400;
    if (days > 0)
        return print_text("%" PRId64 " d %" PRId64 " h %" PRId64 " min", days, seconds / 3600 % 24, seconds / 60 % 60);
    if (seconds >= 60)
        return print_text("%" PRId64 " h %" PRId64 " min %" PRId64 " s", seconds / 3600, seconds / 60 % 60,
                          seconds % 60);
    return print_text("%" PRId64 ".%" PRId64 " s", seconds, span_ms % 1000 / 100);
}

static char *time_text(int64_t at_ms)
{
    char text[32];
    timestamp_format(at_ms, text);
    return strdup(text);
}

static char *cell_text(const json_t *value, enum ctl_cell cell, size_t index)
{
    if (cell == CTL_CELL_ORDINAL)
        return print_text("%zu", index + 1);
    if (value == NULL || json_is_null(value))
        return strdup("");
    switch (cell) {
    case CTL_CELL_SCORE:
        return print_text("%.4f", json_number_value(value));
    case CTL_CELL_TIME:
        return time_text(integer_of(value));
    case CTL_CELL_SPAN:
        return span_text(integer_of(value));
    case CTL_CELL_BYTES:
        return bytes_text(integer_of(value));
    case CTL_CELL_LIST:
        return list_text(value);
    case CTL_CELL_PLAIN:
    case CTL_CELL_STATE:
    case CTL_CELL_ORDINAL:
        break;
    }
    return plain_text(value);
}

static const char *state_colour(const char *state)
{
    return strcmp(state, "ready") == 0 ? "green" : "yellow";
}

static bool fill_cell(struct libscols_line *line, size_t number, const struct ctl_column *column, const json_t *value,
                      size_t index)
{
    char *text = cell_text(value, column->cell, index);
    if (text == NULL || scols_line_refer_data(line, number, text) != 0) { /* the line owns it from here on */
        free(text);
        return false;
    }
    return column->cell != CTL_CELL_STATE ||
           scols_cell_set_color(scols_line_get_cell(line, number), state_colour(text)) == 0;
}

static bool add_columns(struct libscols_table *table, const struct ctl_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) | (columns[i].cut ? SCOLS_FL_TRUNC : 0);
        struct libscols_column *column = scols_table_new_column(table, columns[i].title, 0, flags);
        if (column == NULL || scols_cell_set_color(scols_column_get_header(column), "bold") != 0)
            return false;
    }
    return true;
}

static struct libscols_table *table_new(const struct ctl *ctl)
{
    struct libscols_table *table = scols_new_table();
    if (table != NULL)
        scols_table_enable_colors(table, ctl->colour);
    return table;
}

bool ctl_print_table(const struct ctl *ctl, const json_t *list, const struct ctl_column *columns, size_t column_count,
                     struct status *st)
{
    bool ok = false;
    size_t i;
    json_t *element;
    struct libscols_table *table = table_new(ctl);
    if (table == NULL || !add_columns(table, columns, column_count))
        goto out;
    json_array_foreach(list, i, element)
    {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (line == NULL)
            goto out;
        for (size_t c = 0; c < column_count; c++) {
            const char *path = columns[c].member;
            if (!fill_cell(line, c, &columns[c], path != NULL ? member(element, path) : element, i))
                goto out;
        }
    }
    ok = scols_print_table(table) == 0;
out:
    scols_unref_table(table);
    return ok || ctl_no_memory(st);
}

bool ctl_print_facts(const struct ctl *ctl, const json_t *object, const struct ctl_column *rows, size_t row_count,
                     struct status *st)
{
    static const struct ctl_column columns[] = {{.title = "name"}, {.title = "value"}};
    bool ok = false;
    struct libscols_table *table = table_new(ctl);
    if (table == NULL || !add_columns(table, columns, 2) || scols_table_enable_noheadings(table, 1) != 0)
        goto out;
    for (size_t i = 0; i < row_count; i++) {
        const json_t *value = member(object, rows[i].member);
        if (value == NULL)
            continue;
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (line == NULL || scols_line_set_data(line, 0, rows[i].title) != 0 || !fill_cell(line, 1, &rows[i], value, i))
            goto out;
    }
    ok = scols_print_table(table) == 0;
out:
    scols_unref_table(table);
    return ok || ctl_no_memory(st);
}
