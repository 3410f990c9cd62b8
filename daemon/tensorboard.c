/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tensorboard.h"

#include "proto/tensorboard.pb-c.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_VERSION     "brain.Event:2"
#define FILES_A_SECOND   100 /* a second one within the same second gets a number */
#define HEAD_BYTES       12  /* length and its checksum */
#define TAIL_BYTES       4
#define RECORD_BYTES_MAX 512

/* Bit by bit: a training writes some ten small records an epoch, for which a table would not pay. */
uint32_t tensorboard_crc32c(const void *bytes, size_t size_bytes)
{
    const unsigned char *at = bytes;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size_bytes; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* So that a checksum over data that holds checksums keeps its worth (tensorflow/core/lib/hash/crc32c.h). */
static uint32_t masked_crc(const unsigned char *bytes, size_t size_bytes)
{
    uint32_t crc = tensorboard_crc32c(bytes, size_bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void put_number(unsigned char *out, uint64_t value, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        out[i] = (unsigned char)(value >> (8 * i) & 0xff);
}

static bool write_event(struct tensorboard *board, Tensorboard__Event *event, int64_t now_ms, struct status *st)
{
    unsigned char record[RECORD_BYTES_MAX];
    event->wall_time = (double)now_ms / 1000;
    size_t size = tensorboard__event__get_packed_size(event), whole = HEAD_BYTES + size + TAIL_BYTES;
    if (whole > sizeof record) /* unreachable: a tag is limited, and nothing else is long */
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_TAG", "an event of %zu bytes", size);
    put_number(record, size, 8);
    put_number(record + 8, masked_crc(record, 8), 4);
    tensorboard__event__pack(event, record + HEAD_BYTES);
    put_number(record + HEAD_BYTES + size, masked_crc(record + HEAD_BYTES, size), TAIL_BYTES);
    if (fwrite(record, 1, whole, board->file) != whole || fflush(board->file) != 0)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "write '%s': %m", board->path);
    return true;
}

static bool create_file(struct tensorboard *board, const char *dir, int64_t now_ms, struct status *st)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        strcpy(host, "localhost");
    for (int number = 0; board->file == NULL && number < FILES_A_SECOND; number++) {
        char suffix[16] = "";
        if (number > 0)
            snprintf(suffix, sizeof suffix, ".%02d", number);
        int length = snprintf(board->path, sizeof board->path, "%s/events.out.tfevents.%010lld.%s%s", dir,
                              (long long)(now_ms / 1000), host, suffix);
        if (length < 0 || (size_t)length >= sizeof board->path)
            errno = ENAMETOOLONG;
        else
            board->file = fopen(board->path, "wxe");
        if (board->file == NULL && errno != EEXIST)
            break;
    }
    return board->file != NULL || status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m", board->path);
}

bool tensorboard_open(struct tensorboard *board, const char *dir, int64_t now_ms, struct status *st)
{
    *board = (struct tensorboard){0};
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m", dir);
    Tensorboard__Event event = TENSORBOARD__EVENT__INIT;
    event.what_case = TENSORBOARD__EVENT__WHAT_FILE_VERSION;
    event.file_version = (char *)FILE_VERSION;
    if (create_file(board, dir, now_ms, st) && write_event(board, &event, now_ms, st))
        return true;
    tensorboard_close(board);
    return false;
}

bool tensorboard_restart(struct tensorboard *board, int64_t step, int64_t now_ms, struct status *st)
{
    Tensorboard__SessionLog log = TENSORBOARD__SESSION_LOG__INIT;
    Tensorboard__Event event = TENSORBOARD__EVENT__INIT;
    log.status = TENSORBOARD__SESSION_LOG__STATUS__START;
    event.step = step;
    event.what_case = TENSORBOARD__EVENT__WHAT_SESSION_LOG;
    event.session_log = &log;
    return write_event(board, &event, now_ms, st);
}

bool tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value, int64_t now_ms,
                        struct status *st)
{
    if (tag[0] == '\0' || strlen(tag) > TENSORBOARD_TAG_MAX)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_TAG", "tag '%.60s' is empty or longer than %d bytes", tag,
                           TENSORBOARD_TAG_MAX);
    Tensorboard__Summary__Value point = TENSORBOARD__SUMMARY__VALUE__INIT;
    Tensorboard__Summary__Value *points[] = {&point};
    Tensorboard__Summary summary = TENSORBOARD__SUMMARY__INIT;
    Tensorboard__Event event = TENSORBOARD__EVENT__INIT;
    point.tag = (char *)tag; /* packed, not changed */
    point.value_case = TENSORBOARD__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
    point.simple_value = (float)value;
    summary.n_value = 1;
    summary.value = points;
    event.step = step;
    event.what_case = TENSORBOARD__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(board, &event, now_ms, st);
}

void tensorboard_close(struct tensorboard *board)
{
    if (board->file != NULL)
        fclose(board->file);
    *board = (struct tensorboard){0};
}
