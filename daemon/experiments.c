/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/experiments_internal.h"

#include "proto/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

bool experiments_no_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for experiments");
}

/* ---- one experiment */

void experiment_entry_init(struct experiment_entry *entry, const char *name)
{
    entry->experiment =
        (struct experiment){.name = entry->name, .salt = entry->salt, .share = 1, .variants = entry->variants};
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->salt, sizeof entry->salt, "%s", name);
}

size_t experiment_entry_add(struct experiment_entry *entry, const char *name)
{
    size_t i = entry->experiment.variant_count++;
    snprintf(entry->texts[i].name, sizeof entry->texts[i].name, "%s", name);
    entry->variants[i] = (struct experiment_variant){
        .name = entry->texts[i].name, .scenario = entry->texts[i].scenario, .model = entry->texts[i].model, .share = 1};
    return i;
}

bool experiment_entry_divide(struct experiment_entry *entry)
{
    double total = 0;
    for (size_t i = 0; i < entry->experiment.variant_count; i++)
        total += entry->variants[i].share;
    for (size_t i = 0; i < entry->experiment.variant_count; i++) {
        entry->variants[i].share /= total;
        if (!(entry->variants[i].share > 0)) /* also where the sum was no longer finite */
            return false;
    }
    return true;
}

/* ---- the set */

/* A whole file, or one byte more than may be there; *text is the caller's to free, also on failure. */
static bool read_file(const char *path, char **text, size_t *size_bytes, struct status *st)
{
    *text = malloc(EXPERIMENTS_FILE_BYTES + 1);
    if (*text == NULL)
        return experiments_no_memory(st);
    FILE *file = fopen(path, "re");
    bool ok = file != NULL;
    if (ok) {
        *size_bytes = fread(*text, 1, EXPERIMENTS_FILE_BYTES + 1, file);
        ok = !ferror(file);
    }
    if (!ok)
        status_fail(st, STATUS_NOT_FOUND, "NO_INPUT", "read '%s': %s", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    return ok;
}

static bool fill(struct experiments *experiments, const char *path, struct status *st)
{
    char *text;
    size_t size_bytes = 0;
    bool ok = read_file(path, &text, &size_bytes, st) && experiments_read(experiments, path, text, size_bytes, st);
    free(text);
    return ok;
}

struct experiments *experiments_load(const char *path, struct status *st)
{
    struct experiments *experiments = calloc(1, sizeof *experiments);
    if (experiments == NULL) {
        experiments_no_memory(st);
        return NULL;
    }
    experiments->references = 1;
    if (strcmp(path, "off") != 0 && !fill(experiments, path, st)) {
        experiments_release(experiments);
        return NULL;
    }
    return experiments;
}

struct experiments *experiments_acquire(struct experiments *experiments)
{
    atomic_fetch_add_explicit(&experiments->references, 1, memory_order_relaxed);
    return experiments;
}

void experiments_release(struct experiments *experiments)
{
    if (experiments == NULL || atomic_fetch_sub_explicit(&experiments->references, 1, memory_order_acq_rel) != 1)
        return;
    free(experiments->list);
    free(experiments);
}

size_t experiments_count(const struct experiments *experiments)
{
    return experiments->count;
}

const struct experiment *experiments_at(const struct experiments *experiments, size_t index)
{
    return &experiments->list[index].experiment;
}

const struct experiment *experiments_find(const struct experiments *experiments, const char *name, struct status *st)
{
    const char *names[EXPERIMENTS_MOST] = {NULL};
    for (size_t i = 0; i < experiments->count; i++) {
        names[i] = experiments->list[i].name;
        if (strcmp(names[i], name) == 0)
            return &experiments->list[i].experiment;
    }
    const char *near = suggest(name, names, experiments->count);
    if (near != NULL)
        status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_EXPERIMENT", "experiment",
                          "there is no experiment '%.64s', did you mean '%.64s'?", name, near);
    else
        status_fail_field(st, STATUS_INVALID_ARGUMENT, "UNKNOWN_EXPERIMENT", "experiment",
                          "there is no experiment '%.64s'", name);
    return NULL;
}

const char *experiment_kind_name(enum experiment_kind kind)
{
    static const char *const names[] = {
        [EXPERIMENT_VARIANTS] = "variants",
        [EXPERIMENT_INTERLEAVE] = "interleave",
        [EXPERIMENT_SHADOW] = "shadow",
    };
    return names[kind];
}

/* ---- who is where */

enum draw { DRAW_SHARE, DRAW_VARIANT };

/* A multiple of 2^-53 from [0, 1), by XXH3-64. Both lengths are in the seeds: salt "ab" with unit "c" has
 * nothing to do with "a" and "bc". To change anything here moves users between variants of running experiments. */
static double draw(const struct experiment *experiment, const char *unit, enum draw what)
{
    uint64_t salt_bytes = strlen(experiment->salt), unit_bytes = strlen(unit);
    uint64_t seed = XXH3_64bits_withSeed(experiment->salt, salt_bytes, 2 * salt_bytes + (uint64_t)what);
    return (double)(XXH3_64bits_withSeed(unit, unit_bytes, seed + unit_bytes) >> 11) * 0x1p-53;
}

const struct experiment_variant *experiment_assign(const struct experiment *experiment, const char *unit)
{
    size_t last = experiment->variant_count - 1, i = 0;
    if (*unit == '\0' || draw(experiment, unit, DRAW_SHARE) >= experiment->share)
        return NULL;
    if (experiment->kind != EXPERIMENT_VARIANTS)
        return &experiment->variants[0];
    double point = draw(experiment, unit, DRAW_VARIANT), end = experiment->variants[0].share;
    while (i < last && point >= end)
        end += experiment->variants[++i].share;
    return &experiment->variants[i];
}

/* ---- the one that answers */

struct experiments *experiments_slot_acquire(struct experiments_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    struct experiments *experiments = experiments_acquire(slot->now);
    pthread_mutex_unlock(&slot->lock);
    return experiments;
}

void experiments_slot_set(struct experiments_slot *slot, struct experiments *experiments)
{
    pthread_mutex_lock(&slot->lock);
    struct experiments *before = slot->now;
    slot->now = experiments;
    pthread_mutex_unlock(&slot->lock);
    experiments_release(before);
}
