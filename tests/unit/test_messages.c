/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/messages.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

/* Relative to the root of the project, where tests are run. */
#define REFERENCE "etc/messages.yaml"

static struct arena arena;

static void set_up(void)
{
    arena_init(&arena, (size_t)1 << 20);
}

static void tear_down(void)
{
    arena_close(&arena);
}

TestSuite(messages, .init = set_up, .fini = tear_down);

static struct messages *load(const char *text, struct status *st)
{
    *st = (struct status)STATUS_INIT;
    return messages_load_text("m.yaml", text, strlen(text), st);
}

static struct messages *loaded(const char *text)
{
    struct status st;
    struct messages *messages = load(text, &st);
    cr_assert_not_null(messages, "%s\nsays: %s", text, st.message);
    return messages;
}

static const char *text_of(const struct messages *messages, const char *tag, const char *key)
{
    const struct language *language = messages_find(messages, tag);
    cr_assert_not_null(language, "'%s'", tag);
    return messages_text(language, key);
}

static void expect_tag(const struct messages *messages, const char *asked, const char *expected)
{
    const struct language *language = messages_find(messages, asked);
    cr_assert_not_null(language, "'%s'", asked);
    cr_expect_str_eq(messages_tag(language), expected, "'%s' is '%s'", asked, messages_tag(language));
}

/* ---- languages */

Test(messages, without_a_file_there_is_english)
{
    static const char *const empty[] = {"", "# nothing\n", "---\n", "~\n", "{}\n"};
    for (size_t i = 0; i < COUNT(empty); i++) {
        const char *tags[MESSAGES_LANGUAGES_MOST + 1];
        struct messages *messages = loaded(empty[i]);
        expect_tag(messages, "", "en");
        expect_tag(messages, "en", "en");
        cr_expect_null(messages_find(messages, "de"));
        cr_expect_eq(messages_tags(messages, tags), 1);
        cr_expect_str_eq(tags[0], "en");
        messages_release(messages);
    }
    struct status st = STATUS_INIT;
    struct messages *off = messages_load("off", &st);
    cr_assert_not_null(off, "%s", st.message);
    cr_expect_str_eq(text_of(off, "", "behaviour.purchase"), "bought");
    messages_release(off);
    messages_release(NULL);
}

Test(messages, languages_are_found_by_their_tags)
{
    struct messages *messages = loaded("fr: {novelty: nouveau}\nde: {novelty: neu}\npt-BR: {novelty: novo}\n"
                                       "zh-Hant-TW: {novelty: xin}\n");
    const char *tags[MESSAGES_LANGUAGES_MOST + 1];
    expect_tag(messages, "", "fr");
    expect_tag(messages, "en", "en");
    expect_tag(messages, "en-GB", "en");
    expect_tag(messages, "de", "de");
    expect_tag(messages, "DE", "de");
    expect_tag(messages, "de-AT", "de");
    expect_tag(messages, "de-Latn-AT-1996", "de");
    expect_tag(messages, "pt-br", "pt-BR");
    expect_tag(messages, "zh-Hant-TW", "zh-Hant-TW");
    static const char *const unknown[] = {"pt", "pt-PT", "zh-Hant", "d", "deu", "xx", "-", "-de", "de_AT", " de"};
    for (size_t i = 0; i < COUNT(unknown); i++)
        cr_expect_null(messages_find(messages, unknown[i]), "'%s'", unknown[i]);
    cr_assert_eq(messages_tags(messages, tags), 5);
    cr_expect_str_eq(tags[0], "fr");
    cr_expect_str_eq(tags[3], "zh-Hant-TW");
    cr_expect_str_eq(tags[4], "en");
    messages_release(messages);
}

Test(messages, what_a_language_lacks_its_wider_one_says_and_else_english)
{
    struct messages *messages = loaded("de-AT: {date: '{day}.', behaviour.wish: gewünscht}\n"
                                       "de: {novelty: neu, date: '{month}', modality.sound: der Klang}\n");
    cr_expect_str_eq(text_of(messages, "de-AT", "date"), "{day}.");
    cr_expect_str_eq(text_of(messages, "de-AT", "novelty"), "neu");
    cr_expect_str_eq(text_of(messages, "de-AT", "recent"), text_of(messages, "en", "recent"));
    cr_expect_str_eq(text_of(messages, "de", "date"), "{month}");
    cr_expect_str_eq(text_of(messages, "en", "date"), "{day} {month}");
    const struct language *austrian = messages_find(messages, "de-AT"), *german = messages_find(messages, "de");
    cr_expect_str_eq(messages_name(austrian, "modality", "sound"), "der Klang");
    cr_expect_str_eq(messages_name(austrian, "behaviour", "wish"), "gewünscht");
    cr_expect_str_eq(messages_name(austrian, "behaviour", "like"), "liked");
    cr_expect_null(messages_name(german, "behaviour", "wish"));
    cr_expect_null(messages_name(messages_find(messages, "en"), "modality", "sound"));
    cr_expect_null(messages_name(german, "modality", ""));
    char endless[1000] = {0};
    memset(endless, 'x', sizeof endless - 1);
    cr_expect_null(messages_name(german, "modality", endless));
    messages_release(messages);
}

Test(messages, english_can_be_replaced)
{
    struct messages *messages = loaded("en-GB: {months: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}\n"
                                       "en: {boost: our pick, modality.image: photo}\nde: {novelty: neu}\n");
    const char *tags[MESSAGES_LANGUAGES_MOST + 1];
    cr_expect_str_eq(text_of(messages, "en", "boost"), "our pick");
    cr_expect_str_eq(text_of(messages, "en", "novelty"), "it is new");
    cr_expect_str_eq(text_of(messages, "de", "boost"), "our pick");
    cr_expect_str_eq(text_of(messages, "en-GB", "boost"), "our pick");
    cr_expect_str_eq(text_of(messages, "de", "modality.image"), "photo");
    cr_expect_str_eq(messages_month(messages_find(messages, "en-GB"), 4), "5");
    cr_expect_str_eq(messages_month(messages_find(messages, "de"), 4), "May");
    cr_expect_eq(messages_tags(messages, tags), 3, "en is not there twice");
    messages_release(messages);
    messages = loaded("en: {}\nde: {novelty: neu}\n");
    expect_tag(messages, "", "en");
    cr_expect_str_eq(text_of(messages, "", "novelty"), "it is new");
    messages_release(messages);
}

Test(messages, months_are_a_list)
{
    struct messages *messages = loaded("x:\n  months: [a, b, c, d, 'e', f, g, h, i, j, k, l m]\n");
    const struct language *language = messages_find(messages, "x");
    cr_expect_str_eq(messages_month(language, 0), "a");
    cr_expect_str_eq(messages_month(language, 4), "e");
    cr_expect_str_eq(messages_month(language, 11), "l m");
    messages_release(messages);
}

Test(messages, a_reference_keeps_the_texts)
{
    struct messages *messages = loaded("de: {novelty: neu}\n");
    struct messages *held = messages_acquire(messages);
    const struct language *german = messages_find(held, "de");
    messages_release(messages);
    cr_expect_str_eq(messages_text(german, "novelty"), "neu");
    messages_release(held);
}

/* ---- filling */

Test(messages, placeholders_are_filled)
{
    struct messages *messages =
        loaded("x: {stream_cross: '{event}: {pick}{pick}, {modality} ü', date: '{day}', similar_cross: '{pick}'}\n");
    const struct language *language = messages_find(messages, "x");
    const struct messages_value values[] = {{"modality", "{pick}"}, {"event", "Grüße"}, {"pick", "p"}};
    cr_expect_str_eq(messages_expand(language, "stream_cross", values, 3, &arena), "Grüße: pp, {pick} ü");
    cr_expect_str_eq(messages_expand(language, "stream_cross", values, 2, &arena), "Grüße: , {pick} ü");
    cr_expect_str_eq(messages_expand(language, "similar_cross", values, 3, &arena), "p");
    cr_expect_str_eq(messages_expand(language, "date", NULL, 0, &arena), "");
    cr_expect_str_eq(messages_expand(language, "novelty", NULL, 0, &arena), "it is new");
    cr_expect_str_eq(
        messages_expand(language, "join", (struct messages_value[]){{"second", "b"}, {"first", "a"}}, 2, &arena),
        "a; b");
    messages_release(messages);
}

Test(messages, an_arena_without_room_gives_nothing)
{
    struct messages *messages = loaded("");
    const struct language *english = messages_find(messages, "en");
    char title[200] = {0};
    memset(title, 't', sizeof title - 1);
    const struct messages_value value = {"title", title};
    struct arena small;
    arena_init(&small, 192);
    cr_expect_null(messages_expand(english, "example", &value, 1, &small));
    cr_expect_eq(arena_used(&small), 0);
    title[191] = '\0';
    cr_expect_str_eq(messages_expand(english, "example", &value, 1, &small), title);
    arena_close(&small);
    messages_release(messages);
}

/* ---- faults */

struct refused {
    const char *text;
    const char *problem;
};

static void expect_refused(const char *text, const char *problem)
{
    struct status st;
    struct messages *messages = load(text, &st);
    cr_expect_null(messages, "accepted: %s", text);
    cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT, "%s", text);
    cr_expect_str_eq(st.reason, "BAD_MESSAGES");
    cr_expect(strstr(st.message, problem) != NULL, "\n%s\nsays: %s", text, st.message);
    messages_release(messages);
}

static void expect_all_refused(const struct refused *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_refused(cases[i].text, cases[i].problem);
}

Test(messages, faults_of_messages_are_named_with_their_place)
{
    static const struct refused cases[] = {
        {"de:\n  stream_sme: a\n", "m.yaml:2: language 'de': 'stream_sme': unknown key, did you mean 'stream_same'?"},
        {"de:\n  novelty: a\n  colour: b\n", "m.yaml:3: language 'de': 'colour': unknown key"},
        {"de: {month: a}\n", "did you mean 'months'?"},
        {"de: {modality.: a}\n", "'modality.': unknown key"},
        {"de: {behaviour: a}\n", "'behaviour': unknown key"},
        {"de: {\"modality.\\x07\": a}\n", "unknown key"},
        {"de: {<<: a}\n", "'<<': unknown key"},
        {"de:\n  novelty: a\n  novelty: b\n", "m.yaml:3: language 'de': 'novelty': a key that was there before"},
        {"de: {modality.x: a, modality.x: a}\n", "'modality.x': a key that was there before"},
        {"de:\n  cooccurrence: '{evnt}'\n",
         "m.yaml:2: language 'de': 'cooccurrence': unknown placeholder '{evnt}', expected some of: event"},
        {"de: {cooccurrence: '{even}'}\n", "unknown placeholder '{even}'"},
        {"de: {cooccurrence: '{ event }'}\n", "unknown placeholder '{ event }'"},
        {"de: {cooccurrence: '{}'}\n", "unknown placeholder '{}'"},
        {"de: {stream_same: '{pick}'}\n", "unknown placeholder '{pick}', expected some of: modality event"},
        {"de: {stream_same: '{modality event}'}\n", "unknown placeholder '{modality event}'"},
        {"de: {novelty: '{event}'}\n", "unknown placeholder '{event}', expected none"},
        {"de: {modality.text: '{x}'}\n", "'modality.text': unknown placeholder"},
        {"de: {modality.new: '{x}'}\n", "'modality.new': unknown placeholder"},
        {"de: {cooccurrence: 'a {event'}\n", "'cooccurrence': a '{' without a '}'"},
        {"de: {cooccurrence: '{'}\n", "a '{' without a '}'"},
        {"de: {cooccurrence: '{{event}}'}\n", "a '{' without a '}'"},
        {"de: {cooccurrence: '{event} a}'}\n", "a '}' without a '{'"},
        {"de: {novelty: \"a\\tb\"}\n", "'novelty': a control character"},
        {"de: {novelty: \"\\x7f\"}\n", "a control character"},
        {"de: {novelty: \"\\N\"}\n", "a control character"},
        {"de:\n  novelty: |\n    a\n", "a control character"},
        {"de: {novelty: \"a\\0b\"}\n", "a NUL character"},
        {"de: {novelty: }\n", "'novelty': no text; leave the line out"},
        {"de: {novelty: ~}\n", "no text"},
        {"de: {novelty: null}\n", "no text"},
        {"de: {novelty: ''}\n", "no text"},
        {"de: {novelty: [a]}\n", "'novelty': expected one text"},
        {"de: {novelty: {a: b}}\n", "expected one text"},
        {"de: {[a]: b}\n", "a key is one word"},
    };
    expect_all_refused(cases, COUNT(cases));
}

Test(messages, faults_of_months_are_named)
{
    static const struct refused cases[] = {
        {"de: {months: Januar}\n", "'months': expected a list of 12 names"},
        {"de: {months: {a: b}}\n", "expected a list of 12 names"},
        {"de: {months: }\n", "expected a list of 12 names"},
        {"de: {months: []}\n", "0 names, expected 12"},
        {"de: {months: [a, b, c, d, e, f, g, h, i, j, k]}\n", "11 names, expected 12"},
        {"de: {months: [a, b, c, d, e, f, g, h, i, j, k, l, m]}\n", "more than 12 names"},
        {"de: {months: [a, b, ~, d, e, f, g, h, i, j, k, l]}\n", "no text"},
        {"de: {months: [a, [b], c, d, e, f, g, h, i, j, k, l]}\n", "expected one text"},
        {"de: {months: [a, '{month}', c, d, e, f, g, h, i, j, k, l]}\n", "unknown placeholder"},
        {"de:\n  months: [a, b, c, d, e, f, g, h, i, j, k, l]\n  months: []\n",
         "m.yaml:3: language 'de': 'months': a key that was there before"},
    };
    expect_all_refused(cases, COUNT(cases));
}

Test(messages, faults_of_languages_and_files_are_named)
{
    static const struct refused cases[] = {
        {"de: {novelty: neu}\nd_e: {novelty: neu}\n", "m.yaml:2: language 'd_e': not a tag such as 'de' or 'de-AT'"},
        {"'': {novelty: neu}\n", "not a tag"},
        {"1: {novelty: neu}\n", "not a tag"},
        {"-de: {novelty: neu}\n", "not a tag"},
        {"de-: {novelty: neu}\n", "not a tag"},
        {"de--AT: {novelty: neu}\n", "not a tag"},
        {"dé: {novelty: neu}\n", "not a tag"},
        {"abcdefghijklmnopqrstuvwxyz-0123456789: {novelty: neu}\n", "a key of more than 35 bytes"},
        {"de: {novelty: neu}\nDE: {novelty: neu}\n", "m.yaml:2: language 'DE': a language that was there before"},
        {"en: {}\nen: {}\n", "a language that was there before"},
        {"de:\n", "language 'de': expected messages below it"},
        {"de: neu\n", "expected messages below it"},
        {"de: [neu]\n", "expected messages below it"},
        {"novelty\n", "m.yaml:1: expected 'LANGUAGE:' with its messages below it"},
        {"- de\n", "expected 'LANGUAGE:'"},
        {"? [de]\n: {novelty: neu}\n", "a key is one word"},
        {"de: {novelty: &a neu}\n", "'novelty': anchors are not supported"},
        {"de: &a {novelty: neu}\n", "anchors are not supported"},
        {"de: {months: &a []}\n", "anchors are not supported"},
        {"de: {novelty: *a}\n", "aliases are not supported"},
        {"de: {novelty: !!str neu}\n", "tags are not supported"},
        {"de: {novelty: ! neu}\n", "tags are not supported"},
        {"de: !x {novelty: neu}\n", "tags are not supported"},
        {"de: {novelty: neu}\n---\nfr: {novelty: nouveau}\n", "a second document"},
        {"~\n---\n~\n", "a second document"},
        {"de:\n  novelty: 'neu\n", "m.yaml:"},
        {"de:\n  novelty: neu\n bad\n", "m.yaml:"},
        {"de: {novelty: \xff}\n", "m.yaml:1: bad UTF-8"},
        {"de:\n  novelty: \xc3\n", "m.yaml:2: bad UTF-8"},
        {"de:\n  novelty: a\x01z\n", "m.yaml:2: "},
    };
    expect_all_refused(cases, COUNT(cases));
}

/* `format` with a number, `count` times, after `head`. */
static char *repeated(const char *head, const char *format, int count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    fputs(head, out);
    for (int i = 0; i < count; i++) {
        const char *at = strchr(format, '#');
        fprintf(out, "%.*s%d%s", (int)(at - format), format, i, at + 1);
    }
    cr_assert_eq(fclose(out), 0);
    return text;
}

static void expect_limit(const char *head, const char *format, int most, const char *problem)
{
    char *fits = repeated(head, format, most), *over = repeated(head, format, most + 1);
    messages_release(loaded(fits));
    expect_refused(over, problem);
    free(fits);
    free(over);
}

Test(messages, there_is_a_most_of_everything)
{
    expect_limit("", "x-#: {novelty: new}\n", 64, "m.yaml:65: language 'x-64': more than 64 languages");
    expect_limit("de:\n", "  modality.m#: a\n", 1000, "'modality.m1000': more than 1000 names");
    char text[1200], *end = stpcpy(text, "de:\n  novelty: ");
    memset(end, 'a', 1000);
    memcpy(end + 1000, "\n", 2);
    messages_release(loaded(text));
    memcpy(end + 1000, "a\n", 3);
    expect_refused(text, "m.yaml:2: language 'de': 'novelty': a text of more than 1000 bytes");
    end = stpcpy(text, "de:\n  modality.");
    memset(end, 'a', 86); /* of the 95 bytes of a key "modality." are 9 */
    memcpy(end + 86, ": b\n", 5);
    messages_release(loaded(text));
    memcpy(end + 86, "a: b\n", 6);
    expect_refused(text, "m.yaml:2: language 'de': a key of more than 95 bytes");
}

Test(messages, a_file_has_at_most_a_mebibyte)
{
    struct status st = STATUS_INIT;
    char *text = malloc(MESSAGES_FILE_BYTES + 1);
    cr_assert_not_null(text);
    memset(text, '#', MESSAGES_FILE_BYTES + 1);
    struct messages *messages = messages_load_text("m.yaml", text, MESSAGES_FILE_BYTES, &st);
    cr_expect_not_null(messages, "%s", st.message);
    messages_release(messages);
    cr_expect_null(messages_load_text("m.yaml", text, MESSAGES_FILE_BYTES + 1, &st));
    cr_expect_str_eq(st.message, "m.yaml:1: the file is over 1 MiB");
    free(text);
}

/* ---- files */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

Test(messages, files_are_read_or_named)
{
    char folder[] = "/tmp/test_messages.XXXXXX", path[64];
    struct status st = STATUS_INIT;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/m.yaml", folder);
    cr_expect_null(messages_load(path, &st));
    cr_expect_eq(st.code, STATUS_NOT_FOUND);
    cr_expect_str_eq(st.reason, "NO_INPUT");
    cr_expect(strstr(st.message, path) != NULL, "%s", st.message);
    cr_expect_null(messages_load(folder, &st));
    cr_expect_str_eq(st.reason, "NO_INPUT");
    write_file(path, "de:\n  novelty: neu\n");
    struct messages *messages = messages_load(path, &st);
    cr_expect_not_null(messages, "%s", st.message);
    if (messages != NULL)
        cr_expect_str_eq(text_of(messages, "de", "novelty"), "neu");
    messages_release(messages);
    write_file(path, "de:\n  novelties: neu\n");
    cr_expect_null(messages_load(path, &st));
    cr_expect_str_eq(st.reason, "BAD_MESSAGES");
    cr_expect(strstr(st.message, path) != NULL && strstr(st.message, ":2: ") != NULL, "%s", st.message);
    unlink(path);
    rmdir(folder);
}

/* What is built in keeps the rules for files. */
Test(messages, english_as_a_file_is_accepted)
{
    struct messages *built_in = loaded("");
    const struct language *english = messages_find(built_in, "en");
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    fputs("x:\n", out);
    for (size_t i = 0; messages_key(i) != NULL; i++) {
        const char *sentence = messages_text(english, messages_key(i));
        cr_assert_not_null(sentence, "%s", messages_key(i));
        cr_assert_null(strpbrk(sentence, "\"\\"), "%s", messages_key(i));
        fprintf(out, "  %s: \"%s\"\n", messages_key(i), sentence);
    }
    fputs("  months: [", out);
    for (int month = 0; month < 12; month++)
        fprintf(out, "%s%s", month > 0 ? ", " : "", messages_month(english, month));
    fputs("]\n", out);
    cr_assert_eq(fclose(out), 0);
    struct messages *again = loaded(text);
    for (size_t i = 0; messages_key(i) != NULL; i++)
        cr_expect_str_eq(text_of(again, "x", messages_key(i)), messages_text(english, messages_key(i)));
    messages_release(again);
    messages_release(built_in);
    free(text);
}

/* A text of English is shared, one of the file is its own: so the pointers tell where a text is from. */
Test(messages, the_reference_file_says_everything)
{
    static const char *const tags[] = {"de", "fr"};
    struct status st = STATUS_INIT;
    struct messages *messages = messages_load(REFERENCE, &st);
    cr_assert_not_null(messages, "%s", st.message);
    const struct language *english = messages_find(messages, "en");
    expect_tag(messages, "", "de");
    for (size_t i = 0; i < COUNT(tags); i++) {
        const struct language *language = messages_find(messages, tags[i]);
        cr_assert_not_null(language, "%s", tags[i]);
        for (size_t k = 0; messages_key(k) != NULL; k++)
            cr_expect(messages_text(language, messages_key(k)) != messages_text(english, messages_key(k)),
                      "%s lacks '%s'", tags[i], messages_key(k));
        cr_expect(messages_month(language, 0) != messages_month(english, 0), "%s lacks months", tags[i]);
    }
    cr_expect_str_eq(messages_month(messages_find(messages, "de"), 2), "März");
    cr_expect_str_eq(messages_month(messages_find(messages, "fr"), 11), "décembre");
    cr_expect_str_eq(text_of(messages, "fr", "example"), "«\xc2\xa0{title}\xc2\xa0»");
    messages_release(messages);
}
