/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/snapshot.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 16
#define PAGE_IDS  (1u << PAGE_BITS)
#define PAGES     (1u << 16)

struct snapshot_page {
    _Atomic uint32_t row[PAGE_IDS]; /* row + 1; 0: none */
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for encoded items");
}

static bool bit(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static void clear_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* ---- segments */

static void segment_free(struct snapshot_segment *segment)
{
    if (segment == NULL)
        return;
    for (size_t i = 0; segment->items != NULL && i < segment->capacity; i++)
        catalog_item_release(segment->items[i]);
    encoder_rows_close(&segment->rows);
    free(segment->item_ids);
    free(segment->items);
    free(segment->previous);
    free(segment->from_ms);
    free(segment->until_ms);
    free(segment);
}

static struct snapshot_segment *segment_new(const struct architecture *architecture, size_t first, size_t capacity)
{
    struct snapshot_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        return NULL;
    segment->first = first;
    segment->capacity = capacity;
    segment->item_ids = calloc(capacity, sizeof *segment->item_ids);
    segment->items = calloc(capacity, sizeof(struct catalog_item *));
    segment->previous = calloc(capacity, sizeof *segment->previous);
    segment->from_ms = calloc(capacity, sizeof *segment->from_ms);
    segment->until_ms = calloc(capacity, sizeof *segment->until_ms);
    segment->earliest_until_ms = INT64_MAX;
    if (!encoder_rows_init(&segment->rows, architecture, capacity) || segment->item_ids == NULL ||
        segment->items == NULL || segment->previous == NULL || segment->from_ms == NULL || segment->until_ms == NULL) {
        segment_free(segment);
        return NULL;
    }
    return segment;
}

static size_t segment_index(const struct snapshot *snapshot, size_t row)
{
    return row < snapshot->base_count ? 0 : 1 + (row - snapshot->base_count) / SNAPSHOT_DELTA_ROWS;
}

static struct snapshot_segment *segment_at(struct snapshot *snapshot, size_t row)
{
    return snapshot->segments[segment_index(snapshot, row)];
}

/* ---- the row of an item */

static uint32_t newest_row(const struct snapshot *snapshot, uint32_t item_id)
{
    struct snapshot_page *page = atomic_load_explicit(&snapshot->pages[item_id >> PAGE_BITS], memory_order_acquire);
    if (page == NULL)
        return SNAPSHOT_ROW_NONE;
    return atomic_load_explicit(&page->row[item_id & (PAGE_IDS - 1)], memory_order_acquire) - 1;
}

static bool reserve_page(struct snapshot *snapshot, uint32_t item_id)
{
    if (atomic_load_explicit(&snapshot->pages[item_id >> PAGE_BITS], memory_order_relaxed) != NULL)
        return true;
    struct snapshot_page *page = calloc(1, sizeof *page);
    if (page == NULL)
        return false;
    atomic_store_explicit(&snapshot->pages[item_id >> PAGE_BITS], page, memory_order_release);
    return true;
}

static void set_newest_row(struct snapshot *snapshot, uint32_t item_id, size_t row)
{
    struct snapshot_page *page = atomic_load_explicit(&snapshot->pages[item_id >> PAGE_BITS], memory_order_relaxed);
    atomic_store_explicit(&page->row[item_id & (PAGE_IDS - 1)], (uint32_t)row + 1, memory_order_release);
}

/* ---- life */

struct snapshot *snapshot_acquire(struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void snapshot_release(struct snapshot *snapshot)
{
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < SNAPSHOT_SEGMENTS_MAX; i++)
        segment_free(snapshot->segments[i]);
    for (size_t i = 0; snapshot->pages != NULL && i < PAGES; i++)
        free(snapshot->pages[i]);
    free(snapshot->pages);
    free(snapshot->alive);
    columns_free(snapshot->columns);
    model_release(snapshot->model);
    pthread_mutex_destroy(&snapshot->lock);
    free(snapshot);
}

static struct snapshot *snapshot_new(struct model *model, size_t base_count)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL)
        return NULL;
    size_t rows = base_count + (SNAPSHOT_SEGMENTS_MAX - 1) * SNAPSHOT_DELTA_ROWS;
    snapshot->references = 1;
    snapshot->model = model_acquire(model);
    pthread_mutex_init(&snapshot->lock, NULL);
    snapshot->base_count = base_count;
    snapshot->alive = calloc(rows / 64 + 1, sizeof *snapshot->alive);
    snapshot->pages = calloc(PAGES, sizeof *snapshot->pages);
    snapshot->segments[0] = segment_new(&model->architecture, 0, base_count > 0 ? base_count : 1);
    snapshot->segment_count = 1;
    snapshot->columns = columns_new();
    if (snapshot->columns == NULL || snapshot->alive == NULL || snapshot->pages == NULL ||
        snapshot->segments[0] == NULL) {
        snapshot_release(snapshot);
        return NULL;
    }
    return snapshot;
}

uint64_t snapshot_bytes(const struct architecture *architecture, size_t items, uint32_t largest_id)
{
    const struct snapshot_segment *segment = NULL;
    uint64_t row = encoder_row_floats(architecture) * sizeof(float) + sizeof *segment->item_ids +
                   sizeof *segment->items + sizeof *segment->previous + sizeof *segment->from_ms +
                   sizeof *segment->until_ms;
    uint64_t pages = (uint64_t)(largest_id >> PAGE_BITS) + 1,
             rows_most = (uint64_t)SNAPSHOT_SEGMENTS_MAX * SNAPSHOT_DELTA_ROWS;
    return (items + SNAPSHOT_DELTA_ROWS) * row + pages * sizeof(struct snapshot_page) + PAGES * sizeof(void *) +
           (items + rows_most) / 8;
}

/* ---- encoding */

/* the raw vectors of an item that the model's views read; a space of another dimension than the view's counts as missing */
static void describe(const struct model *model, const struct store_space *spaces, const struct catalog_item *item,
                     struct encoder_item *out)
{
    *out = (struct encoder_item){.name = item->item.name};
    for (int v = 0; v < model->architecture.view_count; v++) {
        if (spaces[v].space_id == 0)
            continue;
        const struct catalog_feature *feature = catalog_item_feature(item, spaces[v].space_id);
        if (feature != NULL && feature->dimension == model->architecture.views[v].dimension)
            out->vector[v] = feature->values;
    }
}

static void find_spaces(const struct model *model, struct catalog *catalog, struct store_space *spaces)
{
    for (int v = 0; v < model->architecture.view_count; v++) {
        const struct view *view = &model->architecture.views[v];
        if (!catalog_find_space(catalog, view->modality, view->encoder, &spaces[v]))
            spaces[v] = (struct store_space){0};
    }
}

/* encode records into consecutive rows of a segment and take references on them */
static bool fill(struct snapshot *snapshot, struct catalog *catalog, struct snapshot_segment *segment, size_t first,
                 struct catalog_item *const *items, size_t count, struct arena *arena)
{
    size_t index = segment_index(snapshot, segment->first);
    struct store_space spaces[ARCHITECTURE_VIEWS_MAX];
    struct encoder_item inputs[ENCODER_BATCH];
    find_spaces(snapshot->model, catalog, spaces);
    for (size_t begin = 0; begin < count; begin += ENCODER_BATCH) {
        size_t batch = count - begin < ENCODER_BATCH ? count - begin : ENCODER_BATCH;
        for (size_t i = 0; i < batch; i++)
            describe(snapshot->model, spaces, items[begin + i], &inputs[i]);
        if (!encoder_encode(snapshot->model, inputs, batch, &segment->rows, first + begin, arena))
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        catalog_item_release(segment->items[first + i]);
        segment->items[first + i] = catalog_item_acquire(items[i]);
        segment->item_ids[first + i] = items[i]->item.item_id;
        segment->from_ms[first + i] = items[i]->item.created_ms;
        segment->until_ms[first + i] = items[i]->item.expires_ms;
        if (!columns_put(snapshot->columns, index, segment->capacity, first + i, items[i]))
            return false;
    }
    return true;
}

static bool is_shown(const struct catalog_item *item)
{
    return !item->item.deleted && item->item.available;
}

/* make filled rows [first, first + count) visible, each in the place of its item's row before; the caller holds the lock */
static void publish(struct snapshot *snapshot, size_t first, size_t count)
{
    for (size_t row = first; row < first + count; row++) {
        struct snapshot_segment *segment = segment_at(snapshot, row);
        size_t at = row - segment->first;
        uint32_t before = newest_row(snapshot, segment->item_ids[at]);
        segment->previous[at] = before;
        if (before != SNAPSHOT_ROW_NONE && bit(snapshot->alive, before)) {
            clear_bit(snapshot->alive, before);
            snapshot->alive_count--;
        }
        if (is_shown(segment->items[at])) {
            set_bit(snapshot->alive, row);
            snapshot->alive_count++;
        }
        if (segment->from_ms[at] > segment->latest_from_ms)
            segment->latest_from_ms = segment->from_ms[at];
        if (segment->until_ms[at] < segment->earliest_until_ms)
            segment->earliest_until_ms = segment->until_ms[at];
        set_newest_row(snapshot, segment->item_ids[at], row);
    }
    snapshot->row_count = first + count;
}

struct snapshot *snapshot_build(struct model *model, struct catalog *catalog, struct catalog_item *const *items,
                                size_t count, int64_t position, struct arena *arena, struct status *st)
{
    struct snapshot *snapshot = snapshot_new(model, count);
    bool ok = snapshot != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = reserve_page(snapshot, items[i]->item.item_id);
    if (!ok || !fill(snapshot, catalog, snapshot->segments[0], 0, items, count, arena)) {
        out_of_memory(st);
        snapshot_release(snapshot);
        return NULL;
    }
    snapshot->catalog = catalog;
    snapshot->position = position;
    publish(snapshot, 0, count);
    return snapshot;
}

/* room for one more run of rows in the newest delta segment: how many fit, 0 when no segment is left or memory is out */
static size_t reserve_rows(struct snapshot *snapshot, size_t row)
{
    size_t delta = row - snapshot->base_count, index = 1 + delta / SNAPSHOT_DELTA_ROWS;
    if (index >= SNAPSHOT_SEGMENTS_MAX)
        return 0;
    if (snapshot->segments[index] == NULL) {
        struct snapshot_segment *segment = segment_new(&snapshot->model->architecture, row, SNAPSHOT_DELTA_ROWS);
        if (segment == NULL)
            return 0;
        pthread_mutex_lock(&snapshot->lock);
        snapshot->segments[index] = segment;
        snapshot->segment_count = index + 1;
        pthread_mutex_unlock(&snapshot->lock);
    }
    return SNAPSHOT_DELTA_ROWS - delta % SNAPSHOT_DELTA_ROWS;
}

bool snapshot_append(struct snapshot *snapshot, struct catalog *catalog, struct catalog_item *const *items,
                     size_t count, int64_t position, struct arena *arena, struct status *st)
{
    size_t row = snapshot->row_count; /* only this thread changes it */
    for (size_t done = 0; done < count;) {
        size_t room = reserve_rows(snapshot, row), batch = count - done < room ? count - done : room;
        if (room == 0)
            return status_fail(st, STATUS_FAILED_PRECONDITION, "SNAPSHOT_FULL", "no room for changed items");
        struct snapshot_segment *segment = segment_at(snapshot, row);
        for (size_t i = 0; i < batch; i++)
            if (!reserve_page(snapshot, items[done + i]->item.item_id))
                return out_of_memory(st);
        if (!fill(snapshot, catalog, segment, row - segment->first, items + done, batch, arena))
            return out_of_memory(st);
        pthread_mutex_lock(&snapshot->lock);
        publish(snapshot, row, batch);
        if (done + batch == count)
            snapshot->position = position;
        pthread_mutex_unlock(&snapshot->lock);
        row += batch;
        done += batch;
    }
    return true;
}

bool snapshot_wants_compaction(struct snapshot *snapshot)
{
    pthread_mutex_lock(&snapshot->lock);
    size_t delta = snapshot->row_count - snapshot->base_count;
    bool wants = (delta > snapshot->base_count / 2 && delta > 2 * SNAPSHOT_DELTA_ROWS) ||
                 delta > (SNAPSHOT_SEGMENTS_MAX / 2) * (size_t)SNAPSHOT_DELTA_ROWS;
    pthread_mutex_unlock(&snapshot->lock);
    return wants;
}

void snapshot_size(struct snapshot *snapshot, size_t *rows, size_t *dead)
{
    pthread_mutex_lock(&snapshot->lock);
    *rows = snapshot->row_count;
    *dead = snapshot->row_count - snapshot->alive_count;
    pthread_mutex_unlock(&snapshot->lock);
}

/* ---- reading */

const struct snapshot_segment *snapshot_segment_of(const struct snapshot_view *view, size_t row)
{
    return segment_at(view->snapshot, row);
}

size_t snapshot_segment_index(const struct snapshot_view *view, size_t row)
{
    return segment_index(view->snapshot, row);
}

/* clear the bits of a segment's items that are not shown at this time; most segments have none and are passed over */
static void hide_by_time(struct snapshot_view *view, const struct snapshot_segment *segment, int64_t now_ms)
{
    size_t end = segment->first + segment->capacity;
    for (size_t row = segment->first; row < end && row < view->row_count; row++) {
        size_t at = row - segment->first;
        if (segment->from_ms[at] > now_ms || segment->until_ms[at] <= now_ms)
            clear_bit(view->alive, row);
    }
}

bool snapshot_capture(struct snapshot *snapshot, int64_t now_ms, struct arena *arena, struct snapshot_view *view)
{
    *view = (struct snapshot_view){0};
    pthread_mutex_lock(&snapshot->lock);
    size_t words = snapshot->row_count / 64 + 1;
    uint64_t *alive = arena_alloc(arena, words * sizeof *alive);
    uint64_t timed[SNAPSHOT_SEGMENTS_MAX / 64] = {0};
    for (size_t i = 0; i < snapshot->segment_count; i++)
        if (snapshot->segments[i]->latest_from_ms > now_ms || snapshot->segments[i]->earliest_until_ms <= now_ms)
            set_bit(timed, i);
    if (alive != NULL) {
        memcpy(alive, snapshot->alive, words * sizeof *alive);
        *view = (struct snapshot_view){.snapshot = snapshot_acquire(snapshot),
                                       .row_count = snapshot->row_count,
                                       .segment_count = snapshot->segment_count,
                                       .alive = alive,
                                       .position = snapshot->position,
                                       .alive_count = snapshot->alive_count};
    }
    pthread_mutex_unlock(&snapshot->lock);
    for (size_t i = 0; alive != NULL && i < view->segment_count; i++)
        if (bit(timed, i))
            hide_by_time(view, snapshot->segments[i], now_ms);
    return alive != NULL;
}

void snapshot_view_close(struct snapshot_view *view)
{
    snapshot_release(view->snapshot);
    *view = (struct snapshot_view){0};
}

uint32_t snapshot_find(const struct snapshot_view *view, uint32_t item_id)
{
    uint32_t row = newest_row(view->snapshot, item_id);
    while (row != SNAPSHOT_ROW_NONE && row >= view->row_count) { /* newer than this view */
        const struct snapshot_segment *segment = snapshot_segment_of(view, row);
        row = segment->previous[row - segment->first];
    }
    return row;
}
