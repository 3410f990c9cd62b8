/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_run.h"

#include "daemon/timestamp.h"
#include "daemon/train_checkpoint.h"
#include "daemon/train_scorer.h"
#include "models/head_trainer.h"
#include "models/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct train_runner {
    struct train_request request;
    struct train_data data;
    struct evaluation_data view;
    struct holdout holdout;
    int behaviour_of[256];
    struct training_set set;
    struct train_vectors vectors;
    struct team *team;
    struct model *model;
    struct train_log log;
    json_t *report; /* model->training */
};

/* ---- stages */

/* items of the history compete where people come back to them */
static bool mask_seen(const struct train_runner *f)
{
    if (f->request.options.mask_seen >= 0)
        return f->request.options.mask_seen > 0;
    size_t again = 0, count = f->holdout.validation_count;
    for (size_t i = 0; i < count; i++) {
        const struct evaluation_event *events = f->view.events + f->view.user_start[f->holdout.validation[i].user];
        uint32_t at = f->holdout.validation[i].at;
        size_t j = 0;
        while (j < at && events[j].item != events[at].item)
            j++;
        again += j < at;
    }
    return again * 100 <= count; /* one in a hundred is noise */
}

static struct trainer_options trainer_options_of(const struct train_runner *f)
{
    const struct train_options *o = &f->request.options;
    return (struct trainer_options){.seed = f->request.seed,
                                    .epochs = (int)o->epochs,
                                    .patience = (int)o->patience,
                                    .batch_users = (int)o->batch_users,
                                    .learning_rate = (float)o->learning_rate,
                                    .weight_decay = (float)o->weight_decay,
                                    .clip = (float)o->clip,
                                    .warmup_steps = (int)o->warmup_steps,
                                    .dropout = (float)o->dropout,
                                    .attention_dropout = (float)o->attention_dropout,
                                    .id_dropout = (float)o->id_dropout,
                                    .modality_dropout = (float)o->modality_dropout,
                                    .feature_noise = (float)o->feature_noise,
                                    .label_smoothing = (float)o->label_smoothing,
                                    .prior = f->request.without.prior ? 0 : (float)o->prior,
                                    .average = (float)o->average,
                                    .loss = (enum trainer_loss)(int)o->loss,
                                    .ahead = (int)o->ahead,
                                    .negatives = (int)o->negatives,
                                    .gbce_t = (float)o->gbce_t,
                                    .mask_seen = mask_seen(f),
                                    .random_window = o->random_window > 0};
}

static bool note_epoch(struct train_runner *f, int stage, const struct trainer_epoch *e, struct status *st)
{
    struct train_epoch epoch = {.stage = stage,
                                .epoch = e->epoch,
                                .epochs_most = (int)f->request.options.epochs,
                                .loss = e->loss,
                                .ndcg = f->holdout.validation_count > 0 ? e->ndcg : NAN,
                                .hit_rate = f->holdout.validation_count > 0 ? e->hit_rate : NAN,
                                .validation_loss = NAN,
                                .learning_rate = e->learning_rate,
                                .gradient_norm = e->gradient_norm,
                                .seconds = e->seconds,
                                .events_per_second = (double)e->events / fmax(e->seconds, 1e-9),
                                .best_epoch = e->best_epoch,
                                .patience = (int)f->request.options.patience};
    return train_log_epoch(&f->log, &epoch, st);
}

/* encoder and sequence part, from a checkpoint if there is one */
static bool run_stage_one(struct train_runner *f, int stage, struct status *st)
{
    struct trainer_options options = trainer_options_of(f);
    struct trainer *trainer = trainer_new(f->model, &f->set, !f->request.without.id, &options, f->team, st);
    struct train_checkpoint checkpoint;
    struct trainer_epoch epoch = {0};
    if (trainer == NULL)
        return false;
    train_checkpoint_init(&checkpoint, f->request.out, stage, f->report);
    bool ok = f->request.fresh || train_checkpoint_restore(&checkpoint, trainer, st);
    trainer_progress(trainer, &epoch);
    train_log_stage(&f->log, stage, epoch.epoch, options.epochs);
    while (ok && !trainer_is_done(trainer))
        ok = trainer_run_epoch(trainer, &epoch, st) && note_epoch(f, stage, &epoch, st) &&
             train_checkpoint_write(&checkpoint, trainer, trainer_is_done(trainer), st);
    if (ok) {
        trainer_finish(trainer);
        json_object_set_new(f->report, stage == TRAIN_STAGE_AGAIN ? "stage_one_again" : "stage_one",
                            json_pack("{s:i, s:i, s:f, s:b}", "epochs", epoch.epoch, "best_epoch", epoch.best_epoch,
                                      "validation_ndcg@10", epoch.best_ndcg, "mask_seen", options.mask_seen));
    }
    train_checkpoint_close(&checkpoint);
    trainer_free(trainer);
    return ok;
}

static bool same_items(const struct model *a, const struct model *b)
{
    const char *left = a->item_names, *right = b->item_names;
    if (a->item_count != b->item_count)
        return false;
    for (size_t i = 0; i < a->item_count; i++, left += strlen(left) + 1, right += strlen(right) + 1)
        if (strcmp(left, right) != 0)
            return false;
    return true;
}

/* encoder and sequence part of another model of the same architecture, trained on the same part of the log */
static bool take_stage_one(struct train_runner *f, struct status *st)
{
    struct model *other = train_scorer_read_model(f->request.stage_one, st);
    if (other == NULL)
        return false;
    const char *cut = json_string_value(json_object_get(other->training, "holdout"));
    bool ok = cut != NULL && strcmp(cut, holdout_name(f->request.holdout)) == 0 && same_items(f->model, other);
    for (size_t i = 0; ok && i < f->model->params.count; i++) {
        const struct param *p = &f->model->params.list[i];
        if ((p->group != PARAM_ENCODER && p->group != PARAM_SEQUENCE) || p->frozen)
            continue;
        size_t j = 0;
        while (j < other->params.count && strcmp(other->params.list[j].name, p->name) != 0)
            j++;
        ok = j < other->params.count && other->params.list[j].count == p->count;
        if (ok)
            memcpy(*p->slot, *other->params.list[j].slot, p->count * sizeof(float));
    }
    if (ok)
        json_object_set(f->report, "stage_one", json_object_get(other->training, "stage_one"));
    model_release(other);
    return ok ||
           status_fail(st, STATUS_FAILED_PRECONDITION, "OTHER_MODEL",
                       "'%s' has another encoder or sequence part, or learned from other events, than is asked for",
                       f->request.stage_one);
}

struct head_progress {
    struct train_runner *runner;
    double loss, validation_loss; /* of the best epoch, where some queries are put aside */
    int epochs;
    struct status *st;
    bool failed;
};

static void note_head(void *context, const struct head_epoch *e)
{
    struct head_progress *p = context;
    const struct weights *w = &p->runner->model->weights;
    struct train_scalar scalars[] = {{"head.sequence", w->sequence_scale == NULL ? 0 : (double)*w->sequence_scale},
                                     {"head.cooccurrence", (double)*w->cooccurrence},
                                     {"head.popularity", (double)*w->popularity}};
    struct train_epoch epoch = {.stage = TRAIN_STAGE_HEAD,
                                .epoch = e->epoch,
                                .epochs_most = (int)p->runner->request.options.head_epochs,
                                .loss = e->loss,
                                .ndcg = NAN,
                                .hit_rate = NAN,
                                .validation_loss = e->validation_loss,
                                .learning_rate = e->learning_rate,
                                .gradient_norm = e->gradient_norm,
                                .seconds = e->seconds,
                                .events_per_second = (double)e->queries / fmax(e->seconds, 1e-9),
                                .scalars = scalars,
                                .scalar_count = sizeof scalars / sizeof *scalars};
    if (p->epochs == 0 || !(e->validation_loss >= p->validation_loss)) {
        p->loss = e->loss;
        p->validation_loss = e->validation_loss;
    }
    p->epochs = e->epoch;
    p->failed = p->failed || !train_log_epoch(&p->runner->log, &epoch, p->st);
}

static bool run_stage_two(struct train_runner *f, struct train_scorer *scorer, struct status *st)
{
    const struct train_options *o = &f->request.options;
    struct head_trainer_options options = {.seed = f->request.seed,
                                           .epochs = (int)o->head_epochs,
                                           .learning_rate = (float)o->head_learning_rate,
                                           .decay = (float)o->head_decay,
                                           .queries = (size_t)o->head_queries,
                                           .candidates = (size_t)o->head_candidates,
                                           .mask_seen = mask_seen(f)};
    struct head_trainer_data data = {&f->view,
                                     f->holdout.validation,
                                     f->holdout.validation_count,
                                     f->behaviour_of,
                                     {&scorer->rows, scorer->counts, f->view.item_count, scorer->item_ids}};
    struct head_progress log = {.runner = f, .st = st};
    train_log_stage(&f->log, TRAIN_STAGE_HEAD, 0, options.epochs);
    struct head_balance balance = {0};
    if (!head_trainer_run(f->model, &data, &options, f->team, note_head, &log, o->head_balance > 0 ? &balance : NULL,
                          st) ||
        log.failed)
        return false;
    json_object_set_new(f->report, "stage_two", json_pack("{s:i, s:f}", "epochs", log.epochs, "loss", log.loss));
    if (o->head_balance > 0)
        json_object_set_new(json_object_get(f->report, "stage_two"), "balance",
                            json_pack("{s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "fitted", (int)balance.fitted,
                                      "sequence", (double)balance.sequence, "cooccurrence",
                                      (double)balance.cooccurrence, "prior", (double)balance.prior, "same",
                                      (double)balance.same, "cross", (double)balance.cross, "ndcg@10", balance.ndcg,
                                      "ndcg@10_before", balance.ndcg_before));
    return true;
}

/* how the whole model does on the events that its head was fitted to */
static bool measure(struct train_runner *f, struct train_scorer *scorer, struct status *st)
{
    struct evaluation_result result;
    if (!evaluation_run(&f->view, f->holdout.validation, f->holdout.validation_count, mask_seen(f), f->request.threads,
                        train_scorer_score, scorer, &result))
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to evaluate");
    double ndcg = evaluation_ndcg(&result, 10), hits = evaluation_hit_rate(&result, 10);
    json_object_set_new(f->report, "metrics",
                        json_pack("{s:{s:f, s:f}}", "validation", "ndcg@10", ndcg, "hr@10", hits));
    if (!f->request.quiet) {
        train_log_clear(&f->log);
        fprintf(stderr, "recsys-train: total score on the validation events: NDCG@10 %.4f, HR@10 %.4f\n", ndcg, hits);
    }
    evaluation_result_close(&result);
    return true;
}

static bool train_head(struct train_runner *f, struct status *st)
{
    struct train_scorer scorer = {0};
    struct counts_view *counts = holdout_counts(&f->holdout, &f->view);
    bool ok = counts != NULL || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for counts");
    ok = ok && train_scorer_init(&scorer, f->model, &f->data, counts, f->request.threads, st) &&
         run_stage_two(f, &scorer, st) && measure(f, &scorer, st);
    train_scorer_close(&scorer);
    counts_view_release(counts);
    return ok;
}

/* ---- the whole */

static bool prepare(struct train_runner *f, struct status *st)
{
    struct architecture architecture;
    const char **names = NULL;
    if (!train_data_load(&f->data, f->request.config_file, f->request.data_dir, st))
        return false;
    f->view = train_data_view(&f->data);
    names = train_data_item_names(&f->data);
    bool ok = names != NULL || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for names");
    ok = ok && holdout_cut(&f->holdout, &f->view, f->request.holdout, f->request.cold_share, names, st) &&
         train_model_describe(&architecture, &f->vectors, &f->data, &f->request.options, &f->request.without, st);
    free(names);
    if (!ok)
        return false;
    train_data_behaviours(&f->data, &architecture, f->behaviour_of);
    f->team = team_new(f->request.threads, st);
    ok = f->team != NULL && training_set_init(&f->set, &f->view, &f->holdout, f->behaviour_of, st);
    if (ok)
        f->model = train_model_new(&architecture, &f->vectors, &f->data, &f->set, &f->request.options,
                                   &f->request.without, f->request.seed, st);
    return f->model != NULL;
}

static void begin_report(struct train_runner *f)
{
    f->report =
        json_pack("{s:I, s:i, s:s, s:I, s:s, s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "seed", (json_int_t)f->request.seed,
                  "threads", (int)f->request.threads, "holdout", holdout_name(f->request.holdout), "log_position",
                  (json_int_t)f->data.position, "version", RECSYSD_VERSION, "options",
                  train_options_json(&f->request.options), "without", train_without_json(&f->request.without), "data",
                  "users", (json_int_t)f->view.user_count, "items", (json_int_t)f->view.item_count, "events",
                  (json_int_t)f->data.event_count, "training_events", (json_int_t)f->holdout.training_count);
    if (f->request.cold_share > 0)
        json_object_set_new(f->report, "cold_share", json_real(f->request.cold_share));
}

static bool write_model(struct train_runner *f, struct status *st)
{
    size_t size;
    if (strlen(f->request.out) > 4096)
        return status_fail(st, STATUS_INVALID_ARGUMENT, "OUTPUT", "the name of the model's file is too long");
    f->model->training = json_incref(f->report);
    unsigned char *bytes = model_write(f->model, &size, st);
    if (bytes == NULL)
        return false;
    char aside[4200];
    snprintf(aside, sizeof aside, "%s.part", f->request.out);
    FILE *file = fopen(aside, "we");
    bool ok = file != NULL && fwrite(bytes, 1, size, file) == size && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int error = errno;
    if (file != NULL && fclose(file) != 0)
        ok = false;
    ok = ok && rename(aside, f->request.out) == 0;
    if (!ok)
        status_fail(st, STATUS_FAILED_PRECONDITION, "OUTPUT", "write '%s': %s", f->request.out, strerror(error));
    else if (!f->request.quiet)
        fprintf(stderr, "recsys-train: wrote '%s', %zu bytes, version %s\n", f->request.out, size, f->model->version);
    free(bytes);
    return ok;
}

/* production: what was held out for the head is learned too, for as many epochs as were best without it */
static bool learn_everything(struct train_runner *f, struct status *st)
{
    int epochs = (int)json_integer_value(json_object_get(json_object_get(f->report, "stage_one"), "best_epoch"));
    size_t events = f->view.user_start[f->view.user_count];
    for (size_t i = 0; i < events; i++)
        f->holdout.in_training[i] = true;
    f->holdout.training_count = events;
    f->holdout.validation_count = 0;
    struct training_set all = {0};
    if (!training_set_init(&all, &f->view, &f->holdout, f->behaviour_of, st))
        return false;
    training_set_close(&f->set);
    f->set = all;
    struct model *head = f->model;
    f->model = train_model_new(&head->architecture, &f->vectors, &f->data, &f->set, &f->request.options,
                               &f->request.without, f->request.seed, st);
    bool ok = f->model != NULL;
    for (size_t i = 0; ok && i < head->params.count; i++)
        if (head->params.list[i].group == PARAM_HEAD)
            memcpy(*f->model->params.list[i].slot, *head->params.list[i].slot,
                   head->params.list[i].count * sizeof(float));
    model_release(head);
    f->request.options.epochs = epochs;
    f->request.options.patience = 0;
    return ok && (f->model->architecture.blocks == 0 || epochs == 0 || run_stage_one(f, TRAIN_STAGE_AGAIN, st));
}

static bool run_stages(struct train_runner *f, struct status *st)
{
    bool stage_one = f->model->architecture.blocks > 0 && f->request.options.epochs > 0;
    if (stage_one &&
        !(f->request.stage_one != NULL ? take_stage_one(f, st) : run_stage_one(f, TRAIN_STAGE_ENCODER, st)))
        return false;
    return train_head(f, st) && (f->request.holdout != HOLDOUT_NONE || learn_everything(f, st)) && write_model(f, st);
}

static void close_all(struct train_runner *f)
{
    train_log_close(&f->log);
    team_free(f->team);
    model_release(f->model);
    training_set_close(&f->set);
    train_vectors_close(&f->vectors);
    holdout_close(&f->holdout);
    train_data_close(&f->data);
    json_decref(f->report);
    free(f);
}

bool train_run(const struct train_request *request, struct status *st)
{
    struct train_runner *f = calloc(1, sizeof *f);
    if (f == NULL)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to train");
    f->request = *request;
    bool ok = prepare(f, st);
    if (ok) {
        begin_report(f);
        struct train_log_place place = {TRAIN_STAGE_ENCODER, 0};
        bool goes_on = !request->fresh && train_checkpoint_place(request->out, f->report, &place);
        ok = train_log_open(&f->log, request->out, goes_on ? &place : NULL, request->quiet, st) &&
             train_log_begin(&f->log, f->report, st) && run_stages(f, st) && train_log_end(&f->log, f->report, st);
    }
    if (ok)
        train_checkpoint_remove(request->out);
    close_all(f);
    return ok;
}
