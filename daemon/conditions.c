/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/conditions.h"

#include "daemon/columns.h"
#include "proto/suggest.h"

#include <math.h>
#include <string.h>

_Static_assert(COLUMNS_SEGMENTS_MAX == SNAPSHOT_SEGMENTS_MAX, "a segment of rows is one of columns");

enum source { SOURCE_COLUMN, SOURCE_ITEM, SOURCE_CREATED, SOURCE_EXPIRES };

/* A condition, as far as it can be decided before rows are looked at. */
struct test {
    enum source source;
    int field;                  /* SOURCE_COLUMN */
    const uint64_t *passes;     /* a bit per set of the field; NULL: the values do not matter */
    bool few;                   /* sets: one word has them all */
    const uint64_t *any, *none; /* SOURCE_ITEM: a bit per row of the view; NULL: not given */
    double least, most;
    bool between; /* there is a number, and it lies between */
    bool missing; /* there is no number */
    bool never;
};

/* The rows of one segment, with what the test reads of them. */
struct span {
    const struct test *test;
    const struct snapshot_segment *segment;
    size_t from, to; /* rows of the view */
    const uint32_t *sets;
    const double *numbers;
    const int64_t *times;
    int64_t no_time; /* the time that stands for none */
};

static bool no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the conditions do not fit into memory");
}

static uint64_t *bits_alloc(struct arena *arena, size_t words)
{
    return arena_alloc(arena, words * sizeof(uint64_t));
}

static size_t words_of(const struct snapshot_view *view)
{
    return view->row_count / 64 + 1;
}

/* ---- ids */

/* Every row of the named items, those that newer ones have replaced too; NULL out of memory. */
static uint64_t *rows_of(const struct snapshot_view *view, const char *const *names, size_t count, struct arena *arena)
{
    uint64_t *rows = bits_alloc(arena, words_of(view));
    uint32_t *item_ids = arena_alloc(arena, (count + 1) * sizeof *item_ids);
    if (rows == NULL || item_ids == NULL)
        return NULL;
    memset(rows, 0, words_of(view) * sizeof *rows);
    catalog_find(view->snapshot->catalog, names, count, item_ids);
    for (size_t i = 0; i < count; i++) {
        uint32_t row = item_ids[i] == 0 ? SNAPSHOT_ROW_NONE : snapshot_find(view, item_ids[i]);
        while (row != SNAPSHOT_ROW_NONE && !(rows[row / 64] >> (row % 64) & 1)) { /* a name may come a thousand times */
            const struct snapshot_segment *segment = snapshot_segment_of(view, row);
            rows[row / 64] |= (uint64_t)1 << (row % 64);
            row = segment->previous[row - segment->first];
        }
    }
    return rows;
}

static bool compile_items(const struct snapshot_view *view, const struct rule_condition *condition, struct test *test,
                          struct arena *arena, struct status *st)
{
    test->never = test->between || condition->exists == 0; /* an item is there, and is no number */
    if (condition->any_count > 0)
        test->any = rows_of(view, condition->any, condition->any_count, arena);
    if (condition->none_count > 0)
        test->none = rows_of(view, condition->none, condition->none_count, arena);
    return (condition->any_count == 0 || test->any != NULL) && (condition->none_count == 0 || test->none != NULL)
               ? true
               : no_memory(st);
}

/* ---- compiling */

static enum source source_of(const char *field)
{
    if (strcmp(field, "item") == 0)
        return SOURCE_ITEM;
    if (strcmp(field, "created") == 0)
        return SOURCE_CREATED;
    return strcmp(field, "expires") == 0 ? SOURCE_EXPIRES : SOURCE_COLUMN;
}

static bool unknown_field(const char *field, const char *nearest, const char *where, struct status *st)
{
    const char *known[] = {"item", "created", "expires", nearest};
    nearest = suggest(field, known, nearest == NULL ? 3 : 4);
    if (nearest == NULL)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", where, "no item has an attribute '%s'",
                                 field);
    return status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_FIELD", where,
                             "no item has an attribute '%s', did you mean '%s'?", field, nearest);
}

/* Where an item has a number and nothing else, that it exists is a matter of the number. */
static void require_number(struct test *test, int exists)
{
    test->between = test->between || exists == 1;
    test->missing = exists == 0;
}

/* any, none and exists of a field with values, as one bit per set */
static bool compile_sets(struct columns *columns, const struct rule_condition *condition, int exists, struct test *test,
                         struct arena *arena, struct status *st)
{
    if (condition->any_count == 0 && condition->none_count == 0 && exists < 0)
        return true;
    size_t set_count = columns_set_count(columns, test->field), words = set_count / 64 + 1;
    uint64_t *passes = bits_alloc(arena, words);
    struct arena_mark mark = arena_mark(arena);
    uint64_t *barred = bits_alloc(arena, words);
    if (passes == NULL || barred == NULL)
        return no_memory(st);
    memset(passes, condition->any_count > 0 ? 0 : 0xff, words * sizeof *passes);
    memset(barred, 0, words * sizeof *barred);
    columns_sets_with(columns, test->field, condition->any, condition->any_count, passes, set_count);
    columns_sets_with(columns, test->field, condition->none, condition->none_count, barred, set_count);
    const uint64_t says_nothing = (uint64_t)1 << COLUMNS_SET_NONE;
    if (exists == 1)
        barred[0] |= says_nothing;
    for (size_t i = 0; i < words; i++) {
        passes[i] &= ~barred[i];
        if (exists == 0)
            passes[i] &= i == 0 ? says_nothing : 0;
    }
    arena_rewind(arena, mark);
    test->passes = passes;
    test->few = set_count <= 64;
    return true;
}

static bool compile_column(struct columns *columns, const struct rule_condition *condition, const char *where,
                           struct test *test, struct arena *arena, struct status *st)
{
    const char *nearest = NULL;
    int exists = condition->exists;
    test->field = columns_find(columns, condition->field, &nearest);
    if (test->field < 0)
        return unknown_field(condition->field, nearest, where, st);
    if (strcmp(condition->field, "price") == 0) {
        require_number(test, exists);
        exists = -1;
    }
    return compile_sets(columns, condition, exists, test, arena, st);
}

static bool compile(const struct snapshot_view *view, const struct rule_condition *condition, const char *where,
                    struct test *test, struct arena *arena, struct status *st)
{
    *test = (struct test){.source = source_of(condition->field), .least = condition->least, .most = condition->most};
    if (condition->always != RULE_BY_ITEM) {
        test->source = SOURCE_ITEM;
        test->never = condition->always == RULE_FAILS;
        return true;
    }
    test->between = condition->least != -INFINITY || condition->most != INFINITY;
    switch (test->source) {
    case SOURCE_ITEM:
        return compile_items(view, condition, test, arena, st);
    case SOURCE_CREATED:
    case SOURCE_EXPIRES:
        test->never = condition->any_count > 0; /* a time is no value */
        require_number(test, condition->exists);
        return true;
    case SOURCE_COLUMN:
        break;
    }
    return compile_column(view->snapshot->columns, condition, where, test, arena, st);
}

static struct test *compile_all(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                                const char *where, struct arena *arena, struct status *st)
{
    struct test *tests = arena_alloc(arena, count * sizeof *tests);
    if (tests == NULL) {
        no_memory(st);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (!compile(view, &conditions[i], where, &tests[i], arena, st))
            return NULL;
    return tests;
}

/* ---- a word of rows: of the rows whose bit is set, the bits of those that pass. Nothing else may be read: rows that
 * the view does not have may be just being written. */

typedef uint64_t keep_word(const struct span *span, size_t first_row, uint64_t bits);

static unsigned lowest(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits);
}

static uint64_t keep_nothing(const struct span *span, size_t first_row, uint64_t bits)
{
    (void)span;
    (void)first_row;
    (void)bits;
    return 0;
}

static uint64_t keep_sets(const struct span *span, size_t first_row, uint64_t bits)
{
    const uint64_t *passes = span->test->passes;
    const uint32_t *sets = span->sets;
    const size_t before = span->segment->first;
    uint64_t kept = 0;
    if (bits == UINT64_MAX &&
        span->test->few) { /* as most are, in most shops: no search for the next bit, one word of sets */
        const uint64_t only = passes[0];
        for (unsigned i = 0; i < 64; i++)
            kept |= (only >> (sets[first_row + i - before] % 64) & 1) << i;
        return kept;
    }
    for (; bits != 0; bits &= bits - 1) {
        const unsigned i = lowest(bits);
        const uint32_t set = sets[first_row + i - before];
        kept |= (passes[set / 64] >> (set % 64) & 1) << i;
    }
    return kept;
}

/* NaN: none. The segment has numbers. */
static double number_at(const struct span *span, size_t at)
{
    if (span->times != NULL)
        return span->times[at] == span->no_time ? NAN : (double)span->times[at];
    return span->numbers[at];
}

static uint64_t keep_between(const struct span *span, size_t first_row, uint64_t bits)
{
    const double least = span->test->least, most = span->test->most;
    const size_t before = span->segment->first;
    uint64_t kept = 0;
    for (; bits != 0; bits &= bits - 1) {
        const unsigned i = lowest(bits);
        const double number = number_at(span, first_row + i - before);
        const bool least_holds = number >= least, most_holds = number <= most;
        kept |= (uint64_t)(least_holds & most_holds) << i;
    }
    return kept;
}

static uint64_t keep_missing(const struct span *span, size_t first_row, uint64_t bits)
{
    const size_t before = span->segment->first;
    uint64_t kept = 0;
    for (; bits != 0; bits &= bits - 1) {
        const unsigned i = lowest(bits);
        kept |= (uint64_t)(isnan(number_at(span, first_row + i - before)) != 0) << i;
    }
    return kept;
}

/* ---- all rows */

/* A segment may begin and end in the middle of a word: only its own bits change. */
static void sweep(const struct span *span, keep_word *keep, uint64_t *rows)
{
    for (size_t word = span->from / 64; word * 64 < span->to; word++) {
        uint64_t mine = UINT64_MAX;
        if (word * 64 < span->from)
            mine <<= span->from % 64;
        if (span->to - word * 64 < 64)
            mine &= UINT64_MAX >> (64 - (span->to - word * 64));
        const uint64_t bits = rows[word] & mine;
        if (bits != 0)
            rows[word] = (rows[word] & ~bits) | keep(span, word * 64, bits);
    }
}

static struct span span_of(const struct snapshot_view *view, const struct test *test, size_t index)
{
    const struct snapshot *snapshot = view->snapshot;
    const struct snapshot_segment *segment = snapshot->segments[index];
    struct span span = {.test = test, .segment = segment, .from = segment->first};
    /* an empty base has room for a row, which it does not use */
    span.to = index == 0 ? snapshot->base_count : segment->first + segment->capacity;
    if (span.to > view->row_count)
        span.to = view->row_count;
    if (test->source == SOURCE_COLUMN) {
        span.sets = columns_sets(snapshot->columns, test->field, index);
        span.numbers = columns_numbers(snapshot->columns, test->field, index);
    } else if (test->source == SOURCE_CREATED) {
        span.times = segment->from_ms;
        span.no_time = 0;
    } else if (test->source == SOURCE_EXPIRES) {
        span.times = segment->until_ms;
        span.no_time = INT64_MAX;
    }
    return span;
}

static void narrow_span(const struct span *span, uint64_t *rows)
{
    const struct test *test = span->test;
    const bool has_numbers = span->numbers != NULL || span->times != NULL;
    const bool all_fail = test->never || (test->between && !has_numbers) ||
                          (test->passes != NULL && span->sets == NULL && !(test->passes[0] >> COLUMNS_SET_NONE & 1));
    if (all_fail) {
        sweep(span, keep_nothing, rows);
        return;
    }
    if (test->passes != NULL && span->sets != NULL)
        sweep(span, keep_sets, rows);
    if (test->between)
        sweep(span, keep_between, rows);
    if (test->missing && has_numbers)
        sweep(span, keep_missing, rows);
}

/* Clear the bits of rows that fail. */
static void narrow(const struct snapshot_view *view, const struct test *test, uint64_t *rows)
{
    for (size_t i = 0; i < words_of(view); i++) {
        rows[i] &= test->any == NULL ? UINT64_MAX : test->any[i];
        rows[i] &= test->none == NULL ? UINT64_MAX : ~test->none[i];
    }
    for (size_t i = 0; i < view->segment_count; i++) {
        const struct span span = span_of(view, test, i);
        if (span.from < span.to)
            narrow_span(&span, rows);
    }
}

/* ---- lists of conditions */

bool conditions_all(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                    const char *where, const uint64_t *among, uint64_t *out, struct arena *arena, struct status *st)
{
    const struct arena_mark mark = arena_mark(arena);
    const struct test *tests = compile_all(view, conditions, count, where, arena, st);
    if (tests != NULL) {
        memmove(out, among, words_of(view) * sizeof *out);
        for (size_t i = 0; i < count; i++)
            narrow(view, &tests[i], out);
    }
    arena_rewind(arena, mark);
    return tests != NULL;
}

/* `left` are rows that no test has accepted yet; `trial` has room for as many. */
static void accept_any(const struct snapshot_view *view, const struct test *tests, size_t count, uint64_t *left,
                       uint64_t *trial, uint64_t *out)
{
    const size_t words = words_of(view);
    for (size_t i = 0; i < count; i++) {
        memcpy(trial, left, words * sizeof *trial);
        narrow(view, &tests[i], trial);
        for (size_t w = 0; w < words; w++) {
            out[w] |= trial[w];
            left[w] &= ~trial[w];
        }
    }
}

bool conditions_any(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                    const char *where, const uint64_t *among, uint64_t *out, struct arena *arena, struct status *st)
{
    const size_t words = words_of(view);
    const struct arena_mark mark = arena_mark(arena);
    uint64_t *left = bits_alloc(arena, words), *trial = bits_alloc(arena, words);
    bool ok = (left != NULL && trial != NULL) || no_memory(st);
    const struct test *tests = ok ? compile_all(view, conditions, count, where, arena, st) : NULL;
    if (tests != NULL) {
        memcpy(left, among, words * sizeof *left);
        memset(out, 0, words * sizeof *out);
        accept_any(view, tests, count, left, trial, out);
    }
    arena_rewind(arena, mark);
    return tests != NULL;
}

static bool remove_any(const struct snapshot_view *view, const struct rule_condition *conditions, size_t count,
                       const char *where, uint64_t *rows, struct arena *arena, struct status *st)
{
    const size_t words = words_of(view);
    const struct arena_mark mark = arena_mark(arena);
    uint64_t *removed = bits_alloc(arena, words);
    bool ok =
        (removed != NULL || no_memory(st)) && conditions_any(view, conditions, count, where, rows, removed, arena, st);
    for (size_t w = 0; ok && w < words; w++)
        rows[w] &= ~removed[w];
    arena_rewind(arena, mark);
    return ok;
}

bool conditions_filter(const struct snapshot_view *view, const struct rule_filter *filter, uint64_t *rows,
                       struct arena *arena, struct status *st)
{
    return conditions_all(view, filter->must, filter->must_count, "filter.must", rows, rows, arena, st) &&
           (filter->must_not_count == 0 ||
            remove_any(view, filter->must_not, filter->must_not_count, "filter.must_not", rows, arena, st)) &&
           (filter->should_count == 0 ||
            conditions_any(view, filter->should, filter->should_count, "filter.should", rows, rows, arena, st));
}
