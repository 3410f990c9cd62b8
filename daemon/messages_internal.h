/* SPDX-License-Identifier: Apache-2.0
 *
 * What messages.c, which has the built-in English and answers from a catalogue, and messages_yaml.c, which reads a file
 * into one, share. */
#ifndef RECSYS_DAEMON_MESSAGES_INTERNAL_H
#define RECSYS_DAEMON_MESSAGES_INTERNAL_H

#include "daemon/messages.h"

#include <stdatomic.h>

#define MESSAGES_BUILT_IN  44 /* keys of English; without as many in its table messages.c does not compile */
#define MESSAGES_MONTHS    12
#define MESSAGES_TAG_BYTES 36
#define MESSAGES_KEY_BYTES 96

/* of a modality or behaviour that English has no name for */
struct language_name {
    struct language_name *next;
    const char *key, *text;
};

struct language {
    char tag[MESSAGES_TAG_BYTES];
    const struct language *parent;        /* says what this one does not; NULL: English as built in */
    const char *texts[MESSAGES_BUILT_IN]; /* by messages_index_of; NULL: not said */
    const char *const *months;            /* 12; NULL: not said */
    struct language_name *names;
    size_t name_count;
};

struct messages {
    atomic_int references;
    struct arena arena;                                     /* every text of the file */
    size_t count;                                           /* languages of the file */
    struct language languages[1 + MESSAGES_LANGUAGES_MOST]; /* [0] as built in */
};

/* Add the languages of a file, without their parents. Errors as those of messages_load_text; what was read until then
 * stays. The texts are copied. */
bool messages_read(struct messages *messages, const char *file, const char *text, size_t size_bytes, struct status *st);

/* The number of a built-in key; MESSAGES_BUILT_IN where it is none. */
size_t messages_index_of(const char *key);

/* What may stand in the text of a key, with spaces between them; of one that is not built in nothing, "". */
const char *messages_placeholders(const char *key);

/* By key, and by tag in any case of letters; a language of the file before the built-in one. NULL: none. */
struct language_name *messages_find_name(const struct language *language, const char *key);
const struct language *messages_find_tag(const struct messages *messages, const char *tag, size_t bytes);

/* RESOURCE_EXHAUSTED / NO_MEMORY; false. */
bool messages_no_memory(struct status *st);

#endif
