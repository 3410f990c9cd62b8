/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/messages_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARENA_ROOM ((size_t)64 << 20) /* the worst file of a MiB takes a third */

/* Everything that can be said, with the placeholders that may stand in it. */
static const struct message {
    const char *key, *placeholders, *text;
} english[] = {
    /* an event of the user; item_unknown is its {title} where nothing is known of the item, event_again where the
     * first clause has it in full */
    {"event", "title behaviour date", "the {title} you {behaviour} on {date}"},
    {"event_plain", "title date", "the {title} of {date}"},
    {"event_again", "title", "the {title}"},
    {"item_unknown", "", "item"},
    /* an example that the list is to be like */
    {"example", "title", "{title}"},
    {"example_unknown", "", "the example"},
    {"date", "day month", "{day} {month}"},
    {"date_year", "day month year", "{day} {month} {year}"},
    {"join", "first second", "{first}; {second}"},
    {"join_faint", "first second", "{first}; to a small part, {second}"},
    /* why: the events of the user */
    {"stream_same", "modality event", "its {modality} resembles that of {event}"},
    {"stream_cross", "pick modality event", "its {pick} led to {event}, and its {modality} fits"},
    {"stream_rest", "modality", "its {modality} fits what you have been looking at"},
    {"cooccurrence", "event", "others who came across {event} came to this next"},
    {"cooccurrence_rest", "", "others who came across the same things came to this next"},
    {"sequence", "modality", "it fits what you have been looking at, mostly by its {modality}"},
    {"sequence_id", "", "it fits what you have been looking at, by what others like you chose"},
    {"sequence_plain", "", "it fits what you have been looking at"},
    /* why: examples */
    {"similar_same", "modality event", "its {modality} resembles that of {event}"},
    {"similar_cross", "pick modality event", "of the examples, its {pick} led to {event}, and its {modality} fits"},
    {"similar_rest", "modality", "its {modality} fits the examples"},
    {"similar_cooccurrence", "event", "it goes together with {event}, by what others did"},
    {"similar_cooccurrence_rest", "", "it goes together with the examples, by what others did"},
    /* why: nothing of the user */
    {"popularity", "", "many people like it"},
    {"recent", "", "many people are looking at it now"},
    {"novelty", "", "it is new"},
    {"boost", "", "the shop puts it forward"},
    {"promotion", "label", "the shop features it: {label}"},
    {"promotion_plain", "", "the shop features it"},
    {"exploration", "", "drawn by chance among items that few know yet"},
    {"top_popular", "", "it is among the most popular"},
    {"top_trending", "", "it is among what most people are looking at now"},
    {"top_newest", "", "it is among the newest"},
    {"filled", "", "suggested to round off the list"},
    /* names; modality.id is the item itself, known by who chose it */
    {"modality.text", "", "description"},
    {"modality.image", "", "picture"},
    {"modality.id", "", "audience"},
    {"behaviour.view", "", "looked at"},
    {"behaviour.click", "", "looked at"},
    {"behaviour.cart", "", "put into the cart"},
    {"behaviour.purchase", "", "bought"},
    {"behaviour.like", "", "liked"},
    {"behaviour.dislike", "", "disliked"},
    {"behaviour.skip", "", "skipped"},
};

_Static_assert(sizeof english / sizeof *english == MESSAGES_BUILT_IN, "MESSAGES_BUILT_IN is the length of the table");

static const char *const english_months[MESSAGES_MONTHS] = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December",
};

/* ---- keys and tags */

size_t messages_index_of(const char *key)
{
    size_t index = 0;
    while (index < MESSAGES_BUILT_IN && (english[index].key[0] != key[0] || strcmp(english[index].key, key) != 0))
        index++; /* the first letter saves most calls: every reason asks several times */
    return index;
}

const char *messages_placeholders(const char *key)
{
    const size_t index = messages_index_of(key);
    return index < MESSAGES_BUILT_IN ? english[index].placeholders : "";
}

struct language_name *messages_find_name(const struct language *language, const char *key)
{
    struct language_name *name = language->names;
    while (name != NULL && strcmp(name->key, key) != 0)
        name = name->next;
    return name;
}

const struct language *messages_find_tag(const struct messages *messages, const char *tag, size_t bytes)
{
    for (size_t i = messages->count + 1; i-- > 0;) {
        const struct language *language = &messages->languages[i];
        if (strlen(language->tag) == bytes && strncasecmp(language->tag, tag, bytes) == 0)
            return language;
    }
    return NULL;
}

/* Bytes of a tag (not empty) without its last part; 0 where it has but one. */
static size_t cut_tag(const char *tag, size_t bytes)
{
    do
        bytes--;
    while (bytes > 0 && tag[bytes] != '-');
    return bytes;
}

/* RFC 4647, 3.4: part after part is taken off until there is such a language. */
static const struct language *look_up(const struct messages *messages, const char *tag, size_t bytes)
{
    for (; bytes > 0; bytes = cut_tag(tag, bytes)) {
        const struct language *language = messages_find_tag(messages, tag, bytes);
        if (language != NULL)
            return language;
    }
    return NULL;
}

/* Who says what a language of the file does not: of de-AT that is de, else the file's English, and of that the built-in
 * one. */
static const struct language *find_parent(const struct messages *messages, const struct language *language)
{
    const struct language *wider = look_up(messages, language->tag, cut_tag(language->tag, strlen(language->tag)));
    if (wider == NULL)
        wider = messages_find_tag(messages, "en", strlen("en"));
    return wider != language ? wider : &messages->languages[0];
}

/* ---- the catalogue */

bool messages_no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for messages");
}

static struct messages *messages_new(void)
{
    struct messages *messages = calloc(1, sizeof *messages);
    if (messages == NULL)
        return NULL;
    messages->references = 1;
    arena_init(&messages->arena, ARENA_ROOM);
    struct language *built_in = &messages->languages[0];
    memcpy(built_in->tag, "en", sizeof "en");
    built_in->months = english_months;
    for (size_t i = 0; i < MESSAGES_BUILT_IN; i++)
        built_in->texts[i] = english[i].text;
    return messages;
}

struct messages *messages_load_text(const char *file, const char *text, size_t size_bytes, struct status *st)
{
    struct messages *messages = messages_new();
    if (messages == NULL) {
        messages_no_memory(st);
        return NULL;
    }
    if (!messages_read(messages, file, text, size_bytes, st)) {
        messages_release(messages);
        return NULL;
    }
    for (size_t i = 1; i <= messages->count; i++)
        messages->languages[i].parent = find_parent(messages, &messages->languages[i]);
    return messages;
}

/* One byte more than there may be, so that a larger file shows. */
static char *read_file(const char *path, size_t *size_bytes, struct status *st)
{
    char *text = malloc(MESSAGES_FILE_BYTES + 1);
    if (text == NULL) {
        messages_no_memory(st);
        return NULL;
    }
    FILE *file = fopen(path, "re");
    size_t bytes = file == NULL ? 0 : fread(text, 1, MESSAGES_FILE_BYTES + 1, file);
    if (file == NULL || ferror(file)) {
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (file != NULL)
        fclose(file);
    *size_bytes = bytes;
    return text;
}

struct messages *messages_load(const char *path, struct status *st)
{
    size_t size_bytes;
    if (strcmp(path, "off") == 0)
        return messages_load_text(path, "", 0, st);
    char *text = read_file(path, &size_bytes, st);
    if (text == NULL)
        return NULL;
    struct messages *messages = messages_load_text(path, text, size_bytes, st);
    free(text);
    return messages;
}

struct messages *messages_acquire(struct messages *messages)
{
    atomic_fetch_add_explicit(&messages->references, 1, memory_order_relaxed);
    return messages;
}

void messages_release(struct messages *messages)
{
    if (messages == NULL || atomic_fetch_sub_explicit(&messages->references, 1, memory_order_acq_rel) != 1)
        return;
    arena_close(&messages->arena);
    free(messages);
}

/* ---- asking */

const struct language *messages_find(const struct messages *messages, const char *tag)
{
    if (tag[0] == '\0')
        return &messages->languages[messages->count > 0 ? 1 : 0];
    return look_up(messages, tag, strlen(tag));
}

const char *messages_tag(const struct language *language)
{
    return language->tag;
}

size_t messages_tags(const struct messages *messages, const char *tags[MESSAGES_LANGUAGES_MOST + 1])
{
    size_t count = 0;
    for (size_t i = 1; i <= messages->count; i++)
        tags[count++] = messages->languages[i].tag;
    if (messages_find_tag(messages, "en", strlen("en")) == &messages->languages[0])
        tags[count++] = messages->languages[0].tag;
    return count;
}

const char *messages_key(size_t index)
{
    return index < MESSAGES_BUILT_IN ? english[index].key : NULL;
}

const char *messages_text(const struct language *language, const char *key)
{
    size_t index = messages_index_of(key);
    const char *text = NULL;
    for (; language != NULL && text == NULL; language = language->parent) {
        const struct language_name *name = index < MESSAGES_BUILT_IN ? NULL : messages_find_name(language, key);
        if (index < MESSAGES_BUILT_IN)
            text = language->texts[index];
        else if (name != NULL)
            text = name->text;
    }
    return text;
}

const char *messages_name(const struct language *language, const char *kind, const char *name)
{
    char key[MESSAGES_KEY_BYTES];
    const size_t kind_bytes = strlen(kind), name_bytes = strlen(name);
    if (kind_bytes + name_bytes + 2 > sizeof key)
        return NULL;
    memcpy(key, kind, kind_bytes);
    key[kind_bytes] = '.';
    memcpy(key + kind_bytes + 1, name, name_bytes + 1);
    return messages_text(language, key);
}

const char *messages_month(const struct language *language, int month)
{
    assert(month >= 0 && month < MESSAGES_MONTHS);
    while (language->months == NULL) /* the built-in one has them */
        language = language->parent;
    return language->months[month];
}

static const char *find_value(const struct messages_value *values, size_t count, const char *name, size_t bytes)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(values[i].name) == bytes && memcmp(values[i].name, name, bytes) == 0)
            return values[i].text;
    return "";
}

/* Write a checked template, filled, with its end to `out` (NULL: only measure). Returns its bytes without the end. */
static size_t fill(const char *template, const struct messages_value *values, size_t count, char *out)
{
    size_t bytes = 0;
    for (const char *at = template; *at != '\0';) {
        const char *piece = at, *brace = strchr(at, '{');
        size_t length = brace == NULL ? strlen(at) : (size_t)(brace - at);
        at += length;
        if (length == 0) {
            const size_t name_bytes = (size_t)(strchr(at, '}') - (at + 1)); /* it was checked when the file was read */
            piece = find_value(values, count, at + 1, name_bytes);
            length = strlen(piece);
            at += name_bytes + 2;
        }
        if (out != NULL)
            memcpy(out + bytes, piece, length);
        bytes += length;
    }
    if (out != NULL)
        out[bytes] = '\0';
    return bytes;
}

const char *messages_expand(const struct language *language, const char *key, const struct messages_value *values,
                            size_t count, struct arena *arena)
{
    const char *template = messages_text(language, key);
    assert(template != NULL);
    char *text = arena_alloc(arena, fill(template, values, count, NULL) + 1);
    if (text != NULL)
        fill(template, values, count, text);
    return text;
}
