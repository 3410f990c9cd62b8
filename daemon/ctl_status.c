/* SPDX-License-Identifier: Apache-2.0
 *
 * How the daemon is: ping, status, info. */
#include "daemon/ctl_commands.h"
#include "daemon/ctl_output.h"
#include "daemon/timestamp.h"

#include <string.h>

/* As pg_isready's. */
enum ping_exit { PING_READY = 0, PING_REFUSES = 1, PING_NO_ANSWER = 2 };

static bool nobody_answered(const struct status *st)
{
    return strcmp(st->reason, "NO_ANSWER") == 0 || st->code == STATUS_DATA_LOSS; /* or none that makes sense */
}

/* A daemon that drains may still answer a ping: its status says so. */
static bool is_draining(struct ctl *ctl)
{
    struct status st = STATUS_INIT;
    json_t *result = ctl_call(ctl, "status", NULL, &st);
    bool draining =
        result != NULL ? strcmp(ctl_member_text(result, "state"), "draining") == 0 : strcmp(st.reason, "DRAINING") == 0;
    json_decref(result);
    return draining;
}

int ctl_run_ping(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    (void)arguments;
    struct status st = STATUS_INIT;
    int64_t started_us = timestamp_monotonic_us();
    json_t *result = ctl_call(ctl, "ping", NULL, &st);
    double took_ms = (double)(timestamp_monotonic_us() - started_us) / 1e3;
    if (result == NULL) {
        int code = ctl_fail(ctl, &st);
        if (code == CTL_EX_USAGE)
            return code;
        return nobody_answered(&st) ? PING_NO_ANSWER : PING_REFUSES;
    }
    bool draining = is_draining(ctl);
    if (ctl->output == CTL_TABLE)
        printf("%s - %s, %.1f ms\n", ctl->endpoint, draining ? "draining" : "ready", took_ms);
    else
        ctl_print_json(ctl, result);
    json_decref(result);
    return draining ? PING_REFUSES : PING_READY;
}

static bool print_status(const struct ctl *ctl, const json_t *result, struct status *st)
{
    static const struct ctl_column facts[] = {
        {"state", "state", CTL_CELL_STATE, false, false},
        {"up", "uptime_ms", CTL_CELL_SPAN, false, false},
        {"users", "users", CTL_CELL_PLAIN, false, false},
        {"items", "items", CTL_CELL_PLAIN, false, false},
        {"events", "events", CTL_CELL_PLAIN, false, false},
        {"model", "model", CTL_CELL_PLAIN, false, false},
        {"counts", "counts", CTL_CELL_PLAIN, false, false},
        {"log position", "seq", CTL_CELL_PLAIN, false, false},
        {"catalogue", "catalogue", CTL_CELL_PLAIN, false, false},
        {"requests waiting", "queue_depth", CTL_CELL_PLAIN, false, false},
        {"database", "database_bytes", CTL_CELL_BYTES, false, false},
        {"write-ahead log", "wal_bytes", CTL_CELL_BYTES, false, false},
        {"memory", "resident_bytes", CTL_CELL_BYTES, false, false},
        {"encoded items", "snapshot_rows", CTL_CELL_PLAIN, false, false},
        {"  of them dead", "snapshot_dead", CTL_CELL_PLAIN, false, false},
        {"histories in memory", "cached_histories", CTL_CELL_PLAIN, false, false},
    };
    static const struct ctl_column columns[] = {
        {"modality", "modality", CTL_CELL_PLAIN, false, false},  {"encoder", "encoder", CTL_CELL_PLAIN, false, false},
        {"dimension", "dimension", CTL_CELL_PLAIN, true, false}, {"items", "items", CTL_CELL_PLAIN, true, false},
        {"in model", "in_model", CTL_CELL_PLAIN, false, false},
    };
    const json_t *features = json_object_get(result, "features");
    if (!ctl_print_facts(ctl, result, facts, sizeof facts / sizeof *facts, st))
        return false;
    if (json_array_size(features) == 0)
        return true;
    putchar('\n');
    return ctl_print_table(ctl, features, columns, sizeof columns / sizeof *columns, st);
}

/* A JSON object {"view": 1} as lines "  view  1" under a heading. */
static void print_pairs(const char *heading, const json_t *pairs)
{
    const char *key;
    json_t *value;
    if (json_object_size(pairs) == 0)
        return;
    printf("\n%s\n", heading);
    json_object_foreach((json_t *)pairs, key, value)
    {
        if (json_is_string(value))
            printf("  %-20s  %s\n", key, json_string_value(value));
        else
            printf("  %-20s  %.10g\n", key, json_number_value(value));
    }
}

static bool print_info(const struct ctl *ctl, const json_t *result, struct status *st)
{
    static const struct ctl_column facts[] = {
        {"name", "name", CTL_CELL_PLAIN, false, false},
        {"version", "version", CTL_CELL_PLAIN, false, false},
        {"protocol", "protocol", CTL_CELL_PLAIN, false, false},
        {"methods", "methods", CTL_CELL_LIST, false, false},
    };
    if (!ctl_print_facts(ctl, result, facts, sizeof facts / sizeof *facts, st))
        return false;
    print_pairs("limits", json_object_get(result, "limits"));
    print_pairs("behaviours and their weights", json_object_get(result, "behaviours"));
    print_pairs("libraries", json_object_get(result, "libraries"));
    return true;
}

static int show(struct ctl *ctl, const char *method,
                bool (*print)(const struct ctl *ctl, const json_t *result, struct status *st))
{
    struct status st = STATUS_INIT;
    json_t *result = ctl_call(ctl, method, NULL, &st);
    bool ok = result != NULL;
    if (ok && ctl->output == CTL_TABLE)
        ok = print(ctl, result, &st);
    else if (ok)
        ctl_print_json(ctl, result);
    json_decref(result);
    return ok ? 0 : ctl_fail(ctl, &st);
}

int ctl_run_status(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    (void)arguments;
    return show(ctl, "status", print_status);
}

int ctl_run_info(struct ctl *ctl, const struct ctl_arguments *arguments)
{
    (void)arguments;
    return show(ctl, "server.info", print_info);
}
