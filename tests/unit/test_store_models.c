/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts, models and uploads in a store. */
#include "tests/unit/store_rig.h"

TestSuite(store_models, .init = set_up, .fini = tear_down);

/* ---- counts and models */

Test(store_models, counts_keep_every_version_and_two_blobs)
{
    struct store *store = writer();
    int64_t position = -1;
    void *bytes = NULL;
    size_t size = 9;
    OK(store_counts_latest(store, &position, &st));
    cr_assert_eq(position, 0);
    OK(store_counts_load(store, INT64_MAX, &position, &bytes, &size, &st));
    cr_assert_null(bytes);
    OK(store_begin(store, &st));
    for (int64_t i = 1; i <= 20; i++) {
        char blob[16];
        const int length = snprintf(blob, sizeof blob, "blob %lld", (long long)i);
        OK(store_counts_put(store, i * 100, i, i % 2 == 0 ? blob : NULL, (size_t)length, &st));
    }
    OK(store_counts_put(store, 2000, 21, NULL, 0, &st)); /* published again: its blob stays */
    OK(store_commit(store, &st));
    expect_query("SELECT min(position) || ',' || count(*) || ',' || count(bytes) FROM counts", "100,20,2");
    expect_query("SELECT at_ms FROM counts WHERE position = 2000", "20");
    OK(store_counts_latest(store, &position, &st));
    cr_assert_eq(position, 2000);
    static const struct {
        int64_t at, want_position;
        const char *want;
    } cases[] = {{INT64_MAX, 2000, "blob 20"}, {1999, 1800, "blob 18"}, {1800, 1800, "blob 18"}, {1799, 0, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        OK(store_counts_load(store, cases[i].at, &position, &bytes, &size, &st));
        cr_assert_eq(position, cases[i].want_position);
        cr_assert_eq(bytes == NULL, cases[i].want == NULL);
        if (bytes != NULL)
            cr_assert(size == strlen(cases[i].want) && memcmp(bytes, cases[i].want, size) == 0);
        free(bytes);
    }
    store_close(store);
    run_sql("UPDATE counts SET bytes = x'00' WHERE position = 1800");
    store = reader();
    FAILS(store_counts_load(store, 1999, &position, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

Test(store_models, models_are_stored_once_and_the_last_activation_counts)
{
    struct store *store = writer();
    struct store_model model = {.version = "v1", .name = "main", .sha256 = "abc", .created_ms = 5}, loaded;
    char version[97] = "x";
    void *bytes = NULL;
    size_t size = 0;
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "");
    OK(store_begin(store, &st));
    OK(store_model_put(store, &model, "first", 5, &st));
    OK(store_model_put(store, &model, "other", 5, &st));
    strcpy(model.version, "v2");
    OK(store_model_put(store, &model, NULL, 0, &st));
    OK(store_activation_put(store, "v2", 10, 100, &st));
    OK(store_activation_put(store, "v1", 20, 200, &st));
    FAILS(store_activation_put(store, "v3", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(store), 2);
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "v1");
    OK(store_model_load(store, "v1", &loaded, &bytes, &size, &st));
    cr_assert(size == 5 && memcmp(bytes, "first", 5) == 0);
    cr_assert(strcmp(loaded.version, "v1") == 0 && strcmp(loaded.name, "main") == 0);
    cr_assert(strcmp(loaded.sha256, "abc") == 0 && loaded.created_ms == 5);
    free(bytes);
    OK(store_model_load(store, "v2", &loaded, &bytes, &size, &st));
    cr_assert_eq(size, 0);
    free(bytes);
    FAILS(store_model_load(store, "v3", &loaded, &bytes, &size, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    store_close(store);
}

static struct store_model model_of(const char *version, const char *sha256, int64_t size_bytes)
{
    struct store_model model = {.created_ms = 5, .size_bytes = size_bytes};
    snprintf(model.version, sizeof model.version, "%s", version);
    snprintf(model.name, sizeof model.name, "%.*s", (int)strcspn(version, "-"), version);
    snprintf(model.sha256, sizeof model.sha256, "%s", sha256);
    return model;
}

static void put_model(struct store *store, const char *version)
{
    struct store_model model = model_of(version, version, 0);
    OK(store_model_put(store, &model, version, strlen(version), &st));
}

/* A rollback goes back to that, "" for nowhere; and go there. */
static void roll_back(struct store *store, const char *want)
{
    struct store_activation target;
    OK(store_activation_target(store, &target, &st));
    cr_assert_str_eq(target.version, want);
    cr_assert_eq(target.position == 0, want[0] == '\0');
    if (target.position > 0)
        OK(store_activation_back(store, &target, 0, 0, &st));
}

Test(store_models, a_rollback_goes_back_step_by_step)
{
    struct store *store = writer();
    static const char *const names[] = {"a-1", "b-1", "c-1", "default-1", "default-2"};
    OK(store_begin(store, &st));
    roll_back(store, "");
    for (size_t i = 0; i < 5; i++)
        put_model(store, names[i]);
    OK(store_activation_replace(store, "default-1", 0, 0, &st));
    roll_back(store, ""); /* nothing lies below the first */
    OK(store_activation_replace(store, "default-2", 0, 0, &st));
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st)); /* what is active already is no step */
    OK(store_activation_put(store, "c-1", 0, 0, &st));
    roll_back(store, "b-1");
    roll_back(store, "a-1");
    roll_back(store, "default-2");
    roll_back(store, ""); /* default-2 took the place of default-1 */
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_activation_put(store, "b-1", 0, 0, &st));
    OK(store_activation_put(store, "a-1", 0, 0, &st));
    OK(store_model_delete(store, "b-1", &st));
    roll_back(store, "default-2"); /* b-1 is gone, and a-1 was active itself */
    OK(store_commit(store, &st));
    OK(store_check(store, &st));
    store_close(store);
}

struct listed {
    char text[256];
};

static bool list_model(void *context, const struct store_model_entry *entry)
{
    struct listed *listed = context;
    size_t used = strlen(listed->text);
    snprintf(listed->text + used, sizeof listed->text - used, "%s %lld %s %s|", entry->model.version,
             (long long)entry->activated_ms, entry->training_json,
             entry->report_json != NULL ? entry->report_json : "-");
    return true;
}

static void expect_models(struct store *store, const char *want)
{
    struct listed listed = {0};
    OK(store_model_list(store, list_model, &listed, &st));
    cr_assert_str_eq(listed.text, want);
}

Test(store_models, models_are_found_described_listed_and_deleted)
{
    struct store *store = writer();
    struct store_model found;
    char *report = NULL;
    OK(store_begin(store, &st));
    put_model(store, "a-1");
    put_model(store, "a-2");
    put_model(store, "b-1");
    OK(store_model_describe(store, "a-2", "{\"x\":1}", NULL, &st));
    OK(store_model_describe(store, "a-2", NULL, "{\"y\":2}", &st));
    OK(store_activation_put(store, "a-1", 0, 77, &st));
    OK(store_activation_put(store, "b-1", 0, 88, &st));
    expect_models(store, "b-1 88 {} -|a-2 0 {\"x\":1} {\"y\":2}|a-1 77 {} -|");
    OK(store_model_find(store, "a", &found, &st));
    cr_assert_str_eq(found.version, "a-2");
    OK(store_model_find(store, "a-1", &found, &st));
    cr_assert_str_eq(found.version, "a-1");
    cr_assert_eq(found.size_bytes, 3);
    OK(store_model_report(store, "a-2", &report, &st));
    cr_assert_str_eq(report, "{\"y\":2}");
    free(report);
    OK(store_model_report(store, "a-1", &report, &st));
    cr_assert_null(report);
    OK(store_model_delete(store, "a-2", &st));
    OK(store_model_delete(store, "a-1", &st));
    OK(store_commit(store, &st));
    expect_models(store, "b-1 88 {} -|");
    expect_query("SELECT group_concat(version || ' ' || state, ',') FROM model ORDER BY version",
                 "a-1 deleted,b-1 stored");
    expect_query("SELECT count(*) FROM model_part", "1");
    OK(store_begin(store, &st));
    FAILS(store_model_delete(store, "a-1", &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_activation_put(store, "a-1", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    put_model(store, "a-1"); /* a model that was deleted can be put again */
    OK(store_commit(store, &st));
    OK(store_model_find(store, "a", &found, &st));
    OK(store_check(store, &st));
    store_close(store);
}

Test(store_models, an_upload_is_a_model_when_it_is_finished)
{
    struct store *store = writer();
    struct store_model model = model_of("a-1", "sha", 7);
    struct store_upload upload;
    int64_t uploads, models, dropped;
    void *bytes = NULL;
    size_t size = 0;
    OK(store_begin(store, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert_str_eq(upload.model.version, "");
    FAILS(store_upload_append(store, "sha", "abcd", 4, 9, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    OK(store_upload_begin(store, &model, &st));
    OK(store_upload_append(store, "sha", "abcd", 4, 9, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert(!upload.stored && upload.received_bytes == 4 && upload.model.size_bytes == 7);
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_activation_put(store, "a-1", 0, 0, &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_model_delete(store, "a-1", &st), STATUS_NOT_FOUND, "UNKNOWN_MODEL");
    FAILS(store_upload_load(store, "a-1", &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT"); /* 4 of 7 bytes */
    OK(store_upload_append(store, "sha", "efg", 3, 10, &st));
    OK(store_upload_load(store, "a-1", &bytes, &size, &st));
    cr_assert(size == 7 && memcmp(bytes, "abcdefg", 7) == 0);
    free(bytes);
    struct store_model other = model_of("a-1", "another", 3);
    FAILS(store_upload_begin(store, &other, &st), STATUS_ALREADY_EXISTS, "VERSION_TAKEN");
    OK(store_upload_count(store, "default", &uploads, &models, &st));
    cr_assert(uploads == 1 && models == 0);
    OK(store_upload_finish(store, "a-1", 50, &st));
    OK(store_upload_find(store, "sha", &upload, &st));
    cr_assert(upload.stored && upload.received_bytes == 7 && upload.model.created_ms == 50);
    OK(store_upload_expire(store, INT64_MAX, &dropped, &st)); /* a model is no upload */
    cr_assert_eq(dropped, 0);
    OK(store_upload_drop(store, "a-1", &st));
    OK(store_commit(store, &st));
    OK(store_model_load(store, "a-1", &model, &bytes, &size, &st));
    cr_assert(size == 7 && memcmp(bytes, "abcdefg", 7) == 0);
    free(bytes);
    for (int64_t offset = 0; offset <= 8; offset++) {
        size_t want = offset < 4 ? (size_t)(4 - offset) : offset < 7 ? (size_t)(7 - offset) : 0;
        want = want > 2 ? 2 : want;
        OK(store_model_read(store, "a-1", offset, 2, &bytes, &size, &st));
        cr_assert_eq(size, want, "%zu at %lld", size, (long long)offset);
        cr_assert(size == 0 || memcmp(bytes, "abcdefg" + offset, size) == 0);
        free(bytes);
    }
    store_close(store);
}

Test(store_models, stale_uploads_are_given_up)
{
    struct store *store = writer();
    int64_t dropped;
    OK(store_begin(store, &st));
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d-1", i);
        struct store_model model = model_of(name, name, 100);
        OK(store_upload_begin(store, &model, &st));
        OK(store_upload_append(store, name, "x", 1, 10 * i + 10, &st));
    }
    OK(store_upload_expire(store, 11, &dropped, &st));
    cr_assert_eq(dropped, 1);
    OK(store_upload_drop(store, "m1-1", &st));
    OK(store_upload_drop(store, "m1-1", &st)); /* gone already: fine */
    OK(store_commit(store, &st));
    expect_query("SELECT group_concat(version) FROM model", "m2-1");
    expect_query("SELECT count(*) FROM model_part", "1");
    OK(store_check(store, &st));
    store_close(store);
}

Test(store_models, a_bit_that_flips_in_a_model_is_noticed)
{
    struct store *store = writer();
    struct store_model model;
    void *bytes;
    size_t size;
    OK(store_begin(store, &st));
    put_model(store, "a-1");
    OK(store_commit(store, &st));
    store_close(store);
    run_sql("UPDATE model_part SET bytes = CAST('a-2' AS BLOB)");
    store = reader();
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_model_read(store, "a-1", 0, 10, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
    run_sql("DELETE FROM model_part");
    store = reader();
    FAILS(store_model_load(store, "a-1", &model, &bytes, &size, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

/* A database as version 1 left it: models whole in one row. */
Test(store_models, models_of_the_first_version_are_taken_along)
{
    struct store_model model;
    struct store_activation target;
    char insert[512], version[97];
    void *bytes = NULL;
    size_t size = 0;
    store_close(writer());
    run_sql(
        "DROP INDEX item_change_item; DROP INDEX counts_time; DROP INDEX counts_blob; DROP TABLE feature_past;"
        "DROP TABLE request; DROP INDEX event_list; DROP TABLE impression;"
        "DROP TABLE model_part; DROP TABLE activation; DROP TABLE model;"
        "CREATE TABLE model(model_id INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
        " sha256 TEXT NOT NULL, created_ms INTEGER NOT NULL, checksum INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;"
        "CREATE TABLE activation(position INTEGER PRIMARY KEY, version TEXT NOT NULL REFERENCES model(version),"
        " counts_position INTEGER NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
        "PRAGMA user_version = 1");
    snprintf(insert, sizeof insert,
             "INSERT INTO model VALUES(1, 'default-1', 'default', 'sha', 5, %lld, CAST('file' AS BLOB));"
             "INSERT INTO activation VALUES(1, 'default-1', 0, 6)",
             (long long)XXH3_64bits("file", 4));
    run_sql(insert);
    struct store *store = writer();
    OK(store_model_load(store, "default-1", &model, &bytes, &size, &st));
    cr_assert(size == 4 && memcmp(bytes, "file", 4) == 0 && model.size_bytes == 4);
    free(bytes);
    OK(store_activation_latest(store, version, &st));
    cr_assert_str_eq(version, "default-1");
    OK(store_activation_target(store, &target, &st));
    cr_assert_eq(target.position, 0);
    expect_models(store, "default-1 6 {} -|");
    OK(store_check(store, &st));
    store_close(store);
    expect_query("PRAGMA user_version", "4");
}
