/* SPDX-License-Identifier: Apache-2.0
 *
 * list put: what recsys-rescore wrote, into the daemon's store. A line that names inputs (seq, model, ...) is about the
 * lines after it, so that the files of several shards may be sent as one. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/ctl_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BATCH_LISTS 500
#define BATCH_BYTES (1u << 20) /* of the file: a frame has a limit too */
#define TRIES_MAX   30         /* of a batch that the daemon has no room for now */
#define NAMED_MOST  100        /* users that are unknown, in the result */
#define TOLD_MOST   5          /* of them, to a person */

struct stored_put {
    struct ctl *ctl;
    FILE *file;
    const char *path; /* for messages */
    json_t *inputs;   /* owned: what the lists are a function of; NULL: not said yet */
    json_t *batch;    /* owned: lists as the daemon takes them */
    uint64_t lines[BATCH_LISTS];
    size_t batch_bytes;
    uint64_t line_number, read_bytes, sent, bad; /* lists that were sent, lines that are none */
    int64_t stored, unknown_items;
    json_t *unknown_users; /* owned: the first names */
    bool durable;
    struct ctl_progress progress;
};

/* ---- a line */

static void report(struct stored_put *put, const char *message)
{
    put->bad++;
    ctl_progress_clear(&put->progress);
    fprintf(stderr, "recsysctl: %s:%" PRIu64 ": %s\n", put->path, put->line_number, message);
}

static bool take_inputs(struct stored_put *put, json_t *line, struct status *st)
{
    static const char *const keys[] = {"model", "counts", "catalogue", "seq", "now_ms"};
    json_t *inputs = json_object();
    if (inputs == NULL)
        return ctl_no_memory(st);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(line, keys[i]);
        bool wanted = i < 4 ? json_is_string(value) : json_is_integer(value);
        if (!wanted || json_object_set(inputs, keys[i], value) != 0) {
            json_decref(inputs);
            if (wanted)
                return ctl_no_memory(st);
            report(put, "a line that names inputs has model, counts, catalogue, seq and now_ms");
            return true;
        }
    }
    json_decref(put->inputs);
    put->inputs = inputs;
    return true;
}

/* items: [{item, score}] as two lists. False with what is wrong, NULL: memory */
static bool split_items(const json_t *from, json_t *items, json_t *scores, const char **wrong)
{
    size_t i;
    json_t *entry;
    json_array_foreach(from, i, entry)
    {
        json_t *item = json_object_get(entry, "item"), *score = json_object_get(entry, "score");
        *wrong = "each of 'items' is an object with an item and its score";
        if (!json_is_string(item) || (score != NULL && !json_is_number(score)))
            return false;
        *wrong = NULL;
        if (json_array_append(items, item) != 0 || (score != NULL && json_array_append(scores, score) != 0))
            return false;
    }
    *wrong = "some items have a score and some have none";
    return json_array_size(scores) == 0 || json_array_size(scores) == json_array_size(items);
}

/* The line as list.put takes it; NULL with what is wrong, NULL: memory. */
static json_t *make_list(const struct stored_put *put, const json_t *line, const char **wrong)
{
    json_t *user = json_object_get(line, "user"), *from = json_object_get(line, "items");
    *wrong = "a line has a user and its items";
    if (!json_is_string(user) || !json_is_array(from))
        return NULL;
    json_t *list = put->inputs != NULL ? json_copy(put->inputs) : json_object();
    json_t *items = json_array(), *scores = json_array();
    bool ok = false;
    *wrong = NULL;
    if (list != NULL && items != NULL && scores != NULL)
        ok = split_items(from, items, scores, wrong);
    if (ok && (json_object_set(list, "user", user) != 0 || json_object_set(list, "items", items) != 0 ||
               json_object_set(list, "scores", scores) != 0)) {
        *wrong = NULL;
        ok = false;
    }
    json_decref(items);
    json_decref(scores);
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

static bool take_list(struct stored_put *put, const json_t *line, size_t length, struct status *st)
{
    const char *wrong;
    size_t row = json_array_size(put->batch);
    json_t *list = make_list(put, line, &wrong);
    if (list == NULL && wrong == NULL)
        return ctl_no_memory(st);
    if (list == NULL) {
        report(put, wrong);
        return true;
    }
    if (json_array_append_new(put->batch, list) != 0)
        return ctl_no_memory(st);
    put->lines[row] = put->line_number;
    put->batch_bytes += length;
    return true;
}

static bool take_line(struct stored_put *put, const char *line, size_t length, struct status *st)
{
    json_error_t error;
    bool ok = true;
    if (strspn(line, " \t\r\n") == length)
        return true;
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        report(put, object != NULL ? "a JSON object is wanted" : error.text);
    else if (json_object_get(object, "user") == NULL && json_object_get(object, "seq") != NULL)
        ok = take_inputs(put, object, st);
    else
        ok = take_list(put, object, length, st);
    json_decref(object);
    return ok;
}

/* ---- a batch */

static void wait_ms(uint32_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

/* The daemon's answer, asked again while it wants patience; NULL with st. */
static json_t *call_patiently(struct ctl *ctl, json_t *params, struct status *st)
{
    json_t *result = NULL;
    for (int i = 0; result == NULL && i < TRIES_MAX; i++) {
        *st = (struct status)STATUS_INIT;
        result = ctl_call(ctl, "list.put", json_incref(params), st);
        if (result != NULL || st->retry_after_ms == 0)
            break;
        wait_ms(st->retry_after_ms);
    }
    return result;
}

static bool count_answer(struct stored_put *put, const json_t *result, struct status *st)
{
    const json_t *unknown = json_object_get(result, "unknown_users");
    size_t i;
    json_t *user;
    put->sent += json_array_size(put->batch);
    put->stored += ctl_member_integer(result, "stored");
    put->unknown_items += ctl_member_integer(result, "unknown_items");
    put->durable = put->durable && json_is_true(json_object_get(result, "durable"));
    json_array_foreach(unknown, i, user)
    {
        if (json_array_size(put->unknown_users) < NAMED_MOST && json_array_append(put->unknown_users, user) != 0)
            return ctl_no_memory(st);
    }
    return true;
}

/* A batch that was refused names its culprit as "lists[3].items": tell the line instead. */
static void name_line(const struct stored_put *put, struct status *st)
{
    size_t row;
    if (sscanf(st->field, "lists[%zu]", &row) == 1 && row < json_array_size(put->batch)) {
        status_wrap(st, "%s:%" PRIu64, put->path, put->lines[row]);
        st->field[0] = '\0';
    }
    status_wrap(st, "stopped; stored is what came before line %" PRIu64, put->lines[0]);
}

static bool send_batch(struct stored_put *put, struct status *st)
{
    if (json_array_size(put->batch) == 0)
        return true;
    json_t *params = json_object();
    if (params == NULL || json_object_set(params, "lists", put->batch) != 0) {
        json_decref(params);
        return ctl_no_memory(st);
    }
    json_t *result = call_patiently(put->ctl, params, st);
    json_decref(params);
    if (result == NULL)
        name_line(put, st);
    bool ok = result != NULL && count_answer(put, result, st);
    json_decref(result);
    json_array_clear(put->batch);
    put->batch_bytes = 0;
    return ok;
}

/* ---- the file */

static bool open_file(struct stored_put *put, struct status *st)
{
    struct stat is;
    bool standard_input = strcmp(put->path, "-") == 0;
    put->file = standard_input ? stdin : fopen(put->path, "r");
    if (put->file == NULL)
        return status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "open '%s': %s", put->path, strerror(errno));
    if (standard_input)
        put->path = "stdin";
    bool sized = fstat(fileno(put->file), &is) == 0 && S_ISREG(is.st_mode) && is.st_size > 0;
    ctl_progress_start(&put->progress, "lists", sized ? (uint64_t)is.st_size : 0);
    return true;
}

static bool send_lines(struct stored_put *put, struct status *st)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool ok = true;
    while (ok && (length = getline(&line, &capacity, put->file)) > 0) {
        put->line_number++;
        put->read_bytes += (size_t)length;
        bool full = json_array_size(put->batch) == BATCH_LISTS ||
                    (put->batch_bytes > 0 && put->batch_bytes + (size_t)length > BATCH_BYTES);
        ok = (!full || send_batch(put, st)) && take_line(put, line, (size_t)length, st);
        ctl_progress_update(&put->progress, put->read_bytes, put->sent);
    }
    free(line);
    if (ok && ferror(put->file))
        ok = status_fail(st, STATUS_DATA_LOSS, "READ_FAILED", "read '%s': %s", put->path, strerror(errno));
    ok = ok && send_batch(put, st);
    ctl_progress_clear(&put->progress);
    return ok;
}

/* ---- the command */

static void print_result(const struct stored_put *put)
{
    int64_t left_out = (int64_t)put->sent - put->stored;
    if (put->ctl->output != CTL_TABLE) {
        json_t *result =
            json_pack("{s:I, s:I, s:I, s:O, s:I, s:b}", "stored", (json_int_t)put->stored, "bad_lines",
                      (json_int_t)put->bad, "left_out", (json_int_t)left_out, "unknown_users", put->unknown_users,
                      "unknown_items", (json_int_t)put->unknown_items, "durable", (int)put->durable);
        ctl_print_json(put->ctl, result);
        json_decref(result);
        return;
    }
    printf("stored %" PRId64 " lists, %" PRId64 " of unknown users left out, %" PRId64 " unknown items left out\n",
           put->stored, left_out, put->unknown_items);
    for (size_t i = 0; i < json_array_size(put->unknown_users) && i < TOLD_MOST; i++)
        ctl_note(put->ctl, "no user '%s'", json_string_value(json_array_get(put->unknown_users, i)));
    if (left_out > TOLD_MOST)
        ctl_note(put->ctl, "and %" PRId64 " more", left_out - TOLD_MOST);
}

static bool put_lists(struct stored_put *put, struct status *st)
{
    put->batch = json_array();
    put->unknown_users = json_array();
    if (put->batch == NULL || put->unknown_users == NULL)
        return ctl_no_memory(st);
    if (!open_file(put, st))
        return false;
    bool ok = send_lines(put, st);
    if (ok || put->sent > 0)
        print_result(put);
    if (ok && put->bad > 0)
        ctl_note(put->ctl, "%" PRIu64 " of %" PRIu64 " lines were left out", put->bad, put->line_number);
    if (put->file != stdin)
        fclose(put->file);
    return ok;
}

int ctl_run_list_put(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    struct status st = STATUS_INIT;
    struct stored_put put = {.ctl = ctl, .path = arguments->words[0], .durable = true};
    put.progress.style = ctl->quiet ? PROGRESS_NONE : progress_style_of_stderr();
    put.progress.unit = "lists";
    bool ok = put_lists(&put, &st);
    json_decref(put.inputs);
    json_decref(put.batch);
    json_decref(put.unknown_users);
    if (!ok)
        return ctl_fail(ctl, &st);
    return put.bad > 0 ? status_exit_code(STATUS_INVALID_ARGUMENT) : 0;
}
