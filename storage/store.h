/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: users' events, items, features, counts, models and lists of one shop, on disk. This header is the interface; storage/sqlite
 * implements it.
 *
 * A `struct store` is one connection and belongs to one thread. There is one writer in the world: the connection that the daemon's writer
 * thread owns, which also does every checkpoint (SQLite 3.40's WAL-reset bug needs two). Readers see what is committed.
 *
 * Positions. Every change (event, item change, activation) takes the next log position: increasing, not gapless, never reused. A reader
 * bounds what it sees by a position, so no read transaction is held across calls except between store_read_begin and _end.
 *
 * Errors: RESOURCE_EXHAUSTED / DISK_FULL; UNAVAILABLE / STORE_READONLY (cannot write), STORE_IO, STORE_LOCKED (another daemon), STORE_BUSY;
 * DATA_LOSS / STORE_CORRUPT; FAILED_PRECONDITION / SCHEMA_TOO_NEW; NOT_FOUND / NO_DATABASE (reader without a database);
 * RESOURCE_EXHAUSTED / NO_MEMORY. The message names the file and what SQLite said. After a failed write call the caller rolls back. */
#ifndef RECSYS_STORAGE_STORE_H
#define RECSYS_STORAGE_STORE_H

#include "proto/status.h"

#include <stddef.h>
#include <stdint.h>

struct store;

struct store_options {
    const char *data_dir;
    bool full_sync;      /* a commit survives a power cut */
    int64_t cache_bytes; /* page cache; 0: 2 MiB */
};

/* ---- opening */

/* Create the directory (0700 when new) and database where missing, take the lock file `LOCK` (flock; STORE_LOCKED when another process has it),
 * check the file (application_id, quick_check), migrate it. The schema of a newer program is refused untouched. Temporary files older
 * runs left behind are removed. */
struct store *store_open_writer(const struct store_options *options, struct status *st);

/* Open read-only; never creates, locks or checkpoints anything. */
struct store *store_open_reader(const struct store_options *options, struct status *st);

/* Close; a writer checkpoints (TRUNCATE) first and gives up the lock. NULL is fine. */
void store_close(struct store *store);

/* Full integrity check of an open store: false with STORE_CORRUPT and the first complaint. Slow: reads everything. */
bool store_check(struct store *store, struct status *st);

/* ---- transactions */

bool store_begin(struct store *store, struct status *st);
bool store_commit(struct store *store, struct status *st);
void store_rollback(struct store *store); /* fine without a transaction */

/* A consistent view for several read calls; keep it short: it holds back checkpoints. */
bool store_read_begin(struct store *store, struct status *st);
void store_read_end(struct store *store);

/* The last committed position as this connection sees it (a writer inside a transaction sees its own); 0 in an empty store. */
bool store_position(struct store *store, int64_t *position, struct status *st);

/* Writer only: move pages from the log to the database. `truncate` also shrinks the log; both are best effort: a reader in the way is not an
 * error. */
bool store_checkpoint(struct store *store, bool truncate, struct status *st);

struct store_sizes {
    int64_t database_bytes, wal_bytes;
    int64_t users, events; /* kept by the writer in `total`, not counted */
};
bool store_sizes(struct store *store, struct store_sizes *sizes, struct status *st);

/* ---- users */

struct store_user {
    int64_t user_id; /* from 1, never reused */
    int32_t bucket;  /* XXH3-64 of the name modulo 1024: shards are ranges of it */
    char name[257];
};

/* `*user_id` of the user, or 0 where there is none; with `create` one is made (writer, in a transaction). */
bool store_user_find(struct store *store, const char *name, bool create, int64_t *user_id, bool *created,
                     struct status *st);

/* Make `from` the same user as `into` (writer, in a transaction): its events become those of `into` and keep their
 * positions; where both have an event of the same key one goes (`*duplicates`). Impressions and requests of the log
 * go along; stored lists of the number that goes are dropped. Where nobody is called `into`, `from` gets that name
 * and nothing else changes. `from` is nobody afterwards. Takes a log position. `*renamed`: no event moved, so that
 * sums over users' sequences still hold. NOT_FOUND / UNKNOWN_USER where nobody is called `from`. */
bool store_user_merge(struct store *store, const char *from, const char *into, int64_t *moved, int64_t *duplicates,
                      bool *renamed, int64_t *position, struct status *st);

struct store_erasure {
    int64_t events, impressions, requests; /* how many there were */
};

/* Erase a user (writer, in a transaction): events, impressions, stored lists, requests of the log, and the name.
 * Takes a log position. The number is never used again, and what still comes for it (store_request_add,
 * store_list_put) is not stored. NOT_FOUND / UNKNOWN_USER.
 *
 * What is deleted is overwritten in the pages (PRAGMA secure_delete is on for whatever the writer does). The
 * write-ahead log keeps pages as they were until a checkpoint truncates it: let store_checkpoint with `truncate`
 * follow; a reader in its way is no error, so wal_bytes of store_sizes tells whether it was done (0). Copies
 * elsewhere keep what they have. */
bool store_user_erase(struct store *store, const char *name, struct store_erasure *erased, int64_t *position,
                      struct status *st);

/* The position of the last merge that moved events, or of the last user erased; 0: none. Sums from before it are of
 * sequences that are no longer there. */
bool store_merged_position(struct store *store, int64_t *position, struct status *st);

#define STORE_USER_NAME_BYTES sizeof((struct store_user *)0)->name

/* The name of a user, with its end (STORE_USER_NAME_BYTES); "" where there is none. */
bool store_user_name(struct store *store, int64_t user_id, char *name, struct status *st);

/* Up to `capacity` users in the order (bucket, user_id), after (`after_bucket`, `after_user_id`) and with bucket < `end_bucket`. Start with (-1, 0). */
bool store_user_list(struct store *store, int32_t after_bucket, int64_t after_user_id, int32_t end_bucket,
                     struct store_user *out, size_t capacity, size_t *count, struct status *st);

/* ---- behaviours: names are stored once, events hold their number (1..255) */

bool store_behaviour_find(struct store *store, const char *name, bool create, uint8_t *behaviour, struct status *st);

/* Calls `each` for every behaviour the store knows. */
bool store_behaviour_list(struct store *store, void (*each)(void *context, uint8_t behaviour, const char *name),
                          void *context, struct status *st);

/* ---- events */

/* An event as histories and models use it. */
struct store_event {
    int64_t ts_ms;
    int64_t position;
    int64_t user_id;
    uint32_t item_id;
    uint8_t behaviour;
    bool has_value;
    double value;
};

/* What is stored beside it. */
struct store_event_extra {
    int64_t received_ms;
    const char *recomm_id; /* or NULL */
    const char *key;       /* idempotency key or NULL: a second event of the user with the same key is not stored */
};

/* Append one event (event->position is ignored; the new one is written to it). `*duplicate`: the key was there, nothing was stored, and
 * event->position is the position of the one that is there. */
bool store_event_append(struct store *store, struct store_event *event, const struct store_event_extra *extra,
                        bool *duplicate, struct status *st);

/* The newest `capacity` events of a user with position <= at_position (INT64_MAX: all), written oldest first by (ts_ms, position). `*more`: there are
 * older ones. */
bool store_event_history(struct store *store, int64_t user_id, int64_t at_position, struct store_event *out,
                         size_t capacity, size_t *count, bool *more, struct status *st);

/* How many events the user has with position <= at_position. */
bool store_event_count(struct store *store, int64_t user_id, int64_t at_position, int64_t *count, struct status *st);

/* Every event of one user (user_id != 0) or of all users, with position <= at_position, in the order (user_id, ts_ms, position). `each` returns
 * false to stop (which is success). */
bool store_event_scan(struct store *store, int64_t user_id, int64_t at_position,
                      bool (*each)(void *context, const struct store_event *event), void *context, struct status *st);

/* Up to `capacity` events in log order with position > after and <= at_position: the tail of the log. */
bool store_event_tail(struct store *store, int64_t after, int64_t at_position, struct store_event *out, size_t capacity,
                      size_t *count, struct status *st);

/* ---- impressions: what was shown; kept apart from events, which are what users did */

struct store_impression {
    int64_t user_id, at_ms;
    uint32_t item_id;
    int32_t place; /* on the list, from 1 */
    const char *recomm_id;
};

/* Add one (writer, in a transaction). `*duplicate`: the same item of the same list was there. */
bool store_impression_add(struct store *store, const struct store_impression *impression, bool *duplicate,
                          struct status *st);

/* Forget the oldest from before `before_ms`, at most `most` (writer, in a transaction). */
bool store_impression_forget(struct store *store, int64_t before_ms, int most, struct status *st);

/* Items shown to a user from `from_ms` to `until_ms`, the newest first, at most `most`; an item as often as it was shown. */
bool store_impression_recent(struct store *store, int64_t user_id, int64_t from_ms, int64_t until_ms, size_t most,
                             void (*each)(void *context, uint32_t item_id, int64_t at_ms), void *context,
                             struct status *st);

/* What came of impressions, by place. */
struct store_response {
    int32_t place;
    uint8_t behaviour; /* 0: the impressions themselves */
    int64_t count;     /* of impressions with at least one such event */
};

/* Impressions with from_ms <= at_ms < until_ms, and of those how many led to an event of the same user, item and list, by behaviour; in the order (place, behaviour). Reads
 * them all. `each` returns false to stop (which is success). */
bool store_impression_report(struct store *store, int64_t from_ms, int64_t until_ms,
                             bool (*each)(void *context, const struct store_response *response), void *context,
                             struct status *st);

/* ---- items */

/* An item as the shop describes it. Text is UTF-8; the JSON fields are opaque here. Pointers belong to the caller. */
struct store_item {
    uint32_t item_id; /* from 1, never reused */
    const char *name; /* the shop's own id */
    const char *title;
    const char *categories_json; /* array of strings; "[]" */
    const char *attributes_json; /* object; "{}" */
    bool has_price;
    double price;
    bool available;
    bool deleted;
    int64_t created_ms; /* not shown before; 0: always */
    int64_t expires_ms; /* not shown from then on; INT64_MAX: never */
    int64_t position;   /* of the last change of the item or one of its features */
};

/* Insert (item_id 0: a new one is given) or overwrite, and append to item_change. Sets item_id and position. */
bool store_item_put(struct store *store, struct store_item *item, int64_t at_ms, struct status *st);

/* Every item, deleted ones included, in the order of item_id. `each` returns false to stop. */
bool store_item_scan(struct store *store, bool (*each)(void *context, const struct store_item *item), void *context,
                     struct status *st);

/* ---- features */

/* One kind of vector: a modality as one encoder sees it. */
struct store_space {
    uint32_t space_id; /* from 1 */
    int32_t dimension;
    char modality[64];
    char encoder[129]; /* "name@version" */
};

bool store_space_put(struct store *store, struct store_space *space, struct status *st); /* sets space_id */
bool store_space_list(struct store *store, struct store_space *out, size_t capacity, size_t *count, struct status *st);

/* Insert or overwrite the vector (dimension of the space) of an item, append to item_change, move the item's position.
 * What is overwritten stays for store_past_features. */
bool store_feature_put(struct store *store, uint32_t item_id, const struct store_space *space, const float *values,
                       int64_t at_ms, int64_t *position, struct status *st);

/* Every vector, in the order (item_id, space_id); a row whose size does not fit its space is STORE_CORRUPT and names the item. */
bool store_feature_scan(struct store *store,
                        bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                     int32_t dimension),
                        void *context, struct status *st);

/* ---- counts: versions are log positions; a version without a blob can be rebuilt by store_event_scan */

/* Record that a version was published, with its bytes or NULL. Versions stay until store_past_forget, and the bytes of
 * the newest 2 that have any. A version that is put again keeps its time, and its bytes where it now comes without. */
bool store_counts_put(struct store *store, int64_t position, int64_t at_ms, const void *bytes, size_t size_bytes,
                      struct status *st);

/* The newest published version; 0 where there is none. */
bool store_counts_latest(struct store *store, int64_t *position, struct status *st);

/* The newest stored blob with position <= at_position as malloc'ed bytes; `*bytes` NULL where there is none. */
bool store_counts_load(struct store *store, int64_t at_position, int64_t *position, void **bytes, size_t *size_bytes,
                       struct status *st);

/* ---- models */

#define STORE_MODEL_PART_MAX (16u << 20) /* bytes of one part of a file */

struct store_model {
    char version[97]; /* unique, e.g. "default-1f3a9c02" */
    char name[65];
    char sha256[65]; /* hex, of the bytes */
    int64_t created_ms;
    int64_t size_bytes; /* set by the store */
};

/* Store a model file; the same version again replaces nothing and is fine, one that was deleted comes back. */
bool store_model_put(struct store *store, const struct store_model *model, const void *bytes, size_t size_bytes,
                     struct status *st);

/* Set what the file of a model or upload says of its training, and the report of an evaluation, both as JSON text; NULL leaves what is there. */
bool store_model_describe(struct store *store, const char *version, const char *training_json, const char *report_json,
                          struct status *st);

/* The model of that version or, failing that, the newest of that name. NOT_FOUND / UNKNOWN_MODEL. */
bool store_model_find(struct store *store, const char *version_or_name, struct store_model *model, struct status *st);

/* Model file as malloc'ed bytes. NOT_FOUND / UNKNOWN_MODEL. */
bool store_model_load(struct store *store, const char *version, struct store_model *model, void **bytes,
                      size_t *size_bytes, struct status *st);

/* Bytes of a model file from `offset` on as malloc'ed bytes: at most `most` and no more than lie in one part; 0 of them at its end. */
bool store_model_read(struct store *store, const char *version, int64_t offset, size_t most, void **bytes,
                      size_t *size_bytes, struct status *st);

/* The report as malloc'ed text, or NULL where there is none. */
bool store_model_report(struct store *store, const char *version, char **report_json, struct status *st);

/* A stored model with what is known of it; texts live until `each` returns. */
struct store_model_entry {
    struct store_model model;
    const char *training_json, *report_json; /* the report may be NULL */
    int64_t activated_ms;                    /* last time; 0: never */
};

/* Every stored model, newest first. `each` returns false to stop. */
bool store_model_list(struct store *store, bool (*each)(void *context, const struct store_model_entry *entry),
                      void *context, struct status *st);

/* Delete a stored model. Its activations stay on record. NOT_FOUND / UNKNOWN_MODEL. The caller sees to it that it is not the active one. */
bool store_model_delete(struct store *store, const char *version, struct status *st);

/* ---- uploads (writer): a file that arrives in parts, in order, known by its SHA-256. Not a model before store_upload_finish. */

struct store_upload {
    struct store_model model;
    bool stored; /* it is a model already */
    int64_t received_bytes;
};

/* The stored model or else the upload of that SHA-256; model.version "" where there is neither. */
bool store_upload_find(struct store *store, const char *sha256, struct store_upload *upload, struct status *st);

/* Begin an upload of model->size_bytes. ALREADY_EXISTS / VERSION_TAKEN: another file has that version. */
bool store_upload_begin(struct store *store, const struct store_model *model, struct status *st);

/* Append the next part. `at_ms` tells when an upload was last heard of. */
bool store_upload_append(struct store *store, const char *sha256, const void *bytes, size_t size_bytes, int64_t at_ms,
                         struct status *st);

/* The bytes of a complete upload, malloc'ed; any connection. NOT_FOUND / UNKNOWN_MODEL. */
bool store_upload_load(struct store *store, const char *version, void **bytes, size_t *size_bytes, struct status *st);

/* It has been checked: from here on it is a model. NOT_FOUND / UNKNOWN_MODEL where there is no such upload any more. */
bool store_upload_finish(struct store *store, const char *version, int64_t at_ms, struct status *st);

/* Give an upload up; none of that version is fine. */
bool store_upload_drop(struct store *store, const char *version, struct status *st);

/* Give up uploads that were last heard of before `before_ms` (INT64_MAX: all); says how many. */
bool store_upload_expire(struct store *store, int64_t before_ms, int64_t *dropped, struct status *st);

/* Uploads, and stored models that are not called `but`. */
bool store_upload_count(struct store *store, const char *but, int64_t *uploads, int64_t *models, struct status *st);

/* ---- activations: which model answered from which position on */

struct store_activation {
    int64_t position; /* 0: none */
    char version[97];
    int64_t previous; /* position of the activation that a rollback goes back to; 0: none */
};

/* From here on `version` answers; a rollback goes back to what answers now. Activating what is active is no step. NOT_FOUND / UNKNOWN_MODEL. */
bool store_activation_put(struct store *store, const char *version, int64_t counts_position, int64_t at_ms,
                          struct status *st);

/* The same in the place of what answers now: a rollback passes that over. */
bool store_activation_replace(struct store *store, const char *version, int64_t counts_position, int64_t at_ms,
                              struct status *st);

/* Go back to `target`, as store_activation_target found it: the next rollback goes on from there. */
bool store_activation_back(struct store *store, const struct store_activation *target, int64_t counts_position,
                           int64_t at_ms, struct status *st);

/* What a rollback would go back to: the nearest activation before, of another model that is still stored. `target->position` 0: there is none. */
bool store_activation_target(struct store *store, struct store_activation *target, struct status *st);

/* The version that is active; "" where none is. */
bool store_activation_latest(struct store *store, char version[97], struct status *st);

/* The past, the request log, stored lists: part of this interface, in a file of their own. */
#include "storage/store_past.h"

#endif
