/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_heat.h"

#include "daemon/ctl_output.h"
#include "daemon/timestamp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char rest_title[] = "the rest of each stream";

const char *ctl_heat_column(const json_t *term)
{
    const char *kind = ctl_member_text(term, "kind"), *stream = ctl_member_text(term, "stream");
    if (strcmp(kind, "cooccurrence") == 0)
        return CTL_HEAT_COOCCURRENCE;
    return strcmp(kind, "stream") == 0 && *stream != '\0' ? stream : NULL;
}

json_t *ctl_heat_term_name(const json_t *term)
{
    const char *column = ctl_heat_column(term), *kind = ctl_member_text(term, "kind");
    const char *modality = ctl_member_text(term, "modality");
    const json_t *rule = json_object_get(term, "rule");
    if (column != NULL)
        return json_string(column);
    if (*modality != '\0')
        return json_sprintf("%s, %s", kind, modality);
    return rule != NULL ? json_sprintf("%s, rule %d", kind, (int)json_number_value(rule)) : json_string(kind);
}

const json_t *ctl_heat_event(const json_t *history, const char *seq)
{
    size_t i;
    json_t *event;
    if (*seq == '\0')
        return NULL;
    json_array_foreach(history, i, event)
    {
        if (strcmp(ctl_member_text(event, "seq"), seq) == 0)
            return event;
    }
    return NULL;
}

const char *ctl_heat_title(const struct ctl_heat_row *row)
{
    const char *title = ctl_member_text(row->event, "title");
    if (*title != '\0')
        return title;
    if (*row->item != '\0')
        return row->item;
    return *row->seq != '\0' ? row->seq : rest_title;
}

void ctl_heat_day(const struct ctl_heat_row *row, char out[11])
{
    const int64_t at_ms = ctl_member_integer(row->event, "ts");
    char text[32] = "";
    if (at_ms != 0)
        timestamp_format(at_ms, text);
    memcpy(out, text, 10);
    out[10] = '\0';
}

const char *ctl_heat_item_title(const json_t *item)
{
    const char *title = ctl_member_text(json_object_get(item, "values"), "title");
    return *title != '\0' ? title : ctl_member_text(item, "item");
}

static int compare_columns(const void *a, const void *b)
{
    const char *left = *(const char *const *)a, *right = *(const char *const *)b;
    const int left_last = strcmp(left, CTL_HEAT_COOCCURRENCE) == 0;
    const int right_last = strcmp(right, CTL_HEAT_COOCCURRENCE) == 0;
    return left_last != right_last ? left_last - right_last : strcmp(left, right);
}

static size_t find_column(const struct ctl_heat *heat, const char *name)
{
    size_t i = 0;
    while (i < heat->column_count && strcmp(heat->columns[i], name) != 0)
        i++;
    return i;
}

static size_t find_row(const struct ctl_heat *heat, const char *seq)
{
    size_t i = 0;
    while (i < heat->row_count && strcmp(heat->rows[i].seq, seq) != 0)
        i++;
    return i;
}

static void add_columns(struct ctl_heat *heat, const json_t *terms)
{
    size_t i;
    json_t *term;
    json_array_foreach(terms, i, term)
    {
        const char *column = ctl_heat_column(term);
        if (column != NULL && find_column(heat, column) == heat->column_count)
            heat->columns[heat->column_count++] = column;
    }
    qsort(heat->columns, heat->column_count, sizeof *heat->columns, compare_columns);
}

/* every event of the history first, so that its order holds; those of which nothing comes are dropped later */
static void add_rows(struct ctl_heat *heat, const json_t *terms, const json_t *history)
{
    size_t i;
    json_t *event, *term;
    bool rest = false;
    json_array_foreach(history, i, event)
    {
        const char *seq = ctl_member_text(event, "seq");
        if (*seq != '\0')
            heat->rows[heat->row_count++] =
                (struct ctl_heat_row){.seq = seq, .event = event, .item = ctl_member_text(event, "item")};
    }
    json_array_foreach(terms, i, term)
    {
        const char *seq = ctl_member_text(term, "event");
        if (ctl_heat_column(term) == NULL)
            continue;
        rest = rest || *seq == '\0';
        if (*seq != '\0' && find_row(heat, seq) == heat->row_count)
            heat->rows[heat->row_count++] = (struct ctl_heat_row){.seq = seq, .item = ctl_member_text(term, "item")};
    }
    if (rest)
        heat->rows[heat->row_count++] = (struct ctl_heat_row){.seq = "", .item = ""};
}

static void add_values(struct ctl_heat *heat, const json_t *terms)
{
    size_t i;
    json_t *term;
    for (i = 0; i < heat->row_count * heat->column_count; i++)
        heat->values[i] = NAN;
    json_array_foreach(terms, i, term)
    {
        const char *column = ctl_heat_column(term);
        if (column == NULL)
            continue;
        const size_t row = find_row(heat, ctl_member_text(term, "event"));
        double *cell = &heat->values[row * heat->column_count + find_column(heat, column)];
        *cell = (isnan(*cell) ? 0 : *cell) + json_number_value(json_object_get(term, "value"));
    }
}

static void drop_empty_rows(struct ctl_heat *heat)
{
    const size_t columns = heat->column_count;
    size_t kept = 0;
    for (size_t row = 0; row < heat->row_count; row++) {
        const double *values = &heat->values[row * columns];
        bool any = false;
        double weight = 0;
        for (size_t c = 0; c < columns; c++) {
            any = any || !isnan(values[c]);
            weight += isnan(values[c]) ? 0 : fabs(values[c]);
        }
        if (!any)
            continue;
        memmove(&heat->values[kept * columns], values, columns * sizeof *values);
        heat->rows[kept] = heat->rows[row];
        heat->rows[kept++].weight = weight;
    }
    heat->row_count = kept;
}

bool ctl_heat_open(struct ctl_heat *heat, const json_t *item, const json_t *history, struct status *st)
{
    const json_t *terms = json_object_get(item, "terms");
    const size_t term_count = json_array_size(terms), event_count = json_array_size(history);
    memset(heat, 0, sizeof *heat);
    heat->columns = calloc(term_count + 1, sizeof *heat->columns);
    heat->rows = calloc(event_count + term_count + 1, sizeof *heat->rows);
    if (heat->columns == NULL || heat->rows == NULL) {
        ctl_heat_close(heat);
        return ctl_no_memory(st);
    }
    add_columns(heat, terms);
    add_rows(heat, terms, history);
    heat->values = calloc(heat->row_count + 1, (heat->column_count + 1) * sizeof *heat->values);
    if (heat->values == NULL) {
        ctl_heat_close(heat);
        return ctl_no_memory(st);
    }
    add_values(heat, terms);
    drop_empty_rows(heat);
    return true;
}

void ctl_heat_close(struct ctl_heat *heat)
{
    free(heat->columns);
    free(heat->rows);
    free(heat->values);
    memset(heat, 0, sizeof *heat);
}
