/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import_batch.h"
#include "daemon/ctl_import_ids.h"
#include "daemon/ctl_import_keys.h"
#include "daemon/ctl_import_text.h"
#include "daemon/ctl_progress.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* The key by its definition, in one piece. */
static void expected_key(const char *text, char out[EVENT_KEY_SIZE])
{
    XXH128_hash_t hash = XXH3_128bits(text, strlen(text));
    snprintf(out, EVENT_KEY_SIZE, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

static void write_file(char *path, const char *text, size_t size)
{
    int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, text, size) == (ssize_t)size);
    close(file);
}

Test(ctl_import, key_is_hash_of_row_and_ordinal)
{
    struct event_keys keys = {0};
    char key[EVENT_KEY_SIZE], expected[EVENT_KEY_SIZE];
    cr_assert(event_keys_open(&keys, NULL));
    cr_assert(event_keys_next(&keys, "u1", "i1", 1400000000000, "view", key, NULL));
    expected_key("u1\x1fi1\x1f"
                 "1400000000000\x1f"
                 "view\x1f"
                 "0",
                 expected);
    cr_expect_str_eq(key, expected);
    /* Pinned: shops hold keys that were made by earlier versions. */
    cr_expect_str_eq(key, "78471704c756561163f4b55884e6fba6");
    event_keys_close(&keys);
}

Test(ctl_import, equal_rows_are_counted)
{
    struct event_keys keys = {0};
    char key[EVENT_KEY_SIZE], expected[EVENT_KEY_SIZE], text[64];
    cr_assert(event_keys_open(&keys, NULL));
    for (int i = 0; i < 12; i++) {
        snprintf(text, sizeof text, "u\x1fi\x1f%d\x1fview\x1f%d", 5, i);
        expected_key(text, expected);
        cr_assert(event_keys_next(&keys, "u", "i", 5, "view", key, NULL));
        cr_expect_str_eq(key, expected, "repetition %d", i);
        /* Others in between have counts of their own. */
        cr_assert(event_keys_next(&keys, "u", "i", 6 + i, "view", key, NULL));
        snprintf(text, sizeof text, "u\x1fi\x1f%d\x1fview\x1f%d", 6 + i, 0);
        expected_key(text, expected);
        cr_expect_str_eq(key, expected);
    }
    event_keys_close(&keys);
}

Test(ctl_import, second_run_makes_the_same_keys)
{
    char first[3][EVENT_KEY_SIZE], second[3][EVENT_KEY_SIZE];
    char(*runs[2])[EVENT_KEY_SIZE] = {first, second};
    for (int run = 0; run < 2; run++) {
        struct event_keys keys = {0};
        cr_assert(event_keys_open(&keys, NULL));
        cr_assert(event_keys_next(&keys, "a", "b", 1, "view", runs[run][0], NULL));
        cr_assert(event_keys_next(&keys, "a", "b", 1, "view", runs[run][1], NULL));
        cr_assert(event_keys_next(&keys, "a", "b", 1, "cart", runs[run][2], NULL));
        event_keys_close(&keys);
    }
    cr_expect_arr_eq(first, second, sizeof first);
    cr_expect_str_neq(first[0], first[1]);
    cr_expect_str_neq(first[0], first[2]);
}

Test(ctl_import, fields_do_not_run_together)
{
    struct event_keys keys = {0};
    char one[EVENT_KEY_SIZE], other[EVENT_KEY_SIZE];
    cr_assert(event_keys_open(&keys, NULL));
    cr_assert(event_keys_next(&keys, "ab", "c", 1, "view", one, NULL));
    cr_assert(event_keys_next(&keys, "a", "bc", 1, "view", other, NULL));
    cr_expect_str_neq(one, other);
    event_keys_close(&keys);
}

Test(ctl_import, categories_are_split)
{
    static const struct {
        const char *text;
        const char *joined; /* with '/' */
    } cases[] = {
        {"", ""},
        {"Light", "Light"},
        {"Horror, Thriller", "Horror/Thriller"},
        {"Horror|Thriller|Sci-Fi", "Horror/Thriller/Sci-Fi"},
        {"Home > Kitchen > Knives", "Home/Kitchen/Knives"},
        {"Home > Kitchen|Gifts, Sale", "Home/Kitchen/Gifts/Sale"},
        {"a,b", "a/b"},
        {" a ,, |b | ", "a/b"},
        {"> a", "> a"},
        {"a->b", "a->b"},
        {"a >b", "a >b"},
        {" > ", ""},
        {"a > ", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64], joined[64] = "";
        char *parts[32];
        snprintf(text, sizeof text, "%s", cases[i].text);
        size_t most = import_categories_max(text);
        cr_assert_leq(most, 32);
        size_t count = import_categories_split(text, parts);
        cr_expect_leq(count, most);
        for (size_t k = 0; k < count; k++) {
            strcat(joined, k > 0 ? "/" : "");
            strcat(joined, parts[k]);
        }
        cr_expect_str_eq(joined, cases[i].joined, "'%s' became '%s'", cases[i].text, joined);
    }
}

Test(ctl_import, yes_and_no)
{
    bool value = false;
    cr_expect(import_yes_no("True", &value) && value);
    cr_expect(import_yes_no("0", &value) && !value);
    cr_expect(import_yes_no("1.0", &value) && value);
    cr_expect(import_yes_no("NO", &value) && !value);
    cr_expect_not(import_yes_no("maybe", &value));
    cr_expect_not(import_yes_no("", &value));
}

Test(ctl_import, ids_stand_beside_the_matrix)
{
    char path[32];
    cr_expect(import_ids_path("d/text_feat.npy", path, sizeof path));
    cr_expect_str_eq(path, "d/text_feat.ids");
    cr_expect_not(import_ids_path("text_feat.npz", path, sizeof path));
    cr_expect_not(import_ids_path(".npy", path, sizeof path));
    cr_expect_not(import_ids_path("0123456789012345678901234567890.npy", path, sizeof path));
}

Test(ctl_import, ids_are_read_line_by_line)
{
    char path[] = "/tmp/test_ctl_import.XXXXXX";
    struct id_list ids = {0};
    write_file(path, "a\r\nb b\n\xc3\xa9", 9);
    cr_assert(id_list_read(&ids, path, NULL));
    cr_assert_eq(ids.count, 3);
    cr_expect_str_eq(id_list_get(&ids, 0), "a");
    cr_expect_str_eq(id_list_get(&ids, 1), "b b");
    cr_expect_str_eq(id_list_get(&ids, 2), "\xc3\xa9");
    cr_expect_null(id_list_get(&ids, 3));
    id_list_close(&ids);
    unlink(path);
}

Test(ctl_import, bad_ids_are_named_by_line)
{
    static const struct {
        const char *text;
        size_t size;
        const char *message;
    } cases[] = {
        {"a\n\nb\n", 5, ":2: no item id"}, {"a\nb\n\xff\n", 6, ":3: not UTF-8"}, {"a\0b\n", 4, ":1: NUL byte"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/test_ctl_import.XXXXXX";
        struct id_list ids = {0};
        struct status st = STATUS_INIT;
        write_file(path, cases[i].text, cases[i].size);
        cr_expect_not(id_list_read(&ids, path, &st));
        cr_expect_eq(st.code, STATUS_INVALID_ARGUMENT);
        cr_expect_not_null(strstr(st.message, cases[i].message), "%s", st.message);
        id_list_close(&ids);
        unlink(path);
    }
}

Test(ctl_import, bad_item_line_keeps_its_row)
{
    static const char *const columns[] = {"item_id", NULL};
    static const char text[] = "title:token_seq\titem_id:token\nA\ta\nbroken\n\nC\tc\n";
    char path[] = "/tmp/test_ctl_import.XXXXXX";
    struct id_list ids = {0};
    struct ctl_progress progress = {.style = PROGRESS_NONE};
    write_file(path, text, sizeof text - 1);
    cr_assert(id_list_read_items(&ids, path, columns, &progress, NULL));
    cr_assert_eq(ids.count, 3);
    cr_expect_str_eq(id_list_get(&ids, 0), "a");
    cr_expect_null(id_list_get(&ids, 1));
    cr_expect_str_eq(id_list_get(&ids, 2), "c");
    id_list_close(&ids);
    unlink(path);
}

Test(ctl_import, batch_is_full_by_rows_and_by_bytes)
{
    struct batch batch = {0};
    cr_assert(batch_open(&batch, 3, NULL));
    batch_add(&batch, NULL, 1, 10);
    batch_add(&batch, NULL, 2, 10);
    cr_expect_not(batch_full(&batch));
    batch_add(&batch, NULL, 3, 10);
    cr_expect(batch_full(&batch));
    batch_reset(&batch);
    cr_expect_not(batch_full(&batch));
    batch_add(&batch, NULL, 1, BATCH_WIRE_BYTES);
    cr_expect(batch_full(&batch));
    batch_close(&batch);
}

Test(ctl_import, arena_ends_where_it_should)
{
    struct batch batch = {0};
    cr_assert(batch_open(&batch, 1, NULL));
    cr_assert_str_eq(batch_text(&batch, "abc"), "abc");
    double *aligned = batch_alloc(&batch, sizeof *aligned);
    cr_assert_not_null(aligned);
    cr_expect_eq((uintptr_t)aligned % sizeof *aligned, 0);
    cr_expect_null(batch_alloc(&batch, BATCH_ARENA_BYTES));
    cr_expect_null(batch_alloc(&batch, SIZE_MAX));
    cr_expect_not_null(batch_alloc(&batch, BATCH_ARENA_BYTES - batch.arena_used - 16));
    while (batch_text(&batch, "") != NULL)
        ;
    cr_expect_eq(batch.arena_used, BATCH_ARENA_BYTES);
    cr_expect_null(batch_alloc(&batch, 1));
    batch_close(&batch);
}

Test(ctl_import, progress_tells_share_rate_and_time_left)
{
    struct ctl_progress progress = {.label = "events", .total = 1000, .position = 250, .rows = 5000};
    char text[PROGRESS_TEXT_BYTES];
    ctl_progress_text(&progress, 10000000, 80, text); /* after 10 s */
    cr_expect_not_null(strstr(text, "events  [##"), "%s", text);
    cr_expect_not_null(strstr(text, "25 %  5000 rows  500/s  ETA 0:30"), "%s", text);
    cr_expect_lt(strlen(text), 80);
    ctl_progress_text(&progress, 10000000, 20, text);
    cr_expect_lt(strlen(text), 20, "%s", text);
    progress.total = 0; /* a pipe */
    ctl_progress_text(&progress, 10000000, 0, text);
    cr_expect_str_eq(text, "events  5000 rows  500/s");
}

Test(ctl_import, progress_does_not_divide_by_zero)
{
    struct ctl_progress progress = {.label = "items", .total = 10};
    char text[PROGRESS_TEXT_BYTES];
    ctl_progress_text(&progress, 0, 80, text);
    cr_expect_not_null(strstr(text, "0 %  0 rows  0/s  ETA -:--"), "%s", text);
    progress.position = 20; /* a file that grows while it is read */
    ctl_progress_text(&progress, 1000000, 80, text);
    cr_expect_not_null(strstr(text, "100 %"), "%s", text);
}
