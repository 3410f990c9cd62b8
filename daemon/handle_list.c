/* SPDX-License-Identifier: Apache-2.0
 *
 * recommend, rank, similar, complement, top; and several of them at once, and their next pages. */
#include "daemon/list_answer.h"
#include "daemon/request_log.h"
#include "daemon/routes.h"
#include "daemon/served.h"
#include "daemon/timestamp.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_MOST 64 /* lists in one call */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the reply does not fit into memory");
}

static bool handle_list(struct handler *handler, struct job *job, struct status *st)
{
    struct list_fields fields;
    struct engine_answer answer;
    enum engine_task task;
    Recsys__RankedList reply;
    unsigned epoch = served_epoch(&handler->server->served);
    list_fields_read(job->request, &fields, &task);
    if (!list_answer(handler, &fields, task, NULL, 0, &answer, &reply, st))
        return false;
    served_add(&handler->server->served, epoch, job->request, &reply, NULL, 0);
    struct request_record *record =
        request_log_record(handler, job->route->method, job->request, &fields, &answer, &reply);
    job_reply(job, &reply.base);
    list_answer_close(&fields, &answer);
    request_log_finish(handler, record);
    return true;
}

bool handle_recommend(struct handler *handler, struct job *job, struct status *st)
{
    return handle_list(handler, job, st);
}

bool handle_rank(struct handler *handler, struct job *job, struct status *st)
{
    return handle_list(handler, job, st);
}

bool handle_similar(struct handler *handler, struct job *job, struct status *st)
{
    return handle_list(handler, job, st);
}

bool handle_complement(struct handler *handler, struct job *job, struct status *st)
{
    return handle_list(handler, job, st);
}

bool handle_top(struct handler *handler, struct job *job, struct status *st)
{
    return handle_list(handler, job, st);
}

/* ---- next */

bool handle_next(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__NextRequest *r = (const Recsys__NextRequest *)job->request;
    struct served_list before;
    struct list_fields fields;
    struct engine_answer answer;
    enum engine_task task;
    Recsys__RankedList reply;
    if (r->recomm_id[0] == '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "MISSING", "recomm_id", "'recomm_id' is missing");
    if (!served_find(&handler->server->served, r->recomm_id, &before, st))
        return false;
    unsigned epoch = served_epoch(&handler->server->served);
    list_fields_read(before.request, &fields, &task);
    if (r->_n_case != 0)
        fields.n = (struct list_number){true, r->n};
    bool ok = list_answer(handler, &fields, task, (const char *const *)before.items, before.count, &answer, &reply, st);
    if (ok) {
        served_add(&handler->server->served, epoch, before.request, &reply, (const char *const *)before.items,
                   before.count);
        struct request_record *record = request_log_record(handler, "next", before.request, &fields, &answer, &reply);
        job_reply(job, &reply.base);
        list_answer_close(&fields, &answer);
        request_log_finish(handler, record);
    }
    served_close(&before);
    return ok;
}

/* ---- batch */

struct batch {
    Recsys__RankedList list[BATCH_MOST], *lists[BATCH_MOST];
    struct engine_answer answer[BATCH_MOST];
    struct list_fields fields[BATCH_MOST];
    struct request_record *record[BATCH_MOST];
    const char **taken; /* items of the lists before */
    size_t taken_count, count;
};

/* the field of a failure is within one of the requests */
static bool name_request(size_t index, struct status *st)
{
    struct status inner = *st;
    struct field_name field = field_at("requests", index, inner.field);
    return status_fail_field(st, inner.code, inner.reason, field.text, "%s", inner.message);
}

static bool add_list(struct handler *handler, struct job *job, const Recsys__BatchRequest *r, struct batch *batch,
                     struct status *st)
{
    size_t i = batch->count;
    if (i > 0 && timestamp_monotonic_us() > job->deadline_us) /* who asked has gone */
        return status_fail(st, STATUS_DEADLINE_EXCEEDED, "TIMEOUT", "only %zu of %zu lists were ready in time", i,
                           r->n_requests);
    enum engine_task task;
    if (strcmp(r->requests[i]->as_of, r->requests[0]->as_of) != 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", field_at("requests", i, "as_of").text,
                                 "the lists of a batch are of one time: 'as_of' differs");
    unsigned epoch = served_epoch(&handler->server->served);
    list_fields_read(&r->requests[i]->base, &batch->fields[i], &task);
    if (!list_answer(handler, &batch->fields[i], task, batch->taken, batch->taken_count, &batch->answer[i],
                     &batch->list[i], st))
        return name_request(i, st);
    batch->lists[i] = &batch->list[i];
    batch->count++;
    served_add(&handler->server->served, epoch, &r->requests[i]->base, &batch->list[i], batch->taken,
               batch->taken_count);
    /* a list that leaves out what is on another one cannot be asked for again by itself */
    batch->record[i] = request_log_record(handler, r->distinct && i > 0 ? "batch" : "recommend", &r->requests[i]->base,
                                          &batch->fields[i], &batch->answer[i], &batch->list[i]);
    if (!r->distinct)
        return true;
    const char **taken = handler_alloc(handler, (batch->taken_count + batch->list[i].n_items + 1) * sizeof *taken);
    if (taken == NULL)
        return out_of_memory(st);
    if (batch->taken_count > 0)
        memcpy(taken, batch->taken, batch->taken_count * sizeof *taken);
    for (size_t k = 0; k < batch->list[i].n_items; k++)
        taken[batch->taken_count++] = batch->list[i].items[k]->item;
    batch->taken = taken;
    return true;
}

bool handle_batch(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__BatchRequest *r = (const Recsys__BatchRequest *)job->request;
    Recsys__BatchReply reply = RECSYS__BATCH_REPLY__INIT;
    struct batch *batch = handler_alloc(handler, sizeof *batch);
    bool ok = batch != NULL || out_of_memory(st);
    if (r->n_requests < 1 || r->n_requests > BATCH_MOST)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "OUT_OF_RANGE", "requests",
                                 "'requests' has %zu members, 1 to %d are allowed", r->n_requests, BATCH_MOST);
    if (ok)
        *batch = (struct batch){.count = 0};
    for (size_t i = 0; ok && i < r->n_requests; i++)
        ok = add_list(handler, job, r, batch, st);
    if (ok) {
        reply.lists = batch->lists;
        reply.n_lists = batch->count;
        job_reply(job, &reply.base);
    }
    for (size_t i = 0; batch != NULL && i < batch->count; i++)
        list_answer_close(&batch->fields[i], &batch->answer[i]);
    for (size_t i = 0; batch != NULL && i < batch->count; i++) {
        if (ok)
            request_log_finish(handler, batch->record[i]);
        else
            free(batch->record[i]);
    }
    return ok;
}
