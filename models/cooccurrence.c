/* SPDX-License-Identifier: Apache-2.0 */
#include "models/cooccurrence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Events whose decayed weight falls below this say nothing that would change a list. */
#define NEGLIGIBLE 0.003f

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
    for (size_t age = 0; age < count && factor >= NEGLIGIBLE && s.weight != 0; age++, factor *= s.decay) {
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
