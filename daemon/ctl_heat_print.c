/* SPDX-License-Identifier: Apache-2.0
 *
 * The map on a terminal. */
#include "daemon/ctl_heat.h"
#include "daemon/ctl_output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <unistr.h>
#include <uniwidth.h>

#define ROWS_SHOWN   20
#define WIDTH        80 /* where nothing is known of the terminal */
#define WIDTH_LEAST  40
#define LABEL_WANTED 24 /* a day and the beginning of a title */
#define LABEL_LEAST  16
#define LABEL_MOST   48
#define CELL_LEAST   3 /* a gap, the sign, how dense */
#define CELL_MOST    10
#define NUMBER_LEAST 4 /* "+0.1" */
#define LEVELS       5 /* of each colour */

/* How wide everything is, and which value has the strongest colour. */
struct layout {
    FILE *out;
    bool colour;
    size_t label, cell; /* columns of the terminal, the gap included */
    double most;        /* 0: numbers only */
};

size_t ctl_heat_print_text(FILE *out, const char *text, size_t width)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t left = strlen(text), used = 0;
    while (left > 0) {
        ucs4_t symbol;
        const size_t bytes = (size_t)u8_mbtouc(&symbol, at, left);
        const int columns = uc_width(symbol, "UTF-8"); /* negative: a control character */
        const size_t takes = columns < 0 ? 1 : (size_t)columns;
        if (width > 0 && used + takes > width)
            break;
        if (columns < 0)
            fputc('?', out);
        else
            fwrite(at, 1, bytes, out);
        used += takes;
        at += bytes;
        left -= bytes;
    }
    return used;
}

static void print_label(const struct layout *layout, const char *day, const char *text)
{
    size_t used = 0;
    if (*day != '\0')
        used = (size_t)fprintf(layout->out, "%s ", day);
    used += ctl_heat_print_text(layout->out, text, layout->label - 1 - used);
    fprintf(layout->out, "%*s", (int)(layout->label - used), "");
}

/* The number with as many decimals as fit, three at most; nothing where it would say too little. */
static void number_text(char out[32], double value, size_t room)
{
    *out = '\0';
    for (int decimals = 3; room >= NUMBER_LEAST && decimals >= 0; decimals--) {
        const int length = snprintf(out, 32, "%+.*f", decimals, value);
        if (length > 0 && (size_t)length <= room)
            return;
        *out = '\0';
    }
}

static void print_cell(const struct layout *layout, double value)
{
    static const char dense[] = " .:-=+*#%@";
    static const int red[LEVELS] = {52, 88, 124, 160, 196}, blue[LEVELS] = {17, 18, 19, 20, 21};
    const int width = (int)layout->cell - 1;
    char number[32], text[40], shade[2] = "";
    if (isnan(value)) {
        fprintf(layout->out, "%*s", width + 1, "");
        return;
    }
    const double share = layout->most > 0 ? fmin(fabs(value) / layout->most, 1) : 0;
    number_text(number, value, layout->cell - (layout->colour ? 1 : 2));
    if (!layout->colour)
        shade[0] = dense[(size_t)(share * (double)(sizeof dense - 2) + .5)];
    snprintf(text, sizeof text, "%s%s", *number != '\0' ? number : value < 0 ? "-" : "+", shade);
    const int level = (int)ceil(share * LEVELS) - 1;
    if (layout->colour && level >= 0)
        fprintf(layout->out, " \033[48;5;%d;38;5;231m%*s\033[0m", value < 0 ? blue[level] : red[level], width, text);
    else
        fprintf(layout->out, " %*s", width, text);
}

/* "text->image" is two lines of a head: who picks the event, and who judges by it. */
static int head_half(const char *name, bool second, const char **start)
{
    const char *arrow = strstr(name, "->");
    *start = name;
    if (strcmp(name, CTL_HEAT_COOCCURRENCE) == 0)
        *start = second ? "occur" : "co-";
    else if (second)
        *start = arrow != NULL ? arrow + 2 : "";
    else if (arrow != NULL)
        return (int)(arrow - name);
    return (int)strlen(*start);
}

static bool heads_fit(const struct ctl_heat *heat, size_t cell)
{
    const char *start;
    for (size_t c = 0; c < heat->column_count; c++)
        if (head_half(heat->columns[c], false, &start) >= (int)cell ||
            head_half(heat->columns[c], true, &start) >= (int)cell)
            return false;
    return true;
}

static void print_heads(const struct layout *layout, const struct ctl_heat *heat)
{
    const int width = (int)layout->cell - 1;
    const bool named = heads_fit(heat, layout->cell);
    for (int line = 0; line < (named ? 2 : 1); line++) {
        print_label(layout, "", !named ? "event" : line == 0 ? "event, picked by its" : "      judged by the");
        for (size_t c = 0; c < heat->column_count; c++) {
            const char *start;
            const int length = head_half(heat->columns[c], line > 0, &start);
            if (named)
                fprintf(layout->out, " %*.*s", width, length, start);
            else
                fprintf(layout->out, " %*zu", width, c + 1);
        }
        fputc('\n', layout->out);
    }
}

/* What the numbers above narrow columns stand for. */
static void print_legend(const struct ctl_heat *heat, FILE *out, size_t width)
{
    size_t used = 0;
    for (size_t c = 0; c < heat->column_count; c++) {
        char number[24];
        const size_t length = strlen(heat->columns[c]) + (size_t)snprintf(number, sizeof number, "%zu ", c + 1);
        if (used > 0 && used + 2 + length > width) {
            fputc('\n', out);
            used = 0;
        }
        fprintf(out, "%s%s%s", used > 0 ? "  " : "", number, heat->columns[c]);
        used += length + (used > 0 ? 2 : 0);
    }
    fputc('\n', out);
}

/* Not among the largest rows of events; of equal ones the newer is shown. */
static bool is_hidden(const struct ctl_heat *heat, size_t row)
{
    size_t larger = 0;
    if (*heat->rows[row].seq == '\0')
        return false;
    for (size_t i = 0; i < heat->row_count; i++) {
        const double difference = heat->rows[i].weight - heat->rows[row].weight;
        if (*heat->rows[i].seq != '\0' && (difference > 0 || (difference >= 0 && i < row)))
            larger++;
    }
    return larger >= ROWS_SHOWN;
}

/* The sum of a column over the hidden rows, or over all; NAN where none has a value. */
static double column_sum(const struct ctl_heat *heat, size_t column, const bool *hidden)
{
    double sum = NAN;
    for (size_t row = 0; row < heat->row_count; row++) {
        const double value = heat->values[row * heat->column_count + column];
        if (!isnan(value) && (hidden == NULL || hidden[row]))
            sum = (isnan(sum) ? 0 : sum) + value;
    }
    return sum;
}

static void print_sums(const struct layout *layout, const struct ctl_heat *heat, const char *label, const bool *hidden)
{
    print_label(layout, "", label);
    for (size_t c = 0; c < heat->column_count; c++)
        print_cell(layout, column_sum(heat, c, hidden));
    fputc('\n', layout->out);
}

static struct layout plan(FILE *out, const struct ctl_heat *heat, bool colour, size_t width)
{
    struct layout layout = {.out = out, .colour = colour, .cell = CELL_MOST, .label = LABEL_LEAST};
    const size_t count = heat->column_count, room = (width - LABEL_WANTED) / (count > 0 ? count : 1);
    if (room < CELL_MOST)
        layout.cell = room > CELL_LEAST ? room : CELL_LEAST;
    const size_t used = layout.cell * count;
    if (used + LABEL_LEAST < width)
        layout.label = width - used < LABEL_MOST ? width - used : LABEL_MOST;
    for (size_t i = 0; i < heat->row_count * count; i++)
        layout.most = isnan(heat->values[i]) ? layout.most : fmax(layout.most, fabs(heat->values[i]));
    return layout;
}

void ctl_heat_print(FILE *out, const struct ctl_heat *heat, bool colour, size_t width)
{
    const size_t columns = width > WIDTH_LEAST ? width : WIDTH_LEAST;
    struct layout layout = plan(out, heat, colour, columns);
    bool *hidden = calloc(heat->row_count + 1, sizeof *hidden); /* without memory for it every row is shown */
    size_t others = 0;
    char label[40], day[11];
    print_heads(&layout, heat);
    for (size_t row = 0; row < heat->row_count; row++) {
        if (hidden != NULL && is_hidden(heat, row)) {
            hidden[row] = true;
            others++;
            continue;
        }
        ctl_heat_day(&heat->rows[row], day);
        print_label(&layout, day, ctl_heat_title(&heat->rows[row]));
        for (size_t c = 0; c < heat->column_count; c++)
            print_cell(&layout, heat->values[row * heat->column_count + c]);
        fputc('\n', out);
    }
    layout.most = 0;
    snprintf(label, sizeof label, "%zu other%s", others, others == 1 ? "" : "s");
    if (others > 0)
        print_sums(&layout, heat, label, hidden);
    print_sums(&layout, heat, "sum", NULL);
    if (!heads_fit(heat, layout.cell))
        print_legend(heat, out, columns);
    free(hidden);
}

/* ---- of an item */

void ctl_heat_print_heading(const json_t *item)
{
    ctl_heat_print_text(stdout, ctl_heat_item_title(item), 0);
    fputs(" (", stdout);
    ctl_heat_print_text(stdout, ctl_member_text(item, "item"), 0);
    printf("), score %.4f\n", json_number_value(json_object_get(item, "score")));
}

static size_t terminal_width(const struct ctl *ctl)
{
    struct winsize size;
    return ctl->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH;
}

/* What the score has besides: taste as a whole, popularity, boosts. */
static bool print_besides(const json_t *item, struct status *st)
{
    const json_t *terms = json_object_get(item, "terms");
    size_t i, count = 0;
    json_t *term;
    json_array_foreach(terms, i, term)
    {
        if (ctl_heat_column(term) != NULL)
            continue;
        json_t *name = ctl_heat_term_name(term);
        if (name == NULL)
            return ctl_no_memory(st);
        fputs(count++ == 0 ? "besides: " : "; ", stdout);
        ctl_heat_print_text(stdout, json_string_value(name), 0);
        printf(" %+.3f", json_number_value(json_object_get(term, "value")));
        json_decref(name);
    }
    if (count > 0)
        putchar('\n');
    return true;
}

bool ctl_heat_show(const struct ctl *ctl, const json_t *item, const json_t *history, struct status *st)
{
    struct ctl_heat heat;
    if (!ctl_heat_open(&heat, item, history, st))
        return false;
    if (heat.row_count > 0)
        ctl_heat_print(stdout, &heat, ctl->colour, terminal_width(ctl));
    else
        puts("nothing of the score comes from single events");
    ctl_heat_close(&heat);
    return print_besides(item, st);
}
