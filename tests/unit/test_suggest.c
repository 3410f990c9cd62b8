/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/suggest.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

Test(suggest, the_nearest_word_or_none)
{
    static const char *const words[] = {"recommend", "rank", "similar", "server.workers", "timeout_ms", "list"};
    static const struct {
        const char *word, *near;
    } cases[] = {
        {"recomend", "recommend"},
        {"reccomend", "recommend"},
        {"RANK", "rank"},
        {"rnak", "rank"},
        {"simlar", "similar"},
        {"timeout", "timeout_ms"},
        {"tim", "timeout_ms"},
        {"ti", NULL},
        {"lst", "list"},
        {"lists", "list"},
        {"put", NULL},
        {"", NULL},
        {"xyz", NULL},
        {"server.worker", "server.workers"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *near = suggest(cases[i].word, words, COUNT(words));
        cr_expect(near == cases[i].near || (near != NULL && cases[i].near != NULL && strcmp(near, cases[i].near) == 0),
                  "'%s' is near '%s'", cases[i].word, near != NULL ? near : "nothing");
    }
    cr_expect_null(suggest("rank", words, 0));
    char text[1000];
    memset(text, 'r', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cr_expect_null(suggest(text, words, COUNT(words)));
}
