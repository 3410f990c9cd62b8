/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_stream.h"

#include "daemon/ctl_output.h"
#include "daemon/ctl_params.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_LINES 1000
#define BATCH_BYTES (1u << 20)

struct stream_batch {
    json_t *list;
    uint64_t lines[BATCH_LINES];
    size_t bytes;
};

static void report(const struct ctl *ctl, struct ctl_stream *stream, uint64_t line_number, const char *message)
{
    stream->bad++;
    (void)ctl; /* a bad line is an error: told even with --quiet */
    fprintf(stderr, "recsysctl: %s:%" PRIu64 ": %s\n", stream->name, line_number, message);
}

/* Numbers are added up, flags hold if they held each time, anything else is as in the last answer. */
static bool merge_result(struct ctl_stream *stream, json_t *result, struct status *st)
{
    if (stream->result == NULL && (stream->result = json_object()) == NULL)
        return ctl_no_memory(st);
    const char *key;
    json_t *value;
    json_object_del(result, "errors");
    json_object_foreach(result, key, value)
    {
        const json_t *sum = json_object_get(stream->result, key);
        json_t *merged = NULL;
        if (json_is_integer(value))
            merged = json_integer(json_integer_value(value) + json_integer_value(sum));
        else if (json_is_boolean(value))
            merged = json_boolean(json_is_true(value) && (sum == NULL || json_is_true(sum)));
        else
            merged = json_incref(value);
        if (json_object_set_new(stream->result, key, merged) != 0)
            return ctl_no_memory(st);
    }
    return true;
}

static void report_errors(const struct ctl *ctl, struct ctl_stream *stream, const struct stream_batch *batch,
                          const json_t *errors)
{
    size_t i;
    json_t *error;
    json_array_foreach(errors, i, error)
    {
        int64_t row = ctl_member_integer(error, "row");
        if (row >= 0 && (size_t)row < json_array_size(batch->list))
            report(ctl, stream, batch->lines[row], ctl_member_text(error, "message"));
    }
}

/* A call that was refused as a whole names its culprit as "events[3].user": tell the line instead. */
static void name_line(const struct ctl_stream *stream, const struct stream_batch *batch, const char *list,
                      struct status *st)
{
    size_t length = strlen(list), row;
    if (json_array_size(batch->list) == 0)
        return;
    if (strncmp(st->field, list, length) == 0 && sscanf(st->field + length, "[%zu]", &row) == 1 &&
        row < json_array_size(batch->list)) {
        status_wrap(st, "%s:%" PRIu64, stream->name, batch->lines[row]);
        st->field[0] = '\0';
    }
    status_wrap(st, "stopped; stored is what came before line %" PRIu64, batch->lines[0]);
}

static bool send_batch(struct ctl *ctl, struct ctl_stream *stream, struct stream_batch *batch, const char *method,
                       const char *list, const json_t *params, struct status *st)
{
    if (json_array_size(batch->list) == 0)
        return true;
    bool ok = false;
    json_t *result = NULL;
    json_t *call = json_copy((json_t *)params);
    if (json_object_set(call, list, batch->list) != 0 || json_object_set_new(call, "atomic", json_false()) != 0) {
        json_decref(call);
        ctl_no_memory(st);
        goto out;
    }
    result = ctl_call(ctl, method, call, st);
    if (result == NULL)
        goto out;
    report_errors(ctl, stream, batch, json_object_get(result, "errors"));
    ok = merge_result(stream, result, st);
out:
    if (!ok)
        name_line(stream, batch, list, st);
    json_decref(result);
    json_array_clear(batch->list);
    batch->bytes = 0;
    return ok;
}

static bool add_line(const struct ctl *ctl, struct ctl_stream *stream, struct stream_batch *batch, const char *line,
                     size_t length, struct status *st)
{
    json_error_t error;
    if (strspn(line, " \t\r\n") == length)
        return true;
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        report(ctl, stream, stream->line_number, object != NULL ? "a JSON object is wanted" : error.text);
        json_decref(object);
        return true;
    }
    size_t row = json_array_size(batch->list);
    if (json_array_append_new(batch->list, object) != 0)
        return ctl_no_memory(st);
    batch->lines[row] = stream->line_number;
    batch->bytes += length;
    return true;
}

bool ctl_stream_send(struct ctl *ctl, struct ctl_stream *stream, const char *method, const char *list,
                     const json_t *params, struct status *st)
{
    bool ok = false;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    struct stream_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL || (batch->list = json_array()) == NULL) {
        ctl_no_memory(st);
        goto out;
    }
    while ((length = getline(&line, &capacity, stream->file)) > 0) {
        stream->line_number++;
        bool full = json_array_size(batch->list) == BATCH_LINES ||
                    (batch->bytes > 0 && batch->bytes + (size_t)length > BATCH_BYTES);
        if (full && !send_batch(ctl, stream, batch, method, list, params, st))
            goto out;
        if (!add_line(ctl, stream, batch, line, (size_t)length, st))
            goto out;
    }
    if (ferror(stream->file)) {
        status_fail(st, STATUS_DATA_LOSS, "READ_FAILED", "read '%s': %s", stream->name, strerror(errno));
        goto out;
    }
    ok = send_batch(ctl, stream, batch, method, list, params, st);
out:
    free(line);
    if (batch != NULL)
        json_decref(batch->list);
    free(batch);
    return ok;
}

void ctl_stream_close(struct ctl_stream *stream)
{
    json_decref(stream->result);
    stream->result = NULL;
}

int ctl_rows_stream(struct ctl *ctl, const struct ctl_rows *rows, const json_t *params)
{
    struct status st = STATUS_INIT;
    struct ctl_stream stream = {.file = stdin, .name = "stdin"};
    bool ok = ctl_stream_send(ctl, &stream, rows->method, rows->list, params, &st);
    if (stream.result != NULL)
        rows->print(ctl, stream.result);
    int code = !ok ? ctl_fail(ctl, &st) : stream.bad > 0 ? status_exit_code(STATUS_INVALID_ARGUMENT) : 0;
    if (ok && stream.bad > 0)
        ctl_note(ctl, "%llu of %llu lines were refused", (unsigned long long)stream.bad,
                 (unsigned long long)stream.line_number);
    ctl_stream_close(&stream);
    return code;
}

int ctl_rows_one(struct ctl *ctl, const struct ctl_rows *rows, const struct ctl_arguments *arguments, json_t *params)
{
    struct status st = STATUS_INIT;
    json_t *result = NULL;
    json_t *row = json_object();
    json_t *list = json_array();
    int code;
    if (json_array_append_new(list, row) != 0) {
        json_decref(list);
        ctl_no_memory(&st);
        goto out;
    }
    if (!ctl_params_set(params, rows->list, list, &st) || !rows->fill(row, arguments, &st))
        goto out;
    result = ctl_call(ctl, rows->method, json_incref(params), &st);
    if (result != NULL)
        rows->print(ctl, result);
out:
    code = result != NULL ? 0 : ctl_fail(ctl, &st);
    json_decref(result);
    return code;
}
