/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot of items that are put one by one, in a base and deltas, and a view of it, for conditions to be held
 * against. Everything is static: each test program has one. */
#ifndef RECSYS_TESTS_UNIT_CONDITIONS_RIG_H
#define RECSYS_TESTS_UNIT_CONDITIONS_RIG_H

#include "daemon/conditions.h"

#include "models/default_model.h"
#include "models/matrix.h"
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>

#define DIMENSION 8
#define NOW       1700000000000
#define BASE      333                         /* no multiple of 64 */
#define APPENDED  (SNAPSHOT_DELTA_ROWS + 150) /* two deltas */
#define ROWS      (BASE + APPENDED)

static struct catalog *catalog;
static struct model *model;
static struct arena arena;
static struct snapshot *snapshot;
static struct snapshot_view view;
static struct catalog_item *records[ROWS]; /* by row, as they were put */

static inline void set_up(void)
{
    static float rows[300 * DIMENSION];
    struct random rng;
    struct status st = STATUS_INIT;
    matrix_init();
    random_init(&rng, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = random_normal(&rng);
    struct default_model_view text = {"text", "enc@1", DIMENSION, rows, 300};
    model = default_model_fit(&text, 1, NULL, 0, 10, &st);
    cr_assert_not_null(model, "%s", st.message);
    catalog = catalog_new();
    cr_assert_not_null(catalog);
    arena_init(&arena, (size_t)64 << 20);
}

static inline void tear_down(void)
{
    snapshot_view_close(&view);
    snapshot_release(snapshot);
    for (size_t i = 0; i < ROWS; i++)
        catalog_item_release(records[i]);
    model_release(model);
    arena_close(&arena);
    catalog_free(catalog);
}

/* The first `base` of `count` records make the base, the others are appended; `view` is of all. */
static inline void build(size_t base, size_t count)
{
    struct status st = STATUS_INIT;
    snapshot = snapshot_build(model, catalog, records, base, 1, &arena, &st);
    cr_assert_not_null(snapshot, "%s", st.message);
    for (size_t row = base; row < count; row += 1000) {
        size_t batch = count - row < 1000 ? count - row : 1000;
        cr_assert(snapshot_append(snapshot, catalog, records + row, batch, 2, &arena, &st), "%s", st.message);
    }
    cr_assert(snapshot_capture(snapshot, NOW, &arena, &view));
    cr_assert_eq(view.row_count, count);
}

static inline void put(size_t row, struct store_item fields)
{
    records[row] = catalog_item_new(&fields, NULL, NULL, 0);
    cr_assert_not_null(records[row]);
    cr_assert(catalog_publish(catalog, catalog_item_acquire(records[row]), NULL));
}

/* A condition that says nothing yet. */
static inline struct rule_condition on(const char *field)
{
    return (struct rule_condition){.field = field, .least = -INFINITY, .most = INFINITY, .exists = -1};
}

#endif
