/* SPDX-License-Identifier: Apache-2.0
 *
 * Reasons of answers made by hand: the sentences, and the rule that picks their terms. */
#include "daemon/reason.h"

#include "daemon/timestamp.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

/* Relative to the root of the project, where tests are run. */
#define TRANSLATIONS "etc/messages.yaml"

static struct catalog_item boots = {.item = {.name = "b-1", .title = "Winter boots"}};
static struct catalog_item scarf = {.item = {.name = "s-1", .title = "Scarf"}};
static struct catalog_item untitled = {.item = {.name = "id-9", .title = ""}};

static struct arena arena;
static struct messages *messages;
static const struct language *english;
static struct engine_attended history[8];
static struct engine_answer answer;

static int64_t ms_of(const char *text)
{
    struct status st = STATUS_INIT;
    int64_t ms = 0;
    cr_assert(timestamp_parse(text, "time", &ms, &st), "%s", st.message);
    return ms;
}

static void set_up(void)
{
    struct status st = STATUS_INIT;
    arena_init(&arena, (size_t)4 << 20);
    messages = messages_load("off", &st);
    cr_assert_not_null(messages, "%s", st.message);
    english = messages_find(messages, "en");
    history[0] = (struct engine_attended){&boots, "purchase", ms_of("2026-05-03T23:59:59.999Z"), 7};
    history[1] = (struct engine_attended){&scarf, "view", ms_of("2026-04-01"), 6};
    history[2] = (struct engine_attended){&untitled, "wish", ms_of("2026-03-31"), 5};
    history[3] = (struct engine_attended){&scarf, "cart", ms_of("2025-12-31T23:59:59.999Z"), 4};
    history[4] = (struct engine_attended){NULL, "like", ms_of("2026-01-01T00:00Z"), 0};
    answer = (struct engine_answer){.history = history, .history_count = 5, .now_ms = ms_of("2026-05-10")};
}

static void tear_down(void)
{
    messages_release(messages);
    arena_close(&arena);
}

TestSuite(reason, .init = set_up, .fini = tear_down);

/* ---- terms: of a stream, of co-occurrence, of the sequence, and the others */
#define STREAM(amount, of, picks, judges)                                                                              \
    {                                                                                                                  \
        .kind = TERM_STREAM, .value = (amount), .event = (of), .pick_modality = (picks), .modality = (judges),         \
        .rule = -1                                                                                                     \
    }
#define BARE(which, amount, of, of_modality)                                                                           \
    {                                                                                                                  \
        .kind = (which), .value = (amount), .event = (of), .pick_modality = "", .modality = (of_modality), .rule = -1  \
    }
#define NEXT(amount, of)              BARE(TERM_COOCCURRENCE, amount, of, "")
#define SEQUENCE(amount, of_modality) BARE(TERM_SEQUENCE, amount, -1, of_modality)
#define OTHER(which, amount)          BARE(which, amount, -1, "")

/* an array and its count, for two parameters */
#define ARRAY(...) ((const struct engine_term[]){__VA_ARGS__})
#define TERMS(...) ARRAY(__VA_ARGS__), COUNT(ARRAY(__VA_ARGS__))

static struct engine_item item_of(const struct engine_term *terms, size_t count, enum engine_source source)
{
    return (struct engine_item){.item = &scarf, .source = source, .label = "", .term_count = count, .terms = terms};
}

static void expect_of(const struct engine_item *item, const char *expected)
{
    const char *reason = reason_of(english, &answer, item, NULL, &arena);
    cr_assert_not_null(reason);
    cr_expect_str_eq(reason, expected, "got: %s", reason);
}

static void expect_from(enum engine_source source, const struct engine_term *terms, size_t count, const char *expected)
{
    const struct engine_item item = item_of(terms, count, source);
    expect_of(&item, expected);
}

static void expect(const struct engine_term *terms, size_t count, const char *expected)
{
    expect_from(SOURCE_ATTENTION, terms, count, expected);
}

/* ---- clauses */

Test(reason, streams_name_event_and_modality)
{
    expect(TERMS(STREAM(1, 0, "image", "image")), "its picture resembles that of the Winter boots you bought on 3 May");
    expect(TERMS(STREAM(1, 0, "image", "text")),
           "its picture led to the Winter boots you bought on 3 May, and its description fits");
    expect(TERMS(STREAM(1, 1, "id", "id")), "its audience resembles that of the Scarf you looked at on 1 April");
    expect(TERMS(STREAM(1, 1, "sound", "price tag")),
           "its sound led to the Scarf you looked at on 1 April, and its price tag fits");
    expect(TERMS(STREAM(1, -1, "image", "text")), "its description fits what you have been looking at");
}

Test(reason, others_of_the_history)
{
    expect(TERMS(NEXT(1, 0)), "others who came across the Winter boots you bought on 3 May came to this next");
    expect(TERMS(NEXT(1, -1)), "others who came across the same things came to this next");
    expect(TERMS(SEQUENCE(1, "text")), "it fits what you have been looking at, mostly by its description");
    expect(TERMS(SEQUENCE(1, "id")), "it fits what you have been looking at, by what others like you chose");
    expect(TERMS(SEQUENCE(1, "")), "it fits what you have been looking at");
}

Test(reason, what_has_nothing_to_do_with_the_user)
{
    expect(TERMS(OTHER(TERM_POPULARITY, 1)), "many people like it");
    expect(TERMS(OTHER(TERM_RECENT, 1)), "many people are looking at it now");
    expect(TERMS(OTHER(TERM_NOVELTY, 1)), "it is new");
    expect(TERMS(OTHER(TERM_BOOST, 1)), "the shop puts it forward");
    expect_from(SOURCE_POPULAR, TERMS(OTHER(TERM_TOP, 1)), "it is among the most popular");
    expect_from(SOURCE_TRENDING, TERMS(OTHER(TERM_TOP, 1)), "it is among what most people are looking at now");
    expect_from(SOURCE_NEWEST, TERMS(OTHER(TERM_TOP, 1)), "it is among the newest");
}

Test(reason, without_a_reason_it_says_where_the_item_is_from)
{
    expect_from(SOURCE_POPULAR, NULL, 0, "many people like it");
    expect_from(SOURCE_TRENDING, NULL, 0, "many people are looking at it now");
    expect_from(SOURCE_NEWEST, NULL, 0, "it is new");
    expect_from(SOURCE_ATTENTION, NULL, 0, "suggested to round off the list");
    expect_from(SOURCE_NEWEST, TERMS(OTHER(TERM_TOP, -1)), "it is among the newest");
    expect(TERMS(STREAM(-1, 0, "text", "text"), NEXT(0, 1), OTHER(TERM_BOOST, -5)), "suggested to round off the list");
    expect(TERMS(OTHER(TERM_POPULARITY, NAN), OTHER(TERM_RECENT, 0)), "suggested to round off the list");
}

Test(reason, promotions_and_exploration_come_first)
{
    expect_from(SOURCE_EXPLORATION, TERMS(OTHER(TERM_POPULARITY, 9)), "drawn by chance among items that few know yet");
    expect_from(SOURCE_EXPLORATION, TERMS(OTHER(TERM_POPULARITY, 9), STREAM(0.01f, 0, "text", "text")),
                "drawn by chance among items that few know yet; "
                "its description resembles that of the Winter boots you bought on 3 May");
    expect_from(SOURCE_PROMOTION, NULL, 0, "the shop features it");
    const struct engine_term terms[] = {NEXT(5, 1), STREAM(0.01f, 0, "text", "text"), STREAM(-1, 1, "text", "text")};
    struct engine_item item = item_of(terms, COUNT(terms), SOURCE_PROMOTION);
    item.label = "sale";
    expect_of(&item, "the shop features it: sale; "
                     "its description resembles that of the Winter boots you bought on 3 May");
    item.term_count = 1;
    expect_of(&item, "the shop features it: sale; "
                     "others who came across the Scarf you looked at on 1 April came to this next");
    item.label = NULL;
    item.term_count = 0;
    expect_of(&item, "the shop features it");
}

Test(reason, lists_like_examples_say_nothing_of_what_you_did)
{
    history[0] = (struct engine_attended){.item = &boots, .behaviour = ""};
    history[1] = (struct engine_attended){.item = NULL, .behaviour = ""};
    answer.history_count = 2;
    expect(TERMS(STREAM(1, 0, "image", "image")), "its picture resembles that of Winter boots");
    expect(TERMS(STREAM(1, 1, "image", "image")), "its picture resembles that of the example");
    expect(TERMS(STREAM(1, 0, "image", "text")),
           "of the examples, its picture led to Winter boots, and its description fits");
    expect(TERMS(STREAM(1, -1, "image", "text")), "its description fits the examples");
    expect(TERMS(NEXT(1, 0)), "it goes together with Winter boots, by what others did");
    expect(TERMS(NEXT(1, -1)), "it goes together with the examples, by what others did");
    expect(TERMS(STREAM(2, 0, "image", "image"), NEXT(1, 0)),
           "its picture resembles that of Winter boots; it goes together with Winter boots, by what others did");
}

/* ---- two clauses */

Test(reason, an_event_is_named_in_full_once)
{
    expect(TERMS(STREAM(2, 0, "text", "text"), NEXT(1, 0)),
           "its description resembles that of the Winter boots you bought on 3 May; "
           "others who came across the Winter boots came to this next");
    expect(TERMS(NEXT(2, 0), STREAM(1, 1, "text", "text")),
           "others who came across the Winter boots you bought on 3 May came to this next; "
           "its description resembles that of the Scarf you looked at on 1 April");
}

Test(reason, a_first_clause_without_an_event_is_followed_by_one)
{
    expect(TERMS(OTHER(TERM_POPULARITY, 100), NEXT(0.001f, 0)),
           "many people like it; to a small part, others who came across the Winter boots you bought on 3 May came to "
           "this next");
    expect(TERMS(SEQUENCE(100, "text"), NEXT(2, 0), STREAM(1, 1, "text", "text")),
           "it fits what you have been looking at, mostly by its description; to a small part, "
           "its description resembles that of the Scarf you looked at on 1 April");
    expect(TERMS(OTHER(TERM_POPULARITY, 2), OTHER(TERM_RECENT, 1), SEQUENCE(1, "text"), STREAM(1, -1, "text", "text"),
                 NEXT(1, -1)),
           "many people like it");
}

Test(reason, events_that_are_not_in_the_history_are_not_named)
{
    expect(TERMS(STREAM(1, 5, "text", "text")), "its description fits what you have been looking at");
    expect(TERMS(NEXT(1, 5)), "others who came across the same things came to this next");
    expect(TERMS(OTHER(TERM_POPULARITY, 2), STREAM(1, 5, "text", "text")), "many people like it");
    answer.history_count = 0;
    expect(TERMS(STREAM(1, 0, "text", "text")), "its description fits what you have been looking at");
}

/* ---- events */

Test(reason, events_without_title_behaviour_or_record)
{
    expect(TERMS(NEXT(1, 2)), "others who came across the id-9 of 31 March came to this next");
    expect(TERMS(NEXT(1, 4)), "others who came across the item you liked on 1 January came to this next");
    untitled.item.title = NULL;
    expect(TERMS(NEXT(1, 2)), "others who came across the id-9 of 31 March came to this next");
}

Test(reason, the_year_is_said_where_it_is_another_one)
{
    expect(TERMS(NEXT(1, 3)),
           "others who came across the Scarf you put into the cart on 31 December 2025 came to this next");
    answer.now_ms = ms_of("2025-06-01");
    expect(TERMS(NEXT(1, 3)),
           "others who came across the Scarf you put into the cart on 31 December came to this next");
    expect(TERMS(NEXT(1, 0)), "others who came across the Winter boots you bought on 3 May 2026 came to this next");
    history[0].ts_ms = -1; /* 1969 */
    expect(TERMS(NEXT(1, 0)),
           "others who came across the Winter boots you bought on 31 December 1969 came to this next");
}

/* A title of `count` times `character`, as the reason has it. */
static void expect_title(const char *character, int count, int kept, const char *end)
{
    char title[400] = "", expected[500] = "its picture resembles that of the ";
    struct catalog_item item = {.item = {.name = "x", .title = title}};
    for (int i = 0; i < count; i++)
        strcat(title, character);
    for (int i = 0; i < kept; i++)
        strcat(expected, character);
    strcat(expected, end);
    strcat(expected, " you bought on 3 May");
    history[0].item = &item;
    expect(TERMS(STREAM(1, 0, "image", "image")), expected);
}

Test(reason, long_titles_are_cut_between_characters)
{
    static const char *const characters[] = {"x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x91\xa2"};
    for (size_t i = 0; i < COUNT(characters); i++) {
        expect_title(characters[i], 1, 1, "");
        expect_title(characters[i], 60, 60, "");
        expect_title(characters[i], 61, 60, "\xe2\x80\xa6");
        expect_title(characters[i], 90, 60, "\xe2\x80\xa6");
    }
}

Test(reason, braces_in_titles_mean_nothing)
{
    scarf.item.title = "{event} {";
    expect(TERMS(NEXT(1, 1)), "others who came across the {event} { you looked at on 1 April came to this next");
}

/* ---- which terms */

static struct reason_choice choose(const struct engine_term *terms, size_t count, enum engine_source source)
{
    const struct engine_item item = item_of(terms, count, source);
    struct reason_choice choice;
    cr_assert(reason_choose(&answer, &item, &arena, &choice));
    return choice;
}

/* Kind and event of what is chosen; -2 stands for no second one. */
static void expect_chosen(const struct engine_term *terms, size_t count, enum engine_term_kind kind, int event,
                          enum engine_term_kind second_kind, int second_event)
{
    const struct reason_choice choice = choose(terms, count, SOURCE_ATTENTION);
    cr_expect_not(choice.placed);
    cr_assert_eq(choice.count, (size_t)(second_event == -2 ? 1 : 2));
    cr_expect_eq(choice.terms[0].kind, kind);
    cr_expect_eq(choice.terms[0].event, event);
    if (choice.count == 2) {
        cr_expect_eq(choice.terms[1].kind, second_kind);
        cr_expect_eq(choice.terms[1].event, second_event);
    }
}

Test(reason, a_second_event_needs_thirty_per_cent_of_the_first)
{
    expect_chosen(TERMS(STREAM(10, 0, "text", "text"), NEXT(3, 1)), TERM_STREAM, 0, TERM_COOCCURRENCE, 1);
    expect_chosen(TERMS(STREAM(10, 0, "text", "text"), NEXT(2.99f, 1)), TERM_STREAM, 0, TERM_STREAM, -2);
    expect_chosen(TERMS(STREAM(10, 0, "text", "text"), STREAM(4, 1, "text", "text"), NEXT(5, 1), NEXT(3, 2)),
                  TERM_STREAM, 0, TERM_COOCCURRENCE, 1);
    expect_chosen(TERMS(STREAM(10, 0, "text", "text"), OTHER(TERM_POPULARITY, 9), NEXT(1, 1)), TERM_STREAM, 0,
                  TERM_STREAM, -2);
}

Test(reason, the_largest_stream_is_always_one_of_the_two)
{
    expect_chosen(TERMS(NEXT(10, 0), STREAM(0.01f, 1, "text", "text")), TERM_COOCCURRENCE, 0, TERM_STREAM, 1);
    expect_chosen(TERMS(NEXT(10, 0), NEXT(9, 2), STREAM(0.02f, 1, "text", "text"), STREAM(0.01f, 3, "text", "text")),
                  TERM_COOCCURRENCE, 0, TERM_STREAM, 1);
    expect_chosen(TERMS(OTHER(TERM_POPULARITY, 10), NEXT(9, 2), STREAM(1, 1, "text", "text")), TERM_POPULARITY, -1,
                  TERM_STREAM, 1);
    expect_chosen(TERMS(NEXT(10, 0), STREAM(5, -1, "text", "text"), STREAM(-1, 1, "text", "text")), TERM_COOCCURRENCE,
                  0, TERM_STREAM, -2);
}

Test(reason, terms_of_one_meaning_count_together)
{
    const struct reason_choice choice =
        choose(TERMS(STREAM(2, 0, "image", "text"), NEXT(3, 1), STREAM(1.5f, 0, "image", "text"),
                     STREAM(3, 0, "text", "image"), STREAM(3, 1, "image", "text"), STREAM(0.5f, 0, "image", "text")),
               SOURCE_ATTENTION);
    cr_assert_eq(choice.count, 2);
    cr_expect_eq(choice.terms[0].kind, TERM_STREAM);
    cr_expect_eq(choice.terms[0].event, 0);
    cr_expect_str_eq(choice.terms[0].pick_modality, "image");
    cr_expect_str_eq(choice.terms[0].modality, "text");
    cr_expect_eq(choice.terms[0].value, 4);
    expect_chosen(TERMS(STREAM(5, 0, "text", "text"), STREAM(-4, 0, "text", "text"), NEXT(2, 1)), TERM_COOCCURRENCE, 1,
                  TERM_STREAM, 0);
    expect_chosen(TERMS(STREAM(5, 0, "text", "text"), STREAM(-5, 0, "text", "text"), NEXT(2, 1)), TERM_COOCCURRENCE, 1,
                  TERM_STREAM, -2);
}

Test(reason, of_equal_terms_the_newer_event_is_chosen)
{
    expect_chosen(TERMS(STREAM(1, 2, "text", "text"), STREAM(1, 0, "text", "text"), STREAM(1, 1, "text", "text")),
                  TERM_STREAM, 0, TERM_STREAM, 1);
}

Test(reason, placed_items_have_at_most_one_term)
{
    struct reason_choice choice =
        choose(TERMS(OTHER(TERM_POPULARITY, 9), STREAM(1, 0, "text", "text"), NEXT(2, 1)), SOURCE_PROMOTION);
    cr_expect(choice.placed);
    cr_assert_eq(choice.count, 1);
    cr_expect_eq(choice.terms[0].kind, TERM_STREAM);
    choice = choose(TERMS(OTHER(TERM_POPULARITY, 9)), SOURCE_EXPLORATION);
    cr_expect(choice.placed);
    cr_expect_eq(choice.count, 0);
}

/* The rule once more, by the sums of every term's meaning. */
static float sum_like(const struct engine_term *terms, size_t count, const struct engine_term *like)
{
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        if (terms[i].kind == like->kind && terms[i].event == like->event &&
            strcmp(terms[i].pick_modality, like->pick_modality) == 0 && strcmp(terms[i].modality, like->modality) == 0)
            sum += terms[i].value;
    return sum;
}

static void expect_rule(const struct engine_term *terms, size_t count, const struct reason_choice *choice)
{
    float largest = 0, largest_stream = 0;
    bool stream_chosen = false;
    for (size_t i = 0; i < count; i++) {
        const float sum = sum_like(terms, count, &terms[i]);
        largest = sum > largest ? sum : largest;
        if (terms[i].kind == TERM_STREAM && terms[i].event >= 0 && sum > largest_stream)
            largest_stream = sum;
    }
    cr_assert_eq(choice->count == 0, largest == 0);
    if (choice->count > 0)
        cr_assert_eq(choice->terms[0].value, largest);
    for (size_t i = 0; i < choice->count; i++) {
        const struct engine_term *term = &choice->terms[i];
        cr_assert_eq(term->value, sum_like(terms, count, term));
        cr_assert_gt(term->value, 0);
        stream_chosen |= term->kind == TERM_STREAM && term->event >= 0 && term->value == largest_stream;
    }
    cr_assert(stream_chosen || largest_stream == 0);
}

/* Values are small multiples of a quarter: their sums are the same in every order. */
Test(reason, the_rule_holds_for_random_terms)
{
    static const char *const modalities[] = {"text", "image"};
    struct random rng;
    random_init(&rng, 7);
    for (int round = 0; round < 2000; round++) {
        struct engine_term terms[12];
        const size_t count = random_below(&rng, COUNT(terms) + 1);
        for (size_t i = 0; i < count; i++) {
            const enum engine_term_kind kind = (enum engine_term_kind)random_below(&rng, TERM_TOP);
            const int event = kind == TERM_STREAM || kind == TERM_COOCCURRENCE ? (int)random_below(&rng, 4) - 1 : -1;
            const float value = (float)random_below(&rng, 41) / 4 - 3;
            const char *picks = modalities[random_below(&rng, 2)], *judges = modalities[random_below(&rng, 2)];
            terms[i] = (struct engine_term)BARE(kind, value, event, "");
            if (kind == TERM_STREAM)
                terms[i] = (struct engine_term)STREAM(value, event, picks, judges);
        }
        const struct reason_choice choice = choose(terms, count, SOURCE_ATTENTION);
        expect_rule(terms, count, &choice);
    }
}

/* ---- memory and languages */

Test(reason, an_arena_without_room_gives_nothing)
{
    const struct engine_term terms[] = {STREAM(2, 0, "image", "text"), NEXT(1, 1)};
    const struct engine_item item = item_of(terms, COUNT(terms), SOURCE_ATTENTION);
    const char *whole = reason_of(english, &answer, &item, reason_memory(&answer, &arena), &arena);
    size_t limit_bytes = 0;
    bool enough = false;
    cr_assert_not_null(whole);
    for (; !enough && limit_bytes < ((size_t)1 << 16); limit_bytes += ARENA_ALIGNMENT_BYTES) {
        struct arena small;
        arena_init(&small, limit_bytes);
        const char *reason = reason_of(english, &answer, &item, NULL, &small);
        enough = reason != NULL;
        cr_expect(reason == NULL || strcmp(reason, whole) == 0);
        arena_close(&small);
    }
    cr_expect(enough);
    cr_expect_gt(limit_bytes, 5 * ARENA_ALIGNMENT_BYTES, "the parts of a sentence take memory, too");
}

Test(reason, choosing_leaves_the_arena_as_it_was)
{
    const struct engine_term terms[] = {STREAM(2, 0, "image", "text"), NEXT(1, 1)};
    const size_t before_bytes = arena_used(&arena);
    choose(terms, COUNT(terms), SOURCE_ATTENTION);
    cr_expect_eq(arena_used(&arena), before_bytes);
    struct arena small;
    struct reason_choice choice;
    const struct engine_item item = item_of(terms, COUNT(terms), SOURCE_ATTENTION);
    arena_init(&small, ARENA_ALIGNMENT_BYTES);
    cr_expect_not(reason_choose(&answer, &item, &small, &choice));
    arena_close(&small);
}

Test(reason, translations_say_the_same)
{
    static const struct {
        const char *tag, *expected;
    } cases[] = {
        {"de", "das Bild führte zu „Winter boots“ (gekauft am 3. Mai), und die Beschreibung passt dazu; "
               "von „Scarf“ (angesehen am 1. April) kamen andere als Nächstes hierher"},
        {"fr", "son image a conduit à «\xc2\xa0Winter boots\xc2\xa0» (acheté le 3 mai), et sa description "
               "convient\xc2\xa0; "
               "après «\xc2\xa0Scarf\xc2\xa0» (regardé le 1 avril), d'autres sont venus à cet article"},
    };
    struct status st = STATUS_INIT;
    struct messages *translated = messages_load(TRANSLATIONS, &st);
    cr_assert_not_null(translated, "%s", st.message);
    const struct engine_term terms[] = {STREAM(2, 0, "image", "text"), NEXT(1, 1)};
    const struct engine_item item = item_of(terms, COUNT(terms), SOURCE_ATTENTION);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *reason = reason_of(messages_find(translated, cases[i].tag), &answer, &item, NULL, &arena);
        cr_assert_not_null(reason);
        cr_expect_str_eq(reason, cases[i].expected, "got: %s", reason);
    }
    messages_release(translated);
}
