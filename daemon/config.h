/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings of the daemon, and of the tools that open its data directory. One list says everything there is: flag > environment
 * RECSYSD__SERVER__LISTEN > file > default. etc/recsysd.yaml is the reference for people. */
#ifndef RECSYS_DAEMON_CONFIG_H
#define RECSYS_DAEMON_CONFIG_H

#include "proto/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_FILE_MAX       (256u << 10) /* bytes */
#define CONFIG_DEPTH_MAX      16
#define CONFIG_LISTEN_MAX     8
#define CONFIG_BEHAVIOURS_MAX 32
#define CONFIG_TEXT_MAX       512

/* Every scalar setting.
 *   INTEGER(section, name, default, least, most, what it does, with its unit)
 *   REAL   (the same)
 *   SWITCH (section, name, default, what it does)
 *   TEXT   (section, name, default, what it does) */
/* clang-format off */
#define CONFIG_SETTINGS(INTEGER, REAL, SWITCH, TEXT)                                                                                   \
    TEXT   (server, http, "127.0.0.1:9464", "address of /livez, /readyz, /metrics and POST /rpc; off: none")                           \
    SWITCH (server, allow_insecure, false, "listen beyond ipc and loopback without authentication")                                    \
    INTEGER(server, workers, 0, 0, 256, "scoring threads; 0: one per core")                                                            \
    INTEGER(server, queue_requests, 1024, 1, 1000000, "requests waiting at most")                                                      \
    INTEGER(server, queue_bytes, 67108864, 1048576, 17179869184, "bytes of waiting requests at most")                                  \
    INTEGER(server, timeout_ms, 1000, 1, 600000, "deadline of a request that names none")                                              \
    INTEGER(server, drain_ms, 5000, 0, 600000, "after SIGTERM: finish requests for at most this long")                                 \
    INTEGER(server, next_bytes, 33554432, 0, 17179869184, "memory of lists that were served lately, for their next pages")               \
    TEXT   (server, scenarios, "off", "file of presets for lists, read again on SIGHUP; off: none")                                    \
    TEXT   (server, experiments, "off", "file of experiments on lists, read again on SIGHUP; off: none")                               \
    TEXT   (server, messages, "off", "file of the words of reasons, in other languages; off: English")                                 \
    TEXT   (storage, data_dir, "/var/lib/recsysd", "the shop: database and lock")                                                      \
    TEXT   (storage, durability, "full", "full: an acknowledged write survives a power cut; normal: it survives a crash of the daemon") \
    INTEGER(storage, batch_rows, 256, 1, 10000, "rows that end the gathering of one transaction")                                      \
    REAL   (storage, batch_ms, 5, 0, 1000, "milliseconds that end it")                                                                 \
    INTEGER(storage, cache_bytes, 67108864, 1048576, 68719476736, "page cache of the writing connection")                              \
    INTEGER(storage, impressions_ms, 2592000000, 0, 3153600000000, "how long impressions are kept; a user's old ones go when new ones come") \
    INTEGER(storage, past_ms, 2592000000, 0, 3153600000000, "how far back lists of the past can be asked for (as_of)")                 \
    INTEGER(storage, histories_bytes, 134217728, 1048576, 68719476736, "recent histories kept in memory")                              \
    INTEGER(limits, list, 1000, 1, 100000, "n at most")                                                                                \
    INTEGER(limits, ranked, 10000, 1, 1000000, "items in one rank call")                                                               \
    INTEGER(limits, exclude, 10000, 0, 1000000, "ids in exclude")                                                                      \
    INTEGER(limits, batch, 10000, 1, 1000000, "rows in one write call")                                                                \
    INTEGER(limits, frame_bytes, 4194304, 65536, 1073741824, "bytes of one frame")                                                     \
    INTEGER(limits, id_bytes, 256, 16, 256, "bytes of an external id")                                                                \
    INTEGER(limits, attributes_bytes, 16384, 0, 1048576, "bytes of an item's title, categories and attributes together")               \
    INTEGER(limits, modalities, 8, 1, 32, "modalities of a shop")                                                                      \
    INTEGER(limits, dimension, 8192, 1, 65536, "values of one embedding")                                                              \
    INTEGER(limits, future_ms, 86400000, 0, 31536000000, "how far ahead of the clock an event may lie")                                \
    INTEGER(model, history, 100, 1, 1000, "events of a user that are attended to")                                                     \
    INTEGER(model, exhaustive, 100000000, 0, 1000000000000, "items x history x components up to which every item is scored in full")   \
    INTEGER(model, candidates, 1000, 10, 100000, "items scored in full beyond that")                                                   \
    INTEGER(model, max_bytes, 1073741824, 65536, 17179869184, "bytes of a model file at most")                                           \
    INTEGER(model, stored, 64, 1, 10000, "models kept at most, the default ones not counted")                                          \
    INTEGER(model, upload_ms, 600000, 100, 86400000, "an upload that nothing is heard of for this long is given up")                   \
    INTEGER(model, memory_bytes, 0, 0, 17592186044416, "what a model may take beside the one that answers; 0: what the system has")    \
    INTEGER(counts, publish_events, 10000, 1, 1000000000, "events after which counts are published")                                   \
    INTEGER(counts, publish_ms, 60000, 100, 86400000, "or after this long")                                                            \
    TEXT   (requests, log, "experiments", "lists that are kept for reports and replays: off, experiments (those of one), all")           \
    INTEGER(requests, keep_ms, 2592000000, 0, 3153600000000, "how long")                                                               \
    SWITCH (requests, user_names, false, "keep the user's name in them; otherwise the number that the shop has for the user alone")    \
    TEXT   (log, level, "info", "debug, info, warn or error")                                                                          \
    TEXT   (log, format, "auto", "auto, text or json")
/* clang-format on */

/* What a behaviour is called and what it weighs: 1 is a view; negative means that the user did not like it. */
struct config_behaviour {
    char name[32];
    double weight;
};

struct config {
#define CONFIG_INTEGER(section, name, preset, least, most, doc) int64_t section##_##name;
#define CONFIG_REAL(section, name, preset, least, most, doc)    double section##_##name;
#define CONFIG_SWITCH(section, name, preset, doc)               bool section##_##name;
#define CONFIG_TEXT(section, name, preset, doc)                 char section##_##name[CONFIG_TEXT_MAX];
    CONFIG_SETTINGS(CONFIG_INTEGER, CONFIG_REAL, CONFIG_SWITCH, CONFIG_TEXT)
#undef CONFIG_INTEGER
#undef CONFIG_REAL
#undef CONFIG_SWITCH
#undef CONFIG_TEXT
    char server_listen[CONFIG_LISTEN_MAX][CONFIG_TEXT_MAX]; /* endpoints; default: ipc:///run/recsysd/recsysd.sock */
    size_t server_listen_count;
    struct config_behaviour behaviours[CONFIG_BEHAVIOURS_MAX]; /* in the file's order; the index is what is stored */
    size_t behaviour_count;
};

/* Fill in the defaults. Behaviours: view 1, click 1, cart 3, purchase 5, like 2, dislike -2, skip -0.5. */
void config_init(struct config *config);

/* Read a YAML file over what is there. INVALID_ARGUMENT / BAD_CONFIG with "file:line:column: ..." for: an unknown key (with the nearest known
 * one), a value of the wrong type or out of range (with the range), a duplicate key, an anchor, alias, merge key or tag, a second document, a file
 * over CONFIG_FILE_MAX or deeper than CONFIG_DEPTH_MAX, bad YAML, bad UTF-8. NOT_FOUND / NO_INPUT when it cannot be read. `config` is
 * unchanged on failure. `behaviours` in a file replaces the whole list; a name is [a-z][a-z0-9_]{0,30}, a weight finite and within ±100. */
bool config_load(struct config *config, const char *path, struct status *st);

/* Apply the variables of `environment` (NULL-terminated, "NAME=value") that start with RECSYSD__: RECSYSD__SECTION__NAME; RECSYSD__SERVER__LISTEN
 * is a comma-separated list; RECSYSD__BEHAVIOURS is "view=1,purchase=5". An unknown one is an error, as in a file. */
bool config_environment(struct config *config, char *const *environment, struct status *st);

/* Set one scalar by its dotted name ("server.workers"): what flags use. */
bool config_set(struct config *config, const char *name, const char *value, struct status *st);

/* What can only be checked on the whole: listen endpoints well-formed (ipc:// or tcp://), and none beyond ipc and loopback
 * without server.allow_insecure; at least one behaviour, no name twice. */
bool config_check(const struct config *config, struct status *st);

/* The effective configuration as YAML that config_load reads back to the same, every setting with its comment. */
void config_print(const struct config *config, FILE *out);

#endif
