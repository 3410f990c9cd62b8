/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of a training: what its records say, and what is left of them when a training is gone on with. */
#include "daemon/train_log.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS_MAX 32

static char folder[] = "/tmp/test_train_log.XXXXXX";
static char model_path[64], log_path[80], board_path[80];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(model_path, sizeof model_path, "%s/model", folder);
    snprintf(log_path, sizeof log_path, "%s.ndjson", model_path);
    snprintf(board_path, sizeof board_path, "%s.tb", model_path);
}

static size_t each_event_file(bool remove)
{
    size_t count = 0;
    DIR *entries = opendir(board_path);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        count += strstr(entry->d_name, "tfevents") != NULL;
        if (remove)
            unlinkat(dirfd(entries), entry->d_name, 0);
    }
    if (entries != NULL)
        closedir(entries);
    return count;
}

static void remove_folder(void)
{
    each_event_file(true);
    rmdir(board_path);
    unlink(log_path);
    rmdir(folder);
}

TestSuite(train_log, .init = make_folder, .fini = remove_folder);

/* ---- helpers */

/* every line must be an object of its own */
static size_t read_records(json_t *records[RECORDS_MAX])
{
    char line[4096];
    size_t count = 0;
    FILE *file = fopen(log_path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        json_error_t error;
        cr_assert_lt(count, RECORDS_MAX);
        cr_assert_not_null(strchr(line, '\n'), "half a line: %s", line);
        records[count] = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        cr_assert(json_is_object(records[count]), "%s: %s", error.text, line);
        count++;
    }
    fclose(file);
    return count;
}

static void free_records(json_t **records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_decref(records[i]);
}

static double real(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);
    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static int whole(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);
    cr_assert(json_is_integer(value), "no whole number '%s'", key);
    return (int)json_integer_value(value);
}

static struct train_epoch epoch_of(int stage, int epoch)
{
    return (struct train_epoch){.stage = stage,
                                .epoch = epoch,
                                .epochs_most = 60,
                                .loss = 7 - .5 * epoch,
                                .ndcg = .01 * epoch,
                                .hit_rate = .02 * epoch,
                                .validation_loss = 5,
                                .learning_rate = .001,
                                .gradient_norm = 1.5,
                                .seconds = 2,
                                .events_per_second = 1000,
                                .best_epoch = epoch,
                                .patience = 10};
}

static void open_log(struct train_log *log, const struct train_log_place *resume)
{
    struct status st = STATUS_INIT;
    json_t *facts = json_pack("{s:i, s:s}", "seed", 1, "event", "not this");
    cr_assert(train_log_open(log, model_path, resume, true, &st), "%s", st.message);
    cr_assert(train_log_begin(log, facts, &st), "%s", st.message);
    json_decref(facts);
}

static void add_epochs(struct train_log *log, int stage, int first, int last)
{
    struct status st = STATUS_INIT;
    for (int i = first; i <= last; i++) {
        struct train_epoch epoch = epoch_of(stage, i);
        cr_assert(train_log_epoch(log, &epoch, &st), "%s", st.message);
    }
}

static void append_text(const char *text)
{
    FILE *file = fopen(log_path, "a");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* The places of the epochs in the file, as "1.1 1.2 2.1 "; steps must count them. */
static void expect_epochs(const char *wanted)
{
    char text[256] = "";
    int step = 0;
    json_t *records[RECORDS_MAX];
    size_t count = read_records(records);
    for (size_t i = 0; i < count; i++) {
        if (json_object_get(records[i], "event") != NULL)
            continue;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d.%d ", whole(records[i], "stage"),
                 whole(records[i], "epoch"));
        cr_expect_eq(whole(records[i], "step"), ++step);
    }
    cr_expect_str_eq(text, wanted);
    free_records(records, count);
}

/* ---- records */

Test(train_log, tells_the_whole_story)
{
    struct train_log log;
    struct status st = STATUS_INIT;
    json_t *records[RECORDS_MAX], *facts = json_pack("{s:f}", "seconds", 4.5);
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 2);
    cr_assert(train_log_end(&log, facts, &st), "%s", st.message);
    size_t count = read_records(records); /* there before the log is closed, for those who follow it */
    train_log_close(&log);
    cr_assert_eq(count, 4);
    cr_expect_str_eq(json_string_value(json_object_get(records[0], "event")), "begin");
    cr_expect_eq(whole(records[0], "seed"), 1);
    cr_expect_eq(whole(records[2], "stage"), 1);
    cr_expect_eq(whole(records[2], "epoch"), 2);
    cr_expect_float_eq(real(records[2], "loss"), 6, 1e-9);
    cr_expect_float_eq(real(records[2], "validation_ndcg@10"), .02, 1e-9);
    cr_expect_float_eq(real(records[2], "validation_hr@10"), .04, 1e-9);
    cr_expect_float_eq(real(records[2], "learning_rate"), .001, 1e-9);
    cr_expect_float_eq(real(records[2], "gradient_norm"), 1.5, 1e-9);
    cr_expect_float_eq(real(records[2], "seconds"), 2, 1e-9);
    cr_expect_float_eq(real(records[2], "events_per_second"), 1000, 1e-9);
    cr_expect_eq(whole(records[2], "best_epoch"), 2);
    cr_expect_null(json_object_get(records[2], "validation_loss"));
    cr_expect_str_eq(json_string_value(json_object_get(records[3], "event")), "end");
    cr_expect_float_eq(real(records[3], "seconds"), 4.5, 1e-9);
    cr_expect_eq(each_event_file(false), 1);
    free_records(records, count);
    json_decref(facts);
}

Test(train_log, stage_two_has_numbers_of_its_own)
{
    const struct train_scalar scalars[] = {
        {"text picks, image judges", .31}, {"head.cooccurrence", 1.2}, {"none", NAN}};
    struct train_log log;
    struct status st = STATUS_INIT;
    json_t *records[RECORDS_MAX];
    struct train_epoch epoch = epoch_of(TRAIN_STAGE_HEAD, 1);
    epoch.scalars = scalars;
    epoch.scalar_count = 3;
    open_log(&log, NULL);
    cr_assert(train_log_epoch(&log, &epoch, &st), "%s", st.message);
    train_log_close(&log);
    size_t count = read_records(records);
    cr_assert_eq(count, 2);
    const json_t *written = json_object_get(records[1], "scalars");
    cr_expect_float_eq(real(records[1], "validation_loss"), 5, 1e-9);
    cr_expect_null(json_object_get(records[1], "validation_ndcg@10"));
    cr_expect_eq(json_object_size(written), 2);
    cr_expect_float_eq(real(written, "text picks, image judges"), .31, 1e-9);
    cr_expect_float_eq(real(written, "head.cooccurrence"), 1.2, 1e-9);
    free_records(records, count);
}

Test(train_log, what_is_no_number_is_left_out)
{
    struct train_log log;
    struct status st = STATUS_INIT;
    json_t *records[RECORDS_MAX];
    struct train_epoch epoch = epoch_of(TRAIN_STAGE_AGAIN, 1);
    epoch.ndcg = epoch.hit_rate = NAN;
    epoch.gradient_norm = INFINITY;
    epoch.best_epoch = 0;
    open_log(&log, NULL);
    cr_assert(train_log_epoch(&log, &epoch, &st), "%s", st.message);
    train_log_close(&log);
    size_t count = read_records(records);
    cr_assert_eq(count, 2);
    cr_expect_null(json_object_get(records[1], "validation_ndcg@10"));
    cr_expect_null(json_object_get(records[1], "gradient_norm"));
    cr_expect_null(json_object_get(records[1], "best_epoch"));
    cr_expect_float_eq(real(records[1], "loss"), 6.5, 1e-9);
    free_records(records, count);
}

/* ---- going on */

Test(train_log, resuming_cuts_what_the_checkpoint_has_not_seen)
{
    struct train_log log;
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 5);
    train_log_close(&log);
    append_text("{\"stage\":1,\"epoch\":6,\"lo"); /* killed in the middle of a line */
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_ENCODER, 3});
    expect_epochs("1.1 1.2 1.3 ");
    add_epochs(&log, TRAIN_STAGE_ENCODER, 4, 5);
    add_epochs(&log, TRAIN_STAGE_HEAD, 1, 1);
    train_log_close(&log);
    expect_epochs("1.1 1.2 1.3 1.4 1.5 2.1 ");
    cr_expect_eq(each_event_file(false), 2);
}

Test(train_log, resuming_in_a_later_stage_keeps_the_earlier_ones)
{
    struct train_log log;
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 4);
    add_epochs(&log, TRAIN_STAGE_HEAD, 1, 3);
    train_log_close(&log);
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_HEAD, 2});
    train_log_close(&log);
    expect_epochs("1.1 1.2 1.3 1.4 2.1 2.2 ");
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_HEAD, 0});
    train_log_close(&log);
    expect_epochs("1.1 1.2 1.3 1.4 ");
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_ENCODER, 0});
    train_log_close(&log);
    expect_epochs("");
}

Test(train_log, resuming_says_so_and_keeps_the_beginning)
{
    struct train_log log;
    json_t *records[RECORDS_MAX];
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 2);
    train_log_close(&log);
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_ENCODER, 1});
    train_log_close(&log);
    size_t count = read_records(records);
    cr_assert_eq(count, 3);
    cr_expect_str_eq(json_string_value(json_object_get(records[0], "event")), "begin");
    cr_expect_str_eq(json_string_value(json_object_get(records[2], "event")), "resume");
    free_records(records, count);
}

Test(train_log, resuming_without_a_log_or_with_a_damaged_one_begins_one)
{
    struct train_log log;
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_ENCODER, 3});
    add_epochs(&log, TRAIN_STAGE_ENCODER, 4, 4);
    train_log_close(&log);
    expect_epochs("1.4 ");
    unlink(log_path);
    append_text("no record\n{\"stage\":1,\"epoch\":1,\"step\":1}\n");
    open_log(&log, &(struct train_log_place){TRAIN_STAGE_ENCODER, 3});
    train_log_close(&log);
    expect_epochs("");
}

Test(train_log, a_new_training_replaces_the_log)
{
    struct train_log log;
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 3);
    train_log_close(&log);
    open_log(&log, NULL);
    add_epochs(&log, TRAIN_STAGE_ENCODER, 1, 1);
    train_log_close(&log);
    expect_epochs("1.1 ");
}

/* ---- the time left */

Test(train_log, epochs_left_until_patience_ends_or_the_last_one)
{
    static const struct {
        int epoch, most, best, patience, left;
    } cases[] = {
        {1, 60, 1, 10, 10},                      /* if nothing improves, ten more */
        {7, 60, 5, 10, 8},                       /* two of the ten are gone */
        {55, 60, 54, 10, 5},                     /* the last epoch comes first */
        {15, 60, 5, 10, 0},                      /* patience ends here */
        {60, 60, 60, 10, 0}, {3, 60, 0, 10, 57}, /* nothing validated yet */
        {3, 60, 1, 0, 57},                       /* no early stopping */
        {70, 60, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_epoch epoch = {.epoch = cases[i].epoch,
                                    .epochs_most = cases[i].most,
                                    .best_epoch = cases[i].best,
                                    .patience = cases[i].patience};
        cr_expect_eq(train_log_epochs_left(&epoch), cases[i].left, "case %zu: %d", i, train_log_epochs_left(&epoch));
    }
}

/* at the mean of the stage's epochs in this run: not of another stage's, which may be a hundred times as fast */
Test(train_log, time_left_is_that_of_the_stage)
{
    struct train_log log;
    struct status st = STATUS_INIT;
    json_t *records[RECORDS_MAX];
    struct train_epoch epochs[] = {epoch_of(TRAIN_STAGE_ENCODER, 1), epoch_of(TRAIN_STAGE_ENCODER, 2),
                                   epoch_of(TRAIN_STAGE_HEAD, 1)};
    epochs[0].seconds = 2;
    epochs[1].seconds = 4;
    epochs[2].seconds = .5;
    open_log(&log, NULL);
    for (int i = 0; i < 3; i++)
        cr_assert(train_log_epoch(&log, &epochs[i], &st), "%s", st.message);
    train_log_close(&log);
    size_t count = read_records(records);
    cr_assert_eq(count, 4);
    cr_expect_float_eq(real(records[1], "eta_seconds"), 20, 1e-6);
    cr_expect_float_eq(real(records[2], "eta_seconds"), 30, 1e-6);
    cr_expect_float_eq(real(records[3], "eta_seconds"), 5, 1e-6);
    free_records(records, count);
}

Test(train_log, a_step_is_welcome_at_any_time)
{
    struct train_log log;
    open_log(&log, NULL);
    void (*callback)(void *, size_t, size_t, double) = train_log_step;
    log.style = PROGRESS_BAR; /* before any stage, and in one of nothing */
    callback(&log, 0, 0, NAN);
    train_log_stage(&log, TRAIN_STAGE_ENCODER, 0, 0);
    log.drawn_us = 0;
    callback(&log, 10, 100, 6.5);
    train_log_close(&log);
    expect_epochs("");
}

Test(train_log, a_place_that_cannot_be_written)
{
    struct train_log log;
    struct status st = STATUS_INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/no/such/model", folder);
    cr_expect_not(train_log_open(&log, path, NULL, true, &st));
    cr_expect_eq(st.code, STATUS_ALREADY_EXISTS);
    cr_expect_not_null(strstr(st.message, path), "%s", st.message);
    cr_expect_null(log.file);
    train_log_close(&log);
}
