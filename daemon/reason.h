/* SPDX-License-Identifier: Apache-2.0
 *
 * Why an item is on a list, in a sentence of one or two clauses: "its picture led to the Winter boots you bought on
 * 3 May, and its description fits; many people like it". It says what the score is made of, so it needs an answer with
 * terms and history, and tells nothing but what they tell; the words are those of messages.h. */
#ifndef RECSYS_DAEMON_REASON_H
#define RECSYS_DAEMON_REASON_H

#include "daemon/engine.h"
#include "daemon/messages.h"

#define REASON_TITLE_CHARACTERS 60 /* of a longer title as many are said, then "…" */

/* What the clauses are of. Terms of the same kind, event, pick and modality count as one, with the sum as their value;
 * only what is then above 0 is a reason.
 *
 *   first    the largest. An item that was promoted or drawn at random says that instead (`placed`)
 *   second   the largest of those that name an event (a stream's or a co-occurrence's), other than the first: where it
 *            has 30 % of the first, or always where the first names no event
 *
 * The largest stream's with an event is always one of the two: it takes the place of the second where it is neither.
 * Of equal ones the first in the order of enum engine_term_kind, then the one of the newer event. */
struct reason_choice {
    bool placed;
    size_t count; /* of `terms`, in the order of the clauses; 0 to 2, with `placed` 0 or 1 */
    struct engine_term terms[2];
};

/* False when the arena gives out; it is as before the call either way. */
bool reason_choose(const struct engine_answer *answer, const struct engine_item *item, struct arena *arena,
                   struct reason_choice *choice);

/* The sentence, in the arena: it begins as the template does and has no full stop. Without a reason it says that the
 * item is popular, looked at now or new, where that is its source, and else that it rounds off the list. Dates are of
 * UTC, with the year where that is not the one of the answer's now_ms. An item without a title goes by its id. NULL
 * when the arena gives out. */
const char *reason_of(const struct language *language, const struct engine_answer *answer,
                      const struct engine_item *item, const char **memory, struct arena *arena);

/* What reasons of one list in one language share: events in words, so that each is put into them once. In the arena; NULL
 * when it gives out. A reason for which there is none (NULL) does without. */
const char **reason_memory(const struct engine_answer *answer, struct arena *arena);

#endif
