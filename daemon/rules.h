/* SPDX-License-Identifier: Apache-2.0
 *
 * What a shop may ask of a list beyond the user's taste, as plain structs: what a request or a scenario of the configuration says, checked. Texts belong to whoever
 * made them. */
#ifndef RECSYS_DAEMON_RULES_H
#define RECSYS_DAEMON_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULES_CONDITIONS_MAX 64   /* in one list */
#define RULES_VALUES_MAX     1000 /* in any or none */
#define RULES_CONDITIONS_ALL 256  /* in a request */
#define RULES_BOOSTS_MAX     32
#define RULES_PROMOTIONS_MAX 8
#define RULES_CAPS_MAX       8

/* On one item; everything that is given must hold.
 *   field    "item" (external id: any, none), "category", "price", "available", "created", "expires" (numbers: ms) or an attribute's name
 *   any      has at least one of these values
 *   none     has none of these values; true also for who has no value
 *   least, most   its number lies between, both included; false for who has no number */
enum rule_always { RULE_BY_ITEM, RULE_HOLDS, RULE_FAILS };

struct rule_condition {
    const char *field;
    const char *const *any, *const *none;
    size_t any_count, none_count;
    double least, most;      /* -INFINITY, INFINITY: not given */
    int exists;              /* 1: has a value or number; 0: has neither; -1: not given */
    enum rule_always always; /* a condition on the request's context is the same for every item */
};

struct rule_filter {
    const struct rule_condition *must, *must_not, *should;
    size_t must_count, must_not_count, should_count;
};

/* Items for which all conditions hold get `add` on their score; negative buries. */
struct rule_boost {
    const struct rule_condition *when;
    size_t when_count;
    float add;
};

/* Items for which all conditions hold get at least this share of the list. */
struct rule_promotion {
    const struct rule_condition *when;
    size_t when_count;
    double share; /* not a float: floor(.9f · 50) is 44 */
    const char *label;
};

/* At most `most` items with the same value of `by` in any `window` consecutive places (0: in the list). */
struct rule_cap {
    const char *by;
    unsigned most, window;
};

enum rule_rerank { RULE_DPP, RULE_MMR };

struct rules {
    struct rule_filter filter;
    const struct rule_boost *boosts;
    const struct rule_promotion *promotions;
    const struct rule_cap *caps;
    size_t boost_count, promotion_count, cap_count;
    double price_ceiling; /* no item dearer than this many times the median price in the history; 0: none */
    enum rule_rerank rerank;
    float diversity, novelty, serendipity, calibration; /* 0 .. 1; 0: off */
    float rotation;                                     /* what was shown to the user lately counts so much less */
    int64_t rotation_ms;                                /* fading over this time; > 0 */
    float exploration;                                  /* share of places drawn at random among hardly known items */
    const char *seed;                                   /* of that; NULL or "": none */
    size_t pool;                                        /* candidates that are re-ranked; 0: max(10 n, 200) */
};

/* Is there anything that changes the order after scoring? */
static inline bool rules_rerank(const struct rules *rules)
{
    return rules->promotion_count > 0 || rules->cap_count > 0 || rules->diversity > 0 || rules->novelty > 0 ||
           rules->serendipity > 0 || rules->calibration > 0 || rules->exploration > 0 || rules->rotation > 0;
}

#endif
