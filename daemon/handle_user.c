/* SPDX-License-Identifier: Apache-2.0
 *
 * user.merge: a session becomes the user who logged in; user.erase: a user becomes nobody. */
#include "daemon/ingest.h"
#include "daemon/log.h"
#include "daemon/routes.h"
#include "models/default_model.h"

#include <stdio.h>
#include <string.h>

#define SEQ_TEXT 24

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

/* the position that a reply tells: its own, or where nothing was written the log's */
static char *write_seq(char seq[SEQ_TEXT], const struct writer *writer, const struct ingest *ingest)
{
    int64_t position = ingest->position > 0 ? ingest->position : writer->engine->committed;
    snprintf(seq, SEQ_TEXT, "%lld", (long long)position);
    return seq;
}

/* memory forgets both before anybody is told */
static void merge_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    struct merge *merge = ingest->rows;
    Recsys__UserMergeReply reply = RECSYS__USER_MERGE_REPLY__INIT;
    char seq[SEQ_TEXT];
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
    reply.seq = write_seq(seq, writer, ingest);
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

/* ---- user.erase */

#define MODELS_NAMED 64 /* in a receipt */

struct erasure {
    const Recsys__UserEraseRequest *request;
    struct server *server;
    struct arena *arena; /* of the job */
    struct store_erasure erased;
    char *models[MODELS_NAMED];
    size_t model_count;
    bool known, held;
};

static bool write_erasure(struct writer *writer, struct write_task *task, struct status *st)
{
    struct ingest *ingest = task->context;
    struct erasure *erasure = ingest->rows;
    int64_t user_id;
    if (!store_user_find(writer->store, erasure->request->user, false, &user_id, NULL, st))
        return false;
    if (user_id == 0)
        return true;
    background_hold_counts(&erasure->server->background);
    erasure->held = task->changed = true;
    erasure->known = store_user_erase(writer->store, erasure->request->user, &erasure->erased, &ingest->position, st);
    if (ingest->position > writer->position)
        writer->position = ingest->position;
    return erasure->known;
}

static void erasure_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    struct ingest *ingest = task->context;
    struct erasure *erasure = ingest->rows;
    Recsys__UserEraseReply reply = RECSYS__USER_ERASE_REPLY__INIT;
    struct status checkpoint = STATUS_INIT;
    char seq[SEQ_TEXT];
    histories_drop(writer->engine->histories, erasure->request->user);
    served_clear(&erasure->server->served); /* requests of this user among them */
    if (erasure->known && st->code == STATUS_OK)
        engine_note_merge(writer->engine, ingest->position);
    /* the log of writes has the rows, too; where somebody reads, it is emptied as soon as nobody does */
    writer->truncate = writer->truncate || erasure->known;
    if (erasure->known && !store_checkpoint(writer->store, true, &checkpoint))
        log_warn("erasure_not_checkpointed", "what was erased stays in the write-ahead log for a while: %s",
                 checkpoint.message);
    if (erasure->held)
        background_release_counts(&erasure->server->background, erasure->known);
    if (st->code != STATUS_OK) {
        job_fail(ingest->job, st);
        return;
    }
    reply.seq = write_seq(seq, writer, ingest);
    reply.known = erasure->known;
    reply.events = erasure->erased.events;
    reply.impressions = erasure->erased.impressions;
    reply.requests = erasure->erased.requests;
    reply.models = erasure->models;
    reply.n_models = erasure->known ? erasure->model_count : 0;
    job_reply(ingest->job, &reply.base);
}

/* a default model is fitted to items alone; every other one was trained on somebody's events */
static bool note_model(void *context, const struct store_model_entry *entry)
{
    struct erasure *erasure = context;
    size_t size = strlen(entry->model.version) + 1;
    if (strcmp(entry->model.name, DEFAULT_MODEL_NAME) == 0)
        return true;
    char *version = erasure->model_count < MODELS_NAMED ? arena_alloc(erasure->arena, size) : NULL;
    if (version == NULL)
        return false;
    memcpy(version, entry->model.version, size);
    erasure->models[erasure->model_count++] = version;
    return true;
}

bool handle_user_erase(struct handler *handler, struct job *job, struct status *st)
{
    const Recsys__UserEraseRequest *r = (const Recsys__UserEraseRequest *)job->request;
    if (!check_id(&handler->server->config, r->user, "user", st))
        return false;
    struct ingest *ingest = ingest_new(handler, job, 1, sizeof(struct erasure), st);
    if (ingest == NULL)
        return false;
    struct erasure *erasure = ingest->rows;
    *erasure = (struct erasure){.request = r, .server = handler->server, .arena = &job->arena};
    if (!store_model_list(handler->worker.reader, note_model, erasure, st))
        return false;
    return ingest_submit(handler, ingest, write_erasure, erasure_done, st);
}
