/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import.h"
#include "daemon/ctl_output.h"

#include <inttypes.h>
#include <stdio.h>

static double events_per_second(const struct import *import)
{
    return import->events_us > 0 ? (double)import->events_tally.rows * 1e6 / (double)import->events_us : 0;
}

static json_int_t number(uint64_t value)
{
    return (json_int_t)value;
}

static json_t *features_json(const struct import *import)
{
    json_t *features = json_object();
    for (size_t i = 0; i < import->feature_count; i++) {
        const struct import_tally *tally = &import->features[i].tally;
        json_object_set_new(features, import->features[i].modality,
                            json_pack("{s:I, s:I, s:I}", "rows", number(tally->rows), "stored", number(tally->stored),
                                      "bad", number(tally->bad)));
    }
    return features;
}

static void print_json(const struct import *import, bool complete)
{
    const struct import_tally *items = &import->items_tally, *events = &import->events_tally;
    json_t *summary =
        json_pack("{s:{s:I, s:I, s:I, s:I}, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:f, s:f, s:b, s:b}", "items",
                  "rows", number(items->rows), "created", number(items->created), "changed", number(items->changed),
                  "bad", number(items->bad), "features", features_json(import), "events", "rows", number(events->rows),
                  "added", number(events->added), "duplicates", number(events->duplicates), "bad", number(events->bad),
                  "created_users", number(import->created_users), "created_items", number(import->created_items),
                  "seconds", (double)import->total_us / 1e6, "events_per_second", events_per_second(import), "complete",
                  complete, "dry_run", import->dry_run);
    if (summary != NULL)
        ctl_print_json(import->ctl, summary);
    json_decref(summary);
}

static void print_checked(const char *what, const struct import_tally *tally)
{
    printf("%-10s %" PRIu64 " good, %" PRIu64 " bad; nothing was sent\n", what, tally->rows, tally->bad);
}

static void print_table(const struct import *import, bool complete)
{
    const struct import_tally *items = &import->items_tally, *events = &import->events_tally;
    if (import->dry_run && import->items_path != NULL)
        print_checked("items", items);
    else if (import->items_path != NULL)
        printf("%-10s %" PRIu64 " created, %" PRIu64 " changed, %" PRIu64 " bad\n", "items", items->created,
               items->changed, items->bad);
    for (size_t i = 0; i < import->feature_count; i++) {
        const struct import_feature *feature = &import->features[i];
        if (import->dry_run)
            print_checked(feature->modality, &feature->tally);
        else
            printf("%-10s %" PRIu64 " vectors stored, %" PRIu64 " bad\n", feature->modality, feature->tally.stored,
                   feature->tally.bad);
    }
    if (import->dry_run && import->events_path != NULL)
        print_checked("events", events);
    else if (import->events_path != NULL)
        printf("%-10s %" PRIu64 " added, %" PRIu64 " duplicates, %" PRIu64 " bad\n", "events", events->added,
               events->duplicates, events->bad);
    if (import->created_users + import->created_items > 0)
        printf("%-10s %" PRIu64 " users, %" PRIu64 " items that only events name\n", "created", import->created_users,
               import->created_items);
    printf("%-10s %.1f s", complete ? "took" : "stopped", (double)import->total_us / 1e6);
    if (import->events_path != NULL && !import->dry_run)
        printf(", %.0f events/s", events_per_second(import));
    putchar('\n');
}

void import_print_summary(const struct import *import, bool complete)
{
    if (import->ctl->output == CTL_TABLE)
        print_table(import, complete);
    else
        print_json(import, complete);
}
