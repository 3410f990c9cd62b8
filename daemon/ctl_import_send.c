/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches in flight: sending, answers, retries. */
#include "daemon/ctl_import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS_MAX   30
#define BACKOFF_MS     50
#define BACKOFF_MS_MAX 5000

void import_begin(struct import *import, const struct import_kind *kind, struct import_tally *tally, const char *label,
                  uint64_t total)
{
    import->kind = kind;
    import->tally = tally;
    ctl_progress_start(&import->progress, label, total);
}

bool import_bad_row(struct import *import, const char *place, const char *message, struct status *st)
{
    import->tally->bad++;
    ctl_progress_clear(&import->progress);
    if (import->reported < IMPORT_REPORTS_MAX)
        fprintf(stderr, "recsysctl: %s: %s\n", place, message);
    else if (import->reported == IMPORT_REPORTS_MAX)
        fprintf(stderr, "recsysctl: more bad rows are counted, not told\n");
    import->reported++;
    if (!import->strict)
        return true;
    return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_ROW",
                       "stopped at the first bad row; what was sent before is stored, and a second run continues");
}

/* Sleep as told by the server, longer each time; a signal ends it. */
static void pause_before_retry(const struct batch *batch, uint32_t retry_after_ms)
{
    uint32_t backoff_ms = batch->attempts < 8 ? (uint32_t)BACKOFF_MS << batch->attempts : BACKOFF_MS_MAX;
    uint32_t wait_ms = retry_after_ms > backoff_ms ? retry_after_ms : backoff_ms;
    if (wait_ms > BACKOFF_MS_MAX && wait_ms > retry_after_ms)
        wait_ms = BACKOFF_MS_MAX;
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

/* Would the same batch be taken a little later? Rows are the same for the daemon when they come twice. */
static bool worth_retrying(const struct batch *batch, const struct status *answer)
{
    bool transient = answer->code == STATUS_RESOURCE_EXHAUSTED || answer->code == STATUS_ABORTED ||
                     answer->code == STATUS_DEADLINE_EXCEEDED;
    return transient && strcmp(answer->reason, "TOO_LARGE") != 0 && batch->attempts < ATTEMPTS_MAX;
}

static bool post(struct import *import, struct batch *batch, struct status *st)
{
    struct recsys_attachment attachment = {batch->vectors, batch->vectors_bytes};
    batch->request_id = 0; /* of an earlier attempt: no answer is due to it any more */
    if (!recsys_client_send(import->ctl->client, import->kind->method, &batch->request.base, &attachment,
                            batch->vectors_bytes > 0 ? 1 : 0, &batch->request_id, st))
        return false;
    import->sent_any = true;
    return true;
}

static bool count_answer(struct import *import, const struct batch *batch, const ProtobufCMessage *reply,
                         struct status *st)
{
    Recsys__RowError *const *errors = NULL;
    size_t error_count = 0;
    bool ok = true;
    import->kind->count(import, reply, &errors, &error_count);
    import->tally->rows += batch->row_count - (error_count < batch->row_count ? error_count : batch->row_count);
    for (size_t i = 0; i < error_count && ok; i++) {
        char place[4352] = "?";
        if (errors[i]->row >= 0 && (size_t)errors[i]->row < batch->row_count)
            import->kind->place(import, batch, (size_t)errors[i]->row, place, sizeof place);
        ok = import_bad_row(import, place, errors[i]->message, st);
    }
    return ok;
}

static struct batch *find_batch(struct import *import, uint64_t request_id)
{
    for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++) {
        if (request_id != 0 && import->batches[i].request_id == request_id)
            return &import->batches[i];
    }
    return NULL;
}

/* Wait for one answer and deal with it. With `retry` false a batch that was put off is dropped: the next run brings it.
 */
static bool take_answer(struct import *import, bool retry, struct status *st)
{
    uint64_t request_id = 0;
    ProtobufCMessage *reply = NULL;
    struct status answer = STATUS_INIT;
    bool answered = recsys_client_receive(import->ctl->client, &request_id, import->kind->reply_type, &reply, &answer);
    struct batch *batch = find_batch(import, request_id);
    if (batch == NULL && request_id == 0) {
        *st = answer;
        return false;
    }
    bool ok = true;
    if (answered && batch != NULL) {
        ok = count_answer(import, batch, reply, st);
        batch_reset(batch);
    } else if (batch != NULL && retry && worth_retrying(batch, &answer) && !import_interrupted()) {
        pause_before_retry(batch, answer.retry_after_ms);
        batch->attempts++;
        ok = post(import, batch, st);
    } else if (batch != NULL) {
        ok = import_interrupted() && worth_retrying(batch, &answer);
        batch_reset(batch);
        if (!ok)
            *st = answer;
    }
    if (reply != NULL)
        protobuf_c_message_free_unpacked(reply, NULL);
    return ok;
}

struct batch *import_acquire(struct import *import, struct status *st)
{
    for (;;) {
        for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++) {
            if (!import->batches[i].taken) {
                import->batches[i].taken = true;
                return &import->batches[i];
            }
        }
        if (!take_answer(import, true, st))
            return NULL;
    }
}

bool import_send(struct import *import, struct batch *batch, struct status *st)
{
    if (import->dry_run)
        import->tally->rows += batch->row_count;
    if (import->dry_run || batch->row_count == 0) {
        batch_reset(batch);
        return true;
    }
    import->kind->seal(import, batch);
    if (post(import, batch, st))
        return true;
    batch_reset(batch);
    return false;
}

static bool any_in_flight(const struct import *import)
{
    for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++) {
        if (import->batches[i].request_id != 0)
            return true;
    }
    return false;
}

bool import_finish(struct import *import, bool ok, struct status *st)
{
    while (ok && any_in_flight(import))
        ok = take_answer(import, true, st);
    bool reachable = ok || strcmp(st->reason, "NO_ANSWER") != 0;
    while (reachable && any_in_flight(import)) {
        struct status late = STATUS_INIT;
        if (!take_answer(import, false, &late) && strcmp(late.reason, "NO_ANSWER") == 0)
            break;
    }
    for (size_t i = 0; i < IMPORT_IN_FLIGHT; i++)
        batch_reset(&import->batches[i]);
    ctl_progress_clear(&import->progress);
    return ok;
}

/* Put the current row into `*batch`, sending it first where the row does not fit any more. */
static bool append_row(struct import *import, const struct atomic_file *file, struct batch **batch, struct status *st)
{
    struct status row_st = STATUS_INIT;
    char place[4352];
    if (*batch == NULL && (*batch = import_acquire(import, st)) == NULL)
        return false;
    enum import_append outcome = import->kind->append(import, *batch, &row_st);
    if (outcome == IMPORT_BATCH_FULL && (*batch)->row_count > 0) {
        if (!import_send(import, *batch, st) || (*batch = import_acquire(import, st)) == NULL)
            return false;
        outcome = import->kind->append(import, *batch, &row_st);
    }
    switch (outcome) {
    case IMPORT_APPENDED:
        return true;
    case IMPORT_FAILED:
        *st = row_st;
        return false;
    case IMPORT_BATCH_FULL:
        status_fail(&row_st, STATUS_INVALID_ARGUMENT, "TOO_LARGE", "row is too long");
        break;
    case IMPORT_ROW_BAD:
        break;
    }
    snprintf(place, sizeof place, "%s:%" PRIu64, file->path, file->line_number);
    return import_bad_row(import, place, row_st.message, st);
}

/* The reader names file and line in its own way: say it in ours, which editors understand. */
static bool bad_line(struct import *import, const struct atomic_file *file, const struct status *row_st,
                     struct status *st)
{
    char place[4352], prefix[4352];
    snprintf(place, sizeof place, "%s:%" PRIu64, file->path, file->line_number);
    snprintf(prefix, sizeof prefix, "'%s' line %" PRIu64 ": ", file->path, file->line_number);
    size_t length = strlen(prefix);
    bool prefixed = strncmp(row_st->message, prefix, length) == 0;
    return import_bad_row(import, place, row_st->message + (prefixed ? length : 0), st);
}

bool import_rows(struct import *import, struct atomic_file *file, struct status *st)
{
    struct batch *batch = NULL;
    struct status row_st = STATUS_INIT;
    bool ok = true;
    while (ok && !import_interrupted()) {
        enum atomic_row row = atomic_file_next(file, &row_st);
        if (row == ATOMIC_END)
            break;
        if (row == ATOMIC_FAILED) {
            *st = row_st;
            ok = false;
        } else if (row == ATOMIC_BAD_ROW) {
            ok = bad_line(import, file, &row_st, st);
        } else {
            ok = append_row(import, file, &batch, st);
        }
        if (ok && batch != NULL && batch_full(batch)) {
            ok = import_send(import, batch, st);
            batch = NULL;
        }
        ctl_progress_update(&import->progress, file->read_bytes, import->tally->rows + import->tally->bad);
    }
    if (ok && batch != NULL)
        ok = import_send(import, batch, st);
    return import_finish(import, ok, st);
}
