/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage one of training: item encoder and sequence part, by next-item prediction over the training part of the log. In every step all items are encoded,
 * a batch of users is run through the self-attention, each event's state is compared with the items, and Adam moves the numbers. Threads share the items and the
 * users of a batch and their gradients are summed in a fixed order: seed and number of threads decide every bit of the result. */
#ifndef RECSYS_MODELS_TRAINER_H
#define RECSYS_MODELS_TRAINER_H

#include "models/optimiser.h"
#include "models/team.h"
#include "models/training_set.h"

enum trainer_loss { TRAINER_SOFTMAX, TRAINER_SAMPLED, TRAINER_GBCE };

struct trainer_options {
    uint64_t seed;
    int epochs;   /* at most */
    int patience; /* epochs without a better validation after which it stops; 0: never */
    int batch_users;
    float learning_rate, weight_decay, clip;
    int warmup_steps;
    float dropout, attention_dropout;   /* of tokens and blocks; of attention weights */
    float id_dropout, modality_dropout; /* of an item's embedding, of each of its other modalities, for a step */
    float feature_noise;                /* deviation, per component of the features */
    float label_smoothing; /* share of the target's probability that goes to all items alike; softmax only */
    /* The softmax over all items is of s + prior · log(1 + the item's training events), so that the states need not learn what is popular anyway
     * (logit adjustment, Menon et al. 2021). The head decides how much popularity to serve with; an item without events gets none. */
    float prior;
    float average; /* decay per step of the average of the weights that is kept; 0: the weights themselves */
    enum trainer_loss loss;
    int ahead; /* events that a row predicts: the next, and at 1/2, 1/3, ... of the weight those after it; the sampled losses know only the next */
    int negatives; /* of the sampled losses, shared by a step */
    float gbce_t;
    bool mask_seen;     /* items of the history do not compete */
    bool random_window; /* half of the histories that are too long start anywhere rather than at the end */
};

/* What an epoch came to. */
struct trainer_epoch {
    int epoch; /* from 1 */
    double loss, gradient_norm, learning_rate;
    double ndcg, hit_rate; /* at 10, on the validation part, by the sequence term and that prior */
    double seconds;        /* of training; validation is not in it */
    size_t events;
    int best_epoch;
    double best_ndcg;
};

struct trainer;

/* Fill a model's encoder and sequence part with its starting values. */
void trainer_start(struct model *model, uint64_t seed);

/* A trainer of `model`'s weights, which it changes in place. `set`, `team` and `model` outlive it; `id_rows` false: the model has no ID
 * table. NULL with RESOURCE_EXHAUSTED out of memory. */
struct trainer *trainer_new(struct model *model, const struct training_set *set, bool id_rows,
                            const struct trainer_options *options, struct team *team, struct status *st);
void trainer_free(struct trainer *trainer); /* NULL is fine */

/* One epoch, and validation. False when memory runs out or the loss is not a number (INTERNAL / DIVERGED). */
bool trainer_run_epoch(struct trainer *trainer, struct trainer_epoch *result, struct status *st);

/* All epochs done, or patience at its end. */
bool trainer_is_done(const struct trainer *trainer);

/* Put the numbers of the best epoch into the model. */
void trainer_finish(struct trainer *trainer);

/* Loss (mean over the targets) of one batch without any dropout, and its gradient in `gradient` (model->params.total, zeroed first): what tests
 * compare. `users` (count) are the batch. */
bool trainer_gradient(struct trainer *trainer, const uint32_t *users, size_t count, double *loss, float *gradient);

/* Everything that training goes on from, as the bytes of a safetensors file; malloc'ed. And back: a trainer of the same model, set and options goes
 * on as if it had never stopped. A file of other options or data is FAILED_PRECONDITION / OTHER_CHECKPOINT. `fingerprint` names both. */
unsigned char *trainer_save(const struct trainer *trainer, const char *fingerprint, size_t *size_bytes,
                            struct status *st);
bool trainer_restore(struct trainer *trainer, const char *fingerprint, const void *bytes, size_t size_bytes,
                     struct status *st);

/* The last epoch finished, the best one and what it reached. */
void trainer_progress(const struct trainer *trainer, struct trainer_epoch *progress);

#endif
