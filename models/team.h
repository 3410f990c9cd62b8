/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that do the same job on their share of the data, over and over, and wait for each other in between: the data parallelism of training. Which
 * thread gets which share is the job's business and depends on nothing but their number, so sums over threads can be repeated. */
#ifndef RECSYS_MODELS_TEAM_H
#define RECSYS_MODELS_TEAM_H

#include "proto/status.h"

#include <stddef.h>

#define TEAM_THREADS_MAX 64

struct team;

/* A job: `thread` of `threads`, from 0. */
typedef void team_job(void *context, size_t thread, size_t threads);

/* Start threads - 1 threads (the caller is number 0). NULL out of memory or threads. */
struct team *team_new(size_t threads, struct status *st);
void team_free(struct team *team); /* NULL is fine */

size_t team_size(const struct team *team);

/* Run `job` once on every thread; returns when all are done. Not from within a job. */
void team_run(struct team *team, team_job *job, void *context);

/* The share of `count` things that `thread` of `threads` gets: *first to *last - 1. */
void team_share(size_t count, size_t thread, size_t threads, size_t *first, size_t *last);

#endif
