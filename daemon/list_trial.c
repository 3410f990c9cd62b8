/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_trial.h"

#include "daemon/engine_loaded.h"
#include "daemon/experiments.h"
#include "models/interleave.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define INTERLEAVED "interleaved" /* what the variant of such a list is called */

/* Is this model there to answer? "" is the active one. */
static bool is_loaded(struct handler *handler, const char *model)
{
    if (model[0] == '\0')
        return true;
    struct snapshot *snapshot = engine_loaded_find(&handler->server->engine, model);
    snapshot_release(snapshot);
    return snapshot != NULL;
}

static bool all_loaded(struct handler *handler, struct list_fields *f, const struct experiment *experiment,
                       const struct experiment_variant *variant)
{
    size_t count = experiment->kind == EXPERIMENT_INTERLEAVE ? experiment->variant_count : 1;
    for (size_t i = 0; i < count; i++)
        if (!is_loaded(handler, variant[i].model)) {
            f->trial.missing = variant[i].model;
            return false;
        }
    return true;
}

bool list_trial_begin(struct handler *handler, struct list_fields *f, struct status *st)
{
    if (f->experiment[0] == '\0')
        return true;
    if (f->as_of[0] != '\0' || f->model[0] != '\0')
        return status_fail_field(st, STATUS_INVALID_ARGUMENT, "BAD_VALUE", "experiment",
                                 "the variant of an experiment chooses the model: leave out 'model' and 'as_of'");
    f->trial.set = experiments_slot_acquire(&handler->server->experiments);
    const struct experiment *experiment = experiments_find(f->trial.set, f->experiment, st);
    if (experiment == NULL)
        return false;
    f->trial.experiment = experiment;
    if (experiment->kind == EXPERIMENT_SHADOW) /* the list is everybody's */
        return true;
    const struct experiment_variant *variant = experiment_assign(experiment, f->user);
    if (variant == NULL || !all_loaded(handler, f, experiment, variant))
        return true;
    f->trial.variant = variant;
    if (variant->scenario[0] != '\0')
        f->scenario = variant->scenario;
    f->model = variant->model;
    return true;
}

bool list_trial_is_interleaved(const struct list_fields *f)
{
    return f->trial.variant != NULL && f->trial.experiment->kind == EXPERIMENT_INTERLEAVE;
}

static void number(const Recsys__RankedList *list, uint32_t *ids, const Recsys__RankedList *known, size_t known_count)
{
    for (size_t i = 0; i < list->n_items; i++) {
        ids[i] = (uint32_t)(known_count + i + 1);
        for (size_t k = 0; k < known_count; k++)
            if (strcmp(known->items[k]->item, list->items[i]->item) == 0)
                ids[i] = (uint32_t)(k + 1);
    }
}

bool list_trial_interleave(struct handler *handler, struct list_fields *f, Recsys__RankedList *first,
                           const Recsys__RankedList *second, size_t n)
{
    size_t a = first->n_items, b = second->n_items;
    uint32_t *ids = handler_alloc(handler, (a + b + n + 1) * sizeof *ids);
    uint8_t *teams = handler_alloc(handler, n + 1);
    Recsys__RankedItem **items = handler_alloc(handler, (n + 1) * sizeof *items);
    uint64_t seed;
    if (ids == NULL || teams == NULL || items == NULL)
        return false;
    randombytes_buf(&seed, sizeof seed);
    number(first, ids, NULL, 0);
    number(second, ids + a, first, a);
    uint32_t *chosen = ids + a + b;
    size_t count = interleave_team_draft(ids, a, ids + a, b, n, seed, chosen, teams);
    for (size_t i = 0; i < count; i++) {
        bool of_first = teams[i] == 0;
        const Recsys__RankedList *list = of_first ? first : second;
        size_t k = 0;
        while (ids[(of_first ? 0 : a) + k] != chosen[i])
            k++;
        items[i] = list->items[k];
    }
    first->items = items;
    first->n_items = count;
    f->trial.teams = teams;
    return true;
}

void list_trial_name(const struct list_fields *f, Recsys__RankedList *reply)
{
    if (f->trial.variant == NULL)
        return;
    reply->experiment = (char *)f->trial.experiment->name;
    reply->variant = list_trial_is_interleaved(f) ? INTERLEAVED : (char *)f->trial.variant->name;
}

void list_trial_close(struct list_fields *f)
{
    if (f->trial.second != NULL)
        engine_answer_close(f->trial.second);
    experiments_release(f->trial.set);
    f->trial = (struct list_trial){.set = NULL};
}
