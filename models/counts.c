/* SPDX-License-Identifier: Apache-2.0 */
#include "models/counts.h"

#include "models/topk.h"

#include <Judy.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000
#define MAGIC  0x31746e756f637352u

/* Three sparse maps from integers to sums. Judy arrays keep their keys in order, which is the order of the rows that a view needs. */
struct counts {
    Pvoid_t transitions; /* from << 32 | to  -> sixths */
    Pvoid_t popularity;  /* item             -> events */
    Pvoid_t days; /* day << 32 | item -> events; all of them: the window moves back when the newest event is erased */
};

struct counts *counts_new(void)
{
    return calloc(1, sizeof(struct counts));
}

void counts_free(struct counts *counts)
{
    if (counts == NULL)
        return;
    JudyLFreeArray(&counts->transitions, PJE0);
    JudyLFreeArray(&counts->popularity, PJE0);
    JudyLFreeArray(&counts->days, PJE0);
    free(counts);
}

/* A sum that becomes zero leaves the map: taking out what was put in gives the same map as never having put it in. */
static bool add(Pvoid_t *map, Word_t key, int64_t amount)
{
    PPvoid_t slot = JudyLIns(map, key, PJE0);
    if (slot == PPJERR || slot == NULL)
        return false;
    Word_t *sum = (Word_t *)slot;
    *sum = (Word_t)((int64_t)*sum + amount);
    if (*sum == 0)
        JudyLDel(map, key, PJE0);
    return true;
}

static uint32_t newest_day(const struct counts *counts)
{
    Word_t key = ~(Word_t)0;
    return JudyLLast(counts->days, &key, PJE0) == NULL ? 0 : (uint32_t)(key >> 32);
}

static bool add_day(struct counts *counts, const struct counts_event *event, int sign)
{
    if (event->ts_ms < 0)
        return true;
    uint32_t day = (uint32_t)(event->ts_ms / DAY_MS);
    return add(&counts->days, ((Word_t)day << 32) | event->item_id, sign);
}

bool counts_user(struct counts *counts, const struct counts_event *events, size_t count, int sign)
{
    static const int sixths[] = {0, 6, 3, 2};
    for (size_t i = 0; i < count; i++) {
        for (size_t distance = 1; distance <= 3 && distance <= i; distance++) {
            Word_t key = ((Word_t)events[i - distance].item_id << 32) | events[i].item_id;
            if (!add(&counts->transitions, key, sign * sixths[distance]))
                return false;
        }
        if (!add(&counts->popularity, events[i].item_id, sign) || !add_day(counts, &events[i], sign))
            return false;
    }
    return true;
}

/* ---- bytes: magic, three map sizes, then each map's keys and sums in order */

static Word_t map_size(Pcvoid_t map)
{
    return JudyLCount(map, 0, ~(Word_t)0, PJE0);
}

static uint64_t *write_map(uint64_t *at, Pcvoid_t map)
{
    Word_t key = 0;
    for (PPvoid_t slot = JudyLFirst(map, &key, PJE0); slot != NULL; slot = JudyLNext(map, &key, PJE0)) {
        *at++ = key;
        *at++ = *(Word_t *)slot;
    }
    return at;
}

void *counts_write(const struct counts *counts, size_t *size_bytes)
{
    Pcvoid_t maps[] = {counts->transitions, counts->popularity, counts->days};
    size_t words = 4;
    for (int i = 0; i < 3; i++)
        words += 2 * map_size(maps[i]);
    uint64_t *bytes = malloc(words * sizeof *bytes);
    if (bytes == NULL)
        return NULL;
    bytes[0] = MAGIC;
    uint64_t *at = bytes + 4;
    for (int i = 0; i < 3; i++) {
        bytes[1 + i] = map_size(maps[i]);
        at = write_map(at, maps[i]);
    }
    *size_bytes = words * sizeof *bytes;
    return bytes;
}

/* Every item in the other maps has a popularity, which bounds the arrays of a view. */
static bool keys_are_known(const struct counts *counts)
{
    Word_t key = ~(Word_t)0;
    if (JudyLLast(counts->popularity, &key, PJE0) != NULL && key > INT32_MAX)
        return false;
    key = 0;
    for (PPvoid_t slot = JudyLFirst(counts->transitions, &key, PJE0); slot != NULL;
         slot = JudyLNext(counts->transitions, &key, PJE0))
        if (JudyLGet(counts->popularity, key >> 32, PJE0) == NULL ||
            JudyLGet(counts->popularity, (uint32_t)key, PJE0) == NULL)
            return false;
    key = 0;
    for (PPvoid_t slot = JudyLFirst(counts->days, &key, PJE0); slot != NULL; slot = JudyLNext(counts->days, &key, PJE0))
        if (JudyLGet(counts->popularity, (uint32_t)key, PJE0) == NULL)
            return false;
    return true;
}

struct counts *counts_read(const void *bytes, size_t size_bytes, struct status *st)
{
    const uint64_t *word = bytes;
    uint64_t left = size_bytes / 8;
    struct counts *counts = counts_new();
    Pvoid_t *maps[3];
    if (counts == NULL || size_bytes % 8 != 0 || left < 4 || word[0] != MAGIC)
        goto bad;
    maps[0] = &counts->transitions;
    maps[1] = &counts->popularity;
    maps[2] = &counts->days;
    left -= 4;
    const uint64_t *at = word + 4;
    for (int i = 0; i < 3; i++) {
        uint64_t size = word[1 + i];
        if (size > left / 2)
            goto bad;
        left -= 2 * size;
        for (; size > 0; size--, at += 2)
            if (!add(maps[i], at[0], (int64_t)at[1]))
                goto bad;
    }
    if (left == 0 && keys_are_known(counts))
        return counts;
bad:
    counts_free(counts);
    status_fail(st, STATUS_DATA_LOSS, "BAD_COUNTS", "stored counts of %zu bytes do not check out", size_bytes);
    return NULL;
}

/* ---- the view */

static size_t item_capacity(const struct counts *counts)
{
    Word_t key = ~(Word_t)0;
    return JudyLLast(counts->popularity, &key, PJE0) == NULL ? 1 : (size_t)key + 1;
}

/* rows in CSR form; a row's probabilities share its sum, known once the row is read */
static void fill_rows(struct counts_view *view, const struct counts *counts)
{
    size_t at = 0, next_row = 0, row_begin = 0;
    int64_t row_sum = 0;
    Word_t key = 0;
    PPvoid_t slot = JudyLFirst(counts->transitions, &key, PJE0);
    while (slot != NULL) {
        uint32_t from = (uint32_t)(key >> 32);
        while (next_row <= from)
            view->row_start[next_row++] = at;
        row_begin = at;
        row_sum = 0;
        for (; slot != NULL && (uint32_t)(key >> 32) == from; slot = JudyLNext(counts->transitions, &key, PJE0)) {
            int64_t sixths = (int64_t) * (Word_t *)slot;
            view->entries[at++] = (struct counts_entry){(uint32_t)key, (float)sixths / 6.0f};
            row_sum += sixths;
        }
        float scale = 1.0f / ((float)row_sum / 6.0f + COUNTS_SHRINKAGE);
        for (size_t i = row_begin; i < at; i++)
            view->entries[i].probability *= scale;
    }
    while (next_row <= view->item_capacity)
        view->row_start[next_row++] = at;
}

/* the transposed matrix: a counting sort of the entries by what came after, so rows stay in the order of ids */
static void fill_before(struct counts_view *view, const struct counts *counts)
{
    uint64_t *start = view->before_start;
    Word_t key = 0;
    for (PPvoid_t slot = JudyLFirst(counts->transitions, &key, PJE0); slot != NULL;
         slot = JudyLNext(counts->transitions, &key, PJE0))
        start[(uint32_t)key + 1]++;
    for (size_t i = 0; i < view->item_capacity; i++)
        start[i + 1] += start[i];
    key = 0;
    for (PPvoid_t slot = JudyLFirst(counts->transitions, &key, PJE0); slot != NULL;
         slot = JudyLNext(counts->transitions, &key, PJE0)) {
        int64_t sixths = (int64_t) * (Word_t *)slot;
        view->before[start[(uint32_t)key]++] = (struct counts_entry){(uint32_t)(key >> 32), (float)sixths / 6.0f};
    }
    memmove(start + 1, start, view->item_capacity * sizeof *start); /* each start has become its row's end */
    start[0] = 0;
    for (size_t i = 0; i < view->item_capacity; i++) {
        double sum = 0;
        for (uint64_t at = start[i]; at < start[i + 1]; at++)
            sum += (double)view->before[at].probability;
        for (uint64_t at = start[i]; at < start[i + 1]; at++)
            view->before[at].probability /= (float)sum + COUNTS_SHRINKAGE;
    }
}

static void fill_items(struct counts_view *view, const struct counts *counts)
{
    Word_t key = 0;
    for (PPvoid_t slot = JudyLFirst(counts->popularity, &key, PJE0); slot != NULL;
         slot = JudyLNext(counts->popularity, &key, PJE0)) {
        view->popularity[key] = (uint32_t) * (Word_t *)slot;
        view->log_popularity[key] = log1pf((float)view->popularity[key]);
        view->event_count += *(Word_t *)slot;
    }
    uint32_t newest = newest_day(counts);
    view->recent_at_ms = counts->days == NULL ? 0 : ((int64_t)newest + 1) * DAY_MS;
    key = newest < COUNTS_RECENT_DAYS ? 0 : (Word_t)(newest - COUNTS_RECENT_DAYS + 1) << 32;
    for (PPvoid_t slot = JudyLFirst(counts->days, &key, PJE0); slot != NULL;
         slot = JudyLNext(counts->days, &key, PJE0)) {
        float age_days = (float)(newest - (uint32_t)(key >> 32));
        view->recent[(uint32_t)key] += (float)*(Word_t *)slot * exp2f(-age_days / COUNTS_HALF_LIFE);
    }
}

/* ids of the best items of one measure, those with nothing left out */
static uint32_t *best_items(const float *measure, size_t count, size_t *best_count)
{
    uint32_t *best = malloc(COUNTS_TOP * sizeof *best);
    if (best == NULL)
        return NULL;
    *best_count = topk_select(best, measure, NULL, count, COUNTS_TOP);
    while (*best_count > 0 && measure[best[*best_count - 1]] <= 0)
        (*best_count)--;
    return best;
}

struct counts_view *counts_publish(const struct counts *counts, int64_t position)
{
    size_t capacity = item_capacity(counts), transitions = map_size(counts->transitions);
    struct counts_view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return NULL;
    view->references = 1;
    view->position = position;
    view->item_capacity = capacity;
    view->row_start = malloc((capacity + 1) * sizeof *view->row_start);
    view->entries = malloc((transitions + 1) * sizeof *view->entries);
    view->before_start = calloc(capacity + 1, sizeof *view->before_start);
    view->before = malloc((transitions + 1) * sizeof *view->before);
    view->popularity = calloc(capacity, sizeof *view->popularity);
    view->log_popularity = calloc(capacity, sizeof *view->log_popularity);
    view->recent = calloc(capacity, sizeof *view->recent);
    if (view->row_start == NULL || view->entries == NULL || view->before_start == NULL || view->before == NULL ||
        view->popularity == NULL || view->log_popularity == NULL || view->recent == NULL) {
        counts_view_release(view);
        return NULL;
    }
    fill_rows(view, counts);
    fill_before(view, counts);
    fill_items(view, counts);
    view->top_recent = best_items(view->recent, capacity, &view->top_recent_count);
    view->top_popular = best_items(view->log_popularity, capacity, &view->top_popular_count);
    if (view->top_recent == NULL || view->top_popular == NULL) {
        counts_view_release(view);
        return NULL;
    }
    return view;
}

struct counts_view *counts_view_acquire(struct counts_view *view)
{
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    return view;
}

void counts_view_release(struct counts_view *view)
{
    if (view == NULL || atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1)
        return;
    free(view->row_start);
    free(view->entries);
    free(view->before_start);
    free(view->before);
    free(view->popularity);
    free(view->log_popularity);
    free(view->recent);
    free(view->top_recent);
    free(view->top_popular);
    free(view);
}

static const struct counts_entry *row_of(const struct counts_entry *entries, const uint64_t *start, size_t capacity,
                                         uint32_t item_id, size_t *count)
{
    *count = item_id < capacity ? (size_t)(start[item_id + 1] - start[item_id]) : 0;
    return *count == 0 ? NULL : entries + start[item_id];
}

const struct counts_entry *counts_row(const struct counts_view *view, uint32_t item_id, size_t *count)
{
    return row_of(view->entries, view->row_start, view->item_capacity, item_id, count);
}

const struct counts_entry *counts_row_before(const struct counts_view *view, uint32_t item_id, size_t *count)
{
    return row_of(view->before, view->before_start, view->item_capacity, item_id, count);
}

uint32_t counts_popularity(const struct counts_view *view, uint32_t item_id)
{
    return item_id < view->item_capacity ? view->popularity[item_id] : 0;
}

float counts_recent(const struct counts_view *view, uint32_t item_id, int64_t now_ms)
{
    if (item_id >= view->item_capacity || view->recent[item_id] == 0)
        return 0;
    float age_days = (float)(now_ms - view->recent_at_ms) / (float)DAY_MS;
    return view->recent[item_id] * exp2f(-fmaxf(age_days, 0) / COUNTS_HALF_LIFE);
}
