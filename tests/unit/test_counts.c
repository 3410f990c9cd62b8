/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts against dense matrices in double, and what they promise: no order of arrival shows, what was taken out has
 * never been there, bytes come back as they were, damaged bytes do no harm. */
#include "models/counts.h"

#include "models/random.h"
#include "tests/support/random_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)86400000)
#define NOW_MS (19700 * DAY_MS + 5000)

enum { ITEMS = 40, USERS = 30, MOST = 25 };

struct user {
    struct counts_event events[MOST];
    size_t count;
};

/* Users whose events lie in the last `days` days, oldest first; repeats are common. */
static void draw_users(struct user *users, int days, uint64_t seed)
{
    struct random rng;
    random_init(&rng, seed);
    for (size_t u = 0; u < USERS; u++) {
        users[u].count = (size_t)random_below(&rng, MOST + 1);
        int64_t from_ms = NOW_MS - days * DAY_MS + DAY_MS, step_ms = (days - 1) * DAY_MS / MOST;
        for (size_t i = 0; i < users[u].count; i++)
            users[u].events[i] =
                (struct counts_event){(uint32_t)random_below(&rng, ITEMS), from_ms + (int64_t)i * step_ms};
    }
}

static struct counts *new_counts(void)
{
    struct counts *counts = counts_new();
    cr_assert_not_null(counts);
    return counts;
}

static void apply(struct counts *counts, const struct user *user, int sign)
{
    cr_assert(counts_user(counts, user->events, user->count, sign));
}

static struct counts *count_all(const struct user *users)
{
    struct counts *counts = new_counts();
    for (size_t u = 0; u < USERS; u++)
        apply(counts, &users[u], 1);
    return counts;
}

static struct counts_view *publish(const struct counts *counts)
{
    struct counts_view *view = counts_publish(counts, 5);
    cr_assert_not_null(view);
    cr_assert_eq(view->position, 5);
    return view;
}

static void assert_same(const struct counts *a, const struct counts *b, const char *what)
{
    size_t a_bytes, b_bytes;
    void *a_blob = counts_write(a, &a_bytes), *b_blob = counts_write(b, &b_bytes);
    cr_assert(a_blob != NULL && b_blob != NULL);
    cr_assert(a_bytes == b_bytes && memcmp(a_blob, b_blob, a_bytes) == 0, "%s: not the same sums", what);
    free(a_blob);
    free(b_blob);
}

/* ---- the formula */

static double probability(const struct counts_view *view, uint32_t from, uint32_t to)
{
    size_t count;
    double sum = 0;
    const struct counts_entry *row = counts_row(view, from, &count);
    for (size_t i = 0; i < count; i++)
        if (row[i].item_id == to)
            sum += row[i].probability;
    return sum;
}

/* C back from P = C / (row sum + 5): a row's probabilities leave 5 / (row sum + 5) */
static double transitions(const struct counts_view *view, uint32_t from, uint32_t to)
{
    size_t count;
    double left = 1;
    const struct counts_entry *row = counts_row(view, from, &count);
    for (size_t i = 0; i < count; i++)
        left -= row[i].probability;
    return probability(view, from, to) * 5 / left;
}

/* every transition once more, from the other end: C / (sum of what came before `to` + 5) */
static void check_before(const struct counts_view *view, uint32_t to)
{
    size_t count;
    const struct counts_entry *before = counts_row_before(view, to, &count);
    double column = 0;
    for (uint32_t from = 0; from < view->item_capacity; from++)
        column += transitions(view, from, to);
    for (size_t i = 0; i < count; i++) {
        double wanted = transitions(view, before[i].item_id, to) / (column + 5);
        cr_assert_float_eq(before[i].probability, wanted, 1e-5);
        cr_assert(i == 0 || before[i - 1].item_id < before[i].item_id, "rows are in the order of ids");
    }
}

Test(counts, what_came_before_is_the_same_sums_transposed)
{
    struct counts *counts = new_counts();
    for (int i = 0; i < 30; i++) {
        struct user user = {{{0}}, 8};
        for (int e = 0; e < 8; e++)
            user.events[e] = (struct counts_event){(uint32_t)((i * 7 + e * e * 3) % 23 + 2), NOW_MS + e};
        apply(counts, &user, 1);
    }
    struct counts_view *view = publish(counts);
    size_t count, entries = 0;
    for (uint32_t to = 0; to < view->item_capacity; to++) {
        check_before(view, to);
        counts_row_before(view, to, &count);
        entries += count;
    }
    cr_assert_eq(entries, view->row_start[view->item_capacity], "as many as in the rows");
    cr_assert_null(counts_row_before(view, 0, &count), "nobody met item 0");
    cr_assert_null(counts_row_before(view, 1000000, &count));
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, transitions_by_hand)
{
    const struct user user = {{{0, NOW_MS}, {1, NOW_MS}, {2, NOW_MS}, {3, NOW_MS}, {4, NOW_MS}}, 5};
    struct counts *counts = new_counts();
    apply(counts, &user, 1);
    struct counts_view *view = publish(counts);
    double row = 1 + 1. / 2 + 1. / 3; /* of items 0 and 1: three followers each */
    cr_assert_float_eq(probability(view, 0, 1), 1 / (row + 5), 1e-7);
    cr_assert_float_eq(probability(view, 0, 2), 1. / 2 / (row + 5), 1e-7);
    cr_assert_float_eq(probability(view, 0, 3), 1. / 3 / (row + 5), 1e-7);
    cr_assert_eq(probability(view, 0, 4), 0, "four steps are too far");
    cr_assert_float_eq(probability(view, 1, 4), 1. / 3 / (row + 5), 1e-7);
    cr_assert_float_eq(probability(view, 3, 4), 1. / 6, 1e-7);
    cr_assert_eq(probability(view, 4, 0), 0, "what follows is not followed");
    counts_view_release(view);
    counts_free(counts);
}

/* C grows by 1/δ whenever c follows i at distance δ = 1, 2, 3; P = C / (row sum + 5) */
Test(counts, agree_with_dense_matrices)
{
    static double C[ITEMS][ITEMS], popularity[ITEMS];
    struct user users[USERS];
    draw_users(users, 20, 1);
    for (size_t u = 0; u < USERS; u++)
        for (size_t i = 0; i < users[u].count; i++) {
            popularity[users[u].events[i].item_id]++;
            for (size_t j = i + 1; j < users[u].count && j <= i + 3; j++)
                C[users[u].events[i].item_id][users[u].events[j].item_id] += 1. / (double)(j - i);
        }
    struct counts *counts = count_all(users);
    struct counts_view *view = publish(counts);
    double events = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        double sum = 0;
        for (uint32_t c = 0; c < ITEMS; c++)
            sum += C[i][c];
        for (uint32_t c = 0; c < ITEMS; c++)
            cr_assert_float_eq(probability(view, i, c), C[i][c] / (sum + 5), 1e-6, "P[%u → %u]", i, c);
        cr_assert_eq(counts_popularity(view, i), (uint32_t)popularity[i]);
        cr_assert_float_eq(view->log_popularity[i], log1p(popularity[i]), 1e-6);
        events += popularity[i];
    }
    cr_assert_eq(view->event_count, (uint64_t)events);
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, unknown_items_have_nothing)
{
    struct user users[USERS];
    draw_users(users, 20, 1);
    struct counts *counts = count_all(users);
    struct counts_view *view = publish(counts);
    size_t count = 77;
    cr_assert_null(counts_row(view, 1000000, &count));
    cr_assert_eq(count, 0);
    cr_assert_eq(counts_popularity(view, UINT32_MAX), 0);
    cr_assert_eq(counts_recent(view, UINT32_MAX, NOW_MS), 0);
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, an_item_that_nothing_followed_has_no_row)
{
    const struct user user = {{{3, NOW_MS}, {8, NOW_MS}}, 2};
    struct counts *counts = new_counts();
    apply(counts, &user, 1);
    struct counts_view *view = publish(counts);
    static const uint32_t without[] = {0, 5, 8};
    for (size_t i = 0; i < 3; i++) {
        size_t count = 77;
        const struct counts_entry *row = counts_row(view, without[i], &count);
        cr_assert_eq(count, 0);
        cr_assert_null(row, "item %u", without[i]);
    }
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, nothing_counted)
{
    struct counts *counts = new_counts();
    cr_assert(counts_user(counts, NULL, 0, 1));
    struct counts_view *view = publish(counts);
    size_t count;
    counts_row(view, 0, &count);
    cr_assert_eq(count, 0);
    cr_assert(view->event_count == 0 && view->recent_at_ms == 0);
    cr_assert(view->top_recent_count == 0 && view->top_popular_count == 0);
    counts_view_release(view);
    counts_free(counts);
    counts_free(NULL);
    counts_view_release(NULL);
}

/* ---- the order of arrival */

Test(counts, users_in_any_order)
{
    static const int days[] = {20, 90}; /* within the window of recent days, and beyond it */
    struct user users[USERS];
    for (size_t d = 0; d < 2; d++) {
        draw_users(users, days[d], 2);
        struct counts *wanted = count_all(users);
        struct random rng;
        random_init(&rng, 3);
        for (int round = 0; round < 20; round++) {
            uint32_t order[USERS];
            struct counts *counts = new_counts();
            for (uint32_t u = 0; u < USERS; u++)
                order[u] = u;
            random_shuffle(&rng, order, USERS);
            for (size_t u = 0; u < USERS; u++)
                apply(counts, &users[order[u]], 1);
            assert_same(counts, wanted, "users in another order");
            counts_free(counts);
        }
        counts_free(wanted);
    }
}

/* Put event `at` of the whole list into a user's list, which stays sorted by time. */
static void insert(struct user *user, const struct counts_event *event)
{
    size_t at = user->count++;
    while (at > 0 && user->events[at - 1].ts_ms > event->ts_ms) {
        user->events[at] = user->events[at - 1];
        at--;
    }
    user->events[at] = *event;
}

/* Events that come late: a user's list is taken out and put in again with the event in its place. */
Test(counts, events_that_come_late)
{
    static const int days[] = {20, 90};
    for (size_t d = 0; d < 2; d++) {
        struct user users[USERS], grown[USERS] = {0};
        draw_users(users, days[d], 4);
        struct counts *wanted = count_all(users), *counts = new_counts();
        struct random rng;
        random_init(&rng, 5);
        uint32_t order[USERS * MOST];
        size_t total = 0;
        for (uint32_t u = 0; u < USERS; u++)
            for (uint32_t i = 0; i < users[u].count; i++)
                order[total++] = u * MOST + i;
        random_shuffle(&rng, order, total);
        for (size_t i = 0; i < total; i++) {
            struct user *user = &grown[order[i] / MOST];
            apply(counts, user, -1);
            insert(user, &users[order[i] / MOST].events[order[i] % MOST]);
            apply(counts, user, 1);
        }
        assert_same(counts, wanted, days[d] == 20 ? "within the window" : "beyond the window");
        counts_free(wanted);
        counts_free(counts);
    }
}

/* ---- taking out */

static void check_emptied(int days, uint64_t seed)
{
    struct user users[USERS];
    draw_users(users, days, seed);
    struct counts *counts = count_all(users), *empty = new_counts();
    struct random rng;
    uint32_t order[USERS];
    random_init(&rng, seed);
    for (uint32_t u = 0; u < USERS; u++)
        order[u] = u;
    random_shuffle(&rng, order, USERS);
    for (size_t u = 0; u < USERS; u++)
        apply(counts, &users[order[u]], -1);
    assert_same(counts, empty, "everything taken out");
    counts_free(counts);
    counts_free(empty);
}

Test(counts, taken_out_to_the_last_unit)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        check_emptied(20, seed);
}

/* Some days have left the window when their users go. */
Test(counts, taken_out_to_the_last_unit_beyond_the_window)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        check_emptied(90, seed);
}

/* Who came before the window moved and goes after it moved back must not take out a day that is no longer there: the
 * sum would fall below zero, and of an item that nothing else has. */
Test(counts, a_day_that_has_left_the_window_is_not_taken_out_again)
{
    const struct user early = {{{1000, NOW_MS - 60 * DAY_MS}, {1, NOW_MS - 60 * DAY_MS}}, 2}, late = {{{2, NOW_MS}}, 1};
    const struct user other = {{{1, NOW_MS - 70 * DAY_MS}, {3, NOW_MS - 59 * DAY_MS}}, 2};
    struct counts *counts = new_counts();
    struct status st = STATUS_INIT;
    size_t size;
    apply(counts, &early, 1);
    apply(counts, &late, 1);
    apply(counts, &late, -1);
    apply(counts, &early, -1);
    apply(counts, &other, 1);
    void *blob = counts_write(counts, &size);
    struct counts *again = counts_read(blob, size, &st);
    cr_assert_not_null(again, "what was written is refused: %s", st.message);
    struct counts_view *view = publish(counts);
    for (uint32_t i = 0; i < 4; i++) {
        float recent = counts_recent(view, i, NOW_MS - 59 * DAY_MS);
        cr_assert(recent >= 0 && recent < 2, "item %u: %g recent events", i, (double)recent);
    }
    counts_view_release(view);
    counts_free(again);
    counts_free(counts);
    free(blob);
}

Test(counts, one_user_taken_out_of_many)
{
    struct user users[USERS];
    draw_users(users, 25, 6);
    struct counts *counts = count_all(users), *without = new_counts();
    for (size_t u = 0; u < USERS; u++)
        if (u != 7)
            apply(without, &users[u], 1);
    apply(counts, &users[7], -1);
    assert_same(counts, without, "user 7 taken out");
    counts_free(counts);
    counts_free(without);
}

/* ---- recent popularity */

Test(counts, recent_days_fade)
{
    struct counts *counts = new_counts();
    for (int day = 0; day < 60; day++) {
        const struct user user = {{{(uint32_t)day, NOW_MS - (59 - day) * DAY_MS}}, 1};
        apply(counts, &user, 1);
    }
    struct counts_view *view = publish(counts);
    int64_t end_ms = (NOW_MS / DAY_MS + 1) * DAY_MS;
    cr_assert_eq(view->recent_at_ms, end_ms, "the end of the newest day");
    for (uint32_t day = 0; day < 60; day++) {
        double age = 59 - day, wanted = age < COUNTS_RECENT_DAYS ? exp2(-age / 7) : 0;
        cr_assert_float_eq(view->recent[day], wanted, 1e-6, "day %u", day);
        cr_assert_float_eq(counts_recent(view, day, NOW_MS), wanted, 1e-6, "before the end of the day nothing fades");
        cr_assert_float_eq(counts_recent(view, day, end_ms + 7 * DAY_MS), wanted / 2, 1e-6, "a half-life later");
    }
    cr_assert_eq(view->top_recent_count, COUNTS_RECENT_DAYS);
    for (uint32_t i = 0; i < COUNTS_RECENT_DAYS; i++)
        cr_assert_eq(view->top_recent[i], 59 - i, "the newest first");
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, the_most_popular_first)
{
    struct counts *counts = new_counts();
    struct user user = {.count = 0};
    for (uint32_t item = 1; item <= 5; item++)
        for (uint32_t times = 0; times < (item * 3) % 5 + 1; times++)
            user.events[user.count++] = (struct counts_event){item, NOW_MS};
    apply(counts, &user, 1); /* items 1 to 5 have 4, 2, 5, 3, 1 */
    struct counts_view *view = publish(counts);
    static const uint32_t wanted[] = {3, 1, 4, 2, 5};
    cr_assert_eq(view->top_popular_count, 5, "items without events are no candidates");
    cr_assert_arr_eq(view->top_popular, wanted, sizeof wanted);
    counts_view_release(view);
    counts_free(counts);
}

Test(counts, a_view_lives_until_its_last_reader)
{
    struct user users[USERS];
    draw_users(users, 20, 8);
    struct counts *counts = count_all(users);
    struct counts_view *view = publish(counts);
    cr_assert_eq(counts_view_acquire(view), view);
    uint32_t popularity = counts_popularity(view, 3);
    apply(counts, &users[0], -1);
    counts_free(counts);
    counts_view_release(view);
    cr_assert_eq(counts_popularity(view, 3), popularity, "a view never changes");
    counts_view_release(view);
}

/* ---- bytes */

Test(counts, bytes_come_back)
{
    struct user users[USERS];
    draw_users(users, 90, 9);
    struct counts *all = count_all(users), *none = new_counts();
    struct counts *const objects[] = {all, none};
    for (size_t i = 0; i < 2; i++) {
        struct status st = STATUS_INIT;
        size_t size;
        void *blob = counts_write(objects[i], &size);
        struct counts *again = counts_read(blob, size, &st);
        cr_assert_not_null(again, "%s", st.message);
        assert_same(again, objects[i], "read again");
        apply(again, &users[3], i == 0 ? -1 : 1);
        apply(objects[i], &users[3], i == 0 ? -1 : 1);
        assert_same(again, objects[i], "and counting goes on");
        counts_free(again);
        free(blob);
    }
    counts_free(all);
    counts_free(none);
}

/* Bytes in a block of exactly their size, so that AddressSanitizer sees a read past them. */
static struct counts *read_copy(const unsigned char *bytes, size_t size, struct status *st)
{
    void *copy = malloc(size + (size == 0));
    cr_assert_not_null(copy);
    memcpy(copy, bytes, size);
    struct counts *counts = counts_read(copy, size, st);
    free(copy);
    return counts;
}

static void assert_refused(const unsigned char *bytes, size_t size, const char *what)
{
    struct status st = STATUS_INIT;
    cr_assert_null(read_copy(bytes, size, &st), "%s: accepted", what);
    cr_assert_eq(st.code, STATUS_DATA_LOSS, "%s: code %d", what, st.code);
    cr_assert_str_eq(st.reason, "BAD_COUNTS");
}

static unsigned char *small_blob(size_t *size)
{
    const struct user user = {{{1, NOW_MS - 2 * DAY_MS}, {2, NOW_MS}, {3, NOW_MS}, {1, NOW_MS}}, 4};
    struct counts *counts = new_counts();
    apply(counts, &user, 1);
    unsigned char *blob = counts_write(counts, size);
    cr_assert_not_null(blob);
    counts_free(counts);
    return blob;
}

Test(counts, bytes_that_are_too_few_or_too_many)
{
    size_t size;
    unsigned char *blob = small_blob(&size), *longer = random_model_alloc(size + 16, 1);
    memcpy(longer, blob, size);
    for (size_t cut = 0; cut < size; cut++)
        assert_refused(blob, cut, "cut");
    for (size_t more = 1; more <= 16; more++)
        assert_refused(longer, size + more, "longer");
    free(blob);
    free(longer);
}

/* How far a view of these counts would reach: the largest item id. Layout: magic, three sizes, transitions,
 * popularity, days. */
static uint64_t largest_item(const struct counts *counts)
{
    size_t size;
    uint64_t *word = counts_write(counts, &size), largest = 0;
    cr_assert_not_null(word);
    for (uint64_t i = 0; i < word[2]; i++)
        largest = word[4 + 2 * (word[1] + i)];
    free(word);
    return largest;
}

/* Sums carry no check of their own, so not every flip can be seen; but none may do more harm than a wrong number. */
Test(counts, no_flipped_bit_does_harm)
{
    size_t size, refused = 0;
    unsigned char *blob = small_blob(&size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        struct status st = STATUS_INIT;
        blob[bit / 8] ^= (unsigned char)(1u << bit % 8);
        struct counts *counts = read_copy(blob, size, &st);
        blob[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert(counts != NULL || st.code == STATUS_DATA_LOSS, "bit %zu: code %d", bit, st.code);
        cr_assert(bit >= 4 * 64 || counts == NULL, "bit %zu, of the magic or a size, goes unseen", bit);
        refused += counts == NULL;
        if (counts != NULL && largest_item(counts) < 100000)
            counts_view_release(publish(counts));
        counts_free(counts);
    }
    cr_log_info("%zu of %zu flips refused", refused, 8 * size);
    free(blob);
}

Test(counts, items_that_are_not_among_the_popular)
{
    size_t size;
    unsigned char *blob = small_blob(&size);
    uint64_t *word = (uint64_t *)(void *)blob;
    size_t popularity = 4 + 2 * (size_t)word[1], days = popularity + 2 * (size_t)word[2];
    static const uint64_t strangers[] = {9, 0xfffffff0, (uint64_t)9 << 32 | 1, (uint64_t)1 << 32 | 9};
    for (size_t i = 2; i < 4; i++) {
        uint64_t kept = word[4];
        word[4] = strangers[i];
        assert_refused(blob, size, "a transition of a stranger");
        word[4] = kept;
    }
    for (size_t i = 0; i < 2; i++) {
        uint64_t kept = word[days];
        word[days] = (kept & ~(uint64_t)0xffffffff) | strangers[i];
        assert_refused(blob, size, "a day of a stranger");
        word[days] = kept;
    }
    word[popularity] = (uint64_t)1 << 31;
    assert_refused(blob, size, "an item number beyond all arrays");
    free(blob);
}
