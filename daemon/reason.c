/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ELLIPSIS  "\xe2\x80\xa6"
#define FEW_TERMS 32
#define FAINT     .1f

/* ---- which terms */

/* Equal but for the value: the same thing said twice. Which of them comes first matters for the last digit of a sum. */
static int compare_meaning(const struct engine_term *a, const struct engine_term *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->event != b->event)
        return a->event < b->event ? -1 : 1;
    const int order = strcmp(a->pick_modality, b->pick_modality);
    return order != 0 ? order : strcmp(a->modality, b->modality);
}

static int compare_terms(const void *a, const void *b)
{
    const struct engine_term *x = a, *y = b;
    const int order = compare_meaning(x, y);
    return order != 0 ? order : (x->value < y->value) - (x->value > y->value);
}

/* Most reasons come of a handful of terms. */
static void sort_terms(struct engine_term *terms, size_t count)
{
    if (count > FEW_TERMS) {
        qsort(terms, count, sizeof *terms, compare_terms);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        const struct engine_term term = terms[i];
        size_t at = i;
        for (; at > 0 && compare_terms(&terms[at - 1], &term) > 0; at--)
            terms[at] = terms[at - 1];
        terms[at] = term;
    }
}

/* The item's terms, each meaning once; NULL when the arena gives out. */
static struct engine_term *sum_terms(const struct engine_item *item, struct arena *arena, size_t *count)
{
    struct engine_term *terms = arena_alloc(arena, (item->term_count + 1) * sizeof *terms);
    *count = 0;
    if (terms == NULL || item->term_count == 0)
        return terms;
    memcpy(terms, item->terms, item->term_count * sizeof *terms);
    sort_terms(terms, item->term_count);
    for (size_t i = 1; i < item->term_count; i++) {
        if (compare_meaning(&terms[*count], &terms[i]) == 0)
            terms[*count].value += terms[i].value;
        else
            terms[++*count] = terms[i];
    }
    ++*count;
    return terms;
}

/* Does its clause name an event? */
static bool names_event(const struct engine_answer *answer, const struct engine_term *term)
{
    return (term->kind == TERM_STREAM || term->kind == TERM_COOCCURRENCE) && term->event >= 0 &&
           (size_t)term->event < answer->history_count;
}

/* What is not above 0 (or no number) never wins. */
static void keep_larger(const struct engine_term **largest, const struct engine_term *term)
{
    if (term->value > (*largest == NULL ? 0 : (*largest)->value))
        *largest = term;
}

static bool is_placed(const struct engine_item *item)
{
    return item->source == SOURCE_PROMOTION || item->source == SOURCE_EXPLORATION;
}

static void choose(const struct engine_answer *answer, const struct engine_term *terms, size_t count,
                   struct reason_choice *choice)
{
    const struct engine_term *first = NULL, *second = NULL, *stream = NULL;
    for (size_t i = 0; i < count && !choice->placed; i++)
        keep_larger(&first, &terms[i]);
    for (size_t i = 0; i < count; i++) {
        if (!names_event(answer, &terms[i]))
            continue;
        if (terms[i].kind == TERM_STREAM)
            keep_larger(&stream, &terms[i]);
        if (&terms[i] != first)
            keep_larger(&second, &terms[i]);
    }
    if (second != NULL && first != NULL && names_event(answer, first) && 10 * second->value < 3 * first->value)
        second = NULL;
    if (stream != NULL && stream != first)
        second = stream;
    if (first != NULL)
        choice->terms[choice->count++] = *first;
    if (second != NULL)
        choice->terms[choice->count++] = *second;
}

bool reason_choose(const struct engine_answer *answer, const struct engine_item *item, struct arena *arena,
                   struct reason_choice *choice)
{
    size_t count;
    const struct arena_mark mark = arena_mark(arena);
    const struct engine_term *terms = sum_terms(item, arena, &count);
    if (terms == NULL)
        return false;
    *choice = (struct reason_choice){.placed = is_placed(item)};
    choose(answer, terms, count, choice);
    arena_rewind(arena, mark);
    return true;
}

/* ---- words. Each function returns NULL when the arena gives out, and passes on the NULL of a part. */

struct wording {
    const struct language *language;
    const struct engine_answer *answer;
    const struct engine_item *item;
    struct arena *arena;
    const char **
        said; /* (2, history_count): events in words, in full and again, as far as they have been put into them; NULL: nothing is kept */
};

static const char *say(const struct wording *w, const char *key, const struct messages_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i].text == NULL)
            return NULL;
    return messages_expand(w->language, key, values, count, w->arena);
}

static const char *say_plainly(const struct wording *w, const char *key)
{
    return say(w, key, NULL, 0);
}

static const char *say_of(const struct wording *w, const char *key, const char *placeholder, const char *text)
{
    return say(w, key, &(struct messages_value){placeholder, text}, 1);
}

/* Cut after REASON_TITLE_CHARACTERS; bytes 10xxxxxx go on with a character of UTF-8. */
static const char *shorten(const char *title, struct arena *arena)
{
    size_t bytes = 0, characters = 0;
    for (; title[bytes] != '\0'; bytes++)
        if (((unsigned char)title[bytes] & 0xc0) != 0x80 && ++characters > REASON_TITLE_CHARACTERS)
            break;
    if (title[bytes] == '\0')
        return title;
    char *cut = arena_alloc(arena, bytes + sizeof ELLIPSIS);
    if (cut == NULL)
        return NULL;
    memcpy(cut, title, bytes);
    memcpy(cut + bytes, ELLIPSIS, sizeof ELLIPSIS);
    return cut;
}

static const char *title_of(const struct wording *w, const struct catalog_item *item)
{
    const char *title = item->item.title;
    return shorten(title != NULL && title[0] != '\0' ? title : item->item.name, w->arena);
}

static struct tm day_of(int64_t at_ms)
{
    /* The remainder must not be negative before 1970. */
    const time_t at_s = (time_t)(at_ms / 1000 - (at_ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&at_s, &tm); /* cannot fail: 2^63 ms end in the year 292 million */
    return tm;
}

static const char *date_of(const struct wording *w, int64_t at_ms)
{
    const struct tm then = day_of(at_ms), now = day_of(w->answer->now_ms);
    char day[16], year[16];
    snprintf(day, sizeof day, "%d", then.tm_mday);
    snprintf(year, sizeof year, "%d", then.tm_year + 1900);
    const struct messages_value values[] = {
        {"day", day}, {"month", messages_month(w->language, then.tm_mon)}, {"year", year}};
    return say(w, then.tm_year == now.tm_year ? "date" : "date_year", values, 3);
}

static bool is_example(const struct engine_attended *event)
{
    return event->behaviour[0] == '\0';
}

/* `again`: the clause before has it in full. */
static const char *put_event(const struct wording *w, const struct engine_attended *event, bool again)
{
    const char *behaviour = messages_name(w->language, "behaviour", event->behaviour);
    if (event->item == NULL && is_example(event))
        return say_plainly(w, "example_unknown");
    const char *title = event->item == NULL ? say_plainly(w, "item_unknown") : title_of(w, event->item);
    if (is_example(event))
        return say_of(w, "example", "title", title);
    if (again)
        return say_of(w, "event_again", "title", title);
    const struct messages_value values[] = {
        {"title", title}, {"date", date_of(w, event->ts_ms)}, {"behaviour", behaviour}};
    return behaviour == NULL ? say(w, "event_plain", values, 2) : say(w, "event", values, 3);
}

/* A list's reasons name few events, again and again. */
static const char *event_of(const struct wording *w, const struct engine_term *term, bool again)
{
    const struct engine_attended *event = &w->answer->history[term->event];
    if (w->said == NULL)
        return put_event(w, event, again);
    const char **said = &w->said[(again ? w->answer->history_count : 0) + (size_t)term->event];
    if (*said == NULL)
        *said = put_event(w, event, again);
    return *said;
}

/* What it is called, in the language or as the model has it. */
static const char *modality_of(const struct wording *w, const char *modality)
{
    const char *name = messages_name(w->language, "modality", modality);
    return name != NULL ? name : modality;
}

/* Is the list to be like examples, of which nobody did anything? */
static bool is_similar(const struct wording *w)
{
    return w->answer->history_count > 0 && is_example(&w->answer->history[0]);
}

static const char *say_stream(const struct wording *w, const struct engine_term *term, bool again)
{
    const bool similar = is_similar(w);
    const char *modality = modality_of(w, term->modality);
    if (!names_event(w->answer, term))
        return say_of(w, similar ? "similar_rest" : "stream_rest", "modality", modality);
    const struct messages_value values[] = {
        {"modality", modality}, {"event", event_of(w, term, again)}, {"pick", modality_of(w, term->pick_modality)}};
    if (strcmp(term->pick_modality, term->modality) == 0)
        return say(w, similar ? "similar_same" : "stream_same", values, 2);
    return say(w, similar ? "similar_cross" : "stream_cross", values, 3);
}

static const char *say_cooccurrence(const struct wording *w, const struct engine_term *term, bool again)
{
    const bool similar = is_similar(w);
    if (!names_event(w->answer, term))
        return say_plainly(w, similar ? "similar_cooccurrence_rest" : "cooccurrence_rest");
    return say_of(w, similar ? "similar_cooccurrence" : "cooccurrence", "event", event_of(w, term, again));
}

static const char *say_sequence(const struct wording *w, const struct engine_term *term)
{
    if (term->modality[0] == '\0')
        return say_plainly(w, "sequence_plain");
    if (strcmp(term->modality, "id") == 0)
        return say_plainly(w, "sequence_id");
    return say_of(w, "sequence", "modality", modality_of(w, term->modality));
}

static const char *top_key(enum engine_source source)
{
    return source == SOURCE_TRENDING ? "top_trending" : source == SOURCE_NEWEST ? "top_newest" : "top_popular";
}

static const char *say_term(const struct wording *w, const struct engine_term *term, bool again)
{
    switch (term->kind) {
    case TERM_SEQUENCE:
        return say_sequence(w, term);
    case TERM_STREAM:
        return say_stream(w, term, again);
    case TERM_COOCCURRENCE:
        return say_cooccurrence(w, term, again);
    case TERM_POPULARITY:
        return say_plainly(w, "popularity");
    case TERM_RECENT:
        return say_plainly(w, "recent");
    case TERM_NOVELTY:
        return say_plainly(w, "novelty");
    case TERM_BOOST:
        return say_plainly(w, "boost");
    case TERM_STORED: /* why it was chosen then is not known any more */
        return say_plainly(w, "filled");
    case TERM_TOP:
        break;
    }
    return say_plainly(w, top_key(w->item->source));
}

static const char *say_placed(const struct wording *w)
{
    if (w->item->source == SOURCE_EXPLORATION)
        return say_plainly(w, "exploration");
    if (w->item->label == NULL || w->item->label[0] == '\0')
        return say_plainly(w, "promotion_plain");
    return say_of(w, "promotion", "label", w->item->label);
}

/* Nothing speaks for the item: only where it is from. */
static const char *say_source(const struct wording *w)
{
    for (size_t i = 0; i < w->item->term_count; i++)
        if (w->item->terms[i].kind == TERM_TOP)
            return say_plainly(w, top_key(w->item->source));
    switch (w->item->source) {
    case SOURCE_POPULAR:
        return say_plainly(w, "popularity");
    case SOURCE_TRENDING:
        return say_plainly(w, "recent");
    case SOURCE_NEWEST:
        return say_plainly(w, "novelty");
    default:
        return say_plainly(w, "filled");
    }
}

static const char *join(const struct wording *w, const char *key, const char *first, const char *second)
{
    const struct messages_value values[] = {{"first", first}, {"second", second}};
    return say(w, key, values, 2);
}

const char **reason_memory(const struct engine_answer *answer, struct arena *arena)
{
    return arena_zeroed(arena, 2 * answer->history_count + 1, sizeof(const char *));
}

const char *reason_of(const struct language *language, const struct engine_answer *answer,
                      const struct engine_item *item, const char **memory, struct arena *arena)
{
    const struct wording w = {language, answer, item, arena, memory};
    struct reason_choice choice;
    if (!reason_choose(answer, item, arena, &choice))
        return NULL;
    const struct engine_term *terms = choice.terms;
    if (choice.placed && choice.count == 1)
        return join(&w, "join", say_placed(&w), say_term(&w, &terms[0], false));
    if (choice.placed)
        return say_placed(&w);
    if (choice.count == 0)
        return say_source(&w);
    if (choice.count == 1)
        return say_term(&w, &terms[0], false);
    const bool again = names_event(answer, &terms[0]) && terms[0].event == terms[1].event;
    const bool faint =
        terms[1].value < FAINT * terms[0].value; /* it is told of all the same, but not as if it were much */
    return join(&w, faint ? "join_faint" : "join", say_term(&w, &terms[0], false), say_term(&w, &terms[1], again));
}
