/* SPDX-License-Identifier: Apache-2.0
 *
 * "did you mean": the known word that a mistyped one is close to. */
#ifndef RECSYS_PROTO_SUGGEST_H
#define RECSYS_PROTO_SUGGEST_H

#include <stddef.h>

/* The one of `candidates` that `word` was probably meant to be: at most a third of its letters differ (a swap of neighbours is
 * one difference, capitals are none), or it goes on where `word` ends ("timeout", "timeout_ms"). The first of equally near ones.
 * NULL when nothing is near. */
const char *suggest(const char *word, const char *const *candidates, size_t count);

#endif
