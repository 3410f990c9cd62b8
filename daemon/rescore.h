/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists for all users, from the same engine as the daemon's. The five inputs of every score (log position, catalogue, model, counts, now) are fixed at the
 * start and named in the first line of the output; users are worked on in fixed blocks in the order (bucket, user), so that neither threads nor shards change a
 * byte of what follows it. */
#ifndef RECSYS_DAEMON_RESCORE_H
#define RECSYS_DAEMON_RESCORE_H

#include "daemon/engine.h"

#define RESCORE_BUCKETS     1024 /* of store_user_list: shards are ranges of them */
#define RESCORE_BLOCK_USERS 256

/* A shop opened for reading, with an engine that answers as of one position. */
struct rescore {
    struct config config;
    struct store_options options;
    struct store *store;
    struct catalog *catalog;
    struct histories *histories;
    struct engine engine;
    struct arena arena;
    int64_t position, now_ms;
    char model[97], counts[ENGINE_VERSION_TEXT], catalogue[ENGINE_VERSION_TEXT], seq[ENGINE_VERSION_TEXT];
    size_t n;
};

/* What an earlier run that is resumed had fixed: empty texts and 0 where it is open. */
struct rescore_inputs {
    char model[97], counts[ENGINE_VERSION_TEXT], catalogue[ENGINE_VERSION_TEXT], seq[ENGINE_VERSION_TEXT];
    int64_t now_ms;
};

/* Open the shop and fix the inputs; those given must still be to be had (FAILED_PRECONDITION / VERSION_GONE). */
bool rescore_open(struct rescore *rescore, const char *config_file, const char *data_dir,
                  const struct rescore_inputs *inputs, size_t n, struct status *st);
void rescore_close(struct rescore *rescore);

/* The list of one user, on a worker that the caller made over rescore->engine; to be closed. */
bool rescore_user(struct rescore *rescore, struct engine_worker *worker, const char *user, struct engine_answer *answer,
                  struct status *st);

/* Where users come from: the store's shard, or a file of ids. */
struct rescore_users {
    struct rescore *rescore;
    int32_t begin_bucket, end_bucket, bucket; /* of the last user given */
    int64_t user_id;
    char **names; /* of a file; NULL: the store's */
    size_t name_count, next_name;
};

/* Users of shard `shard` of `shards`; `file` (NULL: every user of the store) holds one id a line. */
bool rescore_users_open(struct rescore_users *users, struct rescore *rescore, const char *file, int64_t shard,
                        int64_t shards, struct status *st);
void rescore_users_close(struct rescore_users *users);

/* The next block: up to RESCORE_BLOCK_USERS names in `out`; `*count` 0 at the end. */
bool rescore_users_next(struct rescore_users *users, struct store_user *out, size_t *count, struct status *st);

/* Write the lists of `users` to `out` with `threads` threads, leaving out the first `skip`. Progress on standard error unless `quiet`. `*written` users. */
bool rescore_run(struct rescore *rescore, struct rescore_users *users, FILE *out, size_t skip, size_t threads,
                 bool quiet, size_t *written, struct status *st);

/* Ask the daemon at `endpoint` for `count` random users' lists with the same five inputs; `*different` lists were not equal. The first differences
 * are described on standard error. */
bool rescore_verify(struct rescore *rescore, const char *endpoint, size_t count, uint64_t seed, size_t *different,
                    struct status *st);

#endif
