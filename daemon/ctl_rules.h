/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of a list on the command line: conditions, boosts, promotions, caps, knobs.
 *
 *   CONDITION   brand=Acme,Zeta   brand!=Acme   price>=10   price<=99.5   created>=2026-01-01   brand?   brand!?   (has a value, has none) */
#ifndef RECSYS_DAEMON_CTL_RULES_H
#define RECSYS_DAEMON_CTL_RULES_H

#include "daemon/ctl_params.h"

/* Everything of CTL_RULES_OPTIONS that was given, as fields of the request. False with a usage error, or out of memory. */
bool ctl_rules_params(json_t *params, const struct ctl_arguments *arguments, struct status *st);

/* One condition as an object; NULL with a usage error. */
json_t *ctl_rules_condition(const char *text, struct status *st);

/* clang-format off */
#define CTL_RULES_OPTIONS                                                                                              \
    {"scenario",      0, "NAME",              "a preset of the daemon's; what is given here wins"},                     \
    {"must",          0, "COND",              "only items that fulfil this: brand=A,B price<=50; may be repeated"},     \
    {"must-not",      0, "COND",              "no items that fulfil this; may be repeated"},                            \
    {"should",        0, "COND",              "at least one of these; may be repeated"},                                \
    {"boost",         0, "ADD:COND",          "add to the score of items that fulfil this; may be repeated"},           \
    {"promote",       0, "SHARE[=LABEL]:COND", "a share of the list for items that fulfil this; may be repeated"},      \
    {"cap",           0, "BY=MOST[/WINDOW]",  "at most so many of one value in any so many places; may be repeated"},   \
    {"price-ceiling", 0, "X",                 "nothing dearer than X times the median price in the history"},           \
    {"diversity",     0, "X",                 "0 to 1: unlike the rest of the list"},                                   \
    {"rerank",        0, "dpp|mmr",           "how diversity is had (dpp)"},                                            \
    {"novelty",       0, "X",                 "0 to 1: discount on what everybody knows"},                              \
    {"serendipity",   0, "X",                 "0 to 1: far from the history"},                                          \
    {"calibration",   0, "X",                 "0 to 1: the mix of categories as in the history"},                       \
    {"exploration",   0, "X",                 "0 to 1: a share of places for items hardly anybody has met"},            \
    {"rotation",      0, "X",                 "0 to 1: what was shown to the user lately counts so much less"},         \
    {"seed",          0, "TEXT",              "of what is drawn at random"},                                            \
    {"rotation-ms",   0, "MS",                "how long rotation looks back (a day)"},                                  \
    {"pool",          0, "N",                 "candidates that are re-ranked (ten times the count, at least 200)"}
/* clang-format on */

#endif
