/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/replay_tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define GROUPS_STEP 16

struct replay_item {
    uint32_t item_id;
    int64_t before, after;           /* lists that it is on */
    int64_t first_pair, second_pair; /* number of the last pair whose first, whose second list it is on */
    size_t first_place;              /* on that first list, from 0 */
    UT_hash_handle hh;
    char name[];
};

void replay_tally_close(struct replay_tally *tally)
{
    struct replay_item *item, *next;
    HASH_ITER(hh, tally->items, item, next)
    {
        HASH_DEL(tally->items, item);
        free(item);
    }
    for (size_t i = 0; i < tally->change_count; i++)
        free(tally->changes[i].item_ids);
    free(tally->groups);
    free(tally->first);
    memset(tally, 0, sizeof *tally);
}

/* ---- items */

static struct replay_item *find_item(const struct replay_tally *tally, uint32_t item_id)
{
    struct replay_item *item = NULL;
    HASH_FIND(hh, tally->items, &item_id, sizeof item_id, item);
    return item;
}

/* NULL out of memory */
static struct replay_item *meet_item(struct replay_tally *tally, const struct catalog_item *record)
{
    struct replay_item *item = find_item(tally, record->item.item_id);
    size_t size = strlen(record->item.name) + 1;
    if (item != NULL)
        return item;
    item = calloc(1, sizeof *item + size);
    if (item == NULL)
        return NULL;
    item->item_id = record->item.item_id;
    memcpy(item->name, record->item.name, size);
    HASH_ADD(hh, tally->items, item_id, sizeof item->item_id, item);
    if (item->hh.tbl != NULL)
        return item;
    free(item); /* no memory for the table */
    return NULL;
}

const char *replay_tally_name(const struct replay_tally *tally, uint32_t item_id)
{
    const struct replay_item *item = find_item(tally, item_id);
    return item == NULL ? "" : item->name;
}

bool replay_tally_begin(struct replay_tally *tally, const struct engine_answer *first)
{
    tally->pair++;
    tally->first_count = 0;
    if (first->count > tally->first_capacity || tally->first == NULL) {
        uint32_t *grown = reallocarray(tally->first, first->count + 1, sizeof *grown);
        if (grown == NULL)
            return false;
        tally->first = grown;
        tally->first_capacity = first->count;
    }
    for (size_t i = 0; i < first->count; i++) {
        struct replay_item *item = meet_item(tally, first->items[i].item);
        if (item == NULL)
            return false;
        item->first_pair = tally->pair;
        item->first_place = i;
        tally->first[tally->first_count++] = item->item_id;
    }
    return true;
}

/* ---- groups */

/* `gone`: "" or REPLAY_GONE; NULL out of memory */
static struct replay_group *find_group(struct replay_tally *tally, const char *scenario, const char *gone)
{
    char name[REPLAY_SCENARIO_BYTES];
    snprintf(name, sizeof name, "%.*s%s", (int)(sizeof name - sizeof REPLAY_GONE), scenario, gone);
    for (size_t i = 0; i < tally->group_count; i++)
        if (strcmp(tally->groups[i].scenario, name) == 0)
            return &tally->groups[i];
    if (tally->group_count == tally->group_capacity) {
        size_t capacity = tally->group_capacity * 2 + GROUPS_STEP;
        struct replay_group *grown = reallocarray(tally->groups, capacity, sizeof *grown);
        if (grown == NULL)
            return NULL;
        tally->groups = grown;
        tally->group_capacity = capacity;
    }
    struct replay_group *group = &tally->groups[tally->group_count++];
    memset(group, 0, sizeof *group);
    memcpy(group->scenario, name, strlen(name) + 1);
    return group;
}

bool replay_tally_gone(struct replay_tally *tally, const char *scenario)
{
    struct replay_group *group = find_group(tally, scenario, REPLAY_GONE);
    if (group != NULL)
        group->requests++;
    return group != NULL;
}

/* ---- changes */

/* the place of a change among the largest; REPLAY_CHANGES_MOST: none */
static size_t place_of(const struct replay_tally *tally, double overlap, double moved)
{
    size_t place = tally->change_count;
    while (place > 0 && (overlap < tally->changes[place - 1].overlap ||
                         (overlap <= tally->changes[place - 1].overlap && moved > tally->changes[place - 1].moved)))
        place--;
    return place;
}

static bool fill_change(const struct replay_tally *tally, struct replay_change *change,
                        const struct engine_answer *second)
{
    change->item_ids = malloc((tally->first_count + second->count + 1) * sizeof *change->item_ids);
    if (change->item_ids == NULL)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < tally->first_count; i++)
        if (find_item(tally, tally->first[i])->second_pair != tally->pair)
            change->item_ids[count++] = tally->first[i];
    change->gone_count = count;
    for (size_t i = 0; i < second->count; i++) {
        uint32_t item_id = second->items[i].item->item.item_id;
        if (find_item(tally, item_id)->first_pair != tally->pair)
            change->item_ids[count++] = item_id;
    }
    change->came_count = count - change->gone_count;
    return true;
}

static bool note_change(struct replay_tally *tally, const struct replay_origin *origin, double overlap, double moved,
                        const struct engine_answer *second)
{
    struct replay_change change = {.overlap = overlap, .moved = moved};
    size_t place = place_of(tally, overlap, moved);
    if (place == REPLAY_CHANGES_MOST)
        return true;
    if (!fill_change(tally, &change, second))
        return false;
    snprintf(change.recomm_id, sizeof change.recomm_id, "%s", origin->recomm_id);
    snprintf(change.user, sizeof change.user, "%s", origin->user);
    snprintf(change.scenario, sizeof change.scenario, "%s", origin->scenario);
    if (tally->change_count == REPLAY_CHANGES_MOST)
        free(tally->changes[--tally->change_count].item_ids);
    memmove(&tally->changes[place + 1], &tally->changes[place], (tally->change_count - place) * sizeof *tally->changes);
    tally->changes[place] = change;
    tally->change_count++;
    return true;
}

/* ---- one pair */

/* what both lists have: how many items, by how many places they moved together, and whether the lists are the same */
struct meeting {
    size_t both;
    double moved;
    bool equal;
};

static bool meet(struct replay_tally *tally, const struct engine_answer *second, struct meeting *meeting)
{
    *meeting = (struct meeting){.equal = second->count == tally->first_count};
    for (size_t i = 0; i < second->count; i++) {
        struct replay_item *item = meet_item(tally, second->items[i].item);
        if (item == NULL)
            return false;
        item->second_pair = tally->pair;
        item->after++;
        bool both = item->first_pair == tally->pair;
        meeting->equal = meeting->equal && both && item->first_place == i;
        if (!both)
            continue;
        meeting->both++;
        meeting->moved += (double)(item->first_place > i ? item->first_place - i : i - item->first_place);
    }
    for (size_t i = 0; i < tally->first_count; i++)
        find_item(tally, tally->first[i])->before++;
    return true;
}

bool replay_tally_end(struct replay_tally *tally, const struct replay_origin *origin,
                      const struct engine_answer *second)
{
    struct meeting meeting;
    if (!meet(tally, second, &meeting))
        return false;
    struct replay_group *group = find_group(tally, origin->scenario, "");
    if (group == NULL)
        return false;
    double overlap = tally->first_count == 0 ? 1 : (double)meeting.both / (double)tally->first_count;
    double moved = meeting.both == 0 ? 0 : meeting.moved / (double)meeting.both;
    group->requests++;
    group->equal += meeting.equal;
    group->overlap += overlap;
    group->moved += moved;
    return meeting.equal || note_change(tally, origin, overlap, moved, second);
}

/* ---- what came of it */

static int64_t difference(const struct replay_count *count)
{
    return count->after > count->before ? count->after - count->before : count->before - count->after;
}

static int by_difference(const void *a, const void *b)
{
    const struct replay_count *x = a, *y = b;
    int64_t more = difference(y) - difference(x);
    return more != 0 ? (more > 0) - (more < 0) : strcmp(x->item, y->item);
}

struct replay_count *replay_tally_items(const struct replay_tally *tally, size_t most, size_t *count,
                                        struct arena *arena)
{
    struct replay_count *counts = arena_alloc(arena, (HASH_COUNT(tally->items) + 1) * sizeof *counts);
    size_t found = 0;
    if (counts == NULL)
        return NULL;
    for (const struct replay_item *item = tally->items; item != NULL; item = item->hh.next)
        if (item->before != item->after)
            counts[found++] = (struct replay_count){item->name, item->before, item->after};
    qsort(counts, found, sizeof *counts, by_difference);
    *count = found < most ? found : most;
    return counts;
}
