/* SPDX-License-Identifier: Apache-2.0
 *
 * The sentences that shoppers read, in their languages: a catalogue of templates with {placeholders}. English ("en") is
 * built in and complete. A YAML file adds languages and replaces English messages:
 *
 *   de:
 *     stream_same: "{modality} passt zu {event}"
 *     modality.text: die Beschreibung           # what a modality is called; one without a name is called as it is
 *     behaviour.purchase: gekauft               # what was done to an item
 *     months: [Januar, Februar, ...]            # 12
 *
 * A key stands for one sentence or a piece of one; messages.c lists them with their placeholders, etc/messages.yaml
 * explains them. What a language does not say the language that it is a variant of says (de-AT: de), if the file has
 * it, and else English. A brace always belongs to a placeholder. */
#ifndef RECSYS_DAEMON_MESSAGES_H
#define RECSYS_DAEMON_MESSAGES_H

#include "models/arena.h"
#include "proto/status.h"

#define MESSAGES_FILE_BYTES     ((size_t)1 << 20)
#define MESSAGES_LANGUAGES_MOST 64   /* in a file */
#define MESSAGES_NAMES_MOST     1000 /* modality.NAME and behaviour.NAME of a language that are not built in */
#define MESSAGES_TEXT_BYTES     1000

/* What one file said, and English; immutable and counted. */
struct messages;

/* One language of it; good as long as a reference to the whole. */
struct language;

/* Read a file; "off": English as built in. INVALID_ARGUMENT / BAD_MESSAGES with file, line, language and key: bad YAML,
 * aliases, anchors, tags or a second document; an unknown key (with the nearest known one), a key or language that was
 * there before, an unknown placeholder, a brace without its other half, a control character, no text, one of the limits
 * above. NOT_FOUND / NO_INPUT; RESOURCE_EXHAUSTED / NO_MEMORY. One reference, the caller's; NULL with st. */
struct messages *messages_load(const char *path, struct status *st);

/* The same from memory; `file` stands for it in errors. `text` may hold any bytes. */
struct messages *messages_load_text(const char *file, const char *text, size_t size_bytes, struct status *st);

struct messages *messages_acquire(struct messages *messages);
void messages_release(struct messages *messages); /* NULL is fine */

/* The language of a tag such as "de" or "de-AT", in any case of letters; where there is no de-AT, de. "": the first of
 * the file, without one English. NULL for a language that is not there. */
const struct language *messages_find(const struct messages *messages, const char *tag);

/* The tag of a language as the file writes it. */
const char *messages_tag(const struct language *language);

/* The tags of all languages, the file's in its order, then "en" where it has none. Returns how many. */
size_t messages_tags(const struct messages *messages, const char *tags[MESSAGES_LANGUAGES_MOST + 1]);

/* The keys of the built-in English one after the other, names of modalities and behaviours among them, months not; NULL
 * after the last. */
const char *messages_key(size_t index);

/* The template of a key, in this language or what it falls back to; NULL for a key that nobody says. */
const char *messages_text(const struct language *language, const char *key);

/* What a modality or behaviour is called: the text of "KIND.NAME", or NULL. */
const char *messages_name(const struct language *language, const char *kind, const char *name);

/* A month, from 0. */
const char *messages_month(const struct language *language, int month);

/* What a placeholder stands for. */
struct messages_value {
    const char *name, *text;
};

/* The template of a key (one that messages_key knows) with its placeholders filled, in the arena; one without a value
 * becomes nothing, and values are not looked into. NULL when the arena gives out. */
const char *messages_expand(const struct language *language, const char *key, const struct messages_value *values,
                            size_t count, struct arena *arena);

#endif
