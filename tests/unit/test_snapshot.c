/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/snapshot.h"

#include "models/default_model.h"
#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMENSION 8
#define NOW       1700000000000

static struct catalog *catalog;
static struct model *model; /* one view, "text" */
static struct arena arena;
static struct snapshot *snapshot;

static struct model *fit(size_t views)
{
    static float rows[300 * DIMENSION];
    struct random rng;
    struct status st = STATUS_INIT;
    random_init(&rng, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = random_normal(&rng);
    struct default_model_view view = {"text", "enc@1", DIMENSION, rows, 300};
    struct model *fitted = default_model_fit(&view, views, NULL, 0, 10, &st);
    cr_assert_not_null(fitted, "%s", st.message);
    return fitted;
}

static void set_up(void)
{
    matrix_init();
    catalog = catalog_new();
    cr_assert_not_null(catalog);
    struct store_space text = {.space_id = 3, .dimension = DIMENSION, .modality = "text", .encoder = "enc@1"};
    struct store_space other = {.space_id = 4, .dimension = 5, .modality = "text", .encoder = "enc@2"};
    cr_assert(catalog_add_space(catalog, &text, NULL) && catalog_add_space(catalog, &other, NULL));
    arena_init(&arena, (size_t)64 << 20);
    model = fit(1);
}

static void tear_down(void)
{
    snapshot_release(snapshot);
    model_release(model);
    arena_close(&arena);
    catalog_free(catalog);
}

TestSuite(snapshot, .init = set_up, .fini = tear_down);

static struct catalog_feature *vector(uint32_t space_id, int32_t dimension, int number)
{
    float values[DIMENSION];
    struct random rng;
    random_init(&rng, (uint64_t)number);
    for (int i = 0; i < DIMENSION; i++)
        values[i] = random_normal(&rng);
    return catalog_feature_new(space_id, dimension, values);
}

/* A record in the catalogue, and a reference for the caller. `number` is its price and makes its vector. */
static struct catalog_item *put(struct store_item fields, int number)
{
    char name[32];
    snprintf(name, sizeof name, "item-%u", (unsigned)fields.item_id);
    fields.name = name;
    fields.price = number;
    struct catalog_feature *text = vector(3, DIMENSION, number);
    struct catalog_item *record = catalog_item_new(&fields, NULL, &text, 1);
    cr_assert_not_null(record);
    cr_assert(catalog_publish(catalog, catalog_item_acquire(record), NULL));
    return record;
}

static struct catalog_item *put_shown(uint32_t item_id, int number)
{
    return put((struct store_item){.item_id = item_id, .available = true, .expires_ms = INT64_MAX}, number);
}

static void release(struct catalog_item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        catalog_item_release(items[i]);
}

static void build(struct catalog_item *const *items, size_t count, int64_t position)
{
    struct status st = STATUS_INIT;
    snapshot = snapshot_build(model, catalog, items, count, position, &arena, &st);
    cr_assert_not_null(snapshot, "%s", st.message);
}

/* Items 1 .. count in the snapshot, with numbers of their ids; the references are given back. */
static void build_shown(uint32_t count)
{
    struct catalog_item **items = calloc(count + 1, sizeof(struct catalog_item *));
    for (uint32_t i = 0; i < count; i++)
        items[i] = put_shown(i + 1, (int)i + 1);
    build(items, count, 1);
    release(items, count);
    free(items);
}

static void append(struct catalog_item *const *items, size_t count, int64_t position)
{
    struct status st = STATUS_INIT;
    cr_assert(snapshot_append(snapshot, catalog, items, count, position, &arena, &st), "%s", st.message);
}

/* Append one record and give back its reference. */
static void append_one(struct catalog_item *record, int64_t position)
{
    append(&record, 1, position);
    catalog_item_release(record);
}

static struct snapshot_view capture_at(int64_t now_ms)
{
    struct snapshot_view view;
    cr_assert(snapshot_capture(snapshot, now_ms, &arena, &view));
    return view;
}

static struct snapshot_view capture(void)
{
    return capture_at(NOW);
}

static bool is_alive(const struct snapshot_view *view, uint32_t row)
{
    return view->alive[row / 64] >> (row % 64) & 1;
}

static size_t count_alive(const struct snapshot_view *view)
{
    size_t count = 0;
    for (uint32_t row = 0; row < view->row_count; row++)
        count += is_alive(view, row);
    return count;
}

static bool shows(const struct snapshot_view *view, uint32_t item_id)
{
    uint32_t row = snapshot_find(view, item_id);
    return row != SNAPSHOT_ROW_NONE && is_alive(view, row);
}

/* The item has this number in this view, and its row is the encoded vector of that number. */
static void expect_number(const struct snapshot_view *view, uint32_t item_id, int number)
{
    uint32_t row = snapshot_find(view, item_id);
    cr_assert_lt(row, view->row_count, "item %u has no row", (unsigned)item_id);
    const struct snapshot_segment *segment = snapshot_segment_of(view, row);
    size_t at = row - segment->first;
    cr_assert_lt(at, segment->capacity);
    cr_assert_eq(segment->item_ids[at], item_id);
    cr_assert_eq(segment->items[at]->item.item_id, item_id);
    cr_assert_eq((int)segment->items[at]->item.price, number, "item %u has number %d, not %d", (unsigned)item_id,
                 (int)segment->items[at]->item.price, number);
    struct encoder_rows rows;
    struct catalog_feature *text = vector(3, DIMENSION, number);
    struct encoder_item input = {.name = "", .vector = {text->values}};
    cr_assert(encoder_rows_init(&rows, &model->architecture, 1));
    cr_assert(encoder_encode(model, &input, 1, &rows, 0, &arena));
    for (int i = 0; i < DIMENSION; i++)
        cr_assert_float_eq(segment->rows.view[0][at * DIMENSION + (size_t)i], rows.view[0][i], 1e-5);
    encoder_rows_close(&rows);
    catalog_feature_release(text);
}

/* ---- building */

Test(snapshot, a_built_snapshot_shows_its_items)
{
    const size_t count = 600; /* several batches of the encoder */
    build_shown(count);
    struct snapshot_view view = capture();
    cr_assert_eq(view.row_count, count);
    cr_assert_eq(view.alive_count, count);
    cr_assert_eq(count_alive(&view), count);
    cr_assert_eq(view.position, 1);
    for (uint32_t id = 1; id <= count; id += 37)
        expect_number(&view, id, (int)id);
    cr_assert_eq(snapshot_find(&view, 601), SNAPSHOT_ROW_NONE);
    cr_assert_eq(snapshot_find(&view, 0), SNAPSHOT_ROW_NONE);
    cr_assert_eq(snapshot_find(&view, 4000000000u), SNAPSHOT_ROW_NONE);
    snapshot_view_close(&view);
    cr_assert_null(view.snapshot);
}

Test(snapshot, begins_empty)
{
    build_shown(0);
    struct snapshot_view empty = capture();
    cr_assert_eq(empty.row_count, 0);
    cr_assert_eq(snapshot_find(&empty, 1), SNAPSHOT_ROW_NONE);
    append_one(put_shown(1, 10), 2);
    append_one(put_shown(70000, 11), 3); /* on another page of ids */
    append_one(put_shown(200000, 12), 4);
    struct snapshot_view view = capture();
    expect_number(&view, 1, 10);
    expect_number(&view, 70000, 11);
    expect_number(&view, 200000, 12);
    cr_assert_eq(count_alive(&view), 3);
    cr_assert_eq(snapshot_find(&empty, 70000), SNAPSHOT_ROW_NONE);
    snapshot_view_close(&view);
    snapshot_view_close(&empty);
}

Test(snapshot, a_vector_of_another_encoder_or_size_is_missing)
{
    struct catalog_feature *other = vector(4, 5, 1), *none[1];
    struct store_item fields = {.item_id = 1, .name = "item-1", .available = true, .expires_ms = INT64_MAX};
    struct catalog_item *items[3];
    items[0] = catalog_item_new(&fields, NULL, &other, 1);
    fields.item_id = 2;
    fields.name = "item-2";
    items[1] = catalog_item_new(&fields, NULL, none, 0);
    struct catalog_feature *small = vector(3, DIMENSION - 1, 1); /* the space was described anew */
    fields.item_id = 3;
    fields.name = "item-3";
    items[2] = catalog_item_new(&fields, NULL, &small, 1);
    build(items, 3, 1);
    struct snapshot_view view = capture();
    const struct snapshot_segment *segment = snapshot_segment_of(&view, 0);
    float mean[DIMENSION]; /* what no vector becomes is a matter of the model: all three are the same */
    memcpy(mean, segment->rows.view[0], sizeof mean);
    for (size_t i = 0; i < 3 * DIMENSION; i++)
        cr_assert_eq(segment->rows.view[0][i], mean[i % DIMENSION]);
    snapshot_view_close(&view);
    release(items, 3);
}

/* ---- changing */

Test(snapshot, an_older_view_does_not_see_what_is_new)
{
    build_shown(10);
    struct snapshot_view before = capture();
    append_one(put_shown(11, 11), 2);
    struct snapshot_view after = capture();
    cr_assert_eq(snapshot_find(&before, 11), SNAPSHOT_ROW_NONE);
    cr_assert_eq(before.row_count, 10);
    cr_assert_eq(before.position, 1);
    expect_number(&after, 11, 11);
    cr_assert(shows(&after, 11));
    cr_assert_eq(after.position, 2);
    cr_assert_eq(after.alive_count, 11);
    snapshot_view_close(&before);
    snapshot_view_close(&after);
}

Test(snapshot, each_view_sees_the_row_of_its_moment)
{
    enum { CHANGES = 6 };
    struct snapshot_view views[CHANGES];
    build_shown(10);
    views[0] = capture();
    for (int change = 1; change < CHANGES; change++) {
        append_one(put_shown(4, 100 * change), change + 1);
        views[change] = capture();
    }
    for (int change = 0; change < CHANGES; change++) {
        expect_number(&views[change], 4, change == 0 ? 4 : 100 * change);
        cr_assert(shows(&views[change], 4));
        cr_assert_eq(count_alive(&views[change]), 10, "an item is there twice or not at all");
        cr_assert_eq(views[change].position, change + 1);
        expect_number(&views[change], 5, 5);
    }
    size_t rows, dead;
    snapshot_size(snapshot, &rows, &dead);
    cr_assert_eq(rows, 10 + CHANGES - 1);
    cr_assert_eq(dead, CHANGES - 1);
    for (int change = 0; change < CHANGES; change++)
        snapshot_view_close(&views[change]);
}

Test(snapshot, one_append_may_have_an_item_twice)
{
    build_shown(3);
    struct catalog_item *items[] = {put_shown(2, 20), put_shown(9, 90), put_shown(2, 21), put_shown(9, 91)};
    append(items, 4, 2);
    struct snapshot_view view = capture();
    expect_number(&view, 2, 21);
    expect_number(&view, 9, 91);
    cr_assert_eq(count_alive(&view), 4);
    snapshot_view_close(&view);
    release(items, 4);
}

Test(snapshot, hidden_items_keep_their_row)
{
    build_shown(5);
    struct snapshot_view before = capture();
    append_one(put((struct store_item){.item_id = 2, .available = false, .expires_ms = INT64_MAX}, 22), 2);
    append_one(put((struct store_item){.item_id = 3, .available = true, .deleted = true, .expires_ms = INT64_MAX}, 33),
               3);
    struct snapshot_view hidden = capture();
    cr_assert(shows(&before, 2) && shows(&before, 3));
    cr_assert_not(shows(&hidden, 2));
    cr_assert_not(shows(&hidden, 3));
    expect_number(&hidden, 2, 22); /* histories still need its features */
    cr_assert_eq(hidden.alive_count, 3);
    append_one(put_shown(2, 23), 4);
    struct snapshot_view again = capture();
    cr_assert(shows(&again, 2));
    cr_assert_not(shows(&hidden, 2));
    cr_assert_eq(again.alive_count, 4);
    snapshot_view_close(&before);
    snapshot_view_close(&hidden);
    snapshot_view_close(&again);
}

Test(snapshot, items_are_shown_in_their_time)
{
    static const struct {
        int64_t from_ms, until_ms;
    } windows[] = {{0, INT64_MAX}, {NOW, INT64_MAX}, {NOW + 1, INT64_MAX}, {0, NOW}, {0, NOW + 1}, {NOW, NOW}};
    static const bool shown[] = {true, true, false, false, true, false};
    struct catalog_item *items[6];
    build_shown(1);
    snapshot_release(snapshot);
    for (uint32_t i = 0; i < 6; i++) /* in the base as well as in a delta */
        items[i] = put((struct store_item){.item_id = i + 1,
                                           .available = true,
                                           .created_ms = windows[i].from_ms,
                                           .expires_ms = windows[i].until_ms},
                       (int)i);
    build(items, 6, 1);
    for (uint32_t i = 0; i < 6; i++)
        append_one(put((struct store_item){.item_id = i + 101,
                                           .available = true,
                                           .created_ms = windows[i].from_ms,
                                           .expires_ms = windows[i].until_ms},
                       (int)i),
                   2);
    for (int pass = 0; pass < 2; pass++) { /* asking for another time leaves nothing behind */
        struct snapshot_view now = capture_at(NOW), earlier = capture_at(NOW - 1), later = capture_at(NOW + 1);
        for (uint32_t i = 0; i < 6; i++)
            for (uint32_t base = 0; base <= 100; base += 100) {
                cr_assert_eq(shows(&now, base + i + 1), shown[i], "window %u at %u", (unsigned)i, (unsigned)base);
                cr_assert_eq(shows(&earlier, base + i + 1), i == 0 || i == 3 || i == 4, "before, window %u",
                             (unsigned)i);
                cr_assert_eq(shows(&later, base + i + 1), i < 3, "after, window %u", (unsigned)i);
            }
        cr_assert_eq(now.alive_count, 12, "the count is from before times were looked at");
        snapshot_view_close(&now);
        snapshot_view_close(&earlier);
        snapshot_view_close(&later);
    }
    release(items, 6);
}

Test(snapshot, a_hidden_item_is_not_shown_by_its_time)
{
    build_shown(2);
    append_one(put((struct store_item){.item_id = 1, .available = false, .created_ms = NOW, .expires_ms = NOW + 5}, 1),
               2);
    struct snapshot_view view = capture_at(NOW + 1);
    cr_assert_not(shows(&view, 1));
    snapshot_view_close(&view);
}

Test(snapshot, rows_go_on_in_the_next_segment)
{
    const uint32_t more = 2 * SNAPSHOT_DELTA_ROWS + 100;
    build_shown(50);
    struct catalog_item **items = calloc(more, sizeof(struct catalog_item *));
    for (uint32_t i = 0; i < more; i++)
        items[i] = put_shown(20 + i, 1000 + (int)i);
    append(items, 100, 2);
    append(items + 100, more - 100, 3);
    struct snapshot_view view = capture();
    cr_assert_eq(view.row_count, 50 + more);
    cr_assert_eq(view.segment_count, 4);
    for (uint32_t i = 0; i < more; i += 501)
        expect_number(&view, 20 + i, 1000 + (int)i);
    expect_number(&view, 20 + more - 1, 1000 + (int)more - 1);
    expect_number(&view, 19, 19);
    cr_assert_eq(count_alive(&view), 19 + more);
    snapshot_view_close(&view);
    release(items, more);
    free(items);
}

/* ---- references */

Test(snapshot, records_are_given_back)
{
    struct catalog_item *items[3], *changed;
    for (uint32_t i = 0; i < 3; i++)
        items[i] = put_shown(i + 1, (int)i); /* the catalogue's and ours */
    build(items, 3, 1);
    cr_assert_eq(items[0]->references, 3);
    struct snapshot_view view = capture();
    cr_assert_eq(items[0]->references, 3, "a view holds the snapshot, not its records");
    changed = put_shown(1, 50);
    cr_assert_eq(items[0]->references, 2);
    append(&changed, 1, 2);
    cr_assert_eq(changed->references, 3);
    cr_assert_eq(items[0]->references, 2, "the snapshot keeps the old row");
    cr_assert_eq(model->references, 2);

    cr_assert_eq(snapshot->references, 2);
    snapshot_release(snapshot);
    snapshot = NULL;
    expect_number(&view, 1, 0); /* and the view keeps the snapshot */
    cr_assert_eq(changed->references, 3);
    snapshot_view_close(&view);
    cr_assert_eq(items[0]->references, 1);
    cr_assert_eq(items[1]->references, 2);
    cr_assert_eq(changed->references, 2);
    cr_assert_eq(model->references, 1);
    release(items, 3);
    catalog_item_release(changed);
}

Test(snapshot, without_memory_nothing_is_changed_or_kept)
{
    struct status st = STATUS_INIT;
    struct catalog_item *items[2] = {put_shown(1, 1), put_shown(2, 2)};
    struct arena none;
    struct snapshot_view view;
    arena_init(&none, 0);
    cr_assert_null(snapshot_build(model, catalog, items, 2, 1, &none, &st));
    cr_assert_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(st.reason, "NO_MEMORY");
    cr_assert_eq(items[0]->references, 2);
    cr_assert_eq(model->references, 1);

    build(items, 1, 1);
    st = (struct status)STATUS_INIT;
    cr_assert_not(snapshot_append(snapshot, catalog, items + 1, 1, 2, &none, &st));
    cr_assert_str_eq(st.reason, "NO_MEMORY");
    cr_assert_not(snapshot_capture(snapshot, NOW, &none, &view));
    cr_assert_eq(snapshot->references, 1);
    view = capture();
    cr_assert_eq(view.row_count, 1);
    cr_assert_eq(view.position, 1);
    cr_assert_eq(snapshot_find(&view, 2), SNAPSHOT_ROW_NONE);
    snapshot_view_close(&view);

    append(items + 1, 1, 2); /* and once there is memory, it goes on */
    view = capture();
    expect_number(&view, 2, 2);
    snapshot_view_close(&view);
    cr_assert_eq(items[1]->references, 3);
    snapshot_release(snapshot);
    snapshot = NULL;
    cr_assert_eq(items[0]->references, 2);
    cr_assert_eq(items[1]->references, 2);
    release(items, 2);
    arena_close(&none);
}

/* ---- room; a model without views, so that a million rows are quickly made */

static struct catalog_item **many; /* SNAPSHOT_DELTA_ROWS items, appended again and again */

static void use_many(size_t base)
{
    model_release(model);
    model = fit(0);
    many = calloc(SNAPSHOT_DELTA_ROWS, sizeof(struct catalog_item *));
    for (uint32_t i = 0; i < SNAPSHOT_DELTA_ROWS; i++)
        many[i] = put_shown(i + 1, (int)i);
    struct catalog_item **items = calloc(base + 1, sizeof(struct catalog_item *));
    for (size_t i = 0; i < base; i++)
        items[i] = many[i % SNAPSHOT_DELTA_ROWS];
    build(items, base, 1);
    free(items);
}

static void give_back_many(void)
{
    snapshot_release(snapshot);
    snapshot = NULL;
    for (size_t i = 0; i < SNAPSHOT_DELTA_ROWS; i++)
        cr_assert_eq(many[i]->references, 2, "item %zu has %d references", i, many[i]->references);
    release(many, SNAPSHOT_DELTA_ROWS);
    free(many);
}

Test(snapshot, says_when_it_is_full)
{
    struct status st = STATUS_INIT;
    use_many(10);
    for (int i = 1; i < SNAPSHOT_SEGMENTS_MAX - 1; i++)
        append(many, SNAPSHOT_DELTA_ROWS, 1 + i);
    append(many, SNAPSHOT_DELTA_ROWS - 2, 1000); /* two are left */
    cr_assert_not(snapshot_append(snapshot, catalog, many, 3, 1001, &arena, &st));
    cr_assert_eq(st.code, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(st.reason, "SNAPSHOT_FULL");
    struct snapshot_view view = capture();
    cr_assert_eq(view.alive_count, SNAPSHOT_DELTA_ROWS);
    cr_assert_eq(count_alive(&view), SNAPSHOT_DELTA_ROWS);
    snapshot_view_close(&view);
    cr_assert_not(snapshot_append(snapshot, catalog, many, SNAPSHOT_DELTA_ROWS, 1002, &arena, &st));
    give_back_many();
}

/* The position is the version that an answer names: it may not be claimed before all of its changes are there. */
Test(snapshot, part_of_an_append_is_no_position)
{
    use_many(10);
    for (int i = 1; i < SNAPSHOT_SEGMENTS_MAX - 1; i++)
        append(many, SNAPSHOT_DELTA_ROWS, 1 + i);
    append(many, SNAPSHOT_DELTA_ROWS - 2, 1000);
    cr_assert_not(snapshot_append(snapshot, catalog, many, 3, 1001, &arena, NULL));
    struct snapshot_view view = capture();
    cr_expect_eq(view.position, 1000, "position %d, but only two of its three changes are there", (int)view.position);
    snapshot_view_close(&view);
    give_back_many();
}

Test(snapshot, wants_compaction_when_deltas_have_grown)
{
    static const struct {
        size_t base, delta;
        bool wants;
    } cases[] = {
        {0, 0, false},
        {0, 2 * SNAPSHOT_DELTA_ROWS, false},
        {0, 2 * SNAPSHOT_DELTA_ROWS + 1, true},
        {SNAPSHOT_DELTA_ROWS, 2 * SNAPSHOT_DELTA_ROWS, false},
        {SNAPSHOT_DELTA_ROWS, 2 * SNAPSHOT_DELTA_ROWS + 1, true},
        {10 * SNAPSHOT_DELTA_ROWS, 5 * SNAPSHOT_DELTA_ROWS, false},
        {10 * SNAPSHOT_DELTA_ROWS, 5 * SNAPSHOT_DELTA_ROWS + 1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use_many(cases[i].base);
        for (size_t left = cases[i].delta; left > 0;) {
            size_t batch = left < 1000 ? left : 1000;
            append(many, batch, 2);
            left -= batch;
        }
        cr_assert_eq(snapshot_wants_compaction(snapshot), cases[i].wants, "case %zu", i);
        struct snapshot_view view = capture();
        size_t rows, dead;
        snapshot_size(snapshot, &rows, &dead);
        cr_assert_eq(rows, cases[i].base + cases[i].delta);
        cr_assert_eq(dead, rows - count_alive(&view));
        snapshot_view_close(&view);
        give_back_many();
    }
}
