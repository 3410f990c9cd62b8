/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/train_contest.h"

#include "daemon/timestamp.h"
#include "daemon/train_progress.h"
#include "models/baselines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SAMPLE_SEED 1 /* changing it changes every sample */

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to evaluate");
}

/* ---- what is asked */

/* The items are cold or not by their names; whether their training events are gone is the other question. */
static bool cut(struct contest *contest, struct status *st)
{
    const struct contest_options *o = &contest->options;
    const char **names = train_data_item_names(contest->data);
    if (names == NULL)
        return out_of_memory(st);
    struct holdout cold = {0};
    bool ok = holdout_cut(&contest->holdout, &contest->view, o->kind, o->warm ? 0 : o->cold_share, names, st);
    if (ok && o->warm && o->cold_share > 0) {
        ok = holdout_cut(&cold, &contest->view, o->kind, o->cold_share, names, st);
        contest->is_cold = cold.is_cold;
        cold.is_cold = NULL;
    } else if (ok) {
        contest->is_cold = contest->holdout.is_cold;
        contest->holdout.is_cold = NULL;
    }
    holdout_close(&cold);
    free(names);
    return ok;
}

struct drawn {
    uint64_t hash;
    uint32_t user;
};

static int compare_drawn(const void *left, const void *right)
{
    const struct drawn *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->user > b->user) - (a->user < b->user);
}

/* leave only the queries of the first users by the hash of their names */
static bool sample_users(struct contest *contest, struct train_data *data, struct status *st)
{
    if (!train_data_name_users(data, st))
        return false;
    struct drawn *drawn = malloc((contest->query_count + 1) * sizeof *drawn);
    bool *chosen = calloc(data->user_count + 1, sizeof *chosen);
    size_t users = 0, kept = 0;
    for (size_t q = 0; drawn != NULL && q < contest->query_count; q++) {
        uint32_t user = contest->queries[q].user;
        if (q > 0 && contest->queries[q - 1].user == user)
            continue;
        const char *name = data->user_names[user];
        drawn[users++] = (struct drawn){XXH3_64bits_withSeed(name, strlen(name), SAMPLE_SEED), user};
    }
    bool ok = drawn != NULL && chosen != NULL;
    if (ok) {
        qsort(drawn, users, sizeof *drawn, compare_drawn);
        for (size_t i = 0; i < users && i < contest->options.users; i++)
            chosen[drawn[i].user] = true;
        for (size_t q = 0; q < contest->query_count; q++)
            if (chosen[contest->queries[q].user])
                contest->queries[kept++] = contest->queries[q];
        contest->query_count = kept;
    }
    free(drawn);
    free(chosen);
    return ok || out_of_memory(st);
}

static bool choose_queries(struct contest *contest, struct train_data *data, struct status *st)
{
    const struct holdout *holdout = &contest->holdout;
    const struct holdout_query *from = contest->options.validation ? holdout->validation : holdout->test;
    contest->query_count = contest->options.validation ? holdout->validation_count : holdout->test_count;
    if (contest->query_count == 0)
        return status_fail(st, STATUS_FAILED_PRECONDITION, "NO_QUERIES",
                           "nothing to ask: %s holds out no event of this shop", holdout_name(holdout->kind));
    contest->queries = malloc(contest->query_count * sizeof *contest->queries);
    if (contest->queries == NULL)
        return out_of_memory(st);
    memcpy(contest->queries, from, contest->query_count * sizeof *contest->queries);
    if (contest->options.users > 0 && !sample_users(contest, data, st))
        return false;
    contest->user = malloc(contest->query_count * sizeof *contest->user);
    contest->target = malloc(contest->query_count * sizeof *contest->target);
    if (contest->user == NULL || contest->target == NULL)
        return out_of_memory(st);
    for (size_t q = 0; q < contest->query_count; q++) {
        const struct holdout_query *query = &contest->queries[q];
        contest->user[q] = query->user;
        contest->target[q] = contest->view.events[contest->view.user_start[query->user] + query->at].item;
        contest->user_count += q == 0 || contest->user[q - 1] != query->user;
    }
    return true;
}

/* ---- what is known of the items */

static bool add_modality(struct contest *contest, const char *name)
{
    struct contest_modality *m = &contest->modality[contest->modality_count++];
    size_t count = contest->view.item_count;
    snprintf(m->name, sizeof m->name, "%s", name);
    m->rows = train_data_vectors(contest->data, name, &m->dimension);
    m->present = calloc(count + 1, sizeof *m->present);
    if (m->rows == NULL || m->present == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < m->dimension && !m->present[i]; j++)
            m->present[i] = m->rows[i * m->dimension + j] != 0;
    return baseline_content_prepare(m->rows, count, m->dimension);
}

static bool read_modalities(struct contest *contest, struct status *st)
{
    struct catalog_space spaces[CATALOG_SPACES_MAX];
    size_t count = catalog_spaces(contest->data->catalog, spaces);
    for (size_t i = 0; i < count; i++) {
        bool known = contest->modality_count == EVALUATION_MODALITIES_MAX;
        for (size_t m = 0; m < contest->modality_count; m++)
            known = known || strcmp(contest->modality[m].name, spaces[i].space.modality) == 0;
        if (!known && !add_modality(contest, spaces[i].space.modality))
            return out_of_memory(st);
    }
    if (!evaluation_items_init(&contest->items, &contest->view, contest->holdout.in_training))
        return out_of_memory(st);
    contest->items.modality_count = contest->modality_count;
    for (size_t m = 0; m < contest->modality_count; m++) {
        contest->items.modality[m].rows = contest->modality[m].rows;
        contest->items.modality[m].dimension = contest->modality[m].dimension;
    }
    return true;
}

bool contest_init(struct contest *contest, struct train_data *data, const struct contest_options *options,
                  struct status *st)
{
    *contest = (struct contest){.options = *options, .data = data, .view = train_data_view(data)};
    bool ok = cut(contest, st) && choose_queries(contest, data, st);
    if (ok) {
        contest->counts = holdout_counts(&contest->holdout, &contest->view);
        ok = contest->counts != NULL || out_of_memory(st);
    }
    ok = ok && read_modalities(contest, st);
    if (!ok)
        contest_close(contest);
    return ok;
}

void contest_close(struct contest *contest)
{
    for (size_t i = 0; i < contest->contestant_count; i++)
        evaluation_result_close(&contest->contestant[i].result);
    for (size_t m = 0; m < contest->modality_count; m++) {
        free(contest->modality[m].rows);
        free(contest->modality[m].present);
    }
    evaluation_items_close(&contest->items);
    counts_view_release(contest->counts);
    holdout_close(&contest->holdout);
    free(contest->is_cold);
    free(contest->queries);
    free(contest->user);
    free(contest->target);
    *contest = (struct contest){0};
}

/* ---- who answers */

bool contest_ask(const struct contest *contest, const char *name, evaluation_scorer *scorer, void *context,
                 struct contestant *contestant, struct status *st)
{
    struct train_progress progress = {.shown = contest->options.progress};
    struct contestant answered = {0};
    snprintf(answered.name, sizeof answered.name, "%s", name);
    train_progress_start(&progress, answered.name, contest->query_count, scorer, context);
    bool ok = evaluation_run(&contest->view, contest->queries, contest->query_count, contest->options.mask_seen,
                             contest->options.threads, train_progress_score, &progress, &answered.result);
    train_progress_end(&progress);
    answered.seconds = (double)(timestamp_monotonic_us() - progress.started_us) / 1e6;
    if (!ok)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to score with '%s'", name);
    *contestant = answered;
    return true;
}

bool contest_add(struct contest *contest, const char *name, evaluation_scorer *scorer, void *context, struct status *st)
{
    if (contest->contestant_count == CONTESTANTS_MAX)
        return status_fail(st, STATUS_INTERNAL, "TOO_MANY", "no room for '%s'", name);
    if (!contest_ask(contest, name, scorer, context, &contest->contestant[contest->contestant_count], st))
        return false;
    contest->contestant_count++;
    return true;
}

bool contest_add_baselines(struct contest *contest, struct status *st)
{
    struct baseline_counts counts = {contest->counts, contest->view.item_count};
    struct baseline_recent recent = {0};
    int64_t end_ms = contest->holdout.kind == HOLDOUT_TIME ? contest->holdout.cut_ms[0] : INT64_MAX;
    bool ok = contest_add(contest, "popularity", baseline_popularity, &counts, st);
    ok = ok &&
         (baseline_recent_init(&recent, &contest->view, contest->holdout.in_training, end_ms) || out_of_memory(st));
    ok = ok && contest_add(contest, "popularity-7d", baseline_recent, &recent, st) &&
         contest_add(contest, "markov", baseline_markov, &counts, st);
    for (size_t m = 0; ok && m < contest->modality_count; m++) {
        struct baseline_content content = {contest->modality[m].rows, contest->view.item_count,
                                           contest->modality[m].dimension};
        char name[80];
        snprintf(name, sizeof name, "content-%s", contest->modality[m].name);
        ok = contest_add(contest, name, baseline_content, &content, st);
    }
    baseline_recent_close(&recent);
    return ok;
}

const struct contestant *contest_find(const struct contest *contest, const char *name)
{
    for (size_t i = 0; i < contest->contestant_count; i++)
        if (strcmp(contest->contestant[i].name, name) == 0)
            return &contest->contestant[i];
    return NULL;
}

/* ---- ranks */

/* names hold no control characters: the daemon takes none */
static void print_ranks(const struct contest *contest, FILE *out)
{
    fputs("user\tat\titem\ttrain_count\thistory_length\tcold", out);
    for (size_t c = 0; c < contest->contestant_count; c++)
        fprintf(out, "\t%s", contest->contestant[c].name);
    fputc('\n', out);
    for (size_t q = 0; q < contest->query_count; q++) {
        const struct holdout_query *query = &contest->queries[q];
        uint32_t target = contest->target[q];
        fprintf(out, "%s\t%u\t%s\t%u\t%u\t%d", contest->data->user_names[query->user], query->at,
                contest->data->items[target]->item.name, counts_popularity(contest->counts, target), query->at,
                contest->is_cold != NULL && contest->is_cold[target]);
        for (size_t c = 0; c < contest->contestant_count; c++)
            fprintf(out, "\t%.9g", (double)contest->contestant[c].result.rank[q]);
        fputc('\n', out);
    }
}

bool contest_write_ranks(const struct contest *contest, struct train_data *data, const char *path, struct status *st)
{
    if (!train_data_name_users(data, st))
        return false;
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return status_fail(st, STATUS_ALREADY_EXISTS, "OUTPUT", "create '%s': %m", path);
    print_ranks(contest, out);
    bool written = ferror(out) == 0;
    if (fclose(out) != 0 || !written)
        return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "write '%s': %m", path);
    return true;
}
