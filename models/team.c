/* SPDX-License-Identifier: Apache-2.0 */
#include "models/team.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct member {
    struct team *team;
    size_t number;
    pthread_t handle;
};

struct team {
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    size_t size, started; /* members, of which threads of their own */
    size_t working;       /* members that have not finished this round */
    unsigned long round;
    bool stopping;
    team_job *job;
    void *context;
    struct member members[TEAM_THREADS_MAX];
};

static void *work(void *argument)
{
    struct member *member = argument;
    struct team *team = member->team;
    unsigned long seen = 0;
    pthread_mutex_lock(&team->lock);
    for (;;) {
        while (team->round == seen && !team->stopping)
            pthread_cond_wait(&team->begun, &team->lock);
        if (team->stopping)
            break;
        seen = team->round;
        pthread_mutex_unlock(&team->lock);
        team->job(team->context, member->number, team->size);
        pthread_mutex_lock(&team->lock);
        if (--team->working == 0)
            pthread_cond_signal(&team->done);
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

struct team *team_new(size_t threads, struct status *st)
{
    struct team *team = calloc(1, sizeof *team);
    if (team == NULL) {
        status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for threads");
        return NULL;
    }
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->begun, NULL);
    pthread_cond_init(&team->done, NULL);
    team->size = threads < 1 ? 1 : threads > TEAM_THREADS_MAX ? TEAM_THREADS_MAX : threads;
    for (size_t i = 1; i < team->size; i++) {
        team->members[i] = (struct member){.team = team, .number = i};
        if (pthread_create(&team->members[i].handle, NULL, work, &team->members[i]) != 0) {
            status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_THREADS", "could start only %zu of %zu threads", i,
                        team->size);
            team_free(team);
            return NULL;
        }
        team->started++;
    }
    return team;
}

void team_free(struct team *team)
{
    if (team == NULL)
        return;
    pthread_mutex_lock(&team->lock);
    team->stopping = true;
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->lock);
    for (size_t i = 1; i <= team->started; i++)
        pthread_join(team->members[i].handle, NULL);
    pthread_cond_destroy(&team->begun);
    pthread_cond_destroy(&team->done);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

size_t team_size(const struct team *team)
{
    return team->size;
}

void team_run(struct team *team, team_job *job, void *context)
{
    pthread_mutex_lock(&team->lock);
    team->job = job;
    team->context = context;
    team->working = team->size - 1;
    team->round++;
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->lock);
    job(context, 0, team->size);
    pthread_mutex_lock(&team->lock);
    while (team->working > 0)
        pthread_cond_wait(&team->done, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

void team_share(size_t count, size_t thread, size_t threads, size_t *first, size_t *last)
{
    *first = count * thread / threads;
    *last = count * (thread + 1) / threads;
}
