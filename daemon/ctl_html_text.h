/* SPDX-License-Identifier: Apache-2.0
 *
 * How the page is written: patterns with holes, which texts from outside go into, escaped; and numbers as texts. */
#ifndef RECSYS_DAEMON_CTL_HTML_TEXT_H
#define RECSYS_DAEMON_CTL_HTML_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* The pattern with each {} replaced by the next text, which is escaped so that it is text and nothing else, inside an
 * element as well as inside a quoted attribute. Control characters become U+FFFD. */
void html_put(FILE *out, const char *pattern, ...);

/* A number as text, for as long as the call that it stands in: html_put(out, "<b>{}</b>", html_exact(x).text) */
struct html_digits {
    char text[48];
};

struct html_digits html_exact(double value); /* nine digits, for programs */
struct html_digits html_rounded(double value, int decimals);
struct html_digits html_signed(double value, int decimals);
struct html_digits html_whole(int64_t value);

#endif
