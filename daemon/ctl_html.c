/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_html.h"

#include "daemon/ctl_html_item.h"
#include "daemon/ctl_html_text.h"
#include "daemon/ctl_output.h"
#include "daemon/timestamp.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAPS_OPEN 3 /* the other maps open at a click */

/* The browser mixes the colour of a cell from --t, the share of the largest value. */
static const char style[] =
    ":root{color-scheme:light dark;--fg:#1b1f24;--dim:#5c6773;--bg:#f4f5f7;--card:#fff;--line:#dde2e8;"
    "--red:214,45,58;--blue:38,104,228;--p0:#3b7dd8;--p1:#e08a2e;--p2:#3a9d6e;--p3:#b45bb0;--p4:#c2a521;--p5:#2fa3b8;"
    "--p6:#d05a5a;--p7:#868c95}\n"
    "@media(prefers-color-scheme:dark){:root{--fg:#e7eaee;--dim:#9aa5b1;--bg:#131619;--card:#1c2025;--line:#343b44;"
    "--red:236,84,92;--blue:84,142,248}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:76rem;padding:2rem 1.25rem 4rem;color:var(--fg);background:var(--bg);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 1rem}\n"
    "h2{font-size:1.2rem;margin:2.5rem 0 .75rem}\n"
    "h3{display:flex;gap:.75rem;align-items:baseline;font-size:1.05rem;margin:0}\n"
    "h3 .name{flex:1}\n"
    "h3 .rank{color:var(--dim);min-width:1.5rem}\n"
    "code{font:.85em ui-monospace,'DejaVu Sans Mono',monospace;color:var(--dim);font-weight:400}\n"
    "b,td,.score{font-variant-numeric:tabular-nums}\n"
    ".facts{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:0}\n"
    ".facts dt{color:var(--dim);font-size:.8rem}\n"
    ".facts dd{margin:0}\n"
    ".says{font-size:1.15rem;margin:0 0 1rem}\n"
    ".meta{color:var(--dim);font-size:.85rem;margin:.15rem 0 0}\n"
    ".reason{margin:.5rem 0}\n"
    ".bar{display:flex;height:14px;margin:.75rem 0 .4rem;border-radius:4px;overflow:hidden}\n"
    ".bar .zero{flex:none;width:2px;background:var(--fg)}\n"
    ".parts,.funnel{list-style:none;padding:0;margin:0}\n"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem 1.25rem;"
    "margin:0 0 1rem}\n"
    ".parts{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.85rem}\n"
    ".parts b{font-weight:500}\n"
    ".parts i{display:inline-block;width:.7rem;height:.7rem;border-radius:2px;margin-right:.4rem}\n"
    ".p0{background:var(--p0)}.p1{background:var(--p1)}.p2{background:var(--p2)}.p3{background:var(--p3)}"
    ".p4{background:var(--p4)}.p5{background:var(--p5)}.p6{background:var(--p6)}.p7{background:var(--p7)}\n"
    "details{margin-top:.75rem}\n"
    "summary{cursor:pointer;color:var(--dim);font-size:.9rem}\n"
    ".scroll{overflow-x:auto;margin-top:.5rem}\n"
    "table{border-collapse:separate;border-spacing:2px;font-size:.85rem}\n"
    "th{font-weight:500;text-align:left;padding:.2rem .5rem;overflow-wrap:normal}\n"
    "thead th{color:var(--dim);vertical-align:bottom;font-size:.8rem}\n"
    "tbody th{min-width:12rem;max-width:26rem}\n"
    "th small{display:block;color:var(--dim);font-weight:400}\n"
    "td{text-align:right;padding:.25rem .5rem;border-radius:4px;min-width:4.2rem;white-space:nowrap}\n"
    "td.pos{background:rgba(var(--red),var(--t))}\n"
    "td.neg{background:rgba(var(--blue),var(--t))}\n"
    "td.none{background:color-mix(in srgb,var(--line) 35%,transparent)}\n"
    ".sum td,.sum th{border-top:1px solid var(--line);border-radius:0}\n"
    ".total td,.total th{font-weight:700;border-top:2px solid var(--fg);border-radius:0}\n"
    ".legend{display:flex;align-items:center;gap:.6rem;color:var(--dim);font-size:.85rem;margin:0 0 1rem}\n"
    ".legend i{flex:none;width:10rem;height:10px;border-radius:4px;"
    "background:linear-gradient(90deg,rgba(var(--blue),.75),transparent 50%,rgba(var(--red),.75))}\n"
    ".funnel li{display:grid;grid-template-columns:8.5rem 5rem 1fr;gap:.75rem;align-items:center;font-size:.9rem}\n"
    ".funnel b{text-align:right;font-weight:500}\n"
    ".funnel i{height:8px;border-radius:4px;background:var(--p0)}\n"
    "@media(max-width:40rem){body{padding:1rem .75rem 3rem}.card{padding:.8rem}tbody th{min-width:9rem}"
    ".funnel li{grid-template-columns:7rem 4rem 1fr}}\n"
    "@media print{body{max-width:none;padding:0;background:none}.card{break-inside:avoid}.scroll{overflow:visible}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}\n";

/* An answer to `explain`, rather than a list? */
static bool is_why(const json_t *reply)
{
    return json_object_get(reply, "says") != NULL || json_object_get(reply, "list") != NULL;
}

static void print_fact(FILE *out, const char *name, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t i;
    json_t *element;
    if (json_array_size(value) == 0 && (text == NULL || *text == '\0'))
        return;
    html_put(out, "<div><dt>{}</dt><dd>{}", name, text != NULL ? text : "");
    json_array_foreach(value, i, element)
    {
        html_put(out, "{}{}", i > 0 ? ", " : "", json_string_value(element) != NULL ? json_string_value(element) : "");
    }
    fputs("</dd></div>\n", out);
}

static void print_facts(FILE *out, const json_t *list)
{
    static const char *const facts[][2] = {
        {"Model", "model"},           {"Counts", "counts"},      {"Catalogue", "catalogue"}, {"Log position", "seq"},
        {"Experiment", "experiment"}, {"Variant", "variant"},    {"List", "recomm_id"},      {"Degraded", "degraded"},
        {"Shortened", "shortened"},   {"Filled from", "filled"}, {"Unknown", "unknown"},
    };
    const int64_t now_ms = ctl_member_integer(list, "now_ms");
    char text[32];
    fputs("<dl class=\"facts card\">\n", out);
    if (now_ms != 0) {
        timestamp_format(now_ms, text);
        html_put(out, "<div><dt>Time</dt><dd>{}</dd></div>\n", text);
    }
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        print_fact(out, facts[i][0], json_object_get(list, facts[i][1]));
    fputs("</dl>\n", out);
}

static void print_head(FILE *out, const char *user, const json_t *reply)
{
    const char *asked = ctl_member_text(reply, "item");
    const char *who = user != NULL && *user != '\0' ? user : "somebody unknown";
    const bool why = is_why(reply);
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
          out);
    html_put(out, "<title>{}{} for {}</title>\n<style>\n", why ? "Why " : "Recommendations", why ? asked : "", who);
    fputs(style, out);
    fputs("</style>\n</head>\n<body>\n", out);
    if (why)
        html_put(out, "<h1>Why <bdi>{}</bdi> for <bdi>{}</bdi></h1>\n", asked, who);
    else
        html_put(out, "<h1>Recommendations for <bdi>{}</bdi></h1>\n", who);
}

static void print_gap(FILE *out, const json_t *reply)
{
    const json_t *gap = json_object_get(reply, "gap");
    json_t *parts = json_object_get(reply, "gap_parts"), *value;
    const char *name;
    if (gap == NULL)
        return;
    html_put(out, "<p>Behind the last item of the list by <b data-gap=\"{}\">{}</b>:</p>\n<table><tbody>\n",
             html_exact(json_number_value(gap)).text, html_rounded(json_number_value(gap), 4).text);
    json_object_foreach(parts, name, value)
    {
        html_put(out, "<tr><th scope=\"row\">{}</th><td data-gap-part=\"{}\" ", name, name);
        html_put(out, "data-gap-value=\"{}\">{}</td></tr>\n", html_exact(json_number_value(value)).text,
                 html_signed(json_number_value(value), 4).text);
    }
    fputs("</tbody></table>\n", out);
}

static bool print_verdict(struct html_page *page, const json_t *reply, struct status *st)
{
    static const char *const places[][2] = {{"Place", "place"}, {"Place by score alone", "by_score"}};
    const json_t *explained = json_object_get(reply, "explained"), *last = json_object_get(reply, "last");
    html_put(page->out, "<section class=\"card\">\n<p class=\"says\">{}</p>\n<dl class=\"facts\">\n",
             ctl_member_text(reply, "says"));
    print_fact(page->out, "Stage", json_object_get(reply, "stage"));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (json_object_get(reply, places[i][1]) != NULL)
            html_put(page->out, "<div><dt>{}</dt><dd>{}</dd></div>\n", places[i][0],
                     html_whole(ctl_member_integer(reply, places[i][1])).text);
    fputs("</dl>\n", page->out);
    print_gap(page->out, reply);
    fputs("</section>\n", page->out);
    if (explained != NULL && !html_print_item(page, explained, 0, true, st))
        return false;
    if (last == NULL)
        return true;
    fputs("<h2>The last item of the list</h2>\n", page->out);
    return html_print_item(page, last, 0, true, st);
}

static void print_funnel(FILE *out, const json_t *funnel)
{
    double most = 0;
    size_t i;
    json_t *stage;
    if (json_array_size(funnel) == 0)
        return;
    json_array_foreach(funnel, i, stage)
    {
        most = fmax(most, (double)ctl_member_integer(stage, "count"));
    }
    fputs("<h2>Items left after each stage</h2>\n<ol class=\"funnel card\">\n", out);
    json_array_foreach(funnel, i, stage)
    {
        const int64_t count = ctl_member_integer(stage, "count");
        const char *name = ctl_member_text(stage, "name");
        html_put(out, "<li data-stage=\"{}\" data-count=\"{}\"><span>{}</span>", name, html_whole(count).text, name);
        html_put(out, "<b>{}</b><i style=\"width:{}%\"></i></li>\n", html_whole(count).text,
                 html_rounded(most > 0 ? 100 * (double)count / most : 0, 2).text);
    }
    fputs("</ol>\n", out);
}

static bool print_list(struct html_page *page, const json_t *items, bool why, struct status *st)
{
    size_t i;
    json_t *item;
    fputs("<h2>The list</h2>\n", page->out);
    if (page->most > 0)
        html_put(page->out, "<p class=\"legend\">A cell is what an event adds to the score: {}<i></i>{}</p>\n",
                 html_signed(-page->most, 3).text, html_signed(page->most, 3).text);
    if (json_array_size(items) == 0)
        fputs("<p>No items.</p>\n", page->out);
    json_array_foreach(items, i, item)
    {
        if (!html_print_item(page, item, i + 1, !why && i < MAPS_OPEN, st))
            return false;
    }
    return true;
}

bool ctl_html_print(FILE *out, const char *user, const json_t *reply, struct status *st)
{
    const bool why = is_why(reply);
    const json_t *list = why ? json_object_get(reply, "list") : reply, *items = json_object_get(list, "items");
    struct html_page page = {.out = out, .history = json_object_get(list, "history")};
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        html_measure(&page, item);
    }
    html_measure(&page, json_object_get(reply, "explained"));
    html_measure(&page, json_object_get(reply, "last"));
    print_head(out, user, reply);
    print_facts(out, list);
    const bool ok = (!why || print_verdict(&page, reply, st)) && print_list(&page, items, why, st);
    print_funnel(out, json_object_get(list, "funnel"));
    fputs("</body>\n</html>\n", out);
    return ok;
}

/* ---- the file */

static bool write_failed(const char *path, struct status *st)
{
    return status_fail(st, STATUS_UNAVAILABLE, CTL_HTML_WRITE_FAILED, "write '%s': %s", path, strerror(errno));
}

/* into `path` as it stands, on the disk when it returns */
static bool write_to(const char *path, const char *user, const json_t *reply, struct status *st)
{
    FILE *out = fopen(path, "wbe");
    if (out == NULL)
        return write_failed(path, st);
    const bool printed = ctl_html_print(out, user, reply, st);
    bool written = fflush(out) == 0 && !ferror(out) && (fsync(fileno(out)) == 0 || errno == EINVAL);
    int cause = errno;
    if (fclose(out) != 0 && written) {
        written = false;
        cause = errno;
    }
    errno = cause;
    return printed && (written || write_failed(path, st));
}

bool ctl_html_write(const char *path, const char *user, const json_t *reply, struct status *st)
{
    struct stat is;
    char *part = NULL;
    if (strcmp(path, "-") == 0)
        return ctl_html_print(stdout, user, reply, st);
    if (stat(path, &is) == 0 && !S_ISREG(is.st_mode))
        return write_to(path, user, reply, st);
    if (asprintf(&part, "%s.part", path) < 0)
        return ctl_no_memory(st);
    bool ok = write_to(part, user, reply, st);
    if (ok && rename(part, path) != 0)
        ok = write_failed(path, st);
    if (!ok)
        unlink(part);
    free(part);
    return ok;
}
