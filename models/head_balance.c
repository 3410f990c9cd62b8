/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head_balance.h"

#include "models/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)8 << 30)
#define LIST        10   /* what is measured: NDCG@10 */
#define LEVEL       1e-9 /* sums over threads differ by less */

/* The sequence part never gets 0: in a large shop it chooses the candidates. */
static const float sequence_factors[] = {0.1f, 0.2f, 0.35f, 0.5f, 0.7f, 0.85f, 1, 1.2f, 1.5f};
static const float cooccurrence_factors[] = {0.7f, 0.85f, 1, 1.2f, 1.4f};
static const float prior_factors[] = {0.3f, 0.6f, 1, 1.5f};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CHOICES      (COUNT(sequence_factors) * COUNT(cooccurrence_factors) * COUNT(prior_factors))

struct balance_thread {
    struct arena arena;
    struct cooccurrence cooccurrence;
    bool *hidden;                                   /* (items) */
    float *sequence, *cooccurred, *prior, *streams; /* (items): the parts of those that compete, one behind the other */
    double gain[CHOICES];
    bool failed;
};

struct balance {
    const struct model *model;
    const struct head_items *items;
    const struct head_sample *sample;
    const struct head_query *queries;
    size_t count;
    struct balance_thread *thread;
};

/* Parts of one item. */
struct parts {
    float sequence, cooccurred, prior, streams;
};

static struct head_balance choice(size_t index)
{
    size_t p = index % COUNT(prior_factors), rest = index / COUNT(prior_factors);
    return (struct head_balance){.sequence = sequence_factors[rest / COUNT(cooccurrence_factors)],
                                 .cooccurrence = cooccurrence_factors[rest % COUNT(cooccurrence_factors)],
                                 .prior = prior_factors[p]};
}

static bool is_unchanged(const struct head_balance *factors)
{
    return factors->sequence == 1 && factors->cooccurrence == 1 && factors->prior == 1;
}

/* the target's rank among `count` others, ties half */
static float rank_of(const struct balance_thread *own, size_t count, const struct parts *target,
                     const struct head_balance *f)
{
    float wanted = f->sequence * target->sequence + f->cooccurrence * target->cooccurred + f->prior * target->prior +
                   target->streams;
    unsigned above = 0, level = 0;
    for (size_t i = 0; i < count; i++) {
        float score = f->sequence * own->sequence[i] + f->cooccurrence * own->cooccurred[i] + f->prior * own->prior[i] +
                      own->streams[i];
        above += !(score <= wanted); /* what is no number ranks nothing well */
        level += score == wanted;
    }
    return 1 + (float)above + 0.5f * (float)level;
}

/* the parts of a block's items that compete, behind those that are there; the target's go to `target` */
static size_t add_block(const struct balance *b, struct balance_thread *own, const struct recommender_user *user,
                        const struct recommender_context *context, size_t first, size_t at, uint32_t wanted,
                        struct parts *target)
{
    size_t left = b->items->count - first, streams = (size_t)b->model->architecture.stream_count;
    struct recommender_block block = {b->items->rows, first, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK,
                                      b->items->item_ids + first};
    float score[RECOMMENDER_BLOCK], parts[RECOMMENDER_BLOCK * RECOMMENDER_PARTS_MAX];
    recommender_score(user, context, &block, score, parts);
    for (size_t i = 0; i < block.count; i++) {
        const float *part = parts + i * (PART_STREAMS + streams);
        struct parts sum = {part[PART_SEQUENCE], part[PART_COOCCURRENCE], part[PART_PRIOR], 0};
        for (size_t s = 0; s < streams; s++)
            sum.streams += part[PART_STREAMS + s];
        if (first + i == wanted) {
            *target = sum;
            continue;
        }
        if (own->hidden[first + i])
            continue;
        own->sequence[at] = sum.sequence;
        own->cooccurred[at] = sum.cooccurred;
        own->prior[at] = sum.prior;
        own->streams[at++] = sum.streams;
    }
    return at;
}

static bool try_query(const struct balance *b, struct balance_thread *own, const struct head_query *query)
{
    float weight[RECOMMENDER_PARTS_MAX];
    struct recommender_user user;
    struct parts target = {0};
    size_t at = 0, all = (b->items->count + RECOMMENDER_BLOCK - 1) / RECOMMENDER_BLOCK;
    for (int i = 0; i < RECOMMENDER_PARTS_MAX; i++)
        weight[i] = 1;
    if (!head_cooccurrence(&own->cooccurrence, b->model, b->items->counts, query, &own->arena) ||
        !recommender_prepare_head(&user, b->model, query->events, query->count, query->now_ms, query->state,
                                  &own->arena))
        return false;
    struct recommender_context context = {b->items->counts, &own->cooccurrence, query->now_ms, weight};
    for (size_t i = 0; i < query->hidden_count; i++)
        own->hidden[query->hidden[i]] = true;
    for (size_t i = 0; i < (b->sample != NULL ? b->sample->count : all); i++)
        at = add_block(b, own, &user, &context, (b->sample != NULL ? b->sample->block[i] : i) * RECOMMENDER_BLOCK, at,
                       query->target, &target);
    for (size_t i = 0; i < query->hidden_count; i++)
        own->hidden[query->hidden[i]] = false;
    for (size_t c = 0; c < CHOICES; c++) {
        struct head_balance factors = choice(c);
        own->gain[c] += evaluation_gain(EVALUATION_NDCG, rank_of(own, at, &target, &factors), LIST);
    }
    return true;
}

static void balance_job(void *context, size_t thread, size_t threads)
{
    const struct balance *b = context;
    struct balance_thread *own = &b->thread[thread];
    size_t first, last;
    team_share(b->count, thread, threads, &first, &last);
    for (size_t i = first; i < last && !own->failed; i++) {
        struct arena_mark mark = arena_mark(&own->arena);
        own->failed = !try_query(b, own, &b->queries[i]);
        arena_rewind(&own->arena, mark);
    }
}

/* ---- the whole */

static bool reserve(struct balance_thread *own, size_t items)
{
    arena_init(&own->arena, ARENA_BYTES);
    own->hidden = calloc(items + 1, sizeof *own->hidden);
    own->sequence = malloc(4 * (items + 1) * sizeof(float));
    if (own->hidden == NULL || own->sequence == NULL)
        return false;
    own->cooccurred = own->sequence + items + 1;
    own->prior = own->cooccurred + items + 1;
    own->streams = own->prior + items + 1;
    return true;
}

/* how far from leaving everything as it is */
static double distance(const struct head_balance *f)
{
    return fabs(log((double)f->sequence)) + fabs(log((double)f->cooccurrence)) + fabs(log((double)f->prior));
}

/* the best of all; of those that are level, as the factors of a part that is not there are, the one that changes least */
static struct head_balance best_choice(const struct balance *b, size_t threads)
{
    struct head_balance best = {.sequence = 1, .cooccurrence = 1, .prior = 1};
    double gain[CHOICES] = {0};
    for (size_t c = 0; c < CHOICES; c++) {
        struct head_balance factors = choice(c);
        for (size_t i = 0; i < threads; i++)
            gain[c] += b->thread[i].gain[c] / (double)(b->count > 0 ? b->count : 1);
        if (is_unchanged(&factors))
            best.ndcg = best.ndcg_before = gain[c];
    }
    for (size_t c = 0; c < CHOICES; c++) {
        struct head_balance factors = choice(c);
        factors.ndcg = gain[c];
        factors.ndcg_before = best.ndcg_before;
        if (factors.ndcg > best.ndcg + LEVEL ||
            (factors.ndcg >= best.ndcg - LEVEL && distance(&factors) < distance(&best)))
            best = factors;
    }
    return best;
}

bool head_balance_find(struct head_balance *balance, const struct model *model, const struct head_items *items,
                       const struct head_sample *sample, const struct head_query *queries, size_t count,
                       struct team *team, struct status *st)
{
    struct balance b = {model, items, sample, queries, count, calloc(team_size(team), sizeof *b.thread)};
    bool ok = b.thread != NULL;
    for (size_t i = 0; ok && i < team_size(team); i++)
        ok = reserve(&b.thread[i], items->count);
    if (ok)
        team_run(team, balance_job, &b);
    for (size_t i = 0; ok && i < team_size(team); i++)
        ok = !b.thread[i].failed;
    if (ok)
        *balance = best_choice(&b, team_size(team));
    for (size_t i = 0; b.thread != NULL && i < team_size(team); i++) {
        arena_close(&b.thread[i].arena);
        cooccurrence_close(&b.thread[i].cooccurrence);
        free(b.thread[i].hidden);
        free(b.thread[i].sequence);
    }
    free(b.thread);
    return ok || status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to balance the head");
}

void head_balance_apply(const struct head_balance *balance, struct model *model)
{
    const struct weights *w = &model->weights;
    if (w->sequence_scale != NULL)
        *w->sequence_scale *= balance->sequence;
    *w->cooccurrence *= balance->cooccurrence;
    *w->popularity *= balance->prior;
    *w->recent *= balance->prior;
    *w->novelty *= balance->prior;
}
