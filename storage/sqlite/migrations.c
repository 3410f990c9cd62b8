/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/migrations.h"
#include "storage/sqlite/errors.h"

#include <stdio.h>

/* Version 1.
 *
 * event: WITHOUT ROWID puts a user's events beside each other in the order they are read: 2.5 times as many histories a
 * second as from a table in log order with an index. Nothing of it references user, item or behaviour: that would be a
 * look-up per column and event, and the numbers come from those tables anyway.
 * feature: rows of kilobytes belong into a rowid table. */
static const char schema[] =
    "CREATE TABLE meta("
    " name TEXT PRIMARY KEY,"
    " value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE total("
    " name TEXT PRIMARY KEY,"
    " value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE user("
    " user_id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " bucket INTEGER NOT NULL CHECK(bucket BETWEEN 0 AND 1023)) STRICT;"
    "CREATE INDEX user_bucket ON user(bucket, user_id);"

    "CREATE TABLE behaviour("
    " behaviour INTEGER PRIMARY KEY CHECK(behaviour BETWEEN 1 AND 255),"
    " name TEXT NOT NULL UNIQUE) STRICT;"

    "CREATE TABLE event("
    " user_id INTEGER NOT NULL,"
    " ts_ms INTEGER NOT NULL,"
    " position INTEGER NOT NULL,"
    " item_id INTEGER NOT NULL,"
    " behaviour INTEGER NOT NULL,"
    " value REAL,"
    " received_ms INTEGER NOT NULL,"
    " recomm_id TEXT,"
    " key BLOB," /* XXH3-128 of the idempotency key, canonical (big-endian) */
    " PRIMARY KEY(user_id, ts_ms, position)) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX event_log ON event(position);"
    "CREATE UNIQUE INDEX event_key ON event(user_id, key) WHERE key IS NOT NULL;"

    "CREATE TABLE item("
    " item_id INTEGER PRIMARY KEY CHECK(item_id BETWEEN 1 AND 4294967295),"
    " name TEXT NOT NULL UNIQUE,"
    " title TEXT NOT NULL,"
    " categories TEXT NOT NULL,"
    " attributes TEXT NOT NULL,"
    " price REAL,"
    " available INTEGER NOT NULL,"
    " deleted INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL,"
    " position INTEGER NOT NULL) STRICT;"

    "CREATE TABLE item_change("
    " position INTEGER PRIMARY KEY,"
    " item_id INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " kind TEXT NOT NULL CHECK(kind IN ('item', 'feature')),"
    " content TEXT,"     /* 'item': as it was put, JSON */
    " space_id INTEGER," /* 'feature' */
    " CHECK((kind = 'item') = (content IS NOT NULL) AND (kind = 'feature') = (space_id IS NOT NULL))) STRICT;"

    "CREATE TABLE space("
    " space_id INTEGER PRIMARY KEY,"
    " modality TEXT NOT NULL,"
    " encoder TEXT NOT NULL,"
    " dimension INTEGER NOT NULL CHECK(dimension > 0),"
    " UNIQUE(modality, encoder)) STRICT;"

    "CREATE TABLE feature("
    " item_id INTEGER NOT NULL REFERENCES item,"
    " space_id INTEGER NOT NULL REFERENCES space,"
    " checksum INTEGER NOT NULL," /* XXH3-64 of vec */
    " vec BLOB NOT NULL,"         /* little-endian f32 */
    " PRIMARY KEY(item_id, space_id)) STRICT;"

    "CREATE TABLE counts("
    " position INTEGER PRIMARY KEY,"
    " at_ms INTEGER NOT NULL,"
    " checksum INTEGER,"
    " bytes BLOB," /* NULL: to be rebuilt from the log */
    " CHECK((bytes IS NULL) = (checksum IS NULL))) STRICT;"

    "CREATE TABLE model("
    " model_id INTEGER PRIMARY KEY,"
    " version TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL,"
    " sha256 TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL,"
    " bytes BLOB NOT NULL) STRICT;"

    "CREATE TABLE activation("
    " position INTEGER PRIMARY KEY,"
    " version TEXT NOT NULL REFERENCES model(version),"
    " counts_position INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL) STRICT;"

    /* what rescoring stored, with what a list is a function of */
    "CREATE TABLE list("
    " user_id INTEGER NOT NULL REFERENCES user,"
    " name TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " counts INTEGER NOT NULL,"
    " catalogue INTEGER NOT NULL,"
    " at_position INTEGER NOT NULL,"
    " now_ms INTEGER NOT NULL,"
    " content BLOB NOT NULL,"
    " PRIMARY KEY(user_id, name)) STRICT;";

/* Version 2: models of any size, uploads, rollback.
 *
 * model_part: SQLite takes no value above 10^9 bytes, and a model arrives in chunks: each is a row. A row of `model` is an
 * upload until its file has been checked; one that was deleted stays where activations name it. activation.previous is
 * where a rollback goes back to, which is not always the activation before. */
static const char models[] =
    "CREATE TABLE model_part("
    " model_id INTEGER NOT NULL REFERENCES model,"
    " first_byte INTEGER NOT NULL CHECK(first_byte >= 0),"
    " checksum INTEGER NOT NULL," /* XXH3-64 of bytes */
    " bytes BLOB NOT NULL,"
    " PRIMARY KEY(model_id, first_byte)) STRICT;"
    "ALTER TABLE model ADD COLUMN state TEXT NOT NULL DEFAULT 'stored'"
    " CHECK(state IN ('upload', 'stored', 'deleted'));"
    "ALTER TABLE model ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE model ADD COLUMN changed_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE model ADD COLUMN training TEXT NOT NULL DEFAULT '{}';" /* what its file says, JSON */
    "ALTER TABLE model ADD COLUMN report TEXT;"                         /* of its evaluation, JSON */
    "INSERT INTO model_part(model_id, first_byte, checksum, bytes)"
    " SELECT model_id, 0, checksum, bytes FROM model WHERE length(bytes) > 0;"
    "UPDATE model SET size_bytes = length(bytes);"
    "ALTER TABLE model DROP COLUMN checksum;"
    "ALTER TABLE model DROP COLUMN bytes;"
    "CREATE INDEX model_sha256 ON model(sha256);"
    "CREATE INDEX activation_version ON activation(version);"
    "ALTER TABLE activation ADD COLUMN previous INTEGER;";

/* Version 3: impressions. A user's are beside each other, the newest at the end; the same item of the same list is one. */
static const char impressions[] =
    "CREATE TABLE impression("
    " user_id INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " item_id INTEGER NOT NULL,"
    " place INTEGER NOT NULL CHECK(place >= 1),"
    " recomm_id TEXT NOT NULL,"
    " PRIMARY KEY(user_id, at_ms, item_id, recomm_id)) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX impression_once ON impression(user_id, recomm_id, item_id);"
    "CREATE INDEX impression_time ON impression(at_ms);"
    "CREATE INDEX event_list ON event(user_id, recomm_id, item_id) WHERE recomm_id IS NOT NULL;";

/* Version 4: the past, the request log, lists of nobody in particular.
 *
 * feature_past: what was overwritten, so that with item_change every vector can be had as it was. In a database that
 * comes from version 3 the past begins at the last vector that was overwritten and the first of the counts, of which
 * 16 versions were kept.
 * item_change_item: the last change of an item or, with a space, of its vector, up to a position.
 * counts: from here on every version stays until it is forgotten, so the few that have bytes need an index.
 * request: user_id is NULL of a session; items are little-endian u32, teams a byte of each or nothing.
 * list: as in version 1 without its reference to user, which left no room for user 0, everybody; nothing used it.
 * impression: again, with the key's columns first. In a table WITHOUT ROWID whose key is not its first columns, the checks of
 * SQLite 3.40 take a NOT NULL column between them for NULL. */
static const char past[] =
    "ALTER TABLE impression RENAME TO impression_before;"
    "DROP INDEX impression_once;"
    "DROP INDEX impression_time;"
    "CREATE TABLE impression("
    " user_id INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " item_id INTEGER NOT NULL,"
    " recomm_id TEXT NOT NULL,"
    " place INTEGER NOT NULL CHECK(place >= 1),"
    " PRIMARY KEY(user_id, at_ms, item_id, recomm_id)) STRICT, WITHOUT ROWID;"
    "INSERT INTO impression(user_id, at_ms, item_id, recomm_id, place)"
    " SELECT user_id, at_ms, item_id, recomm_id, place FROM impression_before;"
    "DROP TABLE impression_before;"
    "CREATE UNIQUE INDEX impression_once ON impression(user_id, recomm_id, item_id);"
    "CREATE INDEX impression_time ON impression(at_ms);"

    "CREATE TABLE feature_past("
    " item_id INTEGER NOT NULL,"
    " space_id INTEGER NOT NULL,"
    " until_position INTEGER NOT NULL," /* of the change that overwrote it */
    " checksum INTEGER NOT NULL,"
    " vec BLOB NOT NULL,"
    " PRIMARY KEY(item_id, space_id, until_position)) STRICT;"
    "CREATE INDEX feature_past_until ON feature_past(until_position);"
    "CREATE INDEX item_change_item ON item_change(item_id, space_id);"
    "CREATE INDEX counts_time ON counts(at_ms);"
    "CREATE INDEX counts_blob ON counts(checksum) WHERE checksum IS NOT NULL;"

    "CREATE TABLE request("
    " request_id INTEGER PRIMARY KEY,"
    " at_ms INTEGER NOT NULL,"
    " user_id INTEGER,"
    " recomm_id TEXT NOT NULL,"
    " method TEXT NOT NULL,"
    " scenario TEXT NOT NULL,"
    " experiment TEXT NOT NULL,"
    " variant TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " counts INTEGER NOT NULL,"
    " catalogue INTEGER NOT NULL,"
    " at_position INTEGER NOT NULL,"
    " now_ms INTEGER NOT NULL,"
    " overlap REAL,"
    " body BLOB NOT NULL,"
    " items BLOB NOT NULL,"
    " teams BLOB NOT NULL) STRICT;"
    "CREATE INDEX request_time ON request(at_ms);"
    "CREATE INDEX request_user ON request(user_id) WHERE user_id IS NOT NULL;"
    "CREATE INDEX request_experiment ON request(experiment, user_id) WHERE experiment <> '';"

    "DROP TABLE list;"
    "CREATE TABLE list("
    " user_id INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " counts INTEGER NOT NULL,"
    " catalogue INTEGER NOT NULL,"
    " at_position INTEGER NOT NULL,"
    " now_ms INTEGER NOT NULL,"
    " content BLOB NOT NULL," /* pairs of little-endian u32 item_id, f32 score */
    " PRIMARY KEY(user_id, name)) STRICT;"

    "INSERT INTO total(name, value) SELECT 'past_ms', from_ms FROM (SELECT max("
    " ifnull((SELECT max(last_ms) FROM (SELECT max(at_ms) AS last_ms FROM item_change WHERE kind = 'feature'"
    "  GROUP BY item_id, space_id HAVING count(*) > 1)), 0),"
    " (SELECT iif(count(*) < 16, 0, min(at_ms)) FROM counts)) AS from_ms) WHERE from_ms > 0;";

/* Step i makes version i + 1. */
static const char *const steps[] = {schema, models, impressions, past};

int migrations_newest(void)
{
    return (int)(sizeof steps / sizeof steps[0]);
}

bool migrations_integer(sqlite3 *db, const char *path, const char *query, int64_t *value, struct status *st)
{
    sqlite3_stmt *statement = NULL;
    bool ok = sqlite3_prepare_v2(db, query, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    if (ok)
        *value = sqlite3_column_int64(statement, 0);
    else
        errors_sqlite(st, db, query, path);
    sqlite3_finalize(statement);
    return ok;
}

bool migrations_identify(sqlite3 *db, const char *path, int *version, struct status *st)
{
    int64_t application, found, tables;
    if (!migrations_integer(db, path, "PRAGMA application_id", &application, st) ||
        !migrations_integer(db, path, "PRAGMA user_version", &found, st) ||
        !migrations_integer(db, path, "SELECT count(*) FROM sqlite_schema", &tables, st))
        return false;
    /* a crash before the first step's commit leaves an empty database */
    const bool empty = application == 0 && found == 0 && tables == 0;
    if (!empty && application != MIGRATIONS_APPLICATION_ID)
        return errors_corrupt(st, path, "another program's database (application_id 0x%08x)", (unsigned)application);
    if (!empty && found < 1)
        return errors_corrupt(st, path, "user_version %lld", (long long)found);
    if (found > migrations_newest())
        return status_fail(st, STATUS_FAILED_PRECONDITION, "SCHEMA_TOO_NEW",
                           "'%s' has schema version %lld, this program knows versions up to %d", path, (long long)found,
                           migrations_newest());
    *version = (int)found;
    return true;
}

static bool run_step(sqlite3 *db, const char *path, int version, struct status *st)
{
    char marks[128], doing[64];
    snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             MIGRATIONS_APPLICATION_ID, version);
    snprintf(doing, sizeof doing, "migrate to schema version %d", version);
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, steps[version - 1], NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, marks, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    errors_sqlite(st, db, doing, path);
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

bool migrations_run(sqlite3 *db, const char *path, int version, struct status *st)
{
    for (int next = version + 1; next <= migrations_newest(); next++)
        if (!run_step(db, path, next, st))
            return false;
    return true;
}
