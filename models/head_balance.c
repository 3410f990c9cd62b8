/* SPDX-License-Identifier: Apache-2.0 */
#include "models/head_balance.h"

#include "models/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)8 << 30)
#define LIST        10    /* what is measured: NDCG@10 */
#define LEVEL       0.004 /* of NDCG: a quarter of its standard error over 4,096 queries, about */

#define FACTORS_MAX 9
#define CHOICES_MAX 256

/* what has a factor of its own */
enum part { SEQUENCE, COOCCURRENCE, PRIOR, SAME, CROSS, PART_COUNT };

/* Factors to try for each part, times those found so far; a row ends with 0. No part gets 0: in a large shop the sequence part and the streams
 * choose the candidates. */
struct grid {
    float factor[PART_COUNT][FACTORS_MAX + 1];
};

/* The whole of them at once would be thousands of choices. First the parts against each other, then the streams, then all of them once more, closer. */
static const struct grid grids[] = {
    {{{0.1f, 0.2f, 0.35f, 0.5f, 0.7f, 0.85f, 1, 1.2f, 1.5f},
      {0.7f, 0.85f, 1, 1.2f, 1.4f},
      {0.3f, 0.6f, 1, 1.5f},
      {1},
      {1}}},
    {{{0.7f, 1, 1.4f}, {1}, {1}, {0.1f, 0.2f, 0.35f, 0.5f, 0.7f, 1, 1.4f}, {0.1f, 0.2f, 0.35f, 0.5f, 0.7f, 1, 1.4f}}},
    {{{0.7f, 0.85f, 1, 1.2f, 1.5f}, {0.7f, 1, 1.2f}, {0.6f, 1, 1.5f}, {0.7f, 1}, {0.7f, 1}}},
};

#define GRIDS (sizeof grids / sizeof *grids)

/* Numbers of one item or factors, part by part. */
struct parts {
    float of[PART_COUNT];
};

struct balance_thread {
    struct arena arena;
    struct cooccurrence cooccurrence;
    bool *hidden;            /* (items) */
    float *part[PART_COUNT]; /* (items): of those that compete, one behind the other */
    double gain[CHOICES_MAX];
    bool failed;
};

struct balance {
    const struct model *model;
    const struct head_items *items;
    const struct head_sample *sample;
    const struct head_query *queries;
    size_t count;
    struct parts choice[CHOICES_MAX]; /* of the grid that is tried */
    size_t choices;
    struct balance_thread *thread;
};

static bool is_cross(const struct architecture *a, int stream)
{
    const char *pick = a->views[a->similarities[a->streams[stream].pick].candidate_view].modality;
    const char *judge = a->views[a->similarities[a->streams[stream].judge].candidate_view].modality;
    return strcmp(pick, judge) != 0;
}

static void lay_out(struct balance *b, const struct grid *grid, const struct parts *found)
{
    b->choice[0] = *found;
    b->choices = 1;
    for (int part = 0; part < PART_COUNT; part++) {
        size_t before = b->choices, factors = 0;
        while (grid->factor[part][factors] > 0)
            factors++;
        for (size_t c = before * factors; c-- > 0;) { /* from behind: what is read is not yet written over */
            b->choice[c] = b->choice[c / factors];
            b->choice[c].of[part] *= grid->factor[part][c % factors];
        }
        b->choices = before * factors;
    }
}

/* the target's rank among `count` others, ties half */
static float rank_of(const struct balance_thread *own, size_t count, const struct parts *target, const struct parts *f)
{
    float wanted = 0;
    unsigned above = 0, level = 0;
    for (int part = 0; part < PART_COUNT; part++)
        wanted += f->of[part] * target->of[part];
    for (size_t i = 0; i < count; i++) {
        float score = 0;
        for (int part = 0; part < PART_COUNT; part++)
            score += f->of[part] * own->part[part][i];
        above += !(score <= wanted); /* what is no number ranks nothing well */
        level += score == wanted;
    }
    return 1 + (float)above + 0.5f * (float)level;
}

static struct parts sum_parts(const struct architecture *a, const float *part)
{
    struct parts sum = {{part[PART_SEQUENCE], part[PART_COOCCURRENCE], part[PART_PRIOR], 0, 0}};
    for (int s = 0; s < a->stream_count; s++)
        sum.of[is_cross(a, s) ? CROSS : SAME] += part[PART_STREAMS + s];
    return sum;
}

/* the parts of a block's items that compete, behind those that are there; the target's go to `target` */
static size_t add_block(const struct balance *b, struct balance_thread *own, const struct recommender_user *user,
                        const struct recommender_context *context, size_t first, size_t at, uint32_t wanted,
                        struct parts *target)
{
    const struct architecture *a = &b->model->architecture;
    size_t left = b->items->count - first, stride = PART_STREAMS + (size_t)a->stream_count;
    struct recommender_block block = {b->items->rows, first, left < RECOMMENDER_BLOCK ? left : RECOMMENDER_BLOCK,
                                      b->items->item_ids + first};
    float score[RECOMMENDER_BLOCK], parts[RECOMMENDER_BLOCK * RECOMMENDER_PARTS_MAX];
    recommender_score(user, context, &block, score, parts);
    for (size_t i = 0; i < block.count; i++) {
        struct parts sum = sum_parts(a, parts + i * stride);
        if (first + i == wanted) {
            *target = sum;
            continue;
        }
        if (own->hidden[first + i])
            continue;
        for (int part = 0; part < PART_COUNT; part++)
            own->part[part][at] = sum.of[part];
        at++;
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
    for (size_t c = 0; c < b->choices; c++)
        own->gain[c] += evaluation_gain(EVALUATION_NDCG, rank_of(own, at, &target, &b->choice[c]), LIST);
    return true;
}

static void balance_job(void *context, size_t thread, size_t threads)
{
    const struct balance *b = context;
    struct balance_thread *own = &b->thread[thread];
    size_t first, last;
    team_share(b->count, thread, threads, &first, &last);
    memset(own->gain, 0, sizeof own->gain);
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
    own->part[0] = malloc(PART_COUNT * (items + 1) * sizeof(float));
    if (own->hidden == NULL || own->part[0] == NULL)
        return false;
    for (int part = 1; part < PART_COUNT; part++)
        own->part[part] = own->part[part - 1] + items + 1;
    return true;
}

/* how far from leaving everything as it is */
static double distance(const struct parts *f)
{
    double sum = 0;
    for (int part = 0; part < PART_COUNT; part++)
        sum += fabs(log((double)f->of[part]));
    return sum;
}

/* Of the choices of the grid that are as good as the best, within what so few queries can tell apart, the one that changes least. */
static void best_choice(const struct balance *b, size_t threads, struct parts *found, struct head_balance *balance)
{
    double gain[CHOICES_MAX] = {0}, best = 0;
    for (size_t c = 0; c < b->choices; c++) {
        for (size_t i = 0; i < threads; i++)
            gain[c] += b->thread[i].gain[c] / (double)(b->count > 0 ? b->count : 1);
        if (distance(&b->choice[c]) == 0)
            balance->ndcg_before = gain[c];
        best = fmax(best, gain[c]);
    }
    double least = INFINITY;
    for (size_t c = 0; c < b->choices; c++)
        if (gain[c] >= best * (1 - LEVEL) && distance(&b->choice[c]) < least) {
            least = distance(&b->choice[c]);
            *found = b->choice[c];
            balance->ndcg = gain[c];
        }
}

static bool try_grids(struct balance *b, struct team *team, struct head_balance *balance)
{
    struct parts found = {{1, 1, 1, 1, 1}};
    for (size_t g = 0; g < GRIDS; g++) {
        lay_out(b, &grids[g], &found);
        team_run(team, balance_job, b);
        for (size_t i = 0; i < team_size(team); i++)
            if (b->thread[i].failed)
                return false;
        best_choice(b, team_size(team), &found, balance);
    }
    balance->sequence = found.of[SEQUENCE];
    balance->cooccurrence = found.of[COOCCURRENCE];
    balance->prior = found.of[PRIOR];
    balance->same = found.of[SAME];
    balance->cross = found.of[CROSS];
    return true;
}

bool head_balance_find(struct head_balance *balance, const struct model *model, const struct head_items *items,
                       const struct head_sample *sample, const struct head_query *queries, size_t count,
                       struct team *team, struct status *st)
{
    struct balance b = {.model = model, .items = items, .sample = sample, .queries = queries, .count = count};
    b.thread = calloc(team_size(team), sizeof *b.thread);
    bool ok = b.thread != NULL;
    for (size_t i = 0; ok && i < team_size(team); i++)
        ok = reserve(&b.thread[i], items->count);
    ok = ok && try_grids(&b, team, balance);
    for (size_t i = 0; b.thread != NULL && i < team_size(team); i++) {
        arena_close(&b.thread[i].arena);
        cooccurrence_close(&b.thread[i].cooccurrence);
        free(b.thread[i].hidden);
        free(b.thread[i].part[0]);
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
    for (int s = 0; s < model->architecture.stream_count; s++) {
        float factor = is_cross(&model->architecture, s) ? balance->cross : balance->same;
        w->stream[s] *= factor;
        w->stream_count[s] *= factor;
    }
}
