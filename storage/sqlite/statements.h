/* SPDX-License-Identifier: Apache-2.0
 *
 * All SQL that runs after a store is open, prepared when it opens: text that does not fit the schema keeps the store
 * from opening and is named. One use of a statement is sql_use, binding, stepping, sql_end; what is bound must live
 * until sql_end. */
#ifndef RECSYS_STORAGE_SQLITE_STATEMENTS_H
#define RECSYS_STORAGE_SQLITE_STATEMENTS_H

#include "proto/status.h"

#include <sqlite3.h>
#include <stddef.h>

struct store;

/* X(name, WRITER: writers alone prepare it, BOTH, text)
 *
 * A plus before a column keeps the planner from walking the index on it: a user's events are read through the primary
 * key whatever else restricts them. */
/* clang-format off */
#define SQL_STATEMENTS(X)                                                                                              \
    /* transactions */                                                                                                 \
    X(BEGIN, WRITER, "BEGIN IMMEDIATE")                                                                                \
    X(READ_BEGIN, BOTH, "BEGIN")                                                                                       \
    X(COMMIT, BOTH, "COMMIT")                                                                                          \
    X(ROLLBACK, BOTH, "ROLLBACK")                                                                                      \
    X(TOTAL_GET, BOTH, "SELECT value FROM total WHERE name = ?1")                                                      \
    X(TOTAL_PUT, WRITER,                                                                                               \
      "INSERT INTO total(name, value) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = excluded.value")          \
    X(LARGEST, WRITER,                                                                                                 \
      "SELECT max((SELECT ifnull(max(position), 0) FROM event),"                                                       \
      "           (SELECT ifnull(max(position), 0) FROM item_change),"                                                 \
      "           (SELECT ifnull(max(position), 0) FROM activation)),"                                                 \
      "       (SELECT ifnull(max(user_id), 0) FROM user),"                                                             \
      "       (SELECT ifnull(max(item_id), 0) FROM item),"                                                             \
      "       (SELECT ifnull(max(request_id), 0) FROM request)")                                                       \
    /* checking */                                                                                                     \
    X(CHECK_PAGES, BOTH, "PRAGMA integrity_check(1)")                                                                  \
    X(CHECK_KEYS, BOTH, "PRAGMA foreign_key_check")                                                                    \
    X(CHECK_TOTALS, BOTH, "SELECT (SELECT count(*) FROM user), (SELECT count(*) FROM event)")                          \
    X(CHECK_COUNTS, BOTH, "SELECT position, checksum, bytes FROM counts WHERE bytes IS NOT NULL")                      \
    X(CHECK_PAST, BOTH,                                                                                                \
      "SELECT 'of item ' || item_id || ' in space ' || space_id || ' before ' || until_position, checksum, vec"        \
      " FROM feature_past")                                                                                            \
    X(CHECK_STRAYS, BOTH,                                                                                              \
      "SELECT (SELECT count(*) FROM request WHERE user_id NOT IN (SELECT user_id FROM user)),"                         \
      "       (SELECT count(*) FROM list WHERE user_id <> 0 AND user_id NOT IN (SELECT user_id FROM user))")           \
    X(CHECK_MODELS, BOTH,                                                                                              \
      "SELECT m.version, p.checksum, p.bytes FROM model_part AS p JOIN model AS m ON m.model_id = p.model_id")         \
    /* users */                                                                                                        \
    X(USER_FIND, BOTH, "SELECT user_id FROM user WHERE name = ?1")                                                     \
    X(USER_ADD, WRITER, "INSERT INTO user(user_id, name, bucket) VALUES(?1, ?2, ?3)")                                  \
    X(USER_LIST, BOTH,                                                                                                 \
      "SELECT user_id, bucket, name FROM user WHERE (bucket, user_id) > (?1, ?2) AND bucket < ?3"                      \
      " ORDER BY bucket, user_id LIMIT ?4")                                                                            \
    X(USER_NAME, BOTH, "SELECT name FROM user WHERE user_id = ?1")                                                     \
    X(USER_RENAME, WRITER, "UPDATE user SET name = ?2, bucket = ?3 WHERE user_id = ?1")                                \
    X(USER_DELETE, WRITER, "DELETE FROM user WHERE user_id = ?1")                                                      \
    X(USER_EVENTS_MOVE, WRITER, "UPDATE OR IGNORE event SET user_id = ?2 WHERE user_id = ?1")                          \
    X(USER_EVENTS_DELETE, WRITER, "DELETE FROM event WHERE user_id = ?1")                                              \
    X(BEHAVIOUR_FIND, BOTH, "SELECT behaviour FROM behaviour WHERE name = ?1")                                         \
    X(BEHAVIOUR_ADD, WRITER,                                                                                           \
      "INSERT INTO behaviour(behaviour, name) SELECT ifnull(max(behaviour), 0) + 1, ?1 FROM behaviour"                 \
      " HAVING count(*) < 255 RETURNING behaviour")                                                                    \
    X(BEHAVIOUR_LIST, BOTH, "SELECT behaviour, name FROM behaviour ORDER BY behaviour")                                \
    /* events */                                                                                                       \
    X(EVENT_APPEND, WRITER,                                                                                            \
      "INSERT INTO event(user_id, ts_ms, position, item_id, behaviour, value, received_ms, recomm_id, key)"            \
      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"                                                                    \
      " ON CONFLICT(user_id, key) WHERE key IS NOT NULL DO NOTHING")                                                   \
    X(EVENT_BY_KEY, WRITER, "SELECT position FROM event WHERE user_id = ?1 AND key = ?2")                              \
    X(EVENT_HISTORY, BOTH,                                                                                             \
      "SELECT user_id, ts_ms, position, item_id, behaviour, value FROM event"                                          \
      " WHERE user_id = ?1 AND +position <= ?2 ORDER BY ts_ms DESC, position DESC LIMIT ?3")                           \
    X(EVENT_COUNT, BOTH, "SELECT count(*) FROM event WHERE user_id = ?1 AND +position <= ?2")                          \
    X(EVENT_SCAN_USER, BOTH,                                                                                           \
      "SELECT user_id, ts_ms, position, item_id, behaviour, value FROM event"                                          \
      " WHERE user_id = ?1 AND +position <= ?2 ORDER BY ts_ms, position")                                              \
    X(EVENT_SCAN, BOTH,                                                                                                \
      "SELECT user_id, ts_ms, position, item_id, behaviour, value FROM event"                                          \
      " WHERE +position <= ?1 ORDER BY user_id, ts_ms, position")                                                      \
    X(EVENT_TAIL, BOTH,                                                                                                \
      "SELECT user_id, ts_ms, position, item_id, behaviour, value FROM event"                                          \
      " WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3")                                            \
    X(USER_IMPRESSIONS_MOVE, WRITER, "UPDATE OR IGNORE impression SET user_id = ?2 WHERE user_id = ?1")                \
    X(USER_IMPRESSIONS_DELETE, WRITER, "DELETE FROM impression WHERE user_id = ?1")                                    \
    X(USER_LISTS_DELETE, WRITER, "DELETE FROM list WHERE user_id = ?1")                                                \
    X(USER_REQUESTS_MOVE, WRITER, "UPDATE request SET user_id = ?2 WHERE user_id = ?1")                                \
    X(USER_REQUESTS_DELETE, WRITER, "DELETE FROM request WHERE user_id = ?1")                                          \
    /* impressions */                                                                                                  \
    X(IMPRESSION_ADD, WRITER,                                                                                          \
      "INSERT INTO impression(user_id, at_ms, item_id, place, recomm_id) VALUES(?1, ?2, ?3, ?4, ?5)"                   \
      " ON CONFLICT DO NOTHING")                                                                                       \
    X(IMPRESSION_FORGET, WRITER,                                                                                       \
      "DELETE FROM impression WHERE (user_id, at_ms, item_id, recomm_id) IN"                                           \
      " (SELECT user_id, at_ms, item_id, recomm_id FROM impression WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)")         \
    X(IMPRESSION_RECENT, BOTH,                                                                                         \
      "SELECT item_id, at_ms FROM impression WHERE user_id = ?1 AND at_ms BETWEEN ?2 AND ?4 ORDER BY at_ms DESC LIMIT ?3")         \
    X(IMPRESSION_REPORT, BOTH,                                                                                         \
      "SELECT place, 0 AS behaviour, count(*) FROM impression WHERE at_ms >= ?1 AND at_ms < ?2 GROUP BY place"         \
      " UNION ALL "                                                                                                    \
      "SELECT i.place, e.behaviour, count(DISTINCT i.user_id || ' ' || i.recomm_id || ' ' || i.item_id)"               \
      " FROM impression AS i JOIN event AS e ON e.user_id = i.user_id AND e.item_id = i.item_id"                       \
      " AND e.recomm_id = i.recomm_id AND e.recomm_id IS NOT NULL WHERE i.at_ms >= ?1 AND i.at_ms < ?2 GROUP BY i.place, e.behaviour"              \
      " ORDER BY 1, 2")                                                                                                \
    /* items */                                                                                                        \
    X(ITEM_ADD, WRITER,                                                                                                \
      "INSERT INTO item(item_id, name, title, categories, attributes, price, available, deleted, created_ms,"          \
      " expires_ms, position) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")                                   \
    X(ITEM_REPLACE, WRITER,                                                                                            \
      "UPDATE item SET name = ?2, title = ?3, categories = ?4, attributes = ?5, price = ?6, available = ?7,"           \
      " deleted = ?8, created_ms = ?9, expires_ms = ?10, position = ?11 WHERE item_id = ?1")                           \
    X(ITEM_MOVE, WRITER, "UPDATE item SET position = ?2 WHERE item_id = ?1")                                           \
    X(ITEM_CHANGED, WRITER,                                                                                            \
      "INSERT INTO item_change(position, item_id, at_ms, kind, content)"                                               \
      " SELECT position, item_id, ?2, 'item', json_object('name', name, 'title', title,"                               \
      "  'categories', json(categories), 'attributes', json(attributes),"                                              \
      /* JSON functions write 15 digits, which is not every number */                                                  \
      "  'price', CASE WHEN price IS NULL OR CAST(CAST(price AS TEXT) AS REAL) = price THEN price"                     \
      "   ELSE json(printf('%!.17g', price)) END,"                                                                     \
      "  'available', json(iif(available, 'true', 'false')), 'deleted', json(iif(deleted, 'true', 'false')),"          \
      "  'created_ms', created_ms, 'expires_ms', expires_ms) FROM item WHERE item_id = ?1")                            \
    X(ITEM_SCAN, BOTH,                                                                                                 \
      "SELECT item_id, name, title, categories, attributes, price, available, deleted, created_ms, expires_ms,"        \
      " position FROM item ORDER BY item_id")                                                                          \
    X(ITEM_NAME, BOTH, "SELECT name FROM item WHERE item_id = ?1")                                                     \
    /* features */                                                                                                     \
    X(SPACE_FIND, WRITER, "SELECT space_id, dimension FROM space WHERE modality = ?1 AND encoder = ?2")                \
    X(SPACE_ADD, WRITER,                                                                                               \
      "INSERT INTO space(modality, encoder, dimension) VALUES(?1, ?2, ?3) RETURNING space_id")                         \
    X(SPACE_LIST, BOTH, "SELECT space_id, dimension, modality, encoder FROM space ORDER BY space_id LIMIT ?1")         \
    X(FEATURE_KEEP, WRITER,                                                                                            \
      "INSERT INTO feature_past(item_id, space_id, until_position, checksum, vec)"                                     \
      " SELECT item_id, space_id, ?3, checksum, vec FROM feature"                                                      \
      " WHERE item_id = ?1 AND space_id = ?2 AND vec <> ?4")                                                           \
    X(FEATURE_PUT, WRITER,                                                                                             \
      "INSERT INTO feature(item_id, space_id, checksum, vec) SELECT ?1, space_id, ?4, ?5 FROM space"                   \
      " WHERE space_id = ?2 AND dimension = ?3"                                                                        \
      " ON CONFLICT(item_id, space_id) DO UPDATE SET checksum = excluded.checksum, vec = excluded.vec")                \
    X(FEATURE_CHANGED, WRITER,                                                                                         \
      "INSERT INTO item_change(position, item_id, at_ms, kind, space_id) VALUES(?1, ?2, ?3, 'feature', ?4)")           \
    X(FEATURE_SCAN, BOTH,                                                                                              \
      "SELECT f.item_id, f.space_id, s.dimension, f.checksum, f.vec FROM feature AS f"                                 \
      " LEFT JOIN space AS s ON s.space_id = f.space_id ORDER BY f.item_id, f.space_id")                               \
    /* counts */                                                                                                       \
    X(COUNTS_PUT, WRITER,                                                                                              \
      "INSERT INTO counts(position, at_ms, checksum, bytes) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(position) DO UPDATE"    \
      " SET checksum = excluded.checksum, bytes = excluded.bytes WHERE excluded.bytes IS NOT NULL")                    \
    /* the few versions with bytes among all that were ever published */                                               \
    X(COUNTS_EMPTY, WRITER,                                                                                            \
      "UPDATE counts SET bytes = NULL, checksum = NULL WHERE position IN"                                              \
      " (SELECT position FROM counts INDEXED BY counts_blob WHERE checksum IS NOT NULL"                                \
      "  ORDER BY position DESC LIMIT -1 OFFSET ?1)")                                                                  \
    X(COUNTS_LATEST, BOTH, "SELECT position FROM counts ORDER BY position DESC LIMIT 1")                               \
    X(COUNTS_ERASE, WRITER, "UPDATE counts SET checksum = NULL, bytes = NULL WHERE checksum IS NOT NULL")              \
    X(COUNTS_LOAD, BOTH,                                                                                               \
      "SELECT position, checksum, bytes FROM counts WHERE position ="                                                  \
      " (SELECT max(+position) FROM counts INDEXED BY counts_blob WHERE checksum IS NOT NULL AND +position <= ?1)")    \
    /* models */                                                                                                       \
    X(MODEL_ADD, WRITER,                                                                                               \
      "INSERT INTO model(version, name, sha256, created_ms, changed_ms, size_bytes, state)"                            \
      " VALUES(?1, ?2, ?3, ?4, ?4, ?5, ?6) ON CONFLICT(version) DO UPDATE SET name = excluded.name,"                   \
      " sha256 = excluded.sha256, created_ms = excluded.created_ms, changed_ms = excluded.changed_ms,"                 \
      " size_bytes = excluded.size_bytes, state = excluded.state, training = '{}', report = NULL"                      \
      " WHERE model.state = 'deleted' RETURNING model_id")                                                             \
    X(MODEL_PART_ADD, WRITER, "INSERT INTO model_part(model_id, first_byte, checksum, bytes) VALUES(?1, ?2, ?3, ?4)")  \
    X(MODEL_FIND, BOTH,                                                                                                \
      "SELECT version, name, sha256, created_ms, size_bytes, model_id FROM model"                                      \
      " WHERE (version = ?1 OR name = ?1) AND state = 'stored'"                                                        \
      " ORDER BY version = ?1 DESC, created_ms DESC, model_id DESC LIMIT 1")                                           \
    X(MODEL_LOAD, BOTH,                                                                                                \
      "SELECT version, name, sha256, created_ms, size_bytes, model_id FROM model"                                      \
      " WHERE version = ?1 AND state = 'stored'")                                                                      \
    X(MODEL_PARTS, BOTH, "SELECT first_byte, checksum, bytes FROM model_part WHERE model_id = ?1 ORDER BY first_byte") \
    X(MODEL_PART_AT, BOTH,                                                                                             \
      "SELECT first_byte, checksum, bytes FROM model_part WHERE model_id = ?1 AND first_byte <= ?2"                    \
      " ORDER BY first_byte DESC LIMIT 1")                                                                             \
    X(MODEL_DESCRIBE, WRITER,                                                                                          \
      "UPDATE model SET training = ifnull(?2, training), report = ifnull(?3, report)"                                  \
      " WHERE version = ?1 AND state <> 'deleted'")                                                                    \
    X(MODEL_LIST, BOTH,                                                                                                \
      "SELECT version, name, sha256, created_ms, size_bytes, training, report,"                                        \
      " ifnull((SELECT max(at_ms) FROM activation AS a WHERE a.version = m.version), 0)"                               \
      " FROM model AS m WHERE state = 'stored' ORDER BY created_ms DESC, model_id DESC")                               \
    X(MODEL_REPORT, BOTH, "SELECT report FROM model WHERE version = ?1 AND state = 'stored'")                          \
    X(MODEL_DROP_PARTS, WRITER, "DELETE FROM model_part WHERE model_id = ?1")                                          \
    X(MODEL_DROP, WRITER,                                                                                              \
      "DELETE FROM model WHERE model_id = ?1"                                                                          \
      " AND NOT EXISTS(SELECT 1 FROM activation WHERE activation.version = model.version)")                            \
    X(MODEL_HIDE, WRITER, "UPDATE model SET state = 'deleted', report = NULL WHERE model_id = ?1")                     \
    /* uploads */                                                                                                      \
    X(UPLOAD_FIND, WRITER,                                                                                             \
      "SELECT version, name, sha256, created_ms, size_bytes, model_id, state = 'stored',"                              \
      " ifnull((SELECT first_byte + length(bytes) FROM model_part AS p WHERE p.model_id = m.model_id"                  \
      "  ORDER BY first_byte DESC LIMIT 1), 0)"                                                                        \
      " FROM model AS m WHERE sha256 = ?1 AND state <> 'deleted'"                                                      \
      " ORDER BY state = 'stored' DESC, model_id DESC LIMIT 1")                                                        \
    X(UPLOAD_LOAD, BOTH,                                                                                               \
      "SELECT version, name, sha256, created_ms, size_bytes, model_id FROM model"                                      \
      " WHERE version = ?1 AND state = 'upload'")                                                                      \
    X(UPLOAD_TOUCH, WRITER, "UPDATE model SET changed_ms = ?2 WHERE model_id = ?1")                                    \
    X(UPLOAD_FINISH, WRITER,                                                                                           \
      "UPDATE model SET state = 'stored', created_ms = ?2 WHERE version = ?1 AND state = 'upload'")                    \
    X(UPLOAD_OLDEST, WRITER,                                                                                           \
      "SELECT model_id FROM model WHERE state = 'upload' AND changed_ms < ?1 ORDER BY changed_ms LIMIT 1")             \
    X(UPLOAD_BY_VERSION, WRITER, "SELECT model_id FROM model WHERE version = ?1 AND state = 'upload'")                 \
    X(UPLOAD_COUNT, WRITER,                                                                                            \
      "SELECT count(*) FILTER (WHERE state = 'upload'), count(*) FILTER (WHERE state = 'stored' AND name <> ?1)"       \
      " FROM model")                                                                                                   \
    /* activations */                                                                                                  \
    X(ACTIVATION_PUT, WRITER,                                                                                          \
      "INSERT INTO activation(position, version, counts_position, at_ms, previous)"                                    \
      " SELECT ?1, version, ?3, ?4, ?5 FROM model WHERE version = ?2 AND state = 'stored'")                            \
    X(ACTIVATION_LATEST, BOTH,                                                                                         \
      "SELECT position, version, ifnull(previous, 0) FROM activation ORDER BY position DESC LIMIT 1")                  \
    X(ACTIVATION_AT, BOTH,                                                                                             \
      "SELECT a.position, a.version, ifnull(a.previous, 0), m.state = 'stored' FROM activation AS a"                   \
      " JOIN model AS m ON m.version = a.version WHERE a.position = ?1")                                               \
    /* the past: a row of the log and its time */                                                                      \
    X(PAST_EVENT, BOTH, "SELECT position, received_ms FROM event WHERE position >= ?1 ORDER BY position LIMIT 1")      \
    X(PAST_CHANGE, BOTH, "SELECT position, at_ms FROM item_change WHERE position >= ?1 ORDER BY position LIMIT 1")     \
    X(PAST_ACTIVATION, BOTH, "SELECT position, at_ms FROM activation WHERE position >= ?1 ORDER BY position LIMIT 1")  \
    X(PAST_COUNTS, BOTH,                                                                                               \
      "SELECT position, at_ms FROM counts WHERE at_ms <= ?1 ORDER BY at_ms DESC, position DESC LIMIT 1")               \
    X(PAST_LAST, BOTH,                                                                                                 \
      "SELECT max((SELECT ifnull(max(position), 0) FROM event WHERE position < ?1),"                                   \
      "           (SELECT ifnull(max(position), 0) FROM item_change WHERE position < ?1),"                             \
      "           (SELECT ifnull(max(position), 0) FROM activation WHERE position < ?1)), 0")                          \
    X(PAST_CATALOGUE, BOTH, "SELECT ifnull(max(position), 0) FROM item_change WHERE position <= ?1")                   \
    X(PAST_MODEL, BOTH, "SELECT version FROM activation WHERE position <= ?1 ORDER BY position DESC LIMIT 1")          \
    /* -> gives JSON as it is, also null; a change without a space is one of the item itself */                        \
    X(PAST_ITEMS, BOTH,                                                                                                \
      "SELECT i.item_id, json_extract(c.content, '$.name'), json_extract(c.content, '$.title'),"                       \
      " c.content -> '$.categories', c.content -> '$.attributes', json_extract(c.content, '$.price'),"                 \
      " json_extract(c.content, '$.available'), json_extract(c.content, '$.deleted'),"                                 \
      " json_extract(c.content, '$.created_ms'), json_extract(c.content, '$.expires_ms'),"                             \
      " (SELECT max(+a.position) FROM item_change AS a WHERE a.item_id = i.item_id AND +a.position <= ?1)"             \
      " FROM item AS i CROSS JOIN item_change AS c ON c.position ="                                                    \
      "  (SELECT l.position FROM item_change AS l WHERE l.item_id = i.item_id AND l.space_id IS NULL"                  \
      "   AND l.position <= ?1 ORDER BY l.position DESC LIMIT 1)"                                                      \
      " ORDER BY i.item_id")                                                                                           \
    /* a vector holds until it is overwritten: the first that was after ?1, else the one that is there */              \
    X(PAST_FEATURES, BOTH,                                                                                             \
      "SELECT f.item_id, f.space_id, s.dimension, ifnull(p.checksum, f.checksum), ifnull(p.vec, f.vec)"                \
      " FROM feature AS f LEFT JOIN space AS s ON s.space_id = f.space_id"                                             \
      " LEFT JOIN feature_past AS p ON p.item_id = f.item_id AND p.space_id = f.space_id AND p.until_position ="       \
      "  (SELECT min(n.until_position) FROM feature_past AS n"                                                         \
      "   WHERE n.item_id = f.item_id AND n.space_id = f.space_id AND n.until_position > ?1)"                          \
      " WHERE EXISTS(SELECT 1 FROM item_change AS c"                                                                   \
      "  WHERE c.item_id = f.item_id AND c.space_id = f.space_id AND c.position <= ?1)"                                \
      " ORDER BY f.item_id, f.space_id")                                                                               \
    /* forgetting it: a batch as (position, time), then what lies before its end */                                    \
    X(FORGET_CHANGES, WRITER,                                                                                          \
      "SELECT position, at_ms FROM item_change WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3")     \
    X(FORGET_CHANGES_DELETE, WRITER,                                                                                   \
      "DELETE FROM item_change WHERE position IN"                                                                      \
      " (SELECT b.position FROM item_change AS n CROSS JOIN item_change AS b"                                          \
      "  WHERE n.position > ?1 AND n.position <= ?2"                                                                   \
      "  AND b.item_id = n.item_id AND b.space_id IS n.space_id AND b.position < n.position)")                         \
    X(FORGET_VECTORS_DELETE, WRITER, "DELETE FROM feature_past WHERE until_position <= ?1")                            \
    X(FORGET_VERSIONS, WRITER,                                                                                         \
      "SELECT c.position, (SELECT n.at_ms FROM counts AS n WHERE n.position > c.position ORDER BY n.position LIMIT 1)" \
      " FROM counts AS c WHERE c.position < ?1 AND +c.at_ms <= ?2 AND c.checksum IS NULL"                              \
      " ORDER BY c.position LIMIT ?3")                                                                                 \
    X(FORGET_VERSIONS_DELETE, WRITER,                                                                                  \
      "DELETE FROM counts WHERE position <= ?1 AND +at_ms <= ?2 AND checksum IS NULL")                                 \
    /* the request log */                                                                                              \
    X(REQUEST_ADD, WRITER,                                                                                             \
      "INSERT INTO request(request_id, at_ms, user_id, recomm_id, method, scenario, experiment, variant, model,"       \
      " counts, catalogue, at_position, now_ms, overlap, body, items, teams)"                                          \
      " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17"                             \
      " WHERE ?3 IS NULL OR EXISTS(SELECT 1 FROM user WHERE user_id = ?3)")                                            \
    /* a first page looks up where the time begins, the others go on where the last one ended */                       \
    X(REQUEST_SCAN, BOTH,                                                                                              \
      "SELECT request_id, at_ms, ifnull(user_id, 0), recomm_id, method, scenario, experiment, variant, model,"         \
      " counts, catalogue, at_position, now_ms, overlap, body, items, teams FROM request"                              \
      " WHERE request_id > max(?1, iif(?1 > 0, 0, ifnull("                                                             \
      "  (SELECT min(+request_id) - 1 FROM request WHERE at_ms >= ?2 AND at_ms < ?3), 0)))"                            \
      " AND +at_ms >= ?2 AND +at_ms < ?3 ORDER BY request_id LIMIT ?4")                                                \
    X(REQUEST_FORGET, WRITER,                                                                                          \
      "DELETE FROM request WHERE request_id IN"                                                                        \
      " (SELECT request_id FROM request WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)")                                    \
    X(EXPOSURE_SCAN, BOTH,                                                                                             \
      "SELECT request_id, ifnull(user_id, 0), recomm_id, variant, overlap, items, teams FROM request"                  \
      " WHERE experiment = ?1 AND experiment <> '' AND +at_ms >= ?2 AND +at_ms < ?3"          \
      " ORDER BY user_id, request_id")                                                                                 \
    X(EXPOSURE_EVENTS, BOTH,                                                                                           \
      "SELECT behaviour, item_id FROM event WHERE user_id = ?1 AND recomm_id = ?2 AND recomm_id IS NOT NULL"           \
      " ORDER BY position")                                                                                            \
    /* stored lists */                                                                                                 \
    X(LIST_PUT, WRITER,                                                                                                \
      "INSERT INTO list(user_id, name, model, counts, catalogue, at_position, now_ms, content)"                        \
      " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?1 = 0 OR EXISTS(SELECT 1 FROM user WHERE user_id = ?1)"           \
      " ON CONFLICT(user_id, name) DO UPDATE SET model = excluded.model, counts = excluded.counts,"                    \
      " catalogue = excluded.catalogue, at_position = excluded.at_position, now_ms = excluded.now_ms,"                 \
      " content = excluded.content")                                                                                   \
    X(LIST_GET, BOTH,                                                                                                  \
      "SELECT model, counts, catalogue, at_position, now_ms, content FROM list WHERE user_id = ?1 AND name = ?2")
/* clang-format on */

enum sql {
#define SQL_ENUM(name, who, text) SQL_##name,
    SQL_STATEMENTS(SQL_ENUM)
#undef SQL_ENUM
        SQL_COUNT
};

/* Prepare all statements the connection may run. */
bool sql_prepare(struct store *store, struct status *st);
void sql_finalize(struct store *store);

/* The statement, ready to bind. It must not be in use: a callback of a scan cannot start the same scan. */
sqlite3_stmt *sql_use(struct store *store, enum sql which);

/* `bound` collects, by |, what the sqlite3_bind functions returned. False: the statement was ended. */
bool sql_bound(struct store *store, enum sql which, int bound, struct status *st);

/* Move to the next row: `*row` is false past the last one. A failure names the statement, and whatever is being written
 * can only be rolled back. */
bool sql_step(struct store *store, enum sql which, bool *row, struct status *st);

/* Done with the statement: sees to it that no read transaction stays open. */
void sql_end(struct store *store, enum sql which);

/* Run to the end a statement whose rows nobody wants: sql_bound, sql_step, sql_end. sqlite3_extended_errcode says why
 * it failed. */
bool sql_run(struct store *store, enum sql which, int bound, struct status *st);

/* Copy the text of a column; STORE_CORRUPT where it is too long or none. */
bool sql_text(struct store *store, sqlite3_stmt *row, int column, char *out, size_t out_bytes, struct status *st);

/* The text of a column until the next step; NULL (and a status) where it cannot be had. */
const char *sql_text_borrow(struct store *store, sqlite3_stmt *row, int column, struct status *st);

/* The bytes of a column until the next step, compared with their checksum; `what` is named where they differ. `*bytes`
 * may be NULL where there are 0 of them. */
bool sql_blob(struct store *store, sqlite3_stmt *row, int column, int64_t checksum, const char *what,
              const void **bytes, size_t *size_bytes, struct status *st);

/* The same as malloc'ed bytes, never NULL on success. */
bool sql_blob_copy(struct store *store, sqlite3_stmt *row, int column, int64_t checksum, const char *what, void **bytes,
                   size_t *size_bytes, struct status *st);

/* What is stored beside a blob: integrity_check does not see that a byte within one changed. */
int64_t sql_checksum(const void *bytes, size_t size_bytes);

#endif
