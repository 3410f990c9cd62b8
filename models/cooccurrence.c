/* SPDX-License-Identifier: Apache-2.0 */
#include "models/cooccurrence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cooccurrence_close(struct cooccurrence *c)
{
    free(c->term);
    free(c->touched);
    free(c->is_touched);
    *c = (struct cooccurrence){0};
}

void cooccurrence_reset(struct cooccurrence *c)
{
    for (size_t i = 0; i < c->touched_count; i++) {
        c->term[c->touched[i]] = 0;
        c->is_touched[c->touched[i]] = false;
    }
    c->touched_count = 0;
}

static bool reserve(struct cooccurrence *c, size_t capacity)
{
    if (capacity <= c->capacity)
        return true;
    cooccurrence_close(c);
    size_t roomy = capacity + capacity / 4;
    c->term = calloc(roomy, sizeof *c->term);
    c->touched = malloc(roomy * sizeof *c->touched);
    c->is_touched = calloc(roomy, sizeof *c->is_touched);
    if (c->term == NULL || c->touched == NULL || c->is_touched == NULL) {
        cooccurrence_close(c);
        return false;
    }
    c->capacity = roomy;
    return true;
}

static void add_row(struct cooccurrence *c, const struct counts_entry *row, size_t count, float factor, float sharpness)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t id = row[i].item_id;
        if (!c->is_touched[id]) {
            c->is_touched[id] = true;
            c->touched[c->touched_count++] = id;
        }
        c->term[id] += factor * log1pf(row[i].probability * sharpness);
    }
}

struct cooccurrence_scalars cooccurrence_scalars(const struct weights *w)
{
    return (struct cooccurrence_scalars){*w->cooccurrence, *w->reverse, *w->epsilon, *w->decay};
}

bool cooccurrence_compute(struct cooccurrence *c, const struct counts_view *counts,
                          const struct cooccurrence_event *events, size_t count, struct cooccurrence_scalars s)
{
    cooccurrence_reset(c);
    if (!reserve(c, counts->item_capacity))
        return false;
    float factor = 1;
    for (size_t age = 0; age < count && factor >= COOCCURRENCE_NEGLIGIBLE && s.weight != 0; age++, factor *= s.decay) {
        float weight = s.weight * factor * events[age].value;
        size_t entries;
        if (weight == 0)
            continue;
        const struct counts_entry *row = counts_row(counts, events[age].item_id, &entries);
        add_row(c, row, entries, weight, 1.0f / s.epsilon);
        row = s.reverse != 0 ? counts_row_before(counts, events[age].item_id, &entries) : NULL;
        if (row != NULL)
            add_row(c, row, entries, weight * s.reverse, 1.0f / s.epsilon);
    }
    return true;
}

float cooccurrence_term(const struct cooccurrence *c, uint32_t item_id)
{
    return item_id < c->capacity ? c->term[item_id] : 0;
}

/* rows are in the order of ids */
static float probability_of(const struct counts_entry *row, size_t count, uint32_t item_id)
{
    size_t first = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (row[first + half].item_id < item_id) {
            first += half + 1;
            count -= half + 1;
        } else if (row[first + half].item_id == item_id) {
            return row[first + half].probability;
        } else {
            count = half;
        }
    }
    return 0;
}

float cooccurrence_of(const struct counts_view *counts, const struct cooccurrence_event *event,
                      struct cooccurrence_scalars s, float factor, uint32_t item_id)
{
    size_t after_count, before_count;
    const struct counts_entry *after = counts_row(counts, event->item_id, &after_count);
    const struct counts_entry *before = counts_row_before(counts, event->item_id, &before_count);
    float weight = s.weight * factor * event->value, sharpness = 1.0f / s.epsilon;
    float forth = probability_of(after, after_count, item_id);
    float back = s.reverse == 0 ? 0 : probability_of(before, before_count, item_id);
    if (forth == 0 && back == 0) /* most of what a user met has nothing to do with the item */
        return 0;
    return weight * (log1pf(forth * sharpness) + s.reverse * log1pf(back * sharpness));
}
