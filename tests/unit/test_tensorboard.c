/* SPDX-License-Identifier: Apache-2.0
 *
 * Event files, read back record by record: by their framing, and as messages. */
#include "daemon/tensorboard.h"

#include "proto/tensorboard.pb-c.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW_MS     1700000000250
#define EVENTS_MAX 16

static char folder[] = "/tmp/test_tensorboard.XXXXXX";
static char dir[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(dir, sizeof dir, "%s/model.tb", folder);
}

static void remove_folder(void)
{
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries != NULL)
        closedir(entries);
    rmdir(dir);
    rmdir(folder);
}

TestSuite(tensorboard, .init = make_folder, .fini = remove_folder);

static uint64_t number(const unsigned char *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* the inverse of the mask, so that the mask itself is not taken from the code under test */
static uint32_t unmasked(uint64_t masked)
{
    uint32_t rotated = (uint32_t)masked - 0xa282ead8u;
    return rotated << 15 | rotated >> 17;
}

static size_t read_events(const char *path, Tensorboard__Event *events[EVENTS_MAX])
{
    unsigned char bytes[8192];
    size_t count = 0, at = 0;
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert_lt(size, sizeof bytes);
    while (at < size) {
        cr_assert_leq(at + 16, size, "half a record at byte %zu", at);
        size_t length = (size_t)number(bytes + at, 8);
        cr_assert_eq(unmasked(number(bytes + at + 8, 4)), tensorboard_crc32c(bytes + at, 8), "length at byte %zu", at);
        cr_assert_leq(at + 16 + length, size);
        cr_assert_eq(unmasked(number(bytes + at + 12 + length, 4)), tensorboard_crc32c(bytes + at + 12, length),
                     "data at byte %zu", at);
        cr_assert_lt(count, EVENTS_MAX);
        events[count] = tensorboard__event__unpack(NULL, length, bytes + at + 12);
        cr_assert_not_null(events[count++]);
        at += 16 + length;
    }
    return count;
}

static void free_events(Tensorboard__Event **events, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tensorboard__event__free_unpacked(events[i], NULL);
}

/* RFC 3720, B.4, and the check value of the catalogue of CRCs */
Test(tensorboard, crc_of_known_bytes)
{
    unsigned char zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < sizeof rising; i++)
        rising[i] = (unsigned char)i;
    cr_expect_eq(tensorboard_crc32c("", 0), 0);
    cr_expect_eq(tensorboard_crc32c("123456789", 9), 0xe3069283u);
    cr_expect_eq(tensorboard_crc32c(zeros, sizeof zeros), 0x8a9136aau);
    cr_expect_eq(tensorboard_crc32c(ones, sizeof ones), 0x62a8ab43u);
    cr_expect_eq(tensorboard_crc32c(rising, sizeof rising), 0x46dd794eu);
}

Test(tensorboard, a_file_begins_with_its_version)
{
    struct tensorboard board;
    struct status st = STATUS_INIT;
    Tensorboard__Event *events[EVENTS_MAX];
    cr_assert(tensorboard_open(&board, dir, NOW_MS, &st), "%s", st.message);
    cr_expect_not_null(strstr(board.path, "/model.tb/events.out.tfevents.1700000000."), "%s", board.path);
    size_t count = read_events(board.path, events); /* what is written is in the file before it is closed */
    cr_assert_eq(count, 1);
    cr_assert_eq(events[0]->what_case, TENSORBOARD__EVENT__WHAT_FILE_VERSION);
    cr_expect_str_eq(events[0]->file_version, "brain.Event:2");
    cr_expect_eq(events[0]->wall_time, 1700000000.25);
    free_events(events, count);
    tensorboard_close(&board);
}

/* the bytes as TensorFlow's own writer makes them, worked out by hand from the protobuf specification */
Test(tensorboard, a_scalar_to_the_byte)
{
    static const unsigned char wanted[] = {0x09, 0,    0,   0,    0, 0, 0,    0xf8, 0x3f, /* wall_time 1.5 */
                                           0x10, 0x07,                                    /* step 7 */
                                           0x2a, 0x0a,                                    /* summary, 10 bytes */
                                           0x0a, 0x08,                                    /* value, 8 bytes */
                                           0x0a, 0x01, 'x', 0x15, 0, 0, 0x00, 0x00};      /* tag, simple_value 0 */
    struct tensorboard board;
    struct status st = STATUS_INIT;
    unsigned char bytes[512];
    cr_assert(tensorboard_open(&board, dir, 1500, &st), "%s", st.message);
    long begin = ftell(board.file);
    cr_assert(tensorboard_scalar(&board, "x", 7, 0, 1500, &st), "%s", st.message);
    FILE *file = fopen(board.path, "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, begin, SEEK_SET), 0);
    cr_assert_eq(fread(bytes, 1, sizeof bytes, file), sizeof wanted + 16);
    cr_expect_eq(number(bytes, 8), sizeof wanted);
    cr_expect_arr_eq(bytes + 12, wanted, sizeof wanted); /* a zero is a point like any other */
    fclose(file);
    tensorboard_close(&board);
}

Test(tensorboard, scalars_and_restart_come_back)
{
    struct tensorboard board;
    struct status st = STATUS_INIT;
    Tensorboard__Event *events[EVENTS_MAX];
    char path[sizeof board.path];
    cr_assert(tensorboard_open(&board, dir, NOW_MS, &st), "%s", st.message);
    cr_assert(tensorboard_restart(&board, 4, NOW_MS + 1, &st), "%s", st.message);
    cr_assert(tensorboard_scalar(&board, "stage1/loss", 4, 6.25, NOW_MS + 1000, &st), "%s", st.message);
    cr_assert(tensorboard_scalar(&board, "stage1/loss", 5000000000, -0.5, NOW_MS + 2000, &st), "%s", st.message);
    strcpy(path, board.path);
    tensorboard_close(&board);
    cr_expect_null(board.file);
    size_t count = read_events(path, events);
    cr_assert_eq(count, 4);
    cr_assert_eq(events[1]->what_case, TENSORBOARD__EVENT__WHAT_SESSION_LOG);
    cr_expect_eq(events[1]->session_log->status, TENSORBOARD__SESSION_LOG__STATUS__START);
    cr_expect_eq(events[1]->step, 4);
    cr_assert_eq(events[2]->what_case, TENSORBOARD__EVENT__WHAT_SUMMARY);
    cr_assert_eq(events[2]->summary->n_value, 1);
    cr_expect_str_eq(events[2]->summary->value[0]->tag, "stage1/loss");
    cr_expect_eq(events[2]->summary->value[0]->simple_value, 6.25f);
    cr_expect_eq(events[2]->wall_time, 1700000001.25);
    cr_expect_eq(events[3]->step, 5000000000);
    cr_expect_eq(events[3]->summary->value[0]->simple_value, -0.5f);
    free_events(events, count);
}

Test(tensorboard, two_runs_in_one_second_have_two_files)
{
    struct tensorboard first, second;
    struct status st = STATUS_INIT;
    cr_assert(tensorboard_open(&first, dir, NOW_MS, &st), "%s", st.message);
    cr_assert(tensorboard_open(&second, dir, NOW_MS, &st), "%s", st.message);
    cr_expect_lt(strcmp(first.path, second.path), 0, "'%s' is not read before '%s'", first.path, second.path);
    tensorboard_close(&first);
    tensorboard_close(&second);
    tensorboard_close(&second);
}

Test(tensorboard, refusals)
{
    char tag[TENSORBOARD_TAG_MAX + 2], missing[128];
    struct tensorboard board;
    struct status st = STATUS_INIT;
    cr_assert(tensorboard_open(&board, dir, NOW_MS, &st), "%s", st.message);
    memset(tag, 'x', sizeof tag);
    tag[sizeof tag - 1] = '\0';
    cr_expect_not(tensorboard_scalar(&board, tag, 1, 1, NOW_MS, &st));
    cr_expect_str_eq(st.reason, "BAD_TAG");
    cr_expect_not(tensorboard_scalar(&board, "", 1, 1, NOW_MS, &st));
    tag[TENSORBOARD_TAG_MAX] = '\0';
    cr_expect(tensorboard_scalar(&board, tag, INT64_MAX, 1, NOW_MS, &st), "%s", st.message);
    tensorboard_close(&board);
    snprintf(missing, sizeof missing, "%s/no/such", folder);
    cr_expect_not(tensorboard_open(&board, missing, NOW_MS, &st));
    cr_expect_eq(st.code, STATUS_ALREADY_EXISTS);
    cr_expect_not_null(strstr(st.message, missing), "%s", st.message);
    cr_expect_null(board.file);
}
