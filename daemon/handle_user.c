/* SPDX-License-Identifier: Apache-2.0
 *
 * user.merge: a session becomes the user who logged in. */
#include "daemon/ingest.h"
#include "daemon/routes.h"

#include <stdio.h>
#include <string.h>

struct merge {
    const Recsys__UserMergeRequest *request;
    struct server *server;
    int64_t moved, duplicates;
    bool known, held;
};

static bool write_merge(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct merge *merge = ingest->rows;
    struct status refusal = STATUS_INIT;
    bool renamed;
    int64_t from_id, into_id;
    if (!store_user_find(writer->store, merge->request->from, false, &from_id, NULL, st) ||
        !store_user_find(writer->store, merge->request->into, false, &into_id, NULL, st))
        return false;
    if (from_id == 0)
        return true;
    if (into_id != 0) {
        background_hold_counts(&merge->server->background); /* sequences change under it */
        merge->held = true;
    }
    merge->known = store_user_merge(writer->store, merge->request->from, merge->request->into, &merge->moved,
                                    &merge->duplicates, &renamed, &ingest->position, &refusal);
    if (!merge->known && strcmp(refusal.reason, "UNKNOWN_USER") != 0) {
        *st = refusal;
        return false;
    }
    if (ingest->position > writer->position)
        writer->position = ingest->position;
    task->changed = merge->known;
    return true;
}

/* memory forgets both before anybody is told */
static void merge_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    struct merge *merge = ingest->rows;
    Recsys__UserMergeReply reply = RECSYS__USER_MERGE_REPLY__INIT;
    char seq[24];
    histories_drop(writer->engine->histories, merge->request->from);
    histories_drop(writer->engine->histories, merge->request->into);
    if (merge->moved + merge->duplicates > 0 && st->code == STATUS_OK)
        engine_note_merge(writer->engine, ingest->position);
    if (merge->held)
        background_release_counts(&merge->server->background, merge->moved + merge->duplicates > 0);
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    int64_t position = ingest->position > 0 ? ingest->position : writer->engine->committed;
    snprintf(seq, sizeof seq, "%lld", (long long)position);
    reply.seq = seq;
    reply.known = merge->known;
    reply.moved = merge->moved;
    reply.duplicates = merge->duplicates;
    job_reply(ingest->job, &reply.base);
}

bool handle_user_merge(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__UserMergeRequest *r = (const Recsys__UserMergeRequest *)job->request;
    const struct config *config = &handler->server->config;
    if (!check_id(config, r->from, "from", st) || !check_id(config, r->into, "into", st))
        return false;
    if (strcmp(r->from, r->into) == 0)
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "into", "'from' and 'into' are the same");
    struct ingest *ingest = ingest_new(handler, job, 1, sizeof(struct merge), st);
    if (ingest == NULL)
        return false;
    *(struct merge *)ingest->rows = (struct merge){.request = r, .server = handler->server};
    return ingest_submit(handler, ingest, write_merge, merge_done, st);
}
