/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request_log.h"

#include "daemon/experiments.h"
#include "daemon/list_answer.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES  128
#define BODY_MOST   ((size_t)64 << 10)
#define FORGET_ROWS 4 /* old ones that go with each new one: twice as fast as they can have come */

struct request_record {
    struct write_task task;
    const struct config *config;
    const struct background *background;
    unsigned merges;              /* of users, when the list was made: an erasure since then stays one */
    struct store_request request; /* its texts and arrays point into the record */
    char user[STORE_USER_NAME_BYTES];
    char recomm_id[64], method[32], scenario[TEXT_BYTES], experiment[TEXT_BYTES], variant[TEXT_BYTES],
        model[TEXT_BYTES], shadow[TEXT_BYTES];
    _Alignas(uint32_t) uint8_t data[]; /* items, teams, body */
};

/* ---- what is asked */

static const ProtobufCMessageDescriptor *type_of(const char *method)
{
    static const struct {
        const char *method;
        const ProtobufCMessageDescriptor *type;
    } types[] = {{"recommend", &recsys__recommend_request__descriptor},
                 {"rank", &recsys__rank_request__descriptor},
                 {"similar", &recsys__similar_request__descriptor},
                 {"complement", &recsys__complement_request__descriptor},
                 {"top", &recsys__top_request__descriptor}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].method, method) == 0)
            return types[i].type;
    return NULL;
}

/* where a request for a list has its user */
static char **user_of(ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "user");
    return field == NULL ? NULL : (char **)((uint8_t *)message + field->offset);
}

static char no_user[] = "";

/* bytes of the message, and into `out` where it is not NULL, without the user's name */
static size_t pack(const ProtobufCMessage *request, bool keep_user, uint8_t *out)
{
    char **user = user_of((ProtobufCMessage *)request), *name = *user;
    if (!keep_user)
        *user = no_user;
    size_t size = out == NULL ? protobuf_c_message_get_packed_size(request) : protobuf_c_message_pack(request, out);
    *user = name;
    return size;
}

ProtobufCMessage *request_log_message(const struct store_request *request, const char *user)
{
    const ProtobufCMessageDescriptor *type = type_of(request->method);
    ProtobufCMessage *message =
        type == NULL ? NULL : protobuf_c_message_unpack(type, NULL, request->body_bytes, request->body);
    char *name = message == NULL ? NULL : strdup(user);
    if (name == NULL) {
        if (message != NULL)
            protobuf_c_message_free_unpacked(message, NULL);
        return NULL;
    }
    char **slot = user_of(message);
    if (*slot != NULL && *slot != protobuf_c_empty_string)
        free(*slot);
    *slot = name;
    return message;
}

double request_log_overlap(const uint32_t *first, size_t count, const uint32_t *second, size_t second_count)
{
    size_t both = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < second_count; k++)
            if (first[i] == second[k]) {
                both++;
                break;
            }
    return count == 0 ? 1 : (double)both / (double)count;
}

/* ---- recording */

/* Is there a shadow, and was this list drawn for it? */
static bool is_shadowed(const struct list_fields *f, const Recsys__RankedList *list)
{
    const struct experiment *experiment = f->trial.experiment;
    return experiment != NULL && experiment->kind == EXPERIMENT_SHADOW &&
           experiment_assign(experiment, list->recomm_id) != NULL;
}

static bool is_wanted(const struct config *config, const struct list_fields *f, const Recsys__RankedList *list)
{
    if (f->as_of[0] != '\0' || f->n_without > 0 || f->trace != NULL) /* somebody looks into what was or might be */
        return false;
    return strcmp(config->requests_log, "all") == 0 ||
           (strcmp(config->requests_log, "off") != 0 && (f->trial.variant != NULL || is_shadowed(f, list)));
}

static void copy_items(const struct list_fields *f, const struct engine_answer *answer, const Recsys__RankedList *list,
                       uint32_t *ids)
{
    const struct engine_answer *answers[] = {answer, f->trial.second};
    for (size_t i = 0; f->trial.second == NULL && i < list->n_items; i++) /* the reply is the answer, in its order */
        ids[i] = answer->items[i].item->item.item_id;
    for (size_t i = 0; f->trial.second != NULL && i < list->n_items; i++)
        for (int a = 0; a < 2 && ids[i] == 0; a++)
            for (size_t k = 0; k < answers[a]->count && ids[i] == 0; k++)
                if (strcmp(answers[a]->items[k].item->item.name, list->items[i]->item) == 0)
                    ids[i] = answers[a]->items[k].item->item.item_id;
}

static void copy_texts(struct request_record *record, const char *method, const struct list_fields *f,
                       const struct engine_answer *answer, const Recsys__RankedList *list)
{
    const struct experiment *experiment = f->trial.experiment;
    snprintf(record->user, sizeof record->user, "%s", f->user);
    snprintf(record->recomm_id, sizeof record->recomm_id, "%s", list->recomm_id);
    snprintf(record->method, sizeof record->method, "%s", method);
    snprintf(record->scenario, sizeof record->scenario, "%s", f->scenario);
    snprintf(record->model, sizeof record->model, "%s", answer->model);
    snprintf(record->experiment, sizeof record->experiment, "%s", list->experiment);
    snprintf(record->variant, sizeof record->variant, "%s", list->variant);
    if (is_shadowed(f, list)) {
        snprintf(record->experiment, sizeof record->experiment, "%s", experiment->name);
        snprintf(record->variant, sizeof record->variant, "%s", experiment->variants[0].name);
        snprintf(record->shadow, sizeof record->shadow, "%s", experiment->variants[0].model);
    }
}

struct request_record *request_log_record(struct handler *handler, const char *method, const ProtobufCMessage *request,
                                          const struct list_fields *f, const struct engine_answer *answer,
                                          const Recsys__RankedList *list)
{
    const struct config *config = &handler->server->config;
    if (!is_wanted(config, f, list))
        return NULL;
    size_t ids_bytes = list->n_items * sizeof(uint32_t), team_bytes = f->trial.teams == NULL ? 0 : list->n_items;
    size_t body_bytes = pack(request, config->requests_user_names, NULL);
    if (body_bytes > BODY_MOST) { /* nobody's disk is to be filled with what a client likes to send */
        metrics_add(METRICS_COUNTER_requests_unlogged, 1);
        return NULL;
    }
    struct request_record *record = calloc(1, sizeof *record + ids_bytes + team_bytes + body_bytes);
    if (record == NULL)
        return NULL;
    uint8_t *teams = record->data + ids_bytes, *body = teams + team_bytes;
    copy_items(f, answer, list, (uint32_t *)(void *)record->data);
    if (team_bytes > 0)
        memcpy(teams, f->trial.teams, team_bytes);
    pack(request, config->requests_user_names, body);
    copy_texts(record, method, f, answer, list);
    record->config = config;
    record->background = &handler->server->background;
    record->merges = record->background->merges;
    record->request = (struct store_request){.at_ms = timestamp_now_ms(),
                                             .recomm_id = record->recomm_id,
                                             .method = record->method,
                                             .scenario = record->scenario,
                                             .experiment = record->experiment,
                                             .variant = record->variant,
                                             .model = record->model,
                                             .counts = strtoll(answer->counts, NULL, 10),
                                             .catalogue = strtoll(answer->catalogue, NULL, 10),
                                             .position = strtoll(answer->seq, NULL, 10),
                                             .now_ms = answer->now_ms,
                                             .overlap = -1,
                                             .body = body,
                                             .body_bytes = body_bytes,
                                             .items = (const uint32_t *)(const void *)record->data,
                                             .teams = team_bytes > 0 ? teams : NULL,
                                             .item_count = list->n_items};
    return record;
}

/* ---- storing */

static bool write_record(struct writer *writer, struct write_task *task, struct status *st)
{
    struct request_record *record = task->context;
    bool created;
    task->changed = true;
    /* who is in an experiment is remembered from the first list on: the purchase may come before anything else */
    bool create = record->experiment[0] != '\0' && record->merges == record->background->merges;
    if (record->user[0] != '\0' &&
        !store_user_find(writer->store, record->user, create, &record->request.user_id, &created, st))
        return false;
    if (record->user[0] != '\0' && record->request.user_id == 0)
        return true; /* nobody that the shop knows: a list that anybody would get, under a name that could not be erased */
    return store_request_add(writer->store, &record->request, st) &&
           store_request_forget(writer->store, record->request.at_ms - record->config->requests_keep_ms, FORGET_ROWS,
                                st);
}

static void record_done(struct writer *writer, struct write_task *task, const struct status *st)
{
    (void)writer;
    if (st->code != STATUS_OK)
        metrics_add(METRICS_COUNTER_requests_unlogged, 1);
    free(task->context);
}

/* the list that the shadow would have given, at the same point of the log */
static void ask_shadow(struct handler *handler, struct request_record *record)
{
    ProtobufCMessage *message = request_log_message(&record->request, record->user);
    struct list_fields fields;
    struct engine_answer answer;
    enum engine_task task;
    Recsys__RankedList reply;
    struct status st = STATUS_INIT;
    char now[24], position[24], counts[24];
    if (message == NULL || !list_fields_read(message, &fields, &task))
        return;
    snprintf(now, sizeof now, "%" PRId64, record->request.now_ms);
    snprintf(position, sizeof position, "%" PRId64, record->request.position);
    snprintf(counts, sizeof counts, "%" PRId64, record->request.counts);
    fields.now = now;
    fields.at_seq = position;
    fields.min_seq = "";
    fields.model = record->shadow;
    fields.experiment = "";
    fields.explain = "none";
    if (list_answer(handler, &fields, task, NULL, 0, &answer, &reply, &st)) {
        uint32_t *ids = handler_alloc(handler, (answer.count + 1) * sizeof *ids);
        for (size_t i = 0; ids != NULL && i < answer.count; i++)
            ids[i] = answer.items[i].item->item.item_id;
        if (ids != NULL && strcmp(answer.counts, counts) == 0) /* else the counts are part of the difference */
            record->request.overlap =
                request_log_overlap(record->request.items, record->request.item_count, ids, answer.count);
        list_answer_close(&fields, &answer);
    } else {
        log_debug("shadow_failed", "%s", st.message);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

void request_log_finish(struct handler *handler, struct request_record *record)
{
    struct status st = STATUS_INIT;
    if (record == NULL)
        return;
    if (record->shadow[0] != '\0')
        ask_shadow(handler, record);
    record->task = (struct write_task){.write = write_record,
                                       .done = record_done,
                                       .context = record,
                                       .rows = 1,
                                       .size_bytes = sizeof *record + record->request.body_bytes};
    if (writer_submit(&handler->server->writer, &record->task, &st))
        return;
    metrics_add(METRICS_COUNTER_requests_unlogged, 1);
    free(record);
}
