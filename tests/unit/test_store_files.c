/* SPDX-License-Identifier: Apache-2.0
 *
 * A store's files: readers beside the writer, locks, modes, damage, starts that were cut short. */
#include "tests/unit/store_rig.h"

TestSuite(store_files, .init = set_up, .fini = tear_down);

/* ---- readers */

Test(store_files, a_reader_sees_commits_and_keeps_a_view)
{
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "shop.db");
    cr_assert_neq(access(dir, F_OK), 0, "a reader makes nothing");
    struct store *store = writer(), *other = reader();
    struct store_sizes sizes;
    int64_t user_id = -1;
    OK(store_begin(store, &st));
    append(store, add_user(store, "u"), 1, 1);
    cr_assert_eq(position_of(other), 0);
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(other), 1);
    OK(store_sizes(other, &sizes, &st));
    cr_assert(sizes.users == 1 && sizes.events == 1 && sizes.database_bytes > 0 && sizes.wal_bytes > 0);

    OK(store_read_begin(other, &st));
    cr_assert_eq(position_of(other), 1);
    OK(store_begin(store, &st));
    append(store, 1, 2, 1);
    OK(store_commit(store, &st));
    cr_assert_eq(position_of(other), 1);
    expect_history(other, 1, INT64_MAX, 10, "1/1 ", false);
    OK(store_checkpoint(store, true, &st)); /* a reader in the way is no error */
    store_read_end(other);
    cr_assert_eq(position_of(other), 2);

    FAILS(store_begin(other, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_user_find(other, "w", true, &user_id, NULL, &st), STATUS_INTERNAL, "NO_TRANSACTION");
    FAILS(store_checkpoint(other, false, &st), STATUS_INTERNAL, "STORE_ERROR");
    OK(store_check(other, &st));
    store_close(store);
    cr_assert_eq(position_of(other), 2);
    store_close(other);
    store_close(NULL);
}

Test(store_files, a_checkpoint_empties_the_log)
{
    struct store *store = writer();
    struct store_sizes before, after;
    OK(store_begin(store, &st));
    for (int i = 0; i < 2000; i++)
        append(store, i % 7 + 1, i, 1);
    OK(store_commit(store, &st));
    OK(store_sizes(store, &before, &st));
    OK(store_checkpoint(store, false, &st));
    OK(store_checkpoint(store, true, &st));
    OK(store_sizes(store, &after, &st));
    cr_assert_gt(before.wal_bytes, 8192);
    cr_assert_eq(after.wal_bytes, 0);
    cr_assert_gt(after.database_bytes, before.database_bytes);
    store_close(store);
}

/* ---- files */

Test(store_files, a_second_writer_is_locked_out)
{
    char pid[32];
    struct store *store = writer();
    snprintf(pid, sizeof pid, "process %d", getpid());
    refused(true, STATUS_UNAVAILABLE, "STORE_LOCKED", pid);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct status st = STATUS_INIT;
        struct store *second = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
        _exit(second == NULL && strcmp(st.reason, "STORE_LOCKED") == 0 ? 7 : 8);
    }
    int result;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 7);
    store_close(store);
    store_close(writer()); /* and let in again */
}

/* The plan has one step, which is `want`: nothing is sorted. */
static void expect_plan(const char *explain, const char *want)
{
    char path[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    path_of("shop.db", path);
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, explain, -1, &statement, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
    cr_assert_str_eq((const char *)sqlite3_column_text(statement, 3), want);
    cr_assert_eq(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

Test(store_files, a_new_database_has_its_marks_and_plans)
{
    store_close(writer());
    expect_query("PRAGMA application_id", "1380143961");
    expect_query("PRAGMA user_version", "4");
    expect_query("PRAGMA page_size", "8192");
    expect_query("PRAGMA journal_mode", "wal");
    expect_query("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE "
                 "'sqlite_%'",
                 "0");
    expect_query("SELECT wr FROM pragma_table_list WHERE name = 'event'", "1");
    /* each of a user's reads is one walk down one index */
    static const char *const plans[][2] = {
        {"EXPLAIN QUERY PLAN SELECT item_id FROM event WHERE user_id = 1 AND +position <= 9 ORDER BY ts_ms DESC, "
         "position DESC LIMIT 5",
         "SEARCH event USING PRIMARY KEY (user_id=?)"},
        {"EXPLAIN QUERY PLAN SELECT position FROM event WHERE user_id = 1 AND key = x'00'",
         "SEARCH event USING COVERING INDEX event_key (user_id=? AND key=?)"},
    };
    for (size_t i = 0; i < 2; i++)
        expect_plan(plans[i][0], plans[i][1]);
}

Test(store_files, modes_do_not_depend_on_umask_and_old_scratch_files_go)
{
    static const char *const names[] = {"shop.db", "LOCK", "shop.db-wal", "shop.db-shm"};
    static const mode_t umasks[] = {0, 0277};
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        struct stat is;
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        const mode_t old = umask(umasks[i]);
        struct store *store = writer();
        umask(old);
        cr_assert(stat(dir, &is) == 0 && (is.st_mode & 0777) == 0700, "%o", is.st_mode);
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            path_of(names[k], path);
            cr_assert(stat(path, &is) == 0 && (is.st_mode & 0777) == 0600, "%s %o", path, is.st_mode);
        }
        store_close(store);
        path_of("backup.db.tmp", path);
        cr_assert_geq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
        store_close(writer());
        cr_assert_neq(access(path, F_OK), 0);
    }
}

static size_t read_file(const char *path, char **bytes)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    *bytes = malloc(1 << 20);
    const size_t size = fread(*bytes, 1, 1 << 20, file);
    fclose(file);
    return size;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

Test(store_files, what_is_not_ours_is_refused_untouched)
{
    static const struct {
        const char *sql; /* what was done to the database; NULL: text in its place */
        enum status_code code;
        const char *reason, *words;
    } cases[] = {
        {"PRAGMA user_version = 7", STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_NEW", "version 7"},
        {"PRAGMA user_version = 7", STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_NEW", "up to 4"},
        {"PRAGMA application_id = 5", STATUS_DATA_LOSS, "STORE_CORRUPT", "0x00000005"},
        {"PRAGMA user_version = 0", STATUS_DATA_LOSS, "STORE_CORRUPT", "user_version 0"},
        {NULL, STATUS_DATA_LOSS, "STORE_CORRUPT", "not a database"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256], *before, *after;
        snprintf(dir, sizeof dir, "%s/shop%zu", top, i);
        store_close(writer());
        path_of("shop.db", path);
        if (cases[i].sql != NULL)
            run_sql(cases[i].sql);
        else
            write_file(path, "this is a text and it is longer than the header of a database, which has a hundred bytes",
                       88);
        const size_t size = read_file(path, &before);
        refused(true, cases[i].code, cases[i].reason, cases[i].words);
        refused(false, cases[i].code, cases[i].reason, cases[i].words);
        cr_assert_eq(read_file(path, &after), size);
        cr_assert_eq(memcmp(before, after, size), 0, "case %zu", i);
        free(before);
        free(after);
    }
}

Test(store_files, a_start_that_was_cut_short_is_taken_up)
{
    char path[256];
    cr_assert_eq(mkdir(dir, 0755), 0);
    path_of("shop.db", path);
    write_file(path, "", 0);
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "empty");
    store_close(writer());
    expect_query("PRAGMA user_version", "4");
    struct stat is;
    cr_assert(stat(dir, &is) == 0 && (is.st_mode & 0777) == 0755, "the mode of a directory that was there stays");

    snprintf(dir, sizeof dir, "%s/second", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    run_sql("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; COMMIT");
    store_close(writer());
    expect_query("PRAGMA user_version", "4");

    snprintf(dir, sizeof dir, "%s/third", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    run_sql("CREATE TABLE theirs(x)");
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "another program");

    snprintf(dir, sizeof dir, "%s/fourth", top);
    store_close(writer());
    run_sql("DROP TABLE list; DROP TABLE event");
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "SQL_LARGEST");
    refused(false, STATUS_DATA_LOSS, "STORE_CORRUPT", "no such table: event");
}

Test(store_files, a_damaged_page_is_noticed_at_the_start)
{
    char path[256], *bytes;
    struct store *store = writer();
    OK(store_begin(store, &st));
    for (int i = 0; i < 3000; i++)
        append(store, i % 50 + 1, i, 1);
    OK(store_commit(store, &st));
    store_close(store);
    path_of("shop.db", path);
    const size_t size = read_file(path, &bytes);
    memset(bytes + size - 8192, 0x5a, 4096);
    write_file(path, bytes, size);
    free(bytes);
    refused(true, STATUS_DATA_LOSS, "STORE_CORRUPT", "shop.db");
    store = reader();
    FAILS(store_check(store, &st), STATUS_DATA_LOSS, "STORE_CORRUPT");
    store_close(store);
}

/* Whether opening as an ordinary user ends with this reason; root may write anywhere. */
static bool fails_unprivileged(const char *reason)
{
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct status st = STATUS_INIT;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(9);
        struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
        _exit(store == NULL && st.code == STATUS_UNAVAILABLE && strcmp(st.reason, reason) == 0 ? 7 : 8);
    }
    int result;
    cr_assert_eq(waitpid(child, &result, 0), child);
    return WIFEXITED(result) && WEXITSTATUS(result) == 7;
}

Test(store_files, directories_that_cannot_be_used_are_named)
{
    char path[256];
    store_close(writer());
    path_of("shop.db", path);
    cr_assert(chmod(top, 0755) == 0 && chmod(dir, 0555) == 0);
    char lock[256];
    path_of("LOCK", lock);
    cr_assert(chmod(lock, 0444) == 0 && chmod(path, 0444) == 0);
    cr_assert(fails_unprivileged("STORE_READONLY"), "the lock cannot be written");
    cr_assert_eq(chmod(lock, 0666), 0);
    cr_assert(fails_unprivileged("STORE_READONLY"), "the database cannot be written");
    cr_assert_eq(chmod(dir, 0700), 0);

    snprintf(dir, sizeof dir, "%s/none/shop", top);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "none/shop");
    snprintf(dir, sizeof dir, "%s/file", top);
    write_file(dir, "x", 1);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "/file'");
    refused(false, STATUS_NOT_FOUND, "NO_DATABASE", "/file/shop.db'");
    snprintf(dir, sizeof dir, "%s/file/shop", top);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "file/shop");
    snprintf(dir, sizeof dir, "/proc/self/shop");
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "/proc/self/shop");
    snprintf(dir, sizeof dir, "%s/shop2", top);
    cr_assert_eq(mkdir(dir, 0700), 0);
    path_of("shop.db", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    refused(true, STATUS_UNAVAILABLE, "STORE_IO", "shop.db");
}
