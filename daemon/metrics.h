/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters, gauges and histograms, in Prometheus' text format (version 0.0.4). Declared once in the lists below; incremented from any
 * thread with relaxed atomics. Label values are closed sets (methods, codes, reasons): never users or items. */
#ifndef RECSYS_DAEMON_METRICS_H
#define RECSYS_DAEMON_METRICS_H

#include "proto/status.h"

#include <stddef.h>
#include <stdint.h>

/*   X(name, help) */
/* clang-format off */
#define METRICS_COUNTERS(X)                                                                             \
    X(frames_malformed, "messages dropped or refused before a request could be read")                  \
    X(replies_dropped, "replies whose peer had gone or did not read")                                  \
    X(rejected_queue_full, "requests refused because the queue was full")                              \
    X(rejected_deadline, "requests whose deadline had passed before they were looked at")              \
    X(events_added, "events stored")                                                                   \
    X(events_duplicate, "events that were there already by key")                                       \
    X(items_put, "items created or changed")                                                           \
    X(features_put, "embeddings stored")                                                               \
    X(store_commits, "transactions committed")                                                         \
    X(store_rows, "rows committed")                                                                    \
    X(store_errors, "failed writes")                                                                   \
    X(checkpoints, "WAL checkpoints")                                                                  \
    X(compactions, "snapshots built")                                                                  \
    X(models_stored, "models put and found whole")                                                     \
    X(models_refused, "models that were damaged, or did not fit the shop or the memory")               \
    X(models_activated, "activations and rollbacks")                                                   \
    X(counts_published, "versions of the counts published")                                            \
    X(lists_degraded, "lists that could not be made as asked")                                         \
    X(requests_unlogged, "lists that the request log had no room for")                                 \
    X(history_hits, "histories found in memory")                                                       \
    X(history_misses, "histories read from the store")
#define METRICS_GAUGES(X)                                                                               \
    X(queue_depth, "requests waiting")                                                                 \
    X(items, "items that are not deleted")                                                             \
    X(users, "users")                                                                                  \
    X(events, "events in the log")                                                                     \
    X(snapshot_rows, "encoded rows of the active model, dead ones included")                           \
    X(snapshot_dead_rows, "of them, replaced or deleted")                                              \
    X(store_wal_bytes, "size of the write-ahead log")                                                  \
    X(store_database_bytes, "size of the database")                                                    \
    X(store_writable, "1 while writes succeed")                                                        \
    X(arena_peak_bytes, "most memory one request has taken")                                           \
    X(started_timestamp_seconds, "when the daemon started")
#define METRICS_HISTOGRAMS(X)                                                                           \
    X(queue_wait_seconds, "from the socket to a worker")                                               \
    X(engine_seconds, "in the engine, for one list")                                                   \
    X(store_commit_seconds, "one transaction")
/* clang-format on */

enum metrics_counter {
#define METRICS_ENUM(name, help) METRICS_COUNTER_##name,
    METRICS_COUNTERS(METRICS_ENUM) METRICS_COUNTER_COUNT
};
enum metrics_gauge {
#define METRICS_GAUGE_ENUM(name, help) METRICS_GAUGE_##name,
    METRICS_GAUGES(METRICS_GAUGE_ENUM) METRICS_GAUGE_COUNT
};
enum metrics_histogram {
#define METRICS_HISTOGRAM_ENUM(name, help) METRICS_HISTOGRAM_##name,
    METRICS_HISTOGRAMS(METRICS_HISTOGRAM_ENUM) METRICS_HISTOGRAM_COUNT
};
#undef METRICS_ENUM
#undef METRICS_GAUGE_ENUM
#undef METRICS_HISTOGRAM_ENUM

void metrics_add(enum metrics_counter counter, uint64_t amount);
uint64_t metrics_get(enum metrics_counter counter);
void metrics_set(enum metrics_gauge gauge, double value);
void metrics_observe(enum metrics_histogram histogram, double seconds);

/* One answered request: recsysd_requests_total{method,code} and recsysd_request_duration_seconds{method}. `method` must be a string constant that
 * lives for ever; unknown methods are counted as "unknown". At most 64 distinct methods; later ones count as "other". */
void metrics_request(const char *method, enum status_code code, double seconds);

/* recsysd_build_info{version=...,...} 1 and recsysd_model_info{...} 1: pairs of strings, copied. `name` is "build_info" or "model_info"; a second
 * call replaces the first. */
void metrics_info(const char *name, const char *const (*labels)[2], size_t label_count);

/* Everything, process_* included, as malloc'ed text that the caller frees. NULL only out of memory. */
char *metrics_render(size_t *size);

#endif
