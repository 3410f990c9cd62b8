/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_html_item.h"

#include "daemon/ctl_heat.h"
#include "daemon/ctl_html_text.h"
#include "daemon/ctl_output.h"

#include <math.h>
#include <string.h>

#define COLOURS 8 /* p0 to p7 of the style */

static double member_number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static size_t part_colour(struct html_page *page, const char *name)
{
    size_t i = 0;
    while (i < page->part_count && strcmp(page->parts[i], name) != 0)
        i++;
    if (i == page->part_count && i < HTML_PARTS_MOST)
        page->parts[page->part_count++] = name;
    return i % COLOURS;
}

void html_measure(struct html_page *page, const json_t *item)
{
    json_t *parts = json_object_get(item, "parts"), *value, *term;
    const char *name;
    double below = 0, above = 0;
    size_t i;
    json_object_foreach(parts, name, value)
    {
        const double part = json_number_value(value);
        below -= fmin(part, 0);
        above += fmax(part, 0);
        part_colour(page, name);
    }
    page->below = fmax(page->below, below);
    page->above = fmax(page->above, above);
    json_array_foreach(json_object_get(item, "terms"), i, term)
    {
        page->most = fmax(page->most, fabs(member_number(term, "value")));
    }
}

static void print_parts(struct html_page *page, const json_t *item, const char *id)
{
    json_t *parts = json_object_get(item, "parts"), *value;
    const char *name;
    const double scale = page->below + page->above > 0 ? 100 / (page->below + page->above) : 0;
    double gap = page->below; /* before the item's own parts below zero */
    json_object_foreach(parts, name, value)
    {
        gap += fmin(json_number_value(value), 0);
    }
    html_put(page->out, "<div class=\"bar\"><i style=\"width:{}%\"></i>", html_rounded(fmax(gap, 0) * scale, 3).text);
    for (int sign = -1; sign <= 1; sign += 2) {
        if (sign > 0 && page->below > 0)
            fputs("<i class=\"zero\"></i>", page->out);
        json_object_foreach(parts, name, value)
        {
            const double share = json_number_value(value) * sign * scale;
            if (share > 0)
                html_put(page->out, "<i class=\"p{}\" style=\"width:{}%\" title=\"{} {}\"></i>",
                         html_whole((int64_t)part_colour(page, name)).text, html_rounded(share, 3).text, name,
                         html_signed(json_number_value(value), 4).text);
        }
    }
    fputs("</div>\n<ul class=\"parts\">\n", page->out);
    json_object_foreach(parts, name, value)
    {
        html_put(page->out, "<li><i class=\"p{}\"></i>{} <b data-item=\"{}\" data-part=\"{}\" ",
                 html_whole((int64_t)part_colour(page, name)).text, name, id, name);
        html_put(page->out, "data-part-value=\"{}\">{}</b></li>\n", html_exact(json_number_value(value)).text,
                 html_signed(json_number_value(value), 4).text);
    }
    fputs("</ul>\n", page->out);
}

/* the class and the share of the colour of a cell, as attributes */
static void put_colour(const struct html_page *page, double value)
{
    const double share = page->most > 0 ? fmin(fabs(value) / page->most, 1) : 0;
    html_put(page->out, "<td class=\"{}\" style=\"--t:{}\"", value < 0 ? "neg" : "pos",
             html_rounded(share * .75, 3).text);
}

static void print_row(const struct html_page *page, const struct ctl_heat *heat, size_t row, const char *id)
{
    const struct ctl_heat_row *about = &heat->rows[row];
    const char *behaviour = ctl_member_text(about->event, "behaviour");
    double sum = 0;
    char day[11];
    ctl_heat_day(about, day);
    html_put(page->out, "<tr><th scope=\"row\"><bdi>{}</bdi>", ctl_heat_title(about));
    if (*day != '\0' || *behaviour != '\0')
        html_put(page->out, "<small>{}{}{}</small>", day, *day != '\0' && *behaviour != '\0' ? ", " : "", behaviour);
    fputs("</th>", page->out);
    for (size_t c = 0; c < heat->column_count; c++) {
        const double value = heat->values[row * heat->column_count + c];
        if (isnan(value)) {
            fputs("<td class=\"none\"></td>", page->out);
            continue;
        }
        put_colour(page, value);
        html_put(page->out, " data-item=\"{}\" data-event=\"{}\" data-stream=\"{}\" ", id, about->seq,
                 heat->columns[c]);
        html_put(page->out, "data-value=\"{}\">{}</td>", html_exact(value).text, html_signed(value, 3).text);
        sum += value;
    }
    html_put(page->out, "<td data-item=\"{}\" data-event=\"{}\" data-sum=\"{}\">{}</td></tr>\n", id, about->seq,
             html_exact(sum).text, html_signed(sum, 3).text);
}

/* Below the events: the sums of the columns. Returns their sum. */
static double print_sums(const struct html_page *page, const struct ctl_heat *heat, const char *id)
{
    double total = 0;
    fputs("<tr class=\"sum\"><th scope=\"row\">what the events add</th>", page->out);
    for (size_t c = 0; c < heat->column_count; c++) {
        double sum = 0;
        for (size_t row = 0; row < heat->row_count; row++) {
            const double value = heat->values[row * heat->column_count + c];
            sum += isnan(value) ? 0 : value;
        }
        html_put(page->out, "<td data-item=\"{}\" data-stream=\"{}\" data-sum=\"{}\">{}</td>", id, heat->columns[c],
                 html_exact(sum).text, html_signed(sum, 3).text);
        total += sum;
    }
    html_put(page->out, "<td data-item=\"{}\" data-sum=\"{}\">{}</td></tr>\n", id, html_exact(total).text,
             html_signed(total, 3).text);
    return total;
}

/* And what comes from no event, a row each. Adds it to the total. */
static bool print_besides(const struct html_page *page, const json_t *item, const char *id, size_t columns,
                          double *total, struct status *st)
{
    size_t i;
    json_t *term;
    json_array_foreach(json_object_get(item, "terms"), i, term)
    {
        const double value = member_number(term, "value");
        if (ctl_heat_column(term) != NULL)
            continue;
        json_t *name = ctl_heat_term_name(term);
        if (name == NULL)
            return ctl_no_memory(st);
        html_put(page->out, "<tr><th scope=\"row\" colspan=\"{}\">{}</th>", html_whole((int64_t)columns + 1).text,
                 json_string_value(name));
        put_colour(page, value);
        html_put(page->out, " data-item=\"{}\" data-kind=\"{}\" data-value=\"{}\">{}</td></tr>\n", id,
                 json_string_value(name), html_exact(value).text, html_signed(value, 3).text);
        *total += value;
        json_decref(name);
    }
    return true;
}

static bool print_map(const struct html_page *page, const json_t *item, const char *id, bool open, struct status *st)
{
    struct ctl_heat heat;
    double total = 0;
    if (!ctl_heat_open(&heat, item, page->history, st))
        return false;
    html_put(page->out, "<details{}><summary>Where the score comes from</summary>\n<div class=\"scroll\"><table>\n",
             open ? " open" : "");
    if (heat.row_count > 0) {
        fputs("<thead><tr><th>Event</th>", page->out);
        for (size_t c = 0; c < heat.column_count; c++)
            html_put(page->out, "<th scope=\"col\">{}</th>", heat.columns[c]);
        fputs("<th scope=\"col\">sum</th></tr></thead>\n", page->out);
    }
    fputs("<tbody>\n", page->out);
    for (size_t row = 0; row < heat.row_count; row++)
        print_row(page, &heat, row, id);
    if (heat.row_count > 0)
        total = print_sums(page, &heat, id);
    const bool ok = print_besides(page, item, id, heat.column_count, &total, st);
    html_put(page->out, "<tr class=\"total\"><th scope=\"row\" colspan=\"{}\">total</th>",
             html_whole((int64_t)heat.column_count + 1).text);
    html_put(page->out, "<td data-item=\"{}\" data-total=\"{}\">{}</td></tr>\n</tbody></table></div></details>\n", id,
             html_exact(total).text, html_rounded(total, 4).text);
    ctl_heat_close(&heat);
    return ok;
}

/* "i0001 · neighbour · spring · moved up by 2 by rules" */
static void print_meta(const struct html_page *page, const json_t *item)
{
    const char *source = ctl_member_text(item, "source"), *label = ctl_member_text(item, "label");
    const int64_t moved = ctl_member_integer(item, "moved");
    html_put(page->out, "<p class=\"meta\"><code>{}</code>", ctl_member_text(item, "item"));
    if (*source != '\0')
        html_put(page->out, " · {}", source);
    if (*label != '\0')
        html_put(page->out, " · {}", label);
    if (moved != 0)
        html_put(page->out, " · moved {} by {} by rules", moved > 0 ? "up" : "down",
                 html_whole(moved > 0 ? moved : -moved).text);
    fputs("</p>\n", page->out);
}

bool html_print_item(struct html_page *page, const json_t *item, size_t rank, bool open, struct status *st)
{
    const char *id = ctl_member_text(item, "item"), *reason = ctl_member_text(item, "reason");
    const double score = member_number(item, "score");
    fputs("<article class=\"card\">\n<h3>", page->out);
    if (rank > 0)
        html_put(page->out, "<span class=\"rank\">{}</span>", html_whole((int64_t)rank).text);
    html_put(page->out, "<bdi class=\"name\">{}</bdi><span class=\"score\" ", ctl_heat_item_title(item));
    html_put(page->out, "data-item=\"{}\" data-score=\"{}\">{}</span></h3>\n", id, html_exact(score).text,
             html_rounded(score, 4).text);
    print_meta(page, item);
    if (json_object_size(json_object_get(item, "parts")) > 0)
        print_parts(page, item, id);
    if (*reason != '\0')
        html_put(page->out, "<p class=\"reason\">{}</p>\n", reason);
    const bool ok = json_array_size(json_object_get(item, "terms")) == 0 || print_map(page, item, id, open, st);
    fputs("</article>\n", page->out);
    return ok;
}
