/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_heat.h"
#include "daemon/ctl_html.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One item; its terms add up to its score, in numbers that are exact in binary. */
static const char list_text[] =
    "{\"items\": [{\"item\": \"i1\", \"score\": 0.75, \"source\": \"attention\", \"moved\": -2, \"reason\": \"R & D\","
    "  \"parts\": {\"text\": 0.5, \"image\": -0.125, \"popularity\": 0.375}, \"values\": {\"title\": \"Lamp\"},"
    "  \"terms\": ["
    "   {\"kind\": \"stream\", \"stream\": \"text->image\", \"event\": \"7\", \"item\": \"i2\", \"value\": 0.25},"
    "   {\"kind\": \"stream\", \"stream\": \"image->image\", \"event\": \"7\", \"item\": \"i2\", \"value\": -0.125},"
    "   {\"kind\": \"cooccurrence\", \"event\": \"5\", \"item\": \"i3\", \"value\": 0.125},"
    "   {\"kind\": \"stream\", \"stream\": \"text->image\", \"value\": 0.125},"
    "   {\"kind\": \"sequence\", \"modality\": \"text\", \"value\": 0.0625},"
    "   {\"kind\": \"boost\", \"rule\": 0, \"value\": 0.25},"
    "   {\"kind\": \"popularity\", \"value\": 0.0625}]}],"
    " \"history\": [{\"item\": \"i2\", \"title\": \"Shade\", \"behaviour\": \"purchase\", \"ts\": \"1760000000000\","
    "   \"seq\": \"7\"}, {\"item\": \"i3\", \"behaviour\": \"view\", \"ts\": \"1759000000000\", \"seq\": \"5\"},"
    "   {\"item\": \"i4\", \"title\": \"No term\", \"behaviour\": \"view\", \"seq\": \"4\"}],"
    " \"funnel\": [{\"name\": \"catalogue\", \"count\": \"400\"}, {\"name\": \"listed\", \"count\": \"1\"}],"
    " \"model\": \"default\", \"now_ms\": \"1760000100000\", \"degraded\": [\"stale\", \"unscored\"]}";

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    cr_assert_not_null(value, "%s: %s", error.text, text);
    return value;
}

/* The page; the caller frees. */
static char *page_of_reply(const json_t *reply, const char *user)
{
    char *text = NULL;
    size_t size = 0;
    struct status st = STATUS_INIT;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    cr_assert(ctl_html_print(out, user, reply, &st), "%s", st.message);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static char *page_of(const char *json, const char *user)
{
    json_t *reply = parse(json);
    char *text = page_of_reply(reply, user);
    json_decref(reply);
    return text;
}

static void expect_all(const char *page, const char *const *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_not_null(strstr(page, wanted[i]), "not on the page: %s", wanted[i]);
}

static void expect_none(const char *page, const char *const *unwanted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_null(strstr(page, unwanted[i]), "on the page: %s", unwanted[i]);
}

#define EXPECT_ALL(page, ...)                                                                                          \
    expect_all(page, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
#define EXPECT_NONE(page, ...)                                                                                         \
    expect_none(page, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

Test(ctl_html, every_number_is_there_for_programs)
{
    char *page = page_of(list_text, "u1");
    EXPECT_ALL(page, "data-item=\"i1\" data-score=\"0.75\">0.7500<",
               "data-item=\"i1\" data-event=\"7\" data-stream=\"text-&gt;image\" data-value=\"0.25\">+0.250<",
               "data-item=\"i1\" data-event=\"7\" data-stream=\"image-&gt;image\" data-value=\"-0.125\">-0.125<",
               "data-item=\"i1\" data-event=\"5\" data-stream=\"co-occurrence\" data-value=\"0.125\">",
               "data-item=\"i1\" data-event=\"\" data-stream=\"text-&gt;image\" data-value=\"0.125\">",
               "data-item=\"i1\" data-kind=\"sequence, text\" data-value=\"0.0625\">",
               "data-item=\"i1\" data-kind=\"boost, rule 0\" data-value=\"0.25\">",
               "data-item=\"i1\" data-kind=\"popularity\" data-value=\"0.0625\">",
               "data-item=\"i1\" data-part=\"image\" data-part-value=\"-0.125\">-0.1250<",
               "data-stage=\"catalogue\" data-count=\"400\"", "data-stage=\"listed\" data-count=\"1\"");
    free(page);
}

Test(ctl_html, sums_are_right)
{
    char *page = page_of(list_text, "u1");
    EXPECT_ALL(page, "data-item=\"i1\" data-event=\"7\" data-sum=\"0.125\">", "data-event=\"5\" data-sum=\"0.125\">",
               "data-item=\"i1\" data-event=\"\" data-sum=\"0.125\">",
               "data-item=\"i1\" data-stream=\"text-&gt;image\" data-sum=\"0.375\">",
               "data-item=\"i1\" data-stream=\"image-&gt;image\" data-sum=\"-0.125\">",
               "data-item=\"i1\" data-stream=\"co-occurrence\" data-sum=\"0.125\">",
               "data-item=\"i1\" data-sum=\"0.375\">", "data-item=\"i1\" data-total=\"0.75\">0.7500<");
    free(page);
}

Test(ctl_html, says_what_it_is_about)
{
    char *page = page_of(list_text, "u1");
    char *nobody = page_of(list_text, NULL);
    EXPECT_ALL(page, "<title>Recommendations for u1</title>", "2025-10-09T08:55:00.000Z", "<dd>default</dd>",
               "stale, unscored", "Lamp", "R &amp; D", "moved down by 2", "Shade", "2025-10-09, purchase", "i3",
               "the rest of each stream");
    EXPECT_NONE(page, "No term"); /* an event of which nothing comes has no row */
    EXPECT_ALL(nobody, "<title>Recommendations for somebody unknown</title>");
    free(page);
    free(nobody);
}

Test(ctl_html, needs_nothing_from_elsewhere)
{
    char *page = page_of(list_text, "u1");
    EXPECT_ALL(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">");
    EXPECT_NONE(page, "<script", "<img", "<link", "<iframe", "src=", "href=", "url(", "@import", "http:", "https:");
    free(page);
}

Test(ctl_html, bars_start_at_zero_on_one_scale)
{
    char *page = page_of(list_text, "u1");
    const char *bar = strstr(page, "<div class=\"bar\">");
    cr_assert_not_null(bar);
    const char *image = strstr(bar, "style=\"width:12.500%\" title=\"image"), *zero = strstr(bar, "class=\"zero\"");
    const char *text = strstr(bar, "style=\"width:50.000%\" title=\"text");
    const char *popularity = strstr(bar, "style=\"width:37.500%\" title=\"popularity");
    cr_assert(image != NULL && zero != NULL && text != NULL && popularity != NULL);
    cr_expect(image < zero && zero < text && text < popularity);
    free(page);
}

Test(ctl_html, text_from_outside_stays_text)
{
    static const char evil[] = "</script><img src=x onerror=alert(1)>", quote[] = "i\" onmouseover='x";
    json_t *reply =
        json_pack("{s:[{s:s, s:f, s:s, s:s, s:{s:f}, s:{s:s}, s:[{s:s, s:s, s:s, s:f}, {s:s, s:s, s:f}]}],"
                  " s:[{s:s, s:s, s:s, s:s}], s:s, s:[s], s:[{s:s, s:s}]}",
                  "items", "item", quote, "score", 1.0, "reason", evil, "source", evil, "parts", evil, 1.0, "values",
                  "title", evil, "terms", "kind", "stream", "stream", evil, "event", quote, "value", 0.5, "kind", evil,
                  "modality", evil, "value", 0.5, "history", "item", evil, "title", "{}\x1b[31m", "behaviour", evil,
                  "seq", quote, "model", evil, "degraded", evil, "funnel", "name", evil, "count", "1");
    cr_assert_not_null(reply);
    char *page = page_of_reply(reply, evil);
    EXPECT_NONE(page, "<script", "</script", "<img", "i\" onmouseover", "onmouseover='", "\x1b");
    EXPECT_ALL(page, "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;", "data-item=\"i&quot; onmouseover=&#39;x\"",
               "data-event=\"i&quot; onmouseover=&#39;x\"", "<bdi>{}\xef\xbf\xbd[31m</bdi>");
    free(page);
    json_decref(reply);
}

Test(ctl_html, why_tells_the_verdict_and_the_gap)
{
    static const char why[] =
        "{\"item\": \"i9\", \"stage\": \"outranked\", \"says\": \"it came 12th of 10\", \"by_score\": 12, \"gap\": 0.5,"
        " \"gap_parts\": {\"text\": 0.75, \"image\": -0.25}, \"explained\": {\"item\": \"i9\", \"score\": 0.25,"
        " \"terms\": [{\"kind\": \"popularity\", \"value\": 0.25}]}, \"last\": {\"item\": \"i8\", \"score\": 0.75},"
        " \"list\": {\"items\": [{\"item\": \"i8\", \"score\": 0.75}], \"model\": \"m1\","
        " \"funnel\": [{\"name\": \"pool\", \"count\": \"12\"}]}}";
    char *page = page_of(why, "u1");
    EXPECT_ALL(page, "<title>Why i9 for u1</title>", "it came 12th of 10", "<dd>outranked</dd>", "<dd>12</dd>",
               "data-gap=\"0.5\">0.5000<", "data-gap-part=\"text\" data-gap-value=\"0.75\">",
               "data-gap-part=\"image\" data-gap-value=\"-0.25\">", "data-item=\"i9\" data-score=\"0.25\">",
               "data-item=\"i9\" data-total=\"0.25\">", "data-item=\"i8\" data-score=\"0.75\">",
               "The last item of the list", "<dd>m1</dd>", "data-stage=\"pool\" data-count=\"12\"");
    free(page);
}

Test(ctl_html, missing_and_strange_members_are_left_out)
{
    static const char *const replies[] = {
        "{}",
        "{\"items\": []}",
        "{\"items\": [{}], \"history\": [{}]}",
        "{\"items\": [{\"item\": \"i\", \"terms\": [{}], \"parts\": {}}]}",
        "{\"items\": [{\"item\": \"i\", \"terms\": [{\"kind\": \"stream\"}, {\"kind\": \"cooccurrence\"}]}]}",
        "{\"items\": [{\"item\": \"i\", \"parts\": {\"text\": 0}, \"score\": 0}]}",
        "{\"says\": \"\"}",
        "{\"says\": \"x\", \"explained\": {}, \"last\": {}, \"list\": {}}",
        "{\"list\": null}",
        "{\"items\": 3, \"history\": \"x\", \"funnel\": {}, \"degraded\": 1, \"model\": []}",
        "{\"items\": [7, null, {\"terms\": [{\"kind\": \"stream\", \"stream\": \"a\", \"value\": \"x\"}, 3],"
        " \"parts\": [1], \"values\": 2, \"item\": 5}], \"funnel\": [1], \"history\": [2]}",
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char *page = page_of(replies[i], "u");
        cr_expect_eq(strncmp(page, "<!DOCTYPE html>", 15), 0, "%s", replies[i]);
        cr_expect_not_null(strstr(page, "</html>\n"), "%s", replies[i]);
        cr_expect_null(strstr(page, "nan"), "%s", replies[i]);
        free(page);
    }
}

Test(ctl_html, same_reply_same_bytes)
{
    char *first = page_of(list_text, "u1"), *second = page_of(list_text, "u1");
    cr_expect_str_eq(first, second);
    free(first);
    free(second);
}

Test(ctl_html, file_is_replaced_as_a_whole)
{
    char directory[] = "/tmp/ctl_html.XXXXXX", path[64], part[80], line[64] = "";
    struct status st = STATUS_INIT;
    json_t *reply = parse(list_text);
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/page.html", directory);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *old = fopen(path, "w");
    cr_assert(old != NULL && fputs("old", old) >= 0 && fclose(old) == 0);
    cr_assert(ctl_html_write(path, "u1", reply, &st), "%s", st.message);
    FILE *page = fopen(path, "r");
    cr_assert_not_null(page);
    cr_expect_not_null(fgets(line, sizeof line, page));
    cr_expect_str_eq(line, "<!DOCTYPE html>\n");
    fclose(page);
    cr_expect_neq(access(part, F_OK), 0);
    unlink(path);
    rmdir(directory);
    cr_expect_not(ctl_html_write(path, "u1", reply, &st), "the directory is gone");
    cr_expect_str_eq(st.reason, CTL_HTML_WRITE_FAILED);
    json_decref(reply);
}

/* ---- the same map as text */

static char *map_of(json_t *list, bool colour, size_t width)
{
    char *text = NULL;
    size_t size = 0;
    struct ctl_heat heat;
    cr_assert(ctl_heat_open(&heat, json_array_get(json_object_get(list, "items"), 0), json_object_get(list, "history"),
                            NULL));
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    ctl_heat_print(out, &heat, colour, width);
    cr_assert_eq(fclose(out), 0);
    ctl_heat_close(&heat);
    return text;
}

/* A list of one item with so many events, the newest first, that add 0.01, 0.02, ... to each of so many streams. */
static json_t *wide_list(int events, int streams)
{
    json_t *terms = json_array(), *history = json_array();
    for (int e = 0; e < events; e++) {
        json_array_append_new(history,
                              json_pack("{s:o, s:o, s:s}", "seq", json_sprintf("%d", 100 - e), "title",
                                        json_sprintf("Title of the event number %d\x1b", e), "ts", "1760000000000"));
        for (int s = 0; s < streams; s++)
            json_array_append_new(terms, json_pack("{s:s, s:o, s:o, s:f}", "kind", "stream", "stream",
                                                   json_sprintf("modality%02d->text", s), "event",
                                                   json_sprintf("%d", 100 - e), "value", 0.01 * (e + 1)));
    }
    return json_pack("{s:[{s:s, s:o}], s:o}", "items", "item", "i", "terms", terms, "history", history);
}

static size_t lines_of(const char *text, size_t *widest)
{
    size_t lines = 0;
    *widest = 0;
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        lines++;
        if ((size_t)(end - text) > *widest)
            *widest = (size_t)(end - text);
    }
    return lines;
}

Test(ctl_heat, map_as_text)
{
    json_t *list = parse(list_text);
    char *plain = map_of(list, false, 80), *coloured = map_of(list, true, 80);
    EXPECT_ALL(plain, "2025-10-09 Shade", "2025-09-27 i3", "the rest of each stream", "+0.250@", "-0.125+", "sum",
               "image", "text", "co-");
    EXPECT_NONE(plain, "\x1b", "No term");
    EXPECT_ALL(coloured, "\x1b[48;5;196;", "\x1b[48;5;19;", "+0.250\x1b[0m");
    free(plain);
    free(coloured);
    json_decref(list);
}

Test(ctl_heat, small_rows_are_summed)
{
    size_t widest;
    json_t *list = wide_list(30, 2);
    char *map = map_of(list, false, 80);
    /* a head of numbers, since "modality00" does not fit above a column; 20 rows, the others, the sum, the legend */
    cr_expect_eq(lines_of(map, &widest), 1 + 20 + 1 + 1 + 1, "%s", map);
    cr_expect_leq(widest, 80, "%s", map);
    EXPECT_ALL(map, "10 others", "+0.550", "+4.650", "Title of the event number 29?");
    EXPECT_NONE(map, "number 9?");
    free(map);
    json_decref(list);
}

Test(ctl_heat, many_streams_fit_into_80_columns)
{
    for (int streams = 1; streams <= 18; streams++) {
        size_t widest;
        json_t *list = wide_list(3, streams);
        char *map = map_of(list, false, 80);
        lines_of(map, &widest);
        cr_expect_leq(widest, 80, "%d streams: %zu columns", streams, widest);
        free(map);
        json_decref(list);
    }
}
