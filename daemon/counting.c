/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/counting.h"

#include "daemon/timestamp.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TAIL_EVENTS 10000
#define QUIET_US    300000 /* events have stopped coming */
#define QUIET_SHARE 20     /* publications may take a twentieth of the time */
#define HEAD_BYTES  16     /* of stored counts: signature and checksum */

struct counting_event {
    struct counts_event event;
    int64_t position;
    bool counts;
};

static bool out_of_memory(struct status *st)
{
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for counts");
}

/* Stored counts are good for as long as the same behaviours count. */
static uint64_t signature(const struct engine *engine)
{
    uint64_t hash = 0;
    for (int i = 1; i < 256; i++)
        if (engine->behaviours[i].weight > 0)
            hash = XXH3_64bits_withSeed(engine->behaviours[i].name, strlen(engine->behaviours[i].name),
                                        hash + (uint64_t)i);
    return hash;
}

/* ---- one user's contribution, before and after */

static bool collect(void *context, const struct store_event *event)
{
    struct counting *c = context;
    if (c->user_count == c->user_capacity) {
        size_t capacity = c->user_capacity * 2 + 256;
        struct counting_event *grown = realloc(c->user, capacity * sizeof *grown);
        if (grown == NULL) {
            c->failed = true;
            return false;
        }
        c->user = grown;
        c->user_capacity = capacity;
    }
    c->user[c->user_count++] = (struct counting_event){
        {event->item_id, event->ts_ms}, event->position, c->engine->behaviours[event->behaviour].weight > 0};
    return true;
}

static bool add_user(struct counting *c, struct counts_event *scratch, int64_t up_to, int sign)
{
    size_t count = 0;
    for (size_t i = 0; i < c->user_count; i++)
        if (c->user[i].counts && c->user[i].position <= up_to)
            scratch[count++] = c->user[i].event;
    return counts_user(c->whole, scratch, count, sign);
}

static bool replace_user(struct counting *c, int64_t user_id, int64_t before, int64_t after, struct status *st)
{
    c->user_count = 0;
    if (!store_event_scan(c->reader, user_id, after, collect, c, st))
        return false;
    struct counts_event *scratch = malloc((c->user_count + 1) * sizeof *scratch);
    bool ok = !c->failed && scratch != NULL && add_user(c, scratch, before, -1) && add_user(c, scratch, after, 1);
    free(scratch);
    return ok || out_of_memory(st);
}

static int by_user(const void *left, const void *right)
{
    const struct store_event *a = left, *b = right;
    return (a->user_id > b->user_id) - (a->user_id < b->user_id);
}

void counting_recount(struct counting *c)
{
    c->broken = true;
}

bool counting_catch_up(struct counting *c, struct status *st)
{
    int64_t committed = c->engine->committed;
    int64_t now_us = timestamp_monotonic_us();
    if (c->broken && now_us - c->rebuilt_us < QUIET_SHARE * c->rebuild_us)
        return true;
    if (c->broken) { /* half of a user may have been taken out: only the log knows */
        counts_free(c->whole);
        c->whole = NULL;
        counts_view_release(engine_rebuild_counts(c->engine, c->reader, committed, &c->whole, st));
        if (c->whole == NULL)
            return false;
        c->broken = c->failed = false;
        c->position = committed;
        c->pending_events++;
        c->rebuilt_us = timestamp_monotonic_us();
        c->rebuild_us = c->rebuilt_us - now_us;
    }
    while (c->position < committed) {
        size_t count;
        if (!store_event_tail(c->reader, c->position, committed, c->tail, TAIL_EVENTS, &count, st))
            return false;
        int64_t after = count == TAIL_EVENTS ? c->tail[count - 1].position : committed;
        qsort(c->tail, count, sizeof *c->tail, by_user);
        for (size_t i = 0; i < count; i++)
            if ((i == 0 || c->tail[i].user_id != c->tail[i - 1].user_id) &&
                !replace_user(c, c->tail[i].user_id, c->position, after, st)) {
                c->broken = true;
                return false;
            }
        c->position = after;
        c->pending_events += count;
        c->total_events += count;
        c->counted_us = count > 0 ? timestamp_monotonic_us() : c->counted_us;
    }
    return true;
}

/* ---- versions */

bool counting_is_due(const struct counting *c, int64_t now_ms)
{
    const struct config *config = c->engine->config;
    if (c->pending_events == 0 || c->broken)
        return false;
    int64_t quiet_us = timestamp_monotonic_us() - c->counted_us;
    return c->total_events < (uint64_t)config->counts_publish_events ||
           (quiet_us > QUIET_US && quiet_us > QUIET_SHARE * c->publish_us) ||
           c->pending_events >= (uint64_t)config->counts_publish_events ||
           now_ms - c->published_ms >= config->counts_publish_ms;
}

/* the whole object behind the signature and a checksum */
static void *whole_bytes(const struct counting *c, size_t *size_bytes)
{
    size_t size;
    void *counts = counts_write(c->whole, &size);
    uint64_t *bytes = counts == NULL ? NULL : malloc(size + HEAD_BYTES);
    if (bytes != NULL) {
        bytes[0] = signature(c->engine);
        bytes[1] = XXH3_64bits(counts, size);
        memcpy(bytes + 2, counts, size);
        *size_bytes = size + HEAD_BYTES;
    }
    free(counts);
    return bytes;
}

bool counting_publish(struct counting *c, int64_t now_ms, bool final, void **bytes, size_t *size_bytes,
                      struct status *st)
{
    int64_t begin_us = timestamp_monotonic_us();
    struct counts_view *view = counts_publish(c->whole, c->position);
    *bytes = NULL;
    *size_bytes = 0;
    if (view == NULL)
        return out_of_memory(st);
    engine_set_counts(c->engine, view);
    c->published = c->position;
    c->published_ms = now_ms;
    c->pending_events = 0;
    c->publish_us = timestamp_monotonic_us() - begin_us;
    uint64_t growth =
        c->total_events - c->stored_events; /* a start reads the rest from the log: a fifth is soon read */
    if ((final && growth > 0) ||
        (growth > c->total_events / 5 && growth > (uint64_t)c->engine->config->counts_publish_events)) {
        *bytes = whole_bytes(c, size_bytes);
        c->stored_events = c->total_events;
    }
    return true;
}

static bool load(struct counting *c, struct status *st)
{
    int64_t position, merged;
    void *bytes;
    size_t size;
    if (!store_merged_position(c->reader, &merged, st) ||
        !store_counts_load(c->reader, INT64_MAX, &position, &bytes, &size, st))
        return false;
    const uint64_t *head = bytes;
    if (bytes != NULL && size > HEAD_BYTES && head[0] == signature(c->engine) &&
        head[1] == XXH3_64bits(head + 2, size - HEAD_BYTES) && position <= c->engine->committed && position >= merged)
        c->whole = counts_read(head + 2, size - HEAD_BYTES, NULL);
    free(bytes);
    c->position = c->whole == NULL ? 0 : position;
    return true;
}

bool counting_start(struct counting *c, struct engine *engine, struct store *reader, struct status *st)
{
    struct store_sizes sizes;
    *c = (struct counting){.engine = engine, .reader = reader};
    c->tail = malloc(TAIL_EVENTS * sizeof *c->tail);
    if (c->tail == NULL)
        return out_of_memory(st);
    if (!store_sizes(reader, &sizes, st) || !load(c, st))
        return false;
    bool loaded = c->whole != NULL;
    if (loaded && !counting_catch_up(c, st))
        return false;
    if (!loaded) {
        c->position = engine->committed;
        counts_view_release(engine_rebuild_counts(engine, reader, c->position, &c->whole, st));
        if (c->whole == NULL)
            return false;
    }
    c->total_events = (uint64_t)sizes.events;
    uint64_t stored_events = loaded ? c->total_events - c->pending_events : 0;
    c->stored_events =
        c->total_events; /* the first version is not stored: whoever starts has nothing to write with yet */
    void *bytes;
    size_t size;
    bool ok = counting_publish(c, timestamp_now_ms(), false, &bytes, &size, st);
    c->stored_events = stored_events;
    free(bytes);
    return ok;
}

void counting_close(struct counting *c)
{
    counts_free(c->whole);
    free(c->tail);
    free(c->user);
    *c = (struct counting){0};
}
